// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The health model: what must move nothing, what must be found, and that it stays bounded. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/health.h"
#include "loader/health_model.h"

#define MS	   1000000ULL
#define S	   1000000000ULL
#define EXTENTS	   1024ULL
#define REVIEW_MAX 64

/*
 * A device of 1 GiB that has run for an hour, 4 ms a read; time starts late, so that 0 is never a
 * real time.
 */
struct device {
	struct health *h;
	struct health_options opt;
	uint64_t now;
};

static void period_of(struct device *d, uint64_t median_ns, uint64_t ios)
{
	struct health_period p;
	unsigned int c;

	memset(&p, 0, sizeof(p));
	for (c = 0; c < HEALTH_SIZE_CLASSES; c++)
		p.lat[HEALTH_READ][c] = (struct health_latency){ ios, median_ns, 4 * median_ns };
	health_period(d->h, &p, d->now);
}

static void setup_with(struct device *d, const struct health_options *opt)
{
	int minute;

	d->opt = *opt;
	d->now = 1000 * S;
	d->h = health_init(malloc(health_bytes(opt)), health_bytes(opt), opt,
			   EXTENTS * opt->extent_sectors, d->now);
	assert_non_null(d->h);
	for (minute = 0; minute < 60; minute++) {
		d->now += 60 * S;
		period_of(d, 4 * MS, 1000);
	}
	health_tick(d->h, d->now);
}

static void setup(struct device *d)
{
	struct health_options opt;

	health_options_default(&opt);
	setup_with(d, &opt);
}

static void teardown(struct device *d)
{
	free(d->h);
}

/* An I/O of 8 sectors that was issued now and took so long. Time goes on when it is over. */
static void io(struct device *d, uint64_t extent, enum health_class class, uint64_t latency_ns)
{
	struct health_io x = { HEALTH_READ, class,  extent * d->opt.extent_sectors + 16,
			       8,	    d->now, d->now + latency_ns };

	d->now += latency_ns;
	health_io(d->h, &x);
}

static void pass(struct device *d, uint64_t ns)
{
	d->now += ns;
	health_tick(d->h, d->now);
}

static struct health_extent look(struct device *d, uint64_t extent)
{
	struct health_extent x;

	assert_true(health_extent(d->h, extent, d->now, &x));
	return x;
}

/*
 * Does every re-read that is asked for; extents in [bad, bad + bads) are slow. Returns how many
 * were of such.
 */
static unsigned int reread_all(struct device *d, uint64_t bad, uint64_t bads)
{
	struct health_extent x[REVIEW_MAX];
	unsigned int found = 0;
	int round;

	/* Controls are asked for by findings, so that it takes rounds. */
	for (round = 0; round < 4; round++) {
		size_t n = health_review(d->h, d->now, x, REVIEW_MAX), i;

		for (i = 0; i < n; i++) {
			bool is_bad = x[i].extent >= bad && x[i].extent < bad + bads;

			if (!x[i].wants_reread)
				continue;
			assert_in_range(x[i].reread_sector, x[i].first_sector,
					x[i].first_sector + x[i].sectors - 1);
			d->now += 10 * MS;
			health_probe(d->h, x[i].reread_sector, x[i].reread_sectors, HEALTH_CLASS_OK,
				     is_bad ? 800 * MS : 5 * MS, d->now);
			found += is_bad;
		}
		health_tick(d->h, d->now);
	}
	return found;
}

static void test_one_slow_read_moves_nothing(void **state)
{
	struct health_extent x;
	struct device d;

	setup(&d);
	io(&d, 412, HEALTH_CLASS_OK, 2 * S);
	pass(&d, 5 * S);
	x = look(&d, 412);
	assert_int_equal(x.state, HEALTH_SLOW);
	assert_int_equal(x.slow, 1);
	assert_false(x.recurrent);
	assert_true(x.risk < 1e-6);
	/* ... and not even if nobody can re-read it, for a month. */
	pass(&d, 30 * 86400 * S);
	assert_true(look(&d, 412).risk < 1e-6);
	/* Its one re-read is fine: nothing but a memory of it is left. */
	reread_all(&d, 0, 0);
	x = look(&d, 412);
	assert_int_equal(x.state, HEALTH_OK);
	assert_true(x.evidence > 0 && x.evidence < 0.2);
	assert_int_equal(x.next_reread_ns, 0);
	teardown(&d);
}

