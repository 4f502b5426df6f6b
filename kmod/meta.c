// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slots, and the metadata that says which block lives in which.
 *
 * The order that everything depends on. A commit of any number of changes is
 *
 *   empty flush of the spare, checked      what the slots hold is durable before an entry says so
 *   copy A of each changed metadata block
 *   flush, checked
 *   copy B of each
 *   flush, checked
 *
 * and only then is anything acknowledged or switched in memory. At every moment one copy of each
 * metadata block is whole, and the newer one is right: what it says has its data on the spare, and
 * what only it says was not acknowledged yet. (For a single metadata block FUA takes the place of
 * the flush after each copy.)
 *
 * A copy that can't be written is recorded in the superblock as invalid ("fenced") before the other
 * copy alone counts. If a commit fails after it began to write, nobody knows which entries the disk
 * holds. Memory keeps the old state, the metadata block stays dirty to be written again with that
 * old state, and until that succeeds the blocks concerned refuse writes
 * ("poisoned"): else an activation that believed the disk would find another block's version of the
 * truth.
 */
#include "remap.h"

#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uuid.h>

#define META_COPY_BYTES (REMAP_METAS_PER_GROUP * REMAP_META_BYTES)

static struct remap_meta_disk *meta_buf(const struct remap *rc, unsigned int copy, unsigned int i)
{
	return rc->meta_buf + copy * META_COPY_BYTES + i * REMAP_META_BYTES;
}

static sector_t meta_sector(const struct remap_group *group, unsigned int copy, unsigned int i)
{
	return group->place.copy_sector[copy] + (sector_t)i * REMAP_META_SECTORS;
}

/* Superblock */

static blk_status_t super_write_copy(struct remap *rc, sector_t sector)
{
	blk_status_t status;

	status = remap_spare_io(rc, REQ_OP_WRITE | REQ_FUA, sector, rc->super_buf,
				REMAP_META_SECTORS);
	if (status)
		atomic64_inc(&rc->count.metadata_errors);
	return status;
}

/* Both copies, durable. One is enough. */
static int super_write(struct remap *rc)
{
	blk_status_t a, b;

	rc->super.sequence++;
	remap_super_encode(rc->super_buf, &rc->super);
	a = super_write_copy(rc, REMAP_SUPER_A_SECTOR);
	b = super_write_copy(rc, REMAP_SUPER_B_SECTOR);
	return a && b ? -EIO : 0;
}

int remap_super_read(struct remap *rc, struct remap_super *super, const char **reason)
{
	static const sector_t sector[2] = { REMAP_SUPER_A_SECTOR, REMAP_SUPER_B_SECTOR };
	enum remap_super_error worst = REMAP_SUPER_NO_MAGIC;
	struct remap_super *found;
	bool unreadable = false;
	bool have = false;
	unsigned int i;

	found = kvmalloc(sizeof(*found), GFP_KERNEL);
	if (!found)
		return -ENOMEM;
	rc->super_copies = 0;
	for (i = 0; i < 2; i++) {
		enum remap_super_error error;

		if (remap_spare_io(rc, REQ_OP_READ, sector[i], rc->super_buf, REMAP_META_SECTORS)) {
			unreadable = true;
			continue;
		}
		error = remap_super_decode(found, rc->super_buf);
		worst = max(worst, error);
		if (error)
			continue;
		/*
		 * Copies that differ are one that a cut write left behind: not to be counted as
		 * good.
		 */
		if (have && found->sequence == super->sequence) {
			rc->super_copies++;
			continue;
		}
		if (!have || found->sequence > super->sequence) {
			*super = *found;
			rc->super_copies = 1;
		}
		have = true;
	}
	kvfree(found);
	if (have && worst != REMAP_SUPER_NEWER_VERSION && worst != REMAP_SUPER_UNKNOWN_FEATURE)
		return 0;
	*reason = unreadable && worst == REMAP_SUPER_NO_MAGIC
			  ? "superblock of the spare can't be read"
			  : remap_super_error_text(worst);
	return unreadable && worst == REMAP_SUPER_NO_MAGIC ? -EIO
	       : worst == REMAP_SUPER_NO_MAGIC		   ? -ENOENT
							   : -EINVAL;
}

/* Groups */

static struct remap_group *group_create(struct remap *rc, u32 index)
{
	struct remap_group_place place;
	struct remap_group *group;
	unsigned int i;

