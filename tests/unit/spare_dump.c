// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Dumps of spares: nothing is missing from one, and no damaged one is believed. */
#include "loader/spare_dump.h"
#include "tests/unit/spare_image.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <cmocka.h>

static char *dump_text(struct image *image, size_t *bytes)
{
	struct spare spare;
	char *text = NULL;
	FILE *out = open_memstream(&text, bytes);

	assert_non_null(out);
	assert_int_equal(spare_check(&image->io, &spare, NULL), 0);
	assert_int_equal(spare_dump_write(&image->io, &spare, out), 0);
	spare_free(&spare);
	fclose(out);
	return text;
}

static int read_text(const char *text, size_t bytes, struct spare_dump *dump, char *error)
{
	FILE *in = fmemopen((void *)text, bytes, "r");
	int status;

	assert_non_null(in);
	status = spare_dump_read(in, dump, error);
	fclose(in);
	return status;
}

static void refused(const char *text, size_t bytes, const char *why)
{
	char error[SPARE_TEXT_BYTES];
	struct spare_dump dump;

	assert_int_equal(read_text(text, bytes, &dump, error), EX_DATAERR);
	if (!strstr(error, why))
		fail_msg("refused with \"%s\", not with \"%s\"", error, why);
	spare_dump_free(&dump);
}

/* Every kind of entry, and every field of the superblock. */
static void make_used(struct image *image)
{
	uint32_t i;

	image_make(image, 8, 1, 1);
	image->super.main_offset_sectors = 64;
	image->super.compat = 5;
	image->super.ro_compat = 9;
	image->super.nr_fenced = 2;
	image->super.fenced[0] = 5;
	image->super.fenced[1] = 0;
	image->super.sequence = (1ull << 62) + 3;
	image_set_super(image);
	image_map(image, 0, 1000, 250);
	image_map(image, 250, 3, 2);
	for (i = 252; i < 700; i++)
		image_enter(image, i,
			    remap_word((i * 7919) % 100000, 1 + (i & 2), 1 + i % 3, (uint16_t)(i * 997)),
			    i & 0x55, i & 0xaa);
	image_enter(image, 699, remap_word(0, REMAP_ENTRY_RETIRED, REMAP_REASON_NONE, 0), 0, 0);
	image_enter(image, 698, 77ull << 48, 0, 0);
}

static void everything_comes_back(void **state)
{
	char error[SPARE_TEXT_BYTES];
	struct spare_dump dump;
	struct image image;
	uint64_t index;
	size_t bytes;
	char *text;

	make_used(&image);
	text = dump_text(&image, &bytes);
	assert_int_equal(read_text(text, bytes, &dump, error), EX_OK);
	assert_true(dump.has_super);
	assert_memory_equal(&dump.super, &image.super, sizeof(dump.super));
	assert_int_equal(dump.nr_blocks, 64);
	for (index = 0; index < 64; index++) {
		struct spare_dump_block *block = &dump.block[index];

		assert_int_equal(block->known, index < 3);
		if (index >= 3)
			continue;
		assert_int_equal(block->sequence, le64toh(image_meta(&image, index, 1)->sequence));
		assert_memory_equal(block->entry, image_meta(&image, index, 1)->entry,
				    sizeof(image_meta(&image, index, 1)->entry));
	}
	spare_dump_free(&dump);
	free(text);
	image_free(&image);
}

/* What is gone is not there, what stands in its place is, and the rest is as ever. */
static void of_a_damaged_spare(void **state)
{
	char error[SPARE_TEXT_BYTES];
	struct spare_dump dump;
	struct image image;
	size_t bytes;
	char *text;

	image_make(&image, 8, 1, 1);
	image_map(&image, 0, 100, 2);
	image_map(&image, 300, 200, 2);
	image_enter(&image, 600, 3ull << 44 | 9ull << 40, 0, 0);
	memset(image_meta(&image, 0, 0), 0xab, 4096);
	memset(image_meta(&image, 0, 1), 0xcd, 4096);
	text = dump_text(&image, &bytes);
	assert_non_null(strstr(text, "abababab"));
	assert_non_null(strstr(text, "cdcdcdcd"));
	assert_int_equal(read_text(text, bytes, &dump, error), EX_OK);
	assert_false(dump.block[0].known);
	assert_true(dump.block[1].known);
	assert_int_equal(dump.block[1].entry[300 - 252].word, image_meta(&image, 1, 0)->entry[48].word);
	/* It says what nobody can believe. */
	assert_false(dump.block[2].known);
	spare_dump_free(&dump);
	free(text);
	memset(image_super(&image, 0), 0, 4096);
	memset(image_super(&image, 1), 0xef, 4096);
	text = dump_text(&image, &bytes);
	assert_non_null(strstr(text, "efefefef"));
	assert_int_equal(read_text(text, bytes, &dump, error), EX_OK);
	assert_false(dump.has_super);
	spare_dump_free(&dump);
	free(text);
	image_free(&image);
}

static void any_change_is_noticed(void **state)
{
	char error[SPARE_TEXT_BYTES];
	struct spare_dump dump;
	struct image image;
	size_t bytes, i;
	char *text, *line;

	image_make(&image, 8, 1, 1);
	image_map(&image, 0, 100, 2);
	text = dump_text(&image, &bytes);
	for (i = 0; i < bytes - 1; i++) {
		text[i] ^= 1;
		if (read_text(text, bytes, &dump, error) != EX_DATAERR)
			fail_msg("byte %zu of %zu", i, bytes);
		text[i] ^= 1;
		spare_dump_free(&dump);
	}
	for (line = text; line < text + bytes; line = strchr(line, '\n') + 1)
		if (line > text)
			refused(text, (size_t)(line - text), "cut off");
	for (i = 1; i < bytes - 1; i += 13)
		refused(text, i, "");
	free(text);
	image_free(&image);
}

