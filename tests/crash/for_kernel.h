/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef TESTS_CRASH_FOR_KERNEL_H
#define TESTS_CRASH_FOR_KERNEL_H

#include <stdint.h>

/*
 * Adds the state that the disks hold now to @directory, for kernel.sh to activate: to the images mains.img and spares.img,
 * in which every state has as much room; a line to the file "states"; and the file expect.NUMBER, what "blkio map" has to
 * print. A line of "states": number, where main is in mains.img and how long, the same of the spare (sectors), "loads" or
 * "refused", @name. Returns how many have been added.
 */
uint64_t for_kernel_add(const char *directory, const char *name);

#endif
