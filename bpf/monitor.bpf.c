// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Counts and times the I/O of the watched devices, and passes on what is unusual. docs/monitor.md describes it.
 *
 * Each hook is a pair: a stub that stays attached for as long as its link is pinned, and the program that the stub
 * jumps to through a one-slot table. remapd puts its own program into the slot when it starts, so an upgrade neither
 * loses nor doubles an I/O (tp_btf links can't change their program). One table a hook, because newer kernels insist
 * that all programs of a table have the same tracepoint's arguments.
 */
#include "bpf/kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "bpf/monitor.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MONITOR_DEVICES_MAX);
	__type(key, __u32);
	__type(value, struct monitor_watch);
} monitor_watched SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MONITOR_DEVICES_MAX);
	__type(key, __u32);
	__type(value, struct monitor_partition);
} monitor_parts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MONITOR_DEVICES_MAX);
	__type(key, __u32);
	__type(value, struct monitor_device);
} monitor_devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MONITOR_HISTS);
	__type(key, __u32);
	__type(value, struct monitor_hist);
} monitor_hists SEC(".maps");

struct monitor_grid {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MONITOR_CELLS);
	__uint(map_flags, BPF_F_MMAPABLE);
	/* Not __type: of what only an inner map names, clang 14 writes no more than a forward declaration. */
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct monitor_cell));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MONITOR_DEVICES_MAX);
	__type(key, __u32);
	__array(values, struct monitor_grid);
} monitor_grids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MONITOR_SECTOR_ERRORS_MAX);
	__type(key, struct monitor_sector_key);
	__type(value, struct monitor_sector_errors);
} monitor_sectors SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MONITOR_INFLIGHT_MAX);
	__type(key, __u64);
	__type(value, struct monitor_inflight);
} monitor_flight SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MONITOR_OWN_MAX);
	__type(key, struct monitor_own_key);
	__type(value, struct monitor_own);
} monitor_own SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct monitor_config);
} monitor_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MONITOR_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} monitor_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, MONITOR_ERROR_RING_BYTES);
} monitor_error_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, MONITOR_SLOW_RING_BYTES);
} monitor_slow_ring SEC(".maps");

#define PROGRAM_SLOT(name)                             \
	struct {                                       \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY); \
		__uint(max_entries, 1);                \
		__uint(key_size, sizeof(__u32));       \
		__uint(value_size, sizeof(__u32));     \
	} name SEC(".maps")

PROGRAM_SLOT(monitor_slot_rqc);
PROGRAM_SLOT(monitor_slot_rqi);
PROGRAM_SLOT(monitor_slot_bioq);
PROGRAM_SLOT(monitor_slot_bioc);

/*
 * Atomic although it is this CPU's own: a kernel that lets a program interrupt itself from a higher context (6.18 does)
 * would lose what the interrupted one was about to add.
 */
static __always_inline void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&monitor_counters, &counter);

	if (value)
		__sync_fetch_and_add(value, 1);
}

static __always_inline __u32 disk_dev_of(struct gendisk *disk)
{
	return (__u32)disk->major << 20 | (__u32)disk->first_minor;
}

static __always_inline __u32 log2_of(__u32 value)
{
	__u32 result, shift;

	result = (value > 0xffff) << 4;
	value >>= result;
	shift = (value > 0xff) << 3;
	value >>= shift;
	result |= shift;
	shift = (value > 0xf) << 2;
	value >>= shift;
	result |= shift;
	shift = (value > 0x3) << 1;
	value >>= shift;
	result |= shift;
	return result | value >> 1;
}

static __always_inline __u32 bucket_of(__u32 latency_us)
{
	__u32 power, bucket;

	if (latency_us < 4)
		return latency_us;
	power = log2_of(latency_us);
	bucket = (power - 1) * 4 + (latency_us >> (power - 2) & 3);
	return bucket < MONITOR_BUCKETS ? bucket : MONITOR_BUCKETS - 1;
}

static __always_inline __u32 size_class_of(__u32 nr_sectors)
{
	if (nr_sectors <= 8)
		return MONITOR_SIZE_4K;
	if (nr_sectors <= 64)
		return MONITOR_SIZE_32K;
	return nr_sectors <= 512 ? MONITOR_SIZE_256K : MONITOR_SIZE_LARGE;
}

static __always_inline __u32 error_class_of(__u8 status)
{
	switch (status) {
	case STS_MEDIUM:
		return MONITOR_ERROR_MEDIUM;
	case STS_TRANSPORT:
	case STS_OFFLINE_NEW:
	case STS_OFFLINE_OLD:
		return MONITOR_ERROR_TRANSPORT;
	case STS_TIMEOUT:
		return MONITOR_ERROR_TIMEOUT;
	case STS_IOERR:
		return MONITOR_ERROR_OTHER;
	default:
		return MONITOR_ERROR_NONE;
	}
}

