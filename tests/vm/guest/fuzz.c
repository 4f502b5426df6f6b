// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz spares|tables SEED ROUNDS NAME MAIN MAIN-OFFSET SPARE SPARE-OFFSET LENGTH
 *
 * Puts one remap target after the other into the device-mapper device NAME, with random messages and random I/O as long as
 * it is there:
 *
 *	spares	the same table line, with a spare that holds anything
 *	tables	other table lines, with the spare as it was
 *
 * Whether any of it succeeds is not judged: the kernel's log and what is around the target on both devices say whether
 * something went wrong. Prints how many were refused, and how many of the others came up in which mode. At the end the spare is as
 * it was. Exit status: 0, 64, 65, 71.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sysexits.h>
#include <unistd.h>

#include "tests/vm/guest/fuzz.h"
#include "tests/vm/guest/pattern.h"
#include "tests/vm/guest/torture.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof(*(array)))
#define IO_SECTORS_MAX 600
#define TEXT_BYTES 4096

static const char *name, *main_path, *spare_path;
static uint64_t main_offset, spare_offset, length;
static uint64_t state;
static char *buffer;

static struct {
	unsigned int refused, rw, full, ro, failed, done, denied;
} seen;

uint64_t below(uint64_t n)
{
	return n ? pattern_random(&state) % n : 0;
}

/* ---- text ---- */

static uint64_t any_number(void)
{
	static const uint64_t special[] = { 0, 1, 7, 8, 2047, 2048, 1ull << 31, 1ull << 32, 1ull << 54, 1ull << 63, ~0ull };
	uint64_t number = below(2) ? below(length + 16) : special[below(ARRAY_SIZE(special))];

	return below(4) ? number : number + below(17) - 8;
}

static const char *any_word(void)
{
	static const char *const words[] = {
		"remap", "release", "list", "set", "format", "main_id", "storm_budget", "salvage_ms", "retry_ms",
		"rewrite_first", "x", "-1", "+1", "0x10", "1k", "99999999999999999999999", "\\", "\\ ", "%s%n", "\xff\x80",
		"/dev/null", "/dev/nothing", "253:999", "@cluster",
	};

	return words[below(ARRAY_SIZE(words))];
}

/* The words of @text, one of them changed, left out or twice. */
static void change_words(char *text)
{
	char copy[TEXT_BYTES], *rest = copy, *word;
	unsigned int nr = 1, which, at = 0;
	size_t used = 0;

	strcpy(copy, text);
	for (word = copy; (word = strchr(word, ' ')); word++)
		nr++;
	which = below(nr + 1);
	*text = '\0';
	while ((word = strsep(&rest, " ")) && used < TEXT_BYTES / 2) {
		unsigned int way = at++ == which ? below(5) : 5;

		if (way == 0)
			continue;
		used += snprintf(text + used, TEXT_BYTES - used, "%s%s", used ? " " : "", way == 1 ? any_word() :
				 way == 2 ? "" : word);
		if (way == 3)
			used += snprintf(text + used, TEXT_BYTES - used, " %s", word);
		if (way == 4)
			used += snprintf(text + used, TEXT_BYTES - used, " %" PRIu64, any_number());
	}
	if (which == nr)
		snprintf(text + used, TEXT_BYTES - used, "%s%" PRIu64, used ? " " : "", any_number());
}

static void any_message(char *text)
{
	uint64_t sector = below(length), count = 1 + below(below(4) ? 64 : 4096);
	unsigned int changes;

	if (count > length - sector)
		count = length - sector;
	switch (below(5)) {
	case 0:
	case 1:
		snprintf(text, TEXT_BYTES, "remap %" PRIu64 " %" PRIu64, sector, count);
		break;
	case 2:
		snprintf(text, TEXT_BYTES, "release %" PRIu64 " %" PRIu64, sector, count);
		break;
	case 3:
		snprintf(text, TEXT_BYTES, "list %" PRIu64 " %" PRIu64, below(2) ? sector : any_number(), below(20));
		break;
	case 4:
		snprintf(text, TEXT_BYTES, "set %s %" PRIu64, any_word(), below(2) ? below(100) : any_number());
		break;
	}
	for (changes = below(3); changes; changes--)
		if (below(2))
			change_words(text);
}

static void table(char *text, uint64_t sectors, uint64_t main_at, uint64_t spare_at, const char *options)
{
	snprintf(text, TEXT_BYTES, "0 %" PRIu64 " remap %s %" PRIu64 " %s %" PRIu64 "%s", sectors, main_path, main_at,
		 spare_path, spare_at, options);
}

/* Short times, or nothing but waiting is done. */
#define BASE_OPTIONS " 4 salvage_ms 100 retry_ms 10"

