// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What an administrator does to the device while it works, and what must be true of it at the end. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "kmod/format.h"
#include "tests/vm/guest/torture.h"

#define STOP_S 10
#define STORM_BUDGET 1000000u
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* One suspends or reloads at a time. Messages hold the other for reading; who needs the map to stand still, for writing. */
static pthread_mutex_t suspend_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t message_lock = PTHREAD_RWLOCK_INITIALIZER;
static atomic_uint suspends_begun, suspends_ended;
static unsigned int block_sectors;

void admin_hold_map(bool hold)
{
	if (hold)
		pthread_rwlock_wrlock(&message_lock);
	else
		pthread_rwlock_unlock(&message_lock);
}

bool admin_hold_table(bool hold)
{
	if (hold)
		return pthread_mutex_trylock(&suspend_lock) == 0;
	pthread_mutex_unlock(&suspend_lock);
	return true;
}

struct status {
	char mode[16];
	unsigned long long block_sectors, mapped, free, retired, unread, lost, held;
};

static void ask_status(struct status *s)
{
	int error = dm_status(t.name, false);

	if (error || sscanf(dm_answer,
			    "0 %*u remap %15s %llu %llu %llu %llu %llu %llu %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u "
			    "%*u %llu",
			    s->mode, &s->block_sectors, &s->mapped, &s->free, &s->retired, &s->unread, &s->lost,
			    &s->held) != 8)
		give_up(EX_PROTOCOL, "the status of %s can't be read: %s", t.name,
			error ? strerror(error) : dm_answer);
}

uint64_t admin_free_blocks(void)
{
	struct status status;

	ask_status(&status);
	return status.free;
}

static uint64_t disk_sectors(const char *devno)
{
	int fd = dm_open_disk(devno);
	uint64_t bytes;

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes) != 0)
		give_up(EX_OSERR, "%s: %m", devno);
	close(fd);
	return bytes / SECTOR_BYTES;
}

void admin_init(void)
{
	unsigned long long main_offset, spare_offset;
	struct status status;

	if (dm_status(t.name, true) || sscanf(dm_answer, "0 %*u remap %31s %llu %31s %llu", t.main_dev, &main_offset,
					      t.spare_dev, &spare_offset) != 4)
		give_up(EX_USAGE, "%s is no remap device", t.name);
	t.main_offset = main_offset;
	t.spare_offset = spare_offset;
	t.main_sectors = disk_sectors(t.main_dev);
	t.spare_sectors = disk_sectors(t.spare_dev);
	ask_status(&status);
	block_sectors = status.block_sectors;
}

static uint64_t block_start(uint64_t sector)
{
	return sector - sector % block_sectors;
}

static void must(const struct op *op, const char *what, int error)
{
	if (error)
		mismatch(op, -1, "%s failed: %s", what, strerrorname_np(error));
}

bool admin_find_run(uint64_t from, struct run *run)
{
	unsigned long long sector, count, spare_sector, unread, lost;

	if (dm_message(t.name, "list %llu 1", (unsigned long long)from) ||
	    sscanf(dm_answer, "%llu %llu %llu %llu %llu", &sector, &count, &spare_sector, &unread, &lost) != 5)
		return false;
	*run = (struct run){ sector, count, spare_sector, unread + lost };
	return true;
}

/* The first mapped block of [@at, @end) with sectors that don't read; @at if there is none. */
static uint64_t first_trouble(uint64_t at, uint64_t end)
{
	uint64_t next = at;
	struct run run;

	while (next < end && admin_find_run(next, &run) && run.sector < end) {
		if (run.troubled)
			return run.sector;
		next = run.sector + run.count;
	}
	return at;
}

/* What a message said of a range where the model knows of no trouble. */
static void judge_answer(struct op *op, uint64_t bad, const char *what)
{
	uint64_t first = block_start(op->sector);
	uint64_t end = block_start(op->sector + op->count - 1) + block_sectors;

	if (end > t.sectors)
		end = t.sectors;
	if (bad && model_is_whole(first, end - first, op->start))
		mismatch(op, first_trouble(first, end), "%llu %s where nothing is wrong", (unsigned long long)bad, what);
}

