// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The copies of what main's stamp took the place of: STATE-DIRECTORY/UUID.main, UUID being the spare's. A sector of text
 * (stamp.h) and a block, one after the other, each block once. The file is replaced as a whole. A last sector of text is
 * appended once main is stamped in all these places; as long as it is there, a main that is not was written by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/ctl_probe.h"
#include "loader/ctl_stale.h"

#define PROBE_NAME ".writable"

static const char CONFIRMED[STAMP_SECTOR_BYTES] = "Main is stamped in place of all these blocks.\n";

#define NAME_BYTES (STAMP_UUID_BYTES + 16)

static void name_files(const char *spare_uuid, char *name, char *new_name)
{
	snprintf(name, NAME_BYTES, "%s.main", spare_uuid);
	snprintf(new_name, NAME_BYTES, "%s.main.new", spare_uuid);
}

/* Opens the directory; makes it and those above. Negative errno. */
static int open_directory(const char *state_dir)
{
	char path[PATH_MAX];
	char *slash;
	int fd;

	if (strlen(state_dir) >= sizeof(path))
		return -ENAMETOOLONG;
	strcpy(path, state_dir);
	for (slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	if (mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int saved_check(const char *state_dir, dev_t spare_disk_devno, char *warning, char *error)
{
	struct probe_device holder = { 0 }, spare = { .devno = spare_disk_devno };
	struct stat status;
	struct statfs fs;
	int dir, file;

	*warning = '\0';
	dir = open_directory(state_dir);
	file = dir < 0 ? dir : openat(dir, PROBE_NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (file < 0) {
		snprintf(error, STALE_TEXT_BYTES, "%s: %s", state_dir, strerror(dir < 0 ? -dir : errno));
		if (dir >= 0)
			close(dir);
		return EX_CANTCREAT;
	}
	unlinkat(dir, PROBE_NAME, 0);
	if (!fstat(dir, &status))
		holder.devno = status.st_dev;
	if (!fstatfs(dir, &fs) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC))
		snprintf(warning, STALE_TEXT_BYTES, "%s is in memory: keep a copy of its files elsewhere", state_dir);
	close(file);
	close(dir);
	if (!*warning && ctl_probe_depends(&holder, &spare))
		snprintf(warning, STALE_TEXT_BYTES,
			 "%s lies on the spare's disk: if that dies, so do the copies of what was moved to it", state_dir);
	return EX_OK;
}

int saved_begin(const char *state_dir, const char *spare_uuid)
{
	int fd, dir = open_directory(state_dir);
	char name[NAME_BYTES], new_name[NAME_BYTES];

	if (dir < 0)
		return dir;
	name_files(spare_uuid, name, new_name);
	/* Never one that somebody else put there, with rights of his own. */
	unlinkat(dir, new_name, 0);
	fd = openat(dir, new_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = -errno;
	close(dir);
	return fd;
}

int saved_append(int fd, const char *spare_uuid, uint64_t sector, uint32_t nr_sectors, const char *block)
{
	size_t bytes = (size_t)nr_sectors * STAMP_SECTOR_BYTES;
	struct stamp_saved saved = { .sector = sector, .nr_sectors = nr_sectors };
	char head[STAMP_SECTOR_BYTES];
	struct iovec parts[] = {
		{ .iov_base = head, .iov_len = sizeof(head) },
		{ .iov_base = (void *)block, .iov_len = bytes },
	};
	ssize_t written;

	memcpy(saved.spare_uuid, spare_uuid, sizeof(saved.spare_uuid));
	saved.checksum = stamp_checksum(block, bytes);
	stamp_saved_write(&saved, head);
	written = writev(fd, parts, 2);
	if (written == (ssize_t)(sizeof(head) + bytes))
		return 0;
	return written < 0 ? -errno : -ENOSPC;
}

int saved_finish(int fd, const char *state_dir, const char *spare_uuid)
{
	char name[NAME_BYTES], new_name[NAME_BYTES];
	int dir, above, err = 0;

	dir = open_directory(state_dir);
	if (dir < 0)
		return dir;
	above = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	name_files(spare_uuid, name, new_name);
	/* The directory may be as new as the file. */
	if (fsync(fd) || renameat(dir, new_name, dir, name) || fsync(dir) || above < 0 || fsync(above))
		err = -errno;
	if (above >= 0)
		close(above);
	close(dir);
	return err;
}

int saved_confirm(int fd)
{
	if (write(fd, CONFIRMED, sizeof(CONFIRMED)) != sizeof(CONFIRMED) || fsync(fd))
		return -EIO;
	return 0;
}

static int add_copy(struct saved_copies *copies, const struct stamp_saved *saved, FILE *file)
{
	size_t bytes = (size_t)saved->nr_sectors * STAMP_SECTOR_BYTES;
	struct saved_copy copy = { .sector = saved->sector, .nr_sectors = saved->nr_sectors };
	struct saved_copy *bigger;
	void *block = NULL;

	bigger = realloc(copies->copy, (copies->count + 1) * sizeof(*bigger));
	if (bigger)
		copies->copy = bigger;
	if (!bigger || posix_memalign(&block, STALE_ALIGN_BYTES, bytes))
		return -ENOMEM;
	copy.block = block;
	if (fread(block, bytes, 1, file) != 1 || stamp_checksum(block, bytes) != saved->checksum) {
		free(block);
		return ferror(file) ? -EIO : 1;
	}
	copies->copy[copies->count++] = copy;
	return 0;
}

int saved_load(const char *state_dir, const char *spare_uuid, struct saved_copies *copies)
{
	char path[PATH_MAX], head[STAMP_SECTOR_BYTES];
	struct stamp_saved saved;
	FILE *file = NULL;
	int err = 0;

	*copies = (struct saved_copies){ 0 };
	if (snprintf(path, sizeof(path), "%s/%s.main", state_dir, spare_uuid) < (int)sizeof(path))
		file = fopen(path, "re");
	if (!file)
		return -errno;
	/* What is damaged is stepped over, sector by sector. */
	while (err >= 0 && fread(head, sizeof(head), 1, file) == 1) {
		off_t after = ftello(file);

		copies->confirmed = !memcmp(head, CONFIRMED, sizeof(head));
		if (!stamp_saved_read(head, &saved) || saved.nr_sectors > SAVED_SECTORS_MAX ||
		    strcmp(saved.spare_uuid, spare_uuid))
			continue;
		err = add_copy(copies, &saved, file);
		if (err > 0 && fseeko(file, after, SEEK_SET))
			err = -errno;
	}
	if (err >= 0)
		err = ferror(file) ? -EIO : 0;
	fclose(file);
	if (err)
		saved_free(copies);
	return err;
}

void saved_free(struct saved_copies *copies)
{
	while (copies->count)
		free(copies->copy[--copies->count].block);
	free(copies->copy);
	copies->copy = NULL;
}

const struct saved_copy *saved_find(const struct saved_copies *copies, uint64_t sector)
{
	size_t i;

	for (i = 0; i < copies->count; i++)
		if (copies->copy[i].sector == sector)
			return &copies->copy[i];
	return NULL;
}

void saved_forget(const char *state_dir, const char *spare_uuid)
{
	char name[NAME_BYTES], new_name[NAME_BYTES];
	int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return;
	name_files(spare_uuid, name, new_name);
	unlinkat(dir, name, 0);
	unlinkat(dir, new_name, 0);
	close(dir);
}
