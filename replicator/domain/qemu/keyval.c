/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parsing and writing QEMU's option values. What remus passes on is always written anew from the parsed pairs,
 * never the text that came in: a disagreement with QEMU's own parser can then hide nothing.
 */
#include "config.h" /* vasprintf */

#include "keyval.h"

#include <ctype.h>
#include <stdio.h>

#include "remus/util.h"

/* Cut the first word off *@rest in place, undoubling commas; NULL at the end. */
static char *cut_word(char **rest)
{
	char *word = *rest, *from = word, *to = word;
	if (!word)
		return NULL;
	for (; *from; from++) {
		if (*from == ',' && *++from != ',') {
			*to = 0;
			*rest = from;
			return word;
		}
		*to++ = *from;
	}
	*to = 0;
	*rest = NULL;
	return word;
}

int remus_keyval_parse(const char *text, const char *implied, struct remus_keyval *out,
		       struct remus_error *err)
{
	memset(out, 0, sizeof *out);
	out->text = strdup(text);
	if (!out->text)
		return remus_fail(err, -ENOMEM, "\"%s\": out of memory", text);

	char *rest = out->text, *word;
	int rc = 0;
	while (rc == 0 && (word = cut_word(&rest))) {
		char *equals = strchr(word, '=');
		const char *key = word, *value = "on";
		if (equals) {
			*equals = 0;
			value = equals + 1;
		} else if (out->count == 0 && implied) {
			key = implied;
			value = word;
		}
		if (out->count == REMUS_KEYVAL_MAX)
			rc = remus_fail(err, -E2BIG, "\"%s\" has more than %d properties", text,
					REMUS_KEYVAL_MAX);
		else if (remus_keyval_get(out, key))
			rc = remus_fail(err, -EINVAL, "\"%s\" gives %s twice", text, key);
		else {
			out->pair[out->count].key = key;
			out->pair[out->count++].value = value;
		}
	}
	if (rc)
		remus_keyval_free(out);
	return rc;
}

void remus_keyval_free(struct remus_keyval *kv)
{
	free(kv->text);
	memset(kv, 0, sizeof *kv);
}

const char *remus_keyval_get(const struct remus_keyval *kv, const char *key)
{
	for (int i = 0; i < kv->count; i++)
		if (!strcmp(kv->pair[i].key, key))
			return kv->pair[i].value;
	return NULL;
}

bool remus_keyval_on(const char *value)
{
	return value && remus_word_in("on yes true y", value);
}

bool remus_word_in(const char *words, const char *word)
{
	size_t length = strlen(word);
	if (strchr(word, ' '))
		return false;
	for (const char *at = words; length && (at = strstr(at, word)); at += length)
		if ((at == words || at[-1] == ' ') && (at[length] == ' ' || !at[length]))
			return true;
	return false;
}

bool remus_plain(const char *text, const char *more)
{
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr(more, *text))
			return false;
	return true;
}

bool remus_id_wellformed(const char *id)
{
	return isalpha((unsigned char)id[0]) && strlen(id) < 64 && remus_plain(id, "-._");
}

int remus_size_parse(const char *text, uint64_t unit, uint64_t *out)
{
	static const char suffixes[] = "bkmgt";
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	unsigned long long number = strtoull(text, &end, 10);
	if (*end) {
		const char *suffix = strchr(suffixes, tolower((unsigned char)*end));
		if (!suffix || end[1])
			return -EINVAL;
		unit = UINT64_C(1) << (10 * (suffix - suffixes));
	}
	if (errno || __builtin_mul_overflow((uint64_t)number, unit, out))
		return -EINVAL;
	return 0;
}

/* Put the owned @text at the end. */
static void push(struct remus_args *args, char *text)
{
	char **more = text ? realloc(args->v, ((size_t)args->n + 2) * sizeof *more) : NULL;
	if (!more) {
		free(text);
		args->failed = true;
		return;
	}
	args->v = more;
	args->v[args->n++] = text;
	args->v[args->n] = NULL;
}

void remus_args_add(struct remus_args *args, const char *fmt, ...)
{
	char *text;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	push(args, text);
}

void remus_args_append(struct remus_args *args, const char *key, const char *value)
{
	if (args->failed || args->n == 0)
		return;
	char **last = &args->v[args->n - 1];
	size_t have = strlen(*last);
	char *grown = realloc(*last, have + strlen(key) + 2 * strlen(value) + 3);
	if (!grown) {
		args->failed = true;
		return;
	}
	*last = grown;
	char *at = grown + have;
	if (have)
		*at++ = ',';
	if (*key)
		at += sprintf(at, "%s=", key);
	for (; *value; value++) {
		if (*value == ',')
			*at++ = ',';
		*at++ = *value;
	}
	*at = 0;
}

void remus_args_free(struct remus_args *args)
{
	for (int i = 0; i < args->n; i++)
		free(args->v[i]);
	free(args->v);
	memset(args, 0, sizeof *args);
}
