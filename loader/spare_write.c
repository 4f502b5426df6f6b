// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Writing copies of superblocks and metadata blocks, so that one of two is whole at any moment. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "loader/spare_mend.h"

int spare_refuse(char *error, int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, SPARE_TEXT_BYTES, format, args);
	va_end(args);
	return status;
}

static int write_block(const struct spare_io *io, uint64_t sector, const void *block)
{
	return io->write(io->context, sector, REMAP_META_SECTORS, block);
}

static int flush(struct spare_writer *writer)
{
	int err = writer->io->flush(writer->io->context);

	return err ? spare_refuse(writer->error, EX_IOERR, "the spare can't be flushed: %s",
				  strerror(-err)) :
		     EX_OK;
}

/* ---- superblocks ---- */

/* Both copies, durable, @first first. One is enough. */
static int write_super_copies(struct spare_writer *writer, const void *block, unsigned int first)
{
	static const uint64_t sector[2] = { REMAP_SUPER_A_SECTOR, REMAP_SUPER_B_SECTOR };
	unsigned int i, written = 0;
	int status = EX_OK;

	for (i = 0; i < 2 && !status; i++) {
		unsigned int copy = first ^ i;

		writer->super_good[copy] = !write_block(writer->io, sector[copy], block);
		written += writer->super_good[copy];
		status = flush(writer);
	}
	writer->done->super_written |= written;
	if (status || written)
		return status;
	return spare_refuse(writer->error, EX_IOERR, "neither copy of the superblock can be written");
}

int spare_write_pieced_super(struct spare_writer *writer, const struct spare_supers *supers)
{
	return supers->pieced ? write_super_copies(writer, &supers->whole, 0) : EX_OK;
}

int spare_write_super(struct spare_writer *writer)
{
	struct remap_super_disk disk;

	if (!writer->super_changed && !writer->fences_changed && writer->super_good[0] &&
	    writer->super_good[1])
		return EX_OK;
	writer->super.sequence++;
	remap_super_encode(&disk, &writer->super);
	writer->super_changed = writer->fences_changed = false;
	return write_super_copies(writer, &disk, writer->super_first);
}

/* ---- metadata blocks ---- */

static uint32_t fence_number(uint32_t index, unsigned int i, unsigned int copy)
{
	return (index * REMAP_METAS_PER_GROUP + i) * 2 + copy;
}

static void unfence(struct spare_writer *writer, uint32_t number)
{
	struct remap_super *super = &writer->super;
	uint32_t k = 0;

	while (k < super->nr_fenced) {
		if (super->fenced[k] != number) {
			k++;
			continue;
		}
		super->fenced[k] = super->fenced[--super->nr_fenced];
		writer->fences_changed = true;
	}
}

static int fence(struct spare_writer *writer, uint32_t number)
{
	struct remap_super *super = &writer->super;

	if (remap_is_fenced(super, number / 2, number & 1))
		return EX_OK;
	if (super->nr_fenced == REMAP_FENCED_MAX)
		return spare_refuse(writer->error, EX_IOERR,
				    "copy %c of metadata block %" PRIu32
				    " can't be written, and no more copies can be fenced",
				    'A' + (number & 1), number / 2);
	super->fenced[super->nr_fenced++] = number;
	writer->fences_changed = true;
	writer->done->copies_fenced++;
	return EX_OK;
}

/*
 * One copy of each block that is to be written in this turn. A copy that can't be is fenced, and one
 * that is good again is not, durably, before the other one is touched.
 */
static int write_turn(struct spare_writer *writer, uint32_t index, const struct spare_group *group,
		      const struct spare_wanted *wanted, unsigned int turn,
		      bool written[2][REMAP_METAS_PER_GROUP])
{
	bool touched = false;
	unsigned int i;
	int status = EX_OK;

	for (i = 0; i < group->place.nr_metas && !status; i++) {
		unsigned int copy = wanted->first[i] ^ turn;
		bool other_is_good = turn ? written[!copy][i] || !wanted->copy[!copy][i] :
					    group->meta[i].state[!copy] == SPARE_COPY_GOOD ||
						    wanted->copy[!copy][i];

		if (!wanted->want[i] || !wanted->copy[copy][i])
			continue;
		touched = true;
		written[copy][i] = !write_block(writer->io,
						spare_meta_sector(&group->place, copy, i),
						wanted->want[i]);
		if (written[copy][i])
			writer->done->copies_written++;
		else if (other_is_good)
			status = fence(writer, fence_number(index, i, copy));
		else
			status = spare_refuse(writer->error, EX_IOERR,
					      "neither copy of metadata block %" PRIu32
					      " can be written",
					      index * REMAP_METAS_PER_GROUP + i);
	}
	if (!status && touched)
		status = flush(writer);
	for (i = 0; i < group->place.nr_metas && !status; i++)
		if (written[wanted->first[i] ^ turn][i])
			unfence(writer, fence_number(index, i, wanted->first[i] ^ turn));
	return status || !writer->fences_changed ? status : spare_write_super(writer);
}

int spare_write_group(struct spare_writer *writer, uint32_t index, const struct spare_group *group,
		      const struct spare_wanted *wanted)
{
	bool written[2][REMAP_METAS_PER_GROUP] = { 0 };
	int status = write_turn(writer, index, group, wanted, 0, written);

	return status ? status : write_turn(writer, index, group, wanted, 1, written);
}
