// SPDX-License-Identifier: GPL-2.0-only
/*
 * Serves what the short path can't: bios that failed, that touch unread or lost sectors, or that
 * need a commit, one block at a time, in a worker.
 *
 * A failed bio does not say which of its sectors failed, so each block is tried again by itself and
 * only those that fail once more are moved. (A write of a single block that failed with MEDIUM is
 * not tried again.)
 */
#include "remap.h"

#include <linux/sched/mm.h>

static blk_opf_t fua_of(struct bio *bio)
{
	return remap_io(bio)->flags & REMAP_IO_FUA ? REQ_FUA : 0;
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

/* Did main fail this bio, rather than the spare, or nobody yet? */
static bool failed_on_main(struct bio *bio)
{
	return remap_io(bio)->status && !(remap_io(bio)->flags & REMAP_IO_SPARE);
}

/* Writes a part of one block to where it lives now; what was unread or lost there is healed. */
static blk_status_t write_home(struct remap *rc, blk_opf_t fua, sector_t sector, void *buf,
			       unsigned int nr_sectors)
{
	u64 block = sector >> rc->block_shift;
	unsigned int at = sector & (remap_block_sectors(rc) - 1);
	u32 slot = remap_slot_of(rc, block);
	blk_status_t status;
	u32 unread, lost, healed;

	/* Moving it would not help: the commit that it needs has just failed. */
	if (xa_load(&rc->poisoned, block))
		return BLK_STS_TARGET;
	if (slot == REMAP_NO_SLOT)
		return remap_main_io(rc, REQ_OP_WRITE | fua, sector, buf, nr_sectors);
	remap_masks_of(rc, slot, &unread, &lost);
	healed = (unread | lost) & remap_units_mask(rc, at, nr_sectors);
	/* What the masks say outlives a flush that fails: what they say it of must as well. */
	if (healed)
		fua = REQ_FUA;
	status = remap_spare_io(rc, REQ_OP_WRITE | fua, remap_slot_sector(rc, slot) + at, buf,
				nr_sectors);
	if (status)
		return status;
	if (!fua)
		remap_spare_written(rc);
	if (healed) {
		/* Dirty first: a flush that misses that must not miss the healed sectors too. */
		remap_slot_healed(rc, slot);
		if (remap_masks_set(rc, slot, unread & ~healed, lost & ~healed))
			return BLK_STS_RESOURCE;
	}
	return BLK_STS_OK;
}

/*
 * Tries each block's part of a write again; an item for each that fails. *@in_doubt: what main said
 * of those of which it did not say MEDIUM. True: main took some of it.
 */
static bool retry_write(struct remap *rc, struct bio *bio, sector_t start, sector_t end,
			unsigned int *nr, blk_status_t *in_doubt)
{
	struct remap_io *io = remap_io(bio);
	bool only_block = failed_on_main(bio) && remap_io_sector(rc, bio) >> rc->block_shift ==
						(remap_io_end(rc, bio) - 1) >> rc->block_shift;
	bool main_answers = false;

	while (start < end) {
		u64 block = start >> rc->block_shift;
		sector_t block_end = min(end, (sector_t)(block + 1) << rc->block_shift);
		bool on_main = remap_slot_of(rc, block) == REMAP_NO_SLOT;
		blk_status_t status = io->status;

		if (!only_block || !on_main) {
			remap_copy_bio(rc, bio, start, rc->scratch, block_end - start, false);
			status = write_home(rc, fua_of(bio), start, rc->scratch, block_end - start);
			main_answers |= !status && on_main;
		}
		if (status && !remap_status_is_media(status)) {
			io->status = status;
			io->flags |= REMAP_IO_HOPELESS;
		} else if (status) {
			if (!(io->flags & REMAP_IO_HOPELESS))
				io->status = status;
			io->flags |= REMAP_IO_NEEDS_ITEM;
			item_of(rc, nr, block)->medium |= on_main && status == BLK_STS_MEDIUM;
			if (on_main && status != BLK_STS_MEDIUM)
				*in_doubt = status;
		}
		start = block_end;
	}
	return main_answers;
}

/* What the writes bring along themselves need not be read. */
static void mark_given(struct remap *rc, struct bio *bio, struct remap_item *item)
{
	sector_t start, end;

	if (remap_io_overlap(rc, bio, item->block, &start, &end))
		item->given_units |= remap_units_mask(
			rc, start & (remap_block_sectors(rc) - 1), end - start);
}

static bool concerns(struct remap *rc, struct bio *bio, const struct remap_item *item)
{
	return remap_io_sector(rc, bio) >> rc->block_shift <= item->block &&
	       (remap_io_end(rc, bio) - 1) >> rc->block_shift >= item->block;
}

/* Does moving this block spend from the budget of an outage? */
static bool is_in_doubt(struct remap *rc, const struct remap_item *item)
{
	return !item->medium && remap_slot_of(rc, item->block) == REMAP_NO_SLOT;
}

/*
 * Main is away: each write in turn spends what its blocks on main need of the storm budget, or none
 * where that is more than is left, since half a write helps nobody. Keeps the items of the former.
 */
static unsigned int spend_budget(struct remap *rc, struct bio_list *bios, unsigned int nr)
{
	unsigned int kept = 0;
	struct bio *bio;
	unsigned int i;

	bio_list_for_each(bio, bios) {
		struct remap_io *io = remap_io(bio);
		unsigned int cost = 0;

		if (!(io->flags & REMAP_IO_NEEDS_ITEM) || io->flags & REMAP_IO_HOPELESS)
			continue;
		for (i = 0; i < nr; i++)
			cost += !rc->item[i].moves && concerns(rc, bio, &rc->item[i]) &&
				is_in_doubt(rc, &rc->item[i]);
		if (cost > rc->storm_left) {
			io->flags |= REMAP_IO_HOPELESS;
			continue;
		}
		WRITE_ONCE(rc->storm_left, rc->storm_left - cost);
		for (i = 0; i < nr; i++)
			rc->item[i].moves |= concerns(rc, bio, &rc->item[i]);
	}
	for (i = 0; i < nr; i++)
		if (rc->item[i].moves)
			rc->item[kept++] = rc->item[i];
	return kept;
}

/*
 * Errors that were only believed because main answers elsewhere are tried once more, after that
 * was seen: the outage that they came from may have just ended. Keeps the items that fail again. A
 * status that says nothing of the media is passed up, as in retry_write().
 */
static unsigned int still_failing(struct remap *rc, struct bio_list *bios, unsigned int nr)
{
	unsigned int kept = 0;
	struct bio *bio;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct remap_item *item = &rc->item[i];
		bool failed = !is_in_doubt(rc, item);

		bio_list_for_each(bio, bios) {
			blk_status_t status;
			sector_t start, end;

			if (failed || !remap_io_overlap(rc, bio, item->block, &start, &end))
				continue;
			remap_copy_bio(rc, bio, start, rc->scratch, end - start, false);
			status = write_home(rc, fua_of(bio), start, rc->scratch, end - start);
			failed = remap_status_is_media(status);
			if (status && !failed) {
				remap_io(bio)->status = status;
				remap_io(bio)->flags |= REMAP_IO_HOPELESS;
			}
		}
		if (failed)
			rc->item[kept++] = *item;
	}
	return kept;
}