	if (!remap_group_place(&rc->super, index, &place))
		return NULL;
	group = kvzalloc(struct_size(group, word, place.nr_slots), GFP_KERNEL);
	if (!group)
		return NULL;
	group->used = bitmap_zalloc(place.nr_slots, GFP_KERNEL);
	if (!group->used) {
		kvfree(group);
		return NULL;
	}
	group->place = place;
	group->nr_free = place.nr_slots;
	for (i = 0; i < rc->super.nr_fenced; i++)
		if (rc->super.fenced[i] / (2 * REMAP_METAS_PER_GROUP) == index)
			group->fenced[rc->super.fenced[i] & 1] |=
				1ull << (rc->super.fenced[i] / 2 % REMAP_METAS_PER_GROUP);
	return group;
}

static void group_destroy(struct remap_group *group)
{
	if (!group)
		return;
	bitmap_free(group->used);
	kvfree(group);
}

/* Writes the empty metadata of the next group, both copies, and counts it in the superblock. */
static int group_initialise(struct remap *rc)
{
	u32 index = rc->super.nr_groups_initialised;
	struct remap_group *group = group_create(rc, index);
	unsigned int copy, i;
	int r = -EIO;

	if (!group)
		return -ENOMEM;
	for (i = 0; i < group->place.nr_metas; i++) {
		remap_meta_empty(meta_buf(rc, 0, i), &rc->super,
				 (u64)index * REMAP_METAS_PER_GROUP + i, 1);
		group->sequence[i] = 1;
	}
	for (copy = 0; copy < 2; copy++)
		if (remap_spare_io(rc, REQ_OP_WRITE, group->place.copy_sector[copy],
				   meta_buf(rc, 0, 0), group->place.nr_metas * REMAP_META_SECTORS))
			goto out_error;
	if (remap_spare_flush(rc))
		goto out_error;
	rc->super.nr_groups_initialised++;
	r = super_write(rc);
	if (r) {
		/*
		 * A copy of the superblock may count it all the same: it is empty, so no harm is
		 * done.
		 */
		rc->super.nr_groups_initialised--;
		goto out_error;
	}
	rc->group[index] = group;
	return 0;

out_error:
	atomic64_inc(&rc->count.metadata_errors);
	group_destroy(group);
	return r;
}

/* Slots */

static struct remap_group *slot_group(const struct remap *rc, u32 slot, u32 *place)
{
	*place = slot % REMAP_SLOTS_PER_GROUP;
	return rc->group[slot / REMAP_SLOTS_PER_GROUP];
}

sector_t remap_slot_sector(const struct remap *rc, u32 slot)
{
	u32 place;
	struct remap_group *group = slot_group(rc, slot, &place);

	return group->place.slot_sector + ((sector_t)place << rc->block_shift);
}

u64 remap_slot_word(struct remap *rc, u32 slot)
{
	u32 place;
	struct remap_group *group = slot_group(rc, slot, &place);

	return group->word[place];
}

void remap_slot_set(struct remap *rc, u32 slot, u64 word)
{
	u32 place;
	struct remap_group *group = slot_group(rc, slot, &place);
	u64 old = group->word[place];

	if (remap_word_state(old) == REMAP_ENTRY_RETIRED)
		atomic64_dec(&rc->count.retired_blocks);
	if (remap_word_state(word) == REMAP_ENTRY_RETIRED)
		atomic64_inc(&rc->count.retired_blocks);
	group->word[place] = word;
	remap_slot_dirty(rc, slot);
}

void remap_slot_dirty(struct remap *rc, u32 slot)
{
	u32 place;
	struct remap_group *group = slot_group(rc, slot, &place);

	/* What loading found out read-only stays in memory. */
	if (rc->read_only)
		return;
	group->dirty |= 1ull << (place / REMAP_ENTRIES_PER_META);
	WRITE_ONCE(rc->meta_dirty, true);
}

u32 remap_slot_alloc(struct remap *rc)
{
	u32 index = rc->alloc_group;
	u32 tried;

	for (tried = 0; tried <= rc->super.nr_groups_initialised; tried++) {
		struct remap_group *group = rc->group[index];
		u32 place;

		if (group->nr_free) {
			place = find_next_zero_bit(group->used, group->place.nr_slots,
						   rc->alloc_place);
			if (place < group->place.nr_slots) {
				__set_bit(place, group->used);
				group->nr_free--;
				rc->alloc_group = index;
				rc->alloc_place = place + 1;
				atomic64_dec(&rc->count.free_blocks);
				return index * REMAP_SLOTS_PER_GROUP + place;
			}
		}
		rc->alloc_place = 0;
		index = (index + 1) % rc->super.nr_groups_initialised;
	}
	if (rc->super.nr_groups_initialised == rc->nr_groups || group_initialise(rc))
		return REMAP_NO_SLOT;
	rc->alloc_group = rc->super.nr_groups_initialised - 1;
	rc->alloc_place = 0;
	return remap_slot_alloc(rc);
}

