// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * kmod/format.c: whatever stands in a superblock, a metadata block or an entry with a right checksum, what is
 * accepted names nothing beyond its bounds.
 */
#include <endian.h>
#include <string.h>

#include "kmod/format.h"
#include "tests/fuzz/fuzz.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof(*(array)))
#define SUPER(name) FUZZ_FIELD(struct remap_super_disk, name)
#define META(name) FUZZ_FIELD(struct remap_meta_disk, name)

static const struct fuzz_field super_fields[] = {
	SUPER(version), SUPER(incompat), SUPER(block_sectors), SUPER(main_sectors), SUPER(main_offset_sectors),
	SUPER(unit_sectors), SUPER(nr_groups_initialised), SUPER(nr_segments), SUPER(nr_fenced),
	SUPER(segment[0].start_sector), SUPER(segment[0].nr_sectors), SUPER(segment[1].start_sector),
	SUPER(segment[1].nr_sectors), SUPER(segment[2].start_sector), SUPER(segment[2].nr_sectors),
	SUPER(segment[31].start_sector), SUPER(segment[31].nr_sectors), SUPER(fenced[0]), SUPER(fenced[511]),
};

static const struct fuzz_field meta_fields[] = {
	META(magic), META(index), META(sequence), META(super_sequence),
};

static const struct fuzz_field entry_fields[] = {
	FUZZ_FIELD(struct remap_entry_disk, word),
	FUZZ_FIELD(struct remap_entry_disk, unread),
	FUZZ_FIELD(struct remap_entry_disk, lost),
};

/* The functions of the format that only read can't say what a wrong number's checksum would be. */
static void seal_super(struct remap_super_disk *disk)
{
	disk->crc = 0;
	disk->crc = htole32(~crc32c(~0u, disk, sizeof(*disk)));
}

/* A group lies in one segment, and its parts one after the other in it. Returns where it ends. */
static u64 check_group(const struct remap_super *super, const struct remap_group_place *place)
{
	u64 end = place->copy_sector[1] + (u64)place->nr_metas * REMAP_META_SECTORS;
	u32 i;

	HOLDS(place->nr_slots && place->nr_slots <= REMAP_SLOTS_PER_GROUP);
	HOLDS(place->nr_metas && place->nr_metas <= REMAP_METAS_PER_GROUP);
	HOLDS((u64)place->nr_metas * REMAP_ENTRIES_PER_META >= place->nr_slots);
	HOLDS(place->copy_sector[0] >= REMAP_HEADER_SECTORS);
	HOLDS(place->copy_sector[0] + (u64)place->nr_metas * REMAP_META_SECTORS <= place->slot_sector);
	HOLDS(place->slot_sector + (u64)place->nr_slots * super->block_sectors <= place->copy_sector[1]);
	HOLDS(place->copy_sector[0] % REMAP_META_SECTORS == 0 && place->copy_sector[1] % REMAP_META_SECTORS == 0);
	HOLDS(end < 1ull << 54);
	for (i = 0; i < super->nr_segments; i++)
		if (place->copy_sector[0] >= super->segment[i].start_sector &&
		    end - super->segment[i].start_sector <= super->segment[i].nr_sectors)
			return end;
	HOLDS(!"a group is in a segment");
	return end;
}

/* @group and what follows it. Returns its slots. */
static u32 check_place(const struct remap_super *super, u32 group)
{
	struct remap_group_place place, next;
	u64 end;

	HOLDS(remap_group_place(super, group, &place));
	end = check_group(super, &place);
	if (group + 1 < remap_nr_groups(super)) {
		HOLDS(remap_group_place(super, group + 1, &next));
		check_group(super, &next);
		HOLDS(next.copy_sector[0] >= end);
	} else {
		HOLDS(!remap_group_place(super, group + 1, &next));
	}
	return place.nr_slots;
}

