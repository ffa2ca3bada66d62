/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See network.h. What is damaged or repeated on the way is found by the shipping codec, or it isn't found. */
#include "network.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include "remus/link.h"
#include "remus/util.h"
#include "world.h"

#define TAPE_MAX      400 /* frames that the middle box remembers */
#define BANDWIDTH_MBS 200 /* bytes per µs */

static struct endpoint *peer_of(struct endpoint *e)
{
	struct connection *c = &e->w->connection[e->id / 2];

	return &c->end[!e->side];
}

static void lose(struct endpoint *e, const char *why)
{
	if (!e->open || e->lost)
		return;
	e->lost = true;
	e->why = why;
	world_trace(e->w, e->host, "link", "lost at the %s: %s", e->side ? "backup" : "primary", why);
	if (e->owner)
		proc_run(e->owner);
}

void wire_free(struct wire_frame *f)
{
	free(f->payload);
	free(f);
}

/* ---- onto the wire ---- */

void wire_fly(struct endpoint *to, struct wire_frame *f, uint64_t leaves)
{
	struct world *w = to->w;
	struct network *n = &w->net;
	uint64_t delay = n->latency_us;

	if (n->jitter_us)
		delay += rng_below(&w->net_rng, (uint32_t)n->jitter_us);
	if (w->now < n->slow_until)
		delay *= n->slow_factor;
	f->left = leaves;
	f->at = leaves + delay;
	if (f->at < to->last_at)
		f->at = to->last_at;
	to->last_at = f->at;
	f->next = NULL;
	*to->flight_tail = f;
	to->flight_tail = &f->next;
	world_at(w, f->at, AT_DELIVER, (unsigned)to->id, 0);
}

struct wire_frame *wire_copy(const struct wire_frame *f)
{
	struct wire_frame *twin = malloc(sizeof *twin);

	*twin = *f;
	if (f->payload) {
		twin->payload = malloc(f->length);
		memcpy(twin->payload, f->payload, f->length);
	}
	return twin;
}

static void damage(struct world *w, struct wire_frame *f)
{
	uint32_t bit = rng_below(&w->net_rng, (REMUS_FRAME_HEADER + f->length) * 8);

	if (bit < REMUS_FRAME_HEADER * 8)
		f->head[bit / 8] ^= (uint8_t)(1u << bit % 8);
	else
		f->payload[bit / 8 - REMUS_FRAME_HEADER] ^= (uint8_t)(1u << bit % 8);
	world_trace(w, -1, "network", "a bit of a frame flips");
}

static bool has_replay(const struct world *w)
{
	for (unsigned i = 0; i < w->faults.count; i++)
		if (w->faults.list[i].kind == FAULT_REPLAY)
			return true;
	return false;
}

static void record(struct world *w, const struct wire_frame *f)
{
	if (w->net.taped == TAPE_MAX || !has_replay(w))
		return;
	struct wire_frame *twin = wire_copy(f);
	twin->next = NULL;
	*w->net.tape_tail = twin;
	w->net.tape_tail = &twin->next;
	w->net.taped++;
}

/* A slow network carries less as well; but a frame must not take as long as a dead peer is silent. */
static uint64_t bandwidth_divisor(const struct world *w)
{
	return w->now < w->net.slow_until ? 1 + w->net.slow_factor : 1;
}

static void transmit(struct endpoint *from, struct wire_frame *f)
{
	struct world *w = from->w;
	uint64_t leaves = w->now;

	if (from->sending_until > w->now || f->length > 1500) {
		if (from->sending_until < w->now)
			from->sending_until = w->now;
		from->sending_until += 1 + (uint64_t)f->length * bandwidth_divisor(w) / BANDWIDTH_MBS;
		leaves = from->sending_until;
	}
	if (from->side == 0)
		record(w, f);
	struct endpoint *to = peer_of(from);
	if (w->connection[from->id / 2].replayed) {
		wire_free(f); /* nobody listens to what a replay is answered */
		return;
	}
	if (w->net.repeat[from->host] > 0) {
		w->net.repeat[from->host]--;
		wire_fly(to, wire_copy(f), leaves);
	}
	if (w->net.corrupt[from->host] > 0) {
		w->net.corrupt[from->host]--;
		damage(w, f);
	}
	wire_fly(to, f, leaves);
}

