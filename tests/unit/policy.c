// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The policy: modes, caps, guards, threshold, which device; and the whole way from a slow read to a
 * move.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/policy.h"

#define MS   1000000ULL
#define S    1000000000ULL
#define HOUR (3600 * S)
#define NOW  (100 * HOUR)

/* An extent that is to be moved, on a device with nothing against it. */
struct scene {
	struct policy policy;
	struct policy_settings settings;
	struct health_extent extent;
	struct health_device device;
	struct policy_state state;
	struct policy_budget budget;
	struct policy_decision decision;
};

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	policy_default(&s->policy);
	s->settings = s->policy.settings;
	s->settings.mode = POLICY_ACT;
	s->extent = (struct health_extent){ .extent = 412,
					    .first_sector = 412 * 2048,
					    .sectors = 2048,
					    .state = HEALTH_SUSPECT,
					    .evidence = 3.1,
					    .visits = 4,
					    .anomalies = 4,
					    .recurrent = true,
					    .confirmed = 2,
					    .risk = 0.21,
					    .worst_ns = 840 * MS,
					    .first_seen_ns = NOW - 600 * S,
					    .last_seen_ns = NOW - 60 * S,
					    .yardstick_median_ns = MS,
					    .yardstick_p99_ns = 9 * MS,
					    .slow_limit_ns = 50 * MS,
					    .slow = 4 };
	s->state = (struct policy_state){ .device = &s->device,
					  .has_target = true,
					  .target_accepts = true,
					  .spare_size_sectors = 1 << 21,
					  .spare_free_sectors = 1 << 21,
					  .devices_degraded = 1 };
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static enum policy_action decide(struct scene *s)
{
	policy_decide(&s->settings, &s->extent, &s->state, &s->budget, NOW, &s->decision);
	return s->decision.action;
}

static void test_moves_when_all_is_passed(void **state)
{
	struct scene *s = *state;
	int g;

	assert_int_equal(decide(s), POLICY_RELOCATE);
	assert_int_equal(s->decision.reason, POLICY_WHY_ABOVE);
	assert_int_equal(s->decision.guard, POLICY_GUARDS);
	assert_float_equal(s->decision.threshold, 3.0 / 800, 1e-9);
	for (g = 0; g < POLICY_GUARDS; g++)
		assert_true(s->decision.guards[g].passed);
	policy_decide(&s->settings, &s->extent, &s->state, NULL, NOW, &s->decision);
	assert_int_equal(s->decision.action, POLICY_RELOCATE);
}

static void test_modes(void **state)
{
	struct scene *s = *state;

	s->settings.mode = POLICY_OBSERVE;
	assert_int_equal(decide(s), POLICY_WOULD_RELOCATE);
	assert_int_equal(s->decision.reason, POLICY_WHY_OBSERVE);
	s->settings.mode = POLICY_OFF;
	assert_int_equal(decide(s), POLICY_NONE);
	s->settings.mode = POLICY_ACT;
	s->state.has_target = false;
	assert_int_equal(decide(s), POLICY_WOULD_RELOCATE);
	assert_int_equal(s->decision.reason, POLICY_WHY_NO_TARGET);
}

static void test_not_without_evidence(void **state)
{
	struct scene *s = *state;

	s->extent.recurrent = false;
	assert_int_equal(decide(s), POLICY_WATCH);
	assert_int_equal(s->decision.reason, POLICY_WHY_NOT_RECURRENT);
	s->extent.recurrent = true;
	s->extent.risk = 0.003;
	assert_int_equal(decide(s), POLICY_WATCH);
	assert_int_equal(s->decision.reason, POLICY_WHY_BELOW);
	s->extent = (struct health_extent){ .extent = 1, .sectors = 2048, .risk = 1e-9 };
	assert_int_equal(decide(s), POLICY_NONE);
	assert_int_equal(s->decision.reason, POLICY_WHY_HEALTHY);
	s->extent.moved = true;
	assert_int_equal(decide(s), POLICY_NONE);
	assert_int_equal(s->decision.reason, POLICY_WHY_MOVED);
}

