// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "kmod/format.h"
#include "tests/crash/expect.h"
#include "tests/crash/spare_map.h"
#include "tests/crash/state.h"
#include "tests/vm/guest/pattern.h"

struct state_coverage state_coverage;

static struct spare_map map;

struct judging {
	unsigned int gone;		/* COPY_A, COPY_B: all metadata of that copy can't be read */
	char *text;
	size_t bytes;
};

static bool wrong(const struct judging *judging, const char *rule, const char *format, ...)
{
	va_list arguments;
	int at = snprintf(judging->text, judging->bytes, "(%s): ", rule);

	va_start(arguments, format);
	at += vsnprintf(judging->text + at, judging->bytes - at, format, arguments);
	va_end(arguments);
	if (judging->gone && (size_t)at < judging->bytes)
		snprintf(judging->text + at, judging->bytes - at, "\n  with copies %c of all metadata unreadable",
			 judging->gone & COPY_A ? 'A' : 'B');
	return false;
}

/* May the last write to this copy of a super- or metadata block have left it torn? */
static bool is_unsure(uint64_t copy_sector)
{
	uint32_t i;

	for (i = 0; i < REMAP_META_SECTORS; i++)
		if (expect_unsure(copy_sector + i))
			return true;
	return false;
}

/*
 * May there be no good copy? Two faults at once are allowed to do that: a copy that failed (it can't be read in this
 * view, is fenced, or its write was refused or cut), while the write of the other one is torn or that one failed too.
 */
static bool may_have_none(const uint64_t copy_sector[2], const bool fenced[2], unsigned int gone)
{
	int copy, nr_failed = 0;

	for (copy = 0; copy < 2; copy++) {
		bool failed = gone & 1u << copy || fenced[copy] || is_unsure(copy_sector[copy]);

		if (!failed && !crash_in_window(CRASH_SPARE, copy_sector[copy], REMAP_META_SECTORS))
			return false;
		nr_failed += failed;
	}
	return nr_failed > 0;
}

static bool refusal_is_right(unsigned int gone)
{
	return map.copy_sector[0] && may_have_none(map.copy_sector, map.fenced, gone);
}

static const uint64_t super_sector[2] = { REMAP_SUPER_A_SECTOR, REMAP_SUPER_B_SECTOR };

static bool no_super_is_right(unsigned int gone)
{
	static const bool never_fenced[2];

	return !crash_target.formatted || may_have_none(super_sector, never_fenced, gone);
}

enum home { ON_MAIN, UNREAD, ON_SPARE, LOST };

/* Where an activation finds a sector. */
static enum home home_of(uint64_t sector, uint32_t *content)
{
	const struct mapped_block *block = &map.block[sector / map.block_sectors];
	uint32_t at = sector % map.block_sectors;

	*content = crash_disks[CRASH_MAIN].now[sector];
	if (!block->slot_sector)
		return ON_MAIN;
	if (block->unread & 1u << at)
		return UNREAD;
	if (block->lost & 1u << at)
		return LOST;
	*content = crash_disks[CRASH_SPARE].now[block->slot_sector + at];
	return ON_SPARE;
}

static bool judge_sector(const struct judging *judging, uint64_t s)
{
	const struct mapped_block *block = &map.block[s / map.block_sectors];
	uint32_t number;
	enum home home = home_of(s, &number);
	const struct content *content = crash_content(number);
	char expected[512], found[128];
	const char *rule;

	if (home == LOST) {
		state_coverage.lost++;
		return expect_allows_lost(s) ||
		       wrong(judging, "evidence", "sector %llu is lost, and the spare failed no read of it; expected %s",
			     (unsigned long long)s, expect_text(s, expected, sizeof(expected)));
	}
	if (home == UNREAD) {
		state_coverage.unread++;
		if (!expect_allows_unread(s))
			return wrong(judging, "evidence", "sector %llu is unread, and main failed no read of it; expected %s",
				     (unsigned long long)s, expect_text(s, expected, sizeof(expected)));
	}
	if (expect_allows(s, content))
		return true;
	rule = content->kind == CONTENT_ZERO || (content->kind == CONTENT_STAMP && content->sector == s) ? "stale" : "alien";
	pattern_describe(content->data, found, sizeof(found));
	expect_text(s, expected, sizeof(expected));
	if (home == ON_SPARE)
		return wrong(judging, rule, "sector %llu, in the slot at sector %u of the spare, holds %s; expected %s",
			     (unsigned long long)s, block->slot_sector, found, expected);
	return wrong(judging, rule, "sector %llu, on main%s, holds %s; expected %s", (unsigned long long)s,
		     home == UNREAD ? " since it is unread" : "", found, expected);
}

