// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The format on the spare. tests/unit/data/spare-v1.img is what the kernel module wrote: superblock copy A and metadata block
 * 0 copy A of a spare of 2 MiB with four runs of mappings. It must be understood for as long as version 1 is.
 */
#include "kmod/format.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define GOLDEN "tests/unit/data/spare-v1.img"

struct golden {
	struct remap_super_disk super;
	struct remap_meta_disk meta;
};

static void read_golden(struct golden *golden)
{
	FILE *file = fopen(GOLDEN, "r");

	assert_non_null(file);
	assert_int_equal(fread(golden, sizeof(*golden), 1, file), 1);
	assert_int_equal(fgetc(file), EOF);
	fclose(file);
}

static struct remap_super a_super(u32 block_sectors, u32 unit_sectors, u64 area_sectors)
{
	struct remap_super super = {
		.main_sectors = 1000003,
		.block_sectors = block_sectors,
		.unit_sectors = unit_sectors,
		.sequence = 7,
		.nr_groups_initialised = 1,
	};

	assert_true(remap_super_layout(&super, area_sectors));
	return super;
}

static void golden_superblock(void **state)
{
	struct remap_super_disk again;
	struct golden golden;
	struct remap_super super;

	read_golden(&golden);
	assert_int_equal(remap_super_decode(&super, &golden.super), REMAP_SUPER_OK);
	assert_int_equal(super.block_sectors, 8);
	assert_int_equal(super.unit_sectors, 1);
	assert_int_equal(super.main_sectors, 131072);
	assert_int_equal(super.main_offset_sectors, 0);
	assert_int_equal(super.nr_groups_initialised, 1);
	assert_int_equal(super.nr_segments, 1);
	assert_int_equal(super.segment[0].start_sector, 2048);
	assert_int_equal(super.nr_fenced, 0);
	assert_string_equal(super.main_id, "wwn-0x5000c500a1b2c3d4");
	remap_super_encode(&again, &super);
	assert_memory_equal(&again, &golden.super, sizeof(again));
}

static void golden_metadata(void **state)
{
	static const struct {
		u64 block;
		u32 reason;
		u32 unread;
	} expected[] = {
		{ 125, REMAP_REASON_SALVAGE, 0x0e },
		{ 250, REMAP_REASON_RESCUE, 0 },
		{ 251, REMAP_REASON_RESCUE, 0 },
		{ 8192, REMAP_REASON_PROACTIVE, 0 },
		{ 8193, REMAP_REASON_PROACTIVE, 0 },
		{ 8194, REMAP_REASON_PROACTIVE, 0 },
	};
	struct golden golden;
	struct remap_super super;
	size_t i;

	read_golden(&golden);
	assert_int_equal(remap_super_decode(&super, &golden.super), REMAP_SUPER_OK);
	assert_true(remap_meta_check(&golden.meta, &super, 0));
	for (i = 0; i < REMAP_ENTRIES_PER_META; i++) {
		const struct remap_entry_disk *entry = &golden.meta.entry[i];
		u64 word = le64toh(entry->word);

		assert_true(remap_entry_check(&super, word, le32toh(entry->unread), le32toh(entry->lost)));
		assert_int_equal(le32toh(entry->lost), 0);
		if (i >= sizeof(expected) / sizeof(expected[0])) {
			assert_int_equal(word, 0);
			continue;
		}
		assert_int_equal(remap_word_state(word), REMAP_ENTRY_MAPPED);
		assert_int_equal(remap_word_block(word), expected[i].block);
		assert_int_equal(remap_word_reason(word), expected[i].reason);
		assert_int_equal(le32toh(entry->unread), expected[i].unread);
	}
}

