/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses as operators write and read them: HOST, HOST:PORT, [V6], [V6]:PORT. An IPv6 address without brackets
 * is refused rather than guessed at: in "fe80::1:7368" nobody can tell where the port begins.
 */
#include <netdb.h>
#include <stdio.h>
#include "internal.h"

int link_check_port(const char *port, bool zero_allowed, struct remus_error *err)
{
	size_t n = strspn(port, "0123456789");
	unsigned long value = n && n <= 5 && !port[n] ? strtoul(port, NULL, 10) : 65536;

	if (value > 65535 || (!value && !zero_allowed))
		return remus_fail(
			err, -EINVAL,
			"\"%.32s\" is no TCP port: a number from 1 to 65535 is wanted, remus uses %s", port,
			REMUS_DEFAULT_PORT);
	return 0;
}

static int check_host(const char *text, const char *host, struct remus_error *err)
{
	for (const char *p = host; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f || *p == '[' || *p == ']' || *p == '/')
			return remus_fail(err, -EINVAL, "address \"%.256s\": a host name has no '%c' in it",
					  text, (unsigned char)*p <= ' ' || *p == 0x7f ? '?' : *p);
	return 0;
}

int remus_link_parse_address(const char *text, char **host, char **port, struct remus_error *err)
{
	bool brackets = text[0] == '[';
	const char *begin = text + brackets, *end, *rest;

	if (!*text)
		return remus_fail(err, -EINVAL,
				  "the address is empty: HOST, HOST:PORT or [IPV6]:PORT is wanted");
	if (brackets) {
		end = strchr(text, ']');
		if (!end || end == begin)
			return remus_fail(err, -EINVAL, "address \"%.256s\": [IPV6]:PORT is wanted", text);
		rest = end + 1;
	} else {
		rest = end = begin + strcspn(begin, ":");
		if (*rest && strchr(rest + 1, ':'))
			return remus_fail(err, -EINVAL,
					  "address \"%.256s\": write an IPv6 address in brackets, [%.256s] "
					  "or [...]:PORT",
					  text, text);
	}
	if (*rest && *rest != ':')
		return remus_fail(err, -EINVAL, "address \"%.256s\": after the bracket only :PORT may follow",
				  text);

	REMUS_AUTO_FREE char *h = strndup(begin, (size_t)(end - begin));
	REMUS_AUTO_FREE char *p = strdup(*rest ? rest + 1 : REMUS_DEFAULT_PORT);
	if (!h || !p)
		return remus_fail(err, -ENOMEM, "address: no memory");
	int rc = check_host(text, h, err);
	if (rc)
		return rc;
	rc = link_check_port(p, true, err);
	if (rc) {
		remus_error_prefix(err, "address \"%.256s\"", text);
		return rc;
	}
	*host = h;
	*port = p;
	h = p = NULL;
	return 0;
}

void link_address_text(const struct sockaddr *address, socklen_t length, char out[LINK_PEER_TEXT])
{
	char host[64], port[8];

	if (address->sa_family == AF_UNIX) {
		snprintf(out, LINK_PEER_TEXT, "a local socket");
	} else if (getnameinfo(address, length, host, sizeof host, port, sizeof port,
			       NI_NUMERICHOST | NI_NUMERICSERV)) {
		snprintf(out, LINK_PEER_TEXT, "an unknown peer");
	} else if (!strncmp(host, "::ffff:", 7) && strchr(host, '.')) {
		snprintf(out, LINK_PEER_TEXT, "%s:%s", host + 7, port);
	} else {
		bool v6 = address->sa_family == AF_INET6;
		snprintf(out, LINK_PEER_TEXT, "%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
	}
}

void link_peer_text(int fd, char out[LINK_PEER_TEXT])
{
	struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
	socklen_t n = sizeof a;

	if (getpeername(fd, (struct sockaddr *)&a, &n))
		snprintf(out, LINK_PEER_TEXT, "an unknown peer");
	else
		link_address_text((struct sockaddr *)&a, n, out);
}
