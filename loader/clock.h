/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The one clock of health and policy: nanoseconds that go on while the machine sleeps and, moved on by the state
 * directory's memory, from one boot to the next.
 */
#ifndef REMAP_CLOCK_H
#define REMAP_CLOCK_H

#include <stdint.h>

uint64_t clock_now_ns(void);

/* A time stamp of BPF's (CLOCK_MONOTONIC) on this clock. */
uint64_t clock_of_monotonic(uint64_t monotonic_ns);

/* When the machine was booted, on this clock. */
uint64_t clock_booted_ns(void);

/* Unix seconds. */
double clock_unix(void);

/* Moves the clock: only at start, before anything was told a time. */
void clock_set_booted_ns(uint64_t booted_ns);

#endif
