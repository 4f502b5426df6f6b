// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The watched ranges: entering and leaving them, and reading what was counted for each. */
#include "loader/monitor_set.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "loader/log.h"

#define GRID_BYTES (MONITOR_CELLS * sizeof(struct monitor_cell))

static int read_device(const struct monitor_set *set, uint32_t index, struct monitor_device *device)
{
	return bpf_map__lookup_elem(set->bpf->maps.monitor_devices, &index, sizeof(index), device, sizeof(*device), 0);
}

static int write_device(struct monitor_set *set, uint32_t index, const struct monitor_device *device)
{
	return bpf_map__update_elem(set->bpf->maps.monitor_devices, &index, sizeof(index), device, sizeof(*device), 0);
}

static uint32_t cell_shift_for(uint64_t nr_sectors)
{
	uint32_t shift = MONITOR_CELL_SHIFT_MIN;

	while ((nr_sectors + (1ULL << shift) - 1) >> shift > MONITOR_CELLS)
		shift++;
	return shift;
}

static int map_grid(struct monitor_set *set, uint32_t index, bool fresh)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
	struct bpf_map *grids = set->bpf->maps.monitor_grids;
	uint32_t id;
	void *memory;
	int fd, err = 0;

	if (!fresh && !bpf_map__lookup_elem(grids, &index, sizeof(index), &id, sizeof(id), 0)) {
		fd = bpf_map_get_fd_by_id(id);
	} else {
		fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "monitor_grid", sizeof(uint32_t), sizeof(struct monitor_cell),
				    MONITOR_CELLS, &options);
		if (fd >= 0)
			err = bpf_map__update_elem(grids, &index, sizeof(index), &fd, sizeof(fd), BPF_ANY);
	}
	if (fd < 0)
		return fd;
	if (!err) {
		memory = mmap(NULL, GRID_BYTES, PROT_READ, MAP_SHARED, fd, 0);
		if (memory == MAP_FAILED)
			err = -errno;
		else
			set->claims[index].cells = memory;
	}
	close(fd);
	return err;
}

struct sector_walk {
	void (*seen)(uint64_t sector, const struct monitor_sector_errors *errors, void *data);
	void *data;
};

/* Removal while walking would restart a hash walk; so the keys are collected first where remove is asked. */
static int walk_sectors(struct monitor_set *set, uint32_t index, const struct sector_walk *walk, bool remove)
{
	struct bpf_map *map = set->bpf->maps.monitor_sectors;
	struct monitor_sector_key key, *previous = NULL;
	struct monitor_sector_key *doomed = NULL;
	size_t doomed_count = 0, doomed_room = 0, steps = 0, i;
	struct monitor_sector_errors errors;
	uint64_t entries = 0;
	int err = 0;

	while (steps++ < 2 * MONITOR_SECTOR_ERRORS_MAX &&
	       !bpf_map__get_next_key(map, previous, &key, sizeof(key))) {
		previous = &key;
		entries++;
		if (key.device != index)
			continue;
		if (walk && !bpf_map__lookup_elem(map, &key, sizeof(key), &errors, sizeof(errors), 0))
			walk->seen(key.sector, &errors, walk->data);
		if (!remove)
			continue;
		if (doomed_count == doomed_room) {
			void *more = realloc(doomed, (doomed_room + 1024) * sizeof(*doomed));

			if (!more) {
				err = -ENOMEM;
				break;
			}
			doomed = more;
			doomed_room += 1024;
		}
		doomed[doomed_count++] = key;
	}
	set->sector_entries = entries;
	for (i = 0; i < doomed_count; i++)
		bpf_map__delete_elem(map, &doomed[i], sizeof(doomed[i]), 0);
	free(doomed);
	return err;
}

int monitor_sector_errors(struct monitor_set *set, uint32_t index,
			  void (*seen)(uint64_t sector, const struct monitor_sector_errors *errors, void *data),
			  void *data)
{
	struct sector_walk walk = { .seen = seen, .data = data };

	return walk_sectors(set, index, &walk, false);
}

static void clear_counts(struct monitor_set *set, uint32_t index)
{
	uint32_t direction, size_class, key;

	memset(set->cpu_hists, 0, set->cpus * sizeof(*set->cpu_hists));
	for (direction = 0; direction < MONITOR_DIRECTIONS; direction++)
		for (size_class = 0; size_class < MONITOR_SIZE_CLASSES; size_class++) {
			key = MONITOR_HIST_INDEX(index, direction, size_class);
			bpf_map__update_elem(set->bpf->maps.monitor_hists, &key, sizeof(key), set->cpu_hists,
					     set->cpus * sizeof(*set->cpu_hists), BPF_ANY);
		}
	walk_sectors(set, index, NULL, true);
}

