// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <endian.h>
#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "kmod/format.h"
#include "tests/crash/spare_map.h"

/* Blocks of 4 KiB that were looked at before: a state differs from the one before it in few of them. */
struct known_block {
	uint32_t content[REMAP_META_SECTORS];
	uint8_t uuid[REMAP_UUID_BYTES];	/* that a metadata block was held against */
	bool valid;
	bool good;
	union {
		struct remap_super super;
		struct remap_meta_disk meta;
	};
};

#define KNOWN_BLOCKS 1024	/* a power of two */

static struct known_block *known_blocks;

/* Where what @disk holds from @sector on is, or would be, remembered; @data gets it if it must be looked at. */
static struct known_block *known_block(const struct crash_disk *disk, uint64_t sector, const uint8_t *uuid, void *data)
{
	const uint32_t *content = disk->now + sector;
	uint32_t hash = 0;
	struct known_block *known;
	int i;

	if (!known_blocks) {
		known_blocks = calloc(KNOWN_BLOCKS, sizeof(*known_blocks));
		if (!known_blocks)
			err(EX_OSERR, "memory");
	}
	for (i = 0; i < REMAP_META_SECTORS; i++)
		hash = hash * 0x9e3779b1u + content[i];
	known = &known_blocks[(hash ^ hash >> 16) % KNOWN_BLOCKS];
	if (known->valid && !memcmp(known->content, content, sizeof(known->content)) &&
	    !memcmp(known->uuid, uuid, sizeof(known->uuid)))
		return known;
	memcpy(known->content, content, sizeof(known->content));
	memcpy(known->uuid, uuid, sizeof(known->uuid));
	known->valid = false;
	for (i = 0; i < REMAP_META_SECTORS; i++)
		memcpy((char *)data + i * CRASH_SECTOR_BYTES, crash_content(content[i])->data, CRASH_SECTOR_BYTES);
	return known;
}

/* The right superblock: the newer one of those that are whole. NULL: none. */
static const struct remap_super *find_super(const struct crash_disk *disk, unsigned int gone)
{
	static const uint64_t sector[2] = { REMAP_SUPER_A_SECTOR, REMAP_SUPER_B_SECTOR };
	static const uint8_t no_uuid[REMAP_UUID_BYTES];
	static struct remap_super found;
	struct remap_super_disk data;
	bool have = false;
	int copy;

	for (copy = 0; copy < 2; copy++) {
		struct known_block *known;

		if (gone & 1u << copy || sector[copy] + REMAP_META_SECTORS > disk->nr_sectors)
			continue;
		known = known_block(disk, sector[copy], no_uuid, &data);
		if (!known->valid) {
			known->good = remap_super_decode(&known->super, &data) == REMAP_SUPER_OK;
			known->valid = true;
		}
		if (known->good && (!have || known->super.sequence > found.sequence)) {
			found = known->super;
			have = true;
		}
	}
	return have ? &found : NULL;
}

static const struct remap_meta_disk *find_copy(const struct crash_disk *disk, const struct remap_super *super,
					       uint64_t index, uint64_t sector)
{
	struct remap_meta_disk data;
	struct known_block *known = known_block(disk, sector, super->uuid, &data);

	if (!known->valid) {
		known->meta = data;
		known->good = remap_meta_check(&data, super, index);
		known->valid = true;
	}
	return known->good ? &known->meta : NULL;
}

static void refuse(struct spare_map *map, const char *reason)
{
	map->verdict = MAP_REFUSED;
	map->reason = reason;
}

/* Of two entries for one block the one with the newer generation counts. */
static void enter(struct spare_map *map, uint32_t slot_sector, const struct remap_entry_disk *entry)
{
	uint64_t word = le64toh(entry->word), number = remap_word_block(word);
	struct mapped_block *block = &map->block[number];
	uint16_t generation = remap_word_generation(word);

	map->nr_retired += remap_word_state(word) == REMAP_ENTRY_RETIRED;
	if (!remap_word_maps(word))
		return;
	if (block->slot_sector) {
		map->nr_pairs++;
		if (generation == block->generation) {
			map->ambiguous = true;
			map->ambiguous_block = number;
		}
		if (!remap_generation_after(generation, block->generation))
			return;
	} else {
		map->nr_mapped++;
	}
	*block = (struct mapped_block){
		.slot_sector = slot_sector,
		.unread = le32toh(entry->unread),
		.lost = le32toh(entry->lost),
		.generation = generation,
	};
}

