/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The owner's side of a link: its life, its queue of received frames, its numbers. Sending is in send.c; how the
 * parts fit together is drawn in internal.h.
 *
 * A lost link still gives up every frame that came before: next() says -EPIPE only once the reader has drained
 * the connection and the owner the queue. A REFUSE or an END_ACK whose sender closed at once is not lost to the
 * reset that follows it.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include "internal.h"

#define DEFAULT_QUEUE (8u * 1024u * 1024u)
#define DEFAULT_STALL 10000u /* ms */

static int64_t now_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

uint64_t link_clock_us(const struct remus_link *link)
{
	return (uint64_t)(now_ns(CLOCK_MONOTONIC_RAW) + link->anchor_ns) / 1000u;
}

int64_t link_wall_ns(const struct remus_link *link)
{
	int64_t before = now_ns(CLOCK_MONOTONIC_RAW);

	return now_ns(CLOCK_REALTIME) - before - link->anchor_ns;
}

void link_wait_locked(struct remus_link *link, pthread_cond_t *cond, uint64_t until_us)
{
	struct timespec t = {(time_t)(until_us / 1000000u), (long)(until_us % 1000000u) * 1000};
	pthread_cond_timedwait(cond, &link->lock, &t);
}

static void wake_all_locked(struct remus_link *link)
{
	pthread_cond_broadcast(&link->slot_free);
	pthread_cond_broadcast(&link->room);
	pthread_cond_broadcast(&link->heart_wake);
	eventfd_write(link->stop_fd, 1);
}

static void lose_va(struct remus_link *link, const char *fmt, va_list ap)
{
	if (link->lost)
		return;
	link->lost = true;
	link->reason.code = -EPIPE;
	vsnprintf(link->reason.message, sizeof link->reason.message, fmt, ap);
	link->transport->ops->shutdown(link->transport);
	wake_all_locked(link);
}

void link_lose_locked(struct remus_link *link, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	lose_va(link, fmt, ap);
	va_end(ap);
}

void link_lose(struct remus_link *link, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	pthread_mutex_lock(&link->lock);
	lose_va(link, fmt, ap);
	pthread_mutex_unlock(&link->lock);
	va_end(ap);
}

bool link_over(struct remus_link *link)
{
	pthread_mutex_lock(&link->lock);
	bool over = link->lost || link->closing;
	pthread_mutex_unlock(&link->lock);
	return over;
}

/* ---- timing ---- */

static void set_timing_locked(struct remus_link *link, uint32_t heartbeat_ms, uint32_t dead_ms)
{
	link->heartbeat_us = (uint64_t)(heartbeat_ms ? heartbeat_ms : REMUS_DEFAULT_HEARTBEAT_MS) * 1000u;
	link->dead_us = (uint64_t)(dead_ms ? dead_ms : REMUS_DEFAULT_DEAD_MS) * 1000u;
	if (link->dead_us < 2 * link->heartbeat_us)
		link->dead_us = 2 * link->heartbeat_us;
}

void remus_link_timing(struct remus_link *link, uint32_t heartbeat_ms, uint32_t dead_ms)
{
	pthread_mutex_lock(&link->lock);
	set_timing_locked(link, heartbeat_ms, dead_ms);
	pthread_cond_signal(&link->heart_wake);
	pthread_mutex_unlock(&link->lock);
}

void remus_link_bind(struct remus_link *link, const uint8_t session[REMUS_SESSION_SIZE], uint64_t generation)
{
	pthread_mutex_lock(&link->lock);
	remus_frame_gate_bind(&link->gate, session, generation);
	pthread_mutex_unlock(&link->lock);
}

/* ---- receiving ---- */

int remus_link_event_fd(const struct remus_link *link)
{
	return link->event_fd;
}

int remus_link_next(struct remus_link *link, struct remus_frame *out, struct remus_error *err)
{
	int rc = 0;

	pthread_mutex_lock(&link->lock);
	struct link_node *node = link->head;
	if (node) {
		link->head = node->next;
		if (!link->head)
			link->tail = &link->head;
		link->queued -= link_cost(&node->frame.header);
		*out = node->frame;
		pthread_cond_signal(&link->room);
		rc = 1;
	} else if (link->reader_done) {
		rc = remus_fail(err, -EPIPE, "%s", link->reason.message);
	}
	if (!link->head && !link->reader_done) {
		eventfd_t ignored;
		eventfd_read(link->event_fd, &ignored); /* non-blocking: -EAGAIN when it isn't raised */
	}
	pthread_mutex_unlock(&link->lock);
	free(node);
	return rc;
}

/* ---- numbers ---- */

