// SPDX-License-Identifier: GPL-2.0-only
/* What is on the spare: encoding, checking, layout. See format.h. */
#include "format.h"

#ifdef __KERNEL__
#include <linux/crc32c.h>
#include <linux/build_bug.h>
#include <linux/string.h>
#include <linux/math64.h>
#else
#include <endian.h>
#include <string.h>
#define static_assert_size(type, bytes) _Static_assert(sizeof(type) == (bytes), #type)
#define le32_to_cpu			le32toh
#define le64_to_cpu			le64toh
#define cpu_to_le32			htole32
#define cpu_to_le64			htole64
static inline u64 div_u64(u64 a, u32 b)
{
	return a / b;
}
#endif

#ifdef __KERNEL__
#define static_assert_size(type, bytes) static_assert(sizeof(type) == (bytes))
#endif
static_assert_size(struct remap_super_disk, REMAP_META_BYTES);
static_assert_size(struct remap_meta_disk, REMAP_META_BYTES);
static_assert_size(struct remap_entry_disk, 16);

#ifndef __KERNEL__
u32 crc32c(u32 crc, const void *data, size_t bytes)
{
	static u32 table[256];
	const u8 *p = data;

	if (!table[1])
		for (u32 i = 0; i < 256; i++) {
			u32 c = i;

			for (int bit = 0; bit < 8; bit++)
				c = c & 1 ? c >> 1 ^ 0x82f63b78 : c >> 1;
			table[i] = c;
		}
	while (bytes--)
		crc = crc >> 8 ^ table[(u8)(crc ^ *p++)];
	return crc;
}
#endif

/* CRC-32C of @bytes with the four bytes at @hole taken as zero. */
static u32 checksum(const void *data, size_t bytes, size_t hole)
{
	static const u8 zero[4];
	const u8 *p = data;
	u32 crc = ~0u;

	crc = crc32c(crc, p, hole);
	crc = crc32c(crc, zero, sizeof(zero));
	crc = crc32c(crc, p + hole + sizeof(zero), bytes - hole - sizeof(zero));
	return ~crc;
}

static u32 super_checksum(const struct remap_super_disk *disk)
{
	return checksum(disk, sizeof(*disk), offsetof(struct remap_super_disk, crc));
}

static u32 meta_checksum(const struct remap_meta_disk *meta)
{
	return checksum(meta, sizeof(*meta), offsetof(struct remap_meta_disk, crc));
}

static bool is_power_of_two(u32 n)
{
	return n && !(n & (n - 1));
}

/*
 * Sectors of one copy of @nr_metas metadata blocks, rounded up so that slots stay aligned to
 * blocks.
 */
static u64 meta_area_sectors(const struct remap_super *super, u32 nr_metas)
{
	u64 mask = super->block_sectors - 1;

	return (nr_metas * (u64)REMAP_META_SECTORS + mask) & ~mask;
}

static u64 full_group_sectors(const struct remap_super *super)
{
	return 2 * meta_area_sectors(super, REMAP_METAS_PER_GROUP) +
	       (u64)REMAP_SLOTS_PER_GROUP * super->block_sectors;
}

/* Slots that fit, with their metadata, into a short group of @sectors. */
static u32 short_group_slots(const struct remap_super *super, u64 sectors)
{
	u32 nr_metas;

	/*
	 * With m metadata blocks there is room for at most m * 252 slots: take the first m that has
	 * room to spare.
	 */
	for (nr_metas = 1; nr_metas <= REMAP_METAS_PER_GROUP; nr_metas++) {
		u64 meta = 2 * meta_area_sectors(super, nr_metas);
		u64 nr_slots;

		if (meta >= sectors)
			return 0;
		nr_slots = div_u64(sectors - meta, super->block_sectors);
		if (nr_slots <= nr_metas * REMAP_ENTRIES_PER_META)
			return nr_slots;
		/*
		 * One more metadata block may cost more slots than it describes: then these are
		 * all.
		 */
		meta = 2 * meta_area_sectors(super, nr_metas + 1);
		if (meta + ((u64)nr_metas * REMAP_ENTRIES_PER_META + 1) * super->block_sectors >
		    sectors)
			return nr_metas * REMAP_ENTRIES_PER_META;
	}
	return 0;
}

