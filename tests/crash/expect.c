// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "tests/crash/expect.h"
#include "tests/crash/spare_map.h"
#include "tests/vm/guest/pattern.h"

#define BLOCK_SECTORS 8
#define MAX_OPEN 16

struct value {
	uint32_t generation;
	uint32_t begin;			/* positions in the log */
	uint32_t end;			/* 0: not acknowledged, or no use since a power cut */
};

struct values {
	struct value *value;
	uint32_t nr;
	uint32_t size;
	uint32_t unread_at;		/* position of the last failed read: of main, */
	uint32_t lost_at;		/* and of a place on the spare that held data of the sector */
};

/*
 * Where the data of one sector of an operation was first refused and last taken: disk << 32 | sector, plus one; 0: it
 * was not.
 */
struct places {
	uint64_t refused;
	uint64_t taken;
};

struct open_operation {
	bool used;
	struct crash_mark mark;
	uint32_t begin;
	struct places *place;		/* of each sector of a write */
};

struct crash_target crash_target;

static struct values *expected;
static struct open_operation open_operations[MAX_OPEN];
static unsigned char *must_map;		/* by block */
static unsigned char *unsure;		/* by sector of the spare; bits: */

#define UNSURE_REFUSED 1		/* a write to it failed */
#define UNSURE_CUT 2			/* a power cut may have torn it, and no activation has looked at it since */

static bool is_write(const struct crash_mark *mark)
{
	return mark->operation == CRASH_OP_WRITE || mark->operation == CRASH_OP_FUA ||
	       mark->operation == CRASH_OP_ZERO;
}

static void close_operation(struct open_operation *open)
{
	free(open->place);
	memset(open, 0, sizeof(*open));
}

void expect_target(const struct crash_mark *mark)
{
	uint64_t s;

	if (crash_target.nr_sectors || !mark->nr_sectors || mark->nr_sectors > crash_disks[CRASH_MAIN].nr_sectors)
		errx(EX_DATAERR, "the log has a second target, or one that is larger than main");
	crash_target.nr_sectors = mark->nr_sectors;
	expected = calloc(mark->nr_sectors, sizeof(*expected));
	must_map = calloc(mark->nr_sectors / BLOCK_SECTORS + 1, 1);
	unsure = calloc(crash_disks[CRASH_SPARE].nr_sectors, 1);
	if (!expected || !must_map || !unsure)
		err(EX_OSERR, "memory");
	for (s = 0; s < mark->nr_sectors; s++) {
		if (crash_content(crash_disks[CRASH_MAIN].now[s])->kind != CONTENT_ZERO)
			errx(EX_DATAERR, "main is not empty at the beginning");
		expect_pin(s, GENERATION_ZERO, 0, false);
	}
}

static void add_value(struct values *values, const struct value *value)
{
	if (values->nr == values->size) {
		values->size = values->size ? 2 * values->size : 2;
		values->value = reallocarray(values->value, values->size, sizeof(*value));
		if (!values->value)
			err(EX_OSERR, "memory");
	}
	values->value[values->nr++] = *value;
}

void expect_pin(uint64_t sector, uint32_t generation, uint32_t position, bool unread)
{
	struct values *values = &expected[sector];
	uint32_t begin_position = unread && values->nr ? values->value[0].begin : position;

	values->nr = 0;
	add_value(values, &(struct value){ .generation = generation, .begin = begin_position, .end = position });
}

/* Value @i is durable: those before it are history. */
static void make_durable(struct values *values, uint32_t i)
{
	memmove(values->value, values->value + i, (values->nr - i) * sizeof(*values->value));
	values->nr -= i;
}

static void flushed(uint32_t begin)
{
	uint64_t s;

	for (s = 0; s < crash_target.nr_sectors; s++) {
		struct values *values = &expected[s];
		uint32_t i;

		for (i = values->nr; i-- > 1;)
			if (values->value[i].end && values->value[i].end <= begin) {
				make_durable(values, i);
				break;
			}
	}
}

/* Operations */

static struct open_operation *find_open(uint64_t id)
{
	int i;

	for (i = 0; i < MAX_OPEN; i++)
		if (open_operations[i].used && open_operations[i].mark.id == id)
			return &open_operations[i];
	return NULL;
}

