/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The arithmetic of the health model, apart from its bookkeeping: pure functions of numbers, so
 * that they can be fitted and plotted by themselves. docs/health.md derives each formula.
 */
#ifndef REMAP_HEALTH_MODEL_H
#define REMAP_HEALTH_MODEL_H

#include "health.h"

/* Weight of one anomaly in y: how much it says, against a re-read that was slow at depth 1. */
#define HEALTH_WEIGHT_SLOW	0.5 /* shared among the members of a stall */
#define HEALTH_WEIGHT_REREAD	1.0
#define HEALTH_WEIGHT_MEDIUM	1.0
#define HEALTH_WEIGHT_TIMEOUT	0.5
#define HEALTH_WEIGHT_OTHER	0.5
#define HEALTH_WEIGHT_RECOVERED 0.5

/*
 * What is left of soft evidence (slow) and of hard evidence (errors, re-reads) after a re-read that
 * was fine.
 */
#define HEALTH_CLEARED_SOFT 0.25
#define HEALTH_CLEARED_HARD 0.5

/* Neighbours further away than this many extents are left to h_drive. */
#define HEALTH_NEIGHBOUR_REACH 64

/* Weight in y of an error or, HEALTH_CLASS_OK, of a slow I/O; 0 for what is never evidence. */
double health_weight(enum health_class class);

/*
 * Share of a site's further errors that land in one extent, distance extents (1 or more) away, on
 * one side.
 */
double health_kernel_mass(const struct health_options *opt, unsigned int distance);

/*
 * P(event in the next horizon_visits) by the Gamma-Poisson posterior. evidence and visits are
 * decayed; neighbours is the neighbours' evidence as if it were next door; sites is the number of
 * recurrent extents elsewhere on the device.
 */
double health_event_chance(const struct health_options *opt, double evidence, double visits,
			   double neighbours, unsigned int sites);

/*
 * Chance of a loss, from the chance of an event: monotonic, 0..1. Not fitted yet: docs/health.md.
 */
double health_loss_chance(double event_chance);

/* Factor by which evidence decays for so many visits of its extent within elapsed_ns. */
double health_decay(const struct health_options *opt, double visits, uint64_t elapsed_ns);

#endif
