// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* See dmctl.h. One struct dm_task a call; libdevmapper's own log lines become the text of errors. */
#include "loader/dmctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libdevmapper.h>
#include <linux/dm-ioctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define DMCTL_PARAMS_BYTES 1024
#define DMCTL_MESSAGE_BYTES 256
#define DMCTL_LOG_LEVEL_MASK 7 /* above it libdevmapper keeps flags */
#define DMCTL_LOG_LEVEL_ERROR 3
/* udev looks at a device that was written to; on a slow machine with a dozen rules. */
#define UNUSED_TIMEOUT_MS 5000
#define UNUSED_PAUSE_MS 50

static __thread char library_text[DMCTL_ERROR_BYTES];

static void task_cleanup(struct dm_task **task)
{
	if (*task)
		dm_task_destroy(*task);
}

#define scoped_task __attribute__((cleanup(task_cleanup))) struct dm_task

__attribute__((format(printf, 5, 6))) static void keep_library_error(int level, const char *file, int line,
								      int dm_errno, const char *format, ...)
{
	va_list args;

	(void)file;
	(void)line;
	(void)dm_errno;
	/* The first line names the cause, later ones are its consequences. */
	if ((level & DMCTL_LOG_LEVEL_MASK) > DMCTL_LOG_LEVEL_ERROR || *library_text)
		return;
	va_start(args, format);
	vsnprintf(library_text, sizeof(library_text), format, args);
	va_end(args);
}

void dmctl_init(void)
{
	dm_log_with_errno_init(keep_library_error);
	dm_hold_control_dev(1);
}

void dmctl_exit(void)
{
	dm_hold_control_dev(0);
	dm_lib_release();
}

__attribute__((format(printf, 3, 4))) static int fail(struct dmctl_error *error, int err, const char *format, ...)
{
	va_list args;

	if (error) {
		error->err = err;
		va_start(args, format);
		vsnprintf(error->text, sizeof(error->text), format, args);
		va_end(args);
	}
	return -err;
}

/* The name of a device that device-mapper would take; it also goes into error texts. */
static int check_name(const char *name, struct dmctl_error *error)
{
	if (!*name || strlen(name) >= DMCTL_NAME_BYTES || strchr(name, '/') || !strcmp(name, ".") ||
	    !strcmp(name, ".."))
		return fail(error, EINVAL, "\"%.40s\" can't be the name of a device-mapper device", name);
	return 0;
}

static struct dm_task *task_create(int type, const char *name)
{
	struct dm_task *task;

	*library_text = '\0';
	task = dm_task_create(type);
	if (task && name && !dm_task_set_name(task, name)) {
		dm_task_destroy(task);
		return NULL;
	}
	/* Status must not flush, or wait for I/O that hangs. */
	if (task)
		dm_task_no_flush(task);
	return task;
}

/* 0, or why the control device can't be opened: EPERM or ENODEV. */
static int control_error(void)
{
	int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	return errno == EACCES || errno == EPERM ? EPERM : ENODEV;
}

static int fail_control(const char *what, int err, struct dmctl_error *error)
{
	return fail(error, err, "device-mapper: %s: %s", what,
		    err == ENODEV ? "this kernel has no device-mapper (try: modprobe dm-mod)" : "you must be root");
}

/* what: "list devices", "remove data0", for the error's text. */
static int task_run(struct dm_task *task, const char *what, struct dmctl_error *error)
{
	int err;

	*library_text = '\0';
	if (dm_task_run(task))
		return 0;
	err = dm_task_get_errno(task);
	if (err)
		return fail(error, err, "device-mapper: %s: %s", what,
			    err == ENXIO ? "there is no such device" : strerror(err));
	err = control_error();
	if (err)
		return fail_control(what, err, error);
	return fail(error, ENODEV, "device-mapper: %s: %s", what, *library_text ? library_text : "no reason given");
}

/* A task could not be made: libdevmapper opens the control device first, else it is memory. */
static int no_task(struct dmctl_error *error)
{
	int err = control_error();

	if (err)
		return fail_control("open /dev/mapper/control", err, error);
	return fail(error, ENOMEM, "device-mapper: %s", *library_text ? library_text : strerror(ENOMEM));
}

