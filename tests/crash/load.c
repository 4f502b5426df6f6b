// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * crash-load [-s SEED] COUNTER MARKS
 *
 * Works on /dev/mapper/r inside the guest and tells the recorder below it, through the disk MARKS, what it asked for and
 * what was acknowledged. Commands on standard input, one a line:
 *
 *	target SECTORS			a target of this length begins; then "active" when it was made, each time that it is
 *	scene TEXT			named when something is found later
 *	write|fua|zero SECTOR COUNT
 *	read SECTOR COUNT
 *	flush
 *	remap|release SECTOR COUNT	the message, until the end of the range
 *	bad SLOT main|spare SECTOR COUNT r|w|rw	reads or writes of these sectors fail; 32 slots
 *	good SLOT|all
 *	spot SECTOR COUNT		a place of the spare where "run" may let sectors fail
 *	run OPERATIONS THREADS [SEED]	random ones, with messages and with sectors that fail and answer again; any of
 *					them may fail. With SEED the power is cut on the way
 *	cut SEED, on			power
 *	see				reads all of the device for the judge to compare
 *	complete			the log may be judged
 *
 * A command that fails ends it with status 1; behind "try" it may. Each write has a generation of its own, kept over
 * runs in the file COUNTER. Exit status: 0, 1, 64, 71.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sysexits.h>
#include <unistd.h>

#include "tests/crash/load.h"
#include "tests/vm/guest/message.h"
#include "tests/vm/guest/pattern.h"

#define MAX_IO_SECTORS 2048
#define MAX_WORDS 8
#define DEVICE_NAME "r"
#define DEVICE_PATH "/dev/mapper/" DEVICE_NAME

static int device_fd = -1, marks_fd, control_fd;
static uint64_t seed = 1, nr_sectors;
static _Atomic uint64_t *counter;

void load_die(const char *what)
{
	fprintf(stderr, "crash-load: %s: %s\n", what, strerror(errno));
	exit(EX_OSERR);
}

