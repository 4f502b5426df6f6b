// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What check says where copies of metadata are broken, in every way that kmod/dm-remap.rst and
 * kmod/format.h tell of. That the module says the same is tests/vm/t/worst-day-check.sh's.
 */
#include "tests/unit/spare_image.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define GOLDEN "tests/unit/data/spare-v1.img"

static void clean(void **state)
{
	struct image image;
	struct spare spare;

	image_make_used(&image);
	EXPECT_CLEAN(&image);
	assert_int_equal(spare_check(&image.io, &spare, NULL), 0);
	assert_true(spare.found);
	assert_int_equal(spare.nr_metas, 3);
	assert_int_equal(spare.nr_retired, 1);
	assert_int_equal(spare.unread_sectors, 2);
	assert_int_equal(spare.lost_sectors, 2);
	assert_int_equal(spare.nr_slots, 700);
	spare_free(&spare);
	image_free(&image);
}

/* Copy A of superblock and metadata block as the module wrote them, in a spare of 2 MiB. */
static void golden(void **state)
{
	struct image image;
	FILE *file = fopen(GOLDEN, "r");

	assert_non_null(file);
	image_make(&image, 8, 1, 1);
	memset(image.bytes, 0, image.area_sectors * 512);
	assert_int_equal(fread(image.bytes, 4096, 1, file), 1);
	assert_int_equal(fread(image.bytes + 2048 * 512, 4096, 1, file), 1);
	fclose(file);
	assert_int_equal(remap_super_decode(&image.super, image_super(&image, 0)), REMAP_SUPER_OK);
	*image_super(&image, 1) = *image_super(&image, 0);
	*image_meta(&image, 0, 1) = *image_meta(&image, 0, 0);
	EXPECT(&image, SPARE_CLEAN, SPARE_ACTIVATES, 0, 0,
	       "125 in 0 mapped salvage e 0\n"
	       "250 in 1 mapped rescue 0 0\n"
	       "251 in 2 mapped rescue 0 0\n"
	       "8192 in 3 mapped proactive 0 0\n"
	       "8193 in 4 mapped proactive 0 0\n"
	       "8194 in 5 mapped proactive 0 0\n");
	image_free(&image);
}

static void nothing_there(void **state)
{
	struct image image;
	struct spare spare;

	image_make(&image, 8, 1, 1);
	memset(image.bytes, 0, image.area_sectors * 512);
	assert_int_equal(spare_check(&image.io, &spare, NULL), 0);
	assert_false(spare.found);
	spare_free(&spare);
	/* Both superblocks overwritten: the metadata says that it was one. */
	image_free(&image);
	image_make_used(&image);
	memset(image_super(&image, 0), 0, 4096);
	memset(image_super(&image, 1), 0xe5, 4096);
	assert_int_equal(spare_check(&image.io, &spare, NULL), 0);
	assert_true(spare.found);
	spare_free(&spare);
	EXPECT_GONE(&image, SPARE_SUPER_GONE);
	image_free(&image);
}

/* ---- one copy, both copies ---- */

enum damage { ZEROS, NOISE, BIT, MISPLACED, FOREIGN, NUMBER_0, UNREADABLE, NR_DAMAGES };

static void damage_meta(struct image *image, uint64_t index, unsigned int copy, enum damage damage)
{
	struct remap_meta_disk *meta = image_meta(image, index, copy);

	switch (damage) {
	case ZEROS:
		memset(meta, 0, sizeof(*meta));
		break;
	case NOISE:
		memset(meta, 0xa5, sizeof(*meta));
		break;
	case BIT:
		((uint8_t *)meta)[2000] ^= 4;
		break;
	case MISPLACED:
		*meta = *image_meta(image, index ? 0 : 1, copy);
		break;
	case FOREIGN:
		meta->uuid[5] ^= 1;
		remap_meta_seal(meta);
		break;
	case NUMBER_0:
		meta->sequence = 0;
		remap_meta_seal(meta);
		break;
	case UNREADABLE:
		image_mark_bad(image, image_meta_sector(image, index, copy) + 2, 1);
		break;
	case NR_DAMAGES:
		break;
	}
}

