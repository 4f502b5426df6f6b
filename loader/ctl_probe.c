// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a device holds: libblkid for everybody's signatures, kmod/format.c for our own. */
#include <blkid/blkid.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/ctl_probe.h"

#define SECTOR_BYTES 512

static void close_cleanup(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static void probe_cleanup(blkid_probe *probe)
{
	blkid_free_probe(*probe);
}

#define scoped_fd __attribute__((cleanup(close_cleanup))) int
#define scoped_probe __attribute__((cleanup(probe_cleanup))) blkid_probe

__attribute__((format(printf, 3, 4))) static int fail(char *error, int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, PROBE_ERROR_BYTES, format, args);
	va_end(args);
	return status;
}

/* One line of what libblkid just found: "ext4 filesystem, label \"data\", UUID ..., at byte 1080". */
static void describe(blkid_probe probe, char *text)
{
	const char *type = NULL, *usage = NULL, *label = NULL, *uuid = NULL, *offset = NULL, *table = NULL;
	size_t used;

	if (!blkid_probe_lookup_value(probe, "PTTYPE", &table, NULL)) {
		blkid_probe_lookup_value(probe, "PTMAGIC_OFFSET", &offset, NULL);
		blkid_probe_lookup_value(probe, "PTUUID", &uuid, NULL);
		used = snprintf(text, PROBE_TEXT_BYTES, "%s partition table", table);
	} else {
		blkid_probe_lookup_value(probe, "TYPE", &type, NULL);
		blkid_probe_lookup_value(probe, "USAGE", &usage, NULL);
		blkid_probe_lookup_value(probe, "LABEL", &label, NULL);
		blkid_probe_lookup_value(probe, "UUID", &uuid, NULL);
		blkid_probe_lookup_value(probe, "SBMAGIC_OFFSET", &offset, NULL);
		used = snprintf(text, PROBE_TEXT_BYTES, "%s%s%s", type ? type : "unknown signature", usage ? " " : "",
				usage ? usage : "");
	}
	if (label && used < PROBE_TEXT_BYTES)
		used += snprintf(text + used, PROBE_TEXT_BYTES - used, ", label \"%.60s\"", label);
	if (uuid && used < PROBE_TEXT_BYTES)
		used += snprintf(text + used, PROBE_TEXT_BYTES - used, ", UUID %s", uuid);
	if (offset && used < PROBE_TEXT_BYTES)
		snprintf(text + used, PROBE_TEXT_BYTES - used, ", at byte %s", offset);
}

static blkid_probe start_probe(int fd, const struct probe_device *device, uint64_t offset_sectors, char *error)
{
	blkid_probe probe = blkid_new_probe();

	if (!probe || blkid_probe_set_device(probe, fd, (blkid_loff_t)(offset_sectors * SECTOR_BYTES),
					     (blkid_loff_t)((device->size_sectors - offset_sectors) * SECTOR_BYTES))) {
		fail(error, EX_OSERR, "%s: libblkid can't look at it", device->path);
		blkid_free_probe(probe);
		return NULL;
	}
	blkid_probe_enable_superblocks(probe, 1);
	/* Bad checksums too: a damaged signature is somebody's data all the same. */
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
							 BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID |
							 BLKID_SUBLKS_BADCSUM);
	blkid_probe_enable_partitions(probe, 1);
	blkid_probe_set_partitions_flags(probe, BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
	return probe;
}

int ctl_probe_contents(const struct probe_device *device, uint64_t offset_sectors, struct probe_contents *contents,
		       char *error)
{
	scoped_fd fd = open(device->path, O_RDONLY | O_CLOEXEC);
	scoped_probe probe = NULL;
	int got;

	contents->count = 0;
	if (fd < 0)
		return fail(error, EX_NOINPUT, "%s: %s", device->path, strerror(errno));
	if (offset_sectors >= device->size_sectors)
		return EX_OK;
	probe = start_probe(fd, device, offset_sectors, error);
	if (!probe)
		return EX_OSERR;
	while (!(got = blkid_do_probe(probe)) && contents->count < PROBE_CONTENTS_MAX)
		describe(probe, contents->text[contents->count++]);
	if (got < 0)
		return fail(error, EX_IOERR, "%s: reading it for what it holds failed", device->path);
	return EX_OK;
}

int ctl_probe_signatures(const struct probe_device *device, void (*seen)(uint64_t byte, void *data), void *data)
{
	scoped_fd fd = open(device->path, O_RDONLY | O_CLOEXEC);
	scoped_probe probe = NULL;
	char error[PROBE_ERROR_BYTES];
	int got, count = 0;

	probe = fd < 0 ? NULL : start_probe(fd, device, 0, error);
	if (!probe)
		return -EIO;
	/* What was seen is hidden in memory, so that backups of the same kind come to light. */
	while (!(got = blkid_do_probe(probe)) && count++ < 4 * PROBE_CONTENTS_MAX) {
		const char *offset = NULL;

		if (blkid_probe_lookup_value(probe, "SBMAGIC_OFFSET", &offset, NULL))
			blkid_probe_lookup_value(probe, "PTMAGIC_OFFSET", &offset, NULL);
		if (!offset)
			continue;
		seen(strtoull(offset, NULL, 10), data);
		if (blkid_do_wipe(probe, 1))
			return -EIO;
	}
	return got < 0 ? -EIO : 0;
}

