// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* May we act? Pure; see policy.h. */
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "loader/policy.h"

#define NS_PER_S      1000000000ULL
#define HOUR_NS	      (3600 * NS_PER_S)
#define EVIDENCE_NONE 1e-3 /* below it nothing is worth a word */

/* ---- which device ---- */

static bool matches_one(const char *pattern, const char *name)
{
	return !*pattern || (name && *name && fnmatch(pattern, name, 0) == 0);
}

static bool matches(const struct policy_match *m, const struct policy_identity *id)
{
	return matches_one(m->dm_name, id->dm_name) &&
	       matches_one(m->kernel_name, id->kernel_name) && matches_one(m->wwn, id->wwn) &&
	       matches_one(m->serial, id->serial);
}

bool policy_select(const struct policy *p, const struct policy_identity *id,
		   struct policy_settings *settings)
{
	size_t i;

	for (i = 0; i < p->rules; i++)
		if (matches(&p->rule[i].match, id)) {
			*settings = p->rule[i].settings;
			return settings->mode != POLICY_OFF;
		}
	*settings = p->settings;
	return settings->mode != POLICY_OFF && id->dm_name && *id->dm_name;
}

/* ---- what was done lately ---- */

static void book(uint64_t *ring, uint32_t *head, uint32_t *count, uint64_t now_ns)
{
	ring[*head] = now_ns;
	*head = (*head + 1) % POLICY_RATE_MAX;
	if (*count < POLICY_RATE_MAX)
		++*count;
}

void policy_book_relocation(struct policy_budget *budget, uint64_t now_ns)
{
	book(budget->relocated_ns, &budget->relocated_head, &budget->relocated_count, now_ns);
}

void policy_book_reread(struct policy_budget *budget, uint64_t now_ns)
{
	book(budget->reread_ns, &budget->reread_head, &budget->reread_count, now_ns);
}

/*
 * How many of the ring lie within the last hour; the earliest of the last few of them, if wanted,
 * in *nth_ns.
 */
static uint32_t last_hour(const uint64_t *ring, uint32_t head, uint32_t count, uint64_t now_ns,
			  uint32_t few, uint64_t *nth_ns)
{
	uint32_t n;

	for (n = 0; n < count; n++) {
		uint64_t at_ns = ring[(head + POLICY_RATE_MAX - 1 - n) % POLICY_RATE_MAX];

		if (at_ns + HOUR_NS <= now_ns)
			break;
		if (nth_ns && n + 1 == few)
			*nth_ns = at_ns;
	}
	return n;
}

uint32_t policy_relocations_last_hour(const struct policy_budget *b, uint64_t now_ns)
{
	return last_hour(b->relocated_ns, b->relocated_head, b->relocated_count, now_ns, 0, NULL);
}

uint32_t policy_rereads_last_hour(const struct policy_budget *b, uint64_t now_ns)
{
	return last_hour(b->reread_ns, b->reread_head, b->reread_count, now_ns, 0, NULL);
}

bool policy_acting(const struct policy_budget *budget, uint64_t now_ns)
{
	return policy_relocations_last_hour(budget, now_ns) > 0;
}

/* ---- guards ---- */

struct question {
	const struct policy_settings *settings;
	const struct health_extent *extent;
	const struct policy_state *state;
	const struct policy_budget *budget; /* may be NULL */
	uint64_t now_ns;
};

static __attribute__((format(printf, 4, 5))) void answer(struct policy_guard_result *r, bool passed,
							 uint64_t until_ns, const char *format, ...)
{
	va_list args;

	r->passed = passed;
	r->until_ns = passed ? 0 : until_ns;
	va_start(args, format);
	vsnprintf(r->text, sizeof(r->text), format, args);
	va_end(args);
}

static unsigned long long seconds_left(uint64_t until_ns, uint64_t now_ns)
{
	return until_ns > now_ns ? (until_ns - now_ns + NS_PER_S - 1) / NS_PER_S : 0;
}

/* A guard that says no until some time, and which time is over at 0. */
static void guard_until(struct policy_guard_result *r, uint64_t until_ns, uint64_t now_ns)
{
	if (now_ns < until_ns)
		answer(r, false, until_ns, "passes in %llu s", seconds_left(until_ns, now_ns));
	else
		answer(r, true, 0, "passed");
}

