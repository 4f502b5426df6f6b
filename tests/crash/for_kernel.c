// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "tests/crash/expect.h"
#include "tests/crash/for_kernel.h"
#include "tests/crash/state.h"

#define ROOM_STEP_SECTORS 2048

static FILE *open_in(const char *directory, const char *name, const char *mode)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, mode);
	if (!f)
		err(EX_CANTCREAT, "%s", path);
	return f;
}

static void close_file(FILE *f, const char *name)
{
	if (fclose(f) != 0)
		err(EX_IOERR, "%s", name);
}

static void write_image(const char *directory, const char *name, uint64_t first, const struct crash_disk *disk)
{
	FILE *f = open_in(directory, name, "r+");
	uint64_t s;

	for (s = 0; s < disk->nr_sectors; s++) {
		const struct content *content = crash_content(disk->now[s]);

		if (content->kind != CONTENT_ZERO &&
		    pwrite(fileno(f), content->data, CRASH_SECTOR_BYTES, (first + s) * CRASH_SECTOR_BYTES) !=
			    CRASH_SECTOR_BYTES)
			err(EX_IOERR, "%s", name);
	}
	close_file(f, name);
}

static void write_expected(const char *directory, uint64_t number, const uint32_t *contents)
{
	char name[32], what[32], run[32] = "";
	uint64_t s, start = 0;
	FILE *f;

	snprintf(name, sizeof(name), "expect.%llu", (unsigned long long)number);
	f = open_in(directory, name, "w");
	for (s = 0; s <= crash_target.nr_sectors; s++) {
		what[0] = '\0';
		if (s < crash_target.nr_sectors && contents[s] == STATE_LOST)
			strcpy(what, "EIO");
		else if (s < crash_target.nr_sectors)
			snprintf(what, sizeof(what), "%u", crash_content(contents[s])->generation);
		if (!strcmp(what, run))
			continue;
		if (s)
			fprintf(f, "%s %llu %llu\n", run, (unsigned long long)start, (unsigned long long)(s - start));
		strcpy(run, what);
		start = s;
	}
	close_file(f, name);
}

uint64_t for_kernel_add(const char *directory, const char *name)
{
	static uint64_t nr;
	const struct crash_disk *main_disk = &crash_disks[CRASH_MAIN], *spare = &crash_disks[CRASH_SPARE];
	uint64_t room = main_disk->nr_sectors > spare->nr_sectors ? main_disk->nr_sectors : spare->nr_sectors;
	const uint32_t *contents = state_read();
	uint64_t first;
	FILE *f;

	room += ROOM_STEP_SECTORS - 1;
	first = nr * (room - room % ROOM_STEP_SECTORS);
	write_image(directory, "mains.img", first, main_disk);
	write_image(directory, "spares.img", first, spare);
	if (contents)
		write_expected(directory, nr, contents);
	f = open_in(directory, "states", nr ? "a" : "w");
	fprintf(f, "%llu %llu %llu %llu %llu %s %s\n", (unsigned long long)nr, (unsigned long long)first,
		(unsigned long long)crash_target.nr_sectors, (unsigned long long)first, (unsigned long long)spare->nr_sectors,
		contents ? "loads" : "refused", name);
	close_file(f, "states");
	return ++nr;
}
