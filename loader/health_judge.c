// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What goes out: evidence becomes chances and states, and both become answers. Pure; see health.h.
 */
#include <string.h>

#include "loader/health_table.h"

#define TYPICAL_SECTORS \
	128U /* of a control read, and of the yardstick shown where nothing was slow */
#define SLOW_ANOMALIES \
	0.5 /* from here on an extent is shown as slow; a member of a large stall is not */

/* Adds one neighbour's evidence, if it has some that recurred. */
static void hear(const struct health *h, struct health_entry *e, uint64_t extent,
		 unsigned int distance, double *most)
{
	const struct health_entry *other = health_find(h, extent);
	double adds;

	if (!other || !health_is_recurrent(h, other))
		return;
	adds = health_evidence(other) * h->kernel[distance];
	e->neighbours += adds;
	if (adds > *most) {
		*most = adds;
		e->neighbour_extent = extent;
	}
}

void health_judge(const struct health *h, struct health_entry *e)
{
	bool recurrent = health_is_recurrent(h, e);
	unsigned int d, sites = h->sources;
	double most = 0;

	if (e->moved)
		return;
	e->neighbours = 0;
	e->neighbour_extent = UINT64_MAX;
	for (d = 1; h->sources && d <= HEALTH_NEIGHBOUR_REACH; d++) {
		if (e->extent >= d)
			hear(h, e, e->extent - d, d, &most);
		hear(h, e, e->extent + d, d, &most);
	}
	if (recurrent && sites)
		sites--;
	/* Recurrence is needed: what was seen once is noise until it is seen again. */
	e->event_chance = health_event_chance(&h->opt, recurrent ? health_evidence(e) : 0,
					      e->visits, e->neighbours, sites);
	e->risk = health_loss_chance(e->event_chance);

	if (recurrent && e->risk >= h->opt.suspect_risk / (e->state == HEALTH_SUSPECT ? 2 : 1))
		e->state = HEALTH_SUSPECT;
	else
		e->state = e->anomalies >= SLOW_ANOMALIES ? HEALTH_SLOW : HEALTH_OK;
	if (e->state != HEALTH_SUSPECT)
		e->would_moved = false;
}

void health_tick(struct health *h, uint64_t now_ns)
{
	struct health_entry *e;
	uint32_t at;

	health_advance(h, now_ns);
	if (h->stall.open && h->now_ns > h->stall.end_ns + h->opt.stall_gap_ns)
		health_close_stall(h);
	if (!health_frozen(h))
		h->freeze = HEALTH_FREEZE_NONE;
	health_pick_control(h);
	h->sources = 0;
	for (at = 0; (e = health_next(h, &at));)
		h->sources += health_is_recurrent(h, e);
	/* Of a device that is not itself, nothing is concluded. */
	for (at = 0; !health_frozen(h) && (e = health_next(h, &at));)
		health_judge(h, e);
}

static void show(const struct health *h, const struct health_entry *e, uint64_t now_ns,
		 struct health_extent *out)
{
	const struct health_latency *hour;
	uint32_t sectors = e->worst_sectors ? e->worst_sectors : TYPICAL_SECTORS;

	memset(out, 0, sizeof(*out));
	out->extent = e->extent;
	out->first_sector = e->extent * h->opt.extent_sectors;
	out->sectors = h->opt.extent_sectors;
	if (out->sectors > h->size_sectors - out->first_sector)
		out->sectors = h->size_sectors - out->first_sector;
	out->state = e->state;
	out->moved = e->moved;
	out->would_moved = e->would_moved;
	if (e->rereads_left && !e->moved) {
		out->reread_sector = e->reread_sector;
		out->reread_sectors = e->reread_sectors;
		out->next_reread_ns = e->reread_ns > h->frozen_until_ns ? e->reread_ns
									: h->frozen_until_ns;
		out->wants_reread = !e->pending && now_ns >= out->next_reread_ns;
	}
	out->evidence = health_evidence(e);
	out->visits = e->visits;
	out->anomalies = e->anomalies;
	out->recurrent = health_is_recurrent(h, e);
	out->confirmed = e->confirmed;
	out->neighbours = e->neighbours;
	out->has_neighbour = e->neighbour_extent != UINT64_MAX;
	out->neighbour_extent = out->has_neighbour ? e->neighbour_extent : 0;
	out->event_chance = e->event_chance;
	out->risk = e->risk;
	out->slow = e->slow;
	memcpy(out->errors, e->errors, sizeof(out->errors));
	out->baseline_errors = e->baseline_errors;
	out->worst_ns = e->worst_ns;
	hour = &h->yardstick[e->worst_dir][health_size_class(sectors)];
	out->yardstick_median_ns = hour->median_ns;
	out->yardstick_p99_ns = hour->p99_ns;
	out->slow_limit_ns = health_slow_ns(h, e->worst_dir, sectors);
	out->first_seen_ns = e->first_seen_ns;
	out->last_seen_ns = e->last_seen_ns;
	out->move_failures = e->move_failures;
	out->retry_after_ns = e->retry_after_ns;
}

