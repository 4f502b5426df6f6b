// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* See ctl_plan.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sysexits.h>

#include "loader/ctl_plan.h"

static int check_name_is_free(const char *name)
{
	struct dmctl_error error;
	struct dmctl_device device;
	int err = dmctl_get(name, &device, &error);

	if (err == -ENXIO)
		return EX_OK;
	if (!err)
		return ctl_fail(EX_DATAERR, "%s exists already (see: remapctl status %s)", name, name);
	if (err == -EMEDIUMTYPE)
		return ctl_fail(EX_DATAERR, "a device-mapper device %s exists already and is no remap device", name);
	return ctl_fail_dm(&error);
}

static int check_unused(const struct probe_device *device, const char *role)
{
	if (*device->used_by)
		return ctl_fail(EX_DATAERR, "%s %s is in use: %s", role, device->path, device->used_by);
	return EX_OK;
}

/* The kernel checks again; here the words can be clearer, and stacked devices are seen. */
static int check_apart(const struct plan *plan, const struct ctl *ctl)
{
	const struct probe_device *main = &plan->main, *spare = &plan->spare;
	uint64_t main_start = main->disk_start_sector + ctl->main_offset_sectors;
	uint64_t spare_start = spare->disk_start_sector + ctl->spare_offset_sectors;

	if (main->devno == spare->devno)
		return ctl_fail(EX_DATAERR, "main and spare are the same device: %s and %s", main->path, spare->path);
	if (main->disk_devno == spare->disk_devno) {
		if (main_start < spare->disk_start_sector + spare->size_sectors &&
		    spare_start < main->disk_start_sector + main->size_sectors)
			return ctl_fail(EX_DATAERR, "main %s and spare %s overlap on their disk", main->path,
					spare->path);
		fprintf(stderr, "remapctl: warning: main and spare are on the same disk: when it dies, both are gone\n");
		return EX_OK;
	}
	if (ctl_probe_depends(spare, main) || ctl_probe_depends(main, spare))
		return ctl_fail(EX_DATAERR, "one of main %s and spare %s is built on the other", main->path,
				spare->path);
	return EX_OK;
}

static int fill_table(const struct ctl *ctl, struct plan *plan)
{
	struct dmctl_table *table = &plan->table;
	const char *main_id = ctl->main_id ? ctl->main_id : plan->main.main_id;

	if (ctl->main_offset_sectors >= plan->main.size_sectors)
		return ctl_fail(EX_DATAERR, "main-offset %" PRIu64 " is beyond the end of %s (%" PRIu64 " sectors)",
				ctl->main_offset_sectors, plan->main.path, plan->main.size_sectors);
	if (ctl->spare_offset_sectors >= plan->spare.size_sectors)
		return ctl_fail(EX_DATAERR, "spare-offset %" PRIu64 " is beyond the end of %s (%" PRIu64 " sectors)",
				ctl->spare_offset_sectors, plan->spare.path, plan->spare.size_sectors);
	if (strlen(main_id) >= sizeof(table->main_id) || strpbrk(main_id, " \t\n\\"))
		return ctl_fail(EX_USAGE, "main-id must be at most %zu printable characters without blanks",
				sizeof(table->main_id) - 1);
	table->length_sectors = plan->main.size_sectors - ctl->main_offset_sectors;
	/* A whole number of logical blocks: the target refuses anything else. */
	table->length_sectors -= table->length_sectors % (plan->main.logical_block_bytes / 512);
	snprintf(table->main_dev, sizeof(table->main_dev), "%u:%u", major(plan->main.devno),
		 minor(plan->main.devno));
	snprintf(table->spare_dev, sizeof(table->spare_dev), "%u:%u", major(plan->spare.devno),
		 minor(plan->spare.devno));
	table->main_offset_sectors = ctl->main_offset_sectors;
	table->spare_offset_sectors = ctl->spare_offset_sectors;
	snprintf(table->main_id, sizeof(table->main_id), "%s", main_id);
	table->storm_budget_blocks = ctl->storm_budget_blocks;
	table->salvage_ms = ctl->salvage_ms;
	table->retry_ms = ctl->retry_ms;
	table->rewrite_first = ctl->rewrite_first ? 1 : -1;
	return EX_OK;
}

