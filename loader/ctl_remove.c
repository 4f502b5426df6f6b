// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* remapctl remove: with --release, main is whole by itself again, or the device stays. */
#include <blkid/blkid.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/ctl.h"
#include "loader/ctl_probe.h"
#include "loader/ctl_stale.h"

#define UNUSED_TIMEOUT_MS 5000

static int check_stopped(const struct stale *stale)
{
	return ctl_stop_signal ? ctl_fail(128 + ctl_stop_signal, "stopped: %s was not removed", stale->name) : EX_OK;
}

/* Of the blocks where signatures may be, those that must come back. Those that no release takes are counted in *bad. */
static int keep_moved(struct stale *stale, uint64_t *bad)
{
	struct stale_blocks *blocks = stale->blocks;
	struct stale_home home;
	size_t i, kept = 0;

	*bad = 0;
	for (i = 0; i < blocks->count; i++) {
		int status = stale_find_home(stale, blocks->block[i], &home);

		if (status)
			return status;
		if (home.on_spare)
			blocks->block[kept++] = blocks->block[i];
		else if (stale_has_stamp(stale, blocks->block[i]))
			return ctl_fail(EX_DATAERR,
					"%s was not removed: %s is stamped at sector %" PRIu64 ", and the target has no mapping "
					"there (a copy of what it held may be in %s/%s.main)",
					stale->name, stale->main_path, stale_block_sector(blocks, blocks->block[i]),
					stale->ctl->state_dir, stale->stamp.spare_uuid);
		*bad += home.on_spare && !home.is_whole;
	}
	blocks->count = kept;
	return EX_OK;
}

/*
 * What the device shows in them: in memory, and durably where main is stamped. These copies are not confirmed: from here on
 * main may be without a stamp and not have been written by itself.
 */
static int remember_blocks(const struct stale *stale, bool stamped, char *remembered)
{
	const struct stale_blocks *blocks = stale->blocks;
	const char *dir = stale->ctl->state_dir, *uuid = stale->stamp.spare_uuid;
	int err = 0, file = stamped ? saved_begin(dir, uuid) : 0;
	size_t i;

	if (file < 0)
		err = file;
	for (i = 0; i < blocks->count && !err; i++, remembered += stale->block_bytes) {
		uint64_t sector = stale_block_sector(blocks, blocks->block[i]);

		if (!stale_read_device(stale, blocks->block[i], remembered)) {
			if (stamped)
				close(file);
			return ctl_fail(EX_UNAVAILABLE, "%s was not removed: sector %" PRIu64 " can't be read", stale->name,
					sector);
		}
		if (stamped)
			err = saved_append(file, uuid, sector, stale_block_length(blocks, blocks->block[i]), remembered);
	}
	if (stamped && !err)
		err = saved_finish(file, dir, uuid);
	if (stamped && file >= 0)
		close(file);
	return err ? ctl_fail(EX_CANTCREAT,
			      "%s was not removed: no copies can be kept in %s: %s (name another directory with --state-dir)",
			      stale->name, dir, strerror(-err)) :
		     EX_OK;
}

static int print_refused(const struct dmctl_run *run, void *data)
{
	uint64_t *left = data;

	fprintf(stderr,
		"remapctl: sectors %" PRIu64 "+%" PRIu64 " stay on the spare (%" PRIu64 " unread, %" PRIu64 " lost)\n",
		run->sector, run->count, run->unread, run->lost);
	return --*left == 0;
}

static int fail_refused(const struct stale *stale, uint64_t refused)
{
	uint64_t lines = 10;

	dmctl_list_runs(stale->name, 0, print_refused, &lines, NULL);
	return ctl_fail(EX_UNAVAILABLE,
			"%s was not removed: %" PRIu64 " blocks can't go back to main: they have unread or lost sectors, or main "
			"does not take them (see remapctl list %s)",
			stale->name, refused, stale->name);
}