void remus_link_stats(struct remus_link *link, struct remus_link_stats *out)
{
	pthread_mutex_lock(&link->lock);
	*out = link->stats;
	uint64_t now = remus_now_us();
	out->silent_us = now > link->last_byte_us ? now - link->last_byte_us : 0;
	out->clock_samples = link->offset.samples;
	out->clock_restarts = link->offset.restarts;
	out->peer_told = link->peer_told;
	out->peer_synchronised = link->peer_clock.synchronised;
	out->peer_error_us = link->peer_clock.error_ns / 1000;
	if (link->offset.samples) {
		out->clock_offset_us =
			(link->offset.offset_ns + link->peer_clock.wall_ns - link_wall_ns(link)) / 1000;
		out->clock_error_us = (remus_offset_error(&link->offset, link_clock_us(link)) + 999) / 1000;
	}
	pthread_mutex_unlock(&link->lock);
}

int64_t remus_link_clock(struct remus_link *link, struct remus_offset *offset)
{
	if (offset) {
		pthread_mutex_lock(&link->lock);
		*offset = link->offset;
		pthread_mutex_unlock(&link->lock);
	}
	return link->anchor_ns;
}

const char *remus_link_peer(const struct remus_link *link)
{
	return link->peer;
}

const char *remus_link_security(const struct remus_link *link)
{
	return link->transport->ops->security(link->transport);
}

/* ---- life ---- */

static void discard(struct remus_link *link)
{
	while (link->head) {
		struct link_node *node = link->head;
		link->head = node->next;
		free(node->frame.payload);
		free(node);
	}
	if (link->event_fd >= 0)
		close(link->event_fd);
	if (link->stop_fd >= 0)
		close(link->stop_fd);
	link->transport->ops->close(link->transport);
	pthread_cond_destroy(&link->slot_free);
	pthread_cond_destroy(&link->room);
	pthread_cond_destroy(&link->heart_wake);
	pthread_mutex_destroy(&link->lock);
	free(link);
}

static void end_threads(struct remus_link *link)
{
	pthread_mutex_lock(&link->lock);
	link->closing = true;
	wake_all_locked(link);
	pthread_mutex_unlock(&link->lock);
}

/* Signals are for the owner's thread. */
static int start_threads(struct remus_link *link, struct remus_error *err)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&link->reader, NULL, link_reader, link);
	if (!rc && (rc = pthread_create(&link->heart, NULL, link_heart, link))) {
		end_threads(link);
		pthread_join(link->reader, NULL);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc ? remus_fail(err, -rc, "link with %s: cannot start a thread: %s", link->peer, strerror(rc))
		  : 0;
}

int remus_link_start(struct remus_transport *transport, const struct remus_link_config *config,
		     struct remus_link **out, struct remus_error *err)
{
	static const struct remus_link_config defaults;
	struct remus_link *link = calloc(1, sizeof *link);
	pthread_condattr_t monotonic;

	if (!config)
		config = &defaults;
	if (!link) {
		transport->ops->close(transport);
		return remus_fail(err, -ENOMEM, "link: no memory");
	}
	link->transport = transport;
	link_peer_text(transport->ops->fd(transport), link->peer);
	link->tail = &link->head;
	link->queue_cap = config->queue_bytes ? config->queue_bytes : DEFAULT_QUEUE;
	link->stall_us = (uint64_t)(config->stall_ms ? config->stall_ms : DEFAULT_STALL) * 1000u;
	link->alive_us = link->last_byte_us = remus_now_us();
	link->anchor_ns = now_ns(CLOCK_REALTIME) - now_ns(CLOCK_MONOTONIC_RAW);
	atomic_store(&link->reader_busy, true);
	pthread_mutex_init(&link->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&link->slot_free, &monotonic);
	pthread_cond_init(&link->room, &monotonic);
	pthread_cond_init(&link->heart_wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	set_timing_locked(link, config->heartbeat_ms, config->dead_ms);
	link->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	link->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	int rc = 0;
	if (link->event_fd < 0 || link->stop_fd < 0)
		rc = remus_fail_errno(err, "link with %s: eventfd", link->peer);
	else if (config->dead_ms && link->dead_us > config->dead_ms * UINT64_C(1000))
		rc = remus_fail(err, -EINVAL,
				"link with %s: dead_ms %u is less than two heartbeats of %u ms: one late "
				"packet would "
				"look like a death",
				link->peer, config->dead_ms, (unsigned)(link->heartbeat_us / 1000));
	else
		rc = start_threads(link, err);
	if (rc) {
		discard(link);
		return rc;
	}
	*out = link;
	return 0;
}

void remus_link_close(struct remus_link *link)
{
	if (!link)
		return;
	end_threads(link);
	pthread_join(link->heart, NULL);
	pthread_join(link->reader, NULL);
	discard(link);
}