static void load_meta(struct spare_map *map, const struct crash_disk *disk, const struct remap_super *super,
		      const struct remap_group_place *place, uint64_t index, unsigned int gone)
{
	uint32_t i, number = index % REMAP_METAS_PER_GROUP, first = number * REMAP_ENTRIES_PER_META;
	const struct remap_meta_disk *right = NULL;
	uint64_t sequence[2] = { 0, 0 };
	int copy;

	for (copy = 0; copy < 2; copy++) {
		uint64_t sector = place->copy_sector[copy] + number * REMAP_META_SECTORS;
		const struct remap_meta_disk *meta;

		map->copy_sector[copy] = sector;
		map->fenced[copy] = remap_is_fenced(super, index, copy);
		map->nr_fenced += map->fenced[copy];
		if (map->fenced[copy] || gone & 1u << copy)
			continue;
		meta = find_copy(disk, super, index, sector);
		if (!meta)
			continue;
		sequence[copy] = le64toh(meta->sequence);
		if (!right || sequence[copy] > le64toh(right->sequence))
			right = meta;
	}
	map->nr_differing += sequence[0] != sequence[1];
	if (!right) {
		refuse(map, "neither copy of a metadata block is good");
		return;
	}
	for (i = 0; i < REMAP_ENTRIES_PER_META && first + i < place->nr_slots; i++) {
		const struct remap_entry_disk *entry = &right->entry[i];

		if (!entry->word && !entry->unread && !entry->lost)
			continue;
		if (!remap_entry_check(super, le64toh(entry->word), le32toh(entry->unread), le32toh(entry->lost)) ||
		    (remap_word_maps(le64toh(entry->word)) && remap_word_block(le64toh(entry->word)) >= map->nr_blocks)) {
			refuse(map, "an entry holds impossible numbers");
			return;
		}
		enter(map, place->slot_sector + (first + i) * super->block_sectors, entry);
	}
}

void spare_map_load(struct spare_map *map, uint64_t main_sectors, unsigned int supers_gone, unsigned int metas_gone)
{
	const struct crash_disk *disk = &crash_disks[CRASH_SPARE];
	const struct remap_super *super = find_super(disk, supers_gone);
	uint64_t nr_blocks = (main_sectors + REMAP_BLOCK_SECTORS_MIN - 1) / REMAP_BLOCK_SECTORS_MIN;
	struct mapped_block *block = map->block;
	struct remap_group_place place;
	uint32_t group, i;

	if (!block || map->nr_blocks != nr_blocks) {
		block = reallocarray(block, nr_blocks, sizeof(*block));
		if (!block)
			err(EX_OSERR, "memory");
	}
	memset(block, 0, nr_blocks * sizeof(*block));
	*map = (struct spare_map){
		.verdict = super ? MAP_LOADED : MAP_NO_SUPER,
		.block = block,
		.nr_blocks = nr_blocks,
		.block_sectors = REMAP_BLOCK_SECTORS_MIN,
	};
	if (!super)
		return;
	/* What is recorded is always like this. */
	if (super->block_sectors != REMAP_BLOCK_SECTORS_MIN || super->unit_sectors != 1 ||
	    super->main_sectors != main_sectors) {
		refuse(map, "the superblock is for another main");
		return;
	}
	map->nr_groups = super->nr_groups_initialised;
	for (group = 0; group < super->nr_groups_initialised; group++) {
		if (!remap_group_place(super, group, &place) ||
		    place.copy_sector[1] + place.nr_metas * REMAP_META_SECTORS > disk->nr_sectors) {
			map->copy_sector[0] = map->copy_sector[1] = 0;
			refuse(map, "a group lies outside the spare");
			return;
		}
		for (i = 0; i < place.nr_metas && map->verdict == MAP_LOADED; i++)
			load_meta(map, disk, super, &place, (uint64_t)group * REMAP_METAS_PER_GROUP + i, metas_gone);
		if (map->verdict != MAP_LOADED)
			return;
	}
}
