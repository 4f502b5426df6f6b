// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Lists of badblocks(8) and mapfiles of ddrescue(1): read, clipped and written. */
#include "loader/badmap.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <cmocka.h>

/* The ranges of @map as "SECTOR+COUNT ...". */
static void expect(const struct badmap *map, const char *expected)
{
	char text[512] = "";
	uint64_t sectors = 0;
	size_t i;

	for (i = 0; i < map->count; i++) {
		sprintf(text + strlen(text), "%s%" PRIu64 "+%" PRIu64, i ? " " : "", map->range[i].sector,
			map->range[i].count);
		sectors += map->range[i].count;
	}
	assert_string_equal(text, expected);
	assert_int_equal(map->sectors, sectors);
}

static int read_text(const char *text, unsigned int block_bytes, struct badmap *map, char *error)
{
	FILE *in = fmemopen((void *)text, strlen(text), "r");
	int status = badmap_read(in, block_bytes, map, error);

	fclose(in);
	return status;
}

static void reads(const char *text, unsigned int block_bytes, const char *expected)
{
	char error[BADMAP_ERROR_BYTES] = "";
	struct badmap map;

	assert_int_equal(read_text(text, block_bytes, &map, error), EX_OK);
	expect(&map, expected);
	badmap_free(&map);
}

static void refuses(const char *text, const char *why)
{
	char error[BADMAP_ERROR_BYTES] = "";
	struct badmap map;

	assert_int_equal(read_text(text, 1024, &map, error), EX_DATAERR);
	if (!strstr(error, why))
		fail_msg("refused with \"%s\", not with \"%s\"", error, why);
	badmap_free(&map);
}

/* As "badblocks -o" writes it; order, repetition and blanks don't matter. */
static void lists_of_blocks(void **state)
{
	reads("10\n11\n12\n20\n", 1024, "20+6 40+2");
	reads("10\n11\n12\n20\n", 4096, "80+24 160+8");
	reads("10\n", 512, "10+1");
	reads("20\n 12 \r\n\n10\n11\n10\n", 1024, "20+6 40+2");
	reads("# none\n", 1024, "");
	reads("7", 1024, "14+2");
}

/* As ddrescue 1.27 writes it. */
static const char mapfile[] = "# Mapfile. Created by GNU ddrescue version 1.27\n"
			      "# Command line: ddrescue -n /dev/sdb /dev/sdc map\n"
			      "# Start time:   2025-01-01 00:00:00\n"
			      "# current_pos  current_status  current_pass\n"
			      "0x00127E00     +               1\n"
			      "#      pos        size  status\n"
			      "0x00000000  0x00100000  +\n"
			      "0x00100000  0x00000200  -\n"
			      "0x00100200  0x00000E00  /\n"
			      "0x00101000  0x0000F000  +\n"
			      "0x00110000  0x00001000  *\n"
			      "0x00111000  0x00001000  ?\n"
			      "0x00112000  0x00000100  -\n";

static void mapfiles(void **state)
{
	reads(mapfile, 1024, "2048+8 2176+8 2192+1");
	reads("0 ?\n1024 1 -\n0x7ff 2 *\n", 1024, "2+3");
	reads("0 ?\n0 0x100000000000 +\n", 1024, "");
}

/* A mapfile by statuses, and nothing but a mapfile; one that was cut off in the middle of a line is none. */
static void statuses(void **state)
{
	static const struct {
		const char *statuses, *expected;
	} places[] = {
		{ "+", "0+2048 2056+120" }, { "-", "2048+1 2192+1" }, { "?", "2184+8" }, { "*/", "2049+7 2176+8" },
	};
	static const char *const none[] = { "", "# a comment\n", "10\n11\n", "0 512 +\n", "0 ?\n0 1024\n" };
	char error[BADMAP_ERROR_BYTES];
	struct badmap map;
	size_t i;
	FILE *in;

	for (i = 0; i < sizeof(places) / sizeof(*places); i++) {
		in = fmemopen((void *)mapfile, strlen(mapfile), "r");
		assert_int_equal(badmap_read_mapfile(in, places[i].statuses, &map, error), EX_OK);
		expect(&map, places[i].expected);
		badmap_free(&map);
		fclose(in);
	}
	for (i = 0; i < sizeof(none) / sizeof(*none); i++) {
		in = fmemopen((void *)none[i], strlen(none[i]) + 1, "r");
		assert_int_equal(badmap_read_mapfile(in, "+", &map, error), EX_DATAERR);
		badmap_free(&map);
		fclose(in);
	}
}

static void nonsense(void **state)
{
	refuses("hello\n", "line 1");
	refuses("10\n-4\n", "line 2");
	refuses("10 11\n", "line 1");
	refuses("99999999999999999999\n", "line 1");
	refuses("18446744073709551615\n", "line 1");
	refuses("0 ?\n0 512\n", "line 2 is none of a ddrescue mapfile");
	refuses("0 ?\n0 512 x\n", "line 2");
	refuses("0 ?\n0 512 - 4\n", "line 2");
	refuses("0 ?\n0x8000000000000000 0x7fffffffffffffff -\n", "line 2");
	refuses("0 ?\n# fine\n\n12\n", "line 4");
}

static void clipping(void **state)
{
	char error[BADMAP_ERROR_BYTES];
	struct badmap map;

	assert_int_equal(read_text("10\n11\n20\n30\n", 1024, &map, error), EX_OK);
	assert_int_equal(badmap_clip(&map, 21, 41), 1 + 1 + 2);
	expect(&map, "0+3 19+1");
	assert_int_equal(badmap_clip(&map, 0, 100), 0);
	expect(&map, "0+3 19+1");
	assert_int_equal(badmap_clip(&map, 3, 19), 4);
	expect(&map, "");
	badmap_free(&map);
}

static char *written(const struct badmap *map, unsigned int block_bytes, uint64_t end_sector)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	if (block_bytes)
		badmap_write_blocks(map, block_bytes, out);
	else
		badmap_write_mapfile(map, end_sector, '-', '?', out);
	fclose(out);
	return text;
}

static void writing(void **state)
{
	struct badmap map = { 0 };
	char *text;

	assert_int_equal(badmap_add(&map, 8, 8), 0);
	assert_int_equal(badmap_add(&map, 16, 1), 0);
	assert_int_equal(badmap_add(&map, 19, 4), 0);
	expect(&map, "8+9 19+4");
	text = written(&map, 1024, 0);
	assert_string_equal(text, "4\n5\n6\n7\n8\n9\n10\n11\n");
	free(text);
	/* No block twice. */
	text = written(&map, 4096, 0);
	assert_string_equal(text, "1\n2\n");
	free(text);
	text = written(&map, 0, 32);
	assert_non_null(strstr(text, "0x00000000     ?               1\n"));
	assert_string_equal(strstr(text, "size  status\n") + 13,
			    "0x00000000  0x00001000  ?\n0x00001000  0x00001200  -\n0x00002200  0x00000400  ?\n"
			    "0x00002600  0x00000800  -\n0x00002E00  0x00001200  ?\n");
	reads(text, 1024, "8+9 19+4");
	free(text);
	badmap_free(&map);
	text = written(&map, 0, 1);
	reads(text, 1024, "");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_of_blocks), cmocka_unit_test(mapfiles), cmocka_unit_test(statuses),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(clipping),	   cmocka_unit_test(writing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
