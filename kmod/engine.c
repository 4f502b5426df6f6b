// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves blocks between main and the spare.
 *
 * relocate() is the one way onto the spare, whatever the reason:
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
 * of the new one too early.
 *
 * Bios that failed, or that touch unread or lost sectors, are served here block by block, in a
 * worker. A failed bio does not say which of its sectors failed, so each block is tried again by
 * itself and only those that fail once more are moved. (A
 * write of a single block that failed with MEDIUM is not tried again.)
 */
#include "remap.h"
#include "trace.h"

#include <linux/highmem.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#define SLOT_TRIES 3 /* slots that one block is written to before the spare is called sick */

static u32 units_mask(const struct remap *rc, unsigned int first_sector, unsigned int nr_sectors)
{
	unsigned int first = first_sector >> rc->unit_shift;
	unsigned int last = (first_sector + nr_sectors - 1) >> rc->unit_shift;

	return GENMASK(last, first);
}

static u32 block_units(const struct remap *rc, u64 block)
{
	return units_mask(rc, 0, remap_sectors_in_block(rc, block));
}

static u32 slot_of(struct remap *rc, u64 block)
{
	u32 slot;

	rcu_read_lock();
	slot = remap_map_lookup(&rc->map, block);
	rcu_read_unlock();
	return slot;
}

static void masks_of(struct remap *rc, u32 slot, u32 *unread, u32 *lost)
{
	struct remap_masks *masks = xa_load(&rc->masks, slot);

	*unread = masks ? masks->unread : 0;
	*lost = masks ? masks->lost : 0;
}

/* The unit in which a sector that fails takes its neighbours along. */
static unsigned int physical_sectors(const struct remap *rc)
{
	unsigned int sectors = bdev_physical_block_size(rc->main->bdev) >> SECTOR_SHIFT;

	return clamp_t(unsigned int, rounddown_pow_of_two(max(sectors, 1u)), 1u << rc->unit_shift,
		       remap_block_sectors(rc));
}

/* Copies between a bio, from @sector of the target on, and @buf. */
static void copy_bio(struct remap *rc, struct bio *bio, sector_t sector, void *buf,
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

static blk_opf_t fua_of(struct bio *bio)
{
	return remap_io(bio)->flags & REMAP_IO_FUA ? REQ_FUA : 0;
}

/* Holding */

static void hold(struct remap *rc, unsigned int nr)
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

static void let_go(struct remap *rc)
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
	unsigned int step = physical_sectors(rc);
	void *buf = remap_item_buf(rc, i);
	unsigned int at;

	if (!item->bad_units && !item->given_units &&
	    !remap_main_io(rc, REQ_OP_READ, start, buf, nr_sectors))
		return true;
	for (at = 0; at < nr_sectors; at += step) {
		unsigned int nr = min(step, nr_sectors - at);
		u32 wanted = units_mask(rc, at, nr) & ~item->given_units;
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

	masks_of(rc, item->old_slot, &item->unread, &item->lost);
	item->unread &= ~item->given_units;
	item->lost &= ~item->given_units;
	for (at = 0; at < nr_sectors; at += step) {
		u32 unit = units_mask(rc, at, step);
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
			if (!(item->old_slot != REMAP_NO_SLOT ? read_from_slot(rc, i) :
								read_from_main(rc, i)))
				item->moves = false;
			/* Nothing of it can be read: a mapping would help nobody. */
			if (item->unread == block_units(rc, item->block))
				item->moves = false;
		}
	}
	return nr;
}

