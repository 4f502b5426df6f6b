// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* See ctl_ddrescue.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/ctl.h"
#include "loader/ctl_ddrescue.h"
#include "loader/ctl_evacuate.h"

#define PROGRAM "ddrescue"
#define ARGUMENTS_MAX 16
#define LOOK_INTERVAL_MS 1000
#define STATUS_NOT_FOUND 127 /* shells' */
#define STATUS_SIGNALLED 128

/* What a program that looks for damaged files may search for: one line, repeated after ddrescue's note of the place. */
#define MARK_TEXT "remapctl evacuate: not read\n"

struct command {
	const char *argument[ARGUMENTS_MAX + 1];
	size_t count;
	char sector_size[32];
	char retries[32];
};

static void add(struct command *command, const char *argument)
{
	command->argument[command->count++] = argument;
}

/* Past both page caches: what is read is the disk's, and an error in writing is seen at once. */
static void begin(struct command *command, const struct ddrescue *rescue)
{
	command->count = 0;
	snprintf(command->sector_size, sizeof(command->sector_size), "--sector-size=%u", rescue->sector_bytes);
	add(command, PROGRAM);
	add(command, "--force");
	add(command, "--odirect");
	add(command, command->sector_size);
}

static void finish(struct command *command, const char *source, const struct ddrescue *rescue)
{
	add(command, source);
	add(command, rescue->target);
	add(command, rescue->mapfile);
	add(command, NULL);
}

static void exec_child(const struct command *command, int input, bool quiet)
{
	int out = quiet || !isatty(STDERR_FILENO) ? open("/dev/null", O_WRONLY) : dup(STDERR_FILENO);

	/* It ends with its parent, however that ends; what it copied is in the mapfile. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (out >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(input, STDIN_FILENO) >= 0)
		execvp(PROGRAM, (char *const *)command->argument);
	_exit(errno == ENOENT ? STATUS_NOT_FOUND : EX_OSERR);
}

/* Why not to go on: a sysexits status, not said. */
static int look(const struct ddrescue *rescue)
{
	struct dmctl_status status;

	if (!rescue->may_be_written && evacuate_written(rescue->devno) != rescue->written_sectors)
		return EX_DATAERR;
	if (!dmctl_status(rescue->name, &status, NULL) && status.main_state == DMCTL_MAIN_AWAY)
		return EX_TEMPFAIL;
	return EX_OK;
}

/* Waits for the end of the child, which is asked to stop for a signal, or if there is a reason. */
static int wait_for(pid_t pid, const struct ddrescue *rescue, int *reason)
{
	struct pollfd ended = { .fd = pidfd_open(pid, 0), .events = POLLIN };
	bool asked = false;
	int status;

	*reason = EX_OK;
	while (ended.fd >= 0 && poll(&ended, 1, LOOK_INTERVAL_MS) <= 0) {
		if (rescue && !*reason)
			*reason = look(rescue);
		if (!asked && (ctl_stop_signal || *reason)) {
			kill(pid, SIGINT);
			asked = true;
		}
	}
	if (rescue && !*reason)
		*reason = look(rescue);
	if (ended.fd >= 0)
		close(ended.fd);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return STATUS_SIGNALLED;
	return WIFEXITED(status) ? WEXITSTATUS(status) : STATUS_SIGNALLED + WTERMSIG(status);
}

/* @text: its standard input. @rescue NULL: quiet. Its exit status, or 128 + signal; -errno. @reason: see look(). */
static int run(const struct command *command, const char *text, size_t text_bytes, const struct ddrescue *rescue, int *reason)
{
	int input = memfd_create(PROGRAM, MFD_CLOEXEC), status;
	pid_t pid;

	if (input < 0)
		return -errno;
	if (write(input, text, text_bytes) != (ssize_t)text_bytes || lseek(input, 0, SEEK_SET)) {
		close(input);
		return -ENOMEM;
	}
	fflush(stdout);
	pid = fork();
	if (!pid)
		exec_child(command, input, !rescue);
	status = pid < 0 ? -errno : wait_for(pid, rescue, reason);
	close(input);
	return status;
}

int ddrescue_found(void)
{
	const struct command version = { .argument = { PROGRAM, "--version" } };
	int reason, status = run(&version, "", 0, NULL, &reason);

	if (!status)
		return EX_OK;
	return ctl_fail(EX_UNAVAILABLE, "this needs GNU ddrescue: install the package gddrescue");
}

int ddrescue_fail_written(const struct ddrescue *rescue)
{
	return ctl_fail(EX_DATAERR,
			"%s was written while it was copied: the copy is a mixture, worth nothing (end who writes, then begin anew "
			"with --force)",
			rescue->name);
}

static int step(const struct ddrescue *rescue, const struct command *command, const char *text, size_t text_bytes)
{
	int status, reason = EX_OK;
	size_t i;

	if (rescue->dry_run) {
		fputs("would run:", stdout);
		for (i = 0; command->argument[i]; i++)
			printf(" %s", command->argument[i]);
		putchar('\n');
		return EX_OK;
	}
	status = run(command, text, text_bytes, rescue, &reason);
	if (reason == EX_DATAERR)
		return ddrescue_fail_written(rescue);
	if (ctl_stop_signal)
		return STATUS_SIGNALLED + ctl_stop_signal;
	if (reason)
		return ctl_fail(EX_TEMPFAIL, "main of %s stopped answering; go on when it does again (remapctl status %s)",
				rescue->name, rescue->name);
	if (status == STATUS_SIGNALLED + SIGINT || status == STATUS_SIGNALLED + SIGTERM)
		return status;
	if (status < 0)
		return ctl_fail(EX_OSERR, "ddrescue can't be started: %s", strerror(-status));
	if (status)
		return ctl_fail(EX_IOERR, "ddrescue ended with status %d: %s does not take the copy, or %s can't be written", status,
				rescue->target, rescue->mapfile);
	return EX_OK;
}

int ddrescue_copy_rest(const struct ddrescue *rescue, const struct badmap *late)
{
	struct command command;
	char *domain = NULL;
	size_t domain_bytes;
	FILE *out = open_memstream(&domain, &domain_bytes);
	int status;

	if (!out)
		return ctl_fail(EX_OSERR, "out of memory");
	badmap_write_mapfile(late, rescue->length_sectors, '-', '+', out);
	if (fclose(out)) {
		free(domain);
		return ctl_fail(EX_OSERR, "out of memory");
	}
	begin(&command, rescue);
	add(&command, "--idirect");
	add(&command, "--no-trim");
	add(&command, "--no-scrape");
	add(&command, "--domain-mapfile=-");
	finish(&command, rescue->source, rescue);
	status = step(rescue, &command, domain, domain_bytes);
	free(domain);
	return status;
}

int ddrescue_copy_all(const struct ddrescue *rescue)
{
	struct command command;

	begin(&command, rescue);
	snprintf(command.retries, sizeof(command.retries), "--retry-passes=%u", rescue->retries);
	add(&command, "--idirect");
	add(&command, command.retries);
	finish(&command, rescue->source, rescue);
	return step(rescue, &command, "", 0);
}

int ddrescue_mark(const struct ddrescue *rescue)
{
	struct command command;

	begin(&command, rescue);
	add(&command, "--fill-mode=-l");
	finish(&command, "/dev/stdin", rescue);
	return step(rescue, &command, MARK_TEXT, strlen(MARK_TEXT));
}
