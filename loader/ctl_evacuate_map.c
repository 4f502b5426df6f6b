// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* See ctl_evacuate.h: what an earlier run has copied, and whether that still holds. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/ctl_evacuate.h"
#include "loader/ctl_stale.h"

/* What is compared of an earlier run's copy: the first sectors, where file systems note that they were mounted, and all over. */
#define SAMPLE_SECTORS 128
#define SAMPLES_FIRST 512 /* 32 MiB: behind the headers of LVM and LUKS, too */
#define SAMPLES_ALL_OVER 64

int evacuate_name_map(struct evacuation *e)
{
	const char *id = *e->target.main_id ? e->target.main_id : e->target.kernel_name;
	char uuid[STAMP_UUID_BYTES], warning[STALE_TEXT_BYTES] = "", error[STALE_TEXT_BYTES];
	const char *const kinds[] = { "to", "live-to" };
	char *const paths[] = { e->in_use ? e->other_mapfile : e->mapfile, e->in_use ? e->mapfile : e->other_mapfile };
	int status = stale_find_spare_uuid(&e->device, uuid), i;

	if (status)
		return status;
	for (i = 0; i < 2; i++)
		if (snprintf(paths[i], PATH_MAX - sizeof(".bak"), "%s/%s-%s-%s.map", e->ctl->state_dir, uuid, kinds[i], id) >=
		    (int)(PATH_MAX - sizeof(".bak")))
			return ctl_fail(EX_USAGE, "%s: the path is too long", e->ctl->state_dir);
	if (!e->ctl->dry_run)
		status = saved_check(e->ctl->state_dir, 0, warning, error);
	if (status)
		return ctl_fail(status, "can't keep a mapfile: %s (name another directory with --state-dir)", error);
	if (*warning)
		fprintf(stderr, "remapctl: note: %s, or after a reboot the copy begins anew\n", warning);
	return EX_OK;
}

static bool read_file(const char *path, uint64_t length_sectors, const char *statuses, struct badmap *map)
{
	char error[BADMAP_ERROR_BYTES];
	FILE *in = fopen(path, "re");
	bool good = in && !badmap_read_mapfile(in, statuses, map, error);

	if (in)
		fclose(in);
	if (good)
		badmap_clip(map, 0, length_sectors);
	else if (in)
		badmap_free(map);
	return good;
}

bool evacuate_read_map(const struct evacuation *e, const char *statuses, struct badmap *map)
{
	return read_file(e->mapfile, e->length_sectors, statuses, map);
}

static void name_backup(const char *mapfile, char *backup)
{
	snprintf(backup, PATH_MAX, "%.*s.bak", (int)(PATH_MAX - sizeof(".bak")), mapfile);
}

/* ddrescue renames the last one before it writes another; a crash may come in between. */
void evacuate_find_copied(struct evacuation *e)
{
	char backup[PATH_MAX];

	name_backup(e->mapfile, backup);
	if (!evacuate_read_map(e, "+", &e->done) && read_file(backup, e->length_sectors, "+", &e->done) &&
	    !e->ctl->dry_run && rename(backup, e->mapfile))
		badmap_free(&e->done);
	e->resumed = e->done.sectors;
}

/* The sector that has @nr finished ones before it, and how many follow it without a gap. */
static uint64_t nth_done(const struct badmap *done, uint64_t nr, uint64_t *count)
{
	size_t i = 0;

	while (nr >= done->range[i].count)
		nr -= done->range[i++].count;
	*count = done->range[i].count - nr;
	return done->range[i].sector + nr;
}

/* False: they differ. What does not read now proves nothing. */
static bool sample_agrees(int source, int target, uint64_t sector, uint64_t count, char *buffer)
{
	const size_t bytes = (count < SAMPLE_SECTORS ? count : SAMPLE_SECTORS) * SECTOR_BYTES;
	const off_t at = (off_t)(sector * SECTOR_BYTES);
	char *copy = buffer + SAMPLE_SECTORS * SECTOR_BYTES;

	if (pread(source, buffer, bytes, at) != (ssize_t)bytes || pread(target, copy, bytes, at) != (ssize_t)bytes)
		return true;
	return !memcmp(buffer, copy, bytes);
}

int evacuate_check_copied(struct evacuation *e)
{
	const unsigned int block_sectors = e->source.logical_block_bytes / SECTOR_BYTES;
	int source = open(e->source.path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	int target = open(e->target.path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	uint64_t sector = 0, count;
	void *buffer = NULL;
	bool agrees = true;
	unsigned int i;
	int status = EX_OK;

	if (source < 0 || target < 0 || posix_memalign(&buffer, STALE_ALIGN_BYTES, 2 * SAMPLE_SECTORS * SECTOR_BYTES)) {
		buffer = NULL;
		status = ctl_fail(EX_OSERR, "%s: %s", source < 0 ? e->source.path : e->target.path, strerror(errno));
	}
	for (i = 0; !status && agrees && i < SAMPLES_FIRST + SAMPLES_ALL_OVER; i++) {
		uint64_t nr = i < SAMPLES_FIRST ? (uint64_t)i * SAMPLE_SECTORS :
						  e->done.sectors / SAMPLES_ALL_OVER * (i - SAMPLES_FIRST);

		nr -= nr % block_sectors;
		if (nr >= e->done.sectors || (i >= SAMPLES_FIRST && nr < SAMPLES_FIRST * SAMPLE_SECTORS))
			continue;
		sector = nth_done(&e->done, nr, &count);
		agrees = sample_agrees(source, target, sector, count, buffer);
	}
	free(buffer);
	if (source >= 0)
		close(source);
	if (target >= 0)
		close(target);
	if (status || agrees)
		return status;
	if (e->ctl->force) {
		e->resumed = false;
		badmap_free(&e->done);
		return EX_OK;
	}
	return ctl_fail(EX_DATAERR,
			"refused: %s was copied to %s in part, and one of them was written since (they differ near sector %" PRIu64
			"): what was copied is worth nothing now (--force begins anew)",
			e->device.name, e->target.path, sector);
}

int evacuate_write_map(const struct evacuation *e, const struct badmap *done)
{
	char backup[PATH_MAX];
	int fd;
	FILE *out;
	bool failed;

	name_backup(e->mapfile, backup);
	unlink(backup);
	if (rename(e->mapfile, backup) && errno != ENOENT)
		return ctl_fail(EX_CANTCREAT, "%s: %s", backup, strerror(errno));
	fd = open(e->mapfile, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (!out)
		return ctl_fail(EX_CANTCREAT, "%s: %s", e->mapfile, strerror(errno));
	badmap_write_mapfile(done, e->length_sectors, '+', '?', out);
	failed = fflush(out) || fsync(fd);
	failed |= fclose(out);
	return failed ? ctl_fail(EX_IOERR, "%s: can't be written", e->mapfile) : EX_OK;
}

int evacuate_begin_map(const struct evacuation *e)
{
	const struct badmap none = { 0 };
	char backup[PATH_MAX];

	name_backup(e->other_mapfile, backup);
	unlink(backup);
	if (unlink(e->other_mapfile) && errno != ENOENT)
		return ctl_fail(EX_CANTCREAT, "%s: %s", e->other_mapfile, strerror(errno));
	return evacuate_write_map(e, &none);
}