/* Are all blocks of @bio that needed it moved? Only items that a bio asked for count. */
static bool all_moved(struct remap *rc, unsigned int nr, struct bio *bio)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (concerns(rc, bio, &rc->item[i]) && !rc->item[i].moves)
			return false;
	return true;
}

/* Serves the part [@from, @to) of each of @bios, which concerns at most a batch of blocks. */
static void serve_writes(struct remap *rc, struct bio_list *bios, sector_t from, sector_t to)
{
	bool main_answers = false;
	blk_status_t in_doubt = BLK_STS_OK;
	bool fua_failed = false;
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

		main_answers |= retry_write(rc, bio, start, end, &nr, &in_doubt);
		is_fua |= !!fua_of(bio);
	}
	for (i = 0; i < nr; i++)
		bio_list_for_each(bio, bios)
			mark_given(rc, bio, &rc->item[i]);
	if (in_doubt && !main_answers &&
	    !remap_believe(rc, in_doubt, rc->item[0].block << rc->block_shift))
		nr = spend_budget(rc, bios, nr);
	else if (in_doubt)
		nr = still_failing(rc, bios, nr);
	if (nr)
		remap_relocate(rc, nr, REMAP_REASON_RESCUE, bios, 0);
	/* What a FUA write healed must be known to be healed when it completes. */
	if (is_fua && remap_heals_unrecorded(rc) && remap_meta_commit(rc, &touched))
		fua_failed = true;
	bio_list_for_each(bio, bios) {
		struct remap_io *io = remap_io(bio);

		if (fua_of(bio) && fua_failed)
			io->status = BLK_STS_IOERR;
		else if (!(io->flags & REMAP_IO_HOPELESS) &&
			 (!(io->flags & REMAP_IO_NEEDS_ITEM) || all_moved(rc, nr, bio)))
			io->status = BLK_STS_OK;
		io->flags &= ~(REMAP_IO_NEEDS_ITEM | REMAP_IO_HOPELESS);
	}
}

