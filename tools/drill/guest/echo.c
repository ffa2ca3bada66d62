/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's network face. Port 7000 echoes records, port 7001 takes commands, a line each.
 *
 * A request (little-endian):            A reply:
 *   0  u32  'RREQ'                        0  u32  'RREP'
 *   4  u32  connection                    4  u32  connection
 *   8  u64  number, 1, 2, 3 ...           8  u64  number
 *  16  u32  payload length                16  u64  counter
 *  20  u32  CRC-32 of the payload         24  u32  payload length
 *  24       payload                       28  u32  CRC-32 of bytes 0..27 and the payload
 *                                         32       payload
 * The counter is one for the whole guest and rises by one with every reply. It is what a client outside can
 * tell a rollback by: once it has seen n, every later request must be answered with more than n, and no value
 * may ever come twice.
 *
 * Commands: "stats", "clock", "samples", "verify" (answered when the pass has ended), "poweroff". Answers are JSON lines.
 */
#include "guest.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MAGIC 0x51455252u
#define REPLY_MAGIC   0x50455252u
#define REQUEST_HEAD  24
#define REPLY_HEAD    32
#define PAYLOAD_MAX   65536
#define IN_MAX	      (REQUEST_HEAD + PAYLOAD_MAX)
#define OUT_MAX	      (4 * (REPLY_HEAD + PAYLOAD_MAX))

enum kind { LISTEN_ECHO, LISTEN_CONTROL, ECHO, CONTROL };

struct peer {
	enum kind kind;
	int fd;
	bool wants_verify;
	uint32_t watched; /* epoll events */
	size_t in_bytes, out_bytes;
	uint8_t *in, *out;
	struct peer *next;
};

static int the_epoll;
static struct peer *peers;
static uint64_t counter, requests_bad;

static uint32_t crc32_of(uint32_t crc, const uint8_t *data, size_t bytes)
{
	static uint32_t table[256];
	if (!table[1])
		for (uint32_t i = 0; i < 256; i++) {
			table[i] = i;
			for (int bit = 0; bit < 8; bit++)
				table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
		}
	crc = ~crc;
	while (bytes--)
		crc = crc >> 8 ^ table[(crc ^ *data++) & 255];
	return ~crc;
}

static void watch(struct peer *peer, int how, uint32_t events)
{
	peer->watched = events;
	if (epoll_ctl(the_epoll, how, peer->fd, &(struct epoll_event){.events = events, .data.ptr = peer}) <
	    0)
		die("epoll_ctl");
}

static struct peer *add_peer(enum kind kind, int fd)
{
	struct peer *peer = calloc(1, sizeof *peer);
	if (peer && kind >= ECHO) {
		peer->in = malloc(IN_MAX);
		peer->out = malloc(OUT_MAX);
	}
	if (!peer || (kind >= ECHO && (!peer->in || !peer->out)))
		die("no memory for a connection");
	peer->kind = kind;
	peer->fd = fd;
	peer->next = peers;
	peers = peer;
	watch(peer, EPOLL_CTL_ADD, EPOLLIN);
	return peer;
}

static void drop_peer(struct peer *peer)
{
	for (struct peer **p = &peers; *p; p = &(*p)->next)
		if (*p == peer) {
			*p = peer->next;
			break;
		}
	close(peer->fd);
	free(peer->in);
	free(peer->out);
	free(peer);
}

/* Send what can be sent; false when the connection is gone. */
static bool flush_peer(struct peer *peer)
{
	while (peer->out_bytes) {
		ssize_t n = send(peer->fd, peer->out, peer->out_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n < 0)
			break;
		peer->out_bytes -= (size_t)n;
		memmove(peer->out, peer->out + n, peer->out_bytes);
	}
	/* A peer that does not read stops being read from: memory stays bounded. */
	bool full = peer->out_bytes > OUT_MAX - REPLY_HEAD - PAYLOAD_MAX;
	uint32_t events = (full ? 0 : EPOLLIN) | (peer->out_bytes ? EPOLLOUT : 0);
	if (events != peer->watched)
		watch(peer, EPOLL_CTL_MOD, events);
	return true;
}

uint64_t echo_count(void)
{
	return ++counter;
}

static void answer(struct peer *peer, const uint8_t *request, uint32_t bytes)
{
	uint8_t *reply = peer->out + peer->out_bytes;
	uint32_t magic = REPLY_MAGIC;
	echo_count();
	memcpy(reply, &magic, 4);
	memcpy(reply + 4, request + 4, 12);
	memcpy(reply + 16, &counter, 8);
	memcpy(reply + 24, &bytes, 4);
	memcpy(reply + REPLY_HEAD, request + REQUEST_HEAD, bytes);
	uint32_t crc = crc32_of(0, reply, 28);
	crc = crc32_of(crc, reply + REPLY_HEAD, bytes);
	memcpy(reply + 28, &crc, 4);
	peer->out_bytes += REPLY_HEAD + bytes;
}