static void guard_whole_device(const struct question *q, struct policy_guard_result *r)
{
	const struct health_device *d = q->state->device;

	if (d->freeze == HEALTH_FREEZE_NONE)
		answer(r, true, 0, "passed");
	else
		answer(r, false, d->frozen_until_ns, "%s, judged again in %llu s",
		       health_freeze_name(d->freeze), seconds_left(d->frozen_until_ns, q->now_ns));
}

static void guard_several_disks(const struct question *q, struct policy_guard_result *r)
{
	if (!q->settings->several_disks)
		answer(r, true, 0, "off");
	else
		answer(r, q->state->devices_degraded < q->settings->several_disks, 0,
		       "%u of %u degrade at once", q->state->devices_degraded,
		       q->settings->several_disks);
}

static void guard_target(const struct question *q, struct policy_guard_result *r)
{
	if (!q->state->has_target)
		answer(r, true, 0, "no target");
	else
		answer(r, q->state->target_accepts, 0, "target %s new mappings",
		       q->state->target_accepts ? "takes" : "refuses");
}

static void guard_spare_reserve(const struct question *q, struct policy_guard_result *r)
{
	const struct policy_state *s = q->state;
	double reserve = s->spare_size_sectors * q->settings->spare_reserve_percent / 100;

	if (!s->has_target)
		answer(r, true, 0, "no target");
	else
		answer(r, s->spare_free_sectors >= reserve + q->extent->sectors, 0,
		       "%.0f%% of the spare free, %.0f%% reserved",
		       s->spare_size_sectors ? 100.0 * s->spare_free_sectors / s->spare_size_sectors
					     : 0.0,
		       q->settings->spare_reserve_percent);
}

static void guard_devices_at_once(const struct question *q, struct policy_guard_result *r)
{
	answer(r, q->state->other_devices_acting < q->settings->devices_at_once, 0,
	       "%u of %u other devices moved from", q->state->other_devices_acting,
	       q->settings->devices_at_once);
}

static void guard_rate(const struct question *q, struct policy_guard_result *r)
{
	uint32_t cap = q->settings->relocations_per_hour, done = 0;
	uint64_t oldest_ns = q->now_ns;

	if (q->budget)
		done = last_hour(q->budget->relocated_ns, q->budget->relocated_head,
				 q->budget->relocated_count, q->now_ns, cap, &oldest_ns);
	answer(r, done < cap, cap ? oldest_ns + HOUR_NS : 0, "%u of %u an hour", done, cap);
}

static void ask_guards(const struct question *q, struct policy_guard_result *r)
{
	const struct policy_settings *s = q->settings;
	const struct policy_state *st = q->state;
	uint64_t dropped_ns = st->dropped_events_at_ns;

	answer(&r[POLICY_GUARD_FROZEN], !st->frozen, 0,
	       st->frozen ? "acting is stopped by hand" : "passed");
	guard_until(&r[POLICY_GUARD_FRESH_BOOT], st->booted_ns + s->fresh_boot_ns, q->now_ns);
	guard_until(&r[POLICY_GUARD_BASELINE],
		    st->device->in_baseline ? st->device->baseline_until_ns : 0, q->now_ns);
	guard_whole_device(q, &r[POLICY_GUARD_WHOLE_DEVICE]);
	guard_several_disks(q, &r[POLICY_GUARD_SEVERAL_DISKS]);
	guard_until(&r[POLICY_GUARD_DROPPED_EVENTS],
		    dropped_ns ? dropped_ns + s->dropped_events_ns : 0, q->now_ns);
	guard_target(q, &r[POLICY_GUARD_TARGET]);
	guard_spare_reserve(q, &r[POLICY_GUARD_SPARE_RESERVE]);
	guard_devices_at_once(q, &r[POLICY_GUARD_DEVICES_AT_ONCE]);
	guard_rate(q, &r[POLICY_GUARD_RATE]);
}

/* ---- the decision ---- */

/*
 * The risk from which on what may be lost costs more than the move: p * C_loss * E[lost] > C_io +
 * lambda * spare.
 */
static double threshold(const struct policy_settings *s, const struct policy_state *st)
{
	double scarcity = 1, p;

	if (st->has_target && st->spare_size_sectors)
		scarcity = st->spare_free_sectors
				   ? (double)st->spare_size_sectors / st->spare_free_sectors
				   : 1e9;
	p = (s->cost_move + s->cost_spare * scarcity) /
	    (s->cost_lost_sector * s->expected_lost_sectors);
	return p < 1 ? p : 1;
}

static void decide(struct policy_decision *d, enum policy_action action, enum policy_reason reason,
		   uint64_t due_ns)
{
	d->action = action;
	d->reason = reason;
	d->due_ns = due_ns;
}

