// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* See stamp.h. */
#include "loader/stamp.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kmod/format.h"

/* Two lines of 32 bytes: the second is where libblkid looks for its magic and the label. */
#define STAMP_HEAD                           \
	"This disk alone is not whole...\n" \
	"ORCLDISK" STAMP_LABEL "\n"
#define STAMP_HEAD_BYTES 64
#define SAVED_HEAD "A block of a dm-remap main, as it was before main was stamped.\n"

_Static_assert(sizeof(STAMP_HEAD) - 1 == STAMP_HEAD_BYTES, "libblkid expects its magic at byte 32");

uint32_t stamp_checksum(const void *data, size_t bytes)
{
	return ~crc32c(~0u, data, bytes);
}

/* A sector of text: what is given, its checksum in a line of its own, blanks up to a last newline. */
__attribute__((format(printf, 2, 3))) static void write_text(char *sector, const char *format, ...)
{
	char text[STAMP_SECTOR_BYTES];
	size_t used;
	va_list args;

	va_start(args, format);
	used = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	used += snprintf(text + used, sizeof(text) - used, "crc32c %08" PRIx32 "\n", stamp_checksum(text, used));
	memset(sector, ' ', STAMP_SECTOR_BYTES);
	memcpy(sector, text, used);
	sector[STAMP_SECTOR_BYTES - 1] = '\n';
}

/* Copies a sector, ends it as a string and checks its checksum. */
static bool read_text(const char *sector, char *text)
{
	char *line;
	char wanted[32];

	memcpy(text, sector, STAMP_SECTOR_BYTES);
	text[STAMP_SECTOR_BYTES] = '\0';
	line = strstr(text, "\ncrc32c ");
	if (!line)
		return false;
	line++;
	snprintf(wanted, sizeof(wanted), "crc32c %08" PRIx32 "\n", stamp_checksum(text, line - text));
	return !strncmp(line, wanted, strlen(wanted));
}

/* What follows "\nNAME " up to the end of the line. */
static bool find_word(const char *text, const char *name, char *word, size_t word_bytes)
{
	char before[32];
	const char *at;
	size_t length;

	snprintf(before, sizeof(before), "\n%s ", name);
	at = strstr(text, before);
	if (!at)
		return false;
	at += strlen(before);
	length = strcspn(at, "\n");
	if (!length || length >= word_bytes)
		return false;
	memcpy(word, at, length);
	word[length] = '\0';
	return true;
}

static bool find_number(const char *text, const char *name, uint64_t *number)
{
	char word[24], *end;

	if (!find_word(text, name, word, sizeof(word)) || *word < '0' || *word > '9')
		return false;
	*number = strtoull(word, &end, 10);
	return !*end;
}

static void stamp_write(const struct stamp *stamp, char *sector)
{
	write_text(sector,
		   STAMP_HEAD "Part of its data lies on another one, its spare. Do not mount, check, repair\n"
			      "or format it by itself: that destroys data. Make the whole device by\n"
			      "  remapctl assemble NAME THIS-DISK SPARE\n"
			      "spare %s\n"
			      "main-sectors %" PRIu64 "\n"
			      "main-offset %" PRIu64 "\n"
			      "sector %" PRIu64 "\n",
		   stamp->spare_uuid, stamp->main_sectors, stamp->main_offset_sectors, stamp->sector);
}

void stamp_fill(const struct stamp *stamp, char *sectors, uint32_t nr_sectors)
{
	struct stamp here = *stamp;
	uint32_t i;

	for (i = 0; i < nr_sectors; i++, here.sector++)
		stamp_write(&here, sectors + (size_t)i * STAMP_SECTOR_BYTES);
}

enum stamp_found stamp_read(const char *sector, struct stamp *stamp)
{
	char text[STAMP_SECTOR_BYTES + 1];

	if (memcmp(sector, STAMP_HEAD, STAMP_HEAD_BYTES))
		return STAMP_NONE;
	if (!read_text(sector, text) ||
	    !find_word(text, "spare", stamp->spare_uuid, sizeof(stamp->spare_uuid)) ||
	    !find_number(text, "main-sectors", &stamp->main_sectors) ||
	    !find_number(text, "main-offset", &stamp->main_offset_sectors) ||
	    !find_number(text, "sector", &stamp->sector))
		return STAMP_DAMAGED;
	return STAMP_OK;
}

bool stamp_is_whole(const struct stamp *stamp, const char *sectors, uint32_t nr_sectors)
{
	struct stamp here;
	uint32_t i;

	for (i = 0; i < nr_sectors; i++)
		if (stamp_read(sectors + (size_t)i * STAMP_SECTOR_BYTES, &here) != STAMP_OK ||
		    strcmp(here.spare_uuid, stamp->spare_uuid) || here.sector != stamp->sector + i)
			return false;
	return true;
}

void stamp_saved_write(const struct stamp_saved *saved, char *head)
{
	write_text(head,
		   SAVED_HEAD "It follows this sector of text.\n"
			      "spare %s\n"
			      "sector %" PRIu64 "\n"
			      "count %" PRIu32 "\n"
			      "block-crc32c %" PRIu32 "\n",
		   saved->spare_uuid, saved->sector, saved->nr_sectors, saved->checksum);
}

bool stamp_saved_read(const char *head, struct stamp_saved *saved)
{
	char text[STAMP_SECTOR_BYTES + 1];
	uint64_t count, checksum;

	if (memcmp(head, SAVED_HEAD, strlen(SAVED_HEAD)) || !read_text(head, text) ||
	    !find_word(text, "spare", saved->spare_uuid, sizeof(saved->spare_uuid)) ||
	    !find_number(text, "sector", &saved->sector) || !find_number(text, "count", &count) ||
	    !find_number(text, "block-crc32c", &checksum) || !count || count > UINT32_MAX || checksum > UINT32_MAX)
		return false;
	saved->nr_sectors = count;
	saved->checksum = checksum;
	return true;
}
