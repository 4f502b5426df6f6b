// SPDX-License-Identifier: GPL-2.0-only
/*
 * The metadata on the spare: superblock, groups, and how changes become durable. load.c reads it.
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

/* Superblock */

static const sector_t super_sector[2] = { REMAP_SUPER_A_SECTOR, REMAP_SUPER_B_SECTOR };

/* Writes rc->super, as it stands in super_buf, to the copies that are not like it. */
static int super_write_stale(struct remap *rc)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (!(rc->super_stale & BIT(i)))
			continue;
		if (!remap_spare_io(rc, REQ_OP_WRITE | REQ_FUA, super_sector[i], rc->super_buf,
				    REMAP_META_SECTORS)) {
			rc->super_stale &= ~BIT(i);
			continue;
		}
		atomic64_inc(&rc->count.metadata_errors);
		DMWARN_LIMIT("%s: copy %c of the superblock can't be written", rc->name, 'A' + i);
	}
	return rc->super_stale == REMAP_SUPER_BOTH ? -EIO : 0;
}

/* Both copies, durable. One is enough. */
int remap_super_write(struct remap *rc)
{
	rc->super.sequence++;
	rc->super_stale = REMAP_SUPER_BOTH;
	remap_super_encode(rc->super_buf, &rc->super);
	return super_write_stale(rc);
}

/*
 * What could not be written is tried again. A copy that is good is left alone, since a cut write
 * would leave none; if both failed, nobody knows what they hold, and they get a new number.
 */
static int super_renew(struct remap *rc)
{
	if (rc->super_stale == REMAP_SUPER_BOTH)
		return remap_super_write(rc);
	if (!rc->super_stale)
		return 0;
	remap_super_encode(rc->super_buf, &rc->super);
	return super_write_stale(rc);
}

int remap_super_read(struct remap *rc, struct remap_super *super, const char **reason)
{
	enum remap_super_error worst = REMAP_SUPER_NO_MAGIC;
	struct remap_super *found;
	bool unreadable = false;
	bool have = false;
	unsigned int i;

	found = kvmalloc(sizeof(*found), GFP_KERNEL);
	if (!found)
		return -ENOMEM;
	rc->super_stale = REMAP_SUPER_BOTH;
	for (i = 0; i < 2; i++) {
		enum remap_super_error error;

		if (remap_spare_io(rc, REQ_OP_READ, super_sector[i], rc->super_buf,
				   REMAP_META_SECTORS)) {
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
			rc->super_stale &= ~BIT(i);
			continue;
		}
		if (!have || found->sequence > super->sequence) {
			*super = *found;
			rc->super_stale = REMAP_SUPER_BOTH & ~BIT(i);
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

struct remap_group *remap_group_create(struct remap *rc, u32 index)
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

int remap_table_of_groups(struct remap *rc)
{
	rc->nr_groups = remap_nr_groups(&rc->super);
	rc->group = kvcalloc(rc->nr_groups, sizeof(*rc->group), GFP_KERNEL);
	return rc->group ? 0 : -ENOMEM;
}

/* Writes the empty metadata of the next group, both copies, and counts it in the superblock. */
int remap_group_initialise(struct remap *rc)
{
	u32 index = rc->super.nr_groups_initialised;
	struct remap_group *group = remap_group_create(rc, index);
	unsigned int copy, i;
	int r = -EIO;

	if (!group)
		return -ENOMEM;
	for (i = 0; i < group->place.nr_metas; i++) {
		remap_meta_empty(remap_meta_buf(rc, 0, i), &rc->super,
				 (u64)index * REMAP_METAS_PER_GROUP + i, 1);
		group->sequence[i] = 1;
	}
	for (copy = 0; copy < 2; copy++)
		if (remap_spare_io(rc, REQ_OP_WRITE, group->place.copy_sector[copy],
				   remap_meta_buf(rc, 0, 0),
				   group->place.nr_metas * REMAP_META_SECTORS))
			goto out_error;
	if (remap_spare_flush(rc))
		goto out_error;
	rc->super.nr_groups_initialised++;
	r = remap_super_write(rc);
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
int remap_fence(struct remap *rc, u32 index, unsigned int i, unsigned int copy)
{
	u32 number = (index * REMAP_METAS_PER_GROUP + i) * 2 + copy;
	int r;

	atomic64_inc(&rc->count.metadata_errors);
	if (rc->super.nr_fenced == REMAP_FENCED_MAX)
		return -ENOSPC;
	rc->super.fenced[rc->super.nr_fenced++] = number;
	r = remap_super_write(rc);
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
 * Writes the dirty metadata blocks of a group; each is encoded anew so that every attempt has a number
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
			meta_encode(rc, index, i, remap_meta_buf(rc, 0, i));
	for (copy = 0; copy < 2; copy++) {
		for (i = 0; i < group->place.nr_metas; i++) {
			if (!(metas & ~group->fenced[copy] & 1ull << i))
				continue;
			if (!remap_spare_io(rc, REQ_OP_WRITE | fua,
					    remap_meta_sector(group, copy, i),
					    remap_meta_buf(rc, 0, i), REMAP_META_SECTORS))
				written[copy] |= 1ull << i;
			else if (group->fenced[!copy] & 1ull << i ||
				 remap_fence(rc, index, i, copy))
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

bool remap_heals_unrecorded(const struct remap *rc)
{
	return READ_ONCE(rc->heals_unrecorded);
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
	/* No metadata may be newer than the superblock, or that looks like one of another day. */
	if (super_renew(rc))
		goto out_error;
	*touched = true;
	for (index = 0; index < rc->super.nr_groups_initialised; index++)
		if (rc->group[index]->dirty && group_commit(rc, index))
			goto out_error;
	WRITE_ONCE(rc->meta_dirty, false);
	WRITE_ONCE(rc->heals_unrecorded, false);
	if (test_bit(REMAP_ATT_POISON, &rc->attention)) {
		clear_bit(REMAP_ATT_POISON, &rc->attention);
		xa_destroy(&rc->poisoned);
	}
	if (rc->mode == REMAP_MODE_NO_NEW_MAPS && !remap_spare_is_full(rc))
		remap_set_mode(rc, REMAP_MODE_RW);
	return 0;

out_error:
	DMERR_LIMIT("%s: the map can't be written to the spare", rc->name);
	remap_set_mode(rc, REMAP_MODE_NO_NEW_MAPS);
	return -EIO;
}

void remap_poison(struct remap *rc, u64 block)
{
	unsigned int reserves = memalloc_noreclaim_save();

	if (xa_is_err(xa_store(&rc->poisoned, block, xa_mk_value(1), GFP_NOIO)))
		remap_set_mode(rc, REMAP_MODE_FAILED);
	memalloc_noreclaim_restore(reserves);
	set_bit(REMAP_ATT_POISON, &rc->attention);
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

int remap_meta_format(struct remap *rc)
{
	const char *reason = "out of memory";
	int r;

	/* It may have been formatted after the constructor looked. */
	r = remap_super_read(rc, &rc->super, &reason);
	if (r != -ENOENT) {
		rc->reason = r ? reason : "the spare holds a dm-remap superblock already";
		return r ? r : -EEXIST;
	}
	rc->reason = "the spare can't be written";
	generate_random_uuid(rc->super.uuid);
	rc->super.sequence = 0;
	rc->super.nr_groups_initialised = 0;
	r = remap_table_of_groups(rc);
	if (r)
		return r;
	/* Group 0, then the superblock that makes it all count. */
	r = remap_group_initialise(rc);
	if (!r)
		remap_meta_unload(rc);
	return r;
}
