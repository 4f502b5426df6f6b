// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Spares on devices that have become larger. */
#include "tests/unit/spare_broken.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <cmocka.h>

/* As if the device had ended @sectors earlier when the spare was formatted. */
static void make_smaller(struct image *image, uint32_t nr_groups, uint32_t initialised, uint64_t sectors)
{
	uint64_t area_sectors;

	image_make(image, 8, nr_groups, 1);
	area_sectors = image->area_sectors;
	image->super.nr_segments = 0;
	assert_true(remap_super_layout(&image->super, area_sectors - sectors));
	image->super.nr_groups_initialised = initialised;
	image_set_super(image);
	memset(image->bytes + REMAP_HEADER_SECTORS * 512, 0, (area_sectors - REMAP_HEADER_SECTORS) * 512);
	for (uint32_t group = 0; group < initialised; group++) {
		struct remap_group_place place;

		assert_true(remap_group_place(&image->super, group, &place));
		for (uint32_t i = 0; i < place.nr_metas; i++)
			for (unsigned int copy = 0; copy < 2; copy++)
				remap_meta_empty(image_meta(image, group * 64 + i, copy), &image->super,
						 group * 64 + i, 1);
	}
	image_map(image, 3, 100, 4);
}

static int grow(struct image *image, uint64_t *slots_added)
{
	struct spare spare = checked(image);
	char error[SPARE_TEXT_BYTES] = "";
	struct spare_mended done;
	int status = spare_grow(&image->io, &spare, &done, error);

	assert_true(!status == !*error);
	*slots_added = done.slots_added;
	spare_free(&spare);
	return status;
}

static const char map[] = "clean yes\n100 in 3 mapped rescue 0 0\n101 in 4 mapped rescue 0 0\n"
			  "102 in 5 mapped rescue 0 0\n103 in 6 mapped rescue 0 0\n";

static void expect_grown(struct image *image, uint32_t nr_segments, uint64_t slots_before)
{
	struct remap_group_place before, after;
	struct spare spare = checked(image);
	uint64_t added;
	char *text;

	assert_int_equal(spare.nr_slots, slots_before);
	assert_true(remap_group_place(&spare.supers.super, 0, &before));
	spare_free(&spare);
	assert_int_equal(grow(image, &added), EX_OK);
	assert_true(added);
	text = state_text(image);
	assert_string_equal(text, map);
	free(text);
	spare = checked(image);
	assert_int_equal(spare.nr_slots, slots_before + added);
	assert_int_equal(spare.supers.super.nr_segments, nr_segments);
	assert_int_equal(spare.supers.super.sequence, 8);
	assert_true(remap_group_place(&spare.supers.super, 0, &after));
	assert_memory_equal(&before, &after, sizeof(before));
	spare_free(&spare);
	/* Again: nothing to gain, nothing to write. */
	image->nr_writes = 0;
	assert_int_equal(grow(image, &added), EX_OK);
	assert_int_equal(added, 0);
	assert_int_equal(image->nr_writes, 0);
}

/* A short group that is in use stays as it is. */
static void another_segment(void **state)
{
	struct image image;

	make_smaller(&image, 1, 1, 2416);
	expect_grown(&image, 2, 400);
	image_free(&image);
}

/* One that is not in use becomes longer; so does what is behind a full one. */
static void longer_segment(void **state)
{
	struct image image;

	make_smaller(&image, 2, 1, 2416);
	expect_grown(&image, 1, REMAP_SLOTS_PER_GROUP + 400);
	image_free(&image);
	make_smaller(&image, 2, 1, 2 * 3 * 8 + 700 * 8 + 7);
	expect_grown(&image, 1, REMAP_SLOTS_PER_GROUP);
	image_free(&image);
	make_smaller(&image, 2, 2, 2416);
	expect_grown(&image, 2, REMAP_SLOTS_PER_GROUP + 400);
	image_free(&image);
}

static void refusals(void **state)
{
	struct image image;
	uint64_t added;

	make_smaller(&image, 1, 1, 2416);
	damage(&image, 0, 1);
	image.nr_writes = 0;
	assert_int_equal(grow(&image, &added), EX_DATAERR);
	damage(&image, 0, 1);
	image.super.ro_compat = REMAP_RO_COMPAT_INCOMPLETE;
	image_set_super(&image);
	assert_int_equal(grow(&image, &added), EX_DATAERR);
	image.super.ro_compat = 0;
	image_set_super(&image);
	/* All segments are used up. */
	while (image.super.nr_segments < REMAP_SEGMENTS_MAX) {
		struct remap_segment *last = &image.super.segment[image.super.nr_segments - 1];

		image.super.segment[image.super.nr_segments++] =
			(struct remap_segment){ (last->start_sector + last->nr_sectors + 7) / 8 * 8, 24 };
	}
	image.super.nr_groups_initialised = remap_nr_groups(&image.super);
	image_set_super(&image);
	for (uint32_t group = 1; group < image.super.nr_groups_initialised; group++)
		for (unsigned int copy = 0; copy < 2; copy++)
			remap_meta_empty(image_meta(&image, group * 64, copy), &image.super, group * 64, 1);
	EXPECT(&image, SPARE_CLEAN, SPARE_ACTIVATES, 0, 0, strchr(map, '\n') + 1);
	assert_int_equal(grow(&image, &added), EX_DATAERR);
	assert_int_equal(image.nr_writes, 0);
	image_free(&image);
}

/* Cut off anywhere it is as before or as after. */
static void stopped_anywhere(void **state)
{
	struct image original, image;
	unsigned int stop_at, seed;
	uint64_t added;

	make_smaller(&original, 1, 1, 2416);
	image_copy(&image, &original);
	for (stop_at = 1; stop_at <= 4; stop_at++)
		for (seed = 0; seed < 4; seed++) {
			struct spare spare;
			char *text;

			image_undo(&image, &original);
			image.stop_at = stop_at;
			grow(&image, &added);
			if (seed)
				image_cut_power(&image, seed * 2654435761u);
			image.stop_at = 0;
			spare = checked(&image);
			assert_int_equal(spare.activation, SPARE_ACTIVATES);
			assert_int_not_equal(spare.verdict, SPARE_LOSES);
			spare_free(&spare);
			text = state_text(&image);
			assert_string_equal(strchr(text, '\n'), strchr(map, '\n'));
			free(text);
		}
	image_free(&image);
	image_free(&original);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_segment),
		cmocka_unit_test(longer_segment),
		cmocka_unit_test(refusals),
		cmocka_unit_test(stopped_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