static u32 segment_groups(const struct remap_super *super, const struct remap_segment *segment)
{
	u64 group_sectors = full_group_sectors(super);
	u64 nr_full = div_u64(segment->nr_sectors, group_sectors);

	return nr_full +
	       (short_group_slots(super, segment->nr_sectors - nr_full * group_sectors) > 0);
}

u32 remap_nr_groups(const struct remap_super *super)
{
	u32 nr_groups = 0;
	u32 i;

	for (i = 0; i < super->nr_segments; i++)
		nr_groups += segment_groups(super, &super->segment[i]);
	return nr_groups;
}

bool remap_group_place(const struct remap_super *super, u32 group, struct remap_group_place *place)
{
	u64 group_sectors = full_group_sectors(super);
	u32 i;

	for (i = 0; i < super->nr_segments; i++) {
		const struct remap_segment *segment = &super->segment[i];
		u32 nr_groups = segment_groups(super, segment);
		u64 start, sectors;

		if (group >= nr_groups) {
			group -= nr_groups;
			continue;
		}
		start = segment->start_sector + group * group_sectors;
		sectors = segment->nr_sectors - group * group_sectors;
		place->nr_slots = sectors >= group_sectors ? REMAP_SLOTS_PER_GROUP
							   : short_group_slots(super, sectors);
		place->nr_metas =
			(place->nr_slots + REMAP_ENTRIES_PER_META - 1) / REMAP_ENTRIES_PER_META;
		place->copy_sector[0] = start;
		place->slot_sector = start + meta_area_sectors(super, place->nr_metas);
		place->copy_sector[1] =
			place->slot_sector + (u64)place->nr_slots * super->block_sectors;
		return true;
	}
	return false;
}

u64 remap_nr_slots(const struct remap_super *super)
{
	u64 group_sectors = full_group_sectors(super);
	u64 nr_slots = 0;
	u32 i;

	for (i = 0; i < super->nr_segments; i++) {
		u64 nr_full = div_u64(super->segment[i].nr_sectors, group_sectors);

		nr_slots += nr_full * REMAP_SLOTS_PER_GROUP +
			    short_group_slots(super, super->segment[i].nr_sectors -
							     nr_full * group_sectors);
	}
	return nr_slots;
}

bool remap_super_layout(struct remap_super *super, u64 area_sectors)
{
	u64 groups_max = REMAP_SLOTS_MAX / REMAP_SLOTS_PER_GROUP;
	u64 sectors;

	if (area_sectors <= REMAP_HEADER_SECTORS)
		return false;
	sectors = area_sectors - REMAP_HEADER_SECTORS;
	if (sectors > groups_max * full_group_sectors(super))
		sectors = groups_max * full_group_sectors(super);
	super->nr_segments = 1;
	super->segment[0].start_sector = REMAP_HEADER_SECTORS;
	super->segment[0].nr_sectors = sectors;
	return remap_nr_slots(super) > 0;
}

