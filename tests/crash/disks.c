// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "tests/crash/disks.h"
#include "tests/vm/guest/pattern.h"

struct crash_disk crash_disks[CRASH_DISKS];
struct log_record *crash_log;
uint32_t nr_crash_log;

static struct content *contents;
static uint32_t nr_contents, contents_size;

struct undo {
	uint32_t *place;
	uint32_t content;
};

static struct undo *undo;
static uint32_t nr_undo, undo_size;

/* Makes room for one element more. */
static void *grown(void *array, uint32_t nr, uint32_t *size, size_t bytes)
{
	if (nr < *size)
		return array;
	*size = *size ? *size * 2 : 1024;
	array = reallocarray(array, *size, bytes);
	if (!array)
		err(EX_OSERR, "memory");
	return array;
}

static struct content *add_content(const unsigned char *data)
{
	contents = grown(contents, nr_contents, &contents_size, sizeof(*contents));
	contents[nr_contents] = (struct content){ .data = data, .kind = CONTENT_OTHER };
	return &contents[nr_contents++];
}

static void add_recorded_content(const unsigned char *data, uint64_t seed)
{
	static const unsigned char zeros[CRASH_SECTOR_BYTES];
	struct content *c = add_content(data);

	if (!memcmp(data, zeros, CRASH_SECTOR_BYTES))
		c->kind = CONTENT_ZERO;
	else if (pattern_identify(data, seed, &c->sector, &c->generation) == 0)
		c->kind = CONTENT_STAMP;
}

const struct content *crash_content(uint32_t number)
{
	return &contents[number];
}

bool crash_mark_at(uint32_t number, struct crash_mark *mark)
{
	if (number >= nr_crash_log || crash_log[number].head.kind != CRASH_MARK)
		return false;
	memcpy(mark, crash_log[number].data, sizeof(*mark));
	return true;
}

static void add_disk(const struct log_record *record)
{
	struct crash_disk *disk = &crash_disks[record->head.disk];

	disk->nr_sectors = record->head.nr_sectors;
	disk->now = calloc(disk->nr_sectors, sizeof(*disk->now));
	disk->durable = calloc(disk->nr_sectors, sizeof(*disk->durable));
	if (!disk->now || !disk->durable)
		err(EX_OSERR, "memory");
}

void crash_restart(void)
{
	uint32_t i, s;

	for (i = 0; i < CRASH_DISKS; i++) {
		struct crash_disk *disk = &crash_disks[i];

		disk->nr_window = 0;
		for (s = 0; s < disk->nr_sectors; s++)
			disk->now[s] = disk->durable[s] = crash_log[i].content + s;
	}
}

static bool record_is_sound(const struct crash_record *head)
{
	uint32_t data_bytes = head->kind == CRASH_FLUSH || head->kind == CRASH_FAILED_READ ?
			      0 : head->nr_sectors * CRASH_SECTOR_BYTES;

	if (head->kind > CRASH_MARK || head->disk >= CRASH_DISKS || head->data_bytes != data_bytes)
		return false;
	if (nr_crash_log < CRASH_DISKS || head->kind == CRASH_DISK)
		return nr_crash_log < CRASH_DISKS && head->kind == CRASH_DISK && head->disk == nr_crash_log;
	if (head->kind == CRASH_MARK)
		return data_bytes == sizeof(struct crash_mark);
	return head->first_sector + head->nr_sectors <= crash_disks[head->disk].nr_sectors;
}

static void add_record(struct log_record *record, uint64_t seed)
{
	static uint32_t log_size;
	uint32_t i;

	record->content = nr_contents;
	if (record->head.kind != CRASH_MARK)
		for (i = 0; i < record->head.data_bytes / CRASH_SECTOR_BYTES; i++)
			add_recorded_content(record->data + i * CRASH_SECTOR_BYTES, seed);
	crash_log = grown(crash_log, nr_crash_log, &log_size, sizeof(*crash_log));
	crash_log[nr_crash_log++] = *record;
	if (record->head.kind == CRASH_DISK)
		add_disk(record);
}

void crash_log_read(const char *path, uint64_t seed)
{
	const unsigned char *p, *end;
	struct crash_mark mark = { 0 };
	uint64_t magic = 0;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0)
		err(EX_NOINPUT, "%s", path);
	p = mmap(NULL, st.st_size ? st.st_size : 1, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		err(EX_NOINPUT, "%s", path);
	end = p + st.st_size;
	if (st.st_size >= (off_t)sizeof(magic))
		memcpy(&magic, p, sizeof(magic));
	if (magic != CRASH_LOG_MAGIC)
		errx(EX_DATAERR, "%s: not a log of the recorder", path);
	p += sizeof(magic);
	while (mark.kind != CRASH_MARK_COMPLETE && (size_t)(end - p) >= sizeof(struct crash_record)) {
		struct log_record record = { .data = p + sizeof(record.head) };

		memcpy(&record.head, p, sizeof(record.head));
		if (!record_is_sound(&record.head))
			errx(EX_DATAERR, "%s: record %u makes no sense", path, nr_crash_log);
		if ((size_t)(end - record.data) < record.head.data_bytes)
			break;
		p = record.data + record.head.data_bytes;
		add_record(&record, seed);
		crash_mark_at(nr_crash_log - 1, &mark);
	}
	if (mark.kind != CRASH_MARK_COMPLETE)
		errx(EX_DATAERR, "%s: the recorded load did not get to its end", path);
}

