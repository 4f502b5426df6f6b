// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * remapctl evacuate: what a remap device shows, copied to a new disk. What reads well comes first, what is suspected last.
 * GNU ddrescue copies, tries again, and keeps a mapfile; here is what it can't know.
 */
#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/client.h"
#include "loader/ctl.h"
#include "loader/ctl_ddrescue.h"
#include "loader/ctl_evacuate.h"
#include "loader/evacuation.h"

#define PLACES_SHOWN 20

/* ---- what must not be ---- */

static int check_source(struct evacuation *e, const char *name)
{
	char path[DMCTL_NAME_BYTES + 16], text[PROBE_ERROR_BYTES];
	struct dmctl_status target;
	struct dmctl_error error;
	int status;

	if (dmctl_get(name, &e->device, &error) || dmctl_status(name, &target, &error))
		return ctl_fail_dm(&error);
	if (e->device.targets != 1)
		return ctl_fail(EX_DATAERR, "%s is a device with several targets", name);
	if (target.mode == DMCTL_MODE_FAILED || target.mode == DMCTL_MODE_INIT)
		return ctl_fail(EX_UNAVAILABLE, "%s can't be read: its mode is %s", name, target.mode_word);
	if (e->device.suspended)
		return ctl_fail(EX_UNAVAILABLE, "%s is suspended (dmsetup resume %s)", name, name);
	if (target.main_state == DMCTL_MAIN_AWAY)
		return ctl_fail(EX_UNAVAILABLE, "main of %s does not answer at all (remapctl status %s)", name, name);
	snprintf(path, sizeof(path), "/dev/mapper/%s", name);
	status = ctl_probe_device(path, &e->source, text);
	if (status)
		return ctl_fail(status, "%s", text);
	e->length_sectors = e->source.size_sectors;
	e->in_use = *e->source.used_by && !e->device.read_only && !ctl_is_mounted_read_only(e->source.devno);
	if (!e->in_use || e->ctl->live)
		return EX_OK;
	return ctl_fail(EX_DATAERR,
			"%s is in use: %s; what is written while it is copied would make the copy a mixture (unmount it, remount it "
			"read-only, or say --live: see remapctl-evacuate(8))",
			path, e->source.used_by);
}

/* Neither the disk that is to be left, nor anything that the device is made of, or that is made of it. */
static int check_apart(const struct evacuation *e)
{
	struct probe_device main, main_disk = { 0 };
	char error[PROBE_ERROR_BYTES];
	char *main_path = blkid_devno_to_devname(e->device.main_devno);

	if (ctl_probe_depends(&e->target, &e->source))
		return ctl_fail(EX_DATAERR, "%s is %s, or is built on it", e->target.path, e->device.name);
	if (ctl_probe_depends(&e->source, &e->target))
		return ctl_fail(EX_DATAERR, "%s is built on %s: that is its main, its spare, or has them", e->device.name,
				e->target.path);
	if (main_path && !ctl_probe_device(main_path, &main, error))
		main_disk.devno = main.disk_devno;
	free(main_path);
	if (main_disk.devno && ctl_probe_depends(&e->target, &main_disk))
		return ctl_fail(EX_DATAERR, "%s is on the disk of main, the one that is to be left", e->target.path);
	return EX_OK;
}

static int check_target(struct evacuation *e, const char *path)
{
	char error[PROBE_ERROR_BYTES], has[24], needs[24];
	int status = ctl_probe_device(path, &e->target, error);

	if (status)
		return ctl_fail(status, "%s", error);
	status = check_apart(e);
	if (status)
		return status;
	if (*e->target.used_by)
		return ctl_fail(EX_DATAERR, "%s is in use: %s", path, e->target.used_by);
	if (e->target.size_sectors < e->length_sectors) {
		ctl_format_sectors(e->target.size_sectors, has);
		ctl_format_sectors(e->length_sectors, needs);
		return ctl_fail(EX_DATAERR, "%s is too small: %s (%" PRIu64 " sectors), and %s has %s (%" PRIu64 ")", path, has,
				e->target.size_sectors, e->device.name, needs, e->length_sectors);
	}
	if (e->target.logical_block_bytes > e->source.logical_block_bytes)
		return ctl_fail(EX_DATAERR, "%s has logical blocks of %u bytes, and %s has %u: file systems and partition tables "
				"may not work there", path, e->target.logical_block_bytes, e->device.name,
				e->source.logical_block_bytes);
	return EX_OK;
}

