/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where on a device programs look for signatures by themselves: file systems with the backups that their checkers find,
 * volume managers, RAID members, encryption, swap, partition tables. Pure.
 */
#ifndef REMAP_STALE_PLACES_H
#define REMAP_STALE_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* At 4 KiB a block the places below take up about 85; the rest is for what is found beyond them. */
#define STALE_BLOCKS_MAX 4096

/* Numbers of blocks of the remap device, each once; what was added first matters most. */
struct stale_blocks {
	uint64_t length_sectors;
	uint32_t block_sectors;
	size_t count;
	uint64_t block[STALE_BLOCKS_MAX];
};

void stale_blocks_init(struct stale_blocks *blocks, uint64_t length_sectors, uint32_t block_sectors);

/* Adds the blocks that hold sectors of the range, as far as they are on the device and there is room. */
void stale_blocks_add(struct stale_blocks *blocks, uint64_t sector, uint64_t nr_sectors);

bool stale_blocks_have(const struct stale_blocks *blocks, uint64_t block);

/* Adds all places where something may be looked for, whatever the device holds now. */
void stale_blocks_add_places(struct stale_blocks *blocks);

/*
 * Adds the places of XFS's superblocks, one for each allocation group, which xfs_repair finds wherever they are.
 * sector: the first 512 bytes of the device. Nothing is added if that is no XFS.
 */
void stale_blocks_add_xfs(struct stale_blocks *blocks, const void *sector);

/* First sector of a block, and how many it has: the last one may be short. */
static inline uint64_t stale_block_sector(const struct stale_blocks *blocks, uint64_t block)
{
	return block * blocks->block_sectors;
}

static inline uint32_t stale_block_length(const struct stale_blocks *blocks, uint64_t block)
{
	uint64_t left = blocks->length_sectors - stale_block_sector(blocks, block);

	return left < blocks->block_sectors ? left : blocks->block_sectors;
}

#endif
