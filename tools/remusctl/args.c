/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From an argument vector to a request, by a verb's table. Options are written --name VALUE or --name=VALUE, in
 * full (an abbreviation that works today is ambiguous tomorrow, in somebody's script); "--" ends them.
 */
#include "verb.h"

#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "remus/util.h"

const struct ctl_option ctl_common_options[] = {
	{"control", NULL, CTL_TEXT, "PATH", .check = ctl_check_text, .help = "remusd's control socket"},
	{"timeout", NULL, CTL_NUMBER, "S", 1, 86400, .help = "give up when remusd says nothing for so long"},
	{NULL},
};

static const struct ctl_option *find(const struct ctl_verb *verb, const char *name, size_t length)
{
	const struct ctl_option *tables[] = {verb->options, verb->request ? ctl_common_options : NULL};

	for (size_t t = 0; t < REMUS_ARRAY_SIZE(tables); t++)
		for (const struct ctl_option *o = tables[t]; o && o->name; o++)
			if (!strncmp(o->name, name, length) && !o->name[length])
				return o;
	return NULL;
}

int ctl_verb_to_front(int argc, char *argv[], struct remus_error *err)
{
	int i = 1;

	while (i < argc && argv[i][0] == '-') {
		const char *name = argv[i] + (argv[i][1] == '-' ? 2 : 1);
		const struct ctl_option *o = ctl_common_options;
		size_t length = strcspn(name, "=");
		while (o->name && (strncmp(o->name, name, length) || o->name[length]))
			o++;
		if (!o->name)
			return remus_fail(err, -EINVAL, "%s may only come after a verb", argv[i]);
		i += strchr(name, '=') ? 1 : 2;
	}
	if (i >= argc)
		return remus_fail(err, -EINVAL, "no verb is given");
	char *verb = argv[i];
	memmove(argv + 2, argv + 1, (size_t)(i - 1) * sizeof *argv);
	argv[1] = verb;
	return 0;
}

static bool has_word(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = words; n && p; p = strchr(p, ' '), p = p ? p + 1 : NULL)
		if (!strncmp(p, word, n) && (p[n] == ' ' || !p[n]))
			return true;
	return false;
}

static int parse_number(const struct ctl_option *o, const char *text, json_t **out, struct remus_error *err)
{
	size_t n = strlen(text), digits = strspn(text, "0123456789");
	long number = n && n == digits && n < 12 ? strtol(text, NULL, 10) : -1;

	if (number < o->min || number > o->max)
		return remus_fail(err, -EINVAL, "--%s takes a whole number from %ld to %ld (%s), not \"%s\"",
				  o->name, o->min, o->max, o->value, text);
	*out = json_integer(number);
	return 0;
}

static int parse_value(const struct ctl_option *o, const char *text, json_t **out, struct remus_error *err)
{
	struct remus_error why = REMUS_ERROR_INIT;

	switch (o->kind) {
	case CTL_FLAG:
	case CTL_OFF:
		*out = json_boolean(o->kind == CTL_FLAG);
		break;
	case CTL_NUMBER:
		return parse_number(o, text, out, err);
	case CTL_WORD:
		if (!has_word(o->words, text))
			return remus_fail(err, -EINVAL, "--%s takes one of: %s; not \"%s\"", o->name,
					  o->words, text);
		*out = json_string(text);
		break;
	case CTL_TEXT:
	case CTL_LIST:
		if (o->check(text, &why))
			return remus_fail(err, -EINVAL, "--%s: \"%.200s\" %s", o->name,
					  ctl_check_text(text, NULL) ? "" : text, why.message);
		*out = json_string(text);
		break;
	}
	return *out ? 0 : remus_fail(err, -ENOMEM, "no memory");
}

static int store(struct ctl_call *call, const struct ctl_option *o, const char *text, struct remus_error *err)
{
	json_t *object = o->member ? call->request : call->local, *value = NULL;
	const char *key = o->member ? o->member : o->name;

	int rc = parse_value(o, text, &value, err);
	if (rc)
		return rc;
	json_t *old = json_object_get(object, key);
	if (o->kind == CTL_LIST) {
		if (!old)
			json_object_set_new(object, key, old = json_array());
		json_array_append_new(old, value);
		return 0;
	}
	if (old && !json_equal(old, value)) {
		json_decref(value);
		return remus_fail(err, -EINVAL, "--%s is given twice, with different values", o->name);
	}
	json_object_set_new(object, key, value);
	return 0;
}