/* Called where no copy is gone on with. */
static int check_contents(struct evacuation *e)
{
	char error[PROBE_ERROR_BYTES];
	int status = ctl_probe_super(&e->target, 0, &e->super, error);
	size_t i;

	if (!status)
		status = ctl_probe_contents(&e->target, 0, &e->contents, error);
	if (status)
		return ctl_fail(status, "%s", error);
	if (!e->super.found && !e->contents.count)
		return EX_OK;
	e->wipe = true;
	if (e->ctl->force)
		return EX_OK;
	fprintf(stderr, "remapctl: refused: %s holds%s", e->target.path, e->super.found ? " a dm-remap superblock" : "");
	for (i = 0; i < e->contents.count; i++)
		fprintf(stderr, "%s %s", i || e->super.found ? ";" : "", e->contents.text[i]);
	fprintf(stderr, " (use another disk, or --force to wipe it)\n");
	return EX_DATAERR;
}

/* ---- what is suspected ---- */

static int add_run(const struct dmctl_run *run, void *data)
{
	return evacuation_add_run(data, run);
}

static int add_extents(struct badmap *late, json_t *answer)
{
	uint64_t extent_sectors = json_integer_value(json_object_get(answer, "extent_sectors"));
	json_t *cell;
	size_t i;
	int err = 0;

	json_array_foreach(json_object_get(answer, "cells"), i, cell) {
		const char *state = json_string_value(json_array_get(cell, 1));
		json_int_t extent = json_integer_value(json_array_get(cell, 0));

		if (state && extent >= 0 && !err)
			err = evacuation_add_extent(late, state, extent * extent_sectors, extent_sectors);
	}
	return err;
}

static int find_late(struct evacuation *e)
{
	json_t *request = json_pack("{s:s, s:s}", "command", REMAP_CMD_EXTENTS, "device", e->device.name), *answer = NULL;
	char error_text[CLIENT_ERROR_BYTES];
	struct dmctl_error error = { 0 };
	int err = dmctl_list_runs(e->device.name, 0, add_run, &e->late, &error);

	if (err && error.err) {
		json_decref(request);
		return ctl_fail_dm(&error);
	}
	if (!err && client_ask(e->ctl->socket_path, request, CTL_SOCKET_TIMEOUT_MS, &answer, error_text))
		fprintf(stderr, "remapctl: note: %s; suspected is only what has failed before\n", error_text);
	else if (!err)
		err = add_extents(&e->late, answer);
	json_decref(request);
	json_decref(answer);
	if (err)
		return ctl_fail(EX_OSERR, "out of memory");
	evacuation_finish(&e->late, e->length_sectors);
	return EX_OK;
}

/* ---- telling ---- */

static unsigned int percent(uint64_t part, uint64_t whole)
{
	return whole ? (unsigned int)(100.0 * part / whole) : 100;
}

static void print_plan(const struct evacuation *e)
{
	char size[24];
	size_t i;

	ctl_format_sectors(e->length_sectors, size);
	printf("from   %s  %s%s%s\n", e->source.path, size, *e->source.used_by ? "  " : "", e->source.used_by);
	ctl_format_sectors(e->target.size_sectors, size);
	printf("to     %s  %s  %s  %s\n", e->target.path, size,
	       *e->target.main_id ? e->target.main_id : "no WWN, PARTUUID or serial",
	       e->resumed ? "holds a part of the copy" : e->wipe ? "wiped" : "holds nothing that is known");
	if (e->wipe && e->super.found)
		printf("         holds a dm-remap superblock, destroyed\n");
	for (i = 0; e->wipe && i < e->contents.count; i++)
		printf("         holds %s, destroyed\n", e->contents.text[i]);
	ctl_format_sectors(e->late.sectors, size);
	printf("last   %s in %zu places: suspected, or near to what failed\n", size, e->late.count);
	printf("map    %s  ", e->mapfile);
	if (e->resumed)
		printf("goes on: %u %% is copied\n", percent(e->done.sectors, e->length_sectors));
	else
		printf("new\n");
	fflush(stdout);
}

static json_t *places_json(const struct badmap *map)
{
	json_t *places = json_array();
	size_t i;

	for (i = 0; i < map->count; i++)
		json_array_append_new(places, json_pack("{s:I, s:I}", "sector", (json_int_t)map->range[i].sector, "count",
							(json_int_t)map->range[i].count));
	return places;
}

