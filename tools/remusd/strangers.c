/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Those who have connected and not shown yet who they are. Each costs a process until it has, so there are few at a
 * time, few from one source, and few a second (I11); and what they do may not fill the log: a line each while there
 * are few, then one now and then that says how many there were.
 *
 * A source is an IPv4 address or the /64 of an IPv6 one. New ones a second are counted by a fixed table of buckets: who
 * shares one with a flood waits with it, but there are many buckets, and which one is anybody's depends on a number
 * drawn at start.
 */
#include "remusd.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include "remus/log.h"
#include "remus/util.h"

#define STRANGERS_MAX  32 /* at a time */
#define OF_ONE_SOURCE  16
#define BUCKETS	       64
#define BURST	       32u /* connections of one source that are let in at once */
#define PER_SECOND     8u  /* and after that */
#define LINES	       20u /* in the log at once */
#define LINE_PERIOD_US 5000000u

/* Tokens in µs of refilling, so that no fraction is lost. */
struct bucket {
	uint64_t full_us; /* when it will be full again */
};

static bool take(struct bucket *b, uint64_t period_us, unsigned burst)
{
	uint64_t now = remus_now_us(), start = b->full_us > now ? b->full_us : now;

	if (start + period_us > now + burst * period_us)
		return false;
	b->full_us = start + period_us;
	return true;
}

uint64_t stranger_source(int socket)
{
	struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
	socklen_t n = sizeof a;
	uint64_t source = 0;

	if (getpeername(socket, (struct sockaddr *)&a, &n))
		return 0;
	if (a.ss_family == AF_INET) {
		source = ((struct sockaddr_in *)&a)->sin_addr.s_addr;
	} else if (a.ss_family == AF_INET6) {
		const struct in6_addr *v6 = &((struct sockaddr_in6 *)&a)->sin6_addr;
		if (IN6_IS_ADDR_V4MAPPED(v6)) {
			uint32_t v4;
			memcpy(&v4, v6->s6_addr + 12, sizeof v4);
			source = v4;
		} else {
			memcpy(&source, v6->s6_addr, sizeof source);
		}
	}
	return source;
}

static struct bucket *bucket_of(uint64_t source)
{
	static struct bucket table[BUCKETS];
	static uint64_t secret;

	if (!secret && getrandom(&secret, sizeof secret, GRND_NONBLOCK) != sizeof secret)
		secret = remus_now_us();
	secret |= 1;
	return &table[((source ^ secret >> 1) * UINT64_C(0x9e3779b97f4a7c15) * secret) >> 58];
}

const char *stranger_refused(const struct daemon *d, uint64_t source)
{
	unsigned all = 0, same = 0;

	for (const struct session *s = d->sessions; s; s = s->next)
		if (s->pid && s->role == ROLE_RECEIVER && !s->admitted) {
			all++;
			same += s->source == source;
		}
	if (all >= STRANGERS_MAX)
		return "too many others have not said hello yet";
	if (same >= OF_ONE_SOURCE)
		return "too many others of the same address have not said hello yet";
	if (!take(bucket_of(source), 1000000u / PER_SECOND, BURST))
		return "too many came from the same address in a short time";
	return NULL;
}

void stranger_says(const char *fmt, ...)
{
	static struct bucket lines;
	static unsigned left_out;
	char text[1024], more[64] = "";
	va_list ap;

	if (!take(&lines, LINE_PERIOD_US, LINES)) {
		left_out++;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (left_out)
		snprintf(more, sizeof more, " (and %u more like it since the last such line)", left_out);
	left_out = 0;
	remus_warn("replication port: %s%s", text, more);
}
