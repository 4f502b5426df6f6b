/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The local socket between remapd and its clients (remapctl, remap-exporter).
 *
 * One request and one answer a line, each a JSON object; docs/protocol.md has every member. A client sends as many
 * requests as it likes over one connection; answers come in order.
 */
#ifndef REMAP_PROTOCOL_H
#define REMAP_PROTOCOL_H

#define REMAP_PROTOCOL_VERSION 1

/* Overridden by --socket and by this environment variable, in that order. */
#define REMAP_SOCKET_PATH "/run/dm-remap/remapd.sock"
#define REMAP_SOCKET_ENV "REMAPD_SOCKET"

/* What remapd and remapctl keep over restarts. */
#define REMAP_STATE_DIR "/var/lib/dm-remap"

/* Longest request line that the daemon reads, in bytes, with its newline. */
#define REMAP_REQUEST_BYTES_MAX 4096

#define REMAP_CMD_STATE "state"
#define REMAP_CMD_EXTENTS "extents"
#define REMAP_CMD_EXPLAIN "explain"
#define REMAP_CMD_EVENTS "events"
#define REMAP_CMD_POLICY "policy"

#endif