static void *sectors_of_memory(uint64_t count)
{
	void *p = mmap(NULL, count * SECTOR_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		load_die("memory");
	return p;
}

void load_mark(const struct crash_mark *mark)
{
	static _Thread_local struct crash_mark *sector;

	if (!sector)
		sector = sectors_of_memory(8);
	*sector = *mark;
	sector->magic = CRASH_MARK_MAGIC;
	if (pwrite(marks_fd, sector, sizeof(*sector), 0) != sizeof(*sector))
		load_die("marks");
}

static void need_device(void)
{
	uint64_t bytes;

	if (device_fd >= 0)
		return;
	device_fd = open(DEVICE_PATH, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (device_fd < 0 || ioctl(device_fd, BLKGETSIZE64, &bytes) != 0)
		load_die(DEVICE_PATH);
	nr_sectors = bytes / SECTOR_BYTES;
}

static int transfer(int is_write, void *buffer, uint64_t sector, uint64_t count, int rwf)
{
	uint64_t done = 0, bytes = count * SECTOR_BYTES;

	while (done < bytes) {
		struct iovec iov = { (char *)buffer + done, bytes - done };
		off_t at = sector * SECTOR_BYTES + done;
		ssize_t n = is_write ? pwritev2(device_fd, &iov, 1, at, rwf) : preadv2(device_fd, &iov, 1, at, rwf);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : ENODATA;
		done += n;
	}
	return 0;
}

static int perform(enum crash_operation operation, uint64_t sector, uint64_t count, uint32_t generation)
{
	static _Thread_local void *buffer;
	uint64_t range[2] = { sector * SECTOR_BYTES, count * SECTOR_BYTES };

	if (!buffer)
		buffer = sectors_of_memory(MAX_IO_SECTORS);
	switch (operation) {
	case CRASH_OP_READ:
		return transfer(0, buffer, sector, count, 0);
	case CRASH_OP_WRITE:
	case CRASH_OP_FUA:
		pattern_fill(buffer, seed, sector, count, generation);
		return transfer(1, buffer, sector, count, operation == CRASH_OP_FUA ? RWF_DSYNC : 0);
	case CRASH_OP_ZERO:
		return ioctl(device_fd, BLKZEROOUT, range) ? errno : 0;
	default:
		return fsync(device_fd) ? errno : 0;
	}
}

int load_operate(enum crash_operation operation, uint64_t sector, uint64_t count)
{
	struct crash_mark mark = {
		.kind = CRASH_MARK_BEGIN,
		.operation = operation,
		.id = ++*counter,
		.first_sector = sector,
		.nr_sectors = count,
	};

	need_device();
	mark.generation = operation == CRASH_OP_ZERO ? GENERATION_ZERO : (uint32_t)mark.id;
	if (operation == CRASH_OP_READ)
		return perform(operation, sector, count, 0);
	load_mark(&mark);
	mark.kind = CRASH_MARK_END;
	mark.error = perform(operation, sector, count, mark.generation);
	load_mark(&mark);
	return mark.error;
}

int load_say(enum crash_operation operation, uint64_t sector, uint64_t count, uint64_t *next)
{
	struct crash_mark mark = {
		.kind = CRASH_MARK_BEGIN,
		.operation = operation,
		.id = ++*counter,
		.first_sector = sector,
		.nr_sectors = count,
	};
	unsigned long long words[4] = { 0 };
	char text[64], answer[256];

	snprintf(text, sizeof(text), "%s %llu %llu", operation == CRASH_OP_REMAP ? "remap" : "release",
		 (unsigned long long)sector, (unsigned long long)count);
	load_mark(&mark);
	mark.kind = CRASH_MARK_END;
	mark.error = dm_message(control_fd, DEVICE_NAME, text, answer, sizeof(answer));
	if (!mark.error && sscanf(answer, "%llu %llu %llu %llu", &words[0], &words[1], &words[2], &words[3]) < 3)
		mark.error = EBADMSG;
	mark.nr_sectors = mark.error ? 0 : words[0] - sector;
	mark.unread_sectors = words[3];
	load_mark(&mark);
	*next = words[0];
	return mark.error;
}

static int say_all(enum crash_operation operation, uint64_t sector, uint64_t count)
{
	uint64_t end = sector + count, next;
	int error = 0;

	for (; sector < end && !error; sector = next)
		error = load_say(operation, sector, end - sector, &next);
	return error;
}

/* What can be read, sector by sector if it must be. */
static void see(void)
{
	const uint64_t most = sizeof(((struct crash_mark *)0)->seen) / sizeof(uint32_t);
	struct crash_mark mark = { .kind = CRASH_MARK_SEEN };
	char *buffer = sectors_of_memory(most);
	uint64_t i;

	need_device();
	for (; mark.first_sector < nr_sectors; mark.first_sector += mark.nr_sectors) {
		int error;

		mark.nr_sectors = nr_sectors - mark.first_sector < most ? nr_sectors - mark.first_sector : most;
		error = transfer(0, buffer, mark.first_sector, mark.nr_sectors, 0);
		for (i = 0; i < mark.nr_sectors; i++) {
			char *found = buffer + i * SECTOR_BYTES;

			if (error && transfer(0, found, mark.first_sector + i, 1, 0))
				mark.seen[i] = CRASH_SEEN_ERROR;
			else if (pattern_generation(found, seed, mark.first_sector + i, &mark.seen[i]))
				mark.seen[i] = CRASH_SEEN_WRONG;
		}
		load_mark(&mark);
	}
	munmap(buffer, most * SECTOR_BYTES);
}

/* Commands */

static int usage(const char *line)
{
	fprintf(stderr, "crash-load: %s: see the head of load.c\n", line);
	exit(EX_USAGE);
}

static uint32_t bad_how(const char *text)
{
	return (strchr(text, 'r') ? CRASH_BAD_READ : 0) | (strchr(text, 'w') ? CRASH_BAD_WRITE : 0);
}

/* Those that only say something. False: it is none of them. */
static bool mark_command(const char *line, int words, char **word, const uint64_t *number)
{
	static const struct {
		const char *word;
		int words;
		enum crash_mark_kind kind;
	} commands[] = {
		{ "target", 2, CRASH_MARK_TARGET },
		{ "active", 1, CRASH_MARK_ACTIVE },
		{ "bad", 6, CRASH_MARK_BAD },
		{ "cut", 2, CRASH_MARK_CUT },
		{ "on", 1, CRASH_MARK_ON },
		{ "complete", 1, CRASH_MARK_COMPLETE },
	};
	struct crash_mark mark = { 0 };
	unsigned int i;

	if (!strcmp(word[0], "scene") && words > 1) {
		mark.kind = CRASH_MARK_SCENE;
		snprintf(mark.text, sizeof(mark.text), "%s", line + strlen("scene "));
		load_mark(&mark);
		return true;
	}
	if (!strcmp(word[0], "good") && words == 2) {
		mark.kind = CRASH_MARK_BAD;
		for (mark.slot = 0; mark.slot < CRASH_BAD_SLOTS; mark.slot++)
			if (!strcmp(word[1], "all") || number[1] == mark.slot)
				load_mark(&mark);
		return true;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(word[0], commands[i].word) || words != commands[i].words)
			continue;
		mark.kind = commands[i].kind;
		if (mark.kind == CRASH_MARK_TARGET) {
			mark.nr_sectors = number[1];
		} else if (mark.kind == CRASH_MARK_CUT) {
			mark.seed = number[1];
		} else if (mark.kind == CRASH_MARK_BAD) {
			mark.slot = number[1];
			mark.disk = strcmp(word[2], "main") ? CRASH_SPARE : CRASH_MAIN;
			mark.first_sector = number[3];
			mark.nr_sectors = number[4];
			mark.how = bad_how(word[5]);
		}
		load_mark(&mark);
		return true;
	}
	return false;
}

static void run(uint64_t operations, unsigned int threads, uint64_t power_seed)
{
	need_device();
	load_random(nr_sectors, seed + *counter, operations, threads, power_seed);
}

static int command(const char *line, int words, char **word)
{
	static const char *const operations[] = { "read", "write", "fua", "zero", "flush", "remap", "release" };
	uint64_t number[MAX_WORDS] = { 0 };
	int i;

	for (i = 1; i < words; i++)
		number[i] = strtoull(word[i], NULL, 0);
	for (i = 0; i <= CRASH_OP_RELEASE; i++) {
		if (strcmp(word[0], operations[i]))
			continue;
		if (words != (i == CRASH_OP_FLUSH ? 1 : 3) || (i < CRASH_OP_FLUSH && number[2] > MAX_IO_SECTORS))
			return usage(line);
		return i >= CRASH_OP_REMAP ? say_all(i, number[1], number[2]) : load_operate(i, number[1], number[2]);
	}
	if (!strcmp(word[0], "see") && words == 1)
		see();
	else if (!strcmp(word[0], "run") && (words == 3 || words == 4))
		run(number[1], number[2], number[3]);
	else if (!strcmp(word[0], "spot") && words == 3)
		load_random_spot(number[1], number[2]);
	else if (!mark_command(line, words, word, number))
		return usage(line);
	return 0;
}

static void run_line(char *line)
{
	char copy[256], *word[MAX_WORDS], *rest = copy, *p;
	int words = 0, may_fail, error;

	line[strcspn(line, "\n")] = '\0';
	line += strspn(line, " \t");
	may_fail = !strncmp(line, "try ", 4);
	if (may_fail)
		line += 4;
	snprintf(copy, sizeof(copy), "%s", line);
	while (words < MAX_WORDS && (p = strsep(&rest, " \t")))
		if (*p)
			word[words++] = p;
	if (!words)
		return;
	error = command(line, words, word);
	if (error && !may_fail) {
		fprintf(stderr, "crash-load: %s: %s\n", line, strerror(error));
		exit(1);
	}
}

int main(int argc, char **argv)
{
	char line[256];
	int option, fd;

	while ((option = getopt(argc, argv, "s:")) != -1) {
		if (option != 's')
			return usage("options");
		seed = strtoull(optarg, NULL, 0);
	}
	if (argc - optind != 2)
		return usage("arguments");
	fd = open(argv[optind], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*counter)) != 0)
		load_die(argv[optind]);
	counter = mmap(NULL, sizeof(*counter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (counter == MAP_FAILED)
		load_die(argv[optind]);
	marks_fd = open(argv[optind + 1], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (marks_fd < 0)
		load_die(argv[optind + 1]);
	control_fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	if (control_fd < 0)
		load_die("/dev/mapper/control");
	while (fgets(line, sizeof(line), stdin))
		run_line(line);
	return 0;
}
