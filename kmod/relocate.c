// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves blocks between main and the spare.
 *
 * remap_relocate() is the one way onto the spare, whatever the reason:
 *
 *   hold      I/O to the blocks waits from now on; what is on its way is waited for
 *   read      the blocks from where they live now; what can't be read is noted, not invented
 *   overlay   with the data of the writes that are rescued
 *   write     to free slots
 *   commit    data, then entries, durable (meta.c)
 *   switch    the map in memory
 *   let go    what waited is sent to its new home
 *
 * so a crash at any point leaves each block whole in its old or its new home, and nobody was told
 * of the new one too early. release.c has the way back, serve.c what fails and is rescued.
 */
#include "remap.h"
#include "trace.h"

#include <linux/highmem.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#define SLOT_TRIES 3 /* slots that one block is written to before the spare is called sick */

u32 remap_slot_of(struct remap *rc, u64 block)
{
	u32 slot;

	rcu_read_lock();
	slot = remap_map_lookup(&rc->map, block);
	rcu_read_unlock();
	return slot;
}

void remap_masks_of(struct remap *rc, u32 slot, u32 *unread, u32 *lost)
{
	struct remap_masks *masks = xa_load(&rc->masks, slot);

	*unread = masks ? masks->unread : 0;
	*lost = masks ? masks->lost : 0;
}

/* The unit in which a sector that fails takes its neighbours along. */
unsigned int remap_physical_sectors(const struct remap *rc)
{
	unsigned int sectors = bdev_physical_block_size(rc->main->bdev) >> SECTOR_SHIFT;

	return clamp_t(unsigned int, rounddown_pow_of_two(max(sectors, 1u)), 1u << rc->unit_shift,
		       remap_block_sectors(rc));
}

/* Copies between a bio, from @sector of the target on, and @buf. */
void remap_copy_bio(struct remap *rc, struct bio *bio, sector_t sector, void *buf,
		    unsigned int nr_sectors, bool to_bio)
{
	struct bvec_iter iter = remap_io(bio)->iter;
	size_t bytes = (size_t)nr_sectors << SECTOR_SHIFT;
	struct bio_vec vec;

	if (bio_op(bio) == REQ_OP_WRITE_ZEROES) {
		memset(buf, 0, bytes);
		return;
	}
	bio_advance_iter(bio, &iter, (sector - remap_io_sector(rc, bio)) << SECTOR_SHIFT);
	iter.bi_size = bytes;
	__bio_for_each_segment(vec, bio, iter, iter) {
		if (to_bio)
			memcpy_to_bvec(&vec, buf);
		else
			memcpy_from_bvec(buf, &vec);
		buf += vec.bv_len;
	}
}

/* Holding */

void remap_hold(struct remap *rc, unsigned int nr)
{
	unsigned int n = 0;
	unsigned int i;

	spin_lock_irq(&rc->hold_lock);
	for (i = 0; i < nr; i++) {
		u64 block = rc->item[i].block;

		if (n && rc->held[n - 1].last + 1 == block)
			rc->held[n - 1].last = block;
		else
			rc->held[n++] = (struct remap_range){ block, block };
	}
	rc->nr_held = n;
	set_bit(REMAP_ATT_HELD, &rc->attention);
	spin_unlock_irq(&rc->hold_lock);
	remap_drain(rc);
}

void remap_let_go(struct remap *rc)
{
	struct bio_list bios;

	spin_lock_irq(&rc->hold_lock);
	rc->nr_held = 0;
	/* Who sees nothing held has to see the map as it is now. */
	smp_mb__before_atomic();
	clear_bit(REMAP_ATT_HELD, &rc->attention);
	bios = rc->held_bios;
	bio_list_init(&rc->held_bios);
	spin_unlock_irq(&rc->hold_lock);
	remap_submit_waiting(rc, &bios);
}

/* Reading the blocks that move */

/* Whole run from main in one I/O. */
static bool read_run(struct remap *rc, unsigned int first, unsigned int nr)
{
	unsigned int last = first + nr - 1;
	sector_t sector = rc->item[first].block << rc->block_shift;
	sector_t end = (rc->item[last].block << rc->block_shift) +
		       remap_sectors_in_block(rc, rc->item[last].block);

	return !remap_main_io(rc, REQ_OP_READ, sector, remap_item_buf(rc, first), end - sector);
}