/* The link's own contract (remus/link.h): capture.c calls this. */
int remus_link_send(struct remus_link *link, uint16_t type, uint32_t flags, uint64_t epoch,
		    const struct iovec *parts, size_t count, struct remus_frame_header *out_header,
		    struct remus_error *err)
{
	struct endpoint *e = (struct endpoint *)link;
	struct remus_frame_header h = {
		.version = REMUS_WIRE_VERSION, .type = type, .flags = flags, .epoch = epoch};

	if (!e->open || e->lost)
		return remus_fail(err, -EPIPE, "the link is lost");
	struct wire_frame *f = malloc(sizeof *f);
	f->fin = false;
	f->payload = NULL;
	for (size_t i = 0; i < count; i++)
		h.length += (uint32_t)parts[i].iov_len;
	if (h.length) {
		f->payload = malloc(h.length);
		uint8_t *p = f->payload;
		for (size_t i = 0; i < count; i++) {
			memcpy(p, parts[i].iov_base, parts[i].iov_len);
			p += parts[i].iov_len;
		}
	}
	f->length = h.length;
	h.sequence = ++e->sequence;
	if (e->bound) {
		memcpy(h.session, e->session, sizeof h.session);
		h.generation = e->generation;
	}
	remus_frame_pack(f->head, &h, parts, count);
	if (out_header)
		*out_header = h;
	transmit(e, f);
	if (sim_clock_runs && e->sending_until > e->w->now)
		sim_clock_ahead = e->sending_until - e->w->now;
	return 0;
}

static uint64_t link_clock(const struct endpoint *e)
{
	return host_mono(e->w, e->host) + (uint64_t)e->anchor_us;
}

static void send_heartbeat(struct endpoint *e)
{
	uint8_t body[REMUS_HEARTBEAT_SIZE];
	struct remus_heartbeat beat = {
		.sent = link_clock(e),
		.peer_sent = e->last_beat.sent,
		.peer_received = e->beat_received,
	};
	struct iovec part = {body, sizeof body};

	remus_heartbeat_encode(&beat, body);
	remus_link_send((struct remus_link *)e, REMUS_FRAME_HEARTBEAT, REMUS_FRAME_MANDATORY, 0, &part, 1,
			NULL, NULL);
}

/* ---- ends ---- */

void endpoint_open(struct world *w, struct connection *c, int side, int host)
{
	struct endpoint *e = &c->end[side];

	memset(e, 0, sizeof *e);
	e->w = w;
	e->id = 2 * (int)(c - w->connection) + side;
	e->side = side;
	e->host = host;
	e->open = true;
	e->heard_at = w->now;
	e->anchor_us = w->host[host].wall_offset;
	e->flight_tail = &e->flight;
	e->inbox_tail = &e->inbox;
	world_at(w, w->now + HEARTBEAT_US, AT_HEART, (unsigned)e->id, 0);
}

/* The supervisor of @host accepts: a receiver of its own for each connection. */
bool endpoint_accept(struct world *w, struct endpoint *e, int host)
{
	struct proc *receiver = proc_create(w, host, ROLE_BACKUP);

	if (!receiver)
		return false;
	e->owner = receiver;
	receiver->link = e;
	proc_feed(receiver, &(struct remus_event){.type = REMUS_EV_START});
	return true;
}

bool network_reaches(const struct world *w, int from, int to)
{
	return w->host[to].up && !w->host[to].frozen && w->host[to].daemon_up &&
	       w->net.blocked_until[from] <= w->now && w->net.blocked_until[to] <= w->now;
}