static unsigned int bio_blocks(struct remap *rc, struct bio *bio)
{
	return ((remap_io_end(rc, bio) - 1) >> rc->block_shift) -
	       (remap_io_sector(rc, bio) >> rc->block_shift) + 1;
}

/*
 * Does a write that failed on a main that is away need more than is left of the budget? Then there is
 * nothing to be had from trying it block by block, and others wait.
 */
static bool is_beyond_budget(struct remap *rc, struct bio *bio)
{
	u64 block = remap_io_sector(rc, bio) >> rc->block_shift;
	u64 end = block + bio_blocks(rc, bio);
	unsigned int cost = 0;

	if (!rc->main_away || !failed_on_main(bio) || remap_io(bio)->status == BLK_STS_MEDIUM)
		return false;
	for (; block < end && cost <= rc->storm_left; block++)
		cost += remap_slot_of(rc, block) == REMAP_NO_SLOT;
	return cost > rc->storm_left;
}

/* Takes writes from @from: as many as one batch can hold, or one that is larger. */
static void serve_write_list(struct remap *rc, struct bio_list *from)
{
	struct bio_list bios;
	unsigned int nr_blocks = 0;
	struct bio *bio;

	bio_list_init(&bios);
	bio = bio_list_peek(from);
	if (is_beyond_budget(rc, bio)) {
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
		blk_status_t first;
		sector_t at;

		bio = bio_list_peek(&bios);
		first = remap_io(bio)->status;
		at = round_down(remap_io_sector(rc, bio), batch);
		/* Once a part has failed so has the write: no slot more for it. */
		do {
			remap_io(bio)->status = first;
			serve_writes(rc, &bios, at, at + batch);
			at += batch;
		} while (at < remap_io_end(rc, bio) && !remap_io(bio)->status);
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
	/* FUA, as in write_home(). */
	if (rc->read_only || remap_spare_io(rc, REQ_OP_WRITE | REQ_FUA,
					    remap_slot_sector(rc, slot) + at, buf, nr_sectors))
		return BLK_STS_OK;
	remap_slot_healed(rc, slot);
	remap_masks_set(rc, slot, masks->unread & ~remap_units_mask(rc, at, nr_sectors),
			masks->lost);
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
		u32 unit = remap_units_mask(rc, at, nr);
		blk_status_t status;
		u32 unread, lost;

		remap_masks_of(rc, slot, &unread, &lost);
		/* Neighbours of the same kind go along, in the steps in which main reads. */
		while (at + nr < end && (at + nr) % remap_physical_sectors(rc) &&
		       !(unread & unit) == !(unread & remap_units_mask(rc, at + nr, 1)) &&
		       !(lost & unit) == !(lost & remap_units_mask(rc, at + nr, 1)))
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

static bool is_over(unsigned long deadline)
{
	return deadline && time_after(jiffies, deadline);
}

static unsigned long salvage_deadline(const struct remap *rc, unsigned long since)
{
	return (since + msecs_to_jiffies(rc->salvage_ms)) ?: 1;
}

/*
 * A part of a block that lives on main. What fails is noted in *@bad, and in *@shaky that something
 * failed and then read after all. Gives up at @deadline
 * (jiffies; 0: none).
 */
static blk_status_t read_unmapped(struct remap *rc, u64 block, unsigned int at, void *buf,
				  unsigned int nr_sectors, u32 *bad, bool *shaky,
				  unsigned long deadline)
{
	sector_t start = block << rc->block_shift;
	unsigned int step = remap_physical_sectors(rc);
	blk_status_t result = BLK_STS_OK;
	unsigned int end = at + nr_sectors;

	if (nr_sectors > step) {
		if (!remap_main_io(rc, REQ_OP_READ, start + at, buf, nr_sectors))
			return BLK_STS_OK;
		*shaky = true;
	}
	while (at < end) {
		unsigned int nr = min(step - at % step, end - at);
		blk_status_t status;

		if (is_over(deadline))
			return BLK_STS_TIMEOUT;
		status = remap_main_io(rc, REQ_OP_READ, start + at, buf, nr);
		if (status) {
			unsigned int first = at - at % step;

			/* MEDIUM only if nothing but that was said. */
			if (!result || result == BLK_STS_MEDIUM)
				result = status;
			if (!remap_status_is_media(status))
				return status;
			*bad |= remap_units_mask(
				rc, first, min(step, remap_sectors_in_block(rc, block) - first));
		}
		at += nr;
		buf += nr << SECTOR_SHIFT;
	}
	return result;
}

/* The caller has waited long enough: the rest of the range is salvaged without it. */
static void salvage_later(struct remap *rc, u64 first, u64 last)
{
	struct remap_range *top = &rc->later[rc->nr_later - 1];

	if (rc->nr_later && top->last + 1 == first)
		top->last = last;
	else if (rc->nr_later < ARRAY_SIZE(rc->later))
		rc->later[rc->nr_later++] = (struct remap_range){ first, last };
}

/*
 * Reads what is in doubt once more, as still_failing() does with writes: keeps the items of which
 * something still can't be read, or all if what reads at last is to be written back.
 */
static unsigned int still_unreadable(struct remap *rc, unsigned int nr, unsigned long deadline)
{
	unsigned int kept = 0;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		u64 block = rc->item[i].block;
		bool rewrite = rc->rewrite_first;
		bool shaky = false;
		u32 bad = 0;

		if (rc->item[i].medium) {
			rc->item[kept++] = rc->item[i];
			continue;
		}
		if (!is_over(deadline))
			read_unmapped(rc, block, 0, rc->scratch, remap_sectors_in_block(rc, block),
				      &bad, &shaky, deadline);
		if (is_over(deadline))
			salvage_later(rc, block, block);
		else if (bad || rewrite)
			rc->item[kept++] = (struct remap_item){ .block = block,
								.bad_units = bad,
								.rewrite = rewrite };
	}
	return kept;
}

/* Main is away: only what it has called a bad spot is one. */
static unsigned int only_medium(struct remap *rc, unsigned int nr)
{
	unsigned int kept = 0;
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (rc->item[i].medium)
			rc->item[kept++] = rc->item[i];
	return kept;
}

/*
 * Moves the first @nr of rc->item as far as @deadline (jiffies; 0: none) allows, the others later.
 * @in_doubt: what main said of those of which it did not say MEDIUM.
 */
static void salvage(struct remap *rc, unsigned int nr, blk_status_t in_doubt, bool main_answers,
		    unsigned long deadline)
{
	unsigned int done = 0;

	if (!nr || rc->mode != REMAP_MODE_RW)
		return;
	if (in_doubt && !main_answers &&
	    !remap_believe(rc, in_doubt, rc->item[0].block << rc->block_shift))
		nr = only_medium(rc, nr);
	else if (in_doubt)
		nr = still_unreadable(rc, nr, deadline);
	if (nr && !is_over(deadline))
		done = remap_relocate(rc, nr, REMAP_REASON_SALVAGE, NULL, deadline);
	for (; done < nr; done++)
		salvage_later(rc, rc->item[done].block, rc->item[done].block);
}

static void serve_read(struct remap *rc, struct bio *bio)
{
	struct remap_io *io = remap_io(bio);
	/* Counted from the first failure: what never failed has all the time that it takes. */
	unsigned long deadline = io->status ? salvage_deadline(rc, io->since) : 0;
	sector_t start = remap_io_sector(rc, bio);
	sector_t end = remap_io_end(rc, bio);
	blk_status_t result = BLK_STS_OK;
	blk_status_t in_doubt = BLK_STS_OK;
	bool main_answers = false;
	/* It failed, and there is no doubt where. */
	bool one_block = io->status && start >> rc->block_shift == (end - 1) >> rc->block_shift;
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
		u32 slot = remap_slot_of(rc, block);
		blk_status_t status;
		bool shaky = one_block;
		u32 bad = 0;

		if (is_over(deadline))
			status = BLK_STS_TIMEOUT;
		else if (slot == REMAP_NO_SLOT)
			status = read_unmapped(rc, block, at, rc->scratch, nr_sectors, &bad,
					       &shaky, deadline);
		else
			status = read_mapped(rc, slot, block, at, rc->scratch, nr_sectors);
		if (status && !deadline)
			deadline = salvage_deadline(rc, jiffies);
		if (status && is_over(deadline)) {
			salvage_later(rc, block, (end - 1) >> rc->block_shift);
			result = io->status ?: BLK_STS_IOERR;
			break;
		}
		if (status)
			result = status;
		else
			remap_copy_bio(rc, bio, start, rc->scratch, nr_sectors, true);
		main_answers |= !status && slot == REMAP_NO_SLOT;
		if (bad) {
			struct remap_item *item = item_of(rc, &nr, block);

			item->bad_units = bad;
			item->medium = status == BLK_STS_MEDIUM;
			if (!item->medium)
				in_doubt = status;
		} else if (slot == REMAP_NO_SLOT && shaky && rc->rewrite_first) {
			item_of(rc, &nr, block)->rewrite = true;
		}
		if (nr == remap_batch_blocks(rc)) {
			salvage(rc, nr, in_doubt, main_answers, deadline);
			in_doubt = BLK_STS_OK;
			nr = 0;
		}
		start += nr_sectors;
	}
	salvage(rc, nr, in_doubt, main_answers, deadline);
	remap_complete(rc, bio, result);
}

