// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * tsc-khz
 *
 * Prints how fast this machine's time stamp counter runs, in kHz: an emulated guest reads the same one, and gauges it
 * wrongly (once by a factor of five) when the machine is busy. Takes a tenth of a second. Prints nothing where the
 * processor has none.
 */
#include <stdint.h>
#include <stdio.h>
#include <sysexits.h>
#include <time.h>

#ifdef __x86_64__
#include <x86intrin.h>

#define TRIES 1000
#define INTERVAL_NS 100000000

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* A moment by both clocks: the reading that took the least time of many. */
static void read_both(int64_t *ns, uint64_t *ticks)
{
	int64_t best = INT64_MAX;
	unsigned int i;

	for (i = 0; i < TRIES; i++) {
		int64_t before = now_ns();
		uint64_t t = __rdtsc();
		int64_t after = now_ns();

		if (after - before < best) {
			best = after - before;
			*ns = before + best / 2;
			*ticks = t;
		}
	}
}

int main(void)
{
	const struct timespec interval = { .tv_nsec = INTERVAL_NS };
	uint64_t ticks[2];
	int64_t ns[2];

	read_both(&ns[0], &ticks[0]);
	nanosleep(&interval, NULL);
	read_both(&ns[1], &ticks[1]);
	printf("%.0f\n", (double)(ticks[1] - ticks[0]) * 1e6 / (double)(ns[1] - ns[0]));
	return EX_OK;
}
#else
int main(void)
{
	return EX_OK;
}
#endif
