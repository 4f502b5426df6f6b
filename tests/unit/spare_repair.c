// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Repair of broken spares, also when it is cut off at any write or flush, or by a power cut. */
#include "tests/unit/spare_broken.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <cmocka.h>

static void break_superblock_a(struct image *image)
{
	memset(image_super(image, 0), 0, 4096);
}

/* The same the other way round: the first sectors that are written are those that copy B lacks. */
static void break_in_other_pieces(struct image *image)
{
	((uint8_t *)image_super(image, 0))[4000] ^= 1;
	((uint8_t *)image_super(image, 1))[100] ^= 1;
	damage(image, 2, 1);
	image_enter(image, 300, remap_word(1000, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 1), 0, 0);
	((uint8_t *)image_meta(image, 0, 0))[4000] ^= 1;
	((uint8_t *)image_meta(image, 0, 1))[10] ^= 1;
}

static void break_older_copies(struct image *image)
{
	struct image old;

	image_copy(&old, image);
	image_enter(image, 1, 0, 0, 0);
	image_enter(image, 253, 0, 0, 0);
	*image_meta(image, 0, 0) = *image_meta(&old, 0, 0);
	*image_meta(image, 1, 1) = *image_meta(&old, 1, 1);
	image->super.sequence = 12;
	remap_super_encode(image_super(image, 1), &image->super);
	image_free(&old);
}

static void break_cut_moves(struct image *image)
{
	/* The old home of 1001 is in block 0, that of 50 a retired slot. */
	image_enter(image, 400, remap_word(1001, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 1), 0, 0);
	image_enter(image, 401, remap_word(50, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 4), 0, 0);
	damage(image, 0, 0);
}

static void break_with_fences(struct image *image)
{
	image->super.nr_fenced = 2;
	image->super.fenced[0] = 0;
	image->super.fenced[1] = 3;
	image_set_super(image);
	damage(image, 0, 0);
	image_meta(image, 1, 1)->sequence = htole64(100);
	remap_meta_seal(image_meta(image, 1, 1));
}

/* The only copy that counts is to be changed, in its first and its last sector. */
static void break_fenced_cut_moves(struct image *image)
{
	image_map(image, 230, 3000, 1);
	image_enter(image, 401, remap_word(3000, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 1), 0, 0);
	image_enter(image, 400, remap_word(1001, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 1), 0, 0);
	image->super.nr_fenced = 2;
	image->super.fenced[0] = 1;
	image->super.fenced[1] = 2;
	image_set_super(image);
}

static void break_entries(struct image *image)
{
	image_enter(image, 610, 7ull << 40, 0, 0);
	image_map(image, 620, 2000, 1);
	image_super(image, 0)->crc ^= 1;
}

static void break_differing(struct image *image)
{
	image_meta(image, 0, 1)->entry[2].word = 0;
	remap_meta_seal(image_meta(image, 0, 1));
	image->super.sequence = 6;
	image_set_super(image);
}

static const struct {
	breaker *broken;
	bool accept_stale;
	const char *after; /* verdict, activation and map */
} repairs[] = {
	{ break_nothing, false, "clean yes\n" ALL },
	{ break_one_copy_of_all, false, "clean yes\n" ALL },
	{ break_superblock_a, false, "clean yes\n" ALL },
	{ break_in_pieces, false, "clean yes\n" ALL },
	{ break_in_other_pieces, false,
	  "clean yes\n" BLOCK_50 REST "1000 in 300 mapped rescue 0 0\n" AT_1001 FROM_1002 AT_2000 },
	{ break_older_copies, false,
	  "clean yes\n" BLOCK_50 "61 in 252 mapped rescue 0 0\n63 in 254 mapped rescue 0 0\n" AT_1000
		  FROM_1002 AT_2000 },
	{ break_cut_moves, false,
	  "clean yes\n50 in 401 mapped rescue 0 0\n" REST AT_1000 "1001 in 400 mapped rescue 0 0\n"
		  FROM_1002 AT_2000 },
	{ break_with_fences, false, "clean yes\n" ALL },
	{ break_fenced_cut_moves, false,
	  "clean yes\n" BLOCK_50 REST AT_1000 "1001 in 400 mapped rescue 0 0\n" FROM_1002 AT_2000
	  "3000 in 401 mapped rescue 0 0\n" },
	{ break_block_0, true, "loses read-only\n" REST AT_2000 },
	{ break_entries, true, "loses read-only\n" ALL },
	{ break_all_blocks, true, "loses read-only\n" },
	{ break_differing, true, "loses read-only\n" ALL },
};

