// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Operations on the data of the device. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "tests/vm/guest/torture.h"

#define PARTS_MAX 48		/* a read that fails is read again in at most so many parts */
#define PATIENCE_S 60		/* what may be unread for a while reads after so long */
#define PATIENCE_TRIES 1000u	/* and so many attempts: the clock goes on while the machine does not */
#define PAUSE_NS 2000000L

/*
 * The page cache tells an error to whoever comes next, also to those who only read. So cached writes have no part in what
 * lets writes fail.
 */
static pthread_rwlock_t cached_write_lock = PTHREAD_RWLOCK_INITIALIZER;

void io_hold_cached_writes(bool hold)
{
	if (hold)
		pthread_rwlock_wrlock(&cached_write_lock);
	else
		pthread_rwlock_unlock(&cached_write_lock);
}

void files_open(struct files *files)
{
	files->direct = open(t.path, O_RDWR | O_DIRECT | O_CLOEXEC);
	files->cached = open(t.path, O_RDWR | O_CLOEXEC);
	files->buffer = mmap(NULL, (MAX_IO_SECTORS + PAGE_SECTORS) * SECTOR_BYTES, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (files->direct < 0 || files->cached < 0 || files->buffer == MAP_FAILED)
		give_up(EX_OSERR, "%s: %m", t.path);
	/* Nothing but what was asked for is to be in the page cache. */
	posix_fadvise(files->cached, 0, 0, POSIX_FADV_RANDOM);
}

static bool is_cached(enum kind kind)
{
	return kind == READ_CACHED || kind == WRITE_CACHED;
}

static bool is_nowait(enum kind kind)
{
	return kind == READ_NOWAIT || kind == WRITE_NOWAIT;
}

/* It would have had to wait; or a device below can't tell (one with a dm-delay segment). */
static bool declined(const struct op *op)
{
	return is_nowait(op->kind) && (op->error == EAGAIN || op->error == EOPNOTSUPP);
}

static void drop_cache(struct files *files, const struct op *op)
{
	posix_fadvise(files->cached, op->sector * SECTOR_BYTES, op->count * SECTOR_BYTES, POSIX_FADV_DONTNEED);
}

/* Returns 0 or an errno. Carries on after a short transfer, unless it must not wait. */
static int transfer(struct files *files, bool is_write, enum kind kind, char *buffer, uint64_t sector, uint64_t count)
{
	int fd = is_cached(kind) ? files->cached : files->direct;
	int flags = (kind == WRITE_FUA ? RWF_DSYNC : 0) | (is_nowait(kind) ? RWF_NOWAIT : 0);
	uint64_t done = 0, bytes = count * SECTOR_BYTES;

	while (done < bytes) {
		struct iovec iov = { buffer + done, bytes - done };
		off_t at = (files->offset_sectors + sector) * SECTOR_BYTES + done;
		ssize_t n = is_write ? pwritev2(fd, &iov, 1, at, flags) : preadv2(fd, &iov, 1, at, flags);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0)
			return ENODATA;
		done += n;
		if (done < bytes && is_nowait(kind))
			return EAGAIN;
	}
	return 0;
}

/* Reads a part of the operation's range anew, until it reads or may fail for good. */
static int read_patiently(struct files *files, struct op *part, char *buffer)
{
	struct timespec pause = { 0, PAUSE_NS }, begin, now;
	unsigned int tries = 0;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (;;) {
		int error;

		model_start(part);
		error = transfer(files, false, part->kind, buffer, part->sector, part->count);
		if (!error)
			return 0;
		switch (model_may_fail(part->sector, part->count, part->start)) {
		case YES:
			return error;
		case NEVER:
			mismatch(part, part->sector, "%s of %llu sectors where no error is allowed",
				 strerrorname_np(error), (unsigned long long)part->count);
		case LATER_NOT:
			break;
		}
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (++tries > PATIENCE_TRIES && now.tv_sec - begin.tv_sec > PATIENCE_S)
			mismatch(part, part->sector, "%s of %llu sectors, still after %d s",
				 strerrorname_np(error), (unsigned long long)part->count, PATIENCE_S);
		nanosleep(&pause, NULL);
	}
}