static void test_confirmations(void **state)
{
	struct scene *s = *state;

	s->extent.confirmed = 1;
	s->extent.next_reread_ns = NOW + 20 * S;
	assert_int_equal(decide(s), POLICY_WATCH);
	assert_int_equal(s->decision.reason, POLICY_WHY_UNCONFIRMED);
	assert_int_equal(s->decision.due_ns, NOW + 20 * S);
	s->extent.wants_reread = true;
	assert_int_equal(decide(s), POLICY_REREAD);
	assert_int_equal(s->decision.reason, POLICY_WHY_CANDIDATE);
	s->settings.confirmations = 0;
	s->extent.confirmed = 0;
	assert_int_equal(decide(s), POLICY_RELOCATE);
}

static void test_reread_cap(void **state)
{
	struct scene *s = *state;
	unsigned int i;

	s->extent.confirmed = 0;
	s->extent.wants_reread = true;
	s->settings.rereads_per_hour = 3;
	for (i = 0; i < 3; i++) {
		assert_int_equal(decide(s), POLICY_REREAD);
		policy_book_reread(&s->budget, NOW - (10 - i) * S);
	}
	assert_int_equal(decide(s), POLICY_WATCH);
	assert_int_equal(s->decision.reason, POLICY_WHY_REREAD_CAP);
	assert_int_equal(s->decision.due_ns, NOW - 10 * S + HOUR);
	s->settings.rereads_per_hour = 0;
	assert_int_equal(decide(s), POLICY_WATCH);
	/* A control is a re-read like any other. */
	s->extent =
		(struct health_extent){ .control = true, .wants_reread = true, .sectors = 2048 };
	assert_int_equal(decide(s), POLICY_WATCH);
	s->settings.rereads_per_hour = 4;
	assert_int_equal(decide(s), POLICY_REREAD);
	assert_int_equal(s->decision.reason, POLICY_WHY_CONTROL);
}

static void test_rate_cap(void **state)
{
	struct scene *s = *state;
	unsigned int i;

	s->settings.relocations_per_hour = 10;
	for (i = 0; i < 10; i++) {
		assert_int_equal(decide(s), POLICY_RELOCATE);
		policy_book_relocation(&s->budget, NOW - (100 - i) * S);
	}
	assert_int_equal(policy_relocations_last_hour(&s->budget, NOW), 10);
	assert_int_equal(decide(s), POLICY_HELD);
	assert_int_equal(s->decision.guard, POLICY_GUARD_RATE);
	assert_string_equal(s->decision.guards[POLICY_GUARD_RATE].text, "10 of 10 an hour");
	assert_int_equal(s->decision.due_ns, NOW - 100 * S + HOUR);
	/* When the first is an hour old, one more may go. */
	policy_decide(&s->settings, &s->extent, &s->state, &s->budget, NOW - 100 * S + HOUR,
		      &s->decision);
	assert_int_equal(s->decision.action, POLICY_RELOCATE);
	/* Lowered on reload, it holds at once, and until enough of them are old. */
	s->settings.relocations_per_hour = 4;
	assert_int_equal(decide(s), POLICY_HELD);
	assert_int_equal(s->decision.due_ns, NOW - 94 * S + HOUR);
	s->settings.relocations_per_hour = 0;
	assert_int_equal(decide(s), POLICY_HELD);
	/* In observe the cap counts too. */
	s->settings.relocations_per_hour = 10;
	s->settings.mode = POLICY_OBSERVE;
	assert_int_equal(decide(s), POLICY_HELD);
}

static void test_ring_wraps(void **state)
{
	struct scene *s = *state;
	unsigned int i;

	for (i = 0; i < 3 * POLICY_RATE_MAX + 7; i++)
		policy_book_relocation(&s->budget, NOW + i * S);
	assert_int_equal(policy_relocations_last_hour(&s->budget, NOW + i * S), POLICY_RATE_MAX);
	assert_int_equal(policy_relocations_last_hour(&s->budget, NOW + (i - 1) * S + HOUR), 0);
	assert_false(policy_acting(&s->budget, NOW + i * S + HOUR));
}