static void one_copy_of_a_block(void **state)
{
	static const enum spare_copy said[] = { SPARE_COPY_BLANK, SPARE_COPY_BLANK,
						SPARE_COPY_DAMAGED, SPARE_COPY_MISPLACED,
						SPARE_COPY_FOREIGN, SPARE_COPY_DAMAGED,
						SPARE_COPY_UNREADABLE };
	struct image image;
	struct spare spare;
	enum damage damage;
	uint64_t index;
	unsigned int copy;

	for (damage = 0; damage < NR_DAMAGES; damage++)
		for (index = 0; index < 3; index++)
			for (copy = 0; copy < 2; copy++) {
				image_make_used(&image);
				damage_meta(&image, index, copy, damage);
				EXPECT_MENDS(&image, SPARE_META_COPY);
				assert_int_equal(spare_check(&image.io, &spare, NULL), 0);
				assert_int_equal(spare.finding[0].copy, copy);
				assert_int_equal(spare.finding[0].state[copy], said[damage]);
				assert_int_equal(spare.finding[0].state[!copy], SPARE_COPY_GOOD);
				assert_int_equal(spare.finding[0].first, index);
				spare_free(&spare);
				image_free(&image);
			}
}

static void both_copies_of_a_block(void **state)
{
	static const uint32_t nr_slots[] = { 252, 252, 196 };
	struct image image;
	struct spare spare;
	enum damage a, b;
	uint64_t index;

	for (a = 0; a < NR_DAMAGES; a++)
		for (b = 0; b < NR_DAMAGES; b++)
			for (index = 0; index < 3; index++) {
				/* Two flipped bits in one sector, or a flipped bit and a sector, may be pieced. */
				if (a == BIT || b == BIT || a == UNREADABLE || b == UNREADABLE)
					continue;
				image_make_used(&image);
				damage_meta(&image, index, 0, a);
				damage_meta(&image, index, 1, b);
				EXPECT_GONE(&image, SPARE_META_GONE);
				assert_int_equal(spare_check(&image.io, &spare, NULL), 0);
				assert_int_equal(spare.finding[0].first, index);
				assert_int_equal(spare.finding[0].nr_slots, nr_slots[index]);
				spare_free(&spare);
				image_free(&image);
			}
	/* Neighbours are one finding. */
	image_make_used(&image);
	for (index = 0; index < 3; index++) {
		damage_meta(&image, index, 0, ZEROS);
		damage_meta(&image, index, 1, NOISE);
	}
	EXPECT_GONE(&image, SPARE_META_GONE);
	image_free(&image);
}

static void older_copy(void **state)
{
	struct image image, old;
	unsigned int copy;

	for (copy = 0; copy < 2; copy++) {
		image_make_used(&image);
		image_copy(&old, &image);
		image_enter(&old, 3, 0, 0, 0);
		/* The image is the older one now. */
		*image_meta(&old, 0, copy) = *image_meta(&image, 0, copy);
		EXPECT(&old, SPARE_MENDS, SPARE_ACTIVATES, 1, SPARE_META_COPY,
		       "50 in 8 retired-mapped salvage 1 6\n"
		       "60 in 251 mapped salvage 80 0\n"
		       "61 in 252 mapped rescue 0 0\n"
		       "62 in 253 mapped rescue 0 0\n"
		       "63 in 254 mapped rescue 0 0\n"
		       "1000 in 0 mapped rescue 0 0\n"
		       "1001 in 1 mapped rescue 0 0\n"
		       "1002 in 2 mapped rescue 0 0\n"
		       "1004 in 4 mapped rescue 0 0\n");
		image_free(&image);
		image_free(&old);
	}
}

/* Both are whole and of one number: the module takes copy A. */
static void differing_copies(void **state)
{
	struct image image;

	image_make_used(&image);
	image_meta(&image, 0, 1)->entry[2].word = 0;
	remap_meta_seal(image_meta(&image, 0, 1));
	EXPECT(&image, SPARE_LOSES, SPARE_ACTIVATES, 1, SPARE_META_COPY, used_map);
	image.super.compat = 1;
	remap_super_encode(image_super(&image, 1), &image.super);
	*image_meta(&image, 0, 1) = *image_meta(&image, 0, 0);
	EXPECT(&image, SPARE_LOSES, SPARE_ACTIVATES, 1, SPARE_SUPER_COPY, used_map);
	image_free(&image);
}

