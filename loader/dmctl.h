/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The one place where user space talks to device-mapper.
 *
 * Table line, messages and status are kmod/dm-remap.rst's. The dmctl_parse_* functions are pure (dmctl_parse.c, no
 * library); the rest runs ioctls through libdevmapper and needs CAP_SYS_ADMIN.
 *
 * Every function returns 0 or a negative errno, and then error->text (where error is not NULL) is one line for a
 * person, without a newline. Codes that all of them share:
 *
 *   -ENODEV   no device-mapper in this kernel, or /dev/mapper/control can't be opened
 *   -EPERM    not root
 *   -ENXIO    no device of that name
 *   -EMEDIUMTYPE   the device has no remap target
 *   -EPROTO   the kernel's answer is not the documented one (kept apart from what the kernel refuses)
 *   -ENOMEM
 *
 * Threads: after dmctl_init() any thread may list, read status and send messages; create, remove, suspend, resume and
 * set_uuid must not run at the same time as each other.
 *
 * udev: with a udev that runs, create, remove and resume return when it has made or removed the nodes. Without one,
 * or with DM_DISABLE_UDEV=1 in the environment, the nodes under /dev/mapper are made here.
 */
#ifndef REMAP_DMCTL_H
#define REMAP_DMCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DMCTL_TARGET "remap"
#define DMCTL_UUID_PREFIX "REMAP-"
#define DMCTL_NAME_BYTES 128
#define DMCTL_UUID_BYTES 129
#define DMCTL_DEV_BYTES 256
#define DMCTL_MAIN_ID_BYTES 64
#define DMCTL_ERROR_BYTES 512

struct dmctl_error {
	int err; /* the errno, positive; 0 if nothing failed */
	char text[DMCTL_ERROR_BYTES];
};

/* ---- the status line ---- */

enum dmctl_mode {
	DMCTL_MODE_RW,
	DMCTL_MODE_NO_NEW_MAPS,
	DMCTL_MODE_RO,
	DMCTL_MODE_FAILED,
	DMCTL_MODE_INIT,
	DMCTL_MODE_OTHER, /* a word that a later module may bring */
};

enum dmctl_main_state {
	DMCTL_MAIN_OK,
	DMCTL_MAIN_AWAY,
	DMCTL_MAIN_OTHER,
};

/*
 * The words of the status line in the order of kmod/dm-remap.rst (a unit test compares), each X(name). The first and
 * the last are words, the others are numbers; names are the members of struct dmctl_status and of the socket's "target".
 */
#define DMCTL_STATUS_NUMBERS(X) \
	X(block_sectors)        \
	X(mapped_blocks)        \
	X(free_blocks)          \
	X(retired_blocks)       \
	X(unread_sectors)       \
	X(lost_sectors)         \
	X(rescued_blocks)       \
	X(salvaged_blocks)      \
	X(proactive_blocks)     \
	X(released_blocks)      \
	X(failed_relocations)   \
	X(main_read_errors)     \
	X(main_write_errors)    \
	X(spare_read_errors)    \
	X(spare_write_errors)   \
	X(metadata_errors)      \
	X(fenced_copies)        \
	X(storm_left)           \
	X(held_ios)

struct dmctl_status {
	enum dmctl_mode mode;
	char mode_word[24]; /* as the kernel wrote it */
#define DMCTL_X(name) uint64_t name;
	DMCTL_STATUS_NUMBERS(DMCTL_X)
#undef DMCTL_X
	enum dmctl_main_state main_state;
	char main_state_word[24];
	uint64_t rewritten_blocks; /* 0 from a module that does not count them */
};

/* ---- the table line ---- */

struct dmctl_table {
	uint64_t start_sector; /* of the target in its device; 0 unless the device is stacked of several targets */
	uint64_t length_sectors;
	char main_dev[DMCTL_DEV_BYTES]; /* "major:minor" or a path */
	uint64_t main_offset_sectors;
	char spare_dev[DMCTL_DEV_BYTES];
	uint64_t spare_offset_sectors; /* in sectors of the spare device */
	char main_id[DMCTL_MAIN_ID_BYTES]; /* "" where none */
	/* -1: not in the line, the target's default holds */
	int64_t storm_budget_blocks;
	int64_t salvage_ms;
	int64_t retry_ms;
	int64_t rewrite_first; /* 0 or 1 */
};

/* ---- answers to messages ---- */

struct dmctl_remap_answer {
	uint64_t next_sector;
	uint64_t moved_blocks;
	uint64_t already_mapped_blocks;
	uint64_t unread_sectors;
};

struct dmctl_release_answer {
	uint64_t next_sector;
	uint64_t released_blocks;
	uint64_t refused_blocks;
};

enum dmctl_reason {
	DMCTL_REASON_RESCUE,
	DMCTL_REASON_SALVAGE,
	DMCTL_REASON_PROACTIVE,
	DMCTL_REASON_OTHER,
};

struct dmctl_run {
	uint64_t sector; /* of the remap device */
	uint64_t count;
	uint64_t spare_sector; /* of the spare device */
	uint64_t unread; /* sectors of the run */
	uint64_t lost;
	enum dmctl_reason reason;
};

/* ---- pure: no I/O, no memory, -EPROTO for what does not follow the grammar ---- */

/* params: a status line without "<start> <length> remap ". Words after the known ones are accepted and ignored. */
int dmctl_parse_status(const char *params, struct dmctl_status *status, struct dmctl_error *error);

/*
 * params: a table line without "<start> <length> remap "; sets all members but start and length. Option words that
 * are not known are skipped, as long as the option count is right.
 */
