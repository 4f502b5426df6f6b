/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every knob of the policy file, in one table: where it stands, what it means, its unit, default
 * and range. Defaults, checks, the printed policy and the test of the documentation all come from
 * it.
 */
#ifndef REMAP_POLICY_KNOBS_H
#define REMAP_POLICY_KNOBS_H

#include "loader/policy.h"

enum policy_knob_type {
	POLICY_KNOB_MODE,  /* off, observe, act */
	POLICY_KNOB_COUNT, /* whole number -> uint32_t */
	POLICY_KNOB_REAL,  /* number -> double */
	POLICY_KNOB_TIME,  /* number, times scale -> uint64_t nanoseconds */
};

struct policy_knob {
	const char *section; /* "" for the top level */
	const char *name;    /* carries its unit */
	enum policy_knob_type type;
	size_t offset;	 /* in struct policy_settings */
	double scale;	 /* TIME: nanoseconds of one unit */
	double value;	 /* default, in the file's unit */
	double min, max; /* in the file's unit, both allowed */
	bool or_zero;	 /* 0 is allowed as well, below min: it means "off" */
	bool top_only;	 /* not in a device's rule */
	const char *help;
};

extern const struct policy_knob policy_knobs[];
extern const size_t policy_knob_count;

/*
 * Writes value, in the file's unit and within the knob's range, to the settings; and reads it back.
 */
void policy_knob_set(const struct policy_knob *knob, struct policy_settings *settings,
		     double value);
double policy_knob_get(const struct policy_knob *knob, const struct policy_settings *settings);

#endif
