/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Judges one state, what the disks hold now, by the rules of README.md. */
#ifndef TESTS_CRASH_STATE_H
#define TESTS_CRASH_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_LOST UINT32_MAX

/* What was met in the states that were judged, so that a test can tell that it tried something. */
struct state_coverage {
	uint64_t mapped;		/* states with mappings, ... */
	uint64_t pairs;
	uint64_t differing;
	uint64_t fenced;
	uint64_t retired;
	uint64_t unread;
	uint64_t lost;
	uint64_t groups;		/* more than one */
	uint64_t unformatted;
};

extern struct state_coverage state_coverage;

/*
 * True if the state holds what it must, as it is and with either copy of all metadata unreadable; else a line that
 * names the rule and says what is wrong is in @text.
 */
bool state_judge(char *text, size_t bytes);

/*
 * What an activation of this state reads: the content of each sector, or STATE_LOST. The array is reused. NULL: it is
 * refused.
 */
const uint32_t *state_read(void);

/*
 * The target is active on this state: what it holds is the only right answer from @position on. False: it can't be, as
 * @text says.
 */
bool state_pin(uint32_t position, char *text, size_t bytes);

#endif