static void test_spare_reserve(void **state)
{
	struct scene *s = *state;

	s->state.spare_free_sectors = s->state.spare_size_sectors / 4 + 2048;
	assert_int_equal(decide(s), POLICY_RELOCATE);
	s->state.spare_free_sectors--;
	assert_int_equal(decide(s), POLICY_HELD);
	assert_int_equal(s->decision.guard, POLICY_GUARD_SPARE_RESERVE);
	/* The scarcer the spare, the dearer a move. */
	s->state.spare_free_sectors = s->state.spare_size_sectors / 2;
	decide(s);
	assert_float_equal(s->decision.threshold, 5.0 / 800, 1e-9);
	s->state.spare_free_sectors = 0;
	assert_int_not_equal(decide(s), POLICY_RELOCATE);
}

static void test_each_guard_holds(void **state)
{
	struct scene *s = *state;

	s->state.frozen = true;
	assert_int_equal(decide(s), POLICY_HELD);
	assert_int_equal(s->decision.guard, POLICY_GUARD_FROZEN);
	s->state.frozen = false;

	s->state.booted_ns = NOW - 599 * S;
	assert_int_equal(decide(s), POLICY_HELD);
	assert_int_equal(s->decision.guard, POLICY_GUARD_FRESH_BOOT);
	assert_int_equal(s->decision.due_ns, NOW + S);
	s->state.booted_ns = NOW - 600 * S;
	assert_int_equal(decide(s), POLICY_RELOCATE);

	s->device.in_baseline = true;
	s->device.baseline_until_ns = NOW + 5 * S;
	assert_int_equal(decide(s), POLICY_HELD);
	assert_int_equal(s->decision.guard, POLICY_GUARD_BASELINE);
	s->device.in_baseline = false;

	s->device.freeze = HEALTH_FREEZE_SLOW;
	s->device.frozen_until_ns = NOW + 5 * S;
	assert_int_equal(decide(s), POLICY_HELD);
	assert_int_equal(s->decision.guard, POLICY_GUARD_WHOLE_DEVICE);
	s->device.freeze = HEALTH_FREEZE_NONE;

	s->state.dropped_events_at_ns = NOW - 59 * S;
	assert_int_equal(decide(s), POLICY_HELD);
	assert_int_equal(s->decision.guard, POLICY_GUARD_DROPPED_EVENTS);
	s->state.dropped_events_at_ns = NOW - 60 * S;
	assert_int_equal(decide(s), POLICY_RELOCATE);

	s->state.target_accepts = false;
	assert_int_equal(decide(s), POLICY_HELD);
	assert_int_equal(s->decision.guard, POLICY_GUARD_TARGET);
	s->state.target_accepts = true;

	s->state.other_devices_acting = 1;
	assert_int_equal(decide(s), POLICY_HELD);
	assert_int_equal(s->decision.guard, POLICY_GUARD_DEVICES_AT_ONCE);
	s->settings.devices_at_once = 2;
	assert_int_equal(decide(s), POLICY_RELOCATE);
}

static void test_two_disks_slow_together(void **state)
{
	struct scene *s = *state;

	s->state.devices_degraded = 2;
	assert_int_equal(decide(s), POLICY_HELD);
	assert_int_equal(s->decision.guard, POLICY_GUARD_SEVERAL_DISKS);
	s->settings.several_disks = 3;
	assert_int_equal(decide(s), POLICY_RELOCATE);
	s->settings.several_disks = 0;
	s->state.devices_degraded = 100;
	assert_int_equal(decide(s), POLICY_RELOCATE);
}

static void test_backoff(void **state)
{
	struct scene *s = *state;

	s->extent.retry_after_ns = NOW + 60 * S;
	assert_int_equal(decide(s), POLICY_WATCH);
	assert_int_equal(s->decision.reason, POLICY_WHY_BACKOFF);
	assert_int_equal(s->decision.due_ns, NOW + 60 * S);
}

