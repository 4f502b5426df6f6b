// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What happened to a sector, and the end of a run that found something. */
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "tests/vm/guest/torture.h"

#define RANGE_SECTORS 64u
#define RING 32u	/* operations kept for each range, and of those that concern no sector */
#define THREADS_MAX 64u

struct ring {
	struct op op[RING];
	unsigned int next;
};

static struct ring *rings; /* the last is for operations without sectors */
static uint64_t ranges;
static struct op current[THREADS_MAX];

const char *kind_name(enum kind kind)
{
	static const char *const names[KINDS] = {
		[READ] = "read", [READ_CACHED] = "cached read", [READ_NOWAIT] = "nowait read",
		[WRITE] = "write", [WRITE_FUA] = "fua write", [WRITE_CACHED] = "cached write",
		[WRITE_NOWAIT] = "nowait write", [ZERO] = "zero", [PUNCH] = "punch", [DISCARD] = "discard",
		[FLUSH] = "flush", [REMAP] = "remap", [RELEASE] = "release", [ASK] = "ask",
		[SUSPEND] = "suspend", [RELOAD] = "reload", [SET] = "set", [FAULT_MAIN] = "main",
		[FAULT_SPARE] = "spare", [OUTAGE] = "outage", [SLOW] = "slow",
	};

	return names[kind];
}

void report_init(void)
{
	ranges = (t.sectors + RANGE_SECTORS - 1) / RANGE_SECTORS;
	rings = calloc(ranges + 1, sizeof(*rings));
	if (!rings)
		give_up(EX_OSERR, "out of memory");
}

static void remember(struct ring *ring, const struct op *op)
{
	ring->op[ring->next++ % RING] = *op;
}

/* Under the model's lock. */
void report_remember(const struct op *op)
{
	uint64_t i;

	if (!op->count) {
		remember(&rings[ranges], op);
		return;
	}
	for (i = op->sector / RANGE_SECTORS; i <= (op->sector + op->count - 1) / RANGE_SECTORS; i++)
		remember(&rings[i], op);
}

void report_ended(struct op *op)
{
	op->end = model_stamp();
	model_lock();
	report_remember(op);
	model_unlock();
}

void report_current(unsigned int thread, const struct op *op)
{
	model_lock();
	if (op)
		current[thread] = *op;
	else
		current[thread].number = 0;
	model_unlock();
}

static void print_op(const struct op *op)
{
	const char *error = op->error ? strerrorname_np(op->error) : "";

	printf("  @%-9llu @%-9llu op %-8u thread %-2u %-12s", (unsigned long long)op->start,
	       (unsigned long long)op->end, op->number, op->thread, kind_name(op->kind));
	if (op->count)
		printf(" %llu+%llu", (unsigned long long)op->sector, (unsigned long long)op->count);
	printf(" %s %s%s\n", op->note, error ? error : "error", op->end ? "" : "(under way)");
}

static int by_start(const void *a, const void *b)
{
	uint64_t x = (*(const struct op *const *)a)->start, y = (*(const struct op *const *)b)->start;

	return x < y ? -1 : x > y;
}

/* The page of the sector, since blocks move as a whole. */
static bool touches(const struct op *op, int64_t sector)
{
	uint64_t first = sector / PAGE_SECTORS * PAGE_SECTORS;

	return op->number && (!op->count || (first + PAGE_SECTORS > op->sector && first < op->sector + op->count));
}

static void print_history(int64_t sector)
{
	const struct op *list[2 * RING + THREADS_MAX];
	unsigned int i, nr = 0;

	for (i = 0; i < RING; i++) {
		if (sector >= 0 && touches(&rings[sector / RANGE_SECTORS].op[i], sector))
			list[nr++] = &rings[sector / RANGE_SECTORS].op[i];
		if (rings[ranges].op[i].number)
			list[nr++] = &rings[ranges].op[i];
	}
	for (i = 0; i < THREADS_MAX; i++)
		if (current[i].number && (sector < 0 || touches(&current[i], sector)))
			list[nr++] = &current[i];
	qsort(list, nr, sizeof(list[0]), by_start);
	printf("operations on its 4 KiB and on the whole device; @begin, @end:\n");
	for (i = 0; i < nr; i++)
		print_op(list[i]);
}

/* What one sector of a disk holds now, past everything. */
static void print_raw(const char *what, const char *devno, uint64_t sector)
{
	void *buffer = aligned_alloc(PAGE_SECTORS * SECTOR_BYTES, PAGE_SECTORS * SECTOR_BYTES);
	unsigned int in_unit = sector % t.unit_sectors;
	int fd = dm_open_disk(devno);
	char text[128];

	printf("  %s at sector %llu: ", what, (unsigned long long)sector);
	if (fd < 0 || !buffer ||
	    pread(fd, buffer, t.unit_sectors * SECTOR_BYTES, (sector - in_unit) * SECTOR_BYTES) < 0)
		printf("%m\n");
	else
		printf("%s\n", pattern_describe((char *)buffer + in_unit * SECTOR_BYTES, text, sizeof(text)));
}

static void print_home(uint64_t sector)
{
	struct run run;

	print_raw("main", t.main_dev, t.main_offset + sector);
	if (!admin_find_run(sector, &run) || sector < run.sector || sector >= run.sector + run.count) {
		printf("  not mapped now\n");
		return;
	}
	printf("  mapped now: %s", dm_answer);
	print_raw("spare", t.spare_dev, run.spare_sector + (sector - run.sector));
}

static void print_device(void)
{
	printf("dmsetup table: %s\n", dm_status(t.name, true) ? "?" : dm_answer);
	printf("dmsetup status: %s\n", dm_status(t.name, false) ? "?" : dm_answer);
}

static _Noreturn void end_of_run(int status)
{
	fflush(stdout);
	/* The files could not be closed while the device is suspended. */
	if (!t.plain && t.name)
		admin_stop();
	_exit(status);
}

/* Only one thread gets to speak; the caller may hold the model's lock or not. */
static void only_one(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&lock);
	/* If the device hangs now, what was said so far has to do. */
	alarm(30);
}

void mismatch(const struct op *op, int64_t sector, const char *format, ...)
{
	va_list args;

	only_one();
	printf("MISMATCH seed %llu, operation %u (%s %llu+%llu)", (unsigned long long)t.seed, op->number,
	       kind_name(op->kind), (unsigned long long)op->sector, (unsigned long long)op->count);
	if (sector >= 0)
		printf(", sector %lld", (long long)sector);
	printf(": ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	if (sector >= 0)
		model_describe(sector);
	print_op(op);
	print_history(sector);
	fflush(stdout);
	if (!t.plain) {
		print_device();
		fflush(stdout);
		if (sector >= 0)
			print_home(sector);
	}
	end_of_run(2);
}

void give_up(int status, const char *format, ...)
{
	va_list args;

	only_one();
	printf("torture: seed %llu: ", (unsigned long long)t.seed);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	if (rings)
		print_history(-1);
	if (!t.plain && t.name) {
		fflush(stdout);
		print_device();
	}
	end_of_run(status);
}