/* Take whole requests out of the input; false when the stream makes no sense any more. */
static bool take_requests(struct peer *peer)
{
	size_t at = 0;
	while (peer->in_bytes - at >= REQUEST_HEAD && peer->out_bytes <= OUT_MAX - REPLY_HEAD - PAYLOAD_MAX) {
		uint32_t magic, bytes, crc;
		memcpy(&magic, peer->in + at, 4);
		memcpy(&bytes, peer->in + at + 16, 4);
		memcpy(&crc, peer->in + at + 20, 4);
		if (magic != REQUEST_MAGIC || bytes > PAYLOAD_MAX) {
			requests_bad++;
			return false;
		}
		if (peer->in_bytes - at < REQUEST_HEAD + bytes)
			break;
		if (crc32_of(0, peer->in + at + REQUEST_HEAD, bytes) != crc)
			requests_bad++;
		answer(peer, peer->in + at, bytes);
		at += REQUEST_HEAD + bytes;
	}
	peer->in_bytes -= at;
	memmove(peer->in, peer->in + at, peer->in_bytes);
	return true;
}

static void say(struct peer *peer, const char *text)
{
	size_t bytes = strlen(text);
	if (peer->out_bytes + bytes > OUT_MAX)
		return;
	memcpy(peer->out + peer->out_bytes, text, bytes);
	peer->out_bytes += bytes;
}

static void say_report(struct peer *peer, const char *verb)
{
	const struct stamp_report *r = stamp_report();
	char text[512];
	snprintf(text, sizeof text,
		 "{\"%s\":{\"pages\":%llu,\"bad\":%llu,\"torn\":%llu,\"stale\":%llu,\"stamped\":%llu,"
		 "\"checked\":%llu,\"checked_bad\":%llu,\"first_bad\":[%llu,%llu,%llu],\"counter\":%llu,"
		 "\"requests_bad\":%llu}}\n",
		 verb, (unsigned long long)r->pages, (unsigned long long)r->bad, (unsigned long long)r->torn,
		 (unsigned long long)r->stale, (unsigned long long)r->stamped, (unsigned long long)r->checked,
		 (unsigned long long)r->checked_bad, (unsigned long long)r->first_bad_page,
		 (unsigned long long)r->first_bad_expected, (unsigned long long)r->first_bad_found,
		 (unsigned long long)counter, (unsigned long long)requests_bad);
	say(peer, text);
}

static void command(struct peer *peer, const char *line)
{
	if (!strcmp(line, "verify")) {
		peer->wants_verify = true;
		stamp_verify_begin();
	} else if (!strcmp(line, "stats")) {
		say_report(peer, "stats");
	} else if (!strcmp(line, "clock")) {
		struct timespec real;
		char text[128];
		clock_gettime(CLOCK_REALTIME, &real);
		snprintf(text, sizeof text, "{\"clock\":{\"realtime_ns\":%lld%09ld,\"monotonic_ns\":%llu}}\n",
			 (long long)real.tv_sec, real.tv_nsec, (unsigned long long)now_ns());
		say(peer, text);
	} else if (!strcmp(line, "samples")) {
		const struct samples_report *r = samples_report();
		char text[256];
		snprintf(text, sizeof text,
			 "{\"samples\":{\"readings\":%llu,\"backwards\":%llu,\"backwards_ns\":%lld,\"jump_"
			 "ns\":%lld,"
			 "\"jump_back_ns\":%lld}}\n",
			 (unsigned long long)r->readings, (unsigned long long)r->backwards,
			 (long long)r->backwards_ns, (long long)r->jump_ns, (long long)r->jump_back_ns);
		say(peer, text);
	} else if (!strcmp(line, "poweroff")) {
		printf("guest: power off\n");
		fflush(stdout);
		setup_network_down();
		reboot(RB_POWER_OFF);
	} else {
		say(peer, "{\"error\":\"commands: verify, stats, clock, samples, poweroff\"}\n");
	}
}

static bool take_commands(struct peer *peer)
{
	for (;;) {
		uint8_t *end = memchr(peer->in, '\n', peer->in_bytes);
		if (!end)
			return peer->in_bytes < IN_MAX;
		*end = 0;
		command(peer, (char *)peer->in);
		peer->in_bytes -= (size_t)(end + 1 - peer->in);
		memmove(peer->in, end + 1, peer->in_bytes);
	}
}

static void accept_peer(struct peer *listener)
{
	int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	add_peer(listener->kind == LISTEN_ECHO ? ECHO : CONTROL, fd);
}

void echo_event(void *data, uint32_t events)
{
	struct peer *peer = data;
	if (peer->kind < ECHO) {
		accept_peer(peer);
		return;
	}
	bool alive = true;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		ssize_t n = recv(peer->fd, peer->in + peer->in_bytes, IN_MAX - peer->in_bytes, 0);
		alive = n > 0 || (n < 0 && errno == EAGAIN);
		peer->in_bytes += n > 0 ? (size_t)n : 0;
	}
	if (alive)
		alive = peer->kind == ECHO ? take_requests(peer) : take_commands(peer);
	if (!alive || !flush_peer(peer))
		drop_peer(peer);
}

void echo_tick(void)
{
	if (stamp_verify_running())
		return;
	for (struct peer *peer = peers, *next; peer; peer = next) {
		next = peer->next;
		if (!peer->wants_verify)
			continue;
		peer->wants_verify = false;
		say_report(peer, "verify");
		if (!flush_peer(peer))
			drop_peer(peer);
	}
}

static void listen_on(enum kind kind, uint16_t port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
	    bind(fd, (struct sockaddr *)&any, sizeof any) < 0 || listen(fd, 64) < 0)
		die("listen on port %d", port);
	add_peer(kind, fd);
}

void echo_start(int epoll)
{
	the_epoll = epoll;
	listen_on(LISTEN_ECHO, 7000);
	listen_on(LISTEN_CONTROL, 7001);
}
