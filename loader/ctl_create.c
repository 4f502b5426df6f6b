// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* remapctl create, remove. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sysexits.h>

#include "loader/ctl.h"
#include "loader/ctl_probe.h"

#define UNUSED_TIMEOUT_MS 5000

struct plan {
	const char *name;
	struct probe_device main;
	struct probe_device spare;
	struct probe_contents main_contents;
	struct probe_contents spare_contents;
	struct probe_super super;
	struct dmctl_table table;
	bool format_spare;
	bool wipe_spare;
};

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
	if (!why && !plan->spare_contents.count) {
		if (ctl->read_only)
			return ctl_fail(EX_DATAERR, "%s is no dm-remap spare, and --read-only can't make one",
					plan->spare.path);
		plan->format_spare = true;
		return EX_OK;
	}
	if (ctl->force) {
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

static int make_plan(const struct ctl *ctl, char **args, struct plan *plan)
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
	return judge_spare(ctl, plan);
}

static void print_plan(const struct plan *plan)
{
	char size[24], uuid[37];
	size_t i;

	ctl_format_sectors(plan->main.size_sectors, size);
	printf("main   %s  %s  %s\n", plan->main.path, size,
	       *plan->table.main_id ? plan->table.main_id :
				      "no WWN, PARTUUID or serial: known by its size alone (--main-id names it)");
	for (i = 0; i < plan->main_contents.count; i++)
		printf("         holds %s, kept\n", plan->main_contents.text[i]);
	ctl_format_sectors(plan->spare.size_sectors, size);
	printf("spare  %s  %s  ", plan->spare.path, size);
	if (plan->super.valid && !plan->format_spare) {
		ctl_format_uuid(plan->super.super.uuid, uuid);
		printf("this main's own, UUID %s: assembled with its mappings\n", uuid);
	} else if (!plan->wipe_spare) {
		printf("holds nothing that is known: formatted\n");
	} else {
		printf("wiped and formatted\n");
		if (plan->super.found)
			printf("         holds a dm-remap superblock%s%s, destroyed\n",
			       plan->super.valid && *plan->super.super.main_id ? " of main " : "",
			       plan->super.valid ? plan->super.super.main_id : "");
		for (i = 0; i < plan->spare_contents.count; i++)
			printf("         holds %s, destroyed\n", plan->spare_contents.text[i]);
	}
	fflush(stdout);
}

static json_t *contents_json(const struct probe_contents *contents)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < contents->count; i++)
		json_array_append_new(list, json_string(contents->text[i]));
	return list;
}

static int print_created(const struct ctl *ctl, const struct plan *plan, const char *uuid)
{
	char params[1024], path[DMCTL_NAME_BYTES + 16];
	json_t *root;

	snprintf(path, sizeof(path), "/dev/mapper/%s", plan->name);
	if (dmctl_format_table(&plan->table, plan->format_spare, params, sizeof(params)) < 0)
		*params = '\0';
	if (!ctl->json) {
		if (ctl->dry_run)
			printf("would load: 0 %" PRIu64 " " DMCTL_TARGET " %s\n", plan->table.length_sectors, params);
		else
			printf("%s is ready\n", path);
		return EX_OK;
	}
	root = ctl_json_new();
	json_object_update_new(root, json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:b, s:b, s:b, s:o, s:o}", "device",
					       plan->name, "path", path, "uuid", uuid, "main", plan->main.path, "spare",
					       plan->spare.path, "size_sectors", (json_int_t)plan->table.length_sectors,
					       "main_id", plan->table.main_id, "formatted", plan->format_spare, "wiped",
					       plan->wipe_spare, "dry_run", ctl->dry_run, "main_holds",
					       contents_json(&plan->main_contents), "spare_held",
					       contents_json(&plan->spare_contents)));
	return ctl_print_json(root);
}

/* The spare's UUID is known once the target has formatted it; udev rules and lists go by it. */
static int name_device(const struct ctl *ctl, struct plan *plan, char *uuid)
{
	char dm_uuid[DMCTL_UUID_BYTES], error[PROBE_ERROR_BYTES];
	struct dmctl_error dm_error;
	int status = ctl_probe_super(&plan->spare, ctl->spare_offset_sectors, &plan->super, error);

	*uuid = '\0';
	if (status)
		return ctl_fail(status, "%s", error);
	if (!plan->super.valid)
		return ctl_fail(EX_SOFTWARE, "%s is active, but its spare's superblock can't be read back", plan->name);
	ctl_format_uuid(plan->super.super.uuid, uuid);
	snprintf(dm_uuid, sizeof(dm_uuid), DMCTL_UUID_PREFIX "%s", uuid);
	if (dmctl_set_uuid(plan->name, dm_uuid, &dm_error))
		return ctl_fail_dm(&dm_error);
	return EX_OK;
}