static void any_table(char *text)
{
	static const char *const options[] = {
		"", BASE_OPTIONS, " 1 format", " 5 format salvage_ms 100 retry_ms 10", " 2 main_id fuzz", " 0", " 16", " 17",
		" 3 storm_budget 0 format", " 2 rewrite_first 1", " 2 storm_budget 1000001",
	};
	char *parameters;
	unsigned int changes;

	table(text, below(4) ? length : 1 + below(2 * length), below(6) ? main_offset : below(200),
	      below(6) ? spare_offset : 8 * below(50), options[below(ARRAY_SIZE(options))]);
	/* "0 LENGTH remap" is device-mapper's. */
	parameters = strstr(text, "remap ") + 6;
	for (changes = below(2) ? 0 : below(3); changes; changes--)
		change_words(parameters);
}

/* ---- use ---- */

static void any_io(int fd)
{
	uint64_t count = 1 + below(below(4) ? 20 : IO_SECTORS_MAX), sector = below(below(8) ? length : length + 64);
	uint64_t range[2] = { sector * SECTOR_BYTES, count * SECTOR_BYTES };
	struct iovec iov = { buffer, count * SECTOR_BYTES };
	ssize_t done = 0;

	/* The last block is a short one. */
	if (!below(6))
		sector = length - below(length < 24 ? length : 24);
	switch (below(16)) {
	default:
		done = pread(fd, buffer, count * SECTOR_BYTES, (off_t)(sector * SECTOR_BYTES));
		break;
	case 0 ... 5:
		pattern_fill(buffer, 1, sector, count, 2);
		done = pwritev2(fd, &iov, 1, (off_t)(sector * SECTOR_BYTES), below(3) ? 0 : RWF_DSYNC);
		break;
	case 6:
		done = fsync(fd);
		break;
	case 7:
		done = ioctl(fd, below(2) ? BLKDISCARD : BLKZEROOUT, range);
		break;
	}
	*(done < 0 ? &seen.denied : &seen.done) += 1;
}

static void note_mode(void)
{
	char mode[16] = "";

	if (dm_status(name, false) || sscanf(dm_answer, "%*u %*u remap %15s", mode) != 1)
		errx(EX_OSERR, "no status of %s", name);
	seen.rw += !strcmp(mode, "rw");
	seen.full += !strcmp(mode, "no-new-maps");
	seen.ro += !strcmp(mode, "ro");
	seen.failed += !strcmp(mode, "failed");
}

static void use(int fd, const char *line)
{
	unsigned int left = 10 + below(20);
	char text[TEXT_BYTES];

	note_mode();
	while (left--) {
		if (below(3)) {
			any_io(fd);
		} else if (below(20)) {
			any_message(text);
			dm_message(name, "%s", text);
		} else {
			/* The same table once more, or the one that is there. */
			if (below(2))
				dm_load(name, line);
			dm_suspend(name, false);
			if (dm_resume(name, false))
				dm_resume(name, false);
		}
	}
	dm_status(name, below(2));
}

static void round_with(int fd, const char *line)
{
	char nothing[64];

	if (dm_load(name, line)) {
		seen.refused++;
		return;
	}
	/* device-mapper itself may not like the limits; then it leaves what was there suspended. */
	if (dm_resume(name, false)) {
		if (dm_resume(name, false))
			errx(EX_OSERR, "%s can't be resumed with: %s", name, line);
		seen.refused++;
		return;
	}
	use(fd, line);
	snprintf(nothing, sizeof(nothing), "0 %" PRIu64 " error ", length);
	if (dm_load(name, nothing) || dm_resume(name, false))
		errx(EX_OSERR, "%s can't be made to let go of: %s", name, line);
}

int main(int argc, char **argv)
{
	char line[TEXT_BYTES], path[64];
	bool spares = argc == 10 && !strcmp(argv[1], "spares");
	uint64_t seed, round, rounds;
	int fd, spare;

	if (argc != 10 || (!spares && strcmp(argv[1], "tables")))
		errx(EX_USAGE, "see the head of fuzz.c");
	seed = strtoull(argv[2], NULL, 10);
	rounds = strtoull(argv[3], NULL, 10);
	name = argv[4];
	main_path = argv[5];
	main_offset = strtoull(argv[6], NULL, 10);
	spare_path = argv[7];
	spare_offset = strtoull(argv[8], NULL, 10);
	length = strtoull(argv[9], NULL, 10);
	buffer = aligned_alloc(4096, (IO_SECTORS_MAX * SECTOR_BYTES + 4095) / 4096 * 4096);
	snprintf(path, sizeof(path), "/dev/mapper/%s", name);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	spare = open(spare_path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || spare < 0 || !buffer)
		err(EX_OSERR, "%s, %s", path, spare_path);
	spare_remember(spare, spare_offset, length);
	for (round = 0; round < rounds; round++) {
		/* Each round by itself, so that one can be had without the others. */
		state = seed * 1000003 + round;
		if (spares) {
			spare_break();
			table(line, length, main_offset, spare_offset, BASE_OPTIONS);
		} else {
			spare_put_back();
			any_table(line);
		}
		round_with(fd, line);
	}
	spare_put_back();
	printf("%u refused, %u rw, %u no-new-maps, %u ro, %u failed; %u I/Os done, %u denied\n", seen.refused, seen.rw,
	       seen.full, seen.ro, seen.failed, seen.done, seen.denied);
	return 0;
}