static void test_slow_many_times_at_once_is_one_incident(void **state)
{
	struct device d;
	int i;

	setup(&d);
	for (i = 0; i < 9; i++) {
		io(&d, 412, HEALTH_CLASS_OK, 500 * MS);
		pass(&d, 300 * MS);
	}
	assert_int_equal(look(&d, 412).slow, 9);
	assert_float_equal(look(&d, 412).anomalies, 1, 1e-6);
	assert_int_equal(look(&d, 412).state, HEALTH_SLOW);
	teardown(&d);
}

static void test_recurrent_slow_becomes_suspect(void **state)
{
	struct health_extent x, changed[8];
	struct device d;
	double risk = 0;
	int i;

	setup(&d);
	for (i = 0; i < 4; i++) {
		io(&d, 412, HEALTH_CLASS_OK, 840 * MS);
		pass(&d, 60 * S);
		x = look(&d, 412);
		assert_true(x.risk >= risk);
		risk = x.risk;
	}
	assert_int_equal(x.state, HEALTH_SUSPECT);
	assert_true(x.recurrent);
	assert_true(x.risk > d.opt.suspect_risk);
	assert_int_equal(x.worst_ns, 840 * MS);
	assert_int_equal(x.yardstick_median_ns, 4 * MS);
	assert_int_equal(look(&d, 411).state, HEALTH_OK);
	assert_int_equal(health_changes(d.h, d.now, changed, 8), 1);
	assert_int_equal(changed[0].extent, 412);
	assert_int_equal(changed[0].state, HEALTH_SUSPECT);
	assert_int_equal(health_changes(d.h, d.now, changed, 8), 0);
	teardown(&d);
}

static void test_confirmed_by_rereads(void **state)
{
	struct health_extent x;
	struct device d;

	setup(&d);
	io(&d, 412, HEALTH_CLASS_OK, 840 * MS);
	pass(&d, 31 * S);
	assert_true(look(&d, 412).wants_reread);
	assert_int_equal(reread_all(&d, 412, 1), 1);
	x = look(&d, 412);
	assert_int_equal(x.confirmed, 1);
	assert_true(x.recurrent);
	assert_false(x.wants_reread);
	pass(&d, 31 * S);
	assert_int_equal(reread_all(&d, 412, 1), 1);
	x = look(&d, 412);
	assert_int_equal(x.confirmed, 2);
	assert_int_equal(x.state, HEALTH_SUSPECT);
	/* A re-read that is fine takes the confirmation back. */
	pass(&d, 31 * S);
	reread_all(&d, 0, 0);
	assert_int_equal(look(&d, 412).confirmed, 0);
	assert_int_not_equal(look(&d, 412).state, HEALTH_SUSPECT);
	teardown(&d);
}

static void test_rereads_are_bounded(void **state)
{
	struct device d;
	unsigned int rereads = 0;
	int i;

	setup(&d);
	io(&d, 412, HEALTH_CLASS_OK, 840 * MS);
	for (i = 0; i < 100; i++) {
		pass(&d, 31 * S);
		rereads += reread_all(&d, 412, 1);
	}
	assert_int_equal(rereads, d.opt.reread_max);
	teardown(&d);
}

/* Thirty reads queue behind one that retries for 2 s; all complete when it does. */
static void stall(struct device *d, uint64_t first, unsigned int members)
{
	unsigned int i;

	for (i = 0; i < members; i++) {
		struct health_io x = {
			HEALTH_READ, HEALTH_CLASS_OK, (first + i * 7) * d->opt.extent_sectors,
			8,	     d->now + i * MS, d->now + 2 * S + i * MS
		};

		health_io(d->h, &x);
	}
	d->now += 2 * S + members * MS;
}

static void test_stall_singles_out_one(void **state)
{
	struct health_device dev;
	struct health_extent x;
	struct device d;
	unsigned int i, round;

	setup(&d);
	stall(&d, 100, 31);
	pass(&d, S);
	health_device(d.h, d.now, &dev);
	assert_int_equal(dev.stalls, 1);
	assert_int_equal(dev.slow_extents, 0);
	for (i = 0; i < 31; i++)
		assert_float_equal(look(&d, 100 + i * 7).anomalies, 1.0 / 31, 1e-6);
	/* Which one was it? The re-reads say: the fourth. */
	for (round = 0; round < 3; round++) {
		pass(&d, 31 * S);
		reread_all(&d, 121, 1);
	}
	for (i = 0; i < 31; i++) {
		x = look(&d, 100 + i * 7);
		assert_int_equal(x.state, x.extent == 121 ? HEALTH_SUSPECT : HEALTH_OK);
	}
	teardown(&d);
}

