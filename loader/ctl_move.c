// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* remapctl remap, release: ranges of any length, one message after the other. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/ctl.h"
#include "loader/ctl_stale.h"

/* Shells' status of a program that a signal ended. */
#define STATUS_SIGNALLED 128

struct range {
	const char *name;
	uint64_t sector;
	uint64_t count;
};

static int parse_range(char **args, struct range *range)
{
	struct dmctl_error error;
	struct dmctl_device device;
	int status;

	range->name = args[0];
	status = ctl_parse_number("SECTOR", args[1], &range->sector);
	if (!status)
		status = ctl_parse_number("COUNT", args[2], &range->count);
	if (status)
		return status;
	if (!range->count)
		return ctl_fail(EX_USAGE, "COUNT must be at least 1 sector");
	if (dmctl_get(range->name, &device, &error))
		return ctl_fail_dm(&error);
	if (range->sector >= device.table.length_sectors ||
	    range->count > device.table.length_sectors - range->sector)
		return ctl_fail(EX_DATAERR, "sectors %" PRIu64 "+%" PRIu64 " are not all on %s, which has %" PRIu64,
				range->sector, range->count, range->name, device.table.length_sectors);
	return EX_OK;
}

static void show_progress(const char *what, uint64_t done_sectors, uint64_t all_sectors)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%s: %3" PRIu64 "%%", what,
			done_sectors >= all_sectors ? 100 : (uint64_t)(100.0 * done_sectors / all_sectors));
}

static void end_progress(void)
{
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

static int stopped_status(void)
{
	return ctl_stop_signal ? STATUS_SIGNALLED + ctl_stop_signal : EX_OK;
}

static int print_remapped(const struct ctl *ctl, const struct range *range, const struct dmctl_remap_answer *sum,
			  bool complete)
{
	json_t *root;

	if (!ctl->json) {
		printf("%s: moved %" PRIu64 " blocks, %" PRIu64 " were already there, %" PRIu64
		       " sectors can't be read%s\n",
		       range->name, sum->moved_blocks, sum->already_mapped_blocks, sum->unread_sectors,
		       complete ? "" : "; stopped before the end");
		if (!complete)
			printf("%s: go on with: remapctl remap %s %" PRIu64 " %" PRIu64 "\n", range->name, range->name,
			       sum->next_sector, range->sector + range->count - sum->next_sector);
		return EX_OK;
	}
	root = ctl_json_new();
	json_object_update_new(root,
			       json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "device", range->name, "sector",
					 (json_int_t)range->sector, "count", (json_int_t)range->count, "next_sector",
					 (json_int_t)sum->next_sector, "moved_blocks", (json_int_t)sum->moved_blocks,
					 "already_mapped_blocks", (json_int_t)sum->already_mapped_blocks,
					 "unread_sectors", (json_int_t)sum->unread_sectors, "complete", complete));
	return ctl_print_json(root);
}

int ctl_remap_range(const char *name, uint64_t sector, uint64_t count, struct dmctl_remap_answer *sum,
		    struct dmctl_error *error)
{
	struct dmctl_remap_answer answer;
	int err = 0;

	sum->next_sector = sector;
	while (sum->next_sector < sector + count && !ctl_stop_signal) {
		err = dmctl_remap(name, sum->next_sector, sector + count - sum->next_sector, &answer, error);
		if (err)
			break;
		sum->moved_blocks += answer.moved_blocks;
		sum->already_mapped_blocks += answer.already_mapped_blocks;
		sum->unread_sectors += answer.unread_sectors;
		/* Blocks are moved whole: the answer may be beyond the range. */
		sum->next_sector = answer.next_sector < sector + count ? answer.next_sector : sector + count;
		show_progress("moving", sum->next_sector - sector, count);
	}
	end_progress();
	return err;
}

int ctl_remap(struct ctl *ctl, char **args)
{
	struct dmctl_remap_answer sum = { 0 };
	struct dmctl_error error = { 0 };
	struct range range;
	int status, err;

	status = parse_range(args, &range);
	if (status)
		return status;
	if (ctl->dry_run) {
		printf("would send %s: remap %" PRIu64 " %" PRIu64 "\n", range.name, range.sector, range.count);
		return EX_OK;
	}
	ctl_catch_stop();
	err = ctl_remap_range(range.name, range.sector, range.count, &sum, &error);
	status = print_remapped(ctl, &range, &sum, sum.next_sector >= range.sector + range.count);
	if (err && !(err == -EINTR && ctl_stop_signal))
		return ctl_fail_dm(&error);
	return status ? status : stopped_status();
}

/* ---- release ---- */

struct run {
	uint64_t sector;
	uint64_t end_sector;
};

struct runs {
	uint64_t from_sector;
	uint64_t end_sector;
	const struct stale_blocks *except;
	struct run *run;
	size_t count;
};

