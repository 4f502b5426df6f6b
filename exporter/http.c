// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "exporter/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exporter/buffer.h"
#include "exporter/metrics.h"
#include "exporter/page.h"
#include "loader/client.h"

/* A scrape may wait for remapd; the others need not wait for the scrape. */
#define THREADS 4
#define CONNECTIONS_MAX 64
#define CONNECTION_TIMEOUT_S 15

#define TYPE_JSON "application/json"
#define TYPE_TEXT "text/plain; charset=utf-8"

struct http_server {
	struct MHD_Daemon *daemon;
	const struct http_settings *settings;
};

/* ---- answers ---- */

static void add_headers(struct MHD_Response *response, const char *content_type)
{
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	MHD_add_response_header(response, "Content-Security-Policy",
				"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
				"base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
}

static enum MHD_Result send_response(struct MHD_Connection *connection, unsigned int status, const char *content_type,
				     struct MHD_Response *response)
{
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	add_headers(response, content_type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

/* text must live as long as the program. */
static enum MHD_Result send_static(struct MHD_Connection *connection, unsigned int status, const char *content_type,
				   const char *text, size_t bytes)
{
	return send_response(connection, status, content_type,
			     MHD_create_response_from_buffer(bytes, (void *)text, MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result send_line(struct MHD_Connection *connection, unsigned int status, const char *line)
{
	return send_static(connection, status, TYPE_TEXT, line, strlen(line));
}

/* Takes over text, which malloc() gave. */
static enum MHD_Result send_owned(struct MHD_Connection *connection, unsigned int status, const char *content_type,
				  char *text, size_t bytes)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(bytes, text, MHD_RESPMEM_MUST_FREE);

	if (!response)
		free(text);
	return send_response(connection, status, content_type, response);
}

static enum MHD_Result send_metrics(const struct http_settings *settings, struct MHD_Connection *connection)
{
	const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
	enum metrics_format format = metrics_negotiate(accept);
	char error_text[CLIENT_ERROR_BYTES];
	struct buffer out = { 0 };
	json_t *state = NULL, *request = json_pack("{s:s}", "command", REMAP_CMD_STATE);

	/* A daemon that is down is a fact to report, not a failed scrape. */
	client_ask(settings->socket_path, request, settings->socket_timeout_ms, &state, error_text);
	json_decref(request);
	metrics_write(&out, state, format);
	json_decref(state);
	if (out.failed) {
		free(out.text);
		return send_line(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
	}
	return send_owned(connection, MHD_HTTP_OK, metrics_content_type(format), out.text, out.used_bytes);
}

/* Passes remapd's answer on, or its refusal in the same form. Takes request over. */
static enum MHD_Result send_answer(const struct http_settings *settings, struct MHD_Connection *connection,
				   json_t *request)
{
	char error_text[CLIENT_ERROR_BYTES];
	unsigned int status = MHD_HTTP_OK;
	json_t *answer = NULL;
	char *text;
	int err;

	err = client_ask(settings->socket_path, request, settings->socket_timeout_ms, &answer, error_text);
	json_decref(request);
	if (err) {
		status = err == -EREMOTE ? MHD_HTTP_NOT_FOUND : MHD_HTTP_SERVICE_UNAVAILABLE;
		answer = json_pack("{s:i, s:b, s:s}", "version", REMAP_PROTOCOL_VERSION, "ok", false, "error",
				   error_text);
	}
	text = json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	if (!text)
		return send_line(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
	return send_owned(connection, status, TYPE_JSON, text, strlen(text));
}

static const char *argument(struct MHD_Connection *connection, const char *name)
{
	return MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
}

static enum MHD_Result send_extents(const struct http_settings *settings, struct MHD_Connection *connection)
{
	const char *device = argument(connection, "device");
	json_t *request = json_pack("{s:s, s:s}", "command", REMAP_CMD_EXTENTS, "device", device ? device : "");

	if (!device || !request) {
		json_decref(request);
		return send_line(connection, MHD_HTTP_BAD_REQUEST, "which device? /api/extents?device=NAME\n");
	}
	return send_answer(settings, connection, request);
}

static enum MHD_Result send_explain(const struct http_settings *settings, struct MHD_Connection *connection)
{
	const char *device = argument(connection, "device"), *word = argument(connection, "extent");
	unsigned long long extent;
	json_t *request;
	char *end;

	errno = 0;
	extent = word ? strtoull(word, &end, 10) : 0;
	if (!device || !word || *word < '0' || *word > '9' || *end || errno || extent > INT64_MAX)
		return send_line(connection, MHD_HTTP_BAD_REQUEST, "which? /api/explain?device=NAME&extent=NUMBER\n");
	/* NULL where the name is no UTF-8. */
	request = json_pack("{s:s, s:s, s:I}", "command", REMAP_CMD_EXPLAIN, "device", device, "extent",
			    (json_int_t)extent);
	if (!request)
		return send_line(connection, MHD_HTTP_BAD_REQUEST, "no such device\n");
	return send_answer(settings, connection, request);
}

static enum MHD_Result handle(void *data, struct MHD_Connection *connection, const char *url, const char *method,
			      const char *http_version, const char *upload, size_t *upload_bytes, void **state)
{
	const struct http_settings *settings = ((struct http_server *)data)->settings;
	const struct page_file *file;
	static int seen;

	/* The first call has the headers alone; an answer is allowed from the second on. */
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*upload_bytes) {
		*upload_bytes = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return send_line(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET and HEAD only\n");
	if (!strcmp(url, settings->telemetry_path))
		return send_metrics(settings, connection);
	if (!strcmp(url, "/-/healthy"))
		return send_line(connection, MHD_HTTP_OK, "remap-exporter is healthy\n");
	if (!strcmp(url, "/api/state"))
		return send_answer(settings, connection, json_pack("{s:s}", "command", REMAP_CMD_STATE));
	if (!strcmp(url, "/api/extents"))
		return send_extents(settings, connection);
	if (!strcmp(url, "/api/explain"))
		return send_explain(settings, connection);
	file = page_find(url);
	if (file)
		return send_static(connection, MHD_HTTP_OK, file->content_type, file->start, file->end - file->start);
	return send_line(connection, MHD_HTTP_NOT_FOUND, "not found\n");
}

/* ---- start and stop ---- */

struct http_server *http_start(const struct http_settings *settings)
{
	struct http_server *server = calloc(1, sizeof(*server));
	unsigned int flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC;
	struct MHD_OptionItem where[] = {
		{ MHD_OPTION_LISTEN_SOCKET, settings->listen_fd, NULL },
		{ MHD_OPTION_END, 0, NULL },
	};

	if (!server)
		return NULL;
	server->settings = settings;
	if (settings->listen_fd < 0) {
		where[0] = (struct MHD_OptionItem){ MHD_OPTION_SOCK_ADDR, 0, (void *)&settings->listen_address };
		if (settings->listen_address.ss_family == AF_INET6)
			flags |= MHD_USE_IPv6;
	}
	errno = 0;
	server->daemon = MHD_start_daemon(flags, 0, NULL, NULL, handle, server, MHD_OPTION_ARRAY, where,
					  MHD_OPTION_THREAD_POOL_SIZE, (unsigned int)THREADS,
					  MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CONNECTIONS_MAX,
					  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)CONNECTION_TIMEOUT_S,
					  MHD_OPTION_END);
	if (!server->daemon) {
		int err = errno;

		free(server);
		errno = err;
		return NULL;
	}
	return server;
}

unsigned int http_port(struct http_server *server)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);

	return info ? info->port : 0;
}

void http_stop(struct http_server *server)
{
	MHD_stop_daemon(server->daemon);
	free(server);
}
