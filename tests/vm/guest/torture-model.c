// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The model: for each sector the values that a read may return, and whether it may fail.
 *
 * A value is what one write wrote. It is right from the moment when its write begins (it may be seen while that is on
 * its way) and until a write that began after it had ended is acknowledged. A write that failed may or may not have
 * been done: both what it wrote and what was there before are right, until a read shows which.
 *
 * A read may fail
 *   - where main was not good at any moment between the read's begin and end, unless the sector was written, with
 *     success, while it was surely bad: then it lives on the spare, and stays there as long as main stays bad, since
 *     a release has to be able to write main;
 *   - where the slot that it lived in was bad, at any time since the sector was written: it may have become lost;
 *   - for a while (retry_ms, salvage_ms) where main was bad earlier: the sector may be unread and wait for another
 *     attempt. But then it has to succeed in the end.
 * Nowhere else. "Not good" begins before the region is made bad and ends after it was made good, so whatever was in flight
 * is covered by comparing stamps.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vm/guest/torture.h"

#define MAX_VALUES 6

struct value {
	uint32_t generation;
	uint64_t ended;		/* stamp of the end of its write; 0: on its way */
	uint64_t gone;		/* stamp: no longer right for what starts later; 0: right */
};

struct condition {
	enum health health;
	uint64_t since;
};

struct sector {
	struct value value[MAX_VALUES];
	uint8_t values;
	uint8_t sharers;
	bool exclusive;
	bool may_be_unread;	/* main was bad since it was last known to be whole */
	struct condition at[2];	/* by enum device */
	uint64_t on_spare;	/* stamp since when it surely lives there; 0: not surely */
	uint64_t maybe_lost;	/* stamp: its slot was bad then; 0: never since it was written */
	uint64_t whole;		/* stamp since when it is neither; what began earlier may have met it before */
};

static struct sector *sectors;
static uint64_t stamp = 1;
static bool writes_may_fail;
static uint64_t writes_are_fine_since;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void model_lock(void)
{
	pthread_mutex_lock(&lock);
}

void model_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

uint64_t model_stamp(void)
{
	uint64_t now;

	model_lock();
	now = ++stamp;
	model_unlock();
	return now;
}

void model_init(void)
{
	uint64_t i;

	sectors = calloc(t.sectors, sizeof(*sectors));
	if (!sectors)
		give_up(71, "out of memory");
	for (i = 0; i < t.sectors; i++) {
		sectors[i].value[0] = (struct value){ FILL_GENERATION, 1, 0 };
		sectors[i].values = 1;
	}
}

static bool writes(const struct op *op)
{
	return op->kind >= WRITE && op->kind <= PUNCH;
}

/* Forgets values that are right for nobody any more. */
static void forget(struct sector *s)
{
	unsigned int i, kept = 0;

	if (s->sharers > 1)
		return;
	for (i = 0; i < s->values; i++)
		if (!s->value[i].gone)
			s->value[kept++] = s->value[i];
	s->values = kept;
}

bool model_claim(struct op *op)
{
	/* The last place is for what comes when all else has ended: the writes that heal, the final check. */
	unsigned int room = op->number == UINT32_MAX ? MAX_VALUES : MAX_VALUES - 1;
	uint64_t i;

	model_lock();
	for (i = op->sector; i < op->sector + op->count; i++) {
		struct sector *s = &sectors[i];

		if (s->exclusive || (!op->shared && s->sharers) || s->values >= room) {
			model_unlock();
			return false;
		}
	}
	for (i = op->sector; i < op->sector + op->count; i++) {
		struct sector *s = &sectors[i];

		s->exclusive = !op->shared;
		s->sharers++;
		if (writes(op))
			s->value[s->values++] = (struct value){ .generation = op->generation };
	}
	op->start = ++stamp;
	model_unlock();
	return true;
}

