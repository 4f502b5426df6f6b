// SPDX-License-Identifier: GPL-2.0-only
/* Moves blocks back to main: copy, verify, free the slots durably, forget the mappings. */
#include "remap.h"
#include "trace.h"

#include <linux/sched/mm.h>

/* Copies a block back. */
static bool release_copy(struct remap *rc, unsigned int i)
{
	struct remap_item *item = &rc->item[i];
	unsigned int nr_sectors = remap_sectors_in_block(rc, item->block);
	void *buf = remap_item_buf(rc, i);

	return !remap_spare_io(rc, REQ_OP_READ, remap_slot_sector(rc, item->old_slot), buf,
			       nr_sectors) &&
	       !remap_main_io(rc, REQ_OP_WRITE, item->block << rc->block_shift, buf, nr_sectors);
}

/* What main took has to read the same again before the copy on the spare is given up. */
static void release_verify(struct remap *rc, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct remap_item *item = &rc->item[i];
		unsigned int nr_sectors = remap_sectors_in_block(rc, item->block);

		if (item->moves && (remap_main_io(rc, REQ_OP_READ, item->block << rc->block_shift,
						  rc->scratch, nr_sectors) ||
				    memcmp(rc->scratch, remap_item_buf(rc, i),
					   (size_t)nr_sectors << SECTOR_SHIFT)))
			item->moves = false;
	}
}

/* Frees the slots durably, then forgets the mappings. */
static bool release_commit(struct remap *rc, unsigned int nr)
{
	bool touched = false;
	unsigned int i;
	bool done;

	if (remap_main_flush(rc))
		return false;
	release_verify(rc, nr);
	for (i = 0; i < nr; i++)
		if (rc->item[i].moves) {
			rc->item[i].word = remap_slot_word(rc, rc->item[i].old_slot);
			remap_slot_set(rc, rc->item[i].old_slot, 0);
		}
	done = !remap_meta_commit(rc, &touched);
	for (i = 0; i < nr; i++) {
		struct remap_item *item = &rc->item[i];

		if (!item->moves)
			continue;
		if (!done) {
			remap_slot_set(rc, item->old_slot, item->word);
			if (touched)
				remap_poison(rc, item->block);
			continue;
		}
		remap_map_clear(&rc->map, item->block);
		remap_slot_unalloc(rc, item->old_slot);
		atomic64_dec(&rc->count.mapped_blocks);
		atomic64_inc(&rc->count.released_blocks);
		trace_dm_remap_release(remap_devt(rc), item->block << rc->block_shift,
				       remap_sectors_in_block(rc, item->block));
	}
	return done;
}

int remap_engine_release(struct remap *rc, sector_t sector, sector_t count,
			 struct remap_moved *moved)
{
	u64 block = sector >> rc->block_shift;
	u64 end = ((sector + count - 1) >> rc->block_shift) + 1;
	unsigned long deadline = jiffies + HZ;
	unsigned int nr = 0, i, done, noio;
	bool touched;
	int r;

	r = remap_lock_for_message(rc);
	if (r)
		return r;
	noio = memalloc_noio_save();
	rcu_read_lock();
	for (block = remap_map_next(&rc->map, block, end);
	     block < end && nr < remap_batch_blocks(rc);
	     block = remap_map_next(&rc->map, block + 1, end))
		rc->item[nr++] =
			(struct remap_item){ .block = block,
					     .old_slot = remap_map_lookup(&rc->map, block) };
	rcu_read_unlock();
	end = block;
	if (remap_meta_is_dirty(rc))
		r = remap_meta_commit(rc, &touched);
	if (!r && nr) {
		remap_hold(rc, nr);
		for (done = 0; done < nr && !(done && time_after(jiffies, deadline)); done++)
			rc->item[done].moves = !xa_load(&rc->masks, rc->item[done].old_slot) &&
					       release_copy(rc, done);
		if (done < nr)
			end = rc->item[done].block;
		if (!release_commit(rc, done))
			r = -EIO;
		remap_let_go(rc);
		for (i = 0; i < done && !r; i++)
			*(rc->item[i].moves ? &moved->moved : &moved->refused) += 1;
		remap_event(rc);
	}
	moved->next_sector = min_t(sector_t, (sector_t)end << rc->block_shift, sector + count);
	if (rc->mode == REMAP_MODE_NO_NEW_MAPS && !remap_meta_is_dirty(rc) &&
	    !remap_spare_is_full(rc))
		remap_set_mode(rc, REMAP_MODE_RW);
	memalloc_noio_restore(noio);
	mutex_unlock(&rc->engine);
	return r;
}
