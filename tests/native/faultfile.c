// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * faultfile MOUNTPOINT BYTES: a FUSE file system with two files. "disk" is BYTES of memory, to put a loop device over;
 * what is written to "faults" says which of its sectors are slow or bad, one line each; a write at its start forgets what
 * was said before:
 *
 *	FIRST_SECTOR COUNT delay MILLISECONDS
 *	FIRST_SECTOR COUNT error
 *
 * It is how a machine without device-mapper and without modules gets an ageing disk.
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fuse3/fuse.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define FAULTS_MAX 32

struct fault {
	uint64_t first_sector, count;
	unsigned int delay_ms;
	bool error;
};

static char *disk;
static uint64_t disk_bytes;
static struct fault faults[FAULTS_MAX];
static unsigned int fault_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_disk(const char *path)
{
	return !strcmp(path, "/disk");
}

static int on_getattr(const char *path, struct stat *st, struct fuse_file_info *info)
{
	memset(st, 0, sizeof(*st));
	if (!strcmp(path, "/")) {
		st->st_mode = S_IFDIR | 0700;
		st->st_nlink = 2;
		return 0;
	}
	if (!is_disk(path) && strcmp(path, "/faults"))
		return -ENOENT;
	st->st_mode = S_IFREG | 0600;
	st->st_nlink = 1;
	st->st_size = is_disk(path) ? disk_bytes : 0;
	return 0;
}

static int on_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *info,
		      enum fuse_readdir_flags flags)
{
	fill(buffer, "disk", NULL, 0, 0);
	fill(buffer, "faults", NULL, 0, 0);
	return 0;
}

static int on_open(const char *path, struct fuse_file_info *info)
{
	info->direct_io = 1;
	return 0;
}

static int on_truncate(const char *path, off_t size, struct fuse_file_info *info)
{
	return 0;
}

static int meet_faults(uint64_t offset, size_t bytes)
{
	uint64_t first = offset / 512, end = (offset + bytes + 511) / 512;
	unsigned int delay_ms = 0, i;
	struct timespec time;
	bool error = false;

	pthread_mutex_lock(&lock);
	for (i = 0; i < fault_count; i++) {
		const struct fault *fault = &faults[i];

		if (fault->first_sector >= end || fault->first_sector + fault->count <= first)
			continue;
		error |= fault->error;
		if (fault->delay_ms > delay_ms)
			delay_ms = fault->delay_ms;
	}
	pthread_mutex_unlock(&lock);
	time = (struct timespec){ .tv_sec = delay_ms / 1000, .tv_nsec = delay_ms % 1000 * 1000000L };
	if (delay_ms)
		nanosleep(&time, NULL);
	return error ? -EIO : 0;
}

static int on_read(const char *path, char *buffer, size_t bytes, off_t offset, struct fuse_file_info *info)
{
	int err;

	if (!is_disk(path) || (uint64_t)offset >= disk_bytes)
		return 0;
	if (bytes > disk_bytes - offset)
		bytes = disk_bytes - offset;
	err = meet_faults(offset, bytes);
	if (err)
		return err;
	memcpy(buffer, disk + offset, bytes);
	return bytes;
}

static int set_faults(const char *text, size_t bytes, bool add)
{
	char copy[4096], *rest = copy, *line, what[16];
	unsigned long long first, count;
	struct fault fresh[FAULTS_MAX];
	unsigned int fresh_count = add ? fault_count : 0, delay_ms;

	if (bytes >= sizeof(copy))
		return -EFBIG;
	memcpy(fresh, faults, sizeof(fresh));
	memcpy(copy, text, bytes);
	copy[bytes] = '\0';
	while ((line = strsep(&rest, "\n"))) {
		if (!*line)
			continue;
		delay_ms = 0;
		if (fresh_count == FAULTS_MAX || sscanf(line, "%llu %llu %15s %u", &first, &count, what, &delay_ms) < 3)
			return -EINVAL;
		fresh[fresh_count++] = (struct fault){ first, count, delay_ms, !strcmp(what, "error") };
	}
	pthread_mutex_lock(&lock);
	memcpy(faults, fresh, sizeof(fresh));
	fault_count = fresh_count;
	pthread_mutex_unlock(&lock);
	return bytes;
}

static int on_write(const char *path, const char *buffer, size_t bytes, off_t offset, struct fuse_file_info *info)
{
	int err;

	if (!is_disk(path))
		return set_faults(buffer, bytes, offset > 0);
	if ((uint64_t)offset >= disk_bytes || bytes > disk_bytes - offset)
		return -ENOSPC;
	err = meet_faults(offset, bytes);
	if (err)
		return err;
	memcpy(disk + offset, buffer, bytes);
	return bytes;
}

static const struct fuse_operations operations = {
	.getattr = on_getattr,
	.readdir = on_readdir,
	.open = on_open,
	.truncate = on_truncate,
	.read = on_read,
	.write = on_write,
};

int main(int argc, char **argv)
{
	char *fuse_argv[] = { argv[0], "-f", argc > 1 ? argv[1] : NULL, NULL };

	disk_bytes = argc == 3 ? strtoull(argv[2], NULL, 0) : 0;
	if (!disk_bytes) {
		fprintf(stderr, "usage: faultfile MOUNTPOINT BYTES\n");
		return 64;
	}
	disk = mmap(NULL, disk_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (disk == MAP_FAILED) {
		perror("faultfile");
		return 71;
	}
	return fuse_main(3, fuse_argv, &operations, NULL);
}
