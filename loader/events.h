/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What people should hear of: kept for the socket, and written to the log as it happens. */
#ifndef REMAP_EVENTS_H
#define REMAP_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#define EVENTS_KEPT 1024
#define EVENT_TEXT_BYTES 256
#define EVENT_DEVICE_BYTES 128
#define EVENT_NO_EXTENT UINT64_MAX

enum event_kind {
	EVENT_SLOW,
	EVENT_ERROR,
	EVENT_SUSPECT,
	EVENT_WOULD_RELOCATE,
	EVENT_RELOCATED,
	EVENT_RELOCATION_FAILED,
	EVENT_HELD,
	EVENT_DEVICE_ADDED,
	EVENT_DEVICE_REMOVED,
	EVENT_POLICY,
};

struct event {
	uint64_t seq; /* from 1 */
	double at; /* Unix seconds */
	uint64_t extent; /* EVENT_NO_EXTENT where none */
	enum event_kind kind;
	char device[EVENT_DEVICE_BYTES];
	char text[EVENT_TEXT_BYTES];
};

struct event_log {
	uint64_t next_seq; /* the last is next_seq - 1 */
	struct event kept[EVENTS_KEPT];
};

/* device may be "". level: syslog(3)'s, for the log line. */
__attribute__((format(printf, 6, 7))) void event_add(struct event_log *log, enum event_kind kind, int level,
						     const char *device, uint64_t extent, const char *format, ...);

/* The oldest kept event with at least this number; NULL if there is none. Valid until the next event_add(). */
const struct event *event_from(const struct event_log *log, uint64_t seq);

/* As the socket names it. */
const char *event_kind_name(enum event_kind kind);

#endif
