/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What monitor.c (load, pin, attach) and monitor_range.c (ranges and their numbers) share. */
#ifndef REMAP_LOADER_MONITOR_SET_H
#define REMAP_LOADER_MONITOR_SET_H

#include "bpf/monitor.skel.h"
#include "loader/monitor.h"

struct monitor_claim {
	bool claimed; /* by this process */
	uint32_t part_dev;
	const struct monitor_cell *cells;
};

struct monitor_set {
	struct monitor_bpf *bpf;
	struct ring_buffer *rings;
	struct bpf_link *own_io_link;
	struct monitor_config *config;
	struct monitor_hist *cpu_hists; /* one for each possible CPU */
	int cpus;
	int pin_dir_fd; /* locked */
	char pin_dir[256];
	uint64_t sector_entries;
	uint64_t sector_entries_seen; /* while all ranges are read */
	bool own_io_failed;
	void (*event_seen)(const struct monitor_event *event, void *data);
	void *event_data;
	struct monitor_claim claims[MONITOR_DEVICES_MAX];
};

/* Attaches what the watched ranges need, detaches what they don't. -errno of the first hook that can't be attached. */
int monitor_attach_hooks(struct monitor_set *set, bool request_based, bool bio_based, bool issue);

#endif
