// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * judge [-s SEED] [-n STATES] [-k STATES -o DIRECTORY] LOG
 * judge [-s SEED] -r STATE LOG
 *
 * Judges what the recorded disks may hold if the power goes at any moment: after every record that changes them or
 * acknowledges something; without any single write that no flush covers; with the last write torn, between its sectors
 * and, for metadata, in one of them; and, before each flush and at each power cut, with 64 random choices of what was
 * written and not flushed. README.md has the rules.
 *
 *	-s	of the load's data, and for the dice; printed
 *	-n	judges about so many states: all that lose nothing, and of the others as many as there is room for
 *	-k	writes so many of the states, as many of each kind, to DIRECTORY for the kernel to judge (for_kernel.h)
 *	-r	judges one state, named as in a finding: POSITION[,DISK.WRITE.HOW.NUMBER]...
 *
 * Exit status: 0 all are right, 2 some are not, 64, 65 the log makes no sense, 66, 71, 73, 74.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "tests/crash/expect.h"
#include "tests/crash/for_kernel.h"
#include "tests/crash/state.h"
#include "tests/vm/guest/pattern.h"

#define SUBSETS 64
#define MAX_DROPS 4096
#define MAX_FINDINGS 5
#define WHOLE_TEARING_SECTORS 8	/* of writes up to this size each cut is tried */
#define PROGRESS_SECONDS 5
#define NAME_BYTES 4096

enum state_kind { PREFIX, TORN, DROPPED, SUBSET, STATE_KINDS };

static const char *const kind_names[STATE_KINDS] = { "after a record", "torn", "without one write", "random choices" };

static uint64_t seed = 1;
static uint64_t nr_wanted = UINT64_MAX, nr_kernel_wanted;
static const char *directory, *single;

static uint64_t nr_states[STATE_KINDS], nr_seen[STATE_KINDS], nr_judged[STATE_KINDS];
static uint64_t nr_kernel, nr_cuts, nr_sectors_read;
static unsigned int nr_findings;
static char scene[CRASH_MARK_ROOM];

/* Where the replay is. */
static struct {
	uint32_t applied;		/* records */
	bool counting;			/* the first pass, so that the second knows how many of each kind there are */
	bool judging;			/* between the marks of the target and of the end */
	bool off;			/* power */
	bool cutting;			/* reverts follow */
} now;

/* States by name */

static void name_state(char *text, const struct crash_drop *drops, unsigned int nr)
{
	size_t at = snprintf(text, NAME_BYTES, "%u", now.applied);
	unsigned int i;

	for (i = 0; i < nr && at < NAME_BYTES; i++)
		at += snprintf(text + at, NAME_BYTES - at, ",%u.%u.%d.%llu", drops[i].disk, drops[i].index,
			       (int)drops[i].how, (unsigned long long)drops[i].argument);
}

static unsigned int parse_state(const char *text, struct crash_drop *drops, uint32_t *position)
{
	unsigned int nr = 0;
	char *end;

	*position = strtoul(text, &end, 10);
	while (*end == ',' && nr < MAX_DROPS) {
		unsigned long long argument;
		int how, used;

		if (sscanf(end, ",%u.%u.%d.%llu%n", &drops[nr].disk, &drops[nr].index, &how, &argument, &used) != 4)
			break;
		drops[nr].how = how;
		drops[nr].argument = argument;
		end += used;
		nr++;
	}
	if (*end || end == text || *position > nr_crash_log)
		errx(EX_USAGE, "-r %s: not a state of a log with %u records", text, nr_crash_log);
	return nr;
}

/* Findings */

static void describe_record(uint32_t number)
{
	static const char *const kinds[] = { "disk", "write", "flush", "failed write", "failed read", "revert" };
	static const char *const disks[] = { "main", "the spare" };
	static const char *const operations[] = { "read", "write", "FUA write", "zero", "flush", "remap", "release" };
	const struct crash_record *head = &crash_log[number].head;
	struct crash_mark mark;

	if (!crash_mark_at(number, &mark))
		printf("%s of %s, sectors %llu+%u\n", kinds[head->kind], disks[head->disk],
		       (unsigned long long)head->first_sector, head->nr_sectors);
	else if ((mark.kind == CRASH_MARK_BEGIN || mark.kind == CRASH_MARK_END) && mark.operation <= CRASH_OP_RELEASE)
		printf("%s %s %llu+%llu, generation %u, error %u\n", mark.kind == CRASH_MARK_BEGIN ? "began" : "ended",
		       operations[mark.operation], (unsigned long long)mark.first_sector,
		       (unsigned long long)mark.nr_sectors, mark.generation, mark.error);
	else
		printf("mark of kind %u\n", mark.kind);
}

