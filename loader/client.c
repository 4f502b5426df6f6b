// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "loader/client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* 65 536 extents at some 100 bytes each are 7 MiB; what is far longer is not remapd. */
#define ANSWER_BYTES_MAX (64u << 20)

const char *client_socket_path(const char *given)
{
	const char *path = given ? given : getenv(REMAP_SOCKET_ENV);

	return path && *path ? path : REMAP_SOCKET_PATH;
}

__attribute__((format(printf, 3, 4))) static int fail(char *error_text, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error_text, CLIENT_ERROR_BYTES, format, args);
	va_end(args);
	return -err;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Waits for events on fd until deadline_ms. 0, -ETIMEDOUT or -errno. */
static int wait_for(int fd, short events, int64_t deadline_ms)
{
	struct pollfd ready = { .fd = fd, .events = events };

	for (;;) {
		int64_t left_ms = deadline_ms - now_ms();
		int got = poll(&ready, 1, left_ms > 0 ? (int)left_ms : 0);

		if (got > 0)
			return 0;
		if (!got)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int connect_to(const char *path, char *error_text)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(address.sun_path))
		return fail(error_text, ENAMETOOLONG, "socket path is too long: %.100s...", path);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail(error_text, errno, "socket: %s", strerror(errno));
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	err = errno;
	close(fd);
	if (err == ENOENT || err == ECONNREFUSED)
		return fail(error_text, err, "remapd is not running (no answer at %s)", path);
	return fail(error_text, err, "remapd's socket %s: %s", path, strerror(err));
}

static int send_all(int fd, const char *data, size_t bytes, int64_t deadline_ms)
{
	while (bytes) {
		ssize_t sent = send(fd, data, bytes, MSG_NOSIGNAL);

		if (sent > 0) {
			data += sent;
			bytes -= sent;
		} else if (errno == EAGAIN) {
			int err = wait_for(fd, POLLOUT, deadline_ms);

			if (err)
				return err;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

/* Reads up to the first newline. *line is the caller's to free, even after an error. */
static int receive_line(int fd, char **line, size_t *line_bytes, int64_t deadline_ms)
{
	size_t room = 0, used = 0;

	*line = NULL;
	for (;;) {
		ssize_t got;
		char *newline;

		if (used == room) {
			char *bigger;

			room = room ? room * 2 : 16384;
			if (room > ANSWER_BYTES_MAX)
				return -EMSGSIZE;
			bigger = realloc(*line, room);
			if (!bigger)
				return -ENOMEM;
			*line = bigger;
		}
		got = recv(fd, *line + used, room - used, 0);
		if (got > 0) {
			newline = memchr(*line + used, '\n', got);
			used += got;
			if (newline) {
				*line_bytes = newline - *line;
				return 0;
			}
		} else if (!got) {
			return -ECONNRESET;
		} else if (errno == EAGAIN) {
			int err = wait_for(fd, POLLIN, deadline_ms);

			if (err)
				return err;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
}

static int check_answer(json_t *root, char *error_text)
{
	json_int_t version = json_integer_value(json_object_get(root, "version"));
	const char *reason;

	if (!json_is_object(root))
		return fail(error_text, EPROTO, "remapd's answer is not a JSON object");
	if (version != REMAP_PROTOCOL_VERSION)
		return fail(error_text, EPROTO, "remapd speaks version %lld of the protocol, this program %d",
			    (long long)version, REMAP_PROTOCOL_VERSION);
	if (json_is_true(json_object_get(root, "ok")))
		return 0;
	reason = json_string_value(json_object_get(root, "error"));
	return fail(error_text, EREMOTE, "%s", reason ? reason : "remapd refused and gave no reason");
}

static int exchange(int fd, const char *request_line, size_t request_bytes, int timeout_ms, json_t **answer,
		    char *error_text)
{
	int64_t deadline_ms = now_ms() + timeout_ms;
	json_error_t json_error;
	json_t *root;
	char *line = NULL;
	size_t line_bytes = 0;
	int err;

	err = send_all(fd, request_line, request_bytes, deadline_ms);
	if (!err)
		err = receive_line(fd, &line, &line_bytes, deadline_ms);
	if (err) {
		free(line);
		if (err == -ETIMEDOUT)
			return fail(error_text, ETIMEDOUT, "remapd did not answer within %d ms", timeout_ms);
		if (err == -ECONNRESET || err == -EPIPE)
			return fail(error_text, EPROTO, "remapd closed the connection without an answer");
		return fail(error_text, -err, "remapd's answer: %s", strerror(-err));
	}
	/* Strings from devices (serial numbers) are not always what they should be; NUL is legal JSON. */
	root = json_loadb(line, line_bytes, JSON_ALLOW_NUL, &json_error);
	free(line);
	if (!root)
		return fail(error_text, EPROTO, "remapd's answer is not JSON: %s", json_error.text);
	err = check_answer(root, error_text);
	if (err) {
		json_decref(root);
		return err;
	}
	*answer = root;
	return 0;
}

int client_ask(const char *socket_path, json_t *request, int timeout_ms, json_t **answer, char *error_text)
{
	char *text, *line;
	size_t length;
	int fd, err;

	*answer = NULL;
	if (json_object_set_new(request, "version", json_integer(REMAP_PROTOCOL_VERSION)))
		return fail(error_text, ENOMEM, "out of memory");
	text = json_dumps(request, JSON_COMPACT);
	if (!text)
		return fail(error_text, EINVAL, "request can't be written as JSON");
	length = strlen(text);
	line = realloc(text, length + 2);
	if (!line || length + 1 > REMAP_REQUEST_BYTES_MAX) {
		free(line ? line : text);
		return fail(error_text, EMSGSIZE, "request is too long");
	}
	line[length] = '\n';
	fd = connect_to(socket_path, error_text);
	if (fd < 0) {
		free(line);
		return fd;
	}
	err = exchange(fd, line, length + 1, timeout_ms, answer, error_text);
	free(line);
	close(fd);
	return err;
}
