/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One remap target in memory, and what its files ask of each other:
 *
 *   target.c   the device-mapper side: constructor, modes, suspend and resume
 *   message.c  messages and status
 *   claim.c    which target uses which part of which disk
 *   path.c     the path of every I/O: where it goes, what becomes of it when it is done
 *   serve.c    what the short path can't do: failed bios, unread and lost sectors
 *   relocate.c moves blocks to the spare: rescue, salvage, proactive
 *   release.c  moves them back
 *   slot.c     the slots of the spare
 *   meta.c     the metadata on the spare, and how changes become durable
 *   load.c     reads it
 *   io.c       the target's own I/O, and telling when all of main fails
 *   map.c      the map in memory
 *   format.c   the format on the spare
 *
 * Locking: @engine serialises everything that changes the map, the metadata or main_away; whoever
 * holds it may do I/O. @hold_lock guards the lists of bios that wait and the ranges they wait for.
 * Nothing is taken inside @hold_lock, and neither is taken on the path of an I/O that nothing is
 * wrong with.
 */
#ifndef REMAP_H
#define REMAP_H

#include "compat.h"
#include "format.h"
#include "map.h"

#include <linux/atomic.h>
#include <linux/bio.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#define DM_MSG_PREFIX "remap"

#define REMAP_BATCH_BYTES	(1u << 20)	/* most that one commit moves */
#define REMAP_BATCH_BLOCKS	256		/* the same in blocks of 4 KiB */
#define REMAP_BATCH_SECTORS	(REMAP_BATCH_BYTES >> SECTOR_SHIFT)

#define REMAP_SUPER_BOTH	3u	/* copies A and B of the superblock, as bits */

#define REMAP_STORM_BUDGET	64
#define REMAP_SALVAGE_MS	10000
#define REMAP_RETRY_MS		1000

enum remap_mode {
	REMAP_MODE_INIT,
	REMAP_MODE_RW,
	REMAP_MODE_NO_NEW_MAPS,
	REMAP_MODE_RO,
	REMAP_MODE_FAILED,
};

/* Why an I/O has to leave the short path. Zero on a healthy device. */
enum remap_attention {
	REMAP_ATT_HELD,			/* some ranges are held by the engine */
	REMAP_ATT_MASKS,		/* some mapped blocks have unread or lost sectors */
	REMAP_ATT_POISON,		/* some blocks must not be written, see meta.c */
	REMAP_ATT_FAILED,		/* mode failed */
	REMAP_ATT_READ_ONLY,		/* nothing is written, whatever arrives */
	REMAP_ATT_MAIN_FLUSH,		/* a flush of main failed and none has succeeded since */
	REMAP_ATT_SPARE_FLUSH,		/* the same of the spare */
	REMAP_ATT_MAIN_UNTOLD,		/* a flush of main failed that nobody above had sent */
	REMAP_ATT_SPARE_UNTOLD,		/* the same of the spare */
};

/* The unread and lost sectors of one mapped block, by its slot. */
struct remap_masks {
	struct rcu_head rcu;
	u32 unread;
	u32 lost;
	unsigned long next_try;		/* jiffies: no read of main before */
};

struct remap_inflight {
	unsigned long nr[2];		/* by epoch; a sum over all CPUs means something, one CPU's value does not */
};

struct remap_group {
	struct remap_group_place place;
	u32 nr_free;
	u64 dirty;			/* one bit a metadata block */
	u64 fenced[2];
	u64 sequence[REMAP_METAS_PER_GROUP];
	unsigned long *used;		/* one bit a slot: not to be allocated */
	u64 word[];			/* of each slot, as on disk */
};

struct remap_range {
	u64 first;			/* blocks, both included */
	u64 last;
};

struct remap_counters {
	atomic64_t mapped_blocks;
	atomic64_t free_blocks;
	atomic64_t retired_blocks;
	atomic64_t unread_sectors;
	atomic64_t lost_sectors;
	atomic64_t rescued_blocks;
	atomic64_t salvaged_blocks;
	atomic64_t proactive_blocks;
	atomic64_t released_blocks;
	atomic64_t rewritten_blocks;
	atomic64_t failed_relocations;
	atomic64_t main_read_errors;
	atomic64_t main_write_errors;
	atomic64_t spare_read_errors;
	atomic64_t spare_write_errors;
	atomic64_t metadata_errors;
	atomic64_t held_ios;
};

