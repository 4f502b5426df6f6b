// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a block device is and who uses it: sysfs, mountinfo, swaps. */
#include <blkid/blkid.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/ctl_probe.h"

#define SECTOR_BYTES 512
#define SLAVES_DEPTH_MAX 8

__attribute__((format(printf, 3, 4))) static int fail(char *error, int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, PROBE_ERROR_BYTES, format, args);
	va_end(args);
	return status;
}

/* Reads /sys/dev/block/M:m/NAME without trailing blanks. False: there is none, or it is empty. */
static bool read_attribute(dev_t devno, const char *name, char *text, size_t text_bytes)
{
	char path[PATH_MAX];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(devno), minor(devno), name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	got = read(fd, text, text_bytes - 1);
	close(fd);
	if (got < 0)
		got = 0;
	while (got && isspace((unsigned char)text[got - 1]))
		got--;
	text[got] = '\0';
	return got > 0;
}

/* The whole disk of a partition, and where the partition starts; the device itself and 0 for anything else. */
static void find_disk(struct probe_device *device)
{
	char text[64], path[64], link[PATH_MAX], parent[PATH_MAX];
	unsigned int major_nr, minor_nr;
	FILE *dev;

	device->disk_devno = device->devno;
	device->disk_start_sector = 0;
	if (!read_attribute(device->devno, "partition", text, sizeof(text)) ||
	    !read_attribute(device->devno, "start", text, sizeof(text)))
		return;
	device->disk_start_sector = strtoull(text, NULL, 10);
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(device->devno), minor(device->devno));
	if (!realpath(path, link))
		return;
	snprintf(parent, sizeof(parent), "%.4000s/dev", dirname(link));
	dev = fopen(parent, "re");
	if (!dev)
		return;
	if (fscanf(dev, "%u:%u", &major_nr, &minor_nr) == 2)
		device->disk_devno = makedev(major_nr, minor_nr);
	fclose(dev);
}

/* The PARTUUID, which the partition table of the whole disk holds. */
static bool find_partition_uuid(const struct probe_device *device, char *uuid, size_t uuid_bytes)
{
	char *disk_path = blkid_devno_to_devname(device->disk_devno);
	blkid_probe probe = disk_path ? blkid_new_probe_from_filename(disk_path) : NULL;
	blkid_partlist partitions;
	blkid_partition partition = NULL;
	const char *found = NULL;

	free(disk_path);
	if (probe) {
		blkid_probe_enable_partitions(probe, 1);
		partitions = blkid_probe_get_partitions(probe);
		if (partitions)
			partition = blkid_partlist_devno_to_partition(partitions, device->devno);
		if (partition)
			found = blkid_partition_get_uuid(partition);
		if (found)
			snprintf(uuid, uuid_bytes, "%s", found);
	}
	blkid_free_probe(probe);
	return found;
}

/* Blanks and what a table line can't hold become single underscores; the end of a long id is kept: serials are there. */
static void set_main_id(char *main_id, const char *kind, const char *value)
{
	char clean[256];
	size_t kind_length = strlen(kind), room = DMCTL_MAIN_ID_BYTES - 1 - kind_length, used = 0;

	for (; *value && used < sizeof(clean) - 1; value++) {
		bool plain = isalnum((unsigned char)*value) || strchr(".:_-", *value);

		if (plain)
			clean[used++] = *value;
		else if (used && clean[used - 1] != '_')
			clean[used++] = '_';
	}
	if (used < room)
		room = used;
	memcpy(main_id, kind, kind_length);
	memcpy(main_id + kind_length, clean + used - room, room);
	main_id[kind_length + room] = '\0';
}