void remap_slot_unalloc(struct remap *rc, u32 slot)
{
	u32 place;
	struct remap_group *group = slot_group(rc, slot, &place);

	__clear_bit(place, group->used);
	group->nr_free++;
	atomic64_inc(&rc->count.free_blocks);
}

/* Masks */

static void masks_count(struct remap *rc, const struct remap_masks *masks, int sign)
{
	unsigned int shift = rc->unit_shift;

	atomic64_add(sign * (s64)(hweight32(masks->unread) << shift), &rc->count.unread_sectors);
	atomic64_add(sign * (s64)(hweight32(masks->lost) << shift), &rc->count.lost_sectors);
}

int remap_masks_set(struct remap *rc, u32 slot, u32 unread, u32 lost)
{
	struct remap_masks *new = NULL;
	struct remap_masks *old;
	unsigned int reserves;

	/* I/O waits for this: take from the reserves what reclaim would have to do I/O for. */
	reserves = memalloc_noreclaim_save();
	if (unread | lost) {
		new = kmalloc(sizeof(*new), GFP_NOIO);
		if (!new) {
			memalloc_noreclaim_restore(reserves);
			return -ENOMEM;
		}
		new->unread = unread;
		new->lost = lost;
		new->next_try = jiffies + msecs_to_jiffies(rc->retry_ms);
		set_bit(REMAP_ATT_MASKS, &rc->attention);
		old = xa_store(&rc->masks, slot, new, GFP_NOIO);
	} else {
		old = xa_erase(&rc->masks, slot);
	}
	memalloc_noreclaim_restore(reserves);
	if (xa_is_err(old)) {
		kfree(new);
		return xa_err(old);
	}
	if (new)
		masks_count(rc, new, 1);
	if (old) {
		masks_count(rc, old, -1);
		kfree_rcu(old, rcu);
	}
	if (xa_empty(&rc->masks))
		clear_bit(REMAP_ATT_MASKS, &rc->attention);
	return 0;
}

/* Commit */

/* One metadata block as it stands in memory. */
static void meta_encode(struct remap *rc, u32 index, unsigned int i, struct remap_meta_disk *meta)
{
	struct remap_group *group = rc->group[index];
	u32 first = i * REMAP_ENTRIES_PER_META;
	u32 nr = min_t(u32, REMAP_ENTRIES_PER_META, group->place.nr_slots - first);
	u32 slot = index * REMAP_SLOTS_PER_GROUP + first;
	struct remap_masks *masks;
	unsigned long at;
	u32 k;

	remap_meta_empty(meta, &rc->super, (u64)index * REMAP_METAS_PER_GROUP + i,
			 ++group->sequence[i]);
	for (k = 0; k < nr; k++)
		meta->entry[k].word = cpu_to_le64(group->word[first + k]);
	rcu_read_lock();
	xa_for_each_range(&rc->masks, at, masks, slot, slot + nr - 1) {
		meta->entry[at - slot].unread = cpu_to_le32(masks->unread);
		meta->entry[at - slot].lost = cpu_to_le32(masks->lost);
	}
	rcu_read_unlock();
	remap_meta_seal(meta);
}

/* Records that a copy is invalid, durably. */
static int fence(struct remap *rc, u32 index, unsigned int i, unsigned int copy)
{
	u32 number = (index * REMAP_METAS_PER_GROUP + i) * 2 + copy;
	int r;

	atomic64_inc(&rc->count.metadata_errors);
	if (rc->super.nr_fenced == REMAP_FENCED_MAX)
		return -ENOSPC;
	rc->super.fenced[rc->super.nr_fenced++] = number;
	r = super_write(rc);
	if (r) {
		rc->super.nr_fenced--;
		return r;
	}
	rc->group[index]->fenced[copy] |= 1ull << i;
	DMWARN("%s: copy %c of metadata block %u can't be written and is fenced", rc->name,
	       'A' + copy, index * REMAP_METAS_PER_GROUP + i);
	return 0;
}

/*
 * Writes @metas of a group; each metadata block is encoded anew so that every attempt has a number
 * of its own.
 */
