// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The policy file, read: libyaml makes a tree whose nodes know their line and column, and the table
 * of knobs says what may stand in it. Nothing reaches the caller's policy unless all of it is well.
 */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <yaml.h>

#include "loader/policy_file.h"
#include "loader/policy_knobs.h"

#define SHOWN_MAX 40 /* bytes of the file's own text that an error repeats */
#define DEPTH_MAX \
	8 /* of nesting, more than any policy has: libyaml takes minutes over 100 000 brackets */
#define KEYS_MAX 64 /* in one mapping, likewise */

struct reading {
	const char *name;
	char *error;
	yaml_document_t *document;
	struct policy policy;
};

/* ---- errors ---- */

/* Puts "NAME:LINE:COLUMN: text" in the error; line and column count from 0. Returns false. */
static __attribute__((format(printf, 4, 5))) bool fail_at(struct reading *r, size_t line,
							  size_t column, const char *format, ...)
{
	va_list args;
	int n;

	n = snprintf(r->error, POLICY_ERROR_MAX, "%.200s:%zu:%zu: ", r->name, line + 1, column + 1);
	va_start(args, format);
	vsnprintf(r->error + n, POLICY_ERROR_MAX - n, format, args);
	va_end(args);
	return false;
}

#define fail(r, node, ...) \
	fail_at(r, (node)->start_mark.line, (node)->start_mark.column, __VA_ARGS__)

/* The scalar's text, fit for a one-line message. */
static const char *shown(const yaml_node_t *node, char *buffer)
{
	size_t i, n;

	if (node->type != YAML_SCALAR_NODE)
		return node->type == YAML_MAPPING_NODE ? "a mapping" : "a list";
	n = node->data.scalar.length < SHOWN_MAX ? node->data.scalar.length : SHOWN_MAX;
	for (i = 0; i < n; i++) {
		unsigned char c = node->data.scalar.value[i];

		buffer[i] = c >= 0x20 && c < 0x7f ? c : '?';
	}
	buffer[i] = '\0';
	return buffer;
}

/* ---- the tree ---- */

static yaml_node_t *node_at(struct reading *r, int id)
{
	return yaml_document_get_node(r->document, id);
}

static bool is(const yaml_node_t *node, const char *text)
{
	return node->type == YAML_SCALAR_NODE && node->data.scalar.length == strlen(text) &&
	       memcmp(node->data.scalar.value, text, node->data.scalar.length) == 0;
}

/* "slow:" with nothing but comments below it is a section in which all is left at its default. */
static bool is_empty(const yaml_node_t *node)
{
	return node->type == YAML_SCALAR_NODE &&
	       node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!node->data.scalar.length || is(node, "~") || is(node, "null"));
}

static bool check_mapping(struct reading *r, const yaml_node_t *node, const char *what)
{
	yaml_node_pair_t *pair, *earlier;
	char text[SHOWN_MAX + 1];

	if (node->type != YAML_MAPPING_NODE)
		return fail(r, node, "%s must be a mapping, write \"name: value\" lines here",
			    what);
	if (node->data.mapping.pairs.top - node->data.mapping.pairs.start > KEYS_MAX)
		return fail(r, node, "%s has more than %d keys, this is no policy file", what,
			    KEYS_MAX);
	for (pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
		yaml_node_t *key = node_at(r, pair->key);

		if (key->type != YAML_SCALAR_NODE)
			return fail(r, key, "a key must be a name, but this is %s",
				    shown(key, text));
		for (earlier = node->data.mapping.pairs.start; earlier < pair; earlier++) {
			yaml_node_t *other = node_at(r, earlier->key);

			if (other->data.scalar.length == key->data.scalar.length &&
			    !memcmp(other->data.scalar.value, key->data.scalar.value,
				    key->data.scalar.length))
				return fail(
					r, key,
					"'%s' stands here a second time, the first is in line %zu; remove one",
					shown(key, text), other->start_mark.line + 1);
		}
	}
	return true;
}

/* The value of a key, or NULL. */
static yaml_node_t *value_of(struct reading *r, const yaml_node_t *mapping, const char *name)
{
	yaml_node_pair_t *pair;

	for (pair = mapping->data.mapping.pairs.start; pair < mapping->data.mapping.pairs.top;
	     pair++)
		if (is(node_at(r, pair->key), name))
			return node_at(r, pair->value);
	return NULL;
}

/* ---- values ---- */

/* A decimal number and nothing else: no hexadecimal, no infinity, no unit. */
static bool to_number(const yaml_node_t *node, bool whole, double *value)
{
	const char *text = (const char *)node->data.scalar.value;
	size_t length = node->data.scalar.length;
	char *end;

	if (node->type != YAML_SCALAR_NODE || !length || length > 32 ||
	    strspn(text, whole ? "0123456789" : "0123456789+-.eE") != length)
		return false;
	*value = strtod(text, &end);
	return end == text + length && isfinite(*value);
}

