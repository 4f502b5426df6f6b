// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* remapd: options, start, the main loop, the end. */
#include <argp.h>
#include <errno.h>
#include <grp.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "loader/actor.h"
#include "loader/log.h"
#include "loader/protocol.h"
#include "loader/remapd.h"
#include "loader/server.h"
#include "loader/state.h"

#define ROUND_US (1000 * 1000ULL)
#define SCAN_NS (5ULL * 1000 * 1000 * 1000) /* even if no uevent said so */
#define SCAN_SOON_US (100 * 1000ULL) /* after a uevent: they come in swarms */
#define SAVE_NS (300ULL * 1000 * 1000 * 1000)
#define SETTLED_NS (600ULL * 1000 * 1000 * 1000) /* a run that goes on for so long is no crash */
#define FREEZE_WORD "remapd.freeze" /* on the kernel command line */

const char *argp_program_version = "remapd " REMAP_VERSION;

enum option_key {
	KEY_POLICY = 'p',
	KEY_SOCKET = 's',
	KEY_DEBUG = 'v',
	KEY_STATE_DIR = 256,
	KEY_PIN_DIR,
	KEY_GROUP,
	KEY_UNPIN,
	KEY_ONCE,
};

struct options {
	const char *group;
	bool once;
	bool unpin;
};

static struct daemon the_daemon = {
	.pin_dir = MONITOR_PIN_DIR,
	.policy_path = POLICY_PATH,
	.state_dir = REMAP_STATE_DIR,
};
static struct options options;

