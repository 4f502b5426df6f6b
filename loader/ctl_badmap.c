// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* remapctl export, and create's --import: which places of main are bad, to and from other programs. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/ctl.h"
#include "loader/ctl_badmap.h"
#include "loader/ctl_spare.h"

/* ---- import ---- */

int ctl_import_read(const struct ctl *ctl, struct badmap *map)
{
	char error[BADMAP_ERROR_BYTES];
	FILE *in;
	int status;

	memset(map, 0, sizeof(*map));
	if (!ctl->import)
		return EX_OK;
	in = fopen(ctl->import, "re");
	if (!in)
		return ctl_fail(errno == EACCES ? EX_NOPERM : EX_NOINPUT, "%s: %s", ctl->import, strerror(errno));
	status = badmap_read(in, ctl->block_bytes, map, error);
	fclose(in);
	return status ? ctl_fail(status, "%s: %s", ctl->import, error) : EX_OK;
}

int ctl_import_move(const struct ctl *ctl, const char *name, uint64_t length_sectors, struct badmap *map,
		    json_t **report)
{
	struct dmctl_remap_answer sum = { 0 };
	struct dmctl_error error = { 0 };
	uint64_t outside = badmap_clip(map, ctl->main_offset_sectors, ctl->main_offset_sectors + length_sectors);
	uint64_t left = map->sectors;
	size_t i;
	int err = 0;

	ctl_catch_stop();
	for (i = 0; i < map->count && !err && !ctl_stop_signal; i++) {
		const struct badmap_range *range = &map->range[i];

		err = ctl_remap_range(name, range->sector, range->count, &sum, &error);
		left -= sum.next_sector - range->sector;
	}
	*report = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "file", ctl->import, "moved_blocks",
			    (json_int_t)sum.moved_blocks, "already_mapped_blocks", (json_int_t)sum.already_mapped_blocks,
			    "unread_sectors", (json_int_t)sum.unread_sectors, "outside_sectors", (json_int_t)outside,
			    "left_sectors", (json_int_t)left);
	if (!ctl->json)
		printf("%s: moved %" PRIu64 " blocks, %" PRIu64 " were already there\n", ctl->import, sum.moved_blocks,
		       sum.already_mapped_blocks);
	if (sum.unread_sectors)
		fprintf(stderr, "remapctl: note: %" PRIu64 " sectors of %s can't be read; blocks with nothing else stay on main\n",
			sum.unread_sectors, ctl->import);
	if (outside)
		fprintf(stderr, "remapctl: note: %" PRIu64 " sectors of %s are not on %s\n", outside, ctl->import, name);
	if (!left)
		return EX_OK;
	return ctl_fail(ctl_stop_signal ? 128 + ctl_stop_signal : EX_UNAVAILABLE,
			"%s is ready, but %" PRIu64 " sectors of %s were not moved: %s", name, left, ctl->import,
			ctl_stop_signal ? "stopped" : error.text);
}

/* ---- export ---- */

static int add_live_run(const struct dmctl_run *run, void *data)
{
	return badmap_add(data, run->sector, run->count);
}

/* What a live device has moved; sectors of main from where the device begins. */
static int export_live(const char *name, struct badmap *map, uint64_t *offset_sectors, uint64_t *length_sectors)
{
	struct dmctl_device device;
	struct dmctl_error error;
	int err;

	if (dmctl_get(name, &device, &error))
		return ctl_fail_dm(&error);
	*offset_sectors = device.table.main_offset_sectors;
	*length_sectors = device.table.length_sectors;
	err = dmctl_list_runs(name, 0, add_live_run, map, &error);
	if (err == -ENOMEM)
		return ctl_fail(EX_OSERR, "out of memory");
	return err < 0 ? ctl_fail_dm(&error) : EX_OK;
}

static int export_spare(const struct ctl *ctl, const char *path, struct badmap *map, uint64_t *offset_sectors,
			uint64_t *length_sectors)
{
	struct spare_device device;
	struct spare spare;
	struct spare_run run;
	size_t next = 0;
	int status = ctl_spare_open(ctl, path, SPARE_LOOK, false, &device, &spare);

	if (status)
		return status;
	*offset_sectors = spare.supers.super.main_offset_sectors;
	*length_sectors = spare.supers.super.main_sectors;
	while (!status && spare_next_run(&spare, &next, &run))
		if (badmap_add(map, run.sector, run.nr_sectors))
			status = ctl_fail(EX_OSERR, "out of memory");
	if (!status && spare.verdict != SPARE_CLEAN)
		fprintf(stderr, "remapctl: note: %s is not whole (see remapctl check %s)\n", path, path);
	ctl_spare_close(&device, &spare);
	return status;
}

static int write_map(const struct ctl *ctl, const struct badmap *map, uint64_t end_sector)
{
	int fd = ctl->output ? open(ctl->output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666) : dup(STDOUT_FILENO);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	bool failed;

	if (!out)
		return ctl_fail(EX_CANTCREAT, "%s: %s", ctl->output ? ctl->output : "stdout",
				errno == EEXIST ? "exists, and is not overwritten" : strerror(errno));
	if (ctl->badblocks)
		badmap_write_blocks(map, ctl->block_bytes, out);
	else
		badmap_write_mapfile(map, end_sector, '-', '?', out);
	failed = ferror(out);
	failed |= fclose(out);
	return failed ? ctl_fail(EX_IOERR, "%s: can't be written", ctl->output ? ctl->output : "stdout") : EX_OK;
}

int ctl_export(struct ctl *ctl, char **args)
{
	struct badmap map = { 0 };
	uint64_t offset_sectors, length_sectors;
	int status = strchr(args[0], '/') ? export_spare(ctl, args[0], &map, &offset_sectors, &length_sectors) :
					    export_live(args[0], &map, &offset_sectors, &length_sectors);
	size_t i;

	for (i = 0; i < map.count; i++)
		map.range[i].sector += offset_sectors;
	if (!status)
		status = write_map(ctl, &map, offset_sectors + length_sectors);
	badmap_free(&map);
	return status;
}
