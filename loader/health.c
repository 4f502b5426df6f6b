// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What comes in: unusual I/O, re-reads, exposure and facts become evidence. Pure; see health.h. */
#include <string.h>

#include "loader/health_table.h"

#define NS_PER_S	  1000000000ULL
#define SPAN_MAX	  64 /* extents of one I/O that are looked at */
#define BACKOFF_FIRST_NS  (60 * NS_PER_S)
#define BACKOFF_DOUBLINGS 6 /* to about an hour */
#define SECTORS_ASSUMED	  8 /* of a read of unknown size */

/* ---- evidence ---- */

static void add(struct health_entry *e, double weight, double anomaly, bool soft)
{
	*(soft ? &e->soft : &e->hard) += weight;
	e->anomalies += anomaly;
}

/*
 * An incident on an extent. What comes within the gap after another belongs to it, and only what it
 * is heavier by is added. again: a re-read, which is spaced by its own interval, so that it always
 * is an incident of its own.
 */
static void incident(struct health *h, struct health_entry *e, uint64_t at_ns, double weight,
		     double anomaly, bool soft, bool again)
{
	if (e->moved)
		return;
	if (anomaly > 0.5)
		h->anomaly_ns = at_ns;
	if (!again && e->incident_ns && at_ns < e->incident_ns + h->opt.incident_gap_ns) {
		double heavier = weight - e->incident_weight,
		       further = anomaly - e->incident_anomaly;

		add(e, heavier > 0 ? heavier : 0, further > 0 ? further : 0,
		    soft && e->incident_soft);
		if (heavier > 0)
			e->incident_weight = weight;
		if (further > 0)
			e->incident_anomaly = anomaly;
		e->incident_soft &= soft;
		return;
	}
	add(e, weight, anomaly, soft);
	e->incident_ns = at_ns ? at_ns : 1;
	e->incident_weight = weight;
	e->incident_anomaly = anomaly;
	e->incident_soft = soft;
}

/* A finding that proves nothing until another extent answers well. */
static void suspend(struct health *h, struct health_entry *e, double weight, bool confirms)
{
	if (e->moved)
		return;
	if (!e->pending || weight > e->pending_weight)
		e->pending_weight = weight;
	e->pending_confirms = (e->pending && e->pending_confirms) || confirms;
	h->pendings += !e->pending;
	e->pending = true;
	health_pick_control(h);
}

/* The comparison was fine (or can't be made): what was found is the extent's own doing. */
static void settle(struct health *h)
{
	struct health_entry *e;
	uint32_t at = 0;

	h->control_extent = UINT64_MAX;
	h->control_failures = 0;
	while (h->pendings && (e = health_next(h, &at))) {
		if (!e->pending)
			continue;
		e->pending = false;
		h->pendings--;
		incident(h, e, h->now_ns, e->pending_weight, 1, false, e->pending_confirms);
		e->confirmed += e->pending_confirms;
	}
}

void health_pick_control(struct health *h)
{
	unsigned int tries;

	if (!h->pendings)
		h->control_extent = UINT64_MAX;
	if (!h->pendings || h->control_extent != UINT64_MAX || health_frozen(h))
		return;
	for (tries = 0; tries < 16; tries++) {
		uint64_t extent;

		h->control_seed = h->control_seed * 6364136223846793005ULL + 1442695040888963407ULL;
		extent = (h->control_seed >> 11) % h->extents;
		if (!health_find(h, extent)) {
			h->control_extent = extent;
			return;
		}
	}
	/* Nearly every extent of a small device is accused: there is nothing to compare with. */
	settle(h);
}

void health_freeze(struct health *h, enum health_freeze kind)
{
	bool begins = !health_frozen(h);
	struct health_entry *e;
	uint32_t at = 0;

	h->freeze = kind;
	h->frozen_until_ns = h->now_ns + h->opt.device_slow_hold_ns;
	if (!begins)
		return;
	h->stall.open = false;
	h->control_extent = UINT64_MAX;
	h->control_failures = 0;
	h->pendings = 0;
	while ((e = health_next(h, &at))) {
		e->pending = false;
		if (e->moved || !e->incident_soft || e->incident_ns <= h->good_period_ns)
			continue;
		e->soft = e->soft > e->incident_weight ? e->soft - e->incident_weight : 0;
		e->anomalies =
			e->anomalies > e->incident_anomaly ? e->anomalies - e->incident_anomaly : 0;
		e->incident_weight = e->incident_anomaly = 0;
	}
}

/* ---- unusual I/O ---- */

struct span {
	uint64_t first, last; /* extents */
	uint32_t count;
};

