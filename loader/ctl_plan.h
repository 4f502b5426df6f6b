/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What remapctl create, or assemble, is to do, once all that can be checked beforehand has been. */
#ifndef REMAP_CTL_PLAN_H
#define REMAP_CTL_PLAN_H

#include "loader/badmap.h"
#include "loader/ctl.h"
#include "loader/ctl_probe.h"
#include "loader/ctl_stale.h"

struct plan {
	const char *name;
	bool assemble; /* never format */
	struct probe_device main;
	struct probe_device spare;
	struct probe_contents main_contents;
	struct probe_contents spare_contents;
	struct probe_super super;
	struct dmctl_table table;
	struct badmap import; /* of create */
	bool format_spare;
	bool wipe_spare;
	enum stamp_found stamp_found;
	struct stamp stamp; /* on main */
	struct stale_result stale;
};

/* args: NAME MAIN SPARE. plan: all zero but for assemble and import. Changes nothing. A sysexits status; has said what is refused. */
int ctl_make_plan(const struct ctl *ctl, char **args, struct plan *plan);

#endif
