// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "loader/answer.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/actor.h"
#include "loader/protocol.h"
#include "loader/remapd.h"

#define FIRST_BUCKET_END_US 16 /* the buckets that are shown: powers of two from here... */
#define LAST_BUCKET_END_US (1ULL << 26) /* ...to here */

static json_t *number(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static json_t *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

static json_t *time_or_null(double at)
{
	return at > 0 ? json_real(at) : json_null();
}

__attribute__((format(printf, 1, 2))) static json_t *error_of(const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return json_pack("{s:i, s:b, s:s}", "version", REMAP_PROTOCOL_VERSION, "ok", 0, "error", text);
}

/* ---- what an extent is ---- */

static const char *state_name(const struct device *device, uint64_t extent, const struct health_extent *health)
{
	const struct extent_map_entry *entry = extent_map_find(&device->map, extent);

	if (entry && entry->lost_sectors)
		return "lost";
	if (health->moved || (entry && entry->mapped_sectors >= health->sectors))
		return "moved";
	if (health->state != HEALTH_OK)
		return health_state_name(health->state);
	/* Single blocks that somebody asked for, such as signatures (remapctl create), say nothing of their extent. */
	return entry && entry->failed_sectors ? "moved" : "ok";
}

/* ---- state ---- */

static void sum_hists(const struct daemon *d, const struct device *device, enum monitor_direction direction,
		      struct monitor_hist *sum)
{
	struct monitor_hist one;
	uint32_t size_class;
	int i;

	memset(sum, 0, sizeof(*sum));
	for (size_class = 0; size_class < MONITOR_SIZE_CLASSES; size_class++) {
		if (monitor_read_hist(d->monitor, device->index, direction, size_class, &one))
			continue;
		sum->count += one.count;
		sum->sum_us += one.sum_us;
		for (i = 0; i < MONITOR_ERROR_CLASSES; i++)
			sum->errors[i] += one.errors[i];
		for (i = 0; i < MONITOR_BUCKETS; i++)
			sum->buckets[i] += one.buckets[i];
	}
}

static uint64_t quantile_us(const struct monitor_hist *hist, double share)
{
	uint64_t wanted = hist->count * share, seen = 0;
	unsigned int i;

	if (!hist->count)
		return 0;
	for (i = 0; i < MONITOR_BUCKETS - 1; i++) {
		seen += hist->buckets[i];
		if (seen > wanted)
			return monitor_bucket_end_us(i);
	}
	return LAST_BUCKET_END_US;
}

static json_t *latency_json(const struct monitor_hist *hist)
{
	json_t *buckets = json_array();
	uint64_t end_us = FIRST_BUCKET_END_US, count = 0, total = 0;
	unsigned int i;

	for (i = 0; i < MONITOR_BUCKETS; i++) {
		total += hist->buckets[i];
		count += hist->buckets[i];
		if (i < MONITOR_BUCKETS - 1 && monitor_bucket_end_us(i) < end_us)
			continue;
		if (i == MONITOR_BUCKETS - 1) {
			json_array_append_new(buckets, json_pack("{s:n, s:o}", "le_us", "count", number(count)));
			break;
		}
		json_array_append_new(buckets, json_pack("{s:o, s:o}", "le_us", number(end_us), "count", number(count)));
		count = 0;
		end_us *= 2;
	}
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "buckets", buckets, "sum_us", number(hist->sum_us), "count",
			 number(total), "p50_us", number(quantile_us(hist, 0.5)), "p99_us",
			 number(quantile_us(hist, 0.99)));
}

static json_t *errors_json(const struct monitor_hist *hist)
{
	return json_pack("{s:o, s:o, s:o, s:o}", "medium", number(hist->errors[MONITOR_ERROR_MEDIUM]), "transport",
			 number(hist->errors[MONITOR_ERROR_TRANSPORT]), "timeout",
			 number(hist->errors[MONITOR_ERROR_TIMEOUT]), "other", number(hist->errors[MONITOR_ERROR_OTHER]));
}

struct extent_counts {
	uint64_t slow, suspect, moved, lost;
};