void model_let_go(struct op *op)
{
	uint64_t i;

	model_lock();
	op->end = ++stamp;
	for (i = op->sector; i < op->sector + op->count; i++) {
		struct sector *s = &sectors[i];

		forget(s);
		s->sharers--;
		s->exclusive = false;
	}
	report_remember(op);
	model_unlock();
}

void model_start(struct op *op)
{
	model_lock();
	op->start = ++stamp;
	model_unlock();
}

/* Was it so all the time since @start? */
static bool throughout(const struct condition *at, enum health health, uint64_t start)
{
	return at->health == health && at->since < start;
}

static void found_again(struct sector *s)
{
	if (s->may_be_unread)
		s->whole = stamp;
	s->may_be_unread = false;
}

static void not_lost(struct sector *s)
{
	if (s->maybe_lost)
		s->whole = stamp;
	s->maybe_lost = 0;
}

/* A write to the sector is acknowledged. */
static void acknowledged(struct sector *s, struct op *op)
{
	unsigned int i;

	for (i = 0; i < s->values; i++)
		if (!s->value[i].gone && s->value[i].ended && s->value[i].ended < op->start)
			s->value[i].gone = stamp;
	if (throughout(&s->at[MAIN], BAD, op->start) && !s->on_spare)
		s->on_spare = stamp;
	if (throughout(&s->at[MAIN], BAD, op->start) || throughout(&s->at[MAIN], GOOD, op->start))
		found_again(s);
	/* While an outage begins or ends, what was written is there already and may still become unreadable. */
	if (s->maybe_lost < op->start && s->at[SPARE].health != MAYBE && s->at[SPARE].since < op->start)
		not_lost(s);
}

void model_written(struct op *op)
{
	uint64_t i;
	unsigned int k;

	model_lock();
	++stamp;
	for (i = op->sector; i < op->sector + op->count; i++) {
		struct sector *s = &sectors[i];

		if (!op->error)
			acknowledged(s, op);
		for (k = 0; k < s->values; k++)
			if (!s->value[k].ended && s->value[k].generation == op->generation) {
				s->value[k].ended = stamp;
				break;
			}
	}
	model_unlock();
}

/* One that has the range to itself. Where main was bad all the time there was nothing that it could do. */
void model_discarded(struct op *op)
{
	uint64_t i;

	model_lock();
	++stamp;
	for (i = op->sector; i < op->sector + op->count; i++) {
		struct sector *s = &sectors[i];

		if (!throughout(&s->at[MAIN], BAD, op->start))
			s->value[s->values++] = (struct value){ GENERATION_ZERO, stamp, 0 };
	}
	model_unlock();
}

/* What was seen is from now on the only right value, unless a write is or was on its way. */
static void settle(struct sector *s, unsigned int seen, uint64_t start)
{
	unsigned int i;

	for (i = 0; i < s->values; i++)
		if (!s->value[i].ended || s->value[i].ended > start)
			return;
	for (i = 0; i < s->values; i++)
		if (i != seen && s->value[i].generation != s->value[seen].generation && !s->value[i].gone)
			s->value[i].gone = start;
}

void model_read(struct op *op, const void *data)
{
	const char *found = data;
	uint64_t i;

	model_lock();
	++stamp;
	for (i = op->sector; i < op->sector + op->count; i++, found += SECTOR_BYTES) {
		struct sector *s = &sectors[i];
		uint32_t generation;
		unsigned int k = s->values;
		char text[128];

		if (pattern_generation(found, t.seed, i, &generation) == 0)
			for (k = 0; k < s->values; k++)
				if (s->value[k].generation == generation &&
				    (!s->value[k].gone || s->value[k].gone > op->start))
					break;
		if (k == s->values)
			mismatch(op, i, "wrong data: found %s", pattern_describe(found, text, sizeof(text)));
		settle(s, k, op->start);
		if (throughout(&s->at[MAIN], GOOD, op->start))
			found_again(s);
		if (throughout(&s->at[SPARE], GOOD, op->start) && s->maybe_lost < op->start)
			not_lost(s);
	}
	model_unlock();
}

