// SPDX-License-Identifier: GPL-2.0-only
/*
 * The remap target: constructor, modes, suspend and resume. dm-remap.rst is its reference.
 */
#include "remap.h"

#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#define CREATE_TRACE_POINTS
#include "trace.h"

#define BLOCK_BYTES_MIN 4096

const char *const remap_mode_names[] = {
	[REMAP_MODE_INIT] = "init",
	[REMAP_MODE_RW] = "rw",
	[REMAP_MODE_NO_NEW_MAPS] = "no-new-maps",
	[REMAP_MODE_RO] = "ro",
	[REMAP_MODE_FAILED] = "failed",
};

const char *remap_reason_name(enum remap_reason reason)
{
	static const char *const names[] = {
		[REMAP_REASON_NONE] = "none",
		[REMAP_REASON_RESCUE] = "rescue",
		[REMAP_REASON_SALVAGE] = "salvage",
		[REMAP_REASON_PROACTIVE] = "proactive",
	};

	return reason < ARRAY_SIZE(names) ? names[reason] : "unknown";
}

void remap_event(struct remap *rc)
{
	dm_table_event(rc->ti->table);
}

void remap_set_mode(struct remap *rc, enum remap_mode mode)
{
	if (rc->mode == mode || rc->mode == REMAP_MODE_FAILED)
		return;
	if (rc->mode != REMAP_MODE_INIT || mode != REMAP_MODE_RW)
		DMWARN("%s: mode %s -> %s", rc->name, remap_mode_names[rc->mode],
		       remap_mode_names[mode]);
	WRITE_ONCE(rc->mode, mode);
	if (mode == REMAP_MODE_FAILED)
		set_bit(REMAP_ATT_FAILED, &rc->attention);
	trace_dm_remap_mode(remap_devt(rc), mode);
	remap_event(rc);
}

/* Constructor */

int remap_set_option(struct remap *rc, const char *name, const char *value)
{
	unsigned int number;

	if (kstrtouint(value, 10, &number))
		return -EINVAL;
	if (!strcmp(name, "storm_budget") && number <= 1000000)
		rc->storm_budget = number;
	else if (!strcmp(name, "salvage_ms") && number <= 3600000)
		rc->salvage_ms = number;
	else if (!strcmp(name, "retry_ms") && number <= 3600000)
		rc->retry_ms = number;
	else if (!strcmp(name, "rewrite_first") && number <= 1)
		rc->rewrite_first = number;
	else
		return -EINVAL;
	if (!rc->main_away)
		rc->storm_left = rc->storm_budget;
	return 0;
}

static int set_main_id(struct remap *rc, const char *id)
{
	const char *c;

	if (!*id || strlen(id) >= sizeof(rc->main_id))
		return -EINVAL;
	for (c = id; *c; c++)
		/* A backslash would be gone when the table line is read back. */
		if (*c <= ' ' || *c > '~' || *c == '\\')
			return -EINVAL;
	strscpy(rc->main_id, id, sizeof(rc->main_id));
	return 0;
}

static int parse_options(struct remap *rc, struct dm_arg_set *args)
{
	static const struct dm_arg option_count[] = {
		{ 0, 16, "Invalid number of option words" },
	};
	struct dm_target *ti = rc->ti;
	unsigned int nr;
	int r;

	if (!args->argc)
		return 0;
	r = dm_read_arg_group(option_count, args, &nr, &ti->error);
	if (r)
		return r;
	if (args->argc != nr) {
		ti->error = "Number of option words does not match the options";
		return -EINVAL;
	}
	while (nr) {
		const char *name = dm_shift_arg(args);
		const char *value;

		nr--;
		if (!strcmp(name, "format")) {
			rc->format = true;
			continue;
		}
		value = nr ? dm_shift_arg(args) : NULL;
		if (!value) {
			ti->error = "Unknown option, or its value is missing";
			return -EINVAL;
		}
		nr--;
		if (!strcmp(name, "main_id")) {
			if (set_main_id(rc, value)) {
				ti->error =
					"main_id must be 1 to 63 printable characters, no backslash";
				return -EINVAL;
			}
		} else if (remap_set_option(rc, name, value)) {
			ti->error = "Unknown option, or its value is out of range";
			return -EINVAL;
		}
	}
	return 0;
}

static int open_device(struct remap *rc, const char *path, const char *offset_text,
		       struct dm_dev **dev, sector_t *offset, char *open_error, char *offset_error)
{
	unsigned long long number;
	int r;