int dmctl_parse_table(const char *params, struct dmctl_table *table, struct dmctl_error *error);

int dmctl_parse_remap_answer(const char *text, struct dmctl_remap_answer *answer, struct dmctl_error *error);
int dmctl_parse_release_answer(const char *text, struct dmctl_release_answer *answer, struct dmctl_error *error);

/*
 * Reads the first line of a list's answer. Sets *next to the start of the following line, or to NULL after the last.
 * Returns 1 if *run was set, 0 at the end of the text, -EPROTO.
 */
int dmctl_parse_run(const char *text, struct dmctl_run *run, const char **next, struct dmctl_error *error);

/*
 * Writes the target's part of a table line, options only where they are set. Returns its length, -EINVAL for names
 * and ids that a table line can't hold, -ENOSPC if it does not fit.
 */
int dmctl_format_table(const struct dmctl_table *table, bool format_spare, char *params, size_t params_bytes);

/* "major:minor" of a table line. -EINVAL if it is anything else (a path). */
int dmctl_parse_devno(const char *word, dev_t *devno);

const char *dmctl_reason_word(enum dmctl_reason reason);

/* ---- device-mapper ---- */

struct dmctl_device {
	char name[DMCTL_NAME_BYTES];
	char uuid[DMCTL_UUID_BYTES]; /* "" where none */
	dev_t devno;
	int open_count;
	uint32_t event_nr;
	bool suspended;
	bool read_only;
	bool live_table; /* false: created, never resumed; then table is empty */
	unsigned int targets; /* of the live table; a remap target may be one of several */
	struct dmctl_table table;
	dev_t main_devno; /* 0 where the table names no major:minor */
	dev_t spare_devno;
};

/* Once, before anything else. Never fails: an absent device-mapper shows at first use. */
void dmctl_init(void);

/* Lets go of the control device; dmctl_init() may follow. */
void dmctl_exit(void);

/* 0 and version "1.0.0" if the kernel has the remap target now, -ENOENT if it has device-mapper but not the target. */
int dmctl_target_version(char *version, size_t version_bytes, struct dmctl_error *error);

/* All devices with a live remap target, ordered by name. *devices is the caller's to free(), NULL if *count is 0. */
int dmctl_list(struct dmctl_device **devices, size_t *count, struct dmctl_error *error);

/* One device by its name. -ENXIO, -EMEDIUMTYPE as above. */
int dmctl_get(const char *name, struct dmctl_device *device, struct dmctl_error *error);

/* Never flushes and never waits for I/O. */
int dmctl_status(const char *name, struct dmctl_status *status, struct dmctl_error *error);

/*
 * Messages. Each works for at most 1 MiB or about a second; ask again from next_sector. An answer whose next_sector
 * does not advance is -EPROTO, so that loops end.
 * Kernel's own refusals: -EINVAL malformed or out of range, -ENOSPC spare full, -EROFS mode ro or failed,
 * -EINTR a signal or a suspend came first, -EIO metadata could not be written.
 */
int dmctl_remap(const char *name, uint64_t sector, uint64_t count, struct dmctl_remap_answer *answer,
		struct dmctl_error *error);
int dmctl_release(const char *name, uint64_t sector, uint64_t count, struct dmctl_release_answer *answer,
		  struct dmctl_error *error);

/* Changes a live option; *value_now is what the kernel answered. */
int dmctl_set(const char *name, const char *option, uint64_t value, uint64_t *value_now, struct dmctl_error *error);

/*
 * Calls run_seen for each run from from_sector on, in order, asking as often as it takes; a return value other than
 * 0 stops and is returned. Not a snapshot: moves that happen meanwhile may or may not show.
 */
int dmctl_list_runs(const char *name, uint64_t from_sector, int (*run_seen)(const struct dmctl_run *run, void *data),
		    void *data, struct dmctl_error *error);

/*
 * Creates the device, loads the table and activates it; undone in reverse if a step fails. uuid may be NULL.
 * -EBUSY: the name is taken, or a device of the table is in use. Other refusals of the target's constructor come as its
 * errno, mostly -EINVAL, with its reason from the kernel log in error->text where that can be read.
 */
int dmctl_create(const char *name, const char *uuid, const struct dmctl_table *table, bool format_spare,
		 bool read_only, struct dmctl_error *error);

/*
 * Loads another table and makes it the live one, with a flush and without losing I/O. If the target refuses it, the
 * device goes on with the one that it has.
 */
int dmctl_reload(const char *name, const struct dmctl_table *table, bool read_only, struct dmctl_error *error);

/* Only for a device without one. */
int dmctl_set_uuid(const char *name, const char *uuid, struct dmctl_error *error);

/*
 * Waits until nobody has the device open, where udev runs: it opens devices for a moment. -EBUSY: after timeout_ms
 * somebody still has.
 */
int dmctl_wait_unused(const char *name, int timeout_ms, struct dmctl_error *error);

/* -EBUSY: open or mounted; said after some seconds where udev might be the one. */
int dmctl_remove(const char *name, struct dmctl_error *error);

int dmctl_suspend(const char *name, struct dmctl_error *error);
int dmctl_resume(const char *name, struct dmctl_error *error);

/*
 * Events of all devices through one file descriptor: open, list (event_nr), then poll for POLLIN; when it is there,
 * arm, then list again and compare event_nr. Arming before listing is what loses nothing.
 * open returns the descriptor (close-on-exec) or -errno. -EOPNOTSUPP: device-mapper before Linux 4.13.
 */
int dmctl_events_open(struct dmctl_error *error);
int dmctl_events_arm(int fd, struct dmctl_error *error);

#endif
