/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The same counter over UDP, port 7002: a datagram of text comes back with the counter's next value after it
 * ("17" is answered by "17 4711"). For measuring what TCP would not survive: a guest that is rolled back behind
 * what its clients have seen.
 */
#include "guest.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define DATAGRAMS_AT_ONCE 64

static int udp_socket;

void udp_start(int epoll)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(7002)};
	udp_socket = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (udp_socket < 0 || bind(udp_socket, (struct sockaddr *)&any, sizeof any) < 0)
		die("bind to UDP port 7002");
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &udp_socket};
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, udp_socket, &event) < 0)
		die("epoll_ctl");
}

bool udp_event(void *data)
{
	if (data != &udp_socket)
		return false;
	for (int i = 0; i < DATAGRAMS_AT_ONCE; i++) {
		char request[200], reply[256];
		struct sockaddr_in6 from;
		socklen_t from_bytes = sizeof from;
		ssize_t n = recvfrom(udp_socket, request, sizeof request, 0, (struct sockaddr *)&from,
				     &from_bytes);
		if (n < 0)
			break;
		int bytes = snprintf(reply, sizeof reply, "%.*s %llu", (int)n, request,
				     (unsigned long long)echo_count());
		sendto(udp_socket, reply, (size_t)bytes, MSG_NOSIGNAL, (struct sockaddr *)&from, from_bytes);
	}
	return true;
}
