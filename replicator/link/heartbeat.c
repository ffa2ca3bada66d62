/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The heartbeat thread: tells the peer that we live, and notices when it doesn't.
 *
 * Silence is only what *we* were awake to hear. Before it declares death the thread asks whether something lies
 * unread in the socket or in the reader's hands: then the reader gets its chance first. And time by which the
 * thread itself woke too late (the process was stopped, the host was overloaded) is not held against the peer.
 * Neither is needed for safety, which hangs on the arbiter and never on a clock (I5, I6); both spare a guest
 * a needless failover.
 */
#include <poll.h>
#include "internal.h"

#define CLOCK_BEATS    4     /* periods: then a heartbeat goes even if other frames went in between */
#define SECOND_LOOK_US 2000u /* while the reader has yet to look at what came */

static bool something_came(struct remus_link *link)
{
	struct pollfd p = {.fd = link->transport->ops->fd(link->transport), .events = POLLIN};

	/* In this order: the reader raises the flag before it takes bytes and drops it only after noting them. */
	return poll(&p, 1, 0) > 0 || atomic_load(&link->reader_busy);
}

uint64_t link_check_alive_locked(struct remus_link *link, uint64_t now)
{
	if (now < link->alive_us + link->dead_us)
		return link->alive_us + link->dead_us;
	if (something_came(link))
		return now + SECOND_LOOK_US;
	link_lose_locked(link, "no sign of life from %s for %u ms", link->peer,
			 (unsigned)(link->dead_us / 1000));
	return now;
}

/* A socket that takes no more has bytes on their way, which are a sign of life as good as a heartbeat. */
static bool writable(struct remus_link *link)
{
	struct pollfd p = {.fd = link->transport->ops->fd(link->transport), .events = POLLOUT};

	return poll(&p, 1, 0) > 0;
}

static void beat_locked(struct remus_link *link)
{
	link->heart_wants = false;
	link->slot_busy = true;
	if (writable(link))
		link_send_heartbeat_locked(link);
	if (!link->lost && link_clock_due_locked(link) && writable(link))
		link_send_clock_locked(link);
	link_slot_release_locked(link);
}

/* Wait until @until, or until woken. What exceeds it by more than a heartbeat was our own sleep. */
static void sleep_locked(struct remus_link *link, uint64_t until)
{
	link_wait_locked(link, &link->heart_wake, until);
	uint64_t now = remus_now_us();
	if (now <= until + link->heartbeat_us)
		return;
	link->alive_us += now - until;
	if (link->alive_us > now)
		link->alive_us = now;
}

/* Whatever we send is a sign of life; a heartbeat of its own is needed in between now and then for the clocks. */
static uint64_t next_beat_us(const struct remus_link *link, uint64_t last_beat)
{
	uint64_t next = last_beat + link->heartbeat_us, latest = last_beat + CLOCK_BEATS * link->heartbeat_us;

	if (next < link->spoke_us + link->heartbeat_us)
		next = link->spoke_us + link->heartbeat_us;
	return next < latest ? next : latest;
}

void *link_heart(void *context)
{
	struct remus_link *link = context;
	uint64_t last_beat = 0;

	pthread_setname_np(pthread_self(), "remus-heart");
	pthread_mutex_lock(&link->lock);
	while (!link->lost && !link->closing) {
		uint64_t now = remus_now_us(), next_beat = next_beat_us(link, last_beat);
		if (now >= next_beat && !link->slot_busy) {
			last_beat = now;
			beat_locked(link);
			continue;
		}
		uint64_t until = link_check_alive_locked(link, now);
		if (now >= next_beat)
			link->heart_wants = true; /* the slot's holder will wake us */
		else if (next_beat < until)
			until = next_beat;
		if (!link->lost)
			sleep_locked(link, until);
	}
	link->heart_wants = false;
	pthread_cond_broadcast(&link->slot_free);
	pthread_mutex_unlock(&link->lock);
	return NULL;
}