/* @stopped: a signal or an error ended it; then only what was tried and failed is known. */
static int print_report(const struct evacuation *e, const struct badmap *done, const struct badmap *missing, bool stopped)
{
	const struct badmap_range *place;
	json_t *root;
	char size[24];
	size_t i;

	if (e->ctl->json) {
		root = ctl_json_new();
		json_object_update_new(root, json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b}", "device", e->device.name,
						       "target", e->target.path, "mapfile", e->mapfile, "size_sectors",
						       (json_int_t)e->length_sectors, "late_sectors",
						       (json_int_t)e->late.sectors, "copied_sectors",
						       (json_int_t)done->sectors, "missing_sectors",
						       (json_int_t)missing->sectors, "complete", !stopped));
		json_object_set_new(root, "late", places_json(&e->late));
		json_object_set_new(root, "missing", places_json(missing));
		json_object_set_new(root, "in_use", json_boolean(e->in_use));
		json_object_set_new(root, "dry_run", json_boolean(e->ctl->dry_run));
		return ctl_print_json(root);
	}
	ctl_format_sectors(e->length_sectors, size);
	if (stopped) {
		printf("%s: %u %% of %s is on %s; go on with: remapctl evacuate %s %s%s\n", e->device.name,
		       percent(done->sectors, e->length_sectors), size, e->target.path, e->device.name, e->target.path,
		       e->in_use ? " --live" : "");
		return EX_OK;
	}
	printf("%s has all of %s, %s%s\n", e->target.path, e->device.name, size, missing->count ? ", but for" : "");
	if (missing->count)
		printf("%12s %8s %16s\n", "SECTOR", "COUNT", "BYTE");
	for (i = 0; i < missing->count && i < PLACES_SHOWN; i++) {
		place = &missing->range[i];
		printf("%12" PRIu64 " %8" PRIu64 " %16" PRIu64 "\n", place->sector, place->count, place->sector * SECTOR_BYTES);
	}
	if (i < missing->count)
		printf("and %zu more places: see %s\n", missing->count - i, e->mapfile);
	if (!e->in_use)
		printf("next: remapctl remove %s, then use %s as it is, or put it under dm-remap: remapctl create %s %s SPARE\n",
		       e->device.name, e->target.path, e->device.name, e->target.path);
	return EX_OK;
}

static int report(const struct evacuation *e, int status)
{
	struct badmap done = { 0 }, missing = { 0 };
	const bool finished = !status;
	int print_status;

	if (status == EX_DATAERR && !e->ctl->json)
		return status;
	if (!evacuate_read_map(e, "+", &done) || !evacuate_read_map(e, "*/-", &missing))
		print_status = ctl_fail(EX_SOFTWARE, "%s: can't be read", e->mapfile);
	else
		print_status = print_report(e, &done, &missing, status);
	if (!status && !print_status && missing.sectors)
		status = ctl_fail(EX_IOERR,
				  "sectors of %s that could not be read: %" PRIu64 "; %s holds a text there (remapctl-evacuate(8) says "
				  "how to find the files), and another run tries again",
				  e->device.name, missing.sectors, e->target.path);
	if (finished && e->in_use)
		status = ctl_fail(EX_TEMPFAIL,
				  "%s was in use (%s): the copy may be a mixture of older and newer data; begin anew with --force when "
				  "it is quiet",
				  e->device.name, e->source.used_by);
	badmap_free(&done);
	badmap_free(&missing);
	return status ? status : print_status;
}

/* ---- doing ---- */

static int hold(const char *path, bool in_use, int *fd)
{
	*fd = open(path, O_RDONLY | O_CLOEXEC | (in_use ? 0 : O_EXCL));
	return *fd < 0 ? ctl_fail(EX_UNAVAILABLE, "%s: %s", path, strerror(errno)) : EX_OK;
}

/* After an outage of main: what failed in it is tried again as if for the first time. */
static int forget_failures(const struct evacuation *e)
{
	struct badmap done = { 0 };
	int status = EX_OK;

	if (evacuate_read_map(e, "+", &done))
		status = evacuate_write_map(e, &done);
	badmap_free(&done);
	return status;
}

static bool anything_missing(const struct evacuation *e)
{
	struct badmap missing = { 0 };
	bool any = evacuate_read_map(e, "-", &missing) && missing.count;

	badmap_free(&missing);
	return any;
}

