// SPDX-License-Identifier: GPL-2.0-only
/* Messages and status. dm-remap.rst is their reference. */
#include "remap.h"

#define RUN_STEP      1024 /* blocks of a run between two chances for others to run */
#define LIST_LINE_MAX 160  /* more than one line of "list" can need */

/* Messages */

static bool parse_sectors(const struct remap *rc, char **argv, sector_t *sector, sector_t *count)
{
	unsigned long long first, nr;

	if (kstrtoull(argv[1], 10, &first) || kstrtoull(argv[2], 10, &nr) || !nr ||
	    first >= rc->len || nr > rc->len - first)
		return false;
	*sector = first;
	*count = nr;
	return true;
}

/* One line of "list". */
struct run {
	u64 first;
	u64 end;
	u32 slot;
	enum remap_reason reason;
	u64 unread;
	u64 lost;
};

static bool find_run(struct remap *rc, u64 from, struct run *run)
{
	u64 nr_blocks = rc->nr_blocks;
	unsigned int shift = rc->unit_shift;

	rcu_read_lock();
	run->first = remap_map_next(&rc->map, from, nr_blocks);
	run->slot = run->first < nr_blocks ? remap_map_lookup(&rc->map, run->first) : REMAP_NO_SLOT;
	if (run->slot == REMAP_NO_SLOT) {
		rcu_read_unlock();
		return false;
	}
	run->reason = remap_word_reason(remap_slot_word(rc, run->slot));
	run->unread = run->lost = 0;
	for (run->end = run->first; run->end < nr_blocks; run->end++) {
		u32 slot = run->slot + (run->end - run->first);
		struct remap_masks *masks;

		if (run->end > run->first &&
		    (!(slot % REMAP_SLOTS_PER_GROUP) ||
		     remap_map_lookup(&rc->map, run->end) != slot ||
		     remap_word_reason(remap_slot_word(rc, slot)) != run->reason))
			break;
		if ((run->end - run->first) % RUN_STEP == RUN_STEP - 1)
			cond_resched_rcu();
		masks = xa_load(&rc->masks, slot);
		if (!masks)
			continue;
		/* A block that is not whole has a line of its own, so that it can be told which. */
		if (run->end == run->first) {
			run->unread = hweight32(masks->unread) << shift;
			run->lost = hweight32(masks->lost) << shift;
			run->end++;
		}
		break;
	}
	rcu_read_unlock();
	return true;
}

static int message_list(struct remap *rc, unsigned int argc, char **argv, char *result,
			unsigned int maxlen)
{
	unsigned long long from = 0, max_lines = ULLONG_MAX;
	unsigned int sz = 0;
	struct run run;

	if (argc > 3 || (argc > 1 && kstrtoull(argv[1], 10, &from)) ||
	    (argc > 2 && kstrtoull(argv[2], 10, &max_lines)))
		return -EINVAL;
	result[0] = '\0';
	if (!rc->group || rc->mode == REMAP_MODE_FAILED)
		return 1;
	/* From the middle of a block: that block. */
	run.end = from < rc->len ? from >> rc->block_shift : rc->nr_blocks;
	/* A first line that does not fit makes device-mapper ask for more room. */
	while (max_lines-- && (!sz || sz + LIST_LINE_MAX < maxlen) && find_run(rc, run.end, &run)) {
		sector_t sector = run.first << rc->block_shift;
		sector_t end = min_t(sector_t, rc->len, run.end << rc->block_shift);

		DMEMIT("%llu %llu %llu %llu %llu %s\n", (u64)sector, (u64)(end - sector),
		       (u64)(rc->spare_offset + remap_slot_sector(rc, run.slot)), run.unread,
		       run.lost, remap_reason_name(run.reason));
		cond_resched();
	}
	return 1;
}

static int message_set(struct remap *rc, unsigned int argc, char **argv, char *result,
		       unsigned int maxlen)
{
	unsigned int sz = 0;
	int r;

	if (argc != 3)
		return -EINVAL;
	if (mutex_lock_interruptible(&rc->engine))
		return -EINTR;
	r = remap_set_option(rc, argv[1], argv[2]);
	mutex_unlock(&rc->engine);
	if (r)
		return r;
	DMEMIT("%s", argv[2]);
	return 1;
}

