/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The web server: metrics, the status page and what it asks for. Reads remapd's socket anew for each request. */
#ifndef REMAP_HTTP_H
#define REMAP_HTTP_H

#include <netinet/in.h>
#include <sys/socket.h>

struct http_settings {
	const char *socket_path; /* remapd's */
	const char *telemetry_path; /* "/metrics" */
	int socket_timeout_ms;
	struct sockaddr_storage listen_address;
	int listen_fd; /* from systemd; -1: listen_address is bound */
};

struct http_server;

/* settings must live as long as the server. NULL: errno says why. */
struct http_server *http_start(const struct http_settings *settings);

/* The port that the server is bound to, 0 if that can't be told. */
unsigned int http_port(struct http_server *server);

/* Waits for requests under way. */
void http_stop(struct http_server *server);

#endif