int dmctl_target_version(char *version, size_t version_bytes, struct dmctl_error *error)
{
	scoped_task *task = task_create(DM_DEVICE_LIST_VERSIONS, NULL);
	struct dm_versions *target;
	int err;

	if (!task)
		return no_task(error);
	err = task_run(task, "list targets", error);
	if (err)
		return err;
	target = dm_task_get_versions(task);
	while (target) {
		if (!strcmp(target->name, DMCTL_TARGET)) {
			snprintf(version, version_bytes, "%u.%u.%u", target->version[0], target->version[1],
				 target->version[2]);
			return 0;
		}
		if (!target->next)
			break;
		target = (struct dm_versions *)((char *)target + target->next);
	}
	return fail(error, ENOENT, "this kernel has no \"" DMCTL_TARGET "\" target (try: modprobe dm-remap)");
}

/*
 * Runs a table or status task and finds the first remap target in it. *params belongs to the task. Fills what the
 * answer says of the device if device is not NULL.
 */
static int find_target(struct dm_task *task, const char *name, const char *what, uint64_t *start_sector,
		       uint64_t *length_sectors, char **params, struct dmctl_device *device,
		       struct dmctl_error *error)
{
	char *type, *target_params;
	struct dm_info info;
	const char *uuid;
	void *next = NULL;
	bool found = false;
	int err;

	err = task_run(task, what, error);
	if (err)
		return err;
	if (!dm_task_get_info(task, &info) || !info.exists)
		return fail(error, ENXIO, "no device-mapper device \"%s\"", name);
	if (device) {
		memset(device, 0, sizeof(*device));
		uuid = dm_task_get_uuid(task);
		snprintf(device->name, sizeof(device->name), "%s", name);
		snprintf(device->uuid, sizeof(device->uuid), "%s", uuid ? uuid : "");
		device->devno = makedev(info.major, info.minor);
		device->open_count = info.open_count;
		device->event_nr = info.event_nr;
		device->suspended = info.suspended;
		device->read_only = info.read_only;
		device->live_table = info.live_table;
	}
	do {
		uint64_t start, length;

		type = target_params = NULL;
		next = dm_get_next_target(task, next, &start, &length, &type, &target_params);
		if (type && device)
			device->targets++;
		if (!found && type && target_params && !strcmp(type, DMCTL_TARGET)) {
			found = true;
			*start_sector = start;
			*length_sectors = length;
			*params = target_params;
		}
	} while (next);
	if (!found)
		return fail(error, EMEDIUMTYPE, "%s has no remap target", name);
	return 0;
}

int dmctl_get(const char *name, struct dmctl_device *device, struct dmctl_error *error)
{
	scoped_task *task = NULL;
	uint64_t start_sector, length_sectors;
	char what[DMCTL_NAME_BYTES + 32];
	char *params;
	int err;

	err = check_name(name, error);
	if (err)
		return err;
	task = task_create(DM_DEVICE_TABLE, name);
	if (!task)
		return no_task(error);
	snprintf(what, sizeof(what), "table of %s", name);
	err = find_target(task, name, what, &start_sector, &length_sectors, &params, device, error);
	if (!err)
		err = dmctl_parse_table(params, &device->table, error);
	if (err)
		return err;
	device->table.start_sector = start_sector;
	device->table.length_sectors = length_sectors;
	if (dmctl_parse_devno(device->table.main_dev, &device->main_devno))
		device->main_devno = 0;
	if (dmctl_parse_devno(device->table.spare_dev, &device->spare_devno))
		device->spare_devno = 0;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct dmctl_device *x = a, *y = b;

	return strcmp(x->name, y->name);
}

int dmctl_list(struct dmctl_device **devices, size_t *count, struct dmctl_error *error)
{
	scoped_task *task = task_create(DM_DEVICE_LIST, NULL);
	struct dmctl_device *found = NULL, *bigger;
	struct dm_names *names;
	size_t used = 0;
	int err;

	*devices = NULL;
	*count = 0;
	if (!task)
		return no_task(error);
	err = task_run(task, "list devices", error);
	if (err)
		return err;
	names = dm_task_get_names(task);
	/* An empty list is one entry without a device. */
	while (names && names->dev) {
		bigger = realloc(found, (used + 1) * sizeof(*found));
		if (!bigger) {
			free(found);
			return no_task(error);
		}
		found = bigger;
		err = dmctl_get(names->name, &found[used], error);
		if (!err) {
			used++;
		} else if (err != -ENXIO && err != -EMEDIUMTYPE && err != -EINVAL) {
			/* Removed meanwhile, or another's device: not an error of the list. */
			free(found);
			return err;
		}
		if (!names->next)
			break;
		names = (struct dm_names *)((char *)names + names->next);
	}
	if (!used) {
		free(found);
		return 0;
	}
	qsort(found, used, sizeof(*found), compare_names);
	*devices = found;
	*count = used;
	return 0;
}

