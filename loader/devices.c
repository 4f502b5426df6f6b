// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "loader/devices.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

uint32_t kernel_devno(dev_t devno)
{
	return major(devno) << 20 | minor(devno);
}

/* The file's first line without white space round it. False if it can't be read or is empty. */
static bool read_attribute(int dir_fd, const char *path, char *text, size_t bytes)
{
	char raw[512];
	ssize_t length;
	size_t first = 0, last;
	int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);

	text[0] = '\0';
	if (fd < 0)
		return false;
	length = read(fd, raw, sizeof(raw) - 1);
	close(fd);
	if (length <= 0)
		return false;
	raw[length] = '\0';
	raw[strcspn(raw, "\n")] = '\0';
	last = strlen(raw);
	while (last && isspace((unsigned char)raw[last - 1]))
		raw[--last] = '\0';
	while (isspace((unsigned char)raw[first]))
		first++;
	if (snprintf(text, bytes, "%s", raw + first) >= (int)bytes)
		text[0] = '\0';
	return text[0] != '\0';
}

static uint64_t read_number(int dir_fd, const char *path)
{
	char text[32];

	return read_attribute(dir_fd, path, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

static dev_t read_devno(int dir_fd, const char *path)
{
	unsigned int major_number, minor_number;
	char text[32];

	if (!read_attribute(dir_fd, path, text, sizeof(text)) ||
	    sscanf(text, "%u:%u", &major_number, &minor_number) != 2)
		return 0;
	return makedev(major_number, minor_number);
}

/* Ids are printed into JSON and compared with patterns: printable, one line. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if (!isprint((unsigned char)*text))
			*text = '_';
}

/* The unit serial number page (80h) of a SCSI disk: four bytes of header, then the text. */
static void read_scsi_serial(int disk_fd, char *serial, size_t bytes)
{
	unsigned char page[256];
	size_t length = 0, i;
	ssize_t got;
	int fd = openat(disk_fd, "device/vpd_pg80", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	got = read(fd, page, sizeof(page));
	close(fd);
	if (got < 4)
		return;
	for (i = 4; i < (size_t)got && length + 1 < bytes; i++)
		if (isprint(page[i]) && (page[i] != ' ' || length))
			serial[length++] = page[i];
	while (length && serial[length - 1] == ' ')
		length--;
	serial[length] = '\0';
}

static void read_identity(int disk_fd, struct block_device *device)
{
	static const char *const wwn_paths[] = { "wwid", "device/wwid", "dm/uuid" };
	static const char *const serial_paths[] = { "serial", "device/serial" };
	size_t i;

	for (i = 0; i < sizeof(wwn_paths) / sizeof(wwn_paths[0]); i++)
		if (read_attribute(disk_fd, wwn_paths[i], device->wwn, sizeof(device->wwn)))
			break;
	for (i = 0; i < sizeof(serial_paths) / sizeof(serial_paths[0]); i++)
		if (read_attribute(disk_fd, serial_paths[i], device->serial, sizeof(device->serial)))
			break;
	if (!device->serial[0])
		read_scsi_serial(disk_fd, device->serial, sizeof(device->serial));
	make_printable(device->wwn);
	make_printable(device->serial);
}

/* path: of the device's folder below /sys/devices, absolute. */
static int read_device(const char *path, struct block_device *device)
{
	char disk_path[PATH_MAX];
	int fd, disk_fd;
	struct stat st;

	memset(device, 0, sizeof(*device));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -ENODEV;
	device->devno = read_devno(fd, "dev");
	device->size_sectors = read_number(fd, "size");
	device->first_sector = read_number(fd, "start");
	device->partition = !fstatat(fd, "partition", &st, 0);
	close(fd);

	snprintf(disk_path, sizeof(disk_path), "%s", path);
	snprintf(device->name, sizeof(device->name), "%s", strrchr(disk_path, '/') + 1);
	if (device->partition)
		*strrchr(disk_path, '/') = '\0';
	snprintf(device->disk_name, sizeof(device->disk_name), "%s", strrchr(disk_path, '/') + 1);
	disk_fd = open(disk_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (disk_fd < 0)
		return -ENODEV;
	device->disk_devno = read_devno(disk_fd, "dev");
	device->diskseq = read_number(disk_fd, "diskseq");
	device->logical_block_bytes = read_number(disk_fd, "queue/logical_block_size");
	device->bio_based = fstatat(disk_fd, "mq", &st, 0) != 0;
	read_identity(disk_fd, device);
	close(disk_fd);
	return device->devno && device->disk_devno ? 0 : -ENODEV;
}

int block_device_by_devno(dev_t devno, struct block_device *device)
{
	char link[64], path[PATH_MAX];

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(devno), minor(devno));
	return realpath(link, path) ? read_device(path, device) : -ENODEV;
}

int block_device_by_name(const char *name, struct block_device *device)
{
	char link[64 + DEVICE_NAME_BYTES], path[PATH_MAX];

	if (strlen(name) >= DEVICE_NAME_BYTES || strchr(name, '/') || name[0] == '.')
		return -ENODEV;
	snprintf(link, sizeof(link), "/sys/class/block/%s", name);
	return realpath(link, path) ? read_device(path, device) : -ENODEV;
}

int block_device_names(char (**names)[DEVICE_NAME_BYTES], size_t *count)
{
	char(*list)[DEVICE_NAME_BYTES] = NULL;
	DIR *dir = opendir("/sys/class/block");
	struct dirent *entry;
	size_t room = 0;

	*names = NULL;
	*count = 0;
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= DEVICE_NAME_BYTES)
			continue;
		if (*count == room) {
			void *more = realloc(list, (room + 64) * sizeof(*list));

			if (!more) {
				free(list);
				closedir(dir);
				return -ENOMEM;
			}
			list = more;
			room += 64;
		}
		snprintf(list[(*count)++], DEVICE_NAME_BYTES, "%s", entry->d_name);
	}
	closedir(dir);
	*names = list;
	return 0;
}

int block_device_inflight(const char *name)
{
	char path[64 + DEVICE_NAME_BYTES], text[64];
	int reads, writes;

	snprintf(path, sizeof(path), "/sys/class/block/%s/inflight", name);
	if (!read_attribute(AT_FDCWD, path, text, sizeof(text)) || sscanf(text, "%d %d", &reads, &writes) != 2)
		return -ENODEV;
	return reads + writes;
}
