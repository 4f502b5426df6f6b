// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The daemon's parts that need no kernel: the target's map by extent, the events that are kept, evidence as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/health_image.h"
#include "loader/log.h"
#include "loader/remapd.h"

#define S 1000000000ULL
#define EXTENTS 64ULL

/* ---- the map ---- */

static void add(struct extent_map *map, uint64_t sector, uint64_t count, uint64_t unread, uint64_t lost)
{
	struct dmctl_run run = { .sector = sector, .count = count, .unread = unread, .lost = lost };

	assert_int_equal(extent_map_add(map, 2048, &run), 0);
}

static void test_map_sums_runs_by_extent(void **state)
{
	struct extent_map map = {};
	const struct extent_map_entry *entry;

	add(&map, 8, 8, 0, 0);
	add(&map, 24, 16, 3, 0);
	add(&map, 2040, 8 + 2048 + 16, 0, 2); /* over three extents */
	add(&map, 100 * 2048, 2048, 0, 0);
	assert_int_equal(map.count, 4);
	entry = extent_map_find(&map, 0);
	assert_int_equal(entry->mapped_sectors, 32);
	assert_int_equal(entry->unread_sectors, 3);
	assert_int_equal(entry->lost_sectors, 2);
	assert_int_equal(extent_map_find(&map, 1)->mapped_sectors, 2048);
	assert_int_equal(extent_map_find(&map, 2)->mapped_sectors, 16);
	assert_null(extent_map_find(&map, 3));
	assert_int_equal(extent_map_find(&map, 100)->mapped_sectors, 2048);
	assert_null(extent_map_find(&map, 101));
	extent_map_free(&map);
	assert_null(extent_map_find(&map, 0));
}

static void test_map_tells_failures_from_requests(void **state)
{
	const struct dmctl_run asked = { .sector = 8, .count = 16, .reason = DMCTL_REASON_PROACTIVE };
	struct extent_map map = {};

	assert_int_equal(extent_map_add(&map, 2048, &asked), 0);
	assert_int_equal(extent_map_find(&map, 0)->mapped_sectors, 16);
	assert_int_equal(extent_map_find(&map, 0)->failed_sectors, 0);
	add(&map, 32, 8, 0, 0);
	assert_int_equal(extent_map_find(&map, 0)->mapped_sectors, 24);
	assert_int_equal(extent_map_find(&map, 0)->failed_sectors, 8);
	extent_map_free(&map);
}

static void test_map_grows(void **state)
{
	struct extent_map map = {};
	uint64_t i;

	for (i = 0; i < 10000; i++)
		add(&map, i * 4096, 8, 0, 0);
	assert_int_equal(map.count, 10000);
	for (i = 0; i < 10000; i++) {
		assert_non_null(extent_map_find(&map, 2 * i));
		assert_null(extent_map_find(&map, 2 * i + 1));
	}
	extent_map_free(&map);
}

/* ---- events ---- */

static void test_events_keep_the_last(void **state)
{
	static struct event_log log;
	const struct event *event;
	uint64_t i;

	assert_null(event_from(&log, 0));
	for (i = 1; i <= 3000; i++)
		event_add(&log, EVENT_SLOW, LOG_DEBUG, "disk", i, "number %llu", (unsigned long long)i);
	event = event_from(&log, 0);
	assert_int_equal(event->seq, 3000 - EVENTS_KEPT + 1);
	assert_int_equal(event->extent, event->seq);
	assert_int_equal(event_from(&log, 2900)->seq, 2900);
	assert_string_equal(event_from(&log, 3000)->text, "number 3000");
	assert_null(event_from(&log, 3001));
	assert_null(event_from(&log, UINT64_MAX));
}

/* ---- evidence as bytes ---- */

static struct health *new_health(uint64_t extents)
{
	struct health_options options;
	struct health *health;
	size_t bytes;

	health_options_default(&options);
	options.table_extents = 64;
	bytes = health_bytes(&options);
	health = health_init(calloc(1, bytes), bytes, &options, extents * 2048, S);
	assert_non_null(health);
	return health;
}

