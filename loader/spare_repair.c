// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Repair: from the spare alone. First copies are made to agree, without a change to what they say;
 * only when two are whole is anything changed. What is gone is never guessed: where the person accepts
 * that, a metadata block becomes empty, and the superblock says from before then on that the map is
 * incomplete, so that no module writes to the spare again.
 */
#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "loader/spare_mend.h"

struct repair {
	struct spare_writer writer;
	const struct spare *spare;
	struct spare_group *group;
	struct remap_meta_disk *changed; /* a group's */
	size_t next_entry;               /* of spare->entry; groups are visited in order */
};

/* Why nothing may be written, whatever the person accepts. */
static int check_hopeless(const struct spare *spare, char *error)
{
	size_t i;

	for (i = 0; i < spare->nr_findings; i++)
		switch (spare->finding[i].kind) {
		case SPARE_SUPER_GONE:
			return spare_refuse(error, EX_DATAERR,
					    "the superblock is gone: only a dump has it (remapctl restore)");
		case SPARE_SUPER_NEWER:
		case SPARE_SUPER_READ_ONLY:
			return spare_refuse(error, EX_DATAERR,
					    "the spare has features that this remapctl does not know: use a "
					    "newer one");
		case SPARE_TOO_SMALL:
			return spare_refuse(error, EX_DATAERR,
					    "the spare is smaller than it was: copy it to a device that is not");
		case SPARE_GROUP_UNCOUNTED:
			return spare_refuse(error, EX_DATAERR,
					    "the superblock is an old one and does not know all mappings: only "
					    "a dump has it (remapctl restore)");
		default:
			break;
		}
	return EX_OK;
}

/* The copies of what is believed, as it is. */
static int mend_copies(struct repair *repair, uint32_t index)
{
	const struct spare_group *group = repair->group;
	struct spare_wanted wanted = { 0 };
	unsigned int i, copy;

	for (i = 0; i < group->place.nr_metas; i++) {
		const struct spare_meta *meta = &group->meta[i];

		wanted.want[i] = group->believed[i];
		for (copy = 0; copy < 2; copy++)
			wanted.copy[copy][i] = meta->state[copy] != SPARE_COPY_GOOD;
	}
	return spare_write_group(&repair->writer, index, group, &wanted);
}

/* A copy of the block that is believed, to be changed. */
static struct remap_meta_disk *change(struct repair *repair, struct spare_wanted *wanted,
				      unsigned int i)
{
	if (!wanted->want[i]) {
		repair->changed[i] = *repair->group->believed[i];
		wanted->want[i] = &repair->changed[i];
	}
	return &repair->changed[i];
}

static void free_entries(struct repair *repair, uint32_t index, struct spare_wanted *wanted)
{
	const struct spare *spare = repair->spare;

	for (; repair->next_entry < spare->nr_entries; repair->next_entry++) {
		const struct spare_entry *entry = &spare->entry[repair->next_entry];
		uint32_t place = entry->slot % REMAP_SLOTS_PER_GROUP;
		struct remap_entry_disk *disk;
		uint64_t word = 0;

		if (entry->slot / REMAP_SLOTS_PER_GROUP > index)
			break;
		if (!entry->outdated && !entry->impossible)
			continue;
		if (!entry->impossible && remap_word_state(entry->word) == REMAP_ENTRY_RETIRED_MAPPED)
			word = remap_word(0, REMAP_ENTRY_RETIRED, REMAP_REASON_NONE, 0);
		disk = &change(repair, wanted, place / REMAP_ENTRIES_PER_META)
				->entry[place % REMAP_ENTRIES_PER_META];
		*disk = (struct remap_entry_disk){ .word = htole64(word) };
		repair->writer.done->entries_freed++;
	}
}