/* Gives @text, whose end is missing, the end that it should have. */
static void sealed(const char *text, const char *why)
{
	char whole[2048];
	uint32_t crc = crc32c(~0u, text, strlen(text));
	size_t bytes, nr_lines = 0, i;

	for (i = 0; text[i]; i++)
		nr_lines += text[i] == '\n';
	bytes = (size_t)snprintf(whole, sizeof(whole),
				 "%s{\"end\":true,\"lines\":%zu,\"crc32c\":\"%08x\"}\n", text,
				 nr_lines, ~crc);
	if (why) {
		refused(whole, bytes, why);
	} else {
		char error[SPARE_TEXT_BYTES];
		struct spare_dump dump;

		assert_int_equal(read_text(whole, bytes, &dump, error), EX_OK);
		spare_dump_free(&dump);
	}
}

#define HEAD(segment, groups) \
	"{\"dump\":\"dm-remap spare\",\"version\":1,\"superblock\":{\"uuid\":\"" \
	"30313233-3435-3637-3839-616263646566\",\"sequence\":7,\"main_sectors\":8000," \
	"\"main_offset_sectors\":0,\"compat\":0,\"ro_compat\":0,\"incompat\":0,\"block_sectors\":8," \
	"\"unit_sectors\":1,\"groups\":" groups ",\"main_id\":\"\",\"segments\":[" segment \
	"],\"fenced\":[]}}\n"
#define GOOD_HEAD HEAD("[2048,2048]", "1")
#define BLOCK(index, entries) "{\"block\":" index ",\"sequence\":4,\"entries\":[" entries "]}\n"

static void nonsense(void **state)
{
	sealed(GOOD_HEAD BLOCK("0", "[0,252,1,1,1,0,0,0]"), NULL);
	sealed("{\"dump\":\"else\",\"version\":1}\n", "no dump");
	sealed("[1]\n", "no dump");
	sealed("hello\n", "no dump");
	sealed("{\"dump\":\"dm-remap spare\",\"version\":2}\n", "newer");
	sealed(HEAD("[8,2048]", "1"), "impossible");
	sealed(HEAD("[2048,2048]", "2"), "impossible");
	sealed(HEAD("[2048,-1]", "1"), "impossible");
	sealed(HEAD("[2048]", "1"), "impossible");
	sealed(HEAD("", "1"), "impossible");
	sealed(HEAD("[2048,2048]", "-1"), "impossible");
	sealed(GOOD_HEAD "{}\n", "neither");
	sealed(GOOD_HEAD "{\"block\":-1}\n", "no metadata block");
	sealed(GOOD_HEAD BLOCK("1", ""), "no metadata block 1");
	sealed(GOOD_HEAD BLOCK("64", ""), "no metadata block 64");
	sealed(GOOD_HEAD BLOCK("0", "") BLOCK("0", ""), "twice");
	sealed(GOOD_HEAD "{\"block\":0,\"entries\":[]}\n", "sequence");
	/* Blocks with entries that can't be are not known; unit_spare_mend shows what that means. */
	sealed(GOOD_HEAD BLOCK("0", "[0,253,1,1,1,0,0,0]"), NULL);
	sealed(GOOD_HEAD BLOCK("0", "[252,1,1,1,1,0,0,0]"), NULL);
	sealed(GOOD_HEAD BLOCK("0", "[0,1,1000,1,1,0,0,0]"), NULL);
	sealed(GOOD_HEAD BLOCK("0", "[0,2,999,1,1,0,0,0]"), NULL);
	sealed(GOOD_HEAD BLOCK("0", "[0,-1,1,1,1,0,0,0]"), NULL);
	sealed(GOOD_HEAD BLOCK("0", "[0,1,-1,1,1,0,0,0]"), NULL);
	sealed(GOOD_HEAD BLOCK("0", "[0,1,1,1,1,0,0,256]"), NULL);
	sealed(GOOD_HEAD BLOCK("0", "[0,1]"), NULL);
	sealed(GOOD_HEAD BLOCK("0", "7"), NULL);
}

static void impossible_runs_are_not_known(void **state)
{
	static const char *const runs[] = { "[0,253,1,1,1,0,0,0]", "[0,2,999,1,1,0,0,0]",
					    "[0,-1,1,1,1,0,0,0]", "[0,1]", "7",
					    "[0,1,1,1,1,65536,0,0]" };
	char text[2048], error[SPARE_TEXT_BYTES];
	struct spare_dump dump;
	size_t i;

	for (i = 0; i < sizeof(runs) / sizeof(*runs); i++) {
		size_t bytes = (size_t)snprintf(text, sizeof(text), GOOD_HEAD BLOCK("0", "%s"),
						runs[i]);

		/* Cut off, but the block was read. */
		assert_int_equal(read_text(text, bytes, &dump, error), EX_DATAERR);
		assert_int_equal(dump.nr_blocks, 64);
		assert_false(dump.block[0].known);
		spare_dump_free(&dump);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_comes_back), cmocka_unit_test(of_a_damaged_spare),
		cmocka_unit_test(any_change_is_noticed), cmocka_unit_test(nonsense),
		cmocka_unit_test(impossible_runs_are_not_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