/* Adds a range to its disk's list, or takes it out; the list goes when it is empty. */
static int list_range(struct monitor_set *set, uint32_t disk_dev, uint32_t index, bool bio_based, bool listed)
{
	struct bpf_map *map = set->bpf->maps.monitor_watched;
	struct monitor_watch watch = {};
	uint32_t i, kept = 0;

	bpf_map__lookup_elem(map, &disk_dev, sizeof(disk_dev), &watch, sizeof(watch), 0);
	for (i = 0; i < watch.nr_ranges && i < MONITOR_RANGES_PER_DISK; i++)
		if (watch.device[i] != index)
			watch.device[kept++] = watch.device[i];
	if (listed) {
		if (kept == MONITOR_RANGES_PER_DISK)
			return -ENOSPC;
		watch.device[kept++] = index;
		watch.bio_based = bio_based;
	}
	watch.nr_ranges = kept;
	if (!kept) {
		bpf_map__delete_elem(map, &disk_dev, sizeof(disk_dev), 0);
		return 0;
	}
	return bpf_map__update_elem(map, &disk_dev, sizeof(disk_dev), &watch, sizeof(watch), BPF_ANY);
}

static void list_partition(struct monitor_set *set, uint32_t part_dev, const struct monitor_range *range)
{
	struct bpf_map *map = set->bpf->maps.monitor_parts;
	struct monitor_partition part;

	if (!part_dev)
		return;
	if (!range) {
		bpf_map__delete_elem(map, &part_dev, sizeof(part_dev), 0);
		return;
	}
	part = (struct monitor_partition){
		.disk_first_sector = range->part_first_sector,
		.disk_dev = range->disk_dev,
	};
	if (bpf_map__update_elem(map, &part_dev, sizeof(part_dev), &part, sizeof(part), BPF_ANY))
		log_line(LOG_WARNING, "%s: no room to tell the target's own I/O on its partition", range->name);
}

static int attach_for_watched(struct monitor_set *set)
{
	uint32_t disk_dev, *previous = NULL;
	bool request_based = false, bio_based = false;
	struct bpf_map *map = set->bpf->maps.monitor_watched;
	uint64_t counters[MONITOR_COUNTERS] = {};
	struct monitor_watch watch;

	while (!bpf_map__get_next_key(map, previous, &disk_dev, sizeof(disk_dev))) {
		previous = &disk_dev;
		if (bpf_map__lookup_elem(map, &disk_dev, sizeof(disk_dev), &watch, sizeof(watch), 0))
			continue;
		if (watch.bio_based)
			bio_based = true;
		else
			request_based = true;
	}
	monitor_read_counters(set, counters);
	return monitor_attach_hooks(set, request_based, bio_based, counters[MONITOR_NO_START] > 0);
}

static bool same_range(const struct monitor_device *device, const struct monitor_range *range)
{
	return device->nr_sectors && device->disk_dev == range->disk_dev && device->diskseq == range->diskseq &&
	       device->disk_first_sector == range->disk_first_sector;
}

int monitor_watch(struct monitor_set *set, const struct monitor_range *range, uint32_t *index, bool *counts_on)
{
	struct monitor_device device = {};
	uint32_t i, free_index = MONITOR_DEVICES_MAX;
	bool found = false;
	int err;

	for (i = 0; i < MONITOR_DEVICES_MAX; i++) {
		if (set->claims[i].claimed)
			continue;
		err = read_device(set, i, &device);
		if (err)
			return err;
		if (same_range(&device, range)) {
			found = true;
			break;
		}
		if (!device.nr_sectors && free_index == MONITOR_DEVICES_MAX)
			free_index = i;
	}
	if (!found) {
		i = free_index;
		if (i == MONITOR_DEVICES_MAX)
			return -ENOSPC;
		memset(&device, 0, sizeof(device));
		clear_counts(set, i);
	}
	/* A range that grew over what the cells can hold starts a new grid. */
	if (found && device.cell_shift != cell_shift_for(range->nr_sectors))
		found = false;
	device.disk_first_sector = range->disk_first_sector;
	device.nr_sectors = range->nr_sectors;
	device.diskseq = range->diskseq;
	device.disk_dev = range->disk_dev;
	device.cell_shift = cell_shift_for(range->nr_sectors);
	snprintf(device.name, sizeof(device.name), "%s", range->name);
	err = map_grid(set, i, !found);
	if (!err)
		err = write_device(set, i, &device);
	if (!err)
		err = list_range(set, range->disk_dev, i, range->bio_based, true);
	set->claims[i].claimed = true;
	set->claims[i].part_dev = range->part_dev;
	list_partition(set, range->part_dev, range);
	if (!err)
		err = attach_for_watched(set);
	if (err) {
		monitor_unwatch(set, i);
		return err;
	}
	*index = i;
	*counts_on = found;
	return 0;
}