static void test_hot_extent_in_many_stalls_stays(void **state)
{
	struct device d;
	int i;

	/*
	 * An extent that is always in the queue is a victim of every stall, and is fine whenever it
	 * is asked.
	 */
	setup(&d);
	for (i = 0; i < 30; i++) {
		stall(&d, 100 + i % 3, 30);
		pass(&d, 40 * S);
		reread_all(&d, 0, 0);
	}
	assert_int_not_equal(look(&d, 100).state, HEALTH_SUSPECT);
	assert_true(look(&d, 100).risk < 1e-6);
	teardown(&d);
}

static void test_error_explains_the_stall(void **state)
{
	struct device d;

	setup(&d);
	stall(&d, 100, 10);
	d.now -= 2 * S;
	io(&d, 500, HEALTH_CLASS_MEDIUM, 2 * S);
	pass(&d, 60 * S);
	assert_float_equal(look(&d, 100).evidence, 0, 1e-9);
	assert_false(look(&d, 100).wants_reread);
	assert_float_equal(look(&d, 500).evidence, HEALTH_WEIGHT_MEDIUM, 1e-6);
	teardown(&d);
}

static void test_whole_device_slow_freezes(void **state)
{
	struct health_device dev;
	struct device d;
	unsigned int i;

	setup(&d);
	for (i = 0; i < 200; i++) {
		if (i % 20 == 19) {
			period_of(&d, 400 * MS, 20);
			health_tick(d.h, d.now);
		}
		io(&d, i * 5, HEALTH_CLASS_OK, 400 * MS);
	}
	health_device(d.h, d.now, &dev);
	assert_int_equal(dev.freeze, HEALTH_FREEZE_SLOW);
	assert_true(dev.degraded);
	assert_true(dev.ignored > 100);
	assert_int_equal(dev.suspect_extents + dev.slow_extents, 0);
	/*
	 * What came before the freeze was noticed is taken back as well: each of these stalls was
	 * over before.
	 */
	for (i = 0; i < 200; i++)
		assert_float_equal(look(&d, i * 5).evidence, 0, 1e-9);
	/* The yardstick did not learn from it, and judgement comes back. */
	assert_int_equal(dev.yardstick[HEALTH_READ][0].median_ns, 4 * MS);
	pass(&d, 61 * S);
	period_of(&d, 4 * MS, 1000);
	health_device(d.h, d.now, &dev);
	assert_int_equal(dev.freeze, HEALTH_FREEZE_NONE);
	teardown(&d);
}

static void test_busy_with_a_bad_region_is_not_frozen(void **state)
{
	struct health_device dev;
	struct device d;
	unsigned int i;

	setup(&d);
	for (i = 0; i < 40; i++) {
		io(&d, 412 + i % 6, HEALTH_CLASS_OK, 400 * MS);
		pass(&d, 400 * MS);
		if (i % 20 == 19)
			period_of(&d, 400 * MS, 20);
	}
	health_device(d.h, d.now, &dev);
	assert_int_equal(dev.freeze, HEALTH_FREEZE_NONE);
	assert_int_equal(dev.slow_extents + dev.suspect_extents, 6);
	teardown(&d);
}

/* A whole device that is slow while it is read from one end to the other. */
static void test_slow_and_sequential_freezes(void **state)
{
	struct health_device dev;
	struct device d;
	unsigned int i;

	setup(&d);
	for (i = 0; i < 40; i++) {
		io(&d, i, HEALTH_CLASS_OK, 400 * MS);
		if (i % 20 == 19)
			period_of(&d, 400 * MS, 20);
	}
	health_device(d.h, d.now, &dev);
	assert_int_equal(dev.freeze, HEALTH_FREEZE_SLOW);
	teardown(&d);
}

