/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* remapd's log: one line an event on stderr, with the journal's priority in front when the journal is there to read it. */
#ifndef REMAP_LOG_H
#define REMAP_LOG_H

#include <syslog.h>

/* Lines of a level above this are left out (LOG_INFO unless changed). */
void log_set_level(int level);

/* level is one of syslog(3)'s. Any thread. No newline in format. */
__attribute__((format(printf, 2, 3))) void log_line(int level, const char *format, ...);

#endif