/* The watched range that a disk sector lies in, and its index; NULL if it is in none. */
static __always_inline struct monitor_device *find_device(struct monitor_watch *watch, __u64 disk_sector, __u32 *index)
{
	__u32 i;

	for (i = 0; i < MONITOR_RANGES_PER_DISK && i < watch->nr_ranges; i++) {
		__u32 candidate = watch->device[i];
		struct monitor_device *device = bpf_map_lookup_elem(&monitor_devices, &candidate);

		if (device && disk_sector - device->disk_first_sector < device->nr_sectors) {
			*index = candidate;
			return device;
		}
	}
	return NULL;
}

/*
 * Own I/O: each 8-sector block of it has the number of sectors still to come back, so that a request that was split,
 * or completes in parts, is told from a user's all the way.
 */

static __always_inline __u32 overlap_sectors(__u64 block, __u64 sector, __u64 end_sector)
{
	__u64 first = block << MONITOR_OWN_BLOCK_SHIFT;
	__u64 last = first + (1 << MONITOR_OWN_BLOCK_SHIFT);

	if (first < sector)
		first = sector;
	if (last > end_sector)
		last = end_sector;
	return last > first ? last - first : 0;
}

struct own_walk {
	struct monitor_own_key key;
	__u64 sector;
	__u64 end_sector;
	__u64 now_ns;
};

static long mark_block(__u32 i, struct own_walk *walk)
{
	struct monitor_own fresh = { .marked_ns = walk->now_ns };
	struct monitor_own *own;

	fresh.pending_sectors = overlap_sectors(walk->key.disk_block, walk->sector, walk->end_sector);
	own = bpf_map_lookup_elem(&monitor_own, &walk->key);
	if (own && own->pending_sectors && walk->now_ns - own->marked_ns < MONITOR_OWN_MAX_NS) {
		__sync_fetch_and_add(&own->pending_sectors, fresh.pending_sectors);
		own->marked_ns = walk->now_ns;
	} else {
		bpf_map_update_elem(&monitor_own, &walk->key, &fresh, BPF_ANY);
	}
	walk->key.disk_block++;
	return 0;
}

static long settle_block(__u32 i, struct own_walk *walk)
{
	struct monitor_own *own = bpf_map_lookup_elem(&monitor_own, &walk->key);
	__u32 done = overlap_sectors(walk->key.disk_block, walk->sector, walk->end_sector);

	if (own && own->pending_sectors > done)
		__sync_fetch_and_add(&own->pending_sectors, -done);
	else if (own)
		bpf_map_delete_elem(&monitor_own, &walk->key);
	walk->key.disk_block++;
	return 0;
}

static __always_inline __u32 own_blocks(__u64 sector, __u64 end_sector)
{
	__u64 blocks = ((end_sector + (1 << MONITOR_OWN_BLOCK_SHIFT) - 1) >> MONITOR_OWN_BLOCK_SHIFT) -
		       (sector >> MONITOR_OWN_BLOCK_SHIFT);

	return blocks < MONITOR_OWN_BLOCKS_MAX ? blocks : MONITOR_OWN_BLOCKS_MAX;
}

/* True if this I/O is marked as own; the mark is used up. */
static __always_inline bool settle_own(__u32 disk_dev, __u64 disk_sector, __u32 nr_sectors, __u32 ioprio,
				       __u64 now_ns)
{
	struct own_walk walk = {
		.key.disk_dev = disk_dev,
		.key.disk_block = disk_sector >> MONITOR_OWN_BLOCK_SHIFT,
		.sector = disk_sector,
		.end_sector = disk_sector + nr_sectors,
		.now_ns = now_ns,
	};
	struct monitor_config *config;
	struct monitor_own *own;
	__u32 zero = 0;

	config = bpf_map_lookup_elem(&monitor_config, &zero);
	if (!config || now_ns - config->last_own_ns > MONITOR_OWN_MAX_NS)
		return false;
	own = bpf_map_lookup_elem(&monitor_own, &walk.key);
	if (!own || !own->pending_sectors || now_ns - own->marked_ns > MONITOR_OWN_MAX_NS)
		return false;
	if (own->ioprio && own->ioprio != ioprio)
		return false;
	bpf_loop(own_blocks(walk.sector, walk.end_sector), settle_block, &walk, 0);
	count(MONITOR_OWN_SEEN);
	return true;
}