	if (kstrtoull(offset_text, 10, &number) || number > (1ull << 54)) {
		rc->ti->error = offset_error;
		return -EINVAL;
	}
	*offset = number;
	r = dm_get_device(rc->ti, path, dm_table_get_mode(rc->ti->table), dev);
	if (r)
		rc->ti->error = open_error;
	return r;
}

/* What the two devices are like, before anything is read from them. */
static int check_devices(struct remap *rc)
{
	struct dm_target *ti = rc->ti;
	struct block_device *main = rc->main->bdev;
	struct block_device *spare = rc->spare->bdev;

	if (main == spare && rc->spare_offset < rc->main_offset + ti->len) {
		ti->error = "Main and spare overlap";
		return -EINVAL;
	}
	if (bdev_is_zoned(main) || bdev_is_zoned(spare)) {
		ti->error = "Zoned devices are not supported";
		return -EINVAL;
	}
	if (bdev_logical_block_size(spare) > bdev_logical_block_size(main)) {
		ti->error = "The spare's logical blocks are larger than main's";
		return -EINVAL;
	}
	if (rc->main_offset + ti->len > bdev_nr_sectors(main)) {
		ti->error = "Main is too small for this offset and length";
		return -EINVAL;
	}
	if (rc->spare_offset % REMAP_META_SECTORS) {
		ti->error = "spare_offset is not a multiple of 8 sectors";
		return -EINVAL;
	}
	if (rc->spare_offset + REMAP_HEADER_SECTORS >= bdev_nr_sectors(spare)) {
		ti->error = "The spare is too small, or spare_offset is beyond its end";
		return -ENOSPC;
	}
	return 0;
}

static int claim_devices(struct remap *rc)
{
	struct dm_target *ti = rc->ti;
	int r;

	r = remap_claim(rc, rc->main->bdev, rc->main_offset, ti->len, false);
	if (r) {
		ti->error = "Main is in use by another remap target";
		return r;
	}
	r = remap_claim(rc, rc->spare->bdev, rc->spare_offset,
			bdev_nr_sectors(rc->spare->bdev) - rc->spare_offset, true);
	if (r)
		ti->error = "Spare overlaps main or is in use by another remap target";
	return r;
}

/* The largest of 4 KiB and both physical blocks that the masks of an entry can describe. */
static u32 block_sectors(const struct remap *rc)
{
	u32 bytes = max3((u32)BLOCK_BYTES_MIN, (u32)bdev_physical_block_size(rc->main->bdev),
			 (u32)bdev_physical_block_size(rc->spare->bdev));

	bytes = min3((u32)rounddown_pow_of_two(bytes),
		     bdev_logical_block_size(rc->main->bdev) * REMAP_UNITS_PER_BLOCK_MAX,
		     (u32)REMAP_BLOCK_SECTORS_MAX << SECTOR_SHIFT);
	return bytes >> SECTOR_SHIFT;
}

static int new_super(struct remap *rc)
{
	struct dm_target *ti = rc->ti;

	memset(&rc->super, 0, sizeof(rc->super));
	rc->super.main_sectors = ti->len;
	rc->super.main_offset_sectors = rc->main_offset;
	rc->super.block_sectors = block_sectors(rc);
	rc->super.unit_sectors = bdev_logical_block_size(rc->main->bdev) >> SECTOR_SHIFT;
	memcpy(rc->super.main_id, rc->main_id, sizeof(rc->main_id));
	if (!remap_super_layout(&rc->super, bdev_nr_sectors(rc->spare->bdev) - rc->spare_offset)) {
		ti->error = "The spare is too small to format";
		return -ENOSPC;
	}
	if (!remap_mode_writes(dm_table_get_mode(ti->table))) {
		ti->error = "A read-only table can't format the spare";
		return -EROFS;
	}
	return 0;
}

