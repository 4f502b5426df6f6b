/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What struct health holds, and the bounded, sparse table of extents with evidence. Shared by
 * health.c (what comes in), health_yardstick.c (what is slow), health_judge.c (what goes out) and
 * health_table.c; nobody else includes it.
 */
#ifndef REMAP_HEALTH_TABLE_H
#define REMAP_HEALTH_TABLE_H

#include "loader/health_model.h"

#define HEALTH_NIL	      UINT32_MAX
#define HEALTH_STALL_MEMBERS  64
#define HEALTH_STALL_MAX_NS   (30 * 1000000000ULL) /* closed then, over or not */
#define HEALTH_COARSE	      1024
#define HEALTH_SLOTS	      60 /* minutes of the yardstick's hour */
#define HEALTH_SLOT_NS	      (60 * 1000000000ULL)
#define HEALTH_STORM_EXTENTS  16 /* with errors within HEALTH_STORM_NS: an outage */
#define HEALTH_STORM_NS	      (5 * 1000000000ULL)
#define HEALTH_SPREAD_EXTENTS 16 /* slow extents in a period, or... */
#define HEALTH_SPREAD_PLACES \
	4 /* ...places far apart, from which the device may be slow as a whole */
#define HEALTH_DEGRADED_NS (60 * 1000000000ULL)

/* One extent with evidence. */
struct health_entry {
	uint64_t extent;
	uint32_t next; /* in its hash chain, or in the free list */
	bool used;

	bool moved, would_moved;
	enum health_state state, reported;

	double soft, hard; /* y, of slow I/Os and of errors and re-reads */
	double visits;
	double anomalies;
	uint64_t decayed_ns;
	uint64_t incident_ns; /* of the last incident; 0: none yet */
	double incident_weight,
		incident_anomaly; /* what it added: to grow it, or to take it back */
	bool incident_soft;

	bool pending; /* a finding that counts once a control re-read was fine: */
	bool pending_confirms;
	double pending_weight;

	uint64_t reread_sector, reread_ns; /* reread_ns: not before */
	uint32_t reread_sectors;
	uint32_t rereads_left;
	uint32_t confirmed;

	uint32_t slow;
	uint32_t errors[HEALTH_CLASSES];
	uint32_t baseline_errors;
	uint32_t baseline_from,
		baseline_to; /* sectors of the extent with old errors; empty if equal */
	uint64_t worst_ns;
	enum health_dir worst_dir;
	uint32_t worst_sectors;
	uint64_t first_seen_ns, last_seen_ns;
	uint32_t move_failures;
	uint64_t retry_after_ns;

	/* As of the last judgement: */
	double neighbours, event_chance, risk;
	uint64_t neighbour_extent; /* UINT64_MAX: none */
};

struct health_member {
	uint64_t extent;
	uint64_t sector;
	uint32_t sectors;
	uint64_t latency_ns;
};

/* Slow completions whose time in the device overlaps: one cause, many victims. */
struct health_stall {
	bool open, explained; /* explained: an error that took long is among them */
	uint64_t begin_ns, end_ns;
	uint32_t members, overflow;
	struct health_member member[HEALTH_STALL_MEMBERS];
};

struct health_slot {
	uint64_t minute;
	struct health_latency lat;
};

struct health {
	struct health_options opt;
	uint64_t size_sectors, extents;
	uint64_t now_ns;
	uint64_t baseline_until_ns;
	double kernel[HEALTH_NEIGHBOUR_REACH + 1]; /* mass at a distance over the mass next door */

	struct health_stall stall;
	struct health_slot slot[HEALTH_DIRS][HEALTH_SIZE_CLASSES][HEALTH_SLOTS];
	struct health_latency yardstick[HEALTH_DIRS][HEALTH_SIZE_CLASSES];
	uint64_t good_period_ns; /* end of the last period in which the device was not slow */
	uint64_t slow_since_ns; /* end of the first of the slow periods that still go on; 0: none */
	uint64_t spread[HEALTH_SPREAD_EXTENTS];
	uint32_t spreads; /* distinct slow extents in this period, as far as there is room */

	enum health_freeze freeze;
	uint64_t frozen_until_ns;
	uint64_t storm[HEALTH_STORM_EXTENTS];
	uint64_t storm_ns;
	uint32_t storms;

	uint64_t control_extent; /* UINT64_MAX: none is wanted */
	uint64_t control_seed;
	uint32_t control_failures, pendings;

	uint64_t anomaly_ns; /* last anomaly that was more than a share of a stall */
	uint64_t stalls, ignored, evicted;

	uint32_t *bucket;
	uint32_t buckets; /* power of two */
	struct health_entry *entry;
	uint32_t used, free_head, fresh; /* fresh: entries from here on were never used */
	uint32_t hand;			 /* of the eviction clock */
	uint32_t sources;		 /* recurrent entries at the last judgement */
	uint32_t coarse[HEALTH_COARSE];	 /* entries in each 1/1024 of the device */
};

struct health_entry *health_find(const struct health *h, uint64_t extent);

/*
 * Finds or makes the entry, evicting the least telling one if the table is full. NULL only for an
 * extent past the end.
 */
struct health_entry *health_get(struct health *h, uint64_t extent);

void health_forget(struct health *h, struct health_entry *e);

/* The next entry in use, from index *at on; NULL at the end. *at is moved past it. */
struct health_entry *health_next(const struct health *h, uint32_t *at);

/* False if no extent of the range can have an entry. */
bool health_any_near(const struct health *h, uint64_t first_extent, uint64_t last_extent);

/* Moves h->now_ns on to now_ns; time never runs backwards. */
static inline void health_advance(struct health *h, uint64_t now_ns)
{
	if (now_ns > h->now_ns)
		h->now_ns = now_ns;
}

/* True while judgement is frozen at h->now_ns. */
static inline bool health_frozen(const struct health *h)
{
	return h->now_ns < h->frozen_until_ns;
}

static inline double health_evidence(const struct health_entry *e)
{
	return e->soft + e->hard;
}

/* Recomputes chance and state of one entry; h is only read. */
void health_judge(const struct health *h, struct health_entry *e);

/* Gives the members of the stall their share of evidence. */
void health_close_stall(struct health *h);

/*
 * Stops judging for a while, and takes back what the device, not its extents, did since it was last
 * known to be well.
 */
void health_freeze(struct health *h, enum health_freeze kind);

/* Chooses a healthy extent to re-read for comparison, if a finding waits for one. */
void health_pick_control(struct health *h);

static inline bool health_is_recurrent(const struct health *h, const struct health_entry *e)
{
	return e->anomalies >= h->opt.recurrence - 1e-6;
}

#endif