bool health_extent(const struct health *h, uint64_t extent, uint64_t now_ns,
		   struct health_extent *out)
{
	struct health_entry unknown = { .extent = extent, .neighbour_extent = UINT64_MAX };
	const struct health_entry *e = health_find(h, extent);

	if (extent >= h->extents)
		return false;
	if (!e) {
		health_judge(h, &unknown);
		e = &unknown;
	}
	show(h, e, now_ns, out);
	return true;
}

static bool before(const struct health_extent *a, const struct health_extent *b)
{
	if (a->risk != b->risk)
		return a->risk > b->risk;
	if (a->evidence != b->evidence)
		return a->evidence > b->evidence;
	return a->worst_ns != b->worst_ns ? a->worst_ns > b->worst_ns : a->extent < b->extent;
}

size_t health_review(const struct health *h, uint64_t now_ns, struct health_extent *out, size_t max)
{
	bool control = h->control_extent != UINT64_MAX && max > 0;
	const struct health_entry *e;
	size_t n = 0, room = max - control;
	struct health_extent x;
	uint32_t at = 0;

	while ((e = health_next(h, &at))) {
		size_t i;

		if (e->moved || (e->state == HEALTH_OK && !e->rereads_left))
			continue;
		show(h, e, now_ns, &x);
		if (x.state == HEALTH_OK && !x.wants_reread)
			continue;
		if (n == room && (!room || !before(&x, &out[n - 1])))
			continue;
		for (i = n < room ? n++ : n - 1; i > 0 && before(&x, &out[i - 1]); i--)
			out[i] = out[i - 1];
		out[i] = x;
	}
	if (control && health_extent(h, h->control_extent, now_ns, &x)) {
		x.control = true;
		x.wants_reread = true;
		x.reread_sector = x.first_sector;
		x.reread_sectors = x.sectors < TYPICAL_SECTORS ? x.sectors : TYPICAL_SECTORS;
		x.next_reread_ns = now_ns;
		out[n++] = x;
	}
	return n;
}

size_t health_changes(struct health *h, uint64_t now_ns, struct health_extent *out, size_t max)
{
	struct health_entry *e;
	uint32_t at = 0;
	size_t n = 0;

	while (n < max && (e = health_next(h, &at))) {
		if (e->moved || e->state == e->reported)
			continue;
		e->reported = e->state;
		show(h, e, now_ns, &out[n++]);
	}
	return n;
}

void health_device(const struct health *h, uint64_t now_ns, struct health_device *out)
{
	const struct health_entry *e;
	uint32_t at = 0;

	memset(out, 0, sizeof(*out));
	if (now_ns < h->now_ns)
		now_ns = h->now_ns;
	if (now_ns < h->frozen_until_ns) {
		out->freeze = h->freeze;
		out->frozen_until_ns = h->frozen_until_ns;
	}
	out->degraded = out->freeze != HEALTH_FREEZE_NONE ||
			(h->anomaly_ns && now_ns - h->anomaly_ns < HEALTH_DEGRADED_NS);
	out->in_baseline = now_ns < h->baseline_until_ns;
	out->baseline_until_ns = h->baseline_until_ns;
	while ((e = health_next(h, &at))) {
		out->moved_extents += e->moved;
		out->slow_extents += !e->moved && e->state == HEALTH_SLOW;
		out->suspect_extents += !e->moved && e->state == HEALTH_SUSPECT;
	}
	out->table_used = h->used;
	out->evicted = h->evicted;
	out->stalls = h->stalls;
	out->ignored = h->ignored;
	memcpy(out->yardstick, h->yardstick, sizeof(out->yardstick));
}

const char *health_state_name(enum health_state state)
{
	static const char *const name[HEALTH_STATES] = { "ok", "slow", "suspect" };

	return (unsigned int)state < HEALTH_STATES ? name[state] : "unknown";
}

const char *health_class_name(enum health_class class)
{
	static const char *const name[HEALTH_CLASSES] = { "ok",	     "medium", "transport",
							  "timeout", "other",  "recovered" };

	return (unsigned int)class < HEALTH_CLASSES ? name[class] : "unknown";
}

const char *health_freeze_name(enum health_freeze freeze)
{
	static const char *const name[] = { "none", "whole-device-slow", "outage",
					    "control-reads-slow" };

	return (unsigned int)freeze < sizeof(name) / sizeof(name[0]) ? name[freeze] : "unknown";
}
