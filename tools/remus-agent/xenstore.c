/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Xenstore, for guests of Xen (PV, PVH, HVM): two nodes below the guest's own `data`, each a letter box for one line.
 * Whoever reads one empties it, and whoever finds one full waits before he writes again, but not for ever: the other
 * side may have been left on another host. After a resume the kernel sets its watches anew, which fires them, so that
 * what was missed is looked for.
 *
 * The kernel's /dev/xen/xenbus takes requests and gives answers and events, in packets (xenwire.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "remus/renewal.h"
#include "transport.h"
#include "xenwire.h"

#define ANSWER_MS   2000
#define WAITING	    8		/* lines */
#define PATIENCE_NS 2000000000u /* with a letter that nobody takes out; a loaded host may take a second */

struct store {
	struct transport base;
	int fd;
	uint32_t request;
	struct xenwire_reader in;
	bool asked, taken; /* the watches of the two nodes have fired */
	bool full;	   /* our last letter may be in the box */
	uint64_t since_ns; /* when it was put there */
	char waiting[WAITING][REMUS_MESSAGE_MAX];
	unsigned first, count;
};

static void note(struct store *s, const struct xenwire_packet *p)
{
	s->asked |= xenwire_is_event(p, "request");
	s->taken |= xenwire_is_event(p, "reply");
}

/* Read what there is. 1: *out is a packet that is no event; 0: nothing more for now. */
static int take(struct store *s, struct xenwire_packet *out, struct remus_error *err)
{
	for (;;) {
		int rc = xenwire_next(&s->in, out);
		if (rc < 0)
			return remus_fail(err, -EPROTO, "xenstore: the device's words make no sense");
		if (rc && out->type != XENWIRE_EVENT)
			return 1;
		if (rc) {
			note(s, out);
			continue;
		}
		size_t room;
		uint8_t *at = xenwire_room(&s->in, &room);
		ssize_t n = read(s->fd, at, room);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0)
			return n < 0 ? remus_fail_errno(err, "xenstore: reading the device")
				     : remus_fail(err, -EPIPE, "xenstore: the device has ended");
		xenwire_filled(&s->in, (size_t)n);
	}
}

/* A request and its answer. @value (may be NULL) gets at most @size - 1 bytes and a NUL. Negative errno; what
 * xenstore itself says no with leaves the transport usable, and *said is true. */
static int call(struct store *s, enum xenwire_type type, const char *path, const char *word, char *value,
		size_t size, bool *said, struct remus_error *err)
{
	uint8_t out[XENWIRE_HEADER + XENWIRE_PAYLOAD];
	size_t bytes = xenwire_pack(out, type, ++s->request, path, word, type == XENWIRE_WATCH);
	uint64_t until = clock_monotonic_ns() + ANSWER_MS * UINT64_C(1000000);
	struct xenwire_packet p;

	*said = false;
	if (!bytes || write(s->fd, out, bytes) != (ssize_t)bytes)
		return remus_fail(err, -EIO, "xenstore: the device doesn't take a request");
	for (;;) {
		int rc = take(s, &p, err);
		if (rc < 0)
			return rc;
		if (rc && p.request == s->request)
			break;
		uint64_t now = clock_monotonic_ns();
		struct pollfd wait = {.fd = s->fd, .events = POLLIN};
		if (!rc && (now >= until || poll(&wait, 1, (int)((until - now) / 1000000) + 1) <= 0))
			return remus_fail(err, -ETIMEDOUT, "xenstore: no answer within %d ms", ANSWER_MS);
	}
	*said = true;
	if (p.type == XENWIRE_ERROR) {
		int why = xenwire_error(&p);
		return remus_fail(err, -why, "xenstore: %s: %s", path, strerror(why));
	}
	if (value) {
		size_t n = p.length < size - 1 ? p.length : size - 1;
		memcpy(value, p.payload, n);
		value[n] = 0;
	}
	return 0;
}

static void store_close(struct transport *base)
{
	struct store *s = (struct store *)base;

	close(s->fd);
	explicit_bzero(s->in.bytes, sizeof s->in.bytes);
	free(s);
}

