// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "exporter/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool make_room(struct buffer *buffer, size_t bytes)
{
	size_t room_bytes = buffer->room_bytes ? buffer->room_bytes : 4096;
	char *text;

	if (buffer->failed)
		return false;
	while (room_bytes - buffer->used_bytes < bytes)
		room_bytes *= 2;
	if (room_bytes == buffer->room_bytes)
		return true;
	text = realloc(buffer->text, room_bytes);
	if (!text) {
		buffer->failed = true;
		return false;
	}
	buffer->text = text;
	buffer->room_bytes = room_bytes;
	return true;
}

void buffer_append(struct buffer *buffer, const void *text, size_t bytes)
{
	if (!bytes || !make_room(buffer, bytes))
		return;
	memcpy(buffer->text + buffer->used_bytes, text, bytes);
	buffer->used_bytes += bytes;
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
	va_list args, again;
	int length;

	va_start(args, format);
	va_copy(again, args);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0)
		buffer->failed = true;
	/* One byte more, for vsnprintf's terminator. */
	if (length > 0 && make_room(buffer, (size_t)length + 1)) {
		vsnprintf(buffer->text + buffer->used_bytes, (size_t)length + 1, format, again);
		buffer->used_bytes += length;
	}
	va_end(again);
}