static bool super_is_sane(const struct remap_super *super)
{
	u64 end = REMAP_HEADER_SECTORS;
	u32 i;

	if (!is_power_of_two(super->block_sectors) ||
	    super->block_sectors < REMAP_BLOCK_SECTORS_MIN ||
	    super->block_sectors > REMAP_BLOCK_SECTORS_MAX ||
	    !is_power_of_two(super->unit_sectors) || super->unit_sectors > super->block_sectors ||
	    super->block_sectors / super->unit_sectors > REMAP_UNITS_PER_BLOCK_MAX)
		return false;
	if (!super->main_sectors || remap_nr_blocks(super) > REMAP_BLOCKS_MAX)
		return false;
	if (!super->nr_segments || super->nr_segments > REMAP_SEGMENTS_MAX ||
	    super->nr_fenced > REMAP_FENCED_MAX)
		return false;
	for (i = 0; i < super->nr_segments; i++) {
		const struct remap_segment *segment = &super->segment[i];

		if (segment->start_sector < end ||
		    segment->start_sector % REMAP_META_SECTORS || segment->nr_sectors > (1ull << 50) ||
		    segment->start_sector > (1ull << 50))
			return false;
		end = segment->start_sector + segment->nr_sectors;
	}
	return remap_nr_slots(super) <= REMAP_SLOTS_MAX &&
	       super->nr_groups_initialised &&
	       super->nr_groups_initialised <= remap_nr_groups(super) &&
	       (u64)remap_nr_groups(super) * REMAP_SLOTS_PER_GROUP <= REMAP_SLOTS_MAX;
}

enum remap_super_error remap_super_decode(struct remap_super *super,
					  const struct remap_super_disk *disk)
{
	u32 i;

	if (memcmp(disk->magic, REMAP_SUPER_MAGIC, sizeof(disk->magic)))
		return REMAP_SUPER_NO_MAGIC;
	if (le32_to_cpu(disk->crc) != super_checksum(disk))
		return REMAP_SUPER_BAD_CRC;
	if (le32_to_cpu(disk->version) > REMAP_VERSION)
		return REMAP_SUPER_NEWER_VERSION;
	if (le32_to_cpu(disk->incompat) & ~REMAP_INCOMPAT_KNOWN)
		return REMAP_SUPER_UNKNOWN_FEATURE;

	memset(super, 0, sizeof(*super));
	memcpy(super->uuid, disk->uuid, sizeof(super->uuid));
	super->sequence = le64_to_cpu(disk->sequence);
	super->main_sectors = le64_to_cpu(disk->main_sectors);
	super->main_offset_sectors = le64_to_cpu(disk->main_offset_sectors);
	super->compat = le32_to_cpu(disk->compat);
	super->ro_compat = le32_to_cpu(disk->ro_compat);
	super->incompat = le32_to_cpu(disk->incompat);
	super->block_sectors = le32_to_cpu(disk->block_sectors);
	super->unit_sectors = le32_to_cpu(disk->unit_sectors);
	super->nr_groups_initialised = le32_to_cpu(disk->nr_groups_initialised);
	super->nr_segments = le32_to_cpu(disk->nr_segments);
	super->nr_fenced = le32_to_cpu(disk->nr_fenced);
	memcpy(super->main_id, disk->main_id, sizeof(super->main_id));
	super->main_id[sizeof(super->main_id) - 1] = '\0';
	for (i = 0; i < REMAP_SEGMENTS_MAX; i++) {
		super->segment[i].start_sector = le64_to_cpu(disk->segment[i].start_sector);
		super->segment[i].nr_sectors = le64_to_cpu(disk->segment[i].nr_sectors);
	}
	for (i = 0; i < REMAP_FENCED_MAX; i++)
		super->fenced[i] = le32_to_cpu(disk->fenced[i]);
	return super_is_sane(super) ? REMAP_SUPER_OK : REMAP_SUPER_BAD_GEOMETRY;
}

