// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Restore of broken spares from dumps, also when it is cut off at any write or flush, or by a power cut. */
#include "tests/unit/spare_broken.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <cmocka.h>

struct dumped {
	struct spare_dump dump;
	bool older;
	bool foreign;
	struct spare_mended done;
};

static void dump_image(struct image *image, struct spare_dump *dump)
{
	struct spare spare = checked(image);
	char *text = NULL, error[SPARE_TEXT_BYTES];
	FILE *file;
	size_t bytes;

	file = open_memstream(&text, &bytes);
	assert_int_equal(spare_dump_write(&image->io, &spare, file), 0);
	fclose(file);
	file = fmemopen(text, bytes, "r");
	assert_int_equal(spare_dump_read(file, dump, error), EX_OK);
	fclose(file);
	free(text);
	spare_free(&spare);
}

static int work_restore(struct image *image, void *context)
{
	struct dumped *dumped = context;
	struct spare spare = checked(image);
	char error[SPARE_TEXT_BYTES] = "";
	int status = spare_restore(&image->io, &spare, &dumped->dump, dumped->older,
				   dumped->foreign, &dumped->done, error);

	assert_true(!status == !*error);
	spare_free(&spare);
	return status;
}

/* A dump of the spare as it was before it was broken. */
static void dump_used(struct dumped *dumped)
{
	struct image image;

	memset(dumped, 0, sizeof(*dumped));
	broken_begin(&image);
	dump_image(&image, &dumped->dump);
	image_free(&image);
}

static void break_superblocks(struct image *image)
{
	memset(image_super(image, 0), 0, 4096);
	memset(image_super(image, 1), 0, 4096);
}

static void break_start(struct image *image)
{
	memset(image->bytes, 0, 2 << 20);
	damage(image, 1, 1);
}

static void break_superblocks_and_block_1(struct image *image)
{
	break_superblocks(image);
	damage(image, 1, 0);
	damage(image, 1, 1);
	damage(image, 2, 1);
}

static void break_by_repair(struct image *image)
{
	struct spare_mended done;

	break_block_0(image);
	assert_int_equal(repair(image, true, &done), EX_OK);
	image->nr_writes = 0;
	image->stop_at = 0;
}

static void restoring(void **state)
{
	static breaker *const broken[] = { break_nothing, break_one_copy_of_all, break_block_0,
					   break_superblocks, break_start, break_all_blocks,
					   break_superblocks_and_block_1, break_by_repair,
					   break_in_pieces };
	struct dumped dumped;
	size_t i;

	dump_used(&dumped);
	for (i = 0; i < sizeof(broken) / sizeof(*broken); i++) {
		struct image image;
		char *after;

		broken_begin(&image);
		broken[i](&image);
		assert_int_equal(work_restore(&image, &dumped), EX_OK);
		assert_int_equal(dumped.done.unmarked, broken[i] == break_by_repair);
		assert_int_equal(dumped.done.super_restored,
				 broken[i] == break_superblocks || broken[i] == break_start ||
					 broken[i] == break_superblocks_and_block_1);
		after = state_text(&image);
		assert_string_equal(after, "clean yes\n" ALL);
		free(after);
		image.nr_writes = 0;
		assert_int_equal(work_restore(&image, &dumped), EX_OK);
		assert_int_equal(image.nr_writes, 0);
		image_free(&image);
		if (i)
			stop_anywhere(broken[i], work_restore, &dumped);
	}
	spare_dump_free(&dumped.dump);
}

/* After the dump: block 62 went, 3000 came, in metadata blocks 1 and 2. */
static void go_on(struct image *image)
{
	image_enter(image, 253, 0, 0, 0);
	image_map(image, 650, 3000, 1);
}

static void go_on_and_break_block_0(struct image *image)
{
	go_on(image);
	break_block_0(image);
}

static void go_on_and_break_superblocks(struct image *image)
{
	go_on(image);
	break_superblocks(image);
}

static void go_on_and_break_superblocks_and_a_copy(struct image *image)
{
	go_on_and_break_superblocks(image);
	damage(image, 1, 1);
}

/* A block that is newer than the dump, and holds what can't be. */
static void go_on_and_break_entries(struct image *image)
{
	image_enter(image, 650, 9ull << 40, 0, 0);
}

