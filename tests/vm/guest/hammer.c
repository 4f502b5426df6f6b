// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * hammer [-s SEED] [-t SECONDS] [-n OPERATIONS] [-j THREADS] [-m SECTORS] [-M FILE] [-wrdp] [-c] DEVICE [SECTORS]
 *
 * Random I/O against a model of what each sector may hold. Threads work side by side on different sectors of the
 * same blocks: reads, writes, FUA writes, write zeroes, flushes, and with -d discards.
 *
 * The model knows, for each sector, the generations that it may hold: one after an acknowledged write; the old ones
 * and the new one after a failed write, until a read shows which. So a read is right if it shows one of them, and
 * wrong if it shows anything else. With -r a read may also fail (EIO), with -w a write may; without, that ends the
 * run. -c only checks that every sector reads and is right.
 *
 * -p minds a write cache: what was acknowledged but not flushed may be older after a power cut. The check after the
 * cut is run with -p too; it makes what it finds the only right answer again.
 *
 * -M keeps the model in a file, so that a later run can go on from it; without a file's content the device is
 * filled first. SIGUSR1 ends it in good order. Prints the seed and counts. Exit status: 0, 1 a failure that was not allowed, 2 wrong data, 64, 71.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "tests/vm/guest/pattern.h"

#define MAX_CANDIDATES 7
#define MAX_OLDER 8
#define MAX_IO_SECTORS 2048
#define MAX_THREADS 16
#define MAX_SHIFTS 8

struct expectation {
	uint32_t candidate[MAX_CANDIDATES];
	uint32_t older[MAX_OLDER];	/* -p: what a power cut may bring back */
	uint8_t candidates;
	uint8_t olders;
	uint8_t anything;	/* discarded, or more failed writes than there is room for */
	uint8_t busy;		/* an I/O of a thread covers it now; under busy_lock */
	uint8_t any_older;		/* more of them than there is room for */
	uint8_t pad[3];
};

struct model {
	uint64_t seed;
	uint64_t sectors;
	_Atomic uint32_t generation;
	uint32_t filled;
	struct expectation sector[];
};

static struct model *model;
static int fd;
static uint64_t align_sectors = 1;
static uint64_t max_sectors = 64;
static int allow_read_errors, allow_write_errors, allow_discard, power_cuts;
static pthread_rwlock_t flush_lock = PTHREAD_RWLOCK_INITIALIZER;
static uint64_t deadline_ns;
static uint64_t operations = UINT64_MAX;
static pthread_mutex_t busy_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int verdict;
static _Atomic uint64_t done_operations, reads, writes, zeroes, flushes, discards, read_errors, write_errors;

static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
	stopped = 1;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void fail(int status)
{
	int ok = 0;

	/* Wrong data outranks an error. */
	if (!atomic_compare_exchange_strong(&verdict, &ok, status) && status > ok)
		atomic_store(&verdict, status);
}

static void error_line(const char *what, int error, uint64_t sector, uint64_t count)
{
	const char *name = strerrorname_np(error);

	printf("%s: %s at %llu+%llu\n", what, name ? name : "error", (unsigned long long)sector,
	       (unsigned long long)count);
}

/* A disk without power may fail in other ways than one with bad sectors. */
static int error_is_fair(int error)
{
	return error == EIO || power_cuts;
}

static void expect_only(struct expectation *e, uint32_t generation)
{
	e->candidate[0] = generation;
	e->candidates = 1;
	e->anything = 0;
}

static void expect_also(struct expectation *e, uint32_t generation)
{
	if (e->candidates == MAX_CANDIDATES)
		e->anything = 1;
	else
		e->candidate[e->candidates++] = generation;
}

/* A write of @generation was acknowledged, durably or not yet. */
static void expect_written(struct expectation *e, uint32_t generation, int durable)
{
	int i;

	for (i = 0; power_cuts && !durable && i < e->candidates; i++) {
		if (e->olders == MAX_OLDER)
			e->any_older = 1;
		else
			e->older[e->olders++] = e->candidate[i];
	}
	if (power_cuts && !durable && e->anything)
		e->any_older = 1;
	expect_only(e, generation);
	if (durable)
		e->olders = e->any_older = 0;
}

