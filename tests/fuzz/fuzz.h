/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fuzz targets: each is one file with LLVMFuzzerTestOneInput(), linked with libFuzzer, address and
 * undefined-behaviour sanitizers. A target that begins with text says with which (fuzz_seeds); the others
 * take the input for a list of numbers that they choose and change things by (fuzz_take, fuzz_edit).
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* libFuzzer's names. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t max_bytes, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t max_bytes);

/* What has to hold, or libFuzzer keeps the input and fails. */
#define HOLDS(condition) ((condition) ? (void)0 : fuzz_broken(#condition, __FILE__, __LINE__))
_Noreturn void fuzz_broken(const char *condition, const char *file, int line);

struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

/* The next @bytes of the input, at most 8, as a number; zeros behind its end. */
uint64_t fuzz_take(struct fuzz_input *input, unsigned int bytes);

/* A little-endian number in something that is fuzzed. */
struct fuzz_field {
	uint16_t offset;
	uint16_t bytes;
};

#define FUZZ_FIELD(type, name) { offsetof(type, name), sizeof(((type *)0)->name) }

/*
 * Changes one of the @nr_fields numbers of @what, or one byte anywhere in it, as the input says: sets it, to a power of two
 * as well, or moves it a little up or down.
 */
void fuzz_edit(struct fuzz_input *input, const struct fuzz_field *field, unsigned int nr_fields, void *what,
	       size_t what_bytes);

/* A stream over @bytes bytes of text. */
FILE *fuzz_open(const uint8_t *data, size_t bytes);

/* The input with a NUL behind it, to be freed. */
char *fuzz_string(const uint8_t *data, size_t bytes);

/* What a target of text begins with, up to a NULL. */
const char *const *fuzz_seeds(void);

#endif
