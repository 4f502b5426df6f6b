// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Restore: what the spare has no more comes from a dump. Of each metadata block the newer of both is
 * taken. A dump is as good as the spare was if nothing on the spare is newer than it; else mappings
 * that were made since may be missing, and the superblock says so.
 */
#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "loader/spare_mend.h"

struct restore {
	struct spare_writer writer;
	const struct spare_dump *dump;
	struct spare_group *group;
	struct remap_meta_disk *taken; /* a group's, from the dump */
	bool super_taken;
	bool super_behind; /* the superblock that was chosen is older than some metadata */
	/* Found by looking at all of it before anything is written. */
	uint64_t nr_taken;   /* metadata blocks */
	uint64_t nr_newer;   /* on the spare than in the dump */
	uint64_t nr_single;  /* of which the spare has one good copy, and the dump not the same */
	uint64_t nr_unequal; /* that will not be as in the dump, or were not at some time since */
	uint64_t newest_super_sequence;
};

static const struct spare_dump_block *dump_block(const struct restore *restore, uint64_t index)
{
	static const struct spare_dump_block unknown;

	return index < restore->dump->nr_blocks ? &restore->dump->block[index] : &unknown;
}

static bool same_entries(const struct remap_meta_disk *meta, const struct spare_dump_block *block)
{
	static const struct remap_entry_disk none[REMAP_ENTRIES_PER_META];

	return !memcmp(meta->entry, block->entry ? block->entry : none, sizeof(meta->entry));
}

/* What the module believes, unless an entry of it can't be. */
static const struct remap_meta_disk *usable(const struct restore *restore, unsigned int i)
{
	const struct remap_meta_disk *meta = restore->group->believed[i];
	unsigned int k;

	for (k = 0; meta && k < REMAP_ENTRIES_PER_META; k++) {
		const struct remap_entry_disk *entry = &meta->entry[k];

		if (i * REMAP_ENTRIES_PER_META + k < restore->group->place.nr_slots &&
		    !remap_entry_check(&restore->writer.super, le64toh(entry->word),
				       le32toh(entry->unread), le32toh(entry->lost)))
			return NULL;
	}
	return meta;
}

enum source { FROM_NOWHERE, FROM_SPARE, FROM_DUMP };

static enum source choose(const struct restore *restore, uint64_t number, unsigned int i)
{
	const struct spare_dump_block *block = dump_block(restore, number);
	const struct remap_meta_disk *meta = usable(restore, i);

	if (!meta || !block->known)
		return meta ? FROM_SPARE : block->known ? FROM_DUMP : FROM_NOWHERE;
	return restore->group->meta[i].sequence >= block->sequence || same_entries(meta, block) ?
		       FROM_SPARE : FROM_DUMP;
}

static void look_at_group(struct restore *restore, uint32_t index)
{
	const struct spare_group *group = restore->group;
	unsigned int i;

	for (i = 0; i < group->place.nr_metas; i++) {
		uint64_t number = (uint64_t)index * REMAP_METAS_PER_GROUP + i;
		const struct spare_dump_block *block = dump_block(restore, number);
		const struct spare_meta *meta = &group->meta[i];
		enum source source = choose(restore, number, i);
		bool same = source == FROM_DUMP || (source == FROM_SPARE && block->known &&
						    same_entries(group->believed[i], block));

		restore->nr_taken += source == FROM_DUMP;
		restore->nr_unequal += !same || meta->sequence > block->sequence;
		/* A newer one that holds impossible numbers is replaced too. */
		restore->nr_newer += source == FROM_DUMP && meta->sequence > block->sequence;
		if (source == FROM_SPARE && !same) {
			restore->nr_newer += block->known ||
					     number >= restore->dump->nr_blocks;
			restore->nr_single += meta->state[0] != SPARE_COPY_GOOD ||
					      meta->state[1] != SPARE_COPY_GOOD;
		}
		if (group->believed[i] &&
		    le64toh(group->believed[i]->super_sequence) > restore->newest_super_sequence)
			restore->newest_super_sequence =
				le64toh(group->believed[i]->super_sequence);
	}
}

