// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * dmctl-calls NAME: runs the calls of loader/dmctl.h that no command of remapctl shows on the remap device NAME, which must have
 * 64 MiB or more and nothing mapped in its first MiB. Prints "ok".
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/dmctl.h"

static struct dmctl_error error;

static void check(bool right, const char *what)
{
	if (right)
		return;
	printf("FAIL: %s: %s\n", what, error.text);
	exit(1);
}

/* Is an event waiting? */
static bool event_waits(int fd, int timeout_ms)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	return poll(&ready, 1, timeout_ms) == 1 && (ready.revents & POLLIN);
}

int main(int argc, char **argv)
{
	struct dmctl_remap_answer moved;
	struct dmctl_device before, after;
	struct dmctl_device *devices;
	uint64_t value;
	char version[32];
	size_t count, i;
	int fd;

	check(argc == 2, "usage: dmctl-calls NAME");
	dmctl_init();
	check(!dmctl_target_version(version, sizeof(version), &error) && *version, "target version");
	check(!dmctl_list(&devices, &count, &error) && count >= 1, "list");
	for (i = 0; i < count && strcmp(devices[i].name, argv[1]); i++)
		;
	check(i < count && devices[i].targets == 1 && devices[i].main_devno && devices[i].spare_devno, "list: device");
	free(devices);
	check(dmctl_get("no-such-device", &before, &error) == -ENXIO && strstr(error.text, "no-such-device"), "no device");

	check(!dmctl_get(argv[1], &before, &error), "get");
	fd = dmctl_events_open(&error);
	check(fd >= 0, "events: open");
	check(!event_waits(fd, 0), "events: one before anything happened");
	check(!dmctl_remap(argv[1], 0, 2048, &moved, &error) && moved.moved_blocks, "remap");
	check(event_waits(fd, 10000), "events: none after a remap");
	check(!dmctl_events_arm(fd, &error), "events: arm");
	check(!dmctl_get(argv[1], &after, &error) && after.event_nr > before.event_nr, "events: event_nr");
	check(!event_waits(fd, 0), "events: one after arming");
	close(fd);

	check(!dmctl_set(argv[1], "retry_ms", 777, &value, &error) && value == 777, "set");
	check(!dmctl_get(argv[1], &after, &error) && after.table.retry_ms == 777, "set: table");
	check(dmctl_set(argv[1], "no_such_option", 1, &value, &error) == -EINVAL, "set: unknown option");
	check(dmctl_set(argv[1], "two words", 1, &value, &error) == -EINVAL, "set: two words");

	check(!dmctl_suspend(argv[1], &error), "suspend");
	check(!dmctl_get(argv[1], &after, &error) && after.suspended, "suspend: state");
	check(!dmctl_resume(argv[1], &error), "resume");
	check(!dmctl_get(argv[1], &after, &error) && !after.suspended, "resume: state");
	dmctl_exit();
	puts("ok");
	return 0;
}
