/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Text that grows. After a failed allocation it stays as it was and failed says so, so that callers check once. */
#ifndef REMAP_BUFFER_H
#define REMAP_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct buffer {
	char *text; /* malloc()ed, the owner's to free(); not terminated */
	size_t used_bytes;
	size_t room_bytes;
	bool failed;
};

void buffer_append(struct buffer *buffer, const void *text, size_t bytes);
void buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
