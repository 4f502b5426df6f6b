/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What may take long, done in threads of its own: moving an extent, reading one again, reading the target's map. A dying
 * disk may let a read wait for minutes, and the main loop waits for nothing.
 *
 * A job is started from the main loop, knows its device only by id, and ends in the main loop again.
 */
#ifndef REMAP_ACTOR_H
#define REMAP_ACTOR_H

#include <stdint.h>

struct daemon;
struct device;
struct health_extent;

/* -errno if the loop can't be told of finished jobs. */
int actor_init(struct daemon *d);

/* Tells running jobs to end when they can. Those that wait for a disk are left to themselves. */
void actor_stop(void);

/* Jobs that run at the moment. */
unsigned int actor_running(void);

/* Each starts nothing, and returns -EBUSY, if the device has a job of that kind already; or another -errno. */

/* reason: why, in one line, for the event. */
int actor_move(struct daemon *d, struct device *device, const struct health_extent *extent, const char *reason);
/* The sectors that health_extent.reread_sector and reread_sectors name. */
int actor_reread(struct daemon *d, struct device *device, const struct health_extent *extent);
int actor_read_map(struct daemon *d, struct device *device);

#endif
