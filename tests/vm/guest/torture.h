/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the parts of "torture" know of each other:
 *
 *	torture.c		options, threads, which operation comes next
 *	torture-io.c		operations on the device: reads, writes, zeroes, discards, flushes
 *	torture-model.c		what each sector may hold, and whether reading it may fail
 *	torture-admin.c		messages, suspend, resume, reload, and the checks at the end
 *	torture-faults.c	regions of main and spare that turn bad, slow and good again
 *	torture-report.c	what happened to a sector; the verdict
 *	torture-dm.c		device-mapper's ioctls
 *
 * Sectors are 512 bytes and of the device under test, unless a name says main or spare. Time is a stamp: a number that
 * one counter gives to each event, so that "before" and "after" mean something between threads.
 */
#ifndef TESTS_VM_GUEST_TORTURE_H
#define TESTS_VM_GUEST_TORTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/vm/guest/pattern.h"

#define MAX_IO_SECTORS 2048u
#define PAGE_SECTORS 8u
#define FILL_GENERATION 1 /* of the first filling; an operation's number is the generation that it writes */
#define DM_TEXT_BYTES 65536

/* What is told of them in reports is in torture-report.c, how often each comes in torture.c. */
enum kind {
	READ,
	READ_CACHED,
	READ_NOWAIT,
	WRITE,
	WRITE_FUA,
	WRITE_CACHED,
	WRITE_NOWAIT,
	ZERO,
	PUNCH,
	DISCARD,
	FLUSH,
	REMAP,
	RELEASE,
	ASK,
	SUSPEND,
	RELOAD,
	SET,
	FAULT_MAIN,
	FAULT_SPARE,
	OUTAGE,
	SLOW,
	KINDS
};

/* One operation of one thread. */
struct op {
	uint32_t number;
	unsigned int thread;
	enum kind kind;
	bool shared;		/* others that say so too may work on the same sectors meanwhile */
	uint64_t sector;
	uint64_t count;
	uint64_t start;		/* stamps; end is 0 while it runs */
	uint64_t end;
	uint32_t generation;
	int error;		/* errno */
	char note[48];
	uint64_t random;	/* where its decisions come from */
};

struct torture {
	uint64_t seed;
	uint64_t sectors;
	unsigned int unit_sectors;	/* least I/O */
	unsigned int fails_sectors;	/* a bad sector takes along its neighbours in this unit */
	uint64_t quiet_sectors;		/* from 0 on: nothing turns bad, nothing moves */
	_Atomic uint64_t still_quiet;	/* so many of them: what is written while all of main is away moves */
	const char *name;		/* of the device-mapper device under test */
	char path[64];
	bool plain;			/* not a remap device */
	const char *main_null;		/* null_blk disk below main: where badblocks are set */
	const char *spare_null;
	const char *slow;		/* device-mapper device between main and its disk */
	uint64_t main_offset, spare_offset;
	char main_dev[32], spare_dev[32];	/* "major:minor" */
	uint64_t main_sectors, spare_sectors;	/* of the disks */
};

extern struct torture t;

/* torture.c */

/* A number below @limit, from the operation's own decisions. */
uint64_t choose(struct op *op, uint64_t limit);
bool chance(struct op *op, unsigned int percent);

/* Until others have ended so many operations, or so many seconds have passed. */
void wait_for_operations(unsigned int number, unsigned int seconds);

/* Until what the other threads are at now has ended. */
void wait_for_turns(unsigned int thread);

/* torture-model.c */

enum health { GOOD, MAYBE, BAD };
enum device { MAIN, SPARE };
enum may_fail { NEVER, LATER_NOT, YES };

void model_init(void);

/*
 * Makes the range the operation's own, or shares it with others that agree to share. Writes enter what they are
 * about to write. False: taken, try elsewhere.
 */
bool model_claim(struct op *op);
void model_let_go(struct op *op);

/* The operation starts now (again): what a read may see and whether it may fail is counted from here. */
void model_start(struct op *op);

/* What was written is on the device, or (op->error) may be. Each sector by itself. */
void model_written(struct op *op);

/* The same of a discard, which may leave the old data or zeros. */
void model_discarded(struct op *op);

/* Judges what was read. A mismatch ends the run. */
void model_read(struct op *op, const void *data);

/*
 * May a read of the range that began at @start have failed? LATER_NOT: yes, but only because sectors of it may be
 * waiting for another attempt, so it has to succeed in a while.
 */
