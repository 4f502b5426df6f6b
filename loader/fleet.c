// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Which devices are watched: the mains of remap targets, and what the policy names. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "loader/log.h"
#include "loader/remapd.h"
#include "loader/state.h"

struct device *fleet_find(const struct daemon *d, const char *name)
{
	struct device *device;

	for (device = d->devices; device; device = device->next)
		if (!strcmp(device->name, name))
			return device;
	return NULL;
}

struct device *fleet_by_id(const struct daemon *d, uint64_t id)
{
	struct device *device;

	for (device = d->devices; device; device = device->next)
		if (device->id == id)
			return device;
	return NULL;
}

struct device *fleet_by_index(const struct daemon *d, uint32_t index)
{
	struct device *device;

	for (device = d->devices; device; device = device->next)
		if (device->index == index)
			return device;
	return NULL;
}

static void free_device(struct device *device)
{
	free(device->reads_seen);
	free(device->hists_seen);
	free(device->health);
	extent_map_free(&device->map);
	free(device);
}

static void remove_device(struct daemon *d, struct device *device)
{
	struct device **link = &d->devices;

	while (*link != device)
		link = &(*link)->next;
	*link = device->next;
	state_save_device(d, device);
	monitor_unwatch(d->monitor, device->index);
	event_add(&d->events, EVENT_DEVICE_REMOVED, LOG_NOTICE, device->name, EVENT_NO_EXTENT, "no longer watched");
	free_device(device);
}

static int init_health(struct device *device)
{
	size_t bytes = health_bytes(&device->settings.health);
	void *memory = bytes ? calloc(1, bytes) : NULL;

	if (!memory)
		return bytes ? -ENOMEM : -EINVAL;
	free(device->health);
	device->health = health_init(memory, bytes, &device->settings.health, device->size_sectors, clock_now_ns());
	if (!device->health) {
		free(memory);
		return -EINVAL;
	}
	return 0;
}

/* What was counted before this process must not look like one busy second. */
static void start_from_present_counts(struct daemon *d, struct device *device)
{
	uint32_t direction, size_class, cell;

	for (direction = 0; direction < MONITOR_DIRECTIONS; direction++)
		for (size_class = 0; size_class < MONITOR_SIZE_CLASSES; size_class++)
			monitor_read_hist(d->monitor, device->index, direction, size_class,
					  &device->hists_seen[direction][size_class]);
	for (cell = 0; cell < MONITOR_CELLS; cell++)
		device->reads_seen[cell] = device->cells[cell].ios[MONITOR_READ];
	device->period_at_ns = clock_now_ns();
}

static int watch_device(struct daemon *d, struct device *device, bool *counts_on)
{
	struct monitor_range range = {
		.disk_dev = kernel_devno(device->main.disk_devno),
		.part_dev = device->main.partition ? kernel_devno(device->main.devno) : 0,
		.part_first_sector = device->main.first_sector,
		.disk_first_sector = device->main.first_sector + device->main_first_sector,
		.nr_sectors = device->size_sectors,
		.diskseq = device->main.diskseq,
		.bio_based = device->main.bio_based,
	};
	int err;

	snprintf(range.name, sizeof(range.name), "%.31s", device->name);
	err = monitor_watch(d->monitor, &range, &device->index, counts_on);
	if (err)
		return err;
	device->cells = monitor_cells(d->monitor, device->index);
	device->cell_shift = monitor_cell_shift(d->monitor, device->index);
	return 0;
}

/* Takes over *model, which is freed by the caller. */
static void add_device(struct daemon *d, const struct device *model)
{
	struct device *device = malloc(sizeof(*device)), **link;
	bool counts_on = false, restored;
	int err;

	if (!device)
		return;
	*device = *model;
	device->id = ++d->next_device_id;
	device->reads_seen = calloc(MONITOR_CELLS, sizeof(*device->reads_seen));
	device->hists_seen = calloc(MONITOR_DIRECTIONS, sizeof(*device->hists_seen));
	err = device->reads_seen && device->hists_seen ? init_health(device) : -ENOMEM;
	if (!err)
		err = watch_device(d, device, &counts_on);
	if (err) {
		log_line(LOG_ERR, "%s: can't be watched: %s%s", device->name, strerror(-err),
			 err == -ENOSPC ? " (at most 64 devices, 8 on one disk)" : "");
		free_device(device);
		return;
	}
	start_from_present_counts(d, device);
	device->map_stale = device->has_target;
	device->seen = true;
	for (link = &d->devices; *link && strcmp((*link)->name, device->name) < 0; link = &(*link)->next)
		;
	device->next = *link;
	*link = device;
	restored = state_restore_device(d, device);
	judge_set_slow(d, device);
	event_add(&d->events, EVENT_DEVICE_ADDED, LOG_NOTICE, device->name, EVENT_NO_EXTENT,
		  "watched on %s%s%s, %llu sectors, mode %s%s%s", device->main.name, device->has_target ? ", spare " : "",
		  device->spare_name, (unsigned long long)device->size_sectors, policy_mode_name(device->settings.mode),
		  counts_on ? ", counts on" : "", restored ? ", evidence restored" : "");
}

