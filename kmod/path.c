// SPDX-License-Identifier: GPL-2.0-only
/*
 * The path of every I/O.
 *
 * Nearly all I/O is to blocks that are not mapped while nothing is wrong: one word (attention) and
 * one bit (the grain) say so, a per-CPU counter is raised, and the bio goes to main. Nothing shared
 * is written.
 *
 * The counter is what lets the engine wait for the I/O that was on its way before it held a range.
 * There are two epochs: the engine makes the other one current, and once every CPU has seen that
 * (RCU), the old one can only fall. A bio that the engine itself has is counted in neither, or a
 * rescue would wait for itself.
 */
#include "remap.h"

#include <linux/rcupdate.h>

#define DRAIN_POLL (HZ / 50 + 1)

enum where {
	ON_MAIN,
	ON_SPARE,
	WAITS,	    /* for the engine to let go of the range */
	NEEDS_CARE, /* sectors that the worker has to see to */
	REFUSED,    /* EIO */
};

/* Counting */

static void count_io(struct remap *rc, struct remap_io *io, u8 flags)
{
	/* Pairs with remap_drain(): whoever sees the new epoch sees the range held. */
	u8 epoch = smp_load_acquire(&rc->epoch);

	this_cpu_inc(rc->inflight->nr[epoch]);
	io->epoch = epoch;
	io->flags = flags | REMAP_IO_COUNTED;
}

/* The flag is left as it is: for a bio that is done. */
static void uncount_done(struct remap *rc, const struct remap_io *io)
{
	this_cpu_dec(rc->inflight->nr[io->epoch]);
	if (unlikely(READ_ONCE(rc->draining)))
		wake_up(&rc->drain_wait);
}

static void uncount_io(struct remap *rc, struct remap_io *io)
{
	io->flags &= ~REMAP_IO_COUNTED;
	uncount_done(rc, io);
}

static bool epoch_is_empty(struct remap *rc, unsigned int epoch)
{
	unsigned long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(rc->inflight, cpu)->nr[epoch]);
	return !sum;
}

void remap_drain(struct remap *rc)
{
	u8 old = rc->epoch;

	lockdep_assert_held(&rc->engine);
	WRITE_ONCE(rc->draining, true);
	/* Pairs with count_io(). */
	smp_store_release(&rc->epoch, !old);
	synchronize_rcu_expedited();
	/*
	 * The poll makes up for a wake-up lost to the missing barrier between count and flag in
	 * uncount_io().
	 */
	while (!wait_event_timeout(rc->drain_wait, epoch_is_empty(rc, old), DRAIN_POLL))
		;
	WRITE_ONCE(rc->draining, false);
}

/* Flushes of the spare */

/*
 * A flush of the spare is sent only if the spare was written since the last one that succeeded, so
 * that a dead spare fails no fsync of data that is not on it. Flushes are numbered as they start. A
 * write remembers, when it completes, how many had started: it is covered once a later one has
 * succeeded. Another one still on its way says nothing.
 */
void remap_spare_written(struct remap *rc)
{
	s64 started = atomic64_read(&rc->flush_started);
	s64 old = atomic64_read(&rc->written_after);

	while (old < started && !atomic64_try_cmpxchg(&rc->written_after, &old, started))
		;
}

/* Flushes of one device: the bit says that one failed and none that started later has succeeded. */
static void flush_succeeded(struct remap *rc, enum remap_attention bit, s64 number,
			    const atomic64_t *failed)
{
	if (!test_bit(bit, &rc->attention) || number <= atomic64_read(failed))
		return;
	clear_bit(bit, &rc->attention);
	/* One that fails meanwhile sets the bit last, or is seen here. */
	smp_mb__after_atomic();
	if (number <= atomic64_read(failed))
		set_bit(bit, &rc->attention);
}

static void flush_failed(struct remap *rc, enum remap_attention bit, const atomic64_t *started,
			 atomic64_t *failed)
{
	/* Flushes that had started by now don't make up for it. */
	atomic64_set(failed, atomic64_read(started));
	/* Before the bit: flush_succeeded() clears it, and looks at this again. */
	smp_mb__before_atomic();
	set_bit(bit, &rc->attention);
}

