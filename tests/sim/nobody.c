/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections whose other end is no engine of this world: strangers on the backup's port, and a middle box that plays
 * what was once said.
 */
#include "network.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include "world.h"

/* The backup's end of a connection whose other end is nobody that we simulate. NULL: refused. */
static struct endpoint *connect_nobody(struct world *w, int to)
{
	if (!network_reaches(w, !to, to) || w->connections == CONNECTIONS_MAX)
		return NULL;
	struct connection *c = &w->connection[w->connections++];
	c->replayed = true;
	endpoint_open(w, c, 0, !to);
	endpoint_open(w, c, 1, to);
	c->end[0].open = false;
	return endpoint_accept(w, &c->end[1], to) ? &c->end[1] : NULL;
}

void network_stranger(struct world *w, int to, uint32_t detail)
{
	static const char greeting[] = "GET / HTTP/1.1\r\n";
	struct remus_frame_header h = {
		.version = REMUS_WIRE_VERSION, .sequence = 1, .flags = REMUS_FRAME_MANDATORY};
	struct endpoint *e = connect_nobody(w, to);

	if (!e)
		return;
	struct wire_frame *f = calloc(1, sizeof *f);
	f->payload = malloc(sizeof greeting);
	memcpy(f->payload, greeting, sizeof greeting);
	f->length = h.length = sizeof greeting;
	h.type = detail & 1 ? REMUS_FRAME_HELLO : detail & 2 ? REMUS_FRAME_WELCOME : REMUS_FRAME_REFUSE;
	struct iovec part = {f->payload, f->length};
	remus_frame_pack(f->head, &h, &part, 1);
	if (detail & 4)
		memcpy(f->head, greeting, 4);
	if (detail & 8)
		wire_free(f);
	else
		wire_fly(e, f, w->now);
	if (detail & 16)
		wire_hang_up(e, w->now + detail % 50000);
}

void network_replay(struct world *w, int to)
{
	/* A host that has lost its memory can't tell a replay: docs/simulator.md, What is not modelled. */
	struct endpoint *e = w->net.tape && !w->host[to].forgot ? connect_nobody(w, to) : NULL;

	if (!e)
		return;
	uint64_t pace = rng_below(&w->net_rng, 2000);
	uint64_t leaves = w->now;
	for (struct wire_frame *f = w->net.tape; f; f = f->next) {
		wire_fly(e, wire_copy(f), leaves);
		leaves += pace;
	}
	wire_hang_up(e, leaves);
}
