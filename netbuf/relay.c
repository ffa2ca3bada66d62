// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How frames move through the hold: from the guest's socket into the queue, from the queue to the egress, and
 * from the egress to the guest. hold.h draws it.
 *
 * When the egress is full for the moment, the frames wait in their order and are tried again after 0.1 to 1 ms
 * (POLLOUT can't be relied on: a device queue's ENOBUFS and an unconnected datagram peer raise none). When it
 * refuses one for good, that frame is dropped and counted. When the guest's socket is full (QEMU is stopped,
 * say) we stop reading the egress, whose own buffer then fills: nothing is lost that needn't be.
 */
#include "config.h"
#include "hold.h"
#include "remus/log.h"
#include "remus/util.h"

#include <poll.h>

#define RETRY_LEAST_US 100u
#define RETRY_MOST_US  1000u
#define EGRESS_REST_US 100000u /* after an error of the egress's input: an interface that went down or away */

void hold_lock(struct hold *hold)
{
	pthread_mutex_lock(&hold->turn);
	pthread_mutex_lock(&hold->lock);
	pthread_mutex_unlock(&hold->turn);
}

void hold_unlock(struct hold *hold)
{
	pthread_mutex_unlock(&hold->lock);
}

void hold_wake(struct hold *hold)
{
	uint64_t one = 1;
	ssize_t done = write(hold->wake, &one, sizeof one);
	(void)done; /* a full counter wakes as well */
}

/* ---- from the guest ---- */

static void note_peak(struct hold *hold)
{
	if (hold->queue.packets > hold->stats.held_packets_peak)
		hold->stats.held_packets_peak = hold->queue.packets;
}

static void accept_frame(struct hold *hold, const struct iovec *frame)
{
	bool passing = hold->state == HOLD_PASSING;

	if (passing && !queue_has_room(&hold->queue, frame->iov_len))
		hold_flush(hold, BATCH_FRAMES);
	if (queue_push(&hold->queue, frame) < 0) {
		hold->stats.dropped_packets++;
		return;
	}
	hold->stats.accepted_packets++;
	if (passing)
		queue_open_all(&hold->queue);
	else
		note_peak(hold);
}

int hold_take(struct hold *hold)
{
	struct frame_batch *batch = &hold->from_guest;
	int taken = frame_batch_receive(batch, hold->guest);

	if (taken <= 0)
		return 0;
	hold->stats.dropped_packets += (unsigned)taken - batch->count; /* too long */
	for (unsigned i = 0; i < batch->count; i++) {
		remus_addresses_learn(&hold->learned, hold->mac, batch->frame[i].iov_base,
				      batch->frame[i].iov_len);
		accept_frame(hold, &batch->frame[i]);
	}
	return taken;
}

/* ---- to the egress ---- */

static bool for_later(int rc)
{
	return rc == -EAGAIN || rc == -ENOBUFS || rc == -EINTR || rc == -ENOMEM;
}

static void complain(struct hold *hold, int rc)
{
	if (!hold->complained)
		remus_warn("egress %s refuses a frame of the guest: %s; such frames are dropped",
			   hold->egress->name, strerror(-rc));
	hold->complained = true;
}

unsigned hold_flush(struct hold *hold, unsigned budget)
{
	struct iovec frames[BATCH_FRAMES];
	unsigned gone = 0, count;

	hold->egress_full = false;
	while (gone < budget && (count = queue_peek(&hold->queue, frames, BATCH_FRAMES)) > 0) {
		if (count > budget - gone)
			count = budget - gone;
		int sent = hold->egress->ops->send(hold->egress, frames, count);
		if (sent < 0 && for_later(sent)) {
			hold->egress_full = true;
			break;
		}
		if (sent < 0) {
			complain(hold, sent);
			hold->stats.dropped_packets++;
			queue_pop(&hold->queue);
			gone++;
			continue;
		}
		hold->complained = false;
		for (int i = 0; i < sent; i++, gone++) {
			hold->stats.released_packets++;
			hold->stats.released_bytes += frames[i].iov_len;
			queue_pop(&hold->queue);
		}
	}
	note_peak(hold);
	return gone;
}