static int message_move(struct remap *rc, char **argv, char *result, unsigned int maxlen)
{
	bool is_remap = !strcasecmp(argv[0], "remap");
	struct remap_moved moved = {};
	sector_t sector, count;
	unsigned int sz = 0;
	int r = 0;

	if (!parse_sectors(rc, argv, &sector, &count))
		return -EINVAL;
	moved.next_sector = sector;
	if (!READ_ONCE(rc->suspending))
		r = is_remap ? remap_engine_remap(rc, sector, count, &moved)
			     : remap_engine_release(rc, sector, count, &moved);
	if (r)
		return r;
	if (is_remap)
		DMEMIT("%llu %llu %llu %llu", (u64)moved.next_sector, moved.moved, moved.already,
		       moved.unread_sectors);
	else
		DMEMIT("%llu %llu %llu", (u64)moved.next_sector, moved.moved, moved.refused);
	return 1;
}

int remap_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
		  unsigned int maxlen)
{
	struct remap *rc = ti->private;
	int r = -EINVAL;

	if (argc == 3 && (!strcasecmp(argv[0], "remap") || !strcasecmp(argv[0], "release")))
		r = message_move(rc, argv, result, maxlen);
	else if (!strcasecmp(argv[0], "list"))
		r = message_list(rc, argc, argv, result, maxlen);
	else if (!strcasecmp(argv[0], "set"))
		r = message_set(rc, argc, argv, result, maxlen);
	if (r == -EINVAL)
		DMWARN("%s: message refused: expected remap|release <sector> <count>, list [<from_sector> [<max_lines>]] or set <option> <value>",
		       rc->name);
	return r;
}

/* Status: takes no lock, waits for nothing. */

static u64 counter(const atomic64_t *value)
{
	return atomic64_read(value);
}

static void status_info(struct remap *rc, char *result, unsigned int maxlen)
{
	struct remap_counters *count = &rc->count;
	unsigned int sz = 0;

	DMEMIT("%s %llu %llu %llu %llu %llu %llu ", remap_mode_names[READ_ONCE(rc->mode)],
	       (u64)remap_block_sectors(rc), counter(&count->mapped_blocks),
	       counter(&count->free_blocks), counter(&count->retired_blocks),
	       counter(&count->unread_sectors), counter(&count->lost_sectors));
	DMEMIT("%llu %llu %llu %llu %llu ", counter(&count->rescued_blocks),
	       counter(&count->salvaged_blocks), counter(&count->proactive_blocks),
	       counter(&count->released_blocks), counter(&count->failed_relocations));
	DMEMIT("%llu %llu %llu %llu ", counter(&count->main_read_errors),
	       counter(&count->main_write_errors), counter(&count->spare_read_errors),
	       counter(&count->spare_write_errors));
	DMEMIT("%llu %u %u %llu %s", counter(&count->metadata_errors),
	       READ_ONCE(rc->super.nr_fenced), READ_ONCE(rc->storm_left), counter(&count->held_ios),
	       READ_ONCE(rc->main_away) ? "away" : "ok");
	DMEMIT(" %llu", counter(&count->rewritten_blocks));
}

static void status_table(struct remap *rc, char *result, unsigned int maxlen)
{
	unsigned int nr_words = (rc->main_id[0] ? 2 : 0) +
				(rc->storm_budget != REMAP_STORM_BUDGET ? 2 : 0) +
				(rc->salvage_ms != REMAP_SALVAGE_MS ? 2 : 0) +
				(rc->retry_ms != REMAP_RETRY_MS ? 2 : 0) +
				(rc->rewrite_first ? 2 : 0);
	unsigned int sz = 0;

	DMEMIT("%s %llu %s %llu", rc->main->name, (u64)rc->main_offset, rc->spare->name,
	       (u64)rc->spare_offset);
	if (nr_words)
		DMEMIT(" %u", nr_words);
	if (rc->main_id[0])
		DMEMIT(" main_id %s", rc->main_id);
	if (rc->storm_budget != REMAP_STORM_BUDGET)
		DMEMIT(" storm_budget %u", rc->storm_budget);
	if (rc->salvage_ms != REMAP_SALVAGE_MS)
		DMEMIT(" salvage_ms %u", rc->salvage_ms);
	if (rc->retry_ms != REMAP_RETRY_MS)
		DMEMIT(" retry_ms %u", rc->retry_ms);
	if (rc->rewrite_first)
		DMEMIT(" rewrite_first 1");
}

void remap_status(struct dm_target *ti, status_type_t type, unsigned int flags, char *result,
		  unsigned int maxlen)
{
	struct remap *rc = ti->private;
	unsigned int sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		status_info(rc, result, maxlen);
		break;
	case STATUSTYPE_TABLE:
		status_table(rc, result, maxlen);
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",main=%s,main_offset=%llu,spare=%s,spare_offset=%llu;", rc->main->name,
		       (u64)rc->main_offset, rc->spare->name, (u64)rc->spare_offset);
		break;
	}
}
