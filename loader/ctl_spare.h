/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the commands that work on a spare offline share. */
#ifndef REMAP_CTL_SPARE_H
#define REMAP_CTL_SPARE_H

#include "loader/ctl.h"
#include "loader/spare.h"
#include "loader/spare_device.h"

/* check's exit status; sysexits begin above. */
#define CTL_STATUS_MENDS 1
#define CTL_STATUS_LOSES 2

/*
 * Opens @path and judges what is on it, with progress on a terminal. EX_OK: both are to be let go with
 * ctl_spare_close(). Else the status, with the reason said; so too where there is no trace of a spare,
 * unless @untraced.
 */
int ctl_spare_open(const struct ctl *ctl, const char *path, enum spare_access access, bool untraced,
		   struct spare_device *device, struct spare *spare);
void ctl_spare_close(struct spare_device *device, struct spare *spare);

/* The findings, one a line, and the verdict; to stdout. */
void ctl_spare_print(const char *path, const struct spare *spare);

/* An object of all that check says. */
json_t *ctl_spare_json(const char *path, const struct spare *spare);

/* check's exit status. */
int ctl_spare_status(const struct spare *spare);

/*
 * Writes a dump to the new file @path, durably, as JSON or for a person. The status, with the reason
 * said.
 */
int ctl_spare_save(const struct spare_device *device, const struct spare *spare, const char *path,
		   bool json);

#endif
