/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The policy file: YAML in, struct policy out, and back again with every default filled in. All or
 * nothing: a file with one error changes nothing. docs/policy.md and remap-policy(5) document the
 * file.
 */
#ifndef REMAP_POLICY_FILE_H
#define REMAP_POLICY_FILE_H

#include <stddef.h>

#include "policy.h"

#define POLICY_PATH	      "/etc/dm-remap/policy.yaml"
#define POLICY_FILE_BYTES_MAX (1U << 20)
#define POLICY_ERROR_MAX      512

/*
 * Reads the file at path into p. Returns 0, or a sysexits status with p untouched and one line,
 * without newline, in error (size POLICY_ERROR_MAX): "FILE:LINE:COLUMN: what is wrong, how to mend
 * it". EX_NOINPUT: there is no such file or it can't be read; EX_IOERR: reading failed; EX_CONFIG:
 * its contents; EX_OSERR: no memory.
 */
int policy_load(const char *path, struct policy *p, char *error);

/* The same from memory; name stands for FILE in the error. */
int policy_parse(const char *name, const void *text, size_t bytes, struct policy *p, char *error);

/*
 * The policy as YAML, every default filled in; parsing it gives the same policy. Returns the length
 * that the whole text has, as snprintf does; at most len - 1 bytes of it are written, and a NUL if
 * len is not 0.
 */
size_t policy_to_yaml(const struct policy *p, char *text, size_t len);

#endif
