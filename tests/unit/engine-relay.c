/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See engine-rig.h: stands between the two engines and hurts their connection when told. One at a time. */
#include "engine-rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define CHUNK	   65536
#define SLOW_CHUNK 4096

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void reset_and_close(int fd, bool reset)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	if (fd < 0)
		return;
	if (reset)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(fd);
}

static bool send_all(int fd, const char *bytes, ssize_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, bytes, (size_t)n, MSG_NOSIGNAL);
		if (sent <= 0)
			return false;
		bytes += sent;
		n -= sent;
	}
	return true;
}

/* One piece from one side to the other. False: the connection ends. */
static bool move(struct rig_relay *r, int from, int to, bool from_primary)
{
	char chunk[CHUNK];
	size_t most = sizeof chunk;
	int64_t budget = atomic_load(&r->budget);

	uint32_t rate = from_primary ? atomic_load(&r->rate) : 0;
	if (rate)
		most = SLOW_CHUNK;
	if (from_primary && budget >= 0 && (uint64_t)budget < most)
		most = (size_t)budget;
	ssize_t n = recv(from, chunk, most, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return true;
	if (n <= 0)
		return false;
	if (rate)
		usleep((useconds_t)((uint64_t)n * 1000000 / rate));
	int bad = from_primary ? WIRE_BAD_TO : WIRE_BAD_FROM;
	if (atomic_compare_exchange_strong(&r->wire, &bad, WIRE_WHOLE))
		chunk[n / 2] ^= 0x10;
	if (from_primary && budget >= 0) {
		atomic_store(&r->budget, budget - n);
		if (budget == n) {
			atomic_store(&r->wire, WIRE_STALLED);
			atomic_store(&r->spent, true);
		}
	}
	return send_all(to, chunk, n);
}

/* Each direction ends by itself, so that what was under way in the other still arrives. */
static void pump(struct rig_relay *r, int primary, int backup)
{
	bool to = true, from = true;

	while (!atomic_load(&r->stop) && (to || from)) {
		int wire = atomic_load(&r->wire);
		bool open = wire != WIRE_STALLED;
		struct pollfd p[3] = {
			{.fd = r->wake, .events = POLLIN},
			{.fd = open && to ? primary : -1, .events = POLLIN},
			{.fd = open && from ? backup : -1, .events = POLLIN},
		};
		eventfd_t ignored;
		poll(p, 3, 1000);
		eventfd_read(r->wake, &ignored);
		wire = atomic_load(&r->wire);
		if (wire == WIRE_CUT)
			return;
		if (wire == WIRE_STALLED)
			continue;
		if (to && (wire == WIRE_HALF || (p[1].revents && !move(r, primary, backup, true)))) {
			shutdown(backup, SHUT_WR);
			to = false;
		}
		if (from && p[2].revents && !move(r, backup, primary, false)) {
			shutdown(primary, SHUT_WR);
			from = false;
		}
	}
}

static void *relay_main(void *context)
{
	struct rig_relay *r = context;

	while (!atomic_load(&r->stop)) {
		struct pollfd p[2] = {{.fd = r->listener, .events = POLLIN},
				      {.fd = r->wake, .events = POLLIN}};
		eventfd_t ignored;
		poll(p, 2, 1000);
		eventfd_read(r->wake, &ignored);
		int primary = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
		if (primary < 0)
			continue;
		struct sockaddr_in to = loopback(atomic_load(&r->target));
		int backup = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (!connect(backup, (struct sockaddr *)&to, sizeof to))
			pump(r, primary, backup);
		bool reset = atomic_load(&r->wire) == WIRE_CUT;
		reset_and_close(primary, reset);
		reset_and_close(backup, reset);
	}
	return NULL;
}

bool relay_start(struct rig_relay *r)
{
	struct sockaddr_in at = loopback(0);
	socklen_t n = sizeof at;

	r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (r->listener < 0 || bind(r->listener, (struct sockaddr *)&at, n) || listen(r->listener, 4) ||
	    getsockname(r->listener, (struct sockaddr *)&at, &n))
		return false;
	snprintf(r->port, sizeof r->port, "%u", ntohs(at.sin_port));
	return !pthread_create(&r->thread, NULL, relay_main, r);
}

void relay_set(struct rig_relay *r, enum rig_wire wire)
{
	atomic_store(&r->wire, (int)wire);
	eventfd_write(r->wake, 1);
}

void relay_stop(struct rig_relay *r)
{
	atomic_store(&r->stop, true);
	eventfd_write(r->wake, 1);
	pthread_join(r->thread, NULL);
	close(r->listener);
	close(r->wake);
}
