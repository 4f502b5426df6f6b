/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The device or image that a spare is on, for the functions of spare.h. */
#ifndef REMAP_SPARE_DEVICE_H
#define REMAP_SPARE_DEVICE_H

#include <stdint.h>

#include "loader/spare.h"

#define SPARE_ERROR_BYTES 512
#define SPARE_USER_BYTES 256

enum spare_access {
	SPARE_LOOK,   /* read, also while somebody uses it */
	SPARE_READ,   /* read, for nobody else */
	SPARE_CHANGE, /* read and write, for nobody else */
};

struct spare_device {
	struct spare_io io;
	const char *path;
	int fd;
	char used_by[SPARE_USER_BYTES]; /* "" where nobody uses it; else what is read may be in motion */
	uint64_t offset_sectors; /* where the area starts */
	void *bounce; /* aligned for I/O past the page cache */
};

/*
 * "For nobody else": a block device that is mounted or belongs to a target that is live is refused. EX_OK,
 * or a sysexits status with one line in error (SPARE_ERROR_BYTES). @path must stay.
 */
int spare_device_open(const char *path, uint64_t offset_sectors, enum spare_access access,
		      struct spare_device *device, char *error);
void spare_device_close(struct spare_device *device);

#endif