static void test_slow_controls_freeze(void **state)
{
	struct health_device dev;
	struct device d;

	setup(&d);
	io(&d, 412, HEALTH_CLASS_OK, 840 * MS);
	pass(&d, 31 * S);
	reread_all(&d, 0, EXTENTS);
	health_device(d.h, d.now, &dev);
	assert_int_equal(dev.freeze, HEALTH_FREEZE_CONTROL);
	assert_int_equal(look(&d, 412).confirmed, 0);
	assert_false(look(&d, 412).recurrent);
	teardown(&d);
}

static void test_control_is_not_accused(void **state)
{
	struct health_extent x[8];
	struct device d;
	size_t n;

	setup(&d);
	io(&d, 412, HEALTH_CLASS_OK, 840 * MS);
	pass(&d, 31 * S);
	n = health_review(d.h, d.now, x, 8);
	assert_int_equal(n, 1);
	assert_false(x[0].control);
	health_probe(d.h, x[0].reread_sector, x[0].reread_sectors, HEALTH_CLASS_OK, 700 * MS,
		     d.now);
	assert_int_equal(look(&d, 412).confirmed, 0);
	n = health_review(d.h, d.now, x, 8);
	assert_int_equal(n, 2);
	assert_true(x[1].control && x[1].wants_reread);
	assert_int_not_equal(x[1].extent, 412);
	health_probe(d.h, x[1].reread_sector, x[1].reread_sectors, HEALTH_CLASS_OK, 5 * MS, d.now);
	assert_int_equal(look(&d, 412).confirmed, 1);
	assert_int_equal(health_review(d.h, d.now, x, 8), 1);
	/* What is forgotten needs no comparison any more. */
	pass(&d, 31 * S);
	health_probe(d.h, x[0].reread_sector, x[0].reread_sectors, HEALTH_CLASS_OK, 700 * MS,
		     d.now);
	assert_int_equal(health_review(d.h, d.now, x, 8), 2);
	health_fact(d.h, 412 * 2048, HEALTH_FACT_RELEASED, d.now);
	pass(&d, S);
	assert_int_equal(health_review(d.h, d.now, x, 8), 0);
	teardown(&d);
}

static void test_old_known_error_is_baseline(void **state)
{
	struct health_options opt;
	struct device d;
	int i;

	setup(&d);
	health_baseline(d.h, 412 * d.opt.extent_sectors + 16, 8);
	for (i = 0; i < 10; i++) {
		io(&d, 412, HEALTH_CLASS_MEDIUM, 20 * MS);
		pass(&d, 60 * S);
	}
	assert_int_equal(look(&d, 412).baseline_errors, 10);
	assert_float_equal(look(&d, 412).evidence, 0, 1e-9);
	assert_int_equal(look(&d, 412).state, HEALTH_OK);
	teardown(&d);

	/*
	 * Errors in the first minutes are old ones too; the same sector later is no news, another
	 * sector is.
	 */
	health_options_default(&opt);
	opt.baseline_ns = 7200 * S;
	setup_with(&d, &opt);
	io(&d, 500, HEALTH_CLASS_MEDIUM, 20 * MS);
	pass(&d, 7200 * S);
	io(&d, 500, HEALTH_CLASS_MEDIUM, 20 * MS);
	pass(&d, 60 * S);
	assert_float_equal(look(&d, 500).evidence, 0, 1e-9);
	health_io(d.h, &(struct health_io){ HEALTH_READ, HEALTH_CLASS_MEDIUM, 500 * 2048 + 800, 8,
					    d.now, d.now + MS });
	pass(&d, S);
	assert_float_equal(look(&d, 500).evidence, 1, 1e-6);
	teardown(&d);
}

static void test_medium_errors(void **state)
{
	struct device d;

	setup(&d);
	io(&d, 412, HEALTH_CLASS_MEDIUM, 20 * MS);
	pass(&d, 60 * S);
	assert_int_equal(look(&d, 412).state, HEALTH_SLOW);
	assert_true(look(&d, 412).risk < 1e-6);
	assert_true(look(&d, 412).wants_reread);
	io(&d, 412, HEALTH_CLASS_MEDIUM, 20 * MS);
	pass(&d, 60 * S);
	assert_int_equal(look(&d, 412).state, HEALTH_SUSPECT);
	assert_int_equal(look(&d, 412).errors[HEALTH_CLASS_MEDIUM], 2);
	teardown(&d);
}