static void dump_is_older(void **state)
{
#define NEWER \
	"61 in 252 mapped rescue 0 0\n63 in 254 mapped rescue 0 0\n" AT_1000 AT_1001 FROM_1002 AT_2000 \
	"3000 in 650 mapped rescue 0 0\n"
	static const struct {
		breaker *broken;
		bool needs_older;
		const char *after;
	} cases[] = {
		/* Nothing has to come from the dump. */
		{ go_on, false, "clean yes\n" BLOCK_50 NEWER },
		/* All mappings are on the spare, and which copies are good is beyond doubt. */
		{ go_on_and_break_superblocks, false, "clean yes\n" BLOCK_50 NEWER },
		{ go_on_and_break_block_0, true, "loses read-only\n" BLOCK_50 NEWER },
		{ go_on_and_break_superblocks_and_a_copy, true, "loses read-only\n" BLOCK_50 NEWER },
		{ go_on_and_break_entries, true, "loses read-only\n" ALL },
	};
	struct dumped dumped;
	size_t i;

	dump_used(&dumped);
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct image image;
		char *after;

		broken_begin(&image);
		cases[i].broken(&image);
		image.nr_writes = 0;
		dumped.older = false;
		assert_int_equal(work_restore(&image, &dumped),
				 cases[i].needs_older ? EX_DATAERR : EX_OK);
		if (cases[i].needs_older)
			assert_int_equal(image.nr_writes, 0);
		dumped.older = true;
		assert_int_equal(work_restore(&image, &dumped), EX_OK);
		assert_int_equal(dumped.done.marked, cases[i].needs_older);
		after = state_text(&image);
		assert_string_equal(after, cases[i].after);
		free(after);
		image_free(&image);
		if (cases[i].needs_older)
			stop_anywhere(cases[i].broken, work_restore, &dumped);
	}
	spare_dump_free(&dumped.dump);
}

/* The whole spare is an older one. */
static void spare_is_older(void **state)
{
	struct dumped dumped = { 0 };
	struct image image;
	char *after;

	broken_begin(&image);
	go_on(&image);
	dump_image(&image, &dumped.dump);
	image_free(&image);
	broken_begin(&image);
	assert_int_equal(work_restore(&image, &dumped), EX_OK);
	assert_int_equal(dumped.done.blocks_restored, 2);
	after = state_text(&image);
	assert_string_equal(after, "clean yes\n" BLOCK_50 NEWER);
	free(after);
	image_free(&image);
	stop_anywhere(break_nothing, work_restore, &dumped);
	spare_dump_free(&dumped.dump);
}

/* Groups that came into use after the dump. */
static void further_groups(void **state)
{
	struct dumped dumped = { 0 };
	struct image image;
	char *after;

	image_make(&image, 8, 2, 1);
	image_map(&image, 3, 100, 1);
	dump_image(&image, &dumped.dump);
	image_free(&image);
	image_make(&image, 8, 2, 2);
	image_map(&image, 3, 100, 1);
	image_enter(&image, REMAP_SLOTS_PER_GROUP + 5,
		    remap_word(7, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 0), 0, 0);
	break_superblocks(&image);
	assert_int_equal(work_restore(&image, &dumped), EX_OK);
	after = state_text(&image);
	assert_string_equal(after, "clean yes\n7 in 16133 mapped rescue 0 0\n100 in 3 mapped rescue 0 0\n");
	free(after);
	image_free(&image);
	spare_dump_free(&dumped.dump);
}

static void wrong_spares(void **state)
{
	struct dumped dumped;
	struct image image;
	char *after;

	dump_used(&dumped);
	/* Another one. */
	image_make(&image, 8, 1, 1);
	image.super.uuid[3] ^= 1;
	image_set_super(&image);
	assert_int_equal(work_restore(&image, &dumped), EX_DATAERR);
	assert_int_equal(image.nr_writes, 0);
	dumped.foreign = true;
	assert_int_equal(work_restore(&image, &dumped), EX_OK);
	after = state_text(&image);
	assert_string_equal(after, "clean yes\n" ALL);
	free(after);
	dumped.foreign = false;
	/* Nothing at all. */
	memset(image.bytes, 0, image.area_sectors * 512);
	image.nr_writes = 0;
	assert_int_equal(work_restore(&image, &dumped), EX_DATAERR);
	assert_int_equal(image.nr_writes, 0);
	image_free(&image);
	/* Too small, or newer. */
	broken_begin(&image);
	image.io.area_sectors -= 1;
	assert_int_equal(work_restore(&image, &dumped), EX_DATAERR);
	image.io.area_sectors += 1;
	image.super.incompat = 2;
	image_set_super(&image);
	assert_int_equal(work_restore(&image, &dumped), EX_DATAERR);
	assert_int_equal(image.nr_writes, 0);
	image_free(&image);
	spare_dump_free(&dumped.dump);
	/* A dump that does not know the block that is missing. */
	broken_begin(&image);
	break_block_0(&image);
	dump_image(&image, &dumped.dump);
	assert_int_equal(work_restore(&image, &dumped), EX_OK);
	after = state_text(&image);
	assert_string_equal(after, "loses refused\n" REST AT_2000);
	free(after);
	spare_dump_free(&dumped.dump);
	break_superblocks(&image);
	dump_image(&image, &dumped.dump);
	assert_int_equal(work_restore(&image, &dumped), EX_DATAERR);
	spare_dump_free(&dumped.dump);
	image_free(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(restoring),
		cmocka_unit_test(dump_is_older),
		cmocka_unit_test(spare_is_older),
		cmocka_unit_test(further_groups),
		cmocka_unit_test(wrong_spares),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
