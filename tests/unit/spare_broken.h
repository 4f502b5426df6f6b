/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A spare with mappings, ways to break it, and what mending must be like wherever it is cut off. */
#ifndef SPARE_BROKEN_H
#define SPARE_BROKEN_H

#include "loader/spare_mend.h"
#include "tests/unit/spare_image.h"

/* The map of broken_begin(), in the words of image_map_text(). */
#define REST "61 in 252 mapped rescue 0 0\n62 in 253 mapped rescue 0 0\n63 in 254 mapped rescue 0 0\n"
#define BLOCK_50 "50 in 8 retired-mapped salvage 1 6\n"
#define AT_2000 "2000 in 600 mapped rescue 0 0\n2001 in 601 mapped rescue 0 0\n"
#define AT_1000 "1000 in 0 mapped rescue 0 0\n"
#define AT_1001 "1001 in 1 mapped rescue 0 0\n"
#define FROM_1002 \
	"1002 in 2 mapped rescue 0 0\n1003 in 3 mapped rescue 0 0\n1004 in 4 mapped rescue 0 0\n"
#define ALL BLOCK_50 REST AT_1000 AT_1001 FROM_1002 AT_2000

/* A spare of one group with three metadata blocks, all of them in use. */
void broken_begin(struct image *image);

typedef void breaker(struct image *image);

breaker break_nothing;
breaker break_one_copy_of_all;
breaker break_in_pieces;
breaker break_block_0;
breaker break_all_blocks;

/* One copy of a metadata block. */
void damage(struct image *image, uint64_t index, unsigned int copy);

struct spare checked(struct image *image);

/* Verdict and activation, and the map below. To be freed. */
char *state_text(struct image *image);

int repair(struct image *image, bool accept_stale, struct spare_mended *done);

/*
 * Stops after each write and flush in turn. What is left must be as before, or as it should be, or not be
 * activated for writing, and must come out right when the work is done again.
 */
void stop_anywhere(breaker *broken, int (*work)(struct image *image, void *context), void *context);

#endif
