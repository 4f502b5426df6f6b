/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What outlives remapd in its state directory: each device's evidence and counters, the clock that they are told in, and
 * whether the last run ended well. Lost state costs evidence, never data, so nothing here fails loudly or waits for long.
 */
#ifndef REMAP_STATE_H
#define REMAP_STATE_H

#include <stdbool.h>
#include <stdint.h>

struct daemon;
struct device;

/*
 * Opens the state directory, makes it if need be, and marks this run as going on. d->state_dir NULL: nothing is kept.
 * Sets d->fell_back after two runs in a row that did not end well. False if the directory can't be used (logged).
 */
bool state_open(struct daemon *d);

/* This run ended well. */
void state_close(struct daemon *d);

/* This run has gone well for long enough to forget earlier crashes. */
void state_settled(struct daemon *d);

/* Writes a device's evidence and counters, whole or not at all. */
void state_save_device(struct daemon *d, const struct device *device);

/* True if there was something for this device, and it was taken. */
bool state_restore_device(struct daemon *d, struct device *device);

#endif