/* Lays the part of a write that falls into the block over it. */
static void overlay(struct remap *rc, struct bio *bio, const struct remap_item *item, void *buf)
{
	sector_t block_start = item->block << rc->block_shift;
	sector_t start = max(remap_io_sector(rc, bio), block_start);
	sector_t end =
		min(remap_io_end(rc, bio), block_start + remap_sectors_in_block(rc, item->block));

	if (start < end)
		copy_bio(rc, bio, start, buf + ((start - block_start) << SECTOR_SHIFT), end - start,
			 false);
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
		if (!item->moves && remap_spare_is_full(rc))
			remap_set_mode(rc, REMAP_MODE_NO_NEW_MAPS);
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
	unsigned int moved = 0, unread = 0, lost = 0;
	u64 first = 0;
	unsigned int i;

	for (i = nr; i--;) {
		if (!rc->item[i].moves)
			continue;
		first = rc->item[i].block;
		unread += hweight32(rc->item[i].unread) << rc->unit_shift;
		lost += hweight32(rc->item[i].lost) << rc->unit_shift;
		moved++;
	}
	if (moved != nr)
		atomic64_add(nr - moved, &rc->count.failed_relocations);
	if (!moved)
		return;
	DMWARN_LIMIT(
		"%s: %s: moved %u blocks from sector %llu on to the spare, %u sectors unread, %u lost",
		rc->name, remap_reason_name(reason), moved, (u64)first << rc->block_shift, unread,
		lost);
	report_fill(rc);
	remap_event(rc);
}

/*
 * Moves the first @nr of rc->item, ordered by block, together. On return item->moves tells which
 * did. @bios: writes to lay over them. Returns how many items were looked at before @deadline.
 */