/* One block that the engine moves. */
struct remap_item {
	u64 block;
	u32 old_slot;			/* REMAP_NO_SLOT: its home is main */
	u32 new_slot;
	u32 bad_units;			/* known not to be readable at its present home, before reading */
	u32 given_units;		/* filled in by the write that is rescued */
	u32 unread;
	u32 lost;
	u64 word;			/* of old_slot, while it is being released */
	bool moves;
	bool medium;			/* main said so: no doubt that it is a bad spot */
	bool rewrite;			/* main gave it at last: it may be written back there instead */
	bool rewritten;
};

struct remap {
	/* One cache line: what the path of every I/O reads. It writes nothing of it. */
	struct remap_map map;
	struct dm_dev *main;
	sector_t main_offset;
	struct remap_inflight __percpu *inflight;
	unsigned long attention;
	u8 epoch;
	bool draining;
	u8 grain_shift;			/* sectors of a grain of the map, as a power of two */
	u8 block_shift;			/* sectors of a block, likewise */

	u8 unit_shift;
	struct dm_dev *spare;
	sector_t spare_offset;
	u64 nr_blocks;
	struct dm_target *ti;
	char name[DM_NAME_LEN];
	sector_t len;
	struct remap_super super;
	unsigned int super_stale;	/* bits: copies that are not like super, to be written again */
	struct remap_group **group;
	u32 nr_groups;
	u32 alloc_group;		/* where the last slot was found */
	u32 alloc_place;
	struct xarray masks;		/* slot -> struct remap_masks */
	struct xarray poisoned;		/* block -> true */
	bool meta_dirty;
	bool heals_unrecorded;		/* some of it is what users were told of, see serve.c */
	enum remap_mode mode;
	bool read_only;
	bool loaded;
	bool format;
	bool suspending;
	const char *reason;		/* why loading failed, for the log */
	char main_id[REMAP_MAIN_ID_BYTES];

	unsigned int storm_budget;
	unsigned int salvage_ms;
	unsigned int retry_ms;
	bool rewrite_first;

	bool main_away;
	unsigned int storm_left;
	struct delayed_work probe_work;

	/* Is there anything on the spare that no flush covered? See remap_spare_needs_flush(). */
	atomic64_t flush_started;
	atomic64_t flush_covered;
	atomic64_t written_after;
	atomic64_t flush_failed;	/* flushes that had started when one failed */
	atomic64_t main_flush_started;
	atomic64_t main_flush_failed;
	bool flush_wanted;		/* a write was refused because a flush had failed */

	spinlock_t hold_lock;
	struct remap_range held[REMAP_BATCH_BLOCKS];
	unsigned int nr_held;
	struct bio_list held_bios;	/* wait for the ranges */
	struct bio_list write_bios;	/* wait for the worker: failed, or need care */
	struct bio_list read_bios;
	struct bio_list flush_bios;	/* wait for a commit */
	wait_queue_head_t drain_wait;

	struct mutex engine;
	struct workqueue_struct *wq;
	struct work_struct work;
	struct remap_item item[REMAP_BATCH_BLOCKS];
	struct bio own_bio;
	struct bio_vec own_vec[REMAP_BATCH_BYTES / PAGE_SIZE + 1];
	void *buf;			/* REMAP_BATCH_BYTES: the blocks on their way */
	void *scratch;			/* one block */
	void *super_buf;		/* REMAP_META_BYTES */
	void *meta_buf;			/* two copies of a group's metadata */
	struct remap_range later[64];	/* salvage that outlived its caller's patience */
	unsigned int nr_later;
	unsigned int last_percent;

	struct remap_counters count;
};

/* What is kept of each I/O while it is on its way. */
struct remap_io {
	struct bvec_iter iter;		/* before the target changed it */
	blk_status_t status;		/* what the device said of it, once it failed */
	u8 epoch;
	union {
		unsigned long since;	/* jiffies: in the worker's hands */
		s64 flush_number;	/* of a flush on its way */
	};
	u8 flags;
};

#define REMAP_IO_COUNTED	1	/* in the inflight count of its epoch */
#define REMAP_IO_SPARE		2	/* sent to the spare */
#define REMAP_IO_DONE		4	/* completed by the target itself: its status is final */
#define REMAP_IO_FLUSH		8
#define REMAP_IO_NEEDS_ITEM	16	/* succeeds if the blocks that it failed on are moved */
#define REMAP_IO_HOPELESS	32	/* a part failed in a way that moving does not cure */
#define REMAP_IO_FUA		64	/* as it came; the block layer may take it out of the bio */