static void expect_flushed(void)
{
	uint64_t i;

	for (i = 0; i < model->sectors; i++)
		model->sector[i].olders = model->sector[i].any_older = 0;
}

/* The power was cut: older data is as right as the newest. */
static void expect_older(struct expectation *e)
{
	int i;

	for (i = 0; i < e->olders; i++)
		expect_also(e, e->older[i]);
	e->anything |= e->any_older;
	e->olders = e->any_older = 0;
}

static void wrong(uint64_t sector, const char *found)
{
	struct expectation *e = &model->sector[sector];
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	char text[128];
	int i;

	pthread_mutex_lock(&lock);
	printf("WRONG sector %llu: found %s, expected generation", (unsigned long long)sector,
	       pattern_describe(found, text, sizeof(text)));
	for (i = 0; i < e->candidates; i++)
		printf(" %u", e->candidate[i]);
	printf("\n");
	pthread_mutex_unlock(&lock);
	fail(2);
}

/* One sector was read: is it what it may be? What was seen is from now on the only right answer. */
static void judge(uint64_t sector, const char *found)
{
	struct expectation *e = &model->sector[sector];
	uint32_t generation;
	int i;

	for (i = 0; i < e->candidates; i++) {
		if (pattern_is(found, model->seed, sector, e->candidate[i])) {
			expect_only(e, e->candidate[i]);
			return;
		}
	}
	if (!e->anything)
		wrong(sector, found);
	else if (pattern_generation(found, model->seed, sector, &generation) == 0)
		expect_only(e, generation);
}

static int transfer(int is_write, void *buffer, uint64_t sector, uint64_t count, int rwf)
{
	uint64_t done = 0, bytes = count * SECTOR_BYTES;

	while (done < bytes) {
		struct iovec iov = { (char *)buffer + done, bytes - done };
		off_t at = sector * SECTOR_BYTES + done;
		ssize_t n = is_write ? pwritev2(fd, &iov, 1, at, rwf) : preadv2(fd, &iov, 1, at, rwf);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : ENODATA;
		done += n;
	}
	return 0;
}

static void do_read(char *buffer, uint64_t sector, uint64_t count)
{
	int error = transfer(0, buffer, sector, count, 0);
	uint64_t i;

	reads++;
	if (error) {
		read_errors++;
		if (!allow_read_errors || !error_is_fair(error)) {
			error_line("read", error, sector, count);
			fail(1);
		}
		/* What of it can be read is right all the same. */
		for (i = 0; i < count && i < 8 * align_sectors && count > align_sectors; i += align_sectors)
			do_read(buffer, sector + i, align_sectors);
		return;
	}
	for (i = 0; i < count; i++)
		judge(sector + i, buffer + i * SECTOR_BYTES);
}

static void do_write(char *buffer, uint64_t sector, uint64_t count, int rwf)
{
	uint32_t generation = ++model->generation;
	uint64_t i;
	int error;

	writes++;
	pattern_fill(buffer, model->seed, sector, count, generation);
	error = transfer(1, buffer, sector, count, rwf);
	for (i = 0; i < count; i++) {
		if (error)
			expect_also(&model->sector[sector + i], generation);
		else
			expect_written(&model->sector[sector + i], generation, rwf & RWF_DSYNC);
	}
	if (error) {
		write_errors++;
		if (!allow_write_errors || !error_is_fair(error)) {
			error_line("write", error, sector, count);
			fail(1);
		}
	}
}

static void do_range(unsigned long request, uint64_t sector, uint64_t count)
{
	uint64_t i, range[2] = { sector * SECTOR_BYTES, count * SECTOR_BYTES };
	int error = ioctl(fd, request, range) ? errno : 0;

	for (i = 0; i < count; i++) {
		if (request == BLKDISCARD)
			model->sector[sector + i].anything = 1;
		else if (error)
			expect_also(&model->sector[sector + i], GENERATION_ZERO);
		else
			expect_written(&model->sector[sector + i], GENERATION_ZERO, 0);
	}
	if (request == BLKDISCARD)
		discards++;
	else
		zeroes++;
	if (error && error != EOPNOTSUPP) {
		write_errors++;
		if (!allow_write_errors || !error_is_fair(error)) {
			error_line(request == BLKDISCARD ? "discard" : "zero", error, sector, count);
			fail(1);
		}
	}
}