int dmctl_status(const char *name, struct dmctl_status *status, struct dmctl_error *error)
{
	scoped_task *task = NULL;
	uint64_t start_sector, length_sectors;
	char what[DMCTL_NAME_BYTES + 32];
	char *params;
	int err;

	err = check_name(name, error);
	if (err)
		return err;
	task = task_create(DM_DEVICE_STATUS, name);
	if (!task)
		return no_task(error);
	snprintf(what, sizeof(what), "status of %s", name);
	err = find_target(task, name, what, &start_sector, &length_sectors, &params, NULL, error);
	return err ? err : dmctl_parse_status(params, status, error);
}

static const char *message_advice(int err)
{
	switch (err) {
	case ENOSPC:
		return "the spare is full";
	case EROFS:
		return "the device is in mode ro or failed (see remapctl status)";
	case EINVAL:
		return "the target refused it (out of range?)";
	case EINTR:
		return "interrupted";
	default:
		return strerror(err);
	}
}

/* *task is the caller's to destroy; *answer belongs to it. */
static int send_message(const char *name, const char *message, struct dm_task **task, const char **answer,
			struct dmctl_error *error)
{
	char what[DMCTL_NAME_BYTES + DMCTL_MESSAGE_BYTES + 32];
	int err;

	err = check_name(name, error);
	if (err)
		return err;
	*task = task_create(DM_DEVICE_TARGET_MSG, name);
	if (!*task || !dm_task_set_sector(*task, 0) || !dm_task_set_message(*task, message))
		return no_task(error);
	snprintf(what, sizeof(what), "message \"%s\" to %s", message, name);
	err = task_run(*task, what, error);
	if (err == -ENODEV || err == -ENXIO)
		return err;
	if (err)
		return fail(error, -err, "%s: %s: %s", name, message, message_advice(-err));
	*answer = dm_task_get_message_response(*task);
	if (!*answer)
		*answer = "";
	return 0;
}

static int check_progress(const char *name, const char *verb, uint64_t sector, uint64_t next_sector,
			  struct dmctl_error *error)
{
	if (next_sector > sector)
		return 0;
	return fail(error, EPROTO, "%s: %s made no progress at sector %" PRIu64, name, verb, sector);
}

int dmctl_remap(const char *name, uint64_t sector, uint64_t count, struct dmctl_remap_answer *answer,
		struct dmctl_error *error)
{
	scoped_task *task = NULL;
	char message[DMCTL_MESSAGE_BYTES];
	const char *text;
	int err;

	snprintf(message, sizeof(message), "remap %" PRIu64 " %" PRIu64, sector, count);
	err = send_message(name, message, &task, &text, error);
	if (!err)
		err = dmctl_parse_remap_answer(text, answer, error);
	return err ? err : check_progress(name, "remap", sector, answer->next_sector, error);
}

int dmctl_release(const char *name, uint64_t sector, uint64_t count, struct dmctl_release_answer *answer,
		  struct dmctl_error *error)
{
	scoped_task *task = NULL;
	char message[DMCTL_MESSAGE_BYTES];
	const char *text;
	int err;

	snprintf(message, sizeof(message), "release %" PRIu64 " %" PRIu64, sector, count);
	err = send_message(name, message, &task, &text, error);
	if (!err)
		err = dmctl_parse_release_answer(text, answer, error);
	return err ? err : check_progress(name, "release", sector, answer->next_sector, error);
}

int dmctl_set(const char *name, const char *option, uint64_t value, uint64_t *value_now, struct dmctl_error *error)
{
	scoped_task *task = NULL;
	char message[DMCTL_MESSAGE_BYTES];
	const char *text;
	char *end;
	int err;

	if (!*option || strlen(option) > 32 || strpbrk(option, " \t\n\\"))
		return fail(error, EINVAL, "\"%.32s\" is not an option of the target", option);
	snprintf(message, sizeof(message), "set %s %" PRIu64, option, value);
	err = send_message(name, message, &task, &text, error);
	if (err)
		return err;
	errno = 0;
	*value_now = strtoull(text, &end, 10);
	if (errno || end == text)
		return fail(error, EPROTO, "answer to \"%s\" is not a number: \"%.80s\"", message, text);
	return 0;
}