/* The module's tracepoint before each I/O of its own: (dev_t dev, u64 sector, u32 nr_sectors, u32 op). */
SEC("raw_tp/dm_remap_own_io")
int remap_own_io(__u64 *args)
{
	__u32 dev = args[0], zero = 0;
	struct own_walk walk = { .sector = args[1], .now_ns = bpf_ktime_get_ns() };
	struct monitor_partition *part = bpf_map_lookup_elem(&monitor_parts, &dev);
	struct monitor_config *config;

	if (part) {
		dev = part->disk_dev;
		walk.sector += part->disk_first_sector;
	}
	if (!bpf_map_lookup_elem(&monitor_watched, &dev))
		return 0;
	config = bpf_map_lookup_elem(&monitor_config, &zero);
	if (!config)
		return 0;
	config->last_own_ns = walk.now_ns;
	walk.key.disk_dev = dev;
	walk.key.disk_block = walk.sector >> MONITOR_OWN_BLOCK_SHIFT;
	walk.end_sector = walk.sector + (__u32)args[2];
	bpf_loop(own_blocks(walk.sector, walk.end_sector), mark_block, &walk, 0);
	return 0;
}

struct io {
	struct monitor_device *device;
	__u32 index;
	__u64 sector; /* in the range */
	__u64 now_ns;
	__u32 nr_sectors;
	__u32 direction;
	__u32 size_class;
	__u32 latency_us;
	__u32 error_class;
	__u8 status;
	bool final;
};

