// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A spare whose device has become larger: what is new becomes slots. The map stays as it is. */
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>

#include "loader/spare_mend.h"

static bool is_possible(const struct remap_super *super)
{
	struct remap_super_disk disk;
	struct remap_super decoded;

	remap_super_encode(&disk, super);
	return remap_super_decode(&decoded, &disk) == REMAP_SUPER_OK;
}

/* A group may become longer only while nothing is in it. */
static bool last_group_may_change(const struct remap_super *super)
{
	struct remap_group_place place;
	uint32_t nr_groups = remap_nr_groups(super);

	return super->nr_groups_initialised < nr_groups ||
	       (remap_group_place(super, nr_groups - 1, &place) &&
		place.nr_slots == REMAP_SLOTS_PER_GROUP);
}

/* Lays out the area up to its end: the last segment becomes longer, or another one follows. */
static bool lay_out(struct remap_super *super, uint64_t area_sectors)
{
	struct remap_segment *last = &super->segment[super->nr_segments - 1];
	uint64_t end = last->start_sector + last->nr_sectors;
	/* Slots lie on the grid of blocks. */
	uint64_t start = (end + super->block_sectors - 1) / super->block_sectors * super->block_sectors;

	if (last_group_may_change(super)) {
		last->nr_sectors = area_sectors - last->start_sector;
		return true;
	}
	if (start >= area_sectors)
		return true;
	if (super->nr_segments == REMAP_SEGMENTS_MAX)
		return false;
	super->segment[super->nr_segments++] = (struct remap_segment){ start, area_sectors - start };
	return true;
}

int spare_grow(const struct spare_io *io, const struct spare *spare, struct spare_mended *done,
	       char *error)
{
	struct spare_writer writer = { .io = io, .super = spare->supers.super, .super_good = { true, true },
				       .super_changed = true, .done = done, .error = error };
	uint64_t before = remap_nr_slots(&writer.super);

	memset(done, 0, sizeof(*done));
	if (spare->verdict != SPARE_CLEAN || spare->activation != SPARE_ACTIVATES)
		return spare_refuse(error, EX_DATAERR, "it has to be repaired first (see remapctl check)");
	if (!lay_out(&writer.super, io->area_sectors) || !is_possible(&writer.super))
		return spare_refuse(error, EX_DATAERR,
				    "it can't grow to %" PRIu64 " sectors: it has %" PRIu32
				    " segments (of %d), and may have %u slots",
				    io->area_sectors, spare->supers.super.nr_segments,
				    REMAP_SEGMENTS_MAX, REMAP_SLOTS_MAX);
	done->slots_added = remap_nr_slots(&writer.super) - before;
	return done->slots_added ? spare_write_super(&writer) : EX_OK;
}
