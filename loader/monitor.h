/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * remapd's hold on the BPF side: loads the programs, pins them and the maps, says what is watched, and reads what was
 * counted. All functions are for the main loop's thread, except monitor_own_begin() and monitor_own_end().
 *
 * What returns int returns 0 or a negative errno.
 */
#ifndef REMAP_LOADER_MONITOR_H
#define REMAP_LOADER_MONITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/monitor.h"

struct monitor_set; /* the maps and programs, as loaded by this process */

/* A range to watch. Two ranges with the same disk_dev, diskseq and first sector are the same one. */
struct monitor_range {
	char name[32];
	uint32_t disk_dev; /* the kernel's own number: major << 20 | minor */
	uint32_t part_dev; /* the partition's, if the range lies in one; else 0 */
	uint64_t part_first_sector;
	uint64_t disk_first_sector;
	uint64_t nr_sectors;
	uint64_t diskseq; /* 0 where the kernel has none */
	bool bio_based;
};

/*
 * Loads the programs, or takes over what is pinned below pin_dir and puts the new programs in place. On failure
 * *error_text is one line that says what is missing and how to mend it.
 *   -EBUSY  another remapd has this pin_dir
 *   -EPERM  CAP_BPF, CAP_PERFMON or CAP_SYS_ADMIN is missing
 *   -EOPNOTSUPP  the kernel has no BTF or no BPF
 */
int monitor_load(const char *pin_dir, struct monitor_set **set, char *error_text, size_t error_bytes);

/* Lets go; what is pinned counts on. */
void monitor_close(struct monitor_set *set);

/* Removes the pins: counting stops when the last process lets go. */
int monitor_unpin(const char *pin_dir);

/*
 * Watches a range and gives its index, which is the same as before for a range that was watched already (*counts_on).
 *   -ENOSPC  MONITOR_DEVICES_MAX ranges, or MONITOR_RANGES_PER_DISK of this disk, are watched
 */
int monitor_watch(struct monitor_set *set, const struct monitor_range *range, uint32_t *index, bool *counts_on);
void monitor_unwatch(struct monitor_set *set, uint32_t index);
int monitor_resize(struct monitor_set *set, uint32_t index, uint64_t nr_sectors);

/* After all devices of the first look are watched: forgets the pinned ones that none claimed. */
void monitor_forget_unclaimed(struct monitor_set *set);

/* The grid of a watched range: MONITOR_CELLS cells, changing under the reader's eyes. */
const struct monitor_cell *monitor_cells(const struct monitor_set *set, uint32_t index);
unsigned int monitor_cell_shift(const struct monitor_set *set, uint32_t index);

/* Sum over all CPUs. */
int monitor_read_hist(const struct monitor_set *set, uint32_t index, enum monitor_direction direction,
		      enum monitor_size_class size_class, struct monitor_hist *hist);

/* From this latency on an I/O is passed on as slow; 0: none is. */
void monitor_set_slow(struct monitor_set *set, uint32_t index, const uint32_t slow_us[MONITOR_DIRECTIONS]
											 [MONITOR_SIZE_CLASSES]);

/* Readable when a ring has events. */
int monitor_event_fd(const struct monitor_set *set);

/* Calls seen for each event in the rings, errors first. */
void monitor_drain(struct monitor_set *set, void (*seen)(const struct monitor_event *event, void *data), void *data);

/*
 * Calls seen for each sector of a range's error histogram, in no order. remove: and forgets them, so that the bounded
 * map has room again.
 */
int monitor_sector_errors(struct monitor_set *set, uint32_t index,
			  void (*seen)(uint64_t sector, const struct monitor_sector_errors *errors, void *data),
			  void *data);

/* Events and samples that were lost or left out, by enum monitor_counter, since the maps exist. */
int monitor_read_counters(const struct monitor_set *set, uint64_t counters[MONITOR_COUNTERS]);

/* Runs of our programs that the kernel skipped because one of them was running on that CPU. */
uint64_t monitor_missed(const struct monitor_set *set);

/* Entries of the per-sector hash in use at the last monitor_sector_errors() of all ranges. */
uint64_t monitor_sector_entries(const struct monitor_set *set);

/*
 * The module's own I/O is left out while its tracepoint is attached, which needs the module, and holds it: so attach when
 * a remap device is there and detach when the last one goes. Returns 0 also where the module has none (-ENOENT: absent).
 */
int monitor_attach_module(struct monitor_set *set);
void monitor_detach_module(struct monitor_set *set);

/*
 * Marks a read of remapd's own, before it is sent and after it is back; the thread's I/O priority is MONITOR_OWN_IOPRIO,
 * which tells it from users' I/O to the same sectors. Any thread. A range that can't be marked (-E2BIG,
 * longer than 4 MiB) must not be read.
 */
int monitor_own_begin(struct monitor_set *set, uint32_t disk_dev, uint64_t disk_sector, uint32_t nr_sectors);
void monitor_own_end(struct monitor_set *set, uint32_t disk_dev, uint64_t disk_sector, uint32_t nr_sectors);

/* Upper edge of a latency bucket in microseconds; UINT64_MAX of the last. */
uint64_t monitor_bucket_end_us(unsigned int bucket);

#endif
