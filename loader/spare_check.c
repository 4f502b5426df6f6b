// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The whole spare: what is wrong with it, what the module would make of that, and its map. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/spare.h"

/* Room is made in powers of two. */
static bool make_room(void **array, size_t count, size_t element_bytes)
{
	void *bigger;

	if (count & (count - 1))
		return true;
	bigger = realloc(*array, (count ? count * 2 : 1) * element_bytes);
	if (bigger)
		*array = bigger;
	return bigger;
}

/* Neighbours of one kind become one finding. */
static bool continues(const struct spare_finding *last, const struct spare_finding *finding)
{
	return last->kind == finding->kind && last->copy == finding->copy &&
	       last->state[0] == finding->state[0] && last->state[1] == finding->state[1] &&
	       last->last + 1 == finding->first && finding->kind >= SPARE_META_COPY &&
	       finding->kind <= SPARE_META_GONE;
}

static int add_finding(struct spare *spare, struct spare_finding finding)
{
	struct spare_finding *last =
		spare->nr_findings ? &spare->finding[spare->nr_findings - 1] : NULL;

	if (finding.verdict > spare->verdict)
		spare->verdict = finding.verdict;
	if (finding.activation > spare->activation)
		spare->activation = finding.activation;
	if (last && continues(last, &finding)) {
		last->last = finding.last;
		last->nr_slots += finding.nr_slots;
		return 0;
	}
	if (!make_room((void **)&spare->finding, spare->nr_findings, sizeof(*spare->finding)))
		return -ENOMEM;
	spare->finding[spare->nr_findings++] = finding;
	return 0;
}

static int add_plain(struct spare *spare, enum spare_kind kind, enum spare_verdict verdict,
		     enum spare_activation activation)
{
	struct spare_finding finding = { .kind = kind, .verdict = verdict, .activation = activation,
					 .state = { spare->supers.state[0],
						    spare->supers.state[1] } };

	return add_finding(spare, finding);
}

/* ---- superblocks ---- */

/* Is there a metadata block where the first group of every spare begins? */
static bool has_metadata(const struct spare_io *io)
{
	struct remap_meta_disk meta;

	return REMAP_HEADER_SECTORS + REMAP_META_SECTORS <= io->area_sectors &&
	       !io->read(io->context, REMAP_HEADER_SECTORS, REMAP_META_SECTORS, &meta) &&
	       le32toh(meta.magic) == REMAP_META_MAGIC;
}

static int check_super_copies(struct spare *spare)
{
	const struct spare_supers *supers = &spare->supers;
	unsigned int copy;
	int err;

	if (supers->state[0] == SPARE_COPY_NEWER || supers->state[1] == SPARE_COPY_NEWER)
		return add_plain(spare, SPARE_SUPER_NEWER, SPARE_LOSES, SPARE_REFUSED);
	if (!supers->believed)
		return add_plain(spare, SPARE_SUPER_GONE, SPARE_LOSES, SPARE_REFUSED);
	if (supers->pieced)
		return add_plain(spare, SPARE_SUPER_PIECED, SPARE_MENDS, SPARE_REFUSED);
	for (copy = 0; copy < 2; copy++) {
		struct spare_finding finding = {
			.kind = SPARE_SUPER_COPY,
			.verdict = supers->state[copy] == SPARE_COPY_DIFFERS ? SPARE_LOSES :
									       SPARE_MENDS,
			.copy = copy,
			.state = { supers->state[0], supers->state[1] },
		};

		if (supers->state[copy] == SPARE_COPY_GOOD)
			continue;
		err = add_finding(spare, finding);
		if (err)
			return err;
	}
	return 0;
}

static int check_super(const struct spare_io *io, struct spare *spare)
{
	const struct remap_super *super = &spare->supers.super;
	const struct remap_segment *last = &super->segment[super->nr_segments - 1];
	uint32_t unknown = super->ro_compat & ~(REMAP_RO_COMPAT_KNOWN | REMAP_RO_COMPAT_INCOMPLETE);
	int err = 0;

	if (super->ro_compat & REMAP_RO_COMPAT_INCOMPLETE)
		err = add_plain(spare, SPARE_INCOMPLETE, SPARE_LOSES, SPARE_ACTIVATES_READ_ONLY);
	if (!err && unknown)
		err = add_plain(spare, SPARE_SUPER_READ_ONLY, SPARE_CLEAN,
				SPARE_ACTIVATES_READ_ONLY);
	if (!err && last->start_sector + last->nr_sectors > io->area_sectors)
		err = add_plain(spare, SPARE_TOO_SMALL, SPARE_LOSES, SPARE_REFUSED);
	return err;
}

/* ---- metadata blocks ---- */

