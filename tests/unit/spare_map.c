// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What check says of superblocks, groups and entries that are whole, and of the map that they make. */
#include "tests/unit/spare_image.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* ---- superblocks ---- */

static void one_superblock(void **state)
{
	struct image image;
	unsigned int copy;
	int damage;

	for (copy = 0; copy < 2; copy++)
		for (damage = 0; damage < 5; damage++) {
			struct remap_super other;

			image_make_used(&image);
			other = image.super;
			if (damage == 0)
				memset(image_super(&image, copy), 0, 4096);
			if (damage == 1)
				image_super(&image, copy)->main_id[60] ^= 1;
			if (damage == 2)
				image_mark_bad(&image, copy ? REMAP_SUPER_B_SECTOR : 0, 1);
			if (damage == 3)
				other.block_sectors = 12;
			if (damage == 4) {
				other.sequence--;
				other.nr_fenced = 1;
			}
			if (damage >= 3)
				remap_super_encode(image_super(&image, copy), &other);
			EXPECT_MENDS(&image, SPARE_SUPER_COPY);
			image_free(&image);
		}
}

/* The module refuses the spare if either copy says that it must not touch it. */
static void newer_superblocks(void **state)
{
	struct image image;
	unsigned int copy;

	for (copy = 0; copy < 2; copy++) {
		image_make_used(&image);
		image.super.incompat = 8;
		remap_super_encode(image_super(&image, copy), &image.super);
		EXPECT_GONE(&image, SPARE_SUPER_NEWER);
		image_free(&image);
	}
	image_make_used(&image);
	image.super.ro_compat = 8;
	image_set_super(&image);
	EXPECT(&image, SPARE_CLEAN, SPARE_ACTIVATES_READ_ONLY, 1, SPARE_SUPER_READ_ONLY, used_map);
	image.super.ro_compat = REMAP_RO_COMPAT_INCOMPLETE;
	image_set_super(&image);
	EXPECT(&image, SPARE_LOSES, SPARE_ACTIVATES_READ_ONLY, 1, SPARE_INCOMPLETE, used_map);
	image_free(&image);
}

static void old_superblocks(void **state)
{
	struct image image;

	image_make_used(&image);
	image.super.sequence = 6;
	image_set_super(&image);
	EXPECT(&image, SPARE_LOSES, SPARE_REFUSED, 1, SPARE_SUPER_BEHIND, used_map);
	image_free(&image);
	/* Of two groups one is counted. The other may be there, but not in use. */
	image_make(&image, 8, 2, 2);
	image_map(&image, 3, 100, 2);
	image.super.nr_groups_initialised = 1;
	image_set_super(&image);
	EXPECT(&image, SPARE_CLEAN, SPARE_ACTIVATES, 0, 0,
	       "100 in 3 mapped rescue 0 0\n101 in 4 mapped rescue 0 0\n");
	image_meta(&image, 65, 1)->entry[4].word =
		htole64(remap_word(5, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 0));
	remap_meta_seal(image_meta(&image, 65, 1));
	image_meta(&image, 65, 0)->crc = 0;
	EXPECT(&image, SPARE_LOSES, SPARE_ACTIVATES, 1, SPARE_GROUP_UNCOUNTED, NULL);
	image_free(&image);
}

static void smaller_than_it_was(void **state)
{
	struct image image;

	image_make_used(&image);
	image.io.area_sectors--;
	EXPECT(&image, SPARE_LOSES, SPARE_REFUSED, 1, SPARE_TOO_SMALL, used_map);
	image_free(&image);
}

/* ---- entries ---- */

static void impossible_entries(void **state)
{
	static const struct {
		uint64_t word;
		uint32_t unread, lost;
	} impossible[] = {
		{ (1 << 22) / 8 | 1ull << 40 | 1ull << 44, 0, 0 },
		{ 5 | 4ull << 40 | 1ull << 44, 0, 0 },
		{ 5 | 1ull << 40 | 4ull << 44, 0, 0 },
		{ 5 | 1ull << 40 | 1ull << 44, 0x100, 0 },
		{ 5 | 1ull << 40 | 1ull << 44, 1, 1 },
		{ 0, 0, 1 },
		{ 2ull << 40, 1, 0 },
	};
	struct image image;
	size_t i;

	for (i = 0; i < sizeof(impossible) / sizeof(*impossible); i++) {
		image_make_used(&image);
		image_enter(&image, 699, impossible[i].word, impossible[i].unread,
			    impossible[i].lost);
		EXPECT(&image, SPARE_LOSES, SPARE_REFUSED, 1, SPARE_ENTRY_IMPOSSIBLE, used_map);
		image_free(&image);
	}
	/* The module looks at no entry that has no slot, and at none that is free. */
	image_make_used(&image);
	image_enter(&image, 700, 5 | 4ull << 40, 0, 0);
	image_enter(&image, 699, 5ull << 48 | 3, 0, 0);
	EXPECT_CLEAN(&image);
	image_free(&image);
}

