/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reader thread: bytes to checked frames to the owner's queue. A frame reaches the queue only if its header
 * is bounded, its checksum right and its sequence, session and generation what the gate expects (I4); memory
 * for a payload is taken after the bound and after there is room for it (I11).
 *
 * It reads on after the link was lost, until nothing more comes: what the peer sent before it closed counts.
 */
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include "internal.h"

/* False: closing. */
static bool note_bytes(struct remus_link *link, size_t n)
{
	pthread_mutex_lock(&link->lock);
	link->alive_us = link->last_byte_us = remus_now_us();
	link->stats.bytes_received += n;
	bool go_on = !link->closing;
	pthread_mutex_unlock(&link->lock);
	return go_on;
}

/* Wait for bytes. The heartbeat thread's deadline holds here too: it shuts the transport down. */
static void wait_readable(struct remus_link *link)
{
	struct pollfd p[2] = {
		{.fd = link->transport->ops->fd(link->transport), .events = POLLIN},
		{.fd = link->stop_fd, .events = POLLIN},
	};

	atomic_store(&link->reader_busy, false);
	poll(p, 2, 1000);
	atomic_store(&link->reader_busy, true);
}

/* Between 1 and @n bytes to @to; 0: no more will come, the link is lost or closing. */
static size_t pull(struct remus_link *link, void *to, size_t n, bool in_frame)
{
	struct remus_error why = REMUS_ERROR_INIT;
	bool over = false;

	for (;;) {
		ssize_t got = link->transport->ops->read(link->transport, to, n, &why);
		if (got > 0)
			return note_bytes(link, (size_t)got) ? (size_t)got : 0;
		if (got == -EAGAIN) {
			/* Nothing was there when we read. Only a read that began after the link was over tells
			 * that nothing came before its end either. */
			if (over)
				return 0;
			over = link_over(link);
			if (!over)
				wait_readable(link);
			continue;
		}
		if (got == 0)
			link_lose(link, "%s closed the connection%s", link->peer,
				  in_frame ? " in the middle of a frame" : "");
		else if (got == -ECONNRESET)
			link_lose(link, "%s reset the connection", link->peer);
		else
			link_lose(link, "the connection to %s broke: %s", link->peer, why.message);
		return 0;
	}
}

/* Exactly @n bytes. Small pieces come through the read-ahead buffer, large ones straight from the socket. */
static bool take(struct remus_link *link, void *to, size_t n, bool in_frame)
{
	uint8_t *p = to;

	while (n) {
		size_t got = link->ahead_end - link->ahead_at;
		if (got) {
			got = got < n ? got : n;
			memcpy(p, link->ahead + link->ahead_at, got);
			link->ahead_at += got;
		} else if (n >= sizeof link->ahead) {
			got = pull(link, p, n, in_frame);
			if (!got)
				return false;
		} else {
			link->ahead_at = 0;
			link->ahead_end = pull(link, link->ahead, sizeof link->ahead, in_frame);
			if (!link->ahead_end)
				return false;
			continue;
		}
		in_frame = true;
		p += got;
		n -= got;
	}
	return true;
}

/* Only the owner can make room, and close() ends the wait. The peer counts as alive: it can't be heard. */
static bool wait_for_room(struct remus_link *link, size_t cost)
{
	pthread_mutex_lock(&link->lock);
	while (link->head && link->queued + cost > link->queue_cap && !link->closing) {
		link_wait_locked(link, &link->room, remus_now_us() + 1000000u);
		link->alive_us = remus_now_us();
	}
	bool go_on = !link->closing;
	pthread_mutex_unlock(&link->lock);
	return go_on;
}

/*
 * NTP's four timestamps (RFC 5905, section 8): T1 our clock when we sent, T2 the peer's when that arrived,
 * T3 the peer's when it answered, T4 ours now.
 */
