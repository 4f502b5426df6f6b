// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* remap-exporter: remapd's state for Prometheus and for people. Needs no rights beyond reading the socket. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "exporter/http.h"
#include "loader/client.h"

#define EXPORTER_VERSION "0.1.0"
#define DEFAULT_LISTEN_ADDRESS "127.0.0.1:9994"
#define DEFAULT_TELEMETRY_PATH "/metrics"
/* Below Prometheus' own limit of 10 s, so that remapd_up 0 is scraped and not lost. */
#define SOCKET_TIMEOUT_MS 3000
/* systemd's first descriptor, sd_listen_fds(3). */
#define LISTEN_FDS_START 3

enum option_id {
	OPTION_LISTEN_ADDRESS = 256,
	OPTION_TELEMETRY_PATH,
	OPTION_SYSTEMD_SOCKET,
	OPTION_SOCKET,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct option options[] = {
	{ "web.listen-address", required_argument, NULL, OPTION_LISTEN_ADDRESS },
	{ "web.telemetry-path", required_argument, NULL, OPTION_TELEMETRY_PATH },
	{ "web.systemd-socket", no_argument, NULL, OPTION_SYSTEMD_SOCKET },
	{ "socket", required_argument, NULL, OPTION_SOCKET },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ NULL, 0, NULL, 0 },
};

static void print_help(void)
{
	fputs("Usage: remap-exporter [OPTION...]\n"
	      "Serves remapd's state as Prometheus metrics and as a page.\n\n"
	      "  --web.listen-address=HOST:PORT  default " DEFAULT_LISTEN_ADDRESS "; \":PORT\" is every address\n"
	      "  --web.telemetry-path=PATH       default " DEFAULT_TELEMETRY_PATH "\n"
	      "  --web.systemd-socket            serve the socket that systemd passes\n"
	      "  --socket=PATH                   remapd's, default " REMAP_SOCKET_PATH "\n"
	      "  --help, --version\n",
	      stdout);
}

static int fail(int status, const char *what, const char *why)
{
	fprintf(stderr, "remap-exporter: %s: %s\n", what, why);
	return status;
}

/* "127.0.0.1:9994", "[::1]:9994", "localhost:9994", ":9994". EX_OK or EX_USAGE. */
static int parse_address(const char *text, struct sockaddr_storage *address)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	const char *colon = strrchr(text, ':');
	struct addrinfo *found;
	char host[256];
	size_t length;
	int err;

	length = colon ? (size_t)(colon - text) : 0;
	if (!colon || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1) || length >= sizeof(host) ||
	    strtoul(colon + 1, NULL, 10) > 65535)
		return fail(EX_USAGE, text, "a listen address is HOST:PORT, for example " DEFAULT_LISTEN_ADDRESS);
	if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
		text++;
		length -= 2;
	}
	memcpy(host, text, length);
	host[length] = '\0';
	err = getaddrinfo(*host ? host : NULL, colon + 1, &hints, &found);
	if (err)
		return fail(EX_USAGE, text, gai_strerror(err));
	memcpy(address, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return EX_OK;
}

static int systemd_socket(int *fd)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

	if (!pid || !fds || strtol(pid, NULL, 10) != getpid() || strtol(fds, NULL, 10) != 1)
		return fail(EX_USAGE, "--web.systemd-socket", "systemd passed no socket, or more than one");
	*fd = LISTEN_FDS_START;
	return EX_OK;
}

static int parse_options(int argc, char **argv, struct http_settings *settings, const char **listen_address)
{
	int id;

	opterr = 0;
	while ((id = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (id) {
		case OPTION_LISTEN_ADDRESS:
			*listen_address = optarg;
			break;
		case OPTION_TELEMETRY_PATH:
			settings->telemetry_path = optarg;
			break;
		case OPTION_SYSTEMD_SOCKET:
			if (systemd_socket(&settings->listen_fd))
				return EX_USAGE;
			break;
		case OPTION_SOCKET:
			settings->socket_path = optarg;
			break;
		case OPTION_HELP:
			print_help();
			exit(EX_OK);
		case OPTION_VERSION:
			puts("remap-exporter " EXPORTER_VERSION);
			exit(EX_OK);
		case ':':
			return fail(EX_USAGE, argv[optind - 1], "needs a value (see remap-exporter --help)");
		default:
			return fail(EX_USAGE, argv[optind - 1], "unknown option (see remap-exporter --help)");
		}
	}
	if (optind < argc)
		return fail(EX_USAGE, argv[optind], "takes no arguments (see remap-exporter --help)");
	if (settings->telemetry_path[0] != '/' || !settings->telemetry_path[1])
		return fail(EX_USAGE, settings->telemetry_path, "the telemetry path begins with / and is not the page's");
	return EX_OK;
}

int main(int argc, char **argv)
{
	static struct http_settings settings = {
		.telemetry_path = DEFAULT_TELEMETRY_PATH,
		.socket_timeout_ms = SOCKET_TIMEOUT_MS,
		.listen_fd = -1,
	};
	const char *listen_address = DEFAULT_LISTEN_ADDRESS;
	struct http_server *server;
	sigset_t stop;
	int status, signal_nr;

	status = parse_options(argc, argv, &settings, &listen_address);
	if (!status && settings.listen_fd < 0)
		status = parse_address(listen_address, &settings.listen_address);
	if (status)
		return status;
	settings.socket_path = client_socket_path(settings.socket_path);

	/* Blocked in every thread that the server starts; a client that goes away is an errno. */
	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	signal(SIGPIPE, SIG_IGN);
	server = http_start(&settings);
	if (!server)
		return fail(EX_UNAVAILABLE, settings.listen_fd < 0 ? listen_address : "the socket from systemd",
			    errno ? strerror(errno) : "can't listen");
	fprintf(stderr, "remap-exporter: listening on port %u, reading %s\n", http_port(server), settings.socket_path);
	sigwait(&stop, &signal_nr);
	http_stop(server);
	return EX_OK;
}
