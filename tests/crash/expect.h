/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What each sector may hold after a power cut, from what the load asked for and what was acknowledged to it.
 *
 * A sector's values are those of the operations on it, oldest first (no two work on one sector at once). The first is
 * the newest that is durable: by FUA, by a flush that began after it was acknowledged, or because it was rescued.
 * Everything behind it may or may not have got there. A sector may be unread or lost only if the disk failed to read it
 * after that first value was asked for.
 */
#ifndef TESTS_CRASH_EXPECT_H
#define TESTS_CRASH_EXPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/crash/disks.h"

struct crash_target {
	uint64_t nr_sectors;		/* 0: none yet */
	bool formatted;
};

extern struct crash_target crash_target;

/* The target, on a main full of zeros. */
void expect_target(const struct crash_mark *mark);

/* The target was made: what a power cut tore is whole again. expect_pin() follows for each sector. */
void expect_active(void);

/*
 * From now on @sector holds this and nothing else. @unread: and is unread, for a reason that may be older than
 * @position.
 */
void expect_pin(uint64_t sector, uint32_t generation, uint32_t position, bool unread);

/* Marks of operations, and what the disks were seen to do. @position: of the record. */
void expect_mark(const struct crash_mark *mark, uint32_t position);
void expect_record(uint32_t position);

/*
 * A power cut, before crash_settle(): what was under way is over. Which values there are then is settled by the next
 * activation; until that is through, no flush makes any of them durable.
 */
void expect_cut(void);

/*
 * The state that the power cut left was judged: what it tore counts as one fault now, and another one may come on top.
 * Before crash_settle().
 */
void expect_after_cut(void);

/* May the target have answered this for @sector (a generation, or one of CRASH_SEEN_*) while nothing was under way? */
bool expect_allows_seen(uint64_t sector, uint32_t seen);

/* May @sector hold this, may it have no value, must @block be mapped? */
bool expect_allows(uint64_t sector, const struct content *content);
bool expect_allows_unread(uint64_t sector);
bool expect_allows_lost(uint64_t sector);
bool expect_must_map(uint64_t block);

/* Was a write of this sector of the spare refused, or cut, since it last took one? Then nobody knows what it holds. */
bool expect_unsure(uint64_t spare_sector);

/* The values that @sector may hold, in words; oldest first, and not all if there are many. */
const char *expect_text(uint64_t sector, char *text, size_t bytes);

#endif
