/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A device's evidence as bytes, for the state directory. Pure, like health.h.
 *
 * An image is taken by the same build on the same kind of machine only (its sizes are compared): what it holds is worth
 * keeping over a restart, not worth converting. The caller sees to it that the bytes are those that were saved: sizes are
 * compared here, contents are believed.
 */
#ifndef REMAP_HEALTH_IMAGE_H
#define REMAP_HEALTH_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

struct health;

#define HEALTH_IMAGE_VERSION 1 /* raise it when a member of struct health or health_entry changes its meaning */

/* Bytes that health_image_save() needs now. */
size_t health_image_bytes(const struct health *h);

/* image: health_image_bytes() bytes. */
void health_image_save(const struct health *h, void *image);

/*
 * Takes an image over into h, which was prepared for a device of the same size with the same extents and table. False,
 * and h unchanged, if it does not fit. h's own options stay in force.
 */
bool health_image_restore(struct health *h, const void *image, size_t bytes);

#endif