/* Numbers that stand on disks. */
static void values_are_pinned(void **state)
{
	assert_int_equal(REMAP_ENTRY_FREE, 0);
	assert_int_equal(REMAP_ENTRY_MAPPED, 1);
	assert_int_equal(REMAP_ENTRY_RETIRED, 2);
	assert_int_equal(REMAP_ENTRY_RETIRED_MAPPED, 3);
	assert_int_equal(REMAP_REASON_RESCUE, 1);
	assert_int_equal(REMAP_REASON_SALVAGE, 2);
	assert_int_equal(REMAP_REASON_PROACTIVE, 3);
	assert_int_equal(offsetof(struct remap_super_disk, crc), 8);
	assert_int_equal(offsetof(struct remap_super_disk, main_id), 88);
	assert_int_equal(offsetof(struct remap_super_disk, segment), 256);
	assert_int_equal(offsetof(struct remap_super_disk, fenced), 768);
	assert_int_equal(offsetof(struct remap_meta_disk, entry), 64);
	assert_int_equal(remap_word(0x123456789a, REMAP_ENTRY_RETIRED_MAPPED, REMAP_REASON_PROACTIVE, 0xfedc),
			 0xfedc33123456789aull);
}

static u64 little_endian(const void *disk, size_t at, size_t bytes)
{
	u64 value = 0;

	while (bytes--)
		value = value << 8 | ((const u8 *)disk)[at + bytes];
	return value;
}

/* The golden image has zeros where nothing was to be said, and zero looks the same from both ends. */
static void every_number_is_little_endian(void **state)
{
	struct remap_super super = a_super(16, 2, 1 << 20);
	struct remap_super again;
	struct remap_super_disk disk;
	struct remap_meta_disk meta;

	super.compat = 0xa1b2c3d4;
	super.ro_compat = 0xb1c2d3e4;
	super.sequence = 0x0102030405060708;
	super.main_offset_sectors = 0x1112131415161718;
	super.nr_fenced = 2;
	super.fenced[0] = 0x0102;
	super.fenced[1] = 0x0301;
	remap_super_encode(&disk, &super);
	assert_int_equal(little_endian(&disk, 12, 4), REMAP_VERSION);
	assert_int_equal(little_endian(&disk, 16, 4), 0xa1b2c3d4);
	assert_int_equal(little_endian(&disk, 20, 4), 0xb1c2d3e4);
	assert_int_equal(little_endian(&disk, 24, 4), 0);
	assert_int_equal(little_endian(&disk, 28, 4), 16);
	assert_int_equal(little_endian(&disk, 48, 8), 0x0102030405060708);
	assert_int_equal(little_endian(&disk, 56, 8), 1000003);
	assert_int_equal(little_endian(&disk, 64, 8), 0x1112131415161718);
	assert_int_equal(little_endian(&disk, 72, 4), 2);
	assert_int_equal(little_endian(&disk, 76, 4), 1);
	assert_int_equal(little_endian(&disk, 80, 4), 1);
	assert_int_equal(little_endian(&disk, 84, 4), 2);
	assert_int_equal(little_endian(&disk, 256, 8), super.segment[0].start_sector);
	assert_int_equal(little_endian(&disk, 264, 8), super.segment[0].nr_sectors);
	assert_int_equal(little_endian(&disk, 768, 4), 0x0102);
	assert_int_equal(little_endian(&disk, 772, 4), 0x0301);
	assert_int_equal(remap_super_decode(&again, &disk), REMAP_SUPER_OK);
	assert_memory_equal(&again, &super, sizeof(again));
	super.incompat = 0xc1d2e3f4;
	remap_super_encode(&disk, &super);
	assert_int_equal(little_endian(&disk, 24, 4), 0xc1d2e3f4);

	remap_meta_empty(&meta, &super, 0x2122232425262728, 0x3132333435363738);
	assert_int_equal(little_endian(&meta, 0, 4), REMAP_META_MAGIC);
	assert_int_equal(little_endian(&meta, 24, 8), 0x2122232425262728);
	assert_int_equal(little_endian(&meta, 32, 8), 0x3132333435363738);
	assert_int_equal(little_endian(&meta, 40, 8), super.sequence);
	assert_true(remap_meta_check(&meta, &super, 0x2122232425262728));
}

