/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* create's --import. */
#ifndef REMAP_CTL_BADMAP_H
#define REMAP_CTL_BADMAP_H

#include "loader/badmap.h"
#include "loader/ctl.h"

/* Reads the file that --import names; an empty map if it was not given. The status, with the reason said. */
int ctl_import_read(const struct ctl *ctl, struct badmap *map);

/*
 * Moves what is in the map and on the new device. *report: what came of it, the caller's. What could not be
 * moved is said, and is no failure unless the spare or the user ended it.
 */
int ctl_import_move(const struct ctl *ctl, const char *name, uint64_t length_sectors, struct badmap *map,
		    json_t **report);

#endif
