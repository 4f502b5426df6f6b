// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * powercut [-s SEED] NBD MIB [NBD MIB]...
 *
 * Disks in memory with volatile write caches, one for each /dev/nbdN, on one power supply. What was written and not
 * flushed (nor FUA) is in the cache; at a power cut each sector of the cache gets to the medium or is lost, as dice
 * decide, so that whatever order a real disk might have chosen can come about, and blocks are torn.
 *
 * Commands on standard input: "cut" (all disks, at one moment; what is on its way or comes later fails) and "on".
 * Each answers with a line: "cut: N sectors in caches, M lost" or "on". Says "ready" at the start. Ends with its input.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/nbd.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "tests/vm/guest/pattern.h"

#define MAX_DISKS 4
#define MAX_REQUEST_BYTES (4 << 20)

struct disk {
	const char *path;
	uint64_t bytes;
	char *medium;
	char *cache;
	unsigned char *dirty;		/* one byte a sector: its newest data is in the cache */
	int nbd;
	int server;			/* our end of the socket; -1 while the power is off */
	pthread_t device_thread;
	pthread_t server_thread;
};

static struct disk disks[MAX_DISKS];
static unsigned int nr_disks;
static uint64_t dice;
/* Held over each request's effect and over the cut, so that a request happened before it or not at all. */
static pthread_mutex_t power = PTHREAD_MUTEX_INITIALIZER;
static int power_is_on;

static void die(const char *what)
{
	fprintf(stderr, "powercut: %s: %s\n", what, strerror(errno));
	exit(EX_OSERR);
}