/* One block of what callers no longer wait for. */
static void serve_later(struct remap *rc)
{
	struct remap_range *range = &rc->later[rc->nr_later - 1];
	u64 block = range->first++;
	bool shaky = false;
	blk_status_t status;
	u32 bad = 0;

	if (range->first > range->last)
		rc->nr_later--;
	if (rc->main_away || rc->mode != REMAP_MODE_RW) {
		rc->nr_later = 0;
		return;
	}
	if (remap_slot_of(rc, block) != REMAP_NO_SLOT)
		return;
	status = read_unmapped(rc, block, 0, rc->scratch, remap_sectors_in_block(rc, block), &bad,
			       &shaky, 0);
	if (bad || (shaky && rc->rewrite_first)) {
		rc->item[0] = (struct remap_item){ .block = block,
						   .bad_units = bad,
						   .medium = status == BLK_STS_MEDIUM,
						   .rewrite = rc->rewrite_first };
		salvage(rc, 1, status == BLK_STS_MEDIUM ? BLK_STS_OK : status, false, 0);
	}
}

/* A map that can't be written does no harm to what is not in it. */
static bool flush_spare(struct remap *rc)
{
	bool committed, touched;

	committed = remap_meta_is_dirty(rc) && !remap_meta_commit(rc, &touched);
	/* What an earlier flush lost, this one does not bring back. */
	if (test_bit(REMAP_ATT_SPARE_UNTOLD, &rc->attention))
		return false;
	if (committed)
		return true;
	if (remap_heals_unrecorded(rc))
		return false;
	return !remap_spare_needs_flush(rc) || !remap_spare_flush(rc);
}

static void serve_flush(struct remap *rc, struct bio *bio)
{
	blk_status_t status = BLK_STS_OK;

	if (!flush_spare(rc)) {
		status = BLK_STS_IOERR;
		remap_flush_failed(rc);
		clear_bit(REMAP_ATT_SPARE_UNTOLD, &rc->attention);
	}
	remap_complete(rc, bio, status);
}

/* For those who only write with FUA, which is refused until both devices flush again. */
static void flush_again(struct remap *rc)
{
	if (test_bit(REMAP_ATT_MAIN_FLUSH, &rc->attention))
		remap_main_flush(rc);
	if (test_bit(REMAP_ATT_SPARE_FLUSH, &rc->attention))
		remap_spare_flush(rc);
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
			if (xchg(&rc->flush_wanted, false))
				flush_again(rc);
			if (read)
				serve_read(rc, read);
			if (!more && rc->nr_later && !READ_ONCE(rc->suspending)) {
				serve_later(rc);
				more = true;
			}
			remap_prepare(rc);
		}
		mutex_unlock(&rc->engine);
	}
	memalloc_noio_restore(noio);
}
