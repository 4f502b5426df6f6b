// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The grammar of kmod/dm-remap.rst, without I/O. */
#include "loader/dmctl.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

struct words {
	const char *at; /* the next word, or the end of the line */
};

__attribute__((format(printf, 2, 3))) static int protocol_error(struct dmctl_error *error, const char *format, ...)
{
	va_list args;

	if (error) {
		error->err = EPROTO;
		va_start(args, format);
		vsnprintf(error->text, sizeof(error->text), format, args);
		va_end(args);
	}
	return -EPROTO;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_end(char c)
{
	return c == '\0' || c == '\n';
}

static void words_start(struct words *words, const char *line)
{
	while (is_blank(*line))
		line++;
	words->at = line;
}

static bool words_end(const struct words *words)
{
	return is_end(*words->at);
}

/* Copies the next word. -ENOENT at the end of the line, -E2BIG if it does not fit. */
static int next_word(struct words *words, char *word, size_t word_bytes)
{
	const char *start = words->at;
	size_t length;

	if (is_end(*start))
		return -ENOENT;
	while (!is_end(*words->at) && !is_blank(*words->at))
		words->at++;
	length = words->at - start;
	while (is_blank(*words->at))
		words->at++;
	if (length >= word_bytes)
		return -E2BIG;
	memcpy(word, start, length);
	word[length] = '\0';
	return 0;
}

/* Decimal digits only: strtoull() would take signs and blanks. */
static int parse_number(const char *word, uint64_t *number)
{
	uint64_t value = 0;

	if (!*word)
		return -EINVAL;
	for (; *word; word++) {
		unsigned int digit = (unsigned int)*word - '0';

		if (digit > 9 || value > (UINT64_MAX - digit) / 10)
			return -EINVAL;
		value = value * 10 + digit;
	}
	*number = value;
	return 0;
}

static int next_number(struct words *words, uint64_t *number)
{
	char word[24];
	int err = next_word(words, word, sizeof(word));

	return err ? err : parse_number(word, number);
}

static int parse_numbers(const char *text, const char *what, uint64_t **numbers, size_t count,
			 struct dmctl_error *error)
{
	struct words words;
	size_t i;

	words_start(&words, text);
	for (i = 0; i < count; i++) {
		if (next_number(&words, numbers[i]))
			return protocol_error(error, "answer to \"%s\" is not %zu numbers: \"%.80s\"", what, count,
					      text);
	}
	return 0;
}

int dmctl_parse_status(const char *params, struct dmctl_status *status, struct dmctl_error *error)
{
	static const char *const modes[] = {
		[DMCTL_MODE_RW] = "rw",		[DMCTL_MODE_NO_NEW_MAPS] = "no-new-maps",
		[DMCTL_MODE_RO] = "ro",		[DMCTL_MODE_FAILED] = "failed",
		[DMCTL_MODE_INIT] = "init",
	};
	struct words words;

	memset(status, 0, sizeof(*status));
	words_start(&words, params);
	if (next_word(&words, status->mode_word, sizeof(status->mode_word)))
		return protocol_error(error, "status line has no mode: \"%.80s\"", params);
	for (status->mode = 0; status->mode < DMCTL_MODE_OTHER; status->mode++)
		if (!strcmp(status->mode_word, modes[status->mode]))
			break;
#define DMCTL_X(name)                        \
	if (next_number(&words, &status->name)) \
		return protocol_error(error, "status line has no number %s: \"%.200s\"", #name, params);
	DMCTL_STATUS_NUMBERS(DMCTL_X)
#undef DMCTL_X
	if (next_word(&words, status->main_state_word, sizeof(status->main_state_word)))
		return protocol_error(error, "status line has no main_state: \"%.200s\"", params);
	if (!strcmp(status->main_state_word, "ok"))
		status->main_state = DMCTL_MAIN_OK;
	else if (!strcmp(status->main_state_word, "away"))
		status->main_state = DMCTL_MAIN_AWAY;
	else
		status->main_state = DMCTL_MAIN_OTHER;
	if (next_number(&words, &status->rewritten_blocks))
		status->rewritten_blocks = 0;
	return 0;
}

static int parse_option_number(struct words *words, uint64_t *left, int64_t *value)
{
	uint64_t number;

	if (!*left || next_number(words, &number) || number > INT64_MAX)
		return -EPROTO;
	*value = number;
	(*left)--;
	return 0;
}

static int parse_options(struct words *words, struct dmctl_table *table)
{
	uint64_t left;
	char word[DMCTL_DEV_BYTES];

	if (words_end(words))
		return 0;
	if (next_number(words, &left))
		return -EPROTO;
	while (left) {
		int err = 0;

		if (next_word(words, word, sizeof(word)))
			return -EPROTO;
		left--;
		if (!strcmp(word, "main_id")) {
			if (!left || next_word(words, table->main_id, sizeof(table->main_id)))
				return -EPROTO;
			left--;
		} else if (!strcmp(word, "storm_budget")) {
			err = parse_option_number(words, &left, &table->storm_budget_blocks);
		} else if (!strcmp(word, "salvage_ms")) {
			err = parse_option_number(words, &left, &table->salvage_ms);
		} else if (!strcmp(word, "retry_ms")) {
			err = parse_option_number(words, &left, &table->retry_ms);
		} else if (!strcmp(word, "rewrite_first")) {
			err = parse_option_number(words, &left, &table->rewrite_first);
		}
		if (err)
			return err;
	}
	return 0;
}

int dmctl_parse_table(const char *params, struct dmctl_table *table, struct dmctl_error *error)
{
	struct words words;

	memset(table, 0, sizeof(*table));
	table->storm_budget_blocks = table->salvage_ms = table->retry_ms = table->rewrite_first = -1;
	words_start(&words, params);
	if (next_word(&words, table->main_dev, sizeof(table->main_dev)) ||
	    next_number(&words, &table->main_offset_sectors) ||
	    next_word(&words, table->spare_dev, sizeof(table->spare_dev)) ||
	    next_number(&words, &table->spare_offset_sectors))
		return protocol_error(error,
				      "table line is not \"main main_offset spare spare_offset ...\": \"%.200s\"",
				      params);
	if (parse_options(&words, table))
		return protocol_error(error, "table line's options can't be read: \"%.200s\"", params);
	return 0;
}

int dmctl_parse_remap_answer(const char *text, struct dmctl_remap_answer *answer, struct dmctl_error *error)
{
	uint64_t *numbers[] = { &answer->next_sector, &answer->moved_blocks, &answer->already_mapped_blocks,
				&answer->unread_sectors };

	return parse_numbers(text, "remap", numbers, 4, error);
}

int dmctl_parse_release_answer(const char *text, struct dmctl_release_answer *answer, struct dmctl_error *error)
{
	uint64_t *numbers[] = { &answer->next_sector, &answer->released_blocks, &answer->refused_blocks };

	return parse_numbers(text, "release", numbers, 3, error);
}

int dmctl_parse_run(const char *text, struct dmctl_run *run, const char **next, struct dmctl_error *error)
{
	struct words words;
	char word[24];
	const char *end;

	*next = NULL;
	while (*text == '\n')
		text++;
	words_start(&words, text);
	if (words_end(&words))
		return 0;
	if (next_number(&words, &run->sector) || next_number(&words, &run->count) ||
	    next_number(&words, &run->spare_sector) || next_number(&words, &run->unread) ||
	    next_number(&words, &run->lost) || next_word(&words, word, sizeof(word)) || !run->count ||
	    run->sector + run->count < run->sector) {
		return protocol_error(error, "line of \"list\" can't be read: \"%.*s\"", (int)strcspn(text, "\n"),
				      text);
	}
	for (run->reason = 0; run->reason < DMCTL_REASON_OTHER; run->reason++)
		if (!strcmp(word, dmctl_reason_word(run->reason)))
			break;
	end = strchr(text, '\n');
	if (end && end[1])
		*next = end + 1;
	return 1;
}

const char *dmctl_reason_word(enum dmctl_reason reason)
{
	switch (reason) {
	case DMCTL_REASON_RESCUE:
		return "rescue";
	case DMCTL_REASON_SALVAGE:
		return "salvage";
	case DMCTL_REASON_PROACTIVE:
		return "proactive";
	case DMCTL_REASON_OTHER:
		break;
	}
	return "other";
}

/* A word that device-mapper's splitting (blanks, backslashes) leaves as it is. */
static bool is_table_word(const char *word)
{
	if (!*word)
		return false;
	for (; *word; word++)
		if (*word <= ' ' || *word > '~' || *word == '\\')
			return false;
	return true;
}

/* Appends to params; at or beyond params_bytes the text no longer fits and *used says so. */
__attribute__((format(printf, 4, 5))) static void append(char *params, size_t params_bytes, size_t *used,
							  const char *format, ...)
{
	va_list args;
	int length;

	if (*used >= params_bytes)
		return;
	va_start(args, format);
	length = vsnprintf(params + *used, params_bytes - *used, format, args);
	va_end(args);
	*used += length;
}

int dmctl_format_table(const struct dmctl_table *table, bool format_spare, char *params, size_t params_bytes)
{
	unsigned int option_words = 0;
	size_t used = 0;

	if (!is_table_word(table->main_dev) || !is_table_word(table->spare_dev) ||
	    (*table->main_id && !is_table_word(table->main_id)))
		return -EINVAL;
	option_words += format_spare ? 1 : 0;
	option_words += *table->main_id ? 2 : 0;
	option_words += table->storm_budget_blocks >= 0 ? 2 : 0;
	option_words += table->salvage_ms >= 0 ? 2 : 0;
	option_words += table->retry_ms >= 0 ? 2 : 0;
	option_words += table->rewrite_first >= 0 ? 2 : 0;

	append(params, params_bytes, &used, "%s %" PRIu64 " %s %" PRIu64, table->main_dev,
	       table->main_offset_sectors, table->spare_dev, table->spare_offset_sectors);
	if (option_words)
		append(params, params_bytes, &used, " %u", option_words);
	if (format_spare)
		append(params, params_bytes, &used, " format");
	if (*table->main_id)
		append(params, params_bytes, &used, " main_id %s", table->main_id);
	if (table->storm_budget_blocks >= 0)
		append(params, params_bytes, &used, " storm_budget %" PRId64, table->storm_budget_blocks);
	if (table->salvage_ms >= 0)
		append(params, params_bytes, &used, " salvage_ms %" PRId64, table->salvage_ms);
	if (table->retry_ms >= 0)
		append(params, params_bytes, &used, " retry_ms %" PRId64, table->retry_ms);
	if (table->rewrite_first >= 0)
		append(params, params_bytes, &used, " rewrite_first %" PRId64, table->rewrite_first);
	return used >= params_bytes || used > INT_MAX ? -ENOSPC : (int)used;
}

int dmctl_parse_devno(const char *word, dev_t *devno)
{
	const char *colon = strchr(word, ':');
	uint64_t major_nr, minor_nr;
	char text[16];

	if (!colon || (size_t)(colon - word) >= sizeof(text))
		return -EINVAL;
	memcpy(text, word, colon - word);
	text[colon - word] = '\0';
	if (parse_number(text, &major_nr) || parse_number(colon + 1, &minor_nr) || major_nr > UINT32_MAX ||
	    minor_nr > UINT32_MAX)
		return -EINVAL;
	*devno = makedev(major_nr, minor_nr);
	return 0;
}
