// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* remapctl status, list. */
#include <blkid/blkid.h>
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "loader/client.h"
#include "loader/ctl.h"
#include "loader/ctl_probe.h"
#include "loader/ctl_stale.h"

/* From this on, moved blocks that lie side by side are more than signatures of a healthy disk (remapctl create). */
#define EXTENT_SECTORS 2048

static const struct {
	const char *health;
	const char *color;
} health_colors[] = {
	{ "OK", "green" },
	{ "WARN", "brown" },
	{ "BAD", "red" },
};

/* ---- the same object that remapd gives, as far as device-mapper alone knows it ---- */

static void kernel_name(dev_t devno, const char *word, char *name, size_t name_bytes)
{
	char path[64], target[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(devno), minor(devno));
	if (devno && realpath(path, target))
		snprintf(name, name_bytes, "%s", basename(target));
	else
		snprintf(name, name_bytes, "%s", word);
}

/* Stops at a run that tells of trouble: blocks that failed, or a whole extent that was moved before it could. */
static int run_of_trouble(const struct dmctl_run *run, void *data)
{
	(void)data;
	return run->reason != DMCTL_REASON_PROACTIVE || run->count >= EXTENT_SECTORS;
}

static const char *health_of(const char *name, const struct dmctl_status *target)
{
	if (target->lost_sectors || target->mode == DMCTL_MODE_FAILED || target->mode == DMCTL_MODE_NO_NEW_MAPS)
		return "BAD";
	if (target->unread_sectors || target->retired_blocks || target->fenced_copies ||
	    target->main_state != DMCTL_MAIN_OK || dmctl_list_runs(name, 0, run_of_trouble, NULL, NULL))
		return "WARN";
	return "OK";
}

static json_t *target_json(const struct dmctl_status *target)
{
	json_t *object = json_pack("{s:s, s:s}", "mode", target->mode_word, "main_state", target->main_state_word);

#define DMCTL_X(word) json_object_set_new(object, #word, json_integer((json_int_t)target->word));
	DMCTL_STATUS_NUMBERS(DMCTL_X)
#undef DMCTL_X
	return object;
}

static json_t *device_json(const struct dmctl_device *device, const struct dmctl_status *target)
{
	char main[256], spare[256];
	uint64_t block_bytes = target->block_sectors * 512;

	kernel_name(device->main_devno, device->table.main_dev, main, sizeof(main));
	kernel_name(device->spare_devno, device->table.spare_dev, spare, sizeof(spare));
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:o, s:I, s:I, s:I}", "device", device->name, "dm_name",
			 device->name, "main", main, "spare", spare, "size_sectors",
			 (json_int_t)device->table.length_sectors, "health", health_of(device->name, target), "target",
			 target_json(target), "spare_size_bytes",
			 (json_int_t)((target->mapped_blocks + target->free_blocks + target->retired_blocks) *
				      block_bytes),
			 "spare_used_bytes", (json_int_t)(target->mapped_blocks * block_bytes), "spare_retired_bytes",
			 (json_int_t)(target->retired_blocks * block_bytes));
}

static int devices_from_dm(json_t *devices)
{
	struct dmctl_device *device = NULL;
	struct dmctl_error error;
	size_t count, i;

	if (dmctl_list(&device, &count, &error))
		return ctl_fail_dm(&error);
	for (i = 0; i < count; i++) {
		struct dmctl_status target;
		int err = dmctl_status(device[i].name, &target, &error);

		if (err == -ENXIO || err == -EMEDIUMTYPE)
			continue;
		if (err) {
			free(device);
			return ctl_fail_dm(&error);
		}
		json_array_append_new(devices, device_json(&device[i], &target));
	}
	free(device);
	return EX_OK;
}

/* ---- printing ---- */