/* With -p alone: what it made durable is then exactly what was acknowledged before it. */
static void do_flush(void)
{
	flushes++;
	if (power_cuts)
		pthread_rwlock_wrlock(&flush_lock);
	if (fsync(fd) == 0) {
		if (power_cuts)
			expect_flushed();
	} else {
		write_errors++;
		if (!allow_write_errors || !error_is_fair(errno)) {
			error_line("flush", errno, 0, 0);
			fail(1);
		}
	}
	if (power_cuts)
		pthread_rwlock_unlock(&flush_lock);
}

/* Makes the range this thread's own; 0 if it is, -1 if another has some of it. */
static int claim(uint64_t sector, uint64_t count)
{
	uint64_t i;
	int status = 0;

	pthread_mutex_lock(&busy_lock);
	for (i = 0; i < count && !status; i++)
		if (model->sector[sector + i].busy)
			status = -1;
	for (i = 0; i < count && !status; i++)
		model->sector[sector + i].busy = 1;
	pthread_mutex_unlock(&busy_lock);
	return status;
}

static void give_back(uint64_t sector, uint64_t count)
{
	uint64_t i;

	pthread_mutex_lock(&busy_lock);
	for (i = 0; i < count; i++)
		model->sector[sector + i].busy = 0;
	pthread_mutex_unlock(&busy_lock);
}

static char *new_buffer(void)
{
	char *p = mmap(NULL, MAX_IO_SECTORS * SECTOR_BYTES + MAX_SHIFTS * SECTOR_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("hammer");
		exit(EX_OSERR);
	}
	return p;
}

static void *hammer(void *argument)
{
	uint64_t state = model->seed * 1000003 + model->generation + (uint64_t)(uintptr_t)argument;
	char *memory = new_buffer();

	while (!verdict && !stopped && now_ns() < deadline_ns && atomic_fetch_add(&done_operations, 1) < operations) {
		uint64_t dice = pattern_random(&state) % 100;
		/* Small I/O mostly, and all sizes to the largest. */
		uint64_t limit = max_sectors >> (pattern_random(&state) % 9);
		uint64_t count = 1 + pattern_random(&state) % (limit ? limit : 1);
		uint64_t sector = pattern_random(&state) % (model->sectors - count + 1);
		char *buffer = memory + pattern_random(&state) % MAX_SHIFTS * SECTOR_BYTES;

		sector -= sector % align_sectors;
		count += align_sectors - 1;
		count -= count % align_sectors;
		if (sector + count > model->sectors)
			continue;
		/* Another has it: try elsewhere, so that nobody waits and order stays as random as it was. */
		if (power_cuts)
			pthread_rwlock_rdlock(&flush_lock);
		if (claim(sector, count) != 0) {
			if (power_cuts)
				pthread_rwlock_unlock(&flush_lock);
			continue;
		}
		if (dice < 45)
			do_read(buffer, sector, count);
		else if (dice < 85)
			do_write(buffer, sector, count, 0);
		else if (dice < 93)
			do_write(buffer, sector, count, RWF_DSYNC);
		else if (dice < 96)
			do_range(BLKZEROOUT, sector, count);
		else if (dice < 98 && allow_discard)
			do_range(BLKDISCARD, sector, count);
		give_back(sector, count);
		if (power_cuts)
			pthread_rwlock_unlock(&flush_lock);
		if (dice >= 98)
			do_flush();
	}
	return NULL;
}

static void fill(char *buffer)
{
	uint64_t sector, count;

	model->generation = 0;
	for (sector = 0; sector < model->sectors; sector += count) {
		count = model->sectors - sector < MAX_IO_SECTORS ? model->sectors - sector : MAX_IO_SECTORS;
		do_write(buffer, sector, count, 0);
	}
	model->filled = 1;
}

static void check_all(char *buffer)
{
	uint64_t sector, count;

	for (sector = 0; sector < model->sectors; sector += count) {
		count = model->sectors - sector < max_sectors ? model->sectors - sector : max_sectors;
		do_read(buffer, sector, count);
	}
}

