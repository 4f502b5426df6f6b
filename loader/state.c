// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The state directory:
 *
 *	run           how the runs ended, and the clock: text, replaced as a whole
 *	NAME.state    a device's evidence and counters: header, counters, the model's image; with a checksum
 *
 * Files are written beside their place and renamed. They are not synced: after a crash of the machine the older file, or
 * none, is as good.
 */
#include "loader/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "loader/health_image.h"
#include "loader/log.h"
#include "loader/remapd.h"

#define STATE_MAGIC "remapst"
#define STATE_VERSION 1
#define IMAGE_BYTES_MAX (64U << 20)
#define CRASHES_MAX 2

struct state_header {
	char magic[8];
	uint32_t version;
	uint32_t pad;
	uint64_t checksum; /* of all that follows the header */
	uint64_t image_bytes;
};

/* Of a device whose disk is known again by these: names alone may be given to another disk. */
struct state_counters {
	char wwn[DEVICE_ID_BYTES];
	char serial[DEVICE_ID_BYTES];
	uint64_t size_sectors;
	uint64_t would_relocate_total;
	uint64_t relocated_extents_total;
	uint64_t relocation_failures_total;
	double last_relocation_at;
	double last_action_at;
	uint64_t last_action_extent;
	char last_action_text[EVENT_TEXT_BYTES];
	struct policy_budget budget;
};

static struct {
	int dir_fd;
	unsigned int crashes; /* of runs before this one, in a row */
} state = { .dir_fd = -1 };

/* FNV-1a, 64 bits: against half a file and worn-out media, not against an enemy. */
static uint64_t checksum_of(const char *bytes, size_t count)
{
	uint64_t sum = 0xcbf29ce484222325ULL;

	while (count--)
		sum = (sum ^ (unsigned char)*bytes++) * 0x100000001b3ULL;
	return sum;
}

static int write_whole(const char *name, const struct iovec *parts, int count)
{
	char temporary[DMCTL_NAME_BYTES + 16];
	int fd, i;

	snprintf(temporary, sizeof(temporary), ".%s.new", name);
	fd = openat(state.dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	for (i = 0; i < count; i++) {
		size_t written = 0;

		while (written < parts[i].iov_len) {
			ssize_t one = write(fd, (const char *)parts[i].iov_base + written, parts[i].iov_len - written);

			if (one < 0) {
				int err = -errno;

				close(fd);
				unlinkat(state.dir_fd, temporary, 0);
				return err;
			}
			written += one;
		}
	}
	close(fd);
	return renameat(state.dir_fd, temporary, state.dir_fd, name) ? -errno : 0;
}

/* ---- the run ---- */

static void read_boot_id(char boot_id[64])
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!file || !fgets(boot_id, 64, file))
		snprintf(boot_id, 64, "unknown");
	boot_id[strcspn(boot_id, "\n")] = '\0';
	if (file)
		fclose(file);
}

static void write_run(unsigned int crashes)
{
	char text[256], boot_id[64];
	struct iovec part = { .iov_base = text };

	read_boot_id(boot_id);
	part.iov_len = snprintf(text, sizeof(text), "version 1\ncrashes %u\nboot_id %s\nbooted_ns %llu\nnow_ns %llu\nunix %.0f\n",
				crashes, boot_id, (unsigned long long)clock_booted_ns(),
				(unsigned long long)clock_now_ns(), clock_unix());
	write_whole("run", &part, 1);
}

/* Sets the clock so that times of the last run mean the same in this one. */
static void read_run(void)
{
	unsigned long long booted_ns, now_ns;
	char then_boot_id[64], boot_id[64];
	double then_unix, away_s;
	unsigned int crashes;
	FILE *file;
	int fd = openat(state.dir_fd, "run", O_RDONLY | O_CLOEXEC);

	file = fd < 0 ? NULL : fdopen(fd, "r");
	if (!file) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (fscanf(file, "version 1 crashes %u boot_id %63s booted_ns %llu now_ns %llu unix %lf", &crashes, then_boot_id,
		   &booted_ns, &now_ns, &then_unix) == 5) {
		state.crashes = crashes;
		read_boot_id(boot_id);
		away_s = clock_unix() - then_unix;
		if (!strcmp(boot_id, then_boot_id)) {
			clock_set_booted_ns(booted_ns);
		} else {
			uint64_t resumed_ns = now_ns + (uint64_t)(away_s > 0 && away_s < 3e8 ? away_s * 1e9 : 0);
			uint64_t up_ns = clock_now_ns();

			clock_set_booted_ns(resumed_ns > up_ns ? resumed_ns - up_ns : 0);
		}
	}
	fclose(file);
}

