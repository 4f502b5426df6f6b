// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* remapctl explain, events, policy: what remapd knows, and its policy file. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "loader/client.h"
#include "loader/ctl.h"
#include "loader/policy_file.h"

#define FOLLOW_INTERVAL_MS 1000
#define EVENTS_PER_REQUEST 256

static int ask(const struct ctl *ctl, json_t *request, json_t **answer)
{
	char error_text[CLIENT_ERROR_BYTES];
	int err = client_ask(ctl->socket_path, request, CTL_SOCKET_TIMEOUT_MS, answer, error_text);

	json_decref(request);
	return err ? ctl_fail_client(err, error_text) : EX_OK;
}

/* remapd's answer with this command's version in place of the protocol's. */
static int print_answer(json_t *answer)
{
	json_object_set_new(answer, "version", json_integer(REMAPCTL_JSON_VERSION));
	json_object_del(answer, "ok");
	return ctl_print_json(answer);
}

int ctl_explain(struct ctl *ctl, char **args)
{
	json_t *answer = NULL;
	const char *text;
	uint64_t extent;
	int status;

	status = ctl_parse_number("EXTENT", args[1], &extent);
	if (!status)
		status = ask(ctl, json_pack("{s:s, s:s, s:I}", "command", REMAP_CMD_EXPLAIN, "device", args[0], "extent",
					    (json_int_t)extent),
			     &answer);
	if (status)
		return status;
	if (ctl->json)
		return print_answer(answer);
	text = json_string_value(json_object_get(answer, "text"));
	if (text)
		printf("%s%s", text, *text && text[strlen(text) - 1] == '\n' ? "" : "\n");
	else
		status = ctl_fail(EX_SOFTWARE, "remapd's answer has no text");
	json_decref(answer);
	return status;
}

static bool is_of(json_t *event, const char *device)
{
	const char *name = json_string_value(json_object_get(event, "device"));

	return !device || (name && !strcmp(name, device));
}

static void print_event(json_t *event)
{
	const char *device = json_string_value(json_object_get(event, "device"));
	const char *kind = json_string_value(json_object_get(event, "kind"));
	const char *text = json_string_value(json_object_get(event, "text"));
	time_t at = (time_t)json_number_value(json_object_get(event, "at"));
	char when[32] = "?";
	struct tm local;

	if (localtime_r(&at, &local))
		strftime(when, sizeof(when), "%F %T", &local);
	printf("%s  %-10s  %-17s  %s\n", when, device ? device : "-", kind ? kind : "?", text ? text : "");
}

/* One JSON object a line in --follow, so that a reader need not wait for the end of a list. */
static int show_events(const struct ctl *ctl, json_t *events, const char *device, json_t *kept)
{
	json_t *event;
	size_t i;

	json_array_foreach(events, i, event) {
		if (!is_of(event, device))
			continue;
		if (kept)
			json_array_append(kept, event);
		else if (ctl->json && (json_dumpf(event, stdout, JSON_COMPACT) || fputc('\n', stdout) == EOF))
			return ctl_fail(EX_IOERR, "can't write to stdout");
		else if (!ctl->json)
			print_event(event);
	}
	return fflush(stdout) ? ctl_fail(EX_IOERR, "can't write to stdout") : EX_OK;
}

int ctl_events(struct ctl *ctl, char **args)
{
	json_t *kept = ctl->json && !ctl->follow ? json_array() : NULL;
	json_int_t since = (json_int_t)ctl->since;
	int status = EX_OK;

	ctl_catch_stop();
	while (!status && !ctl_stop_signal) {
		json_t *answer = NULL, *events;
		json_int_t next;
		bool more;

		status = ask(ctl, json_pack("{s:s, s:I, s:i}", "command", REMAP_CMD_EVENTS, "since", since, "max",
					    EVENTS_PER_REQUEST),
			     &answer);
		if (status)
			break;
		events = json_object_get(answer, "events");
		next = json_integer_value(json_object_get(answer, "next"));
		more = json_array_size(events) && next > since;
		status = show_events(ctl, events, args[0], kept);
		json_decref(answer);
		if (next > since)
			since = next;
		if (more)
			continue;
		if (!ctl->follow)
			break;
		poll(NULL, 0, FOLLOW_INTERVAL_MS);
	}
	if (!status && kept) {
		json_t *root = ctl_json_new();

		json_object_set(root, "events", kept);
		json_object_set_new(root, "next", json_integer(since));
		status = ctl_print_json(root);
	}
	json_decref(kept);
	return status;
}

int ctl_policy(struct ctl *ctl, char **args)
{
	char error[POLICY_ERROR_MAX], *text;
	struct policy *policy;
	size_t length;
	int status;

	if (strcmp(args[0], "check"))
		return ctl_fail(EX_USAGE, "usage: remapctl policy check FILE");
	policy = calloc(1, sizeof(*policy));
	if (!policy)
		return ctl_fail(EX_OSERR, "out of memory");
	status = policy_load(args[1], policy, error);
	if (status) {
		free(policy);
		return ctl_fail(status, "%s", error);
	}
	length = policy_to_yaml(policy, NULL, 0);
	text = malloc(length + 1);
	if (!text) {
		free(policy);
		return ctl_fail(EX_OSERR, "out of memory");
	}
	policy_to_yaml(policy, text, length + 1);
	free(policy);
	if (ctl->json) {
		json_t *root = ctl_json_new();

		json_object_update_new(root, json_pack("{s:s, s:b, s:s}", "file", args[1], "ok", true, "policy", text));
		status = ctl_print_json(root);
	} else {
		printf("# %s is good; this is what it means:\n%s", args[1], text);
	}
	free(text);
	return status;
}