static unsigned int relocate(struct remap *rc, unsigned int nr, enum remap_reason reason,
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
	hold(rc, nr);
	for (i = 0; i < nr; i++) {
		rc->item[i].old_slot = slot_of(rc, rc->item[i].block);
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
	write_items(rc, nr);
	enter_items(rc, nr, reason);
	if (remap_meta_is_dirty(rc) && remap_meta_commit(rc, &touched))
		take_back_items(rc, nr, touched);
	else
		switch_items(rc, nr, reason);
	let_go(rc);
	report(rc, nr, reason);
	return nr;

out_none:
	for (i = 0; i < nr; i++)
		rc->item[i].moves = false;
	atomic64_add(nr, &rc->count.failed_relocations);
	return nr;
}

/* Writes that failed, or that touch unread or lost sectors */

/* The item of @block, ordered; a new one if there is none. */
static struct remap_item *item_of(struct remap *rc, unsigned int *nr, u64 block)
{
	unsigned int i = *nr;

	while (i && rc->item[i - 1].block > block)
		i--;
	if (i && rc->item[i - 1].block == block)
		return &rc->item[i - 1];
	memmove(&rc->item[i + 1], &rc->item[i], (*nr - i) * sizeof(rc->item[0]));
	rc->item[i] = (struct remap_item){ .block = block };
	++*nr;
	return &rc->item[i];
}

/* Writes a part of one block to where it lives now; what was unread or lost there is healed. */
static blk_status_t write_home(struct remap *rc, blk_opf_t fua, sector_t sector, void *buf,
			       unsigned int nr_sectors)
{
	u64 block = sector >> rc->block_shift;
	unsigned int at = sector & (remap_block_sectors(rc) - 1);
	u32 slot = slot_of(rc, block);
	blk_status_t status;
	u32 unread, lost, healed;

	/* Moving it would not help: the commit that it needs has just failed. */
	if (xa_load(&rc->poisoned, block))
		return BLK_STS_TARGET;
	if (slot == REMAP_NO_SLOT)
		return remap_main_io(rc, REQ_OP_WRITE | fua, sector, buf, nr_sectors);
	status = remap_spare_io(rc, REQ_OP_WRITE | fua, remap_slot_sector(rc, slot) + at, buf,
				nr_sectors);
	if (status)
		return status;
	masks_of(rc, slot, &unread, &lost);
	healed = (unread | lost) & units_mask(rc, at, nr_sectors);
	if (healed) {
		/* Dirty first: a flush that misses that must not miss the healed sectors too. */
		remap_slot_dirty(rc, slot);
		if (remap_masks_set(rc, slot, unread & ~healed, lost & ~healed))
			return BLK_STS_RESOURCE;
	}
	return BLK_STS_OK;
}

/*
 * Tries each block's part of a write again; an item for each that fails. *@main_status: what main
 * said of those that it failed. True: main took some of it.
 */
static bool retry_write(struct remap *rc, struct bio *bio, sector_t start, sector_t end,
			unsigned int *nr, blk_status_t *main_status)
{
	struct remap_io *io = remap_io(bio);
	bool only_block = io->status && remap_io_sector(rc, bio) >> rc->block_shift ==
						(remap_io_end(rc, bio) - 1) >> rc->block_shift;
	bool main_answers = false;

	while (start < end) {
		u64 block = start >> rc->block_shift;
		sector_t block_end = min(end, (sector_t)(block + 1) << rc->block_shift);
		bool on_main = slot_of(rc, block) == REMAP_NO_SLOT;
		blk_status_t status = io->status;

		if (!only_block || !on_main) {
			copy_bio(rc, bio, start, rc->scratch, block_end - start, false);
			status = write_home(rc, fua_of(bio), start, rc->scratch,
					    block_end - start);
			main_answers |= !status && on_main;
		}
		if (status && !remap_status_is_media(status)) {
			io->status = status;
			io->flags |= REMAP_IO_HOPELESS;
		} else if (status) {
			if (!(io->flags & REMAP_IO_HOPELESS))
				io->status = status;
			io->flags |= REMAP_IO_NEEDS_ITEM;
			item_of(rc, nr, block);
			if (on_main && *main_status != BLK_STS_MEDIUM)
				*main_status = status;
		}
		start = block_end;
	}
	return main_answers;
}

/* What the writes bring along themselves need not be read. */
static void mark_given(struct remap *rc, struct bio *bio, struct remap_item *item)
{
	sector_t block_start = item->block << rc->block_shift;
	sector_t start = max(remap_io_sector(rc, bio), block_start);
	sector_t end =
		min(remap_io_end(rc, bio), block_start + remap_sectors_in_block(rc, item->block));

	if (start < end)
		item->given_units |= units_mask(rc, start - block_start, end - start);
}

/* May these @nr blocks be moved on the word of @status? */
static bool may_rescue(struct remap *rc, blk_status_t status, sector_t sector, unsigned int nr)
{
	if (remap_believe(rc, status, sector))
		return true;
	if (rc->storm_left < nr)
		return false;
	WRITE_ONCE(rc->storm_left, rc->storm_left - nr);
	return true;
}

/*
 * Errors that were only believed because main answers elsewhere are tried once more, after that
 * was seen: the outage that they came from may have just ended. Keeps the items that fail again.
 */
static unsigned int still_failing(struct remap *rc, struct bio_list *bios, unsigned int nr)
{
	unsigned int kept = 0;
	struct bio *bio;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct remap_item *item = &rc->item[i];
		sector_t block_start = item->block << rc->block_shift;
		bool failed = slot_of(rc, item->block) != REMAP_NO_SLOT;

		bio_list_for_each(bio, bios) {
			sector_t start = max(remap_io_sector(rc, bio), block_start);
			sector_t end = min(remap_io_end(rc, bio),
					   block_start + remap_sectors_in_block(rc, item->block));

			if (start >= end || failed)
				continue;
			copy_bio(rc, bio, start, rc->scratch, end - start, false);
			failed = write_home(rc, fua_of(bio), start, rc->scratch,
					    end - start);
		}
		if (failed)
			rc->item[kept++] = *item;
	}
	return kept;
}

/* Are all blocks of [@start, @end) that needed it moved? Only items that a bio asked for count. */
static bool all_moved(struct remap *rc, unsigned int nr, sector_t start, sector_t end)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (rc->item[i].block >= start >> rc->block_shift &&
		    rc->item[i].block <= (end - 1) >> rc->block_shift && !rc->item[i].moves)
			return false;
	return true;
}