void remap_flush_covered(struct remap *rc, s64 number)
{
	s64 old = atomic64_read(&rc->flush_covered);

	while (old < number && !atomic64_try_cmpxchg(&rc->flush_covered, &old, number))
		;
	flush_succeeded(rc, REMAP_ATT_SPARE_FLUSH, number, &rc->flush_failed);
}

void remap_flush_failed(struct remap *rc)
{
	flush_failed(rc, REMAP_ATT_SPARE_FLUSH, &rc->flush_started, &rc->flush_failed);
}

void remap_main_flushed(struct remap *rc, s64 number)
{
	flush_succeeded(rc, REMAP_ATT_MAIN_FLUSH, number, &rc->main_flush_failed);
}

static void main_flush_failed(struct remap *rc)
{
	flush_failed(rc, REMAP_ATT_MAIN_FLUSH, &rc->main_flush_started, &rc->main_flush_failed);
}

void remap_own_flush_failed(struct remap *rc, bool is_spare)
{
	s64 written = atomic64_read(&rc->written_after);

	if (!is_spare)
		set_bit(REMAP_ATT_MAIN_UNTOLD, &rc->attention);
	else if (written >= atomic64_read(&rc->flush_covered) &&
		 written >= atomic64_read(&rc->flush_failed))
		set_bit(REMAP_ATT_SPARE_UNTOLD, &rc->attention);
}

bool remap_spare_needs_flush(struct remap *rc)
{
	return atomic64_read(&rc->written_after) >= atomic64_read(&rc->flush_covered);
}

/* Waiting */

static void queue_for_worker(struct remap *rc, struct bio_list *list, struct bio *bio)
{
	unsigned long flags;

	remap_io(bio)->since = jiffies;
	atomic64_inc(&rc->count.held_ios);
	spin_lock_irqsave(&rc->hold_lock, flags);
	bio_list_add(list, bio);
	/* Inside the lock: once the bio is done the target may go. */
	queue_work(rc->wq, &rc->work);
	spin_unlock_irqrestore(&rc->hold_lock, flags);
}

static void queue_for_care(struct remap *rc, struct bio *bio)
{
	queue_for_worker(rc, op_is_write(bio_op(bio)) ? &rc->write_bios : &rc->read_bios, bio);
}

/* The first held block in [@first, @last], or @last + 1. Holds hold_lock. */
static u64 first_held(const struct remap *rc, u64 first, u64 last)
{
	u64 found = last + 1;
	unsigned int i;

	for (i = 0; i < rc->nr_held; i++)
		if (rc->held[i].last >= first && rc->held[i].first < found)
			found = max(first, rc->held[i].first);
	return found;
}

/* Parks a bio until the engine lets go. False: it has by now. */
static bool park(struct remap *rc, struct bio *bio)
{
	sector_t start = remap_io_sector(rc, bio);
	u64 first = start >> rc->block_shift;
	u64 last = (start + bio_sectors(bio) - 1) >> rc->block_shift;
	unsigned long flags;
	bool held;

	spin_lock_irqsave(&rc->hold_lock, flags);
	held = first_held(rc, first, last) <= last;
	if (held) {
		bio_list_add(&rc->held_bios, bio);
		atomic64_inc(&rc->count.held_ios);
	}
	spin_unlock_irqrestore(&rc->hold_lock, flags);
	return held;
}

void remap_complete(struct remap *rc, struct bio *bio, blk_status_t status)
{
	atomic64_dec(&rc->count.held_ios);
	remap_io(bio)->flags = REMAP_IO_DONE;
	/*
	 * It may have been completed once already; that happens to it again now, but not to what
	 * hooks into it below.
	 */
	bio_clear_flag(bio, BIO_QOS_THROTTLED);
	bio_clear_flag(bio, BIO_QOS_MERGED);
	bio->bi_status = status;
	bio_endio(bio);
}

/* Where to */

static sector_t run_end(struct remap *rc, u64 block)
{
	return (sector_t)block << rc->block_shift;
}

