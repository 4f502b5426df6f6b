// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

void fuzz_broken(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	abort();
}

uint64_t fuzz_take(struct fuzz_input *input, unsigned int bytes)
{
	uint64_t number = 0;
	unsigned int i;

	for (i = 0; i < bytes && input->left; i++, input->at++, input->left--)
		number |= (uint64_t)*input->at << 8 * i;
	return number;
}

static uint64_t get(const uint8_t *at, unsigned int bytes)
{
	struct fuzz_input input = { at, bytes };

	return fuzz_take(&input, bytes);
}

void fuzz_edit(struct fuzz_input *input, const struct fuzz_field *field, unsigned int nr_fields, void *what,
	       size_t what_bytes)
{
	uint8_t choice = fuzz_take(input, 1), way = fuzz_take(input, 1), small = fuzz_take(input, 1);
	uint8_t *at = what;
	unsigned int bytes = 1, i;
	uint64_t number;

	if (choice % (nr_fields + 1) < nr_fields) {
		at += field[choice % (nr_fields + 1)].offset;
		bytes = field[choice % (nr_fields + 1)].bytes;
	} else {
		at += fuzz_take(input, 2) % what_bytes;
	}
	number = get(at, bytes);
	switch (way % 5) {
	case 0:
		number = fuzz_take(input, bytes);
		break;
	case 1:
		number = 1ull << small % 64;
		break;
	case 2:
		number = (1ull << small % 64) - 1;
		break;
	case 3:
		number += small;
		break;
	case 4:
		number -= small;
		break;
	}
	for (i = 0; i < bytes; i++)
		at[i] = number >> 8 * i;
}

FILE *fuzz_open(const uint8_t *data, size_t bytes)
{
	/* A stream over no bytes at all can't be had. */
	FILE *in = bytes ? fmemopen((void *)data, bytes, "r") : fopen("/dev/null", "re");

	HOLDS(in);
	return in;
}

char *fuzz_string(const uint8_t *data, size_t bytes)
{
	char *text = malloc(bytes + 1);

	HOLDS(text);
	memcpy(text, data, bytes);
	text[bytes] = '\0';
	return text;
}