static void count_extents(const struct device *device, struct extent_counts *counts)
{
	uint64_t now_ns = clock_now_ns();
	struct health_extent extent;
	struct health_device summary;
	const char *name;
	size_t i;

	health_device(device->health, now_ns, &summary);
	*counts = (struct extent_counts){ .slow = summary.slow_extents, .suspect = summary.suspect_extents };
	for (i = 0; i < device->map.count; i++) {
		if (!health_extent(device->health, device->map.entries[i].extent, now_ns, &extent))
			continue;
		name = state_name(device, extent.extent, &extent);
		if (!strcmp(name, "lost"))
			counts->lost++;
		else if (!strcmp(name, "moved"))
			counts->moved++;
		else
			continue;
		/* Shown once, as what the target made of it. */
		if (!extent.moved && extent.state == HEALTH_SLOW && counts->slow)
			counts->slow--;
		else if (!extent.moved && extent.state == HEALTH_SUSPECT && counts->suspect)
			counts->suspect--;
	}
}

static json_t *target_json(const struct device *device)
{
	const struct dmctl_status *status = &device->status;
	json_t *target;

	if (!device->has_status)
		return json_null();
	target = json_pack("{s:s}", "mode", status->mode_word);
#define MEMBER(name) json_object_set_new(target, #name, number(status->name));
	DMCTL_STATUS_NUMBERS(MEMBER)
#undef MEMBER
	json_object_set_new(target, "main_state", json_string(status->main_state_word));
	return target;
}

static const char *health_verdict(const struct device *device, const struct extent_counts *counts)
{
	const struct dmctl_status *status = &device->status;

	if (counts->lost)
		return "BAD";
	if (device->has_status &&
	    (status->lost_sectors || status->mode == DMCTL_MODE_FAILED || status->mode == DMCTL_MODE_NO_NEW_MAPS))
		return "BAD";
	if (counts->suspect || counts->moved || (device->has_status && status->unread_sectors))
		return "WARN";
	return "OK";
}

static json_t *held_json(const struct device *device)
{
	json_t *held = json_array();
	unsigned int guard;

	for (guard = 0; guard < POLICY_GUARDS; guard++)
		if (device->held_guards & 1U << guard)
			json_array_append_new(held, json_string(policy_guard_name(guard)));
	return held;
}

static json_t *device_json(const struct daemon *d, const struct device *device)
{
	const struct dmctl_status *status = &device->status;
	uint64_t block_bytes = device->has_status ? status->block_sectors * 512 : 0;
	struct monitor_hist reads, writes;
	struct extent_counts counts;
	uint64_t extents = device_extents(device);
	json_t *json = json_object();

	sum_hists(d, device, MONITOR_READ, &reads);
	sum_hists(d, device, MONITOR_WRITE, &writes);
	count_extents(device, &counts);
#define SET(name, value) json_object_set_new(json, name, value)
	SET("device", json_string(device->name));
	SET("dm_name", device->has_target ? json_string(device->name) : json_null());
	SET("main", json_string(device->main.name));
	SET("spare", text_or_null(device->spare_name));
	SET("wwn", json_string(device->main.wwn));
	SET("serial", json_string(device->main.serial));
	SET("size_sectors", number(device->size_sectors));
	SET("extent_sectors", number(device_extent_sectors(device)));
	SET("extents", number(extents));
	SET("policy_mode", json_string(policy_mode_name(device->settings.mode)));
	SET("held", held_json(device));
	SET("health", json_string(health_verdict(device, &counts)));
	SET("target", target_json(device));
	SET("spare_size_bytes",
	    number(block_bytes * (status->mapped_blocks + status->free_blocks + status->retired_blocks)));
	SET("spare_used_bytes", number(block_bytes * status->mapped_blocks));
	SET("spare_retired_bytes", number(block_bytes * status->retired_blocks));
	SET("latency", json_pack("{s:o, s:o}", "read", latency_json(&reads), "write", latency_json(&writes)));
	SET("errors", json_pack("{s:o, s:o}", "read", errors_json(&reads), "write", errors_json(&writes)));
	SET("extent_states",
	    json_pack("{s:o, s:o, s:o, s:o, s:o}", "ok",
		      number(extents - counts.slow - counts.suspect - counts.moved - counts.lost), "slow",
		      number(counts.slow), "suspect", number(counts.suspect), "moved", number(counts.moved), "lost",
		      number(counts.lost)));
	SET("would_relocate_total", number(device->would_relocate_total));
	SET("relocated_extents_total", number(device->relocated_extents_total));
	SET("relocation_failures_total", number(device->relocation_failures_total));
	SET("last_relocation_at", time_or_null(device->last_relocation_at));
	SET("last_action", device->last_action_at > 0 ?
				   json_pack("{s:f, s:o, s:s}", "at", device->last_action_at, "extent",
					     number(device->last_action_extent), "text", device->last_action_text) :
				   json_null());
#undef SET
	return json;
}