static void open_model(const char *path, uint64_t sectors, uint64_t seed)
{
	size_t bytes = sizeof(*model) + sectors * sizeof(model->sector[0]);
	int file = -1;
	uint64_t i;

	if (path) {
		file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (file < 0 || ftruncate(file, bytes) != 0) {
			fprintf(stderr, "hammer: %s: %s\n", path, strerror(errno));
			exit(EX_OSERR);
		}
	}
	model = mmap(NULL, bytes, PROT_READ | PROT_WRITE, path ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, file, 0);
	if (model == MAP_FAILED) {
		perror("hammer");
		exit(EX_OSERR);
	}
	if (model->filled && model->sectors != sectors) {
		fprintf(stderr, "hammer: %s is of a device of another size\n", path);
		exit(EX_USAGE);
	}
	if (!model->filled)
		model->seed = seed;
	model->sectors = sectors;
	for (i = 0; i < sectors; i++)
		model->sector[i].busy = 0;
}

int main(int argc, char **argv)
{
	uint64_t seed = 1, sectors = 0, seconds = 3600, i, threads = 2;
	const char *path = NULL;
	int option, check = 0, block_bytes = SECTOR_BYTES;
	pthread_t thread[MAX_THREADS];
	char *buffer;

	while ((option = getopt(argc, argv, "s:t:n:j:m:M:wrcdp")) != -1) {
		switch (option) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 't':
			seconds = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			operations = strtoull(optarg, NULL, 0);
			break;
		case 'j':
			threads = strtoull(optarg, NULL, 0);
			break;
		case 'm':
			max_sectors = strtoull(optarg, NULL, 0);
			break;
		case 'M':
			path = optarg;
			break;
		case 'w':
			allow_write_errors = 1;
			break;
		case 'r':
			allow_read_errors = 1;
			break;
		case 'c':
			check = 1;
			break;
		case 'd':
			allow_discard = 1;
			break;
		case 'p':
			power_cuts = 1;
			break;
		default:
			return EX_USAGE;
		}
	}
	if (argc - optind < 1 || argc - optind > 2 || !threads || threads > MAX_THREADS || !max_sectors ||
	    max_sectors > MAX_IO_SECTORS) {
		fprintf(stderr, "hammer: see the head of hammer.c\n");
		return EX_USAGE;
	}
	fd = open(argv[optind], (check ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &sectors) != 0 || ioctl(fd, BLKSSZGET, &block_bytes) != 0) {
		fprintf(stderr, "hammer: %s: %s\n", argv[optind], strerror(errno));
		return EX_OSERR;
	}
	sectors /= SECTOR_BYTES;
	if (argc - optind == 2)
		sectors = strtoull(argv[optind + 1], NULL, 0);
	align_sectors = block_bytes / SECTOR_BYTES;
	if (!sectors) {
		fprintf(stderr, "hammer: %s has no sectors\n", argv[optind]);
		return EX_OSERR;
	}
	if (max_sectors > sectors)
		max_sectors = sectors;

	signal(SIGUSR1, stop);
	setvbuf(stdout, NULL, _IOLBF, 0);
	open_model(path, sectors, seed);
	buffer = new_buffer();
	if (check) {
		if (!model->filled) {
			fprintf(stderr, "hammer: nothing to check against: no model in the file of -M\n");
			return EX_USAGE;
		}
		for (i = 0; power_cuts && i < sectors; i++)
			expect_older(&model->sector[i]);
		check_all(buffer);
	} else {
		if (!model->filled)
			fill(buffer);
		if (power_cuts)
			do_flush();
		deadline_ns = now_ns() + seconds * 1000000000ULL;
		for (i = 0; i < threads; i++)
			if (pthread_create(&thread[i], NULL, hammer, (void *)(uintptr_t)i) != 0)
				return EX_OSERR;
		for (i = 0; i < threads; i++)
			pthread_join(thread[i], NULL);
	}
	printf("hammer: seed %llu: %llu reads, %llu writes, %llu zeroes, %llu discards, %llu flushes; failed: %llu reads, %llu writes\n",
	       (unsigned long long)model->seed, (unsigned long long)reads, (unsigned long long)writes,
	       (unsigned long long)zeroes, (unsigned long long)discards, (unsigned long long)flushes,
	       (unsigned long long)read_errors, (unsigned long long)write_errors);
	return verdict;
}
