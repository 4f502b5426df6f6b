// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What is slow for this device? Its own last hour, by direction and size; frozen while all of it is
 * slow. Pure.
 */
#include "loader/health_table.h"

#define NS_PER_S	  1000000000ULL
#define LATENCY_NS_MAX	  (3600 * NS_PER_S) /* what is beyond is nonsense */
#define YARDSTICK_IOS_MIN 64		    /* I/Os before a device's yardstick is believed */
#define PERIOD_IOS_MIN	  16		    /* I/Os before a period says anything of the device */
#define NEW_NORMAL_NS	  (3600 * NS_PER_S) /* slow for so long is how the device is now */

unsigned int health_size_class(uint32_t sectors)
{
	return sectors <= 8 ? 0 : sectors <= 64 ? 1 : sectors <= 512 ? 2 : 3;
}

uint64_t health_slow_ns(const struct health *h, enum health_dir dir, uint32_t sectors)
{
	const struct health_latency *hour = &h->yardstick[dir][health_size_class(sectors)];
	double limit = h->opt.slow_min_ns;
	double by_median, by_p99;

	if (hour->count < YARDSTICK_IOS_MIN)
		return limit;
	by_median = h->opt.slow_median_factor * hour->median_ns;
	by_p99 = h->opt.slow_p99_factor * hour->p99_ns;
	/*
	 * An extent that is read much and is slow raises the p99 that it is judged by: so that has
	 * a limit.
	 */
	if (by_p99 > 2 * by_median)
		by_p99 = 2 * by_median;
	if (limit < by_median)
		limit = by_median;
	if (limit < by_p99)
		limit = by_p99;
	return limit < (double)INT64_MAX ? (uint64_t)limit : INT64_MAX;
}

/* Puts the period into the slot of its minute and makes the hour's yardstick anew. */
static void measure(struct health *h, enum health_dir dir, unsigned int size,
		    const struct health_latency *lat)
{
	uint64_t minute = h->now_ns / HEALTH_SLOT_NS + 1;
	struct health_slot *slot = h->slot[dir][size], *now = &slot[minute % HEALTH_SLOTS];
	uint64_t median_ns = lat->median_ns < LATENCY_NS_MAX ? lat->median_ns : LATENCY_NS_MAX;
	uint64_t p99_ns = lat->p99_ns < LATENCY_NS_MAX ? lat->p99_ns : LATENCY_NS_MAX;
	uint64_t count = lat->count < UINT32_MAX ? lat->count : UINT32_MAX;
	struct health_latency sorted[HEALTH_SLOTS], sum = { 0 };
	uint64_t weight = 0;
	double share;
	uint32_t n = 0, i, j;

	if (now->minute != minute)
		*now = (struct health_slot){ .minute = minute };
	now->lat.count += count;
	share = (double)count / now->lat.count;
	now->lat.median_ns += share * ((double)median_ns - now->lat.median_ns);
	now->lat.p99_ns += share * ((double)p99_ns - now->lat.p99_ns);

	/*
	 * The hour's median is the minutes' median, weighted by their I/Os: one bad minute does not
	 * move it.
	 */
	for (i = 0; i < HEALTH_SLOTS; i++) {
		if (!slot[i].lat.count || slot[i].minute + HEALTH_SLOTS <= minute)
			continue;
		for (j = n++; j > 0 && sorted[j - 1].median_ns > slot[i].lat.median_ns; j--)
			sorted[j] = sorted[j - 1];
		sorted[j] = slot[i].lat;
		sum.count += slot[i].lat.count;
	}
	for (i = 0; i < n; i++) {
		weight += sorted[i].count;
		if (weight >= sum.count - weight)
			break;
	}
	sum.median_ns = sorted[i].median_ns;
	sum.p99_ns = sorted[i].p99_ns;
	h->yardstick[dir][size] = sum;
}

static bool is_slower(const struct health *h, const struct health_latency *now,
		      const struct health_latency *hour)
{
	double limit = h->opt.device_slow_factor * hour->median_ns;

	if (limit < h->opt.slow_min_ns / 2.0)
		limit = h->opt.slow_min_ns / 2.0;
	return now->median_ns > limit;
}

/*
 * True if slow I/O hit much of the device in this period, and not a few bad extents that a workload
 * dwells on.
 */
static bool is_spread(const struct health *h)
{
	uint64_t apart = h->extents / 16 < HEALTH_NEIGHBOUR_REACH ? h->extents / 16
								  : HEALTH_NEIGHBOUR_REACH;
	uint64_t place[HEALTH_SPREAD_PLACES];
	uint32_t places = 0, i, j;

	for (i = 0; i < h->spreads && places < HEALTH_SPREAD_PLACES; i++) {
		for (j = 0; j < places; j++) {
			uint64_t x = h->spread[i], y = place[j];

			if ((x > y ? x - y : y - x) <= apart)
				break;
		}
		if (j == places)
			place[places++] = h->spread[i];
	}
	return places == HEALTH_SPREAD_PLACES || h->spreads == HEALTH_SPREAD_EXTENTS;
}

void health_period(struct health *h, const struct health_period *period, uint64_t now_ns)
{
	uint64_t judged = 0, slower = 0;
	unsigned int d, c;
	bool slow;

	health_advance(h, now_ns);
	for (d = 0; d < HEALTH_DIRS; d++)
		for (c = 0; c < HEALTH_SIZE_CLASSES; c++) {
			const struct health_latency *now = &period->lat[d][c],
						    *hour = &h->yardstick[d][c];

			if (now->count < PERIOD_IOS_MIN || hour->count < YARDSTICK_IOS_MIN)
				continue;
			judged += now->count;
			if (is_slower(h, now, hour))
				slower += now->count;
		}
	slow = h->opt.device_slow_factor > 0 && slower && slower * 2 >= judged && is_spread(h);
	h->spreads = 0;
	if (!slow)
		h->slow_since_ns = 0;
	else if (!h->slow_since_ns)
		h->slow_since_ns = h->now_ns;
	if (slow && h->now_ns - h->slow_since_ns < NEW_NORMAL_NS) {
		health_freeze(h, HEALTH_FREEZE_SLOW);
		return;
	}
	h->good_period_ns = h->now_ns;
	if (health_frozen(h))
		return;
	for (d = 0; d < HEALTH_DIRS; d++)
		for (c = 0; c < HEALTH_SIZE_CLASSES; c++)
			if (period->lat[d][c].count)
				measure(h, d, c, &period->lat[d][c]);
}
