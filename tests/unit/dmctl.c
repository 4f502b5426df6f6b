// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The grammar of kmod/dm-remap.rst as user space reads it. Runs from the top of the tree: reads the page itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "loader/dmctl.h"

#define DM_REMAP_RST "kmod/dm-remap.rst"

static const char status_line[] = "rw 8 31 992 1 3 2 4 5 6 7 9 10 11 12 13 14 15 64 16 away";

static void status_is_read_word_by_word(void **state)
{
	struct dmctl_status status;

	assert_int_equal(dmctl_parse_status(status_line, &status, NULL), 0);
	assert_int_equal(status.mode, DMCTL_MODE_RW);
	assert_string_equal(status.mode_word, "rw");
	assert_int_equal(status.block_sectors, 8);
	assert_int_equal(status.mapped_blocks, 31);
	assert_int_equal(status.free_blocks, 992);
	assert_int_equal(status.retired_blocks, 1);
	assert_int_equal(status.unread_sectors, 3);
	assert_int_equal(status.lost_sectors, 2);
	assert_int_equal(status.rescued_blocks, 4);
	assert_int_equal(status.failed_relocations, 9);
	assert_int_equal(status.main_read_errors, 10);
	assert_int_equal(status.spare_write_errors, 13);
	assert_int_equal(status.metadata_errors, 14);
	assert_int_equal(status.fenced_copies, 15);
	assert_int_equal(status.storm_left, 64);
	assert_int_equal(status.held_ios, 16);
	assert_int_equal(status.main_state, DMCTL_MAIN_AWAY);
}

static void later_status_words_are_accepted(void **state)
{
	struct dmctl_status status;
	char line[256];

	snprintf(line, sizeof(line), "%s 17 later-word 18\n", status_line);
	assert_int_equal(dmctl_parse_status(line, &status, NULL), 0);
	assert_int_equal(status.held_ios, 16);
	assert_int_equal(status.rewritten_blocks, 17);
	snprintf(line, sizeof(line), "newer-mode%s", strchr(status_line, ' '));
	assert_int_equal(dmctl_parse_status(line, &status, NULL), 0);
	assert_int_equal(status.mode, DMCTL_MODE_OTHER);
	assert_string_equal(status.mode_word, "newer-mode");
}

static void each_shortened_status_is_refused(void **state)
{
	struct dmctl_status status;
	struct dmctl_error error;
	char line[sizeof(status_line)];
	size_t i;

	for (i = 0; i < sizeof(status_line) - 1; i++) {
		if (status_line[i] != ' ')
			continue;
		memcpy(line, status_line, i);
		line[i] = '\0';
		assert_int_equal(dmctl_parse_status(line, &status, &error), -EPROTO);
		assert_int_equal(error.err, EPROTO);
		assert_null(strchr(error.text, '\n'));
	}
	assert_int_equal(dmctl_parse_status("", &status, NULL), -EPROTO);
	assert_int_equal(dmctl_parse_status("rw 8 -1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 ok", &status, NULL), -EPROTO);
	assert_int_equal(dmctl_parse_status("rw 8 18446744073709551616 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 ok", &status,
					    NULL),
			 -EPROTO);
	assert_int_equal(dmctl_parse_status("Fail", &status, NULL), -EPROTO);
}

/* Reads the words in <...> of the literal block under "Status" into words, separated by one space. */
static void read_documented_words(char *words, size_t words_bytes)
{
	FILE *page = fopen(DM_REMAP_RST, "re");
	char line[512], previous[512] = "";
	bool in_status = false;
	size_t used = 0;

	assert_non_null(page);
	while (fgets(line, sizeof(line), page)) {
		if (!strncmp(line, "====", 4) && line[strspn(line, "=")] == '\n') {
			/* The line before an underline is the title of a section. */
			if (in_status && !strstr(previous, "Status"))
				break;
			in_status |= !strcmp(previous, "Status\n");
		} else if (in_status && !strncmp(line, "    <", 5)) {
			const char *at = line;

			while ((at = strchr(at, '<'))) {
				size_t length = strcspn(++at, ">");

				assert_int_equal(at[length], '>');
				used += snprintf(words + used, words_bytes - used, "%s%.*s", used ? " " : "",
						 (int)length, at);
				assert_true(used < words_bytes);
			}
		}
		strcpy(previous, line);
	}
	fclose(page);
}

