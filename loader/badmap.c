// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Lists of bad places of a disk: those of badblocks(8), and ddrescue(1)'s mapfiles. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "loader/badmap.h"

#define SECTOR_BYTES 512

static int add(struct badmap *map, uint64_t sector, uint64_t count)
{
	/* Room is made in powers of two. */
	if (!(map->count & (map->count - 1))) {
		size_t room = map->count ? map->count * 2 : 1;
		struct badmap_range *bigger = realloc(map->range, room * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		map->range = bigger;
	}
	map->range[map->count++] = (struct badmap_range){ sector, count };
	return 0;
}

int badmap_add(struct badmap *map, uint64_t sector, uint64_t count)
{
	struct badmap_range *last = map->count ? &map->range[map->count - 1] : NULL;

	map->sectors += count;
	if (!last || last->sector + last->count != sector)
		return add(map, sector, count);
	last->count += count;
	return 0;
}

static int by_sector(const void *a, const void *b)
{
	const struct badmap_range *x = a, *y = b;

	return (x->sector > y->sector) - (x->sector < y->sector);
}

void badmap_order(struct badmap *map)
{
	size_t i, kept = 0;

	if (map->count)
		qsort(map->range, map->count, sizeof(*map->range), by_sector);
	for (i = 0; i < map->count; i++) {
		struct badmap_range *last = kept ? &map->range[kept - 1] : NULL;
		uint64_t end = map->range[i].sector + map->range[i].count;

		if (!last || last->sector + last->count < map->range[i].sector)
			map->range[kept++] = map->range[i];
		else if (end > last->sector + last->count)
			last->count = end - last->sector;
	}
	map->count = kept;
	map->sectors = 0;
	for (i = 0; i < kept; i++)
		map->sectors += map->range[i].count;
}

/* A number, decimal or, after 0x, hexadecimal, and the blanks behind it. */
static bool get_number(char **text, uint64_t *number)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	errno = 0;
	*number = strtoull(*text, &end, (*text)[0] == '0' && tolower((*text)[1]) == 'x' ? 16 : 10);
	if (errno || (*end && !isspace((unsigned char)*end)))
		return false;
	*text = end + strspn(end, " \t\r\n");
	return true;
}

/* 0, -EINVAL, -ENOMEM */
static int read_block(struct badmap *map, char *text, unsigned int block_bytes)
{
	uint64_t number, sectors = block_bytes / SECTOR_BYTES;

	if (!get_number(&text, &number) || *text || number > (UINT64_MAX >> 1) / block_bytes)
		return -EINVAL;
	return add(map, number * sectors, sectors);
}

/* "pos size status". Of bytes that begin or end inside a sector all of it is taken. */
static int read_place(struct badmap *map, char *text, const char *statuses)
{
	uint64_t at, bytes, first;
	char status;

	if (!get_number(&text, &at) || !get_number(&text, &bytes) || !*text ||
	    at > UINT64_MAX >> 1 || bytes > (UINT64_MAX >> 1) - at)
		return -EINVAL;
	status = *text++;
	if (!strchr("?*/-+", status) || text[strspn(text, " \t\r\n")])
		return -EINVAL;
	if (!bytes || !strchr(statuses, status))
		return 0;
	first = at / SECTOR_BYTES;
	return add(map, first, (at + bytes + SECTOR_BYTES - 1) / SECTOR_BYTES - first);
}

/* ddrescue's line of where it stands: "current_pos current_status [current_pass]". */
static bool is_mapfile(char *text)
{
	uint64_t at;

	return get_number(&text, &at) && *text && strchr("?*/-FG+", *text);
}

/* @block_bytes 0: only a mapfile will do. */
static int read_any(FILE *in, unsigned int block_bytes, const char *statuses, struct badmap *map, char *error)
{
	bool mapfile = !block_bytes, begun = false;
	unsigned long line_nr = 0;
	size_t room = 0;
	char *line = NULL;
	int err = 0;

	memset(map, 0, sizeof(*map));
	while (!err && getline(&line, &room, in) >= 0) {
		char *text = line + strspn(line, " \t\r\n");

		line_nr++;
		if (!*text || *text == '#')
			continue;
		if (!begun && is_mapfile(text))
			mapfile = true;
		else if (!begun && mapfile)
			err = -EINVAL;
		else
			err = mapfile ? read_place(map, text, statuses) : read_block(map, text, block_bytes);
		begun = true;
	}
	if (!block_bytes && !begun)
		err = -EINVAL;
	free(line);
	badmap_order(map);
	if (err == -EINVAL) {
		snprintf(error, BADMAP_ERROR_BYTES, "line %lu is none of %s", line_nr,
			 mapfile ? "a ddrescue mapfile" : "a list of bad blocks or a ddrescue mapfile");
		return EX_DATAERR;
	}
	if (err || ferror(in)) {
		snprintf(error, BADMAP_ERROR_BYTES, "%s", err ? "out of memory" : strerror(errno));
		return err ? EX_OSERR : EX_IOERR;
	}
	return EX_OK;
}

int badmap_read(FILE *in, unsigned int block_bytes, struct badmap *map, char *error)
{
	return read_any(in, block_bytes, "*/-", map, error);
}

int badmap_read_mapfile(FILE *in, const char *statuses, struct badmap *map, char *error)
{
	return read_any(in, 0, statuses, map, error);
}

void badmap_free(struct badmap *map)
{
	free(map->range);
	memset(map, 0, sizeof(*map));
}

uint64_t badmap_clip(struct badmap *map, uint64_t sector, uint64_t end_sector)
{
	uint64_t before = map->sectors;
	size_t i, kept = 0;

	map->sectors = 0;
	for (i = 0; i < map->count; i++) {
		uint64_t at = map->range[i].sector, end = at + map->range[i].count;

		at = at > sector ? at : sector;
		end = end < end_sector ? end : end_sector;
		if (at >= end)
			continue;
		map->range[kept++] = (struct badmap_range){ at - sector, end - at };
		map->sectors += end - at;
	}
	map->count = kept;
	return before - map->sectors;
}

void badmap_write_blocks(const struct badmap *map, unsigned int block_bytes, FILE *out)
{
	uint64_t sectors = block_bytes / SECTOR_BYTES, next = 0;
	size_t i;

	for (i = 0; i < map->count; i++) {
		uint64_t block = map->range[i].sector / sectors;
		uint64_t end = (map->range[i].sector + map->range[i].count + sectors - 1) / sectors;

		for (block = block > next ? block : next; block < end; block++)
			fprintf(out, "%" PRIu64 "\n", block);
		next = end;
	}
}

static void write_place(uint64_t sector, uint64_t end_sector, char status, FILE *out)
{
	if (end_sector > sector)
		fprintf(out, "0x%08" PRIX64 "  0x%08" PRIX64 "  %c\n", sector * SECTOR_BYTES,
			(end_sector - sector) * SECTOR_BYTES, status);
}

void badmap_write_mapfile(const struct badmap *map, uint64_t end_sector, char status, char rest, FILE *out)
{
	uint64_t at = 0;
	size_t i;

	fputs("# Mapfile written by remapctl\n"
	      "# current_pos  current_status  current_pass\n"
	      "0x00000000     ?               1\n"
	      "#      pos        size  status\n", out);
	for (i = 0; i < map->count; i++) {
		const struct badmap_range *range = &map->range[i];

		write_place(at, range->sector, rest, out);
		write_place(range->sector, range->sector + range->count, status, out);
		at = range->sector + range->count;
	}
	write_place(at, end_sector, rest, out);
}