static void check_super(const struct remap_super *super, struct fuzz_input *input)
{
	u32 nr_groups = remap_nr_groups(super), group;
	u64 end = REMAP_HEADER_SECTORS, nr_slots = 0;
	u32 i;

	HOLDS(super->block_sectors >= REMAP_BLOCK_SECTORS_MIN && super->block_sectors <= REMAP_BLOCK_SECTORS_MAX);
	HOLDS(!(super->block_sectors & (super->block_sectors - 1)));
	HOLDS(super->unit_sectors && super->block_sectors % super->unit_sectors == 0);
	HOLDS(super->block_sectors / super->unit_sectors <= REMAP_UNITS_PER_BLOCK_MAX);
	HOLDS(remap_nr_blocks(super) && remap_nr_blocks(super) <= REMAP_BLOCKS_MAX);
	HOLDS(super->nr_segments && super->nr_segments <= REMAP_SEGMENTS_MAX);
	HOLDS(super->nr_fenced <= REMAP_FENCED_MAX);
	HOLDS(memchr(super->main_id, 0, sizeof(super->main_id)));
	HOLDS(super->nr_groups_initialised && super->nr_groups_initialised <= nr_groups);
	HOLDS((u64)nr_groups * REMAP_SLOTS_PER_GROUP <= REMAP_SLOTS_MAX);
	HOLDS(remap_nr_slots(super) <= REMAP_SLOTS_MAX);
	for (i = 0; i < super->nr_segments; i++) {
		HOLDS(super->segment[i].start_sector >= end);
		end = super->segment[i].start_sector + super->segment[i].nr_sectors;
		HOLDS(end >= super->segment[i].start_sector);
	}
	if (nr_groups <= 128) {
		for (group = 0; group < nr_groups; group++)
			nr_slots += check_place(super, group);
		HOLDS(nr_slots == remap_nr_slots(super));
	} else {
		check_place(super, nr_groups - 1);
		for (i = 0; i < 8; i++)
			check_place(super, fuzz_take(input, 4) % nr_groups);
	}
	remap_is_fenced(super, fuzz_take(input, 4), fuzz_take(input, 1) % 2);
}

/* What was read and is written again is the same. */
static void check_encoding(const struct remap_super *super)
{
	struct remap_super_disk disk, again;
	struct remap_super decoded, wanted = *super;

	/* What is not in use is not written. */
	memset(wanted.segment + wanted.nr_segments, 0, sizeof(wanted.segment) - wanted.nr_segments * sizeof(*wanted.segment));
	memset(wanted.fenced + wanted.nr_fenced, 0, sizeof(wanted.fenced) - wanted.nr_fenced * sizeof(*wanted.fenced));
	remap_super_encode(&disk, super);
	HOLDS(remap_super_decode(&decoded, &disk) == REMAP_SUPER_OK);
	HOLDS(!memcmp(&decoded, &wanted, sizeof(wanted)));
	remap_super_encode(&again, &decoded);
	HOLDS(!memcmp(&disk, &again, sizeof(disk)));
}

static void check_meta(const struct remap_super *super, struct fuzz_input *input)
{
	u64 index = fuzz_take(input, 4);
	struct remap_meta_disk meta;
	bool right;

	remap_meta_empty(&meta, super, index, 1);
	HOLDS(remap_meta_check(&meta, super, index));
	fuzz_edit(input, meta_fields, ARRAY_SIZE(meta_fields), &meta, sizeof(meta));
	right = le32toh(meta.magic) == REMAP_META_MAGIC && le64toh(meta.index) == index &&
		!memcmp(meta.uuid, super->uuid, sizeof(meta.uuid));
	HOLDS(!remap_meta_check(&meta, super, index) || right);
	remap_meta_seal(&meta);
	HOLDS(remap_meta_check(&meta, super, index) == right);
}

