/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Writing the metadata of a spare that no target uses.
 *
 * The order is the module's: of two copies one is written and flushed before the other is touched, and
 * the one that is believed is always the second; the superblock comes last. A superblock that says
 * "incomplete" comes first where mappings are missing. So whatever write is the last one, the spare is
 * no worse than before, and doing the same again completes it.
 */
#ifndef REMAP_SPARE_MEND_H
#define REMAP_SPARE_MEND_H

#include "loader/spare.h"
#include "loader/spare_dump.h"

struct spare_mended {
	uint64_t copies_written;
	uint64_t copies_fenced;
	uint64_t entries_freed;
	uint64_t blocks_emptied;
	uint64_t blocks_restored;
	uint64_t slots_added;
	bool super_written;
	bool super_restored; /* from the dump */
	bool marked;   /* incomplete, now */
	bool unmarked; /* no more */
};

/*
 * Makes copies agree and frees outdated entries. Refuses (EX_DATAERR) what it can't mend without a
 * loss; with @accept_stale it goes on without the mappings that are gone, and marks the spare.
 * @spare is spare_check()'s. EX_OK, or a sysexits status with one line in error (SPARE_TEXT_BYTES);
 * EX_IOERR: neither copy of something could be written.
 */
int spare_repair(const struct spare_io *io, const struct spare *spare, bool accept_stale,
		 struct spare_mended *done, char *error);

/*
 * Writes each metadata block, and the superblock, of which the spare has no good copy or an older one
 * than the dump. What is newer on the spare stays. If something is, and something else has to come
 * from the dump, the map may lack mappings: refused (EX_DATAERR) without @older, marked with it.
 * @foreign: also where the spare is another's.
 */
int spare_restore(const struct spare_io *io, const struct spare *spare,
		  const struct spare_dump *dump, bool older, bool foreign,
		  struct spare_mended *done, char *error);

/*
 * Makes slots of what the device has gained since the spare was formatted. Only the superblock is written.
 * EX_DATAERR for a spare that is not clean, or that can't be larger.
 */
int spare_grow(const struct spare_io *io, const struct spare *spare, struct spare_mended *done, char *error);

/* ---- between spare_write.c, spare_repair.c and spare_restore.c ---- */

struct spare_writer {
	const struct spare_io *io;
	struct remap_super super; /* as it is to be on the spare */
	bool super_good[2];       /* copies that need no writing while nothing has changed */
	bool super_changed;
	bool fences_changed;
	unsigned int super_first; /* the copy to be written first */
	struct spare_mended *done;
	char *error;
};

/* What is to stand in a group. want[i] NULL: leave it. */
struct spare_wanted {
	const struct remap_meta_disk *want[REMAP_METAS_PER_GROUP];
	bool copy[2][REMAP_METAS_PER_GROUP]; /* to be written */
	unsigned int first[REMAP_METAS_PER_GROUP];
};

__attribute__((format(printf, 3, 4))) int spare_refuse(char *error, int status,
							const char *format, ...);

/* Writes a superblock that is whole but for its copies, as it is, to those. */
int spare_write_pieced_super(struct spare_writer *writer, const struct spare_supers *supers);

/* Writes the superblock if it changed or a copy is not good. Its sequence number goes up. */
int spare_write_super(struct spare_writer *writer);

/* A copy that can't be written is fenced if the other one is good. */
int spare_write_group(struct spare_writer *writer, uint32_t index, const struct spare_group *group,
		      const struct spare_wanted *wanted);

#endif
