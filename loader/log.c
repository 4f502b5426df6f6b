// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "loader/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int highest_level = LOG_INFO;

void log_set_level(int level)
{
	highest_level = level;
}

void log_line(int level, const char *format, ...)
{
	char line[1024];
	size_t used = 0;
	va_list args;
	int length;

	if (level > highest_level)
		return;
	if (getenv("JOURNAL_STREAM"))
		used = snprintf(line, sizeof(line), "<%d>", level);
	else
		used = snprintf(line, sizeof(line), "remapd: ");
	va_start(args, format);
	length = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	va_end(args);
	used += length < 0 ? 0 : (size_t)length;
	if (used > sizeof(line) - 2)
		used = sizeof(line) - 2;
	line[used++] = '\n';

	/* One write a line, so that lines of several threads stay whole. A log that can't be written stops nothing. */
	if (write(STDERR_FILENO, line, used) < 0)
		return;
}