/* Serves the part [@from, @to) of each of @bios, which concerns at most a batch of blocks. */
static void serve_writes(struct remap *rc, struct bio_list *bios, sector_t from, sector_t to)
{
	bool main_answers = false;
	blk_status_t main_status = BLK_STS_OK;
	bool fua_failed = false;
	bool believed = true;
	bool is_fua = false;
	unsigned int nr = 0;
	bool touched;
	struct bio *bio;
	unsigned int i;

	if (test_bit(REMAP_ATT_POISON, &rc->attention))
		remap_meta_commit(rc, &touched);
	bio_list_for_each(bio, bios) {
		sector_t start = max(from, remap_io_sector(rc, bio));
		sector_t end = min(to, remap_io_end(rc, bio));

		main_answers |= retry_write(rc, bio, start, end, &nr, &main_status);
		is_fua |= !!fua_of(bio);
	}
	for (i = 0; i < nr; i++)
		bio_list_for_each(bio, bios)
			mark_given(rc, bio, &rc->item[i]);
	if (nr && main_status && !main_answers)
		believed = may_rescue(rc, main_status, rc->item[0].block << rc->block_shift, nr);
	if (believed && main_status && main_status != BLK_STS_MEDIUM && !rc->main_away)
		nr = still_failing(rc, bios, nr);
	if (nr && believed)
		relocate(rc, nr, REMAP_REASON_RESCUE, bios, 0);
	else
		for (i = 0; i < nr; i++)
			rc->item[i].moves = false;
	/* What a FUA write healed must be known to be healed when it completes. */
	if (is_fua && remap_meta_is_dirty(rc) && remap_meta_commit(rc, &touched))
		fua_failed = true;
	bio_list_for_each(bio, bios) {
		struct remap_io *io = remap_io(bio);

		if (fua_of(bio) && fua_failed)
			io->status = BLK_STS_IOERR;
		else if (!(io->flags & REMAP_IO_HOPELESS) &&
			 (!(io->flags & REMAP_IO_NEEDS_ITEM) ||
			  all_moved(rc, nr, remap_io_sector(rc, bio), remap_io_end(rc, bio))))
			io->status = BLK_STS_OK;
		io->flags &= ~(REMAP_IO_NEEDS_ITEM | REMAP_IO_HOPELESS);
	}
}

/* Did main fail this bio, rather than the spare, or nobody yet? */
static bool failed_on_main(struct bio *bio)
{
	return remap_io(bio)->status && !(remap_io(bio)->flags & REMAP_IO_SPARE);
}

static unsigned int bio_blocks(struct remap *rc, struct bio *bio)
{
	return ((remap_io_end(rc, bio) - 1) >> rc->block_shift) -
	       (remap_io_sector(rc, bio) >> rc->block_shift) + 1;
}

/* Takes writes from @from: as many as one batch can hold, or one that is larger. */
static void serve_write_list(struct remap *rc, struct bio_list *from)
{
	struct bio_list bios;
	unsigned int nr_blocks = 0;
	struct bio *bio;

	bio_list_init(&bios);
	/* The budget is spent: nothing to be had from a main that is away, and others wait. */
	bio = bio_list_peek(from);
	if (rc->main_away && !rc->storm_left && failed_on_main(bio) &&
	    remap_io(bio)->status != BLK_STS_MEDIUM) {
		bio_list_pop(from);
		remap_complete(rc, bio, remap_io(bio)->status);
		return;
	}
	while ((bio = bio_list_peek(from)) &&
	       (!nr_blocks || nr_blocks + bio_blocks(rc, bio) <= remap_batch_blocks(rc))) {
		nr_blocks += bio_blocks(rc, bio);
		bio_list_add(&bios, bio_list_pop(from));
	}
	if (nr_blocks <= remap_batch_blocks(rc)) {
		serve_writes(rc, &bios, 0, rc->len);
	} else {
		sector_t batch = (sector_t)remap_batch_blocks(rc) << rc->block_shift;
		blk_status_t first = BLK_STS_OK;
		blk_status_t failed = BLK_STS_OK;
		sector_t at;

		bio = bio_list_peek(&bios);
		first = remap_io(bio)->status;
		for (at = round_down(remap_io_sector(rc, bio), batch); at < remap_io_end(rc, bio);
		     at += batch) {
			remap_io(bio)->status = first;
			serve_writes(rc, &bios, at, at + batch);
			if (remap_io(bio)->status)
				failed = remap_io(bio)->status;
		}
		remap_io(bio)->status = failed;
	}
	while ((bio = bio_list_pop(&bios)))
		remap_complete(rc, bio, remap_io(bio)->status);
}

