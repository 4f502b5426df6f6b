/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A recorded log, and what the disks in it hold after any part of it. Sectors are not bytes here but numbers of
 * contents, so that thousands of states cost little: each sector that was ever written is looked at once.
 *
 * A write is in its disk's window until a flush of that disk has come after it. In a state each write of the window
 * may be left out, or only some of its sectors kept; those that are kept took effect in their order.
 */
#ifndef TESTS_CRASH_DISKS_H
#define TESTS_CRASH_DISKS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/record.h"

enum content_kind {
	CONTENT_ZERO,
	CONTENT_STAMP,		/* whole data that the load wrote, of a sector and generation */
	CONTENT_OTHER,
};

struct content {
	const unsigned char *data;
	uint64_t sector;
	uint32_t generation;
	enum content_kind kind;
};

struct crash_disk {
	uint64_t nr_sectors;
	uint32_t *now;			/* contents, with all of the window */
	uint32_t *durable;		/* without */
	uint32_t *window;		/* records */
	uint32_t nr_window;
	uint32_t window_size;
};

struct log_record {
	struct crash_record head;
	const unsigned char *data;
	uint32_t content;		/* of its first sector; the others follow */
};

extern struct crash_disk crash_disks[CRASH_DISKS];
extern struct log_record *crash_log;
extern uint32_t nr_crash_log;

/* Reads a whole log. @seed: of the load's data. Ends the program with a line if it is none. */
void crash_log_read(const char *path, uint64_t seed);

const struct content *crash_content(uint32_t number);

/* Is record @number a mark? Copies it to *@mark. */
bool crash_mark_at(uint32_t number, struct crash_mark *mark);

/* Both disks as they were when recording began. */
void crash_restart(void);

/* Lets the record happen. Marks and failures change nothing. */
void crash_apply(uint32_t number);

/* After a power cut: what is there now is durable. */
void crash_settle(void);

/* Is there a write to any of these sectors that no flush covers? */
bool crash_in_window(enum crash_disk_number disk, uint64_t first, uint32_t nr_sectors);

/* A write of a disk's window of which not all is kept. */
struct crash_drop {
	uint32_t disk;
	uint32_t index;			/* in the window */
	enum {
		DROP_ALL,
		DROP_TAIL,		/* the first @argument sectors are kept */
		DROP_HEAD,		/* the others are */
		DROP_SOME,		/* some are; @argument is the seed */
		DROP_HALF,		/* as TAIL, and half of the bytes of the next sector */
	} how;
	uint64_t argument;
};

/* Changes what the disks hold now to the state without these; crash_undo() brings it back. */
void crash_drop(const struct crash_drop *drops, unsigned int nr);
void crash_undo(void);

#endif
