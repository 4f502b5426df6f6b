// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The knobs of the policy file, their defaults, and the policy in force as YAML. No I/O; see
 * policy_knobs.h.
 */
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "loader/policy_file.h"
#include "loader/policy_knobs.h"

#define MS 1e6
#define S  1e9
#define H  3600e9

#define KNOB(section, name, type, field, scale, value, min, max, or_zero, top_only, help)          \
	{                                                                                          \
		section, name, POLICY_KNOB_##type, offsetof(struct policy_settings, field), scale, \
			value, min, max, or_zero, top_only, help                                   \
	}
#define COUNT(section, name, field, value, min, max, help) \
	KNOB(section, name, COUNT, field, 1, value, min, max, false, false, help)
#define REAL(section, name, field, value, min, max, help) \
	KNOB(section, name, REAL, field, 1, value, min, max, false, false, help)
#define TIME(section, name, unit, field, value, min, max, help) \
	KNOB(section, name, TIME, field, unit, value, min, max, false, false, help)

/* Sections stand together; the order is that of the printed policy. */
const struct policy_knob policy_knobs[] = {
	KNOB("", "mode", MODE, mode, 1, POLICY_OBSERVE, POLICY_OFF, POLICY_ACT, false, false,
	     "off, observe (say what would be moved) or act"),

	TIME("slow", "min_ms", MS, health.slow_min_ns, 50, 0.01, 60000,
	     "no I/O below this is slow"),
	REAL("slow", "median_factor", health.slow_median_factor, 8, 1, 1000,
	     "slow is above so many times the median of the device's last hour"),
	REAL("slow", "p99_factor", health.slow_p99_factor, 2, 0.1, 1000,
	     "and above so many times its p99, up to twice the rule of the median"),

	COUNT("evidence", "table_extents", health.table_extents, 4096, 64, 65536,
	      "most extents of a device that carry evidence at once"),
	REAL("evidence", "recurrence", health.recurrence, 2, 2, 1000,
	     "anomalies of an extent before evidence counts"),
	TIME("evidence", "incident_gap_s", S, health.incident_gap_ns, 10, 0, 86400,
	     "anomalies of an extent closer together are one"),
	TIME("evidence", "stall_gap_ms", MS, health.stall_gap_ns, 200, 1, 10000,
	     "a stall is over when nothing slow completed for so long"),
	REAL("evidence", "half_life_visits", health.half_life_visits, 16, 0.1, 1e6,
	     "evidence halves in so many reads of its extent"),
	TIME("evidence", "half_life_floor_h", H, health.half_life_floor_ns, 24, 0.001, 87600,
	     "but never in less time than this"),
	REAL("evidence", "suspect_risk", health.suspect_risk, 0.004, 1e-9, 1,
	     "chance of loss in 7 days from which an extent is shown as suspect"),

	COUNT("reread", "confirmations", confirmations, 2, 0, 1000,
	      "re-reads that must be slow or fail before a move; 0: none"),
	TIME("reread", "interval_s", S, health.reread_interval_ns, 30, 0.01, 86400,
	     "least time between re-reads of one extent"),
	COUNT("reread", "max", health.reread_max, 8, 1, 1000,
	      "re-reads that one anomaly may ask for"),
	COUNT("reread", "per_hour", rereads_per_hour, 240, 0, POLICY_RATE_MAX,
	      "re-reads of one device an hour; 0: none"),

	REAL("cost", "lost_sector", cost_lost_sector, 100, 1e-6, 1e12, "of losing a sector"),
	REAL("cost", "expected_lost_sectors", expected_lost_sectors, 8, 1, 1e6,
	     "sectors that are lost where an extent fails"),
	REAL("cost", "move", cost_move, 1, 0, 1e12, "of moving an extent that was healthy"),
	REAL("cost", "spare", cost_spare, 2, 0, 1e12,
	     "of an extent of an empty spare; divided by the share that is free"),

	COUNT("caps", "relocations_per_hour", relocations_per_hour, 10, 0, POLICY_RATE_MAX,
	      "extents of one device that may be moved in an hour; 0: none"),
	REAL("caps", "spare_reserve_percent", spare_reserve_percent, 25, 0, 100,
	     "of the spare that is kept for the rescue of failed I/O"),
	KNOB("caps", "devices_at_once", COUNT, devices_at_once, 1, 1, 1, 1024, false, true,
	     "devices that may be moved from within one hour"),

	TIME("guards", "fresh_boot_s", S, fresh_boot_ns, 600, 0, 86400,
	     "no moves this soon after boot"),
	TIME("guards", "baseline_s", S, health.baseline_ns, 300, 0, 31536000,
	     "errors this soon after a device is first seen are old and known; no moves meanwhile"),
	KNOB("guards", "several_disks", COUNT, several_disks, 1, 2, 2, 1024, true, false,
	     "no moves while so many devices degrade at once; 0: off"),
	TIME("guards", "dropped_events_s", S, dropped_events_ns, 60, 0, 86400,
	     "no moves this soon after events were lost"),
	KNOB("guards", "device_slow_factor", REAL, health.device_slow_factor, 1, 4, 1, 1000, true,
	     false,
	     "a device is slow as a whole at so many times its last hour's median; 0: never"),
	TIME("guards", "device_slow_hold_s", S, health.device_slow_hold_ns, 60, 0, 86400,
	     "and is not judged for so long after"),
};
const size_t policy_knob_count = sizeof(policy_knobs) / sizeof(policy_knobs[0]);