/* Reads that failed, or that touch unread or lost sectors */

/* Brings unread sectors along, if they read now. */
static blk_status_t fetch_unread(struct remap *rc, u32 slot, u64 block, unsigned int at, void *buf,
				 unsigned int nr_sectors)
{
	struct remap_masks *masks = xa_load(&rc->masks, slot);
	blk_status_t status;

	if (time_before(jiffies, READ_ONCE(masks->next_try)))
		return BLK_STS_IOERR;
	status = remap_main_io(rc, REQ_OP_READ, (block << rc->block_shift) + at, buf, nr_sectors);
	if (status) {
		WRITE_ONCE(masks->next_try, jiffies + msecs_to_jiffies(rc->retry_ms));
		return BLK_STS_IOERR;
	}
	if (rc->read_only || remap_spare_io(rc, REQ_OP_WRITE, remap_slot_sector(rc, slot) + at, buf,
					    nr_sectors))
		return BLK_STS_OK;
	remap_slot_dirty(rc, slot);
	remap_masks_set(rc, slot, masks->unread & ~units_mask(rc, at, nr_sectors), masks->lost);
	/* Main answers here: its neighbours need not wait. */
	masks = xa_load(&rc->masks, slot);
	if (masks)
		WRITE_ONCE(masks->next_try, jiffies);
	return BLK_STS_OK;
}

/* A part of a block that lives on the spare, piece by piece of one kind. */
static blk_status_t read_mapped(struct remap *rc, u32 slot, u64 block, unsigned int at, void *buf,
				unsigned int nr_sectors)
{
	blk_status_t result = BLK_STS_OK;
	unsigned int end = at + nr_sectors;

	while (at < end) {
		unsigned int nr =
			min((1u << rc->unit_shift) - (at & ((1u << rc->unit_shift) - 1)), end - at);
		u32 unit = units_mask(rc, at, nr);
		blk_status_t status;
		u32 unread, lost;

		masks_of(rc, slot, &unread, &lost);
		/* Neighbours of the same kind go along, in the steps in which main reads. */
		while (at + nr < end && (at + nr) % physical_sectors(rc) &&
		       !(unread & unit) == !(unread & units_mask(rc, at + nr, 1)) &&
		       !(lost & unit) == !(lost & units_mask(rc, at + nr, 1)))
			nr++;
		if (lost & unit)
			status = BLK_STS_IOERR;
		else if (unread & unit)
			status = fetch_unread(rc, slot, block, at, buf, nr);
		else
			status = remap_spare_io(rc, REQ_OP_READ, remap_slot_sector(rc, slot) + at,
						buf, nr);
		if (status)
			result = status;
		at += nr;
		buf += nr << SECTOR_SHIFT;
	}
	return result;
}

/*
 * A part of a block that lives on main. What fails is noted in *@bad. Gives up at @deadline (jiffies;
 * 0: none).
 */
static blk_status_t read_unmapped(struct remap *rc, u64 block, unsigned int at, void *buf,
				  unsigned int nr_sectors, u32 *bad, unsigned long deadline)
{
	sector_t start = block << rc->block_shift;
	unsigned int step = physical_sectors(rc);
	blk_status_t result = BLK_STS_OK;
	unsigned int end = at + nr_sectors;

	if (nr_sectors > step && !remap_main_io(rc, REQ_OP_READ, start + at, buf, nr_sectors))
		return BLK_STS_OK;
	while (at < end) {
		unsigned int nr = min(step - at % step, end - at);
		blk_status_t status;

		if (deadline && time_after(jiffies, deadline))
			return BLK_STS_TIMEOUT;
		status = remap_main_io(rc, REQ_OP_READ, start + at, buf, nr);
		if (status) {
			unsigned int first = at - at % step;

			result = status;
			if (!remap_status_is_media(status))
				return status;
			*bad |= units_mask(rc, first,
					   min(step, remap_sectors_in_block(rc, block) - first));
		}
		at += nr;
		buf += nr << SECTOR_SHIFT;
	}
	return result;
}

