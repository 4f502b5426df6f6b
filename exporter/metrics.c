// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "exporter/metrics.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MICROSECONDS_PER_SECOND 1000000

enum type {
	TYPE_COUNTER,
	TYPE_GAUGE,
	TYPE_HISTOGRAM,
};

struct family;

/* Where samples go, and of which device they are. */
struct writer {
	struct buffer *out;
	enum metrics_format format;
	const struct family *family;
	bool opened; /* HELP and TYPE of the family are written: only together with a first sample */
	const json_t *device;
};

struct family {
	const char *name; /* counters without _total */
	enum type type;
	const char *help;
	void (*write_device)(struct writer *w); /* the samples of w->device */
};

/* ---- reading ---- */

static const json_t *member(const json_t *object, const char *key)
{
	return json_object_get(object, key);
}

/* False: not there, no number, or negative. */
static bool count_of(const json_t *object, const char *key, uint64_t *count)
{
	const json_t *value = member(object, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*count = (uint64_t)json_integer_value(value);
	return true;
}

static const json_t *target_of(const struct writer *w)
{
	return member(w->device, "target");
}

/* ---- writing ---- */

static void open_family(struct writer *w)
{
	static const char *const types[] = {
		[TYPE_COUNTER] = "counter",
		[TYPE_GAUGE] = "gauge",
		[TYPE_HISTOGRAM] = "histogram",
	};
	const struct family *family = w->family;
	/* In the older format a counter's family has the name of its sample. */
	const char *suffix = family->type == TYPE_COUNTER && w->format == METRICS_PROMETHEUS ? "_total" : "";

	if (w->opened)
		return;
	w->opened = true;
	buffer_printf(w->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", family->name, suffix, family->help, family->name,
		      suffix, types[family->type]);
}

static void start_sample(struct writer *w, const char *suffix)
{
	open_family(w);
	buffer_printf(w->out, "%s%s", w->family->name, suffix);
}

/* first: '{' or ','. NUL, which JSON allows and Prometheus does not, becomes U+FFFD. */
static void add_label(struct writer *w, char first, const char *name, const char *value, size_t value_bytes)
{
	size_t i;

	buffer_printf(w->out, "%c%s=\"", first, name);
	for (i = 0; i < value_bytes; i++) {
		switch (value[i]) {
		case '\\':
			buffer_append(w->out, "\\\\", 2);
			break;
		case '"':
			buffer_append(w->out, "\\\"", 2);
			break;
		case '\n':
			buffer_append(w->out, "\\n", 2);
			break;
		case '\0':
			buffer_append(w->out, "\xef\xbf\xbd", 3);
			break;
		default:
			buffer_append(w->out, &value[i], 1);
		}
	}
	buffer_append(w->out, "\"", 1);
}

static void add_label_json(struct writer *w, char first, const char *name, const json_t *value)
{
	const char *text = json_string_value(value);

	add_label(w, first, name, text ? text : "", text ? json_string_length(value) : 0);
}

static void add_device(struct writer *w)
{
	add_label_json(w, '{', "device", member(w->device, "device"));
}

static const char *sample_suffix(const struct writer *w)
{
	return w->family->type == TYPE_COUNTER ? "_total" : "";
}

static void write_device_value(struct writer *w, uint64_t value)
{
	start_sample(w, sample_suffix(w));
	add_device(w);
	buffer_printf(w->out, "} %" PRIu64 "\n", value);
}

static void write_labelled_value(struct writer *w, const char *label, const char *label_value, uint64_t value)
{
	start_sample(w, sample_suffix(w));
	add_device(w);
	add_label(w, ',', label, label_value, strlen(label_value));
	buffer_printf(w->out, "} %" PRIu64 "\n", value);
}

/* Exact, without trailing zeros: "0.000128", "1.5", "2". */
static void format_seconds(uint64_t us, char *text, size_t text_bytes)
{
	size_t length = (size_t)snprintf(text, text_bytes, "%" PRIu64 ".%06" PRIu64, us / MICROSECONDS_PER_SECOND,
					 us % MICROSECONDS_PER_SECOND);

	while (text[length - 1] == '0')
		text[--length] = '\0';
	if (text[length - 1] == '.')
		text[--length] = '\0';
}

/* ---- what one device has ---- */

static void write_from(struct writer *w, const json_t *object, const char *key)
{
	uint64_t value;

	if (count_of(object, key, &value))
		write_device_value(w, value);
}

static void write_info(struct writer *w)
{
	static const char *const labels[] = { "dm_name", "main", "spare", "wwn", "serial" };
	size_t i;

	start_sample(w, "");
	add_device(w);
	for (i = 0; i < sizeof(labels) / sizeof(*labels); i++)
		add_label_json(w, ',', labels[i], member(w->device, labels[i]));
	buffer_printf(w->out, "} 1\n");
}

static void write_bucket(struct writer *w, const char *le, uint64_t cumulative)
{
	start_sample(w, "_bucket");
	add_device(w);
	add_label(w, ',', "le", le, strlen(le));
	buffer_printf(w->out, "} %" PRIu64 "\n", cumulative);
}

/*
 * The count is the sum of the buckets, so that the three always agree. Of more bounds than METRICS_BUCKETS_MAX every n-th is
 * kept: what is cumulative loses resolution by that and nothing else.
 */
static void write_histogram(struct writer *w, const json_t *histogram)
{
	const json_t *buckets = member(histogram, "buckets"), *bucket;
	uint64_t cumulative = 0, sum_us = 0, last_le_us = 0;
	size_t i, every, finite = 0;
	char text[40];
	bool any = false;

	if (!json_is_array(buckets))
		return;
	every = json_array_size(buckets) / (METRICS_BUCKETS_MAX + 1) + 1;
	json_array_foreach((json_t *)buckets, i, bucket) {
		uint64_t count, le_us;

		if (!count_of(bucket, "count", &count))
			continue;
		/* Nonsense from outside must not make a cumulative count go down. */
		cumulative += count < INT64_MAX - cumulative ? count : INT64_MAX - cumulative;
		if (!count_of(bucket, "le_us", &le_us) || (any && le_us <= last_le_us))
			continue;
		any = true;
		last_le_us = le_us;
		if (++finite % every)
			continue;
		format_seconds(le_us, text, sizeof(text));
		/* OpenMetrics wants bounds to look like floats. */
		if (w->format == METRICS_OPENMETRICS && !strchr(text, '.'))
			strcat(text, ".0");
		write_bucket(w, text, cumulative);
	}
	write_bucket(w, "+Inf", cumulative);
	count_of(histogram, "sum_us", &sum_us);
	format_seconds(sum_us, text, sizeof(text));
	start_sample(w, "_sum");
	add_device(w);
	buffer_printf(w->out, "} %s\n", text);
	start_sample(w, "_count");
	add_device(w);
	buffer_printf(w->out, "} %" PRIu64 "\n", cumulative);
}

static void write_read_latency(struct writer *w)
{
	write_histogram(w, member(member(w->device, "latency"), "read"));
}

static void write_write_latency(struct writer *w)
{
	write_histogram(w, member(member(w->device, "latency"), "write"));
}

static void write_members(struct writer *w, const json_t *object, const char *label, const char *const *names,
			  size_t count)
{
	uint64_t value;
	size_t i;

	for (i = 0; i < count; i++)
		if (count_of(object, names[i], &value))
			write_labelled_value(w, label, names[i], value);
}

static const char *const error_classes[] = { "medium", "transport", "timeout", "other" };

static void write_read_errors(struct writer *w)
{
	write_members(w, member(member(w->device, "errors"), "read"), "class", error_classes, 4);
}

static void write_write_errors(struct writer *w)
{
	write_members(w, member(member(w->device, "errors"), "write"), "class", error_classes, 4);
}

static void write_extents(struct writer *w)
{
	static const char *const states[] = { "ok", "slow", "suspect", "moved", "lost" };

	write_members(w, member(w->device, "extent_states"), "state", states, 5);
}

static void write_relocations(struct writer *w)
{
	static const struct {
		const char *key;
		const char *reason;
	} reasons[] = {
		{ "rescued_blocks", "rescue" },
		{ "salvaged_blocks", "salvage" },
		{ "proactive_blocks", "proactive" },
	};
	uint64_t value;
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (count_of(target_of(w), reasons[i].key, &value))
			write_labelled_value(w, "reason", reasons[i].reason, value);
}

/* The target does not tell them apart. */
static void write_relocation_failures(struct writer *w)
{
	uint64_t value;

	if (count_of(target_of(w), "failed_relocations", &value))
		write_labelled_value(w, "reason", "any", value);
}

static void write_remapped_sectors(struct writer *w)
{
	uint64_t blocks, block_sectors, sectors;

	if (count_of(target_of(w), "mapped_blocks", &blocks) &&
	    count_of(target_of(w), "block_sectors", &block_sectors) &&
	    !__builtin_mul_overflow(blocks, block_sectors, &sectors))
		write_device_value(w, sectors);
}

static void write_unread_sectors(struct writer *w)
{
	write_from(w, target_of(w), "unread_sectors");
}

static void write_lost_sectors(struct writer *w)
{
	write_from(w, target_of(w), "lost_sectors");
}

static void write_spare_size(struct writer *w)
{
	if (json_is_object(target_of(w)))
		write_from(w, w->device, "spare_size_bytes");
}

static void write_spare_used(struct writer *w)
{
	if (json_is_object(target_of(w)))
		write_from(w, w->device, "spare_used_bytes");
}

static void write_spare_retired(struct writer *w)
{
	if (json_is_object(target_of(w)))
		write_from(w, w->device, "spare_retired_bytes");
}

static void write_metadata_errors(struct writer *w)
{
	write_from(w, target_of(w), "metadata_errors");
}

static void write_policy_mode(struct writer *w)
{
	static const char *const modes[] = { "off", "observe", "act" };
	const char *mode = json_string_value(member(w->device, "policy_mode"));
	size_t i;

	for (i = 0; mode && i < sizeof(modes) / sizeof(*modes); i++)
		write_labelled_value(w, "mode", modes[i], !strcmp(mode, modes[i]));
}

static void write_policy_held(struct writer *w)
{
	const json_t *held = member(w->device, "held"), *guard, *earlier;
	size_t i, j;

	json_array_foreach((json_t *)held, i, guard) {
		bool twice = false;

		if (i >= METRICS_GUARDS_MAX)
			break;
		for (j = 0; j < i; j++) {
			earlier = json_array_get(held, j);
			twice |= json_equal(earlier, guard);
		}
		if (!json_is_string(guard) || twice)
			continue;
		start_sample(w, "");
		add_device(w);
		add_label_json(w, ',', "guard", guard);
		buffer_printf(w->out, "} 1\n");
	}
}

static void write_would_relocate(struct writer *w)
{
	write_from(w, w->device, "would_relocate_total");
}

static void write_last_relocation(struct writer *w)
{
	const json_t *at = member(w->device, "last_relocation_at");
	double at_s = json_number_value(at);

	if (!json_is_number(at) || !(at_s >= 0) || at_s > 1e15)
		return;
	start_sample(w, "");
	add_device(w);
	buffer_printf(w->out, "} %.3f\n", at_s);
}

static const struct family families[] = {
	{ "remapd_device_info", TYPE_GAUGE, "What a device is made of; always 1.", write_info },
	{ "remapd_read_latency_seconds", TYPE_HISTOGRAM, "Time that reads spent in the main device.",
	  write_read_latency },
	{ "remapd_write_latency_seconds", TYPE_HISTOGRAM, "Time that writes spent in the main device.",
	  write_write_latency },
	{ "remapd_read_errors", TYPE_COUNTER, "Reads that the main device failed, by class of error.",
	  write_read_errors },
	{ "remapd_write_errors", TYPE_COUNTER, "Writes that the main device failed, by class of error.",
	  write_write_errors },
	{ "remapd_extents", TYPE_GAUGE, "Extents of the device in each state.", write_extents },
	{ "remapd_relocations", TYPE_COUNTER, "Blocks moved to the spare since the device was activated.",
	  write_relocations },
	{ "remapd_relocation_failures", TYPE_COUNTER, "Blocks that should have been moved to the spare and were not.",
	  write_relocation_failures },
	{ "remapd_remapped_sectors", TYPE_GAUGE, "Sectors of 512 bytes whose home is the spare.",
	  write_remapped_sectors },
	{ "remapd_unread_sectors", TYPE_GAUGE, "Moved sectors whose only copy is on main and could not be read.",
	  write_unread_sectors },
	{ "remapd_lost_sectors", TYPE_GAUGE, "Sectors whose newest data is gone.", write_lost_sectors },
	{ "remapd_spare_size_bytes", TYPE_GAUGE, "Room on the spare, used or not.", write_spare_size },
	{ "remapd_spare_used_bytes", TYPE_GAUGE, "Room on the spare that holds moved blocks.", write_spare_used },
	{ "remapd_spare_retired_bytes", TYPE_GAUGE, "Room on the spare that failed itself and is never used again.",
	  write_spare_retired },
	{ "remapd_metadata_errors", TYPE_COUNTER, "Copies of the map that could not be read, written or believed.",
	  write_metadata_errors },
	{ "remapd_policy_mode", TYPE_GAUGE, "1 for the mode that the policy gives the device, else 0.",
	  write_policy_mode },
	{ "remapd_policy_held", TYPE_GAUGE, "1 for each guard that holds acting back now.", write_policy_held },
	{ "remapd_would_relocate", TYPE_COUNTER, "Extents that would have been moved if the policy let remapd act.",
	  write_would_relocate },
	{ "remapd_last_relocation_timestamp_seconds", TYPE_GAUGE, "When the device's last block was moved, Unix time.",
	  write_last_relocation },
};

/* Devices with a name of their own; a second one of a name would make series twice. */
static const json_t **usable_devices(const json_t *state, size_t *count)
{
	const json_t *devices = member(state, "devices"), *device;
	const json_t **usable;
	size_t i, j;

	*count = 0;
	usable = calloc(json_array_size(devices) + 1, sizeof(*usable));
	if (!usable)
		return NULL;
	json_array_foreach((json_t *)devices, i, device) {
		const json_t *name = member(device, "device");

		if (!json_is_string(name) || !json_string_length(name))
			continue;
		for (j = 0; j < *count; j++)
			if (json_equal(member(usable[j], "device"), name))
				break;
		if (j == *count)
			usable[(*count)++] = device;
	}
	return usable;
}

static void write_daemon(struct writer *w, const json_t *state)
{
	static const struct family up = { "remapd_up", TYPE_GAUGE, "1 if remapd answered, else 0.", NULL };
	static const struct family build = { "remapd_build_info", TYPE_GAUGE, "Version of remapd; always 1.", NULL };
	static const struct family dropped = { "remapd_bpf_dropped_events", TYPE_COUNTER,
					       "Events that the BPF programs could not hand over.", NULL };
	const json_t *daemon = member(state, "daemon");
	uint64_t count;

	w->family = &up;
	w->opened = false;
	start_sample(w, "");
	buffer_printf(w->out, " %d\n", state ? 1 : 0);
	if (!state)
		return;
	w->family = &build;
	w->opened = false;
	start_sample(w, "");
	add_label_json(w, '{', "version", member(daemon, "version"));
	buffer_printf(w->out, "} 1\n");
	w->family = &dropped;
	w->opened = false;
	if (count_of(member(daemon, "bpf"), "dropped_events", &count)) {
		start_sample(w, "_total");
		buffer_printf(w->out, " %" PRIu64 "\n", count);
	}
}

void metrics_write(struct buffer *out, const json_t *state, enum metrics_format format)
{
	struct writer w = { .out = out, .format = format };
	const json_t **devices;
	size_t count = 0, i, j;

	write_daemon(&w, state);
	devices = usable_devices(state, &count);
	if (!devices)
		out->failed = true;
	for (i = 0; i < sizeof(families) / sizeof(*families); i++) {
		w.family = &families[i];
		w.opened = false;
		for (j = 0; j < count; j++) {
			w.device = devices[j];
			families[i].write_device(&w);
		}
	}
	free(devices);
	if (format == METRICS_OPENMETRICS)
		buffer_printf(out, "# EOF\n");
}

/* ---- negotiation ---- */

/* The q of one media range; 1 where it says none. */
static double quality_of(const char *parameters, size_t bytes)
{
	size_t i;

	for (i = 0; i + 2 < bytes; i++)
		if (parameters[i] == ';' || parameters[i] == ' ')
			if ((parameters[i + 1] == 'q' || parameters[i + 1] == 'Q') && parameters[i + 2] == '=')
				return strtod(parameters + i + 3, NULL);
	return 1;
}

enum metrics_format metrics_negotiate(const char *accept)
{
	static const char openmetrics[] = "application/openmetrics-text", text[] = "text/plain", any[] = "*/*";
	double openmetrics_q = 0, text_q = 0, any_q = 0;

	while (accept && *accept) {
		size_t bytes = strcspn(accept, ",");
		const char *range = accept + strspn(accept, " \t");
		size_t range_bytes = accept + bytes > range ? (size_t)(accept + bytes - range) : 0;
		double q = quality_of(range, range_bytes);

		if (range_bytes >= sizeof(openmetrics) - 1 && !strncasecmp(range, openmetrics, sizeof(openmetrics) - 1))
			openmetrics_q = q > openmetrics_q ? q : openmetrics_q;
		else if (range_bytes >= sizeof(text) - 1 && !strncasecmp(range, text, sizeof(text) - 1))
			text_q = q > text_q ? q : text_q;
		else if (range_bytes >= sizeof(any) - 1 && !strncmp(range, any, sizeof(any) - 1))
			any_q = q;
		accept += bytes;
		if (*accept)
			accept++;
	}
	if (text_q < any_q)
		text_q = any_q;
	return openmetrics_q > 0 && openmetrics_q >= text_q ? METRICS_OPENMETRICS : METRICS_PROMETHEUS;
}

const char *metrics_content_type(enum metrics_format format)
{
	return format == METRICS_OPENMETRICS ? "application/openmetrics-text; version=1.0.0; charset=utf-8" :
					       "text/plain; version=0.0.4; charset=utf-8";
}