static void test_timeouts_need_others_to_answer(void **state)
{
	struct device d;
	int i;

	setup(&d);
	for (i = 0; i < 4; i++) {
		io(&d, 412, HEALTH_CLASS_TIMEOUT, 7 * S);
		pass(&d, 60 * S);
	}
	assert_float_equal(look(&d, 412).evidence, 0, 1e-9);
	for (i = 0; i < 4; i++) {
		io(&d, 412, HEALTH_CLASS_TIMEOUT, 7 * S);
		pass(&d, 60 * S);
		reread_all(&d, 412, 1);
	}
	assert_int_equal(look(&d, 412).state, HEALTH_SUSPECT);
	teardown(&d);
}

static void test_cable_and_outage(void **state)
{
	struct health_device dev;
	struct device d;
	unsigned int i;

	setup(&d);
	io(&d, 412, HEALTH_CLASS_TRANSPORT, 20 * MS);
	health_device(d.h, d.now, &dev);
	assert_int_equal(dev.freeze, HEALTH_FREEZE_STORM);
	assert_float_equal(look(&d, 412).evidence, 0, 1e-9);
	teardown(&d);

	setup(&d);
	for (i = 0; i < 100; i++)
		io(&d, i * 3, HEALTH_CLASS_OTHER, 10 * MS);
	pass(&d, S);
	health_device(d.h, d.now, &dev);
	assert_int_equal(dev.freeze, HEALTH_FREEZE_STORM);
	for (i = 0; i < 100; i++)
		assert_float_equal(look(&d, i * 3).evidence, 0, 1e-9);
	teardown(&d);
}

static void test_neighbours_raise_the_risk(void **state)
{
	struct health_extent near, far, review[8];
	struct device d;
	int i;

	/* What was seen once is no neighbour to speak of. */
	setup(&d);
	io(&d, 411, HEALTH_CLASS_MEDIUM, 20 * MS);
	pass(&d, 60 * S);
	assert_false(look(&d, 412).has_neighbour);
	teardown(&d);

	setup(&d);
	for (i = 0; i < 4; i++) {
		io(&d, 411, HEALTH_CLASS_MEDIUM, 20 * MS);
		pass(&d, 60 * S);
	}
	for (i = 0; i < 2; i++) {
		io(&d, 412, HEALTH_CLASS_OK, 400 * MS);
		pass(&d, 15 * S);
		io(&d, 900, HEALTH_CLASS_OK, 400 * MS);
		pass(&d, 15 * S);
	}
	near = look(&d, 412);
	far = look(&d, 900);
	assert_true(near.has_neighbour);
	assert_int_equal(near.neighbour_extent, 411);
	assert_float_equal(near.neighbours, 4, 1e-6);
	assert_false(far.has_neighbour);
	assert_float_equal(near.evidence, far.evidence, 1e-6);
	assert_true(near.risk > 10 * far.risk);
	assert_int_equal(health_review(d.h, d.now, review, 2), 2);
	assert_int_equal(review[0].extent, 411);
	assert_int_equal(review[1].extent, 412);
	assert_int_equal(health_review(d.h, d.now, review, 8), 3);
	assert_int_equal(review[2].extent, 900);
	/* Next to a site, but without evidence of its own: raised, though far from worth a move. */
	near = look(&d, 410);
	assert_true(near.risk > look(&d, 1000).risk);
	assert_true(near.risk < 1e-4);
	teardown(&d);
}

static void test_decay(void **state)
{
	struct device d;
	double evidence;
	int i;

	setup(&d);
	for (i = 0; i < 4; i++) {
		io(&d, 412, HEALTH_CLASS_OK, 840 * MS);
		pass(&d, 60 * S);
	}
	evidence = look(&d, 412).evidence;
	/* Unread, it is remembered. */
	pass(&d, 30 * 86400 * S);
	assert_float_equal(look(&d, 412).evidence, evidence, 1e-9);
	/* A thousand reads within a minute are one visit. */
	health_exposure(d.h, 412 * 2048, 2048, 1000, 1000 * 2048, 60 * S, d.now);
	assert_float_equal(look(&d, 412).visits, 1, 0.1);
	assert_true(look(&d, 412).evidence > 0.9 * evidence);
	/* 15 more visits over a month halve it. */
	for (i = 0; i < 15; i++) {
		d.now += 2 * 86400 * S;
		health_exposure(d.h, 412 * 2048, 2048, 4, 2048, 60 * S, d.now);
	}
	health_tick(d.h, d.now);
	assert_float_equal(look(&d, 412).evidence, evidence / 2, 0.01);
	/* A hot spot forgets no faster than the floor. */
	evidence = look(&d, 412).evidence;
	for (i = 0; i < 24 * 60; i++) {
		d.now += 60 * S;
		health_exposure(d.h, 412 * 2048, 2048, 1000, 100 * 2048, 60 * S, d.now);
	}
	pass(&d, S);
	assert_float_equal(look(&d, 412).evidence, evidence / 2, 0.01);
	assert_int_not_equal(look(&d, 412).state, HEALTH_SUSPECT);
	teardown(&d);
}