static bool read_mode(struct reading *r, const yaml_node_t *node, struct policy_settings *s)
{
	char text[SHOWN_MAX + 1];
	enum policy_mode m;

	for (m = POLICY_OFF; m <= POLICY_ACT; m++)
		if (is(node, policy_mode_name(m))) {
			s->mode = m;
			return true;
		}
	return fail(r, node, "mode can't be '%s', write off, observe or act", shown(node, text));
}

static bool read_knob(struct reading *r, const struct policy_knob *k, const yaml_node_t *node,
		      struct policy_settings *s)
{
	bool whole = k->type == POLICY_KNOB_COUNT;
	const char *dot = *k->section ? "." : "";
	char text[SHOWN_MAX + 1];
	double value;

	if (k->type == POLICY_KNOB_MODE)
		return read_mode(r, node, s);
	if (!to_number(node, whole, &value))
		return fail(r, node, "%s%s%s can't be '%s', write a %snumber from %.15g to %.15g%s",
			    k->section, dot, k->name, shown(node, text), whole ? "whole " : "",
			    k->min, k->max, k->or_zero ? ", or 0" : "");
	if ((value < k->min || value > k->max) && !(k->or_zero && value == 0))
		return fail(r, node, "%s%s%s can't be %s, write a number from %.15g to %.15g%s",
			    k->section, dot, k->name, shown(node, text), k->min, k->max,
			    k->or_zero ? ", or 0" : "");
	policy_knob_set(k, s, value);
	return true;
}

/* ---- sections ---- */

/* Appends name to a list of what may stand here, once. */
static void list(char *known, size_t size, const char *name)
{
	size_t at = strlen(known);

	snprintf(known + at, size - at, "%s%s", at ? ", " : "", name);
}

static bool read_section(struct reading *r, const char *section, const yaml_node_t *node,
			 struct policy_settings *s, bool top)
{
	char text[SHOWN_MAX + 1], known[256];
	yaml_node_pair_t *pair;
	size_t i;

	if (is_empty(node))
		return true;
	if (!check_mapping(r, node, section))
		return false;
	for (pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = node_at(r, pair->key);
		const struct policy_knob *found = NULL;

		known[0] = '\0';
		for (i = 0; i < policy_knob_count && !found; i++) {
			const struct policy_knob *k = &policy_knobs[i];

			if (strcmp(k->section, section) != 0)
				continue;
			if (is(key, k->name))
				found = k;
			else
				list(known, sizeof(known), k->name);
		}
		if (!found)
			return fail(r, key, "unknown knob '%s', known in %s: %s", shown(key, text),
				    section, known);
		if (found->top_only && !top)
			return fail(r, key,
				    "%s.%s holds for all devices, move it to the file's top level",
				    section, found->name);
		if (!read_knob(r, found, node_at(r, pair->value), s))
			return false;
	}
	return true;
}

/* What no knob's own range can say. */
static bool check_together(struct reading *r, const yaml_node_t *node,
			   const struct policy_settings *s)
{
	uint32_t most = s->rereads_per_hour < s->health.reread_max ? s->rereads_per_hour
								   : s->health.reread_max;
	const yaml_node_t *reread = value_of(r, node, "reread");

	if (s->confirmations > most)
		return fail(
			r, reread ? reread : node,
			"reread.confirmations is %u, but reread.max and reread.per_hour let only %u re-reads happen; "
			"raise them, or lower it",
			s->confirmations, most);
	return true;
}

/* mode and the sections, in a mapping that may hold the other keys as well. */
static bool read_settings(struct reading *r, const yaml_node_t *node, struct policy_settings *s,
			  bool top)
{
	const char *const others[] = { top ? "version" : "match", top ? "devices" : "match" };
	yaml_node_pair_t *pair;

	for (pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = node_at(r, pair->key), *value = node_at(r, pair->value);
		const char *section = "";
		char text[SHOWN_MAX + 1], known[256];
		bool found = false;
		size_t i;

		snprintf(known, sizeof(known), "%s", others[0]);
		if (top)
			list(known, sizeof(known), others[1]);
		if (is(key, others[0]) || is(key, others[1]))
			continue;
		for (i = 0; i < policy_knob_count && !found; i++) {
			const struct policy_knob *k = &policy_knobs[i];
			const char *name = *k->section ? k->section : k->name;

			if (*k->section && !strcmp(k->section, section))
				continue;
			section = k->section;
			if (!is(key, name)) {
				list(known, sizeof(known), name);
				continue;
			}
			found = true;
			if (!(*section ? read_section(r, section, value, s, top)
				       : read_knob(r, k, value, s)))
				return false;
		}
		if (!found)
			return fail(r, key, "unknown key '%s', known here: %s", shown(key, text),
				    known);
	}
	return check_together(r, node, s);
}