static json_int_t number_of(json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static const char *string_of(json_t *object, const char *key, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && *text ? text : otherwise;
}

static void format_age(double at, char *text, size_t text_bytes)
{
	long long age_s = (long long)time(NULL) - (long long)at;

	if (age_s < 0)
		age_s = 0;
	if (age_s < 120)
		snprintf(text, text_bytes, "%llds ago", age_s);
	else if (age_s < 7200)
		snprintf(text, text_bytes, "%lldm ago", age_s / 60);
	else if (age_s < 48 * 3600)
		snprintf(text, text_bytes, "%lldh ago", age_s / 3600);
	else
		snprintf(text, text_bytes, "%lldd ago", age_s / 86400);
}

static void format_spare(json_t *device, char *text, size_t text_bytes)
{
	json_int_t bytes = number_of(device, "spare_size_bytes");
	json_int_t used = number_of(device, "spare_used_bytes") + number_of(device, "spare_retired_bytes");
	char total[24];

	if (bytes <= 0) {
		snprintf(text, text_bytes, "none");
		return;
	}
	ctl_format_sectors(bytes / 512, total);
	/* Something used is never shown as nothing. */
	snprintf(text, text_bytes, "%lld%% of %s", (long long)(used ? (used * 100 + bytes - 1) / bytes : 0), total);
}

static void format_last_action(json_t *device, char *text, size_t text_bytes)
{
	json_t *action = json_object_get(device, "last_action");
	char age[32];

	if (!json_is_object(action)) {
		snprintf(text, text_bytes, "-");
		return;
	}
	format_age(json_number_value(json_object_get(action, "at")), age, sizeof(age));
	snprintf(text, text_bytes, "%s, %s", age, string_of(action, "text", "?"));
}

static void format_count(json_t *object, const char *key, char *text, size_t text_bytes)
{
	json_t *value = json_object_get(object, key);

	if (json_is_integer(value))
		snprintf(text, text_bytes, "%lld", (long long)json_integer_value(value));
	else
		snprintf(text, text_bytes, "-");
}

static int add_row(struct libscols_table *table, json_t *device)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	json_t *target = json_object_get(device, "target");
	const char *health = string_of(device, "health", "?");
	char text[160];
	size_t i;
	int err;

	if (!line)
		return -ENOMEM;
	err = scols_line_set_data(line, 0, string_of(device, "device", "?"));
	err |= scols_line_set_data(line, 1, health);
	for (i = 0; i < sizeof(health_colors) / sizeof(*health_colors); i++)
		if (!strcmp(health, health_colors[i].health))
			scols_cell_set_color(scols_line_get_cell(line, 1), health_colors[i].color);
	format_spare(device, text, sizeof(text));
	err |= scols_line_set_data(line, 2, text);
	format_count(target, "mapped_blocks", text, sizeof(text));
	err |= scols_line_set_data(line, 3, text);
	format_count(json_object_get(device, "extent_states"), "suspect", text, sizeof(text));
	err |= scols_line_set_data(line, 4, text);
	format_count(target, "lost_sectors", text, sizeof(text));
	err |= scols_line_set_data(line, 5, text);
	format_last_action(device, text, sizeof(text));
	err |= scols_line_set_data(line, 6, text);
	return err;
}

static int print_table(const struct ctl *ctl, json_t *devices)
{
	static const struct {
		const char *title;
		int flags;
	} columns[] = {
		{ "DEVICE", 0 }, { "HEALTH", 0 }, { "SPARE", SCOLS_FL_RIGHT }, { "MOVED", SCOLS_FL_RIGHT },
		{ "SUSPECT", SCOLS_FL_RIGHT }, { "LOST", SCOLS_FL_RIGHT }, { "LAST ACTION", 0 },
	};
	struct libscols_table *table;
	json_t *device;
	size_t i;
	int err = 0;

	if (!json_array_size(devices)) {
		puts("no remap device (remapctl create makes one)");
		return EX_OK;
	}
	scols_init_debug(0);
	table = scols_new_table();
	if (!table)
		return ctl_fail(EX_OSERR, "out of memory");
	scols_table_enable_colors(table, ctl->color);
	for (i = 0; i < sizeof(columns) / sizeof(*columns) && !err; i++)
		err = scols_table_new_column(table, columns[i].title, 0, columns[i].flags) ? 0 : -ENOMEM;
	json_array_foreach(devices, i, device)
		err = err ? err : add_row(table, device);
	if (!err)
		err = scols_print_table(table);
	scols_unref_table(table);
	return err ? ctl_fail(EX_OSERR, "can't print the table") : EX_OK;
}

static void print_details(json_t *device)
{
	static const char *const groups[] = { "target", "extent_states" };
	json_t *held = json_object_get(device, "held"), *guard;
	char text[160];
	size_t i;

	printf("%-20s %s\n", "device", string_of(device, "device", "?"));
	printf("%-20s %s\n", "health", string_of(device, "health", "?"));
	printf("%-20s %s\n", "main", string_of(device, "main", "-"));
	printf("%-20s %s\n", "spare", string_of(device, "spare", "-"));
	ctl_format_sectors((uint64_t)number_of(device, "size_sectors"), text);
	printf("%-20s %s\n", "size", text);
	if (json_object_get(device, "stamped"))
		printf("%-20s %s\n", "main is stamped", string_of(device, "stamped", "?"));
	format_spare(device, text, sizeof(text));
	printf("%-20s %s\n", "spare used", text);
	if (json_object_get(device, "policy_mode"))
		printf("%-20s %s\n", "policy", string_of(device, "policy_mode", "?"));
	json_array_foreach(held, i, guard)
		printf("%-20s %s\n", i ? "" : "held by", json_string_value(guard) ? json_string_value(guard) : "?");
	format_last_action(device, text, sizeof(text));
	printf("%-20s %s\n", "last action", text);
	for (i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		json_t *group = json_object_get(device, groups[i]), *value;
		const char *key;

		json_object_foreach(group, key, value) {
			if (json_is_string(value))
				printf("%s%-20s %s\n", i ? "extents " : "", key, json_string_value(value));
			else
				printf("%s%-*s %lld\n", i ? "extents " : "", i ? 12 : 20, key,
				       (long long)json_integer_value(value));
		}
	}
}