/* All but the stamped blocks: as long as one block is not on main, main stays stamped. */
static int release_others(const struct stale *stale)
{
	uint64_t released, refused;
	int status = ctl_release_range(stale->name, 0, stale->stamp.main_sectors, stale->blocks, &released, &refused);

	if (!status)
		status = check_stopped(stale);
	return !status && refused ? fail_refused(stale, refused) : status;
}

/* What matters most comes back last, the first block alone, so that a crash finds main still stamped there, or whole. */
static int release_stamped(const struct stale *stale)
{
	const struct stale_blocks *blocks = stale->blocks;
	uint64_t released, refused;
	size_t first, end;
	int status = EX_OK;

	for (end = blocks->count; end && !status; end = first) {
		/* One message for what lies side by side. */
		for (first = end - 1; first > 1 && blocks->block[first - 1] + 1 == blocks->block[first]; first--)
			;
		status = ctl_release_range(stale->name, stale_block_sector(blocks, blocks->block[first]),
					   (end - first - 1) * blocks->block_sectors +
						   stale_block_length(blocks, blocks->block[end - 1]),
					   NULL, &released, &refused);
		if (!status)
			status = check_stopped(stale);
		if (!status && refused)
			status = fail_refused(stale, refused);
	}
	return status;
}

static int verify_blocks(const struct stale *stale, const char *remembered)
{
	const struct stale_blocks *blocks = stale->blocks;
	size_t i;

	for (i = 0; i < blocks->count; i++) {
		uint64_t block = blocks->block[i];
		size_t bytes = (size_t)stale_block_length(blocks, block) * STAMP_SECTOR_BYTES;

		if (!stale_read_main(stale, block, stale->buffer) ||
		    memcmp(stale->buffer, remembered + i * stale->block_bytes, bytes))
			return ctl_fail(EX_IOERR,
					"%s was not removed: sector %" PRIu64 " of %s does not hold what the device showed there",
					stale->name, stale_block_sector(blocks, block), stale->main_path);
	}
	return EX_OK;
}

/* remapd may have moved some, or reading what came back failed. */
static int verify_none_mapped(const struct stale *stale)
{
	struct dmctl_status target;
	struct dmctl_error error;

	if (dmctl_status(stale->name, &target, &error))
		return ctl_fail_dm(&error);
	return target.mapped_blocks ? ctl_fail(EX_TEMPFAIL,
					       "%s was not removed: %" PRIu64 " blocks were moved to the spare meanwhile: try again "
					       "(if remapd moves them, in mode observe)",
					       stale->name, target.mapped_blocks) :
				      EX_OK;
}

/* Was not wholly released or removed: what came off the stamp goes on again. */
static void stamp_again(struct stale *stale)
{
	struct stale_result result;

	ctl_stop_signal = 0;
	if (!stale_mark(stale, &result))
		stale_print_left(stale, &result);
}

static int release_all(struct stale *stale, bool stamped)
{
	void *remembered = NULL;
	uint64_t bad;
	int status;

	ctl_catch_stop();
	status = keep_moved(stale, &bad);
	if (!status && bad)
		status = fail_refused(stale, bad);
	if (!status && posix_memalign(&remembered, STALE_ALIGN_BYTES, (stale->blocks->count + 1) * stale->block_bytes))
		status = ctl_fail(EX_OSERR, "out of memory");
	if (!status)
		status = release_others(stale);
	if (!status)
		status = remember_blocks(stale, stamped, remembered);
	if (!status) {
		status = release_stamped(stale);
		if (!status)
			status = verify_blocks(stale, remembered);
		if (!status)
			status = verify_none_mapped(stale);
		if (status && stamped)
			stamp_again(stale);
	}
	free(remembered);
	return status;
}