static bool read_pattern(struct reading *r, const char *name, const yaml_node_t *node,
			 char *pattern)
{
	char text[SHOWN_MAX + 1];
	size_t i;

	if (node->type != YAML_SCALAR_NODE || !node->data.scalar.length ||
	    node->data.scalar.length >= POLICY_NAME_MAX)
		return fail(
			r, node,
			"match.%s can't be '%s', write a name or a pattern such as \"data*\" of at most %d bytes",
			name, shown(node, text), POLICY_NAME_MAX - 1);
	for (i = 0; i < node->data.scalar.length; i++)
		if (node->data.scalar.value[i] < 0x20 || node->data.scalar.value[i] == 0x7f)
			return fail(r, node, "match.%s holds a control character, remove it", name);
	memcpy(pattern, node->data.scalar.value, node->data.scalar.length);
	pattern[node->data.scalar.length] = '\0';
	return true;
}

static bool read_match(struct reading *r, const yaml_node_t *node, struct policy_match *m)
{
	const struct {
		const char *name;
		char *pattern;
	} known[] = {
		{ "dm_name", m->dm_name },
		{ "kernel_name", m->kernel_name },
		{ "wwn", m->wwn },
		{ "serial", m->serial },
	};
	yaml_node_pair_t *pair;
	char text[SHOWN_MAX + 1];
	size_t i;

	if (!check_mapping(r, node, "match"))
		return false;
	for (pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = node_at(r, pair->key);

		for (i = 0; i < 4 && !is(key, known[i].name); i++)
			;
		if (i == 4)
			return fail(
				r, key,
				"unknown key '%s', known in match: dm_name, kernel_name, wwn, serial",
				shown(key, text));
		if (!read_pattern(r, known[i].name, node_at(r, pair->value), known[i].pattern))
			return false;
	}
	if (node->data.mapping.pairs.start == node->data.mapping.pairs.top)
		return fail(r, node,
			    "match is empty, name a device: dm_name, kernel_name, wwn or serial");
	return true;
}

static bool read_rules(struct reading *r, const yaml_node_t *node)
{
	yaml_node_item_t *item;

	if (is_empty(node))
		return true;
	if (node->type != YAML_SEQUENCE_NODE)
		return fail(r, node,
			    "devices must be a list, begin each of its rules with \"- match:\"");
	for (item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
		const yaml_node_t *rule = node_at(r, *item), *match;
		struct policy_rule *to = &r->policy.rule[r->policy.rules];

		if (r->policy.rules == POLICY_RULES_MAX)
			return fail(r, rule,
				    "more than %d rules, make some into one with a pattern",
				    POLICY_RULES_MAX);
		if (!check_mapping(r, rule, "a rule"))
			return false;
		match = value_of(r, rule, "match");
		if (!match)
			return fail(
				r, rule,
				"a rule needs a match, write for example \"match: {dm_name: data0}\"");
		to->settings = r->policy.settings;
		if (!read_match(r, match, &to->match) ||
		    !read_settings(r, rule, &to->settings, false))
			return false;
		r->policy.rules++;
	}
	return true;
}

static bool read_document(struct reading *r)
{
	const yaml_node_t *root = yaml_document_get_root_node(r->document), *version, *devices;
	char text[SHOWN_MAX + 1];

	if (!root)
		return fail_at(r, 0, 0, "the file is empty, begin with \"version: %d\"",
			       POLICY_VERSION);
	if (!check_mapping(r, root, "the file"))
		return false;
	version = value_of(r, root, "version");
	if (!version)
		return fail(r, root, "version is missing, begin with \"version: %d\"",
			    POLICY_VERSION);
	if (!is(version, "1"))
		return fail(r, version,
			    "version '%s' is not known to this program, write \"version: %d\"",
			    shown(version, text), POLICY_VERSION);
	/* Rules start from the top level, wherever in the file it stands. */
	if (!read_settings(r, root, &r->policy.settings, true))
		return false;
	devices = value_of(r, root, "devices");
	return !devices || read_rules(r, devices);
}

/* ---- YAML ---- */