/* remap and release: random ranges, mostly short, up to the most that one call does. */
static void move(struct op *op)
{
	bool is_remap = op->kind == REMAP;
	unsigned long long next = 0, done = 0, third = 0, fourth = 0;
	unsigned int begun, ended = suspends_ended;
	int words;

	op->count = 1 + choose(op, 1ull << choose(op, 13));
	op->sector = chance(op, 30) ? faults_spot(op) :
				      t.quiet_sectors + choose(op, t.sectors - t.quiet_sectors - op->count + 1);
	if (op->sector + op->count > t.sectors)
		op->count = t.sectors - op->sector;
	report_current(op->thread, op);
	pthread_rwlock_rdlock(&message_lock);
	op->start = model_stamp();
	op->error = dm_message(t.name, "%s %llu %llu", kind_name(op->kind), (unsigned long long)op->sector,
			       (unsigned long long)op->count);
	pthread_rwlock_unlock(&message_lock);
	begun = suspends_begun;

	words = sscanf(dm_answer, "%llu %llu %llu %llu", &next, &done, &third, &fourth);
	snprintf(op->note, sizeof(op->note), ": %.40s", dm_answer);
	report_ended(op);
	if (op->error) {
		if (!model_may_write_fail(op))
			mismatch(op, op->sector, "the message failed: %s", strerrorname_np(op->error));
		return;
	}
	if (words != (is_remap ? 4 : 3))
		mismatch(op, op->sector, "the message was answered with \"%s\"", dm_answer);
	if (next < op->sector || next > op->sector + op->count || (next == op->sector && begun == ended))
		mismatch(op, op->sector, "the message got to sector %llu", next);
	if (is_remap)
		judge_answer(op, fourth, "sectors unread");
	else
		judge_answer(op, third, "blocks refused");
}

static void ask(struct op *op)
{
	unsigned int ended = suspends_ended;
	struct status status;

	op->start = model_stamp();
	ask_status(&status);
	if (strcmp(status.mode, "rw") && !model_may_write_fail(op) &&
	    (strcmp(status.mode, "init") || suspends_begun == ended))
		mismatch(op, -1, "the mode is %s", status.mode);
	must(op, "\"list\"", dm_message(t.name, "list %llu %llu", (unsigned long long)choose(op, t.sectors),
					(unsigned long long)(1 + choose(op, 100))));
}

static void set(struct op *op)
{
	static const char *const messages[] = { "retry_ms 0", "retry_ms 0", "retry_ms 40", "salvage_ms 10000",
						"salvage_ms 20000", "rewrite_first 0", "rewrite_first 1" };
	const char *message = messages[choose(op, ARRAY_SIZE(messages))];

	op->start = model_stamp();
	snprintf(op->note, sizeof(op->note), ": %s", message);
	must(op, "\"set\"", dm_message(t.name, "set %s", message));
}

void admin_stop(void)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += STOP_S;
	/* Held for good by nobody but the caller itself. */
	pthread_mutex_timedlock(&suspend_lock, &limit);
	dm_resume(t.name, false);
}

static void suspend(struct op *op)
{
	bool noflush = chance(op, 50);

	op->start = model_stamp();
	suspends_begun++;
	must(op, "suspend", dm_suspend(t.name, noflush));
	if (chance(op, 50)) {
		struct op inner = *op;

		inner.kind = ASK;
		ask(&inner);
	}
	must(op, "resume", dm_resume(t.name, noflush));
	suspends_ended++;
	snprintf(op->note, sizeof(op->note), "%s", noflush ? "noflush" : "");
}

bool admin_suspend(void)
{
	struct op op = { .kind = SUSPEND, .number = 1 };

	if (!admin_hold_table(true))
		return false;
	suspends_begun++;
	must(&op, "suspend", dm_suspend(t.name, false));
	return true;
}

void admin_resume(void)
{
	struct op op = { .kind = SUSPEND, .number = 1 };

	must(&op, "resume", dm_resume(t.name, false));
	suspends_ended++;
	admin_hold_table(false);
}

uint64_t admin_find_free(struct op *op)
{
	uint64_t first = t.spare_offset + REMAP_HEADER_SECTORS + REMAP_METAS_PER_GROUP * REMAP_META_SECTORS;
	uint64_t at = first + choose(op, t.spare_sectors - REMAP_METAS_PER_GROUP * REMAP_META_SECTORS - first);
	uint64_t from = 0;
	struct run run;

	while (admin_find_run(from, &run)) {
		if (at + block_sectors > run.spare_sector && at < run.spare_sector + run.count + block_sectors)
			return 0;
		from = run.sector + run.count;
	}
	return at;
}