static void test_select(void **state)
{
	struct scene *s = *state;
	struct policy *p = &s->policy;
	struct policy_settings got;

	p->rules = 3;
	strcpy(p->rule[0].match.dm_name, "data*");
	strcpy(p->rule[0].match.serial, "Z?1");
	p->rule[0].settings.mode = POLICY_ACT;
	strcpy(p->rule[1].match.kernel_name, "sd[ab]");
	p->rule[1].settings.mode = POLICY_OBSERVE;
	strcpy(p->rule[2].match.dm_name, "scratch");
	p->rule[2].settings.mode = POLICY_OFF;

	assert_true(policy_select(p, &(struct policy_identity){ "data0", "sda", "", "ZX1" }, &got));
	assert_int_equal(got.mode, POLICY_ACT);
	/* All that is given must match; then the next rule, then the top level. */
	assert_true(
		policy_select(p, &(struct policy_identity){ "data0", "sda", "", "other" }, &got));
	assert_int_equal(got.mode, POLICY_OBSERVE);
	p->settings.relocations_per_hour = 77;
	assert_true(
		policy_select(p, &(struct policy_identity){ "data0", "sdz", NULL, NULL }, &got));
	assert_int_equal(got.relocations_per_hour, 77);
	assert_false(
		policy_select(p, &(struct policy_identity){ "scratch", "sdz", NULL, NULL }, &got));
	/* A device without target is watched only if it is named. */
	assert_true(policy_select(p, &(struct policy_identity){ NULL, "sda", NULL, NULL }, &got));
	assert_false(policy_select(p, &(struct policy_identity){ NULL, "sdz", NULL, NULL }, &got));
}

static void test_explain(void **state)
{
	struct scene *s = *state;
	struct health_extent near = s->extent;
	char text[2048], cut[40];
	size_t n;

	near.extent = 411;
	near.errors[HEALTH_CLASS_MEDIUM] = 2;
	s->extent.has_neighbour = true;
	s->extent.neighbour_extent = 411;
	s->extent.neighbours = 1.8;
	policy_book_relocation(&s->budget, NOW - S);
	decide(s);
	n = policy_explain(&s->settings, &s->extent, &near, &s->state, &s->decision, NOW, text,
			   sizeof(text));
	assert_int_equal(n, strlen(text));
	assert_non_null(strstr(text, "extent 412 (412–413 MiB)  SUSPECT, moves now\n"));
	assert_non_null(strstr(text, "worst 840 ms; device median 1 ms, p99 9 ms (93x)"));
	assert_non_null(strstr(text, "evidence 3.1, visits 4"));
	assert_non_null(strstr(text, "neighbours add 1.8, most of it extent 411: 2 medium errors"));
	assert_non_null(strstr(text, "chance of loss in the next 7 days 0.21 > threshold 0.0037"));
	assert_non_null(strstr(text, "rate (1 of 10 an hour)"));
	assert_int_equal(text[n - 1], '\n');
	assert_int_equal(policy_explain(&s->settings, &s->extent, &near, &s->state, &s->decision,
					NOW, cut, sizeof(cut)),
			 n);
	assert_int_equal(strlen(cut), sizeof(cut) - 1);

	s->state.devices_degraded = 2;
	decide(s);
	policy_explain(&s->settings, &s->extent, NULL, &s->state, &s->decision, NOW, text,
		       sizeof(text));
	assert_non_null(strstr(text, "held by several-disks: 2 of 2 degrade at once"));
	assert_non_null(strstr(text, "guards that hold: several-disks"));
	n = policy_reason_text(&s->settings, &s->extent, &s->decision, text, sizeof(text));
	assert_null(strchr(text, '\n'));
	assert_non_null(strstr(text, "risk 0.21 above threshold 0.0037"));
	/* Nothing known, moved, short: no text leaves anything out or breaks. */
	s->extent = (struct health_extent){ .extent = 3, .first_sector = 3 * 2048, .sectors = 100 };
	decide(s);
	policy_explain(&s->settings, &s->extent, NULL, &s->state, &s->decision, NOW, text,
		       sizeof(text));
	assert_non_null(strstr(
		text, "extent 3 (sectors 6144–6243)  OK, stays where it is\n  nothing unusual"));
}