static void status_words_are_those_of_the_page(void **state)
{
	char documented[2048] = "";

	read_documented_words(documented, sizeof(documented));
#define NAME(name) #name " "
	assert_string_equal(documented, "mode " DMCTL_STATUS_NUMBERS(NAME) "main_state rewritten_blocks");
}

static void modes_are_those_of_the_page(void **state)
{
	static const char *const modes[] = { "rw", "no-new-maps", "ro", "failed", "init" };
	struct dmctl_status status;
	char line[256], page_text[32768], quoted[64];
	FILE *page = fopen(DM_REMAP_RST, "re");
	size_t i;

	assert_non_null(page);
	page_text[fread(page_text, 1, sizeof(page_text) - 1, page)] = '\0';
	fclose(page);
	for (i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		snprintf(quoted, sizeof(quoted), "``%s``", modes[i]);
		assert_non_null(strstr(page_text, quoted));
		snprintf(line, sizeof(line), "%s%s", modes[i], strchr(status_line, ' '));
		assert_int_equal(dmctl_parse_status(line, &status, NULL), 0);
		assert_int_equal(status.mode, i);
	}
}

static void table_is_read_and_written(void **state)
{
	static const char line[] = "8:16 2048 8:32 0 8 main_id wwn-0x5000c500 storm_budget 32 salvage_ms 5000 retry_ms 250";
	struct dmctl_table table;
	char written[512];
	dev_t devno;

	assert_int_equal(dmctl_parse_table(line, &table, NULL), 0);
	assert_string_equal(table.main_dev, "8:16");
	assert_int_equal(table.main_offset_sectors, 2048);
	assert_string_equal(table.spare_dev, "8:32");
	assert_int_equal(table.spare_offset_sectors, 0);
	assert_string_equal(table.main_id, "wwn-0x5000c500");
	assert_int_equal(table.storm_budget_blocks, 32);
	assert_int_equal(table.salvage_ms, 5000);
	assert_int_equal(table.retry_ms, 250);
	assert_int_equal(dmctl_format_table(&table, false, written, sizeof(written)), strlen(line));
	assert_string_equal(written, line);
	assert_int_equal(dmctl_parse_devno(table.main_dev, &devno), 0);
	assert_int_equal(major(devno), 8);
	assert_int_equal(minor(devno), 16);
}

static void short_tables_and_unknown_options_are_read(void **state)
{
	struct dmctl_table table;
	char written[128];

	assert_int_equal(dmctl_parse_table("/dev/sdb 0 /dev/sdc 8", &table, NULL), 0);
	assert_string_equal(table.main_id, "");
	assert_int_equal(table.storm_budget_blocks, -1);
	assert_int_equal(dmctl_format_table(&table, true, written, sizeof(written)),
			 strlen("/dev/sdb 0 /dev/sdc 8 1 format"));
	assert_string_equal(written, "/dev/sdb 0 /dev/sdc 8 1 format");
	assert_int_equal(dmctl_parse_table("8:16 0 8:32 0 0", &table, NULL), 0);
	assert_int_equal(dmctl_parse_table("8:16 0 8:32 0 4 newer retry_ms 9 flag", &table, NULL), 0);
	assert_int_equal(table.retry_ms, 9);
	assert_int_equal(dmctl_parse_table("8:16 0 8:32", &table, NULL), -EPROTO);
	assert_int_equal(dmctl_parse_table("8:16 0 8:32 0 2 retry_ms", &table, NULL), -EPROTO);
	assert_int_equal(dmctl_parse_table("8:16 0 8:32 0 1 retry_ms 5", &table, NULL), -EPROTO);
	assert_int_equal(dmctl_parse_table("8:16 0 8:32 0 9 retry_ms 5", &table, NULL), -EPROTO);
	assert_int_equal(dmctl_parse_table("8:16 x 8:32 0", &table, NULL), -EPROTO);
	assert_int_equal(dmctl_parse_table("", &table, NULL), -EPROTO);
}