static inline struct remap_io *remap_io(struct bio *bio)
{
	return dm_per_bio_data(bio, sizeof(struct remap_io));
}

/* The sectors of the target that a bio was for, [remap_io_sector(), remap_io_end()). */
static inline sector_t remap_io_sector(const struct remap *rc, struct bio *bio)
{
	return dm_target_offset(rc->ti, remap_io(bio)->iter.bi_sector);
}

static inline sector_t remap_io_end(const struct remap *rc, struct bio *bio)
{
	return remap_io_sector(rc, bio) + (remap_io(bio)->iter.bi_size >> SECTOR_SHIFT);
}

static inline sector_t remap_block_sectors(const struct remap *rc)
{
	return 1ull << rc->block_shift;
}

/* The sectors of @block that a bio was for, [*@start, *@end). False: none. */
static inline bool remap_io_overlap(const struct remap *rc, struct bio *bio, u64 block, sector_t *start,
				    sector_t *end)
{
	sector_t block_start = block << rc->block_shift;

	*start = max(remap_io_sector(rc, bio), block_start);
	*end = min(remap_io_end(rc, bio), block_start + remap_block_sectors(rc));
	return *start < *end;
}

static inline dev_t remap_devt(const struct remap *rc)
{
	return disk_devt(dm_disk(dm_table_get_md(rc->ti->table)));
}

static inline bool remap_spare_is_full(const struct remap *rc)
{
	return !atomic64_read(&rc->count.free_blocks);
}

/* Sectors of @block: fewer for a short last block. */
static inline unsigned int remap_sectors_in_block(const struct remap *rc, u64 block)
{
	return min_t(sector_t, remap_block_sectors(rc), rc->len - (block << rc->block_shift));
}

static inline void *remap_item_buf(const struct remap *rc, unsigned int i)
{
	return rc->buf + ((size_t)i << (rc->block_shift + SECTOR_SHIFT));
}

static inline unsigned int remap_batch_blocks(const struct remap *rc)
{
	return REMAP_BATCH_SECTORS >> rc->block_shift;
}

static inline u32 remap_units_mask(const struct remap *rc, unsigned int first_sector,
				   unsigned int nr_sectors)
{
	unsigned int first = first_sector >> rc->unit_shift;
	unsigned int last = (first_sector + nr_sectors - 1) >> rc->unit_shift;

	return GENMASK(last, first);
}

static inline u32 remap_block_units(const struct remap *rc, u64 block)
{
	return remap_units_mask(rc, 0, remap_sectors_in_block(rc, block));
}

/* io.c */

/*
 * One I/O of the target's own, up to 1 MiB, at a sector of main or spare as the target sees them
 * (offsets are added here). @buf: vmalloc memory. Sleeps. Caller holds rc->engine. Returns what the
 * device said.
 */
blk_status_t remap_main_io(struct remap *rc, blk_opf_t opf, sector_t sector, void *buf, unsigned int nr_sectors);
blk_status_t remap_spare_io(struct remap *rc, blk_opf_t opf, sector_t sector, void *buf, unsigned int nr_sectors);

/* A flush that is checked. Sleeps; caller holds rc->engine. */
blk_status_t remap_main_flush(struct remap *rc);
blk_status_t remap_spare_flush(struct remap *rc);

/* Does the spare answer at all? Sleeps; caller holds rc->engine. */
bool remap_spare_answers(struct remap *rc);

/*
 * Could a bad spot of the media explain @status? What can't is passed up and never evidence. Any
 * context.
 */
bool remap_status_is_media(blk_status_t status);

/*
 * Is @status of an I/O of main at @sector to be believed as a bad spot, rather than main being
 * away? Reads elsewhere on main where the status leaves room for doubt, and sets main_away and the
 * storm budget. Sleeps; caller holds rc->engine.
 */
bool remap_believe(struct remap *rc, blk_status_t status, sector_t sector);

/* Has main come back? Sleeps; takes rc->engine. */
void remap_probe_work(struct work_struct *work);

/* meta.c */

/*
 * Reads both superblocks. 0, or -errno with a line in *@reason. For the constructor: changes
 * nothing. Sleeps.
 */
int remap_super_read(struct remap *rc, struct remap_super *super, const char **reason);

/* Writes both copies of the superblock, durable; one is enough. Sleeps; caller holds rc->engine. 0 or -EIO. */
int remap_super_write(struct remap *rc);