static bool span_of(const struct health *h, uint64_t sector, uint64_t sectors, struct span *s)
{
	if (!sectors || sector >= h->size_sectors)
		return false;
	if (sectors > h->size_sectors - sector)
		sectors = h->size_sectors - sector;
	s->first = sector / h->opt.extent_sectors;
	s->last = (sector + sectors - 1) / h->opt.extent_sectors;
	if (s->last - s->first >= SPAN_MAX)
		s->last = s->first + SPAN_MAX - 1;
	s->count = s->last - s->first + 1;
	return true;
}

/* The part of [sector, sector + sectors) that lies in the extent, relative to it. */
static void clip(const struct health *h, uint64_t extent, uint64_t sector, uint64_t sectors,
		 uint32_t *from, uint32_t *to)
{
	uint64_t begin = extent * h->opt.extent_sectors;
	uint64_t length = h->opt.extent_sectors;

	if (length > h->size_sectors - begin)
		length = h->size_sectors - begin;
	*from = sector > begin ? sector - begin : 0;
	*to = sector + sectors - begin < length ? sector + sectors - begin : length;
}

/* Notes what was seen. */
static void note(struct health *h, struct health_entry *e, uint32_t sectors, enum health_dir dir,
		 uint64_t latency_ns)
{
	if (!e->first_seen_ns)
		e->first_seen_ns = h->now_ns ? h->now_ns : 1;
	e->last_seen_ns = h->now_ns;
	if (latency_ns <= e->worst_ns)
		return;
	e->worst_ns = latency_ns;
	e->worst_dir = dir;
	e->worst_sectors = sectors;
}

/*
 * Asks for re-reads of the part of [sector, sector + sectors) that lies in the extent, an interval
 * after since_ns.
 */
static void ask(struct health *h, struct health_entry *e, uint64_t sector, uint32_t sectors,
		uint64_t since_ns)
{
	uint32_t from, to;

	clip(h, e->extent, sector, sectors, &from, &to);
	if (!e->rereads_left) {
		e->reread_sector = e->extent * h->opt.extent_sectors + from;
		e->reread_sectors = to - from;
		if (e->reread_ns < since_ns + h->opt.reread_interval_ns)
			e->reread_ns = since_ns + h->opt.reread_interval_ns;
	}
	e->rereads_left = h->opt.reread_max;
}

void health_close_stall(struct health *h)
{
	struct health_stall *s = &h->stall;
	uint32_t members = s->members + s->overflow, i;

	if (!s->open)
		return;
	s->open = false;
	if (members > 1)
		h->stalls++;
	/* An error that took long explains why its neighbours in the queue had to wait. */
	if (s->explained)
		return;
	for (i = 0; i < s->members; i++) {
		const struct health_member *m = &s->member[i];
		struct health_entry *e = health_get(h, m->extent);

		if (!e || e->moved)
			continue;
		incident(h, e, s->end_ns, HEALTH_WEIGHT_SLOW / members, 1.0 / members, true, false);
		ask(h, e, m->sector, m->sectors, s->end_ns);
	}
}

static void join_stall(struct health *h, const struct health_io *io, uint64_t extent,
		       uint64_t latency_ns)
{
	struct health_stall *s = &h->stall;
	struct health_member *m;
	uint32_t from, to, i;

	if (s->open &&
	    (io->issued_ns >= s->end_ns || io->completed_ns > s->begin_ns + HEALTH_STALL_MAX_NS))
		health_close_stall(h);
	if (!s->open) {
		memset(s, 0, sizeof(*s));
		s->open = true;
		s->begin_ns = io->issued_ns;
		s->end_ns = io->completed_ns;
	}
	if (io->issued_ns < s->begin_ns)
		s->begin_ns = io->issued_ns;
	if (io->completed_ns > s->end_ns)
		s->end_ns = io->completed_ns;
	s->explained |= io->class != HEALTH_CLASS_OK;
	for (i = 0; i < s->members; i++)
		if (s->member[i].extent == extent)
			break;
	if (i == HEALTH_STALL_MEMBERS) {
		s->overflow++;
		return;
	}
	m = &s->member[i];
	if (i == s->members)
		s->members++;
	else if (latency_ns <= m->latency_ns)
		return;
	clip(h, extent, io->sector, io->sectors, &from, &to);
	*m = (struct health_member){ extent, extent * h->opt.extent_sectors + from, to - from,
				     latency_ns };
}

static void note_spread(struct health *h, uint64_t extent)
{
	uint32_t i;

	for (i = 0; i < h->spreads; i++)
		if (h->spread[i] == extent)
			return;
	if (h->spreads < HEALTH_SPREAD_EXTENTS)
		h->spread[h->spreads++] = extent;
}

