// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* From what the monitor saw to what the actor does: feeds the model, asks the policy, sends off the jobs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loader/actor.h"
#include "loader/log.h"
#include "loader/remapd.h"

#define REVIEW_MAX 64
#define CHANGES_MAX 64
#define FREEZE_FILE "/run/dm-remap/freeze" /* while it exists nothing is moved */

static enum health_class health_class_of(uint8_t error_class)
{
	switch (error_class) {
	case MONITOR_ERROR_MEDIUM:
		return HEALTH_CLASS_MEDIUM;
	case MONITOR_ERROR_TRANSPORT:
		return HEALTH_CLASS_TRANSPORT;
	case MONITOR_ERROR_TIMEOUT:
		return HEALTH_CLASS_TIMEOUT;
	case MONITOR_ERROR_OTHER:
		return HEALTH_CLASS_OTHER;
	default:
		return HEALTH_CLASS_OK;
	}
}

void judge_event(struct daemon *d, const struct monitor_event *event)
{
	struct device *device = fleet_by_index(d, event->device);
	struct health_io io;

	if (!device || device->main.diskseq != event->diskseq)
		return;
	io = (struct health_io){
		.dir = event->direction == MONITOR_READ ? HEALTH_READ : HEALTH_WRITE,
		.class = health_class_of(event->error_class),
		.sector = event->sector,
		.sectors = event->nr_sectors,
		.completed_ns = clock_of_monotonic(event->end_ns),
	};
	io.issued_ns = io.completed_ns - event->latency_us * 1000ULL;
	log_line(LOG_DEBUG, "%s: %s of %u sectors at %llu: %s, %.1f ms", device->name,
		 io.dir == HEALTH_READ ? "read" : "write", io.sectors, (unsigned long long)io.sector,
		 io.class == HEALTH_CLASS_OK ? "slow" : health_class_name(io.class), event->latency_us / 1e3);
	health_io(device->health, &io);
}

void judge_set_slow(struct daemon *d, struct device *device)
{
	static const uint32_t class_sectors[MONITOR_SIZE_CLASSES] = { 8, 64, 512, 2048 };
	uint32_t slow_us[MONITOR_DIRECTIONS][MONITOR_SIZE_CLASSES];
	uint32_t direction, size_class;

	for (direction = 0; direction < MONITOR_DIRECTIONS; direction++)
		for (size_class = 0; size_class < MONITOR_SIZE_CLASSES; size_class++) {
			uint64_t us = health_slow_ns(device->health, direction == MONITOR_READ ? HEALTH_READ : HEALTH_WRITE,
						     class_sectors[size_class]) / 1000;

			slow_us[direction][size_class] = us > UINT32_MAX ? UINT32_MAX : us ? us : 1;
		}
	monitor_set_slow(d->monitor, device->index, slow_us);
}

/* ---- the period ---- */

/* The latency below which this share of the I/Os between two readings stayed. */
static uint64_t quantile_ns(const struct monitor_hist *now, const struct monitor_hist *before, double share)
{
	uint64_t wanted = (now->count - before->count) * share, seen = 0;
	unsigned int i;

	for (i = 0; i < MONITOR_BUCKETS; i++) {
		seen += now->buckets[i] - before->buckets[i];
		if (seen > wanted)
			break;
	}
	if (i >= MONITOR_BUCKETS - 1)
		return 1000 * (1ULL << 26);
	return 1000 * monitor_bucket_end_us(i);
}

static void feed_latencies(struct daemon *d, struct device *device, uint64_t now_ns)
{
	struct health_period period = {};
	uint32_t direction, size_class;
	struct monitor_hist hist;

	for (direction = 0; direction < MONITOR_DIRECTIONS; direction++)
		for (size_class = 0; size_class < MONITOR_SIZE_CLASSES; size_class++) {
			struct monitor_hist *seen = &device->hists_seen[direction][size_class];
			struct health_latency *latency = &period.lat[direction][size_class];

			if (monitor_read_hist(d->monitor, device->index, direction, size_class, &hist))
				continue;
			latency->count = hist.count - seen->count;
			if (latency->count) {
				latency->median_ns = quantile_ns(&hist, seen, 0.5);
				latency->p99_ns = quantile_ns(&hist, seen, 0.99);
			}
			*seen = hist;
		}
	health_period(device->health, &period, now_ns);
}

static void feed_exposure(struct device *device, uint64_t elapsed_ns, uint64_t now_ns)
{
	uint64_t cell_sectors = 1ULL << device->cell_shift;
	uint64_t cells = (device->size_sectors + cell_sectors - 1) >> device->cell_shift, cell;

	for (cell = 0; cell < cells && cell < MONITOR_CELLS; cell++) {
		uint32_t reads = device->cells[cell].ios[MONITOR_READ] - device->reads_seen[cell];

		if (!reads)
			continue;
		device->reads_seen[cell] += reads;
		health_exposure(device->health, cell << device->cell_shift, cell_sectors, reads, 0, elapsed_ns, now_ns);
	}
}