static void test_names(void **state)
{
	assert_string_equal(policy_mode_name(POLICY_OBSERVE), "observe");
	assert_string_equal(policy_action_name(POLICY_WOULD_RELOCATE), "would-relocate");
	assert_string_equal(policy_reason_name(POLICY_WHY_REREAD_CAP), "reread-cap");
	assert_string_equal(policy_guard_name(POLICY_GUARD_RATE), "rate");
	assert_string_equal(policy_guard_name((enum policy_guard)99), "unknown");
}

/* ---- from the first slow read to the move ---- */

/* The quick policy of a demonstration: acts within seconds. */
static void quicken(struct policy_settings *s)
{
	s->mode = POLICY_ACT;
	s->fresh_boot_ns = 0;
	s->health.baseline_ns = 0;
	s->health.incident_gap_ns = S / 2;
	s->health.reread_interval_ns = S;
	s->confirmations = 2;
}

/*
 * A daemon's round: extent 412 is slow if bad; returns the time from the first slow read to the
 * move, or 0 after 60 s.
 */
static uint64_t live(struct scene *s, bool bad, unsigned int *moved)
{
	uint64_t now = NOW, until = NOW + 60 * S, took = 0;
	struct health_extent review[16];
	struct health_device device;
	size_t bytes = health_bytes(&s->settings.health), n, i;
	struct health *h = health_init(malloc(bytes), bytes, &s->settings.health, 1024 * 2048, now);
	struct health_io io = { HEALTH_READ, HEALTH_CLASS_OK, 412 * 2048 + 64, 256,
				now,	     now + 700 * MS };

	*moved = 0;
	health_io(h, &io);
	for (now += 800 * MS; now < until; now += 250 * MS) {
		health_tick(h, now);
		health_device(h, now, &device);
		s->state.device = &device;
		n = health_review(h, now, review, 16);
		for (i = 0; i < n; i++) {
			policy_decide(&s->settings, &review[i], &s->state, &s->budget, now,
				      &s->decision);
			if (s->decision.action == POLICY_REREAD) {
				policy_book_reread(&s->budget, now);
				health_probe(h, review[i].reread_sector, review[i].reread_sectors,
					     HEALTH_CLASS_OK,
					     bad && review[i].extent == 412 ? 700 * MS : 3 * MS,
					     now);
			} else if (s->decision.action == POLICY_RELOCATE) {
				assert_int_equal(review[i].extent, 412);
				policy_book_relocation(&s->budget, now);
				health_fact(h, review[i].first_sector, HEALTH_FACT_MOVED, now);
				took = now - NOW;
				++*moved;
			}
		}
	}
	free(h);
	return took;
}

static void test_quick_policy_moves_within_ten_seconds(void **state)
{
	struct scene *s = *state;
	unsigned int moved;
	uint64_t took;

	quicken(&s->settings);
	took = live(s, true, &moved);
	assert_int_equal(moved, 1);
	assert_in_range(took, 1, 10 * S);
}

static void test_one_slow_read_never_moves(void **state)
{
	struct scene *s = *state;
	unsigned int moved;

	quicken(&s->settings);
	live(s, false, &moved);
	assert_int_equal(moved, 0);
	/* The same without any confirmation, even if a move cost nothing. */
	s->settings.confirmations = 0;
	s->settings.rereads_per_hour = 0;
	s->settings.cost_move = s->settings.cost_spare = 0;
	live(s, true, &moved);
	assert_int_equal(moved, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_moves_when_all_is_passed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_modes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_without_evidence, setup, teardown),
		cmocka_unit_test_setup_teardown(test_confirmations, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reread_cap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rate_cap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ring_wraps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_spare_reserve, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_guard_holds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_disks_slow_together, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backoff, setup, teardown),
		cmocka_unit_test_setup_teardown(test_select, setup, teardown),
		cmocka_unit_test_setup_teardown(test_explain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quick_policy_moves_within_ten_seconds, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_one_slow_read_never_moves, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
