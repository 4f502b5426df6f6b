// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * torture [OPTION...] NAME
 *
 * Random I/O, messages, suspends and reloads on the device-mapper device NAME, a remap target, while regions of what
 * it lies on turn bad, slow and good again; and a model of what each sector may hold and whether it may fail to read.
 * It ends at the first thing that the model does not allow, and prints what it knows about it.
 *
 *	--seed N		all decisions follow from it (default: random, printed). How threads interleave does not, so
 *				a second run with it does the same things, but not at the same moments.
 *	--operations N		how many (default 100000)
 *	--threads N		who do them (default 6)
 *	--main-null DISK	null_blk disk under main: ranges of it turn bad
 *	--spare-null DISK	null_blk disk that is the spare: the same
 *	--slow NAME		device-mapper device (one linear segment) between main and its disk: ranges turn slow
 *	--quiet SECTORS		from the start of NAME: these never turn bad nor move (but when all of main does), so no
 *				error is ever right
 *	--plain			NAME may be anything: only I/O
 *
 * Exit status: 0, 2 a mismatch, 3 nothing went on for two minutes, 64, 71.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "tests/vm/guest/torture.h"

#define THREADS_MAX 32u
#define PROGRESS_S 10
#define HANGS_ROUNDS 12u	/* of so long; the clock alone goes on while the machine does not */
#define FIRST_NUMBER 2u
#define OVER UINT64_MAX /* a thread's turn after its last */

struct torture t;

/* How often each kind comes, of 10000. */
static const unsigned int weight[KINDS] = {
	[READ] = 3700, [READ_CACHED] = 200, [READ_NOWAIT] = 200, [WRITE] = 3200, [WRITE_FUA] = 500,
	[WRITE_CACHED] = 150, [WRITE_NOWAIT] = 200, [ZERO] = 250, [PUNCH] = 150, [DISCARD] = 200, [FLUSH] = 150,
	[REMAP] = 250, [RELEASE] = 250, [ASK] = 60, [SUSPEND] = 15, [RELOAD] = 15, [SET] = 20, [FAULT_MAIN] = 400,
	[FAULT_SPARE] = 60, [OUTAGE] = 2, [SLOW] = 28,
};

static uint64_t operations = 100000;
static unsigned int threads = 6;
static atomic_uint next_number = FIRST_NUMBER;
static _Atomic uint64_t done[KINDS], failed[KINDS], nowhere;
static _Atomic uint64_t turns[THREADS_MAX];

uint64_t choose(struct op *op, uint64_t limit)
{
	return pattern_random(&op->random) % limit;
}

bool chance(struct op *op, unsigned int percent)
{
	return choose(op, 100) < percent;
}

static enum kind choose_kind(struct op *op)
{
	unsigned int sum = 0, i, dice;

	for (i = 0; i < KINDS; i++)
		sum += weight[i];
	dice = choose(op, sum);
	for (i = 0; dice >= weight[i]; i++)
		dice -= weight[i];
	return i;
}

static void run(struct files *files, struct op *op)
{
	if (op->kind <= FLUSH)
		io_run(files, op);
	else if (t.plain)
		return;
	else if (op->kind <= SET)
		admin_run(op);
	else
		faults_run(op);
}

