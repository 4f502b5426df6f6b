/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * remapd's state as metrics. Pure: no I/O, no clock. What is missing, of a wrong type, negative or twice in the state is
 * left out; whatever comes in, what goes out is well-formed and names no series twice.
 */
#ifndef REMAP_METRICS_H
#define REMAP_METRICS_H

#include <jansson.h>

#include "exporter/buffer.h"

/* Bounds that keep one device below 120 series. */
#define METRICS_BUCKETS_MAX 32
#define METRICS_GUARDS_MAX 8

enum metrics_format {
	METRICS_PROMETHEUS, /* text/plain; version=0.0.4 */
	METRICS_OPENMETRICS, /* application/openmetrics-text; version=1.0.0 */
};

/* state: the answer to the request "state"; NULL: remapd is down, remapd_up is 0 and nothing else is there. */
void metrics_write(struct buffer *out, const json_t *state, enum metrics_format format);

/* Which format an Accept header (NULL: none) asks for. */
enum metrics_format metrics_negotiate(const char *accept);

const char *metrics_content_type(enum metrics_format format);

#endif