static json_t *find_device(json_t *devices, const char *name)
{
	json_t *device;
	size_t i;

	json_array_foreach(devices, i, device) {
		const char *known = json_string_value(json_object_get(device, "device"));

		if (known && !strcmp(known, name))
			return device;
	}
	return NULL;
}

/* *devices: a new list. *source: who gave it. */
static int ask_devices(const struct ctl *ctl, json_t **devices, const char **source)
{
	char error_text[CLIENT_ERROR_BYTES];
	json_t *request = json_pack("{s:s}", "command", REMAP_CMD_STATE), *answer = NULL, *list;
	int err = client_ask(ctl->socket_path, request, CTL_SOCKET_TIMEOUT_MS, &answer, error_text);

	json_decref(request);
	if (!err) {
		list = json_object_get(answer, "devices");
		*devices = json_is_array(list) ? json_incref(list) : json_array();
		*source = "remapd";
		json_decref(answer);
		return EX_OK;
	}
	if (err != -ENOENT && err != -ECONNREFUSED)
		fprintf(stderr, "remapctl: note: %s; asking device-mapper alone\n", error_text);
	*devices = json_array();
	*source = "device-mapper";
	return devices_from_dm(*devices);
}

/* One sector of main is read for this; of one that does not answer, none. */
static void add_stamped(json_t *device, const char *name)
{
	enum stamp_found found = STAMP_UNKNOWN;
	struct dmctl_device known;
	struct dmctl_status target;
	struct stamp stamp;
	char *path = NULL;

	if (dmctl_get(name, &known, NULL) || dmctl_status(name, &target, NULL))
		return;
	if (target.main_state == DMCTL_MAIN_OK)
		path = blkid_devno_to_devname(known.main_devno);
	if (path)
		found = stale_look(path, known.table.main_offset_sectors, known.table.length_sectors, &stamp);
	free(path);
	json_object_set_new(device, "stamped", json_string(stale_word(found)));
}

int ctl_status(struct ctl *ctl, char **args)
{
	json_t *devices = NULL, *device = NULL, *root;
	const char *source = NULL;
	int status = ask_devices(ctl, &devices, &source);

	if (!status && args[0]) {
		device = find_device(devices, args[0]);
		if (!device)
			status = ctl_fail(EX_NOINPUT, "no device %s is known to %s", args[0], source);
		else
			add_stamped(device, args[0]);
	}
	if (status) {
		json_decref(devices);
		return status;
	}
	if (ctl->json) {
		root = ctl_json_new();
		json_object_set_new(root, "source", json_string(source));
		json_object_set_new(root, "devices", device ? json_pack("[O]", device) : json_incref(devices));
		status = ctl_print_json(root);
	} else if (device) {
		print_details(device);
	} else {
		status = print_table(ctl, devices);
	}
	if (!status && !ctl->json && strcmp(source, "remapd"))
		fprintf(stderr, "remapctl: note: remapd is not running: nothing is predicted or moved in advance\n");
	json_decref(devices);
	return status;
}

/* ---- list ---- */

static int print_run(const struct dmctl_run *run, void *data)
{
	(void)data;
	printf("%12" PRIu64 " %8" PRIu64 " %12" PRIu64 " %7" PRIu64 " %5" PRIu64 "  %s\n", run->sector, run->count,
	       run->spare_sector, run->unread, run->lost, dmctl_reason_word(run->reason));
	return ferror(stdout) ? -EIO : 0;
}

static int append_run(const struct dmctl_run *run, void *data)
{
	json_t *object = json_pack("{s:I, s:I, s:I, s:I, s:I, s:s}", "sector", (json_int_t)run->sector, "count",
				   (json_int_t)run->count, "spare_sector", (json_int_t)run->spare_sector, "unread",
				   (json_int_t)run->unread, "lost", (json_int_t)run->lost, "reason",
				   dmctl_reason_word(run->reason));

	return json_array_append_new(data, object) ? -ENOMEM : 0;
}

int ctl_list(struct ctl *ctl, char **args)
{
	struct dmctl_device device;
	struct dmctl_error error = { 0 };
	json_t *runs, *root;
	int err;

	if (dmctl_get(args[0], &device, &error))
		return ctl_fail_dm(&error);
	if (!ctl->json) {
		printf("%12s %8s %12s %7s %5s  %s\n", "SECTOR", "COUNT", "SPARE SECTOR", "UNREAD", "LOST", "REASON");
		err = dmctl_list_runs(args[0], 0, print_run, NULL, &error);
		if (err && !error.err)
			return ctl_fail(EX_IOERR, "can't write to stdout");
		return err ? ctl_fail_dm(&error) : EX_OK;
	}
	runs = json_array();
	err = dmctl_list_runs(args[0], 0, append_run, runs, &error);
	if (err) {
		json_decref(runs);
		return error.err ? ctl_fail_dm(&error) : ctl_fail(EX_OSERR, "out of memory");
	}
	root = ctl_json_new();
	json_object_set_new(root, "device", json_string(args[0]));
	json_object_set_new(root, "runs", runs);
	return ctl_print_json(root);
}
