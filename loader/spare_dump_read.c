// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reads what spare_dump.c wrote, and believes nothing of it. */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "loader/spare_dump.h"

#define ENTRY_NUMBERS 8 /* of a run of entries in a line */

struct reader {
	struct spare_dump *dump;
	uint64_t nr_lines;
	char *error;
};

__attribute__((format(printf, 2, 3))) static int refuse(const struct reader *reader,
							 const char *format, ...)
{
	size_t used = (size_t)snprintf(reader->error, SPARE_TEXT_BYTES, "line %" PRIu64 ": ",
				       reader->nr_lines);
	va_list args;

	va_start(args, format);
	vsnprintf(reader->error + used, SPARE_TEXT_BYTES - used, format, args);
	va_end(args);
	return EX_DATAERR;
}

/* A number of an object, at most @max. */
static bool get_number(json_t *object, const char *key, uint64_t max, uint64_t *number)
{
	json_t *value = json_object_get(object, key);

	*number = (uint64_t)json_integer_value(value);
	return json_is_integer(value) && *number <= max;
}

static bool get_u32(json_t *object, const char *key, uint32_t *number)
{
	uint64_t wide;
	bool got = get_number(object, key, UINT32_MAX, &wide);

	*number = (uint32_t)wide;
	return got;
}

static bool get_uuid(json_t *value, uint8_t *uuid)
{
	const char *text = json_string_value(value);
	size_t i;

	for (i = 0; text && i < REMAP_UUID_BYTES; i++) {
		int used = 0;

		if (i == 4 || i == 6 || i == 8 || i == 10)
			if (*text++ != '-')
				return false;
		if (sscanf(text, "%2hhx%n", &uuid[i], &used) != 1 || used != 2)
			return false;
		text += 2;
	}
	return text && !*text;
}

static bool get_segments(json_t *list, struct remap_super *super)
{
	size_t i;

	super->nr_segments = (uint32_t)json_array_size(list);
	if (json_array_size(list) > REMAP_SEGMENTS_MAX)
		return false;
	for (i = 0; i < super->nr_segments; i++) {
		json_t *pair = json_array_get(list, i);

		if (json_array_size(pair) != 2 || !json_is_integer(json_array_get(pair, 0)) ||
		    !json_is_integer(json_array_get(pair, 1)))
			return false;
		super->segment[i].start_sector =
			(uint64_t)json_integer_value(json_array_get(pair, 0));
		super->segment[i].nr_sectors =
			(uint64_t)json_integer_value(json_array_get(pair, 1));
	}
	return true;
}

static bool get_fenced(json_t *list, struct remap_super *super)
{
	size_t i;

	super->nr_fenced = (uint32_t)json_array_size(list);
	if (!json_is_array(list) || json_array_size(list) > REMAP_FENCED_MAX)
		return false;
	for (i = 0; i < super->nr_fenced; i++)
		super->fenced[i] = (uint32_t)json_integer_value(json_array_get(list, i));
	return true;
}

/* The decoder that judges a disk judges this too. */
static bool get_super(json_t *json, struct remap_super *super)
{
	const char *main_id = json_string_value(json_object_get(json, "main_id"));
	struct remap_super_disk disk;

	memset(super, 0, sizeof(*super));
	if (!main_id || strlen(main_id) >= sizeof(super->main_id) ||
	    !get_uuid(json_object_get(json, "uuid"), super->uuid) ||
	    !get_number(json, "sequence", UINT64_MAX, &super->sequence) ||
	    !get_number(json, "main_sectors", UINT64_MAX, &super->main_sectors) ||
	    !get_number(json, "main_offset_sectors", UINT64_MAX, &super->main_offset_sectors) ||
	    !get_u32(json, "compat", &super->compat) ||
	    !get_u32(json, "ro_compat", &super->ro_compat) ||
	    !get_u32(json, "incompat", &super->incompat) ||
	    !get_u32(json, "block_sectors", &super->block_sectors) ||
	    !get_u32(json, "unit_sectors", &super->unit_sectors) ||
	    !get_u32(json, "groups", &super->nr_groups_initialised) ||
	    !get_segments(json_object_get(json, "segments"), super) ||
	    !get_fenced(json_object_get(json, "fenced"), super))
		return false;
	strcpy(super->main_id, main_id);
	remap_super_encode(&disk, super);
	return remap_super_decode(super, &disk) == REMAP_SUPER_OK;
}

static int read_head(struct reader *reader, json_t *line)
{
	const char *kind = json_string_value(json_object_get(line, "dump"));
	struct spare_dump *dump = reader->dump;
	json_t *super = json_object_get(line, "superblock");
	uint64_t version;

	if (!kind || strcmp(kind, "dm-remap spare") ||
	    !get_number(line, "version", INT32_MAX, &version))
		return refuse(reader, "this is no dump of remapctl");
	if (version > SPARE_DUMP_VERSION)
		return refuse(reader, "the dump is of a newer remapctl (version %" PRIu64 ")",
			      version);
	if (!json_is_object(super))
		return EX_OK;
	if (!get_super(super, &dump->super))
		return refuse(reader, "the superblock holds impossible numbers");
	dump->has_super = true;
	dump->nr_blocks =
		(uint64_t)dump->super.nr_groups_initialised * REMAP_METAS_PER_GROUP;
	dump->block = calloc(dump->nr_blocks, sizeof(*dump->block));
	if (dump->block)
		return EX_OK;
	refuse(reader, "out of memory");
	return EX_OSERR;
}

