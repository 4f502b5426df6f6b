// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the kernel and udev believe of main and spare, when a target comes or goes. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "loader/ctl_stale.h"

static void tell_udev(dev_t devno)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/uevent", major(devno), minor(devno));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	/* Nothing depends on it: without udev nobody listens. */
	if (write(fd, "change", 6) < 0)
		fprintf(stderr, "remapctl: note: %s can't be written: udev does not look at the device again\n", path);
	close(fd);
}

void stale_tell_udev(dev_t main_devno, dev_t spare_devno)
{
	if (main_devno)
		tell_udev(main_devno);
	if (spare_devno)
		tell_udev(spare_devno);
}

/* The number of a partition, 0 for any other entry of a disk's directory in sysfs. */
static int partition_number(dev_t devno, const char *entry)
{
	char path[512];
	int number = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%.300s/partition", major(devno), minor(devno), entry);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%d", &number) != 1)
		number = 0;
	fclose(file);
	return number;
}

void stale_drop_partitions(const char *path, dev_t devno)
{
	char folder[64];
	struct dirent *entry;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	DIR *dir;

	snprintf(folder, sizeof(folder), "/sys/dev/block/%u:%u", major(devno), minor(devno));
	dir = opendir(folder);
	while (fd >= 0 && dir && (entry = readdir(dir))) {
		struct blkpg_partition partition = { .pno = partition_number(devno, entry->d_name) };
		struct blkpg_ioctl_arg arg = { .op = BLKPG_DEL_PARTITION, .datalen = sizeof(partition), .data = &partition };

		if (partition.pno > 0 && ioctl(fd, BLKPG, &arg))
			fprintf(stderr, "remapctl: warning: partition %s is still known to the kernel: never use it\n",
				entry->d_name);
	}
	if (dir)
		closedir(dir);
	if (fd >= 0)
		close(fd);
}

void stale_read_partitions(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	/* A partition, or a disk without any, refuses; both are fine. */
	(void)!ioctl(fd, BLKRRPART);
	close(fd);
}