static json_t *answer_state(struct daemon *d, const json_t *request)
{
	uint64_t c[MONITOR_COUNTERS] = {};
	json_t *devices = json_array();
	struct device *device;

	monitor_read_counters(d->monitor, c);
	for (device = d->devices; device; device = device->next)
		json_array_append_new(devices, device_json(d, device));
	return json_pack("{s:{s:s, s:f, s:s, s:f, s:o, s:b, s:{s:o, s:o, s:o, s:o, s:o}}, s:o}", "daemon", "version",
			 REMAP_VERSION, "started_at", d->started_at, "policy_file", d->policy_path, "policy_loaded_at",
			 d->policy_loaded_at, "policy_error", text_or_null(d->policy_error), "frozen",
			 d->frozen || d->fell_back, "bpf", "dropped_events",
			 number(c[MONITOR_DROPPED_ERROR_EVENTS] + c[MONITOR_DROPPED_SLOW_EVENTS] +
				c[MONITOR_DROPPED_SECTOR_ERRORS] + c[MONITOR_DROPPED_INFLIGHT]),
			 "missed", number(monitor_missed(d->monitor)), "entries", number(monitor_sector_entries(d->monitor)), "own_ios",
			 number(c[MONITOR_OWN_SEEN]), "impossible", number(c[MONITOR_IMPOSSIBLE]), "devices", devices);
}

/* ---- extents ---- */

static struct device *device_of(struct daemon *d, const json_t *request, json_t **error)
{
	const char *name = json_string_value(json_object_get(request, "device"));
	struct device *device = name ? fleet_find(d, name) : NULL;
	char known[256] = "";
	size_t used = 0;

	if (device)
		return device;
	if (!name) {
		*error = error_of("\"device\" is missing");
		return NULL;
	}
	for (device = d->devices; device && used < sizeof(known) - 1; device = device->next)
		used += snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "", device->name);
	if (known[0])
		*error = error_of("no such device is watched; there are: %s", known);
	else
		*error = error_of("no device is watched");
	return NULL;
}

struct row {
	uint64_t extent, reads, writes, slow, errors, worst_us;
};

static void append_row(json_t *cells, const struct device *device, const struct row *row, uint64_t now_ns)
{
	struct health_extent extent = {};
	const char *state;

	if (!health_extent(device->health, row->extent, now_ns, &extent))
		return;
	state = state_name(device, row->extent, &extent);
	if (!row->reads && !row->writes && !row->slow && !row->errors && !strcmp(state, "ok"))
		return;
	json_array_append_new(cells, json_pack("[o,s,o,o,o,o,o,f]", number(row->extent), state, number(row->reads),
					       number(row->writes), number(row->slow), number(row->errors),
					       number(row->worst_us), extent.risk));
}

static uint32_t larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static void add_cell(struct row *row, const struct monitor_cell *cell)
{
	row->reads += cell->ios[MONITOR_READ];
	row->writes += cell->ios[MONITOR_WRITE];
	row->slow += cell->slow[MONITOR_READ] + (uint64_t)cell->slow[MONITOR_WRITE];
	row->errors += cell->errors[MONITOR_READ] + (uint64_t)cell->errors[MONITOR_WRITE];
	row->worst_us = larger(row->worst_us, larger(cell->worst_us[MONITOR_READ], cell->worst_us[MONITOR_WRITE]));
}