/* Cuts the sectors of a block with unread or lost ones to those of one kind. */
static enum where locate_masked(struct remap *rc, const struct remap_masks *masks, bool is_write,
				unsigned int at, unsigned int *nr_sectors)
{
	unsigned int nr_units = remap_block_sectors(rc) >> rc->unit_shift;
	unsigned int first = at >> rc->unit_shift;
	unsigned int end = first;
	bool unread = masks->unread & BIT(first);
	bool lost = masks->lost & BIT(first);

	while (end < nr_units && unread == !!(masks->unread & BIT(end)) &&
	       lost == !!(masks->lost & BIT(end)))
		end++;
	*nr_sectors = min(*nr_sectors, (end << rc->unit_shift) - at);
	if (!unread && !lost)
		return ON_SPARE;
	if (is_write)
		return NEEDS_CARE;
	return lost || time_before(jiffies, READ_ONCE(masks->next_try)) ? REFUSED : NEEDS_CARE;
}

static enum where locate_mapped(struct remap *rc, bool is_write, sector_t sector,
				unsigned int *nr_sectors, u32 slot, sector_t *to)
{
	unsigned int at = sector & (remap_block_sectors(rc) - 1);
	u64 block = sector >> rc->block_shift;
	u64 last = (sector + *nr_sectors - 1) >> rc->block_shift;
	u32 nr = remap_map_run(&rc->map, block, slot,
			       min_t(u64, last - block + 1,
				     REMAP_SLOTS_PER_GROUP - slot % REMAP_SLOTS_PER_GROUP));

	*nr_sectors = min_t(sector_t, *nr_sectors, run_end(rc, block + nr) - sector);
	*to = remap_slot_sector(rc, slot) + at;
	if (test_bit(REMAP_ATT_MASKS, &rc->attention)) {
		unsigned long with_masks = slot;
		struct remap_masks *masks =
			xa_find(&rc->masks, &with_masks, slot + nr - 1, XA_PRESENT);

		if (masks && with_masks == slot) {
			*nr_sectors = min_t(sector_t, *nr_sectors, run_end(rc, block + 1) - sector);
			return locate_masked(rc, masks, is_write, at, nr_sectors);
		}
		if (masks)
			*nr_sectors = run_end(rc, block + (with_masks - slot)) - sector;
	}
	return ON_SPARE;
}

/*
 * What attention is for, apart from masks. Cuts *@nr_sectors to before the first block that needs
 * it.
 */
static enum where locate_troubled(struct remap *rc, bool is_write, sector_t sector,
				  unsigned int *nr_sectors)
{
	u64 first = sector >> rc->block_shift;
	u64 last = (sector + *nr_sectors - 1) >> rc->block_shift;
	unsigned long poisoned = first;
	unsigned long flags;
	u64 held;

	if (test_bit(REMAP_ATT_FAILED, &rc->attention) ||
	    (is_write && test_bit(REMAP_ATT_READ_ONLY, &rc->attention)))
		return REFUSED;
	if (test_bit(REMAP_ATT_POISON, &rc->attention) && is_write &&
	    xa_find(&rc->poisoned, &poisoned, last, XA_PRESENT)) {
		if (poisoned == first)
			return REFUSED;
		last = poisoned - 1;
	}
	/* Whoever finds nothing held must not have read the map before. */
	if (test_bit_acquire(REMAP_ATT_HELD, &rc->attention)) {
		spin_lock_irqsave(&rc->hold_lock, flags);
		held = first_held(rc, first, last);
		spin_unlock_irqrestore(&rc->hold_lock, flags);
		if (held == first)
			return WAITS;
		last = held - 1;
	}
	*nr_sectors = min_t(sector_t, *nr_sectors, run_end(rc, last + 1) - sector);
	return ON_MAIN;
}

/*
 * Where the first *@nr_sectors from @sector go, cut to what goes there in one piece. *@to: sector
 * of main, or of the spare's area. Inside rcu_read_lock().
 */
