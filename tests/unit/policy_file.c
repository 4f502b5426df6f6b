// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The policy file: what is good is read, what is wrong is pointed at, garbage harms nothing. Run
 * from the top of the tree.
 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "loader/policy_file.h"
#include "loader/policy_knobs.h"

#define INSTALLED    "loader/policy.yaml"
#define PAGE	     "docs/policy.md"
#define MANUAL	     "docs/man/remap-policy.5"
#define FUZZ_SECONDS 3.0

static char *slurp(const char *path, size_t *bytes)
{
	char *text = malloc(POLICY_FILE_BYTES_MAX);
	FILE *f = fopen(path, "r");

	assert_non_null(text);
	if (!f)
		fail_msg("%s is missing; run from the top of the tree", path);
	*bytes = fread(text, 1, POLICY_FILE_BYTES_MAX - 1, f);
	text[*bytes] = '\0';
	fclose(f);
	return text;
}

static void parse_good(const char *text, struct policy *p)
{
	char error[POLICY_ERROR_MAX];

	if (policy_parse("good", text, strlen(text), p, error) != 0)
		fail_msg("%s", error);
	assert_string_equal(error, "");
}

static void test_installed_file_is_the_default(void **state)
{
	static struct policy read, built_in;
	char error[POLICY_ERROR_MAX];

	assert_int_equal(policy_load(INSTALLED, &read, error), 0);
	policy_default(&built_in);
	assert_memory_equal(&read, &built_in, sizeof(read));
	assert_int_equal(read.settings.mode, POLICY_OBSERVE);
}

/* What health's defaults are without a file and what the file's are is one thing. */
static void test_defaults_agree(void **state)
{
	static struct policy p;
	struct health_options opt;

	policy_default(&p);
	health_options_default(&opt);
	assert_memory_equal(&p.settings.health, &opt, sizeof(opt));
	assert_true(health_bytes(&opt) > 0);
}

static void test_rules(void **state)
{
	static struct policy p;

	parse_good("version: 1\n"
		   "devices:\n"
		   "- match: {dm_name: \"data*\", serial: 'Z 1'}\n"
		   "  mode: act\n"
		   "  caps: {relocations_per_hour: 3}\n"
		   "- match:\n"
		   "    wwn: naa.5000\n"
		   "  slow:\n"
		   "    # nothing but a comment\n"
		   "slow:\n"
		   "  min_ms: 12.5\n"
		   "guards: {several_disks: 0, device_slow_factor: 0, fresh_boot_s: 0.25}\n",
		   &p);
	assert_int_equal(p.rules, 2);
	assert_string_equal(p.rule[0].match.dm_name, "data*");
	assert_string_equal(p.rule[0].match.serial, "Z 1");
	assert_string_equal(p.rule[0].match.wwn, "");
	assert_int_equal(p.rule[0].settings.mode, POLICY_ACT);
	assert_int_equal(p.rule[0].settings.relocations_per_hour, 3);
	assert_int_equal(p.rule[0].settings.health.slow_min_ns, 12500000);
	assert_int_equal(p.settings.relocations_per_hour, 10);
	assert_int_equal(p.rule[1].settings.mode, POLICY_OBSERVE);
	assert_int_equal(p.rule[1].settings.several_disks, 0);
	assert_int_equal(p.rule[1].settings.fresh_boot_ns, 250000000);
}

/* A policy for demonstrations can be written: it acts within seconds. */
static void test_quick_policy(void **state)
{
	static struct policy p;

	parse_good("version: 1\nmode: act\nevidence: {incident_gap_s: 0.5}\n"
		   "reread: {confirmations: 2, interval_s: 1}\n"
		   "guards: {fresh_boot_s: 0, baseline_s: 0}\ncaps: {relocations_per_hour: 1000}\n",
		   &p);
	assert_true(health_bytes(&p.settings.health) > 0);
	assert_int_equal(p.settings.health.reread_interval_ns, 1000000000);
}

