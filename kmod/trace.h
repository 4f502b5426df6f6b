/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dm_remap

#if !defined(REMAP_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define REMAP_TRACE_H

#include <linux/tracepoint.h>
#include <linux/types.h>

TRACE_EVENT(dm_remap_own_io,
	TP_PROTO(dev_t dev, u64 sector, u32 nr_sectors, u32 op),
	TP_ARGS(dev, sector, nr_sectors, op),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, sector)
		__field(u32, nr_sectors)
		__field(u32, op)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->sector = sector;
		__entry->nr_sectors = nr_sectors;
		__entry->op = op;
	),
	TP_printk("%d,%d %llu + %u op %u", MAJOR(__entry->dev), MINOR(__entry->dev), __entry->sector,
		  __entry->nr_sectors, __entry->op)
);

TRACE_EVENT(dm_remap_relocate,
	TP_PROTO(dev_t dev, u64 sector, u32 nr_sectors, u64 spare_sector, u32 reason, u32 unread),
	TP_ARGS(dev, sector, nr_sectors, spare_sector, reason, unread),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, sector)
		__field(u64, spare_sector)
		__field(u32, nr_sectors)
		__field(u32, reason)
		__field(u32, unread)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->sector = sector;
		__entry->spare_sector = spare_sector;
		__entry->nr_sectors = nr_sectors;
		__entry->reason = reason;
		__entry->unread = unread;
	),
	TP_printk("%d,%d %llu + %u -> %llu reason %u unread %#x", MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->sector, __entry->nr_sectors, __entry->spare_sector, __entry->reason, __entry->unread)
);

TRACE_EVENT(dm_remap_release,
	TP_PROTO(dev_t dev, u64 sector, u32 nr_sectors),
	TP_ARGS(dev, sector, nr_sectors),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, sector)
		__field(u32, nr_sectors)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->sector = sector;
		__entry->nr_sectors = nr_sectors;
	),
	TP_printk("%d,%d %llu + %u", MAJOR(__entry->dev), MINOR(__entry->dev), __entry->sector, __entry->nr_sectors)
);

TRACE_EVENT(dm_remap_mode,
	TP_PROTO(dev_t dev, u32 mode),
	TP_ARGS(dev, mode),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u32, mode)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->mode = mode;
	),
	TP_printk("%d,%d mode %u", MAJOR(__entry->dev), MINOR(__entry->dev), __entry->mode)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