static void report(const char *what, const struct crash_drop *drops, unsigned int nr)
{
	char name[NAME_BYTES];
	unsigned int i;
	uint32_t r;

	name_state(name, drops, nr);
	printf("FAIL: %s\n  scene: %s\n  state: %s (-s %llu -r %s)\n", what, scene, name, (unsigned long long)seed, name);
	for (r = now.applied > 6 ? now.applied - 6 : 0; r < now.applied; r++) {
		printf("  record %u: ", r);
		describe_record(r);
	}
	for (i = 0; i < nr && i < 8; i++) {
		uint32_t record = crash_disks[drops[i].disk].window[drops[i].index];

		printf("  without %s record %u: ", drops[i].how == DROP_ALL ? "" : "a part of", record);
		describe_record(record);
	}
	if (nr > 8)
		printf("  and %u others\n", nr - 8);
	if (++nr_findings == MAX_FINDINGS) {
		printf("more are not looked for\n");
		exit(2);
	}
}

/* One state */

static void show_progress(void)
{
	static time_t last;
	time_t t = time(NULL);

	if (last && t - last < PROGRESS_SECONDS)
		return;
	if (last)
		printf("record %u of %u\n", now.applied, nr_crash_log);
	last = t;
}

static void judge(enum state_kind kind, const struct crash_drop *drops, unsigned int nr, bool for_kernel)
{
	char text[1024], name[NAME_BYTES];

	crash_drop(drops, nr);
	nr_judged[kind]++;
	if (!state_judge(text, sizeof(text)))
		report(text, drops, nr);
	if (for_kernel) {
		name_state(name, drops, nr);
		nr_kernel = for_kernel_add(directory, name);
	}
	crash_undo();
	if (nr_judged[kind] % 64 == 0)
		show_progress();
}

static void visit(enum state_kind kind, const struct crash_drop *drops, unsigned int nr)
{
	uint64_t i = nr_seen[kind]++, quota = nr_kernel_wanted / STATE_KINDS, others, room, dice;
	bool for_kernel, chosen;

	if (now.counting || single)
		return;
	/* Of those that lose something, as many as there is room for, by dice; the kernel's, evenly over the log. */
	others = nr_states[TORN] + nr_states[DROPPED] + nr_states[SUBSET];
	room = nr_wanted > nr_states[PREFIX] ? nr_wanted - nr_states[PREFIX] : 0;
	dice = seed ^ (uint64_t)kind << 56 ^ i;
	chosen = kind == PREFIX || room >= others || pattern_random(&dice) % others < room;
	for_kernel = i * quota % nr_states[kind] < quota;
	if (chosen || for_kernel)
		judge(kind, drops, nr, for_kernel);
}

/* Which states there are */

/* The write that was the last record. */
static void visit_torn(void)
{
	const struct log_record *record = &crash_log[now.applied - 1];
	uint32_t nr_sectors = record->head.nr_sectors, i;
	struct crash_drop drop = { .disk = record->head.disk, .index = crash_disks[record->head.disk].nr_window - 1 };

	for (i = 0; i < nr_sectors && nr_sectors <= WHOLE_TEARING_SECTORS; i++) {
		drop.argument = i;
		drop.how = DROP_HALF;
		if (crash_content(record->content + i)->kind == CONTENT_OTHER)
			visit(TORN, &drop, 1);
		drop.how = DROP_TAIL;
		if (i)
			visit(TORN, &drop, 1);
		drop.how = DROP_HEAD;
		if (i)
			visit(TORN, &drop, 1);
	}
	for (i = 0; i < 4 && nr_sectors > 1; i++) {
		drop.how = DROP_SOME;
		drop.argument = seed + now.applied * 4ull + i;
		visit(TORN, &drop, 1);
	}
}