struct endpoint *network_connect(struct world *w, struct proc *primary, int to)
{
	if (!network_reaches(w, primary->host, to) || w->connections == CONNECTIONS_MAX)
		return NULL;
	struct connection *c = &w->connection[w->connections++];
	c->replayed = false;
	endpoint_open(w, c, 0, primary->host);
	endpoint_open(w, c, 1, to);
	c->end[0].owner = primary;
	return endpoint_accept(w, &c->end[1], to) ? &c->end[0] : NULL;
}

void wire_hang_up(struct endpoint *e, uint64_t when)
{
	struct wire_frame *fin = calloc(1, sizeof *fin);

	fin->fin = true;
	wire_fly(e, fin, when);
}

void endpoint_bind(struct endpoint *e, const uint8_t session[REMUS_SESSION_SIZE], uint64_t generation)
{
	memcpy(e->session, session, REMUS_SESSION_SIZE);
	e->generation = generation;
	e->bound = true;
	if (e->w->variant != STALE_GENERATION)
		remus_frame_gate_bind(&e->gate, session, generation);
}

static void drop_inbox(struct endpoint *e)
{
	for (struct inbox_frame *f; (f = e->inbox);) {
		e->inbox = f->next;
		free(f->frame.payload);
		free(f);
	}
	e->inbox_tail = &e->inbox;
}

void endpoint_close(struct endpoint *e)
{
	if (!e->open)
		return;
	e->open = false;
	e->owner = NULL;
	drop_inbox(e);
	struct endpoint *peer = peer_of(e);
	if (!peer->open)
		return;
	wire_hang_up(peer, e->sending_until > e->w->now ? e->sending_until : e->w->now);
}

void endpoint_abandon(struct endpoint *e, bool silently)
{
	struct endpoint *peer = peer_of(e);
	struct wire_frame **at = &peer->flight;
	bool cut = silently || rng_chance(&e->w->net_rng, 500);

	/* What was not handed to the kernel yet, or with the host what was not sent, never leaves. */
	while (cut && *at && (*at)->left <= e->w->now)
		at = &(*at)->next;
	while (cut && *at) {
		struct wire_frame *f = *at;
		*at = f->next;
		wire_free(f);
	}
	if (cut)
		peer->flight_tail = at;
	if (!silently) {
		e->sending_until = 0;
		endpoint_close(e);
		return;
	}
	e->open = false;
	e->owner = NULL;
	drop_inbox(e);
}

/* ---- off the wire ---- */

static void receive(struct endpoint *e, struct wire_frame *f)
{
	struct world *w = e->w;
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_frame_header h;

	e->heard_at = w->now;
	int rc = remus_frame_unpack(f->head, &h, &err);
	if (rc == 0 && h.length != f->length)
		rc = -EBADMSG; /* a stream would now read the rest as a header, and find no magic */
	if (rc == 0 && w->variant != CHECKSUM_IGNORED)
		rc = remus_frame_verify(f->head, f->payload, f->length, &err);
	if (rc == 0)
		rc = remus_frame_admit(&e->gate, &h, &err);
	if (rc == 0 && h.type == REMUS_FRAME_HEARTBEAT) {
		rc = remus_heartbeat_decode(f->payload, f->length, &e->last_beat, &err);
		e->beat_received = link_clock(e);
		if (rc == 0 && e->last_beat.peer_sent)
			remus_offset_add(&e->offset, e->last_beat.peer_sent, e->last_beat.peer_received,
					 e->last_beat.sent, e->beat_received);
		if (w->variant == HEARTBEAT_AS_ACK && e->side == 0 && e->owner && rc == 0)
			primary_action(e->owner, &(struct remus_action){.type = REMUS_DO_RELEASE,
									.epoch = e->owner->primary.epoch});
		wire_free(f);
	} else if (rc == 0 && h.type >= REMUS_FRAME_HELLO && h.type <= REMUS_FRAME_ENTROPY &&
		   h.type != REMUS_FRAME_CLOCK) {
		struct inbox_frame *in = malloc(sizeof *in);
		*in = (struct inbox_frame){.frame = {.header = h, .payload = f->payload}};
		*e->inbox_tail = in;
		e->inbox_tail = &in->next;
		free(f);
	} else {
		wire_free(f);
	}
	if (rc < 0)
		lose(e, "what arrived is not a frame of this session");
	else if (e->owner)
		proc_run(e->owner);
}

