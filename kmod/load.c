// SPDX-License-Identifier: GPL-2.0-only
/* Reads the map from the spare, and makes copies that disagree agree. */
#include "remap.h"

#include <linux/slab.h>

static int load_error(struct remap *rc, const char *reason, u64 index)
{
	DMERR("%s: metadata block %llu: %s", rc->name, index, reason);
	rc->reason = reason;
	return -EIO;
}

/*
 * Reads one copy of a group's metadata; *@good has a bit for each block that could be read and is
 * whole.
 */
static void group_read_copy(struct remap *rc, const struct remap_super *super, u32 index,
			    const struct remap_group_place *place, unsigned int copy, u64 *good)
{
	bool whole = !remap_spare_io(rc, REQ_OP_READ, place->copy_sector[copy],
				     remap_meta_buf(rc, copy, 0),
				     place->nr_metas * REMAP_META_SECTORS);
	unsigned int i;

	*good = 0;
	for (i = 0; i < place->nr_metas; i++) {
		struct remap_meta_disk *meta = remap_meta_buf(rc, copy, i);
		u64 number = (u64)index * REMAP_METAS_PER_GROUP + i;

		if (!whole && remap_spare_io(rc, REQ_OP_READ,
					     place->copy_sector[copy] + i * REMAP_META_SECTORS,
					     meta, REMAP_META_SECTORS))
			continue;
		if (remap_meta_check(meta, super, number) && !remap_is_fenced(super, number, copy))
			*good |= 1ull << i;
	}
}

/*
 * Reads a group into the first half of meta_buf, the newer copy of each metadata block. *@stale:
 * copies to be written again.
 */
static int group_read(struct remap *rc, const struct remap_super *super, u32 index,
		      const struct remap_group_place *place, u64 stale[2])
{
	u64 good[2];
	unsigned int i;

	group_read_copy(rc, super, index, place, 0, &good[0]);
	group_read_copy(rc, super, index, place, 1, &good[1]);
	stale[0] = stale[1] = 0;
	for (i = 0; i < place->nr_metas; i++) {
		u64 bit = 1ull << i;
		u64 a = good[0] & bit ? le64_to_cpu(remap_meta_buf(rc, 0, i)->sequence) : 0;
		u64 b = good[1] & bit ? le64_to_cpu(remap_meta_buf(rc, 1, i)->sequence) : 0;

		if (!a && !b)
			return load_error(
				rc, "both copies are unreadable or damaged: run remapctl repair",
				(u64)index * REMAP_METAS_PER_GROUP + i);
		if (b > a)
			memcpy(remap_meta_buf(rc, 0, i), remap_meta_buf(rc, 1, i),
			       REMAP_META_BYTES);
		if (a != b)
			stale[a > b] |= bit;
		/* Fences may be missing in it, and groups that were initialised since. */
		if (le64_to_cpu(remap_meta_buf(rc, 0, i)->super_sequence) > super->sequence)
			return load_error(
				rc, "the superblock is older than the metadata: see remapctl check",
				(u64)index * REMAP_METAS_PER_GROUP + i);
		if (!(good[0] & bit) || !(good[1] & bit))
			atomic64_inc(&rc->count.metadata_errors);
	}
	return 0;
}

/*
 * Would the table cut off a part of @block that is mapped? The superblock still has the length that
 * main had.
 */
static bool is_cut_off(const struct remap *rc, u64 block)
{
	return min_t(u64, (block + 1) << rc->block_shift, rc->super.main_sectors) > rc->len;
}

/* Nothing was tried yet: the first read is an attempt. */
static int load_masks(struct remap *rc, u32 slot, u32 unread, u32 lost)
{
	int r = remap_masks_set(rc, slot, unread, lost);

	remap_masks_due(rc, slot);
	return r;
}

/*
 * Takes one entry into the map. Of two for one block the newer generation wins; the loser is freed
 * with the first commit.
 */
