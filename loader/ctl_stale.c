// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* See ctl_stale.h: a target and the disk below it, block by block. */
#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "loader/ctl_probe.h"
#include "loader/ctl_stale.h"

#define LOCK_TIMEOUT_MS 10000
#define LOCK_PAUSE_MS 100

/* ---- opening ---- */

static int take_lock(const struct stale *stale)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000 };
	int left_ms;

	/* udev locks a device while it looks at it, for a moment. */
	for (left_ms = LOCK_TIMEOUT_MS; flock(stale->main_fd, LOCK_EX | LOCK_NB); left_ms -= LOCK_PAUSE_MS) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return ctl_fail(EX_OSERR, "%s: can't be locked: %s", stale->main_path, strerror(errno));
		if (left_ms <= 0)
			return ctl_fail(EX_TEMPFAIL, "%s is locked: another remapctl works on it (see: lslocks)",
					stale->main_path);
		nanosleep(&pause, NULL);
	}
	return EX_OK;
}

/* Devices that remapctl made carry it; of others it is read. */
int stale_find_spare_uuid(const struct dmctl_device *device, char *uuid)
{
	char *path, error[PROBE_ERROR_BYTES];
	struct probe_device spare;
	struct probe_super super;
	int status;

	if (!strncmp(device->uuid, DMCTL_UUID_PREFIX, strlen(DMCTL_UUID_PREFIX))) {
		snprintf(uuid, STAMP_UUID_BYTES, "%.36s", device->uuid + strlen(DMCTL_UUID_PREFIX));
		return EX_OK;
	}
	path = blkid_devno_to_devname(device->spare_devno);
	if (!path)
		return ctl_fail(EX_NOINPUT, "%s: its spare %s has no name in /dev", device->name,
				device->table.spare_dev);
	status = ctl_probe_device(path, &spare, error);
	if (!status)
		status = ctl_probe_super(&spare, device->table.spare_offset_sectors, &super, error);
	free(path);
	if (status)
		return ctl_fail(status, "%s", error);
	if (!super.valid)
		return ctl_fail(EX_DATAERR, "%s: its spare's superblock can't be read", device->name);
	ctl_format_uuid(super.super.uuid, uuid);
	return EX_OK;
}

static void add_signature(uint64_t byte, void *data)
{
	stale_blocks_add(data, byte / STAMP_SECTOR_BYTES, 1);
}

/* In the order in which they matter, for spares that have not room for all. */
static int list_blocks(struct stale *stale, uint32_t block_sectors)
{
	uint64_t length_sectors = stale->stamp.main_sectors;
	struct probe_device shown = { .size_sectors = length_sectors };
	const struct saved_copies *copies = &stale->copies;
	size_t i;

	stale_blocks_init(stale->blocks, length_sectors, block_sectors);
	/* The one that people and programs see first. */
	stale_blocks_add(stale->blocks, 0, 1);
	snprintf(shown.path, sizeof(shown.path), "/dev/mapper/%s", stale->name);
	ctl_probe_signatures(&shown, add_signature, stale->blocks);
	stale_blocks_add_places(stale->blocks);
	if (stale_read_device(stale, 0, stale->buffer))
		stale_blocks_add_xfs(stale->blocks, stale->buffer);
	if (saved_load(stale->ctl->state_dir, stale->stamp.spare_uuid, &stale->copies) == -ENOMEM)
		return ctl_fail(EX_OSERR, "out of memory");
	for (i = 0; i < copies->count; i++)
		stale_blocks_add(stale->blocks, copies->copy[i].sector, copies->copy[i].nr_sectors);
	return EX_OK;
}

/* Past the page cache. Names can be stale: what is written to, or read, is the device with this number or nothing. */
static int open_device(const char *path, int flags, dev_t devno, int *fd)
{
	struct stat found;

	*fd = open(path, flags | O_DIRECT | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &found))
		return ctl_fail(EX_NOINPUT, "%s: %s", path, strerror(errno));
	if (!S_ISBLK(found.st_mode) || found.st_rdev != devno)
		return ctl_fail(EX_NOINPUT, "%s is not the device that it is the name of", path);
	return EX_OK;
}

static int open_devices(struct stale *stale, dev_t devno)
{
	char path[DMCTL_NAME_BYTES + 16];
	char *main_path = blkid_devno_to_devname(stale->main_devno);
	int status;

	if (!main_path)
		return ctl_fail(EX_NOINPUT, "%s: its main has no name in /dev", stale->name);
	snprintf(stale->main_path, sizeof(stale->main_path), "%s", main_path);
	free(main_path);
	snprintf(path, sizeof(path), "/dev/mapper/%s", stale->name);
	status = open_device(stale->main_path, O_RDWR | O_DSYNC, stale->main_devno, &stale->main_fd);
	return status ? status : open_device(path, O_RDONLY, devno, &stale->device_fd);
}