static void repairing(void **state)
{
	size_t i;

	for (i = 0; i < sizeof(repairs) / sizeof(*repairs); i++) {
		struct spare_mended done;
		struct image image;
		char *after;

		broken_begin(&image);
		repairs[i].broken(&image);
		if (repairs[i].accept_stale) {
			image.nr_writes = 0;
			assert_int_equal(repair(&image, false, &done), EX_DATAERR);
			assert_int_equal(image.nr_writes, 0);
		}
		image.nr_writes = 0;
		assert_int_equal(repair(&image, repairs[i].accept_stale, &done), EX_OK);
		assert_true(!image.nr_writes == (repairs[i].broken == break_nothing));
		assert_int_equal(done.marked, repairs[i].accept_stale);
		after = state_text(&image);
		assert_string_equal(after, repairs[i].after);
		free(after);
		/* A second one has nothing to do. */
		image.nr_writes = 0;
		assert_int_equal(repair(&image, repairs[i].accept_stale, &done), EX_OK);
		assert_int_equal(image.nr_writes, 0);
		image_free(&image);
	}
}

/* The retired slot of a cut move must not come back into use. */
static void retired_slots_stay(void **state)
{
	struct spare_mended done;
	struct image image;
	struct spare spare;

	broken_begin(&image);
	break_cut_moves(&image);
	assert_int_equal(repair(&image, false, &done), EX_OK);
	assert_int_equal(done.entries_freed, 2);
	spare = checked(&image);
	assert_int_equal(spare.nr_retired, 1);
	spare_free(&spare);
	image_free(&image);
}

static int work_repair(struct image *image, void *context)
{
	struct spare_mended done;

	return repair(image, *(bool *)context, &done);
}

static void repair_stopped_anywhere(void **state)
{
	size_t i;

	for (i = 1; i < sizeof(repairs) / sizeof(*repairs); i++) {
		bool accept_stale = repairs[i].accept_stale;

		stop_anywhere(repairs[i].broken, work_repair, &accept_stale);
	}
}

static void dead_places(void **state)
{
	struct spare_mended done;
	struct image image;
	struct spare spare;

	/* A copy that can't be written is fenced. */
	broken_begin(&image);
	image_mark_bad(&image, image_meta_sector(&image, 1, 0), 8);
	assert_int_equal(repair(&image, false, &done), EX_OK);
	assert_int_equal(done.copies_fenced, 1);
	spare = checked(&image);
	assert_int_equal(spare.verdict, SPARE_MENDS);
	assert_int_equal(spare.nr_findings, 1);
	assert_int_equal(spare.finding[0].state[0], SPARE_COPY_FENCED);
	spare_free(&spare);
	/* Again: no second fence, no end of superblocks. */
	image.nr_writes = 0;
	assert_int_equal(repair(&image, false, &done), EX_OK);
	assert_int_equal(done.copies_fenced, 0);
	assert_int_equal(image.super.sequence, 7);
	/* It takes data again. */
	memset(image.bad, 0, image.area_sectors);
	assert_int_equal(repair(&image, false, &done), EX_OK);
	spare = checked(&image);
	assert_int_equal(spare.verdict, SPARE_CLEAN);
	assert_int_equal(spare.supers.super.nr_fenced, 0);
	spare_free(&spare);
	/* One superblock is enough, and none is not. */
	image_mark_bad(&image, REMAP_SUPER_A_SECTOR, 8);
	assert_int_equal(repair(&image, false, &done), EX_OK);
	image_free(&image);
	broken_begin(&image);
	image_mark_bad(&image, image_meta_sector(&image, 0, 0), 1);
	image_mark_bad(&image, image_meta_sector(&image, 0, 1) + 3, 1);
	assert_int_equal(repair(&image, false, &done), EX_IOERR);
	image_free(&image);
}

static void hopeless(void **state)
{
	struct spare_mended done;
	struct image image;
	int what;

	for (what = 0; what < 4; what++) {
		broken_begin(&image);
		if (what == 0)
			image.super.incompat = 4;
		if (what == 1)
			image.super.ro_compat = 4;
		image_set_super(&image);
		if (what == 2)
			memset(image_super(&image, 0), 0, 2040 * 512 + 4096);
		if (what == 3)
			image.io.area_sectors--;
		assert_int_equal(repair(&image, true, &done), EX_DATAERR);
		assert_int_equal(image.nr_writes, 0);
		image_free(&image);
	}
	image_make(&image, 8, 2, 2);
	image_enter(&image, REMAP_SLOTS_PER_GROUP,
		    remap_word(7, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 0), 0, 0);
	image.super.nr_groups_initialised = 1;
	image_set_super(&image);
	assert_int_equal(repair(&image, true, &done), EX_DATAERR);
	assert_int_equal(image.nr_writes, 0);
	image_free(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(repairing),
		cmocka_unit_test(retired_slots_stay),
		cmocka_unit_test(repair_stopped_anywhere),
		cmocka_unit_test(dead_places),
		cmocka_unit_test(hopeless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