/* Finds out which parts of a range that failed read, and judges them. */
static void read_parts(struct files *files, const struct op *op, char *buffer, uint64_t sector, uint64_t count,
		       unsigned int *parts)
{
	uint64_t half = count / 2 / t.fails_sectors * t.fails_sectors;
	struct op part = *op;

	part.sector = sector;
	part.count = count;
	part.kind = READ;
	if (read_patiently(files, &part, buffer) == 0) {
		model_read(&part, buffer);
		return;
	}
	if (!half || *parts >= PARTS_MAX)
		return;
	*parts += 2;
	read_parts(files, op, buffer, sector, half, parts);
	read_parts(files, op, buffer + half * SECTOR_BYTES, sector + half, count - half, parts);
}

static void do_read(struct files *files, struct op *op, char *buffer)
{
	unsigned int parts = 0;

	if (op->kind == READ_CACHED)
		drop_cache(files, op);
	op->error = transfer(files, false, op->kind, buffer, op->sector, op->count);
	if (!op->error)
		model_read(op, buffer);
	else if (declined(op))
		;
	else if (model_may_fail(op->sector, op->count, op->start) == NEVER)
		mismatch(op, op->sector, "%s where no error is allowed", strerrorname_np(op->error));
	else
		read_parts(files, op, buffer, op->sector, op->count, &parts);
	if (op->kind == READ_CACHED)
		drop_cache(files, op);
}

static void judge_write_error(const struct op *op)
{
	if (!op->error || declined(op) || model_may_write_fail(op))
		return;
	mismatch(op, op->count ? (int64_t)op->sector : -1, "%s where no error is allowed",
		 strerrorname_np(op->error));
}

static void do_write(struct files *files, struct op *op, char *buffer)
{
	pattern_fill(buffer, t.seed, op->sector, op->count, op->generation);
	op->error = transfer(files, true, op->kind, buffer, op->sector, op->count);
	/* Only then it is on the device. */
	if (!op->error && op->kind == WRITE_CACHED && fdatasync(files->cached) != 0)
		op->error = errno;
	if (op->kind == WRITE_CACHED)
		drop_cache(files, op);
	model_written(op);
	judge_write_error(op);
}

static void do_zero(struct files *files, struct op *op)
{
	uint64_t range[2] = { op->sector * SECTOR_BYTES, op->count * SECTOR_BYTES };

	if (op->kind == ZERO)
		op->error = ioctl(files->direct, BLKZEROOUT, range) ? errno : 0;
	else
		op->error = fallocate(files->direct, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, range[0], range[1]) ?
			    errno : 0;
	model_written(op);
	/* A hole can be punched only where the devices write zeroes by themselves. */
	if (op->kind != PUNCH || op->error != EOPNOTSUPP)
		judge_write_error(op);
}

static void do_discard(struct files *files, struct op *op)
{
	uint64_t range[2] = { op->sector * SECTOR_BYTES, op->count * SECTOR_BYTES };

	op->error = ioctl(files->direct, BLKDISCARD, range) ? errno : 0;
	if (op->error != EOPNOTSUPP && op->error &&
	    model_may_fail(op->sector, op->count, op->start) != YES)
		judge_write_error(op);
	model_discarded(op);
}

