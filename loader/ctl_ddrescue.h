/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* GNU ddrescue(1), which does the copying of remapctl evacuate. */
#ifndef REMAP_CTL_DDRESCUE_H
#define REMAP_CTL_DDRESCUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "loader/badmap.h"

struct ddrescue {
	const char *name; /* of the remap device, for its status while ddrescue runs */
	const char *source;
	const char *target;
	const char *mapfile;
	unsigned int sector_bytes; /* the smallest read */
	uint64_t length_sectors;
	unsigned int retries;
	bool may_be_written; /* the device, while it is copied; else evacuate_written() has to stay what it is here */
	dev_t devno;
	uint64_t written_sectors;
	bool dry_run; /* say what would be run */
};

/*
 * The steps of a copy, each a run of ddrescue that goes on where the mapfile says. A sysexits status, 128 + signal after
 * Ctrl-C; has said what failed. Progress is ddrescue's own, on stderr if that is a terminal. EX_TEMPFAIL: main went away,
 * and what failed to be read says nothing of single sectors. EX_DATAERR: the device was written, the copy is worth nothing.
 *
 * found: EX_UNAVAILABLE with the name of the package if there is no ddrescue. rest: all but what is late, in large
 * reads, nothing that fails is tried again. all: what is left, then piece by piece, then what failed again. mark: writes a
 * text to the target where nothing could be read.
 */
int ddrescue_found(void);
int ddrescue_copy_rest(const struct ddrescue *rescue, const struct badmap *late);
int ddrescue_copy_all(const struct ddrescue *rescue);
int ddrescue_mark(const struct ddrescue *rescue);

/* Says that the device was written while it was copied; EX_DATAERR. */
int ddrescue_fail_written(const struct ddrescue *rescue);

#endif