static void check_entry(const struct remap_super *super, struct fuzz_input *input)
{
	struct remap_entry_disk entry;
	u32 nr_units = super->block_sectors / super->unit_sectors, unread, lost;
	u64 word;

	entry.word = htole64(remap_word(remap_nr_blocks(super) - 1, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 1));
	entry.unread = entry.lost = 0;
	fuzz_edit(input, entry_fields, ARRAY_SIZE(entry_fields), &entry, sizeof(entry));
	fuzz_edit(input, entry_fields, ARRAY_SIZE(entry_fields), &entry, sizeof(entry));
	word = le64toh(entry.word);
	unread = le32toh(entry.unread);
	lost = le32toh(entry.lost);
	if (!remap_entry_check(super, word, unread, lost))
		return;
	HOLDS(remap_word_state(word) <= REMAP_ENTRY_RETIRED_MAPPED);
	HOLDS(remap_word_reason(word) <= REMAP_REASON_PROACTIVE);
	if (remap_word_maps(word))
		HOLDS(remap_word_block(word) * super->block_sectors < super->main_sectors);
	else
		HOLDS(!unread && !lost);
	HOLDS(!(unread & lost));
	HOLDS(!((u64)(unread | lost) >> nr_units));
}

/* Layouts of one size after the other: the last group is where a slot too many would show. */
static void check_layouts(struct remap_super super, u64 area_sectors)
{
	unsigned int i;

	for (i = 0; i < 300; i++, area_sectors += super.block_sectors) {
		HOLDS(remap_super_layout(&super, area_sectors));
		HOLDS(super.segment[0].start_sector + super.segment[0].nr_sectors <= area_sectors);
		check_place(&super, remap_nr_groups(&super) - 1);
	}
}

/* A spare that grew: its segment in @nr pieces. */
static void cut_segment(struct remap_super *super, u32 nr)
{
	u64 start = super->segment[0].start_sector, piece = super->segment[0].nr_sectors / nr / 8 * 8;
	u32 i;

	for (i = 0; i < nr; i++)
		super->segment[i] = (struct remap_segment){ start + i * piece, piece };
	super->nr_segments = nr;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct fuzz_input input = { data, bytes };
	uint8_t kind = fuzz_take(&input, 1), nr_edits = fuzz_take(&input, 1) % 4;
	struct remap_super super = { .uuid = "fuzz", .sequence = 5, .nr_groups_initialised = 1, .main_id = "wwn" };
	struct remap_super_disk disk;
	u64 area_sectors;
	unsigned int i;

	super.block_sectors = REMAP_BLOCK_SECTORS_MIN << kind % 8;
	super.unit_sectors = super.block_sectors > REMAP_UNITS_PER_BLOCK_MAX ?
				     super.block_sectors / REMAP_UNITS_PER_BLOCK_MAX : 1;
	super.main_sectors = 1 + fuzz_take(&input, 4);
	area_sectors = (REMAP_HEADER_SECTORS + 3 * super.block_sectors + fuzz_take(&input, 4)) << (kind & 8 ? 10 : 0);
	if (kind & 64)
		check_layouts(super, area_sectors);
	HOLDS(remap_super_layout(&super, area_sectors));
	check_super(&super, &input);
	check_encoding(&super);

	if (kind & 16)
		cut_segment(&super, 1 + fuzz_take(&input, 1) % REMAP_SEGMENTS_MAX);
	if (kind & 128) {
		/* As full as can be: what is one more stands where the next field does. */
		cut_segment(&super, REMAP_SEGMENTS_MAX);
		for (super.nr_fenced = 0; super.nr_fenced < REMAP_FENCED_MAX; super.nr_fenced++)
			super.fenced[super.nr_fenced] = super.nr_fenced ? 0 : 1u << 31;
	}
	remap_super_encode(&disk, &super);
	if (kind & 32)
		memset(disk.main_id, 'x', sizeof(disk.main_id));
	for (i = 0; i < nr_edits; i++)
		fuzz_edit(&input, super_fields, ARRAY_SIZE(super_fields), &disk, sizeof(disk));
	seal_super(&disk);
	if (remap_super_decode(&super, &disk) != REMAP_SUPER_OK)
		return 0;
	check_super(&super, &input);
	check_encoding(&super);
	check_meta(&super, &input);
	for (i = 0; i < 4; i++)
		check_entry(&super, &input);
	return 0;
}
