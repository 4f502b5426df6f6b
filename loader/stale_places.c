// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* See stale_places.h. */
#include "loader/stale_places.h"

#include <endian.h>
#include <string.h>

#define KIB(n) ((uint64_t)(n) * 2)
#define MIB(n) ((uint64_t)(n) * 2048)
#define GIB(n) ((uint64_t)(n) * 2097152)

#define XFS_AGS_MAX 1000000

/* In sectors from the start of the device. */
static const struct place {
	uint64_t sector;
	uint32_t nr_sectors;
} from_start[] = {
	/*
	 * Nearly everything: xfs, NTFS, FAT, LUKS, LVM, md 1.1 and 1.2, ext, swap, f2fs, bcache, MBR and GPT, LUKS2's
	 * second header at 16 KiB, ZFS's label, jfs, iso9660 and udf, btrfs, reiserfs and gfs2 at 64 KiB, udf's anchor.
	 */
	{ 0, KIB(132) },
	/* ext's first backup: a group has as many blocks as a block has bits, and its first block is number 1 at 1 KiB. */
	{ MIB(8), KIB(4) },
	{ MIB(32), KIB(4) },
	{ MIB(128), KIB(4) },
	{ MIB(512), KIB(4) },
	{ GIB(2), KIB(4) },
	{ GIB(8), KIB(4) },
	{ GIB(32), KIB(4) },
	/* btrfs's other superblocks */
	{ MIB(64), KIB(4) },
	{ GIB(256), KIB(4) },
	/* LUKS2's second header, by the size of the first; among them ufs, udf's anchors and VMFS */
	{ KIB(256), KIB(4) },
	{ KIB(512), KIB(4) },
	{ MIB(1), KIB(4) },
	{ MIB(2), KIB(4) },
	{ MIB(4), KIB(4) },
	/* ZFS's second label: its names begin 16 KiB in */
	{ KIB(256 + 16), KIB(4) },
};

void stale_blocks_init(struct stale_blocks *blocks, uint64_t length_sectors, uint32_t block_sectors)
{
	blocks->length_sectors = length_sectors;
	blocks->block_sectors = block_sectors;
	blocks->count = 0;
}

bool stale_blocks_have(const struct stale_blocks *blocks, uint64_t block)
{
	size_t i;

	for (i = 0; i < blocks->count; i++)
		if (blocks->block[i] == block)
			return true;
	return false;
}

void stale_blocks_add(struct stale_blocks *blocks, uint64_t sector, uint64_t nr_sectors)
{
	uint64_t block, last;

	if (!nr_sectors || sector >= blocks->length_sectors)
		return;
	if (nr_sectors > blocks->length_sectors - sector)
		nr_sectors = blocks->length_sectors - sector;
	last = (sector + nr_sectors - 1) / blocks->block_sectors;
	for (block = sector / blocks->block_sectors; block <= last && blocks->count < STALE_BLOCKS_MAX; block++)
		if (!stale_blocks_have(blocks, block))
			blocks->block[blocks->count++] = block;
}

void stale_blocks_add_places(struct stale_blocks *blocks)
{
	uint64_t zfs_end = blocks->length_sectors / KIB(256) * KIB(256);
	uint64_t tail = KIB(132);
	size_t i;

	for (i = 0; i < sizeof(from_start) / sizeof(*from_start); i++)
		stale_blocks_add(blocks, from_start[i].sector, from_start[i].nr_sectors);
	/* The backup GPT, md 0.90 and 1.0, DDF, NTFS, HFS+, nilfs2, drbd. */
	if (tail > blocks->length_sectors)
		tail = blocks->length_sectors;
	stale_blocks_add(blocks, blocks->length_sectors - tail, tail);
	/* ZFS's last two labels. */
	if (zfs_end >= KIB(512)) {
		stale_blocks_add(blocks, zfs_end - KIB(512) + KIB(16), KIB(4));
		stale_blocks_add(blocks, zfs_end - KIB(256) + KIB(16), KIB(4));
	}
}

void stale_blocks_add_xfs(struct stale_blocks *blocks, const void *sector)
{
	const unsigned char *super = sector;
	uint32_t block_bytes, group_blocks, groups, i;

	if (memcmp(super, "XFSB", 4))
		return;
	/* Big-endian: sb_blocksize, sb_agblocks, sb_agcount. */
	memcpy(&block_bytes, super + 4, 4);
	memcpy(&group_blocks, super + 84, 4);
	memcpy(&groups, super + 88, 4);
	block_bytes = be32toh(block_bytes);
	group_blocks = be32toh(group_blocks);
	groups = be32toh(groups);
	if (groups > XFS_AGS_MAX)
		groups = XFS_AGS_MAX;
	for (i = 0; i < groups && blocks->count < STALE_BLOCKS_MAX; i++)
		stale_blocks_add(blocks, (uint64_t)i * group_blocks * (block_bytes / 512), KIB(4));
}
