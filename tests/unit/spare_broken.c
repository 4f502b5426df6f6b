// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/unit/spare_broken.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <cmocka.h>

#define SEEDS 3 /* power cuts for each write */

/* power cuts for each write */
void broken_begin(struct image *image)
{
	image_make(image, 8, 1, 1);
	image_map(image, 0, 1000, 5);
	image_enter(image, 8, remap_word(50, REMAP_ENTRY_RETIRED_MAPPED, REMAP_REASON_SALVAGE, 3), 1, 6);
	image_map(image, 252, 61, 3);
	image_map(image, 600, 2000, 2);
}

void damage(struct image *image, uint64_t index, unsigned int copy)
{
	((uint8_t *)image_meta(image, index, copy))[300] ^= 1;
}

struct spare checked(struct image *image)
{
	struct spare spare;

	assert_int_equal(spare_check(&image->io, &spare, NULL), 0);
	return spare;
}

char *state_text(struct image *image)
{
	struct spare spare = checked(image);
	char *map = image_map_text(&spare), *text = NULL;

	assert_true(asprintf(&text, "%s %s\n%s", spare_verdict_word(spare.verdict),
			     spare_activation_word(spare.activation), map) > 0);
	free(map);
	spare_free(&spare);
	return text;
}

static char *map_of(const char *state)
{
	return strchr(state, '\n') + 1;
}

int repair(struct image *image, bool accept_stale, struct spare_mended *done)
{
	struct spare spare = checked(image);
	char error[SPARE_TEXT_BYTES] = "";
	int status = spare_repair(&image->io, &spare, accept_stale, done, error);

	assert_true(!status == !*error);
	spare_free(&spare);
	return status;
}

void break_nothing(struct image *image)
{
}

void break_one_copy_of_all(struct image *image)
{
	damage(image, 0, 0);
	damage(image, 1, 1);
	damage(image, 2, 0);
	image_super(image, 1)->crc ^= 1;
}

void break_in_pieces(struct image *image)
{
	((uint8_t *)image_meta(image, 0, 0))[10] ^= 1;
	((uint8_t *)image_meta(image, 0, 1))[4000] ^= 1;
	((uint8_t *)image_meta(image, 1, 0))[4000] ^= 1;
	((uint8_t *)image_meta(image, 1, 1))[10] ^= 1;
	((uint8_t *)image_super(image, 0))[100] ^= 1;
	((uint8_t *)image_super(image, 1))[4000] ^= 1;
}

void break_block_0(struct image *image)
{
	damage(image, 0, 0);
	damage(image, 0, 1);
	damage(image, 1, 1);
}

void break_all_blocks(struct image *image)
{
	break_block_0(image);
	damage(image, 1, 0);
	memset(image_meta(image, 2, 0), 0, 4096);
	memset(image_meta(image, 2, 1), 0, 4096);
}

void stop_anywhere(breaker *broken, int (*work)(struct image *image, void *context),
			  void *context)
{
	struct image original, image;
	char *before, *after;
	unsigned int stop_at, nr_writes, seed;

	broken_begin(&original);
	broken(&original);
	before = state_text(&original);
	image_copy(&image, &original);
	assert_int_equal(work(&image, context), EX_OK);
	nr_writes = image.nr_writes;
	after = state_text(&image);
	for (stop_at = 1; stop_at <= nr_writes; stop_at++)
		for (seed = 0; seed <= SEEDS; seed++) {
			char *between, *again;
			bool writable;

			image_undo(&image, &original);
			image.stop_at = stop_at;
			assert_int_equal(work(&image, context), EX_IOERR);
			if (seed)
				image_cut_power(&image, seed * 2654435761u);
			image.stop_at = 0;
			between = state_text(&image);
			/* A mixture of before and after may be read at most. */
			writable = strstr(between, " yes\n");
			if (writable && strcmp(map_of(between), map_of(after)) &&
			    strcmp(map_of(between), map_of(before)))
				fail_msg("stopped at %u, seed %u:\n%safter:\n%s", stop_at, seed, between,
					 after);
			/* What could be read before can be read in between, or it says that it is incomplete. */
			if (strstr(before, " yes\n") && !strstr(between, " read-only\n") &&
			    strcmp(map_of(between), map_of(before)) &&
			    strcmp(map_of(between), map_of(after)))
				fail_msg("stopped at %u, seed %u:\n%sbefore:\n%s", stop_at, seed, between,
					 before);
			assert_int_equal(work(&image, context), EX_OK);
			again = state_text(&image);
			if (strcmp(again, after))
				fail_msg("stopped at %u, seed %u, and again:\n%safter:\n%s", stop_at, seed,
					 again, after);
			free(between);
			free(again);
		}
	image_free(&image);
	image_free(&original);
	free(before);
	free(after);
}