static void test_errors(void **state)
{
	static const struct {
		const char *text, *error;
	} bad[] = {
		{ "", "f:1:1: the file is empty, begin with \"version: 1\"" },
		{ "# nothing\n", "f:1:1: the file is empty, begin with \"version: 1\"" },
		{ "- 1\n", "f:1:1: the file must be a mapping, write \"name: value\" lines here" },
		{ "mode: act\n", "f:1:1: version is missing, begin with \"version: 1\"" },
		{ "version: 2\n",
		  "f:1:10: version '2' is not known to this program, write \"version: 1\"" },
		{ "version: 1\nmode: on\n",
		  "f:2:7: mode can't be 'on', write off, observe or act" },
		{ "version: 1\nmode: [act]\n",
		  "f:2:7: mode can't be 'a list', write off, observe or act" },
		{ "version: 1\ngaurds: {}\n",
		  "f:2:1: unknown key 'gaurds', known here: version, devices, mode, slow, evidence, reread, cost, caps, "
		  "guards" },
		{ "version: 1\nslow:\n  min: 3\n",
		  "f:3:3: unknown knob 'min', known in slow: min_ms, median_factor, p99_factor" },
		{ "version: 1\nslow: 3\n",
		  "f:2:7: slow must be a mapping, write \"name: value\" lines here" },
		{ "version: 1\nslow:\n  min_ms: fast\n",
		  "f:3:11: slow.min_ms can't be 'fast', write a number from 0.01 to 60000" },
		{ "version: 1\nslow:\n  min_ms: 50 ms\n",
		  "f:3:11: slow.min_ms can't be '50 ms', write a number from 0.01 to 60000" },
		{ "version: 1\nslow:\n  min_ms: -1\n",
		  "f:3:11: slow.min_ms can't be -1, write a number from 0.01 to 60000" },
		{ "version: 1\nslow:\n  min_ms: 0x20\n",
		  "f:3:11: slow.min_ms can't be '0x20', write a number from 0.01 to 60000" },
		{ "version: 1\nslow:\n  min_ms: 1e999\n",
		  "f:3:11: slow.min_ms can't be '1e999', write a number from 0.01 to 60000" },
		{ "version: 1\nslow:\n  min_ms: {}\n",
		  "f:3:11: slow.min_ms can't be 'a mapping', write a number from 0.01 to 60000" },
		{ "version: 1\nslow:\n  min_ms:\n",
		  "f:3:10: slow.min_ms can't be '', write a number from 0.01 to 60000" },
		{ "version: 1\nreread: {max: 2.5}\n",
		  "f:2:15: reread.max can't be '2.5', write a whole number from 1 to 1000" },
		{ "version: 1\nguards: {several_disks: 1}\n",
		  "f:2:25: guards.several_disks can't be 1, write a number from 2 to 1024, or 0" },
		{ "version: 1\nevidence: {recurrence: 1}\n",
		  "f:2:24: evidence.recurrence can't be 1, write a number from 2 to 1000" },
		{ "version: 1\nmode: act\nmode: off\n",
		  "f:3:1: 'mode' stands here a second time, the first is in line 2; remove one" },
		{ "version: 1\nslow: {min_ms: 1, min_ms: 2}\n",
		  "f:2:19: 'min_ms' stands here a second time, the first is in line 2; remove one" },
		{ "version: 1\n? [a]\n: 1\n", "f:2:3: a key must be a name, but this is a list" },
		{ "version: 1\nreread:\n  confirmations: 9\n",
		  "f:3:3: reread.confirmations is 9, but reread.max and reread.per_hour let only 8 re-reads happen; "
		  "raise them, or lower it" },
		{ "version: 1\ndevices: {}\n",
		  "f:2:10: devices must be a list, begin each of its rules with \"- match:\"" },
		{ "version: 1\ndevices:\n- mode: act\n",
		  "f:3:3: a rule needs a match, write for example \"match: {dm_name: data0}\"" },
		{ "version: 1\ndevices:\n- data0\n",
		  "f:3:3: a rule must be a mapping, write \"name: value\" lines here" },
		{ "version: 1\ndevices:\n- match: {}\n",
		  "f:3:10: match is empty, name a device: dm_name, kernel_name, wwn or serial" },
		{ "version: 1\ndevices:\n- match: {name: x}\n",
		  "f:3:11: unknown key 'name', known in match: dm_name, kernel_name, wwn, serial" },
		{ "version: 1\ndevices:\n- match: {wwn: \"a\\tb\"}\n",
		  "f:3:16: match.wwn holds a control character, remove it" },
		{ "version: 1\ndevices:\n- match: {wwn: []}\n",
		  "f:3:16: match.wwn can't be 'a list', write a name or a pattern such as \"data*\" of at most 127 bytes" },
		{ "version: 1\ndevices:\n- match: {wwn: a}\n  caps: {devices_at_once: 2}\n",
		  "f:4:10: caps.devices_at_once holds for all devices, move it to the file's top level" },
		{ "version: 1\ndevices:\n- match: {wwn: a}\n  devices: []\n",
		  "f:4:3: unknown key 'devices', known here: match, mode, slow, evidence, reread, cost, caps, guards" },
		{ "version: 1\n---\nversion: 1\n",
		  "f:3:1: a second document begins here, remove it" },
		{ "version: 1\nslow: {min_ms: 1\n",
		  "f:3:1: not YAML: did not find expected ',' or '}' while parsing a flow mapping, mend the file there" },
		{ "version: 1\n\tmode: act\n",
		  "f:2:1: not YAML: found a tab character that violates indentation while scanning a plain scalar, mend the "
		  "file there" },
		{ "version: 1\nmode: \xff\n",
		  "f:2:7: not YAML: invalid leading UTF-8 octet, mend the file there" },
		{ "version: 1\nslow: &a {min_ms: *a}\n",
		  "f:2:7: slow.min_ms can't be 'a mapping', write a number from 0.01 to 60000" },
		{ "version: 1\nslow: *b\n",
		  "f:2:7: not YAML: found undefined alias, mend the file there" },
	};
	static struct policy p, before;
	char error[POLICY_ERROR_MAX];
	size_t i;

	memset(&before, 0x5a, sizeof(before));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		p = before;
		assert_int_equal(policy_parse("f", bad[i].text, strlen(bad[i].text), &p, error),
				 EX_CONFIG);
		assert_string_equal(error, bad[i].error);
		assert_memory_equal(&p, &before, sizeof(p));
	}
}

