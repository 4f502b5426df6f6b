// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "tests/vm/guest/message.h"

#define IOCTL_BYTES 65536

int dm_message(int control, const char *name, const char *message, char *answer, size_t bytes)
{
	static _Thread_local char memory[IOCTL_BYTES] __attribute__((aligned(8)));
	struct dm_ioctl *dmi = (struct dm_ioctl *)memory;
	struct dm_target_msg *msg = (struct dm_target_msg *)(dmi + 1);
	size_t length;

	if (sizeof(*dmi) + sizeof(*msg) + strlen(message) + 1 > sizeof(memory))
		return E2BIG;
	memset(memory, 0, sizeof(memory));
	dmi->version[0] = DM_VERSION_MAJOR;
	dmi->data_size = sizeof(memory);
	dmi->data_start = sizeof(*dmi);
	snprintf(dmi->name, sizeof(dmi->name), "%s", name);
	strcpy(msg->message, message);
	answer[0] = '\0';
	if (ioctl(control, DM_TARGET_MSG, dmi) != 0)
		return errno;
	if (dmi->flags & DM_DATA_OUT_FLAG)
		snprintf(answer, bytes, "%s", memory + dmi->data_start);
	length = strlen(answer);
	while (length && answer[length - 1] == '\n')
		answer[--length] = '\0';
	return 0;
}
