// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The sparse, bounded table of extents with evidence: a chained hash over memory that the caller
 * gave.
 */
#include <math.h>
#include <string.h>

#include "loader/health_table.h"

#define TABLE_EXTENTS_MIN 64
#define TABLE_EXTENTS_MAX 65536
#define EVICTION_SAMPLE	  64

static bool options_fit(const struct health_options *o)
{
	const double positive[] = {
		o->slow_median_factor, o->slow_p99_factor, o->recurrence,
		o->half_life_visits,   o->prior_per_visit, o->prior_shape,
		o->kernel_alpha,       o->kernel_x0_sectors, o->horizon_visits,
	};
	size_t i;

	for (i = 0; i < sizeof(positive) / sizeof(positive[0]); i++)
		if (!isfinite(positive[i]) || positive[i] <= 0)
			return false;
	return o->extent_sectors >= 8 && o->extent_sectors % 8 == 0 &&
	       o->extent_sectors <= 1U << 24 && o->table_extents >= TABLE_EXTENTS_MIN &&
	       o->table_extents <= TABLE_EXTENTS_MAX && o->half_life_floor_ns > 0 &&
	       o->neighbour_gain >= 0 && o->device_slow_factor >= 0 && o->suspect_risk > 0 &&
	       o->suspect_risk <= 1;
}

static uint32_t buckets_for(uint32_t table_extents)
{
	uint32_t buckets = 64;

	while (buckets < 2 * table_extents)
		buckets *= 2;
	return buckets;
}

size_t health_bytes(const struct health_options *opt)
{
	if (!options_fit(opt))
		return 0;
	return sizeof(struct health) + opt->table_extents * sizeof(struct health_entry) +
	       buckets_for(opt->table_extents) * sizeof(uint32_t);
}

static uint64_t extents_of(uint64_t size_sectors, uint32_t extent_sectors)
{
	return size_sectors / extent_sectors + (size_sectors % extent_sectors != 0);
}

static void tabulate_kernel(struct health *h)
{
	unsigned int d;

	for (d = 1; d <= HEALTH_NEIGHBOUR_REACH; d++)
		h->kernel[d] = health_kernel_mass(&h->opt, d) / health_kernel_mass(&h->opt, 1);
}

struct health *health_init(void *memory, size_t bytes, const struct health_options *opt,
			   uint64_t size_sectors, uint64_t now_ns)
{
	struct health *h = memory;

	if (!health_bytes(opt) || bytes < health_bytes(opt))
		return NULL;
	memset(h, 0, sizeof(*h));
	h->opt = *opt;
	h->size_sectors = size_sectors;
	h->extents = extents_of(size_sectors, opt->extent_sectors);
	h->now_ns = now_ns;
	h->baseline_until_ns = now_ns + opt->baseline_ns;
	h->good_period_ns = now_ns;
	h->control_extent = UINT64_MAX;
	h->entry = (struct health_entry *)(h + 1);
	h->bucket = (uint32_t *)(h->entry + opt->table_extents);
	h->buckets = buckets_for(opt->table_extents);
	h->free_head = HEALTH_NIL;
	memset(h->bucket, 0xff, h->buckets * sizeof(*h->bucket));
	tabulate_kernel(h);
	return h;
}

bool health_set_options(struct health *h, const struct health_options *opt)
{
	struct health_options taken = *opt;

	if (!options_fit(opt))
		return false;
	taken.extent_sectors = h->opt.extent_sectors;
	taken.table_extents = h->opt.table_extents;
	/* First sight stays when it was; only the length of the baseline changes. */
	h->baseline_until_ns = h->baseline_until_ns - h->opt.baseline_ns + opt->baseline_ns;
	h->opt = taken;
	tabulate_kernel(h);
	return true;
}

static uint32_t bucket_of(const struct health *h, uint64_t extent)
{
	return (extent * 0x9e3779b97f4a7c15ULL >> 32) & (h->buckets - 1);
}

