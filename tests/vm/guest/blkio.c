// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * blkio [-bn] [-s SEED] [-i SECTORS] [-o BYTES] DEVICE COMMAND [ARGUMENT...]
 * blkio [options] DEVICE -			commands from standard input, one a line
 *
 *	write SECTOR COUNT GENERATION		writes the pattern, in I/Os of at most -i sectors
 *	fua SECTOR COUNT GENERATION		the same with RWF_DSYNC, which is FUA (or a flush)
 *	check SECTOR COUNT GENERATION		reads and compares with the pattern
 *	map SECTOR COUNT			reads, what fails sector by sector, and prints runs: what, sector, count
 *	flush
 *	discard SECTOR COUNT
 *	zero SECTOR COUNT			write zeroes, as the block layer does it
 *
 * Prints one line for what went wrong: the error's name, sector and count of the I/O, and the command; or
 * "WRONG", sector, 1, and what was found. "map" prints the generation (0: zeros), the error's name or "WRONG".
 * -b goes through the page cache; -n reads and writes with RWF_NOWAIT; -o shifts the buffer by so many bytes from a
 * page's start; -i is 2048 (1 MiB) unless told. Exit status: 0 all as wanted, 1 an I/O failed, 2 wrong data, 64 usage,
 * 71 the device can't be opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sysexits.h>
#include <unistd.h>

#include "tests/vm/guest/pattern.h"

#define MAX_IO_SECTORS 8192
#define BUFFER_SHIFT_BYTES 4096
#define MAP_CHUNK_SECTORS 128

static int fd;
static char *buffer;
static uint64_t seed = 1;
static uint64_t io_sectors = 2048;
static uint64_t map_sectors = 1;
static int failed, wrong;
static int nowait;

static void report(int error, const char *what, uint64_t sector, uint64_t count)
{
	const char *name = strerrorname_np(error);

	printf("%s %llu %llu %s\n", name ? name : "error", (unsigned long long)sector, (unsigned long long)count,
	       what);
	failed = 1;
}

/* One read or write; returns 0 or an errno. A short transfer is carried on with. */
static int transfer(int is_write, uint64_t sector, uint64_t count, int rwf)
{
	uint64_t done = 0, bytes = count * SECTOR_BYTES;

	while (done < bytes) {
		struct iovec iov = { buffer + done, bytes - done };
		off_t at = sector * SECTOR_BYTES + done;
		ssize_t n = is_write ? pwritev2(fd, &iov, 1, at, rwf | nowait) : preadv2(fd, &iov, 1, at, rwf | nowait);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0)
			return ENODATA;
		done += n;
	}
	return 0;
}

static void do_write(const char *what, uint64_t sector, uint64_t count, uint32_t generation, int rwf)
{
	while (count) {
		uint64_t n = count < io_sectors ? count : io_sectors;
		int error;

		pattern_fill(buffer, seed, sector, n, generation);
		error = transfer(1, sector, n, rwf);
		if (error)
			report(error, what, sector, n);
		sector += n;
		count -= n;
	}
}

static void do_check(uint64_t sector, uint64_t count, uint32_t generation)
{
	uint64_t i;
	char text[128];

	while (count) {
		uint64_t n = count < io_sectors ? count : io_sectors;
		int error = transfer(0, sector, n, 0);

		if (error) {
			report(error, "check", sector, n);
		} else {
			for (i = 0; i < n; i++) {
				char *found = buffer + i * SECTOR_BYTES;

				if (pattern_is(found, seed, sector + i, generation))
					continue;
				printf("WRONG %llu 1 check: %s\n", (unsigned long long)(sector + i),
				       pattern_describe(found, text, sizeof(text)));
				wrong = 1;
			}
		}
		sector += n;
		count -= n;
	}
}

static struct {
	char what[32];
	uint64_t start;
	uint64_t end;
} run_seen;

static void map_flush(void)
{
	if (run_seen.end > run_seen.start)
		printf("%s %llu %llu\n", run_seen.what, (unsigned long long)run_seen.start,
		       (unsigned long long)(run_seen.end - run_seen.start));
	run_seen.start = run_seen.end = 0;
}

static void map_add(const char *what, uint64_t sector, uint64_t count)
{
	if (run_seen.end != sector || strcmp(what, run_seen.what) != 0) {
		map_flush();
		snprintf(run_seen.what, sizeof(run_seen.what), "%s", what);
		run_seen.start = sector;
	}
	run_seen.end = sector + count;
}