static void set_must_map(uint64_t first, uint64_t nr_sectors, int value)
{
	uint64_t block;

	for (block = first / BLOCK_SECTORS; nr_sectors && block <= (first + nr_sectors - 1) / BLOCK_SECTORS; block++)
		must_map[block] = value;
}

static void begin(const struct crash_mark *mark, uint32_t position)
{
	struct open_operation *open = open_operations;
	uint64_t i;

	if (mark->first_sector + mark->nr_sectors > crash_target.nr_sectors)
		errx(EX_DATAERR, "record %u marks an operation beyond the target's end", position);
	while (open < open_operations + MAX_OPEN && open->used)
		open++;
	if (open == open_operations + MAX_OPEN)
		errx(EX_DATAERR, "record %u: more than %d operations at once", position, MAX_OPEN);
	*open = (struct open_operation){ .used = true, .mark = *mark, .begin = position };
	if (mark->operation == CRASH_OP_RELEASE)
		set_must_map(mark->first_sector, mark->nr_sectors, 0);
	if (!is_write(mark))
		return;
	open->place = calloc(mark->nr_sectors, sizeof(*open->place));
	if (!open->place)
		err(EX_OSERR, "memory");
	for (i = 0; i < mark->nr_sectors; i++)
		add_value(&expected[mark->first_sector + i],
			  &(struct value){ .generation = mark->generation, .begin = position });
}

/*
 * The write of this sector was refused where its block lived and then taken by another place, on the spare: it was
 * rescued, and the rescue had to be durable before anybody was told.
 */
static bool is_rescued(const struct places *place)
{
	return place->refused && place->taken && (place->taken - 1) >> 32 == CRASH_SPARE;
}

static void end_write(const struct open_operation *open, uint32_t position)
{
	uint64_t s;
	uint32_t i;

	for (s = 0; s < open->mark.nr_sectors; s++) {
		struct values *values = &expected[open->mark.first_sector + s];

		for (i = 0; i < values->nr && values->value[i].begin != open->begin; i++)
			;
		if (i == values->nr)
			continue;
		values->value[i].end = position;
		if (open->mark.operation == CRASH_OP_FUA || is_rescued(&open->place[s]))
			make_durable(values, i);
	}
}

static void end(const struct crash_mark *mark, uint32_t position)
{
	struct open_operation *open = find_open(mark->id);

	/* A power cut has ended it before. */
	if (!open)
		return;
	if (mark->error)
		;
	else if (is_write(mark))
		end_write(open, position);
	else if (mark->operation == CRASH_OP_FLUSH)
		flushed(open->begin);
	else if (mark->operation == CRASH_OP_REMAP && !mark->unread_sectors)
		set_must_map(mark->first_sector, mark->nr_sectors, 1);
	close_operation(open);
}

void expect_mark(const struct crash_mark *mark, uint32_t position)
{
	if (mark->kind == CRASH_MARK_BEGIN)
		begin(mark, position);
	else if (mark->kind == CRASH_MARK_END)
		end(mark, position);
}

/* Notes where the data of an operation under way goes. */
static void note_place(uint32_t disk, uint64_t sector, const struct content *content, bool refused)
{
	uint64_t at = (uint64_t)disk << 32 | sector;
	struct places *place;
	int i;

	for (i = 0; i < MAX_OPEN && content->kind == CONTENT_STAMP; i++) {
		const struct crash_mark *mark = &open_operations[i].mark;

		if (!open_operations[i].place || mark->generation != content->generation ||
		    content->sector < mark->first_sector ||
		    content->sector >= mark->first_sector + mark->nr_sectors)
			continue;
		place = &open_operations[i].place[content->sector - mark->first_sector];
		if (refused && !place->refused)
			place->refused = at + 1;
		if (refused)
			continue;
		/* Its home took it after all. */
		if (place->refused == at + 1)
			place->refused = 0;
		place->taken = at + 1;
	}
}

/* The sector of the target that lives at @spare_sector, which holds zeros that do not say so; nr_sectors if none does. */
static uint64_t mapped_here(uint64_t spare_sector)
{
	static struct spare_map map;
	uint64_t block, sector;

	spare_map_load(&map, crash_target.nr_sectors, 0, 0);
	for (block = 0; map.verdict == MAP_LOADED && block < map.nr_blocks; block++) {
		if (!map.block[block].slot_sector || spare_sector < map.block[block].slot_sector ||
		    spare_sector >= map.block[block].slot_sector + BLOCK_SECTORS)
			continue;
		sector = block * BLOCK_SECTORS + spare_sector - map.block[block].slot_sector;
		return sector < crash_target.nr_sectors ? sector : crash_target.nr_sectors;
	}
	return crash_target.nr_sectors;
}

