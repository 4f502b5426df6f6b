/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The local socket: many clients, none of which can stop the daemon or make it grow without bound. */
#ifndef REMAP_SERVER_H
#define REMAP_SERVER_H

#include <sys/types.h>

struct daemon;

/*
 * Listens on d->socket_path, readable and writable for its owner and group (gid, or -1 to leave it). A socket that
 * nobody listens on any more is replaced. -EADDRINUSE: another daemon answers there.
 */
int server_open(struct daemon *d, gid_t gid);

/* Removes the socket; clients are cut off. */
void server_close(struct daemon *d);

#endif
