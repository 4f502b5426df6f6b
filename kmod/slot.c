// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slots of the spare: which are free, what lives in the others, and which of its sectors are unread
 * or lost.
 */
#include "remap.h"

#include <linux/sched/mm.h>
#include <linux/slab.h>

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

void remap_slot_healed(struct remap *rc, u32 slot)
{
	remap_slot_dirty(rc, slot);
	WRITE_ONCE(rc->heals_unrecorded, true);
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
	if (rc->super.nr_groups_initialised == rc->nr_groups || remap_group_initialise(rc))
		return REMAP_NO_SLOT;
	rc->alloc_group = rc->super.nr_groups_initialised - 1;
	rc->alloc_place = 0;
	return remap_slot_alloc(rc);
}

void remap_slot_prepare(struct remap *rc, u32 nr)
{
	u32 nr_free = rc->group[rc->alloc_group]->nr_free;
	u32 index;

	for (index = 0; index < rc->super.nr_groups_initialised && nr_free < nr; index++)
		if (index != rc->alloc_group)
			nr_free += rc->group[index]->nr_free;
	if (nr_free < nr && rc->super.nr_groups_initialised < rc->nr_groups)
		remap_group_initialise(rc);
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
		/* What was due stays due: a heal must not put off its neighbours. */
		old = xa_load(&rc->masks, slot);
		new->next_try = old ? READ_ONCE(old->next_try) :
				      jiffies + msecs_to_jiffies(rc->retry_ms);
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

void remap_masks_due(struct remap *rc, u32 slot)
{
	struct remap_masks *masks = xa_load(&rc->masks, slot);

	if (masks)
		WRITE_ONCE(masks->next_try, jiffies);
}
