/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sending: one frame at a time holds the slot, gets the next sequence number and goes out whole. Between two
 * frames a waiting heartbeat goes first, so it is never behind more than one frame (REMUS_PAGES_PAYLOAD_MAX).
 *
 * The descriptor never blocks; what waits is poll(), and it is woken when the link gets lost. A peer that is
 * alive but takes not a byte for stall_ms (its receiver hangs) is given up too: the guest's output waits
 * for it (I8's spirit: every wait has a deadline).
 */
#include <poll.h>
#include "internal.h"

#define PARTS_MAX	63
#define CLOCK_PERIOD_US 1000000u

void link_slot_release_locked(struct remus_link *link)
{
	link->slot_busy = false;
	if (link->heart_wants)
		pthread_cond_signal(&link->heart_wake);
	else if (link->slot_waiters)
		pthread_cond_signal(&link->slot_free);
}

/* Ends when the holder is done, whom stall_ms bounds, or when the heartbeat thread finds the link lost. */
static int acquire_locked(struct remus_link *link, struct remus_error *err)
{
	while ((link->slot_busy || link->heart_wants) && !link->lost && !link->closing) {
		link->slot_waiters++;
		pthread_cond_wait(&link->slot_free, &link->lock);
		link->slot_waiters--;
	}
	if (link->lost)
		return remus_fail(err, -EPIPE, "%s", link->reason.message);
	if (link->closing)
		return remus_fail(err, -EPIPE, "the link with %s is being closed", link->peer);
	link->slot_busy = true;
	return 0;
}

static struct remus_frame_header compose_locked(struct remus_link *link, uint16_t type, uint32_t flags,
						uint64_t epoch, uint32_t length)
{
	struct remus_frame_header h = {
		.version = REMUS_WIRE_VERSION,
		.type = type,
		.flags = flags,
		.length = length,
		.epoch = epoch,
		.sequence = ++link->sequence,
	};
	if (link->gate.bound) {
		memcpy(h.session, link->gate.session, REMUS_SESSION_SIZE);
		h.generation = link->gate.generation;
	}
	return h;
}

/* Wait until the socket takes bytes again. False: the link is over. */
static bool wait_writable(struct remus_link *link, bool heart, uint64_t stalled_us)
{
	uint64_t now = remus_now_us(), until = stalled_us;

	pthread_mutex_lock(&link->lock);
	if (now >= stalled_us)
		link_lose_locked(
			link,
			"%s lives but takes no data for %u ms: its remusd hangs, or the network between "
			"passes small packets only (MTU)",
			link->peer, (unsigned)(link->stall_us / 1000));
	else if (heart && !link->lost) {
		uint64_t check = link_check_alive_locked(link, now);
		until = check < until ? check : until;
	}
	bool over = link->lost || link->closing;
	pthread_mutex_unlock(&link->lock);
	if (over)
		return false;

	struct pollfd p[2] = {
		{.fd = link->transport->ops->fd(link->transport), .events = POLLOUT},
		{.fd = link->stop_fd, .events = POLLIN},
	};
	uint64_t ms = until > now ? (until - now + 999) / 1000 : 1;
	poll(p, 2, ms > 1000 ? 1000 : (int)ms);
	return true;
}

static void advance(struct iovec **iov, int *count, size_t n)
{
	while (*count && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		++*iov;
		--*count;
	}
	if (*count) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}

/* The slot is held, the mutex isn't. On failure the link is lost (or closing). @iov is used up. */
static int write_all(struct remus_link *link, struct iovec *iov, int count, bool more, bool heart)
{
	uint64_t stalled_us = remus_now_us() + link->stall_us;
	struct remus_error why = REMUS_ERROR_INIT;

	for (advance(&iov, &count, 0); count;) {
		ssize_t n = link->transport->ops->writev(link->transport, iov, count, more, &why);
		if (n > 0) {
			advance(&iov, &count, (size_t)n);
			stalled_us = remus_now_us() + link->stall_us;
		} else if (n == 0 || n == -EAGAIN) {
			if (!wait_writable(link, heart, stalled_us))
				return -EPIPE;
		} else {
			if (n == -EPIPE || n == -ECONNRESET)
				link_lose(link, "%s closed the connection", link->peer);
			else
				link_lose(link, "the connection to %s broke: %s", link->peer, why.message);
			return -EPIPE;
		}
	}
	return 0;
}

/* Another frame follows: the next of its kind, or the COMMIT. Fewer packets, and the backup is woken less often. */
static bool part_of_epoch(const struct remus_frame_header *h)
{
	return h->type == REMUS_FRAME_PAGES || h->type == REMUS_FRAME_STATE;
}

/* The mutex is held on entry and on return, let go meanwhile. */
static int transmit_locked(struct remus_link *link, struct remus_frame_header *h, const struct iovec *parts,
			   size_t count, bool heart)
{
	uint8_t head[REMUS_FRAME_HEADER];
	struct iovec iov[1 + PARTS_MAX] = {{head, sizeof head}};

	pthread_mutex_unlock(&link->lock);
	remus_frame_pack(head, h, parts, count);
	if (count)
		memcpy(iov + 1, parts, count * sizeof *parts);
	int rc = write_all(link, iov, (int)count + 1, part_of_epoch(h), heart);
	pthread_mutex_lock(&link->lock);
	if (!rc) {
		link->spoke_us = remus_now_us();
		link->stats.frames_sent++;
		link->stats.bytes_sent += sizeof head + h->length;
	}
	return rc;
}

void link_send_heartbeat_locked(struct remus_link *link)
{
	uint8_t payload[REMUS_HEARTBEAT_SIZE];
	struct remus_heartbeat beat = {link_clock_us(link), link->peer_sent_us, link->peer_received_us};
	struct iovec part = {payload, sizeof payload};
	struct remus_frame_header h = compose_locked(link, REMUS_FRAME_HEARTBEAT, 0, 0, sizeof payload);

	remus_heartbeat_encode(&beat, payload);
	transmit_locked(link, &h, &part, 1, true);
}

bool link_clock_due_locked(const struct remus_link *link)
{
	return link->peer_bound && (!link->told_us || remus_now_us() >= link->told_us + CLOCK_PERIOD_US);
}

void link_send_clock_locked(struct remus_link *link)
{
	link->told_us = remus_now_us();
	uint8_t payload[REMUS_CLOCK_SIZE];
	struct remus_clock_sync sync;
	struct iovec part = {payload, sizeof payload};
	struct remus_frame_header h = compose_locked(link, REMUS_FRAME_CLOCK, 0, 0, sizeof payload);

	remus_clock_sync(&sync);
	remus_clock_note_encode(
		&(struct remus_clock_note){link_wall_ns(link), sync.synchronised, sync.error_ns}, payload);
	transmit_locked(link, &h, &part, 1, true);
}

int remus_link_send(struct remus_link *link, uint16_t type, uint32_t flags, uint64_t epoch,
		    const struct iovec *parts, size_t count, struct remus_frame_header *out_header,
		    struct remus_error *err)
{
	size_t length = 0;

	if (count > PARTS_MAX)
		return remus_fail(err, -EINVAL, "link: a %s frame of %zu parts, at most %d are allowed",
				  remus_frame_name(type), count, PARTS_MAX);
	for (size_t i = 0; i < count; i++) {
		if (parts[i].iov_len > remus_frame_payload_max(type) - length)
			return remus_fail(err, -EMSGSIZE,
					  "link: a %s frame of more than %u bytes is not sent",
					  remus_frame_name(type), remus_frame_payload_max(type));
		length += parts[i].iov_len;
	}
	pthread_mutex_lock(&link->lock);
	int rc = acquire_locked(link, err);
	if (!rc) {
		struct remus_frame_header h = compose_locked(link, type, flags, epoch, (uint32_t)length);
		rc = transmit_locked(link, &h, parts, count, false);
		if (rc)
			remus_fail(err, rc, "%s",
				   link->lost ? link->reason.message : "the link is being closed");
		else if (out_header)
			*out_header = h;
		link_slot_release_locked(link);
	}
	pthread_mutex_unlock(&link->lock);
	return rc;
}
