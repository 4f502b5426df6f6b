// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "loader/clock.h"

#include <time.h>

static uint64_t booted_at_ns;

static uint64_t read_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t clock_now_ns(void)
{
	return booted_at_ns + read_ns(CLOCK_BOOTTIME);
}

uint64_t clock_of_monotonic(uint64_t monotonic_ns)
{
	uint64_t age_ns = read_ns(CLOCK_MONOTONIC);

	age_ns = age_ns > monotonic_ns ? age_ns - monotonic_ns : 0;
	return clock_now_ns() - age_ns;
}

uint64_t clock_booted_ns(void)
{
	return booted_at_ns;
}

double clock_unix(void)
{
	return read_ns(CLOCK_REALTIME) / 1e9;
}

void clock_set_booted_ns(uint64_t booted_ns)
{
	booted_at_ns = booted_ns;
}