int stale_open(struct stale *stale, const struct ctl *ctl, const struct dmctl_device *device)
{
	struct dmctl_error error;
	struct dmctl_status target;
	void *buffer = NULL;
	int status;

	*stale = (struct stale){ .ctl = ctl, .main_fd = -1, .device_fd = -1 };
	memcpy(stale->name, device->name, sizeof(stale->name));
	stale->main_devno = device->main_devno;
	stale->spare_devno = device->spare_devno;
	if (device->targets != 1)
		return ctl_fail(EX_UNAVAILABLE, "%s: a device with several targets can't be stamped", device->name);
	stale->stamp.main_sectors = device->table.length_sectors;
	stale->stamp.main_offset_sectors = device->table.main_offset_sectors;
	if (dmctl_status(device->name, &target, &error))
		return ctl_fail_dm(&error);
	stale->block_bytes = target.block_sectors * STAMP_SECTOR_BYTES;
	stale->blocks = malloc(sizeof(*stale->blocks));
	if (!stale->blocks || posix_memalign(&buffer, STALE_ALIGN_BYTES, stale->block_bytes))
		status = ctl_fail(EX_OSERR, "out of memory");
	else
		status = stale_find_spare_uuid(device, stale->stamp.spare_uuid);
	stale->buffer = buffer;
	if (!status)
		status = open_devices(stale, device->devno);
	if (!status)
		status = take_lock(stale);
	if (!status)
		status = list_blocks(stale, target.block_sectors);
	if (status)
		stale_close(stale);
	return status;
}

void stale_close(struct stale *stale)
{
	if (stale->main_fd >= 0)
		close(stale->main_fd);
	if (stale->device_fd >= 0)
		close(stale->device_fd);
	saved_free(&stale->copies);
	free(stale->blocks);
	free(stale->buffer);
	*stale = (struct stale){ .main_fd = -1, .device_fd = -1 };
}

/* ---- single blocks ---- */

static uint64_t main_byte(const struct stale *stale, uint64_t block)
{
	return (stale->stamp.main_offset_sectors + stale_block_sector(stale->blocks, block)) * STAMP_SECTOR_BYTES;
}

static size_t bytes_of(const struct stale *stale, uint64_t block)
{
	return (size_t)stale_block_length(stale->blocks, block) * STAMP_SECTOR_BYTES;
}

bool stale_read_main(const struct stale *stale, uint64_t block, char *sectors)
{
	size_t bytes = bytes_of(stale, block);

	return pread(stale->main_fd, sectors, bytes, (off_t)main_byte(stale, block)) == (ssize_t)bytes;
}

bool stale_read_device(const struct stale *stale, uint64_t block, char *sectors)
{
	size_t bytes = bytes_of(stale, block);
	uint64_t at = stale_block_sector(stale->blocks, block) * STAMP_SECTOR_BYTES;

	return pread(stale->device_fd, sectors, bytes, (off_t)at) == (ssize_t)bytes;
}

bool stale_has_stamp(const struct stale *stale, uint64_t block)
{
	uint32_t i, nr_sectors = stale_block_length(stale->blocks, block);
	struct stamp stamp;

	if (!stale_read_main(stale, block, stale->buffer))
		return false;
	for (i = 0; i < nr_sectors; i++)
		if (stamp_read(stale->buffer + (size_t)i * STAMP_SECTOR_BYTES, &stamp) != STAMP_NONE)
			return true;
	return false;
}

bool stale_is_stamped(const struct stale *stale, uint64_t block)
{
	struct stamp stamp = stale->stamp;

	stamp.sector = stale_block_sector(stale->blocks, block);
	return stale_read_main(stale, block, stale->buffer) &&
	       stamp_is_whole(&stamp, stale->buffer, stale_block_length(stale->blocks, block));
}

bool stale_write_stamp(const struct stale *stale, uint64_t block)
{
	struct stamp stamp = stale->stamp;
	size_t bytes = bytes_of(stale, block);

	stamp.sector = stale_block_sector(stale->blocks, block);
	stamp_fill(&stamp, stale->buffer, stale_block_length(stale->blocks, block));
	return pwrite(stale->main_fd, stale->buffer, bytes, (off_t)main_byte(stale, block)) == (ssize_t)bytes &&
	       stale_is_stamped(stale, block);
}

static int keep_first(const struct dmctl_run *run, void *data)
{
	*(struct dmctl_run *)data = *run;
	return 1;
}

int stale_find_home(const struct stale *stale, uint64_t block, struct stale_home *home)
{
	uint64_t sector = stale_block_sector(stale->blocks, block);
	struct dmctl_run run = { 0 };
	struct dmctl_error error;

	if (dmctl_list_runs(stale->name, sector, keep_first, &run, &error) < 0)
		return ctl_fail_dm(&error);
	/* A block with unread or lost sectors is a run of its own. Should one not be, what the run has counts for all of it. */
	*home = (struct stale_home){ 0 };
	if (run.count && run.sector == sector)
		*home = (struct stale_home){ .on_spare = true, .is_whole = !run.unread && !run.lost };
	return EX_OK;
}
