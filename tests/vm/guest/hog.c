// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Fills memory, more than there is, and reads it back: hog MIB ROUNDS
 *
 * Each page holds its own number and the round's. Exit status: 0 all as written, 2 a page holds something else,
 * 64 usage, 71 no address space. A page that can't be read back from swap kills it (SIGBUS).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sysexits.h>

#define PAGE_BYTES 4096
#define WORDS (PAGE_BYTES / sizeof(uint64_t))

static uint64_t word_of(uint64_t page, unsigned int round, unsigned int i)
{
	return (page << 16 | round) * 0x9e3779b97f4a7c15u + i;
}

int main(int argc, char **argv)
{
	uint64_t nr_pages, page;
	unsigned int rounds, round, i;
	uint64_t *memory;

	if (argc != 3 || !(nr_pages = strtoull(argv[1], NULL, 10) * (1048576 / PAGE_BYTES)) ||
	    !(rounds = strtoul(argv[2], NULL, 10))) {
		fprintf(stderr, "usage: hog MIB ROUNDS\n");
		return EX_USAGE;
	}
	memory = mmap(NULL, nr_pages * PAGE_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		perror("hog: mmap");
		return EX_OSERR;
	}
	for (round = 0; round < rounds; round++) {
		for (page = 0; page < nr_pages; page++)
			for (i = 0; i < WORDS; i++)
				memory[page * WORDS + i] = word_of(page, round, i);
		for (page = 0; page < nr_pages; page++)
			for (i = 0; i < WORDS; i++)
				if (memory[page * WORDS + i] != word_of(page, round, i)) {
					printf("hog: page %" PRIu64 " word %u in round %u: %#" PRIx64 "\n", page, i, round,
					       memory[page * WORDS + i]);
					return 2;
				}
	}
	return 0;
}