/* False: main failed in a way that says nothing about the media. */
static bool read_from_main(struct remap *rc, unsigned int i)
{
	struct remap_item *item = &rc->item[i];
	unsigned int nr_sectors = remap_sectors_in_block(rc, item->block);
	sector_t start = item->block << rc->block_shift;
	unsigned int step = remap_physical_sectors(rc);
	void *buf = remap_item_buf(rc, i);
	unsigned int at;

	if (!item->bad_units && !item->given_units &&
	    !remap_main_io(rc, REQ_OP_READ, start, buf, nr_sectors))
		return true;
	for (at = 0; at < nr_sectors; at += step) {
		unsigned int nr = min(step, nr_sectors - at);
		u32 wanted = remap_units_mask(rc, at, nr) & ~item->given_units;
		void *p = buf + (at << SECTOR_SHIFT);
		blk_status_t status;

		if (!wanted)
			continue;
		if (!(wanted & item->bad_units)) {
			status = remap_main_io(rc, REQ_OP_READ, start + at, p, nr);
			if (!status)
				continue;
			if (!remap_status_is_media(status))
				return false;
		}
		memset(p, 0, nr << SECTOR_SHIFT);
		item->unread |= wanted;
	}
	return true;
}

/*
 * Lost is for ever, so only what fails while the spare answers elsewhere, before and after, is.
 * False: it does not.
 */
static bool read_from_slot(struct remap *rc, unsigned int i)
{
	struct remap_item *item = &rc->item[i];
	unsigned int nr_sectors = remap_sectors_in_block(rc, item->block);
	sector_t start = remap_slot_sector(rc, item->old_slot);
	unsigned int step = 1u << rc->unit_shift;
	void *buf = remap_item_buf(rc, i);
	unsigned int at;

	remap_masks_of(rc, item->old_slot, &item->unread, &item->lost);
	item->unread &= ~item->given_units;
	item->lost &= ~item->given_units;
	for (at = 0; at < nr_sectors; at += step) {
		u32 unit = remap_units_mask(rc, at, step);
		void *p = buf + (at << SECTOR_SHIFT);
		blk_status_t status;

		if (unit & (item->given_units | item->unread | item->lost))
			continue;
		if (!remap_spare_io(rc, REQ_OP_READ, start + at, p, step))
			continue;
		if (!remap_spare_answers(rc))
			return false;
		status = remap_spare_io(rc, REQ_OP_READ, start + at, p, step);
		if (!status)
			continue;
		if (!remap_status_is_media(status) || !remap_spare_answers(rc))
			return false;
		memset(p, 0, step << SECTOR_SHIFT);
		item->lost |= unit;
	}
	return true;
}

/* Returns the items that were read before @deadline (jiffies; 0: none), at least one. */
static unsigned int read_items(struct remap *rc, unsigned int nr, unsigned long deadline)
{
	unsigned int i = 0;

	while (i < nr) {
		struct remap_item *item = &rc->item[i];
		unsigned int run = 0;

		if (deadline && i && time_after(jiffies, deadline))
			return i;
		while (i + run < nr && rc->item[i + run].moves &&
		       rc->item[i + run].old_slot == REMAP_NO_SLOT &&
		       !rc->item[i + run].bad_units && !rc->item[i + run].given_units &&
		       rc->item[i + run].block == item->block + run)
			run++;
		if (run > 1 && read_run(rc, i, run)) {
			i += run;
			continue;
		}
		/* The run is read block by block from here on, and never tried as a whole again. */
		for (run = max(run, 1u); run; run--, i++) {
			item = &rc->item[i];
			if (deadline && i && time_after(jiffies, deadline))
				return i;
			if (!item->moves)
				continue;
			memset(remap_item_buf(rc, i), 0, remap_block_sectors(rc) << SECTOR_SHIFT);
			if (!(item->old_slot != REMAP_NO_SLOT ? read_from_slot(rc, i)
							      : read_from_main(rc, i)))
				item->moves = false;
			/* Nothing of it can be read: a mapping would help nobody. */
			if (item->unread == remap_block_units(rc, item->block))
				item->moves = false;
		}
	}
	return nr;
}