/* Does the spare's superblock belong to this table line? */
static int check_super(struct remap *rc)
{
	struct dm_target *ti = rc->ti;
	const struct remap_super *super = &rc->super;
	const struct remap_segment *last = &super->segment[super->nr_segments - 1];
	u64 end_block;

	if (super->main_offset_sectors != rc->main_offset) {
		ti->error = "The spare was formatted for another main_offset";
		return -EINVAL;
	}
	if (super->main_id[0] && rc->main_id[0] && strcmp(super->main_id, rc->main_id)) {
		ti->error = "The spare belongs to another main device (main_id differs)";
		return -EINVAL;
	}
	if (last->start_sector + last->nr_sectors >
	    bdev_nr_sectors(rc->spare->bdev) - rc->spare_offset) {
		ti->error = "The spare is smaller than when it was formatted";
		return -EINVAL;
	}
	if (super->unit_sectors << SECTOR_SHIFT < bdev_logical_block_size(rc->main->bdev)) {
		ti->error = "Logical blocks are larger than when the spare was formatted";
		return -EINVAL;
	}
	/* The page cache of most kernels can't, and crashes. */
	if (super->unit_sectors << SECTOR_SHIFT >
	    max_t(u32, PAGE_SIZE, bdev_logical_block_size(rc->main->bdev))) {
		ti->error = "The spare was formatted for logical blocks larger than a page";
		return -EINVAL;
	}
	if (super->ro_compat & ~REMAP_RO_COMPAT_KNOWN &&
	    remap_mode_writes(dm_table_get_mode(ti->table))) {
		ti->error =
			"The spare uses a feature that this module can only read: load the table read-only";
		return -EINVAL;
	}
	if (ti->len >= super->main_sectors)
		return 0;
	if (remap_meta_end_block(rc, super, &end_block)) {
		ti->error =
			"The table is shorter than main was, and the spare's metadata can't be read";
		return -EIO;
	}
	if (end_block * super->block_sectors > ti->len) {
		ti->error =
			"The table would cut off mapped blocks (or is for another, smaller main)";
		return -EINVAL;
	}
	return 0;
}

/* A read-only look at both devices. Sets up rc->super. */
static int look_at_devices(struct remap *rc)
{
	struct dm_target *ti = rc->ti;
	struct remap_super_disk *disk = rc->super_buf;
	const char *reason = "";
	int r;

	if (!remap_main_io(rc, REQ_OP_READ, 0, disk,
			   min_t(sector_t, REMAP_META_SECTORS, ti->len)) &&
	    ti->len >= REMAP_META_SECTORS && !remap_super_decode(&rc->super, disk)) {
		ti->error = "Main holds a dm-remap superblock: are main and spare swapped?";
		return -EINVAL;
	}
	r = remap_super_read(rc, &rc->super, &reason);
	if (rc->format) {
		if (r == -ENOENT)
			return new_super(rc);
		ti->error = r == -EIO	 ? "The spare can't be read: not formatted"
			    : r == -ENOMEM ? "Out of memory"
					   : "The spare holds a dm-remap superblock already: not formatted";
		return r ? r : -EEXIST;
	}
	if (r) {
		DMERR("%s: %s: %s", rc->name, rc->spare->name, reason);
		ti->error =
			r == -ENOENT
				? "No dm-remap superblock on the spare (the option format makes one)"
				: "Superblock of the spare is no good";
		return r;
	}
	return check_super(rc);
}

static void remap_free(struct remap *rc)
{
	if (!rc)
		return;
	if (rc->wq)
		destroy_workqueue(rc->wq);
	remap_claims_drop(rc);
	remap_meta_unload(rc);
	if (rc->map.grains)
		remap_map_exit(&rc->map);
	vfree(rc->buf);
	vfree(rc->meta_buf);
	vfree(rc->super_buf);
	vfree(rc->scratch);
	free_percpu(rc->inflight);
	if (rc->spare)
		dm_put_device(rc->ti, rc->spare);
	if (rc->main)
		dm_put_device(rc->ti, rc->main);
	mutex_destroy(&rc->engine);
	kvfree(rc);
}

static struct remap *remap_alloc(struct dm_target *ti)
{
	struct remap *rc = kvzalloc(sizeof(*rc), GFP_KERNEL);