static error_t parse_option(int key, char *argument, struct argp_state *argp)
{
	switch (key) {
	case KEY_POLICY:
		the_daemon.policy_path = argument;
		the_daemon.policy_path_given = true;
		return 0;
	case KEY_SOCKET:
		the_daemon.socket_path = argument;
		return 0;
	case KEY_DEBUG:
		log_set_level(LOG_DEBUG);
		return 0;
	case KEY_STATE_DIR:
		the_daemon.state_dir = argument[0] ? argument : NULL;
		return 0;
	case KEY_PIN_DIR:
		the_daemon.pin_dir = argument;
		return 0;
	case KEY_GROUP:
		options.group = argument;
		return 0;
	case KEY_UNPIN:
		options.unpin = true;
		return 0;
	case KEY_ONCE:
		options.once = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(argp, "no argument is expected: %s", argument);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option argp_options[] = {
	{ "policy", KEY_POLICY, "FILE", 0, "The policy file (" POLICY_PATH "; without one there, the defaults)", 0 },
	{ "socket", KEY_SOCKET, "PATH", 0, "Listen there (" REMAP_SOCKET_PATH ", or $" REMAP_SOCKET_ENV ")", 0 },
	{ "group", KEY_GROUP, "NAME", 0, "Group that may use the socket (only root's)", 0 },
	{ "state-dir", KEY_STATE_DIR, "DIR", 0, "Keep evidence there over restarts (" REMAP_STATE_DIR "); \"\" for nowhere", 0 },
	{ "pin-dir", KEY_PIN_DIR, "DIR", 0, "Pin BPF maps and links there (" MONITOR_PIN_DIR ")", 0 },
	{ "verbose", KEY_DEBUG, NULL, 0, "Log each slow and failed I/O and each re-read", 0 },
	{ "once", KEY_ONCE, NULL, 0, "Start, look once, and end: for testing a set-up", 0 },
	{ "unpin", KEY_UNPIN, NULL, 0, "Remove what is pinned, so that counting stops, and end", 0 },
	{},
};

static const struct argp argp = {
	.options = argp_options,
	.parser = parse_option,
	.doc = "Watches disks through BPF, predicts which regions are about to fail, and has the remap target move them.\v"
	       "It runs in the foreground; a service manager or & puts it aside. SIGHUP reads the policy again; SIGTERM and "
	       "SIGINT end it, while what is pinned counts on. While /run/dm-remap/freeze exists, or with " FREEZE_WORD
	       " on the kernel command line, nothing is moved.",
};

/* ---- policy ---- */

static int load_policy(struct daemon *d)
{
	char error[POLICY_ERROR_MAX];
	struct policy *policy = malloc(sizeof(*policy));
	int status;

	if (!policy)
		return EX_OSERR;
	policy_default(policy);
	status = policy_load(d->policy_path, policy, error);
	if (status == EX_NOINPUT && !d->policy_path_given && access(d->policy_path, F_OK)) {
		log_line(LOG_NOTICE, "no %s: the default policy observes remap devices and moves nothing", d->policy_path);
		policy_default(policy);
		status = 0;
	}
	if (status) {
		snprintf(d->policy_error, sizeof(d->policy_error), "%s", error);
		log_line(LOG_ERR, "%s", error);
	} else {
		d->policy = *policy;
		d->policy_loaded_at = clock_unix();
		d->policy_error[0] = '\0';
	}
	free(policy);
	return status;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *data)
{
	struct daemon *d = data;

	sd_notify(0, "RELOADING=1");
	if (load_policy(d)) {
		event_add(&d->events, EVENT_POLICY, LOG_WARNING, "", EVENT_NO_EXTENT,
			  "the policy was not taken, the old one stays: %.180s", d->policy_error);
	} else {
		fleet_apply_policy(d);
		event_add(&d->events, EVENT_POLICY, LOG_NOTICE, "", EVENT_NO_EXTENT, "policy read again from %s",
			  d->policy_path);
	}
	sd_notify(0, "READY=1");
	return 0;
}

/* ---- the loop's other sources ---- */

static void event_seen(const struct monitor_event *event, void *data)
{
	judge_event(data, event);
}

static int on_rings(sd_event_source *source, int fd, uint32_t events, void *data)
{
	struct daemon *d = data;

	monitor_drain(d->monitor, event_seen, d);
	return 0;
}

static void save_all(struct daemon *d)
{
	static uint64_t saved_at_ns;
	static bool settled;
	uint64_t now_ns = clock_now_ns();
	struct device *device;

	if (!saved_at_ns)
		saved_at_ns = now_ns;
	if (!settled && clock_unix() - d->started_at > SETTLED_NS / 1e9) {
		settled = true;
		state_settled(d);
	}
	if (now_ns - saved_at_ns < SAVE_NS)
		return;
	saved_at_ns = now_ns;
	for (device = d->devices; device; device = device->next)
		state_save_device(d, device);
}

static int on_round(sd_event_source *source, uint64_t now_us, void *data)
{
	struct daemon *d = data;

	monitor_drain(d->monitor, event_seen, d);
	if (d->scan_due || clock_now_ns() - d->scanned_at_ns > SCAN_NS)
		fleet_scan(d);
	judge_round(d);
	save_all(d);
	if (options.once)
		return sd_event_exit(d->loop, 0);
	sd_event_source_set_time_relative(source, ROUND_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_scan_soon(sd_event_source *source, uint64_t now_us, void *data)
{
	fleet_scan(data);
	return 0;
}

/* Block devices come and go: the kernel says so to everybody, with or without a udevd. */
static int on_uevent(sd_event_source *source, int fd, uint32_t events, void *data)
{
	struct daemon *d = data;
	char message[8192];
	bool block = false;
	ssize_t bytes;

	while ((bytes = recv(fd, message, sizeof(message), MSG_DONTWAIT)) > 0)
		block |= memmem(message, bytes, "SUBSYSTEM=block", 15) != NULL;
	if (bytes < 0 && errno == ENOBUFS)
		block = true;
	if (block && !d->scan_due) {
		d->scan_due = true;
		sd_event_add_time_relative(d->loop, NULL, CLOCK_MONOTONIC, SCAN_SOON_US, 0, on_scan_soon, d);
	}
	return 0;
}

static void listen_to_uevents(struct daemon *d)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

	if (fd >= 0 && !bind(fd, (struct sockaddr *)&address, sizeof(address)) &&
	    sd_event_add_io(d->loop, NULL, fd, EPOLLIN, on_uevent, d) >= 0)
		return;
	log_line(LOG_INFO, "no uevents (%s): devices are looked for every 5 s", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static bool frozen_at_boot(void)
{
	char line[4096];
	FILE *file = fopen("/proc/cmdline", "re");
	bool found = false;
	char *word, *rest = line;

	if (file && fgets(line, sizeof(line), file))
		while ((word = strsep(&rest, " \n")))
			found |= !strcmp(word, FREEZE_WORD);
	if (file)
		fclose(file);
	return found;
}

/* ---- start ---- */

static int open_socket(struct daemon *d)
{
	gid_t gid = -1;
	int err;

	if (!d->socket_path)
		d->socket_path = getenv(REMAP_SOCKET_ENV);
	if (!d->socket_path || !d->socket_path[0])
		d->socket_path = REMAP_SOCKET_PATH;
	if (options.group) {
		struct group *group = getgrnam(options.group);

		if (!group) {
			log_line(LOG_ERR, "there is no group %s; make it with: groupadd --system %s", options.group,
				 options.group);
			return EX_CONFIG;
		}
		gid = group->gr_gid;
	}
	err = server_open(d, gid);
	if (!err)
		return 0;
	if (err == -EADDRINUSE)
		log_line(LOG_ERR, "another remapd answers on %s; stop that one, or give --socket", d->socket_path);
	else
		log_line(LOG_ERR, "can't listen on %s: %s; give --socket PATH", d->socket_path, strerror(-err));
	return err == -EADDRINUSE ? EX_UNAVAILABLE : err == -EACCES || err == -EPERM ? EX_NOPERM : EX_CANTCREAT;
}

static int load_monitor(struct daemon *d)
{
	char error_text[512];
	int err = monitor_load(d->pin_dir, &d->monitor, error_text, sizeof(error_text));

	if (!err)
		return 0;
	log_line(LOG_ERR, "%s", error_text);
	switch (err) {
	case -EBUSY:
		return EX_UNAVAILABLE;
	case -EPERM:
	case -EACCES:
		return EX_NOPERM;
	default:
		return EX_OSERR;
	}
}

static int add_sources(struct daemon *d)
{
	int err = sd_event_add_io(d->loop, NULL, monitor_event_fd(d->monitor), EPOLLIN, on_rings, d);

	if (err >= 0)
		err = sd_event_add_time_relative(d->loop, NULL, CLOCK_MONOTONIC, options.once ? 0 : ROUND_US, 0, on_round,
						 d);
	if (err >= 0)
		err = actor_init(d);
	if (err >= 0)
		err = sd_event_set_watchdog(d->loop, true);
	return err < 0 ? err : 0;
}

static int open_loop(struct daemon *d)
{
	sigset_t signals;
	int err;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	err = sd_event_default(&d->loop);
	if (err >= 0)
		err = sd_event_add_signal(d->loop, NULL, SIGTERM, NULL, NULL);
	if (err >= 0)
		err = sd_event_add_signal(d->loop, NULL, SIGINT, NULL, NULL);
	if (err >= 0)
		err = sd_event_add_signal(d->loop, NULL, SIGHUP, on_hangup, d);
	return err < 0 ? err : 0;
}

static int run(struct daemon *d)
{
	int status, err;

	status = load_policy(d);
	if (status)
		return status;
	err = open_loop(d);
	if (err) {
		log_line(LOG_ERR, "can't set up the main loop: %s", strerror(-err));
		return EX_OSERR;
	}
	status = load_monitor(d);
	if (status)
		return status;
	status = open_socket(d);
	if (status)
		return status;
	err = add_sources(d);
	if (err) {
		log_line(LOG_ERR, "can't set up the main loop: %s", strerror(-err));
		return EX_OSERR;
	}
	/* The disk that is guarded may be the one that this program and its data would be paged in from. */
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		log_line(LOG_INFO, "memory can't be locked: %s", strerror(errno));
	dmctl_init();
	state_open(d);
	d->frozen_at_boot = frozen_at_boot();
	listen_to_uevents(d);
	fleet_scan(d);
	sd_notifyf(0, "READY=1\nSTATUS=%s", d->devices ? "watching" : "no device to watch yet");
	log_line(LOG_INFO, "remapd " REMAP_VERSION " listens on %s", d->socket_path);
	err = sd_event_loop(d->loop);
	return err < 0 ? EX_SOFTWARE : 0;
}

int main(int argc, char **argv)
{
	struct daemon *d = &the_daemon;
	int status, err;

	argp_err_exit_status = EX_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (options.unpin) {
		err = monitor_unpin(d->pin_dir);
		if (err)
			log_line(LOG_ERR, "can't remove all below %s: %s", d->pin_dir, strerror(-err));
		return err ? EX_OSERR : 0;
	}
	d->started_at = clock_unix();
	status = run(d);
	sd_notify(0, "STOPPING=1");
	actor_stop();
	if (d->monitor) {
		fleet_forget_all(d);
		state_close(d);
		server_close(d);
		/* A job that waits for a disk still knows the monitor; the kernel cleans up after us. */
		if (!actor_running())
			monitor_close(d->monitor);
	}
	return status;
}
