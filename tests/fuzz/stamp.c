// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What may stand on main, or in a saved block's head, in place of a stamp (loader/stamp.c), with a right checksum. */
#include <inttypes.h>
#include <string.h>

#include "loader/stamp.h"
#include "tests/fuzz/fuzz.h"

#define CHECKSUM "\ncrc32c "

/* Up to where the checksum stands, which is the target's to write. */
const char *const *fuzz_seeds(void)
{
	static const struct stamp stamp = { "01234567-89ab-cdef-0123-456789abcdef", 8192, 2048, 16 };
	static const struct stamp_saved saved = { "01234567-89ab-cdef-0123-456789abcdef", 16, 8, 12345 };
	static char heads[2][STAMP_SECTOR_BYTES + 1];
	static const char *const texts[] = { heads[0], heads[1], NULL };
	unsigned int i;

	stamp_fill(&stamp, heads[0], 1);
	stamp_saved_write(&saved, heads[1]);
	for (i = 0; i < 2; i++)
		strstr(heads[i], CHECKSUM)[0] = '\0';
	return texts;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char sector[STAMP_SECTOR_BYTES + 1], again[STAMP_SECTOR_BYTES];
	struct stamp_saved saved, second;
	struct stamp stamp;
	size_t used = bytes < 480 ? bytes : 480;

	memset(sector, ' ', sizeof(sector));
	memcpy(sector, data, used);
	if (!memchr(data, 0, used) && used) {
		sector[used] = '\n';
		snprintf(sector + used + 1, sizeof(sector) - used - 1, "crc32c %08" PRIx32 "\n",
			 stamp_checksum(sector, used + 1));
	}
	if (stamp_read(sector, &stamp) == STAMP_OK) {
		HOLDS(*stamp.spare_uuid && strlen(stamp.spare_uuid) < STAMP_UUID_BYTES);
		stamp_fill(&stamp, again, 1);
		HOLDS(stamp_is_whole(&stamp, again, 1));
	}
	if (stamp_saved_read(sector, &saved)) {
		HOLDS(saved.nr_sectors && strlen(saved.spare_uuid) < STAMP_UUID_BYTES);
		stamp_saved_write(&saved, again);
		HOLDS(stamp_saved_read(again, &second));
		HOLDS(second.sector == saved.sector && second.checksum == saved.checksum &&
		      second.nr_sectors == saved.nr_sectors && !strcmp(second.spare_uuid, saved.spare_uuid));
	}
	return 0;
}
