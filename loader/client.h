/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The client's end of remapd's socket; docs/protocol.md has the requests. */
#ifndef REMAP_CLIENT_H
#define REMAP_CLIENT_H

#include <jansson.h>

#include "loader/protocol.h"

#define CLIENT_ERROR_BYTES 256

/* The socket's path: given, else the environment's, else the built-in one. */
const char *client_socket_path(const char *given);

/*
 * Sends request (a new reference is not taken; "version" is added to it) and waits for the answer, at most timeout_ms
 * for all of it. Returns 0 and *answer, an object with "ok" true that the caller releases; or a negative errno and
 * one line in error_text (CLIENT_ERROR_BYTES):
 *   -ENOENT, -ECONNREFUSED   remapd does not run
 *   -EACCES     no permission for the socket
 *   -ETIMEDOUT
 *   -EPROTO     not JSON, another protocol version, too long, or cut off
 *   -EREMOTE    remapd refused; error_text is its reason
 */
int client_ask(const char *socket_path, json_t *request, int timeout_ms, json_t **answer, char *error_text);

#endif