static enum where locate(struct remap *rc, bool is_write, sector_t sector, unsigned int *nr_sectors,
			 sector_t *to)
{
	u64 block = sector >> rc->block_shift;
	u64 next;
	u32 slot;

	/* Pairs with remap_let_go() in relocate.c: once nothing is held any more, the map says so. */
	if (smp_load_acquire(&rc->attention)) {
		enum where where = locate_troubled(rc, is_write, sector, nr_sectors);

		if (where != ON_MAIN)
			return where;
	}
	slot = remap_map_lookup(&rc->map, block);
	if (slot != REMAP_NO_SLOT)
		return locate_mapped(rc, is_write, sector, nr_sectors, slot, to);
	next = remap_map_next(&rc->map, block + 1,
			      ((sector + *nr_sectors - 1) >> rc->block_shift) + 1);
	*nr_sectors = min_t(sector_t, *nr_sectors, run_end(rc, next) - sector);
	*to = sector;
	return ON_MAIN;
}

/*
 * A FUA write that completes has to be found after a crash. While it is not on disk that its
 * sectors were healed, the worker takes it and commits.
 */
static bool fua_needs_commit(struct remap *rc, struct remap_io *io, enum where where)
{
	return where == ON_SPARE && io->flags & REMAP_IO_FUA && remap_heals_unrecorded(rc);
}

static void aim(struct remap *rc, struct bio *bio, enum where where, sector_t to)
{
	if (where == ON_MAIN) {
		bio_set_dev(bio, rc->main->bdev);
		bio->bi_iter.bi_sector = rc->main_offset + to;
	} else {
		bio_set_dev(bio, rc->spare->bdev);
		bio->bi_iter.bi_sector = rc->spare_offset + to;
		remap_io(bio)->flags |= REMAP_IO_SPARE;
	}
}

/*
 * A discard heals nothing and unmaps nothing: on the spare, and where sectors are unread or lost,
 * there is nothing to do.
 */
static bool discard_is_done(const struct remap *rc, struct bio *bio, enum where where)
{
	if (bio_op(bio) != REQ_OP_DISCARD || where == WAITS ||
	    test_bit(REMAP_ATT_FAILED, &rc->attention))
		return false;
	return where != ON_MAIN || test_bit(REMAP_ATT_READ_ONLY, &rc->attention);
}

/* Ends a bio that map() does not pass on. */
static int end_now(struct bio *bio, blk_status_t status)
{
	remap_io(bio)->flags = REMAP_IO_DONE;
	bio->bi_status = status;
	bio_endio(bio);
	return DM_MAPIO_SUBMITTED;
}

static noinline int map_flush(struct remap *rc, struct bio *bio, struct remap_io *io)
{
	io->flags = REMAP_IO_FLUSH;
	if (test_bit(REMAP_ATT_FAILED, &rc->attention))
		return DM_MAPIO_KILL;
	if (dm_bio_get_target_bio_nr(bio) == 0) {
		if (test_and_clear_bit(REMAP_ATT_MAIN_UNTOLD, &rc->attention)) {
			main_flush_failed(rc);
			return end_now(bio, BLK_STS_IOERR);
		}
		io->flush_number = atomic64_inc_return(&rc->main_flush_started);
		bio_set_dev(bio, rc->main->bdev);
		return DM_MAPIO_REMAPPED;
	}
	if (test_and_clear_bit(REMAP_ATT_SPARE_UNTOLD, &rc->attention)) {
		remap_flush_failed(rc);
		return end_now(bio, BLK_STS_IOERR);
	}
	/* Healed sectors are made known first; what else is unwritten gets another chance. */
	if (remap_meta_is_dirty(rc)) {
		queue_for_worker(rc, &rc->flush_bios, bio);
		return DM_MAPIO_SUBMITTED;
	}
	if (!remap_spare_needs_flush(rc)) {
		/* What failed has been told of, and is covered by now. */
		clear_bit(REMAP_ATT_SPARE_FLUSH, &rc->attention);
		return end_now(bio, BLK_STS_OK);
	}
	io->flags |= REMAP_IO_SPARE;
	io->flush_number = atomic64_inc_return(&rc->flush_started);
	bio_set_dev(bio, rc->spare->bdev);
	return DM_MAPIO_REMAPPED;
}