int dmctl_list_runs(const char *name, uint64_t from_sector, int (*run_seen)(const struct dmctl_run *run, void *data),
		    void *data, struct dmctl_error *error)
{
	for (;;) {
		scoped_task *task = NULL;
		char message[DMCTL_MESSAGE_BYTES];
		uint64_t next_sector = from_sector;
		const char *text;
		int err;

		snprintf(message, sizeof(message), "list %" PRIu64, from_sector);
		err = send_message(name, message, &task, &text, error);
		if (err)
			return err;
		while (text) {
			struct dmctl_run run;
			const char *next;

			err = dmctl_parse_run(text, &run, &next, error);
			if (err < 0)
				return err;
			if (!err)
				break;
			next_sector = run.sector + run.count;
			err = run_seen(&run, data);
			if (err)
				return err;
			text = next;
		}
		if (next_sector <= from_sector)
			return 0;
		from_sector = next_sector;
	}
}

/* ---- creating and removing ---- */

static int kernel_log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

/* Appends to error->text what device-mapper logged since kernel_log_open(), which it closes. */
static void kernel_log_append(int fd, struct dmctl_error *error)
{
	static const char prefix[] = "device-mapper: ";
	char record[1024];
	ssize_t length;

	while (fd >= 0 && ((length = read(fd, record, sizeof(record) - 1)) > 0 || (length < 0 && errno == EPIPE))) {
		char *text, *end;
		size_t used;

		if (length < 0)
			continue;
		record[length] = '\0';
		text = strchr(record, ';');
		text = text ? strstr(text, prefix) : NULL;
		if (!error || !text)
			continue;
		text += sizeof(prefix) - 1;
		end = strchr(text, '\n');
		if (end)
			*end = '\0';
		/* The ioctl's own line repeats the errno. */
		if (!strncmp(text, "ioctl: ", 7))
			continue;
		used = strlen(error->text);
		snprintf(error->text + used, sizeof(error->text) - used, "; kernel: %s", text);
	}
	if (fd >= 0)
		close(fd);
}

/* Runs a task that makes or removes nodes, and waits until udev or libdevmapper has done so. */
static int run_with_nodes(struct dm_task *task, const char *what, struct dmctl_error *error)
{
	uint32_t cookie = 0;
	int err;

	*library_text = '\0';
	if (!dm_task_set_cookie(task, &cookie, 0))
		return fail(error, EIO, "device-mapper: %s: %s", what, *library_text ? library_text : "no udev cookie");
	err = task_run(task, what, error);
	if (!dm_udev_wait(cookie) && !err)
		err = fail(error, EIO, "device-mapper: %s: waiting for udev failed: %s", what, library_text);
	return err;
}

static int load_table(const char *name, const struct dmctl_table *table, const char *params, bool read_only,
		      struct dmctl_error *error)
{
	scoped_task *task = task_create(DM_DEVICE_RELOAD, name);
	char what[DMCTL_NAME_BYTES + 32];

	if (!task || (read_only && !dm_task_set_ro(task)) ||
	    !dm_task_add_target(task, table->start_sector, table->length_sectors, DMCTL_TARGET, params))
		return no_task(error);
	snprintf(what, sizeof(what), "load the table of %s", name);
	return task_run(task, what, error);
}

int dmctl_create(const char *name, const char *uuid, const struct dmctl_table *table, bool format_spare,
		 bool read_only, struct dmctl_error *error)
{
	scoped_task *task = NULL;
	char params[DMCTL_PARAMS_BYTES];
	char what[DMCTL_NAME_BYTES + 32];
	int err, log_fd;

	err = check_name(name, error);
	if (err)
		return err;
	err = dmctl_format_table(table, format_spare, params, sizeof(params));
	if (err < 0)
		return fail(error, EINVAL, "a device's name or main_id holds what a table line can't");
	task = task_create(DM_DEVICE_CREATE, name);
	if (!task || (uuid && !dm_task_set_uuid(task, uuid)) || (read_only && !dm_task_set_ro(task)))
		return no_task(error);
	snprintf(what, sizeof(what), "create %s", name);
	err = task_run(task, what, error);
	if (err == -EBUSY)
		return fail(error, EBUSY, "a device-mapper device \"%s\" exists already, or one with this UUID", name);
	if (err)
		return err;

	log_fd = kernel_log_open();
	err = load_table(name, table, params, read_only, error);
	if (!err)
		err = dmctl_resume(name, error);
	if (err) {
		kernel_log_append(log_fd, error);
		dmctl_remove(name, NULL);
		return err;
	}
	if (log_fd >= 0)
		close(log_fd);
	return 0;
}