static int check_copies(struct spare *spare, const struct spare_meta *meta, uint64_t index,
			uint32_t nr_slots)
{
	struct spare_finding finding = { .first = index, .last = index, .nr_slots = nr_slots,
					 .state = { meta->state[0], meta->state[1] } };
	int err = 0;

	if (!meta->sequence || meta->pieced) {
		finding.kind = meta->pieced ? SPARE_META_PIECED : SPARE_META_GONE;
		finding.verdict = meta->pieced ? SPARE_MENDS : SPARE_LOSES;
		finding.activation = SPARE_REFUSED;
		return add_finding(spare, finding);
	}
	finding.kind = SPARE_META_COPY;
	for (finding.copy = 0; finding.copy < 2 && !err; finding.copy++) {
		enum spare_copy state = meta->state[finding.copy];

		finding.verdict = state == SPARE_COPY_DIFFERS ? SPARE_LOSES : SPARE_MENDS;
		if (state != SPARE_COPY_GOOD)
			err = add_finding(spare, finding);
	}
	return err;
}

static int add_entry(struct spare *spare, uint32_t slot, const struct remap_entry_disk *disk)
{
	const struct remap_super *super = &spare->supers.super;
	struct spare_entry entry = { .word = le64toh(disk->word), .slot = slot,
				     .unread = le32toh(disk->unread), .lost = le32toh(disk->lost) };
	struct spare_finding finding = { .kind = SPARE_ENTRY_IMPOSSIBLE, .verdict = SPARE_LOSES,
					 .activation = SPARE_REFUSED, .first = slot, .last = slot,
					 .nr_slots = 1, .block = remap_word_block(entry.word) };

	entry.impossible = !remap_entry_check(super, entry.word, entry.unread, entry.lost);
	if (!entry.impossible && remap_word_state(entry.word) == REMAP_ENTRY_FREE)
		return 0;
	if (entry.impossible && add_finding(spare, finding))
		return -ENOMEM;
	if (!make_room((void **)&spare->entry, spare->nr_entries, sizeof(entry)))
		return -ENOMEM;
	spare->entry[spare->nr_entries++] = entry;
	spare->nr_retired += !entry.impossible &&
			     remap_word_state(entry.word) == REMAP_ENTRY_RETIRED;
	return 0;
}

static uint32_t slots_of_meta(const struct remap_group_place *place, unsigned int i)
{
	uint32_t left = place->nr_slots - i * REMAP_ENTRIES_PER_META;

	return left < REMAP_ENTRIES_PER_META ? left : REMAP_ENTRIES_PER_META;
}

static int check_group(struct spare *spare, uint32_t index, const struct spare_group *group,
		       bool *super_is_behind)
{
	uint32_t i, k;

	for (i = 0; i < group->place.nr_metas; i++) {
		const struct remap_meta_disk *meta = group->believed[i];
		uint32_t nr_slots = slots_of_meta(&group->place, i);
		uint64_t number = (uint64_t)index * REMAP_METAS_PER_GROUP + i;

		if (check_copies(spare, &group->meta[i], number, nr_slots))
			return -ENOMEM;
		if (!meta)
			continue;
		*super_is_behind |= le64toh(meta->super_sequence) > spare->supers.super.sequence;
		for (k = 0; k < nr_slots; k++)
			if ((meta->entry[k].word || meta->entry[k].unread || meta->entry[k].lost) &&
			    add_entry(spare,
				      index * REMAP_SLOTS_PER_GROUP + i * REMAP_ENTRIES_PER_META + k,
				      &meta->entry[k]))
				return -ENOMEM;
	}
	spare->nr_metas += group->place.nr_metas;
	return 0;
}

/*
 * The module initialises a group before it counts it, so one that is there and not counted is empty,
 * unless the superblock is an old one.
 */
static int check_uncounted(const struct spare_io *io, struct spare *spare,
			   struct spare_group *group)
{
	uint32_t index = spare->supers.super.nr_groups_initialised, i, k;
	struct spare_finding finding = { .kind = SPARE_GROUP_UNCOUNTED, .verdict = SPARE_LOSES,
					 .first = index, .last = index };

	if (!spare_read_group(io, &spare->supers.super, index, group))
		return 0;
	for (i = 0; i < group->place.nr_metas; i++)
		for (k = 0; group->believed[i] && k < REMAP_ENTRIES_PER_META; k++)
			finding.nr_slots += remap_word_maps(le64toh(group->believed[i]->entry[k].word));
	return finding.nr_slots ? add_finding(spare, finding) : 0;
}

/* ---- the map ---- */

static uint64_t block_of(const struct spare *spare, uint32_t place)
{
	return remap_word_block(spare->entry[place].word);
}

static int by_block(const void *a, const void *b, void *context)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	uint64_t block_x = block_of(context, x), block_y = block_of(context, y);

	return block_x != block_y ? (block_x > block_y) - (block_x < block_y) : (x > y) - (x < y);
}

