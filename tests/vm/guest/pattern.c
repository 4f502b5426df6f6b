// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <stdio.h>
#include <string.h>

#include "tests/vm/guest/pattern.h"

#define MAGIC 0x6d74737465626d72ULL
#define SECTOR_WORDS (SECTOR_BYTES / 8)
#define HEADER_WORDS 4

/* splitmix64 */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

uint64_t pattern_random(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15ULL;
	return mix(*state);
}

static void sector_fill(uint64_t *word, uint64_t seed, uint64_t sector, uint32_t generation)
{
	uint64_t value = mix(seed ^ mix(sector ^ mix(generation)));
	int i;

	if (generation == GENERATION_ZERO) {
		memset(word, 0, SECTOR_BYTES);
		return;
	}
	word[0] = MAGIC;
	word[1] = sector;
	word[2] = generation;
	word[3] = seed;
	for (i = HEADER_WORDS; i < SECTOR_WORDS; i++) {
		value = value * 6364136223846793005ULL + 1442695040888963407ULL;
		word[i] = value;
	}
}

void pattern_fill(void *buf, uint64_t seed, uint64_t sector, uint64_t count_sectors, uint32_t generation)
{
	char *p = buf;

	while (count_sectors--) {
		uint64_t word[SECTOR_WORDS];

		sector_fill(word, seed, sector++, generation);
		memcpy(p, word, SECTOR_BYTES);
		p += SECTOR_BYTES;
	}
}

int pattern_is(const void *buf, uint64_t seed, uint64_t sector, uint32_t generation)
{
	uint64_t word[SECTOR_WORDS];

	sector_fill(word, seed, sector, generation);
	return memcmp(buf, word, SECTOR_BYTES) == 0;
}

int pattern_generation(const void *buf, uint64_t seed, uint64_t sector, uint32_t *generation)
{
	uint64_t word[HEADER_WORDS];

	memcpy(word, buf, sizeof(word));
	*generation = word[0] == MAGIC ? (uint32_t)word[2] : GENERATION_ZERO;
	return pattern_is(buf, seed, sector, *generation) ? 0 : -1;
}

int pattern_identify(const void *buf, uint64_t seed, uint64_t *sector, uint32_t *generation)
{
	uint64_t word[HEADER_WORDS];

	memcpy(word, buf, sizeof(word));
	if (word[0] != MAGIC)
		return -1;
	*sector = word[1];
	return pattern_generation(buf, seed, *sector, generation);
}

const char *pattern_describe(const void *buf, char *text, size_t text_bytes)
{
	uint64_t word[SECTOR_WORDS];
	uint32_t generation;

	memcpy(word, buf, sizeof(word));
	if (pattern_is(buf, 0, 0, GENERATION_ZERO))
		snprintf(text, text_bytes, "zeros");
	else if (word[0] != MAGIC)
		snprintf(text, text_bytes, "alien data %016llx %016llx", (unsigned long long)word[0],
			 (unsigned long long)word[1]);
	else
		snprintf(text, text_bytes, "generation %llu of sector %llu, seed %llu%s", (unsigned long long)word[2],
			 (unsigned long long)word[1], (unsigned long long)word[3],
			 pattern_generation(buf, word[3], word[1], &generation) == 0 ? "" : ", torn");
	return text;
}