static void find_main_id(struct probe_device *device)
{
	static const struct {
		const char *attribute;
		const char *kind;
	} names[] = {
		{ "wwid", "wwn-" }, /* NVMe */
		{ "device/wwid", "wwn-" }, /* SCSI */
		{ "serial", "serial-" }, /* virtio */
		{ "device/serial", "serial-" }, /* NVMe controllers, MMC */
		{ "dm/uuid", "dm-" },
	};
	char text[256];
	size_t i;

	device->main_id[0] = '\0';
	if (device->disk_devno != device->devno) {
		if (find_partition_uuid(device, text, sizeof(text)))
			set_main_id(device->main_id, "partuuid-", text);
		return;
	}
	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (read_attribute(device->devno, names[i].attribute, text, sizeof(text))) {
			set_main_id(device->main_id, names[i].kind, text);
			return;
		}
	}
}

/* First entry of a folder below the device's in sysfs. */
static bool first_entry(dev_t devno, const char *folder, char *name, size_t name_bytes)
{
	char path[128];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(devno), minor(devno), folder);
	dir = opendir(path);
	*name = '\0';
	while (dir && !*name && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			snprintf(name, name_bytes, "%s", entry->d_name);
	if (dir)
		closedir(dir);
	return *name;
}

static bool find_mount(dev_t devno, char *used_by, size_t used_by_bytes)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	char line[4096], where[4096];
	unsigned int major_nr, minor_nr;
	bool found = false;

	while (mounts && !found && fgets(line, sizeof(line), mounts)) {
		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &major_nr, &minor_nr, where) == 3 &&
		    makedev(major_nr, minor_nr) == devno) {
			snprintf(used_by, used_by_bytes, "mounted at %.200s", where);
			found = true;
		}
	}
	if (mounts)
		fclose(mounts);
	return found;
}

bool ctl_is_mounted_read_only(dev_t devno)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	unsigned int major_nr, minor_nr;
	bool mounted = false, written = false;
	char line[4096];

	while (mounts && fgets(line, sizeof(line), mounts)) {
		/* The last word is the file system's own options; those of a mount point hinder nobody at another. */
		const char *options = strrchr(line, ' ');

		if (sscanf(line, "%*d %*d %u:%u", &major_nr, &minor_nr) != 2 || makedev(major_nr, minor_nr) != devno)
			continue;
		mounted = true;
		written |= !options || strncmp(options, " ro", 3) || !strchr(",\n", options[3]);
	}
	if (mounts)
		fclose(mounts);
	return mounted && !written;
}

static bool find_swap(dev_t devno, char *used_by, size_t used_by_bytes)
{
	FILE *swaps = fopen("/proc/swaps", "re");
	char line[4096], path[4096];
	struct stat status;
	bool found = false;

	while (swaps && !found && fgets(line, sizeof(line), swaps)) {
		if (sscanf(line, "%4095s", path) == 1 && !stat(path, &status) && S_ISBLK(status.st_mode) &&
		    status.st_rdev == devno) {
			snprintf(used_by, used_by_bytes, "swap");
			found = true;
		}
	}
	if (swaps)
		fclose(swaps);
	return found;
}

static bool find_holder(dev_t devno, char *used_by, size_t used_by_bytes)
{
	char holder[256], name[128], path[320];
	FILE *dm_name;

	if (!first_entry(devno, "holders", holder, sizeof(holder)))
		return false;
	snprintf(path, sizeof(path), "/sys/class/block/%s/dm/name", holder);
	dm_name = fopen(path, "re");
	if (dm_name && fscanf(dm_name, "%127s", name) == 1)
		snprintf(used_by, used_by_bytes, "used by device-mapper device %s", name);
	else
		snprintf(used_by, used_by_bytes, "used by %s", holder);
	if (dm_name)
		fclose(dm_name);
	return true;
}

void ctl_find_user(dev_t devno, char *used_by, size_t used_by_bytes)
{
	*used_by = '\0';
	if (!find_mount(devno, used_by, used_by_bytes) && !find_swap(devno, used_by, used_by_bytes))
		find_holder(devno, used_by, used_by_bytes);
}