static void note_failed_read(uint32_t disk, uint64_t sector, uint32_t position)
{
	const struct content *content = crash_content(crash_disks[disk].now[sector]);

	if (disk == CRASH_MAIN) {
		if (sector < crash_target.nr_sectors)
			expected[sector].unread_at = position;
		return;
	}
	sector = content->kind == CONTENT_STAMP ? content->sector : mapped_here(sector);
	if (sector < crash_target.nr_sectors)
		expected[sector].lost_at = position;
}

void expect_record(uint32_t position)
{
	const struct log_record *record = &crash_log[position];
	const struct crash_record *head = &record->head;
	bool on_spare = head->disk == CRASH_SPARE;
	uint32_t i;

	if (head->kind == CRASH_MARK || head->kind == CRASH_FLUSH)
		return;
	for (i = 0; i < head->nr_sectors; i++) {
		uint64_t s = head->first_sector + i;

		if (head->kind == CRASH_FAILED_READ) {
			note_failed_read(head->disk, s, position);
			continue;
		}
		if (on_spare)
			unsure[s] = head->kind == CRASH_FAILED_WRITE ? UNSURE_REFUSED : 0;
		note_place(head->disk, s, crash_content(record->content + i), head->kind == CRASH_FAILED_WRITE);
	}
}

void expect_cut(void)
{
	uint64_t s;
	uint32_t i;

	for (i = 0; i < MAX_OPEN; i++)
		close_operation(&open_operations[i]);
	for (s = 0; s < crash_target.nr_sectors; s++)
		for (i = 0; i < expected[s].nr; i++)
			expected[s].value[i].end = 0;
}

void expect_after_cut(void)
{
	uint64_t s;

	for (s = 0; s < crash_disks[CRASH_SPARE].nr_sectors; s++)
		if (crash_in_window(CRASH_SPARE, s, 1))
			unsure[s] |= UNSURE_CUT;
}

void expect_active(void)
{
	uint64_t s;

	crash_target.formatted = true;
	for (s = 0; s < crash_disks[CRASH_SPARE].nr_sectors; s++)
		unsure[s] &= ~UNSURE_CUT;
}

/* Answers */

bool expect_allows_seen(uint64_t sector, uint32_t seen)
{
	const struct values *values = &expected[sector];
	uint32_t i;

	if (seen == CRASH_SEEN_ERROR)
		return expect_allows_unread(sector) || expect_allows_lost(sector);
	for (i = 0; i < values->nr; i++)
		if (values->value[i].generation == seen)
			return true;
	return false;
}

bool expect_allows(uint64_t sector, const struct content *content)
{
	const struct values *values = &expected[sector];
	uint32_t generation = GENERATION_ZERO, i;

	if (content->kind == CONTENT_OTHER || (content->kind == CONTENT_STAMP && content->sector != sector))
		return false;
	if (content->kind == CONTENT_STAMP)
		generation = content->generation;
	for (i = 0; i < values->nr; i++)
		if (values->value[i].generation == generation)
			return true;
	return false;
}

bool expect_allows_unread(uint64_t sector)
{
	return expected[sector].unread_at > expected[sector].value[0].begin;
}

bool expect_allows_lost(uint64_t sector)
{
	return expected[sector].lost_at > expected[sector].value[0].begin;
}

bool expect_must_map(uint64_t block)
{
	return must_map[block];
}

bool expect_unsure(uint64_t spare_sector)
{
	return unsure[spare_sector];
}

const char *expect_text(uint64_t sector, char *text, size_t bytes)
{
	const struct values *values = &expected[sector];
	size_t at = 0;
	uint32_t i;

	snprintf(text, bytes, "nothing");
	for (i = 0; i < values->nr && at < bytes; i++)
		at += snprintf(text + at, bytes - at, "%sgeneration %u (asked for at %u%s)", i ? ", " : "",
			       values->value[i].generation, values->value[i].begin,
			       !i ? "" : values->value[i].end ? ", acknowledged" : ", not acknowledged");
	return text;
}