enum may_fail model_may_fail(uint64_t sector, uint64_t count, uint64_t start);

/* Has the range been good on both devices since @start, and has nothing of it to be made up for? */
bool model_is_whole(uint64_t sector, uint64_t count, uint64_t start);

/*
 * A range is (going to be) bad, good, or in between, on its way from one to the other. For SPARE: the sectors of the device
 * under test that live there now.
 */
void model_health(enum device device, uint64_t sector, uint64_t count, enum health health);

/* The spare is away, or was a moment ago: writes may fail. */
void model_writes_may_fail(bool may);
bool model_may_write_fail(const struct op *op);

/* The next sector from @sector on that may be lost; the size of the device if there is none. */
uint64_t model_next_lost(uint64_t sector);
bool model_is_good(enum device device, uint64_t sector, uint64_t count);

/* Prints what is expected of a sector. Caller holds the model's lock (it is called from a mismatch). */
void model_describe(uint64_t sector);

uint64_t model_stamp(void);
void model_lock(void);
void model_unlock(void);

/* torture-report.c */

void report_init(void);

/* Remembers an operation for the sectors that it touched. Called as it ends, under the model's lock. */
void report_remember(const struct op *op);

/* Ends an operation that the model knows nothing of, and remembers it. */
void report_ended(struct op *op);

/* What each thread is at now. */
void report_current(unsigned int thread, const struct op *op);

/* Ends the run: prints the message, what happened to @sector (or -1) and what the device says of itself. */
__attribute__((noreturn, format(printf, 3, 4))) void mismatch(const struct op *op, int64_t sector, const char *format,
							      ...);
__attribute__((noreturn, format(printf, 2, 3))) void give_up(int status, const char *format, ...);
const char *kind_name(enum kind kind);

/* torture-io.c */

struct files {
	int direct;
	int cached;
	char *buffer;		/* MAX_IO_SECTORS and a page more */
	uint64_t offset_sectors;	/* where the data begins in what "direct" is */
};

void files_open(struct files *files);
void io_run(struct files *files, struct op *op);

/* No cached write is under way while it is held. */
void io_hold_cached_writes(bool hold);

/* Writes the first data of all sectors; reads and judges all of them. */
void io_fill(struct files *files);
void io_check_all(struct files *files);

/* Writes what may be lost. */
void io_heal(struct files *files);

/* torture-admin.c */

void admin_init(void);
void admin_run(struct op *op);

/* Nothing moves by message while it is held. */
void admin_hold_map(bool hold);

/* No suspend, no reload meanwhile. False: one is under way. */
bool admin_hold_table(bool hold);

/* The same, with the device suspended: nothing moves at all, and all I/O waits. */
bool admin_suspend(void);
void admin_resume(void);

/* A run of mapped blocks, the first from @from on; dm_answer has the line. */
struct run {
	uint64_t sector, count, spare_sector;
	uint64_t troubled;	/* sectors that are unread or lost */
};
bool admin_find_run(uint64_t from, struct run *run);

/* A sector of the spare in a slot in which no block lives; 0: none found. The device is suspended. */
uint64_t admin_find_free(struct op *op);
uint64_t admin_free_blocks(void);

/*
 * Until the device is done with what it was at when this was called. It may have seen as bad what is good now, and note
 * sectors as unread that can be read, even while others read them.
 */
void admin_wait_for_engine(void);

/* The spare is back: makes the device find that out. */
void admin_settle(struct op *op);

/* After the last operation, all devices being good again: the map, the data, and main alone. */
void admin_final_checks(struct files *files);

/* The run ends: whoever suspended the device, it works again and is not suspended any more. */
void admin_stop(void);

/* torture-faults.c */

void faults_init(void);
void faults_run(struct op *op);
void faults_end(void);

/* Where bad regions are likely: I/O is drawn there. */
uint64_t faults_spot(struct op *op);

/* torture-dm.c: 0 or an errno. What was answered is in dm_answer, of each thread its own. */

extern __thread char dm_answer[DM_TEXT_BYTES];

__attribute__((format(printf, 2, 3))) int dm_message(const char *name, const char *format, ...);
int dm_status(const char *name, bool table);
int dm_load(const char *name, const char *lines);
int dm_suspend(const char *name, bool noflush);
int dm_resume(const char *name, bool noflush);

/* A disk by "major:minor", for reading past the page cache; -1 and errno. */
int dm_open_disk(const char *devno);

#endif
