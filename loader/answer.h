/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What remapd answers on its socket: docs/protocol.md as code. */
#ifndef REMAP_ANSWER_H
#define REMAP_ANSWER_H

#include <stddef.h>

struct daemon;

/*
 * The answer to one request line (without its newline, length bytes, any bytes): a line of JSON with its newline, which
 * the caller frees, and its length. NULL only if memory ran out.
 */
char *answer_request(struct daemon *d, const char *line, size_t length, size_t *answer_length);

/* A refusal that has no request to answer. */
char *answer_error(const char *text, size_t *answer_length);

#endif