/* True if errors on this many extents at once are an outage rather than bad sectors. */
static bool is_storm(struct health *h, uint64_t extent)
{
	uint32_t i;

	if (h->now_ns - h->storm_ns > HEALTH_STORM_NS) {
		h->storm_ns = h->now_ns;
		h->storms = 0;
	}
	for (i = 0; i < h->storms; i++)
		if (h->storm[i] == extent)
			return false;
	if (h->storms == HEALTH_STORM_EXTENTS)
		return true;
	h->storm[h->storms++] = extent;
	return false;
}

/* True if the error is an old one: inside of what was bad at first sight. */
static bool is_baseline(const struct health *h, const struct health_entry *e, uint32_t from,
			uint32_t to)
{
	return e->baseline_from < e->baseline_to && from >= e->baseline_from &&
	       to <= e->baseline_to;
}

static void widen_baseline(struct health_entry *e, uint32_t from, uint32_t to)
{
	bool none = e->baseline_from == e->baseline_to;

	if (none || from < e->baseline_from)
		e->baseline_from = from;
	if (none || to > e->baseline_to)
		e->baseline_to = to;
}

static void take_error(struct health *h, const struct health_io *io, uint64_t extent,
		       uint32_t spanned, uint64_t latency_ns)
{
	struct health_entry *e = health_get(h, extent);
	double weight = health_weight(io->class) / spanned;
	uint32_t from, to;

	if (!e || e->moved)
		return;
	clip(h, extent, io->sector, io->sectors, &from, &to);
	if (h->now_ns < h->baseline_until_ns) {
		widen_baseline(e, from, to);
		e->baseline_errors++;
		h->ignored++;
		return;
	}
	if (is_baseline(h, e, from, to)) {
		e->baseline_errors++;
		return;
	}
	e->errors[io->class]++;
	note(h, e, io->sectors, io->dir, latency_ns);
	ask(h, e, io->sector, io->sectors, h->now_ns);
	if (io->class == HEALTH_CLASS_MEDIUM || io->class == HEALTH_CLASS_RECOVERED)
		incident(h, e, h->now_ns, weight, 1.0 / spanned, false, false);
	else
		suspend(h, e, weight, false);
}

void health_io(struct health *h, const struct health_io *io)
{
	uint64_t latency_ns = io->completed_ns > io->issued_ns ? io->completed_ns - io->issued_ns
							       : 0;
	bool error = io->class != HEALTH_CLASS_OK;
	bool slow;
	struct span s;
	uint64_t x;

	if ((unsigned int)io->dir >= HEALTH_DIRS || (unsigned int)io->class >= HEALTH_CLASSES ||
	    !span_of(h, io->sector, io->sectors, &s))
		return;
	health_advance(h, io->completed_ns);
	slow = latency_ns > health_slow_ns(h, io->dir, io->sectors);
	if (!slow && !error)
		return;
	if (slow)
		note_spread(h, s.first);
	if (io->class == HEALTH_CLASS_TRANSPORT ||
	    (error && io->class != HEALTH_CLASS_RECOVERED && is_storm(h, s.first))) {
		health_freeze(h, HEALTH_FREEZE_STORM);
		h->ignored++;
		return;
	}
	/*
	 * A slow device's medium errors are believed; nothing else of a device that is not itself.
	 */
	if (health_frozen(h) &&
	    !(io->class == HEALTH_CLASS_MEDIUM && h->freeze == HEALTH_FREEZE_SLOW)) {
		h->ignored++;
		return;
	}
	for (x = s.first; x <= s.last; x++) {
		if (error)
			take_error(h, io, x, s.count, latency_ns);
		if (slow && !health_frozen(h)) {
			struct health_entry *e = health_get(h, x);

			if (e && !e->moved && !error) {
				e->slow++;
				note(h, e, io->sectors, io->dir, latency_ns);
			}
			join_stall(h, io, x, latency_ns);
		}
	}
}

void health_baseline(struct health *h, uint64_t sector, uint64_t sectors)
{
	struct span s;
	uint64_t x;

	if (!span_of(h, sector, sectors, &s))
		return;
	for (x = s.first; x <= s.last; x++) {
		struct health_entry *e = health_get(h, x);
		uint32_t from, to;

		clip(h, x, sector, sectors, &from, &to);
		widen_baseline(e, from, to);
	}
}

/* ---- re-reads ---- */

static void take_control(struct health *h, bool bad)
{
	if (!bad) {
		settle(h);
		return;
	}
	/*
	 * One may have hit a bad sector that nobody knew of: ask another. Two in a row are the
	 * device.
	 */
	h->control_extent = UINT64_MAX;
	if (++h->control_failures >= 2)
		health_freeze(h, HEALTH_FREEZE_CONTROL);
	else
		health_pick_control(h);
}

/* A re-read that was fine clears the extent of much, though not of all: precursors come and go. */
static void clear(struct health *h, struct health_entry *e)
{
	double before = health_evidence(e);

	h->pendings -= e->pending;
	e->pending = false;
	if (!e->confirmed)
		e->rereads_left = 0;
	e->confirmed = 0;
	e->soft *= HEALTH_CLEARED_SOFT;
	e->hard *= HEALTH_CLEARED_HARD;
	if (before > 0)
		e->anomalies *= health_evidence(e) / before;
}

