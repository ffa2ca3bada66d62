/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a request's members may be. remusctl checks the operator's words, for the sake of the message; but anything
 * can write to the control socket, and what is wrong there must not reach an engine that has stopped a guest.
 * Members that no verb knows are ignored.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "client.h"
#include "remus/util.h"

#define TEXT_MAX     1023
#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

enum kind { TEXT, NUMBER, FLAG, LIST };

static const struct member {
	const char *name;
	enum kind kind;
	long long min, max; /* a number's value, a text's length */
	const char *words;  /* or NULL */
} members[] = {
	{"verb", TEXT, 1, 63, NULL},
	{"domain", TEXT, 1, 255, NULL},
	{"name", TEXT, 1, 63, NULL},
	{"to", TEXT, 1, 300, NULL},
	{"arbiter", TEXT, 1, TEXT_MAX, NULL},
	{"egress", LIST, 1, TEXT_MAX, NULL},
	{"standby_egress", LIST, 1, TEXT_MAX, NULL},
	{"on_backup_loss", TEXT, 1, 63, "solo hold"},
	{"clock", TEXT, 1, 63, "step slew"},
	{"tracking", TEXT, 1, 63, "auto uffd-wp soft-dirty compare"},
	{"interval_ms", NUMBER, 1, 10000, NULL},
	{"max_interval_ms", NUMBER, 10, 600000, NULL},
	{"on_overload", TEXT, 1, 63, "stretch throttle drop"},
	{"cache_mib", NUMBER, 1, 1048576, NULL},
	{"hold_mib", NUMBER, 1, 65536, NULL},
	{"heartbeat_ms", NUMBER, 1, 60000, NULL},
	{"dead_ms", NUMBER, 10, 600000, NULL},
	{"renew_wait_ms", NUMBER, 0, REMUS_AGENT_WAIT_MAX_MS, NULL},
	{"tls_peer", TEXT, 1, 63, NULL},
	{"seconds", NUMBER, 1, 3600, NULL},
	{"since", NUMBER, 0, (long long)1 << 53, NULL},
	{"force", FLAG, 0, 0, NULL},
	{"insecure", FLAG, 0, 0, NULL},
	{"follow", FLAG, 0, 0, NULL},
	{"wait", FLAG, 0, 0, NULL},
};

static bool one_of(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (; *words; words += strcspn(words, " "), words += *words == ' ')
		if (strcspn(words, " ") == n && !strncmp(words, word, n))
			return true;
	return false;
}

static int check_text(const struct member *m, const json_t *value, struct remus_error *err)
{
	const char *text = json_string_value(value);
	size_t n = json_string_length(value);

	if (!text || (long long)n < m->min || (long long)n > m->max)
		return remus_fail(err, -EINVAL, "%s must be a text of %lld to %lld bytes", m->name, m->min,
				  m->max);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return remus_fail(err, -EINVAL, "%s holds a control character", m->name);
	if (m->words && !one_of(m->words, text))
		return remus_fail(err, -EINVAL, "%s must be one of: %s", m->name, m->words);
	return 0;
}

static int check_list(const struct member *m, const json_t *value, struct remus_error *err)
{
	if (!json_is_array(value) || json_array_size(value) > REMUS_NICS_MAX)
		return remus_fail(err, -EINVAL, "%s must be an array of at most %d texts", m->name,
				  REMUS_NICS_MAX);
	for (size_t i = 0; i < json_array_size(value); i++) {
		int rc = check_text(m, json_array_get(value, i), err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int check_member(const struct member *m, const json_t *value, struct remus_error *err)
{
	switch (m->kind) {
	case TEXT:
		return check_text(m, value, err);
	case LIST:
		return check_list(m, value, err);
	case FLAG:
		return json_is_boolean(value) ? 0
					      : remus_fail(err, -EINVAL, "%s must be true or false", m->name);
	case NUMBER:
		break;
	}
	if (!json_is_integer(value) || json_integer_value(value) < m->min ||
	    json_integer_value(value) > m->max)
		return remus_fail(err, -EINVAL, "%s must be a whole number from %lld to %lld", m->name,
				  m->min, m->max);
	return 0;
}

/* What more than its form makes a text good. */
static int check_meaning(const json_t *request, struct remus_error *err)
{
	const char *name = json_string_value(json_object_get(request, "name"));
	const char *to = json_string_value(json_object_get(request, "to"));
	const char *arbiter = json_string_value(json_object_get(request, "arbiter"));
	REMUS_AUTO_FREE char *host = NULL, *port = NULL;
	struct remus_arbiter *probe;
	const json_t *beat = json_object_get(request, "heartbeat_ms"),
		     *dead = json_object_get(request, "dead_ms");
	json_int_t beat_ms = beat ? json_integer_value(beat) : REMUS_DEFAULT_HEARTBEAT_MS;
	int rc = 0;

	if ((dead ? json_integer_value(dead) : REMUS_DEFAULT_DEAD_MS) < 2 * beat_ms)
		return remus_fail(err, -EINVAL, "dead_ms must be at least two heartbeats (heartbeat_ms)");
	const json_t *interval = json_object_get(request, "interval_ms"),
		     *most = json_object_get(request, "max_interval_ms");
	if (most && json_integer_value(most) < (interval ? json_integer_value(interval) : 25))
		return remus_fail(err, -EINVAL, "max_interval_ms must not be less than interval_ms");
	if (name && (strspn(name, NAME_LETTERS) != strlen(name) || strchr(".-", *name)))
		return remus_fail(
			err, -EINVAL,
			"name: letters, digits, dots, dashes and underscores, the first a letter, a "
			"digit or an underscore");
	if (to) {
		rc = remus_link_parse_address(to, &host, &port, err);
		if (rc < 0)
			remus_error_prefix(err, "to");
	}
	if (rc == 0 && arbiter) {
		rc = remus_arbiter_create(arbiter, &probe, err);
		if (rc == 0)
			probe->ops->close(probe);
	}
	return rc;
}

int request_check(const json_t *request, struct remus_error *err)
{
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(members); i++) {
		const json_t *value = json_object_get(request, members[i].name);
		int rc = value ? check_member(&members[i], value, err) : 0;
		if (rc < 0)
			return rc;
	}
	return check_meaning(request, err);
}
