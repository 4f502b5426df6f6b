/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the BPF programs and remapd share: the maps' keys and values, and the two rings' events.
 *
 * The maps outlive remapd (they are pinned below MONITOR_PIN_DIR), so whatever changes a structure or a meaning here
 * must change MONITOR_VERSION too, and with it the path.
 *
 * Sectors are 512 bytes. Those in here are relative to the watched range (a remap device's main from main_offset on, or
 * a whole device), except where "disk" says otherwise. Device numbers are the kernel's own: major << 20 | minor.
 */
#ifndef REMAP_MONITOR_H
#define REMAP_MONITOR_H

#ifndef __bpf__
#include <stdint.h>
typedef uint8_t __mon_u8;
typedef uint16_t __mon_u16;
typedef uint32_t __mon_u32;
typedef uint64_t __mon_u64;
#else
typedef unsigned char __mon_u8;
typedef unsigned short __mon_u16;
typedef unsigned int __mon_u32;
typedef unsigned long long __mon_u64;
#endif

#define MONITOR_VERSION 1
#define MONITOR_PIN_DIR "/sys/fs/bpf/dm-remap/v1"

#define MONITOR_DEVICES_MAX 64
#define MONITOR_RANGES_PER_DISK 8

/* The grid: cells of 1 MiB on devices up to 64 GiB; on larger ones a power of two times as much. */
#define MONITOR_CELLS 65536
#define MONITOR_CELL_SHIFT_MIN 11 /* 2048 sectors */

#define MONITOR_SECTOR_ERRORS_MAX 65536
#define MONITOR_INFLIGHT_MAX 16384
#define MONITOR_OWN_MAX 16384
#define MONITOR_ERROR_RING_BYTES (256 * 1024)
#define MONITOR_SLOW_RING_BYTES (512 * 1024)

/* Errors of I/O up to this size are kept for each of its sectors, of larger I/O at its first sector only. */
#define MONITOR_EXACT_SECTORS 8

/* An age above this is a mistake (a completion that was missed, memory used again), never evidence. */
#define MONITOR_AGE_MAX_NS (600ULL * 1000 * 1000 * 1000)

/* A mark of the target's or remapd's own I/O that is not used up by then is void. */
#define MONITOR_OWN_MAX_NS (120ULL * 1000 * 1000 * 1000)
#define MONITOR_OWN_BLOCK_SHIFT 3 /* marks are kept by 8 sectors */
#define MONITOR_OWN_IOPRIO (2 << 13 | 7) /* best effort, lowest: that of remapd's reads, which users' I/O may overlap */
#define MONITOR_OWN_BLOCKS_MAX 1024 /* longest own I/O that is marked: 4 MiB */

enum monitor_direction {
	MONITOR_READ = 0,
	MONITOR_WRITE = 1,
	MONITOR_DIRECTIONS = 2,
};

/* Size classes have thresholds and histograms of their own: up to 4 KiB, 32 KiB, 256 KiB, and larger. */
enum monitor_size_class {
	MONITOR_SIZE_4K = 0,
	MONITOR_SIZE_32K = 1,
	MONITOR_SIZE_256K = 2,
	MONITOR_SIZE_LARGE = 3,
	MONITOR_SIZE_CLASSES = 4,
};

enum monitor_error_class {
	MONITOR_ERROR_MEDIUM = 0,
	MONITOR_ERROR_TRANSPORT = 1,
	MONITOR_ERROR_TIMEOUT = 2,
	MONITOR_ERROR_OTHER = 3, /* plain "I/O error": may be the medium or not */
	MONITOR_ERROR_CLASSES = 4,
	MONITOR_ERROR_NONE = 255, /* says nothing about the device: refused, busy, would block */
};

/*
 * Latency buckets, in microseconds: 0 1 2 3, then four to each power of two, the last takes all from 2^26 up.
 */
#define MONITOR_BUCKETS 104

struct monitor_hist {
	__mon_u64 count;
	__mon_u64 sum_us;
	__mon_u64 errors[MONITOR_ERROR_CLASSES];
	__mon_u64 buckets[MONITOR_BUCKETS];
};
_Static_assert(sizeof(struct monitor_hist) == 8 * (2 + 4 + 104), "monitor_hist");

/* Index into the per-CPU histograms. */
#define MONITOR_HIST_INDEX(device, direction, size_class) \
	(((device) * MONITOR_DIRECTIONS + (direction)) * MONITOR_SIZE_CLASSES + (size_class))
#define MONITOR_HISTS (MONITOR_DEVICES_MAX * MONITOR_DIRECTIONS * MONITOR_SIZE_CLASSES)