/*
 * Formats the spare. Superblock last. Sleeps; caller holds rc->engine. 0 or -errno, rc->reason set.
 */
int remap_meta_format(struct remap *rc);
void remap_meta_unload(struct remap *rc);

/*
 * Makes every change durable: flush of the spare, copy A, copy B. Sleeps; caller holds rc->engine.
 * On an error the entries in memory must be put back by the caller, and *@touched says whether the
 * disk may already hold the new ones.
 */
int remap_meta_commit(struct remap *rc, bool *touched);

/* Are there changes that no commit covered? Any context. */
bool remap_meta_is_dirty(const struct remap *rc);

/* Are there healed sectors among them? Then flushes commit. Any context. */
bool remap_heals_unrecorded(const struct remap *rc);

/*
 * Refuses writes to @block until a commit succeeds: the disk may hold an entry for it that the
 * memory does not.
 */
void remap_poison(struct remap *rc, u64 block);

/* For load.c and slot.c. All sleep; caller holds rc->engine; 0 or -errno. */
int remap_table_of_groups(struct remap *rc);
struct remap_group *remap_group_create(struct remap *rc, u32 index);	/* NULL: no memory */

/* Writes the empty metadata of the next group, both copies, and counts it in the superblock. */
int remap_group_initialise(struct remap *rc);

/* Records durably that a copy (0 or 1) of metadata block @i of a group is invalid. */
int remap_fence(struct remap *rc, u32 index, unsigned int i, unsigned int copy);

static inline struct remap_meta_disk *remap_meta_buf(const struct remap *rc, unsigned int copy, unsigned int i)
{
	return rc->meta_buf + (copy * REMAP_METAS_PER_GROUP + i) * REMAP_META_BYTES;
}

static inline sector_t remap_meta_sector(const struct remap_group *group, unsigned int copy, unsigned int i)
{
	return group->place.copy_sector[copy] + (sector_t)i * REMAP_META_SECTORS;
}

/* load.c */

/*
 * Reads the map from the spare and makes disagreeing copies agree. Sleeps; caller holds rc->engine.
 * 0 or -errno, rc->reason set.
 */
int remap_meta_load(struct remap *rc);

/* Highest mapped block on the spare plus one, read without changing anything. Sleeps. 0 or -EIO. */
int remap_meta_end_block(struct remap *rc, const struct remap_super *super, u64 *end_block);

/* slot.c */

/*
 * A free slot, next to the last one if that is free; initialises a group if it must. Sleeps.
 * REMAP_NO_SLOT: full, or can't.
 */
u32 remap_slot_alloc(struct remap *rc);

/* Initialises the next group if fewer than @nr slots are left in those that are. Sleeps. */
void remap_slot_prepare(struct remap *rc, u32 nr);

/* Gives back a slot from remap_slot_alloc() that was never committed. */
void remap_slot_unalloc(struct remap *rc, u32 slot);

/* Changes a slot's entry in memory; remap_meta_commit() makes it durable. */
void remap_slot_set(struct remap *rc, u32 slot, u64 word);

/* Its masks changed: the next commit writes it. */
void remap_slot_dirty(struct remap *rc, u32 slot);

/* Sectors of it were healed: no flush, and no FUA write to the spare, succeeds before a commit. */
void remap_slot_healed(struct remap *rc, u32 slot);
u64 remap_slot_word(struct remap *rc, u32 slot);

/* First sector of a slot in the spare's area. Any context. */
sector_t remap_slot_sector(const struct remap *rc, u32 slot);

/*
 * Replaces the unread and lost units of a slot and keeps the counters; remap_slot_dirty() is the
 * caller's. Sleeps. -ENOMEM: nothing changed.
 */
int remap_masks_set(struct remap *rc, u32 slot, u32 unread, u32 lost);

/* The next read of its unread sectors asks main at once. Caller holds rc->engine. */
void remap_masks_due(struct remap *rc, u32 slot);

/* relocate.c */

/*
 * Moves the first @nr of rc->item, ordered by block, together. On return item->moves tells which
 * did. @bios: writes to lay over them. Sleeps; caller holds rc->engine. Returns how many items were
 * looked at before @deadline (jiffies; 0: none).
 */
unsigned int remap_relocate(struct remap *rc, unsigned int nr, enum remap_reason reason,
			    struct bio_list *bios, unsigned long deadline);

/*
 * Makes room for the next batch in the map and on the spare, while no bio waits for it: what is moved
 * under memory pressure finds it allocated. Sleeps; caller holds rc->engine. A failure is no error
 * yet: the next batch tries again.
 */