static int load_entry(struct remap *rc, u32 slot, u64 word, u32 unread, u32 lost)
{
	u64 block = remap_word_block(word);
	u32 other;
	int r;

	if (!remap_word_maps(word))
		return 0;
	r = remap_map_reserve(&rc->map, 1);
	if (r)
		return r;
	other = remap_map_insert(&rc->map, block, slot);
	if (other != REMAP_NO_SLOT) {
		u32 loser = slot;

		if (remap_generation_after(remap_word_generation(word),
					   remap_word_generation(remap_slot_word(rc, other)))) {
			remap_map_set(&rc->map, block, slot);
			loser = other;
		}
		remap_slot_set(rc, loser, 0);
		remap_slot_unalloc(rc, loser);
		if (loser == slot)
			return 0;
		r = remap_masks_set(rc, loser, 0, 0);
		if (r)
			return r;
	} else {
		atomic64_inc(&rc->count.mapped_blocks);
	}
	return unread | lost ? load_masks(rc, slot, unread, lost) : 0;
}

static void unfence(struct remap *rc, u32 index, unsigned int i, unsigned int copy)
{
	u32 number = (index * REMAP_METAS_PER_GROUP + i) * 2 + copy;
	u32 k;

	rc->group[index]->fenced[copy] &= ~(1ull << i);
	for (k = 0; k < rc->super.nr_fenced; k++)
		if (rc->super.fenced[k] == number)
			rc->super.fenced[k] = rc->super.fenced[--rc->super.nr_fenced];
	rc->super_stale = REMAP_SUPER_BOTH;
}

/*
 * Writes the right copy, which is in the first half of meta_buf, over those that are not like it.
 * A fenced copy gets another chance. The superblock forgets its fence before anything else is
 * written to the block, or a cut write of the other copy would leave none that counts.
 */
static int group_repair(struct remap *rc, u32 index, const u64 stale[2])
{
	struct remap_group *group = rc->group[index];
	unsigned int copy, i;

	for (copy = 0; copy < 2; copy++)
		for (i = 0; i < group->place.nr_metas; i++) {
			bool fenced = group->fenced[copy] & 1ull << i;

			if (!fenced && !(stale[copy] & 1ull << i))
				continue;
			if (!remap_spare_io(rc, REQ_OP_WRITE | REQ_FUA,
					    remap_meta_sector(group, copy, i),
					    remap_meta_buf(rc, 0, i), REMAP_META_SECTORS)) {
				if (fenced)
					unfence(rc, index, i, copy);
				continue;
			}
			if (!fenced && remap_fence(rc, index, i, copy))
				return load_error(rc, "copies differ and can't be made to agree",
						  (u64)index * REMAP_METAS_PER_GROUP + i);
		}
	return 0;
}

static int group_load(struct remap *rc, u32 index)
{
	struct remap_group *group = remap_group_create(rc, index);
	u64 stale[2];
	unsigned int i;
	int r;

	if (!group)
		return -ENOMEM;
	rc->group[index] = group;
	r = group_read(rc, &rc->super, index, &group->place, stale);
	if (r)
		return r;
	for (i = 0; i < group->place.nr_slots; i++) {
		unsigned int m = i / REMAP_ENTRIES_PER_META;
		const struct remap_entry_disk *entry =
			&remap_meta_buf(rc, 0, m)->entry[i % REMAP_ENTRIES_PER_META];
		u64 word = le64_to_cpu(entry->word);
		u32 slot = index * REMAP_SLOTS_PER_GROUP + i;

		group->sequence[m] = le64_to_cpu(remap_meta_buf(rc, 0, m)->sequence);
		if (!word && !entry->unread && !entry->lost)
			continue;
		if (!remap_entry_check(&rc->super, word, le32_to_cpu(entry->unread),
				       le32_to_cpu(entry->lost)))
			return load_error(rc, "an entry holds impossible numbers",
					  (u64)index * REMAP_METAS_PER_GROUP + m);
		if (remap_word_maps(word) && is_cut_off(rc, remap_word_block(word)))
			return load_error(rc, "the table is too short for a mapped block",
					  (u64)index * REMAP_METAS_PER_GROUP + m);
		group->word[i] = word;
		if (remap_word_state(word) != REMAP_ENTRY_FREE) {
			__set_bit(i, group->used);
			group->nr_free--;
			atomic64_dec(&rc->count.free_blocks);
		}
		if (remap_word_state(word) == REMAP_ENTRY_RETIRED)
			atomic64_inc(&rc->count.retired_blocks);
		r = load_entry(rc, slot, word, le32_to_cpu(entry->unread),
			       le32_to_cpu(entry->lost));
		if (r)
			return r;
	}
	return rc->read_only ? 0 : group_repair(rc, index, stale);
}