/* Lays the part of a write that falls into the block over it. */
static void overlay(struct remap *rc, struct bio *bio, const struct remap_item *item, void *buf)
{
	sector_t start, end;

	if (remap_io_overlap(rc, bio, item->block, &start, &end))
		remap_copy_bio(rc, bio, start,
			       buf + ((start & (remap_block_sectors(rc) - 1)) << SECTOR_SHIFT),
			       end - start, false);
}

/* Writing them back */

/*
 * A disk puts a sector elsewhere by itself when it is written. What main gave only at a second try
 * is written back to it and read again: if that works no slot is spent, else the block moves, with
 * what is in the buffer.
 */
static void rewrite_items(struct remap *rc, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct remap_item *item = &rc->item[i];
		sector_t sector = item->block << rc->block_shift;
		unsigned int nr_sectors = remap_sectors_in_block(rc, item->block);
		void *buf = remap_item_buf(rc, i);

		if (!item->moves || !item->rewrite || item->unread)
			continue;
		if (remap_main_io(rc, REQ_OP_WRITE | REQ_FUA, sector, buf, nr_sectors) ||
		    remap_main_io(rc, REQ_OP_READ, sector, rc->scratch, nr_sectors) ||
		    memcmp(buf, rc->scratch, (size_t)nr_sectors << SECTOR_SHIFT))
			continue;
		item->moves = false;
		item->rewritten = true;
		atomic64_inc(&rc->count.rewritten_blocks);
		DMINFO_LIMIT("%s: wrote the block at sector %llu back to main", rc->name, (u64)sector);
	}
}

/* Writing them to slots */

static blk_status_t write_slots(struct remap *rc, unsigned int first, unsigned int nr)
{
	unsigned int last = first + nr - 1;
	unsigned int nr_sectors =
		((nr - 1) << rc->block_shift) + remap_sectors_in_block(rc, rc->item[last].block);

	return remap_spare_io(rc, REQ_OP_WRITE, remap_slot_sector(rc, rc->item[first].new_slot),
			      remap_item_buf(rc, first), nr_sectors);
}

/*
 * Tries further slots for one block. A slot is retired only if another one took the data: else the
 * spare itself is sick.
 */
static bool write_elsewhere(struct remap *rc, unsigned int i)
{
	struct remap_item *item = &rc->item[i];
	u32 failed[SLOT_TRIES];
	unsigned int nr_failed = 0;
	bool written = false;

	do {
		failed[nr_failed++] = item->new_slot;
		item->new_slot = nr_failed < SLOT_TRIES ? remap_slot_alloc(rc) : REMAP_NO_SLOT;
		written = item->new_slot != REMAP_NO_SLOT && !write_slots(rc, i, 1);
	} while (!written && item->new_slot != REMAP_NO_SLOT);
	while (nr_failed--) {
		atomic64_inc(&rc->count.spare_write_errors);
		if (written)
			remap_slot_set(rc, failed[nr_failed],
				       remap_word(0, REMAP_ENTRY_RETIRED, REMAP_REASON_NONE, 0));
		else
			remap_slot_unalloc(rc, failed[nr_failed]);
	}
	return written;
}

static void write_items(struct remap *rc, unsigned int nr)
{
	unsigned int i, run;

	for (i = 0; i < nr; i++) {
		struct remap_item *item = &rc->item[i];

		if (!item->moves)
			continue;
		item->new_slot = remap_slot_alloc(rc);
		item->moves = item->new_slot != REMAP_NO_SLOT;
	}
	for (i = 0; i < nr; i += run) {
		run = 1;
		if (!rc->item[i].moves)
			continue;
		while (i + run < nr && rc->item[i + run].moves &&
		       rc->item[i + run].new_slot == rc->item[i].new_slot + run &&
		       rc->item[i + run].new_slot % REMAP_SLOTS_PER_GROUP)
			run++;
		if (write_slots(rc, i, run)) {
			unsigned int k;

			for (k = i; k < i + run; k++)
				if (write_slots(rc, k, 1) && !write_elsewhere(rc, k))
					rc->item[k].moves = false;
		}
	}
}

/* Commit and switch */