static void test_every_knob_has_its_range(void **state)
{
	static struct policy p;
	char text[256], error[POLICY_ERROR_MAX];
	size_t i;

	for (i = 0; i < policy_knob_count; i++) {
		const struct policy_knob *k = &policy_knobs[i];
		const double inside[] = { k->min, k->max, k->value };
		const double outside[] = { k->min > 0 ? k->min * 0.9 : -1, k->max * 2 + 1 };
		size_t v;

		if (k->type == POLICY_KNOB_MODE)
			continue;
		for (v = 0; v < 3; v++) {
			/* confirmations is checked against its companions as well */
			snprintf(text, sizeof(text), "version: 1\n%s: {%s: %.15g}\n%s", k->section,
				 k->name, inside[v],
				 strcmp(k->section, "reread") ? "reread: {confirmations: 0}\n"
							      : "");
			if (!strcmp(k->section, "reread"))
				snprintf(text, sizeof(text),
					 "version: 1\nreread: {%s: %.15g%s%s%s}\n", k->name,
					 inside[v],
					 strcmp(k->name, "confirmations") ? ", confirmations: 0"
									  : "",
					 strcmp(k->name, "max") ? ", max: 1000" : "",
					 strcmp(k->name, "per_hour") ? ", per_hour: 1000" : "");
			parse_good(text, &p);
			assert_float_equal(policy_knob_get(k, &p.settings), inside[v],
					   1e-9 * inside[v]);
			assert_true(health_bytes(&p.settings.health) > 0);
		}
		for (v = 0; v < 2; v++) {
			snprintf(text, sizeof(text), "version: 1\n%s: {%s: %.15g}\n", k->section,
				 k->name, outside[v]);
			assert_int_equal(policy_parse("f", text, strlen(text), &p, error),
					 EX_CONFIG);
			assert_non_null(strstr(error, k->name));
		}
	}
}

static void test_every_knob_is_documented(void **state)
{
	const char *const paths[] = { INSTALLED, PAGE, MANUAL };
	size_t i, f, bytes;

	for (f = 0; f < 3; f++) {
		char *text = slurp(paths[f], &bytes);

		for (i = 0; i < policy_knob_count; i++)
			if (!strstr(text, policy_knobs[i].name) ||
			    !strstr(text, policy_knobs[i].section))
				fail_msg("%s does not name %s.%s", paths[f],
					 policy_knobs[i].section, policy_knobs[i].name);
		free(text);
	}
}

