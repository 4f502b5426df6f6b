// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* remapctl create, assemble. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "loader/ctl_badmap.h"
#include "loader/ctl_plan.h"

static void print_plan(const struct plan *plan)
{
	size_t i, main_contents = plan->main_contents.count;
	char size[24], uuid[37];

	ctl_format_sectors(plan->main.size_sectors, size);
	printf("main   %s  %s  %s\n", plan->main.path, size,
	       *plan->table.main_id ? plan->table.main_id :
				      "no WWN, PARTUUID or serial: known by its size alone (--main-id names it)");
	if (plan->stamp_found == STAMP_OK || plan->stamp_found == STAMP_DAMAGED) {
		printf("         is stamped \"" STAMP_LABEL "\"\n");
		main_contents = 0;
	}
	for (i = 0; i < main_contents; i++)
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

/* @import: what came of --import, or NULL; taken. */
static int print_created(const struct ctl *ctl, const struct plan *plan, const char *uuid, json_t *import)
{
	char params[1024], path[DMCTL_NAME_BYTES + 16];
	json_t *root;

	snprintf(path, sizeof(path), "/dev/mapper/%s", plan->name);
	if (dmctl_format_table(&plan->table, plan->format_spare, params, sizeof(params)) < 0)
		*params = '\0';
	if (!ctl->json) {
		json_decref(import);
		if (ctl->dry_run)
			printf("would load: 0 %" PRIu64 " " DMCTL_TARGET " %s\n", plan->table.length_sectors, params);
		else if (plan->stale.stamped_blocks)
			printf("%s is ready; main is stamped, copies are in %s/%s.main\n", path, ctl->state_dir, uuid);
		else
			printf("%s is ready\n", path);
		if (ctl->dry_run && ctl->import)
			printf("would move: %" PRIu64 " sectors of %s\n", plan->import.sectors, ctl->import);
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
	json_object_update_new(root, json_pack("{s:I, s:I}", "stamped_blocks", (json_int_t)plan->stale.stamped_blocks,
					       "unstamped_blocks", (json_int_t)plan->stale.left_blocks));
	json_object_set_new(root, "import", import ? import : json_null());
	return ctl_print_json(root);
}

/* The spare's UUID is known once the target has formatted it; udev rules and lists go by it. */
static int name_device(const struct ctl *ctl, struct plan *plan, char *uuid)
{
	char dm_uuid[DMCTL_UUID_BYTES], error[PROBE_ERROR_BYTES];
	struct dmctl_device device;
	struct dmctl_error dm_error;
	int status = ctl_probe_super(&plan->spare, ctl->spare_offset_sectors, &plan->super, error);

	*uuid = '\0';
	if (status)
		return ctl_fail(status, "%s", error);
	if (!plan->super.valid)
		return ctl_fail(EX_SOFTWARE, "%s is active, but its spare's superblock can't be read back", plan->name);
	ctl_format_uuid(plan->super.super.uuid, uuid);
	snprintf(dm_uuid, sizeof(dm_uuid), DMCTL_UUID_PREFIX "%s", uuid);
	if (dmctl_get(plan->name, &device, &dm_error) ||
	    (!*device.uuid && dmctl_set_uuid(plan->name, dm_uuid, &dm_error)))
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

/*
 * The device works, stamped or not: what fails here has been said, and is done again by the next assemble. Only a signal
 * ends the command.
 */
static int mark(const struct ctl *ctl, struct plan *plan)
{
	struct dmctl_device device;
	struct dmctl_error error;
	struct stale stale;
	int status;

	if (ctl->no_stamp || ctl->read_only)
		return EX_OK;
	if (dmctl_get(plan->name, &device, &error))
		return ctl_fail_dm(&error);
	ctl_catch_stop();
	status = stale_open(&stale, ctl, &device);
	if (!status) {
		status = stale_mark(&stale, &plan->stale);
		if (!status)
			stale_print_left(&stale, &plan->stale);
		stale_close(&stale);
	}
	stale_tell_udev(device.main_devno, device.spare_devno);
	if (status && status <= 128)
		status = ctl_fail(EX_OK, "warning: %s is active, but its main is not stamped: never use %s by itself",
				  plan->name, plan->main.path);
	return status;
}

static int create(const struct ctl *ctl, struct plan *plan)
{
	char uuid[37] = "", question[PATH_MAX + 64], error[PROBE_ERROR_BYTES];
	struct dmctl_error dm_error;
	json_t *import = NULL;
	int status, import_status = EX_OK;

	if (!ctl->json)
		print_plan(plan);
	if (ctl->dry_run)
		return print_created(ctl, plan, uuid, NULL);
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
	if (!status)
		status = mark(ctl, plan);
	if (status)
		return status;
	if (ctl->import)
		import_status = ctl_import_move(ctl, plan->name, plan->table.length_sectors, &plan->import, &import);
	status = print_created(ctl, plan, uuid, import);
	return import_status ? import_status : status;
}

int ctl_create(struct ctl *ctl, char **args)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	int status;

	if (!plan)
		return ctl_fail(EX_OSERR, "out of memory");
	status = ctl_import_read(ctl, &plan->import);
	if (!status)
		status = ctl_make_plan(ctl, args, plan);
	if (!status)
		status = create(ctl, plan);
	badmap_free(&plan->import);
	free(plan);
	return status;
}

/* ---- assemble ---- */

/* The device is there already: what is left to be stamped is done, and a name that was not given is. */
static int complete(const struct ctl *ctl, char **args, struct plan *plan, const struct dmctl_device *device)
{
	char uuid[37], error[PROBE_ERROR_BYTES];
	int status = ctl_probe_device(args[1], &plan->main, error);

	if (!status)
		status = ctl_probe_device(args[2], &plan->spare, error);
	if (status)
		return ctl_fail(status, "%s", error);
	if (plan->main.devno != device->main_devno || plan->spare.devno != device->spare_devno)
		return ctl_fail(EX_DATAERR, "%s exists already, of other devices than %s and %s", args[0], args[1],
				args[2]);
	plan->table = device->table;
	if (ctl->dry_run) {
		printf("%s is active already\n", args[0]);
		return EX_OK;
	}
	status = name_device(ctl, plan, uuid);
	if (!status && !device->read_only)
		status = mark(ctl, plan);
	return status ? status : print_created(ctl, plan, uuid, NULL);
}

int ctl_assemble(struct ctl *ctl, char **args)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	struct dmctl_device device;
	int status;

	if (!plan)
		return ctl_fail(EX_OSERR, "out of memory");
	plan->name = args[0];
	plan->assemble = true;
	if (!dmctl_get(args[0], &device, NULL)) {
		status = complete(ctl, args, plan, &device);
	} else {
		status = ctl_make_plan(ctl, args, plan);
		if (!status)
			status = create(ctl, plan);
	}
	free(plan);
	return status;
}
