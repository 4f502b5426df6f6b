/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What block devices there are and which disk each lies on, from sysfs. Nothing here opens a device or waits for one. */
#ifndef REMAP_DEVICES_H
#define REMAP_DEVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DEVICE_NAME_BYTES 64
#define DEVICE_ID_BYTES 128

struct block_device {
	char name[DEVICE_NAME_BYTES]; /* kernel's, without /dev/ */
	char disk_name[DEVICE_NAME_BYTES]; /* of the whole disk; the same unless it is a partition */
	dev_t devno;
	dev_t disk_devno;
	bool partition;
	bool bio_based; /* no request queue: its I/O is seen as bios */
	uint64_t first_sector; /* of the partition on its disk; else 0 */
	uint64_t size_sectors;
	uint64_t diskseq; /* 0 where the kernel has none */
	uint32_t logical_block_bytes;
	char wwn[DEVICE_ID_BYTES]; /* "" where unknown */
	char serial[DEVICE_ID_BYTES];
};

/* -ENODEV: no such device (any more). */
int block_device_by_devno(dev_t devno, struct block_device *device);
int block_device_by_name(const char *name, struct block_device *device);

/* All of them, partitions too. *names is the caller's to free(), count entries of DEVICE_NAME_BYTES. */
int block_device_names(char (**names)[DEVICE_NAME_BYTES], size_t *count);

/* I/Os that the device works on at this moment; -errno if that can't be said. */
int block_device_inflight(const char *name);

/* The kernel's own form of a device number: major << 20 | minor. */
uint32_t kernel_devno(dev_t devno);

#endif