static void enter_items(struct remap *rc, unsigned int nr, enum remap_reason reason)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct remap_item *item = &rc->item[i];
		u16 generation = 0;

		if (!item->moves)
			continue;
		if (item->old_slot != REMAP_NO_SLOT)
			generation = remap_word_generation(remap_slot_word(rc, item->old_slot)) + 1;
		if (remap_masks_set(rc, item->new_slot, item->unread, item->lost)) {
			remap_slot_unalloc(rc, item->new_slot);
			item->moves = false;
			continue;
		}
		/* It may have been written since it failed to be read, before it was held. */
		if (reason == REMAP_REASON_SALVAGE)
			remap_masks_due(rc, item->new_slot);
		remap_slot_set(rc, item->new_slot,
			       remap_word(item->block, REMAP_ENTRY_MAPPED, reason, generation));
	}
}

/* The commit failed: what memory said before holds. */
static void take_back_items(struct remap *rc, unsigned int nr, bool touched)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct remap_item *item = &rc->item[i];

		if (!item->moves)
			continue;
		item->moves = false;
		remap_slot_set(rc, item->new_slot, 0);
		remap_masks_set(rc, item->new_slot, 0, 0);
		remap_slot_unalloc(rc, item->new_slot);
		if (touched)
			remap_poison(rc, item->block);
	}
}

static void switch_items(struct remap *rc, unsigned int nr, enum remap_reason reason)
{
	static const struct {
		size_t counter;
	} moved[] = {
		[REMAP_REASON_RESCUE] = { offsetof(struct remap_counters, rescued_blocks) },
		[REMAP_REASON_SALVAGE] = { offsetof(struct remap_counters, salvaged_blocks) },
		[REMAP_REASON_PROACTIVE] = { offsetof(struct remap_counters, proactive_blocks) },
	};
	atomic64_t *counter = (void *)&rc->count + moved[reason].counter;
	bool freed = false;
	bool touched;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct remap_item *item = &rc->item[i];

		if (!item->moves)
			continue;
		remap_map_set(&rc->map, item->block, item->new_slot);
		atomic64_inc(counter);
		trace_dm_remap_relocate(remap_devt(rc), item->block << rc->block_shift,
					remap_sectors_in_block(rc, item->block),
					rc->spare_offset + remap_slot_sector(rc, item->new_slot),
					reason, item->unread);
		if (item->old_slot == REMAP_NO_SLOT) {
			atomic64_inc(&rc->count.mapped_blocks);
			continue;
		}
		/* It failed, or it would not have been left. */
		remap_masks_set(rc, item->old_slot, 0, 0);
		remap_slot_set(rc, item->old_slot,
			       remap_word(0, REMAP_ENTRY_RETIRED, REMAP_REASON_NONE, 0));
		freed = true;
	}
	/*
	 * If this fails the old entry stays on disk with its older generation, and no further move
	 * starts before it is gone.
	 */
	if (freed)
		remap_meta_commit(rc, &touched);
}

/* The spare passed one of the marks that people want to hear of. */
static void report_fill(struct remap *rc)
{
	static const unsigned int marks[] = { 100, 95, 80 };
	u64 nr_free = atomic64_read(&rc->count.free_blocks);
	u64 nr_slots = remap_nr_slots(&rc->super);
	unsigned int percent = div64_u64((nr_slots - nr_free) * 100, nr_slots);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(marks); i++)
		if (percent >= marks[i] && rc->last_percent < marks[i]) {
			DMWARN("%s: the spare is %u %% full, %llu blocks are left", rc->name,
			       percent, nr_free);
			break;
		}
	rc->last_percent = percent;
	if (!nr_free)
		remap_set_mode(rc, REMAP_MODE_NO_NEW_MAPS);
}

/* One line and one event a batch. */
static void report(struct remap *rc, unsigned int nr, enum remap_reason reason)
{
	unsigned int moved = 0, failed = 0, unread = 0, lost = 0;
	u64 first = 0;
	unsigned int i;

	for (i = nr; i--;) {
		failed += !rc->item[i].moves && !rc->item[i].rewritten;
		if (!rc->item[i].moves)
			continue;
		first = rc->item[i].block;
		unread += hweight32(rc->item[i].unread) << rc->unit_shift;
		lost += hweight32(rc->item[i].lost) << rc->unit_shift;
		moved++;
	}
	if (failed)
		atomic64_add(failed, &rc->count.failed_relocations);
	if (!moved)
		return;
	DMWARN_LIMIT(
		"%s: %s: moved %u blocks from sector %llu on to the spare, %u sectors unread, %u lost",
		rc->name, remap_reason_name(reason), moved, (u64)first << rc->block_shift, unread,
		lost);
	report_fill(rc);
	remap_event(rc);
}

