/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the recorder writes, the load in the guest marks, and the judge reads; README.md says how they belong together.
 * All three are built and run on one machine: integers are in its byte order.
 *
 * The log is one sequence of records over both disks, in the order in which the disks did what they were asked; the
 * recorder serves one request at a time. The position of a record is its number.
 */
#ifndef TESTS_CRASH_RECORD_H
#define TESTS_CRASH_RECORD_H

#include <stdint.h>

#define CRASH_SECTOR_BYTES 512
#define CRASH_LOG_MAGIC 0x31676f4c68736172ULL	/* the log's first eight bytes */
#define CRASH_MARK_MAGIC 0x6b72614d68736172ULL
#define CRASH_MARKS_SECTORS 8			/* size of the export "marks" */
#define CRASH_BAD_SLOTS 32

enum crash_disk_number {
	CRASH_MAIN,
	CRASH_SPARE,
	CRASH_DISKS,
};

enum crash_kind {
	CRASH_DISK,		/* first content of a disk; main's, then the spare's, before everything else */
	CRASH_WRITE,		/* done, in a volatile cache */
	CRASH_FLUSH,		/* all writes before it are durable */
	CRASH_FAILED_WRITE,	/* answered with an error; nothing of the data was taken */
	CRASH_FAILED_READ,	/* answered with an error; the sectors are those that can't be read */
	CRASH_REVERT,		/* at a power cut: these sectors hold, durably, what they held before */
	CRASH_MARK,		/* data: struct crash_mark */
};

struct crash_record {
	uint32_t kind;
	uint32_t disk;		/* marks: unused */
	uint64_t first_sector;
	uint32_t nr_sectors;
	uint32_t data_bytes;	/* follow */
};

enum crash_bad {
	CRASH_BAD_READ = 1,
	CRASH_BAD_WRITE = 2,
};

/* One sector of the export "marks", written by the guest; what it says holds from the time that it was written. */
enum crash_mark_kind {
	CRASH_MARK_TARGET,	/* the first: nr_sectors is the target's length */
	CRASH_MARK_ACTIVE,	/* the target was made; nothing is under way */
	CRASH_MARK_BEGIN,	/* operation @id starts */
	CRASH_MARK_END,		/* it has ended with @error */
	CRASH_MARK_BAD,		/* to the recorder: range number @slot is these sectors of @disk, and fails as @how says */
	CRASH_MARK_CUT,		/* to the recorder: power off; what is in the caches is kept or lost, as @seed decides */
	CRASH_MARK_ON,		/* to the recorder: power on */
	CRASH_MARK_SCENE,	/* text: for whoever reads of a failure */
	CRASH_MARK_SEEN,	/* what was read of the sectors: generations, or one of the two below */
	CRASH_MARK_COMPLETE,	/* the load got to its end */
};

enum crash_operation {
	CRASH_OP_READ,
	CRASH_OP_WRITE,
	CRASH_OP_FUA,
	CRASH_OP_ZERO,
	CRASH_OP_FLUSH,
	CRASH_OP_REMAP,
	CRASH_OP_RELEASE,
};

#define CRASH_MARK_ROOM 440

struct crash_mark {
	uint64_t magic;
	uint32_t kind;
	uint32_t operation;	/* BEGIN and END */
	uint64_t id;		/* never used twice in one log */
	uint64_t first_sector;
	uint64_t nr_sectors;	/* END of a message: as far as it got */
	uint32_t generation;	/* of the data of a write */
	uint32_t error;		/* errno; 0: acknowledged */
	uint32_t unread_sectors;	/* END of a remap message: its answer */
	uint32_t disk;
	uint32_t slot;
	uint32_t how;		/* enum crash_bad; 0: good again */
	uint64_t seed;
	union {
		char text[CRASH_MARK_ROOM];
		uint32_t seen[CRASH_MARK_ROOM / sizeof(uint32_t)];
	};
};

#define CRASH_SEEN_ERROR UINT32_MAX
#define CRASH_SEEN_WRONG (UINT32_MAX - 1)

_Static_assert(sizeof(struct crash_mark) == CRASH_SECTOR_BYTES, "a mark is one sector");

#endif