static void visit_dropped(void)
{
	struct crash_drop drop = { .how = DROP_ALL };

	for (drop.disk = 0; drop.disk < CRASH_DISKS; drop.disk++)
		for (drop.index = 0; drop.index < crash_disks[drop.disk].nr_window; drop.index++)
			visit(DROPPED, &drop, 1);
}

/* One in 8, 2 in 8 ... of the writes gets lost as a whole; none, 1 in 8 ... of the others are torn. */
static void visit_subset(uint64_t *dice)
{
	static struct crash_drop drops[MAX_DROPS];
	unsigned int lost = 1 + pattern_random(dice) % 7, torn = pattern_random(dice) % 8, nr = 0;
	struct crash_drop drop;

	for (drop.disk = 0; drop.disk < CRASH_DISKS; drop.disk++) {
		for (drop.index = 0; drop.index < crash_disks[drop.disk].nr_window && nr < MAX_DROPS; drop.index++) {
			drop.how = pattern_random(dice) % 8 < lost ? DROP_ALL : DROP_SOME;
			drop.argument = pattern_random(dice) >> 32;
			if (drop.how == DROP_ALL || pattern_random(dice) % 8 < torn)
				drops[nr++] = drop;
		}
	}
	visit(SUBSET, drops, nr);
}

static void visit_subsets(void)
{
	uint64_t dice = seed * 1000003 + now.applied;
	unsigned int i;

	for (i = 0; i < SUBSETS && crash_disks[CRASH_MAIN].nr_window + crash_disks[CRASH_SPARE].nr_window > 1; i++)
		visit_subset(&dice);
}

static bool mark_is(uint32_t position, enum crash_mark_kind kind)
{
	struct crash_mark mark;

	return crash_mark_at(position, &mark) && mark.kind == kind;
}

static void visit_states(void)
{
	uint32_t last = now.applied - 1, next = now.applied;
	bool is_write = crash_log[last].head.kind == CRASH_WRITE;

	if (!now.judging || now.off)
		return;
	if (is_write || mark_is(last, CRASH_MARK_END) || mark_is(last, CRASH_MARK_ACTIVE)) {
		visit(PREFIX, NULL, 0);
		visit_dropped();
	}
	if (is_write)
		visit_torn();
	if (mark_is(next, CRASH_MARK_CUT) || mark_is(next, CRASH_MARK_COMPLETE) ||
	    (next < nr_crash_log && crash_log[next].head.kind == CRASH_FLUSH))
		visit_subsets();
}

/* Through the log */

/* What the target itself read, with all that a state does not know of: bad sectors, and its own memory. */
static void judge_seen(const struct crash_mark *mark)
{
	char text[1024], expected[512];
	uint64_t i;

	for (i = 0; i < mark->nr_sectors; i++) {
		uint64_t s = mark->first_sector + i;

		nr_sectors_read++;
		if (expect_allows_seen(s, mark->seen[i]))
			continue;
		expect_text(s, expected, sizeof(expected));
		snprintf(text, sizeof(text), "(seen): the target read %s%u of sector %llu; expected %s",
			 mark->seen[i] == CRASH_SEEN_ERROR ? "an error, " :
			 mark->seen[i] == CRASH_SEEN_WRONG ? "alien data, " : "generation ", mark->seen[i],
			 (unsigned long long)s, expected);
		report(text, NULL, 0);
	}
}

static void take_mark(const struct crash_mark *mark)
{
	char text[1024];

	if (mark->kind == CRASH_MARK_SCENE)
		snprintf(scene, sizeof(scene), "%.*s", (int)sizeof(scene) - 1, mark->text);
	else if (mark->kind == CRASH_MARK_CUT)
		now.cutting = now.off = true;
	else if (mark->kind == CRASH_MARK_ON)
		now.off = false;
	else if (mark->kind == CRASH_MARK_TARGET || mark->kind == CRASH_MARK_COMPLETE)
		now.judging = mark->kind == CRASH_MARK_TARGET;
	if (now.counting)
		return;
	if (mark->kind == CRASH_MARK_TARGET && !crash_target.nr_sectors)
		expect_target(mark);
	if (!now.judging || now.off)
		return;
	if (mark->kind == CRASH_MARK_ACTIVE && !state_pin(now.applied - 1, text, sizeof(text)))
		report(text, NULL, 0);
	else if (mark->kind == CRASH_MARK_SEEN)
		judge_seen(mark);
	else
		expect_mark(mark, now.applied - 1);
}

