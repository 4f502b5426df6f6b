/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The map of a spare as an activation has to find it, read by the rules of kmod/dm-remap.rst ("On-disk format") and
 * kmod/format.h: a second opinion on the module's own loading.
 */
#ifndef TESTS_CRASH_SPARE_MAP_H
#define TESTS_CRASH_SPARE_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/disks.h"

#define COPY_A 1
#define COPY_B 2

enum map_verdict {
	MAP_LOADED,
	MAP_NO_SUPER,			/* not formatted */
	MAP_REFUSED,			/* a superblock, but what it describes is not whole */
};

struct mapped_block {
	uint32_t slot_sector;		/* of the spare; 0: not mapped */
	uint32_t unread;		/* one bit a sector */
	uint32_t lost;
	uint16_t generation;
};

struct spare_map {
	enum map_verdict verdict;
	const char *reason;		/* REFUSED */
	uint64_t copy_sector[2];	/* REFUSED: of the metadata block that is to blame; 0: none is */
	bool fenced[2];			/* its copies */
	bool ambiguous;			/* two entries of one block, and nothing says which counts */
	uint64_t ambiguous_block;
	uint32_t block_sectors;
	uint64_t nr_blocks;
	struct mapped_block *block;
	/* What was met on the way, for who wants to know what has been tried. */
	uint32_t nr_groups;
	uint32_t nr_mapped;
	uint32_t nr_pairs;		/* blocks with two entries */
	uint32_t nr_differing;		/* metadata blocks whose copies differ */
	uint32_t nr_fenced;
	uint32_t nr_retired;
};

/*
 * Reads the map that the spare holds now, for a main of @main_sectors, as if neither the super- nor the metadata
 * blocks of @supers_gone and @metas_gone (COPY_A, COPY_B) could be read. @map->block is kept from call to call.
 */
void spare_map_load(struct spare_map *map, uint64_t main_sectors, unsigned int supers_gone, unsigned int metas_gone);

#endif