/* What is to be said anew: without the entries that don't count, and empty where nothing is known. */
static int change_group(struct repair *repair, uint32_t index)
{
	const struct spare_group *group = repair->group;
	const struct remap_super *super = &repair->writer.super;
	struct spare_wanted wanted = { 0 };
	uint64_t number;
	unsigned int i;

	free_entries(repair, index, &wanted);
	for (i = 0; i < group->place.nr_metas; i++) {
		struct remap_meta_disk *meta = &repair->changed[i];

		number = (uint64_t)index * REMAP_METAS_PER_GROUP + i;
		if (wanted.want[i]) {
			meta->sequence = htole64(group->meta[i].sequence + 1);
			meta->super_sequence = htole64(super->sequence);
			remap_meta_seal(meta);
		} else if (!group->believed[i]) {
			/* The lowest number, so that a dump that knows the block is newer. */
			remap_meta_empty(meta, super, number, 1);
			wanted.want[i] = meta;
			repair->writer.done->blocks_emptied++;
		}
		wanted.copy[0][i] = wanted.copy[1][i] = wanted.want[i];
	}
	return spare_write_group(&repair->writer, index, group, &wanted);
}

static int all_groups(struct repair *repair, int (*mend)(struct repair *repair, uint32_t index))
{
	const struct spare_io *io = repair->writer.io;
	uint32_t index;
	int status = EX_OK;

	for (index = 0; index < repair->writer.super.nr_groups_initialised && !status; index++) {
		spare_read_group(io, &repair->writer.super, index, repair->group);
		status = mend(repair, index);
	}
	return status;
}

/* Number of a superblock that is newer than this one and than all metadata. */
static uint64_t newest_super_sequence(struct repair *repair)
{
	uint64_t newest = repair->writer.super.sequence;
	uint32_t index, i;

	for (index = 0; index < repair->writer.super.nr_groups_initialised; index++) {
		spare_read_group(repair->writer.io, &repair->writer.super, index, repair->group);
		for (i = 0; i < repair->group->place.nr_metas; i++) {
			const struct remap_meta_disk *meta = repair->group->believed[i];

			if (meta && le64toh(meta->super_sequence) > newest)
				newest = le64toh(meta->super_sequence);
		}
	}
	return newest;
}

static int mark_incomplete(struct repair *repair)
{
	struct remap_super *super = &repair->writer.super;

	repair->writer.done->marked = !(super->ro_compat & REMAP_RO_COMPAT_INCOMPLETE);
	super->sequence = newest_super_sequence(repair);
	super->ro_compat |= REMAP_RO_COMPAT_INCOMPLETE;
	repair->writer.super_changed = true;
	return spare_write_super(&repair->writer);
}

/* Is there a loss beyond what an earlier repair has marked? */
static bool has_new_loss(const struct spare *spare)
{
	size_t i;

	for (i = 0; i < spare->nr_findings; i++)
		if (spare->finding[i].verdict == SPARE_LOSES &&
		    spare->finding[i].kind != SPARE_INCOMPLETE)
			return true;
	return false;
}

static int run(struct repair *repair, bool loses)
{
	int status = spare_write_pieced_super(&repair->writer, &repair->spare->supers);

	if (!status && loses)
		status = mark_incomplete(repair);
	if (!status)
		status = all_groups(repair, mend_copies);
	if (!status)
		status = all_groups(repair, change_group);
	return status ? status : spare_write_super(&repair->writer);
}

int spare_repair(const struct spare_io *io, const struct spare *spare, bool accept_stale,
		 struct spare_mended *done, char *error)
{
	const struct spare_supers *supers = &spare->supers;
	struct repair repair = { .spare = spare };
	bool loses = has_new_loss(spare);
	int status = check_hopeless(spare, error);

	memset(done, 0, sizeof(*done));
	if (status)
		return status;
	if (loses && !accept_stale)
		return spare_refuse(error, EX_DATAERR,
				    "it can't be mended without a loss: restore a dump (remapctl restore), or "
				    "see remapctl-repair(8) for --accept-stale");
	repair.writer = (struct spare_writer){
		.io = io,
		.super = supers->super,
		.super_good = { supers->state[0] == SPARE_COPY_GOOD,
				supers->state[1] == SPARE_COPY_GOOD },
		.super_first = supers->state[0] == SPARE_COPY_GOOD,
		.done = done,
		.error = error,
	};
	repair.group = malloc(sizeof(*repair.group));
	repair.changed = malloc(REMAP_METAS_PER_GROUP * sizeof(*repair.changed));
	status = repair.group && repair.changed ? run(&repair, loses) :
						  spare_refuse(error, EX_OSERR, "out of memory");
	free(repair.group);
	free(repair.changed);
	return status;
}