enum may_fail model_may_fail(uint64_t sector, uint64_t count, uint64_t start)
{
	enum may_fail may_fail = NEVER;
	uint64_t i, first = sector - sector % t.fails_sectors;
	uint64_t end = sector + count + t.fails_sectors - 1;

	end -= end % t.fails_sectors;
	if (end > t.sectors)
		end = t.sectors;
	model_lock();
	for (i = first; i < end && may_fail != YES; i++) {
		struct sector *s = &sectors[i];
		bool on_spare = s->on_spare && s->on_spare < start;

		if ((!throughout(&s->at[MAIN], GOOD, start) && !on_spare) || s->maybe_lost)
			may_fail = YES;
		else if ((s->may_be_unread && !on_spare) || s->whole > start)
			may_fail = LATER_NOT;
	}
	model_unlock();
	return may_fail;
}

bool model_is_whole(uint64_t sector, uint64_t count, uint64_t start)
{
	bool whole = true;
	uint64_t i;

	model_lock();
	for (i = sector; whole && i < sector + count; i++)
		whole = throughout(&sectors[i].at[MAIN], GOOD, start) && throughout(&sectors[i].at[SPARE], GOOD, start) &&
			!sectors[i].may_be_unread && !sectors[i].maybe_lost && sectors[i].whole < start;
	model_unlock();
	return whole;
}

void model_health(enum device device, uint64_t sector, uint64_t count, enum health health)
{
	uint64_t i;

	model_lock();
	++stamp;
	for (i = sector; i < sector + count; i++) {
		struct sector *s = &sectors[i];

		s->at[device] = (struct condition){ health, stamp };
		if (device == SPARE) {
			if (health != GOOD)
				s->maybe_lost = stamp;
			continue;
		}
		s->may_be_unread = true;
		if (health != BAD)
			s->on_spare = 0;
	}
	model_unlock();
}

void model_writes_may_fail(bool may)
{
	model_lock();
	writes_may_fail = may;
	writes_are_fine_since = ++stamp;
	model_unlock();
}

bool model_may_write_fail(const struct op *op)
{
	/* Plain writes of what never moved need no spare. */
	bool needs_spare = op->kind != WRITE || op->sector + op->count > t.still_quiet;
	bool may;

	model_lock();
	may = needs_spare && (writes_may_fail || writes_are_fine_since > op->start);
	model_unlock();
	return may;
}

uint64_t model_next_lost(uint64_t sector)
{
	model_lock();
	while (sector < t.sectors && !sectors[sector].maybe_lost)
		sector++;
	model_unlock();
	return sector;
}

bool model_is_good(enum device device, uint64_t sector, uint64_t count)
{
	bool good = true;
	uint64_t i;

	model_lock();
	for (i = sector; good && i < sector + count && i < t.sectors; i++)
		good = sectors[i].at[device].health == GOOD;
	model_unlock();
	return good;
}

void model_describe(uint64_t sector)
{
	static const char *const names[] = { "good", "good or bad", "bad" };
	const struct sector *s = &sectors[sector];
	unsigned int i;

	printf("  expected one of:");
	for (i = 0; i < s->values; i++) {
		printf(" %s%u", s->value[i].generation == GENERATION_ZERO ? "zeros/" : "generation ",
		       s->value[i].generation);
		if (s->value[i].gone)
			printf(" (until @%llu)", (unsigned long long)s->value[i].gone);
		else if (!s->value[i].ended)
			printf(" (being written)");
	}
	printf("\n  main is %s there since @%llu; its slot %s since @%llu", names[s->at[MAIN].health],
	       (unsigned long long)s->at[MAIN].since, names[s->at[SPARE].health],
	       (unsigned long long)s->at[SPARE].since);
	if (s->on_spare)
		printf("; lives on the spare since @%llu", (unsigned long long)s->on_spare);
	if (s->maybe_lost)
		printf("; may be lost since @%llu", (unsigned long long)s->maybe_lost);
	if (s->may_be_unread)
		printf("; may be unread");
	printf("\n");
}