static __always_inline void pass_on(void *ring, const struct io *io, __u32 drop_counter)
{
	struct monitor_event *event = bpf_ringbuf_reserve(ring, sizeof(*event), 0);

	if (!event) {
		count(drop_counter);
		return;
	}
	event->end_ns = io->now_ns;
	event->sector = io->sector;
	event->nr_sectors = io->nr_sectors;
	event->latency_us = io->latency_us;
	event->device = io->index;
	event->direction = io->direction;
	event->status = io->status;
	event->error_class = io->error_class;
	event->size_class = io->size_class;
	event->pad = 0;
	event->diskseq = io->device->diskseq;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void keep_sector_error(const struct io *io, __u64 sector)
{
	struct monitor_sector_key key = { .sector = sector, .device = io->index };
	struct monitor_sector_errors *errors = bpf_map_lookup_elem(&monitor_sectors, &key);
	__u32 direction = io->direction & 1, class = io->error_class & 3;

	if (!errors) {
		struct monitor_sector_errors fresh = {
			.first_ns = io->now_ns,
			.nr_sectors = io->nr_sectors,
		};

		bpf_map_update_elem(&monitor_sectors, &key, &fresh, BPF_NOEXIST);
		errors = bpf_map_lookup_elem(&monitor_sectors, &key);
		if (!errors) {
			count(MONITOR_DROPPED_SECTOR_ERRORS);
			return;
		}
	}
	__sync_fetch_and_add(&errors->count[direction][class], 1);
	errors->last_ns = io->now_ns;
	if (io->nr_sectors < errors->nr_sectors)
		errors->nr_sectors = io->nr_sectors;
}

static __always_inline void keep_error(const struct io *io)
{
	__u32 i;

	if (io->nr_sectors > MONITOR_EXACT_SECTORS) {
		keep_sector_error(io, io->sector);
		return;
	}
	for (i = 0; i < MONITOR_EXACT_SECTORS; i++)
		if (i < io->nr_sectors)
			keep_sector_error(io, io->sector + i);
}

static __always_inline void raise_to(__u32 *worst_us, __u32 latency_us)
{
	__u32 seen = *worst_us, i;

	for (i = 0; i < 4 && latency_us > seen; i++) {
		__u32 was = __sync_val_compare_and_swap(worst_us, seen, latency_us);

		if (was == seen)
			break;
		seen = was;
	}
}

/*
 * The common end of all completions. not final: a part of the request failed and the rest goes on, so its errors count
 * now and its time later.
 */
static __always_inline void account(struct io *io)
{
	__u32 direction = io->direction & 1, size_class, threshold_us, key;
	bool failed = io->error_class != MONITOR_ERROR_NONE, slow;
	struct monitor_hist *hist;
	struct monitor_cell *cell = NULL;
	void *grid;

	io->size_class = size_class = size_class_of(io->nr_sectors);
	key = MONITOR_HIST_INDEX(io->index, direction, size_class);
	hist = bpf_map_lookup_elem(&monitor_hists, &key);
	if (!hist)
		return;
	if (io->final) {
		__u32 bucket = bucket_of(io->latency_us);

		__sync_fetch_and_add(&hist->count, 1);
		__sync_fetch_and_add(&hist->sum_us, io->latency_us);
		if (bucket < MONITOR_BUCKETS)
			__sync_fetch_and_add(&hist->buckets[bucket], 1);
	}
	if (failed)
		__sync_fetch_and_add(&hist->errors[io->error_class & 3], 1);

	grid = bpf_map_lookup_elem(&monitor_grids, &io->index);
	if (grid) {
		key = io->sector >> (io->device->cell_shift & 63);
		cell = bpf_map_lookup_elem(grid, &key);
	}
	threshold_us = io->device->slow_us[direction][size_class & 3];
	slow = io->final && !failed && threshold_us && io->latency_us >= threshold_us;
	if (cell) {
		if (io->final)
			__sync_fetch_and_add(&cell->ios[direction], 1);
		if (slow)
			__sync_fetch_and_add(&cell->slow[direction], 1);
		if (failed)
			__sync_fetch_and_add(&cell->errors[direction], 1);
		raise_to(&cell->worst_us[direction], io->latency_us);
	}
	if (failed) {
		keep_error(io);
		pass_on(&monitor_error_ring, io, MONITOR_DROPPED_ERROR_EVENTS);
	} else if (slow) {
		pass_on(&monitor_slow_ring, io, MONITOR_DROPPED_SLOW_EVENTS);
	}
}

/* Microseconds since start_ns; false if that can't be. */
static __always_inline bool age_us(__u64 start_ns, __u64 now_ns, __u32 *latency_us)
{
	/* From 6.12 on the start is a clock read once for several requests; on another CPU it may be just ahead. */
	__u64 age_ns = now_ns > start_ns ? now_ns - start_ns : 0;

	if (start_ns > now_ns + 1000000 || age_ns > MONITOR_AGE_MAX_NS) {
		count(MONITOR_IMPOSSIBLE);
		return false;
	}
	*latency_us = age_ns / 1000;
	return true;
}

/* ---- request-based devices: completion alone ---- */

SEC("tp_btf/block_rq_complete")
int BPF_PROG(rq_complete, struct request *rq, __u8 status, unsigned int nr_bytes)
{
	__u32 op = rq->cmd_flags & REQ_OP_MASK, disk_dev, left_bytes;
	__u64 disk_sector = rq->__sector, start_ns, address = (__u64)rq;
	struct monitor_inflight *flight;
	struct monitor_watch *watch;
	struct io io = {};

	if (op > REQ_OP_WRITE)
		return 0;
	disk_dev = disk_dev_of(rq->q->disk);
	watch = bpf_map_lookup_elem(&monitor_watched, &disk_dev);
	if (!watch || watch->bio_based)
		return 0;
	left_bytes = rq->__data_len;
	io.final = nr_bytes >= left_bytes;
	if (!nr_bytes || (!io.final && !status))
		return 0;
	io.device = find_device(watch, disk_sector, &io.index);
	if (!io.device)
		return 0;
	io.now_ns = bpf_ktime_get_ns();
	io.nr_sectors = (io.final ? left_bytes : nr_bytes) >> 9;
	if (settle_own(disk_dev, disk_sector, io.nr_sectors, rq->bio->bi_ioprio, io.now_ns))
		return 0;
	io.error_class = error_class_of(status);
	if (status && io.error_class == MONITOR_ERROR_NONE) {
		count(MONITOR_NOT_EVIDENCE);
		return 0;
	}

	if (io.final) {
		start_ns = rq->io_start_time_ns;
		if (!start_ns)
			start_ns = rq->start_time_ns;
		if (!start_ns) {
			flight = bpf_map_lookup_elem(&monitor_flight, &address);
			if (flight && flight->disk_dev == disk_dev)
				start_ns = flight->start_ns;
			if (flight)
				bpf_map_delete_elem(&monitor_flight, &address);
		}
		if (!start_ns) {
			count(MONITOR_NO_START);
			if (!status)
				return 0;
			io.final = false;
		} else if (!age_us(start_ns, io.now_ns, &io.latency_us)) {
			return 0;
		}
	}
	io.sector = disk_sector - io.device->disk_first_sector;
	io.direction = op;
	io.status = status;
	account(&io);
	return 0;
}

/* Attached only while a watched device records no start times. */
SEC("tp_btf/block_rq_issue")
int BPF_PROG(rq_issue, struct request *rq)
{
	__u64 address = (__u64)rq;
	struct monitor_inflight flight = {};
	struct monitor_watch *watch;

	if ((rq->cmd_flags & REQ_OP_MASK) > REQ_OP_WRITE || rq->io_start_time_ns || rq->start_time_ns)
		return 0;
	flight.disk_dev = disk_dev_of(rq->q->disk);
	watch = bpf_map_lookup_elem(&monitor_watched, &flight.disk_dev);
	if (!watch || watch->bio_based)
		return 0;
	flight.start_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&monitor_flight, &address, &flight, BPF_ANY))
		count(MONITOR_DROPPED_INFLIGHT);
	return 0;
}

