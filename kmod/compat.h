/* SPDX-License-Identifier: GPL-2.0-only */
/* Every difference between the supported kernels (6.1, 6.12, 7.2) stands here and nowhere else. */
#ifndef REMAP_COMPAT_H
#define REMAP_COMPAT_H

#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/rcupdate_wait.h>	/* cond_resched_rcu(), which 6.1 has in sched.h */
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define remap_mode_writes(mode)	((mode) & FMODE_WRITE)
#else
#define remap_mode_writes(mode)	((mode) & BLK_OPEN_WRITE)
#endif

/* BLK_STS_NEXUS until 6.4, BLK_STS_RESV_CONFLICT since; the number stayed. */
#define REMAP_STS_RESERVATION	((__force blk_status_t)6)

/* Longer ones are split. Where zeroing can unmap (6.17), its limit is that of all zeroing, or none. */
static inline void remap_limit_write_zeroes(struct queue_limits *limits, unsigned int sectors)
{
	limits->max_write_zeroes_sectors = min(limits->max_write_zeroes_sectors, sectors);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
	limits->max_hw_wzeroes_unmap_sectors = min(limits->max_hw_wzeroes_unmap_sectors, sectors);
#endif
}

#endif