static void empty_window(struct crash_disk *disk)
{
	unsigned int i;

	for (i = 0; i < disk->nr_window; i++) {
		const struct crash_record *head = &crash_log[disk->window[i]].head;

		memcpy(disk->durable + head->first_sector, disk->now + head->first_sector,
		       head->nr_sectors * sizeof(*disk->now));
	}
	disk->nr_window = 0;
}

void crash_apply(uint32_t number)
{
	const struct log_record *record = &crash_log[number];
	struct crash_disk *disk = &crash_disks[record->head.disk];
	uint32_t i;

	switch (record->head.kind) {
	case CRASH_WRITE:
		disk->window = grown(disk->window, disk->nr_window, &disk->window_size, sizeof(*disk->window));
		disk->window[disk->nr_window++] = number;
		for (i = 0; i < record->head.nr_sectors; i++)
			disk->now[record->head.first_sector + i] = record->content + i;
		break;
	case CRASH_FLUSH:
		empty_window(disk);
		break;
	case CRASH_REVERT:
		disk->now[record->head.first_sector] = record->content;
		break;
	}
}

void crash_settle(void)
{
	unsigned int i;

	for (i = 0; i < CRASH_DISKS; i++)
		empty_window(&crash_disks[i]);
}

bool crash_in_window(enum crash_disk_number disk, uint64_t first, uint32_t nr_sectors)
{
	unsigned int i;

	for (i = 0; i < crash_disks[disk].nr_window; i++) {
		const struct crash_record *head = &crash_log[crash_disks[disk].window[i]].head;

		if (head->first_sector < first + nr_sectors && first < head->first_sector + head->nr_sectors)
			return true;
	}
	return false;
}

/* States */

static bool keeps(const struct crash_drop *drop, uint32_t sector_of_write)
{
	uint64_t dice;

	switch (drop->how) {
	case DROP_TAIL:
	case DROP_HALF:
		return sector_of_write < drop->argument;
	case DROP_HEAD:
		return sector_of_write >= drop->argument;
	case DROP_SOME:
		dice = drop->argument + sector_of_write;
		return pattern_random(&dice) & 1;
	default:
		return false;
	}
}

static bool is_kept(const struct crash_drop *drops, unsigned int nr, const struct crash_disk *disk, unsigned int index,
		    uint32_t sector_of_write)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (&crash_disks[drops[i].disk] == disk && drops[i].index == index)
			return keeps(&drops[i], sector_of_write);
	return true;
}

static void put(uint32_t *place, uint32_t content)
{
	if (*place == content)
		return;
	undo = grown(undo, nr_undo, &undo_size, sizeof(*undo));
	undo[nr_undo++] = (struct undo){ place, *place };
	*place = content;
}

/* A sector with the first half of @new and the rest of @old. */
static uint32_t half_written(uint32_t new, uint32_t old)
{
	unsigned char *data = malloc(CRASH_SECTOR_BYTES);

	if (!data)
		err(EX_OSERR, "memory");
	memcpy(data, contents[old].data, CRASH_SECTOR_BYTES);
	memcpy(data, contents[new].data, CRASH_SECTOR_BYTES / 2);
	add_content(data);
	return nr_contents - 1;
}

void crash_drop(const struct crash_drop *drops, unsigned int nr)
{
	unsigned int i, w;
	uint64_t s;

	for (i = 0; i < nr; i++) {
		struct crash_disk *disk = &crash_disks[drops[i].disk];
		const struct crash_record *dropped = &crash_log[disk->window[drops[i].index]].head;

		for (s = dropped->first_sector; s < dropped->first_sector + dropped->nr_sectors; s++) {
			uint32_t content = disk->durable[s];

			for (w = 0; w < disk->nr_window; w++) {
				const struct log_record *record = &crash_log[disk->window[w]];
				uint64_t at = s - record->head.first_sector;

				if (s >= record->head.first_sector && at < record->head.nr_sectors &&
				    is_kept(drops, nr, disk, w, at))
					content = record->content + at;
			}
			if (drops[i].how == DROP_HALF && s == dropped->first_sector + drops[i].argument)
				content = half_written(disk->now[s], content);
			put(&disk->now[s], content);
		}
	}
}

void crash_undo(void)
{
	while (nr_undo) {
		nr_undo--;
		*undo[nr_undo].place = undo[nr_undo].content;
	}
}