int dmctl_reload(const char *name, const struct dmctl_table *table, bool read_only, struct dmctl_error *error)
{
	char params[DMCTL_PARAMS_BYTES];
	int err, log_fd;

	if (dmctl_format_table(table, false, params, sizeof(params)) < 0)
		return fail(error, EINVAL, "main_id holds what a table line can't");
	log_fd = kernel_log_open();
	err = load_table(name, table, params, read_only, error);
	if (err)
		kernel_log_append(log_fd, error);
	else if (log_fd >= 0)
		close(log_fd);
	return err ? err : dmctl_resume(name, error);
}

int dmctl_set_uuid(const char *name, const char *uuid, struct dmctl_error *error)
{
	scoped_task *task = NULL;
	char what[DMCTL_NAME_BYTES + 32];
	int err;

	err = check_name(name, error);
	if (err)
		return err;
	task = task_create(DM_DEVICE_RENAME, name);
	if (!task || !dm_task_set_newuuid(task, uuid))
		return no_task(error);
	snprintf(what, sizeof(what), "set the UUID of %s", name);
	return run_with_nodes(task, what, error);
}

int dmctl_wait_unused(const char *name, int timeout_ms, struct dmctl_error *error)
{
	const struct timespec pause = { .tv_nsec = UNUSED_PAUSE_MS * 1000000 };
	struct dmctl_device device;

	/* Without udev nobody opens a device for a moment: whoever has it open means it. */
	if (!dm_udev_get_sync_support())
		timeout_ms = 0;
	for (;; timeout_ms -= UNUSED_PAUSE_MS) {
		int err = dmctl_get(name, &device, error);

		/* A device without a live table counts as well: create's undo. */
		if (err && (err != -EMEDIUMTYPE || device.live_table))
			return err;
		if (device.open_count <= 0)
			return 0;
		if (timeout_ms <= 0)
			return fail(error, EBUSY, "%s is in use: a program has it open (see: lsof /dev/mapper/%s)", name, name);
		nanosleep(&pause, NULL);
	}
}

int dmctl_remove(const char *name, struct dmctl_error *error)
{
	scoped_task *task = NULL;
	char what[DMCTL_NAME_BYTES + 32];
	int err;

	err = dmctl_wait_unused(name, UNUSED_TIMEOUT_MS, error);
	if (err)
		return err;
	task = task_create(DM_DEVICE_REMOVE, name);
	/* udev may open it once more in between. */
	if (!task || !dm_task_retry_remove(task))
		return no_task(error);
	snprintf(what, sizeof(what), "remove %s", name);
	return run_with_nodes(task, what, error);
}

int dmctl_suspend(const char *name, struct dmctl_error *error)
{
	scoped_task *task = NULL;
	char what[DMCTL_NAME_BYTES + 32];
	int err;

	err = check_name(name, error);
	if (err)
		return err;
	/* Unlike status, this one flushes: no task_create(). */
	task = dm_task_create(DM_DEVICE_SUSPEND);
	if (!task || !dm_task_set_name(task, name))
		return no_task(error);
	snprintf(what, sizeof(what), "suspend %s", name);
	return task_run(task, what, error);
}

int dmctl_resume(const char *name, struct dmctl_error *error)
{
	scoped_task *task = NULL;
	char what[DMCTL_NAME_BYTES + 32];
	int err;

	err = check_name(name, error);
	if (err)
		return err;
	task = dm_task_create(DM_DEVICE_RESUME);
	if (!task || !dm_task_set_name(task, name))
		return no_task(error);
	snprintf(what, sizeof(what), "activate %s", name);
	return run_with_nodes(task, what, error);
}

/* ---- events ---- */

int dmctl_events_arm(int fd, struct dmctl_error *error)
{
	struct dm_ioctl request = {
		.version = { DM_VERSION_MAJOR, 0, 0 },
		.data_size = sizeof(request),
		.data_start = sizeof(request),
	};

	if (!ioctl(fd, DM_DEV_ARM_POLL, &request))
		return 0;
	if (errno == ENOTTY || errno == EINVAL)
		return fail(error, EOPNOTSUPP, "this kernel's device-mapper has no events for poll (Linux 4.13)");
	return fail(error, errno, "device-mapper: arm events: %s", strerror(errno));
}

int dmctl_events_open(struct dmctl_error *error)
{
	int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	int err;

	if (fd < 0) {
		err = errno == ENOENT || errno == ENXIO ? ENODEV : errno;
		return fail(error, err, "/dev/mapper/control: %s", strerror(errno));
	}
	err = dmctl_events_arm(fd, error);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}