void policy_knob_set(const struct policy_knob *knob, struct policy_settings *settings, double value)
{
	void *field = (char *)settings + knob->offset;

	switch (knob->type) {
	case POLICY_KNOB_MODE:
		*(enum policy_mode *)field = (enum policy_mode)value;
		break;
	case POLICY_KNOB_COUNT:
		*(uint32_t *)field = (uint32_t)value;
		break;
	case POLICY_KNOB_REAL:
		*(double *)field = value;
		break;
	case POLICY_KNOB_TIME:
		*(uint64_t *)field = (uint64_t)llround(value * knob->scale);
		break;
	}
}

double policy_knob_get(const struct policy_knob *knob, const struct policy_settings *settings)
{
	const void *field = (const char *)settings + knob->offset;

	switch (knob->type) {
	case POLICY_KNOB_MODE:
		return *(const enum policy_mode *)field;
	case POLICY_KNOB_COUNT:
		return *(const uint32_t *)field;
	case POLICY_KNOB_TIME:
		return *(const uint64_t *)field / knob->scale;
	case POLICY_KNOB_REAL:
		break;
	}
	return *(const double *)field;
}

void policy_default(struct policy *p)
{
	size_t i;

	memset(p, 0, sizeof(*p));
	health_options_default(&p->settings.health);
	for (i = 0; i < policy_knob_count; i++)
		policy_knob_set(&policy_knobs[i], &p->settings, policy_knobs[i].value);
}

/* ---- the policy as YAML ---- */

struct page {
	char *text;
	size_t len, at;
};

static __attribute__((format(printf, 2, 3))) void put(struct page *p, const char *format, ...)
{
	size_t room = p->at < p->len ? p->len - p->at : 0;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(room ? p->text + p->at : NULL, room, format, args);
	va_end(args);
	if (n > 0)
		p->at += n;
}

static void put_settings(struct page *p, const struct policy_settings *s, const char *indent,
			 bool top)
{
	const char *section = "";
	size_t i;

	for (i = 0; i < policy_knob_count; i++) {
		const struct policy_knob *k = &policy_knobs[i];
		double value = policy_knob_get(k, s);

		if (k->top_only && !top)
			continue;
		if (strcmp(k->section, section) != 0) {
			section = k->section;
			put(p, "%s%s:\n", indent, section);
		}
		put(p, "%s%s%s: ", indent, *section ? "  " : "", k->name);
		if (k->type == POLICY_KNOB_MODE)
			put(p, "%s", policy_mode_name(s->mode));
		else
			put(p, "%.15g", value);
		put(p, "\t# %s\n", k->help);
	}
}

static void put_pattern(struct page *p, const char *name, const char *pattern, bool *first)
{
	if (!*pattern)
		return;
	put(p, "%s%s: \"", *first ? "" : ", ", name);
	for (; *pattern; pattern++)
		put(p, "%s%c", *pattern == '"' || *pattern == '\\' ? "\\" : "", *pattern);
	put(p, "\"");
	*first = false;
}

size_t policy_to_yaml(const struct policy *policy, char *text, size_t len)
{
	struct page p = { text, len, 0 };
	locale_t ours = newlocale(LC_ALL_MASK, "C", (locale_t)0), theirs = (locale_t)0;
	size_t i;

	/* A decimal point, whatever the caller's language writes. */
	if (ours)
		theirs = uselocale(ours);
	if (len)
		*text = '\0';
	put(&p, "version: %d\n", POLICY_VERSION);
	put_settings(&p, &policy->settings, "", true);
	put(&p, "devices:%s\n", policy->rules ? "" : " []");
	for (i = 0; i < policy->rules; i++) {
		const struct policy_match *m = &policy->rule[i].match;
		bool first = true;

		put(&p, "- match: {");
		put_pattern(&p, "dm_name", m->dm_name, &first);
		put_pattern(&p, "kernel_name", m->kernel_name, &first);
		put_pattern(&p, "wwn", m->wwn, &first);
		put_pattern(&p, "serial", m->serial, &first);
		put(&p, "}\n");
		put_settings(&p, &policy->rule[i].settings, "  ", false);
	}
	if (ours) {
		uselocale(theirs);
		freelocale(ours);
	}
	return p.at;
}
