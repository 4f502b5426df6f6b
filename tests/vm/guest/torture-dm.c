// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* device-mapper's ioctls as "torture" needs them: from several threads, without a process each. */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/vm/guest/torture.h"

__thread char dm_answer[DM_TEXT_BYTES];
static __thread char memory[DM_TEXT_BYTES] __attribute__((aligned(8)));

static struct dm_ioctl *request(const char *name, uint32_t flags)
{
	struct dm_ioctl *dmi = (struct dm_ioctl *)memory;

	memset(memory, 0, sizeof(memory));
	dmi->version[0] = DM_VERSION_MAJOR;
	dmi->data_size = sizeof(memory);
	dmi->data_start = sizeof(*dmi);
	dmi->flags = flags;
	snprintf(dmi->name, sizeof(dmi->name), "%s", name);
	return dmi;
}

static int ask(unsigned long command)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static int control = -1;
	int fd;

	pthread_mutex_lock(&lock);
	if (control < 0)
		control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	fd = control;
	pthread_mutex_unlock(&lock);
	return fd < 0 || ioctl(fd, command, memory) != 0 ? errno : 0;
}

int dm_message(const char *name, const char *format, ...)
{
	struct dm_ioctl *dmi = request(name, 0);
	struct dm_target_msg *message = (struct dm_target_msg *)(dmi + 1);
	va_list args;
	int error;

	va_start(args, format);
	vsprintf(message->message, format, args);
	va_end(args);
	error = ask(DM_TARGET_MSG);
	snprintf(dm_answer, sizeof(dm_answer), "%s",
		 !error && dmi->flags & DM_DATA_OUT_FLAG ? memory + dmi->data_start : "");
	return error;
}

/* One line a target: "<start> <length> <type> <parameters>". */
int dm_status(const char *name, bool table)
{
	struct dm_ioctl *dmi = request(name, DM_NOFLUSH_FLAG | (table ? DM_STATUS_TABLE_FLAG : 0));
	int error = ask(DM_TABLE_STATUS);
	uint32_t i, at = dmi->data_start;
	size_t used = 0;

	dm_answer[0] = '\0';
	for (i = 0; !error && i < dmi->target_count; i++) {
		struct dm_target_spec *spec = (struct dm_target_spec *)(memory + at);

		used += snprintf(dm_answer + used, sizeof(dm_answer) - used, "%s%llu %llu %s %s", i ? "\n" : "",
				 (unsigned long long)spec->sector_start, (unsigned long long)spec->length,
				 spec->target_type, (char *)(spec + 1));
		at = dmi->data_start + spec->next;
	}
	return error;
}

/* @lines as dm_status() prints them. */
int dm_load(const char *name, const char *lines)
{
	struct dm_ioctl *dmi = request(name, 0);
	char *at = memory + dmi->data_start;

	while (*lines) {
		struct dm_target_spec *spec = (struct dm_target_spec *)at;
		unsigned long long start, length;
		const char *end = strchrnul(lines, '\n');
		int type_at = 0, parameters_at = 0;

		if (sscanf(lines, "%llu %llu %n%15s %n", &start, &length, &type_at, spec->target_type,
			   &parameters_at) < 3)
			return EINVAL;
		spec->sector_start = start;
		spec->length = length;
		at = (char *)(spec + 1);
		memcpy(at, lines + parameters_at, end - (lines + parameters_at));
		at += (end - (lines + parameters_at)) + 1;
		at += -(at - memory) & 7;
		spec->next = at - (char *)spec;
		dmi->target_count++;
		lines = *end ? end + 1 : end;
	}
	return ask(DM_TABLE_LOAD);
}

int dm_suspend(const char *name, bool noflush)
{
	request(name, DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG | (noflush ? DM_NOFLUSH_FLAG : 0));
	return ask(DM_DEV_SUSPEND);
}

/* With a table loaded, and not suspended: suspends, swaps, resumes. */
int dm_resume(const char *name, bool noflush)
{
	request(name, DM_SKIP_LOCKFS_FLAG | (noflush ? DM_NOFLUSH_FLAG : 0));
	return ask(DM_DEV_SUSPEND);
}

int dm_open_disk(const char *devno)
{
	unsigned int major, minor;
	char path[64];
	int fd;

	if (sscanf(devno, "%u:%u", &major, &minor) != 2) {
		errno = EINVAL;
		return -1;
	}
	/* Nobody runs who would make /dev/block. */
	snprintf(path, sizeof(path), "/dev/torture.%u.%u.%d", major, minor, gettid());
	if (mknod(path, S_IFBLK | 0600, makedev(major, minor)) != 0)
		return -1;
	fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	unlink(path);
	return fd;
}
