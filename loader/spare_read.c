// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Copies of superblocks and metadata blocks: which are whole, and which the module believes. */
#include <endian.h>
#include <string.h>

#include "loader/spare.h"

#define SECTOR_BYTES 512
#define ALL_SECTORS 0xffu /* of a metadata block, one bit each */

/*
 * Reads one block of 4 KiB, as much of it as can be read; the rest is zero. Returns one bit for each
 * sector that can't.
 */
static unsigned int read_block(const struct spare_io *io, uint64_t sector, void *block)
{
	unsigned int missing = 0, at;

	if (sector + REMAP_META_SECTORS > io->area_sectors) {
		memset(block, 0, REMAP_META_BYTES);
		return ALL_SECTORS;
	}
	if (!io->read(io->context, sector, REMAP_META_SECTORS, block))
		return 0;
	memset(block, 0, REMAP_META_BYTES);
	for (at = 0; at < REMAP_META_SECTORS; at += io->step_sectors) {
		char *part = (char *)block + at * SECTOR_BYTES;

		if (!io->read(io->context, sector + at, io->step_sectors, part))
			continue;
		memset(part, 0, io->step_sectors * SECTOR_BYTES);
		missing |= ((1u << io->step_sectors) - 1) << at;
	}
	return missing;
}

typedef bool is_whole(const void *block, const void *context);

/*
 * Two copies that should be the same, neither of them whole: is there one way to put sectors of
 * both together that is? What can't be read of either is zero, as most of a metadata block is. A
 * checksum that fits by chance has 256 tries of 2^-32 each.
 */
static bool piece_together(const void *const copy[2], const unsigned int missing[2],
			   is_whole *whole, const void *context, void *out)
{
	uint8_t candidate[REMAP_META_BYTES];
	unsigned int from_b, open = 0, at;
	bool found = false;

	for (at = 0; at < REMAP_META_SECTORS; at++)
		if (!((missing[0] | missing[1]) & 1u << at) &&
		    memcmp((const char *)copy[0] + at * SECTOR_BYTES,
			   (const char *)copy[1] + at * SECTOR_BYTES, SECTOR_BYTES))
			open |= 1u << at;
	for (from_b = 0; from_b <= ALL_SECTORS; from_b++) {
		if ((from_b & ~open) != missing[0])
			continue;
		for (at = 0; at < REMAP_META_SECTORS; at++)
			memcpy(candidate + at * SECTOR_BYTES,
			       (const char *)copy[from_b >> at & 1] + at * SECTOR_BYTES,
			       SECTOR_BYTES);
		if (!whole(candidate, context))
			continue;
		if (found && memcmp(out, candidate, sizeof(candidate)))
			return false;
		memcpy(out, candidate, sizeof(candidate));
		found = true;
	}
	return found;
}

/* ---- superblocks ---- */

static bool super_is_whole(const void *block, const void *context)
{
	struct remap_super super;

	return remap_super_decode(&super, block) == REMAP_SUPER_OK;
}

static enum spare_copy super_state(enum remap_super_error error)
{
	switch (error) {
	case REMAP_SUPER_OK:
		return SPARE_COPY_GOOD;
	case REMAP_SUPER_NO_MAGIC:
		return SPARE_COPY_BLANK;
	case REMAP_SUPER_BAD_CRC:
		return SPARE_COPY_DAMAGED;
	case REMAP_SUPER_NEWER_VERSION:
	case REMAP_SUPER_UNKNOWN_FEATURE:
		return SPARE_COPY_NEWER;
	case REMAP_SUPER_BAD_GEOMETRY:
		return SPARE_COPY_IMPOSSIBLE;
	}
	return SPARE_COPY_DAMAGED;
}

void spare_read_supers(const struct spare_io *io, struct spare_supers *supers)
{
	static const uint64_t sector[2] = { REMAP_SUPER_A_SECTOR, REMAP_SUPER_B_SECTOR };
	const void *const copy[2] = { &supers->raw[0], &supers->raw[1] };
	struct remap_super super[2];
	unsigned int missing[2];
	int i, newer;

	memset(supers, 0, sizeof(*supers));
	for (i = 0; i < 2; i++) {
		missing[i] = read_block(io, sector[i], &supers->raw[i]);
		supers->state[i] = missing[i] ? SPARE_COPY_UNREADABLE :
			super_state(remap_super_decode(&super[i], &supers->raw[i]));
		supers->refused |= supers->state[i] == SPARE_COPY_NEWER;
	}
	if (supers->state[0] == SPARE_COPY_GOOD || supers->state[1] == SPARE_COPY_GOOD) {
		newer = supers->state[0] != SPARE_COPY_GOOD;
		if (supers->state[0] == supers->state[1]) {
			newer = super[1].sequence > super[0].sequence;
			if (super[0].sequence != super[1].sequence)
				supers->state[!newer] = SPARE_COPY_OLDER;
			else if (memcmp(copy[0], copy[1], REMAP_META_BYTES))
				supers->state[1] = SPARE_COPY_DIFFERS;
		}
		supers->super = super[newer];
		supers->whole = supers->raw[newer];
		supers->believed = true;
	} else if (!supers->refused &&
		   piece_together(copy, missing, super_is_whole, NULL, &supers->whole)) {
		remap_super_decode(&supers->super, &supers->whole);
		supers->believed = supers->pieced = true;
	}
	supers->refused |= !supers->believed || supers->pieced;
}

