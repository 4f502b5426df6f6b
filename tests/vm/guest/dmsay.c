// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * dmsay NAME
 *
 * Sends each line of standard input as a message to sector 0 of that device-mapper device and prints the answer, or
 * the error's name, on one line for each ("dmsetup message" would cost a process each time). Several lines of one
 * answer are joined by "; ". Exit status: 0 all were taken, 1 one was refused, 64, 71.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sysexits.h>

#define IOCTL_BYTES 65536

static int say(int fd, const char *name, const char *line)
{
	static char memory[IOCTL_BYTES] __attribute__((aligned(8)));
	struct dm_ioctl *dmi = (struct dm_ioctl *)memory;
	struct dm_target_msg *msg = (struct dm_target_msg *)(dmi + 1);
	char *p;

	memset(memory, 0, sizeof(memory));
	dmi->version[0] = DM_VERSION_MAJOR;
	dmi->data_size = sizeof(memory);
	dmi->data_start = sizeof(*dmi);
	snprintf(dmi->name, sizeof(dmi->name), "%s", name);
	strcpy(msg->message, line);
	if (ioctl(fd, DM_TARGET_MSG, dmi) != 0) {
		const char *error = strerrorname_np(errno);

		puts(error ? error : "error");
		return 1;
	}
	if (!(dmi->flags & DM_DATA_OUT_FLAG)) {
		puts("");
		return 0;
	}
	p = memory + dmi->data_start;
	while (*p && p[strlen(p) - 1] == '\n')
		p[strlen(p) - 1] = '\0';
	for (; *p; p++) {
		if (*p == '\n')
			fputs("; ", stdout);
		else
			putchar(*p);
	}
	putchar('\n');
	return 0;
}

int main(int argc, char **argv)
{
	char line[4096];
	int fd, status = 0;

	if (argc != 2) {
		fprintf(stderr, "dmsay: usage: dmsay NAME\n");
		return EX_USAGE;
	}
	fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "dmsay: /dev/mapper/control: %s\n", strerror(errno));
		return EX_OSERR;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		status |= say(fd, argv[1], line);
	}
	return status;
}
