/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Listening. Without a host one IPv6 socket serves both families; where the kernel has no IPv6, IPv4 alone does.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include "internal.h"

#define BACKLOG	   64
#define RESOLVE_US 5000000u

static int fail_bind(const char *address, const struct sockaddr *wanted, const char *port, int code,
		     struct remus_error *err)
{
	char owner[64];

	switch (code) {
	case EADDRINUSE:
		link_port_owner(wanted, (unsigned)atoi(port), owner);
		return remus_fail(err, -code,
				  "cannot listen on %s: port taken by %s; stop it, or choose another port "
				  "here and in the "
				  "peer's configuration",
				  address, owner);
	case EADDRNOTAVAIL:
		return remus_fail(err, -code,
				  "cannot listen on %s: this host has no such address (ip addr shows them)",
				  address);
	case EACCES:
		return remus_fail(err, -code,
				  "cannot listen on %s: ports below 1024 need root or CAP_NET_BIND_SERVICE",
				  address);
	default:
		return remus_fail(err, -code, "cannot listen on %s: %s", address, strerror(code));
	}
}

/* A listening descriptor, or -errno. */
static int listen_one(const struct sockaddr *address, socklen_t length)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, zero = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (address->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
	if (!bind(fd, address, length) && !listen(fd, BACKLOG))
		return fd;
	int code = errno;
	close(fd);
	return -code;
}

static int listen_any(const char *port, struct remus_error *err)
{
	uint16_t number = htons((uint16_t)atoi(port));
	struct sockaddr_in6 v6 = {
		.sin6_family = AF_INET6, .sin6_port = number, .sin6_addr = IN6ADDR_ANY_INIT};
	struct sockaddr_in v4 = {
		.sin_family = AF_INET, .sin_port = number, .sin_addr.s_addr = htonl(INADDR_ANY)};
	char text[LINK_PEER_TEXT];

	int fd = listen_one((struct sockaddr *)&v6, sizeof v6);
	if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) {
		fd = listen_one((struct sockaddr *)&v4, sizeof v4);
		snprintf(text, sizeof text, "0.0.0.0:%s", port);
	} else {
		snprintf(text, sizeof text, "[::]:%s", port);
	}
	return fd < 0 ? fail_bind(text, NULL, port, -fd, err) : fd;
}

int remus_link_listen(const char *host, const char *port, struct remus_error *err)
{
	struct addrinfo *list = NULL;
	struct remus_error last = REMUS_ERROR_INIT; /* of an address that failed; another may do */
	int rc = link_check_port(port, true, err), fd = -EADDRNOTAVAIL;

	if (rc) {
		remus_error_prefix(err, "cannot listen");
		return rc;
	}
	if (!host || !*host)
		return listen_any(port, err);
	rc = link_resolve(host, port, AI_PASSIVE, remus_now_us() + RESOLVE_US, &list, err);
	if (rc) {
		remus_error_prefix(err, "cannot listen on %.255s port %s", host, port);
		return rc;
	}
	for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
		char text[LINK_PEER_TEXT];
		link_address_text(a->ai_addr, a->ai_addrlen, text);
		fd = listen_one(a->ai_addr, a->ai_addrlen);
		if (fd < 0)
			fail_bind(text, a->ai_addr, port, -fd, &last);
	}
	freeaddrinfo(list);
	if (fd < 0)
		remus_fail(err, fd, "%s", last.message);
	return fd;
}