/* Extents between the cells' first ones that are worth a row for their state alone: only where a cell has several. */
static void append_inner_rows(json_t *cells, const struct device *device, uint64_t from, uint64_t to, uint64_t now_ns)
{
	struct health_extent extent;
	struct row row;
	uint64_t i;

	for (i = from; i < to; i++) {
		if (!health_extent(device->health, i, now_ns, &extent) ||
		    (extent.state == HEALTH_OK && !extent_map_find(&device->map, i)))
			continue;
		row = (struct row){ .extent = i, .slow = extent.slow, .worst_us = extent.worst_ns / 1000 };
		append_row(cells, device, &row, now_ns);
	}
}

static json_t *answer_extents(struct daemon *d, const json_t *request)
{
	uint64_t extent_sectors, cell_sectors, cell_count, cell, next, now_ns = clock_now_ns();
	json_t *error = NULL, *cells;
	struct device *device = device_of(d, request, &error);

	if (!device)
		return error;
	extent_sectors = device_extent_sectors(device);
	cell_sectors = 1ULL << device->cell_shift;
	cell_count = (device->size_sectors + cell_sectors - 1) >> device->cell_shift;
	cells = json_array();
	for (cell = 0; cell < cell_count && cell < MONITOR_CELLS; cell = next) {
		struct row row = { .extent = cell * cell_sectors / extent_sectors };

		for (next = cell; next < cell_count && next < MONITOR_CELLS &&
				  next * cell_sectors / extent_sectors == row.extent; next++)
			add_cell(&row, &device->cells[next]);
		append_row(cells, device, &row, now_ns);
		if (cell_sectors > extent_sectors)
			append_inner_rows(cells, device, row.extent + 1, next * cell_sectors / extent_sectors, now_ns);
	}
	return json_pack("{s:s, s:o, s:o, s:o, s:o}", "device", device->name, "extent_sectors", number(extent_sectors),
			 "extents", number(device_extents(device)), "cell_extents",
			 number(cell_sectors > extent_sectors ? cell_sectors / extent_sectors : 1), "cells", cells);
}

/* ---- explain ---- */

static json_t *guards_json(const struct policy_decision *decision)
{
	json_t *guards = json_array();
	unsigned int i;

	for (i = 0; i < POLICY_GUARDS; i++)
		json_array_append_new(guards, json_pack("{s:s, s:b, s:s}", "name", policy_guard_name(i), "passed",
							decision->guards[i].passed, "text", decision->guards[i].text));
	return guards;
}

static const char *decision_word(enum policy_action action)
{
	return action == POLICY_REREAD ? "watch" : policy_action_name(action);
}

static json_t *answer_explain(struct daemon *d, const json_t *request)
{
	json_t *error = NULL, *wanted = json_object_get(request, "extent");
	struct device *device = device_of(d, request, &error);
	struct health_extent extent, neighbour = {};
	uint64_t now_ns = clock_now_ns(), errors = 0;
	struct policy_decision decision;
	struct health_device summary;
	struct policy_state state;
	struct monitor_hist reads;
	bool has_neighbour;
	char text[4096], reason[EVENT_TEXT_BYTES];
	unsigned int class;

	if (!device)
		return error;
	if (!json_is_integer(wanted) || json_integer_value(wanted) < 0)
		return error_of("\"extent\" is missing or no number");
	if (!health_extent(device->health, json_integer_value(wanted), now_ns, &extent))
		return error_of("no such extent; %s has 0 to %llu", device->name,
				(unsigned long long)device_extents(device) - 1);
	has_neighbour = extent.has_neighbour && health_extent(device->health, extent.neighbour_extent, now_ns, &neighbour);
	judge_policy_state(d, device, now_ns, &summary, &state);
	policy_decide(&device->settings, &extent, &state, &device->budget, now_ns, &decision);
	policy_explain(&device->settings, &extent, has_neighbour ? &neighbour : NULL, &state, &decision, now_ns, text,
		       sizeof(text));
	policy_reason_text(&device->settings, &extent, &decision, reason, sizeof(reason));
	for (class = HEALTH_CLASS_MEDIUM; class < HEALTH_CLASSES; class++)
		errors += extent.errors[class];
	sum_hists(d, device, MONITOR_READ, &reads);
	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:f, s:f, s:f, s:o, s:o, s:o, s:o, s:f, s:f, s:o, s:s, s:s}",
			 "device", device->name, "extent", number(extent.extent), "first_sector",
			 number(extent.first_sector), "sectors", number(extent.sectors), "state",
			 state_name(device, extent.extent, &extent), "text", text, "evidence", extent.evidence, "visits",
			 extent.visits, "neighbours", extent.neighbours, "slow", number(extent.slow), "errors",
			 number(errors), "worst_us", number(extent.worst_ns / 1000), "device_p99_us",
			 number(quantile_us(&reads, 0.99)), "risk", extent.risk, "threshold", decision.threshold, "guards",
			 guards_json(&decision), "decision", decision_word(decision.action), "reason", reason);
}

