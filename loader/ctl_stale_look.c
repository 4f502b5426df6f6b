// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a main says of itself, before or without its target. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/ctl_stale.h"

#define LOOK_BYTES 4096

static enum stamp_found look_at(int fd, uint64_t sector, char *buffer, struct stamp *stamp)
{
	if (pread(fd, buffer, LOOK_BYTES, (off_t)(sector * STAMP_SECTOR_BYTES)) != LOOK_BYTES)
		return STAMP_UNKNOWN;
	return stamp_read(buffer, stamp);
}

enum stamp_found stale_look(const char *main_path, uint64_t main_offset_sectors, uint64_t length_sectors,
			    struct stamp *stamp)
{
	/* The second is where btrfs has its superblock; the last reaches to the end, in whole logical blocks. */
	const uint64_t places[] = { 0, 128, length_sectors - 8 };
	int fd = open(main_path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	enum stamp_found found = STAMP_UNKNOWN;
	struct stamp seen;
	void *buffer = NULL;
	size_t i;

	if (fd >= 0 && posix_memalign(&buffer, STALE_ALIGN_BYTES, LOOK_BYTES))
		buffer = NULL;
	/* One that is whole tells more than a damaged one before it. */
	for (i = 0; buffer && found != STAMP_OK && i < sizeof(places) / sizeof(*places); i++) {
		enum stamp_found here = STAMP_UNKNOWN;

		if (length_sectors >= 8 && places[i] <= length_sectors - 8)
			here = look_at(fd, main_offset_sectors + places[i], buffer, &seen);
		if (here == STAMP_OK)
			*stamp = seen;
		if (here == STAMP_OK || here == STAMP_DAMAGED || found == STAMP_UNKNOWN)
			found = here;
	}
	free(buffer);
	if (fd >= 0)
		close(fd);
	return found;
}

const char *stale_word(enum stamp_found found)
{
	return found == STAMP_UNKNOWN ? "unknown" : found == STAMP_NONE ? "no" : "yes";
}

/* ---- written by itself ---- */

bool stale_was_written(const struct ctl *ctl, const char *main_path, uint64_t main_offset_sectors,
		       const char *spare_uuid, uint64_t *sector)
{
	int fd = open(main_path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	struct saved_copies copies;
	void *sectors = NULL;
	bool written = false;
	size_t i, at;

	if (saved_load(ctl->state_dir, spare_uuid, &copies) || !copies.confirmed ||
	    posix_memalign(&sectors, STALE_ALIGN_BYTES, SAVED_SECTORS_MAX * STAMP_SECTOR_BYTES))
		sectors = NULL;
	for (i = 0; sectors && i < copies.count && !written; i++) {
		size_t bytes = (size_t)copies.copy[i].nr_sectors * STAMP_SECTOR_BYTES;
		struct stamp stamp = { .sector = copies.copy[i].sector };

		snprintf(stamp.spare_uuid, sizeof(stamp.spare_uuid), "%s", spare_uuid);
		/* What can't be read says nothing. */
		if (pread(fd, sectors, bytes, (off_t)((main_offset_sectors + stamp.sector) * STAMP_SECTOR_BYTES)) !=
		    (ssize_t)bytes)
			continue;
		for (at = 0; at < bytes && !written; at += STAMP_SECTOR_BYTES) {
			*sector = stamp.sector;
			written = !stamp_is_whole(&stamp, (char *)sectors + at, 1);
			stamp.sector++;
		}
	}
	saved_free(&copies);
	free(sectors);
	if (fd >= 0)
		close(fd);
	return written;
}
