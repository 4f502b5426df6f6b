// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Spares for "fuzz": the one that was there with some of it changed, and others that the target could have made. */
#include <endian.h>
#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sysexits.h>
#include <unistd.h>

#include "kmod/format.h"
#include "tests/fuzz/fuzz.h"
#include "tests/vm/guest/fuzz.h"
#include "tests/vm/guest/pattern.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof(*(array)))
#define CHUNK_BYTES 65536
#define SUPER(name) FUZZ_FIELD(struct remap_super_disk, name)
#define META(name) FUZZ_FIELD(struct remap_meta_disk, name)

static const struct fuzz_field super_fields[] = {
	SUPER(version), SUPER(compat), SUPER(ro_compat), SUPER(incompat), SUPER(block_sectors), SUPER(sequence),
	SUPER(main_sectors), SUPER(main_offset_sectors), SUPER(unit_sectors), SUPER(nr_groups_initialised),
	SUPER(nr_segments), SUPER(nr_fenced), SUPER(segment[0].start_sector), SUPER(segment[0].nr_sectors),
	SUPER(segment[1].start_sector), SUPER(segment[1].nr_sectors), SUPER(fenced[0]), SUPER(fenced[1]),
};

static const struct fuzz_field meta_fields[] = {
	META(magic), META(index), META(sequence), META(super_sequence), META(entry[0].word), META(entry[0].unread),
	META(entry[0].lost), META(entry[1].word), META(entry[8].word), META(entry[8].unread), META(entry[9].word),
	META(entry[251].word), META(entry[251].unread),
};

static int spare_fd;
static uint64_t offset, area_sectors, length;
static char *good;  /* of all of the device */
static size_t good_bytes;
static bool *unknown; /* chunks of it that could not be read */
static struct remap_super now; /* what stands on the spare, more or less */

static void *aligned(size_t bytes)
{
	void *memory = aligned_alloc(4096, bytes);

	if (!memory)
		errx(EX_OSERR, "out of memory");
	memset(memory, 0, bytes);
	return memory;
}

/* Where there is nothing, and where the device is bad, nothing is done. */
static void put(uint64_t sector, const void *block)
{
	static char *buffer;

	buffer = buffer ? buffer : aligned(REMAP_META_BYTES);
	memcpy(buffer, block, REMAP_META_BYTES);
	if (sector <= area_sectors - REMAP_META_SECTORS &&
	    pwrite(spare_fd, buffer, REMAP_META_BYTES, (off_t)((offset + sector) * SECTOR_BYTES)) < 0)
		return;
}

static bool get(uint64_t sector, void *block)
{
	static char *buffer;

	buffer = buffer ? buffer : aligned(REMAP_META_BYTES);
	if (sector > area_sectors - REMAP_META_SECTORS ||
	    pread(spare_fd, buffer, REMAP_META_BYTES, (off_t)((offset + sector) * SECTOR_BYTES)) != REMAP_META_BYTES)
		return false;
	memcpy(block, buffer, REMAP_META_BYTES);
	return true;
}

void spare_remember(int fd, uint64_t offset_sectors, uint64_t main_sectors)
{
	struct remap_super_disk disk;
	size_t at;

	spare_fd = fd;
	offset = offset_sectors;
	length = main_sectors;
	good_bytes = (size_t)lseek(fd, 0, SEEK_END);
	area_sectors = good_bytes / SECTOR_BYTES - offset;
	good = aligned((good_bytes + CHUNK_BYTES - 1) / CHUNK_BYTES * CHUNK_BYTES);
	unknown = aligned(4096);
	for (at = 0; at < good_bytes; at += CHUNK_BYTES)
		unknown[at / CHUNK_BYTES] = pread(fd, good + at, CHUNK_BYTES, (off_t)at) < 0;
	if (!get(REMAP_SUPER_A_SECTOR, &disk) || remap_super_decode(&now, &disk) != REMAP_SUPER_OK)
		errx(EX_DATAERR, "the spare holds nothing to begin with");
}

void spare_put_back(void)
{
	struct remap_super_disk disk;
	size_t at;

	for (at = 0; at < good_bytes; at += CHUNK_BYTES) {
		size_t bytes = good_bytes - at < CHUNK_BYTES ? good_bytes - at : CHUNK_BYTES;

		if (!unknown[at / CHUNK_BYTES] && pwrite(spare_fd, good + at, bytes, (off_t)at) < 0)
			err(EX_OSERR, "the spare at byte %zu", at);
	}
	memcpy(&disk, good + (offset + REMAP_SUPER_A_SECTOR) * SECTOR_BYTES, sizeof(disk));
	remap_super_decode(&now, &disk);
}

/* ---- another spare ---- */

static void make_super(void)
{
	uint64_t at = REMAP_HEADER_SECTORS, left = area_sectors - REMAP_HEADER_SECTORS;
	unsigned int i;

	memset(now.segment, 0, sizeof(now.segment));
	now.block_sectors = 8 << (below(3) ? 0 : below(4));
	now.unit_sectors = 1 << (below(3) ? 0 : below(4));
	now.main_sectors = below(2) ? length : length - 20 + below(40);
	now.sequence = below(8) ? 1 + below(1000) : ~0ull - below(3);
	now.nr_segments = 1 + (below(3) ? 0 : below(6));
	for (i = 0; i < now.nr_segments; i++) {
		now.segment[i].start_sector = at;
		now.segment[i].nr_sectors = i + 1 == now.nr_segments ? left : below(left / (now.nr_segments - i) + 1);
		left -= now.segment[i].nr_sectors;
		at += now.segment[i].nr_sectors;
		/* The next one on a multiple of 8, and often later. */
		while (left && (at % REMAP_META_SECTORS || !below(2)))
			at++, left--;
	}
	now.nr_groups_initialised = 1 + below(remap_nr_groups(&now));
	now.nr_fenced = below(3) ? 0 : below(4);
	for (i = 0; i < now.nr_fenced; i++)
		now.fenced[i] = below(now.nr_groups_initialised * 2 * REMAP_METAS_PER_GROUP);
}