/* ---- to the guest ---- */

/* Hand over what is left of the batch; false = the guest's socket is full, ask again. */
static bool deliver(struct hold *hold)
{
	struct frame_batch *batch = &hold->to_guest;
	struct mmsghdr message[BATCH_FRAMES];

	while (batch->next < batch->count) {
		unsigned n = batch->count - batch->next;
		memset(message, 0, sizeof message);
		for (unsigned i = 0; i < n; i++)
			message[i].msg_hdr = (struct msghdr){.msg_name = &hold->guest_address,
							     .msg_namelen = sizeof hold->guest_address,
							     .msg_iov = &batch->frame[batch->next + i],
							     .msg_iovlen = 1};
		int sent = sendmmsg(hold->guest, message, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && for_later(-errno))
			return false;
		if (sent < 0 && (errno == ENOENT || errno == ECONNREFUSED)) {
			batch->next = batch->count; /* no hypervisor there (yet): as on a cut wire */
			break;
		}
		if (sent > 0)
			hold->received += (unsigned)sent;
		else if (!hold->guest_complained) {
			remus_warn("guest socket %s refuses a frame: %m; such frames are dropped",
				   hold->guest_address.sun_path);
			hold->guest_complained = true;
		}
		batch->next += sent > 0 ? (unsigned)sent : 1;
	}
	return true;
}

/* ---- the thread ---- */

static unsigned longer(unsigned wait_us)
{
	if (!wait_us)
		return RETRY_LEAST_US;
	return wait_us * 2 < RETRY_MOST_US ? wait_us * 2 : RETRY_MOST_US;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

enum { WAKE, GUEST, EGRESS, SOURCES };

void *hold_relay(void *argument)
{
	struct hold *hold = argument;
	struct frame_batch *in = &hold->to_guest;
	struct pollfd source[SOURCES] = {{.fd = hold->wake, .events = POLLIN},
					 {.fd = -1, .events = POLLIN},
					 {.fd = -1, .events = POLLIN}};
	unsigned out_retry_us = 0, in_retry_us = 0;
	uint64_t egress_rests_until = 0;

	for (;;) {
		hold_lock(hold);
		if (hold->stopping) {
			hold_unlock(hold);
			return NULL;
		}
		bool open = hold->state != HOLD_CLOSED; /* and never closed again */
		unsigned sent = 0;
		if (source[GUEST].revents)
			hold_take(hold);
		if (open)
			sent = hold_flush(hold, BATCH_FRAMES);
		bool full = hold->egress_full, more = hold->queue.leaving > 0;
		hold_unlock(hold);

		uint64_t now = remus_now_us();
		if (source[EGRESS].revents && hold->egress->ops->receive(hold->egress, in) < 0)
			egress_rests_until = now + EGRESS_REST_US;
		bool delivered = !open || deliver(hold);

		uint64_t wait_us = UINT64_MAX;
		out_retry_us = full ? longer(sent ? 0 : out_retry_us) : 0;
		in_retry_us = delivered ? 0 : longer(in_retry_us);
		if (more)
			wait_us = out_retry_us;
		if (!delivered)
			wait_us = sooner(wait_us, in_retry_us);
		if (egress_rests_until > now)
			wait_us = sooner(wait_us, egress_rests_until - now);
		struct timespec wait = {(time_t)(wait_us / 1000000), (long)(wait_us % 1000000) * 1000};

		source[GUEST].fd = open ? hold->guest : -1;
		source[EGRESS].fd = open && delivered && egress_rests_until <= now ? hold->egress->fd : -1;
		for (int i = 0; i < SOURCES; i++)
			source[i].revents = 0;
		if (ppoll(source, SOURCES, wait_us == UINT64_MAX ? NULL : &wait, NULL) > 0 &&
		    source[WAKE].revents) {
			uint64_t count;
			ssize_t done = read(hold->wake, &count, sizeof count);
			(void)done;
		}
	}
}
