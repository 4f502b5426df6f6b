// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* See ctl_stale.h: how the blocks of main that hold signatures come to be stamped. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/ctl_stale.h"

enum block_state {
	BLOCK_ON_MAIN,
	BLOCK_LEFT, /* on the spare, but main may have sectors that nothing else has */
	BLOCK_FORGOTTEN, /* stamped, and the target takes the stamp for data */
	BLOCK_TO_STAMP,
	BLOCK_STAMPED,
};

static void leave(const struct stale *stale, uint64_t block, const char *why, struct stale_result *result)
{
	if (!result->left_blocks++) {
		result->left_sector = stale_block_sector(stale->blocks, block);
		result->left_why = why;
	}
}

/* How many of the list, from the first, the spare has room for: signatures may take a quarter of it. */
static int find_room(const struct stale *stale, size_t *room)
{
	struct dmctl_status target;
	struct dmctl_error error;
	uint64_t quarter;

	if (dmctl_status(stale->name, &target, &error))
		return ctl_fail_dm(&error);
	quarter = (target.mapped_blocks + target.free_blocks) / 4;
	*room = stale->blocks->count < quarter ? stale->blocks->count : quarter;
	return EX_OK;
}

/* Moves what can be moved; what can't shows in the map. */
static int move_range(const struct stale *stale, uint64_t sector, uint64_t end_sector)
{
	struct dmctl_remap_answer answer;
	struct dmctl_error error;

	while (sector < end_sector && !ctl_stop_signal) {
		switch (dmctl_remap(stale->name, sector, end_sector - sector, &answer, &error)) {
		case 0:
			sector = answer.next_sector;
			break;
		case -EIO:
			sector += stale->blocks->block_sectors;
			break;
		case -ENOSPC:
			return EX_OK;
		case -EINTR:
			if (ctl_stop_signal)
				return EX_OK;
			/* fall through */
		default:
			return ctl_fail_dm(&error);
		}
	}
	return EX_OK;
}

static int move_blocks(const struct stale *stale, size_t room, const enum block_state *state)
{
	const struct stale_blocks *blocks = stale->blocks;
	size_t i, next;
	int status = EX_OK;

	for (i = 0; i < room && !status && !ctl_stop_signal; i = next) {
		next = i + 1;
		if (state[i] != BLOCK_ON_MAIN)
			continue;
		/* One message, and one commit, for what lies side by side. */
		while (next < room && state[next] == BLOCK_ON_MAIN && blocks->block[next] == blocks->block[next - 1] + 1)
			next++;
		status = move_range(stale, stale_block_sector(blocks, blocks->block[i]),
				    stale_block_sector(blocks, blocks->block[next - 1]) +
					    stale_block_length(blocks, blocks->block[next - 1]));
	}
	return status;
}

/* Where all blocks are. */
static int judge_blocks(const struct stale *stale, enum block_state *state)
{
	struct stale_home home;
	size_t i;

	for (i = 0; i < stale->blocks->count; i++) {
		uint64_t block = stale->blocks->block[i];
		int status = stale_find_home(stale, block, &home);

		if (status)
			return status;
		if (!home.on_spare)
			state[i] = stale_has_stamp(stale, block) ? BLOCK_FORGOTTEN : BLOCK_ON_MAIN;
		else if (stale_is_stamped(stale, block))
			state[i] = BLOCK_STAMPED;
		else if (!home.is_whole)
			state[i] = BLOCK_LEFT;
		else
			state[i] = BLOCK_TO_STAMP;
	}
	return EX_OK;
}

/*
 * Copies of all blocks that are stamped or are to be, durable: what the device shows, or the older copy if it does not show a
 * stamped one any more. What can't be read is not stamped.
 */
