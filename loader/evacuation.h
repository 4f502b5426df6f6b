/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which places of a remap device are to be copied last when its data leaves for a new disk. Pure: no I/O. Sectors are of
 * the remap device.
 */
#ifndef REMAP_EVACUATION_H
#define REMAP_EVACUATION_H

#include "loader/badmap.h"
#include "loader/dmctl.h"

/* How far around a block that failed nothing is trusted. */
#define EVACUATION_AROUND_SECTORS 2048

/*
 * Both add to @late what should wait, in any order; evacuation_finish() follows. 0 or -ENOMEM.
 *
 * A run of the target's list: if a block of it failed, or something of it is unread or lost, it and what is around it.
 * One that moved whole and as a precaution reads well: it is on the spare.
 */
int evacuation_add_run(struct badmap *late, const struct dmctl_run *run);

/* An extent with the state that remapd gives it: "suspect" and "slow" wait. */
int evacuation_add_extent(struct badmap *late, const char *state, uint64_t sector, uint64_t count);

/* Orders it and leaves what is on the device. */
void evacuation_finish(struct badmap *late, uint64_t length_sectors);

#endif