/* One option at argv[*i]; *i moves on to its value where that is a word of its own. */
static int parse_option(struct ctl_call *call, int argc, char *const argv[], int *i, struct remus_error *err)
{
	const char *name = argv[*i] + 2, *equals = strchr(name, '=');
	size_t length = equals ? (size_t)(equals - name) : strlen(name);
	const struct ctl_option *o = find(call->verb, name, length);

	if (!o)
		return remus_fail(err, -EINVAL, "%s has no option --%.*s", call->verb->name, (int)length,
				  name);
	if (o->kind == CTL_FLAG || o->kind == CTL_OFF) {
		if (equals)
			return remus_fail(err, -EINVAL, "--%s takes no value, not \"%s\"", o->name,
					  equals + 1);
		return store(call, o, "", err);
	}
	if (!equals && *i + 1 >= argc)
		return remus_fail(err, -EINVAL, "--%s needs a value: --%s %s", o->name, o->name, o->value);
	return store(call, o, equals ? equals + 1 : argv[++*i], err);
}

static int parse_operand(struct ctl_call *call, const char *text, struct remus_error *err)
{
	const struct ctl_verb *verb = call->verb;
	bool domain = strstr(verb->operand, "DOMAIN") != NULL;
	json_t *object = domain ? call->request : call->local;
	const char *key = domain ? "domain" : "operand";

	if (!verb->operand[0])
		return remus_fail(err, -EINVAL, "%s takes no argument, not \"%s\"", verb->name, text);
	if (json_object_get(object, key))
		return remus_fail(err, -EINVAL, "%s takes one %s; \"%s\" is one too many", verb->name,
				  domain ? "domain" : "argument", text);
	REMUS_AUTO_FREE char *meant = NULL;
	int rc = domain ? ctl_domain(text, verb->locator, &meant, err) : 0;
	if (rc)
		return rc;
	json_object_set_new(object, key, json_string(meant ? meant : text));
	return 0;
}

int ctl_parse(const struct ctl_verb *verb, int argc, char *const argv[], struct ctl_call *out,
	      struct remus_error *err)
{
	bool options = true;
	int rc = 0;

	*out = (struct ctl_call){.verb = verb, .request = json_object(), .local = json_object()};
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			out->help = true;
			return 0;
		}
	if (verb->request)
		json_object_set_new(out->request, "verb", json_string(verb->request));
	for (int i = 1; i < argc && !rc; i++) {
		if (options && !strcmp(argv[i], "--"))
			options = false;
		else if (options && !strncmp(argv[i], "--", 2))
			rc = parse_option(out, argc, argv, &i, err);
		else if (options && argv[i][0] == '-')
			rc = remus_fail(err, -EINVAL, "%s has no option %s", verb->name, argv[i]);
		else
			rc = parse_operand(out, argv[i], err);
	}
	if (!rc && !strcmp(verb->operand, "DOMAIN") && !json_object_get(out->request, "domain"))
		rc = remus_fail(err, -EINVAL, "%s which DOMAIN?", verb->name);
	if (!rc && verb->check)
		rc = verb->check(out, err);
	if (rc)
		ctl_call_clear(out);
	return rc;
}

void ctl_call_clear(struct ctl_call *call)
{
	json_decref(call->request);
	json_decref(call->local);
	call->request = call->local = NULL;
}

bool ctl_flag(const struct ctl_call *call, const char *name)
{
	return json_is_true(json_object_get(call->local, name));
}

const char *ctl_text(const struct ctl_call *call, const char *name)
{
	return json_string_value(json_object_get(call->local, name));
}

long ctl_number(const struct ctl_call *call, const char *name, long otherwise)
{
	const json_t *value = json_object_get(call->local, name);

	return value ? (long)json_integer_value(value) : otherwise;
}