static int save_blocks(const struct stale *stale, int file, enum block_state *state)
{
	const struct stale_blocks *blocks = stale->blocks;
	int err = 0;
	size_t i;

	for (i = 0; i < blocks->count && !err; i++) {
		uint64_t sector = stale_block_sector(blocks, blocks->block[i]);
		const struct saved_copy *older = saved_find(&stale->copies, sector);
		const char *sectors = NULL;

		if (state[i] == BLOCK_ON_MAIN || state[i] == BLOCK_LEFT)
			continue;
		if (state[i] != BLOCK_FORGOTTEN && stale_read_device(stale, blocks->block[i], stale->buffer))
			sectors = stale->buffer;
		else if (state[i] == BLOCK_TO_STAMP)
			state[i] = BLOCK_LEFT;
		else if (older && older->nr_sectors == stale_block_length(blocks, blocks->block[i]))
			sectors = older->block;
		if (sectors)
			err = saved_append(file, stale->stamp.spare_uuid, sector,
					   stale_block_length(blocks, blocks->block[i]), sectors);
	}
	return err ? err : saved_finish(file, stale->ctl->state_dir, stale->stamp.spare_uuid);
}

static void stamp_blocks(struct stale *stale, bool can_save, size_t room, const enum block_state *state,
			 struct stale_result *result)
{
	size_t i;

	for (i = 0; i < stale->blocks->count; i++) {
		uint64_t block = stale->blocks->block[i];

		if (state[i] == BLOCK_STAMPED) {
			result->stamped_blocks++;
		} else if (state[i] == BLOCK_FORGOTTEN) {
			leave(stale, block, "there is an older stamp, and the spare has nothing for it", result);
		} else if (!can_save) {
			leave(stale, block, "there is no place for its copy", result);
		} else if (state[i] == BLOCK_LEFT) {
			leave(stale, block, "it can't be read whole", result);
		} else if (state[i] == BLOCK_ON_MAIN) {
			leave(stale, block, i < room ? "it could not be moved" : "the spare is small", result);
		} else if (stale_write_stamp(stale, block)) {
			result->stamped_blocks++;
		} else {
			leave(stale, block, "main does not take the stamp", result);
			result->refused_stamps = true;
		}
	}
}

/* Everything before the stamps. */
static int move_and_save(const struct stale *stale, int file, size_t room, enum block_state *state)
{
	int err, status = move_blocks(stale, room, state);

	if (!status && ctl_stop_signal)
		status = ctl_fail(128 + ctl_stop_signal, "stopped: main of %s is not stamped", stale->name);
	if (!status)
		status = judge_blocks(stale, state);
	/* That sectors became readable and moved as well is only durable after this. */
	if (!status && fsync(stale->device_fd))
		status = ctl_fail(EX_IOERR, "%s can't be flushed: %s", stale->name, strerror(errno));
	if (status)
		return status;
	err = save_blocks(stale, file, state);
	return err ? ctl_fail(EX_CANTCREAT, "%s: %s", stale->ctl->state_dir, strerror(-err)) : EX_OK;
}

int stale_mark(struct stale *stale, struct stale_result *result)
{
	enum block_state *state = calloc(stale->blocks->count, sizeof(*state));
	int status, file = saved_begin(stale->ctl->state_dir, stale->stamp.spare_uuid);
	bool can_save = file >= 0;
	size_t room;

	*result = (struct stale_result){ 0 };
	if (!can_save)
		ctl_fail(EX_CANTCREAT, "%s: %s", stale->ctl->state_dir, strerror(-file));
	if (!state)
		status = ctl_fail(EX_OSERR, "out of memory");
	else
		status = find_room(stale, &room);
	if (!status)
		status = judge_blocks(stale, state);
	if (!status && can_save)
		status = move_and_save(stale, file, room, state);
	if (!status) {
		stamp_blocks(stale, can_save, room, state, result);
		if (result->stamped_blocks)
			stale_drop_partitions(stale->main_path, stale->main_devno);
		/* Without it nobody can tell later whether main was written by itself. */
		if (can_save && !result->refused_stamps)
			saved_confirm(file);
	}
	if (can_save)
		close(file);
	free(state);
	return status;
}

void stale_print_left(const struct stale *stale, const struct stale_result *result)
{
	if (result->left_blocks)
		fprintf(stderr,
			"remapctl: warning: %" PRIu64 " of the %" PRIu64 " blocks of main where signatures may be are not "
			"stamped (the first at sector %" PRIu64 ": %s): never use %s by itself\n",
			result->left_blocks, result->left_blocks + result->stamped_blocks, result->left_sector,
			result->left_why, stale->main_path);
}
