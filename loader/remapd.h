/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The daemon's own structures: one struct daemon, one struct device for each watched device. All of it belongs to the main
 * loop's thread; jobs (actor.h) get copies.
 */
#ifndef REMAP_REMAPD_H
#define REMAP_REMAPD_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "loader/clock.h"
#include "loader/devices.h"
#include "loader/dmctl.h"
#include "loader/events.h"
#include "loader/health.h"
#include "loader/monitor.h"
#include "loader/policy.h"
#include "loader/policy_file.h"

#ifndef REMAP_VERSION
#define REMAP_VERSION "0.1.0"
#endif

/* How often the device's latencies and exposure go to the model. */
#define PERIOD_NS (5ULL * 1000 * 1000 * 1000)

/* What the target's map holds of one extent. */
struct extent_map_entry {
	uint64_t extent;
	uint32_t mapped_sectors;
	uint32_t failed_sectors; /* of these, moved because an I/O failed, not because somebody asked */
	uint32_t unread_sectors;
	uint32_t lost_sectors;
};

struct extent_map {
	struct extent_map_entry *entries; /* by extent */
	size_t count;
	size_t room;
};

struct device {
	struct device *next;
	uint64_t id; /* never used twice; what jobs remember instead of a pointer */
	char name[DMCTL_NAME_BYTES]; /* what every command takes */
	bool seen; /* in the scan that is going on */

	struct block_device main;
	bool has_target;
	struct dmctl_device target;
	bool has_status;
	struct dmctl_status status;
	char spare_name[DEVICE_NAME_BYTES]; /* "" where none */
	uint64_t size_sectors; /* of what is shown: the remap device, or the main itself */
	uint64_t main_first_sector; /* of main itself */

	uint32_t index; /* in the monitor's maps */
	const struct monitor_cell *cells;
	unsigned int cell_shift;
	uint32_t *reads_seen; /* by cell, at the last period */
	struct monitor_hist (*hists_seen)[MONITOR_SIZE_CLASSES]; /* by direction, at the last period */
	uint64_t period_at_ns;

	struct policy_settings settings;
	struct policy_budget budget;
	struct health *health;

	struct extent_map map;
	bool map_stale; /* to be read again */
	bool map_job, probe_job, move_job; /* one of each at a time */

	uint32_t held_guards; /* bits by enum policy_guard, of the last round */
	uint64_t would_relocate_total;
	uint64_t relocated_extents_total;
	uint64_t relocation_failures_total;
	double last_relocation_at; /* Unix seconds; 0: never */
	double last_action_at;
	uint64_t last_action_extent;
	char last_action_text[EVENT_TEXT_BYTES];
};

struct daemon {
	sd_event *loop;
	struct monitor_set *monitor;
	const char *pin_dir;
	const char *policy_path;
	bool policy_path_given;
	const char *socket_path;
	const char *state_dir;

	struct policy policy;
	double policy_loaded_at;
	char policy_error[POLICY_ERROR_MAX]; /* of the last reload; "" if it was taken */

	struct device *devices;
	uint64_t next_device_id;
	bool scan_due;
	uint64_t scanned_at_ns;
	bool scanned_once;
	bool dm_absent_said;

	struct event_log events;
	double started_at;
	bool stopping;
	bool frozen; /* by FREEZE_FILE or the kernel command line */
	bool frozen_at_boot;
	bool fell_back; /* crashes in a row: observes only */

	uint64_t counters[MONITOR_COUNTERS]; /* as last read */
	uint64_t dropped_events_at_ns;
};

/* ---- fleet.c ---- */

/* Brings the list of watched devices up to date with the machine and the policy. */
void fleet_scan(struct daemon *d);
struct device *fleet_find(const struct daemon *d, const char *name);
struct device *fleet_by_id(const struct daemon *d, uint64_t id);
struct device *fleet_by_index(const struct daemon *d, uint32_t index);
/* The policy changed: modes and limits of all devices, and who is watched at all. */
void fleet_apply_policy(struct daemon *d);
void fleet_forget_all(struct daemon *d);

/* ---- judge.c ---- */

/* One unusual completion of the monitor's. */
void judge_event(struct daemon *d, const struct monitor_event *event);
/* Once a second: numbers to the model, decisions from the policy, jobs to the actor. */
void judge_round(struct daemon *d);
/* What the policy is told of a device and of the others. */
void judge_policy_state(const struct daemon *d, const struct device *device, uint64_t now_ns,
			struct health_device *summary, struct policy_state *state);
/* What the monitor shall pass on as slow from now on. */
void judge_set_slow(struct daemon *d, struct device *device);

/* ---- extent_map.c ---- */

const struct extent_map_entry *extent_map_find(const struct extent_map *map, uint64_t extent);
/* Adds a run, which must not lie before one that was added earlier. -ENOMEM. */
int extent_map_add(struct extent_map *map, uint32_t extent_sectors, const struct dmctl_run *run);
void extent_map_free(struct extent_map *map);
/* Takes over a map that a job read, and tells the model what is moved now and what is back. */
void extent_map_take(struct device *device, struct extent_map *map, uint64_t now_ns);

static inline uint32_t device_extent_sectors(const struct device *device)
{
	return device->settings.health.extent_sectors;
}

static inline uint64_t device_extents(const struct device *device)
{
	uint32_t extent_sectors = device_extent_sectors(device);

	return (device->size_sectors + extent_sectors - 1) / extent_sectors;
}

#endif
