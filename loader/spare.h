/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A spare that no target uses: what its metadata says, and what is wrong with it, by the rules of the
 * kernel module (kmod/meta.c, "Loading"; kmod/format.c is the same file). Reads through callbacks and
 * keeps no state of its own: a device, an image and a test's memory are all the same to it.
 *
 * Sectors are those of the spare's area, which starts at --spare-offset of the device.
 *
 *   spare_read.c    copies: which are whole, which is believed
 *   spare_check.c   the whole spare: findings, verdict, map
 *   spare_text.c    findings in words
 *   spare_dump.h    saving it all to a file, and reading that back
 *   spare_mend.h    writing: repair, restore
 *   spare_device.h  a device or an image behind struct spare_io
 */
#ifndef REMAP_SPARE_H
#define REMAP_SPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kmod/format.h"

#define SPARE_TEXT_BYTES 320

/*
 * Each function returns 0 or a negative errno. @buf has no alignment of its own. Written data is
 * durable when a flush that started later has succeeded.
 */
struct spare_io {
	void *context;
	uint64_t area_sectors;
	unsigned int step_sectors; /* the least that can be read by itself, at most 8 */
	int (*read)(void *context, uint64_t sector, unsigned int nr_sectors, void *buf);
	int (*write)(void *context, uint64_t sector, unsigned int nr_sectors, const void *buf);
	int (*flush)(void *context);
};

/* What stands where a copy of a superblock or metadata block should. The values are in no file. */
enum spare_copy {
	SPARE_COPY_GOOD,
	SPARE_COPY_OLDER,      /* whole, but the other copy has a higher sequence number */
	SPARE_COPY_DIFFERS,    /* the same sequence number as the other, which is believed */
	SPARE_COPY_FENCED,     /* recorded as invalid: never looked at */
	SPARE_COPY_UNREADABLE,
	SPARE_COPY_BLANK,      /* the magic number is not there */
	SPARE_COPY_MISPLACED,  /* another metadata block of this spare */
	SPARE_COPY_FOREIGN,    /* whole, but of another spare */
	SPARE_COPY_DAMAGED,    /* fails its checksum, or has the sequence number 0 */
	SPARE_COPY_IMPOSSIBLE, /* a superblock that holds impossible numbers */
	SPARE_COPY_NEWER,      /* a superblock of a newer version, or with unknown features */
};

/* Copies A and B of the superblock. */
struct spare_supers {
	enum spare_copy state[2];
	bool believed; /* super is set */
	bool pieced;   /* neither copy is whole, but what can be read of both makes a whole one */
	bool refused;  /* the module refuses them, whatever else is on the spare */
	struct remap_super super;
	struct remap_super_disk whole;  /* as it was before it was decoded */
	struct remap_super_disk raw[2]; /* what can't be read is zero */
};

struct spare_meta {
	enum spare_copy state[2];
	bool pieced;
	uint64_t sequence; /* of the one that is believed; 0: none is */
};

/* One group's metadata. Large: for the heap. */
struct spare_group {
	struct remap_group_place place;
	struct spare_meta meta[REMAP_METAS_PER_GROUP];
	/* NULL: nothing of it is known. Points into raw or pieced. */
	const struct remap_meta_disk *believed[REMAP_METAS_PER_GROUP];
	struct remap_meta_disk raw[2][REMAP_METAS_PER_GROUP];
	struct remap_meta_disk pieced[REMAP_METAS_PER_GROUP];
};

/* Nothing here fails: what can't be read is a state. */
void spare_read_supers(const struct spare_io *io, struct spare_supers *supers);

/* False: the layout has no such group. */
bool spare_read_group(const struct spare_io *io, const struct remap_super *super, uint32_t index,
		      struct spare_group *group);

/* First sector of copy @copy of a metadata block. */
uint64_t spare_meta_sector(const struct remap_group_place *place, unsigned int copy,
			   unsigned int i);

/* A sector of a slot; the slot must exist. */
uint64_t spare_slot_sector(const struct remap_super *super, uint32_t slot);

/* ---- the whole spare ---- */

