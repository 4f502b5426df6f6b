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
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "tests/vm/guest/message.h"

#define ANSWER_BYTES 65536

static int say(int fd, const char *name, const char *line)
{
	static char answer[ANSWER_BYTES];
	int error = dm_message(fd, name, line, answer, sizeof(answer));
	const char *p = answer;

	if (error) {
		const char *error_name = strerrorname_np(error);

		puts(error_name ? error_name : "error");
		return 1;
	}
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
