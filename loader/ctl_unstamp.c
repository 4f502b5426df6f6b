// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* remapctl unstamp: the last resort for a main whose spare is lost. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/ctl.h"
#include "loader/ctl_probe.h"
#include "loader/ctl_stale.h"

struct unstamp {
	const struct ctl *ctl;
	const struct probe_device *main;
	const char *spare_uuid;
	struct saved_copies copies;
	int fd;
	char *sectors; /* SAVED_SECTORS_MAX, aligned */
};

static off_t byte_of(const struct unstamp *unstamp, const struct saved_copy *copy)
{
	return (off_t)((unstamp->ctl->main_offset_sectors + copy->sector) * STAMP_SECTOR_BYTES);
}

/* Reads the block of main and replaces each sector that is stamped by the copy's; how many. 0 also if it can't be read. */
static uint32_t replace_stamps(const struct unstamp *unstamp, const struct saved_copy *copy)
{
	struct stamp stamp = { .sector = copy->sector };
	size_t bytes = (size_t)copy->nr_sectors * STAMP_SECTOR_BYTES, at;
	uint32_t replaced = 0;

	if (pread(unstamp->fd, unstamp->sectors, bytes, byte_of(unstamp, copy)) != (ssize_t)bytes)
		return 0;
	snprintf(stamp.spare_uuid, sizeof(stamp.spare_uuid), "%s", unstamp->spare_uuid);
	/* Not the whole block: a crash may have left a mixture, and what is not stamp is newer than the copy. */
	for (at = 0; at < bytes; at += STAMP_SECTOR_BYTES, stamp.sector++) {
		if (!stamp_is_whole(&stamp, unstamp->sectors + at, 1))
			continue;
		memcpy(unstamp->sectors + at, copy->block + at, STAMP_SECTOR_BYTES);
		replaced++;
	}
	return replaced;
}

static int put_back(const struct unstamp *unstamp, struct saved_copy *copy)
{
	size_t bytes = (size_t)copy->nr_sectors * STAMP_SECTOR_BYTES;

	if (!replace_stamps(unstamp, copy))
		return EX_OK;
	memcpy(copy->block, unstamp->sectors, bytes);
	errno = 0;
	if (pwrite(unstamp->fd, copy->block, bytes, byte_of(unstamp, copy)) != (ssize_t)bytes ||
	    pread(unstamp->fd, unstamp->sectors, bytes, byte_of(unstamp, copy)) != (ssize_t)bytes ||
	    memcmp(copy->block, unstamp->sectors, bytes))
		return ctl_fail(EX_IOERR, "%s: sector %" PRIu64 " does not take what stood there: %s", unstamp->main->path,
				copy->sector, errno ? strerror(errno) : "it reads differently");
	return EX_OK;
}

/* Blocks of main that are stamped and have a copy. */
static uint64_t count_stamped(const struct unstamp *unstamp)
{
	uint64_t count = 0;
	size_t i;

	for (i = 0; i < unstamp->copies.count; i++)
		count += replace_stamps(unstamp, &unstamp->copies.copy[i]) > 0;
	return count;
}

static int ask_and_put_back(const struct unstamp *unstamp)
{
	const struct saved_copies *copies = &unstamp->copies;
	char question[PATH_MAX + 160];
	uint64_t stamped = count_stamped(unstamp);
	int status;
	size_t i;

	if (unstamp->ctl->dry_run) {
		printf("would put back %" PRIu64 " blocks on %s\n", stamped, unstamp->main->path);
		return EX_OK;
	}
	snprintf(question, sizeof(question),
		 "The spare of %s is given up: what was moved to it is gone, but for %" PRIu64
		 " blocks as they were when main was stamped.",
		 unstamp->main->path, stamped);
	status = ctl_confirm(unstamp->ctl, question);
	/* The first block last, so that a crash leaves main stamped where it shows. */
	for (i = copies->count; i-- && !status;)
		status = put_back(unstamp, &copies->copy[i]);
	if (!status)
		printf("%s: %" PRIu64 " blocks are as they were when it was stamped; check what it holds before it is used\n",
		       unstamp->main->path, stamped);
	return status;
}

static int unstamp_main(struct unstamp *unstamp)
{
	void *sectors = NULL;
	int status, err = saved_load(unstamp->ctl->state_dir, unstamp->spare_uuid, &unstamp->copies);

	if (err)
		return ctl_fail(EX_NOINPUT, "%s/%s.main: %s", unstamp->ctl->state_dir, unstamp->spare_uuid, strerror(-err));
	unstamp->fd = open(unstamp->main->path, O_RDWR | O_DIRECT | O_DSYNC | O_EXCL | O_CLOEXEC);
	if (unstamp->fd < 0)
		status = ctl_fail(EX_UNAVAILABLE, "%s: %s", unstamp->main->path, strerror(errno));
	else if (posix_memalign(&sectors, STALE_ALIGN_BYTES, SAVED_SECTORS_MAX * STAMP_SECTOR_BYTES))
		status = ctl_fail(EX_OSERR, "out of memory");
	else {
		unstamp->sectors = sectors;
		status = ask_and_put_back(unstamp);
	}
	if (unstamp->fd >= 0)
		close(unstamp->fd);
	free(sectors);
	saved_free(&unstamp->copies);
	return status;
}

int ctl_unstamp(struct ctl *ctl, char **args)
{
	char error[PROBE_ERROR_BYTES];
	struct probe_device main;
	struct stamp stamp;
	struct unstamp unstamp = { .ctl = ctl, .main = &main, .spare_uuid = stamp.spare_uuid };
	int status = ctl_probe_device(args[0], &main, error);

	if (status)
		return ctl_fail(status, "%s", error);
	if (*main.used_by)
		return ctl_fail(EX_DATAERR, "%s is in use: %s", main.path, main.used_by);
	if (ctl->main_offset_sectors >= main.size_sectors ||
	    stale_look(main.path, ctl->main_offset_sectors, main.size_sectors - ctl->main_offset_sectors, &stamp) !=
		    STAMP_OK)
		return ctl_fail(EX_DATAERR, "%s is not stamped", main.path);
	status = unstamp_main(&unstamp);
	if (!status && !ctl->dry_run)
		stale_read_partitions(main.path);
	return status;
}