static bool same_place(const struct device *device, const struct device *model)
{
	return device->main.devno == model->main.devno && device->main.diskseq == model->main.diskseq &&
	       device->main.first_sector == model->main.first_sector && device->has_target == model->has_target &&
	       device->main_first_sector == model->main_first_sector &&
	       device->settings.health.extent_sectors == model->settings.health.extent_sectors &&
	       device->settings.health.table_extents == model->settings.health.table_extents;
}

static void update_device(struct daemon *d, struct device *device, const struct device *model)
{
	if (device->size_sectors != model->size_sectors) {
		if (monitor_resize(d->monitor, device->index, model->size_sectors)) {
			remove_device(d, device);
			add_device(d, model);
			return;
		}
		device->size_sectors = model->size_sectors;
		health_resize(device->health, model->size_sectors);
	}
	device->main = model->main;
	device->target = model->target;
	memcpy(device->spare_name, model->spare_name, sizeof(device->spare_name));
	if (device->settings.mode != model->settings.mode)
		event_add(&d->events, EVENT_POLICY, LOG_NOTICE, device->name, EVENT_NO_EXTENT, "mode %s, was %s",
			  policy_mode_name(model->settings.mode), policy_mode_name(device->settings.mode));
	device->settings = model->settings;
	health_set_options(device->health, &device->settings.health);
	device->seen = true;
}

/* model: main, size and target are set. Enters it or finds that it is there. */
static void consider(struct daemon *d, struct device *model)
{
	struct policy_identity identity = {
		.dm_name = model->has_target ? model->name : NULL,
		.kernel_name = model->main.name,
		.wwn = model->main.wwn,
		.serial = model->main.serial,
	};
	struct device *device = fleet_find(d, model->name);

	if (!model->size_sectors || !policy_select(&d->policy, &identity, &model->settings))
		return;
	if (d->fell_back && model->settings.mode == POLICY_ACT)
		model->settings.mode = POLICY_OBSERVE;
	if (device && same_place(device, model)) {
		update_device(d, device, model);
		return;
	}
	if (device)
		remove_device(d, device);
	add_device(d, model);
}

static void scan_targets(struct daemon *d, struct dmctl_device *targets, size_t count)
{
	struct device *model = malloc(sizeof(*model));
	struct block_device spare;
	size_t i;

	for (i = 0; model && i < count; i++) {
		const struct dmctl_device *target = &targets[i];

		*model = (struct device){ .has_target = true, .target = *target };
		if (!target->live_table || block_device_by_devno(target->main_devno, &model->main))
			continue;
		snprintf(model->name, sizeof(model->name), "%s", target->name);
		model->size_sectors = target->table.length_sectors;
		model->main_first_sector = target->table.main_offset_sectors;
		if (!block_device_by_devno(target->spare_devno, &spare))
			memcpy(model->spare_name, spare.name, sizeof(model->spare_name));
		consider(d, model);
	}
	free(model);
}

static bool belongs_to_target(const struct block_device *block, const struct dmctl_device *targets, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (targets[i].devno == block->devno || targets[i].main_devno == block->devno)
			return true;
	return false;
}

static void scan_named(struct daemon *d, const struct dmctl_device *targets, size_t target_count)
{
	struct device *model = malloc(sizeof(*model));
	char(*names)[DEVICE_NAME_BYTES];
	size_t count, i;

	if (model && !block_device_names(&names, &count)) {
		for (i = 0; i < count; i++) {
			*model = (struct device){};
			if (block_device_by_name(names[i], &model->main) ||
			    belongs_to_target(&model->main, targets, target_count))
				continue;
			snprintf(model->name, sizeof(model->name), "%s", model->main.name);
			model->size_sectors = model->main.size_sectors;
			consider(d, model);
		}
		free(names);
	}
	free(model);
}

void fleet_scan(struct daemon *d)
{
	struct dmctl_device *targets = NULL;
	struct device *device, *next;
	struct dmctl_error error;
	bool any_target = false;
	size_t count = 0;
	int err;

	d->scan_due = false;
	d->scanned_at_ns = clock_now_ns();
	err = dmctl_list(&targets, &count, &error);
	if (err && err != -ENODEV) {
		/* Not knowing is not the same as gone: what is watched stays watched. */
		log_line(LOG_WARNING, "can't list device-mapper devices: %s", error.text);
		return;
	}
	if (err && !d->dm_absent_said)
		log_line(LOG_INFO, "no device-mapper in this kernel: only devices that the policy names are watched");
	d->dm_absent_said = err != 0;

	for (device = d->devices; device; device = device->next)
		device->seen = false;
	scan_targets(d, targets, count);
	scan_named(d, targets, count);
	for (device = d->devices; device; device = next) {
		next = device->next;
		if (!device->seen)
			remove_device(d, device);
		else if (device->has_target)
			any_target = true;
	}
	if (any_target)
		monitor_attach_module(d->monitor);
	else
		monitor_detach_module(d->monitor);
	if (!d->scanned_once)
		monitor_forget_unclaimed(d->monitor);
	d->scanned_once = true;
	free(targets);
}

void fleet_apply_policy(struct daemon *d)
{
	struct device *device;

	fleet_scan(d);
	for (device = d->devices; device; device = device->next)
		judge_set_slow(d, device);
}

void fleet_forget_all(struct daemon *d)
{
	struct device *device;

	while ((device = d->devices)) {
		d->devices = device->next;
		state_save_device(d, device);
		free_device(device);
	}
}