/* ---- metadata blocks ---- */

struct meta_wanted {
	const struct remap_super *super;
	uint64_t index;
};

/* The module takes the sequence number 0 for "no good copy". */
static bool meta_is_whole(const void *block, const void *context)
{
	const struct meta_wanted *wanted = context;
	const struct remap_meta_disk *meta = block;

	return remap_meta_check(meta, wanted->super, wanted->index) && meta->sequence;
}

static enum spare_copy meta_state(const struct remap_meta_disk *meta,
				  const struct meta_wanted *wanted)
{
	struct remap_super other = *wanted->super;

	if (meta_is_whole(meta, wanted))
		return SPARE_COPY_GOOD;
	if (le32toh(meta->magic) != REMAP_META_MAGIC)
		return SPARE_COPY_BLANK;
	memcpy(other.uuid, meta->uuid, sizeof(other.uuid));
	if (!meta->sequence || !remap_meta_check(meta, &other, le64toh(meta->index)))
		return SPARE_COPY_DAMAGED;
	return memcmp(other.uuid, wanted->super->uuid, sizeof(other.uuid)) ? SPARE_COPY_FOREIGN :
									     SPARE_COPY_MISPLACED;
}

uint64_t spare_meta_sector(const struct remap_group_place *place, unsigned int copy, unsigned int i)
{
	return place->copy_sector[copy] + (uint64_t)i * REMAP_META_SECTORS;
}

uint64_t spare_slot_sector(const struct remap_super *super, uint32_t slot)
{
	struct remap_group_place place = { 0 };

	remap_group_place(super, slot / REMAP_SLOTS_PER_GROUP, &place);
	return place.slot_sector + (uint64_t)(slot % REMAP_SLOTS_PER_GROUP) * super->block_sectors;
}

/* One copy of a whole group; *@missing has the bits of read_block() for each block. */
static void read_copy(const struct spare_io *io, struct spare_group *group, unsigned int copy,
		      unsigned int *missing)
{
	const struct remap_group_place *place = &group->place;
	unsigned int nr_sectors = place->nr_metas * REMAP_META_SECTORS, i;

	memset(missing, 0, REMAP_METAS_PER_GROUP * sizeof(*missing));
	if (place->copy_sector[copy] + nr_sectors <= io->area_sectors &&
	    !io->read(io->context, place->copy_sector[copy], nr_sectors, group->raw[copy]))
		return;
	for (i = 0; i < place->nr_metas; i++)
		missing[i] =
			read_block(io, spare_meta_sector(place, copy, i), &group->raw[copy][i]);
}

/* Of two whole copies the one with the higher sequence number is right; of equal ones copy A. */
static void judge_meta(struct spare_group *group, unsigned int i, const struct meta_wanted *wanted,
		       const unsigned int missing[2])
{
	struct spare_meta *meta = &group->meta[i];
	const void *const copy[2] = { &group->raw[0][i], &group->raw[1][i] };
	uint64_t sequence[2];
	unsigned int c, newer;

	for (c = 0; c < 2; c++) {
		if (remap_is_fenced(wanted->super, wanted->index, c))
			meta->state[c] = SPARE_COPY_FENCED;
		else if (missing[c])
			meta->state[c] = SPARE_COPY_UNREADABLE;
		else
			meta->state[c] = meta_state(&group->raw[c][i], wanted);
		sequence[c] = meta->state[c] == SPARE_COPY_GOOD ?
				      le64toh(group->raw[c][i].sequence) : 0;
	}
	newer = sequence[1] > sequence[0];
	meta->sequence = sequence[newer];
	if (meta->sequence) {
		group->believed[i] = &group->raw[newer][i];
		if (sequence[!newer] && sequence[!newer] != sequence[newer])
			meta->state[!newer] = SPARE_COPY_OLDER;
		else if (sequence[!newer] && memcmp(copy[0], copy[1], REMAP_META_BYTES))
			meta->state[1] = SPARE_COPY_DIFFERS;
	} else if (meta->state[0] != SPARE_COPY_FENCED && meta->state[1] != SPARE_COPY_FENCED &&
		   piece_together(copy, missing, meta_is_whole, wanted, &group->pieced[i])) {
		group->believed[i] = &group->pieced[i];
		meta->sequence = le64toh(group->pieced[i].sequence);
		meta->pieced = true;
	}
}

bool spare_read_group(const struct spare_io *io, const struct remap_super *super, uint32_t index,
		      struct spare_group *group)
{
	unsigned int missing[2][REMAP_METAS_PER_GROUP];
	unsigned int i;

	memset(group->meta, 0, sizeof(group->meta));
	memset(group->believed, 0, sizeof(group->believed));
	if (!remap_group_place(super, index, &group->place))
		return false;
	read_copy(io, group, 0, missing[0]);
	read_copy(io, group, 1, missing[1]);
	for (i = 0; i < group->place.nr_metas; i++) {
		struct meta_wanted wanted = { super, (uint64_t)index * REMAP_METAS_PER_GROUP + i };
		const unsigned int both[2] = { missing[0][i], missing[1][i] };

		judge_meta(group, i, &wanted, both);
	}
	return true;
}