void monitor_unwatch(struct monitor_set *set, uint32_t index)
{
	struct monitor_device device = {}, none = {};
	struct monitor_claim *claim = &set->claims[index];
	uint32_t i;

	if (!read_device(set, index, &device))
		list_range(set, device.disk_dev, index, false, false);
	write_device(set, index, &none);
	bpf_map__delete_elem(set->bpf->maps.monitor_grids, &index, sizeof(index), 0);
	if (claim->cells)
		munmap((void *)claim->cells, GRID_BYTES);
	for (i = 0; i < MONITOR_DEVICES_MAX; i++)
		if (i != index && set->claims[i].claimed && set->claims[i].part_dev == claim->part_dev)
			break;
	if (i == MONITOR_DEVICES_MAX)
		list_partition(set, claim->part_dev, NULL);
	*claim = (struct monitor_claim){};
	attach_for_watched(set);
}

int monitor_resize(struct monitor_set *set, uint32_t index, uint64_t nr_sectors)
{
	struct monitor_device device;
	int err = read_device(set, index, &device);

	if (err)
		return err;
	if (cell_shift_for(nr_sectors) != device.cell_shift)
		return -ERANGE;
	device.nr_sectors = nr_sectors;
	return write_device(set, index, &device);
}

void monitor_forget_unclaimed(struct monitor_set *set)
{
	struct monitor_device device;
	uint32_t i;

	for (i = 0; i < MONITOR_DEVICES_MAX; i++)
		if (!set->claims[i].claimed && !read_device(set, i, &device) && device.nr_sectors)
			monitor_unwatch(set, i);
}

const struct monitor_cell *monitor_cells(const struct monitor_set *set, uint32_t index)
{
	return set->claims[index].cells;
}

unsigned int monitor_cell_shift(const struct monitor_set *set, uint32_t index)
{
	struct monitor_device device = {};

	read_device(set, index, &device);
	return device.cell_shift;
}

int monitor_read_hist(const struct monitor_set *set, uint32_t index, enum monitor_direction direction,
		      enum monitor_size_class size_class, struct monitor_hist *hist)
{
	uint32_t key = MONITOR_HIST_INDEX(index, direction, size_class);
	int err, cpu, i;

	memset(hist, 0, sizeof(*hist));
	err = bpf_map__lookup_elem(set->bpf->maps.monitor_hists, &key, sizeof(key), set->cpu_hists,
				   set->cpus * sizeof(*set->cpu_hists), 0);
	for (cpu = 0; !err && cpu < set->cpus; cpu++) {
		const struct monitor_hist *one = &set->cpu_hists[cpu];

		hist->count += one->count;
		hist->sum_us += one->sum_us;
		for (i = 0; i < MONITOR_ERROR_CLASSES; i++)
			hist->errors[i] += one->errors[i];
		for (i = 0; i < MONITOR_BUCKETS; i++)
			hist->buckets[i] += one->buckets[i];
	}
	return err;
}

void monitor_set_slow(struct monitor_set *set, uint32_t index, const uint32_t slow_us[MONITOR_DIRECTIONS]
											 [MONITOR_SIZE_CLASSES])
{
	struct monitor_device device;

	if (read_device(set, index, &device) || !memcmp(device.slow_us, slow_us, sizeof(device.slow_us)))
		return;
	memcpy(device.slow_us, slow_us, sizeof(device.slow_us));
	write_device(set, index, &device);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void mark_own(struct monitor_set *set, uint32_t disk_dev, uint64_t disk_sector, uint32_t nr_sectors, bool begin)
{
	struct monitor_own_key key = { .disk_dev = disk_dev };
	uint64_t block = disk_sector >> MONITOR_OWN_BLOCK_SHIFT, end_sector = disk_sector + nr_sectors;
	int fd = bpf_map__fd(set->bpf->maps.monitor_own);
	struct monitor_own own = { .marked_ns = now_ns(), .ioprio = MONITOR_OWN_IOPRIO };

	for (; block << MONITOR_OWN_BLOCK_SHIFT < end_sector; block++) {
		uint64_t first = block << MONITOR_OWN_BLOCK_SHIFT, last = first + (1 << MONITOR_OWN_BLOCK_SHIFT);

		key.disk_block = block;
		if (!begin) {
			bpf_map_delete_elem(fd, &key);
			continue;
		}
		own.pending_sectors = (last < end_sector ? last : end_sector) - (first > disk_sector ? first : disk_sector);
		bpf_map_update_elem(fd, &key, &own, BPF_ANY);
	}
}

int monitor_own_begin(struct monitor_set *set, uint32_t disk_dev, uint64_t disk_sector, uint32_t nr_sectors)
{
	if (nr_sectors > (MONITOR_OWN_BLOCKS_MAX - 1) << MONITOR_OWN_BLOCK_SHIFT)
		return -E2BIG;
	__atomic_store_n(&set->config->last_own_ns, now_ns(), __ATOMIC_RELAXED);
	mark_own(set, disk_dev, disk_sector, nr_sectors, true);
	return 0;
}

void monitor_own_end(struct monitor_set *set, uint32_t disk_dev, uint64_t disk_sector, uint32_t nr_sectors)
{
	mark_own(set, disk_dev, disk_sector, nr_sectors, false);
}
