// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* From remapd's answer to metrics: names, labels, formats, and that nonsense comes out well-formed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exporter/metrics.h"

#define STATE_FILE "tests/unit/data/state.json"

static json_t *load_state(void)
{
	json_error_t error;
	json_t *state = json_load_file(STATE_FILE, 0, &error);

	assert_non_null(state);
	return state;
}

/* The text, terminated; the caller frees it. */
static char *metrics_of(const json_t *state, enum metrics_format format)
{
	struct buffer out = { 0 };

	metrics_write(&out, state, format);
	buffer_append(&out, "", 1);
	assert_false(out.failed);
	return out.text;
}

static void assert_has(const char *text, const char *line)
{
	const char *at = text;

	while ((at = strstr(at, line)) && ((at != text && at[-1] != '\n') || at[strlen(line)] != '\n'))
		at++;
	if (!at)
		fail_msg("no line %s in:\n%s", line, text);
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/*
 * Every line is a comment or name[{labels}] number; no series twice. Returns how many series have device="<device>" (all for
 * NULL).
 */
static size_t check_form(const char *text, const char *device)
{
	char *copy = strdup(text), *line, *rest = copy, *series[4096], label[128];
	size_t count = 0, of_device = 0, i;

	snprintf(label, sizeof(label), "{device=\"%s\"", device ? device : "");
	assert_int_equal(text[strlen(text) - 1], '\n');
	while ((line = strsep(&rest, "\n")) && *line) {
		char *value = strrchr(line, ' '), *end;

		if (*line == '#')
			continue;
		assert_non_null(value);
		assert_true(value > line);
		strtod(value + 1, &end);
		assert_true(end > value + 1 && !*end);
		*value = '\0';
		assert_int_equal(strspn(line, "abcdefghijklmnopqrstuvwxyz_"), strcspn(line, "{"));
		assert_true(!strchr(line, '{') || value[-1] == '}');
		of_device += !device || strstr(line, label);
		assert_true(count < 4096);
		series[count++] = line;
	}
	qsort(series, count, sizeof(*series), compare_lines);
	for (i = 1; i < count; i++)
		assert_string_not_equal(series[i - 1], series[i]);
	free(copy);
	return of_device;
}

static void a_state_becomes_metrics(void **state)
{
	json_t *root = load_state();
	char *text = metrics_of(root, METRICS_PROMETHEUS);

	check_form(text, NULL);
	assert_has(text, "remapd_up 1");
	assert_has(text, "remapd_build_info{version=\"0.1.0\"} 1");
	assert_has(text, "# TYPE remapd_bpf_dropped_events_total counter");
	assert_has(text, "remapd_bpf_dropped_events_total 7");
	assert_has(text, "# TYPE remapd_read_latency_seconds histogram");
	assert_has(text, "remapd_read_latency_seconds_bucket{device=\"data0\",le=\"0.000128\"} 10");
	assert_has(text, "remapd_read_latency_seconds_bucket{device=\"data0\",le=\"0.001024\"} 15");
	assert_has(text, "remapd_read_latency_seconds_bucket{device=\"data0\",le=\"1\"} 17");
	assert_has(text, "remapd_read_latency_seconds_bucket{device=\"data0\",le=\"+Inf\"} 18");
	assert_has(text, "remapd_read_latency_seconds_sum{device=\"data0\"} 3.500123");
	assert_has(text, "remapd_read_latency_seconds_count{device=\"data0\"} 18");
	assert_has(text, "remapd_write_latency_seconds_sum{device=\"data0\"} 0");
	assert_has(text, "remapd_read_errors_total{device=\"data0\",class=\"medium\"} 9");
	assert_has(text, "remapd_write_errors_total{device=\"data0\",class=\"medium\"} 4");
	assert_has(text, "remapd_extents{device=\"data0\",state=\"suspect\"} 2");
	assert_has(text, "remapd_relocations_total{device=\"data0\",reason=\"proactive\"} 22");
	assert_has(text, "remapd_relocation_failures_total{device=\"data0\",reason=\"any\"} 2");
	assert_has(text, "remapd_remapped_sectors{device=\"data0\"} 248");
	assert_has(text, "remapd_unread_sectors{device=\"data0\"} 3");
	assert_has(text, "remapd_lost_sectors{device=\"data0\"} 0");
	assert_has(text, "remapd_spare_size_bytes{device=\"data0\"} 4194304");
	assert_has(text, "remapd_spare_used_bytes{device=\"data0\"} 126976");
	assert_has(text, "remapd_spare_retired_bytes{device=\"data0\"} 4096");
	assert_has(text, "remapd_metadata_errors_total{device=\"data0\"} 1");
	assert_has(text, "remapd_policy_mode{device=\"data0\",mode=\"act\"} 1");
	assert_has(text, "remapd_policy_mode{device=\"data0\",mode=\"off\"} 0");
	assert_has(text, "remapd_policy_held{device=\"data0\",guard=\"fresh-boot\"} 1");
	assert_has(text, "remapd_would_relocate_total{device=\"sda\"} 3");
	assert_has(text, "remapd_last_relocation_timestamp_seconds{device=\"data0\"} 1700000123.500");
	assert_null(strstr(text, "remapd_last_relocation_timestamp_seconds{device=\"sda\"}"));
	assert_null(strstr(text, "remapd_spare_size_bytes{device=\"sda\"}"));
	free(text);
	json_decref(root);
}

static void labels_are_escaped_exactly(void **state)
{
	json_t *root = load_state();
	json_t *device = json_array_get(json_object_get(root, "devices"), 1);
	char *text = metrics_of(root, METRICS_PROMETHEUS);

	assert_has(text, "remapd_device_info{device=\"data0\",dm_name=\"data0\",main=\"vdb\",spare=\"vdc\","
			 "wwn=\"wwn-0x5000c500\",serial=\"a\\\"b\\\\c\\nd\"} 1");
	assert_has(text, "remapd_device_info{device=\"sda\",dm_name=\"\",main=\"sda\",spare=\"\",wwn=\"\",serial=\"\"} 1");
	free(text);
	json_object_set_new(device, "serial", json_stringn("x\0\xc3\xa9", 4));
	text = metrics_of(root, METRICS_PROMETHEUS);
	assert_has(text, "remapd_device_info{device=\"sda\",dm_name=\"\",main=\"sda\",spare=\"\",wwn=\"\","
			 "serial=\"x\xef\xbf\xbd\xc3\xa9\"} 1");
	free(text);
	json_decref(root);
}

static void a_daemon_that_is_down_is_a_metric(void **state)
{
	char *text = metrics_of(NULL, METRICS_PROMETHEUS);

	assert_string_equal(text, "# HELP remapd_up 1 if remapd answered, else 0.\n# TYPE remapd_up gauge\nremapd_up 0\n");
	free(text);
}

static void openmetrics_has_its_own_form(void **state)
{
	json_t *root = load_state();
	char *text = metrics_of(root, METRICS_OPENMETRICS);

	assert_has(text, "# TYPE remapd_read_errors counter");
	assert_has(text, "remapd_read_errors_total{device=\"data0\",class=\"medium\"} 9");
	assert_has(text, "remapd_read_latency_seconds_bucket{device=\"data0\",le=\"1.0\"} 17");
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
	free(text);
	json_decref(root);
}

/* As many buckets and guards as remapd could ever send. */
static void a_device_has_at_most_120_series(void **state)
{
	json_t *root = load_state(), *buckets = json_array(), *guards = json_array();
	json_t *device = json_array_get(json_object_get(root, "devices"), 0);
	json_t *latency = json_object_get(device, "latency");
	char *text, name[32];
	int i;

	for (i = 0; i < 500; i++) {
		json_array_append_new(buckets, json_pack("{s:i, s:i}", "le_us", 3 + i * i, "count", i));
		snprintf(name, sizeof(name), "guard-%d", i);
		json_array_append_new(guards, json_string(name));
	}
	json_array_append_new(buckets, json_pack("{s:n, s:i}", "le_us", "count", 1));
	json_object_set(json_object_get(latency, "read"), "buckets", buckets);
	json_object_set_new(json_object_get(latency, "write"), "buckets", buckets);
	json_object_set_new(device, "held", guards);
	text = metrics_of(root, METRICS_PROMETHEUS);
	assert_in_range(check_form(text, "data0"), 100, 120);
	assert_has(text, "remapd_read_latency_seconds_count{device=\"data0\"} 124751");
	free(text);
	json_decref(root);
}

static void devices_of_one_name_are_one(void **state)
{
	json_t *root = load_state(), *devices = json_object_get(root, "devices");
	char *text;

	json_array_append(devices, json_array_get(devices, 0));
	json_array_append_new(devices, json_pack("{s:s}", "device", ""));
	json_array_append_new(devices, json_pack("[s]", "device"));
	text = metrics_of(root, METRICS_PROMETHEUS);
	check_form(text, NULL);
	free(text);
	json_decref(root);
}

/* One of the things that a value can be and should not. */
static json_t *odd_value(unsigned int choice)
{
	switch (choice % 10) {
	case 0:
		return json_null();
	case 1:
		return json_integer(-1);
	case 2:
		return json_integer(INT64_MAX);
	case 3:
		return json_string("\"\n\\}");
	case 4:
		return json_real(1e300);
	case 5:
		return json_array();
	case 6:
		return json_object();
	case 7:
		return json_true();
	case 8:
		return json_pack("[n, i, [{}]]", 5);
	default:
		return json_stringn("\0", 1);
	}
}

static size_t count_values(json_t *value)
{
	json_t *child;
	const char *key;
	size_t i, count = 0;

	json_object_foreach(value, key, child)
		count += 1 + count_values(child);
	json_array_foreach(value, i, child)
		count += 1 + count_values(child);
	return count;
}

/* Replaces value number *left below parent. */
static bool replace_value(json_t *parent, size_t *left, json_t *by)
{
	json_t *child;
	const char *key;
	size_t i;

	json_object_foreach(parent, key, child) {
		if (!(*left)--)
			return !json_object_set(parent, key, by);
		if (replace_value(child, left, by))
			return true;
	}
	json_array_foreach(parent, i, child) {
		if (!(*left)--)
			return !json_array_set(parent, i, by);
		if (replace_value(child, left, by))
			return true;
	}
	return false;
}

static void odd_json_comes_out_well_formed(void **state)
{
	json_t *root = load_state();
	size_t count = count_values(root), i;
	unsigned int choice;

	assert_true(count > 150);
	for (i = 0; i < count; i++) {
		for (choice = 0; choice < 10; choice++) {
			json_t *odd = json_deep_copy(root), *value = odd_value(choice);
			size_t left = i;
			char *text;

			assert_true(replace_value(odd, &left, value));
			text = metrics_of(odd, i % 2 ? METRICS_PROMETHEUS : METRICS_OPENMETRICS);
			check_form(text, NULL);
			free(text);
			json_decref(value);
			json_decref(odd);
		}
	}
	json_decref(root);
	for (choice = 0; choice < 10; choice++) {
		json_t *value = odd_value(choice);
		char *text = metrics_of(value, METRICS_PROMETHEUS);

		check_form(text, NULL);
		free(text);
		json_decref(value);
	}
}

static void formats_are_negotiated(void **state)
{
	assert_int_equal(metrics_negotiate(NULL), METRICS_PROMETHEUS);
	assert_int_equal(metrics_negotiate(""), METRICS_PROMETHEUS);
	assert_int_equal(metrics_negotiate("*/*"), METRICS_PROMETHEUS);
	assert_int_equal(metrics_negotiate("application/openmetrics-text"), METRICS_OPENMETRICS);
	assert_int_equal(metrics_negotiate("application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
					   "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"),
			 METRICS_OPENMETRICS);
	assert_int_equal(metrics_negotiate("text/plain, application/openmetrics-text; q=0.2"), METRICS_PROMETHEUS);
	assert_int_equal(metrics_negotiate("application/openmetrics-text;q=0, text/html"), METRICS_PROMETHEUS);
	assert_int_equal(metrics_negotiate(",,;;q=,"), METRICS_PROMETHEUS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_state_becomes_metrics),
		cmocka_unit_test(labels_are_escaped_exactly),
		cmocka_unit_test(a_daemon_that_is_down_is_a_metric),
		cmocka_unit_test(openmetrics_has_its_own_form),
		cmocka_unit_test(a_device_has_at_most_120_series),
		cmocka_unit_test(devices_of_one_name_are_one),
		cmocka_unit_test(odd_json_comes_out_well_formed),
		cmocka_unit_test(formats_are_negotiated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
