// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who uses which part of which disk.
 *
 * All device-mapper devices open their disks as one holder, so the kernel lets two of them share a
 * spare. What a target uses is claimed here by mapped device: only the table that replaces a live
 * one may claim the same, in the same role.
 */
#include "remap.h"

#include <linux/slab.h>

struct claim {
	struct list_head list;
	struct gendisk *disk;
	sector_t start; /* of the disk, not the partition */
	sector_t end;
	bool is_spare;
	struct dm_table *table;
	struct mapped_device *md;
	struct remap *rc;
};

static LIST_HEAD(claims);
static DEFINE_MUTEX(claims_lock);

static bool claims_conflict(const struct claim *a, const struct claim *b)
{
	if (a->disk != b->disk || a->end <= b->start || b->end <= a->start)
		return false;
	return a->md != b->md || a->table == b->table || a->is_spare != b->is_spare;
}

int remap_claim(struct remap *rc, struct block_device *bdev, sector_t offset, sector_t nr_sectors,
		bool is_spare)
{
	struct claim *claim = kzalloc(sizeof(*claim), GFP_KERNEL);
	struct claim *other;

	if (!claim)
		return -ENOMEM;
	*claim = (struct claim){
		.disk = bdev->bd_disk,
		.start = get_start_sect(bdev) + offset,
		.end = get_start_sect(bdev) + offset + nr_sectors,
		.is_spare = is_spare,
		.table = rc->ti->table,
		.md = dm_table_get_md(rc->ti->table),
		.rc = rc,
	};
	mutex_lock(&claims_lock);
	list_for_each_entry(other, &claims, list)
		if (claims_conflict(claim, other)) {
			mutex_unlock(&claims_lock);
			kfree(claim);
			return -EBUSY;
		}
	list_add(&claim->list, &claims);
	mutex_unlock(&claims_lock);
	return 0;
}

void remap_claims_drop(struct remap *rc)
{
	struct claim *claim, *next;

	mutex_lock(&claims_lock);
	list_for_each_entry_safe(claim, next, &claims, list)
		if (claim->rc == rc) {
			list_del(&claim->list);
			kfree(claim);
		}
	mutex_unlock(&claims_lock);
}
