/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connecting: every address of the name gets its share of what is left of the deadline, so that a black hole on
 * one family doesn't eat the chance of the other. The message lists what each address said.
 */
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include "internal.h"
#include "remus/tls.h"

#define DEFAULT_CONNECT 5000u /* ms */

/*
 * A connection to a free port of one's own host can meet itself (TCP's simultaneous open) when the kernel picks
 * that port as the source.
 */
static bool met_itself(int fd)
{
	struct sockaddr_storage here, there;
	socklen_t n = sizeof here, m = sizeof there;

	memset(&here, 0, sizeof here);
	memset(&there, 0, sizeof there);
	return !getsockname(fd, (struct sockaddr *)&here, &n) &&
	       !getpeername(fd, (struct sockaddr *)&there, &m) && n == m && !memcmp(&here, &there, n);
}

/* A connected descriptor, or -errno. */
static int try_one(const struct addrinfo *a, uint64_t until_us)
{
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol),
	    code = 0;
	socklen_t n = sizeof code;

	if (fd < 0)
		return -errno;
	if (connect(fd, a->ai_addr, a->ai_addrlen))
		code = errno;
	while (code == EINPROGRESS || code == EINTR) {
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		uint64_t now = remus_now_us();
		int ready = now >= until_us ? 0 : poll(&p, 1, (int)((until_us - now + 999) / 1000));
		if (ready == 0)
			code = ETIMEDOUT;
		else if (ready > 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &n))
			code = errno;
	}
	if (!code && met_itself(fd))
		code = ECONNREFUSED;
	if (code)
		close(fd);
	return code ? -code : fd;
}

static const char *remedy(int code)
{
	switch (-code) {
	case ECONNREFUSED:
		return " (is remusd running there, and listening on that port?)";
	case ETIMEDOUT:
		return " (the host is down, or a firewall drops the packets)";
	case EHOSTUNREACH:
	case ENETUNREACH:
		return " (no route from here, or the host is down: see ip route get)";
	case EACCES:
	case EPERM:
		return " (a local firewall rule forbids it)";
	default:
		return "";
	}
}

static int connect_any(const struct addrinfo *list, uint64_t deadline_us, const char *host, const char *port,
		       struct remus_error *err)
{
	char said[REMUS_ERROR_MAX - 256] = "";
	size_t used = 0;
	unsigned left = 0;
	int fd = -EHOSTUNREACH;

	for (const struct addrinfo *a = list; a; a = a->ai_next)
		left++;
	for (const struct addrinfo *a = list; a; a = a->ai_next, left--) {
		uint64_t now = remus_now_us();
		fd = try_one(a, now < deadline_us ? now + (deadline_us - now) / left : now);
		if (fd >= 0)
			return fd;
		char text[LINK_PEER_TEXT];
		link_address_text(a->ai_addr, a->ai_addrlen, text);
		used += (size_t)snprintf(said + used, sizeof said - used, "%s%s: %s%s", used ? "; " : "",
					 text, strerror(-fd), remedy(fd));
		if (used >= sizeof said)
			used = sizeof said - 1;
	}
	return remus_fail(err, fd, "cannot connect to %.255s port %s: %s", host, port, said);
}

int remus_link_connect(const char *host, const char *port, const struct remus_link_config *config,
		       struct remus_link **out, struct remus_error *err)
{
	uint32_t ms = config && config->connect_ms ? config->connect_ms : DEFAULT_CONNECT;
	uint64_t deadline_us = remus_now_us() + (uint64_t)ms * 1000u;
	struct remus_transport *transport;
	struct addrinfo *list = NULL;

	if (!host || !*host)
		return remus_fail(err, -EINVAL, "cannot connect: no host is given");
	int rc = link_check_port(port, false, err);
	if (!rc)
		rc = link_resolve(host, port, 0, deadline_us, &list, err);
	if (rc) {
		remus_error_prefix(err, "cannot connect to %.255s port %.32s", host, port);
		return rc;
	}
	int fd = connect_any(list, deadline_us, host, port, err);
	freeaddrinfo(list);
	if (fd < 0)
		return fd;
	rc = remus_transport_tcp(fd, &transport, err);
	if (!rc && config && config->tls) {
		rc = remus_transport_tls_connect(transport, config->tls, config->tls_peer, host, deadline_us,
						 &transport, err);
		if (rc)
			remus_error_prefix(err, "%.255s port %s", host, port);
	}
	return rc ? rc : remus_link_start(transport, config, out, err);
}
