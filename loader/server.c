// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One request is answered at a time for each client: the next is read when the answer before it is gone. So a client
 * holds at most one request line and one answer. A client that neither reads nor writes for IDLE_US while it owes us
 * something (the rest of a line, the reading of an answer) is cut off.
 */
#include "loader/server.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "loader/answer.h"
#include "loader/log.h"
#include "loader/protocol.h"
#include "loader/remapd.h"

#define CLIENTS_MAX 64
#define IDLE_US (30ULL * 1000 * 1000)

struct client {
	struct client *next;
	struct daemon *daemon;
	int fd;
	sd_event_source *io, *timeout;
	char request[REMAP_REQUEST_BYTES_MAX];
	size_t request_bytes;
	char *answer;
	size_t answer_bytes, sent_bytes;
	bool ending; /* after this answer nothing is said any more... */
	bool draining; /* ...but what still comes is read, so that the answer is not lost with it */
};

static struct {
	int fd;
	sd_event_source *io;
	struct client *clients;
	unsigned int count;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
} server = { .fd = -1 };

static void drop_client(struct client *client)
{
	struct client **link = &server.clients;

	while (*link && *link != client)
		link = &(*link)->next;
	if (*link)
		*link = client->next;
	server.count--;
	sd_event_source_disable_unref(client->io);
	sd_event_source_disable_unref(client->timeout);
	close(client->fd);
	free(client->answer);
	free(client);
}

static int client_timed_out(sd_event_source *source, uint64_t now_us, void *data)
{
	drop_client(data);
	return 0;
}

/* The client has this long from now to do its part; or for ever, while it owes nothing. */
static void set_timeout(struct client *client)
{
	bool owes = client->answer || client->request_bytes;

	if (client->draining) {
		/* Its time runs, whatever it sends. */
		sd_event_source_set_io_events(client->io, EPOLLIN);
		return;
	}
	if (owes)
		sd_event_source_set_time_relative(client->timeout, IDLE_US);
	sd_event_source_set_enabled(client->timeout, owes ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
	sd_event_source_set_io_events(client->io, client->answer ? EPOLLOUT : EPOLLIN);
}

/* False: the client is gone or to be dropped. */
static bool send_answer(struct client *client)
{
	while (client->sent_bytes < client->answer_bytes) {
		ssize_t sent = send(client->fd, client->answer + client->sent_bytes,
				    client->answer_bytes - client->sent_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0)
			return errno == EAGAIN || errno == EINTR;
		client->sent_bytes += sent;
	}
	free(client->answer);
	client->answer = NULL;
	if (client->ending) {
		client->draining = true;
		client->request_bytes = 0;
		shutdown(client->fd, SHUT_WR);
		sd_event_source_set_time_relative(client->timeout, IDLE_US);
		sd_event_source_set_enabled(client->timeout, SD_EVENT_ONESHOT);
	}
	return true;
}

/* Answers the first whole line of what was read, if there is one. False: drop the client. */
static bool answer_next(struct client *client)
{
	char *newline = memchr(client->request, '\n', client->request_bytes);
	size_t line_bytes;

	if (newline) {
		line_bytes = newline - client->request;
		client->answer = answer_request(client->daemon, client->request, line_bytes, &client->answer_bytes);
		client->request_bytes -= line_bytes + 1;
		memmove(client->request, newline + 1, client->request_bytes);
	} else if (client->request_bytes == sizeof(client->request)) {
		client->answer = answer_error("the request is longer than 4096 bytes", &client->answer_bytes);
		client->ending = true;
	} else {
		return true;
	}
	client->sent_bytes = 0;
	return client->answer && send_answer(client);
}

static int client_ready(sd_event_source *source, int fd, uint32_t events, void *data)
{
	struct client *client = data;
	ssize_t got;

	if (client->answer) {
		if (!send_answer(client))
			goto drop;
	} else {
		got = recv(fd, client->request + client->request_bytes, sizeof(client->request) - client->request_bytes,
			   MSG_DONTWAIT);
		if (!got || (got < 0 && errno != EAGAIN && errno != EINTR))
			goto drop;
		if (got > 0 && !client->draining)
			client->request_bytes += got;
	}
	/* At most as many as fit into one buffer: the other clients come next. */
	while (!client->answer && client->request_bytes) {
		size_t before = client->request_bytes;

		if (!answer_next(client))
			goto drop;
		if (client->request_bytes == before)
			break;
	}
	set_timeout(client);
	return 0;
drop:
	drop_client(client);
	return 0;
}

static int client_arrived(sd_event_source *source, int fd, uint32_t events, void *data)
{
	struct daemon *d = data;
	struct client *client;
	int client_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (client_fd < 0)
		return 0;
	client = server.count < CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;
	if (!client) {
		static const char full[] = "{\"version\":1,\"ok\":false,\"error\":\"too many clients\"}\n";

		if (send(client_fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			log_line(LOG_DEBUG, "a client too many is gone already");
		close(client_fd);
		return 0;
	}
	client->daemon = d;
	client->fd = client_fd;
	client->next = server.clients;
	server.clients = client;
	server.count++;
	if (sd_event_add_io(d->loop, &client->io, client_fd, EPOLLIN, client_ready, client) < 0 ||
	    sd_event_add_time_relative(d->loop, &client->timeout, CLOCK_MONOTONIC, IDLE_US, 0, client_timed_out, client) <
		    0) {
		drop_client(client);
		return 0;
	}
	set_timeout(client);
	return 0;
}

static int make_parent(const char *path)
{
	char parent[sizeof(server.path)];

	snprintf(parent, sizeof(parent), "%s", path);
	return mkdir(dirname(parent), 0755) && errno != EEXIST ? -errno : 0;
}

/* A socket is left behind by a daemon that was killed. */
static bool someone_answers(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool answers = fd >= 0 && (!connect(fd, (const struct sockaddr *)address, sizeof(*address)) || errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return answers;
}

int server_open(struct daemon *d, gid_t gid)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t mask;
	int err;

	if (strlen(d->socket_path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, d->socket_path, strlen(d->socket_path) + 1);
	memcpy(server.path, address.sun_path, sizeof(server.path));
	err = make_parent(server.path);
	if (err)
		return err;
	if (!lstat(server.path, &st)) {
		if (!S_ISSOCK(st.st_mode))
			return -EEXIST;
		if (someone_answers(&address))
			return -EADDRINUSE;
		unlink(server.path);
	}
	server.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (server.fd < 0)
		return -errno;
	mask = umask(0117);
	err = bind(server.fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	umask(mask);
	if (!err && gid != (gid_t)-1 && chown(server.path, -1, gid))
		err = -errno;
	if (!err && listen(server.fd, 32))
		err = -errno;
	if (!err)
		err = sd_event_add_io(d->loop, &server.io, server.fd, EPOLLIN, client_arrived, d);
	if (err < 0) {
		close(server.fd);
		server.fd = -1;
	}
	return err < 0 ? err : 0;
}

void server_close(struct daemon *d)
{
	while (server.clients)
		drop_client(server.clients);
	if (server.fd < 0)
		return;
	sd_event_source_disable_unref(server.io);
	close(server.fd);
	server.fd = -1;
	unlink(server.path);
}