enum spare_kind {
	SPARE_SUPER_COPY,       /* one copy is not good */
	SPARE_SUPER_PIECED,
	SPARE_SUPER_GONE,
	SPARE_SUPER_NEWER,      /* a version or a feature that this program does not know */
	SPARE_SUPER_READ_ONLY,  /* a feature that only reading is allowed with */
	SPARE_SUPER_BEHIND,     /* metadata was written after it by a later one */
	SPARE_TOO_SMALL,
	SPARE_INCOMPLETE,       /* marked so by repair or restore */
	SPARE_META_COPY,
	SPARE_META_PIECED,
	SPARE_META_GONE,
	SPARE_GROUP_UNCOUNTED,  /* a group that the superblock does not count has mappings */
	SPARE_ENTRY_IMPOSSIBLE,
	SPARE_ENTRY_OUTDATED,   /* two entries name one block: the older is to be freed */
	SPARE_ENTRY_AMBIGUOUS,  /* two entries name one block, and nothing says which is newer */
};

enum spare_verdict {
	SPARE_CLEAN,
	SPARE_MENDS, /* damaged, and nothing is lost by that */
	SPARE_LOSES, /* something is lost, or nobody can say that nothing is */
};

enum spare_activation {
	SPARE_ACTIVATES,
	SPARE_ACTIVATES_READ_ONLY,
	SPARE_REFUSED,
};

struct spare_finding {
	enum spare_kind kind;
	enum spare_verdict verdict;
	enum spare_activation activation; /* what the module makes of this finding alone */
	unsigned int copy;
	enum spare_copy state[2]; /* of the copies, where there are any */
	uint64_t first; /* metadata blocks, or slots for an entry; both included */
	uint64_t last;
	uint64_t nr_slots; /* that it is about */
	uint64_t block;    /* of main, for an entry */
};

struct spare_entry {
	uint64_t word;
	uint32_t slot;
	uint32_t unread;
	uint32_t lost;
	bool outdated; /* another entry is its block's home */
	bool impossible;
};

struct spare {
	struct spare_supers supers;
	bool found; /* there is some trace of a spare */
	struct spare_entry *entry; /* all that are not free, by slot */
	size_t nr_entries;
	uint32_t *home; /* places in entry: each mapped block's home, by block */
	size_t nr_homes;
	struct spare_finding *finding;
	size_t nr_findings;
	enum spare_verdict verdict;
	enum spare_activation activation;
	uint64_t nr_metas; /* of the initialised groups */
	uint64_t nr_slots;
	uint64_t nr_retired;
	uint64_t unread_sectors;
	uint64_t lost_sectors;
};

/* Called now and then; may be NULL. */
typedef void spare_progress(uint64_t done, uint64_t all);

/*
 * Reads and judges all metadata. 0 or -ENOMEM; what can't be read is a finding. To be freed in
 * either case. About 40 bytes of memory a mapping.
 */
int spare_check(const struct spare_io *io, struct spare *spare, spare_progress *progress);
void spare_free(struct spare *spare);

/* A run of blocks whose homes are side by side, for the same reason and in the same state. */
struct spare_run {
	uint64_t block;
	uint64_t nr_blocks;
	uint32_t slot;
	enum remap_entry_state state;
	enum remap_reason reason;
	uint64_t sector; /* of the remap device */
	uint64_t nr_sectors;
	uint64_t unread_sectors;
	uint64_t lost_sectors;
};

/* The run that begins with home number *@next, which moves on behind it. False: there is none. */
bool spare_next_run(const struct spare *spare, size_t *next, struct spare_run *run);

/* ---- words; text has room for SPARE_TEXT_BYTES ---- */

void spare_finding_text(const struct spare *spare, const struct spare_finding *finding,
			char *text);
const char *spare_kind_word(enum spare_kind kind);
const char *spare_copy_word(enum spare_copy state);
const char *spare_verdict_word(enum spare_verdict verdict);
const char *spare_activation_word(enum spare_activation activation);
const char *spare_state_word(enum remap_entry_state state);
const char *spare_reason_word(enum remap_reason reason);

#endif