/*
 * Anything but an untroubled I/O to a grain without mappings. Enters inside rcu_read_lock(),
 * counted.
 */
static noinline int map_with_care(struct remap *rc, struct bio *bio, struct remap_io *io)
	__releases(RCU)
{
	bool is_write = op_is_write(bio_op(bio)) && bio_op(bio) != REQ_OP_DISCARD;
	sector_t sector = dm_target_offset(rc->ti, bio->bi_iter.bi_sector);
	unsigned int nr_sectors;
	enum where where;
	sector_t to;

	for (;;) {
		nr_sectors = bio_sectors(bio);
		where = locate(rc, is_write, sector, &nr_sectors, &to);
		rcu_read_unlock();
		if (nr_sectors < bio_sectors(bio)) {
			dm_accept_partial_bio(bio, nr_sectors);
			io->iter = bio->bi_iter;
		}
		/*
		 * A flush that failed may have been swallowed with the write that it came with:
		 * what relies on it must fail. Others may never send a flush: for them the worker
		 * finds out whether the devices flush again.
		 */
		if (is_write && io->flags & REMAP_IO_FUA && remap_flushes_fail(rc)) {
			where = REFUSED;
			WRITE_ONCE(rc->flush_wanted, true);
			queue_work(rc->wq, &rc->work);
		}
		if (fua_needs_commit(rc, io, where))
			where = NEEDS_CARE;
		if (discard_is_done(rc, bio, where)) {
			uncount_io(rc, io);
			return end_now(bio, BLK_STS_OK);
		}
		if (where == ON_MAIN || where == ON_SPARE) {
			aim(rc, bio, where, to);
			return DM_MAPIO_REMAPPED;
		}
		uncount_io(rc, io);
		if (where == REFUSED)
			return end_now(bio, BLK_STS_IOERR);
		if (bio->bi_opf & REQ_NOWAIT)
			return end_now(bio, BLK_STS_AGAIN);
		if (where == NEEDS_CARE) {
			queue_for_care(rc, bio);
			return DM_MAPIO_SUBMITTED;
		}
		if (park(rc, bio))
			return DM_MAPIO_SUBMITTED;
		rcu_read_lock();
		count_io(rc, io, io->flags);
	}
}

/* Is it certain, at the price of a bit or a look at one block, that nothing of this is mapped? */
static bool surely_on_main(const struct remap *rc, sector_t sector, unsigned int nr_sectors)
{
	sector_t last = sector + nr_sectors - 1;
	u64 grain = sector >> rc->grain_shift;

	if (likely(grain == last >> rc->grain_shift && !test_bit(grain, rc->map.grains)))
		return true;
	return sector >> rc->block_shift == last >> rc->block_shift &&
	       remap_map_lookup(&rc->map, sector >> rc->block_shift) == REMAP_NO_SLOT;
}

int remap_path_map(struct dm_target *ti, struct bio *bio)
{
	struct remap *rc = ti->private;
	struct remap_io *io = remap_io(bio);
	sector_t sector = dm_target_offset(ti, bio->bi_iter.bi_sector);
	unsigned int nr_sectors = bio_sectors(bio);

	io->iter = bio->bi_iter;
	io->status = BLK_STS_OK;
	/* The engine waits for what is on its way: that must not depend on somebody who polls. */
	bio->bi_opf &= ~REQ_POLLED;
	if (unlikely(!nr_sectors))
		return map_flush(rc, bio, io);

	rcu_read_lock();
	count_io(rc, io, bio->bi_opf & REQ_FUA ? REMAP_IO_FUA : 0);
	/* As in locate(). */
	if (unlikely(smp_load_acquire(&rc->attention)) ||
	    !surely_on_main(rc, sector, nr_sectors))
		return map_with_care(rc, bio, io);
	rcu_read_unlock();
	bio_set_dev(bio, rc->main->bdev);
	bio->bi_iter.bi_sector = rc->main_offset + sector;
	return DM_MAPIO_REMAPPED;
}

/*
 * What waited is sent as a whole if it goes to one place. What has to be cut is left to the worker,
 * piece by piece: a bio can be split only while device-mapper maps it.
 */