static void any_changed_bit_is_noticed(void **state)
{
	struct remap_super super;
	struct golden golden;
	size_t i;

	read_golden(&golden);
	assert_int_equal(remap_super_decode(&super, &golden.super), REMAP_SUPER_OK);
	for (i = 0; i < sizeof(golden.meta) * 8; i++) {
		struct remap_super ignored;

		((u8 *)&golden.meta)[i / 8] ^= 1 << i % 8;
		assert_false(remap_meta_check(&golden.meta, &super, 0));
		((u8 *)&golden.meta)[i / 8] ^= 1 << i % 8;

		((u8 *)&golden.super)[i / 8] ^= 1 << i % 8;
		assert_int_not_equal(remap_super_decode(&ignored, &golden.super), REMAP_SUPER_OK);
		((u8 *)&golden.super)[i / 8] ^= 1 << i % 8;
	}
	assert_false(remap_meta_check(&golden.meta, &super, 1));
	super.uuid[3] ^= 1;
	assert_false(remap_meta_check(&golden.meta, &super, 0));
}

/* The reserved fields are inside the checksum, so a re-encoded header with other numbers must be refused for what it says. */
static void impossible_superblocks(void **state)
{
	struct remap_super good = a_super(8, 1, 1 << 20);
	struct remap_super_disk disk;
	struct remap_super super;

#define REFUSED(field, value, error)						\
	do {									\
		super = good;							\
		super.field = value;						\
		remap_super_encode(&disk, &super);				\
		assert_int_equal(remap_super_decode(&super, &disk), error);	\
	} while (0)

	REFUSED(main_sectors, good.main_sectors, REMAP_SUPER_OK);
	REFUSED(block_sectors, 0, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(block_sectors, 4, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(block_sectors, 12, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(block_sectors, 2048, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(block_sectors, 1u << 31, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(unit_sectors, 0, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(unit_sectors, 16, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(main_sectors, 0, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(main_sectors, ~0ull, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(segment[0].start_sector, 0, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(segment[0].nr_sectors, ~0ull, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(segment[0].nr_sectors, 1ull << 50, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(segment[0].start_sector, 2049, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(nr_groups_initialised, 0, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(nr_groups_initialised, 1000, REMAP_SUPER_BAD_GEOMETRY);
	REFUSED(incompat, 1, REMAP_SUPER_UNKNOWN_FEATURE);
	REFUSED(compat, 1, REMAP_SUPER_OK);
	REFUSED(ro_compat, 1, REMAP_SUPER_OK);
#undef REFUSED
	super = good;
	super.nr_segments = 0;
	remap_super_encode(&disk, &super);
	assert_int_equal(remap_super_decode(&super, &disk), REMAP_SUPER_BAD_GEOMETRY);
}

/* Every metadata block and slot of a layout lies inside its area, and no two overlap. */
static void check_layout(u32 block_sectors, u64 area_sectors)
{
	struct remap_super super = a_super(block_sectors, 1 > block_sectors / 32 ? 1 : block_sectors / 32, area_sectors);
	u64 end = REMAP_HEADER_SECTORS;
	u64 nr_slots = 0;
	u32 group;

	for (group = 0; group < remap_nr_groups(&super); group++) {
		struct remap_group_place place;

		assert_true(remap_group_place(&super, group, &place));
		assert_true(place.nr_slots > 0 && place.nr_slots <= REMAP_SLOTS_PER_GROUP);
		assert_true((u64)place.nr_metas * REMAP_ENTRIES_PER_META >= place.nr_slots);
		assert_true(place.nr_metas <= REMAP_METAS_PER_GROUP);
		assert_true(place.copy_sector[0] >= end);
		assert_true(place.slot_sector >= place.copy_sector[0] + place.nr_metas * REMAP_META_SECTORS);
		assert_int_equal((place.slot_sector - REMAP_HEADER_SECTORS) % block_sectors, 0);
		assert_true(place.copy_sector[1] >= place.slot_sector + (u64)place.nr_slots * block_sectors);
		end = place.copy_sector[1] + place.nr_metas * REMAP_META_SECTORS;
		nr_slots += place.nr_slots;
	}
	assert_true(end <= area_sectors);
	assert_int_equal(nr_slots, remap_nr_slots(&super));
	/* No more than a group's worth of slots may be wasted at the end, and hardly any of that. */
	assert_true(area_sectors - end < 4 * block_sectors + 2 * REMAP_META_SECTORS);
}

static void layouts(void **state)
{
	static const u32 block_sectors[] = { 8, 16, 32, 128, 1024 };
	size_t b;
	u64 i;

	for (b = 0; b < sizeof(block_sectors) / sizeof(block_sectors[0]); b++) {
		u32 bs = block_sectors[b];

		for (i = 0; i < 600; i++)
			check_layout(bs, REMAP_HEADER_SECTORS + 3 * bs + 16 + i * bs * 7);
		for (i = 0; i < 20; i++)
			check_layout(bs, 3ull * 130048 / 8 * bs + i * 8 * 1237);
	}
	check_layout(8, 4ull << 30);
}

static void too_small(void **state)
{
	struct remap_super super = { .block_sectors = 8, .unit_sectors = 1, .main_sectors = 8 };

	assert_false(remap_super_layout(&super, 0));
	assert_false(remap_super_layout(&super, REMAP_HEADER_SECTORS));
	assert_false(remap_super_layout(&super, REMAP_HEADER_SECTORS + 23));
	assert_true(remap_super_layout(&super, REMAP_HEADER_SECTORS + 24));
	assert_int_equal(remap_nr_slots(&super), 1);
}

static void generations_wrap(void **state)
{
	u32 i;

	for (i = 0; i < 65536; i++) {
		assert_true(remap_generation_after(i + 1, i));
		assert_false(remap_generation_after(i, i + 1));
	}
	assert_false(remap_generation_after(5, 5));
}

static void entries(void **state)
{
	struct remap_super super = a_super(8, 1, 1 << 20);
	u64 last = remap_nr_blocks(&super) - 1;

	assert_true(remap_entry_check(&super, remap_word(last, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 9), 0x0f, 0xf0));
	assert_false(remap_entry_check(&super, remap_word(last + 1, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 9), 0, 0));
	assert_false(remap_entry_check(&super, remap_word(1, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 9), 0x100, 0));
	assert_false(remap_entry_check(&super, remap_word(1, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 9), 1, 1));
	assert_false(remap_entry_check(&super, remap_word(1, 4, REMAP_REASON_RESCUE, 9), 0, 0));
	assert_false(remap_entry_check(&super, remap_word(1, REMAP_ENTRY_MAPPED, 4, 9), 0, 0));
	assert_false(remap_entry_check(&super, remap_word(0, REMAP_ENTRY_RETIRED, REMAP_REASON_NONE, 0), 1, 0));
	assert_true(remap_entry_check(&super, remap_word(0, REMAP_ENTRY_RETIRED, REMAP_REASON_NONE, 0), 0, 0));
}

static void fences(void **state)
{
	struct remap_super super = a_super(8, 1, 1 << 20);

	super.nr_fenced = 2;
	super.fenced[0] = 5 * 2 + 1;
	super.fenced[1] = 0;
	assert_true(remap_is_fenced(&super, 5, 1));
	assert_false(remap_is_fenced(&super, 5, 0));
	assert_true(remap_is_fenced(&super, 0, 0));
	assert_false(remap_is_fenced(&super, 0, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_superblock),
		cmocka_unit_test(golden_metadata),
		cmocka_unit_test(values_are_pinned),
		cmocka_unit_test(every_number_is_little_endian),
		cmocka_unit_test(any_changed_bit_is_noticed),
		cmocka_unit_test(impossible_superblocks),
		cmocka_unit_test(layouts),
		cmocka_unit_test(too_small),
		cmocka_unit_test(generations_wrap),
		cmocka_unit_test(entries),
		cmocka_unit_test(fences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