/* Sets op->sector and op->count; false if all places that were tried are taken. */
static bool find_place(struct op *op)
{
	unsigned int unit = is_cached(op->kind) ? PAGE_SECTORS : t.unit_sectors;
	uint64_t most, spread;
	int tries;

	if (unit < t.unit_sectors)
		unit = t.unit_sectors;
	for (tries = 0; tries < 8; tries++) {
		uint64_t a = choose(op, 12), b = choose(op, 12);

		/* Small ones mostly, of all sizes. */
		most = 1ull << (a < b ? a : b);
		op->count = 1 + choose(op, most);
		op->count += unit - 1;
		op->count -= op->count % unit;
		spread = op->count + 64;
		op->sector = choose(op, t.sectors - op->count + 1);
		if (chance(op, 50)) {
			uint64_t near = faults_spot(op) + 64 + choose(op, spread);

			op->sector = near > spread ? near - spread : 0;
		}
		op->sector -= op->sector % unit;
		if (op->sector + op->count <= t.sectors && model_claim(op))
			return true;
	}
	op->count = 0;
	return false;
}

static void run_in_place(struct files *files, struct op *op)
{
	char *buffer = files->buffer + choose(op, PAGE_SECTORS / t.unit_sectors) * t.unit_sectors * SECTOR_BYTES;

	op->shared = !is_cached(op->kind) && op->kind != DISCARD && chance(op, 15);
	op->generation = op->kind == ZERO || op->kind == PUNCH ? GENERATION_ZERO : op->number;
	if (is_cached(op->kind))
		buffer = files->buffer;
	if (!find_place(op)) {
		snprintf(op->note, sizeof(op->note), "no place");
		return;
	}
	report_current(op->thread, op);
	switch (op->kind) {
	case READ:
	case READ_CACHED:
	case READ_NOWAIT:
		do_read(files, op, buffer);
		break;
	case ZERO:
	case PUNCH:
		do_zero(files, op);
		break;
	case DISCARD:
		do_discard(files, op);
		break;
	default:
		do_write(files, op, buffer);
		break;
	}
	model_let_go(op);
}

void io_run(struct files *files, struct op *op)
{
	if (op->kind == FLUSH) {
		op->start = model_stamp();
		op->error = fdatasync(files->direct) ? errno : 0;
		judge_write_error(op);
		return;
	}
	if (op->kind == WRITE_CACHED && pthread_rwlock_tryrdlock(&cached_write_lock) != 0) {
		snprintf(op->note, sizeof(op->note), "not now");
		return;
	}
	run_in_place(files, op);
	if (op->kind == WRITE_CACHED)
		pthread_rwlock_unlock(&cached_write_lock);
}

void io_fill(struct files *files)
{
	uint64_t sector, count;

	for (sector = 0; sector < t.sectors; sector += count) {
		count = t.sectors - sector < MAX_IO_SECTORS ? t.sectors - sector : MAX_IO_SECTORS;
		pattern_fill(files->buffer, t.seed, sector, count, FILL_GENERATION);
		if (transfer(files, true, WRITE, files->buffer, sector, count) != 0)
			give_up(EX_OSERR, "%s can't be filled: %m", t.path);
	}
}

void io_check_all(struct files *files)
{
	struct op op = { .kind = READ, .number = UINT32_MAX, .note = "final check" };

	for (op.sector = 0; op.sector < t.sectors; op.sector += op.count) {
		op.count = t.sectors - op.sector < MAX_IO_SECTORS ? t.sectors - op.sector : MAX_IO_SECTORS;
		if (!model_claim(&op))
			give_up(EX_SOFTWARE, "the final check is not alone");
		do_read(files, &op, files->buffer);
		model_let_go(&op);
	}
}

void io_heal(struct files *files)
{
	struct op op = { .kind = WRITE, .count = t.unit_sectors, .number = UINT32_MAX, .note = "healing" };

	op.generation = op.number;
	for (op.sector = 0; (op.sector = model_next_lost(op.sector)) < t.sectors; op.sector += t.unit_sectors) {
		op.sector -= op.sector % t.unit_sectors;
		if (!model_claim(&op))
			give_up(EX_SOFTWARE, "the final check is not alone");
		do_write(files, &op, files->buffer);
		model_let_go(&op);
	}
}
