// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/unit/spare_image.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SECTOR_BYTES 512

static bool any_bad(const struct image *image, uint64_t sector, unsigned int nr_sectors)
{
	return memchr(image->bad + sector, 1, nr_sectors);
}

static int image_read(void *context, uint64_t sector, unsigned int nr_sectors, void *buf)
{
	struct image *image = context;

	assert_true(sector + nr_sectors <= image->area_sectors);
	if (any_bad(image, sector, nr_sectors))
		return -EIO;
	memcpy(buf, image->bytes + sector * SECTOR_BYTES, (size_t)nr_sectors * SECTOR_BYTES);
	return 0;
}

/* Is this one still done in full? An interrupted one is the last that leaves a trace. */
static bool goes_on(struct image *image, bool *interrupted)
{
	image->nr_writes++;
	*interrupted = image->nr_writes == image->stop_at;
	return !image->stop_at || image->nr_writes < image->stop_at;
}

/* An interrupted write has done its first three sectors. */
static int image_write(void *context, uint64_t sector, unsigned int nr_sectors, const void *buf)
{
	struct image *image = context;
	bool interrupted, whole = goes_on(image, &interrupted);
	unsigned int nr = whole ? nr_sectors : interrupted ? 3 : 0;

	assert_true(sector + nr_sectors <= image->area_sectors);
	if (any_bad(image, sector, nr_sectors))
		return -EIO;
	memcpy(image->bytes + sector * SECTOR_BYTES, buf, (size_t)nr * SECTOR_BYTES);
	memset(image->unstable + sector, 1, nr);
	memset(image->written + sector, 1, nr);
	return whole ? 0 : -EIO;
}

/* Copies the sectors that have a flag, and takes the flags away. */
static void copy_flagged(uint8_t *to, const uint8_t *from, uint8_t *flags, uint64_t nr_sectors)
{
	uint8_t *flag = flags;

	while ((flag = memchr(flag, 1, nr_sectors - (size_t)(flag - flags)))) {
		size_t at = (size_t)(flag - flags) * SECTOR_BYTES;

		memcpy(to + at, from + at, SECTOR_BYTES);
		*flag = 0;
	}
}

static int image_flush(void *context)
{
	struct image *image = context;
	bool interrupted;

	if (!goes_on(image, &interrupted))
		return -EIO;
	copy_flagged(image->durable, image->bytes, image->unstable, image->area_sectors);
	return 0;
}

static void allocate(struct image *image, uint64_t area_sectors)
{
	image->area_sectors = area_sectors;
	image->bytes = calloc(area_sectors, SECTOR_BYTES);
	image->durable = calloc(area_sectors, SECTOR_BYTES);
	image->unstable = calloc(area_sectors, 1);
	image->written = calloc(area_sectors, 1);
	image->bad = calloc(area_sectors, 1);
	assert_true(image->bytes && image->durable && image->unstable && image->written && image->bad);
	image->io = (struct spare_io){ image, area_sectors, 1, image_read, image_write,
				       image_flush };
}

uint64_t image_meta_sector(const struct image *image, uint64_t index, unsigned int copy)
{
	struct remap_group_place place;

	assert_true(remap_group_place(&image->super, index / REMAP_METAS_PER_GROUP, &place));
	assert_true(index % REMAP_METAS_PER_GROUP < place.nr_metas);
	return spare_meta_sector(&place, copy, index % REMAP_METAS_PER_GROUP);
}

struct remap_meta_disk *image_meta(struct image *image, uint64_t index, unsigned int copy)
{
	return (void *)(image->bytes + image_meta_sector(image, index, copy) * SECTOR_BYTES);
}

struct remap_super_disk *image_super(struct image *image, unsigned int copy)
{
	return (void *)(image->bytes +
			(copy ? REMAP_SUPER_B_SECTOR : REMAP_SUPER_A_SECTOR) * SECTOR_BYTES);
}

void image_set_super(struct image *image)
{
	remap_super_encode(image_super(image, 0), &image->super);
	remap_super_encode(image_super(image, 1), &image->super);
}

static uint64_t round_up(uint64_t sectors, uint64_t block_sectors)
{
	return (sectors + block_sectors - 1) / block_sectors * block_sectors;
}

void image_make(struct image *image, uint32_t block_sectors, uint32_t nr_groups, uint32_t initialised)
{
	uint64_t full = 2 * round_up(64 * 8, block_sectors) +
			(uint64_t)REMAP_SLOTS_PER_GROUP * block_sectors;
	uint32_t group, i, copy;

	memset(image, 0, sizeof(*image));
	image->super = (struct remap_super){
		.main_sectors = 1 << 22, .block_sectors = block_sectors, .unit_sectors = 1,
		.sequence = 7, .nr_groups_initialised = initialised, .main_id = "wwn-test",
	};
	memcpy(image->super.uuid, "0123456789abcdef", REMAP_UUID_BYTES);
	/* The last group has three metadata blocks, and the last of them is not full. */
	allocate(image, REMAP_HEADER_SECTORS + (nr_groups - 1) * full +
				2 * round_up(3 * 8, block_sectors) + 700 * block_sectors + 7);
	assert_true(remap_super_layout(&image->super, image->area_sectors));
	assert_int_equal(remap_nr_groups(&image->super), nr_groups);
	image_set_super(image);
	for (group = 0; group < initialised; group++) {
		struct remap_group_place place;

		assert_true(remap_group_place(&image->super, group, &place));
		for (i = 0; i < place.nr_metas; i++)
			for (copy = 0; copy < 2; copy++)
				remap_meta_empty(image_meta(image, group * 64 + i, copy),
						 &image->super, group * 64 + i, 1);
	}
	memcpy(image->durable, image->bytes, image->area_sectors * SECTOR_BYTES);
}

