// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The load's random operations, with messages, failing sectors and a power cut among them. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/crash/load.h"
#include "tests/vm/guest/pattern.h"

#define IO_SECTORS 96
#define BAD_SECTORS 24
#define SPOT_SECTORS 8
#define MAIN_SLOTS 6		/* of the recorder's bad ranges; the others are on the spare */
#define BAD_SLOTS 9
#define AFTER_CUT 20		/* operations, so that some are on their way whatever their number */
#define MAX_THREADS 8
#define MAX_SPOTS 64

struct spot {
	uint64_t first;
	uint64_t count;
};

static struct spot spots[MAX_SPOTS];
static unsigned int nr_spots;

static uint64_t nr_sectors, seed, cut_seed;
static int64_t cut_at;			/* operations left; -1: never */
static _Atomic int64_t left;
static _Atomic uint64_t failed, messages;

static unsigned char *busy;		/* sectors that an operation works on */
static pthread_mutex_t busy_lock = PTHREAD_MUTEX_INITIALIZER;

void load_random_spot(uint64_t first, uint64_t count)
{
	if (nr_spots < MAX_SPOTS)
		spots[nr_spots++] = (struct spot){ first, count };
}

/* Two operations never work on one sector. */
static int claim(uint64_t sector, uint64_t count, int value)
{
	int free;

	pthread_mutex_lock(&busy_lock);
	free = !value || !memchr(busy + sector, 1, count);
	if (free)
		memset(busy + sector, value, count);
	pthread_mutex_unlock(&busy_lock);
	return free;
}

static void change_bad(uint64_t *dice)
{
	static uint32_t how[BAD_SLOTS];
	struct crash_mark mark = { .kind = CRASH_MARK_BAD, .slot = pattern_random(dice) % BAD_SLOTS };

	if (how[mark.slot]) {
		how[mark.slot] = 0;
	} else if (mark.slot < MAIN_SLOTS || !nr_spots) {
		mark.disk = CRASH_MAIN;
		mark.nr_sectors = 1 + pattern_random(dice) % BAD_SECTORS;
		mark.first_sector = pattern_random(dice) % (nr_sectors - mark.nr_sectors);
		how[mark.slot] = 1 + pattern_random(dice) % 3;
	} else {
		struct spot spot = spots[pattern_random(dice) % nr_spots];

		mark.disk = CRASH_SPARE;
		mark.nr_sectors = spot.count;
		mark.first_sector = spot.first;
		if (spot.count > SPOT_SECTORS) {
			mark.nr_sectors = 1 + pattern_random(dice) % SPOT_SECTORS;
			mark.first_sector += pattern_random(dice) % (spot.count - mark.nr_sectors);
		}
		how[mark.slot] = pattern_random(dice) % 2 ? CRASH_BAD_WRITE : CRASH_BAD_READ | CRASH_BAD_WRITE;
	}
	mark.how = how[mark.slot];
	load_mark(&mark);
}

static void cut_power(void)
{
	load_mark(&(struct crash_mark){ .kind = CRASH_MARK_CUT, .seed = cut_seed });
	cut_at = -1;
}

static void *send_io(void *argument)
{
	uint64_t number = (uintptr_t)argument;
	uint64_t dice = seed * 1000003 + number;

	while (left-- > 0) {
		uint64_t what = pattern_random(&dice) % 100;
		uint64_t limit = IO_SECTORS >> (pattern_random(&dice) % 6);
		uint64_t count = 1 + pattern_random(&dice) % limit;
		uint64_t sector = pattern_random(&dice) % (nr_sectors - count + 1);
		enum crash_operation operation = what < 55 ? CRASH_OP_WRITE : what < 62 ? CRASH_OP_FUA :
						 what < 65 ? CRASH_OP_ZERO : what < 92 ? CRASH_OP_READ :
						 CRASH_OP_FLUSH;

		if (!number && pattern_random(&dice) % 8 == 0)
			change_bad(&dice);
		if (!number && left < cut_at) {
			cut_power();
			left = AFTER_CUT;
		}
		if (operation == CRASH_OP_FLUSH || operation == CRASH_OP_READ) {
			failed += !!load_operate(operation, sector, operation == CRASH_OP_FLUSH ? 0 : count);
		} else if (claim(sector, count, 1)) {
			failed += !!load_operate(operation, sector, count);
			claim(sector, count, 0);
		}
	}
	return NULL;
}

static void *send_messages(void *argument)
{
	uint64_t dice = seed * 1000003 + 99, next;

	while (left > 0) {
		uint64_t count = 1 + pattern_random(&dice) % (8ull << pattern_random(&dice) % 6);
		uint64_t sector = pattern_random(&dice) % (nr_sectors - count + 1);

		load_say(pattern_random(&dice) % 2 ? CRASH_OP_REMAP : CRASH_OP_RELEASE, sector, count, &next);
		messages++;
	}
	return NULL;
}

void load_random(uint64_t device_sectors, uint64_t dice, uint64_t operations, unsigned int threads, uint64_t power_seed)
{
	pthread_t thread[MAX_THREADS + 1];
	unsigned int i;

	nr_sectors = device_sectors;
	busy = calloc(nr_sectors, 1);
	if (!busy || threads > MAX_THREADS)
		load_die("run");
	seed = dice;
	cut_seed = power_seed;
	cut_at = cut_seed ? (int64_t)(1 + pattern_random(&seed) % operations) : -1;
	left = operations;
	for (i = 0; i <= threads; i++)
		if (pthread_create(&thread[i], NULL, i < threads ? send_io : send_messages, (void *)(uintptr_t)i) != 0)
			load_die("thread");
	for (i = 0; i <= threads; i++)
		pthread_join(thread[i], NULL);
	/* The first thread may have been done too early for it. */
	if (cut_at >= 0)
		cut_power();
	free(busy);
	printf("run: %llu operations and %llu messages, %llu operations failed\n", (unsigned long long)operations,
	       (unsigned long long)messages, (unsigned long long)failed);
}