static bool fail_yaml(struct reading *r, const yaml_parser_t *parser, const unsigned char *text,
		      size_t bytes)
{
	size_t line = parser->problem_mark.line, column = parser->problem_mark.column, i;

	/* Bytes that are no text have an offset only. */
	if (parser->error == YAML_READER_ERROR) {
		line = column = 0;
		for (i = 0; i < parser->problem_offset && i < bytes; i++) {
			column = text[i] == '\n' ? 0 : column + 1;
			line += text[i] == '\n';
		}
	}
	return fail_at(r, line, column, "not YAML: %s%s%s, mend the file there",
		       parser->problem ? parser->problem : "no reason given",
		       parser->context ? " " : "", parser->context ? parser->context : "");
}

/*
 * Refuses what is nested beyond reason, before the tree is made. YAML's own errors are left to the
 * second reading.
 */
static bool check_depth(struct reading *r, const void *text, size_t bytes)
{
	yaml_event_type_t type = YAML_NO_EVENT;
	yaml_parser_t parser;
	unsigned int depth = 0;
	bool good = true;
	yaml_event_t event;

	if (!yaml_parser_initialize(&parser))
		return true;
	yaml_parser_set_input_string(&parser, text, bytes);
	while (good && type != YAML_STREAM_END_EVENT && yaml_parser_parse(&parser, &event)) {
		type = event.type;
		if (type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT)
			depth++;
		else if (type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT)
			depth--;
		if (depth > DEPTH_MAX)
			good = fail_at(r, event.start_mark.line, event.start_mark.column,
				       "nested more than %d deep, this is no policy file",
				       DEPTH_MAX);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return good;
}

static int read_yaml(struct reading *r, const void *text, size_t bytes)
{
	yaml_document_t document, further;
	yaml_parser_t parser;
	bool good = false;
	int status = EX_CONFIG;

	if (!check_depth(r, text, bytes))
		return status;
	if (!yaml_parser_initialize(&parser)) {
		snprintf(r->error, POLICY_ERROR_MAX, "%.200s: out of memory", r->name);
		return EX_OSERR;
	}
	yaml_parser_set_input_string(&parser, text, bytes);
	if (!yaml_parser_load(&parser, &document)) {
		fail_yaml(r, &parser, text, bytes);
		if (parser.error == YAML_MEMORY_ERROR)
			status = EX_OSERR;
		goto out_parser;
	}
	r->document = &document;
	good = read_document(r);
	if (!good)
		goto out_document;
	if (!yaml_parser_load(&parser, &further)) {
		good = fail_yaml(r, &parser, text, bytes);
		goto out_document;
	}
	if (yaml_document_get_root_node(&further))
		good = fail(r, yaml_document_get_root_node(&further),
			    "a second document begins here, remove it");
	yaml_document_delete(&further);
out_document:
	yaml_document_delete(&document);
out_parser:
	yaml_parser_delete(&parser);
	return good ? 0 : status;
}

int policy_parse(const char *name, const void *text, size_t bytes, struct policy *p, char *error)
{
	locale_t ours, theirs;
	struct reading *r;
	int status;

	error[0] = '\0';
	if (bytes > POLICY_FILE_BYTES_MAX) {
		snprintf(error, POLICY_ERROR_MAX,
			 "%.200s:1:1: larger than %u bytes, this is no policy file", name,
			 POLICY_FILE_BYTES_MAX);
		return EX_CONFIG;
	}
	r = calloc(1, sizeof(*r));
	/* "0.5" has a point in every language. */
	ours = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	if (!r || !ours) {
		snprintf(error, POLICY_ERROR_MAX, "%.200s: out of memory", name);
		status = EX_OSERR;
		goto out;
	}
	theirs = uselocale(ours);
	r->name = name;
	r->error = error;
	policy_default(&r->policy);
	status = read_yaml(r, text, bytes);
	uselocale(theirs);
	if (!status)
		*p = r->policy;
out:
	if (ours)
		freelocale(ours);
	free(r);
	return status;
}

int policy_load(const char *path, struct policy *p, char *error)
{
	int status = EX_IOERR;
	size_t bytes;
	char *text;
	FILE *f;

	f = fopen(path, "re");
	if (!f) {
		snprintf(error, POLICY_ERROR_MAX, "%.200s: %s", path, strerror(errno));
		return EX_NOINPUT;
	}
	text = malloc(POLICY_FILE_BYTES_MAX + 1);
	if (!text) {
		snprintf(error, POLICY_ERROR_MAX, "%.200s: out of memory", path);
		fclose(f);
		return EX_OSERR;
	}
	errno = 0;
	bytes = fread(text, 1, POLICY_FILE_BYTES_MAX + 1, f);
	if (ferror(f))
		snprintf(error, POLICY_ERROR_MAX, "%.200s: can't be read: %s", path,
			 strerror(errno));
	else
		status = policy_parse(path, text, bytes, p, error);
	free(text);
	fclose(f);
	return status;
}