/* Of others, with what was in the page cache. If that fails, so did who wrote it. */
static uint64_t written(const struct evacuation *e)
{
	sync_file_range(e->source_fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
	return evacuate_written(e->source.devno);
}

static int copy(struct evacuation *e)
{
	const struct ddrescue rescue = {
		.name = e->device.name,
		.source = e->source.path,
		.target = e->target.path,
		.mapfile = e->mapfile,
		.sector_bytes = e->source.logical_block_bytes,
		.length_sectors = e->length_sectors,
		.retries = e->ctl->retries,
		.may_be_written = e->in_use,
		.devno = e->source.devno,
		.written_sectors = e->written_sectors,
		.dry_run = e->ctl->dry_run,
	};
	struct evacuate_retry retry;
	int status = EX_OK;

	if (e->late.sectors < e->length_sectors)
		status = ddrescue_copy_rest(&rescue, &e->late);
	if (!status && !rescue.dry_run)
		status = evacuate_begin_retry(e, &retry);
	if (status)
		return status;
	status = ddrescue_copy_all(&rescue);
	if (!rescue.dry_run)
		evacuate_end_retry(&retry);
	/* What the disk held before is not to be taken for data. */
	if (!status && (rescue.dry_run || anything_missing(e)))
		status = ddrescue_mark(&rescue);
	if (!status && !rescue.dry_run && fsync(e->target_fd))
		status = ctl_fail(EX_IOERR, "%s: %s: what it took may not be there", e->target.path, strerror(errno));
	if (!status && !rescue.dry_run && !e->in_use && written(e) != e->written_sectors)
		status = ddrescue_fail_written(&rescue);
	return status;
}

/* What the mapfile may not say after a copy that ended with this status. */
static int correct_map(const struct evacuation *e, int status)
{
	const struct badmap none = { 0 };

	switch (status) {
	case EX_TEMPFAIL:
		return forget_failures(e);
	case EX_DATAERR:
		return evacuate_write_map(e, &none);
	case EX_IOERR: /* the target lost what was in its cache, perhaps */
		return evacuate_write_map(e, &e->done);
	default:
		return EX_OK;
	}
}

static int evacuate(struct evacuation *e)
{
	char question[PATH_MAX + 64], error[PROBE_ERROR_BYTES];
	const struct badmap none = { 0 };
	int status;

	if (!e->ctl->json)
		print_plan(e);
	if (e->ctl->dry_run)
		return e->ctl->json ? print_report(e, e->resumed ? &e->done : &none, &none, true) : copy(e);
	if (e->wipe) {
		snprintf(question, sizeof(question), "What %s holds will be destroyed.", e->target.path);
		status = ctl_confirm(e->ctl, question);
		if (status)
			return status;
		status = ctl_probe_wipe(&e->target, 0, error);
		if (status)
			return ctl_fail(status, "%s", error);
	}
	status = hold(e->source.path, *e->source.used_by, &e->source_fd);
	if (!status)
		status = hold(e->target.path, false, &e->target_fd);
	if (!status && !e->resumed)
		status = evacuate_begin_map(e);
	if (status)
		return status;
	e->written_sectors = written(e);
	ctl_catch_stop();
	status = copy(e);
	if (correct_map(e, status))
		return EX_CANTCREAT;
	return report(e, status);
}

static int prepare(struct evacuation *e, char **args)
{
	int status = check_source(e, args[0]);

	if (!status)
		status = check_target(e, args[1]);
	if (!status)
		status = ddrescue_found();
	if (!status)
		status = evacuate_name_map(e);
	if (status)
		return status;
	evacuate_find_copied(e);
	/* A device that is written all the time differs, and whoever said --live knows. */
	if (e->resumed && !e->in_use)
		status = evacuate_check_copied(e);
	if (!status && !e->resumed)
		status = check_contents(e);
	return status ? status : find_late(e);
}

int ctl_evacuate(struct ctl *ctl, char **args)
{
	struct evacuation *e = calloc(1, sizeof(*e));
	int status;

	if (!e)
		return ctl_fail(EX_OSERR, "out of memory");
	e->ctl = ctl;
	e->source_fd = e->target_fd = -1;
	status = prepare(e, args);
	if (!status)
		status = evacuate(e);
	if (e->source_fd >= 0)
		close(e->source_fd);
	if (e->target_fd >= 0)
		close(e->target_fd);
	badmap_free(&e->late);
	badmap_free(&e->done);
	free(e);
	return status;
}
