/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* remapctl's commands and what they share. Every command returns a sysexits status and has said what failed. */
#ifndef REMAP_CTL_H
#define REMAP_CTL_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "loader/dmctl.h"

#define REMAPCTL_JSON_VERSION 1
#define REMAP_PROGRAM_VERSION "0.1.0"
/* For requests that a person waits for. */
#define CTL_SOCKET_TIMEOUT_MS 5000
/* How often evacuate tries again what could not be read, if it is not told. */
#define CTL_RETRIES 3

struct ctl {
	bool json;
	bool color; /* stdout is a terminal and nobody objects */
	bool yes;
	bool dry_run;
	bool force;
	bool release_first;
	bool read_only;
	bool no_stamp;
	bool follow;
	const char *socket_path;
	const char *state_dir; /* where copies of stamped blocks are kept */
	const char *main_id; /* NULL: find one */
	const char *output; /* NULL: stdout */
	const char *save; /* where a spare's metadata goes before it is changed; NULL: nowhere */
	bool accept_stale;
	bool older;
	bool foreign;
	const char *import; /* NULL: nothing */
	bool badblocks;
	unsigned int block_bytes; /* of lists of bad blocks */
	uint64_t main_offset_sectors;
	uint64_t spare_offset_sectors;
	uint64_t since;
	int64_t storm_budget_blocks; /* -1: the target's default */
	int64_t salvage_ms;
	int64_t retry_ms;
	bool rewrite_first;
	bool live; /* copy what is in use, too */
	unsigned int retries;
};

/* args: what follows the command's name, as many as the command table in remapctl.c allows, then NULL. */
int ctl_create(struct ctl *ctl, char **args);
int ctl_assemble(struct ctl *ctl, char **args);
int ctl_unstamp(struct ctl *ctl, char **args);
int ctl_remove(struct ctl *ctl, char **args);
int ctl_status(struct ctl *ctl, char **args);
int ctl_list(struct ctl *ctl, char **args);
int ctl_remap(struct ctl *ctl, char **args);
int ctl_release(struct ctl *ctl, char **args);
int ctl_explain(struct ctl *ctl, char **args);
int ctl_events(struct ctl *ctl, char **args);
int ctl_policy(struct ctl *ctl, char **args);
int ctl_check(struct ctl *ctl, char **args);
int ctl_dump(struct ctl *ctl, char **args);
int ctl_repair(struct ctl *ctl, char **args);
int ctl_restore(struct ctl *ctl, char **args);
int ctl_export(struct ctl *ctl, char **args);
int ctl_grow(struct ctl *ctl, char **args);
int ctl_evacuate(struct ctl *ctl, char **args);

/* One line on stderr, "remapctl: ..."; returns status. */
int ctl_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for an error of dmctl, with the status that fits its errno. */
int ctl_fail_dm(const struct dmctl_error *error);

/* The same for an error of the socket's client. err: negative errno. */
int ctl_fail_client(int err, const char *text);

/* Writes root and a newline to stdout and releases it. */
int ctl_print_json(json_t *root);

/* A new object with the member "version". */
json_t *ctl_json_new(void);

/* Asks on the terminal. EX_OK to go on; else the status to end with. */
int ctl_confirm(const struct ctl *ctl, const char *question);

/* A decimal number of sectors (or of what) on the command line. EX_OK or EX_USAGE. */
int ctl_parse_number(const char *what, const char *word, uint64_t *number);

/* Set by SIGINT and SIGTERM after ctl_catch_stop(). */
extern volatile sig_atomic_t ctl_stop_signal;
void ctl_catch_stop(void);

struct stale_blocks;

/*
 * Moves the blocks of a range to the spare (ctl_move.c), with progress on a terminal. 0 or a negative errno; what was done
 * is added to *sum, and its next_sector is where this range ended.
 */
int ctl_remap_range(const char *name, uint64_t sector, uint64_t count, struct dmctl_remap_answer *sum,
		    struct dmctl_error *error);

/*
 * Moves the mapped blocks of a range back to main (ctl_move.c), except some (NULL: none). Progress goes to stderr if that is
 * a terminal. *refused counts blocks that main or the target did not take. Returns EX_OK also where some were refused.
 */
int ctl_release_range(const char *name, uint64_t sector, uint64_t count, const struct stale_blocks *except,
		      uint64_t *released, uint64_t *refused);

#endif