/* Past the page cache: the target writes below it. */
static int read_block(int fd, uint64_t sector, void *block)
{
	ssize_t got = pread(fd, block, REMAP_META_BYTES, (off_t)(sector * SECTOR_BYTES));

	if (got == REMAP_META_BYTES)
		return 0;
	return got < 0 ? -errno : -EIO;
}

/* Is it a superblock, or a metadata block, of any spare? */
static bool is_ours(const void *block)
{
	const struct remap_meta_disk *meta = block;

	return !memcmp(block, REMAP_SUPER_MAGIC, 8) || le32toh(meta->magic) == REMAP_META_MAGIC;
}

int ctl_probe_super(const struct probe_device *device, uint64_t offset_sectors, struct probe_super *super, char *error)
{
	static const uint64_t copy_sector[2] = { REMAP_SUPER_A_SECTOR, REMAP_SUPER_B_SECTOR };
	scoped_fd fd = open(device->path, O_RDONLY | O_CLOEXEC | O_DIRECT);
	struct remap_super *decoded = NULL;
	void *block = NULL;
	int i, status = EX_OK;

	memset(super, 0, sizeof(*super));
	if (fd < 0)
		return fail(error, EX_NOINPUT, "%s: %s", device->path, strerror(errno));
	decoded = malloc(sizeof(*decoded));
	if (!decoded || posix_memalign(&block, REMAP_META_BYTES, REMAP_META_BYTES)) {
		free(decoded);
		return fail(error, EX_OSERR, "out of memory");
	}
	for (i = 0; i < 2; i++) {
		enum remap_super_error super_error;

		if (offset_sectors + copy_sector[i] + REMAP_META_SECTORS > device->size_sectors)
			break;
		/* One unreadable copy is what the other is there for. */
		if (read_block(fd, offset_sectors + copy_sector[i], block))
			continue;
		super_error = remap_super_decode(decoded, block);
		if (super_error == REMAP_SUPER_NO_MAGIC)
			continue;
		super->found = true;
		if (super_error != REMAP_SUPER_OK) {
			super->error = super_error;
		} else if (!super->valid || decoded->sequence > super->super.sequence) {
			super->valid = true;
			super->super = *decoded;
		}
	}
	/* A spare whose superblock is gone is not empty. */
	if (!super->found && offset_sectors + REMAP_HEADER_SECTORS + REMAP_META_SECTORS <= device->size_sectors &&
	    !read_block(fd, offset_sectors + REMAP_HEADER_SECTORS, block) && is_ours(block)) {
		super->found = true;
		super->error = REMAP_SUPER_NO_MAGIC;
	}
	free(block);
	free(decoded);
	return status;
}

/* Overwrites a superblock or metadata block, if there is one, with zeros. */
static int wipe_ours(int fd, uint64_t sector)
{
	static const char zeros[REMAP_META_BYTES];
	char block[REMAP_META_BYTES];

	if (read_block(fd, sector, block) || !is_ours(block))
		return 0;
	return pwrite(fd, zeros, sizeof(zeros), (off_t)(sector * SECTOR_BYTES)) == sizeof(zeros) ? 0 : -EIO;
}

int ctl_probe_wipe(const struct probe_device *device, uint64_t offset_sectors, char *error)
{
	scoped_fd fd = open(device->path, O_RDWR | O_CLOEXEC | O_EXCL);
	scoped_probe probe = NULL;
	int got, wiped = 0;

	if (fd < 0)
		return fail(error, EX_NOPERM, "%s: %s", device->path, strerror(errno));
	probe = start_probe(fd, device, offset_sectors, error);
	if (!probe)
		return EX_OSERR;
	/* A wiped signature may uncover another; the bound is against a device that does not keep what is written. */
	while (!(got = blkid_do_probe(probe)) && wiped++ < 4 * PROBE_CONTENTS_MAX)
		if (blkid_do_wipe(probe, 0))
			return fail(error, EX_IOERR, "%s: wiping failed: %s", device->path, strerror(errno));
	if (got <= 0)
		return fail(error, EX_IOERR, "%s: wiping did not help", device->path);
	if (wipe_ours(fd, offset_sectors + REMAP_SUPER_A_SECTOR) ||
	    wipe_ours(fd, offset_sectors + REMAP_SUPER_B_SECTOR) ||
	    wipe_ours(fd, offset_sectors + REMAP_HEADER_SECTORS) || fsync(fd))
		return fail(error, EX_IOERR, "%s: wiping failed: %s", device->path, strerror(errno));
	return EX_OK;
}

void ctl_format_sectors(uint64_t sectors, char *text)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
	double value = sectors / 2.0;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(*units)) {
		value /= 1024;
		unit++;
	}
	snprintf(text, 24, value == (uint64_t)value ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

void ctl_format_uuid(const uint8_t *uuid, char *text)
{
	size_t i;

	for (i = 0; i < REMAP_UUID_BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*text++ = '-';
		text += sprintf(text, "%02x", uuid[i]);
	}
}