static void feed_period(struct daemon *d, struct device *device, uint64_t now_ns)
{
	feed_latencies(d, device, now_ns);
	feed_exposure(device, now_ns - device->period_at_ns, now_ns);
	device->period_at_ns = now_ns;
	judge_set_slow(d, device);
}

/* ---- what got lost ---- */

struct resync {
	struct device *device;
	uint64_t since_monotonic_ns;
};

static void resync_sector(uint64_t sector, const struct monitor_sector_errors *errors, void *data)
{
	struct resync *resync = data;
	uint32_t direction, class;

	if (errors->last_ns < resync->since_monotonic_ns)
		return;
	for (direction = 0; direction < MONITOR_DIRECTIONS; direction++)
		for (class = 0; class < MONITOR_ERROR_CLASSES; class++) {
			struct health_io io = {
				.dir = direction == MONITOR_READ ? HEALTH_READ : HEALTH_WRITE,
				.class = health_class_of(class),
				.sector = sector,
				.sectors = errors->nr_sectors,
			};

			if (!errors->count[direction][class])
				continue;
			io.issued_ns = io.completed_ns = clock_of_monotonic(errors->last_ns);
			health_io(resync->device->health, &io);
		}
}

/* Errors whose events found no room in the ring are still in the per-sector histogram: nothing of them is missed. */
static void resync(struct daemon *d)
{
	static uint64_t last_monotonic_ns;
	struct timespec now;
	struct device *device;

	for (device = d->devices; device; device = device->next) {
		struct resync resync = { .device = device, .since_monotonic_ns = last_monotonic_ns };

		monitor_sector_errors(d->monitor, device->index, resync_sector, &resync);
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	last_monotonic_ns = (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void check_counters(struct daemon *d, uint64_t now_ns)
{
	uint64_t counters[MONITOR_COUNTERS];
	bool lost;

	if (monitor_read_counters(d->monitor, counters))
		return;
	lost = counters[MONITOR_DROPPED_ERROR_EVENTS] != d->counters[MONITOR_DROPPED_ERROR_EVENTS] ||
	       counters[MONITOR_DROPPED_SLOW_EVENTS] != d->counters[MONITOR_DROPPED_SLOW_EVENTS] ||
	       counters[MONITOR_DROPPED_SECTOR_ERRORS] != d->counters[MONITOR_DROPPED_SECTOR_ERRORS] ||
	       counters[MONITOR_DROPPED_INFLIGHT] != d->counters[MONITOR_DROPPED_INFLIGHT];
	if (lost) {
		d->dropped_events_at_ns = now_ns;
		resync(d);
	}
	memcpy(d->counters, counters, sizeof(d->counters));
}

/* ---- the target ---- */

static void read_status(struct device *device)
{
	struct dmctl_status status;
	struct dmctl_error error;

	if (!device->has_target)
		return;
	if (dmctl_status(device->name, &status, &error)) {
		device->has_status = false;
		return;
	}
	if (!device->has_status || status.mapped_blocks != device->status.mapped_blocks ||
	    status.released_blocks != device->status.released_blocks ||
	    status.unread_sectors != device->status.unread_sectors ||
	    status.lost_sectors != device->status.lost_sectors)
		device->map_stale = true;
	device->status = status;
	device->has_status = true;
}

/* ---- decisions ---- */

void judge_policy_state(const struct daemon *d, const struct device *device, uint64_t now_ns,
			struct health_device *summary, struct policy_state *state)
{
	const struct device *other;

	health_device(device->health, now_ns, summary);
	*state = (struct policy_state){
		.device = summary,
		.has_target = device->has_target && device->has_status,
		.target_accepts = device->has_status && device->status.mode == DMCTL_MODE_RW &&
				  device->status.main_state == DMCTL_MAIN_OK,
		.frozen = d->frozen || d->fell_back,
		.booted_ns = clock_booted_ns(),
		.dropped_events_at_ns = d->dropped_events_at_ns,
	};
	if (device->has_status) {
		const struct dmctl_status *status = &device->status;

		state->spare_free_sectors = status->free_blocks * status->block_sectors;
		state->spare_size_sectors = (status->free_blocks + status->mapped_blocks + status->retired_blocks) *
					    status->block_sectors;
	}
	for (other = d->devices; other; other = other->next) {
		struct health_device theirs;

		health_device(other->health, now_ns, &theirs);
		state->devices_degraded += theirs.degraded;
		state->other_devices_acting += other != device && policy_acting(&other->budget, now_ns);
	}
}

static void say_would_relocate(struct daemon *d, struct device *device, const struct health_extent *extent,
			       const char *reason, uint64_t now_ns)
{
	if (extent->would_moved)
		return;
	device->would_relocate_total++;
	policy_book_relocation(&device->budget, now_ns);
	health_fact(device->health, extent->first_sector, HEALTH_FACT_WOULD_MOVE, now_ns);
	device->last_action_at = clock_unix();
	device->last_action_extent = extent->extent;
	snprintf(device->last_action_text, sizeof(device->last_action_text), "extent %llu, would relocate",
		 (unsigned long long)extent->extent);
	event_add(&d->events, EVENT_WOULD_RELOCATE, LOG_NOTICE, device->name, extent->extent,
		  "extent %llu would be relocated: %.180s", (unsigned long long)extent->extent, reason);
}

static void start_move(struct daemon *d, struct device *device, const struct health_extent *extent, const char *reason,
		       uint64_t now_ns)
{
	int err = actor_move(d, device, extent, reason);

	if (!err)
		policy_book_relocation(&device->budget, now_ns);
	else if (err != -EBUSY)
		log_line(LOG_ERR, "%s: can't start to relocate extent %llu: %s", device->name,
			 (unsigned long long)extent->extent, strerror(-err));
}

static void decide(struct daemon *d, struct device *device, const struct health_extent *extent,
		   const struct policy_state *state, uint64_t now_ns, uint32_t *held_guards)
{
	struct policy_decision decision;
	char reason[EVENT_TEXT_BYTES];

	policy_decide(&device->settings, extent, state, &device->budget, now_ns, &decision);
	policy_reason_text(&device->settings, extent, &decision, reason, sizeof(reason));
	switch (decision.action) {
	case POLICY_NONE:
	case POLICY_WATCH:
		break;
	case POLICY_REREAD:
		if (!actor_reread(d, device, extent))
			policy_book_reread(&device->budget, now_ns);
		break;
	case POLICY_WOULD_RELOCATE:
		say_would_relocate(d, device, extent, reason, now_ns);
		break;
	case POLICY_RELOCATE:
		start_move(d, device, extent, reason, now_ns);
		break;
	case POLICY_HELD:
		if (decision.guard >= POLICY_GUARDS)
			break;
		if (!((*held_guards | device->held_guards) & 1U << decision.guard))
			event_add(&d->events, EVENT_HELD, LOG_NOTICE, device->name, extent->extent,
				  "extent %llu stays: %.180s", (unsigned long long)extent->extent, reason);
		*held_guards |= 1U << decision.guard;
		break;
	}
}

static void say_changes(struct daemon *d, struct device *device, const struct policy_state *state, uint64_t now_ns)
{
	struct health_extent changed[CHANGES_MAX];
	size_t count = health_changes(device->health, now_ns, changed, CHANGES_MAX), i;

	for (i = 0; i < count; i++) {
		const struct health_extent *extent = &changed[i];
		struct policy_decision decision;
		char reason[EVENT_TEXT_BYTES];
		uint32_t errors = 0, class;

		if (extent->state == HEALTH_OK || extent->moved)
			continue;
		for (class = HEALTH_CLASS_MEDIUM; class < HEALTH_CLASSES; class++)
			errors += extent->errors[class];
		policy_decide(&device->settings, extent, state, &device->budget, now_ns, &decision);
		policy_reason_text(&device->settings, extent, &decision, reason, sizeof(reason));
		event_add(&d->events,
			  extent->state == HEALTH_SUSPECT ? EVENT_SUSPECT : errors ? EVENT_ERROR : EVENT_SLOW,
			  extent->state == HEALTH_SUSPECT ? LOG_WARNING : LOG_NOTICE, device->name, extent->extent,
			  "extent %llu is %s: worst %.0f ms, slow %u times, %u errors; %.140s",
			  (unsigned long long)extent->extent, health_state_name(extent->state), extent->worst_ns / 1e6,
			  extent->slow, errors, reason);
	}
}

static void judge_device(struct daemon *d, struct device *device, uint64_t now_ns)
{
	struct health_extent review[REVIEW_MAX];
	struct health_device summary;
	struct policy_state state;
	uint32_t held_guards = 0;
	size_t count, i;

	if (now_ns - device->period_at_ns >= PERIOD_NS)
		feed_period(d, device, now_ns);
	health_tick(device->health, now_ns);
	judge_policy_state(d, device, now_ns, &summary, &state);
	say_changes(d, device, &state, now_ns);
	count = health_review(device->health, now_ns, review, REVIEW_MAX);
	for (i = 0; i < count; i++)
		decide(d, device, &review[i], &state, now_ns, &held_guards);
	device->held_guards = held_guards;
	if (device->has_target && device->map_stale)
		actor_read_map(d, device);
}

void judge_round(struct daemon *d)
{
	uint64_t now_ns = clock_now_ns();
	struct device *device;
	bool frozen = !access(FREEZE_FILE, F_OK) || d->frozen_at_boot;

	if (frozen != d->frozen)
		event_add(&d->events, EVENT_POLICY, LOG_NOTICE, "", EVENT_NO_EXTENT, "%s",
			  frozen ? "frozen: nothing is moved" : "no longer frozen");
	d->frozen = frozen;
	check_counters(d, now_ns);
	for (device = d->devices; device; device = device->next) {
		read_status(device);
		judge_device(d, device, now_ns);
	}
}