static void counters_start(struct remap *rc)
{
	memset(&rc->count, 0, sizeof(rc->count));
	atomic64_set(&rc->count.free_blocks, remap_nr_slots(&rc->super));
}

/*
 * Main has grown, and its last block was short and is mapped: what is new of the block is still on
 * main, and the slot holds anything there.
 */
static int grow_last_block(struct remap *rc)
{
	sector_t old_len = rc->super.main_sectors;
	u64 block = old_len >> rc->block_shift;
	sector_t start = (sector_t)block << rc->block_shift;
	unsigned int first, last;
	struct remap_masks *masks;
	u32 unread = 0, lost = 0;
	u32 slot;
	int r;

	rcu_read_lock();
	slot = block < rc->nr_blocks ? remap_map_lookup(&rc->map, block) : REMAP_NO_SLOT;
	rcu_read_unlock();
	if (rc->len <= old_len || start == old_len || slot == REMAP_NO_SLOT)
		return 0;
	masks = xa_load(&rc->masks, slot);
	if (masks) {
		unread = masks->unread;
		lost = masks->lost;
	}
	first = (old_len - start) >> rc->unit_shift;
	last = (remap_sectors_in_block(rc, block) - 1) >> rc->unit_shift;
	r = load_masks(rc, slot, unread | GENMASK(last, first), lost);
	if (!r)
		remap_slot_dirty(rc, slot);
	return r;
}

int remap_meta_load(struct remap *rc)
{
	const char *reason = "out of memory";
	u8 uuid[REMAP_UUID_BYTES];
	bool touched;
	u32 index;
	int r;

	memcpy(uuid, rc->super.uuid, sizeof(uuid));
	r = remap_super_read(rc, &rc->super, &reason);
	rc->reason = reason;
	if (r)
		return r;
	/* What the constructor made of it is frozen only as long as it is the same format. */
	rc->reason = "it is another spare than when the table was loaded";
	if (memcmp(uuid, rc->super.uuid, sizeof(uuid)))
		return -EINVAL;
	rc->reason = "out of memory";
	r = remap_table_of_groups(rc);
	if (r)
		return r;
	counters_start(rc);
	if (rc->super_stale)
		atomic64_inc(&rc->count.metadata_errors);
	for (index = 0; index < rc->super.nr_groups_initialised; index++) {
		r = group_load(rc, index);
		if (r)
			return r;
	}
	r = grow_last_block(rc);
	if (r)
		return r;
	rc->reason = "the spare can't be written";
	if (rc->read_only) {
		/* What would be mended is right in memory, and nothing moves. */
		WRITE_ONCE(rc->meta_dirty, false);
		return 0;
	}
	if (rc->super_stale) {
		r = remap_super_write(rc);
		if (r)
			return r;
	}
	/* The loser of a pair must be gone from the disk before its block can move again. */
	r = rc->meta_dirty ? remap_meta_commit(rc, &touched) : 0;
	if (r)
		return r;
	/* Only now: until the growth of the last block is on disk, the old length counts. */
	if (rc->len != rc->super.main_sectors) {
		rc->super.main_sectors = rc->len;
		rc->super_stale = REMAP_SUPER_BOTH;
	}
	if (!rc->super.main_id[0] && rc->main_id[0]) {
		memcpy(rc->super.main_id, rc->main_id, sizeof(rc->main_id));
		rc->super_stale = REMAP_SUPER_BOTH;
	}
	return rc->super_stale ? remap_super_write(rc) : 0;
}

int remap_meta_end_block(struct remap *rc, const struct remap_super *super, u64 *end_block)
{
	struct remap_group_place place;
	u64 stale[2];
	u32 index, i;

	*end_block = 0;
	for (index = 0; index < super->nr_groups_initialised; index++) {
		if (!remap_group_place(super, index, &place) ||
		    group_read(rc, super, index, &place, stale))
			return -EIO;
		for (i = 0; i < place.nr_slots; i++) {
			u64 word = le64_to_cpu(remap_meta_buf(rc, 0, i / REMAP_ENTRIES_PER_META)
						       ->entry[i % REMAP_ENTRIES_PER_META]
						       .word);

			if (remap_word_maps(word))
				*end_block = max(*end_block, remap_word_block(word) + 1);
		}
	}
	return 0;
}