static void test_facts(void **state)
{
	struct health_extent x;
	struct device d;
	int i;

	setup(&d);
	for (i = 0; i < 4; i++) {
		io(&d, 412, HEALTH_CLASS_MEDIUM, 20 * MS);
		pass(&d, 60 * S);
	}
	health_fact(d.h, 412 * 2048, HEALTH_FACT_MOVE_FAILED, d.now);
	assert_int_equal(look(&d, 412).retry_after_ns, d.now + 60 * S);
	health_fact(d.h, 412 * 2048, HEALTH_FACT_MOVE_FAILED, d.now);
	assert_int_equal(look(&d, 412).retry_after_ns, d.now + 120 * S);
	health_fact(d.h, 412 * 2048 + 77, HEALTH_FACT_MOVED, d.now);
	x = look(&d, 412);
	assert_true(x.moved);
	assert_false(x.wants_reread);
	io(&d, 412, HEALTH_CLASS_MEDIUM, 20 * MS);
	pass(&d, 86400 * S);
	assert_float_equal(look(&d, 412).evidence, x.evidence, 1e-9);
	assert_int_equal(health_review(d.h, d.now, &x, 1), 0);
	health_fact(d.h, 412 * 2048, HEALTH_FACT_RELEASED, d.now);
	assert_false(look(&d, 412).moved);
	assert_float_equal(look(&d, 412).evidence, 0, 1e-9);
	teardown(&d);
}

static void test_spanning_io_shares(void **state)
{
	struct device d;
	struct health_io x;

	setup(&d);
	x = (struct health_io){ HEALTH_READ, HEALTH_CLASS_OK, 412 * 2048 - 8,
				16,	     d.now,	      d.now + 900 * MS };
	health_io(d.h, &x);
	pass(&d, 5 * S);
	assert_float_equal(look(&d, 411).anomalies, 0.5, 1e-6);
	assert_float_equal(look(&d, 412).anomalies, 0.5, 1e-6);
	pass(&d, 60 * S);
	assert_int_equal(look(&d, 411).reread_sector, 412 * 2048 - 8);
	assert_int_equal(look(&d, 411).reread_sectors, 8);
	assert_int_equal(look(&d, 412).reread_sector, 412 * 2048);
	assert_int_equal(look(&d, 412).reread_sectors, 8);
	teardown(&d);
}

static void test_yardstick(void **state)
{
	struct health_options opt;
	struct health_period p;
	struct device d;
	int i;

	setup(&d);
	assert_int_equal(health_slow_ns(d.h, HEALTH_READ, 8), 50 * MS);
	assert_int_equal(health_slow_ns(d.h, HEALTH_WRITE, 8), 50 * MS);
	teardown(&d);

	health_options_default(&opt);
	opt.slow_min_ns = MS;
	setup_with(&d, &opt);
	assert_int_equal(health_slow_ns(d.h, HEALTH_READ, 8), 32 * MS);
	/* One bad minute moves the median little, and the p99 has a limit. */
	memset(&p, 0, sizeof(p));
	p.lat[HEALTH_READ][0] = (struct health_latency){ 1000, 12 * MS, 3000 * MS };
	d.now += 60 * S;
	health_period(d.h, &p, d.now);
	assert_int_equal(health_slow_ns(d.h, HEALTH_READ, 8), 32 * MS);
	/*
	 * Even if it is huge in each minute: the p99 counts for at most twice what the median does.
	 */
	p.lat[HEALTH_READ][3] = (struct health_latency){ 1000, 4 * MS, 3000 * MS };
	teardown(&d);
	health_options_default(&opt);
	opt.slow_min_ns = MS;
	setup_with(&d, &opt);
	for (i = 0; i < 60; i++) {
		d.now += 60 * S;
		health_period(d.h, &p, d.now);
	}
	assert_int_equal(health_slow_ns(d.h, HEALTH_READ, 4096), 64 * MS);
	/* Nonsense does no harm. */
	memset(&p, 0xff, sizeof(p));
	d.now += 60 * S;
	health_period(d.h, &p, d.now);
	assert_true(health_slow_ns(d.h, HEALTH_READ, 8) > 0);
	teardown(&d);
}

