/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A spare in memory for the tests of loader/spare_*.c, made by kmod/format.c, and ways to break it. */
#ifndef SPARE_IMAGE_H
#define SPARE_IMAGE_H

#include <stdint.h>
#include <stdio.h>

#include "loader/spare.h"

struct image {
	uint8_t *bytes;    /* what a reader sees */
	uint8_t *durable;  /* what a power cut is sure to leave */
	uint8_t *unstable; /* one flag a sector: written since the last flush */
	uint8_t *written;  /* one flag a sector: written since the image was made */
	uint8_t *bad;      /* one flag a sector: can't be read or written */
	uint64_t area_sectors;
	struct remap_super super;
	struct spare_io io;
	unsigned int nr_writes; /* of metadata blocks, and flushes: what an interruption can fall on */
	unsigned int stop_at;   /* this one and all later fail; 0: none */
};

/* Room for @nr_groups groups of blocks of @block_sectors, the last a short one; @initialised in use. */
void image_make(struct image *image, uint32_t block_sectors, uint32_t nr_groups,
		uint32_t initialised);
void image_copy(struct image *image, const struct image *from);

/* @image is a copy of @from that was written through io alone: makes it the same again. */
void image_undo(struct image *image, const struct image *from);
void image_free(struct image *image);

/* Where copy @copy of metadata block @index is. */
struct remap_meta_disk *image_meta(struct image *image, uint64_t index, unsigned int copy);
struct remap_super_disk *image_super(struct image *image, unsigned int copy);
uint64_t image_meta_sector(const struct image *image, uint64_t index, unsigned int copy);

/* Writes an entry into both copies, whose sequence numbers go up. */
void image_enter(struct image *image, uint32_t slot, uint64_t word, uint32_t unread, uint32_t lost);

/* Maps @nr blocks from @block on to slots from @slot on. */
void image_map(struct image *image, uint32_t slot, uint64_t block, uint32_t nr);

/* Writes image->super to both copies. */
void image_set_super(struct image *image);

void image_mark_bad(struct image *image, uint64_t sector, unsigned int nr_sectors);

/*
 * After a power cut: of what was written since the last flush each sector is there or not, by the
 * bits of a generator that begins with @seed.
 */
void image_cut_power(struct image *image, uint32_t seed);

/* All homes as text, one a line: block, slot, state, reason, unread, lost. To be freed. */
char *image_map_text(const struct spare *spare);

/* ---- what check has to say of an image ---- */

/* Mappings of every kind in two of the three metadata blocks of one short group; used_map tells them. */
void image_make_used(struct image *image);
extern const char used_map[];

struct image_expected {
	enum spare_verdict verdict;
	enum spare_activation activation;
	int nr_findings; /* all of this kind */
	enum spare_kind kind;
	const char *map; /* NULL: whatever */
};

void image_expect(struct image *image, struct image_expected expected, const char *file,
		  int line);

#define EXPECT(image, ...) \
	image_expect(image, (struct image_expected){ __VA_ARGS__ }, __FILE__, __LINE__)
#define EXPECT_CLEAN(image) EXPECT(image, SPARE_CLEAN, SPARE_ACTIVATES, 0, 0, used_map)
#define EXPECT_MENDS(image, kind) EXPECT(image, SPARE_MENDS, SPARE_ACTIVATES, 1, kind, used_map)
#define EXPECT_PIECED(image, kind) EXPECT(image, SPARE_MENDS, SPARE_REFUSED, 1, kind, used_map)
#define EXPECT_GONE(image, kind) EXPECT(image, SPARE_LOSES, SPARE_REFUSED, 1, kind, NULL)

#endif
