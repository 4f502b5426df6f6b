// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * spare-edit DEVICE where
 *	prints where the metadata of a spare is: "super COPY SECTOR SEQUENCE" or "super COPY SECTOR bad", then
 *	"meta INDEX COPY SECTOR SEQUENCE USED" with the number of entries that are not free, or "bad"
 * spare-edit DEVICE super FIELD VALUE
 *	changes a number in both superblocks and makes their checksums right again
 * spare-edit DEVICE entry INDEX PLACE BLOCK STATE REASON GENERATION UNREAD LOST
 *	changes an entry in both copies of a metadata block, which stays whole
 *
 * Exit status: 0, 64, 65 the spare is not as it has to be, 71.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "kmod/format.h"

static int fd;

static const struct {
	const char *name;
	size_t offset;
	size_t bytes;
} fields[] = {
#define FIELD(name) { #name, offsetof(struct remap_super_disk, name), sizeof(((struct remap_super_disk *)0)->name) }
	FIELD(version), FIELD(compat), FIELD(ro_compat), FIELD(incompat), FIELD(block_sectors), FIELD(sequence),
	FIELD(main_sectors), FIELD(main_offset_sectors), FIELD(unit_sectors), FIELD(nr_groups_initialised),
	FIELD(nr_segments), FIELD(nr_fenced), FIELD(segment[0].start_sector), FIELD(segment[0].nr_sectors),
	FIELD(segment[1].start_sector), FIELD(segment[1].nr_sectors), FIELD(segment[2].start_sector), FIELD(segment[2].nr_sectors),
	FIELD(fenced[0]),
};

/* Of a superblock that may hold what the format's own functions would refuse. */
static uint32_t checksum(struct remap_super_disk disk)
{
	disk.crc = 0;
	return ~crc32c(~0u, &disk, sizeof(disk));
}

static void read_block(void *block, uint64_t sector)
{
	if (pread(fd, block, REMAP_META_BYTES, sector * 512) != REMAP_META_BYTES) {
		fprintf(stderr, "spare-edit: sector %llu: %s\n", (unsigned long long)sector, strerror(errno));
		exit(EX_OSERR);
	}
}

static void write_block(const void *block, uint64_t sector)
{
	if (pwrite(fd, block, REMAP_META_BYTES, sector * 512) != REMAP_META_BYTES || fsync(fd) != 0) {
		fprintf(stderr, "spare-edit: sector %llu: %s\n", (unsigned long long)sector, strerror(errno));
		exit(EX_OSERR);
	}
}

static const uint64_t super_sector[2] = { REMAP_SUPER_A_SECTOR, REMAP_SUPER_B_SECTOR };

/* The newer of the good superblocks. */
static void read_super(struct remap_super *super, int tell)
{
	struct remap_super one;
	struct remap_super_disk disk;
	int copy, found = 0;

	for (copy = 0; copy < 2; copy++) {
		read_block(&disk, super_sector[copy]);
		if (remap_super_decode(&one, &disk) != REMAP_SUPER_OK) {
			if (tell)
				printf("super %d %llu bad\n", copy, (unsigned long long)super_sector[copy]);
			continue;
		}
		if (tell)
			printf("super %d %llu %llu\n", copy, (unsigned long long)super_sector[copy],
			       (unsigned long long)one.sequence);
		if (!found || one.sequence > super->sequence)
			*super = one;
		found = 1;
	}
	if (!found) {
		fprintf(stderr, "spare-edit: no superblock\n");
		exit(EX_DATAERR);
	}
}

static void where(void)
{
	struct remap_super super;
	struct remap_meta_disk meta;
	struct remap_group_place place;
	uint32_t group, i, copy, entry, used;

	read_super(&super, 1);
	for (group = 0; group < super.nr_groups_initialised && remap_group_place(&super, group, &place); group++) {
		for (i = 0; i < place.nr_metas; i++) {
			for (copy = 0; copy < 2; copy++) {
				uint64_t index = (uint64_t)group * REMAP_METAS_PER_GROUP + i;
				uint64_t sector = place.copy_sector[copy] + i * REMAP_META_SECTORS;

				read_block(&meta, sector);
				printf("meta %llu %u %llu ", (unsigned long long)index, copy, (unsigned long long)sector);
				if (!remap_meta_check(&meta, &super, index)) {
					printf("bad\n");
					continue;
				}
				for (entry = used = 0; entry < REMAP_ENTRIES_PER_META; entry++)
					used += remap_word_state(le64toh(meta.entry[entry].word)) != REMAP_ENTRY_FREE;
				printf("%llu %u\n", (unsigned long long)le64toh(meta.sequence), used);
			}
		}
	}
}

static int edit_super(const char *name, uint64_t value)
{
	struct remap_super_disk disk;
	size_t i;
	int copy;

	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (!strcmp(fields[i].name, name))
			break;
	if (i == sizeof(fields) / sizeof(fields[0])) {
		fprintf(stderr, "spare-edit: no field %s\n", name);
		return EX_USAGE;
	}
	value = htole64(value);
	for (copy = 0; copy < 2; copy++) {
		read_block(&disk, super_sector[copy]);
		memcpy((char *)&disk + fields[i].offset, &value, fields[i].bytes);
		disk.crc = htole32(checksum(disk));
		write_block(&disk, super_sector[copy]);
	}
	return 0;
}

static int edit_entry(char **argument)
{
	struct remap_super super;
	struct remap_meta_disk meta;
	struct remap_group_place place;
	uint64_t value[8];
	int i, copy;

	for (i = 0; i < 8; i++)
		value[i] = strtoull(argument[i], NULL, 0);
	read_super(&super, 0);
	if (!remap_group_place(&super, value[0] / REMAP_METAS_PER_GROUP, &place) || value[1] >= REMAP_ENTRIES_PER_META) {
		fprintf(stderr, "spare-edit: no such entry\n");
		return EX_USAGE;
	}
	for (copy = 0; copy < 2; copy++) {
		uint64_t sector = place.copy_sector[copy] + value[0] % REMAP_METAS_PER_GROUP * REMAP_META_SECTORS;

		read_block(&meta, sector);
		meta.entry[value[1]].word = htole64(remap_word(value[2], value[3], value[4], value[5]));
		meta.entry[value[1]].unread = htole32(value[6]);
		meta.entry[value[1]].lost = htole32(value[7]);
		remap_meta_seal(&meta);
		write_block(&meta, sector);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 3)
		fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "spare-edit: %s: %s\n", argv[1], strerror(errno));
		return EX_OSERR;
	}
	if (argc == 3 && !strcmp(argv[2], "where"))
		where();
	else if (argc == 5 && !strcmp(argv[2], "super"))
		return edit_super(argv[3], strtoull(argv[4], NULL, 0));
	else if (argc == 11 && !strcmp(argv[2], "entry"))
		return edit_entry(argv + 3);
	else {
		fprintf(stderr, "spare-edit: see the head of spare-edit.c\n");
		return EX_USAGE;
	}
	return 0;
}