void remap_super_encode(struct remap_super_disk *disk, const struct remap_super *super)
{
	u32 i;

	memset(disk, 0, sizeof(*disk));
	memcpy(disk->magic, REMAP_SUPER_MAGIC, sizeof(disk->magic));
	disk->version = cpu_to_le32(REMAP_VERSION);
	disk->compat = cpu_to_le32(super->compat);
	disk->ro_compat = cpu_to_le32(super->ro_compat);
	disk->incompat = cpu_to_le32(super->incompat);
	disk->block_sectors = cpu_to_le32(super->block_sectors);
	memcpy(disk->uuid, super->uuid, sizeof(disk->uuid));
	disk->sequence = cpu_to_le64(super->sequence);
	disk->main_sectors = cpu_to_le64(super->main_sectors);
	disk->main_offset_sectors = cpu_to_le64(super->main_offset_sectors);
	disk->unit_sectors = cpu_to_le32(super->unit_sectors);
	disk->nr_groups_initialised = cpu_to_le32(super->nr_groups_initialised);
	disk->nr_segments = cpu_to_le32(super->nr_segments);
	disk->nr_fenced = cpu_to_le32(super->nr_fenced);
	memcpy(disk->main_id, super->main_id, sizeof(disk->main_id));
	for (i = 0; i < super->nr_segments; i++) {
		disk->segment[i].start_sector = cpu_to_le64(super->segment[i].start_sector);
		disk->segment[i].nr_sectors = cpu_to_le64(super->segment[i].nr_sectors);
	}
	for (i = 0; i < super->nr_fenced; i++)
		disk->fenced[i] = cpu_to_le32(super->fenced[i]);
	disk->crc = cpu_to_le32(super_checksum(disk));
}

const char *remap_super_error_text(enum remap_super_error error)
{
	switch (error) {
	case REMAP_SUPER_OK:
		return "superblock is good";
	case REMAP_SUPER_NO_MAGIC:
		return "no dm-remap superblock";
	case REMAP_SUPER_BAD_CRC:
		return "superblock fails its checksum";
	case REMAP_SUPER_NEWER_VERSION:
		return "format version is newer than this module";
	case REMAP_SUPER_UNKNOWN_FEATURE:
		return "format uses a feature that this module does not know";
	case REMAP_SUPER_BAD_GEOMETRY:
		return "superblock holds impossible numbers";
	}
	return "unknown error";
}

bool remap_is_fenced(const struct remap_super *super, u64 index, unsigned int copy)
{
	u32 i;

	for (i = 0; i < super->nr_fenced; i++)
		if (super->fenced[i] == index * 2 + copy)
			return true;
	return false;
}

void remap_meta_empty(struct remap_meta_disk *meta, const struct remap_super *super, u64 index,
		      u64 sequence)
{
	memset(meta, 0, sizeof(*meta));
	meta->magic = cpu_to_le32(REMAP_META_MAGIC);
	memcpy(meta->uuid, super->uuid, sizeof(meta->uuid));
	meta->index = cpu_to_le64(index);
	meta->sequence = cpu_to_le64(sequence);
	meta->super_sequence = cpu_to_le64(super->sequence);
	remap_meta_seal(meta);
}

void remap_meta_seal(struct remap_meta_disk *meta)
{
	meta->crc = cpu_to_le32(meta_checksum(meta));
}

bool remap_meta_check(const struct remap_meta_disk *meta, const struct remap_super *super,
		      u64 index)
{
	return le32_to_cpu(meta->magic) == REMAP_META_MAGIC && le64_to_cpu(meta->index) == index &&
	       !memcmp(meta->uuid, super->uuid, sizeof(meta->uuid)) &&
	       le32_to_cpu(meta->crc) == meta_checksum(meta);
}

bool remap_entry_check(const struct remap_super *super, u64 word, u32 unread, u32 lost)
{
	u32 nr_units = super->block_sectors / super->unit_sectors;
	u32 beyond = nr_units == 32 ? 0 : ~((1u << nr_units) - 1);

	if (remap_word_state(word) > REMAP_ENTRY_RETIRED_MAPPED ||
	    remap_word_reason(word) > REMAP_REASON_PROACTIVE)
		return false;
	if (!remap_word_maps(word))
		return !unread && !lost;
	return remap_word_block(word) < remap_nr_blocks(super) && !(unread & lost) &&
	       !((unread | lost) & beyond);
}