struct monitor_cell {
	__mon_u32 ios[MONITOR_DIRECTIONS];
	__mon_u32 slow[MONITOR_DIRECTIONS];
	__mon_u32 errors[MONITOR_DIRECTIONS];
	__mon_u32 worst_us[MONITOR_DIRECTIONS];
};
_Static_assert(sizeof(struct monitor_cell) == 32, "monitor_cell");

/* A watched range. Written by remapd, read by the programs; diskseq and the rest of the identity only matter to remapd. */
struct monitor_device {
	__mon_u64 disk_first_sector;
	__mon_u64 nr_sectors; /* 0: the entry is free */
	__mon_u64 diskseq;
	__mon_u32 disk_dev;
	__mon_u32 cell_shift; /* a cell is 1 << cell_shift sectors */
	__mon_u32 slow_us[MONITOR_DIRECTIONS][MONITOR_SIZE_CLASSES]; /* 0: nothing is slow */
	char name[32]; /* how remapd calls it */
};
_Static_assert(sizeof(struct monitor_device) == 96, "monitor_device");

/* By disk_dev: the ranges of one disk. */
struct monitor_watch {
	__mon_u32 bio_based;
	__mon_u32 nr_ranges;
	__mon_u32 device[MONITOR_RANGES_PER_DISK];
};
_Static_assert(sizeof(struct monitor_watch) == 40, "monitor_watch");

/* By a partition's own device number: what disk it is on, for marks of own I/O. */
struct monitor_partition {
	__mon_u64 disk_first_sector;
	__mon_u32 disk_dev;
	__mon_u32 pad;
};
_Static_assert(sizeof(struct monitor_partition) == 16, "monitor_partition");

struct monitor_sector_key {
	__mon_u64 sector;
	__mon_u32 device;
	__mon_u32 pad;
};
_Static_assert(sizeof(struct monitor_sector_key) == 16, "monitor_sector_key");

struct monitor_sector_errors {
	__mon_u64 first_ns;
	__mon_u64 last_ns;
	__mon_u32 count[MONITOR_DIRECTIONS][MONITOR_ERROR_CLASSES];
	__mon_u32 nr_sectors; /* of the shortest failed I/O that is kept here */
	__mon_u32 pad;
};
_Static_assert(sizeof(struct monitor_sector_errors) == 56, "monitor_sector_errors");

/* By the address of a bio, or of a request whose device does not record start times. */
struct monitor_inflight {
	__mon_u64 start_ns;
	__mon_u64 disk_sector;
	__mon_u32 disk_dev;
	__mon_u32 nr_sectors;
	__mon_u32 op;
	__mon_u32 own;
};
_Static_assert(sizeof(struct monitor_inflight) == 32, "monitor_inflight");

struct monitor_own_key {
	__mon_u64 disk_block; /* disk sector >> MONITOR_OWN_BLOCK_SHIFT */
	__mon_u32 disk_dev;
	__mon_u32 pad;
};
_Static_assert(sizeof(struct monitor_own_key) == 16, "monitor_own_key");

struct monitor_own {
	__mon_u64 marked_ns;
	__mon_u32 pending_sectors;
	__mon_u32 ioprio; /* only I/O of this priority; 0: any */
};
_Static_assert(sizeof(struct monitor_own) == 16, "monitor_own");

/* One for all, mapped by remapd. */
struct monitor_config {
	__mon_u64 last_own_ns; /* nothing is looked up in the marks when this is long ago */
};
_Static_assert(sizeof(struct monitor_config) == 8, "monitor_config");

enum monitor_counter {
	MONITOR_DROPPED_ERROR_EVENTS = 0, /* the error ring was full */
	MONITOR_DROPPED_SLOW_EVENTS = 1,
	MONITOR_DROPPED_SECTOR_ERRORS = 2, /* the per-sector hash was full */
	MONITOR_DROPPED_INFLIGHT = 3, /* no room to remember the start */
	MONITOR_IMPOSSIBLE = 4, /* ages or completions that can't be */
	MONITOR_NO_START = 5, /* completed without any start time */
	MONITOR_OWN_SEEN = 6, /* own I/O left out */
	MONITOR_NOT_EVIDENCE = 7, /* errors that say nothing about the device */
	MONITOR_COUNTERS = 8,
};

/* What both rings carry. */
struct monitor_event {
	__mon_u64 end_ns; /* CLOCK_MONOTONIC */
	__mon_u64 sector;
	__mon_u32 nr_sectors;
	__mon_u32 latency_us; /* 0 in an error event whose I/O goes on */
	__mon_u16 device;
	__mon_u8 direction;
	__mon_u8 status; /* the kernel's blk_status_t */
	__mon_u8 error_class;
	__mon_u8 size_class;
	__mon_u16 pad;
	__mon_u64 diskseq; /* tells a late event of the entry's former device */
};
_Static_assert(sizeof(struct monitor_event) == 40, "monitor_event");

#endif