static void a_table_that_cannot_be_split_again_is_not_written(void **state)
{
	struct dmctl_table table = { .main_dev = "/dev/a b", .spare_dev = "/dev/c",
				     .storm_budget_blocks = -1, .salvage_ms = -1, .retry_ms = -1 };
	char written[128];

	assert_int_equal(dmctl_format_table(&table, false, written, sizeof(written)), -EINVAL);
	strcpy(table.main_dev, "/dev/a");
	strcpy(table.main_id, "two words");
	assert_int_equal(dmctl_format_table(&table, false, written, sizeof(written)), -EINVAL);
	strcpy(table.main_id, "id");
	assert_int_equal(dmctl_format_table(&table, false, written, 12), -ENOSPC);
	assert_true(dmctl_format_table(&table, false, written, sizeof(written)) > 0);
}

static void answers_are_read(void **state)
{
	struct dmctl_remap_answer moved;
	struct dmctl_release_answer released;

	assert_int_equal(dmctl_parse_remap_answer("4096 256 2 7", &moved, NULL), 0);
	assert_int_equal(moved.next_sector, 4096);
	assert_int_equal(moved.moved_blocks, 256);
	assert_int_equal(moved.already_mapped_blocks, 2);
	assert_int_equal(moved.unread_sectors, 7);
	assert_int_equal(dmctl_parse_remap_answer("4096 256 2", &moved, NULL), -EPROTO);
	assert_int_equal(dmctl_parse_remap_answer("", &moved, NULL), -EPROTO);
	assert_int_equal(dmctl_parse_release_answer("8192 255 1 later", &released, NULL), 0);
	assert_int_equal(released.next_sector, 8192);
	assert_int_equal(released.released_blocks, 255);
	assert_int_equal(released.refused_blocks, 1);
	assert_int_equal(dmctl_parse_release_answer("8192 x 1", &released, NULL), -EPROTO);
}

static void runs_are_read_line_by_line(void **state)
{
	const char *text = "0 8 72 0 0 rescue\n4096 2048 80 3 1 proactive later\n8000 8 4000 0 0 newer\n";
	struct dmctl_run run;

	assert_int_equal(dmctl_parse_run(text, &run, &text, NULL), 1);
	assert_int_equal(run.sector, 0);
	assert_int_equal(run.reason, DMCTL_REASON_RESCUE);
	assert_int_equal(dmctl_parse_run(text, &run, &text, NULL), 1);
	assert_int_equal(run.sector, 4096);
	assert_int_equal(run.count, 2048);
	assert_int_equal(run.spare_sector, 80);
	assert_int_equal(run.unread, 3);
	assert_int_equal(run.lost, 1);
	assert_int_equal(run.reason, DMCTL_REASON_PROACTIVE);
	assert_int_equal(dmctl_parse_run(text, &run, &text, NULL), 1);
	assert_int_equal(run.reason, DMCTL_REASON_OTHER);
	assert_null(text);

	assert_int_equal(dmctl_parse_run("", &run, &text, NULL), 0);
	assert_int_equal(dmctl_parse_run("\n", &run, &text, NULL), 0);
	assert_int_equal(dmctl_parse_run("0 8 72 0 rescue\n", &run, &text, NULL), -EPROTO);
	assert_int_equal(dmctl_parse_run("0 0 72 0 0 rescue\n", &run, &text, NULL), -EPROTO);
	assert_int_equal(dmctl_parse_run("18446744073709551615 8 72 0 0 rescue\n", &run, &text, NULL), -EPROTO);
}

static void device_numbers_are_read(void **state)
{
	dev_t devno;

	assert_int_equal(dmctl_parse_devno("253:7", &devno), 0);
	assert_int_equal(devno, makedev(253, 7));
	assert_int_equal(dmctl_parse_devno("/dev/sda", &devno), -EINVAL);
	assert_int_equal(dmctl_parse_devno(":7", &devno), -EINVAL);
	assert_int_equal(dmctl_parse_devno("8:", &devno), -EINVAL);
	assert_int_equal(dmctl_parse_devno("8:1 ", &devno), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_is_read_word_by_word),
		cmocka_unit_test(later_status_words_are_accepted),
		cmocka_unit_test(each_shortened_status_is_refused),
		cmocka_unit_test(status_words_are_those_of_the_page),
		cmocka_unit_test(modes_are_those_of_the_page),
		cmocka_unit_test(table_is_read_and_written),
		cmocka_unit_test(short_tables_and_unknown_options_are_read),
		cmocka_unit_test(a_table_that_cannot_be_split_again_is_not_written),
		cmocka_unit_test(answers_are_read),
		cmocka_unit_test(runs_are_read_line_by_line),
		cmocka_unit_test(device_numbers_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