/* ---- what is left of both ---- */

static void pieced_blocks(void **state)
{
	struct image image;
	unsigned int at_a, at_b;

	for (at_a = 0; at_a < 8; at_a++)
		for (at_b = 0; at_b < 8; at_b++) {
			image_make_used(&image);
			((uint8_t *)image_meta(&image, 1, 0))[at_a * 512 + 17] ^= 1;
			image_mark_bad(&image, image_meta_sector(&image, 1, 1) + at_b, 1);
			if (at_a == at_b)
				EXPECT_GONE(&image, SPARE_META_GONE);
			else
				EXPECT_PIECED(&image, SPARE_META_PIECED);
			image_free(&image);
			/* Where reading in smaller steps is not possible. */
			image_make_used(&image);
			image.io.step_sectors = 8;
			((uint8_t *)image_meta(&image, 1, 0))[at_a * 512 + 17] ^= 1;
			image_mark_bad(&image, image_meta_sector(&image, 1, 1) + at_b, 1);
			EXPECT_GONE(&image, SPARE_META_GONE);
			image_free(&image);
		}
	/* A sector that neither copy has, but that was zero. */
	image_make_used(&image);
	image_mark_bad(&image, image_meta_sector(&image, 1, 0) + 6, 1);
	image_mark_bad(&image, image_meta_sector(&image, 1, 1) + 6, 2);
	EXPECT_PIECED(&image, SPARE_META_PIECED);
	image_mark_bad(&image, image_meta_sector(&image, 1, 0), 1);
	image_mark_bad(&image, image_meta_sector(&image, 1, 1), 1);
	EXPECT_GONE(&image, SPARE_META_GONE);
	image_free(&image);
	image_make_used(&image);
	memset((uint8_t *)image_meta(&image, 0, 0) + 512, 0xee, 2048);
	memset((uint8_t *)image_meta(&image, 0, 1), 0xff, 512);
	memset((uint8_t *)image_meta(&image, 0, 1) + 3072, 0xff, 1024);
	EXPECT_PIECED(&image, SPARE_META_PIECED);
	/* Of two different states nothing is put together. */
	image_meta(&image, 0, 0)->sequence = htole64(1000);
	EXPECT_GONE(&image, SPARE_META_GONE);
	image_free(&image);
}

static void pieced_superblocks(void **state)
{
	struct image image;

	image_make_used(&image);
	memset((uint8_t *)image_super(&image, 0), 0, 512);
	image_mark_bad(&image, REMAP_SUPER_B_SECTOR + 5, 3);
	EXPECT_PIECED(&image, SPARE_SUPER_PIECED);
	memset((uint8_t *)image_super(&image, 0) + 5 * 512, 1, 1);
	EXPECT_GONE(&image, SPARE_SUPER_GONE);
	image_free(&image);
}

/* ---- fences ---- */

static void fenced_copies(void **state)
{
	struct image image;
	unsigned int copy;

	for (copy = 0; copy < 2; copy++) {
		image_make_used(&image);
		image.super.nr_fenced = 1;
		image.super.fenced[0] = copy;
		image_set_super(&image);
		EXPECT_MENDS(&image, SPARE_META_COPY);
		/* A fenced copy counts for nothing, whatever number it has. */
		image_meta(&image, 0, copy)->sequence = htole64(99);
		image_meta(&image, 0, copy)->entry[0].word = 0;
		remap_meta_seal(image_meta(&image, 0, copy));
		EXPECT_MENDS(&image, SPARE_META_COPY);
		damage_meta(&image, 0, !copy, BIT);
		EXPECT_GONE(&image, SPARE_META_GONE);
		image_free(&image);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clean),
		cmocka_unit_test(golden),
		cmocka_unit_test(nothing_there),
		cmocka_unit_test(one_copy_of_a_block),
		cmocka_unit_test(both_copies_of_a_block),
		cmocka_unit_test(older_copy),
		cmocka_unit_test(differing_copies),
		cmocka_unit_test(pieced_blocks),
		cmocka_unit_test(pieced_superblocks),
		cmocka_unit_test(fenced_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