/*
 * docs/policy.md has a line "| `name` | unit | default | range |..." for each knob: with the
 * numbers of the table.
 */
static void test_documented_numbers(void **state)
{
	char line[160], *text;
	size_t i, bytes;

	text = slurp(PAGE, &bytes);
	for (i = 0; i < policy_knob_count; i++) {
		const struct policy_knob *k = &policy_knobs[i];

		if (k->type == POLICY_KNOB_MODE)
			continue;
		snprintf(line, sizeof(line), "| `%s` | %.15g | %.15g to %.15g%s |", k->name,
			 k->value, k->min, k->max, k->or_zero ? ", or 0" : "");
		if (!strstr(text, line))
			fail_msg("%s has no line that begins: %s", PAGE, line);
	}
	free(text);
}

static void test_yaml_and_back(void **state)
{
	static const char file[] =
		"version: 1\nmode: act\nslow: {min_ms: 0.1, p99_factor: 3.3333333}\n"
		"caps: {devices_at_once: 5}\ncost: {lost_sector: 123456789.125}\n"
		"devices:\n- match: {dm_name: 'a \"b\" \\ c'}\n  mode: off\n  reread: {per_hour: 7}\n"
		"- match: {wwn: x, serial: \"\xc3\xa9\", kernel_name: 'sd[a-c]'}\n";
	static struct policy p, again;
	char text[16384], cut[100];
	size_t n;

	parse_good(file, &p);
	n = policy_to_yaml(&p, text, sizeof(text));
	assert_int_equal(n, strlen(text));
	parse_good(text, &again);
	assert_memory_equal(&p, &again, sizeof(p));
	assert_int_equal(policy_to_yaml(&p, cut, sizeof(cut)), n);
	assert_int_equal(strlen(cut), sizeof(cut) - 1);
	assert_int_equal(policy_to_yaml(&p, NULL, 0), n);
}

static void test_other_languages_numbers(void **state)
{
	static struct policy p;
	char text[16384];

	if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8")) {
		print_message("# no language with a decimal comma is installed here\n");
		return;
	}
	parse_good("version: 1\nslow: {min_ms: 12.5}\n", &p);
	assert_int_equal(p.settings.health.slow_min_ns, 12500000);
	policy_to_yaml(&p, text, sizeof(text));
	assert_non_null(strstr(text, "12.5"));
	setlocale(LC_ALL, "C");
}

static void test_too_many_rules(void **state)
{
	static char text[65536];
	static struct policy p;
	char error[POLICY_ERROR_MAX];
	int i, n = snprintf(text, sizeof(text), "version: 1\ndevices:\n");

	for (i = 0; i < POLICY_RULES_MAX; i++)
		n += snprintf(text + n, sizeof(text) - n, "- match: {dm_name: d%d}\n", i);
	parse_good(text, &p);
	assert_int_equal(p.rules, POLICY_RULES_MAX);
	n += snprintf(text + n, sizeof(text) - n, "- match: {dm_name: one_more}\n");
	assert_int_equal(policy_parse("f", text, n, &p, error), EX_CONFIG);
	assert_string_equal(error, "f:67:3: more than 64 rules, make some into one with a pattern");
}

static void test_files(void **state)
{
	static struct policy p;
	char error[POLICY_ERROR_MAX], path[] = "/tmp/remap-policy-XXXXXX", *big;
	int fd;

	assert_int_equal(policy_load("/nonexistent/policy.yaml", &p, error), EX_NOINPUT);
	assert_string_equal(error, "/nonexistent/policy.yaml: No such file or directory");
	assert_int_equal(policy_load("/", &p, error), EX_IOERR);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	big = malloc(POLICY_FILE_BYTES_MAX + 1);
	memset(big, '#', POLICY_FILE_BYTES_MAX + 1);
	assert_int_equal(write(fd, big, POLICY_FILE_BYTES_MAX + 1), POLICY_FILE_BYTES_MAX + 1);
	assert_int_equal(policy_load(path, &p, error), EX_CONFIG);
	assert_non_null(strstr(error, "larger than 1048576 bytes"));
	free(big);
	close(fd);
	unlink(path);
}