/* The dump's block, with a number that wins over what stands there. */
static const struct remap_meta_disk *take(struct restore *restore, uint64_t number, unsigned int i)
{
	const struct spare_dump_block *block = dump_block(restore, number);
	const struct spare_meta *old = &restore->group->meta[i];
	struct remap_meta_disk *meta = &restore->taken[i];

	remap_meta_empty(meta, &restore->writer.super, number,
			 old->sequence > block->sequence ? old->sequence + 1 : block->sequence);
	if (block->entry)
		memcpy(meta->entry, block->entry, sizeof(meta->entry));
	remap_meta_seal(meta);
	return meta;
}

static int write_group(struct restore *restore, uint32_t index)
{
	const struct spare_group *group = restore->group;
	struct spare_wanted wanted = { 0 };
	unsigned int i, copy;

	for (i = 0; i < group->place.nr_metas; i++) {
		uint64_t number = (uint64_t)index * REMAP_METAS_PER_GROUP + i;
		enum source source = choose(restore, number, i);

		if (source == FROM_NOWHERE)
			continue;
		wanted.want[i] = source == FROM_SPARE ? group->believed[i] :
							take(restore, number, i);
		wanted.first[i] = group->meta[i].state[0] == SPARE_COPY_GOOD;
		for (copy = 0; copy < 2; copy++)
			wanted.copy[copy][i] = source == FROM_DUMP ||
					       group->meta[i].state[copy] != SPARE_COPY_GOOD;
		restore->writer.done->blocks_restored += source == FROM_DUMP;
	}
	return spare_write_group(&restore->writer, index, group, &wanted);
}

/*
 * Groups that were initialised after the superblock was saved are counted as far as they are there: an
 * empty one too many does no harm.
 */
static void count_groups(struct restore *restore)
{
	struct remap_super *super = &restore->writer.super;
	unsigned int i;

	while (spare_read_group(restore->writer.io, super, super->nr_groups_initialised,
				restore->group)) {
		for (i = 0; i < restore->group->place.nr_metas; i++)
			if (!restore->group->believed[i])
				return;
		super->nr_groups_initialised++;
		restore->writer.super_changed = true;
	}
}

static bool is_other_spare(const struct spare *spare, const struct spare_dump *dump)
{
	return !spare->supers.believed ||
	       memcmp(spare->supers.super.uuid, dump->super.uuid, REMAP_UUID_BYTES);
}

/* Has a device without a usable superblock any metadata block of the dump's spare where one belongs? */
static bool has_trace(struct restore *restore)
{
	uint32_t index, i;

	for (index = 0; index < restore->dump->super.nr_groups_initialised; index++) {
		spare_read_group(restore->writer.io, &restore->dump->super, index, restore->group);
		for (i = 0; i < restore->group->place.nr_metas; i++)
			if (restore->group->believed[i])
				return true;
	}
	return false;
}

static int check_identity(struct restore *restore, const struct spare *spare, bool foreign)
{
	const struct remap_super *super = &restore->dump->super;
	const struct remap_segment *last = &super->segment[super->nr_segments - 1];
	char *error = restore->writer.error;

	if (last->start_sector + last->nr_sectors > restore->writer.io->area_sectors)
		return spare_refuse(error, EX_DATAERR,
				    "it is smaller than the spare of the dump, which has %" PRIu64
				    " sectors",
				    last->start_sector + last->nr_sectors);
	if (spare->supers.state[0] == SPARE_COPY_NEWER || spare->supers.state[1] == SPARE_COPY_NEWER)
		return spare_refuse(error, EX_DATAERR, "it is of a newer remapctl: use that");
	if (foreign || !is_other_spare(spare, restore->dump))
		return EX_OK;
	if (spare->supers.believed)
		return spare_refuse(error, EX_DATAERR,
				    "it is another spare than that of the dump: their UUIDs differ");
	if (!has_trace(restore))
		return spare_refuse(error, EX_DATAERR,
				    "it has no trace of the dump's spare: is it the right device?");
	return EX_OK;
}

/* The superblock to go on with: the spare's own, unless the dump's is newer. */
static void choose_super(struct restore *restore, const struct spare *spare)
{
	const struct spare_supers *supers = &spare->supers;
	struct spare_writer *writer = &restore->writer;
	bool own = !is_other_spare(spare, restore->dump);

	restore->super_taken =
		!own || supers->super.sequence < restore->dump->super.sequence;
	writer->super = restore->super_taken ? restore->dump->super : supers->super;
	writer->super_changed = restore->super_taken;
	writer->super_good[0] = own && supers->state[0] == SPARE_COPY_GOOD;
	writer->super_good[1] = own && supers->state[1] == SPARE_COPY_GOOD;
	writer->super_first = writer->super_good[0];
	restore->newest_super_sequence = writer->super.sequence;
}

