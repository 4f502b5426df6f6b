// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Regions that turn bad and good again while I/O runs: null_blk's bad blocks, which fail exactly the requests that touch
 * them; and slow ones: dm-delay in a device below main.
 *
 * Of main any range may turn bad at any time. Of the spare, where everything moves, the model has to know what lives there:
 *
 *   a slot in use	no message moves anything while it turns bad. What is in it can only leave by a rescue then, and
 *			a slot that was left is not used again; nothing can be written to it in its place.
 *   a free slot	turns bad while the device is suspended. Nothing can settle there.
 *   metadata		only first copies, ever, so that the second ones are always good: nothing may fail.
 *   all of it		whatever needs the spare may fail until it is back and a flush has succeeded.
 *
 * What null_blk made of it is read back after each change: a disk that fails elsewhere than the model believes would be
 * blamed on the device under test.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "kmod/format.h"
#include "tests/vm/guest/torture.h"

#define SPOTS 48u		/* where main may turn bad */
#define SPOT_SECTORS 512u
#define MAIN_FAULTS 24u		/* at a time */
#define SPARE_FAULTS 4u
#define FREE_SLOT_FAULTS 2u	/* of those; one less than the slots that are tried for one block */
#define SLOT_SECTORS_MAX 12u
#define METAS 8u		/* metadata blocks that are in use, or will be */
#define FREE_BLOCKS_LEAST 300u	/* a slot that failed is gone for ever */
#define PIECE_SECTORS 512u	/* null_blk takes no longer ranges at once */
#define OUTAGE_OPERATIONS 60u
#define OUTAGE_S 2
#define LIST_BYTES 8192u	/* a page of null_blk's, with room for ours */
#define SLOW_MAX 3u
#define SLOW_SECTORS_MAX 512u
#define SLOW_MS_MAX 6u

struct fault {
	uint64_t sector, count;		/* of the device under test; count 0: none */
	uint64_t at, length;		/* on the disk; length 0: this entry is free */
	bool comes_and_goes;
	bool is_bad;
	bool free_slot;
};

/* A null_blk disk: all of it is bad while it is away, else what its faults say. */
struct disk {
	char path[128];		/* of its list of bad blocks; empty: this disk is left alone */
	uint64_t sectors;
	struct fault *fault;
	unsigned int faults;
	bool away;
};

static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fault main_fault[MAIN_FAULTS];
static struct fault spare_fault[SPARE_FAULTS];
static struct disk disks[] = {
	[MAIN] = { .fault = main_fault, .faults = MAIN_FAULTS },
	[SPARE] = { .fault = spare_fault, .faults = SPARE_FAULTS },
};
static uint64_t spot[SPOTS];
static char slow_dev[32];
static unsigned long long slow_offset, slow_sectors;

/* What null_blk takes: "+FIRST-LAST" or "-FIRST-LAST". */
static void badblocks(const struct disk *disk, char sign, uint64_t sector, uint64_t count)
{
	char text[64];
	int fd, length;

	length = snprintf(text, sizeof(text), "%c%llu-%llu", sign, (unsigned long long)sector,
			  (unsigned long long)(sector + count - 1));
	fd = open(disk->path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, length) != length)
		give_up(EX_OSERR, "%s: \"%s\": %m", disk->path, text);
	close(fd);
}

static void append(char *list, uint64_t first, uint64_t end)
{
	size_t used = strlen(list);

	if (end > first)
		snprintf(list + used, LIST_BYTES - used, " %llu+%llu", (unsigned long long)first,
			 (unsigned long long)(end - first));
}

/* What has to be bad on the disk, in order. */
static void wanted_list(const struct disk *disk, char *list)
{
	uint64_t at = 0;

	list[0] = '\0';
	if (disk->away)
		append(list, 0, disk->sectors);
	while (!disk->away) {
		const struct fault *next = NULL;
		unsigned int i;

		for (i = 0; i < disk->faults; i++) {
			const struct fault *fault = &disk->fault[i];

			if (fault->length && fault->is_bad && fault->at >= at && (!next || fault->at < next->at))
				next = fault;
		}
		if (!next)
			break;
		at = next->at + next->length;
		append(list, next->at, at);
	}
}