static void two_entries_for_one_block(void **state)
{
	static const uint16_t generation[][2] = { { 0, 1 }, { 1, 0 }, { 65535, 0 }, { 0, 65535 },
						  { 32768, 32767 } };
	struct image image;
	size_t i;

	for (i = 0; i < sizeof(generation) / sizeof(*generation); i++) {
		bool second = remap_generation_after(generation[i][1], generation[i][0]);

		image_make(&image, 8, 1, 1);
		image_enter(&image, 10, remap_word(77, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE,
						   generation[i][0]), 1, 0);
		image_enter(&image, 600, remap_word(77, REMAP_ENTRY_RETIRED_MAPPED,
						    REMAP_REASON_RESCUE, generation[i][1]), 0, 2);
		EXPECT(&image, SPARE_MENDS, SPARE_ACTIVATES, 1, SPARE_ENTRY_OUTDATED,
		       second ? "77 in 600 retired-mapped rescue 0 2\n" :
				"77 in 10 mapped rescue 1 0\n");
		image_free(&image);
	}
	image_make(&image, 8, 1, 1);
	image_map(&image, 10, 77, 1);
	image_map(&image, 5, 77, 1);
	EXPECT(&image, SPARE_LOSES, SPARE_ACTIVATES, 1, SPARE_ENTRY_AMBIGUOUS,
	       "77 in 5 mapped rescue 0 0\n");
	image_free(&image);
}

static void runs(void **state)
{
	static const struct spare_run expected[] = {
		{ 50, 1, 8, REMAP_ENTRY_RETIRED_MAPPED, REMAP_REASON_SALVAGE, 400, 8, 1, 2 },
		{ 60, 1, 251, REMAP_ENTRY_MAPPED, REMAP_REASON_SALVAGE, 480, 8, 1, 0 },
		{ 61, 3, 252, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 488, 24, 0, 0 },
		{ 1000, 5, 0, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 8000, 40, 0, 0 },
		{ (1 << 22) / 8 - 1, 1, 400, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, (1 << 22) - 8,
		  3, 0, 0 },
	};
	struct image image;
	struct spare spare;
	struct spare_run run;
	size_t next = 0, i;

	image_make_used(&image);
	image.super.main_sectors = (1 << 22) - 5;
	image_set_super(&image);
	image_map(&image, 400, (1 << 22) / 8 - 1, 1);
	assert_int_equal(spare_check(&image.io, &spare, NULL), 0);
	for (i = 0; i < sizeof(expected) / sizeof(*expected); i++) {
		assert_true(spare_next_run(&spare, &next, &run));
		assert_int_equal(run.block, expected[i].block);
		assert_int_equal(run.nr_blocks, expected[i].nr_blocks);
		assert_int_equal(run.slot, expected[i].slot);
		assert_int_equal(run.state, expected[i].state);
		assert_int_equal(run.reason, expected[i].reason);
		assert_int_equal(run.sector, expected[i].sector);
		assert_int_equal(run.nr_sectors, expected[i].nr_sectors);
		assert_int_equal(run.unread_sectors, expected[i].unread_sectors);
		assert_int_equal(run.lost_sectors, expected[i].lost_sectors);
	}
	assert_false(spare_next_run(&spare, &next, &run));
	spare_free(&spare);
	image_free(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_superblock),
		cmocka_unit_test(newer_superblocks),
		cmocka_unit_test(old_superblocks),
		cmocka_unit_test(smaller_than_it_was),
		cmocka_unit_test(impossible_entries),
		cmocka_unit_test(two_entries_for_one_block),
		cmocka_unit_test(runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