static bool deaf(const struct endpoint *e)
{
	const struct world *w = e->w;

	return !w->host[e->host].up || w->host[e->host].frozen || (e->owner && e->owner->frozen) ||
	       w->net.blocked_until[!e->host] > w->now;
}

void network_deliver(struct world *w, int endpoint)
{
	struct endpoint *e = &w->connection[endpoint / 2].end[endpoint % 2];

	while (e->flight && e->flight->at <= w->now && (!e->open || !deaf(e))) {
		struct wire_frame *f = e->flight;
		e->flight = f->next;
		if (!e->flight)
			e->flight_tail = &e->flight;
		if (!e->open || e->lost) {
			wire_free(f);
		} else if (f->fin) {
			wire_free(f);
			lose(e, "the other side closed the connection");
		} else {
			receive(e, f);
		}
	}
}

struct inbox_frame *endpoint_take(struct endpoint *e)
{
	struct inbox_frame *f = e->inbox;

	if (!f)
		return NULL;
	e->inbox = f->next;
	if (!e->inbox)
		e->inbox_tail = &e->inbox;
	return f;
}

void network_heart(struct world *w, int endpoint)
{
	struct endpoint *e = &w->connection[endpoint / 2].end[endpoint % 2];

	if (!e->open || e->lost || !w->host[e->host].up)
		return;
	e->still = w->host[e->host].frozen || (e->owner && e->owner->frozen);
	if (e->still)
		return; /* network_kick() starts it again */
	if (w->now >= e->heard_at + DEAD_US && !(e->flight && e->flight->at <= w->now && !deaf(e))) {
		lose(e, "no sign of life");
		return;
	}
	if (e->sending_until <= w->now)
		send_heartbeat(e);
	world_at(w, w->now + HEARTBEAT_US, AT_HEART, (unsigned)e->id, 0);
}

void network_kick(struct world *w, int host)
{
	for (unsigned i = 0; i < 2 * w->connections; i++) {
		struct endpoint *e = &w->connection[i / 2].end[i % 2];
		if (e->host != host || !e->open)
			continue;
		world_at(w, w->now, AT_DELIVER, i, 0);
		if (e->still && !(e->owner && e->owner->frozen) && !w->host[host].frozen) {
			e->still = false;
			e->heard_at = w->now; /* time in which we stood still isn't held against the peer */
			world_at(w, w->now + HEARTBEAT_US, AT_HEART, i, 0);
		}
	}
}

void network_reset(struct world *w, int sides)
{
	for (unsigned i = 0; i < w->connections; i++)
		for (int side = 0; side < 2; side++) {
			struct endpoint *e = &w->connection[i].end[side];
			struct endpoint *peer = peer_of(e);
			if (!e->open || !(sides & (1 << side)))
				continue;
			for (struct wire_frame *f; (f = peer->flight);) {
				peer->flight = f->next;
				wire_free(f);
			}
			peer->flight_tail = &peer->flight;
			lose(e, "connection reset");
		}
}

void network_clear(struct world *w)
{
	for (unsigned i = 0; i < 2 * w->connections; i++) {
		struct endpoint *e = &w->connection[i / 2].end[i % 2];
		drop_inbox(e);
		for (struct wire_frame *f; (f = e->flight);) {
			e->flight = f->next;
			wire_free(f);
		}
	}
	for (struct wire_frame *f; (f = w->net.tape);) {
		w->net.tape = f->next;
		wire_free(f);
	}
}