/* ---- bio-based devices: from queue to completion, by the bio's address ---- */

SEC("tp_btf/block_bio_queue")
int BPF_PROG(bio_queue, struct bio *bio)
{
	__u64 address = (__u64)bio;
	struct monitor_inflight flight = {};
	struct monitor_watch *watch;

	flight.op = bio->bi_opf & REQ_OP_MASK;
	if (flight.op > REQ_OP_WRITE)
		return 0;
	flight.disk_dev = disk_dev_of(bio->bi_bdev->bd_disk);
	watch = bpf_map_lookup_elem(&monitor_watched, &flight.disk_dev);
	if (!watch || !watch->bio_based)
		return 0;
	flight.disk_sector = bio->bi_iter.bi_sector;
	flight.nr_sectors = bio->bi_iter.bi_size >> 9;
	if (!flight.nr_sectors)
		return 0;
	flight.start_ns = bpf_ktime_get_ns();
	flight.own = settle_own(flight.disk_dev, flight.disk_sector, flight.nr_sectors, bio->bi_ioprio,
				flight.start_ns);
	if (bpf_map_update_elem(&monitor_flight, &address, &flight, BPF_ANY))
		count(MONITOR_DROPPED_INFLIGHT);
	return 0;
}

SEC("tp_btf/block_bio_complete")
int BPF_PROG(bio_complete, struct request_queue *q, struct bio *bio)
{
	__u64 address = (__u64)bio, end_sector;
	__u32 disk_dev = disk_dev_of(bio->bi_bdev->bd_disk);
	struct monitor_inflight *found, flight;
	struct monitor_watch *watch;
	struct io io = {};

	watch = bpf_map_lookup_elem(&monitor_watched, &disk_dev);
	if (!watch || !watch->bio_based)
		return 0;
	found = bpf_map_lookup_elem(&monitor_flight, &address);
	if (!found)
		return 0;
	flight = *found;
	bpf_map_delete_elem(&monitor_flight, &address);
	if (flight.own)
		return 0;

	/* Memory of a bio is used again: this completion must be able to be that of what was queued. */
	end_sector = bio->bi_iter.bi_sector;
	if (flight.disk_dev != disk_dev || flight.op != (bio->bi_opf & REQ_OP_MASK) ||
	    end_sector - flight.disk_sector > flight.nr_sectors) {
		count(MONITOR_IMPOSSIBLE);
		return 0;
	}
	io.device = find_device(watch, flight.disk_sector, &io.index);
	if (!io.device)
		return 0;
	io.status = bio->bi_status;
	io.error_class = error_class_of(io.status);
	if (io.status && io.error_class == MONITOR_ERROR_NONE) {
		count(MONITOR_NOT_EVIDENCE);
		return 0;
	}
	io.now_ns = bpf_ktime_get_ns();
	if (!age_us(flight.start_ns, io.now_ns, &io.latency_us))
		return 0;
	io.sector = flight.disk_sector - io.device->disk_first_sector;
	io.nr_sectors = flight.nr_sectors;
	io.direction = flight.op;
	io.final = true;
	account(&io);
	return 0;
}

/* ---- what stays attached ---- */

SEC("tp_btf/block_rq_complete")
int stub_rq_complete(__u64 *ctx)
{
	bpf_tail_call(ctx, &monitor_slot_rqc, 0);
	return 0;
}

SEC("tp_btf/block_rq_issue")
int stub_rq_issue(__u64 *ctx)
{
	bpf_tail_call(ctx, &monitor_slot_rqi, 0);
	return 0;
}

SEC("tp_btf/block_bio_queue")
int stub_bio_queue(__u64 *ctx)
{
	bpf_tail_call(ctx, &monitor_slot_bioq, 0);
	return 0;
}

SEC("tp_btf/block_bio_complete")
int stub_bio_complete(__u64 *ctx)
{
	bpf_tail_call(ctx, &monitor_slot_bioc, 0);
	return 0;
}

/* bpf_ktime_get_ns() and the ring buffer are for any licence; the kernel's tracing programs ask for the GPL. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
