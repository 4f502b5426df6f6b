// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a main is stamped with, and where. The judge of signatures is libblkid itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <blkid/blkid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "loader/stale_places.h"
#include "loader/stamp.h"

#define UUID "c0d2f297-283f-4866-a672-2172328d9d66"

static const struct stamp a_stamp = {
	.spare_uuid = UUID,
	.main_sectors = UINT64_MAX,
	.main_offset_sectors = UINT64_MAX - 1,
	.sector = UINT64_MAX - 15, /* the longest text there can be */
};

/* ---- the stamp ---- */

static void a_stamp_reads_back_from_each_sector(void **state)
{
	char sectors[8 * STAMP_SECTOR_BYTES];
	struct stamp stamp;
	int i;

	stamp_fill(&a_stamp, sectors, 8);
	for (i = 0; i < 8; i++) {
		assert_int_equal(stamp_read(sectors + i * STAMP_SECTOR_BYTES, &stamp), STAMP_OK);
		assert_string_equal(stamp.spare_uuid, UUID);
		assert_true(stamp.main_sectors == a_stamp.main_sectors);
		assert_true(stamp.main_offset_sectors == a_stamp.main_offset_sectors);
		assert_true(stamp.sector == a_stamp.sector + i);
	}
	assert_true(stamp_is_whole(&a_stamp, sectors, 8));
}

/* The text, blanks, and a newline at the end of the sector. */
static void assert_text(const char *sector, const char *text)
{
	char wanted[STAMP_SECTOR_BYTES];

	memset(wanted, ' ', sizeof(wanted));
	memcpy(wanted, text, strlen(text));
	wanted[STAMP_SECTOR_BYTES - 1] = '\n';
	assert_memory_equal(sector, wanted, STAMP_SECTOR_BYTES);
}

static void a_person_can_read_it(void **state)
{
	char sector[STAMP_SECTOR_BYTES + 1] = "";
	int i;

	stamp_fill(&a_stamp, sector, 1);
	for (i = 0; i < STAMP_SECTOR_BYTES; i++)
		assert_true(sector[i] == '\n' || (sector[i] >= ' ' && sector[i] <= '~'));
	assert_int_equal(sector[STAMP_SECTOR_BYTES - 1], '\n');
	assert_non_null(strstr(sector, "assemble dm-remap first\n"));
	assert_non_null(strstr(sector, "remapctl assemble"));
	assert_non_null(strstr(sector, UUID));
	/* Partition tables that are known by single bytes begin here. */
	assert_true(strlen(sector) == STAMP_SECTOR_BYTES && strspn(sector + 440, " \n") == STAMP_SECTOR_BYTES - 440);
}

/* What stands on disks and in state directories: a later version has to know it. */
static void the_texts_are_what_they_were(void **state)
{
	const struct stamp stamp = { .spare_uuid = UUID, .main_sectors = 131072, .main_offset_sectors = 2048, .sector = 130 };
	const struct stamp_saved saved = { UUID, 128, 8, 0xc1d04330 };
	char sector[STAMP_SECTOR_BYTES];

	stamp_fill(&stamp, sector, 1);
	assert_text(sector, "This disk alone is not whole...\n"
			    "ORCLDISKassemble dm-remap first\n"
			    "Part of its data lies on another one, its spare. Do not mount, check, repair\n"
			    "or format it by itself: that destroys data. Make the whole device by\n"
			    "  remapctl assemble NAME THIS-DISK SPARE\n"
			    "spare " UUID "\n"
			    "main-sectors 131072\n"
			    "main-offset 2048\n"
			    "sector 130\n"
			    "crc32c 050b9187\n");
	stamp_saved_write(&saved, sector);
	assert_text(sector, "A block of a dm-remap main, as it was before main was stamped.\n"
			    "It follows this sector of text.\n"
			    "spare " UUID "\n"
			    "sector 128\n"
			    "count 8\n"
			    "block-crc32c 3251651376\n"
			    "crc32c a2b07415\n");
}

static void each_changed_byte_of_the_text_is_noticed(void **state)
{
	char good[STAMP_SECTOR_BYTES], bad[STAMP_SECTOR_BYTES];
	struct stamp stamp;
	size_t i, text_bytes = STAMP_SECTOR_BYTES;

	stamp_fill(&a_stamp, good, 1);
	while (good[text_bytes - 1] == ' ' || good[text_bytes - 1] == '\n')
		text_bytes--;
	for (i = 0; i < text_bytes; i++) {
		memcpy(bad, good, sizeof(bad));
		bad[i] ^= 1;
		assert_int_equal(stamp_read(bad, &stamp), i < 64 ? STAMP_NONE : STAMP_DAMAGED);
		assert_false(stamp_is_whole(&a_stamp, bad, 1));
	}
	memset(bad, 0, sizeof(bad));
	assert_int_equal(stamp_read(bad, &stamp), STAMP_NONE);
}