static void test_options_out_of_range(void **state)
{
	static uint64_t memory[1 << 20];
	struct health_options good, bad;
	struct health_extent x;
	struct health_io io;
	struct health *h;

	health_options_default(&good);
	bad = good;
	bad.table_extents = 63;
	assert_int_equal(health_bytes(&bad), 0);
	assert_null(health_init(memory, sizeof(memory), &bad, 4096, 0));
	bad = good;
	bad.prior_shape = NAN;
	assert_int_equal(health_bytes(&bad), 0);
	assert_null(health_init(memory, 100, &good, 4096, 0));
	assert_true(health_bytes(&good) < 2 << 20);
	h = health_init(memory, sizeof(memory), &good, 4096, 0);
	assert_non_null(h);
	bad = good;
	bad.recurrence = 0;
	assert_false(health_set_options(h, &bad));
	assert_int_equal(health_slow_ns(h, HEALTH_READ, 8), 50 * MS);
	/* The two that are fixed stay, whatever a reload says; the others are taken. */
	good.extent_sectors = 4096;
	good.table_extents = 65536;
	good.slow_min_ns = 7 * MS;
	assert_true(health_set_options(h, &good));
	assert_int_equal(health_slow_ns(h, HEALTH_READ, 8), 7 * MS);
	io = (struct health_io){ HEALTH_READ, HEALTH_CLASS_MEDIUM, 2048, 8, 400 * S, 400 * S };
	health_io(h, &io);
	assert_true(health_extent(h, 1, 400 * S, &x) && x.errors[HEALTH_CLASS_MEDIUM] == 1);
}

static void test_model(void **state)
{
	struct health_options opt;
	double last = 0, p, sum = 0;
	unsigned int i;

	health_options_default(&opt);
	/*
	 * Nothing known: the monthly prior, 3e-8, within a factor of the 14 visits that it is taken
	 * over.
	 */
	p = health_event_chance(&opt, 0, 0, 0, 0);
	assert_true(p > 1e-8 && p < 1e-6);
	for (i = 1; i < 50; i++) {
		p = health_event_chance(&opt, i * 0.5, 3, 0, 0);
		assert_true(p > last && p < 1);
		assert_true(health_loss_chance(p) > health_loss_chance(last));
		last = p;
	}
	assert_true(health_event_chance(&opt, 3, 100, 0, 0) <
		    health_event_chance(&opt, 3, 1, 0, 0));
	assert_true(health_event_chance(&opt, 3, 1, 1, 0) > health_event_chance(&opt, 3, 1, 0, 0));
	assert_true(health_loss_chance(0) >= 0);
	assert_true(health_loss_chance(1) <= 1);
	/* The kernel is one distribution: both sides together never exceed 1. */
	for (i = 1; i < 100000; i++)
		sum += 2 * health_kernel_mass(&opt, i);
	assert_true(sum > 0.1 && sum < 1);
}

/*
 * Any sequence of calls with any numbers: bounded, finite, no state that can't be. Sanitizers
 * watch.
 */