static int make_parents(const char *path)
{
	char part[PATH_MAX];
	size_t i;

	for (i = 1; path[i] && i < sizeof(part); i++) {
		if (path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0755) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

bool state_open(struct daemon *d)
{
	int err;

	if (!d->state_dir)
		return true;
	err = make_parents(d->state_dir);
	if (!err && mkdir(d->state_dir, 0700) && errno != EEXIST)
		err = -errno;
	if (!err) {
		state.dir_fd = open(d->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (state.dir_fd < 0)
			err = -errno;
	}
	if (err) {
		log_line(LOG_WARNING, "%s can't be used (%s): evidence is not kept over restarts", d->state_dir,
			 strerror(-err));
		return false;
	}
	read_run();
	d->fell_back = state.crashes >= CRASHES_MAX;
	if (d->fell_back)
		log_line(LOG_ERR, "the last %u runs ended in a crash: this one only observes", state.crashes);
	write_run(state.crashes + 1);
	return true;
}

void state_settled(struct daemon *d)
{
	/* The fallback of this run stays until it is started anew: a person should look first. */
	if (state.dir_fd >= 0)
		write_run(0);
}

void state_close(struct daemon *d)
{
	if (state.dir_fd < 0)
		return;
	write_run(0);
	close(state.dir_fd);
	state.dir_fd = -1;
}

/* ---- a device ---- */

static void file_name(const struct device *device, char name[DMCTL_NAME_BYTES + 8])
{
	char *c;

	snprintf(name, DMCTL_NAME_BYTES + 8, "%s.state", device->name);
	for (c = name; *c; c++)
		if (*c == '/')
			*c = '!';
	if (name[0] == '.')
		name[0] = '_';
}

void state_save_device(struct daemon *d, const struct device *device)
{
	struct state_header header = { .magic = STATE_MAGIC, .version = STATE_VERSION };
	struct state_counters counters = {
		.size_sectors = device->size_sectors,
		.would_relocate_total = device->would_relocate_total,
		.relocated_extents_total = device->relocated_extents_total,
		.relocation_failures_total = device->relocation_failures_total,
		.last_relocation_at = device->last_relocation_at,
		.last_action_at = device->last_action_at,
		.last_action_extent = device->last_action_extent,
		.budget = device->budget,
	};
	char name[DMCTL_NAME_BYTES + 8], *body;
	struct iovec parts[2];
	int err;

	if (state.dir_fd < 0 || !device->health)
		return;
	memcpy(counters.wwn, device->main.wwn, sizeof(counters.wwn));
	memcpy(counters.serial, device->main.serial, sizeof(counters.serial));
	memcpy(counters.last_action_text, device->last_action_text, sizeof(counters.last_action_text));
	header.image_bytes = health_image_bytes(device->health);
	body = malloc(sizeof(counters) + header.image_bytes);
	if (!body)
		return;
	memcpy(body, &counters, sizeof(counters));
	health_image_save(device->health, body + sizeof(counters));
	header.checksum = checksum_of(body, sizeof(counters) + header.image_bytes);
	parts[0] = (struct iovec){ .iov_base = &header, .iov_len = sizeof(header) };
	parts[1] = (struct iovec){ .iov_base = body, .iov_len = sizeof(counters) + header.image_bytes };
	file_name(device, name);
	err = write_whole(name, parts, 2);
	if (err)
		log_line(LOG_DEBUG, "%s: evidence not saved: %s", device->name, strerror(-err));
	free(body);
}

static char *read_body(int fd, struct state_header *header, size_t *body_bytes)
{
	struct stat st;
	size_t got = 0;
	char *body;

	if (read(fd, header, sizeof(*header)) != sizeof(*header) || memcmp(header->magic, STATE_MAGIC, sizeof(STATE_MAGIC)) ||
	    header->version != STATE_VERSION || header->image_bytes > IMAGE_BYTES_MAX || fstat(fd, &st))
		return NULL;
	*body_bytes = sizeof(struct state_counters) + header->image_bytes;
	if ((uint64_t)st.st_size != sizeof(*header) + *body_bytes)
		return NULL;
	body = malloc(*body_bytes);
	while (body && got < *body_bytes) {
		ssize_t one = read(fd, body + got, *body_bytes - got);

		if (one <= 0)
			break;
		got += one;
	}
	if (body && (got < *body_bytes || checksum_of(body, *body_bytes) != header->checksum)) {
		free(body);
		return NULL;
	}
	return body;
}

bool state_restore_device(struct daemon *d, struct device *device)
{
	char name[DMCTL_NAME_BYTES + 8], *body;
	struct state_counters *counters;
	struct state_header header;
	size_t body_bytes;
	bool restored;
	int fd;

	if (state.dir_fd < 0)
		return false;
	file_name(device, name);
	fd = openat(state.dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	body = read_body(fd, &header, &body_bytes);
	close(fd);
	if (!body)
		return false;
	counters = (struct state_counters *)body;
	restored = !strncmp(counters->wwn, device->main.wwn, sizeof(counters->wwn)) &&
		   !strncmp(counters->serial, device->main.serial, sizeof(counters->serial)) &&
		   counters->size_sectors == device->size_sectors &&
		   health_image_restore(device->health, body + sizeof(*counters), header.image_bytes);
	if (restored) {
		device->would_relocate_total = counters->would_relocate_total;
		device->relocated_extents_total = counters->relocated_extents_total;
		device->relocation_failures_total = counters->relocation_failures_total;
		device->last_relocation_at = counters->last_relocation_at;
		device->last_action_at = counters->last_action_at;
		device->last_action_extent = counters->last_action_extent;
		memcpy(device->last_action_text, counters->last_action_text, sizeof(device->last_action_text));
		device->last_action_text[sizeof(device->last_action_text) - 1] = '\0';
		device->budget = counters->budget;
	}
	free(body);
	return restored;
}