/* ---- events, policy ---- */

static json_t *answer_events(struct daemon *d, const json_t *request)
{
	json_t *since = json_object_get(request, "since"), *most = json_object_get(request, "max");
	uint64_t seq = json_is_integer(since) && json_integer_value(since) > 0 ? json_integer_value(since) : 0;
	uint64_t left = json_is_integer(most) && json_integer_value(most) > 0 ? json_integer_value(most) : EVENTS_KEPT;
	const struct event *event;
	json_t *events = json_array();

	for (; left && (event = event_from(&d->events, seq)); left--, seq = event->seq + 1)
		json_array_append_new(events, json_pack("{s:o, s:f, s:s, s:o, s:s, s:s}", "seq", number(event->seq), "at",
							event->at, "device", event->device, "extent",
							event->extent == EVENT_NO_EXTENT ? json_null() :
											   number(event->extent),
							"kind", event_kind_name(event->kind), "text", event->text));
	if (!seq)
		seq = 1;
	return json_pack("{s:o, s:o}", "events", events, "next", number(seq));
}

static json_t *answer_policy(struct daemon *d, const json_t *request)
{
	size_t length = policy_to_yaml(&d->policy, NULL, 0);
	char *text = malloc(length + 1);
	json_t *answer;

	if (!text)
		return NULL;
	policy_to_yaml(&d->policy, text, length + 1);
	answer = json_pack("{s:s, s:f, s:s}", "file", d->policy_path, "loaded_at", d->policy_loaded_at, "text", text);
	free(text);
	return answer;
}

/* ---- one request ---- */

static char *print_line(json_t *answer, size_t *length)
{
	char *text = answer ? json_dumps(answer, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL, *line;

	json_decref(answer);
	if (!text)
		return NULL;
	*length = strlen(text);
	line = realloc(text, *length + 1);
	if (!line) {
		free(text);
		return NULL;
	}
	line[(*length)++] = '\n'; /* in place of the NUL: what is sent is counted */
	return line;
}

char *answer_error(const char *text, size_t *answer_length)
{
	return print_line(error_of("%s", text), answer_length);
}

char *answer_request(struct daemon *d, const char *line, size_t length, size_t *answer_length)
{
	static const struct {
		const char *name;
		json_t *(*answer)(struct daemon *d, const json_t *request);
	} commands[] = {
		{ REMAP_CMD_STATE, answer_state },     { REMAP_CMD_EXTENTS, answer_extents },
		{ REMAP_CMD_EXPLAIN, answer_explain }, { REMAP_CMD_EVENTS, answer_events },
		{ REMAP_CMD_POLICY, answer_policy },
	};
	json_t *request, *answer = NULL, *version;
	const char *command;
	size_t i;

	request = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(request)) {
		answer = error_of("the request is not a JSON object");
		json_decref(request);
		return print_line(answer, answer_length);
	}
	version = json_object_get(request, "version");
	command = json_string_value(json_object_get(request, "command"));
	if (!json_is_integer(version) || json_integer_value(version) != REMAP_PROTOCOL_VERSION)
		answer = error_of("\"version\" must be 1");
	else if (!command)
		answer = error_of("\"command\" is missing");
	for (i = 0; !answer && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(command, commands[i].name)) {
			answer = commands[i].answer(d, request);
			if (!answer)
				answer = error_of("out of memory");
			break;
		}
	if (!answer)
		answer = error_of("no such command: %s", command);
	if (!json_object_get(answer, "ok")) {
		json_object_set_new(answer, "version", json_integer(REMAP_PROTOCOL_VERSION));
		json_object_set_new(answer, "ok", json_true());
	}
	json_decref(request);
	return print_line(answer, answer_length);
}