/* Why the spare's superblock is not of this main; NULL if it is. */
static const char *why_foreign(const struct plan *plan, char *why, size_t why_bytes)
{
	const struct remap_super *super = &plan->super.super;
	const struct dmctl_table *table = &plan->table;

	if (!plan->super.valid)
		snprintf(why, why_bytes, "a dm-remap spare that can't be used (%s): see remapctl check",
			 remap_super_error_text(plan->super.error));
	else if (strcmp(super->main_id, table->main_id) && *super->main_id)
		snprintf(why, why_bytes, "the dm-remap superblock of another main: %s (this main is %s%s)", super->main_id,
			 *table->main_id ? table->main_id : "without a name",
			 *table->main_id ? "" : "; if it is that one, say --main-id");
	else if (super->main_offset_sectors != table->main_offset_sectors)
		snprintf(why, why_bytes, "the dm-remap superblock of a main at main-offset %" PRIu64,
			 super->main_offset_sectors);
	else if (super->main_sectors > table->length_sectors)
		snprintf(why, why_bytes,
			 "the dm-remap superblock of another main: of %" PRIu64 " sectors (this one has %" PRIu64 ")",
			 super->main_sectors, table->length_sectors);
	else if (!*super->main_id && super->main_sectors != table->length_sectors)
		snprintf(why, why_bytes,
			 "the dm-remap superblock of a main without a name of %" PRIu64 " sectors (this one has %" PRIu64
			 ")",
			 super->main_sectors, table->length_sectors);
	else
		return NULL;
	return why;
}

/* Decides between format, assemble and refuse; what is refused is listed. */
static int judge_spare(const struct ctl *ctl, struct plan *plan)
{
	char foreign[PROBE_TEXT_BYTES];
	const char *why = NULL;
	size_t i;

	if (plan->super.found) {
		why = why_foreign(plan, foreign, sizeof(foreign));
		if (!why)
			return EX_OK;
	}
	if (plan->assemble)
		return ctl_fail(EX_DATAERR, "%s is not the spare of %s: it holds %s", plan->spare.path, plan->main.path,
				why ? why : "no dm-remap superblock (remapctl create makes one)");
	if (!why && !plan->spare_contents.count) {
		if (ctl->read_only)
			return ctl_fail(EX_DATAERR, "%s is no dm-remap spare, and --read-only can't make one",
					plan->spare.path);
		plan->format_spare = true;
		return EX_OK;
	}
	if (ctl->force && !plan->assemble) {
		plan->format_spare = plan->wipe_spare = true;
		return EX_OK;
	}
	fprintf(stderr, "remapctl: refused: spare %s holds", plan->spare.path);
	if (why)
		fprintf(stderr, " %s%s", why, plan->spare_contents.count ? ";" : "");
	for (i = 0; i < plan->spare_contents.count; i++)
		fprintf(stderr, " %s%s", plan->spare_contents.text[i],
			i + 1 < plan->spare_contents.count ? ";" : "");
	fprintf(stderr, " (use another spare, or --force to wipe it)\n");
	return EX_DATAERR;
}

/* A stamped main has its data with one spare and no other; what the stamp took the place of is not to be lost. */
static int check_stamp(struct plan *plan)
{
	char uuid[37] = "";

	plan->stamp_found = stale_look(plan->main.path, plan->table.main_offset_sectors, plan->table.length_sectors,
				       &plan->stamp);
	if (plan->super.valid)
		ctl_format_uuid(plan->super.super.uuid, uuid);
	if (plan->stamp_found == STAMP_OK && strcmp(uuid, plan->stamp.spare_uuid))
		return ctl_fail(EX_DATAERR,
				"refused: main %s is stamped, part of its data is on the spare with UUID %s; %s is %s%s (if that "
				"spare is lost for good: remapctl unstamp %s)",
				plan->main.path, plan->stamp.spare_uuid, plan->spare.path,
				*uuid ? "the one with UUID " : "no spare", uuid, plan->main.path);
	return EX_OK;
}

