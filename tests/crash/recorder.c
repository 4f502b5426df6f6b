// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * nbdkit plugin: disks in memory with volatile write caches, whose every write, flush and failure goes to one log.
 *
 *	nbdkit -U SOCKET ./recorder.so log=FILE main=FILE spare=FILE
 *
 * The exports are "main" and "spare", whose first content is in those files, which are never written, and "marks": it
 * takes marks (record.h), which go into the log as they come; some tell the recorder to let sectors fail or to cut the
 * power. Requests of all exports are served one at a time, so the log is one sequence.
 *
 * A power cut decides of each sector in a cache whether it is kept; from then on the disks fail everything until the
 * power is on again. No disk takes FUA: whoever wants it sends a flush behind the write.
 */
#define NBDKIT_API_VERSION 2
#include <errno.h>
#include <nbdkit-plugin.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/crash/record.h"
#include "tests/vm/guest/pattern.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS

struct disk {
	const char *name;
	uint64_t nr_sectors;
	unsigned char *now;		/* with what is in the cache */
	unsigned char *durable;
	unsigned char *cached;		/* one byte a sector: now and durable may differ */
};

struct bad_range {
	uint32_t disk;
	uint32_t how;
	uint64_t first;
	uint64_t end;
};

static struct disk disks[CRASH_DISKS] = { [CRASH_MAIN] = { .name = "main" }, [CRASH_SPARE] = { .name = "spare" } };
static struct bad_range bad[CRASH_BAD_SLOTS];
static bool power_is_off;
static FILE *log_file;

static struct disk marks = { .name = "marks", .nr_sectors = CRASH_MARKS_SECTORS };

static int add_record(enum crash_kind kind, const struct disk *disk, uint64_t first, uint32_t nr_sectors, const void *data)
{
	struct crash_record record = {
		.kind = kind,
		.disk = disk == &marks ? 0 : disk - disks,
		.first_sector = first,
		.nr_sectors = nr_sectors,
		.data_bytes = data ? nr_sectors * CRASH_SECTOR_BYTES : 0,
	};

	if (fwrite(&record, sizeof(record), 1, log_file) == 1 &&
	    (!data || fwrite(data, record.data_bytes, 1, log_file) == 1))
		return 0;
	nbdkit_error("log: %m");
	nbdkit_set_error(EIO);
	return -1;
}

/* Anonymous memory, or a private copy of what @fd has. */
static void *memory(int fd, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	if (p == MAP_FAILED)
		nbdkit_error("memory: %m");
	return p == MAP_FAILED ? NULL : p;
}

static int fill_disk(struct disk *disk, const char *path)
{
	struct stat st;
	int fd, r = -1;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0 || !st.st_size || st.st_size % CRASH_SECTOR_BYTES) {
		nbdkit_error("%s: not a readable file of whole sectors", path);
		goto out;
	}
	disk->nr_sectors = st.st_size / CRASH_SECTOR_BYTES;
	disk->now = memory(fd, st.st_size);
	disk->durable = memory(fd, st.st_size);
	disk->cached = memory(-1, disk->nr_sectors);
	if (disk->now && disk->durable && disk->cached)
		r = 0;
out:
	if (fd >= 0)
		close(fd);
	return r;
}

static int recorder_config(const char *key, const char *value)
{
	unsigned int i;

	for (i = 0; i < CRASH_DISKS; i++)
		if (!strcmp(key, disks[i].name) && !disks[i].nr_sectors)
			return fill_disk(&disks[i], value);
	if (strcmp(key, "log") || log_file) {
		nbdkit_error("unknown or repeated parameter %s", key);
		return -1;
	}
	log_file = fopen(value, "we");
	if (!log_file)
		nbdkit_error("%s: %m", value);
	return log_file ? 0 : -1;
}

static int recorder_config_complete(void)
{
	if (log_file && disks[CRASH_MAIN].nr_sectors && disks[CRASH_SPARE].nr_sectors)
		return 0;
	nbdkit_error("log=FILE, main=FILE and spare=FILE are needed");
	return -1;
}

static int recorder_get_ready(void)
{
	const uint64_t magic = CRASH_LOG_MAGIC;
	unsigned int i;

	if (fwrite(&magic, sizeof(magic), 1, log_file) != 1)
		return -1;
	for (i = 0; i < CRASH_DISKS; i++)
		if (add_record(CRASH_DISK, &disks[i], 0, disks[i].nr_sectors, disks[i].now) != 0)
			return -1;
	return fflush(log_file);
}

static void recorder_unload(void)
{
	if (log_file && fclose(log_file) != 0)
		nbdkit_error("log: %m");
}

static void *recorder_open(int readonly)
{
	const char *name = nbdkit_export_name();
	unsigned int i;

	if (name && !strcmp(name, marks.name))
		return &marks;
	for (i = 0; name && i < CRASH_DISKS; i++)
		if (!strcmp(name, disks[i].name))
			return &disks[i];
	nbdkit_error("no export %s", name ? name : "without a name");
	return NULL;
}

static int64_t recorder_get_size(void *handle)
{
	return ((struct disk *)handle)->nr_sectors * CRASH_SECTOR_BYTES;
}

static int recorder_block_size(void *handle, uint32_t *least, uint32_t *best, uint32_t *most)
{
	*least = CRASH_SECTOR_BYTES;
	*best = 4096;
	*most = 32 << 20;
	return 0;
}

static int recorder_can_fua(void *handle)
{
	return NBDKIT_FUA_NONE;
}

static int recorder_can_flush(void *handle)
{
	return 1;
}

