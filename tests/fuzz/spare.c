// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What remapctl makes of a spare that holds anything (loader/spare_*.c): nothing outside of it is read or written,
 * what check says of it fits together, a dump of it can be read, and what was repaired can be used.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "loader/spare_dump.h"
#include "loader/spare_mend.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/spare_image.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof(*(array)))
#define GROUPS_MAX 8 /* more take long, and are not there */
#define SUPER(name) FUZZ_FIELD(struct remap_super_disk, name)
#define META(name) FUZZ_FIELD(struct remap_meta_disk, name)

static const struct fuzz_field super_fields[] = {
	SUPER(version), SUPER(ro_compat), SUPER(block_sectors), SUPER(sequence), SUPER(main_sectors), SUPER(unit_sectors),
	SUPER(nr_groups_initialised), SUPER(nr_segments), SUPER(nr_fenced), SUPER(segment[0].start_sector),
	SUPER(segment[0].nr_sectors), SUPER(segment[1].start_sector), SUPER(segment[1].nr_sectors), SUPER(fenced[0]),
	SUPER(fenced[1]), SUPER(uuid[0]),
};

static const struct fuzz_field meta_fields[] = {
	META(magic), META(index), META(sequence), META(super_sequence), META(uuid[0]),
	META(entry[0].word), META(entry[0].unread), META(entry[0].lost), META(entry[8].word), META(entry[8].unread),
	META(entry[251].word), META(entry[251].lost),
};

static struct image good, image;

static void begin(void)
{
	image_make_used(&good);
	image_copy(&image, &good);
}

/* Half of what is changed gets a right checksum. */
static void break_super(struct fuzz_input *input, bool sealed)
{
	struct remap_super_disk disk;
	uint8_t copies = fuzz_take(input, 1);

	memcpy(&disk, image_super(&image, 0), sizeof(disk));
	fuzz_edit(input, super_fields, ARRAY_SIZE(super_fields), &disk, sizeof(disk));
	if (sealed) {
		disk.crc = 0;
		disk.crc = htole32(~crc32c(~0u, &disk, sizeof(disk)));
	}
	if (copies & 1 || !(copies & 2))
		image.io.write(&image, REMAP_SUPER_A_SECTOR, REMAP_META_SECTORS, &disk);
	if (copies & 2)
		image.io.write(&image, REMAP_SUPER_B_SECTOR, REMAP_META_SECTORS, &disk);
}

static void break_meta(struct fuzz_input *input, bool sealed)
{
	uint8_t copies = fuzz_take(input, 1), index = fuzz_take(input, 1) % 3;
	struct remap_meta_disk meta;

	memcpy(&meta, image_meta(&image, index, 0), sizeof(meta));
	fuzz_edit(input, meta_fields, ARRAY_SIZE(meta_fields), &meta, sizeof(meta));
	if (sealed)
		remap_meta_seal(&meta);
	if (copies & 1 || !(copies & 2))
		image.io.write(&image, image_meta_sector(&image, index, 0), REMAP_META_SECTORS, &meta);
	if (copies & 2)
		image.io.write(&image, image_meta_sector(&image, index, 1), REMAP_META_SECTORS, &meta);
}

static void break_image(struct fuzz_input *input)
{
	uint8_t left = 1 + fuzz_take(input, 1) % 8;

	while (left--) {
		uint8_t way = fuzz_take(input, 1) % 8;

		if (way < 2)
			break_super(input, way);
		else if (way < 7)
			break_meta(input, way > 2);
		else
			image_mark_bad(&image, fuzz_take(input, 2) % good.area_sectors, 1);
	}
	/* A device that is shorter than its spare. */
	if (!(fuzz_take(input, 1) % 4))
		image.io.area_sectors = 1 + fuzz_take(input, 2) % good.area_sectors;
}

static void check_runs(const struct spare *spare)
{
	const struct remap_super *super = &spare->supers.super;
	uint64_t end_sector = 0, nr_blocks = 0;
	struct spare_run run;
	size_t next = 0;

	while (spare_next_run(spare, &next, &run)) {
		HOLDS(run.nr_blocks && run.nr_sectors && run.sector < super->main_sectors);
		HOLDS(run.sector >= end_sector);
		end_sector = run.sector + run.nr_sectors;
		HOLDS(end_sector <= super->main_sectors);
		HOLDS(spare_slot_sector(super, run.slot) + run.nr_blocks * super->block_sectors <=
		      super->segment[super->nr_segments - 1].start_sector +
			      super->segment[super->nr_segments - 1].nr_sectors);
		nr_blocks += run.nr_blocks;
	}
	HOLDS(nr_blocks == spare->nr_homes);
}

static void check_texts(const struct spare *spare)
{
	char text[SPARE_TEXT_BYTES];
	size_t i;

	for (i = 0; i < spare->nr_findings; i++) {
		spare_finding_text(spare, &spare->finding[i], text);
		HOLDS(*text && strlen(text) < SPARE_TEXT_BYTES - 1 && !strchr(text, '\n'));
		HOLDS(spare->finding[i].verdict <= spare->verdict);
		HOLDS(spare->finding[i].activation <= spare->activation);
	}
}

static void check_dump(const struct spare *spare)
{
	char error[SPARE_TEXT_BYTES];
	struct spare_dump dump;
	char *text = NULL;
	size_t bytes;
	FILE *file = open_memstream(&text, &bytes);

	HOLDS(file && !spare_dump_write(&image.io, spare, file));
	fclose(file);
	file = fuzz_open((uint8_t *)text, bytes);
	HOLDS(!spare_dump_read(file, &dump, error));
	HOLDS(dump.has_super == spare->supers.believed);
	fclose(file);
	spare_dump_free(&dump);
	free(text);
}

static void mend(const struct spare *spare, bool accept_stale)
{
	char error[SPARE_TEXT_BYTES] = "";
	struct spare_mended done;
	struct spare after;

	if (spare_repair(&image.io, spare, accept_stale, &done, error)) {
		HOLDS(*error);
		return;
	}
	HOLDS(!spare_check(&image.io, &after, NULL));
	HOLDS(after.activation != SPARE_REFUSED);
	HOLDS(after.nr_homes <= spare->nr_homes);
	HOLDS(after.nr_homes == spare->nr_homes || accept_stale);
	check_runs(&after);
	spare_free(&after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct fuzz_input input = { data, bytes };
	uint8_t choice;
	struct spare spare;

	if (!good.bytes)
		begin();
	break_image(&input);
	choice = fuzz_take(&input, 1);
	HOLDS(!spare_check(&image.io, &spare, NULL));
	check_texts(&spare);
	if (spare.supers.believed && spare.supers.super.nr_groups_initialised <= GROUPS_MAX) {
		check_runs(&spare);
		check_dump(&spare);
		mend(&spare, choice % 2);
	}
	spare_free(&spare);
	memset(image.bad, 0, image.area_sectors);
	image.io.area_sectors = image.area_sectors;
	image_undo(&image, &good);
	return 0;
}
