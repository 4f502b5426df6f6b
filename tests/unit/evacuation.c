// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What an evacuation leaves for the end: loader/evacuation.c, and the domain that ddrescue gets of it. */
#include "loader/evacuation.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <cmocka.h>

#define DEVICE_SECTORS 100000

static void add_run(struct badmap *late, enum dmctl_reason reason, uint64_t sector, uint64_t count, uint64_t unread,
		    uint64_t lost)
{
	const struct dmctl_run run = {
		.sector = sector, .count = count, .unread = unread, .lost = lost, .reason = reason,
	};

	assert_int_equal(evacuation_add_run(late, &run), 0);
}

/* Finishes @late, compares it with "SECTOR+COUNT ...", and lets go of it. */
static void expect(struct badmap *late, const char *expected)
{
	char text[512] = "";
	uint64_t sectors = 0;
	size_t i;

	evacuation_finish(late, DEVICE_SECTORS);
	for (i = 0; i < late->count; i++) {
		sprintf(text + strlen(text), "%s%" PRIu64 "+%" PRIu64, i ? " " : "", late->range[i].sector,
			late->range[i].count);
		sectors += late->range[i].count;
	}
	assert_string_equal(text, expected);
	assert_int_equal(late->sectors, sectors);
	badmap_free(late);
}

static void nothing(void **state)
{
	struct badmap late = { 0 };

	expect(&late, "");
}

/* It is not the move that makes a place suspect, but why it was moved. */
static void moved_blocks(void **state)
{
	struct badmap late = { 0 };

	add_run(&late, DMCTL_REASON_PROACTIVE, 50000, 4096, 0, 0);
	expect(&late, "");
	add_run(&late, DMCTL_REASON_RESCUE, 50000, 8, 0, 0);
	expect(&late, "47952+4104");
	add_run(&late, DMCTL_REASON_SALVAGE, 50000, 8, 0, 0);
	expect(&late, "47952+4104");
	add_run(&late, DMCTL_REASON_OTHER, 50000, 8, 0, 0);
	expect(&late, "47952+4104");
	add_run(&late, DMCTL_REASON_PROACTIVE, 50000, 8, 1, 0);
	expect(&late, "47952+4104");
	add_run(&late, DMCTL_REASON_PROACTIVE, 50000, 8, 0, 1);
	expect(&late, "47952+4104");
}

/* Nothing lies before the device, or behind it; neighbours become one. */
static void neighbourhood(void **state)
{
	struct badmap late = { 0 };

	add_run(&late, DMCTL_REASON_SALVAGE, 0, 8, 1, 0);
	add_run(&late, DMCTL_REASON_SALVAGE, 2040, 8, 1, 0);
	add_run(&late, DMCTL_REASON_SALVAGE, 99992, 8, 1, 0);
	expect(&late, "0+4096 97944+2056");
	add_run(&late, DMCTL_REASON_SALVAGE, 20000, 8, 1, 0);
	add_run(&late, DMCTL_REASON_SALVAGE, 24104, 8, 1, 0);
	expect(&late, "17952+8208");
	add_run(&late, DMCTL_REASON_SALVAGE, 20000, 8, 1, 0);
	add_run(&late, DMCTL_REASON_SALVAGE, 24112, 8, 1, 0);
	expect(&late, "17952+4104 22064+4104");
}

/* The daemon's extents come after the runs, wherever they lie; the last one may be longer than the device. */
static void extents(void **state)
{
	static const char *const states[] = { "ok", "moved", "lost", "slow", "suspect" };
	struct badmap late = { 0 };
	size_t i;

	add_run(&late, DMCTL_REASON_RESCUE, 50000, 8, 0, 0);
	for (i = 0; i < sizeof(states) / sizeof(*states); i++)
		assert_int_equal(evacuation_add_extent(&late, states[i], (i + 1) * 4096, 2048), 0);
	assert_int_equal(evacuation_add_extent(&late, "suspect", 48 * 2048, 2048), 0);
	assert_int_equal(evacuation_add_extent(&late, "suspect", 22 * 2048, 2048), 0);
	expect(&late, "16384+2048 20480+2048 45056+2048 47952+4104 98304+1696");
}

/* ddrescue takes for its domain what is finished in this mapfile, which has no gap. */
static void domain(void **state)
{
	struct badmap late = { 0 }, early;
	char error[BADMAP_ERROR_BYTES], *text = NULL;
	size_t bytes;
	FILE *file = open_memstream(&text, &bytes);

	add_run(&late, DMCTL_REASON_RESCUE, 50000, 8, 0, 0);
	evacuation_finish(&late, DEVICE_SECTORS);
	badmap_write_mapfile(&late, DEVICE_SECTORS, '-', '+', file);
	fclose(file);
	badmap_free(&late);
	file = fmemopen(text, bytes, "r");
	assert_int_equal(badmap_read_mapfile(file, "+", &early, error), EX_OK);
	expect(&early, "0+47952 52056+47944");
	rewind(file);
	assert_int_equal(badmap_read_mapfile(file, "-", &early, error), EX_OK);
	expect(&early, "47952+4104");
	rewind(file);
	assert_int_equal(badmap_read_mapfile(file, "?*/", &early, error), EX_OK);
	expect(&early, "");
	fclose(file);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing), cmocka_unit_test(moved_blocks), cmocka_unit_test(neighbourhood),
		cmocka_unit_test(extents), cmocka_unit_test(domain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
