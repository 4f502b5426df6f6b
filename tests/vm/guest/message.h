/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef TESTS_VM_GUEST_MESSAGE_H
#define TESTS_VM_GUEST_MESSAGE_H

#include <stddef.h>

/*
 * Sends a message to sector 0 of the device-mapper device @name. @control: /dev/mapper/control, open. The answer, without the
 * line end behind it, goes to @answer, cut to @bytes. Returns 0 or an errno.
 */
int dm_message(int control, const char *name, const char *message, char *answer, size_t bytes);

#endif
