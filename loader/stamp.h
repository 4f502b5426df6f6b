/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What stands on a main device in place of blocks that live on the spare, so that nothing takes main alone for whole:
 * text of one sector, repeated in each sector of such a block, each copy with its own place and a checksum. Pure.
 *
 * A stamped sector is for people to read, carries no signature that anything mounts, activates or repairs, and lets
 * libblkid show its label: there is one type of volume that nothing but its owner acts on and that has a label of its own
 * ("ORCLDISK", 24 bytes of label at byte 40). blkid, lsblk and wipefs show it, mkfs and pvcreate ask because of it.
 */
#ifndef REMAP_STAMP_H
#define REMAP_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STAMP_SECTOR_BYTES 512
#define STAMP_UUID_BYTES 37 /* text, with its end */
#define STAMP_LABEL "assemble dm-remap first"

struct stamp {
	char spare_uuid[STAMP_UUID_BYTES];
	uint64_t main_sectors; /* that the target showed when it was written */
	uint64_t main_offset_sectors;
	uint64_t sector; /* of the remap device: where this copy stands */
};

enum stamp_found {
	STAMP_NONE,
	STAMP_OK,
	STAMP_DAMAGED, /* it is one, but its checksum or its words are wrong */
	STAMP_UNKNOWN, /* nothing can be read */
};

/* Writes nr_sectors sectors; the first stands at stamp->sector. */
void stamp_fill(const struct stamp *stamp, char *sectors, uint32_t nr_sectors);

/* Reads one sector. *stamp is set for STAMP_OK. */
enum stamp_found stamp_read(const char *sector, struct stamp *stamp);

/* Do all nr_sectors sectors hold this stamp, each at its place? */
bool stamp_is_whole(const struct stamp *stamp, const char *sectors, uint32_t nr_sectors);

/*
 * The head of a saved block in the state directory: one sector of text, then the block as the device showed it before
 * main was stamped there.
 */
struct stamp_saved {
	char spare_uuid[STAMP_UUID_BYTES];
	uint64_t sector; /* of the remap device */
	uint32_t nr_sectors;
	uint32_t checksum; /* stamp_checksum() of the block */
};

void stamp_saved_write(const struct stamp_saved *saved, char *head);

/* False: this is no such head, or it is damaged. */
bool stamp_saved_read(const char *head, struct stamp_saved *saved);

/* CRC-32C. */
uint32_t stamp_checksum(const void *data, size_t bytes);

#endif