static void submit_waiting(struct remap *rc, struct bio *bio)
{
	bool is_write = op_is_write(bio_op(bio)) && bio_op(bio) != REQ_OP_DISCARD;
	struct remap_io *io = remap_io(bio);
	unsigned int nr_sectors;
	enum where where;
	sector_t to;

	atomic64_dec(&rc->count.held_ios);
	for (;;) {
		nr_sectors = bio_sectors(bio);
		rcu_read_lock();
		count_io(rc, io, io->flags);
		where = locate(rc, is_write, remap_io_sector(rc, bio), &nr_sectors, &to);
		rcu_read_unlock();
		if (nr_sectors == bio_sectors(bio) && (where == ON_MAIN || where == ON_SPARE) &&
		    !fua_needs_commit(rc, io, where) && !discard_is_done(rc, bio, where)) {
			aim(rc, bio, where, to);
			dm_submit_bio_remap(bio, NULL);
			return;
		}
		uncount_io(rc, io);
		if (bio_op(bio) == REQ_OP_DISCARD) {
			end_now(bio, BLK_STS_OK);
			return;
		}
		if (where != WAITS) {
			queue_for_care(rc, bio);
			return;
		}
		if (park(rc, bio))
			return;
	}
}

void remap_submit_waiting(struct remap *rc, struct bio_list *bios)
{
	struct bio *bio;

	while ((bio = bio_list_pop(bios)))
		submit_waiting(rc, bio);
}

/* Done */

static int end_flush(struct remap *rc, struct remap_io *io, blk_status_t *error)
{
	bool is_spare = io->flags & REMAP_IO_SPARE;

	/* One of the target's own failed while this one, asked for before, was on its way. */
	if (!*error && test_and_clear_bit(is_spare ? REMAP_ATT_SPARE_UNTOLD : REMAP_ATT_MAIN_UNTOLD,
					  &rc->attention))
		*error = BLK_STS_IOERR;
	if (!*error && is_spare)
		remap_flush_covered(rc, io->flush_number);
	else if (is_spare)
		remap_flush_failed(rc);
	else if (*error)
		main_flush_failed(rc);
	else
		remap_main_flushed(rc, io->flush_number);
	return DM_ENDIO_DONE;
}

static int end_failed(struct remap *rc, struct bio *bio, struct remap_io *io, blk_status_t error)
{
	bool is_write = op_is_write(bio_op(bio));

	if (error == BLK_STS_AGAIN || error == BLK_STS_NOTSUPP || bio_op(bio) == REQ_OP_DISCARD)
		return DM_ENDIO_DONE;
	if (io->flags & REMAP_IO_SPARE)
		atomic64_inc(is_write ? &rc->count.spare_write_errors
				      : &rc->count.spare_read_errors);
	else
		atomic64_inc(is_write ? &rc->count.main_write_errors : &rc->count.main_read_errors);
	if (!remap_status_is_media(error) || READ_ONCE(rc->mode) == REMAP_MODE_FAILED)
		return DM_ENDIO_DONE;
	io->status = error;
	queue_for_care(rc, bio);
	return DM_ENDIO_INCOMPLETE;
}

static noinline int end_with_care(struct remap *rc, struct bio *bio, blk_status_t *error)
{
	struct remap_io *io = remap_io(bio);

	if (io->flags & REMAP_IO_DONE)
		return DM_ENDIO_DONE;
	if (io->flags & REMAP_IO_FLUSH)
		return end_flush(rc, io, error);
	if (io->flags & REMAP_IO_SPARE && op_is_write(bio_op(bio)))
		remap_spare_written(rc);
	uncount_io(rc, io);
	return *error ? end_failed(rc, bio, io, *error) : DM_ENDIO_DONE;
}

int remap_path_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	struct remap_io *io = remap_io(bio);

	if (unlikely(*error || io->flags & ~(REMAP_IO_COUNTED | REMAP_IO_FUA)))
		return end_with_care(ti->private, bio, error);
	uncount_done(ti->private, io);
	return DM_ENDIO_DONE;
}
