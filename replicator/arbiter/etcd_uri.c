// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * etcd:ENDPOINT[,ENDPOINT...][/PREFIX][?OPTION=VALUE[&...]]
 *
 *     etcd:https://h1:2379,https://h2,https://[fd00::3]:2379/prod/remus?ca=/etc/remus/ca.pem
 *
 * The URI is shown by status and sent to the backup, so it names files and never holds a password. Values may be
 * percent-encoded.
 */
#include "etcd.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "query.h"
#include "remus/util.h"

#define DEFAULT_PORT   "2379"
#define DEFAULT_PREFIX "/remus"

static bool is_port(const char *text)
{
	size_t n = strspn(text, "0123456789");

	return n && n <= 5 && !text[n] && atoi(text) >= 1 && atoi(text) <= 65535;
}

/* "https://host[:port]" as it stands in @text. */
static int add_endpoint(const char *text, struct etcd_uri *out, struct remus_error *err)
{
	const char *host = strstr(text, "://");
	char name[256];
	size_t n;

	if (strncmp(text, "https://", 8) && strncmp(text, "http://", 7))
		return remus_fail(err, -EINVAL,
				  "endpoint \"%.100s\" does not begin with https:// or http://; "
				  "write etcd:https://HOST:2379,https://HOST:2379",
				  text);
	host += 3;
	if (strchr(host, '@'))
		return remus_fail(err, -EINVAL,
				  "a URI is shown by status and must not hold a password: "
				  "give ?user=NAME&password-file=FILE");
	if (*host == '[') {
		n = strspn(host + 1, "0123456789abcdefABCDEF:.") + 2;
		if (n < 4 || host[n - 1] != ']')
			return remus_fail(err, -EINVAL, "endpoint \"%.100s\": no IPv6 address in brackets",
					  text);
	} else {
		n = strspn(host, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-");
	}
	if (!n || n >= sizeof name)
		return remus_fail(err, -EINVAL, "endpoint \"%.100s\" names no host", text);
	snprintf(name, sizeof name, "%.*s", (int)n, host);
	const char *port = host[n] == ':' ? host + n + 1 : DEFAULT_PORT;
	if ((host[n] && host[n] != ':') || !is_port(port))
		return remus_fail(err, -EINVAL, "endpoint \"%.100s\": HOST[:PORT] is expected after ://",
				  text);
	if (out->endpoints == ETCD_ENDPOINTS_MAX)
		return remus_fail(err, -E2BIG, "more than %d endpoints", ETCD_ENDPOINTS_MAX);
	snprintf(out->endpoint[out->endpoints++], ETCD_ENDPOINT_MAX, "%.*s%s:%s", (int)(host - text), text,
		 name, port);
	return 0;
}

static int set_prefix(const char *text, struct etcd_uri *out, struct remus_error *err)
{
	size_t n = strlen(text);

	while (n && text[n - 1] == '/')
		n--;
	if (!n) {
		strcpy(out->prefix, DEFAULT_PREFIX);
		return 0;
	}
	if (n >= sizeof out->prefix)
		return remus_fail(err, -ENAMETOOLONG, "the prefix is longer than %zu bytes",
				  sizeof out->prefix - 1);
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr("/._-", text[i]))
			return remus_fail(err, -EINVAL,
					  "prefix \"%.100s\": letters, digits and /._- are expected", text);
	snprintf(out->prefix, sizeof out->prefix, "%.*s", (int)n, text);
	return 0;
}

static int set_option(void *context, const char *name, const char *value, struct remus_error *err)
{
	struct etcd_uri *u = context;
	const struct {
		const char *name;
		char *to;
		size_t size;
		bool file;
	} options[] = {
		{"ca", u->ca, sizeof u->ca, true},
		{"cert", u->cert, sizeof u->cert, true},
		{"key", u->key, sizeof u->key, true},
		{"user", u->user, sizeof u->user, false},
		{"password-file", u->password_file, sizeof u->password_file, true},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(options); i++) {
		if (strcmp(name, options[i].name))
			continue;
		if (options[i].file && value[0] != '/')
			return remus_fail(err, -EINVAL, "%s= takes a file's absolute path", name);
		if (!value[0] || strlen(value) >= options[i].size)
			return remus_fail(err, -EINVAL, "%s= is empty or too long", name);
		strcpy(options[i].to, value);
		return 0;
	}
	return remus_fail(err, -EINVAL,
			  "no such option as \"%.64s\"; there are ca, cert, key, user, password-file%s", name,
			  strcmp(name, "password") ? ""
						   : " (status shows the URI: a password belongs in a file)");
}

static int check_options(const struct etcd_uri *u, struct remus_error *err)
{
	bool tls = false;

	for (unsigned i = 0; i < u->endpoints; i++)
		tls |= !strncmp(u->endpoint[i], "https:", 6);
	if (!u->cert[0] != !u->key[0])
		return remus_fail(err, -EINVAL, "cert= and key= go together");
	if (!u->user[0] != !u->password_file[0])
		return remus_fail(err, -EINVAL, "user= and password-file= go together");
	if (!tls && (u->ca[0] || u->cert[0]))
		return remus_fail(err, -EINVAL, "ca=, cert= and key= are of no use: no endpoint is https");
	return 0;
}

int etcd_uri_parse(const char *text, struct etcd_uri *out, struct remus_error *err)
{
	size_t list = strcspn(text, "?");
	REMUS_AUTO_FREE char *copy = strndup(text, list);
	int rc = 0;

	memset(out, 0, sizeof *out);
	if (!copy)
		return remus_fail(err, -ENOMEM, "out of memory");
	for (char *rest = copy, *piece; rc == 0 && (piece = strsep(&rest, ","));) {
		char *authority = strstr(piece, "://");
		char *path = authority ? strchr(authority + 3, '/') : NULL;
		if (path && rest)
			return remus_fail(err, -EINVAL,
					  "only the last endpoint is followed by a /PREFIX: it is "
					  "the same for all");
		rc = rest ? 0 : set_prefix(path ? path : "", out, err);
		if (path)
			*path = 0;
		if (rc == 0)
			rc = add_endpoint(piece, out, err);
	}
	if (rc == 0 && text[list])
		rc = query_parse(text + list + 1, set_option, out, err);
	return rc == 0 ? check_options(out, err) : rc;
}
