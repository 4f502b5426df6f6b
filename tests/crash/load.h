/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef TESTS_CRASH_LOAD_H
#define TESTS_CRASH_LOAD_H

#include <stdint.h>

#include "tests/crash/record.h"

/* Ends the program with what errno says of @what. */
void load_die(const char *what);

void load_mark(const struct crash_mark *mark);

/* One operation between its marks. Returns its errno. */
int load_operate(enum crash_operation operation, uint64_t sector, uint64_t count);

/* One message between its marks. Returns its errno; *@next: where to go on. */
int load_say(enum crash_operation operation, uint64_t sector, uint64_t count, uint64_t *next);

/* A place of the spare where load_random() may let sectors fail. */
void load_random_spot(uint64_t first, uint64_t count);

/*
 * @operations random ones from @threads threads, each chosen by @dice, and messages beside them. @power_seed: if not 0, the
 * power is cut on the way.
 */
void load_random(uint64_t device_sectors, uint64_t dice, uint64_t operations, unsigned int threads, uint64_t power_seed);

#endif