/*
 * Random damage to the installed file: it is read or refused with one line; sanitizers watch.
 * Seeded: always the same.
 */
static void test_damaged_files(void **state)
{
	static const char *const bait[] = { "devices:\n- match: {dm_name: \"x*\"}\n",
					    "&a ",
					    "*a",
					    "{",
					    "[",
					    "\"",
					    "'",
					    ": ",
					    "- ",
					    "\n---\n",
					    "!!map ",
					    "1e308",
					    "\xff",
					    "\t",
					    "? ",
					    "|",
					    "%YAML 9.9\n",
					    "<<: *a\n",
					    "18446744073709551616",
					    "" };
	const clock_t until = clock() + (clock_t)(FUZZ_SECONDS * CLOCKS_PER_SEC);
	size_t bytes, refused = 0, taken = 0;
	char *good = slurp(INSTALLED, &bytes), *text = malloc(2 * bytes + 4096);
	static struct policy p;
	uint64_t seed = 7;

	while (clock() < until && refused + taken < 20000) {
		char error[POLICY_ERROR_MAX] = "?";
		size_t n = bytes, hits, at, length;
		int status;

		memcpy(text, good, bytes);
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		for (hits = 1 + (seed >> 60); hits > 0; hits--) {
			uint64_t r;

			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			r = seed >> 24;
			at = n ? (r >> 8) % n : 0;
			switch (r & 7) {
			case 0:
			case 1: /* another byte */
				text[at] = r >> 32;
				break;
			case 2: /* cut out */
				length = (r >> 30) % 60;
				if (length > n - at)
					length = n - at;
				memmove(text + at, text + at + length, n - at - length);
				n -= length;
				break;
			case 3: /* cut off */
				if (!(r >> 30 & 7))
					n = at;
				break;
			case 4: /* said twice */
				length = (r >> 30) % 100;
				if (length > n - at)
					length = n - at;
				memmove(text + at + length, text + at, n - at);
				n += length;
				break;
			default: /* something to choke on */
				length = strlen(bait[(r >> 30) % 20]);
				memmove(text + at + length, text + at, n - at);
				memcpy(text + at, bait[(r >> 30) % 20], length);
				n += length;
			}
		}
		status = policy_parse("f", text, n, &p, error);
		if (status == 0) {
			taken++;
			assert_true(health_bytes(&p.settings.health) > 0);
			continue;
		}
		refused++;
		assert_int_equal(status, EX_CONFIG);
		assert_int_equal(strncmp(error, "f:", 2), 0);
		assert_null(strchr(error, '\n'));
		assert_true(strlen(error) > 10);
	}
	free(text);
	free(good);
	assert_true(refused > 100);
	assert_true(taken > 10);
}

static void test_deep_and_wide(void **state)
{
	size_t i, n = 200000;
	char *text = malloc(n + 64), error[POLICY_ERROR_MAX];
	static struct policy p;

	i = sprintf(text, "version: 1\nslow: ");
	memset(text + i, '[', n - i);
	assert_int_equal(policy_parse("f", text, n, &p, error), EX_CONFIG);
	assert_string_equal(error, "f:2:14: nested more than 8 deep, this is no policy file");
	i = sprintf(text, "version: 1\n");
	while (i + 16 < n)
		i += sprintf(text + i, "k%zu: 1\n", i);
	assert_int_equal(policy_parse("f", text, i, &p, error), EX_CONFIG);
	assert_string_equal(error, "f:1:1: the file has more than 64 keys, this is no policy file");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_installed_file_is_the_default),
		cmocka_unit_test(test_defaults_agree),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_quick_policy),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_every_knob_has_its_range),
		cmocka_unit_test(test_every_knob_is_documented),
		cmocka_unit_test(test_documented_numbers),
		cmocka_unit_test(test_yaml_and_back),
		cmocka_unit_test(test_other_languages_numbers),
		cmocka_unit_test(test_too_many_rules),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_damaged_files),
		cmocka_unit_test(test_deep_and_wide),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
