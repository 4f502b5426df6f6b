/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * All metadata of a spare in a file, one JSON object a line: the superblock, each metadata block of the
 * initialised groups, and an end with a checksum of what stands before. remapctl-dump(8) is its
 * reference.
 */
#ifndef REMAP_SPARE_DUMP_H
#define REMAP_SPARE_DUMP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "loader/spare.h"

#define SPARE_DUMP_VERSION 1

/* 0, -ENOMEM, -EIO (@out could not be written). @spare is spare_check()'s of @io. */
int spare_dump_write(const struct spare_io *io, const struct spare *spare, FILE *out);

struct spare_dump_block {
	bool known;
	uint64_t sequence;
	struct remap_entry_disk *entry; /* REMAP_ENTRIES_PER_META of them; NULL: all free */
};

struct spare_dump {
	bool has_super;
	struct remap_super super;
	struct spare_dump_block *block; /* by index; those that the layout lacks are not known */
	uint64_t nr_blocks;
};

/*
 * Reads a dump to its end and checks all of it: a block is known only if each of its entries may stand
 * on a disk. EX_OK, or a sysexits status with one line in error (SPARE_TEXT_BYTES). To be freed in
 * either case.
 */
int spare_dump_read(FILE *in, struct spare_dump *dump, char *error);
void spare_dump_free(struct spare_dump *dump);

#endif