void remap_prepare(struct remap *rc);

/* I/O to the first @nr of rc->item waits from now on; what was on its way is done on return. Sleeps. */
void remap_hold(struct remap *rc, unsigned int nr);
void remap_let_go(struct remap *rc);

/* The slot that @block lives in, or REMAP_NO_SLOT. Any context. */
u32 remap_slot_of(struct remap *rc, u64 block);

/* Unread and lost units of a slot. Caller holds rc->engine. */
void remap_masks_of(struct remap *rc, u32 slot, u32 *unread, u32 *lost);

/* The unit, in sectors, in which a sector of main that fails takes its neighbours along. */
unsigned int remap_physical_sectors(const struct remap *rc);

/* Copies between a bio, from @sector of the target on, and @buf. */
void remap_copy_bio(struct remap *rc, struct bio *bio, sector_t sector, void *buf, unsigned int nr_sectors,
		    bool to_bio);

/*
 * A range for the message: sectors. Moves at most one batch and at most a second's worth. Sleeps. 0
 * or -errno.
 */
struct remap_moved {
	sector_t next_sector;
	u64 moved;
	u64 already;
	u64 unread_sectors;
	u64 refused;
};
int remap_engine_remap(struct remap *rc, sector_t sector, sector_t count, struct remap_moved *moved);

/* Takes rc->engine if blocks may move. -EINTR, or -EROFS in a mode in which none do. Sleeps. */
int remap_lock_for_message(struct remap *rc);

/* release.c */

/* As remap_engine_remap(), the other way. */
int remap_engine_release(struct remap *rc, sector_t sector, sector_t count, struct remap_moved *moved);

/* serve.c */

void remap_engine_work(struct work_struct *work);

/* path.c */

int remap_path_map(struct dm_target *ti, struct bio *bio);
int remap_path_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error);

/* Sends bios that waited on their way again. Sleeps. */
void remap_submit_waiting(struct remap *rc, struct bio_list *bios);

/* Completes a bio that the engine had. Any context. */
void remap_complete(struct remap *rc, struct bio *bio, blk_status_t status);

/*
 * Waits until every I/O that was on its way when it was called, and that the engine does not hold,
 * is done. Sleeps.
 */
void remap_drain(struct remap *rc);

/* Data of the spare that a later flush has to cover was written. Any context. */
void remap_spare_written(struct remap *rc);

/* Does the spare hold what a flush has to cover? Any context. */
bool remap_spare_needs_flush(struct remap *rc);

/* Flush @number of the spare succeeded. Any context. */
void remap_flush_covered(struct remap *rc, s64 number);

/* A flush of the spare failed, or what had to be done before it. Any context. */
void remap_flush_failed(struct remap *rc);

/* Flush @number of main (main_flush_started when it started) succeeded. Any context. */
void remap_main_flushed(struct remap *rc, s64 number);

/*
 * A flush that the target sent by itself failed, and may have lost what was acknowledged before it:
 * the next one from above fails for it. Any context.
 */
void remap_own_flush_failed(struct remap *rc, bool is_spare);

/* Has a flush failed, of either device, and none succeeded since? Any context. */
static inline bool remap_flushes_fail(const struct remap *rc)
{
	return READ_ONCE(rc->attention) &
	       (BIT(REMAP_ATT_MAIN_FLUSH) | BIT(REMAP_ATT_SPARE_FLUSH));
}

/* claim.c */

/* Claims a part of a disk for the target. Sleeps. 0, -EBUSY: another target has it, or -ENOMEM. */
int remap_claim(struct remap *rc, struct block_device *bdev, sector_t offset, sector_t nr_sectors,
		bool is_spare);
void remap_claims_drop(struct remap *rc);

/* message.c */

int remap_message(struct dm_target *ti, unsigned int argc, char **argv, char *result, unsigned int maxlen);
void remap_status(struct dm_target *ti, status_type_t type, unsigned int flags, char *result,
		  unsigned int maxlen);

/* target.c */

extern const char *const remap_mode_names[];

/* An option of the table line that may change while live. -EINVAL: no such option, or out of range. */
int remap_set_option(struct remap *rc, const char *name, const char *value);

/* Sleeps. */
void remap_set_mode(struct remap *rc, enum remap_mode mode);
const char *remap_reason_name(enum remap_reason reason);

/* Wakes who waits for events. Sleeps. */
void remap_event(struct remap *rc);

#endif
