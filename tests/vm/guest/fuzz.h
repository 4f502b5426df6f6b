/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* "fuzz": what its two files share. */
#ifndef TESTS_VM_GUEST_FUZZ_H
#define TESTS_VM_GUEST_FUZZ_H

#include <stdint.h>

/* fuzz.c: somewhere in [0, @n), all of it from the seed. */
uint64_t below(uint64_t n);

/* fuzz-spare.c */

/* Remembers all of the spare that is open as @fd; its area starts at @offset_sectors. @main_sectors: what the target shows. */
void spare_remember(int fd, uint64_t offset_sectors, uint64_t main_sectors);

/* Makes it as it was. */
void spare_put_back(void);

/*
 * The same, or one with another geometry and other mappings, and breaks some of that. The checksums are
 * mostly right.
 */
void spare_break(void);

#endif