unsigned int remap_relocate(struct remap *rc, unsigned int nr, enum remap_reason reason,
			    struct bio_list *bios, unsigned long deadline)
{
	bool touched = false;
	struct bio *bio;
	unsigned int i;

	/* A generation may only be followed by the next once the one before is settled on disk. */
	if (remap_meta_is_dirty(rc) && remap_meta_commit(rc, &touched))
		goto out_none;
	if (rc->mode != REMAP_MODE_RW || remap_map_reserve(&rc->map, nr))
		goto out_none;
	remap_hold(rc, nr);
	for (i = 0; i < nr; i++) {
		rc->item[i].old_slot = remap_slot_of(rc, rc->item[i].block);
		rc->item[i].unread = 0;
		rc->item[i].lost = 0;
		rc->item[i].moves = reason == REMAP_REASON_RESCUE ||
				    rc->item[i].old_slot == REMAP_NO_SLOT;
	}
	nr = read_items(rc, nr, deadline);
	if (bios)
		bio_list_for_each(bio, bios)
			for (i = 0; i < nr; i++)
				overlay(rc, bio, &rc->item[i], remap_item_buf(rc, i));
	rewrite_items(rc, nr);
	write_items(rc, nr);
	enter_items(rc, nr, reason);
	if (remap_meta_is_dirty(rc) && remap_meta_commit(rc, &touched))
		take_back_items(rc, nr, touched);
	else
		switch_items(rc, nr, reason);
	remap_let_go(rc);
	report(rc, nr, reason);
	return nr;

out_none:
	for (i = 0; i < nr; i++)
		rc->item[i].moves = false;
	atomic64_add(nr, &rc->count.failed_relocations);
	return nr;
}

void remap_prepare(struct remap *rc)
{
	if (rc->mode != REMAP_MODE_RW)
		return;
	remap_map_reserve(&rc->map, REMAP_BATCH_BLOCKS);
	remap_slot_prepare(rc, REMAP_BATCH_BLOCKS);
}

/* Asked for */

int remap_lock_for_message(struct remap *rc)
{
	if (mutex_lock_interruptible(&rc->engine))
		return -EINTR;
	if (rc->mode != REMAP_MODE_FAILED && rc->mode != REMAP_MODE_RO &&
	    rc->mode != REMAP_MODE_INIT)
		return 0;
	mutex_unlock(&rc->engine);
	return -EROFS;
}

/* Where a message that got this far has to go on: at the first block that should have moved. */
static u64 first_left(struct remap *rc, unsigned int nr, unsigned int done, u64 end)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct remap_item *item = &rc->item[i];

		if (i >= done ||
		    (!item->moves && item->unread != remap_block_units(rc, item->block)))
			return item->block;
	}
	return end;
}

int remap_engine_remap(struct remap *rc, sector_t sector, sector_t count, struct remap_moved *moved)
{
	u64 first = sector >> rc->block_shift;
	u64 end = ((sector + count - 1) >> rc->block_shift) + 1;
	unsigned int nr = 0, done, i;
	unsigned int noio;
	u64 block;
	int r;

	r = remap_lock_for_message(rc);
	if (r)
		return r;
	noio = memalloc_noio_save();
	end = min(end, first + remap_batch_blocks(rc));
	for (block = first; block < end; block++)
		if (remap_slot_of(rc, block) == REMAP_NO_SLOT)
			rc->item[nr++] = (struct remap_item){ .block = block };
	done = nr ? remap_relocate(rc, nr, REMAP_REASON_PROACTIVE, NULL, jiffies + HZ) : 0;
	end = first_left(rc, nr, done, end);
	for (i = 0; i < nr && rc->item[i].block < end; i++) {
		moved->moved += rc->item[i].moves;
		moved->unread_sectors += hweight32(rc->item[i].unread) << rc->unit_shift;
	}
	moved->already = end - first - i;
	moved->next_sector =
		clamp_t(sector_t, (sector_t)end << rc->block_shift, sector, sector + count);
	/* Not a step further: say why. What moved beyond it counts, and is found by the next call. */
	if (nr && end == rc->item[0].block && !moved->already)
		r = remap_spare_is_full(rc) ? -ENOSPC : -EIO;
	remap_prepare(rc);
	memalloc_noio_restore(noio);
	mutex_unlock(&rc->engine);
	return r;
}
