// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What user space reads of the target (loader/dmctl_parse.c): status, table lines, answers to messages. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/dmctl.h"
#include "tests/fuzz/fuzz.h"

const char *const *fuzz_seeds(void)
{
	static const char *const texts[] = {
		"rw 8 31 992 1 3 2 4 5 6 7 9 10 11 12 13 14 15 64 16 away 5",
		"8:16 2048 8:32 0 10 main_id wwn-0x5000c500 storm_budget 32 salvage_ms 5000 retry_ms 250 rewrite_first 1",
		"/dev/sdb 0 /dev/sdc 8",
		"4096 256 2 7",
		"0 8 72 0 0 rescue\n4096 2048 80 3 1 proactive later\n8000 8 4000 0 0 salvage\n",
		"18446744073709551600 15 18446744073709551600 0 0 rescue\n",
		"253:7",
		NULL,
	};

	return texts;
}

static void check_status(const char *text)
{
	struct dmctl_status status;
	struct dmctl_error error = { 0 };

	if (dmctl_parse_status(text, &status, &error)) {
		HOLDS(error.err == EPROTO && *error.text);
		return;
	}
	HOLDS(*status.mode_word && status.mode <= DMCTL_MODE_OTHER);
	HOLDS(*status.main_state_word && status.main_state <= DMCTL_MAIN_OTHER);
}

/* What was read and is written is read the same. */
static void check_table(const char *text)
{
	char line[3 * DMCTL_DEV_BYTES + DMCTL_MAIN_ID_BYTES], again[sizeof(line)];
	struct dmctl_table table;
	int length;
	dev_t devno;

	if (dmctl_parse_table(text, &table, NULL))
		return;
	dmctl_parse_devno(table.main_dev, &devno);
	length = dmctl_format_table(&table, false, line, sizeof(line));
	HOLDS(length > 0 || length == -EINVAL);
	if (length < 0)
		return;
	HOLDS(strlen(line) == (size_t)length && !strchr(line, '\\'));
	HOLDS(!dmctl_parse_table(line, &table, NULL));
	HOLDS(dmctl_format_table(&table, false, again, sizeof(again)) == length && !strcmp(line, again));
	HOLDS(dmctl_format_table(&table, false, again, length) == -ENOSPC);
}

static void check_answers(const char *text)
{
	struct dmctl_remap_answer moved;
	struct dmctl_release_answer released;
	dev_t devno;

	if (!dmctl_parse_remap_answer(text, &moved, NULL))
		HOLDS(!dmctl_parse_release_answer(text, &released, NULL));
	dmctl_parse_devno(text, &devno);
}

static void check_runs(const char *text)
{
	const char *end = text + strlen(text), *before;
	struct dmctl_run run;

	while (text) {
		before = text;
		if (dmctl_parse_run(text, &run, &text, NULL) != 1) {
			HOLDS(!text);
			break;
		}
		HOLDS(run.sector + run.count > run.sector);
		HOLDS(run.reason <= DMCTL_REASON_OTHER);
		HOLDS(!text || (text > before && text < end));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char *text = fuzz_string(data, bytes);

	check_status(text);
	check_table(text);
	check_answers(text);
	check_runs(text);
	free(text);
	return 0;
}