static void a_stamp_of_another_place_or_spare_is_not_whole(void **state)
{
	char sectors[2 * STAMP_SECTOR_BYTES];
	struct stamp other = a_stamp;

	stamp_fill(&a_stamp, sectors, 2);
	other.sector++;
	assert_false(stamp_is_whole(&other, sectors, 2));
	other = a_stamp;
	other.spare_uuid[0] = 'd';
	assert_false(stamp_is_whole(&other, sectors, 2));
	/* A crash between two sectors. */
	memset(sectors + STAMP_SECTOR_BYTES, 0, STAMP_SECTOR_BYTES);
	assert_false(stamp_is_whole(&a_stamp, sectors, 2));
}

static void a_saved_head_reads_back(void **state)
{
	const struct stamp_saved saved = { UUID, UINT64_MAX, 1024, 0xfedcba98 };
	char head[STAMP_SECTOR_BYTES];
	struct stamp_saved got;
	struct stamp stamp;

	stamp_saved_write(&saved, head);
	assert_true(stamp_saved_read(head, &got));
	assert_string_equal(got.spare_uuid, UUID);
	assert_true(got.sector == saved.sector);
	assert_int_equal(got.nr_sectors, saved.nr_sectors);
	assert_int_equal(got.checksum, saved.checksum);
	assert_int_equal(stamp_read(head, &stamp), STAMP_NONE);
	head[100] ^= 1;
	assert_false(stamp_saved_read(head, &got));
	stamp_fill(&a_stamp, head, 1);
	assert_false(stamp_saved_read(head, &got));
}

static void the_checksum_is_crc32c(void **state)
{
	assert_int_equal(stamp_checksum("123456789", 9), 0xe3069283);
}

/* ---- what libblkid makes of it ---- */

/* All that libblkid finds on an image in memory, in one line. */
static void list_signatures(int fd, off_t bytes, char *found, size_t found_bytes)
{
	blkid_probe probe = blkid_new_probe();
	size_t used = 0;

	assert_non_null(probe);
	assert_int_equal(blkid_probe_set_device(probe, fd, 0, bytes), 0);
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL |
							 BLKID_SUBLKS_BADCSUM);
	blkid_probe_enable_partitions(probe, 1);
	blkid_probe_set_partitions_flags(probe, BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
	*found = '\0';
	while (!blkid_do_probe(probe) && used < found_bytes) {
		const char *type = "?", *label = "";

		if (blkid_probe_lookup_value(probe, "TYPE", &type, NULL))
			blkid_probe_lookup_value(probe, "PTTYPE", &type, NULL);
		blkid_probe_lookup_value(probe, "LABEL", &label, NULL);
		used += snprintf(found + used, found_bytes - used, "%s \"%s\";", type, label);
	}
	blkid_free_probe(probe);
}

static void blkid_sees_the_label_and_nothing_else(void **state)
{
	const off_t sizes[] = { 4 << 20, (4 << 20) + 512, 130 << 20 };
	struct stamp stamp = { .spare_uuid = UUID };
	char found[512];
	size_t i;

	/* Every sector stamped: whatever looks wherever finds no more than where only some are. */
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		int fd = memfd_create("main", MFD_CLOEXEC);
		char *image;

		assert_true(fd >= 0 && !ftruncate(fd, sizes[i]));
		image = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_true(image != MAP_FAILED);
		stamp.main_sectors = sizes[i] / STAMP_SECTOR_BYTES;
		/* The checksums of all 130 MiB would take a while. */
		if (sizes[i] < 8 << 20) {
			stamp_fill(&stamp, image, stamp.main_sectors);
		} else {
			off_t at;

			stamp_fill(&stamp, image, 8);
			for (at = 4096; at < sizes[i]; at += 4096)
				memcpy(image + at, image, 4096);
		}
		list_signatures(fd, sizes[i], found, sizeof(found));
		assert_string_equal(found, "oracleasm \"" STAMP_LABEL "\";");
		munmap(image, sizes[i]);
		close(fd);
	}
}

/* ---- places ---- */

static struct stale_blocks blocks;

static bool covers(uint64_t byte)
{
	return stale_blocks_have(&blocks, byte / 512 / blocks.block_sectors);
}