static int group_commit(struct remap *rc, u32 index)
{
	struct remap_group *group = rc->group[index];
	u64 metas = group->dirty;
	blk_opf_t fua = hweight64(metas) == 1 ? REQ_FUA : 0;
	u64 written[2] = { 0, 0 };
	unsigned int copy, i;

	for (i = 0; i < group->place.nr_metas; i++)
		if (metas & 1ull << i)
			meta_encode(rc, index, i, meta_buf(rc, 0, i));
	for (copy = 0; copy < 2; copy++) {
		for (i = 0; i < group->place.nr_metas; i++) {
			if (!(metas & ~group->fenced[copy] & 1ull << i))
				continue;
			if (!remap_spare_io(rc, REQ_OP_WRITE | fua, meta_sector(group, copy, i),
					    meta_buf(rc, 0, i), REMAP_META_SECTORS))
				written[copy] |= 1ull << i;
			else if (group->fenced[!copy] & 1ull << i || fence(rc, index, i, copy))
				return -EIO;
		}
		if (!fua && written[copy] && remap_spare_flush(rc))
			return -EIO;
	}
	if (metas & ~(written[0] | written[1]))
		return -EIO;
	group->dirty &= ~metas;
	return 0;
}

bool remap_meta_is_dirty(const struct remap *rc)
{
	return READ_ONCE(rc->meta_dirty);
}

int remap_meta_commit(struct remap *rc, bool *touched)
{
	u32 index;

	*touched = false;
	if (rc->read_only)
		return -EROFS;
	if (remap_spare_flush(rc)) {
		atomic64_inc(&rc->count.spare_write_errors);
		return -EIO;
	}
	*touched = true;
	for (index = 0; index < rc->super.nr_groups_initialised; index++)
		if (rc->group[index]->dirty) {
			int r = group_commit(rc, index);

			if (r) {
				DMERR("%s: the map can't be written to the spare", rc->name);
				remap_set_mode(rc, REMAP_MODE_NO_NEW_MAPS);
				return r;
			}
		}
	WRITE_ONCE(rc->meta_dirty, false);
	if (test_bit(REMAP_ATT_POISON, &rc->attention)) {
		clear_bit(REMAP_ATT_POISON, &rc->attention);
		xa_destroy(&rc->poisoned);
	}
	if (rc->mode == REMAP_MODE_NO_NEW_MAPS && !remap_spare_is_full(rc))
		remap_set_mode(rc, REMAP_MODE_RW);
	return 0;
}

void remap_poison(struct remap *rc, u64 block)
{
	unsigned int reserves = memalloc_noreclaim_save();

	if (xa_is_err(xa_store(&rc->poisoned, block, xa_mk_value(1), GFP_NOIO)))
		remap_set_mode(rc, REMAP_MODE_FAILED);
	memalloc_noreclaim_restore(reserves);
	set_bit(REMAP_ATT_POISON, &rc->attention);
}

/* Loading */

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
				     meta_buf(rc, copy, 0), place->nr_metas * REMAP_META_SECTORS);
	unsigned int i;

	*good = 0;
	for (i = 0; i < place->nr_metas; i++) {
		struct remap_meta_disk *meta = meta_buf(rc, copy, i);
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
		u64 a = good[0] & bit ? le64_to_cpu(meta_buf(rc, 0, i)->sequence) : 0;
		u64 b = good[1] & bit ? le64_to_cpu(meta_buf(rc, 1, i)->sequence) : 0;

		if (!a && !b)
			return load_error(
				rc, "both copies are unreadable or damaged: run remapctl repair",
				(u64)index * REMAP_METAS_PER_GROUP + i);
		if (b > a)
			memcpy(meta_buf(rc, 0, i), meta_buf(rc, 1, i), REMAP_META_BYTES);
		if (a != b)
			stale[a > b] |= bit;
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
	rcu_read_lock();
	other = remap_map_lookup(&rc->map, block);
	rcu_read_unlock();
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
		remap_map_set(&rc->map, block, slot);
		atomic64_inc(&rc->count.mapped_blocks);
	}
	return remap_masks_set(rc, slot, unread, lost);
}

static void unfence(struct remap *rc, u32 index, unsigned int i, unsigned int copy)
{
	u32 number = (index * REMAP_METAS_PER_GROUP + i) * 2 + copy;
	u32 k;

	rc->group[index]->fenced[copy] &= ~(1ull << i);
	for (k = 0; k < rc->super.nr_fenced; k++)
		if (rc->super.fenced[k] == number)
			rc->super.fenced[k] = rc->super.fenced[--rc->super.nr_fenced];
	rc->super_copies = 0;
}

