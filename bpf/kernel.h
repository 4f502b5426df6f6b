/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few members of the kernel's structures that the programs read. CO-RE finds them in the running kernel's BTF by
 * name, so this stands in for a vmlinux.h of some megabytes, and a build needs no BTF of the machine it runs on.
 */
#ifndef REMAP_BPF_KERNEL_H
#define REMAP_BPF_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef _Bool bool;

enum {
	false = 0,
	true = 1,
};

/* Values of the kernel's API to its users (uapi/linux/bpf.h), and of blk_types.h, the same from 6.1 to 7.2. */
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
};

enum {
	BPF_F_MMAPABLE = 1 << 10,
};

enum {
	REQ_OP_MASK = 0xff,
	REQ_OP_READ = 0,
	REQ_OP_WRITE = 1,
};

enum {
	STS_TIMEOUT = 2,
	STS_TRANSPORT = 4,
	STS_MEDIUM = 7,
	STS_IOERR = 10,
	/* "Offline" is 17 on 6.1 and 16 on later kernels; the other meaning of each is for zoned devices or limits. */
	STS_OFFLINE_NEW = 16,
	STS_OFFLINE_OLD = 17,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct gendisk {
	int major;
	int first_minor;
};

struct bio;

struct request_queue {
	struct gendisk *disk;
};

struct request {
	struct request_queue *q;
	__u32 cmd_flags;
	unsigned int __data_len;
	__u64 __sector;
	__u64 start_time_ns;
	__u64 io_start_time_ns;
	struct bio *bio;
};

struct block_device {
	struct gendisk *bd_disk;
};

struct bvec_iter {
	__u64 bi_sector;
	unsigned int bi_size;
};

struct bio {
	struct block_device *bi_bdev;
	__u32 bi_opf;
	unsigned short bi_ioprio;
	__u8 bi_status;
	struct bvec_iter bi_iter;
};

#pragma clang attribute pop

#endif