/* A disk is in use if one of its partitions is. */
static void find_user_of_partitions(const struct probe_device *device, char *used_by, size_t used_by_bytes)
{
	char path[64], name[512], text[32], user[PROBE_TEXT_BYTES - 80];
	struct dirent *entry;
	unsigned int major_nr, minor_nr;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(device->devno), minor(device->devno));
	dir = opendir(path);
	while (dir && !*used_by && (entry = readdir(dir))) {
		snprintf(name, sizeof(name), "%s/dev", entry->d_name);
		if (strncmp(entry->d_name, device->kernel_name, strlen(device->kernel_name)) ||
		    !read_attribute(device->devno, name, text, sizeof(text)) ||
		    sscanf(text, "%u:%u", &major_nr, &minor_nr) != 2)
			continue;
		ctl_find_user(makedev(major_nr, minor_nr), user, sizeof(user));
		if (*user)
			snprintf(used_by, used_by_bytes, "its partition %.60s is %s", entry->d_name, user);
	}
	if (dir)
		closedir(dir);
}

static void find_all_users(struct probe_device *device)
{
	int fd;

	ctl_find_user(device->devno, device->used_by, sizeof(device->used_by));
	if (*device->used_by)
		return;
	find_user_of_partitions(device, device->used_by, sizeof(device->used_by));
	if (*device->used_by)
		return;
	fd = open(device->path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	else if (errno == EBUSY)
		snprintf(device->used_by, sizeof(device->used_by), "held open by a program or the kernel");
}

int ctl_probe_device(const char *path, struct probe_device *device, char *error)
{
	char link[64], target[PATH_MAX];
	struct stat status;
	uint64_t bytes;
	int fd, logical_bytes;

	memset(device, 0, sizeof(*device));
	if (strlen(path) >= sizeof(device->path))
		return fail(error, EX_USAGE, "path is too long: %.60s...", path);
	strcpy(device->path, path);
	if (stat(path, &status))
		return fail(error, EX_NOINPUT, "%s: %s", path, strerror(errno));
	if (!S_ISBLK(status.st_mode))
		return fail(error, EX_NOINPUT, "%s is not a block device%s", path,
			    S_ISREG(status.st_mode) ? " (a file needs a loop device: losetup -f --show FILE)" : "");
	device->devno = status.st_rdev;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(error, errno == EACCES ? EX_NOPERM : EX_NOINPUT, "%s: %s", path, strerror(errno));
	if (ioctl(fd, BLKGETSIZE64, &bytes) || ioctl(fd, BLKSSZGET, &logical_bytes)) {
		close(fd);
		return fail(error, EX_IOERR, "%s: no size: %s", path, strerror(errno));
	}
	close(fd);
	device->size_sectors = bytes / SECTOR_BYTES;
	device->logical_block_bytes = logical_bytes;
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(device->devno), minor(device->devno));
	snprintf(device->kernel_name, sizeof(device->kernel_name), "%.60s",
		 realpath(link, target) ? basename(target) : "");
	find_disk(device);
	find_main_id(device);
	find_all_users(device);
	return EX_OK;
}

/* Is on_devno the whole disk devno, its partition's disk, or below it in any layer of device-mapper or md? */
static bool lies_on(dev_t devno, dev_t on_devno, int depth)
{
	struct probe_device device = { .devno = devno };
	char path[64], text[32], name[512];
	unsigned int major_nr, minor_nr;
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	if (devno == on_devno)
		return true;
	if (!depth)
		return false;
	find_disk(&device);
	if (device.disk_devno != devno && lies_on(device.disk_devno, on_devno, depth - 1))
		return true;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/slaves", major(devno), minor(devno));
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "slaves/%s/dev", entry->d_name);
		if (read_attribute(devno, name, text, sizeof(text)) &&
		    sscanf(text, "%u:%u", &major_nr, &minor_nr) == 2)
			found = lies_on(makedev(major_nr, minor_nr), on_devno, depth - 1);
	}
	if (dir)
		closedir(dir);
	return found;
}

bool ctl_probe_depends(const struct probe_device *device, const struct probe_device *on)
{
	return lies_on(device->devno, on->devno, SLAVES_DEPTH_MAX);
}