/* One run of entries. False: impossible numbers. */
static bool read_run(const struct remap_super *super, json_t *run, struct remap_entry_disk *entry)
{
	uint64_t number[ENTRY_NUMBERS], at, word;
	size_t i;

	if (json_array_size(run) != ENTRY_NUMBERS)
		return false;
	for (i = 0; i < ENTRY_NUMBERS; i++) {
		if (!json_is_integer(json_array_get(run, i)))
			return false;
		number[i] = (uint64_t)json_integer_value(json_array_get(run, i));
	}
	if (number[0] >= REMAP_ENTRIES_PER_META || !number[1] ||
	    number[1] > REMAP_ENTRIES_PER_META - number[0] ||
	    number[2] + number[1] - 1 > REMAP_WORD_BLOCK_MASK ||
	    number[2] > REMAP_WORD_BLOCK_MASK || number[3] > 15 || number[4] > 15 ||
	    number[5] > UINT16_MAX || number[6] > UINT32_MAX || number[7] > UINT32_MAX)
		return false;
	for (at = 0; at < number[1]; at++) {
		word = remap_word(number[2] + at, number[3], number[4], (uint16_t)number[5]);
		if (!remap_entry_check(super, word, (uint32_t)number[6], (uint32_t)number[7]))
			return false;
		entry[number[0] + at].word = htole64(word);
		entry[number[0] + at].unread = htole32((uint32_t)number[6]);
		entry[number[0] + at].lost = htole32((uint32_t)number[7]);
	}
	return true;
}

static int read_block(struct reader *reader, json_t *line)
{
	struct spare_dump *dump = reader->dump;
	struct remap_group_place place;
	json_t *entries = json_object_get(line, "entries"), *run;
	struct spare_dump_block *block;
	uint64_t index;
	size_t i;

	if (!get_number(line, "block", UINT64_MAX, &index))
		return refuse(reader, "neither a metadata block nor the end");
	if (index >= dump->nr_blocks ||
	    !remap_group_place(&dump->super, (uint32_t)(index / REMAP_METAS_PER_GROUP), &place) ||
	    index % REMAP_METAS_PER_GROUP >= place.nr_metas)
		return refuse(reader, "there is no metadata block %" PRIu64, index);
	block = &dump->block[index];
	if (block->known || block->entry)
		return refuse(reader, "metadata block %" PRIu64 " is there twice", index);
	if (!json_is_array(entries))
		return EX_OK;
	if (!get_number(line, "sequence", UINT64_MAX, &block->sequence) || !block->sequence)
		return refuse(reader, "metadata block %" PRIu64 " has no sequence number", index);
	if (json_array_size(entries)) {
		block->entry = calloc(REMAP_ENTRIES_PER_META, sizeof(*block->entry));
		if (!block->entry) {
			refuse(reader, "out of memory");
			return EX_OSERR;
		}
	}
	block->known = true;
	/* An impossible entry of a damaged spare: what the block said is not known. */
	json_array_foreach(entries, i, run)
		block->known = block->known && read_run(&dump->super, run, block->entry);
	return EX_OK;
}

static int read_end(struct reader *reader, json_t *line, uint32_t crc)
{
	const char *wanted = json_string_value(json_object_get(line, "crc32c"));
	uint64_t nr_lines;
	char found[9];

	snprintf(found, sizeof(found), "%08" PRIx32, ~crc);
	if (!get_number(line, "lines", UINT64_MAX, &nr_lines) || !wanted ||
	    nr_lines != reader->nr_lines - 1 || strcmp(found, wanted))
		return refuse(reader, "the dump is damaged: its checksum differs");
	return EX_OK;
}

int spare_dump_read(FILE *in, struct spare_dump *dump, char *error)
{
	struct reader reader = { .dump = dump, .error = error };
	size_t room = 0;
	char *text = NULL;
	bool ended = false;
	uint32_t crc = ~0u;
	ssize_t bytes;
	int status = EX_OK;

	memset(dump, 0, sizeof(*dump));
	while (!status && (bytes = getline(&text, &room, in)) >= 0) {
		json_t *line = json_loadb(text, (size_t)bytes, 0, NULL);

		reader.nr_lines++;
		if (!json_is_object(line))
			status = refuse(&reader, reader.nr_lines == 1 ?
							 "this is no dump of remapctl" :
							 "the dump is damaged: no JSON object");
		else if (ended)
			status = refuse(&reader, "the dump goes on behind its end");
		else if (reader.nr_lines == 1)
			status = read_head(&reader, line);
		else if (json_object_get(line, "end")) {
			status = read_end(&reader, line, crc);
			ended = true;
		} else
			status = read_block(&reader, line);
		crc = crc32c(crc, text, (size_t)bytes);
		json_decref(line);
	}
	free(text);
	if (!status && ferror(in)) {
		refuse(&reader, "can't be read: %s", strerror(errno));
		return EX_IOERR;
	}
	return status || ended ? status : refuse(&reader, "the dump is cut off");
}

void spare_dump_free(struct spare_dump *dump)
{
	uint64_t i;

	for (i = 0; dump->block && i < dump->nr_blocks; i++)
		free(dump->block[i].entry);
	free(dump->block);
	dump->block = NULL;
}
