// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The device or image that a spare is on: read and written past the page cache. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/ctl_probe.h"
#include "loader/spare_device.h"

#define SECTOR_BYTES 512
#define BOUNCE_BYTES (REMAP_METAS_PER_GROUP * REMAP_META_BYTES)

__attribute__((format(printf, 3, 4))) static int fail(char *error, int status, const char *format,
						      ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, SPARE_ERROR_BYTES, format, args);
	va_end(args);
	return status;
}

static int device_read(void *context, uint64_t sector, unsigned int nr_sectors, void *buf)
{
	struct spare_device *device = context;
	off_t at = (off_t)((device->offset_sectors + sector) * SECTOR_BYTES);
	size_t done = 0, bytes = (size_t)nr_sectors * SECTOR_BYTES;

	while (done < bytes) {
		size_t part = bytes - done < BOUNCE_BYTES ? bytes - done : BOUNCE_BYTES;
		ssize_t got = pread(device->fd, device->bounce, part, at + (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -EIO;
		memcpy((char *)buf + done, device->bounce, (size_t)got);
		done += (size_t)got;
	}
	return 0;
}

static int device_write(void *context, uint64_t sector, unsigned int nr_sectors, const void *buf)
{
	struct spare_device *device = context;
	off_t at = (off_t)((device->offset_sectors + sector) * SECTOR_BYTES);
	size_t done = 0, bytes = (size_t)nr_sectors * SECTOR_BYTES;

	while (done < bytes) {
		size_t part = bytes - done < BOUNCE_BYTES ? bytes - done : BOUNCE_BYTES;
		ssize_t written;

		memcpy(device->bounce, (const char *)buf + done, part);
		written = pwrite(device->fd, device->bounce, part, at + (off_t)done);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written ? -errno : -EIO;
		done += (size_t)written;
	}
	return 0;
}

static int device_flush(void *context)
{
	struct spare_device *device = context;

	return fsync(device->fd) ? -errno : 0;
}

static int fail_open(const struct spare_device *device, char *error)
{
	if (errno == EBUSY)
		return fail(error, EX_UNAVAILABLE,
			    "%s is in use: %s; nothing was written",
			    device->path, device->used_by);
	return fail(error, errno == EACCES || errno == EPERM || errno == EROFS ? EX_NOPERM : EX_NOINPUT,
		    "%s: %s", device->path, strerror(errno));
}

/*
 * O_EXCL keeps out a block device's other exclusive users: mounts, device-mapper, md, swap. O_DIRECT,
 * since the page cache knows nothing of what a target writes.
 */
static int open_spare(struct spare_device *device, bool is_block_device, dev_t devno,
		      enum spare_access access, char *error)
{
	int flags = (access == SPARE_CHANGE ? O_RDWR : O_RDONLY) | O_CLOEXEC;

	if (!is_block_device) {
		device->fd = open(device->path, flags);
		return device->fd < 0 ? fail_open(device, error) : EX_OK;
	}
	device->fd = open(device->path, flags | O_DIRECT | O_EXCL);
	if (device->fd < 0 && errno == EBUSY) {
		ctl_find_user(devno, device->used_by, sizeof(device->used_by));
		if (!*device->used_by)
			strcpy(device->used_by, "held open by a program or the kernel");
		if (access == SPARE_LOOK)
			device->fd = open(device->path, flags | O_DIRECT);
		else
			errno = EBUSY;
	}
	return device->fd < 0 ? fail_open(device, error) : EX_OK;
}

int spare_device_open(const char *path, uint64_t offset_sectors, enum spare_access access,
		      struct spare_device *device, char *error)
{
	int logical_bytes = SECTOR_BYTES, err;
	struct stat status;
	bool is_block_device;
	uint64_t bytes;

	memset(device, 0, sizeof(*device));
	device->fd = -1;
	device->path = path;
	if (stat(path, &status))
		return fail(error, EX_NOINPUT, "%s: %s", path, strerror(errno));
	if (!S_ISBLK(status.st_mode) && !S_ISREG(status.st_mode))
		return fail(error, EX_NOINPUT, "%s is neither a block device nor an image of one",
			    path);
	is_block_device = S_ISBLK(status.st_mode);
	err = open_spare(device, is_block_device, status.st_rdev, access, error);
	if (err)
		return err;
	bytes = (uint64_t)status.st_size;
	if (is_block_device && (ioctl(device->fd, BLKGETSIZE64, &bytes) ||
				ioctl(device->fd, BLKSSZGET, &logical_bytes))) {
		spare_device_close(device);
		return fail(error, EX_IOERR, "%s: no size: %s", path, strerror(errno));
	}
	if (posix_memalign(&device->bounce, REMAP_META_BYTES, BOUNCE_BYTES)) {
		spare_device_close(device);
		return fail(error, EX_OSERR, "out of memory");
	}
	if (offset_sectors >= bytes / SECTOR_BYTES) {
		spare_device_close(device);
		return fail(error, EX_DATAERR,
			    "spare-offset %" PRIu64 " is beyond the end of %s (%" PRIu64 " sectors)",
			    offset_sectors, path, bytes / SECTOR_BYTES);
	}
	device->offset_sectors = offset_sectors;
	device->io = (struct spare_io){
		.context = device,
		.area_sectors = bytes / SECTOR_BYTES - offset_sectors,
		.step_sectors = logical_bytes > REMAP_META_BYTES ? REMAP_META_SECTORS :
								   (unsigned int)logical_bytes /
									   SECTOR_BYTES,
		.read = device_read,
		.write = device_write,
		.flush = device_flush,
	};
	return EX_OK;
}

void spare_device_close(struct spare_device *device)
{
	if (device->fd >= 0)
		close(device->fd);
	free(device->bounce);
	device->fd = -1;
	device->bounce = NULL;
}