/* The same of reads: keeps the items of which something still can't be read. */
static unsigned int still_unreadable(struct remap *rc, unsigned int nr)
{
	unsigned int kept = 0;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		u64 block = rc->item[i].block;
		u32 bad = 0;

		read_unmapped(rc, block, 0, rc->scratch, remap_sectors_in_block(rc, block), &bad, 0);
		if (bad)
			rc->item[kept++] = (struct remap_item){ .block = block, .bad_units = bad };
	}
	return kept;
}

/* The caller has waited long enough: the rest of the range is salvaged without it. */
static void salvage_later(struct remap *rc, u64 first, u64 last)
{
	if (rc->nr_later < ARRAY_SIZE(rc->later))
		rc->later[rc->nr_later++] = (struct remap_range){ first, last };
}

/* Moves the first @nr of rc->item as far as @deadline allows, the others later. */
static void salvage(struct remap *rc, unsigned int nr, blk_status_t status, bool main_answers,
		    unsigned long deadline)
{
	unsigned int done;

	if (!nr || rc->mode != REMAP_MODE_RW)
		return;
	if (!main_answers && !remap_believe(rc, status, rc->item[0].block << rc->block_shift))
		return;
	if (status != BLK_STS_MEDIUM)
		nr = still_unreadable(rc, nr);
	for (done = nr ? relocate(rc, nr, REMAP_REASON_SALVAGE, NULL, deadline) : 0; done < nr;
	     done++)
		salvage_later(rc, rc->item[done].block, rc->item[done].block);
}

static void serve_read(struct remap *rc, struct bio *bio)
{
	struct remap_io *io = remap_io(bio);
	unsigned long deadline = io->since + msecs_to_jiffies(rc->salvage_ms);
	sector_t start = remap_io_sector(rc, bio);
	sector_t end = remap_io_end(rc, bio);
	blk_status_t result = BLK_STS_OK;
	blk_status_t media_status = io->status;
	bool main_answers = false;
	unsigned int nr = 0;

	/* Nothing to be learnt from a main that is away, and nobody served by waiting for it. */
	if (rc->main_away && failed_on_main(bio) && io->status != BLK_STS_MEDIUM) {
		remap_complete(rc, bio, io->status);
		return;
	}
	while (start < end) {
		u64 block = start >> rc->block_shift;
		unsigned int at = start & (remap_block_sectors(rc) - 1);
		unsigned int nr_sectors =
			min_t(sector_t, end - start, remap_block_sectors(rc) - at);
		u32 slot = slot_of(rc, block);
		blk_status_t status;
		u32 bad = 0;

		if (time_after(jiffies, deadline))
			status = BLK_STS_TIMEOUT;
		else if (slot == REMAP_NO_SLOT)
			status = read_unmapped(rc, block, at, rc->scratch, nr_sectors, &bad,
					       deadline);
		else
			status = read_mapped(rc, slot, block, at, rc->scratch, nr_sectors);
		if (status && time_after(jiffies, deadline)) {
			salvage_later(rc, block, (end - 1) >> rc->block_shift);
			result = io->status ?: BLK_STS_IOERR;
			break;
		}
		if (status)
			result = status;
		else
			copy_bio(rc, bio, start, rc->scratch, nr_sectors, true);
		main_answers |= !status && slot == REMAP_NO_SLOT;
		if (bad) {
			media_status = status;
			item_of(rc, &nr, block)->bad_units = bad;
		}
		if (nr == remap_batch_blocks(rc)) {
			salvage(rc, nr, media_status, main_answers, deadline);
			nr = 0;
		}
		start += nr_sectors;
	}
	salvage(rc, nr, media_status, main_answers, deadline);
	remap_complete(rc, bio, result);
}