static int remove_released(const struct ctl *ctl, const struct dmctl_device *device)
{
	char main_path[sizeof(((struct stale *)0)->main_path)], spare_uuid[STAMP_UUID_BYTES];
	struct dmctl_error error;
	struct stale stale;
	struct stamp stamp;
	bool stamped;
	int status = stale_open(&stale, ctl, device);

	if (status)
		return status;
	memcpy(main_path, stale.main_path, sizeof(main_path));
	memcpy(spare_uuid, stale.stamp.spare_uuid, sizeof(spare_uuid));
	stamped = stale_look(main_path, stale.stamp.main_offset_sectors, stale.stamp.main_sectors, &stamp) != STAMP_NONE;
	status = release_all(&stale, stamped);
	stale_close(&stale);
	if (status)
		return status;
	if (dmctl_remove(device->name, &error)) {
		status = ctl_fail_dm(&error);
		if (stamped && !stale_open(&stale, ctl, device)) {
			stamp_again(&stale);
			stale_close(&stale);
		}
		return status;
	}
	saved_forget(ctl->state_dir, spare_uuid);
	stale_read_partitions(main_path);
	return EX_OK;
}

/* A stamped main stays so, and what was made on the device since it was assembled has signatures of its own. */
static enum stamp_found leave_stamped(const struct ctl *ctl, const struct dmctl_device *device)
{
	char *main_path = blkid_devno_to_devname(device->main_devno);
	enum stamp_found found = STAMP_UNKNOWN;
	struct stale_result result;
	struct stamp stamp;
	struct stale stale;

	if (main_path)
		found = stale_look(main_path, device->table.main_offset_sectors, device->table.length_sectors, &stamp);
	free(main_path);
	if (found != STAMP_OK || device->read_only || stale_open(&stale, ctl, device))
		return found;
	if (!stale_mark(&stale, &result))
		stale_print_left(&stale, &result);
	stale_close(&stale);
	return found;
}

static int print_removed(const struct ctl *ctl, const char *name, enum stamp_found stamped, uint64_t mapped_blocks)
{
	json_t *root;

	if (mapped_blocks)
		fprintf(stderr,
			"remapctl: note: %" PRIu64 " blocks of %s are on the spare alone; main is stale without it%s: use it "
			"only through remapctl assemble with the same spare\n",
			mapped_blocks, name,
			stamped == STAMP_UNKNOWN ? "" :
			stamped == STAMP_NONE	 ? ", and nothing on it says so" :
						   ", and stays stamped");
	if (!ctl->json)
		return EX_OK;
	root = ctl_json_new();
	json_object_update_new(root, json_pack("{s:s, s:b, s:I, s:s}", "removed", name, "released", ctl->release_first,
					       "mapped_blocks", (json_int_t)mapped_blocks, "stamped",
					       stale_word(stamped)));
	return ctl_print_json(root);
}

int ctl_remove(struct ctl *ctl, char **args)
{
	enum stamp_found stamped = ctl->release_first ? STAMP_NONE : STAMP_UNKNOWN;
	struct dmctl_status target = { 0 };
	char user[PROBE_TEXT_BYTES] = "";
	struct dmctl_device device;
	struct dmctl_error error;
	int status;

	if (dmctl_get(args[0], &device, &error))
		return ctl_fail_dm(&error);
	ctl_find_user(device.devno, user, sizeof(user));
	if (*user)
		return ctl_fail(EX_UNAVAILABLE, "%s is in use: %s", device.name, user);
	if (dmctl_wait_unused(args[0], UNUSED_TIMEOUT_MS, &error))
		return ctl_fail_dm(&error);
	if (ctl->dry_run) {
		printf("would %sremove %s\n", ctl->release_first ? "release all and " : "", device.name);
		return EX_OK;
	}
	if (ctl->release_first) {
		status = remove_released(ctl, &device);
		if (status)
			return status;
	} else {
		/* A device whose disks do not answer can still be taken away. */
		if (!dmctl_status(args[0], &target, &error) && target.main_state == DMCTL_MAIN_OK)
			stamped = leave_stamped(ctl, &device);
		if (dmctl_status(args[0], &target, &error) || dmctl_remove(args[0], &error))
			return ctl_fail_dm(&error);
	}
	stale_tell_udev(device.main_devno, device.spare_devno);
	return print_removed(ctl, device.name, stamped, target.mapped_blocks);
}
