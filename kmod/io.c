// SPDX-License-Identifier: GPL-2.0-only
/* The target's own I/O, and telling a bad spot from a main that is away. */
#include "remap.h"
#include "trace.h"

#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/random.h>
#include <linux/vmalloc.h>

#define PROBE_MS 1000 /* between two looks at a main that is away */
#define PROBES	 4    /* places that are read before main is called away */

static blk_status_t own_io(struct remap *rc, struct block_device *bdev, blk_opf_t opf,
			   sector_t sector, void *buf, unsigned int nr_sectors)
{
	struct bio *bio = &rc->own_bio;
	size_t left = (size_t)nr_sectors << SECTOR_SHIFT;
	blk_status_t status;
	void *p = buf;

	lockdep_assert_held(&rc->engine);
	trace_dm_remap_own_io(bdev->bd_dev, sector, nr_sectors,
				(__force u32)(opf & REQ_OP_MASK));
	bio_init(bio, bdev, rc->own_vec, ARRAY_SIZE(rc->own_vec), opf | REQ_SYNC);
	bio->bi_iter.bi_sector = sector;
	while (left) {
		unsigned int bytes = min_t(size_t, left, PAGE_SIZE - offset_in_page(p));

		__bio_add_page(bio, vmalloc_to_page(p), bytes, offset_in_page(p));
		p += bytes;
		left -= bytes;
	}
	if (op_is_write(opf))
		flush_kernel_vmap_range(buf, nr_sectors << SECTOR_SHIFT);
	submit_bio_wait(bio);
	if (!op_is_write(opf))
		invalidate_kernel_vmap_range(buf, nr_sectors << SECTOR_SHIFT);
	status = bio->bi_status;
	bio_uninit(bio);
	return status;
}

blk_status_t remap_main_io(struct remap *rc, blk_opf_t opf, sector_t sector, void *buf,
			   unsigned int nr_sectors)
{
	return own_io(rc, rc->main->bdev, opf, rc->main_offset + sector, buf, nr_sectors);
}

blk_status_t remap_spare_io(struct remap *rc, blk_opf_t opf, sector_t sector, void *buf,
			    unsigned int nr_sectors)
{
	return own_io(rc, rc->spare->bdev, opf, rc->spare_offset + sector, buf, nr_sectors);
}

blk_status_t remap_main_flush(struct remap *rc)
{
	s64 number = atomic64_inc_return(&rc->main_flush_started);
	blk_status_t status = own_io(rc, rc->main->bdev, REQ_OP_WRITE | REQ_PREFLUSH, 0, NULL, 0);

	if (!status)
		remap_main_flushed(rc, number);
	else
		remap_own_flush_failed(rc, false);
	return status;
}

blk_status_t remap_spare_flush(struct remap *rc)
{
	s64 number = atomic64_inc_return(&rc->flush_started);
	blk_status_t status = own_io(rc, rc->spare->bdev, REQ_OP_WRITE | REQ_PREFLUSH, 0, NULL, 0);

	if (!status)
		remap_flush_covered(rc, number);
	else
		remap_own_flush_failed(rc, true);
	return status;
}

bool remap_spare_answers(struct remap *rc)
{
	return !remap_spare_io(rc, REQ_OP_READ, REMAP_SUPER_A_SECTOR, rc->super_buf,
			       REMAP_META_SECTORS) ||
	       !remap_spare_io(rc, REQ_OP_READ, REMAP_SUPER_B_SECTOR, rc->super_buf,
			       REMAP_META_SECTORS);
}

bool remap_status_is_media(blk_status_t status)
{
	return status == BLK_STS_MEDIUM || status == BLK_STS_IOERR || status == BLK_STS_TIMEOUT;
}

static void set_away(struct remap *rc, bool away)
{
	if (rc->main_away == away)
		return;
	WRITE_ONCE(rc->main_away, away);
	WRITE_ONCE(rc->storm_left, rc->storm_budget);
	if (away) {
		DMWARN("%s: all of main fails: only %u blocks more are moved until it answers",
		       rc->name, rc->storm_budget);
		queue_delayed_work(rc->wq, &rc->probe_work, msecs_to_jiffies(PROBE_MS));
	} else {
		DMINFO("%s: main answers again", rc->name);
	}
	remap_event(rc);
}

/*
 * Reads a few places of main, none within 1 MiB of @sector where main is large enough. Does any
 * answer?
 */
static bool probe(struct remap *rc, sector_t sector)
{
	unsigned int nr_sectors = max(bdev_logical_block_size(rc->main->bdev) >> SECTOR_SHIFT, 1u);
	sector_t distance = min_t(sector_t, rc->len / 4, REMAP_BATCH_SECTORS);
	unsigned int i;

	for (i = 0; i < PROBES; i++) {
		u64 span = rc->len - 2 * distance;
		/* Anywhere on main but within @distance of @sector. */
		u64 ahead = distance + (((u64)get_random_u32() << 32 | get_random_u32()) % span);
		u64 place = (sector + ahead) % rc->len;

		place = round_down(place, nr_sectors);
		if (place + nr_sectors > rc->len)
			place = 0;
		if (!remap_main_io(rc, REQ_OP_READ, place, rc->scratch, nr_sectors))
			return true;
	}
	return false;
}

bool remap_believe(struct remap *rc, blk_status_t status, sector_t sector)
{
	if (status == BLK_STS_MEDIUM)
		return true;
	if (!remap_status_is_media(status))
		return false;
	set_away(rc, !probe(rc, sector));
	return !rc->main_away;
}

void remap_probe_work(struct work_struct *work)
{
	struct remap *rc = container_of(to_delayed_work(work), struct remap, probe_work);

	mutex_lock(&rc->engine);
	if (rc->main_away) {
		set_away(rc, !probe(rc, 0));
		if (rc->main_away)
			queue_delayed_work(rc->wq, &rc->probe_work, msecs_to_jiffies(PROBE_MS));
	}
	mutex_unlock(&rc->engine);
}