/* Mappings of a main that was mounted, or formatted, by itself are older than the rest of it. */
static int check_unwritten(const struct ctl *ctl, const struct plan *plan)
{
	uint64_t sector;
	char uuid[37];

	if (plan->format_spare || !plan->super.valid || (plan->assemble && ctl->force))
		return EX_OK;
	ctl_format_uuid(plan->super.super.uuid, uuid);
	if (!stale_was_written(ctl, plan->main.path, plan->table.main_offset_sectors, uuid, &sector))
		return EX_OK;
	return ctl_fail(EX_DATAERR,
			"refused: %s was written by itself since it was stamped (sector %" PRIu64 " is neither the stamp nor what "
			"stood there before): what the device would show is a mixture. If only its signature or partition "
			"table was written, no data is concerned: remapctl assemble --force",
			plan->main.path, sector);
}

/* Before anything is changed: main must not be stamped if what it holds there can't be saved. */
static int check_state_dir(const struct ctl *ctl, const struct plan *plan)
{
	char warning[STALE_TEXT_BYTES], error[STALE_TEXT_BYTES];
	int status;

	if (ctl->no_stamp || ctl->read_only || ctl->dry_run)
		return EX_OK;
	status = saved_check(ctl->state_dir, plan->spare.disk_devno, warning, error);
	if (!status) {
		if (*warning)
			fprintf(stderr, "remapctl: note: %s\n", warning);
		return EX_OK;
	}
	/* Who assembles, perhaps from a rescue system, needs the data. */
	if (plan->assemble || !plan->format_spare)
		return EX_OK;
	return ctl_fail(status,
			"can't keep copies of the blocks of %s that are to be stamped: %s (name another directory with "
			"--state-dir, or leave main unstamped with --no-stamp)",
			plan->main.path, error);
}

int ctl_make_plan(const struct ctl *ctl, char **args, struct plan *plan)
{
	char error[PROBE_ERROR_BYTES];
	int status;

	plan->name = args[0];
	status = check_name_is_free(plan->name);
	if (status)
		return status;
	status = ctl_probe_device(args[1], &plan->main, error);
	if (!status)
		status = ctl_probe_device(args[2], &plan->spare, error);
	if (status)
		return ctl_fail(status, "%s", error);
	status = fill_table(ctl, plan);
	if (!status)
		status = check_apart(plan, ctl);
	if (!status)
		status = check_unused(&plan->main, "main");
	if (!status)
		status = check_unused(&plan->spare, "spare");
	if (status)
		return status;
	status = ctl_probe_contents(&plan->main, ctl->main_offset_sectors, &plan->main_contents, error);
	/* A main that can't be read is why people come here. */
	if (status)
		plan->main_contents.count = 0;
	status = ctl_probe_super(&plan->spare, ctl->spare_offset_sectors, &plan->super, error);
	if (!status)
		status = ctl_probe_contents(&plan->spare, ctl->spare_offset_sectors, &plan->spare_contents, error);
	if (status)
		return ctl_fail(status, "%s", error);
	status = check_stamp(plan);
	if (!status)
		status = judge_spare(ctl, plan);
	if (!status && plan->format_spare && plan->stamp_found == STAMP_DAMAGED)
		status = ctl_fail(EX_DATAERR,
				  "refused: main %s is stamped, part of its data is on a spare, and that is not %s", plan->main.path,
				  plan->spare.path);
	if (!status)
		status = check_unwritten(ctl, plan);
	return status ? status : check_state_dir(ctl, plan);
}