static void *work(void *argument)
{
	unsigned int thread = (uintptr_t)argument;
	struct files files = { 0 };

	files_open(&files);
	for (;; turns[thread]++) {
		struct op op = { .thread = thread, .number = next_number++ };

		if (op.number >= FIRST_NUMBER + operations)
			break;
		/* The decisions of a thread's n-th operation depend on nothing that happened before. */
		op.random = t.seed ^ ((uint64_t)thread << 48) ^ turns[thread];
		pattern_random(&op.random);
		op.kind = choose_kind(&op);
		run(&files, &op);
		report_current(thread, NULL);
		done[op.kind]++;
		failed[op.kind] += !!op.error;
		nowhere += op.kind < FLUSH && !op.count;
	}
	turns[thread] = OVER;
	return NULL;
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static uint64_t sum(_Atomic uint64_t *of)
{
	uint64_t all = 0;
	unsigned int i;

	for (i = 0; i < KINDS; i++)
		all += of[i];
	return all;
}

void wait_for_operations(unsigned int number, unsigned int seconds)
{
	uint64_t begin = sum(done);
	double deadline = now_s() + seconds;
	struct timespec pause = { 0, 1000000 };

	while (sum(done) < begin + number && now_s() < deadline)
		nanosleep(&pause, NULL);
}

void wait_for_turns(unsigned int own)
{
	struct timespec pause = { 0, 1000000 };
	uint64_t begin[THREADS_MAX];
	unsigned int i;

	for (i = 0; i < threads; i++)
		begin[i] = turns[i];
	for (i = 0; i < threads; i++)
		while (i != own && turns[i] == begin[i] && turns[i] != OVER)
			nanosleep(&pause, NULL);
}

/* Says how far it is, and ends a run that hangs. */
static void *watch(void *argument)
{
	uint64_t seen = 0, stamp;
	double begin = now_s();
	unsigned int rounds = 0;
	struct timespec pause = { PROGRESS_S, 0 };

	for (;;) {
		nanosleep(&pause, NULL);
		/* Nobody else's event between two of its own? */
		stamp = model_stamp();
		rounds = stamp == seen + 1 ? rounds + 1 : 0;
		seen = stamp;
		if (rounds == HANGS_ROUNDS)
			give_up(3, "nothing went on for %u s", HANGS_ROUNDS * PROGRESS_S);
		printf("torture: %llu operations, %.0f s\n", (unsigned long long)sum(done), now_s() - begin);
	}
	return NULL;
}

static void print_counts(double seconds)
{
	unsigned int i;

	printf("torture: seed %llu: %llu operations in %.1f s, %.0f/s; %llu found no place\n",
	       (unsigned long long)t.seed, (unsigned long long)sum(done), seconds, sum(done) / seconds,
	       (unsigned long long)nowhere);
	printf("torture:");
	for (i = 0; i < KINDS; i++)
		printf(" %s %llu/%llu", kind_name(i), (unsigned long long)done[i], (unsigned long long)failed[i]);
	printf(" (done/failed)\n");
}

static void open_device(void)
{
	int block_bytes, physical_bytes;
	uint64_t bytes;
	int fd;

	snprintf(t.path, sizeof(t.path), "/dev/mapper/%s", t.name);
	fd = open(t.path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes) || ioctl(fd, BLKSSZGET, &block_bytes) ||
	    ioctl(fd, BLKPBSZGET, &physical_bytes))
		give_up(EX_OSERR, "%s: %m", t.path);
	close(fd);
	t.sectors = bytes / SECTOR_BYTES;
	t.unit_sectors = block_bytes / SECTOR_BYTES;
	t.fails_sectors = physical_bytes / SECTOR_BYTES;
	if (t.sectors < t.quiet_sectors + 8 * MAX_IO_SECTORS)
		give_up(EX_USAGE, "%s is too small", t.path);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },	{ "operations", required_argument, NULL, 'n' },
		{ "threads", required_argument, NULL, 'j' },	{ "main-null", required_argument, NULL, 'm' },
		{ "spare-null", required_argument, NULL, 'p' }, { "slow", required_argument, NULL, 'd' },
		{ "quiet", required_argument, NULL, 'q' },	{ "plain", no_argument, NULL, 'l' }, { 0 },
	};
	bool seeded = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's':
			t.seed = strtoull(optarg, NULL, 0);
			seeded = true;
			break;
		case 'n':
			operations = strtoull(optarg, NULL, 0);
			break;
		case 'j':
			threads = strtoul(optarg, NULL, 0);
			break;
		case 'm':
			t.main_null = optarg;
			break;
		case 'p':
			t.spare_null = optarg;
			break;
		case 'd':
			t.slow = optarg;
			break;
		case 'q':
			t.quiet_sectors = strtoull(optarg, NULL, 0);
			break;
		case 'l':
			t.plain = true;
			break;
		default:
			exit(EX_USAGE);
		}
	}
	if (argc - optind != 1 || !threads || threads > THREADS_MAX || operations > UINT32_MAX - 1000) {
		fprintf(stderr, "torture: see the head of torture.c\n");
		exit(EX_USAGE);
	}
	t.name = argv[optind];
	t.still_quiet = t.quiet_sectors;
	if (!seeded && getrandom(&t.seed, 4, 0) != 4)
		exit(EX_OSERR);
}

int main(int argc, char **argv)
{
	pthread_t thread[THREADS_MAX], watcher;
	struct files files = { 0 };
	unsigned int i;
	double begin;

	setvbuf(stdout, NULL, _IOLBF, 0);
	parse(argc, argv);
	printf("torture: seed %llu, %llu operations, %u threads\n", (unsigned long long)t.seed,
	       (unsigned long long)operations, threads);
	open_device();
	report_init();
	model_init();
	if (!t.plain)
		admin_init();
	faults_init();
	files_open(&files);
	io_fill(&files);
	begin = now_s();
	pthread_create(&watcher, NULL, watch, NULL);
	for (i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, work, (void *)(uintptr_t)i) != 0)
			give_up(EX_OSERR, "no thread");
	for (i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	print_counts(now_s() - begin);
	if (t.plain) {
		io_check_all(&files);
	} else {
		faults_end();
		admin_final_checks(&files);
	}
	printf("torture: no mismatch\n");
	return 0;
}