/*
 * May what is taken from the dump lack mappings? Fences that are not known matter only for a block that
 * has one good copy.
 */
static bool is_uncertain(const struct restore *restore)
{
	bool fences_unknown =
		restore->super_behind || (restore->super_taken && restore->nr_newer);

	return (restore->nr_newer && restore->nr_taken) || (fences_unknown && restore->nr_single);
}

static int look(struct restore *restore, bool older)
{
	struct spare_writer *writer = &restore->writer;
	uint32_t index;

	count_groups(restore);
	for (index = 0; index < writer->super.nr_groups_initialised; index++) {
		spare_read_group(writer->io, &writer->super, index, restore->group);
		look_at_group(restore, index);
	}
	restore->super_behind = restore->newest_super_sequence > writer->super.sequence;
	writer->super.sequence = restore->newest_super_sequence;
	if (older || !is_uncertain(restore))
		return EX_OK;
	return spare_refuse(writer->error, EX_DATAERR,
			    "the dump is older than the spare: %" PRIu64
			    " metadata blocks were written since, and what is missing may have been too; "
			    "--older goes on and marks the map as incomplete",
			    restore->nr_newer);
}

static int run(struct restore *restore, const struct spare *spare)
{
	struct spare_writer *writer = &restore->writer;
	uint32_t was = writer->super.ro_compat, index;
	bool own = !is_other_spare(spare, restore->dump);
	int status = own ? spare_write_pieced_super(writer, &spare->supers) : EX_OK;

	/*
	 * No module may write before all of this is done; without a superblock it refuses anyway. And what is
	 * uncertain looks certain once its copies agree, so that has to be said before.
	 */
	if (restore->nr_taken || restore->super_taken || is_uncertain(restore)) {
		writer->super.ro_compat |= REMAP_RO_COMPAT_INCOMPLETE;
		writer->super_changed = true;
	}
	if (!status && writer->super_changed && (own || is_uncertain(restore)))
		status = spare_write_super(writer);
	for (index = 0; index < writer->super.nr_groups_initialised && !status; index++) {
		spare_read_group(writer->io, &writer->super, index, restore->group);
		status = write_group(restore, index);
	}
	if (status)
		return status;
	writer->super.ro_compat = was;
	if (is_uncertain(restore))
		writer->super.ro_compat |= REMAP_RO_COMPAT_INCOMPLETE;
	else if (!restore->nr_unequal)
		writer->super.ro_compat = restore->dump->super.ro_compat;
	writer->done->marked = writer->super.ro_compat & ~was & REMAP_RO_COMPAT_INCOMPLETE;
	writer->done->unmarked = was & ~writer->super.ro_compat & REMAP_RO_COMPAT_INCOMPLETE;
	writer->done->super_restored = restore->super_taken;
	writer->super_changed |= restore->super_taken || restore->nr_taken ||
				 writer->super.ro_compat != was;
	return spare_write_super(writer);
}

int spare_restore(const struct spare_io *io, const struct spare *spare,
		  const struct spare_dump *dump, bool older, bool foreign,
		  struct spare_mended *done, char *error)
{
	struct restore restore = { .writer = { .io = io, .done = done, .error = error },
				   .dump = dump };
	int status;

	memset(done, 0, sizeof(*done));
	if (!dump->has_super)
		return spare_refuse(error, EX_DATAERR,
				    "the dump has no superblock: it was made of a spare without one");
	restore.group = malloc(sizeof(*restore.group));
	restore.taken = malloc(REMAP_METAS_PER_GROUP * sizeof(*restore.taken));
	status = restore.group && restore.taken ? check_identity(&restore, spare, foreign) :
						  spare_refuse(error, EX_OSERR, "out of memory");
	if (!status) {
		choose_super(&restore, spare);
		status = look(&restore, older);
	}
	if (!status)
		status = run(&restore, spare);
	free(restore.group);
	free(restore.taken);
	return status;
}