static void test_random_calls(void **state)
{
	static struct health_extent x[512];
	struct health_options opt;
	struct device d;
	uint64_t seed = 42;
	unsigned int i;
	size_t n, j;

	health_options_default(&opt);
	opt.table_extents = 64;
	opt.reread_interval_ns = S;
	opt.incident_gap_ns = S / 10;
	opt.baseline_ns = 0;
	setup_with(&d, &opt);
	for (i = 0; i < 60000; i++) {
		uint64_t r, sector, wild;
		struct health_io any;

		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		r = seed >> 20;
		sector = (r >> 4) % (EXTENTS * 2048 + 100);
		wild = r % 97 ? r % 4096 : UINT64_MAX - (r & 0xfff);
		d.now += r % 7 ? (r & 0xffffff) : 0;
		any = (struct health_io){ r >> 8 & 1, r >> 9 & 7, sector,
					  wild,	      d.now,	  d.now + (r & 0x3fffffff) };
		switch (r % 13) {
		case 0:
			health_tick(d.h, d.now);
			break;
		case 1:
			health_exposure(d.h, sector, wild, r & 0xff, r & 0xffff, r & 0xffffffffff,
					d.now);
			break;
		case 2:
		case 3:
			n = health_review(d.h, d.now, x, r % 80);
			assert_true(n <= r % 80);
			for (j = 0; j < n; j++)
				if (x[j].wants_reread)
					health_probe(d.h, x[j].reread_sector, x[j].reread_sectors,
						     r >> 9 & 7, r & 0x3fffffff, d.now);
			break;
		case 4:
			if (r % 50 == 0)
				health_baseline(d.h, sector, wild);
			break;
		case 5:
			health_fact(d.h, sector, r >> 9 & 3, d.now);
			break;
		case 6:
			if (r % 400 == 0)
				health_resize(d.h, r % 3 ? EXTENTS * 2048 : EXTENTS * 1024 + 5);
			break;
		case 7:
			period_of(&d, r & 0xfffffff, r & 0xfff);
			break;
		case 8:
			health_changes(d.h, d.now, x, r % 8);
			break;
		default:
			health_io(d.h, &any);
		}
		if (i % 500 == 0) {
			struct health_device dev;

			health_device(d.h, d.now, &dev);
			assert_true(dev.table_used <= 64);
			n = health_review(d.h, d.now, x, 512);
			for (j = 0; j < n; j++) {
				assert_true(x[j].risk >= 0 && x[j].risk <= 1);
				assert_true(isfinite(x[j].evidence) && x[j].evidence >= 0);
				assert_true(x[j].sectors > 0 && x[j].sectors <= 2048);
				assert_true(!x[j].wants_reread || x[j].reread_sectors > 0);
				assert_true(x[j].control || !j || x[j - 1].risk >= x[j].risk);
			}
		}
	}
	teardown(&d);
}

static void test_full_table_keeps_what_matters(void **state)
{
	struct health_options opt;
	struct health_device dev;
	struct device d;
	unsigned int i;

	health_options_default(&opt);
	opt.table_extents = 64;
	setup_with(&d, &opt);
	for (i = 0; i < 4; i++) {
		io(&d, 412, HEALTH_CLASS_MEDIUM, 20 * MS);
		pass(&d, 60 * S);
	}
	for (i = 0; i < 300; i++) {
		io(&d, 500 + i, HEALTH_CLASS_OK, 200 * MS);
		pass(&d, 10 * S);
	}
	health_device(d.h, d.now, &dev);
	assert_int_equal(dev.table_used, 64);
	assert_true(dev.evicted > 200);
	assert_int_equal(look(&d, 412).state, HEALTH_SUSPECT);
	teardown(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_slow_read_moves_nothing),
		cmocka_unit_test(test_slow_many_times_at_once_is_one_incident),
		cmocka_unit_test(test_recurrent_slow_becomes_suspect),
		cmocka_unit_test(test_confirmed_by_rereads),
		cmocka_unit_test(test_rereads_are_bounded),
		cmocka_unit_test(test_stall_singles_out_one),
		cmocka_unit_test(test_hot_extent_in_many_stalls_stays),
		cmocka_unit_test(test_error_explains_the_stall),
		cmocka_unit_test(test_whole_device_slow_freezes),
		cmocka_unit_test(test_busy_with_a_bad_region_is_not_frozen),
		cmocka_unit_test(test_slow_and_sequential_freezes),
		cmocka_unit_test(test_slow_controls_freeze),
		cmocka_unit_test(test_control_is_not_accused),
		cmocka_unit_test(test_old_known_error_is_baseline),
		cmocka_unit_test(test_medium_errors),
		cmocka_unit_test(test_timeouts_need_others_to_answer),
		cmocka_unit_test(test_cable_and_outage),
		cmocka_unit_test(test_neighbours_raise_the_risk),
		cmocka_unit_test(test_decay),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_spanning_io_shares),
		cmocka_unit_test(test_yardstick),
		cmocka_unit_test(test_options_out_of_range),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_random_calls),
		cmocka_unit_test(test_full_table_keeps_what_matters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
