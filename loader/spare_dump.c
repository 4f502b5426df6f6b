// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Writes all metadata of a spare to a file. */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "loader/spare_dump.h"

struct writer {
	FILE *out;
	uint32_t crc;
	uint64_t nr_lines;
};

/* Takes @line. */
static int write_line(struct writer *writer, json_t *line)
{
	char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
	int err = 0;

	json_decref(line);
	if (!text)
		return -ENOMEM;
	writer->crc = crc32c(crc32c(writer->crc, text, strlen(text)), "\n", 1);
	writer->nr_lines++;
	if (fprintf(writer->out, "%s\n", text) < 0)
		err = -EIO;
	free(text);
	return err;
}

/* What stands on the disk, in hexadecimal. */
static json_t *raw_json(const void *block)
{
	static const char digits[] = "0123456789abcdef";
	char text[2 * REMAP_META_BYTES];
	const uint8_t *bytes = block;
	size_t i;

	for (i = 0; i < REMAP_META_BYTES; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	return json_stringn(text, sizeof(text));
}

/* For each copy that is not good what stands there; else null. */
static void set_raw(json_t *line, const enum spare_copy state[2], const void *a, const void *b)
{
	json_object_set_new(line, "copies",
			    json_pack("[s, s]", spare_copy_word(state[0]),
				      spare_copy_word(state[1])));
	if (state[0] != SPARE_COPY_GOOD || state[1] != SPARE_COPY_GOOD)
		json_object_set_new(line, "raw",
				    json_pack("[o, o]",
					      state[0] ? raw_json(a) : json_null(),
					      state[1] ? raw_json(b) : json_null()));
}

static json_t *uuid_json(const uint8_t *uuid)
{
	char text[2 * REMAP_UUID_BYTES + 5], *at = text;
	size_t i;

	for (i = 0; i < REMAP_UUID_BYTES; i++)
		at += sprintf(at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
			      uuid[i]);
	return json_string(text);
}

static json_t *super_json(const struct remap_super *super)
{
	json_t *segments = json_array(), *fenced = json_array(), *json;
	uint32_t i;

	for (i = 0; i < super->nr_segments; i++)
		json_array_append_new(segments,
				      json_pack("[I, I]", (json_int_t)super->segment[i].start_sector,
						(json_int_t)super->segment[i].nr_sectors));
	for (i = 0; i < super->nr_fenced; i++)
		json_array_append_new(fenced, json_integer(super->fenced[i]));
	json = json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "uuid",
			 uuid_json(super->uuid), "sequence", (json_int_t)super->sequence,
			 "main_sectors", (json_int_t)super->main_sectors, "main_offset_sectors",
			 (json_int_t)super->main_offset_sectors, "compat",
			 (json_int_t)super->compat, "ro_compat", (json_int_t)super->ro_compat,
			 "incompat", (json_int_t)super->incompat, "block_sectors",
			 (json_int_t)super->block_sectors, "unit_sectors",
			 (json_int_t)super->unit_sectors, "groups",
			 (json_int_t)super->nr_groups_initialised);
	json_object_set_new(json, "main_id", json_string(super->main_id));
	json_object_set_new(json, "segments", segments);
	json_object_set_new(json, "fenced", fenced);
	return json;
}

/* Runs of [place, count, block, state, reason, generation, unread, lost]; places and blocks go up by one each. */
static json_t *entries_json(const struct remap_meta_disk *meta)
{
	json_t *entries = json_array();
	uint32_t i, count;

	for (i = 0; i < REMAP_ENTRIES_PER_META; i += count) {
		const struct remap_entry_disk *first = &meta->entry[i];
		uint64_t word = le64toh(first->word);

		for (count = 1; i + count < REMAP_ENTRIES_PER_META; count++)
			if (le64toh(first[count].word) != word + count ||
			    remap_word_block(word) + count > REMAP_WORD_BLOCK_MASK ||
			    first[count].unread != first->unread ||
			    first[count].lost != first->lost)
				break;
		if (!word && !first->unread && !first->lost) {
			count = 1;
			continue;
		}
		json_array_append_new(
			entries,
			json_pack("[I, I, I, I, I, I, I, I]", (json_int_t)i, (json_int_t)count,
				  (json_int_t)remap_word_block(word),
				  (json_int_t)remap_word_state(word),
				  (json_int_t)remap_word_reason(word),
				  (json_int_t)remap_word_generation(word),
				  (json_int_t)le32toh(first->unread),
				  (json_int_t)le32toh(first->lost)));
	}
	return entries;
}

static int write_block(struct writer *writer, uint64_t index, const struct spare_group *group,
		       unsigned int i)
{
	const struct spare_meta *meta = &group->meta[i];
	json_t *line = json_pack("{s:I}", "block", (json_int_t)index);

	if (!line)
		return -ENOMEM;
	if (group->believed[i]) {
		json_object_set_new(line, "sequence", json_integer((json_int_t)meta->sequence));
		json_object_set_new(line, "entries", entries_json(group->believed[i]));
	}
	set_raw(line, meta->state, &group->raw[0][i], &group->raw[1][i]);
	return write_line(writer, line);
}

static int write_groups(struct writer *writer, const struct spare_io *io,
			const struct remap_super *super)
{
	struct spare_group *group = malloc(sizeof(*group));
	uint32_t index, i;
	int err = group ? 0 : -ENOMEM;

	for (index = 0; !err && index < super->nr_groups_initialised; index++) {
		spare_read_group(io, super, index, group);
		for (i = 0; !err && i < group->place.nr_metas; i++)
			err = write_block(writer, (uint64_t)index * REMAP_METAS_PER_GROUP + i, group,
					  i);
	}
	free(group);
	return err;
}

int spare_dump_write(const struct spare_io *io, const struct spare *spare, FILE *out)
{
	const struct spare_supers *supers = &spare->supers;
	struct writer writer = { .out = out, .crc = ~0u };
	json_t *line = json_pack("{s:s, s:i, s:I, s:s}", "dump", "dm-remap spare", "version",
				 SPARE_DUMP_VERSION, "area_sectors", (json_int_t)io->area_sectors,
				 "verdict", spare_verdict_word(spare->verdict));
	char crc[9];
	int err;

	if (!line)
		return -ENOMEM;
	json_object_set_new(line, "superblock",
			    supers->believed ? super_json(&supers->super) : json_null());
	set_raw(line, supers->state, &supers->raw[0], &supers->raw[1]);
	err = write_line(&writer, line);
	if (!err && supers->believed)
		err = write_groups(&writer, io, &supers->super);
	if (err)
		return err;
	snprintf(crc, sizeof(crc), "%08" PRIx32, ~writer.crc);
	err = write_line(&writer, json_pack("{s:b, s:I, s:s}", "end", 1, "lines",
					    (json_int_t)writer.nr_lines, "crc32c", crc));
	return err ? err : fflush(out) ? -EIO : 0;
}