void image_copy(struct image *image, const struct image *from)
{
	size_t bytes = from->area_sectors * SECTOR_BYTES;

	*image = *from;
	allocate(image, from->area_sectors);
	memcpy(image->bytes, from->bytes, bytes);
	memcpy(image->durable, from->bytes, bytes);
	memcpy(image->bad, from->bad, from->area_sectors);
	image->nr_writes = image->stop_at = 0;
}

void image_undo(struct image *image, const struct image *from)
{
	memcpy(image->unstable, image->written, image->area_sectors);
	copy_flagged(image->durable, from->bytes, image->unstable, image->area_sectors);
	copy_flagged(image->bytes, from->bytes, image->written, image->area_sectors);
	image->nr_writes = image->stop_at = 0;
}

void image_free(struct image *image)
{
	free(image->bytes);
	free(image->durable);
	free(image->unstable);
	free(image->written);
	free(image->bad);
}

void image_enter(struct image *image, uint32_t slot, uint64_t word, uint32_t unread, uint32_t lost)
{
	uint64_t index = slot / REMAP_ENTRIES_PER_META;
	uint32_t place = slot % REMAP_ENTRIES_PER_META, copy;

	for (copy = 0; copy < 2; copy++) {
		struct remap_meta_disk *meta = image_meta(image, index, copy);

		meta->entry[place].word = htole64(word);
		meta->entry[place].unread = htole32(unread);
		meta->entry[place].lost = htole32(lost);
		meta->sequence = htole64(le64toh(meta->sequence) + 1);
		meta->super_sequence = htole64(image->super.sequence);
		remap_meta_seal(meta);
	}
}

void image_map(struct image *image, uint32_t slot, uint64_t block, uint32_t nr)
{
	uint32_t i;

	for (i = 0; i < nr; i++)
		image_enter(image, slot + i,
			    remap_word(block + i, REMAP_ENTRY_MAPPED, REMAP_REASON_RESCUE, 0), 0, 0);
}

void image_mark_bad(struct image *image, uint64_t sector, unsigned int nr_sectors)
{
	memset(image->bad + sector, 1, nr_sectors);
}

void image_cut_power(struct image *image, uint32_t seed)
{
	uint64_t sector;

	for (sector = 0; sector < image->area_sectors; sector++) {
		if (!image->unstable[sector])
			continue;
		seed = seed * 1664525 + 1013904223;
		if (!(seed >> 31))
			memcpy(image->bytes + sector * SECTOR_BYTES,
			       image->durable + sector * SECTOR_BYTES, SECTOR_BYTES);
	}
	copy_flagged(image->durable, image->bytes, image->unstable, image->area_sectors);
	image->stop_at = image->nr_writes = 0;
}

char *image_map_text(const struct spare *spare)
{
	char *text = NULL;
	size_t bytes, i;
	FILE *out = open_memstream(&text, &bytes);

	assert_non_null(out);
	for (i = 0; i < spare->nr_homes; i++) {
		const struct spare_entry *entry = &spare->entry[spare->home[i]];

		fprintf(out, "%" PRIu64 " in %" PRIu32 " %s %s %x %x\n",
			remap_word_block(entry->word), entry->slot,
			spare_state_word(remap_word_state(entry->word)),
			spare_reason_word(remap_word_reason(entry->word)), entry->unread,
			entry->lost);
	}
	fclose(out);
	return text;
}

void image_make_used(struct image *image)
{
	image_make(image, 8, 1, 1);
	image_map(image, 0, 1000, 5);
	image_enter(image, 7, remap_word(0, REMAP_ENTRY_RETIRED, REMAP_REASON_NONE, 0), 0, 0);
	image_enter(image, 8, remap_word(50, REMAP_ENTRY_RETIRED_MAPPED, REMAP_REASON_SALVAGE, 3), 1,
		    6);
	image_enter(image, 251, remap_word(60, REMAP_ENTRY_MAPPED, REMAP_REASON_SALVAGE, 65535), 0x80,
		    0);
	image_map(image, 252, 61, 3);
}

const char used_map[] =
	"50 in 8 retired-mapped salvage 1 6\n"
	"60 in 251 mapped salvage 80 0\n"
	"61 in 252 mapped rescue 0 0\n"
	"62 in 253 mapped rescue 0 0\n"
	"63 in 254 mapped rescue 0 0\n"
	"1000 in 0 mapped rescue 0 0\n"
	"1001 in 1 mapped rescue 0 0\n"
	"1002 in 2 mapped rescue 0 0\n"
	"1003 in 3 mapped rescue 0 0\n"
	"1004 in 4 mapped rescue 0 0\n";

void image_expect(struct image *image, struct image_expected expected, const char *file,
		  int line)
{
	char text[SPARE_TEXT_BYTES];
	struct spare spare;
	size_t i;

	if (spare_check(&image->io, &spare, NULL))
		_fail(file, line);
	_assert_int_equal(spare.verdict, expected.verdict, file, line);
	_assert_int_equal(spare.activation, expected.activation, file, line);
	_assert_int_equal(spare.nr_findings, expected.nr_findings, file, line);
	for (i = 0; i < spare.nr_findings; i++) {
		_assert_int_equal(spare.finding[i].kind, expected.kind, file, line);
		spare_finding_text(&spare, &spare.finding[i], text);
		_assert_in_range(strlen(text), 20, SPARE_TEXT_BYTES - 2, file, line);
	}
	if (expected.map) {
		char *map = image_map_text(&spare);

		_assert_string_equal(map, expected.map, file, line);
		free(map);
	}
	spare_free(&spare);
}
