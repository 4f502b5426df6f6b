// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The policy file (loader/policy_file.c): what is read can be written, and is read the same. */
#include <stdlib.h>
#include <string.h>

#include "loader/policy_file.h"
#include "tests/fuzz/fuzz.h"

#define SECTIONS_MAX 32

static char *as_text(const struct policy *policy)
{
	size_t bytes = policy_to_yaml(policy, NULL, 0) + 1;
	char *text = malloc(bytes);

	HOLDS(text && policy_to_yaml(policy, text, bytes) == bytes - 1);
	return text;
}

static const char *section(const char *text, size_t length)
{
	char *file = NULL;

	HOLDS(asprintf(&file, "version: 1\n%.*s", (int)length, text) > 0);
	return file;
}

/* Each section of the file with every knob of it, and a file of rules. */
const char *const *fuzz_seeds(void)
{
	static const char *texts[SECTIONS_MAX + 2] = {
		"version: 1\ndevices:\n- match: {dm_name: \"data*\"}\n  mode: act\n- match: {wwn: \"naa.5\"}\n"
		"  caps: {relocations_per_hour: 3}\n- match: {kernel_name: \"sdb\", serial: \"ZA1*\"}\n",
	};
	static struct policy policy;
	const char *at, *next;
	unsigned int nr = 1;
	char *text;

	policy_default(&policy);
	text = as_text(&policy);
	for (at = text; *at && nr < SECTIONS_MAX; at = next) {
		/* It ends before the next line that is not indented. */
		for (next = at; (next = strchr(next, '\n'));)
			if (*++next != ' ')
				break;
		next = next ? next : at + strlen(at);
		if (strncmp(at, "version", 7) && strncmp(at, "devices", 7) && *at != '#')
			texts[nr++] = section(at, next - at);
	}
	free(text);
	return texts;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct policy policy, again;
	char error[POLICY_ERROR_MAX] = "", *text, *second;
	int status = policy_parse("fuzz", data, bytes, &policy, error);

	HOLDS(!status == !*error && strlen(error) < sizeof(error));
	if (status)
		return 0;
	text = as_text(&policy);
	HOLDS(!policy_parse("again", text, strlen(text), &again, error));
	second = as_text(&again);
	HOLDS(!strcmp(text, second));
	free(text);
	free(second);
	return 0;
}