/*
 * Writes the right copy, which is in the first half of meta_buf, over those that are not like it.
 * A fenced copy gets another chance. The superblock forgets its fence at the end of loading; a crash
 * before that loses nothing.
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
			if (!remap_spare_io(rc, REQ_OP_WRITE | REQ_FUA, meta_sector(group, copy, i),
					    meta_buf(rc, 0, i), REMAP_META_SECTORS)) {
				if (fenced)
					unfence(rc, index, i, copy);
				continue;
			}
			if (!fenced && fence(rc, index, i, copy))
				return load_error(rc, "copies differ and can't be made to agree",
						  (u64)index * REMAP_METAS_PER_GROUP + i);
		}
	return 0;
}

static int group_load(struct remap *rc, u32 index)
{
	struct remap_group *group = group_create(rc, index);
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
			&meta_buf(rc, 0, m)->entry[i % REMAP_ENTRIES_PER_META];
		u64 word = le64_to_cpu(entry->word);
		u32 slot = index * REMAP_SLOTS_PER_GROUP + i;

		group->sequence[m] = le64_to_cpu(meta_buf(rc, 0, m)->sequence);
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

static int table_of_groups(struct remap *rc)
{
	rc->nr_groups = remap_nr_groups(&rc->super);
	rc->group = kvcalloc(rc->nr_groups, sizeof(*rc->group), GFP_KERNEL);
	return rc->group ? 0 : -ENOMEM;
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
	slot = block < rc->map.nr_blocks ? remap_map_lookup(&rc->map, block) : REMAP_NO_SLOT;
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
	r = remap_masks_set(rc, slot, unread | GENMASK(last, first), lost);
	if (r)
		return r;
	remap_slot_dirty(rc, slot);
	masks = xa_load(&rc->masks, slot);
	masks->next_try = jiffies;
	return 0;
}

int remap_meta_load(struct remap *rc)
{
	const char *reason = "out of memory";
	bool touched;
	u32 index;
	int r;

	r = remap_super_read(rc, &rc->super, &reason);
	rc->reason = reason;
	if (r)
		return r;
	rc->reason = "out of memory";
	r = table_of_groups(rc);
	if (r)
		return r;
	counters_start(rc);
	if (rc->super_copies < 2)
		atomic64_inc(&rc->count.metadata_errors);
	for (index = 0; index < rc->super.nr_groups_initialised; index++) {
		r = group_load(rc, index);
		if (r)
			return r;
	}
	r = grow_last_block(rc);
	if (r)
		return r;
	/* The loser of a pair must be gone from the disk before its block can move again. */
	rc->reason = "the spare can't be written";
	r = rc->meta_dirty ? remap_meta_commit(rc, &touched) : 0;
	if (r)
		return r;
	/* Only now: until what the growth means for the last block is on disk, the old length counts. */
	if (rc->len != rc->super.main_sectors) {
		rc->super.main_sectors = rc->len;
		rc->super_copies = 0;
	}
	if (!rc->super.main_id[0] && rc->main_id[0]) {
		memcpy(rc->super.main_id, rc->main_id, sizeof(rc->main_id));
		rc->super_copies = 0;
	}
	return rc->super_copies < 2 && !rc->read_only ? super_write(rc) : 0;
}

void remap_meta_unload(struct remap *rc)
{
	struct remap_masks *masks;
	unsigned long at;
	u32 index;

	xa_for_each(&rc->masks, at, masks)
		kfree(masks);
	xa_destroy(&rc->masks);
	xa_destroy(&rc->poisoned);
	if (!rc->group)
		return;
	for (index = 0; index < rc->nr_groups; index++)
		group_destroy(rc->group[index]);
	kvfree(rc->group);
	rc->group = NULL;
}

int remap_meta_end_block(struct remap *rc, const struct remap_super *super, u64 *end_block,
			 const char **reason)
{
	struct remap_group_place place;
	u64 stale[2];
	u32 index, i;

	*end_block = 0;
	for (index = 0; index < super->nr_groups_initialised; index++) {
		if (!remap_group_place(super, index, &place) ||
		    group_read(rc, super, index, &place, stale)) {
			*reason = "metadata of the spare can't be read";
			return -EIO;
		}
		for (i = 0; i < place.nr_slots; i++) {
			u64 word = le64_to_cpu(meta_buf(rc, 0, i / REMAP_ENTRIES_PER_META)
						       ->entry[i % REMAP_ENTRIES_PER_META]
						       .word);

			if (remap_word_maps(word))
				*end_block = max(*end_block, remap_word_block(word) + 1);
		}
	}
	return 0;
}

int remap_meta_format(struct remap *rc)
{
	int r;

	rc->reason = "the spare can't be written";
	generate_random_uuid(rc->super.uuid);
	rc->super.sequence = 0;
	rc->super.nr_groups_initialised = 0;
	r = table_of_groups(rc);
	if (r)
		return r;
	/* Group 0, then the superblock that makes it all count. */
	r = group_initialise(rc);
	if (!r)
		remap_meta_unload(rc);
	return r;
}