static uint32_t coarse_of(const struct health *h, uint64_t extent)
{
	uint64_t per_cell = h->extents / HEALTH_COARSE + 1;

	return extent / per_cell;
}

struct health_entry *health_next(const struct health *h, uint32_t *at)
{
	while (*at < h->fresh) {
		struct health_entry *e = &h->entry[(*at)++];

		if (e->used)
			return e;
	}
	return NULL;
}

struct health_entry *health_find(const struct health *h, uint64_t extent)
{
	uint32_t i = h->bucket[bucket_of(h, extent)];

	while (i != HEALTH_NIL) {
		if (h->entry[i].extent == extent)
			return &h->entry[i];
		i = h->entry[i].next;
	}
	return NULL;
}

void health_forget(struct health *h, struct health_entry *e)
{
	uint32_t index = e - h->entry;
	uint32_t *link = &h->bucket[bucket_of(h, e->extent)];

	while (*link != index)
		link = &h->entry[*link].next;
	*link = e->next;
	h->coarse[coarse_of(h, e->extent)]--;
	h->pendings -= e->pending;
	h->used--;
	e->used = false;
	e->next = h->free_head;
	h->free_head = index;
}

/* How much would be lost by forgetting the entry. */
static double worth(const struct health_entry *e)
{
	double rank = e->state == HEALTH_SUSPECT	  ? 4
		      : e->moved			  ? 3
		      : e->baseline_to > e->baseline_from ? 2
							  : 0;

	return rank * 1e6 + e->anomalies * 1e3 + health_evidence(e);
}

static void evict(struct health *h)
{
	struct health_entry *least = NULL;
	uint32_t tries;

	for (tries = 0; tries < EVICTION_SAMPLE; tries++) {
		struct health_entry *e = &h->entry[h->hand];

		h->hand = (h->hand + 1) % h->opt.table_extents;
		if (!least || worth(e) < worth(least) ||
		    (worth(e) == worth(least) && e->last_seen_ns < least->last_seen_ns))
			least = e;
	}
	health_forget(h, least);
	h->evicted++;
}

struct health_entry *health_get(struct health *h, uint64_t extent)
{
	struct health_entry *e = health_find(h, extent);
	uint32_t *head = &h->bucket[bucket_of(h, extent)];
	uint32_t index;

	if (e)
		return e;
	if (extent >= h->extents)
		return NULL;
	if (h->used == h->opt.table_extents)
		evict(h);
	if (h->free_head != HEALTH_NIL) {
		index = h->free_head;
		h->free_head = h->entry[index].next;
	} else {
		index = h->fresh++;
	}
	e = &h->entry[index];
	memset(e, 0, sizeof(*e));
	e->used = true;
	e->extent = extent;
	e->decayed_ns = h->now_ns;
	e->neighbour_extent = UINT64_MAX;
	e->next = *head;
	*head = index;
	h->coarse[coarse_of(h, extent)]++;
	h->used++;
	/* Whoever is accused can't be the comparison. */
	if (h->control_extent == extent)
		h->control_extent = UINT64_MAX;
	return e;
}

bool health_any_near(const struct health *h, uint64_t first_extent, uint64_t last_extent)
{
	uint32_t i, last = coarse_of(h, last_extent);

	if (!h->used)
		return false;
	for (i = coarse_of(h, first_extent); i <= last; i++)
		if (h->coarse[i])
			return true;
	return false;
}

void health_resize(struct health *h, uint64_t size_sectors)
{
	uint64_t extents = extents_of(size_sectors, h->opt.extent_sectors);
	struct health_entry *e;
	uint32_t at;

	for (at = 0; (e = health_next(h, &at));)
		if (e->extent >= extents)
			health_forget(h, e);
	h->extents = extents;
	h->size_sectors = size_sectors;
	h->control_extent = UINT64_MAX;
	h->stall.open = false;
	memset(h->coarse, 0, sizeof(h->coarse));
	for (at = 0; (e = health_next(h, &at));)
		h->coarse[coarse_of(h, e->extent)]++;
}