/* The power is off, and the disks hold what was decided. */
static void end_cut(void)
{
	now.cutting = false;
	if (now.judging && !now.counting) {
		nr_cuts++;
		expect_cut();
		if (!single)
			judge(PREFIX, NULL, 0, false);
		expect_after_cut();
	}
	crash_settle();
}

/* To position @last, visiting all states on the way. */
static void replay(uint32_t last)
{
	struct crash_mark mark;
	uint32_t position;

	now.judging = now.off = now.cutting = false;
	crash_restart();
	for (position = 0; position < last; position++) {
		if (now.cutting && crash_log[position].head.kind != CRASH_REVERT)
			end_cut();
		if (now.judging && !now.counting && !now.off)
			expect_record(position);
		crash_apply(position);
		now.applied = position + 1;
		if (crash_mark_at(position, &mark))
			take_mark(&mark);
		visit_states();
	}
}

static int judge_single(void)
{
	static struct crash_drop drops[MAX_DROPS];
	uint32_t position;
	unsigned int i, nr = parse_state(single, drops, &position);

	replay(position);
	for (i = 0; i < nr; i++)
		if (drops[i].disk >= CRASH_DISKS || drops[i].index >= crash_disks[drops[i].disk].nr_window)
			errx(EX_USAGE, "-r %s: there is no such write", single);
	if (!now.judging)
		errx(EX_USAGE, "-r %s: nothing is judged there", single);
	judge(PREFIX, drops, nr, false);
	printf("%s\n", nr_findings ? "wrong" : "right");
	return nr_findings ? 2 : 0;
}

#define SHOWN(member) (unsigned long long)state_coverage.member, #member

static int judge_all(void)
{
	unsigned long long total = 0;
	int kind;

	now.counting = true;
	replay(nr_crash_log);
	now.counting = false;
	memcpy(nr_states, nr_seen, sizeof(nr_states));
	memset(nr_seen, 0, sizeof(nr_seen));
	replay(nr_crash_log);
	for (kind = 0; kind < STATE_KINDS; kind++) {
		printf("%s: %llu of %llu states\n", kind_names[kind], (unsigned long long)nr_judged[kind],
		       (unsigned long long)nr_states[kind]);
		total += nr_judged[kind];
	}
	printf("met: %llu %s, %llu %s, %llu %s, %llu %s, %llu %s, %llu %s, %llu %s, %llu %s, %llu %s\n", SHOWN(mapped),
	       SHOWN(pairs), SHOWN(differing), SHOWN(fenced), SHOWN(retired), SHOWN(unread), SHOWN(lost), SHOWN(groups),
	       SHOWN(unformatted));
	printf("crash: seed %llu, %u records, %llu power cuts, %llu sectors read by the target after them, "
	       "%llu states judged (%llu written out for the kernel), %u wrong\n",
	       (unsigned long long)seed, nr_crash_log, (unsigned long long)nr_cuts, (unsigned long long)nr_sectors_read,
	       total, (unsigned long long)nr_kernel, nr_findings);
	return nr_findings ? 2 : 0;
}

int main(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "s:n:k:o:r:")) != -1) {
		switch (option) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			nr_wanted = strtoull(optarg, NULL, 0);
			break;
		case 'k':
			nr_kernel_wanted = strtoull(optarg, NULL, 0);
			break;
		case 'o':
			directory = optarg;
			break;
		case 'r':
			single = optarg;
			break;
		default:
			return EX_USAGE;
		}
	}
	if (argc - optind != 1 || !nr_kernel_wanted != !directory)
		errx(EX_USAGE, "usage: judge [-s SEED] [-n STATES] [-k STATES -o DIRECTORY] [-r STATE] LOG");
	setvbuf(stdout, NULL, _IOLBF, 0);
	crash_log_read(argv[optind], seed);
	return single ? judge_single() : judge_all();
}
