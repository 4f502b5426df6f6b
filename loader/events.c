// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "loader/events.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "loader/log.h"

const char *event_kind_name(enum event_kind kind)
{
	static const char *const names[] = {
		[EVENT_SLOW] = "slow",
		[EVENT_ERROR] = "error",
		[EVENT_SUSPECT] = "suspect",
		[EVENT_WOULD_RELOCATE] = "would-relocate",
		[EVENT_RELOCATED] = "relocated",
		[EVENT_RELOCATION_FAILED] = "relocation-failed",
		[EVENT_HELD] = "held",
		[EVENT_DEVICE_ADDED] = "device-added",
		[EVENT_DEVICE_REMOVED] = "device-removed",
		[EVENT_POLICY] = "policy",
	};

	return names[kind];
}

void event_add(struct event_log *log, enum event_kind kind, int level, const char *device, uint64_t extent,
	       const char *format, ...)
{
	struct event *event;
	struct timespec now;
	va_list args;

	if (!log->next_seq)
		log->next_seq = 1;
	event = &log->kept[log->next_seq % EVENTS_KEPT];
	clock_gettime(CLOCK_REALTIME, &now);
	event->seq = log->next_seq++;
	event->at = now.tv_sec + now.tv_nsec / 1e9;
	event->extent = extent;
	event->kind = kind;
	snprintf(event->device, sizeof(event->device), "%s", device);
	va_start(args, format);
	vsnprintf(event->text, sizeof(event->text), format, args);
	va_end(args);
	if (device[0])
		log_line(level, "%s: %s", device, event->text);
	else
		log_line(level, "%s", event->text);
}

const struct event *event_from(const struct event_log *log, uint64_t seq)
{
	uint64_t oldest = log->next_seq > EVENTS_KEPT ? log->next_seq - EVENTS_KEPT : 1;

	if (seq < oldest)
		seq = oldest;
	return seq < log->next_seq ? &log->kept[seq % EVENTS_KEPT] : NULL;
}