static int add_run(struct runs *runs, uint64_t sector, uint64_t end_sector)
{
	/* Room is made in powers of two. */
	if (!(runs->count & (runs->count - 1))) {
		struct run *bigger = realloc(runs->run, (runs->count ? runs->count * 2 : 1) * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		runs->run = bigger;
	}
	runs->run[runs->count++] = (struct run){ .sector = sector, .end_sector = end_sector };
	return 0;
}

/* The first excepted block that begins in the range; the range's end if there is none. */
static uint64_t next_excepted(const struct stale_blocks *except, uint64_t sector, uint64_t end_sector)
{
	size_t i;

	for (i = 0; except && i < except->count; i++) {
		uint64_t at = stale_block_sector(except, except->block[i]);

		if (at >= sector && at < end_sector)
			end_sector = at;
	}
	return end_sector;
}

static int keep_run(const struct dmctl_run *run, void *data)
{
	struct runs *runs = data;
	uint64_t at = run->sector, end_sector = run->sector + run->count;

	if (run->sector >= runs->end_sector)
		return 1;
	if (at < runs->from_sector)
		at = runs->from_sector;
	if (end_sector > runs->end_sector)
		end_sector = runs->end_sector;
	while (at < end_sector) {
		uint64_t stop = next_excepted(runs->except, at, end_sector);

		if (stop > at && add_run(runs, at, stop))
			return -ENOMEM;
		at = stop < end_sector ? stop + runs->except->block_sectors : stop;
	}
	return 0;
}

int ctl_release_range(const char *name, uint64_t sector, uint64_t count, const struct stale_blocks *except,
		      uint64_t *released, uint64_t *refused)
{
	struct runs runs = { .from_sector = sector, .end_sector = sector + count, .except = except };
	struct dmctl_error error = { 0 };
	uint64_t done_sectors = 0, all_sectors = 0;
	int err, status = EX_OK;
	size_t i;

	*released = *refused = 0;
	/* Asking for the mapped runs alone keeps an almost empty disk of 20 TB from taking 20 million messages. */
	err = dmctl_list_runs(name, sector, keep_run, &runs, &error);
	if (err < 0) {
		free(runs.run);
		return err == -ENOMEM ? ctl_fail(EX_OSERR, "out of memory") : ctl_fail_dm(&error);
	}
	for (i = 0; i < runs.count; i++)
		all_sectors += runs.run[i].end_sector - runs.run[i].sector;
	for (i = 0; i < runs.count && !ctl_stop_signal && !status; i++) {
		uint64_t at = runs.run[i].sector, end = runs.run[i].end_sector;

		while (at < end && !ctl_stop_signal) {
			struct dmctl_release_answer answer;

			err = dmctl_release(name, at, end - at, &answer, &error);
			if (err) {
				end_progress();
				if (err != -EINTR || !ctl_stop_signal)
					status = ctl_fail_dm(&error);
				break;
			}
			*released += answer.released_blocks;
			*refused += answer.refused_blocks;
			done_sectors += answer.next_sector - at;
			at = answer.next_sector;
			show_progress("moving back", done_sectors, all_sectors);
		}
	}
	end_progress();
	free(runs.run);
	return status;
}

/* The stamped blocks of a range stay: main must not be half stamped. */
static void keep_stamped(struct stale *stale, const struct range *range)
{
	struct stale_blocks *blocks = stale->blocks;
	size_t i, kept = 0;

	for (i = 0; i < blocks->count; i++) {
		uint64_t sector = stale_block_sector(blocks, blocks->block[i]);

		if (sector < range->sector + range->count && sector + blocks->block_sectors > range->sector &&
		    stale_has_stamp(stale, blocks->block[i]))
			blocks->block[kept++] = blocks->block[i];
	}
	blocks->count = kept;
}

static int print_released(const struct ctl *ctl, const struct range *range, uint64_t released, uint64_t refused,
			  uint64_t stamped, bool complete)
{
	json_t *root;

	if (!ctl->json) {
		printf("%s: released %" PRIu64 " blocks, %" PRIu64 " refused", range->name, released, refused);
		if (stamped)
			printf(", %" PRIu64 " stay because main is stamped there (see remapctl remove --release)", stamped);
		puts(complete ? "" : "; stopped before the end");
		return EX_OK;
	}
	root = ctl_json_new();
	json_object_update_new(root, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:b}", "device", range->name, "sector",
					       (json_int_t)range->sector, "count", (json_int_t)range->count,
					       "released_blocks", (json_int_t)released, "refused_blocks",
					       (json_int_t)refused, "stamped_blocks", (json_int_t)stamped, "complete",
					       complete));
	return ctl_print_json(root);
}

int ctl_release(struct ctl *ctl, char **args)
{
	struct dmctl_device device;
	struct dmctl_error error;
	struct stale stale;
	struct range range;
	uint64_t released, refused, stamped;
	bool complete;
	int status, print_status;

	status = parse_range(args, &range);
	if (status)
		return status;
	if (ctl->dry_run) {
		printf("would release on %s: sectors %" PRIu64 "+%" PRIu64 "\n", range.name, range.sector, range.count);
		return EX_OK;
	}
	if (dmctl_get(range.name, &device, &error))
		return ctl_fail_dm(&error);
	status = stale_open(&stale, ctl, &device);
	if (status)
		return status;
	keep_stamped(&stale, &range);
	stamped = stale.blocks->count;
	ctl_catch_stop();
	status = ctl_release_range(range.name, range.sector, range.count, stale.blocks, &released, &refused);
	stale_close(&stale);
	complete = !status && !ctl_stop_signal;
	print_status = print_released(ctl, &range, released, refused, stamped, complete);
	if (!status && refused)
		status = ctl_fail(EX_UNAVAILABLE,
				  "%s: %" PRIu64 " blocks stay on the spare: they have unread or lost sectors, or main "
				  "did not take them",
				  range.name, refused);
	if (!status)
		status = print_status;
	return status ? status : stopped_status();
}