/* Medium errors in some extents, one of which is moved. */
static struct health *seen_health(void)
{
	struct health *health = new_health(EXTENTS);
	uint64_t now_ns = 1000 * S, i;

	for (i = 0; i < 20; i++) {
		struct health_io io = {
			.class = HEALTH_CLASS_MEDIUM,
			.sector = (i % 5 * 7 + 3) * 2048,
			.sectors = 8,
			.issued_ns = now_ns - S / 100,
			.completed_ns = now_ns,
		};

		health_io(health, &io);
		now_ns += 30 * S;
		health_tick(health, now_ns);
	}
	health_fact(health, 10 * 2048, HEALTH_FACT_MOVED, now_ns);
	return health;
}

static void assert_same(struct health *a, struct health *b)
{
	uint64_t now_ns = 5000 * S, i;
	struct health_extent one, other;

	health_tick(a, now_ns);
	health_tick(b, now_ns);
	for (i = 0; i < EXTENTS; i++) {
		memset(&one, 0, sizeof(one));
		memset(&other, 0, sizeof(other));
		assert_true(health_extent(a, i, now_ns, &one));
		assert_true(health_extent(b, i, now_ns, &other));
		assert_int_equal(one.state, other.state);
		assert_int_equal(one.moved, other.moved);
		assert_memory_equal(one.errors, other.errors, sizeof(one.errors));
		assert_true(one.evidence == other.evidence);
		assert_true(one.risk == other.risk);
	}
}

static void test_image_brings_evidence_back(void **state)
{
	struct health *before = seen_health(), *after = new_health(EXTENTS);
	size_t bytes = health_image_bytes(before);
	struct health_extent extent;
	char *image = malloc(bytes);

	health_image_save(before, image);
	assert_true(health_extent(before, 3, 5000 * S, &extent));
	assert_true(extent.evidence > 1);
	assert_true(health_image_restore(after, image, bytes));
	assert_same(before, after);
	/* And it works on: what is added to both is the same again. */
	health_fact(before, 10 * 2048, HEALTH_FACT_RELEASED, 6000 * S);
	health_fact(after, 10 * 2048, HEALTH_FACT_RELEASED, 6000 * S);
	assert_same(before, after);
	free(image);
	free(before);
	free(after);
}

static void test_image_of_another_device_is_refused(void **state)
{
	struct health *before = seen_health(), *other = new_health(EXTENTS + 1), *untouched = new_health(EXTENTS + 1);
	size_t bytes = health_image_bytes(before), i;
	char *image = malloc(bytes);

	health_image_save(before, image);
	assert_false(health_image_restore(other, image, bytes));
	for (i = 0; i < bytes; i += 97)
		assert_false(health_image_restore(other, image, i));
	assert_memory_equal(other, untouched, sizeof(struct health_extent));
	free(image);
	free(before);
	free(other);
	free(untouched);
}

/* Another build's sizes, or a length that the rest belies. */
static void test_misfit_images(void **state)
{
	struct health *before = seen_health(), *after = new_health(EXTENTS);
	size_t bytes = health_image_bytes(before);
	char *image = malloc(bytes);
	unsigned int i;

	health_image_save(before, image);
	/* Each of the header's five numbers, raised and lowered. */
	for (i = 0; i < 5; i++) {
		uint32_t number, changed;
		int change;

		memcpy(&number, image + 4 * i, sizeof(number));
		for (change = -1; change <= 1; change += 2) {
			changed = number + change;
			memcpy(image + 4 * i, &changed, sizeof(changed));
			assert_false(health_image_restore(after, image, bytes));
		}
		memcpy(image + 4 * i, &number, sizeof(number));
	}
	assert_false(health_image_restore(after, image, bytes - 1));
	assert_true(health_image_restore(after, image, bytes));
	free(image);
	free(before);
	free(after);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map_sums_runs_by_extent),
		cmocka_unit_test(test_map_tells_failures_from_requests),
		cmocka_unit_test(test_map_grows),
		cmocka_unit_test(test_events_keep_the_last),
		cmocka_unit_test(test_image_brings_evidence_back),
		cmocka_unit_test(test_image_of_another_device_is_refused),
		cmocka_unit_test(test_misfit_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