/* One block of what callers no longer wait for. */
static void serve_later(struct remap *rc)
{
	struct remap_range *range = &rc->later[rc->nr_later - 1];
	u64 block = range->first++;
	blk_status_t status;
	u32 bad = 0;

	if (range->first > range->last)
		rc->nr_later--;
	if (rc->main_away || rc->mode != REMAP_MODE_RW) {
		rc->nr_later = 0;
		return;
	}
	if (slot_of(rc, block) != REMAP_NO_SLOT)
		return;
	status = read_unmapped(rc, block, 0, rc->scratch, remap_sectors_in_block(rc, block), &bad,
			       0);
	if (bad) {
		rc->item[0] = (struct remap_item){ .block = block, .bad_units = bad };
		salvage(rc, 1, status, false, 0);
	}
}

static void serve_flush(struct remap *rc, struct bio *bio)
{
	blk_status_t status = BLK_STS_OK;
	bool touched;

	if (remap_meta_is_dirty(rc) ? remap_meta_commit(rc, &touched) : !!remap_spare_flush(rc)) {
		status = BLK_STS_IOERR;
		remap_flush_failed(rc);
	}
	remap_complete(rc, bio, status);
}

void remap_engine_work(struct work_struct *work)
{
	struct remap *rc = container_of(work, struct remap, work);
	unsigned int noio = memalloc_noio_save();
	bool more = true;

	/* Writes before reads: they are what can be lost. */
	while (more) {
		struct bio_list writes, flushes;
		struct bio *read;

		spin_lock_irq(&rc->hold_lock);
		writes = rc->write_bios;
		bio_list_init(&rc->write_bios);
		flushes = rc->flush_bios;
		bio_list_init(&rc->flush_bios);
		read = bio_list_pop(&rc->read_bios);
		spin_unlock_irq(&rc->hold_lock);

		mutex_lock(&rc->engine);
		more = !bio_list_empty(&writes) || !bio_list_empty(&flushes) || read;
		if (rc->mode == REMAP_MODE_FAILED) {
			if (read)
				bio_list_add(&writes, read);
			bio_list_merge(&writes, &flushes);
			while ((read = bio_list_pop(&writes)))
				remap_complete(rc, read, BLK_STS_IOERR);
		} else {
			struct bio *bio;

			while (!bio_list_empty(&writes))
				serve_write_list(rc, &writes);
			while ((bio = bio_list_pop(&flushes)))
				serve_flush(rc, bio);
			if (read)
				serve_read(rc, read);
			if (!more && rc->nr_later && !READ_ONCE(rc->suspending)) {
				serve_later(rc);
				more = true;
			}
		}
		mutex_unlock(&rc->engine);
	}
	memalloc_noio_restore(noio);
}

/* Messages */

static int lock_for_message(struct remap *rc)
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
		    (!item->moves && item->unread != block_units(rc, item->block)))
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

	r = lock_for_message(rc);
	if (r)
		return r;
	noio = memalloc_noio_save();
	end = min(end, first + remap_batch_blocks(rc));
	for (block = first; block < end; block++)
		if (slot_of(rc, block) == REMAP_NO_SLOT)
			rc->item[nr++] = (struct remap_item){ .block = block };
	done = nr ? relocate(rc, nr, REMAP_REASON_PROACTIVE, NULL, jiffies + HZ) : 0;
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
	memalloc_noio_restore(noio);
	mutex_unlock(&rc->engine);
	return r;
}

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

	r = lock_for_message(rc);
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
		hold(rc, nr);
		for (done = 0; done < nr && !(done && time_after(jiffies, deadline)); done++)
			rc->item[done].moves = !xa_load(&rc->masks, rc->item[done].old_slot) &&
					       release_copy(rc, done);
		if (done < nr)
			end = rc->item[done].block;
		if (!release_commit(rc, done))
			r = -EIO;
		let_go(rc);
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
