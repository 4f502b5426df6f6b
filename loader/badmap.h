/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Lists of bad places of a disk in the formats of others: of badblocks(8), one block number a line, and
 * ddrescue(1)'s mapfile. Sectors are 512 bytes, of main.
 */
#ifndef REMAP_BADMAP_H
#define REMAP_BADMAP_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define BADMAP_ERROR_BYTES 256
/* What badblocks(8) and e2fsprogs count in, if they are not told otherwise. */
#define BADMAP_BLOCK_BYTES 1024

struct badmap_range {
	uint64_t sector;
	uint64_t count;
};

/* Ordered, apart from each other. */
struct badmap {
	struct badmap_range *range;
	size_t count;
	uint64_t sectors; /* of all of them */
};

/*
 * Reads either format; it is told apart by its first line that is no comment. @block_bytes: what a list of
 * badblocks counts in, a multiple of 512. Of a mapfile everything is bad that was tried and failed:
 * statuses *, / and -. EX_OK, or a sysexits status with one line in error (BADMAP_ERROR_BYTES). To be
 * freed in either case.
 */
int badmap_read(FILE *in, unsigned int block_bytes, struct badmap *map, char *error);
void badmap_free(struct badmap *map);

/* The same of a mapfile alone: the places whose status is one of @statuses. */
int badmap_read_mapfile(FILE *in, const char *statuses, struct badmap *map, char *error);

/* Adds a range that begins behind all others, or in any order if badmap_order() follows. 0 or -ENOMEM. */
int badmap_add(struct badmap *map, uint64_t sector, uint64_t count);

/* Puts ranges in order; those that overlap or touch become one. */
void badmap_order(struct badmap *map);

/* Leaves [sector, end_sector), counted from @sector on. Returns the sectors that are left out. */
uint64_t badmap_clip(struct badmap *map, uint64_t sector, uint64_t end_sector);

/* All blocks that are bad in part. Errors are the stream's. */
void badmap_write_blocks(const struct badmap *map, unsigned int block_bytes, FILE *out);

/* A mapfile of @end_sector sectors: what is in the map has one status ('-': a bad sector), the rest another ('?': not tried). */
void badmap_write_mapfile(const struct badmap *map, uint64_t end_sector, char status, char rest, FILE *out);

#endif
