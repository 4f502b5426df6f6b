// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * make-spare SPARE MAIN_SECTORS LAYOUT BLOCKS [FIRST_SECTOR NR_SECTORS]
 *
 * Formats a spare for a main of MAIN_SECTORS with BLOCKS blocks of 4 KiB mapped already, whatever the slots hold: to see
 * what a million mappings cost without making a million moves. The blocks are taken from NR_SECTORS of main from
 * FIRST_SECTOR on (all of main unless told); LAYOUT says which and in what order:
 *
 *	run		the first ones, one after the other on main and on the spare
 *	shuffled	the first ones, in random order on the spare
 *	odd		blocks with an odd number, chosen and ordered at random: I/O to the others hits none of them,
 *			though it comes as near as it can
 *
 * The same arguments make the same spare. The spare's old content is overwritten without a question.
 *
 * Exit status: 0, 64, 65 the numbers don't fit the devices, 71, 74.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "kmod/format.h"

#define BLOCK_SECTORS 8

static _Noreturn void die(int status, const char *what)
{
	fprintf(stderr, "make-spare: %s\n", what);
	exit(status);
}

/* xorshift64*: Marsaglia, "Xorshift RNGs", and Vigna's multiplier. */
static uint64_t random_below(uint64_t limit)
{
	static uint64_t state = 88172645463325252u;

	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint64_t)(((unsigned __int128)(state * 2685821657736338717u) * limit) >> 64);
}

static void *allocate(size_t bytes)
{
	void *memory;

	if (posix_memalign(&memory, REMAP_META_BYTES, bytes))
		die(EX_OSERR, strerror(ENOMEM));
	memset(memory, 0, bytes);
	return memory;
}

static void choose_first(uint64_t *block, uint64_t nr, uint64_t first, int shuffle)
{
	uint64_t i, other, swap;

	for (i = 0; i < nr; i++)
		block[i] = first + i;
	for (i = nr; shuffle && i > 1; i--) {
		other = random_below(i);
		swap = block[i - 1];
		block[i - 1] = block[other];
		block[other] = swap;
	}
}

static void choose_odd(uint64_t *block, uint64_t nr, uint64_t first, uint64_t nr_from)
{
	uint8_t *taken = allocate(nr_from / 8 + 1);
	uint64_t i = 0, at;

	while (i < nr) {
		at = random_below(nr_from);
		if (!((first + at) & 1) || taken[at / 8] >> at % 8 & 1)
			continue;
		taken[at / 8] |= 1 << at % 8;
		block[i++] = first + at;
	}
	free(taken);
}

static void write_at(int fd, const void *data, size_t bytes, uint64_t sector)
{
	if (pwrite(fd, data, bytes, sector * 512) != (ssize_t)bytes)
		die(EX_IOERR, strerror(errno));
}

static void write_group(int fd, const struct remap_super *super, uint32_t index, const uint64_t *block, uint64_t nr)
{
	static struct remap_meta_disk *metas;
	struct remap_group_place place;
	uint64_t i, used;
	uint32_t m;

	if (!metas)
		metas = allocate(REMAP_METAS_PER_GROUP * sizeof(*metas));
	remap_group_place(super, index, &place);
	for (m = 0; m < place.nr_metas; m++)
		remap_meta_empty(&metas[m], super, (uint64_t)index * REMAP_METAS_PER_GROUP + m, 1);
	used = nr < place.nr_slots ? nr : place.nr_slots;
	for (i = 0; i < used; i++)
		metas[i / REMAP_ENTRIES_PER_META].entry[i % REMAP_ENTRIES_PER_META].word =
			htole64(remap_word(block[i], REMAP_ENTRY_MAPPED, REMAP_REASON_PROACTIVE, 0));
	for (m = 0; m < place.nr_metas; m++)
		remap_meta_seal(&metas[m]);
	for (m = 0; m < 2; m++)
		write_at(fd, metas, place.nr_metas * sizeof(*metas), place.copy_sector[m]);
}

static void write_spare(int fd, struct remap_super *super, const uint64_t *block, uint64_t nr)
{
	struct remap_super_disk *disk = allocate(sizeof(*disk));
	uint64_t done = 0;
	uint32_t index;

	for (index = 0; index < super->nr_groups_initialised; index++) {
		struct remap_group_place place;

		write_group(fd, super, index, block + done, nr - done);
		remap_group_place(super, index, &place);
		done += nr - done < place.nr_slots ? nr - done : place.nr_slots;
	}
	remap_super_encode(disk, super);
	write_at(fd, disk, sizeof(*disk), REMAP_SUPER_A_SECTOR);
	write_at(fd, disk, sizeof(*disk), REMAP_SUPER_B_SECTOR);
	if (fsync(fd))
		die(EX_IOERR, strerror(errno));
	free(disk);
}

/* Groups that @nr slots need, at least one. */
static uint32_t groups_for(const struct remap_super *super, uint64_t nr)
{
	struct remap_group_place place;
	uint32_t groups = 0;

	do {
		if (!remap_group_place(super, groups++, &place))
			die(EX_DATAERR, "the spare is too small for so many blocks");
		nr -= nr < place.nr_slots ? nr : place.nr_slots;
	} while (nr);
	return groups;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end)
		die(EX_USAGE, "a number was expected: see the head of make-spare.c");
	return value;
}

int main(int argc, char **argv)
{
	struct remap_super super = { .sequence = 1, .block_sectors = BLOCK_SECTORS, .unit_sectors = 1 };
	uint64_t spare_bytes, nr, first, nr_from, candidates;
	uint64_t *block;
	int fd;

	if (argc != 5 && argc != 7)
		die(EX_USAGE, "usage: make-spare SPARE MAIN_SECTORS LAYOUT BLOCKS [FIRST_SECTOR NR_SECTORS]");
	super.main_sectors = number(argv[2]);
	nr = number(argv[4]);
	first = argc > 5 ? number(argv[5]) / BLOCK_SECTORS : 0;
	nr_from = (argc > 5 ? number(argv[6]) : super.main_sectors) / BLOCK_SECTORS;
	candidates = strcmp(argv[3], "odd") ? nr_from : nr_from / 2;
	if (first + nr_from > super.main_sectors / BLOCK_SECTORS || nr > candidates)
		die(EX_DATAERR, "main has not so many blocks there");

	fd = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &spare_bytes))
		die(EX_OSERR, strerror(errno));
	memcpy(super.uuid, "made for a bench", sizeof(super.uuid));
	if (!remap_super_layout(&super, spare_bytes / 512))
		die(EX_DATAERR, "the spare is too small");
	super.nr_groups_initialised = groups_for(&super, nr);

	block = allocate((nr + 1) * sizeof(*block));
	if (!strcmp(argv[3], "odd"))
		choose_odd(block, nr, first, nr_from);
	else if (!strcmp(argv[3], "run") || !strcmp(argv[3], "shuffled"))
		choose_first(block, nr, first, argv[3][0] == 's');
	else
		die(EX_USAGE, "LAYOUT is run, shuffled or odd");
	write_spare(fd, &super, block, nr);
	free(block);
	return 0;
}
