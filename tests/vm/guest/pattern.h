/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the guest's test programs write to a device: each sector says which sector it is and which generation of
 * it, so that a wrong one can be told from a stale, a moved, a zeroed or an alien one.
 */
#ifndef TESTS_VM_GUEST_PATTERN_H
#define TESTS_VM_GUEST_PATTERN_H

#include <stdint.h>
#include <stddef.h>

#define SECTOR_BYTES 512

/* A generation of 0 is a sector full of zeros. */
#define GENERATION_ZERO 0

void pattern_fill(void *buf, uint64_t seed, uint64_t sector, uint64_t count_sectors, uint32_t generation);

/* Is this one sector of data what generation @generation of @sector looks like? */
int pattern_is(const void *buf, uint64_t seed, uint64_t sector, uint32_t generation);

/*
 * The generation that one sector of data claims to be, if it is wholly right for @sector.
 * Returns 0 and sets *generation, or -1: it is not data of this sector.
 */
int pattern_generation(const void *buf, uint64_t seed, uint64_t sector, uint32_t *generation);

/* Whose data one sector of data is. Returns 0 and sets *sector and *generation, or -1: it is whole data of none. */
int pattern_identify(const void *buf, uint64_t seed, uint64_t *sector, uint32_t *generation);

/* Says in words what one sector of data is; for messages about wrong data. */
const char *pattern_describe(const void *buf, char *text, size_t text_bytes);

uint64_t pattern_random(uint64_t *state);

#endif