static int fail(void)
{
	nbdkit_set_error(EIO);
	return -1;
}

/* The first of the sectors that fails; @end: none does. *@bad_end: where the failing range ends. */
static uint64_t first_bad(const struct disk *disk, uint64_t first, uint64_t end, uint32_t how, uint64_t *bad_end)
{
	uint64_t found = end;
	unsigned int i;

	for (i = 0; i < CRASH_BAD_SLOTS; i++) {
		uint64_t at = first > bad[i].first ? first : bad[i].first;

		if (&disks[bad[i].disk] != disk || !(bad[i].how & how) || bad[i].end <= first || at >= found)
			continue;
		found = at;
		*bad_end = bad[i].end < end ? bad[i].end : end;
	}
	return found;
}

static int recorder_pread(void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
	struct disk *disk = handle;
	uint64_t first = offset / CRASH_SECTOR_BYTES, end = first + count / CRASH_SECTOR_BYTES;
	uint64_t at, bad_end;
	bool failed = false;

	if (disk == &marks) {
		memset(buf, 0, count);
		return 0;
	}
	if (power_is_off)
		return fail();
	for (at = first; (at = first_bad(disk, at, end, CRASH_BAD_READ, &bad_end)) < end; at = bad_end) {
		failed = true;
		if (add_record(CRASH_FAILED_READ, disk, at, bad_end - at, NULL) != 0)
			return -1;
	}
	if (failed)
		return fail();
	memcpy(buf, disk->now + offset, count);
	return 0;
}

static int cut_power(uint64_t seed)
{
	unsigned int i;
	uint64_t s;

	for (i = 0; i < CRASH_DISKS; i++) {
		struct disk *disk = &disks[i];

		for (s = 0; s < disk->nr_sectors; s++) {
			unsigned char *now = disk->now + s * CRASH_SECTOR_BYTES;
			unsigned char *durable = disk->durable + s * CRASH_SECTOR_BYTES;

			if (!disk->cached[s])
				continue;
			disk->cached[s] = 0;
			if (pattern_random(&seed) & 1) {
				memcpy(durable, now, CRASH_SECTOR_BYTES);
				continue;
			}
			memcpy(now, durable, CRASH_SECTOR_BYTES);
			if (add_record(CRASH_REVERT, disk, s, 1, now) != 0)
				return -1;
		}
	}
	power_is_off = true;
	return fflush(log_file);
}

static int take_mark(const struct crash_mark *mark)
{
	if (mark->magic != CRASH_MARK_MAGIC || add_record(CRASH_MARK, &marks, 0, 1, mark) != 0)
		return fail();
	switch (mark->kind) {
	case CRASH_MARK_BAD:
		if (mark->slot >= CRASH_BAD_SLOTS || mark->disk >= CRASH_DISKS)
			return fail();
		bad[mark->slot] = (struct bad_range){
			.disk = mark->disk,
			.how = mark->how,
			.first = mark->first_sector,
			.end = mark->first_sector + mark->nr_sectors,
		};
		return 0;
	case CRASH_MARK_CUT:
		return cut_power(mark->seed) == 0 ? 0 : fail();
	case CRASH_MARK_ON:
		power_is_off = false;
		return 0;
	case CRASH_MARK_COMPLETE:
		return fflush(log_file) == 0 ? 0 : fail();
	default:
		return 0;
	}
}

static int recorder_pwrite(void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
	struct disk *disk = handle;
	uint64_t first = offset / CRASH_SECTOR_BYTES, nr_sectors = count / CRASH_SECTOR_BYTES;
	uint64_t good, bad_end;

	if (disk == &marks)
		return count == sizeof(struct crash_mark) ? take_mark(buf) : fail();
	if (power_is_off)
		return fail();
	/* As on a disk: what is before the first bad sector is written all the same. */
	good = first_bad(disk, first, first + nr_sectors, CRASH_BAD_WRITE, &bad_end) - first;
	if (good) {
		memcpy(disk->now + first * CRASH_SECTOR_BYTES, buf, good * CRASH_SECTOR_BYTES);
		memset(disk->cached + first, 1, good);
		if (add_record(CRASH_WRITE, disk, first, good, buf) != 0)
			return -1;
	}
	if (good == nr_sectors)
		return 0;
	if (add_record(CRASH_FAILED_WRITE, disk, first, nr_sectors, buf) != 0)
		return -1;
	return fail();
}

static int recorder_flush(void *handle, uint32_t flags)
{
	struct disk *disk = handle;
	uint64_t s;

	if (disk == &marks)
		return 0;
	if (power_is_off)
		return fail();
	for (s = 0; s < disk->nr_sectors; s++)
		if (disk->cached[s])
			memcpy(disk->durable + s * CRASH_SECTOR_BYTES, disk->now + s * CRASH_SECTOR_BYTES,
			       CRASH_SECTOR_BYTES);
	memset(disk->cached, 0, disk->nr_sectors);
	return add_record(CRASH_FLUSH, disk, 0, 0, NULL);
}

static struct nbdkit_plugin plugin = {
	.name = "recorder",
	.config = recorder_config,
	.config_complete = recorder_config_complete,
	.get_ready = recorder_get_ready,
	.unload = recorder_unload,
	.open = recorder_open,
	.get_size = recorder_get_size,
	.block_size = recorder_block_size,
	.can_fua = recorder_can_fua,
	.can_flush = recorder_can_flush,
	.pread = recorder_pread,
	.pwrite = recorder_pwrite,
	.flush = recorder_flush,
};

NBDKIT_REGISTER_PLUGIN(plugin)