	if (!rc)
		return NULL;
	rc->ti = ti;
	rc->len = ti->len;
	rc->mode = REMAP_MODE_INIT;
	rc->suspending = true; /* until it is resumed for the first time */
	rc->storm_budget = REMAP_STORM_BUDGET;
	rc->storm_left = REMAP_STORM_BUDGET;
	rc->salvage_ms = REMAP_SALVAGE_MS;
	rc->retry_ms = REMAP_RETRY_MS;
	if (dm_copy_name_and_uuid(dm_table_get_md(ti->table), rc->name, NULL) || !rc->name[0])
		strscpy(rc->name, dm_device_name(dm_table_get_md(ti->table)), sizeof(rc->name));
	mutex_init(&rc->engine);
	spin_lock_init(&rc->hold_lock);
	init_waitqueue_head(&rc->drain_wait);
	INIT_WORK(&rc->work, remap_engine_work);
	INIT_DELAYED_WORK(&rc->probe_work, remap_probe_work);
	xa_init(&rc->masks);
	xa_init(&rc->poisoned);
	rc->inflight = alloc_percpu(struct remap_inflight);
	rc->buf = vzalloc(REMAP_BATCH_BYTES);
	rc->meta_buf = vzalloc(2 * REMAP_METAS_PER_GROUP * REMAP_META_BYTES);
	rc->super_buf = vzalloc(REMAP_META_BYTES);
	rc->wq = alloc_workqueue("dm-remap", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (rc->inflight && rc->buf && rc->meta_buf && rc->super_buf && rc->wq)
		return rc;
	remap_free(rc);
	return NULL;
}

static void set_up_target(struct remap *rc)
{
	struct dm_target *ti = rc->ti;

	ti->private = rc;
	ti->num_flush_bios = 2;
	ti->num_discard_bios = 1;
	ti->num_write_zeroes_bios = 1;
	/* Also where neither device has a cache: a flush makes healed sectors known. */
	ti->flush_supported = true;
	ti->discards_supported = bdev_max_discard_sectors(rc->main->bdev) > 0;
	ti->per_io_data_size = sizeof(struct remap_io);
	/* dm_submit_bio_remap() counts what was held; what the target answers itself is not counted. */
	ti->accounts_remapped_io = true;
}

/* The sizes of the superblock that look_at_devices() found, and what follows from them. */
static int set_geometry(struct remap *rc)
{
	struct dm_target *ti = rc->ti;
	const struct remap_super *super = &rc->super;

	/* device-mapper itself finds this only after it has suspended the table that is replaced. */
	if ((rc->main_offset | rc->spare_offset | ti->len) & (super->unit_sectors - 1)) {
		ti->error = "Length or an offset is no multiple of the logical blocks";
		return -EINVAL;
	}
	if (ti->len > REMAP_BLOCKS_MAX * super->block_sectors) {
		ti->error = "Main is too large for this block size";
		return -EFBIG;
	}
	rc->block_shift = ilog2(super->block_sectors);
	rc->unit_shift = ilog2(super->unit_sectors);
	rc->nr_blocks = DIV_ROUND_UP(ti->len, super->block_sectors);
	if (remap_map_init(&rc->map, rc->nr_blocks)) {
		ti->error = "Out of memory";
		return -ENOMEM;
	}
	rc->grain_shift = rc->block_shift + rc->map.grain_shift;
	return 0;
}

static int remap_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct dm_arg_set args = { .argc = argc, .argv = argv };
	const char *main_path, *main_offset, *spare_path, *spare_offset;
	struct remap *rc;
	int r = -EINVAL;

	if (argc < 4) {
		ti->error =
			"Needs <main> <main_offset> <spare> <spare_offset> [<number of option words> ...]";
		return -EINVAL;
	}
	rc = remap_alloc(ti);
	if (!rc) {
		ti->error = "Out of memory";
		return -ENOMEM;
	}
	main_path = dm_shift_arg(&args);
	main_offset = dm_shift_arg(&args);
	spare_path = dm_shift_arg(&args);
	spare_offset = dm_shift_arg(&args);
	r = parse_options(rc, &args);
	if (r)
		goto out_free;
	r = open_device(rc, main_path, main_offset, &rc->main, &rc->main_offset,
			"Main device can't be opened", "main_offset is not a number of sectors");
	if (r)
		goto out_free;
	r = open_device(rc, spare_path, spare_offset, &rc->spare, &rc->spare_offset,
			"Spare device can't be opened (in use?)",
			"spare_offset is not a number of sectors");
	if (r)
		goto out_free;
	rc->read_only = !remap_mode_writes(dm_table_get_mode(ti->table));
	r = check_devices(rc);
	if (r)
		goto out_free;
	r = claim_devices(rc);
	if (r)
		goto out_free;

	rc->scratch = vzalloc(max_t(size_t, REMAP_BLOCK_SECTORS_MAX << SECTOR_SHIFT, PAGE_SIZE));
	ti->error = "Out of memory";
	r = -ENOMEM;
	if (!rc->scratch)
		goto out_free;
	mutex_lock(&rc->engine);
	r = look_at_devices(rc);
	mutex_unlock(&rc->engine);
	if (r)
		goto out_free;
	r = set_geometry(rc);
	if (r)
		goto out_free;
	ti->error = NULL;
	set_up_target(rc);
	return 0;

out_free:
	/* The reason is in the log for every refusal; device-mapper logs ti->error. */
	remap_free(rc);
	return r;
}

static void remap_dtr(struct dm_target *ti)
{
	struct remap *rc = ti->private;

	cancel_delayed_work_sync(&rc->probe_work);
	remap_free(rc);
}

/* Suspend and resume */