static void decide_reread(const struct question *q, struct policy_decision *d,
			  enum policy_reason reason)
{
	uint32_t cap = q->settings->rereads_per_hour, done = 0;
	uint64_t oldest_ns = q->now_ns;

	if (q->budget)
		done = last_hour(q->budget->reread_ns, q->budget->reread_head,
				 q->budget->reread_count, q->now_ns, cap, &oldest_ns);
	if (done < cap)
		decide(d, POLICY_REREAD, reason, q->now_ns);
	else
		decide(d, POLICY_WATCH, POLICY_WHY_REREAD_CAP, cap ? oldest_ns + HOUR_NS : 0);
}

/* The extent is worth its move and was confirmed. */
static void decide_move(const struct question *q, struct policy_decision *d)
{
	if (q->extent->retry_after_ns > q->now_ns)
		decide(d, POLICY_WATCH, POLICY_WHY_BACKOFF, q->extent->retry_after_ns);
	else if (d->guard != POLICY_GUARDS)
		decide(d, POLICY_HELD, POLICY_WHY_GUARD, d->guards[d->guard].until_ns);
	else if (q->settings->mode == POLICY_OBSERVE)
		decide(d, POLICY_WOULD_RELOCATE, POLICY_WHY_OBSERVE, q->now_ns);
	else if (!q->state->has_target)
		decide(d, POLICY_WOULD_RELOCATE, POLICY_WHY_NO_TARGET, q->now_ns);
	else
		decide(d, POLICY_RELOCATE, POLICY_WHY_ABOVE, q->now_ns);
}

void policy_decide(const struct policy_settings *settings, const struct health_extent *extent,
		   const struct policy_state *state, const struct policy_budget *budget,
		   uint64_t now_ns, struct policy_decision *out)
{
	const struct question q = { settings, extent, state, budget, now_ns };
	bool above, confirmed = extent->confirmed >= settings->confirmations;

	memset(out, 0, sizeof(*out));
	out->risk = extent->risk;
	out->threshold = threshold(settings, state);
	ask_guards(&q, out->guards);
	while (out->guard < POLICY_GUARDS && out->guards[out->guard].passed)
		out->guard++;
	above = extent->recurrent && extent->risk > out->threshold;

	if (settings->mode == POLICY_OFF)
		decide(out, POLICY_NONE, POLICY_WHY_OFF, 0);
	else if (extent->moved)
		decide(out, POLICY_NONE, POLICY_WHY_MOVED, 0);
	else if (extent->control && extent->wants_reread)
		decide_reread(&q, out, POLICY_WHY_CONTROL);
	else if (above && confirmed)
		decide_move(&q, out);
	else if (extent->wants_reread)
		decide_reread(&q, out, POLICY_WHY_CANDIDATE);
	else if (above)
		decide(out, POLICY_WATCH, POLICY_WHY_UNCONFIRMED, extent->next_reread_ns);
	else if (extent->state == HEALTH_OK && extent->evidence < EVIDENCE_NONE)
		decide(out, POLICY_NONE, POLICY_WHY_HEALTHY, 0);
	else
		decide(out, POLICY_WATCH,
		       extent->recurrent ? POLICY_WHY_BELOW : POLICY_WHY_NOT_RECURRENT,
		       extent->next_reread_ns);
}

/* ---- names ---- */

#define NAME_OF(value, ...)                                                                        \
	do {                                                                                       \
		static const char *const names[] = { __VA_ARGS__ };                                \
		return (size_t)(value) < sizeof(names) / sizeof(names[0]) ? names[(size_t)(value)] \
									  : "unknown";             \
	} while (0)

const char *policy_mode_name(enum policy_mode mode)
{
	NAME_OF(mode, "off", "observe", "act");
}

const char *policy_action_name(enum policy_action action)
{
	NAME_OF(action, "none", "watch", "reread", "would-relocate", "relocate", "held");
}

const char *policy_reason_name(enum policy_reason reason)
{
	NAME_OF(reason, "healthy", "moved", "mode-off", "not-recurrent", "below-threshold",
		"unconfirmed", "candidate", "control", "relocation-failed-lately", "guard",
		"mode-observe", "no-target", "above-threshold", "reread-cap");
}

const char *policy_guard_name(enum policy_guard guard)
{
	NAME_OF(guard, "frozen", "fresh-boot", "baseline", "whole-device-slow", "several-disks",
		"dropped-events", "target", "spare-reserve", "devices-at-once", "rate", "none");
}
