/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An evacuation, and the mapfile that its copy goes on with. */
#ifndef REMAP_CTL_EVACUATE_H
#define REMAP_CTL_EVACUATE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "loader/badmap.h"
#include "loader/ctl.h"
#include "loader/ctl_probe.h"

#define SECTOR_BYTES 512

struct evacuation {
	const struct ctl *ctl;
	struct dmctl_device device;
	struct probe_device source;
	struct probe_device target;
	struct probe_contents contents; /* of the target */
	struct probe_super super;
	uint64_t length_sectors;
	struct badmap late;
	struct badmap done; /* by an earlier run */
	char mapfile[PATH_MAX];
	char other_mapfile[PATH_MAX]; /* of a copy of the other kind: made while the device was in use, or not */
	bool in_use; /* by someone who may write; only with --live */
	bool resumed;
	bool wipe;
	int source_fd; /* both keep others away, as far as nobody was there already */
	int target_fd;
	uint64_t written_sectors; /* evacuate_written(), when copying began */
};

/* ---- ctl_evacuate_map.c. Those that return an int return a sysexits status, and have said what failed. ---- */

/*
 * Sets the mapfiles' names: one for each pair of a map and a disk, whatever they are called today, and of a kind. So a copy that
 * was made while the device was in use is never gone on with as if it had not been.
 */
int evacuate_name_map(struct evacuation *e);

/* Replaces the mapfile: what is not @done was not tried. */
int evacuate_write_map(const struct evacuation *e, const struct badmap *done);

/* Begins anew: nothing is done, and of the other kind there is no mapfile any more. */
int evacuate_begin_map(const struct evacuation *e);

/* The places of the mapfile with one of these statuses, clipped to the device. False: there is none that can be read. */
bool evacuate_read_map(const struct evacuation *e, const char *statuses, struct badmap *map);

/* Is there a copy to go on with? Sets done and resumed. */
void evacuate_find_copied(struct evacuation *e);

/*
 * Has either of both been written since? Where a file system was mounted in between, or the disk is another of the same
 * name, a copy that is gone on with would be a mixture: refused, or with --force not resumed.
 */
int evacuate_check_copied(struct evacuation *e);

/* ---- ctl_evacuate_watch.c: the device, while it is copied ---- */

/* Sectors written to a block device or discarded on it since it was made, as the kernel counts them. 0 if it does not say. */
uint64_t evacuate_written(dev_t devno);

/*
 * From begin to end retry_ms of the device is 0: unread sectors are really read each time they are asked for, as ddrescue takes
 * them to be. A process of its own puts it back, so that this happens even if this one is killed.
 */
struct evacuate_retry {
	pid_t pid;
	int fd;
};
int evacuate_begin_retry(const struct evacuation *e, struct evacuate_retry *retry);
void evacuate_end_retry(const struct evacuate_retry *retry);

#endif