/* Halves what fails until the sectors that fail are alone. */
static void map_range(uint64_t sector, uint64_t count)
{
	int error = transfer(0, sector, count, 0);
	uint64_t i, half = count / 2 / map_sectors * map_sectors;
	uint32_t generation;
	char what[32];

	if (error && half) {
		map_range(sector, half);
		map_range(sector + half, count - half);
		return;
	}
	if (error) {
		map_add(strerrorname_np(error), sector, count);
		return;
	}
	for (i = 0; i < count; i++) {
		if (pattern_generation(buffer + i * SECTOR_BYTES, seed, sector + i, &generation) == 0)
			snprintf(what, sizeof(what), "%u", generation);
		else
			strcpy(what, "WRONG");
		map_add(what, sector + i, 1);
	}
}

static void do_map(uint64_t sector, uint64_t count)
{
	while (count) {
		uint64_t n = count < MAP_CHUNK_SECTORS ? count : MAP_CHUNK_SECTORS;

		map_range(sector, n);
		sector += n;
		count -= n;
	}
	map_flush();
}

static void do_range(const char *what, unsigned long request, uint64_t sector, uint64_t count)
{
	uint64_t range[2] = { sector * SECTOR_BYTES, count * SECTOR_BYTES };

	if (ioctl(fd, request, range) != 0)
		report(errno, what, sector, count);
}

static int usage(const char *word)
{
	fprintf(stderr, "blkio: %s: see the head of blkio.c\n", word);
	return EX_USAGE;
}

static int run(int argc, char **argv)
{
	const char *what = argc ? argv[0] : "";
	uint64_t sector = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
	uint32_t generation = argc > 3 ? strtoul(argv[3], NULL, 0) : 0;

	if (!strcmp(what, "write") && argc == 4)
		do_write(what, sector, count, generation, 0);
	else if (!strcmp(what, "fua") && argc == 4)
		do_write(what, sector, count, generation, RWF_DSYNC);
	else if (!strcmp(what, "check") && argc == 4)
		do_check(sector, count, generation);
	else if (!strcmp(what, "map") && argc == 3)
		do_map(sector, count);
	else if (!strcmp(what, "discard") && argc == 3)
		do_range(what, BLKDISCARD, sector, count);
	else if (!strcmp(what, "zero") && argc == 3)
		do_range(what, BLKZEROOUT, sector, count);
	else if (!strcmp(what, "flush") && argc == 1) {
		if (fsync(fd) != 0)
			report(errno, what, 0, 0);
	} else {
		return usage(what);
	}
	return 0;
}

static int run_lines(void)
{
	char line[256], *argv[8];

	while (fgets(line, sizeof(line), stdin)) {
		int argc = 0;
		char *word, *rest = line;

		while (argc < 8 && (word = strsep(&rest, " \t\n")))
			if (*word)
				argv[argc++] = word;
		if (argc && run(argc, argv) != 0)
			return EX_USAGE;
	}
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t buffer_shift = 0;
	int option, block_bytes = SECTOR_BYTES, flags = O_DIRECT, status;

	while ((option = getopt(argc, argv, "bns:i:o:")) != -1) {
		switch (option) {
		case 'b':
			flags = 0;
			break;
		case 'n':
			nowait = RWF_NOWAIT;
			break;
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'i':
			io_sectors = strtoull(optarg, NULL, 0);
			break;
		case 'o':
			buffer_shift = strtoull(optarg, NULL, 0);
			break;
		default:
			return usage("options");
		}
	}
	if (argc - optind < 2 || !io_sectors || io_sectors > MAX_IO_SECTORS || buffer_shift > BUFFER_SHIFT_BYTES)
		return usage("arguments");

	fd = open(argv[optind], O_RDWR | O_CLOEXEC | flags);
	if (fd < 0 && (errno == EACCES || errno == EPERM || errno == EROFS))
		fd = open(argv[optind], O_RDONLY | O_CLOEXEC | flags);
	if (fd < 0) {
		fprintf(stderr, "blkio: %s: %s\n", argv[optind], strerror(errno));
		return EX_OSERR;
	}
	if (ioctl(fd, BLKSSZGET, &block_bytes) == 0 && block_bytes > SECTOR_BYTES)
		map_sectors = block_bytes / SECTOR_BYTES;
	buffer = mmap(NULL, MAX_IO_SECTORS * SECTOR_BYTES + BUFFER_SHIFT_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED) {
		perror("blkio");
		return EX_OSERR;
	}
	buffer += buffer_shift;

	status = strcmp(argv[optind + 1], "-") ? run(argc - optind - 1, argv + optind + 1) : run_lines();
	/* What the page cache holds back may fail only now. */
	if (!status && !(flags & O_DIRECT) && fsync(fd) != 0)
		report(errno, "fsync", 0, 0);
	if (status)
		return status;
	return wrong ? 2 : failed;
}
