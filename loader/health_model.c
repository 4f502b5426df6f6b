// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The health model's arithmetic. Pure; see health_model.h. */
#include <math.h>
#include <string.h>

#include "loader/health_model.h"

#define NS_PER_S 1000000000ULL

void health_options_default(struct health_options *opt)
{
	memset(opt, 0, sizeof(*opt));
	opt->extent_sectors = HEALTH_EXTENT_SECTORS;
	opt->table_extents = 4096;
	opt->slow_min_ns = 50000000;
	opt->slow_median_factor = 8;
	opt->slow_p99_factor = 2;
	opt->recurrence = 2;
	opt->incident_gap_ns = 10 * NS_PER_S;
	opt->stall_gap_ns = NS_PER_S / 5;
	opt->half_life_visits = 16;
	opt->half_life_floor_ns = 24 * 3600 * NS_PER_S;
	opt->reread_interval_ns = 30 * NS_PER_S;
	opt->reread_max = 8;
	opt->device_slow_factor = 4;
	opt->device_slow_hold_ns = 60 * NS_PER_S;
	opt->baseline_ns = 300 * NS_PER_S;
	opt->suspect_risk = 0.004;
	opt->prior_per_visit = 1e-8;
	opt->prior_shape = 1e-5;
	opt->neighbour_gain = 7e6;
	opt->kernel_alpha = 0.25;
	opt->kernel_x0_sectors = 1;
	opt->horizon_visits = 14;
}

double health_weight(enum health_class class)
{
	switch (class) {
	case HEALTH_CLASS_OK:
		return HEALTH_WEIGHT_SLOW;
	case HEALTH_CLASS_MEDIUM:
		return HEALTH_WEIGHT_MEDIUM;
	case HEALTH_CLASS_TIMEOUT:
		return HEALTH_WEIGHT_TIMEOUT;
	case HEALTH_CLASS_OTHER:
		return HEALTH_WEIGHT_OTHER;
	case HEALTH_CLASS_RECOVERED:
		return HEALTH_WEIGHT_RECOVERED;
	default:
		return 0;
	}
}

double health_kernel_mass(const struct health_options *opt, unsigned int distance)
{
	/* The kernel's density w(d), integrated over the extent; half of it lies on either side. */
	double length = opt->extent_sectors / opt->kernel_x0_sectors;
	double near_edge = 1 + (distance - 0.5) * length;
	double far_edge = 1 + (distance + 0.5) * length;

	return (pow(near_edge, -opt->kernel_alpha) - pow(far_edge, -opt->kernel_alpha)) / 2;
}

double health_event_chance(const struct health_options *opt, double evidence, double visits,
			   double neighbours, unsigned int sites)
{
	double near = opt->neighbour_gain * health_kernel_mass(opt, 1) * neighbours;
	double rate = opt->prior_per_visit * (1 + sites) * (1 + near);
	double shape = opt->prior_shape + evidence;
	double exposure = opt->prior_shape / rate + visits;

	/* 1 - (B / (B + H))^A, written so that small chances keep their digits */
	return -expm1(-shape * log1p(opt->horizon_visits / exposure));
}

double health_loss_chance(double event_chance)
{
	/* Log-log interpolation between points that are assumed, not fitted. */
	static const struct {
		double event, loss;
	} table[] = {
		{ 1e-12, 1e-13 }, { 1e-3, 1e-4 }, { 1e-2, 2e-3 },
		{ 0.1, 0.03 },	  { 0.5, 0.3 },	  { 1, 0.8 },
	};
	const size_t points = sizeof(table) / sizeof(table[0]);
	size_t i;

	if (!(event_chance > table[0].event))
		return event_chance > 0 ? event_chance * 0.1 : 0;
	for (i = 1; i < points; i++) {
		double share;

		if (event_chance > table[i].event)
			continue;
		share = log(event_chance / table[i - 1].event) /
			log(table[i].event / table[i - 1].event);
		return table[i - 1].loss * pow(table[i].loss / table[i - 1].loss, share);
	}
	return table[points - 1].loss;
}

double health_decay(const struct health_options *opt, double visits, uint64_t elapsed_ns)
{
	double by_visits = visits / opt->half_life_visits;
	double by_time = (double)elapsed_ns / opt->half_life_floor_ns;

	return exp2(-(by_visits < by_time ? by_visits : by_time));
}