/* Of @nr entries for one block, by slot: the same choice as load_entry() in kmod/load.c makes. */
static int choose_home(struct spare *spare, const uint32_t *place, size_t nr, uint32_t *home)
{
	struct spare_finding finding = { .kind = SPARE_ENTRY_OUTDATED, .verdict = SPARE_MENDS };
	bool ambiguous = nr > 2;
	size_t i;

	*home = place[0];
	for (i = 1; i < nr; i++) {
		uint16_t new = remap_word_generation(spare->entry[place[i]].word);
		uint16_t old = remap_word_generation(spare->entry[*home].word);

		ambiguous |= new == old;
		if (remap_generation_after(new, old))
			*home = place[i];
	}
	for (i = 0; i < nr; i++)
		spare->entry[place[i]].outdated = place[i] != *home;
	if (nr == 1)
		return 0;
	if (ambiguous) {
		finding.kind = SPARE_ENTRY_AMBIGUOUS;
		finding.verdict = SPARE_LOSES;
	}
	finding.first = spare->entry[place[0]].slot;
	finding.last = spare->entry[place[nr - 1]].slot;
	finding.nr_slots = nr;
	finding.block = block_of(spare, place[0]);
	return add_finding(spare, finding);
}

static int make_map(struct spare *spare)
{
	uint32_t unit_sectors = spare->supers.super.unit_sectors;
	size_t nr = 0, i, k;

	spare->home = malloc((spare->nr_entries + 1) * sizeof(*spare->home));
	if (!spare->home)
		return -ENOMEM;
	for (i = 0; i < spare->nr_entries; i++)
		if (!spare->entry[i].impossible && remap_word_maps(spare->entry[i].word))
			spare->home[nr++] = i;
	qsort_r(spare->home, nr, sizeof(*spare->home), by_block, spare);
	for (i = 0; i < nr; i = k) {
		uint32_t home;

		for (k = i + 1; k < nr; k++)
			if (block_of(spare, spare->home[k]) != block_of(spare, spare->home[i]))
				break;
		if (choose_home(spare, spare->home + i, k - i, &home))
			return -ENOMEM;
		spare->home[spare->nr_homes++] = home;
		spare->unread_sectors +=
			(uint64_t)__builtin_popcount(spare->entry[home].unread) * unit_sectors;
		spare->lost_sectors +=
			(uint64_t)__builtin_popcount(spare->entry[home].lost) * unit_sectors;
	}
	return 0;
}

bool spare_next_run(const struct spare *spare, size_t *next, struct spare_run *run)
{
	const struct remap_super *super = &spare->supers.super;
	const struct spare_entry *entry;
	uint64_t end;

	if (*next >= spare->nr_homes)
		return false;
	entry = &spare->entry[spare->home[*next]];
	*run = (struct spare_run){ .block = remap_word_block(entry->word), .slot = entry->slot,
				   .state = remap_word_state(entry->word),
				   .reason = remap_word_reason(entry->word) };
	for (; *next < spare->nr_homes; ++*next) {
		entry = &spare->entry[spare->home[*next]];
		if (run->nr_blocks &&
		    (remap_word_block(entry->word) != run->block + run->nr_blocks ||
		     entry->slot != run->slot + run->nr_blocks ||
		     !(entry->slot % REMAP_SLOTS_PER_GROUP) ||
		     remap_word_state(entry->word) != run->state ||
		     remap_word_reason(entry->word) != run->reason))
			break;
		run->nr_blocks++;
		run->unread_sectors +=
			(uint64_t)__builtin_popcount(entry->unread) * super->unit_sectors;
		run->lost_sectors +=
			(uint64_t)__builtin_popcount(entry->lost) * super->unit_sectors;
	}
	run->sector = run->block * super->block_sectors;
	end = run->sector + run->nr_blocks * super->block_sectors;
	run->nr_sectors = (end < super->main_sectors ? end : super->main_sectors) - run->sector;
	return true;
}

/* ---- all of it ---- */

static int check_groups(const struct spare_io *io, struct spare *spare, spare_progress *progress)
{
	const struct remap_super *super = &spare->supers.super;
	struct spare_group *group = malloc(sizeof(*group));
	bool super_is_behind = false;
	uint32_t index;
	int err = group ? 0 : -ENOMEM;

	for (index = 0; !err && index < super->nr_groups_initialised; index++) {
		spare_read_group(io, super, index, group);
		err = check_group(spare, index, group, &super_is_behind);
		if (progress)
			progress(index + 1, super->nr_groups_initialised);
	}
	if (!err && super_is_behind)
		err = add_plain(spare, SPARE_SUPER_BEHIND, SPARE_LOSES, SPARE_REFUSED);
	if (!err)
		err = check_uncounted(io, spare, group);
	free(group);
	return err;
}

int spare_check(const struct spare_io *io, struct spare *spare, spare_progress *progress)
{
	int err;

	memset(spare, 0, sizeof(*spare));
	spare_read_supers(io, &spare->supers);
	spare->found = spare->supers.state[0] != SPARE_COPY_BLANK ||
		       spare->supers.state[1] != SPARE_COPY_BLANK || has_metadata(io);
	err = check_super_copies(spare);
	if (err || !spare->supers.believed)
		return err;
	spare->nr_slots = remap_nr_slots(&spare->supers.super);
	err = check_super(io, spare);
	if (!err)
		err = check_groups(io, spare, progress);
	if (!err)
		err = make_map(spare);
	return err;
}

void spare_free(struct spare *spare)
{
	free(spare->entry);
	free(spare->home);
	free(spare->finding);
	memset(spare, 0, sizeof(*spare));
}