static int receive(int fd, void *buffer, size_t bytes)
{
	char *p = buffer;

	while (bytes) {
		ssize_t n = read(fd, p, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		bytes -= n;
	}
	return 0;
}

static int put(int fd, const void *buffer, size_t bytes)
{
	const char *p = buffer;

	while (bytes) {
		ssize_t n = send(fd, p, bytes, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		bytes -= n;
	}
	return 0;
}

static void disk_read(const struct disk *disk, uint64_t from, uint32_t bytes, char *to)
{
	uint64_t sector, last = (from + bytes) / SECTOR_BYTES;

	for (sector = from / SECTOR_BYTES; sector < last; sector++, to += SECTOR_BYTES)
		memcpy(to, (disk->dirty[sector] ? disk->cache : disk->medium) + sector * SECTOR_BYTES, SECTOR_BYTES);
}

static void disk_write(struct disk *disk, uint64_t to, uint32_t bytes, const char *data, int durable)
{
	uint64_t sector, first = to / SECTOR_BYTES, last = (to + bytes) / SECTOR_BYTES;

	memcpy((durable ? disk->medium : disk->cache) + to, data, bytes);
	for (sector = first; sector < last; sector++)
		disk->dirty[sector] = !durable;
}

static void disk_flush(struct disk *disk)
{
	uint64_t sector, sectors = disk->bytes / SECTOR_BYTES;
	unsigned char *at = disk->dirty;

	while ((at = memchr(at, 1, disk->dirty + sectors - at))) {
		sector = at - disk->dirty;
		memcpy(disk->medium + sector * SECTOR_BYTES, disk->cache + sector * SECTOR_BYTES, SECTOR_BYTES);
		*at = 0;
	}
}

static void *serve(void *argument)
{
	struct disk *disk = argument;
	int fd = disk->server;
	char *buffer = malloc(MAX_REQUEST_BYTES);
	struct nbd_request request;

	while (buffer && receive(fd, &request, sizeof(request)) == 0) {
		uint32_t type = be32toh(request.type), command = type & 0xffff;
		uint32_t bytes = be32toh(request.len);
		uint64_t from = be64toh(request.from);
		struct nbd_reply reply = { .magic = htobe32(NBD_REPLY_MAGIC) };
		int on;

		memcpy(reply.handle, request.handle, sizeof(reply.handle));
		if (command == NBD_CMD_DISC || bytes > MAX_REQUEST_BYTES)
			break;
		if (command == NBD_CMD_WRITE && receive(fd, buffer, bytes) != 0)
			break;
		pthread_mutex_lock(&power);
		on = power_is_on;
		if (on && command == NBD_CMD_READ)
			disk_read(disk, from, bytes, buffer);
		else if (on && command == NBD_CMD_WRITE)
			disk_write(disk, from, bytes, buffer, !!(type & NBD_CMD_FLAG_FUA));
		else if (on && command == NBD_CMD_FLUSH)
			disk_flush(disk);
		pthread_mutex_unlock(&power);
		/* What was not answered before the cut was not acknowledged. */
		if (!on || put(fd, &reply, sizeof(reply)) != 0)
			break;
		if (command == NBD_CMD_READ && put(fd, buffer, bytes) != 0)
			break;
	}
	free(buffer);
	shutdown(fd, SHUT_RDWR);
	return NULL;
}

static void *device(void *argument)
{
	struct disk *disk = argument;

	/* Returns when the connection ends; the error says how, which is of no interest. */
	ioctl(disk->nbd, NBD_DO_IT);
	ioctl(disk->nbd, NBD_CLEAR_QUE);
	ioctl(disk->nbd, NBD_CLEAR_SOCK);
	return NULL;
}

static void power_on(void)
{
	unsigned int i;

	power_is_on = 1;
	for (i = 0; i < nr_disks; i++) {
		struct disk *disk = &disks[i];
		uint64_t bytes;
		int pair[2];

		disk->nbd = open(disk->path, O_RDWR | O_CLOEXEC);
		if (disk->nbd < 0)
			die(disk->path);
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
			die("socketpair");
		disk->server = pair[0];
		if (ioctl(disk->nbd, NBD_SET_SOCK, pair[1]) != 0 || ioctl(disk->nbd, NBD_SET_BLKSIZE, SECTOR_BYTES) != 0 ||
		    ioctl(disk->nbd, NBD_SET_SIZE_BLOCKS, disk->bytes / SECTOR_BYTES) != 0 ||
		    ioctl(disk->nbd, NBD_SET_FLAGS, NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA) != 0)
			die(disk->path);
		if (pthread_create(&disk->server_thread, NULL, serve, disk) != 0 ||
		    pthread_create(&disk->device_thread, NULL, device, disk) != 0)
			die("thread");
		/* It has its size when the thread above has got so far. */
		while (ioctl(disk->nbd, BLKGETSIZE64, &bytes) == 0 && bytes != disk->bytes)
			sched_yield();
	}
}

static void power_cut(void)
{
	unsigned long long cached = 0, lost = 0;
	uint64_t sector;
	unsigned int i;

	pthread_mutex_lock(&power);
	power_is_on = 0;
	for (i = 0; i < nr_disks; i++) {
		struct disk *disk = &disks[i];

		for (sector = 0; sector < disk->bytes / SECTOR_BYTES; sector++) {
			if (!disk->dirty[sector])
				continue;
			disk->dirty[sector] = 0;
			cached++;
			if (pattern_random(&dice) & 1)
				lost++;
			else
				memcpy(disk->medium + sector * SECTOR_BYTES, disk->cache + sector * SECTOR_BYTES, SECTOR_BYTES);
		}
	}
	pthread_mutex_unlock(&power);
	for (i = 0; i < nr_disks; i++) {
		shutdown(disks[i].server, SHUT_RDWR);
		pthread_join(disks[i].server_thread, NULL);
		pthread_join(disks[i].device_thread, NULL);
		close(disks[i].server);
		/* The driver forgets how large the disk was with the last who has it open. */
		close(disks[i].nbd);
	}
	printf("cut: %llu sectors in caches, %llu lost\n", cached, lost);
}

static char *memory(uint64_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("memory");
	return p;
}

int main(int argc, char **argv)
{
	char line[32];
	int i, first = 1;

	if (argc > 2 && !strcmp(argv[1], "-s")) {
		dice = strtoull(argv[2], NULL, 0);
		first = 3;
	}
	if (argc - first < 2 || (argc - first) % 2 || (argc - first) / 2 > MAX_DISKS) {
		fprintf(stderr, "powercut: usage: powercut [-s SEED] NBD MIB [NBD MIB]...\n");
		return EX_USAGE;
	}
	for (i = first; i < argc; i += 2) {
		struct disk *disk = &disks[nr_disks++];

		disk->path = argv[i];
		disk->bytes = strtoull(argv[i + 1], NULL, 0) << 20;
		disk->medium = memory(disk->bytes);
		disk->cache = memory(disk->bytes);
		disk->dirty = (unsigned char *)memory(disk->bytes / SECTOR_BYTES);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	power_on();
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "cut\n") && power_is_on) {
			power_cut();
		} else if (!strcmp(line, "on\n") && !power_is_on) {
			power_on();
			puts("on");
		}
	}
	if (power_is_on)
		power_cut();
	return 0;
}
