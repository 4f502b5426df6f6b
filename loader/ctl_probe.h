/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a block device is, who uses it, and what it holds. Reads only, except ctl_probe_wipe(). */
#ifndef REMAP_CTL_PROBE_H
#define REMAP_CTL_PROBE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kmod/format.h"
#include "loader/dmctl.h"

#define PROBE_TEXT_BYTES 256
#define PROBE_CONTENTS_MAX 16
#define PROBE_ERROR_BYTES 512

struct probe_device {
	char path[PATH_MAX]; /* as given */
	char kernel_name[64];
	dev_t devno;
	uint64_t size_sectors;
	unsigned int logical_block_bytes;
	/* The whole disk that it is (a part of), and where it starts there. */
	dev_t disk_devno;
	uint64_t disk_start_sector;
	char main_id[DMCTL_MAIN_ID_BYTES]; /* "" where the device has no name of its own */
	char used_by[PROBE_TEXT_BYTES]; /* "" where nothing uses it */
};

/* Everything recognisable on a device, one line each. */
struct probe_contents {
	size_t count;
	char text[PROBE_CONTENTS_MAX][PROBE_TEXT_BYTES];
};

/* The dm-remap superblock of a spare. */
struct probe_super {
	bool found; /* at least one copy has the magic; or none has, and there is metadata */
	bool valid; /* at least one copy is whole, super is set from the newer */
	enum remap_super_error error; /* of the copy that is not, where none is */
	struct remap_super super;
};

/* 0 or a sysexits status with one line in error (PROBE_ERROR_BYTES). */
int ctl_probe_device(const char *path, struct probe_device *device, char *error);

/* Area: from offset_sectors to the end. dm-remap's own superblocks are ctl_probe_super()'s. */
int ctl_probe_contents(const struct probe_device *device, uint64_t offset_sectors, struct probe_contents *contents,
		       char *error);
int ctl_probe_super(const struct probe_device *device, uint64_t offset_sectors, struct probe_super *super, char *error);

/* Calls seen with the offset of each signature on the device, backups among them. 0, or -EIO if that can't be told. */
int ctl_probe_signatures(const struct probe_device *device, void (*seen)(uint64_t byte, void *data), void *data);

/* Makes everything that the first two functions find unrecognisable. */
int ctl_probe_wipe(const struct probe_device *device, uint64_t offset_sectors, char *error);

/* Is one device the other, a part of it, or built on it (device-mapper, md, loop's are not seen)? */
bool ctl_probe_depends(const struct probe_device *device, const struct probe_device *on);

/* "10.0 GiB"; text has room for 24 bytes. */
void ctl_format_sectors(uint64_t sectors, char *text);

/* "1b4e28ba-2fa1-11d2-883f-0016d3cca427"; text has room for 37 bytes. */
void ctl_format_uuid(const uint8_t *uuid, char *text);

/* Where a device is mounted, as a swap area, or what holds it; "" where nobody does. */
void ctl_find_user(dev_t devno, char *used_by, size_t used_by_bytes);

/* Is it mounted, and its file system read-only? Not seen for btrfs, whose mounts don't name their device. */
bool ctl_is_mounted_read_only(dev_t devno);

#endif
