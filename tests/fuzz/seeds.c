// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Where nothing is there to be changed, one of the target's own texts is taken; else libFuzzer's own changes. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t max_bytes, unsigned int seed)
{
	static const char *const *text;
	static unsigned int nr;
	size_t length;

	if (!text)
		for (text = fuzz_seeds(); text[nr];)
			nr++;
	/* Now and then also later, so that each of them is begun with. */
	if (bytes > 1 && seed % 64)
		return LLVMFuzzerMutate(data, bytes, max_bytes);
	seed = seed / 64 % nr;
	length = strlen(text[seed]);
	length = length < max_bytes ? length : max_bytes;
	memcpy(data, text[seed], length);
	return length;
}
