// SPDX-License-Identifier: GPL-2.0-or-later
/* See query.h. */
#include "query.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "remus/util.h"

static int digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10 : -1;
}

/* In place. No NUL and no line end can come out of it: values end up in file names and in lines of text. */
static int decode(char *text)
{
	char *to = text;

	for (const char *at = text; *at; at++) {
		int c = (unsigned char)*at;
		if (c == '%') {
			if (digit(at[1]) < 0 || digit(at[2]) < 0)
				return -1;
			c = digit(at[1]) * 16 + digit(at[2]);
			at += 2;
		}
		if (c < 32 || c == 127)
			return -1;
		*to++ = (char)c;
	}
	*to = 0;
	return 0;
}

int query_parse(const char *text,
		int (*set)(void *context, const char *name, const char *value, struct remus_error *err),
		void *context, struct remus_error *err)
{
	REMUS_AUTO_FREE char *copy = strdup(text);

	if (!copy)
		return remus_fail(err, -ENOMEM, "out of memory");
	for (char *rest = copy, *name; (name = strsep(&rest, "&"));) {
		char *value = strchr(name, '=');
		if (!value || value == name)
			return remus_fail(err, -EINVAL, "after \"?\" NAME=VALUE is expected, not \"%.64s\"",
					  name);
		*value++ = 0;
		if (decode(name) < 0 || decode(value) < 0)
			return remus_fail(err, -EINVAL,
					  "%.64s=: a %% begins a percent-encoded character (%%25 is a %% "
					  "itself), and control characters are not allowed",
					  name);
		if (strlen(value) >= QUERY_VALUE_MAX)
			return remus_fail(err, -E2BIG, "%.64s= is too long", name);
		int rc = set(context, name, value, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}
