// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* See ctl_evacuate.h: is the device written while it is copied, and how often are its unread sectors tried? */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/ctl_evacuate.h"

#define TARGET_RETRY_MS 1000 /* of a table line without retry_ms */

uint64_t evacuate_written(dev_t devno)
{
	uint64_t written = 0, discarded = 0;
	char path[64];
	FILE *stat;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(devno), minor(devno));
	stat = fopen(path, "re");
	/* The seventh word and the fourteenth: sectors. Flushes have none. */
	if (stat && fscanf(stat, "%*s %*s %*s %*s %*s %*s %" SCNu64 " %*s %*s %*s %*s %*s %*s %" SCNu64, &written,
			   &discarded) < 1)
		written = 0;
	if (stat)
		fclose(stat);
	return written + discarded;
}

static void set_retry_ms(const struct evacuation *e, int64_t retry_ms)
{
	uint64_t now;

	dmctl_set(e->device.name, "retry_ms", retry_ms < 0 ? TARGET_RETRY_MS : (uint64_t)retry_ms, &now, NULL);
}

/* Lives until its parent closes the pipe, or has ended. */
static void put_back(const struct evacuation *e, int fd)
{
	char nothing;

	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	close(e->source_fd);
	close(e->target_fd);
	while (read(fd, &nothing, 1) < 0 && errno == EINTR)
		;
	set_retry_ms(e, e->device.table.retry_ms);
	_exit(EX_OK);
}

int evacuate_begin_retry(const struct evacuation *e, struct evacuate_retry *retry)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return ctl_fail(EX_OSERR, "no pipe: %s", strerror(errno));
	fflush(stdout);
	retry->pid = fork();
	if (!retry->pid) {
		close(fds[1]);
		put_back(e, fds[0]);
	}
	close(fds[0]);
	retry->fd = fds[1];
	if (retry->pid < 0) {
		close(fds[1]);
		return ctl_fail(EX_OSERR, "no process: %s", strerror(errno));
	}
	set_retry_ms(e, 0);
	return EX_OK;
}

void evacuate_end_retry(const struct evacuate_retry *retry)
{
	close(retry->fd);
	while (waitpid(retry->pid, NULL, 0) < 0 && errno == EINTR)
		;
}