/* Mostly one that may stand there. */
static void make_entry(struct remap_entry_disk *entry, uint64_t block)
{
	uint64_t nr_blocks = remap_nr_blocks(&now);
	unsigned int nr_units = now.block_sectors / now.unit_sectors;
	uint32_t units = nr_units < 32 ? (1u << nr_units) - 1 : ~0u, unread = 0, lost = 0;

	if (!below(4))
		block = below(nr_blocks);
	if (!below(6))
		block = nr_blocks - 1;
	if (!below(3)) {
		unread = below(1ull << 32) & units;
		lost = below(3) ? 0 : below(1ull << 32) & units & ~unread;
	}
	if (!below(8)) {
		entry->word = htole64(remap_word(below(nr_blocks), REMAP_ENTRY_RETIRED, REMAP_REASON_NONE, below(65536)));
		return;
	}
	entry->word = htole64(remap_word(block, below(8) ? REMAP_ENTRY_MAPPED : REMAP_ENTRY_RETIRED_MAPPED, below(4),
					 below(3)));
	entry->unread = htole32(unread);
	entry->lost = htole32(lost);
}

/* Metadata of the groups in use: empty, or with runs and single blocks mapped. */
static void make_metas(void)
{
	unsigned int share = below(20), group, i, k;
	struct remap_group_place place;
	struct remap_meta_disk meta;

	for (group = 0; group < now.nr_groups_initialised && remap_group_place(&now, group, &place); group++)
		for (i = 0; i < place.nr_metas; i++) {
			uint64_t block = below(remap_nr_blocks(&now));

			remap_meta_empty(&meta, &now, (uint64_t)group * REMAP_METAS_PER_GROUP + i, 1);
			for (k = 0; k < REMAP_ENTRIES_PER_META && i * REMAP_ENTRIES_PER_META + k < place.nr_slots; k++, block++)
				if (below(20) < share)
					make_entry(&meta.entry[k], block % remap_nr_blocks(&now));
			/* Now and then a block that main does not have. */
			if (!below(8))
				meta.entry[0].word = htole64(remap_word(below(1ull << below(41)), REMAP_ENTRY_MAPPED,
									REMAP_REASON_RESCUE, 1));
			meta.sequence = htole64(below(8) ? 1 + below(10) : ~0ull - below(2));
			remap_meta_seal(&meta);
			put(place.copy_sector[0] + i * REMAP_META_SECTORS, &meta);
			put(place.copy_sector[1] + i * REMAP_META_SECTORS, &meta);
		}
}

static void make_another(void)
{
	struct remap_super_disk disk;
	struct remap_super decoded, before = now;

	make_super();
	remap_super_encode(&disk, &now);
	put(REMAP_SUPER_A_SECTOR, &disk);
	put(REMAP_SUPER_B_SECTOR, &disk);
	if (remap_super_decode(&decoded, &disk) == REMAP_SUPER_OK)
		make_metas();
	else
		now = before;
}

/* ---- breaking ---- */

static void edit(const struct fuzz_field *field, unsigned int nr_fields, void *what)
{
	uint8_t random[16];
	struct fuzz_input input = { random, sizeof(random) };
	unsigned int i;

	for (i = 0; i < sizeof(random); i++)
		random[i] = below(256);
	fuzz_edit(&input, field, nr_fields, what, REMAP_META_BYTES);
}

static void break_super(void)
{
	unsigned int copies = 1 + below(3);
	struct remap_super_disk disk;

	if (!get(REMAP_SUPER_A_SECTOR, &disk))
		return;
	edit(super_fields, ARRAY_SIZE(super_fields), &disk);
	if (below(8)) {
		disk.crc = 0;
		disk.crc = htole32(~crc32c(~0u, &disk, sizeof(disk)));
	}
	if (copies & 1)
		put(REMAP_SUPER_A_SECTOR, &disk);
	if (copies & 2)
		put(REMAP_SUPER_B_SECTOR, &disk);
}

static void break_meta(void)
{
	unsigned int copies = 1 + below(3), i;
	struct remap_group_place place;
	struct remap_meta_disk meta;
	uint64_t sector;

	if (!remap_group_place(&now, below(now.nr_groups_initialised), &place))
		return;
	i = below(place.nr_metas);
	sector = i * REMAP_META_SECTORS;
	if (!get(place.copy_sector[0] + sector, &meta))
		return;
	edit(meta_fields, ARRAY_SIZE(meta_fields), &meta);
	if (below(8))
		remap_meta_seal(&meta);
	if (copies & 1)
		put(place.copy_sector[0] + sector, &meta);
	if (copies & 2)
		put(place.copy_sector[1] + sector, &meta);
}

void spare_break(void)
{
	unsigned int left = below(4);

	spare_put_back();
	if (below(2))
		make_another();
	while (left--)
		below(3) ? break_meta() : break_super();
}