static void note_heartbeat_locked(struct remus_link *link, const struct remus_heartbeat *beat)
{
	uint64_t t4 = link_clock_us(link), rtt = link->stats.rtt_us;

	link->peer_sent_us = beat->sent;
	link->peer_received_us = t4;
	if (!beat->peer_sent)
		return;
	int64_t delay = remus_offset_add(&link->offset, beat->peer_sent, beat->peer_received, beat->sent, t4);
	if (delay < 0)
		return;
	/* RFC 6298's smoothing */
	rtt = rtt ? (rtt * 7 + (uint64_t)delay) / 8 : (uint64_t)delay;
	link->stats.rtt_us = rtt ? rtt : 1; /* 0 means unknown */
}

/* Types between these are known; others are optional (unpack saw to that) and end here. */
static bool for_owner(const struct remus_frame_header *h)
{
	return h->type >= REMUS_FRAME_HELLO && h->type <= REMUS_FRAME_ENTROPY &&
	       h->type != REMUS_FRAME_HEARTBEAT && h->type != REMUS_FRAME_CLOCK;
}

/* Admit a frame that is whole and right. Takes over @node. */
static int deliver(struct remus_link *link, struct link_node *node, struct remus_error *why)
{
	struct remus_frame *f = &node->frame;
	struct remus_heartbeat beat;
	int rc = 0;

	pthread_mutex_lock(&link->lock);
	rc = remus_frame_admit(&link->gate, &f->header, why);
	if (!rc && f->header.type == REMUS_FRAME_HEARTBEAT) {
		rc = remus_heartbeat_decode(f->payload, f->header.length, &beat, why);
		if (!rc)
			note_heartbeat_locked(link, &beat);
	}
	if (!rc && link->gate.bound && f->header.generation)
		link->peer_bound = true;
	if (!rc && f->header.type == REMUS_FRAME_CLOCK) {
		rc = remus_clock_note_decode(f->payload, f->header.length, &link->peer_clock, why);
		link->peer_told = !rc;
	}
	if (!rc)
		link->stats.frames_received++;
	if (!rc && for_owner(&f->header)) {
		if (!link->head)
			eventfd_write(link->event_fd, 1);
		*link->tail = node;
		link->tail = &node->next;
		link->queued += link_cost(&f->header);
		node = NULL;
	}
	pthread_mutex_unlock(&link->lock);
	if (node) {
		free(node->frame.payload);
		free(node);
	}
	return rc;
}

/* The next frame, from its first byte to the queue. False: end. */
static bool receive(struct remus_link *link)
{
	uint8_t head[REMUS_FRAME_HEADER];
	struct remus_frame_header h;
	struct remus_error why = REMUS_ERROR_INIT;

	if (!take(link, head, REMUS_FRAME_MAGIC, false))
		return false;
	int rc = remus_frame_check_magic(head, &why);
	if (!rc) {
		if (!take(link, head + REMUS_FRAME_MAGIC, sizeof head - REMUS_FRAME_MAGIC, true))
			return false;
		rc = remus_frame_unpack(head, &h, &why);
	}
	if (rc == -EPROTONOSUPPORT) {
		link_lose(link, "%s cannot be understood: %s", link->peer, why.message);
		return false;
	}
	if (!rc && for_owner(&h) && !wait_for_room(link, link_cost(&h)))
		return false;
	if (!rc) {
		struct link_node *node = calloc(1, sizeof *node);
		uint8_t *payload = h.length ? malloc(h.length) : NULL;
		if (!node || (h.length && !payload)) {
			free(node);
			free(payload);
			link_lose(link, "no memory for a frame of %u bytes from %s", h.length, link->peer);
			return false;
		}
		node->frame = (struct remus_frame){h, payload};
		if (!take(link, payload, h.length, true)) {
			free(node);
			free(payload);
			return false;
		}
		rc = remus_frame_verify(head, payload, h.length, &why);
		if (rc) {
			free(node);
			free(payload);
		} else {
			rc = deliver(link, node, &why);
		}
	}
	if (rc)
		link_lose(link, "garbage on the link from %s: %s", link->peer, why.message);
	return !rc;
}

void *link_reader(void *context)
{
	struct remus_link *link = context;

	pthread_setname_np(pthread_self(), "remus-reader");
	while (receive(link))
		;
	pthread_mutex_lock(&link->lock);
	link->reader_done = true;
	eventfd_write(link->event_fd, 1);
	pthread_mutex_unlock(&link->lock);
	return NULL;
}