void health_probe(struct health *h, uint64_t sector, uint32_t sectors, enum health_class class,
		  uint64_t latency_ns, uint64_t now_ns)
{
	bool failed = class != HEALTH_CLASS_OK && class != HEALTH_CLASS_RECOVERED;
	uint64_t extent = sector / h->opt.extent_sectors;
	struct health_entry *e;
	uint32_t from, to;
	bool bad;

	health_advance(h, now_ns);
	if ((unsigned int)class >= HEALTH_CLASSES || !sectors || sector >= h->size_sectors)
		return;
	if (class == HEALTH_CLASS_TRANSPORT) {
		health_freeze(h, HEALTH_FREEZE_STORM);
		return;
	}
	bad = failed || class == HEALTH_CLASS_RECOVERED ||
	      latency_ns > health_slow_ns(h, HEALTH_READ, sectors);
	if (extent == h->control_extent) {
		take_control(h, bad);
		return;
	}
	e = health_find(h, extent);
	if (!e || e->moved || health_frozen(h))
		return;
	e->reread_ns = h->now_ns + h->opt.reread_interval_ns;
	e->rereads_left -= e->rereads_left > 0;
	e->visits += (double)sectors / h->opt.extent_sectors;
	if (!bad) {
		clear(h, e);
		return;
	}
	clip(h, extent, sector, sectors, &from, &to);
	if (failed && is_baseline(h, e, from, to)) {
		e->baseline_errors++;
		e->rereads_left = 0;
		return;
	}
	note(h, e, sectors, HEALTH_READ, latency_ns);
	e->slow += !failed;
	e->errors[class] += class != HEALTH_CLASS_OK;
	suspend(h, e, HEALTH_WEIGHT_REREAD, true);
}

/* ---- exposure ---- */

static void expose(struct health *h, struct health_entry *e, double visits)
{
	double kept;

	if (e->moved)
		return;
	kept = health_decay(&h->opt, visits, h->now_ns - e->decayed_ns);
	e->decayed_ns = h->now_ns;
	e->soft *= kept;
	e->hard *= kept;
	e->anomalies *= kept;
	e->visits = e->visits * kept + visits;
}

void health_exposure(struct health *h, uint64_t sector, uint64_t sectors, uint64_t reads,
		     uint64_t read_sectors, uint64_t elapsed_ns, uint64_t now_ns)
{
	double most = (double)elapsed_ns / (60 * NS_PER_S), visits;
	uint64_t first, last, x;
	struct health_entry *e;
	uint32_t at = 0;

	health_advance(h, now_ns);
	if (!sectors || sector >= h->size_sectors || !reads)
		return;
	if (sectors > h->size_sectors - sector)
		sectors = h->size_sectors - sector;
	first = sector / h->opt.extent_sectors;
	last = (sector + sectors - 1) / h->opt.extent_sectors;
	if (!health_any_near(h, first, last))
		return;
	visits = (double)(read_sectors ? read_sectors : reads * SECTORS_ASSUMED) / sectors;
	if (visits > most)
		visits = most;
	if (last - first < h->used) {
		for (x = first; x <= last; x++)
			if ((e = health_find(h, x)))
				expose(h, e, visits);
		return;
	}
	while ((e = health_next(h, &at)))
		if (e->extent >= first && e->extent <= last)
			expose(h, e, visits);
}

/* ---- facts ---- */

void health_fact(struct health *h, uint64_t sector, enum health_fact fact, uint64_t now_ns)
{
	struct health_entry *e = health_find(h, sector / h->opt.extent_sectors);
	uint32_t doublings;

	health_advance(h, now_ns);
	switch (fact) {
	case HEALTH_FACT_MOVED:
		if (!e && !(e = health_get(h, sector / h->opt.extent_sectors)))
			return;
		h->pendings -= e->pending;
		e->pending = false;
		e->rereads_left = 0;
		e->moved = true;
		e->move_failures = 0;
		e->retry_after_ns = 0;
		break;
	case HEALTH_FACT_RELEASED:
		if (e)
			health_forget(h, e);
		break;
	case HEALTH_FACT_MOVE_FAILED:
		if (!e)
			break;
		doublings = e->move_failures < BACKOFF_DOUBLINGS ? e->move_failures
								 : BACKOFF_DOUBLINGS;
		e->retry_after_ns = h->now_ns + (BACKOFF_FIRST_NS << doublings);
		e->move_failures++;
		break;
	case HEALTH_FACT_WOULD_MOVE:
		if (e)
			e->would_moved = true;
		break;
	}
}