static int remap_preresume(struct dm_target *ti)
{
	struct remap *rc = ti->private;
	unsigned int noio;
	int r = 0;

	if (rc->loaded)
		return 0;
	/* Writeback for the sake of memory would wait for this very device. */
	noio = memalloc_noio_save();
	mutex_lock(&rc->engine);
	if (rc->format)
		r = remap_meta_format(rc);
	rc->format = false;
	if (!r)
		r = remap_meta_load(rc);
	rc->loaded = true;
	if (r) {
		/* To fail here would leave I/O waiting for ever. */
		DMERR("%s: not activated, all I/O fails: %s (%d)", rc->name, rc->reason, r);
		remap_set_mode(rc, REMAP_MODE_FAILED);
	} else if (rc->read_only) {
		set_bit(REMAP_ATT_READ_ONLY, &rc->attention);
		remap_set_mode(rc, REMAP_MODE_RO);
	} else {
		/* What an earlier activation left in the spare's cache is no fsync's business now. */
		remap_spare_flush(rc);
		remap_set_mode(rc,
			       remap_spare_is_full(rc) ? REMAP_MODE_NO_NEW_MAPS : REMAP_MODE_RW);
		remap_prepare(rc);
	}
	mutex_unlock(&rc->engine);
	memalloc_noio_restore(noio);
	return 0;
}

static void remap_resume(struct dm_target *ti)
{
	struct remap *rc = ti->private;

	WRITE_ONCE(rc->suspending, false);
	/* There may be salvage without a caller left. */
	queue_work(rc->wq, &rc->work);
}

static void remap_presuspend(struct dm_target *ti)
{
	struct remap *rc = ti->private;

	WRITE_ONCE(rc->suspending, true);
}

static void remap_postsuspend(struct dm_target *ti)
{
	struct remap *rc = ti->private;
	bool touched;

	cancel_delayed_work_sync(&rc->probe_work);
	flush_work(&rc->work);
	mutex_lock(&rc->engine);
	if (remap_meta_is_dirty(rc) && !rc->read_only && rc->mode != REMAP_MODE_FAILED &&
	    remap_meta_commit(rc, &touched))
		DMERR("%s: healed sectors could not be recorded: they will be read from main again",
		      rc->name);
	/* Found out anew, if it is still away. */
	WRITE_ONCE(rc->main_away, false);
	WRITE_ONCE(rc->storm_left, rc->storm_budget);
	mutex_unlock(&rc->engine);
}

static int remap_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn, void *data)
{
	struct remap *rc = ti->private;
	sector_t spare_sectors = bdev_nr_sectors(rc->spare->bdev);
	int r;

	r = fn(ti, rc->main, rc->main_offset, ti->len, data);
	if (r || spare_sectors <= rc->spare_offset)
		return r;
	/* device-mapper wants whole logical blocks. */
	spare_sectors = round_down(spare_sectors - rc->spare_offset,
				   max_t(u32, REMAP_META_SECTORS, rc->super.unit_sectors));
	return fn(ti, rc->spare, rc->spare_offset, spare_sectors, data);
}

/* The unit of the masks is the least that may be read or written. */
static void remap_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	struct remap *rc = ti->private;

	limits->logical_block_size = max_t(unsigned int, limits->logical_block_size,
					   rc->super.unit_sectors << SECTOR_SHIFT);
	limits->physical_block_size =
		max(limits->physical_block_size, limits->logical_block_size);
	limits->io_min = max(limits->io_min, limits->physical_block_size);
	/* What fails is tried block by block, and what else the engine has to do waits for it. */
	remap_limit_write_zeroes(limits, REMAP_BATCH_SECTORS);
}

static struct target_type remap_target = {
	.name = "remap",
	.version = { 1, 0, 0 },
	.features = DM_TARGET_NOWAIT,
	.module = THIS_MODULE,
	.ctr = remap_ctr,
	.dtr = remap_dtr,
	.map = remap_path_map,
	.end_io = remap_path_end_io,
	.presuspend = remap_presuspend,
	.presuspend_undo = remap_resume,
	.postsuspend = remap_postsuspend,
	.preresume = remap_preresume,
	.resume = remap_resume,
	.status = remap_status,
	.message = remap_message,
	.iterate_devices = remap_iterate_devices,
	.io_hints = remap_io_hints,
};

static int __init remap_init(void)
{
	return dm_register_target(&remap_target);
}

static void __exit remap_exit(void)
{
	dm_unregister_target(&remap_target);
}

module_init(remap_init);
module_exit(remap_exit);

MODULE_DESCRIPTION(DM_NAME " target that moves failing blocks to a spare device");
MODULE_AUTHOR("The dm-remap developers");
MODULE_LICENSE("GPL");