void admin_wait_for_engine(void)
{
	struct op op = { .kind = SET, .number = 1 };

	/* Any message that waits for its turn, also while the device is suspended, and changes nothing. */
	must(&op, "\"set\"", dm_message(t.name, "set storm_budget %u", STORM_BUDGET));
}

/* A flush writes what could not be written before, and a table that takes over believes it. */
void admin_settle(struct op *op)
{
	int fd = open(t.path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || (fdatasync(fd) != 0 && fdatasync(fd) != 0))
		mismatch(op, -1, "a flush fails though the spare is back: %m");
	close(fd);
}

/* The same line, or with other options. */
static void reload(struct op *op)
{
	static const char *const options[] = { "2 storm_budget 1000000", "4 storm_budget 1000000 retry_ms 0",
					       "4 storm_budget 1000000 retry_ms 40",
					       "6 storm_budget 1000000 retry_ms 0 salvage_ms 20000",
					       "6 storm_budget 1000000 retry_ms 0 rewrite_first 1" };
	const char *option = options[choose(op, ARRAY_SIZE(options))];
	bool noflush = chance(op, 50);
	char line[256];

	op->start = model_stamp();
	snprintf(line, sizeof(line), "0 %llu remap %s %llu %s %llu %s", (unsigned long long)t.sectors, t.main_dev,
		 (unsigned long long)t.main_offset, t.spare_dev, (unsigned long long)t.spare_offset, option);
	suspends_begun++;
	must(op, "loading a table", dm_load(t.name, line));
	if (chance(op, 50))
		must(op, "suspend", dm_suspend(t.name, noflush));
	must(op, "resume", dm_resume(t.name, noflush));
	suspends_ended++;
	snprintf(op->note, sizeof(op->note), ": %s", option);
}

void admin_run(struct op *op)
{
	if (op->kind == REMAP || op->kind == RELEASE) {
		move(op);
		return;
	}
	if (op->kind == ASK) {
		ask(op);
		return;
	}
	if (!admin_hold_table(true))
		return;
	report_current(op->thread, op);
	if (op->kind == SUSPEND)
		suspend(op);
	else if (op->kind == RELOAD)
		reload(op);
	else
		set(op);
	report_ended(op);
	admin_hold_table(false);
}

/* Everything back to main. Returns how many blocks did not go. */
static uint64_t release_all(void)
{
	struct op op = { .kind = RELEASE, .note = "final release" };
	unsigned long long next = 0, done, left;
	uint64_t refused = 0;

	for (op.sector = 0; op.sector < t.sectors; op.sector = next, refused += left) {
		op.count = t.sectors - op.sector;
		op.error = dm_message(t.name, "release %llu %llu", (unsigned long long)op.sector,
				      (unsigned long long)op.count);
		if (op.error || sscanf(dm_answer, "%llu %llu %llu", &next, &done, &left) != 3 || next <= op.sector)
			mismatch(&op, op.sector, "the last release failed: %s, \"%s\"", strerrorname_np(op.error),
				 dm_answer);
	}
	return refused;
}

void admin_final_checks(struct files *files)
{
	struct op op = { .kind = RELOAD, .note = "final reload" };
	struct status status;
	uint64_t refused;

	io_check_all(files);
	io_heal(files);
	reload(&op);
	io_check_all(files);
	ask_status(&status);
	if (strcmp(status.mode, "rw") || status.held || status.unread || status.lost)
		mismatch(&op, -1, "at the end the mode is %s, %llu sectors are unread, %llu lost, %llu I/Os held",
			 status.mode, status.unread, status.lost, status.held);
	printf("torture: %llu blocks mapped, %llu retired\n", status.mapped, status.retired);
	refused = release_all();
	ask_status(&status);
	if (refused || status.mapped)
		mismatch(&op, -1, "%llu blocks were not released, %llu are mapped", (unsigned long long)refused,
			 status.mapped);
	close(files->direct);
	files->direct = dm_open_disk(t.main_dev);
	files->offset_sectors = t.main_offset;
	if (files->direct < 0)
		give_up(EX_OSERR, "main: %m");
	io_check_all(files);
}