int transport_xenstore_attach(int fd, struct transport **out, struct remus_error *err)
{
	struct store *s = calloc(1, sizeof *s);
	bool said;

	if (!s) {
		close(fd);
		return remus_fail(err, -ENOMEM, "no memory");
	}
	s->base.ops = &transport_xenstore;
	s->fd = fd;
	int rc = call(s, XENWIRE_WATCH, REMUS_AGENT_REQUEST, "request", NULL, 0, &said, err);
	if (rc == 0)
		rc = call(s, XENWIRE_WATCH, REMUS_AGENT_REPLY, "reply", NULL, 0, &said, err);
	if (rc < 0) {
		store_close(&s->base);
		return rc;
	}
	*out = &s->base;
	return 0;
}

static int store_open(struct transport **out, struct remus_error *err)
{
	int fd = open("/dev/xen/xenbus", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 ? remus_fail_errno(err, "/dev/xen/xenbus") : transport_xenstore_attach(fd, out, err);
}

static int store_fd(struct transport *base)
{
	return ((struct store *)base)->fd;
}

/* ---- out ---- */

/* Put the next letter into the box, if that is empty or was full for too long. */
static int post(struct store *s, struct remus_error *err)
{
	char left[8];
	bool said;
	int rc = 0;

	if (s->taken && s->full) {
		s->taken = false;
		rc = call(s, XENWIRE_READ, REMUS_AGENT_REPLY, NULL, left, sizeof left, &said, err);
		if (!said)
			return rc;
		s->full = rc == 0 && left[0];
	}
	uint64_t now = clock_monotonic_ns();
	if (!s->count || (s->full && now - s->since_ns < PATIENCE_NS))
		return 0;
	rc = call(s, XENWIRE_WRITE, REMUS_AGENT_REPLY, s->waiting[s->first], NULL, 0, &said, err);
	if (!said)
		return rc;
	s->first = (s->first + 1) % WAITING;
	s->count--;
	s->full = true;
	s->since_ns = now;
	return rc == -EACCES ? rc : 0; /* no place for us: the toolstack made no `data` for the guest */
}

static int store_write(struct transport *base, const char *line, size_t bytes, struct remus_error *err)
{
	struct store *s = (struct store *)base;

	if (s->count == WAITING) { /* the oldest is the least use */
		s->first = (s->first + 1) % WAITING;
		s->count--;
	}
	if (bytes && line[bytes - 1] == '\n')
		bytes--;
	snprintf(s->waiting[(s->first + s->count++) % WAITING], REMUS_MESSAGE_MAX, "%.*s", (int)bytes, line);
	return post(s, err);
}

/* ---- in ---- */

/* All that has come, and what is to be done about our own box. An event that came right behind an answer was read with
 * it, and nothing will wake us for it: so it goes on until there was nothing to ask. */
static int settle(struct store *s, struct remus_error *err)
{
	struct xenwire_packet stray; /* an answer that came too late */
	uint32_t before;
	int rc;

	do {
		before = s->request;
		while ((rc = take(s, &stray, err)) > 0)
			;
		if (rc == 0)
			rc = post(s, err);
	} while (rc == 0 && s->request != before);
	return rc;
}

static ssize_t store_read(struct transport *base, void *buffer, size_t size, struct remus_error *err)
{
	struct store *s = (struct store *)base;
	char *text = buffer;
	bool said;
	int rc;

	do {
		rc = settle(s, err);
		if (rc < 0 || !s->asked)
			return rc;
		s->asked = false;
		rc = call(s, XENWIRE_READ, REMUS_AGENT_REQUEST, NULL, text, size - 1, &said, err);
		if (!said)
			return rc;
	} while (rc < 0 || !text[0]); /* nothing in the box */
	rc = call(s, XENWIRE_WRITE, REMUS_AGENT_REQUEST, "", NULL, 0, &said, err);
	if (!said)
		return rc;
	s->asked = true; /* look again: the next may have come meanwhile */
	size_t n = strlen(text);
	text[n++] = '\n';
	return (ssize_t)n;
}

const struct transport_ops transport_xenstore = {
	.name = "xenstore",
	.open = store_open,
	.fd = store_fd,
	.read = store_read,
	.write = store_write,
	.close = store_close,
};