static bool judge_view(const struct judging *judging)
{
	unsigned int gone = judging->gone, supers_gone = gone;
	uint64_t s, b;

	/* Of the superblock one copy is enough: the other may be older, if it could not be written. */
	if ((gone & COPY_A && is_unsure(super_sector[1])) || (gone & COPY_B && is_unsure(super_sector[0])))
		supers_gone = 0;
	spare_map_load(&map, crash_target.nr_sectors, supers_gone, gone);
	if (map.verdict == MAP_NO_SUPER) {
		state_coverage.unformatted += !gone;
		return no_super_is_right(supers_gone) || wrong(judging, "whole", "the spare has no good superblock");
	}
	if (map.verdict == MAP_REFUSED)
		return refusal_is_right(gone) ||
		       wrong(judging, "whole", "activation is refused: %s (sectors %llu and %llu of the spare)", map.reason,
			     (unsigned long long)map.copy_sector[0], (unsigned long long)map.copy_sector[1]);
	if (!gone) {
		state_coverage.mapped += !!map.nr_mapped;
		state_coverage.pairs += !!map.nr_pairs;
		state_coverage.differing += !!map.nr_differing;
		state_coverage.fenced += !!map.nr_fenced;
		state_coverage.retired += !!map.nr_retired;
		state_coverage.groups += map.nr_groups > 1;
	}
	if (map.ambiguous)
		return wrong(judging, "whole", "block %llu has two entries of one generation",
			     (unsigned long long)map.ambiguous_block);
	for (b = 0; b < map.nr_blocks; b++)
		if (expect_must_map(b) && !map.block[b].slot_sector)
			return wrong(judging, "answered", "block %llu is not mapped, and the message that moved it has answered",
				     (unsigned long long)b);
	for (s = 0; s < crash_target.nr_sectors; s++)
		if (!judge_sector(judging, s))
			return false;
	return true;
}

bool state_judge(char *text, size_t bytes)
{
	struct judging judging = { .text = text, .bytes = bytes };

	for (judging.gone = 0; judging.gone <= COPY_B; judging.gone++)
		if (!judge_view(&judging))
			return false;
	return true;
}

const uint32_t *state_read(void)
{
	static uint32_t *contents;
	uint64_t s;

	if (!contents)
		contents = calloc(crash_target.nr_sectors, sizeof(*contents));
	if (!contents)
		err(EX_OSERR, "memory");
	spare_map_load(&map, crash_target.nr_sectors, 0, 0);
	if (map.verdict != MAP_LOADED)
		return NULL;
	for (s = 0; s < crash_target.nr_sectors; s++)
		if (home_of(s, &contents[s]) == LOST)
			contents[s] = STATE_LOST;
	return contents;
}

bool state_pin(uint32_t position, char *text, size_t bytes)
{
	struct judging judging = { .text = text, .bytes = bytes };
	uint64_t s;

	spare_map_load(&map, crash_target.nr_sectors, 0, 0);
	if (map.verdict != MAP_LOADED)
		return wrong(&judging, "whole", "the target is active, and nothing says how: %s",
			     map.verdict == MAP_NO_SUPER ? "no superblock" : map.reason);
	expect_active();
	for (s = 0; s < crash_target.nr_sectors; s++) {
		uint32_t number;
		enum home home = home_of(s, &number);
		const struct content *content = crash_content(number);

		if (!judge_sector(&judging, s))
			return false;
		if (home != LOST)
			expect_pin(s, content->kind == CONTENT_STAMP ? content->generation : GENERATION_ZERO, position,
				   home == UNREAD);
	}
	return true;
}
