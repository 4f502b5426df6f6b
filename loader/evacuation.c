// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* See evacuation.h. */
#include "loader/evacuation.h"

#include <string.h>

int evacuation_add_run(struct badmap *late, const struct dmctl_run *run)
{
	uint64_t before = run->sector < EVACUATION_AROUND_SECTORS ? run->sector : EVACUATION_AROUND_SECTORS;

	if (run->reason == DMCTL_REASON_PROACTIVE && !run->unread && !run->lost)
		return 0;
	return badmap_add(late, run->sector - before, before + run->count + EVACUATION_AROUND_SECTORS);
}

int evacuation_add_extent(struct badmap *late, const char *state, uint64_t sector, uint64_t count)
{
	if (strcmp(state, "suspect") && strcmp(state, "slow"))
		return 0;
	return badmap_add(late, sector, count);
}

void evacuation_finish(struct badmap *late, uint64_t length_sectors)
{
	badmap_order(late);
	badmap_clip(late, 0, length_sectors);
}