/* The kernel tells a missing target by EINVAL as well. */
static int fail_create(const struct dmctl_error *create_error)
{
	struct dmctl_error error;
	char version[32];

	if (dmctl_target_version(version, sizeof(version), &error) == -ENOENT)
		return ctl_fail(EX_UNAVAILABLE, "%s", error.text);
	return ctl_fail_dm(create_error);
}

static int create(const struct ctl *ctl, struct plan *plan)
{
	char uuid[37] = "", question[PATH_MAX + 64], error[PROBE_ERROR_BYTES];
	struct dmctl_error dm_error;
	int status;

	if (!ctl->json)
		print_plan(plan);
	if (ctl->dry_run)
		return print_created(ctl, plan, uuid);
	if (plan->wipe_spare) {
		snprintf(question, sizeof(question), "What %s holds will be destroyed.", plan->spare.path);
		status = ctl_confirm(ctl, question);
		if (status)
			return status;
		status = ctl_probe_wipe(&plan->spare, ctl->spare_offset_sectors, error);
		if (status)
			return ctl_fail(status, "%s", error);
	}
	if (dmctl_create(plan->name, NULL, &plan->table, plan->format_spare, ctl->read_only, &dm_error))
		return fail_create(&dm_error);
	status = name_device(ctl, plan, uuid);
	return status ? status : print_created(ctl, plan, uuid);
}

int ctl_create(struct ctl *ctl, char **args)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	int status;

	if (!plan)
		return ctl_fail(EX_OSERR, "out of memory");
	status = make_plan(ctl, args, plan);
	if (!status)
		status = create(ctl, plan);
	free(plan);
	return status;
}

/* ---- remove ---- */

static int release_all(const struct dmctl_device *device)
{
	uint64_t released, refused;
	int status;

	ctl_catch_stop();
	status = ctl_release_range(device->name, 0, device->table.length_sectors, &released, &refused);
	if (status)
		return status;
	if (ctl_stop_signal)
		return ctl_fail(128 + ctl_stop_signal, "stopped: %" PRIu64 " blocks of %s are back on main, it was not removed",
				released, device->name);
	if (refused)
		return ctl_fail(EX_UNAVAILABLE,
				"%s was not removed: %" PRIu64 " blocks can't go back to main (unread or lost sectors, or main "
				"does not take them; see remapctl list %s)",
				device->name, refused, device->name);
	return EX_OK;
}

int ctl_remove(struct ctl *ctl, char **args)
{
	char user[PROBE_TEXT_BYTES] = "";
	struct dmctl_status target = { 0 };
	struct dmctl_device device;
	struct dmctl_error error;
	int status;

	if (dmctl_get(args[0], &device, &error))
		return ctl_fail_dm(&error);
	ctl_find_user(device.devno, user, sizeof(user));
	if (*user)
		return ctl_fail(EX_UNAVAILABLE, "%s is in use: %s", device.name, user);
	if (dmctl_wait_unused(args[0], UNUSED_TIMEOUT_MS, &error) || dmctl_status(args[0], &target, &error))
		return ctl_fail_dm(&error);
	if (ctl->dry_run) {
		printf("would %sremove %s\n", ctl->release_first ? "release all and " : "", device.name);
		return EX_OK;
	}
	if (ctl->release_first) {
		status = release_all(&device);
		if (status)
			return status;
		target.mapped_blocks = 0;
	}
	if (dmctl_remove(args[0], &error))
		return ctl_fail_dm(&error);
	if (target.mapped_blocks)
		fprintf(stderr,
			"remapctl: note: %" PRIu64 " blocks of %s are on the spare alone; main is stale without it: use it "
			"only through remapctl create with the same spare\n",
			target.mapped_blocks, device.name);
	if (ctl->json) {
		json_t *root = ctl_json_new();

		json_object_update_new(root, json_pack("{s:s, s:b, s:I}", "removed", device.name, "released",
						       ctl->release_first, "mapped_blocks",
						       (json_int_t)target.mapped_blocks));
		return ctl_print_json(root);
	}
	return EX_OK;
}