static void places_are_where_tools_look(void **state)
{
	const uint64_t size = 1ULL << 40;
	const struct {
		const char *what;
		uint64_t byte;
	} known[] = {
		{ "xfs, NTFS, LUKS, MBR", 0 },
		{ "GPT", 512 },
		{ "ext", 1024 + 0x38 },
		{ "swap, 4 KiB pages", 4086 },
		{ "md 1.2", 4096 },
		{ "swap, 64 KiB pages", 65526 },
		{ "btrfs, reiserfs, gfs2", 65536 + 0x40 },
		{ "btrfs, second", 64ULL << 20 },
		{ "btrfs, third", 256ULL << 30 },
		{ "ext backup, 1 KiB blocks", 8193ULL * 1024 },
		{ "ext backup, 2 KiB blocks", 16384ULL * 2048 },
		{ "ext backup, 4 KiB blocks", 32768ULL * 4096 },
		{ "ext backup, 64 KiB blocks", 524288ULL * 65536 },
		{ "LUKS2, second header", 0x4000 },
		{ "LUKS2, second header of a big one", 0x400000 },
		{ "ZFS, first label's names", 16384 },
		{ "ZFS, second label's names", (256 + 16) << 10 },
		{ "ZFS, third label's names", size - ((512 - 16) << 10) },
		{ "ZFS, last label's names", size - ((256 - 16) << 10) },
		{ "md 0.90", (size & ~65535ULL) - 65536 },
		{ "md 1.0", size - 8192 },
		{ "DDF's second header", size - 257 * 512 },
		{ "GPT, second header", size - 512 },
		{ "GPT, second table", size - 33 * 512 },
	};
	size_t i;

	stale_blocks_init(&blocks, size / 512, 8);
	stale_blocks_add_places(&blocks);
	for (i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!covers(known[i].byte))
			fail_msg("%s at byte %llu is not among the places", known[i].what, (unsigned long long)known[i].byte);
	/* What it costs: docs/man/remapctl.8. */
	assert_in_range(blocks.count, 80, 90);
	assert_int_equal(blocks.block[0], 0);
}

static void places_are_on_the_device_and_each_once(void **state)
{
	const uint64_t lengths[] = { 1, 7, 8, 9, 263, 264, 265, 1000, 2048, 614399, 1ULL << 34 };
	const uint32_t sizes[] = { 8, 16, 64, 1024 };
	size_t i, j, k, l;

	for (i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		for (j = 0; j < sizeof(sizes) / sizeof(*sizes); j++) {
			stale_blocks_init(&blocks, lengths[i], sizes[j]);
			stale_blocks_add_places(&blocks);
			assert_true(blocks.count > 0);
			assert_true(covers((lengths[i] - 1) * 512));
			for (k = 0; k < blocks.count; k++) {
				assert_true(stale_block_sector(&blocks, blocks.block[k]) < lengths[i]);
				assert_true(stale_block_length(&blocks, blocks.block[k]) > 0);
				for (l = 0; l < k; l++)
					assert_true(blocks.block[l] != blocks.block[k]);
			}
		}
	}
	assert_int_equal(stale_block_length(&blocks, (1ULL << 34) / 1024 - 1), 1024);
	stale_blocks_init(&blocks, 614399, 8);
	assert_int_equal(stale_block_length(&blocks, 614399 / 8), 7);
}

static void there_is_room_for_so_many_blocks_and_no_more(void **state)
{
	stale_blocks_init(&blocks, 1ULL << 34, 8);
	stale_blocks_add(&blocks, 0, 1ULL << 34);
	assert_int_equal(blocks.count, STALE_BLOCKS_MAX);
	stale_blocks_init(&blocks, 100, 8);
	stale_blocks_add(&blocks, 100, 8);
	stale_blocks_add(&blocks, UINT64_MAX, 8);
	stale_blocks_add(&blocks, 8, 0);
	assert_int_equal(blocks.count, 0);
	stale_blocks_add(&blocks, 96, UINT64_MAX);
	assert_int_equal(blocks.count, 1);
}

static void put_be32(unsigned char *at, uint32_t number)
{
	at[0] = number >> 24;
	at[1] = number >> 16;
	at[2] = number >> 8;
	at[3] = number;
}

static void superblocks_of_xfs_are_found_in_each_group(void **state)
{
	unsigned char sector[512] = "XFSB";
	uint64_t i;

	put_be32(sector + 4, 4096);
	put_be32(sector + 84, 65536);
	put_be32(sector + 88, 16);
	stale_blocks_init(&blocks, 1ULL << 30, 8);
	stale_blocks_add_xfs(&blocks, sector);
	assert_int_equal(blocks.count, 16);
	for (i = 0; i < 16; i++)
		assert_true(covers(i * 65536 * 4096));
	/* Nonsense adds nothing that is not on the device, and ends. */
	memset(sector + 4, 0xff, 508);
	stale_blocks_init(&blocks, 1ULL << 20, 8);
	stale_blocks_add_xfs(&blocks, sector);
	assert_true(blocks.count <= STALE_BLOCKS_MAX);
	sector[0] = 'x';
	stale_blocks_init(&blocks, 1ULL << 20, 8);
	stale_blocks_add_xfs(&blocks, sector);
	assert_int_equal(blocks.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stamp_reads_back_from_each_sector),
		cmocka_unit_test(a_person_can_read_it),
		cmocka_unit_test(the_texts_are_what_they_were),
		cmocka_unit_test(each_changed_byte_of_the_text_is_noticed),
		cmocka_unit_test(a_stamp_of_another_place_or_spare_is_not_whole),
		cmocka_unit_test(a_saved_head_reads_back),
		cmocka_unit_test(the_checksum_is_crc32c),
		cmocka_unit_test(blkid_sees_the_label_and_nothing_else),
		cmocka_unit_test(places_are_where_tools_look),
		cmocka_unit_test(places_are_on_the_device_and_each_once),
		cmocka_unit_test(there_is_room_for_so_many_blocks_and_no_more),
		cmocka_unit_test(superblocks_of_xfs_are_found_in_each_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
