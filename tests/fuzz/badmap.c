// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Lists of badblocks and mapfiles of ddrescue (loader/badmap.c): in order, in bounds, the same when written and read. */
#include <stdlib.h>
#include <string.h>

#include "loader/badmap.h"
#include "tests/fuzz/fuzz.h"

#define MAIN_SECTORS 5000

const char *const *fuzz_seeds(void)
{
	static const char *const texts[] = {
		"# a list\n0\n7\n8\n9\n100000000000\n",
		"# Mapfile\n0x00000000     ?               1\n0x00000000  0x00001000  +\n0x00001000  0x00000A00  *\n"
		"0x00001A00  0x00000001  /\n0x00001A01  0x100000000  -\n",
		/* The last bytes there are. */
		"0 ?\n0x7FFFFFFFFFFFFC00 0x200 -\n0x7FFFFFFFFFFFFE00 0x1FF -\n",
		"0 ?\n0x7FFFFFFFFFFFFC00 0xFFFFFFFFFFFFFE00 -\n",
		"18014398509481983\n",
		NULL,
	};

	return texts;
}

static void check_order(const struct badmap *map)
{
	uint64_t sectors = 0;
	size_t i;

	for (i = 0; i < map->count; i++) {
		const struct badmap_range *range = &map->range[i];

		HOLDS(range->count && range->sector + range->count > range->sector);
		HOLDS(!i || range->sector > range[-1].sector + range[-1].count);
		sectors += range->count;
	}
	HOLDS(map->sectors == sectors);
}

static void check_same(const struct badmap *map, bool as_mapfile)
{
	char error[BADMAP_ERROR_BYTES], *text = NULL;
	struct badmap again;
	size_t bytes;
	FILE *file = open_memstream(&text, &bytes);

	HOLDS(file);
	if (as_mapfile)
		badmap_write_mapfile(map, MAIN_SECTORS, '-', '?', file);
	else
		badmap_write_blocks(map, 512, file);
	fclose(file);
	file = fuzz_open((uint8_t *)text, bytes);
	HOLDS(!badmap_read(file, 512, &again, error));
	fclose(file);
	HOLDS(again.count == map->count);
	HOLDS(!map->count || !memcmp(again.range, map->range, map->count * sizeof(*map->range)));
	badmap_free(&again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char error[BADMAP_ERROR_BYTES] = "";
	struct badmap map;
	uint64_t before;
	FILE *in = fuzz_open(data, bytes);
	int status = badmap_read(in, bytes % 2 ? BADMAP_BLOCK_BYTES : 4096, &map, error);

	fclose(in);
	HOLDS(!status == !*error);
	check_order(&map);
	before = map.sectors;
	HOLDS(badmap_clip(&map, bytes % 3, MAIN_SECTORS) + map.sectors == before);
	check_order(&map);
	HOLDS(!map.count || map.range[map.count - 1].sector + map.range[map.count - 1].count <= MAIN_SECTORS);
	check_same(&map, true);
	check_same(&map, false);
	badmap_free(&map);
	return 0;
}