/* What null_blk says is bad; one range where one begins at the end of another. */
static void found_list(const struct disk *disk, char *list)
{
	unsigned long long sector, count;
	uint64_t first = 0, end = 0;
	char text[LIST_BYTES];
	const char *line = text;
	ssize_t length = -1;
	int used;
	int fd;

	fd = open(disk->path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		length = read(fd, text, sizeof(text) - 1);
	if (length < 0)
		give_up(EX_OSERR, "%s: %m", disk->path);
	close(fd);
	text[length] = '\0';
	list[0] = '\0';
	for (; sscanf(line, "%llu %llu\n%n", &sector, &count, &used) == 2; line += used) {
		if (sector != end) {
			append(list, first, end);
			first = sector;
		}
		end = sector + count;
	}
	append(list, first, end);
}

static void check_list(const struct disk *disk)
{
	char wanted[LIST_BYTES], found[LIST_BYTES];

	wanted_list(disk, wanted);
	found_list(disk, found);
	if (strcmp(wanted, found))
		give_up(EX_OSERR, "a fault of the test bed: what is bad by %s:%s\nbut was to be:%s", disk->path, found,
			wanted);
}

static void init_disk(struct disk *disk, const char *null, uint64_t sectors)
{
	disk->sectors = sectors;
	if (!null)
		return;
	snprintf(disk->path, sizeof(disk->path), "/sys/kernel/config/nullb/%s/badblocks", null);
	check_list(disk);
}

void faults_init(void)
{
	uint64_t state = t.seed;
	unsigned int i;

	init_disk(&disks[MAIN], t.main_null, t.main_sectors);
	init_disk(&disks[SPARE], t.spare_null, t.spare_sectors);
	for (i = 0; i < SPOTS; i++)
		spot[i] = t.quiet_sectors + pattern_random(&state) % (t.sectors - t.quiet_sectors - SPOT_SECTORS);
	if (t.slow) {
		if (dm_status(t.slow, true) ||
		    sscanf(dm_answer, "0 %llu linear %31s %llu", &slow_sectors, slow_dev, &slow_offset) != 3)
			give_up(EX_USAGE, "%s is not one linear segment", t.slow);
	}
}

uint64_t faults_spot(struct op *op)
{
	return spot[choose(op, SPOTS)];
}

static void turn(struct fault *fault, enum device device, bool bad)
{
	if (!fault->comes_and_goes)
		model_health(device, fault->sector, fault->count, MAYBE);
	badblocks(&disks[device], bad ? '+' : '-', fault->at, fault->length);
	fault->is_bad = bad;
	check_list(&disks[device]);
	if (!bad)
		admin_wait_for_engine();
	if (!fault->comes_and_goes)
		model_health(device, fault->sector, fault->count, bad ? BAD : GOOD);
}

static void add_main_fault(struct op *op, struct fault *fault)
{
	static const unsigned int most[] = { 1, 3, 8, 16, 64, 512 };
	uint64_t count = 1 + choose(op, most[choose(op, 6)]);
	uint64_t sector = faults_spot(op) + choose(op, SPOT_SECTORS);

	if (chance(op, 20))
		sector -= sector % PAGE_SECTORS;
	sector -= sector % t.fails_sectors;
	count += -count % t.fails_sectors;
	/* Apart from others: the kernel's list of bad blocks merges what touches. */
	if (sector + count >= t.sectors || !model_is_good(MAIN, sector - 1, count + 2))
		return;
	*fault = (struct fault){ .sector = sector, .count = count, .at = t.main_offset + sector, .length = count };
	if (chance(op, 30)) {
		model_health(MAIN, sector, count, MAYBE);
		fault->comes_and_goes = true;
	}
	turn(fault, MAIN, true);
	snprintf(op->note, sizeof(op->note), "%s", fault->comes_and_goes ? "bad now and then" : "bad");
}

static void main_step(struct op *op)
{
	struct fault *fault = &main_fault[choose(op, MAIN_FAULTS)];

	if (!fault->length) {
		add_main_fault(op, fault);
	} else if (fault->comes_and_goes && chance(op, 60)) {
		turn(fault, MAIN, !fault->is_bad);
		snprintf(op->note, sizeof(op->note), "%s for now", fault->is_bad ? "bad" : "good");
	} else {
		fault->comes_and_goes = false;
		turn(fault, MAIN, false);
		fault->length = 0;
		snprintf(op->note, sizeof(op->note), "good");
	}
	op->sector = fault->sector;
	op->count = fault->count;
}

/* Is there a spare fault at these sectors of the spare, or of what is in these sectors of the device under test? */
static bool spare_is_clear(uint64_t at, uint64_t length, uint64_t sector, uint64_t count)
{
	unsigned int i;

	for (i = 0; i < SPARE_FAULTS; i++) {
		const struct fault *fault = &spare_fault[i];

		if (fault->length && ((at <= fault->at + fault->length && fault->at <= at + length) ||
				      (sector < fault->sector + fault->count && fault->sector < sector + count)))
			return false;
	}
	return true;
}

static void add_used_slot_fault(struct op *op, struct fault *fault)
{
	struct run run;
	uint64_t shift;

	admin_hold_map(true);
	if (admin_find_run(choose(op, t.sectors), &run)) {
		shift = choose(op, run.count);
		fault->sector = run.sector + shift;
		fault->count = 1 + choose(op, SLOT_SECTORS_MAX);
		if (fault->count > run.count - shift)
			fault->count = run.count - shift;
		fault->at = run.spare_sector + shift;
		if (spare_is_clear(fault->at, fault->count, fault->sector, fault->count)) {
			fault->length = fault->count;
			turn(fault, SPARE, true);
			snprintf(op->note, sizeof(op->note), "slots from %llu+%llu bad",
				 (unsigned long long)fault->at, (unsigned long long)fault->length);
		}
	}
	admin_hold_map(false);
}

static void add_free_slot_fault(struct op *op, struct fault *fault)
{
	unsigned int i, others = 0;

	for (i = 0; i < SPARE_FAULTS; i++)
		others += spare_fault[i].length && spare_fault[i].free_slot;
	if (others == FREE_SLOT_FAULTS || !admin_suspend())
		return;
	fault->count = 0;
	fault->at = admin_find_free(op);
	if (fault->at && spare_is_clear(fault->at, 1, 0, 0)) {
		fault->length = 1;
		fault->free_slot = true;
		turn(fault, SPARE, true);
		snprintf(op->note, sizeof(op->note), "free slot at %llu bad", (unsigned long long)fault->at);
	}
	admin_resume();
}

static void add_metadata_fault(struct op *op, struct fault *fault)
{
	uint64_t meta = choose(op, METAS + 1);

	/* The first copy of the superblock, or of a metadata block in the first group. */
	fault->at = t.spare_offset + (meta < METAS ? REMAP_HEADER_SECTORS + meta * REMAP_META_SECTORS : 0);
	fault->count = 0;
	if (!spare_is_clear(fault->at, REMAP_META_SECTORS, 0, 0))
		return;
	fault->length = REMAP_META_SECTORS;
	turn(fault, SPARE, true);
	snprintf(op->note, sizeof(op->note), "metadata at %llu bad", (unsigned long long)fault->at);
}

static void spare_step(struct op *op)
{
	struct fault *fault = &spare_fault[choose(op, SPARE_FAULTS)];
	unsigned int dice = choose(op, 10);

	if (fault->length) {
		turn(fault, SPARE, false);
		snprintf(op->note, sizeof(op->note), "%llu+%llu good", (unsigned long long)fault->at,
			 (unsigned long long)fault->length);
		op->sector = fault->sector;
		op->count = fault->count;
		*fault = (struct fault){ 0 };
		return;
	}
	if (admin_free_blocks() < FREE_BLOCKS_LEAST)
		return;
	if (dice < 5)
		add_used_slot_fault(op, fault);
	else if (dice < 7)
		add_free_slot_fault(op, fault);
	else
		add_metadata_fault(op, fault);
	op->sector = fault->sector;
	op->count = fault->count;
}

/*
 * All of a disk goes away, from the front, or is back, from the end. Nothing is ever added to the list where something is in
 * it already. Linux 6.1 spoils it then: a range over several others moves ends, and of one that is half in another the rest
 * gets in behind what begins after it; from there on the list is out of order, and what is cleared stays.
 */
static void disk_away(struct disk *disk, bool away)
{
	uint64_t pieces = (disk->sectors + PIECE_SECTORS - 1) / PIECE_SECTORS;
	uint64_t i;

	for (i = 0; away && i < disk->faults; i++)
		if (disk->fault[i].length && disk->fault[i].is_bad)
			badblocks(disk, '-', disk->fault[i].at, disk->fault[i].length);
	for (i = 0; i < pieces; i++) {
		uint64_t at = (away ? i : pieces - 1 - i) * PIECE_SECTORS;
		uint64_t left = disk->sectors - at;

		badblocks(disk, away ? '+' : '-', at, left < PIECE_SECTORS ? left : PIECE_SECTORS);
	}
	for (i = 0; !away && i < disk->faults; i++)
		if (disk->fault[i].length && disk->fault[i].is_bad)
			badblocks(disk, '+', disk->fault[i].at, disk->fault[i].length);
	disk->away = away;
	check_list(disk);
}

/* All of a device is as it was before an outage: good, but for its faults. */
static void as_before(enum device device)
{
	const struct fault *faults = disks[device].fault;
	uint64_t at = device == MAIN ? 0 : t.still_quiet;

	while (at < t.sectors) {
		const struct fault *next = NULL;
		unsigned int i;

		for (i = 0; i < disks[device].faults; i++)
			if (faults[i].length && faults[i].count && faults[i].sector >= at &&
			    (!next || faults[i].sector < next->sector))
				next = &faults[i];
		model_health(device, at, (next ? next->sector : t.sectors) - at, GOOD);
		if (next && !next->comes_and_goes)
			model_health(device, next->sector, next->count, BAD);
		at = next ? next->sector + next->count : t.sectors;
	}
}

/* What was written while all of main was away has moved. */
static void shrink_quiet(struct op *op)
{
	struct run run;

	wait_for_turns(op->thread);
	if (admin_find_run(0, &run) && run.sector < t.still_quiet)
		t.still_quiet = run.sector;
}

static void outage(struct op *op)
{
	bool of_main = !t.spare_null || (t.main_null && chance(op, 50));
	enum device device = of_main ? MAIN : SPARE;
	uint64_t first;

	/* A map that can't be read when a table is activated is gone: none is, meanwhile. */
	if (!admin_hold_table(true))
		return;
	snprintf(op->note, sizeof(op->note), "of %s", of_main ? "main" : "the spare");
	if (!of_main) {
		io_hold_cached_writes(true);
		model_writes_may_fail(true);
	}
	/* What never moves needs no spare. */
	first = of_main ? 0 : t.still_quiet;
	model_health(device, first, t.sectors - first, MAYBE);
	disk_away(&disks[device], true);
	wait_for_operations(OUTAGE_OPERATIONS, OUTAGE_S);
	disk_away(&disks[device], false);
	admin_wait_for_engine();
	as_before(device);
	if (!of_main) {
		/* Once a flush has failed writes with FUA fail, until one that began later has not. */
		wait_for_turns(op->thread);
		admin_settle(op);
		model_writes_may_fail(false);
		io_hold_cached_writes(false);
	} else {
		shrink_quiet(op);
	}
	admin_hold_table(false);
}

/* A table with some slow segments, or none. */
static void slow_step(struct op *op, unsigned int segments)
{
	char lines[SLOW_MAX * 3 * 100 + 200];
	uint64_t part = slow_sectors / (SLOW_MAX + 1) / SLOW_SECTORS_MAX * SLOW_SECTORS_MAX;
	uint64_t at = 0;
	size_t used = 0;
	int error;

	snprintf(op->note, sizeof(op->note), "%u segments", segments);
	while (segments--) {
		/* In order: each somewhere in a part of its own. */
		uint64_t start = part * (SLOW_MAX - segments) + choose(op, part - 2 * SLOW_SECTORS_MAX);
		uint64_t count = 1 + choose(op, SLOW_SECTORS_MAX);

		start -= start % t.unit_sectors;
		count += -count % t.unit_sectors;
		used += snprintf(lines + used, sizeof(lines) - used, "%llu %llu linear %s %llu\n", (unsigned long long)at,
				 (unsigned long long)(start - at), slow_dev, (unsigned long long)(slow_offset + at));
		/* Reads, and apart from them writes: so that one may overtake the other. */
		used += snprintf(lines + used, sizeof(lines) - used, "%llu %llu delay %s %llu %llu %s %llu %llu\n",
				 (unsigned long long)start, (unsigned long long)count, slow_dev,
				 (unsigned long long)(slow_offset + start),
				 (unsigned long long)choose(op, SLOW_MS_MAX + 1), slow_dev,
				 (unsigned long long)(slow_offset + start),
				 (unsigned long long)choose(op, SLOW_MS_MAX + 1));
		at = start + count;
	}
	snprintf(lines + used, sizeof(lines) - used, "%llu %llu linear %s %llu", (unsigned long long)at,
		 (unsigned long long)(slow_sectors - at), slow_dev, (unsigned long long)(slow_offset + at));
	error = dm_load(t.slow, lines);
	if (!error)
		error = dm_resume(t.slow, true);
	if (error)
		give_up(EX_OSERR, "%s: %s: %s", t.slow, strerror(error), lines);
}

void faults_run(struct op *op)
{
	if (pthread_mutex_trylock(&fault_lock) != 0)
		return;
	report_current(op->thread, op);
	op->start = model_stamp();
	if (op->kind == FAULT_MAIN && t.main_null)
		main_step(op);
	else if (op->kind == FAULT_SPARE && t.spare_null)
		spare_step(op);
	else if (op->kind == OUTAGE && (t.main_null || t.spare_null))
		outage(op);
	else if (op->kind == SLOW && t.slow)
		slow_step(op, choose(op, SLOW_MAX + 1));
	if (*op->note)
		report_ended(op);
	pthread_mutex_unlock(&fault_lock);
}

void faults_end(void)
{
	struct op op = { .kind = SLOW };
	unsigned int i;

	for (i = 0; i < MAIN_FAULTS; i++)
		if (main_fault[i].length) {
			main_fault[i].comes_and_goes = false;
			turn(&main_fault[i], MAIN, false);
		}
	for (i = 0; i < SPARE_FAULTS; i++)
		if (spare_fault[i].length)
			turn(&spare_fault[i], SPARE, false);
	if (t.slow)
		slow_step(&op, 0);
}
