/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A main that is stale without its spare, kept from being taken for whole. The blocks that hold signatures, or may hold
 * them later, move to the spare; a copy of them goes to the state directory; main is stamped in their place. In this order,
 * each step durable before the next: whatever cuts it off, main is stamped only where the target does not look any more,
 * and doing it again completes it.
 *
 * Functions that return an int return a sysexits status, and have said what failed, unless their comment says otherwise.
 */
#ifndef REMAP_CTL_STALE_H
#define REMAP_CTL_STALE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "loader/ctl.h"
#include "loader/stale_places.h"
#include "loader/stamp.h"

#define STALE_TEXT_BYTES 512
#define SAVED_SECTORS_MAX 1024 /* in a block */
#define STALE_ALIGN_BYTES 4096 /* of memory, for I/O past the page cache */

/* ---- copies in the state directory: UUID.main, mode 0600 (ctl_saved.c) ---- */

/*
 * Whether copies can be kept there. warning: "", or why they should not be relied on. Says nothing itself: error is for the
 * caller to say (both STALE_TEXT_BYTES).
 */
int saved_check(const char *state_dir, dev_t spare_disk_devno, char *warning, char *error);

/* Begins a new file beside the one that is there. Its descriptor, which the caller closes, or a negative errno. */
int saved_begin(const char *state_dir, const char *spare_uuid);

/* Appends a copy. 0 or a negative errno, as the two below. */
int saved_append(int fd, const char *spare_uuid, uint64_t sector, uint32_t nr_sectors, const char *block);

/* The new file takes the place of the old one, durably. */
int saved_finish(int fd, const char *state_dir, const char *spare_uuid);

/* After saved_finish(): main is stamped in all these places. */
int saved_confirm(int fd);

struct saved_copy {
	uint64_t sector; /* of the remap device */
	uint32_t nr_sectors;
	char *block; /* fit for I/O past the page cache */
};

struct saved_copies {
	bool confirmed;
	size_t count;
	struct saved_copy *copy; /* in the order of writing, each block once */
};

/* All that are whole, then saved_free()'s; none if it fails. -ENOENT: there is no file. */
int saved_load(const char *state_dir, const char *spare_uuid, struct saved_copies *copies);
void saved_free(struct saved_copies *copies);

/* NULL: none. */
const struct saved_copy *saved_find(const struct saved_copies *copies, uint64_t sector);

void saved_forget(const char *state_dir, const char *spare_uuid);

/* ---- a target and the disk below it (ctl_stale.c) ---- */

struct stale {
	const struct ctl *ctl;
	char name[DMCTL_NAME_BYTES];
	char main_path[256];
	dev_t main_devno;
	dev_t spare_devno;
	struct stamp stamp; /* of sector 0 */
	int main_fd; /* past the page cache, locked */
	int device_fd; /* past the page cache, for reading */
	struct stale_blocks *blocks;
	struct saved_copies copies; /* as they were when it was opened */
	size_t block_bytes;
	char *buffer; /* one block */
};

/*
 * Opens both and lists the blocks: what is found now, all places where tools look, and what was saved before. Main stays
 * locked (flock) until stale_close(), so that no other remapctl releases what this one stamps.
 */
int stale_open(struct stale *stale, const struct ctl *ctl, const struct dmctl_device *device);
void stale_close(struct stale *stale);

/* The UUID of a device's spare, as text in @uuid (STAMP_UUID_BYTES). */
int stale_find_spare_uuid(const struct dmctl_device *device, char *uuid);

/* One block, read whole into stale->block_bytes bytes at an aligned address. */
bool stale_read_main(const struct stale *stale, uint64_t block, char *sectors);
bool stale_read_device(const struct stale *stale, uint64_t block, char *sectors);

/* Any sector of this block of main, all of it. False also if it can't be read. Both use stale->buffer. */
bool stale_has_stamp(const struct stale *stale, uint64_t block);
bool stale_is_stamped(const struct stale *stale, uint64_t block);

/*
 * Stamps a block of main, durably, and reads it back. Only for a block whose home is durably the spare, all of it: what
 * stood there is gone. Uses stale->buffer.
 */
bool stale_write_stamp(const struct stale *stale, uint64_t block);

/* Where a block of the device lives now. */
struct stale_home {
	bool on_spare;
	bool is_whole; /* and no sector of it is unread or lost */
};
int stale_find_home(const struct stale *stale, uint64_t block, struct stale_home *home);

/* ---- stamping (ctl_mark.c) ---- */

struct stale_result {
	uint64_t stamped_blocks; /* now or before */
	uint64_t left_blocks; /* that should be and are not */
	uint64_t left_sector; /* the first of these */
	const char *left_why;
	bool refused_stamps; /* some of these have a copy: main did not take the stamp */
};

/*
 * Moves, saves, stamps, verifies; copies of what is stamped already are renewed. A block that can't be, for want of a place
 * for its copy too, is left as it is and counted: the device works all the same.
 */
int stale_mark(struct stale *stale, struct stale_result *result);

/* One line on stderr if anything is left. */
void stale_print_left(const struct stale *stale, const struct stale_result *result);

/* ---- a main without, or below, its target (ctl_stale_look.c) ---- */

/* Looks for a stamp at three of the places, past the page cache. *stamp is set for STAMP_OK. Says nothing. */
enum stamp_found stale_look(const char *main_path, uint64_t main_offset_sectors, uint64_t length_sectors,
			    struct stamp *stamp);

/*
 * Was main written without its target since it was stamped? It was if it is known to have been stamped at a sector and is
 * not; *sector is the first. Without copies nobody knows: false.
 */
bool stale_was_written(const struct ctl *ctl, const char *main_path, uint64_t main_offset_sectors,
		       const char *spare_uuid, uint64_t *sector);

/* "yes", "no" or "unknown", for a person. */
const char *stale_word(enum stamp_found found);

/* ---- what the kernel and udev know (ctl_partitions.c) ---- */

/* Has udev look again at both devices of a target that comes or goes. */
void stale_tell_udev(dev_t main_devno, dev_t spare_devno);

/* The kernel's partitions of a disk: those of a stamped one must go, those of one that was released come back. */
void stale_drop_partitions(const char *path, dev_t devno);
void stale_read_partitions(const char *path);

#endif
