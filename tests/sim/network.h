/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network between the two hosts, and what replicator/link/ does at either end of a connection. Frames are real:
 * packed, verified and admitted by the shipping codec. A direction of a connection keeps its order, as TCP does;
 * connections know nothing of each other.
 */
#ifndef SIM_NETWORK_H
#define SIM_NETWORK_H

#include <stdbool.h>
#include <stdint.h>
#include "remus/clock.h"
#include "remus/wire.h"

#define HEARTBEAT_US 50000u
#define DEAD_US	     300000u

struct world;
struct proc;

struct wire_frame {
	struct wire_frame *next;
	uint64_t at; /* arrives */
	uint64_t left;
	bool fin;
	uint32_t length;
	uint8_t *payload;
	uint8_t head[REMUS_FRAME_HEADER];
};

struct inbox_frame {
	struct inbox_frame *next;
	struct remus_frame frame;
};

struct endpoint {
	struct world *w;
	int id;	  /* 2 * connection + side */
	int side; /* 0 = the primary's */
	int host;
	struct proc *owner; /* NULL: nobody reads it any more */
	bool open, lost;
	bool still;	 /* the heartbeat's turn came while the process stood still */
	const char *why; /* lost: static text */
	struct remus_frame_gate gate;
	uint64_t sequence;
	bool bound;
	uint8_t session[REMUS_SESSION_SIZE];
	uint64_t generation;
	uint64_t heard_at;
	struct remus_heartbeat last_beat;
	uint64_t beat_received;	    /* by our link clock */
	int64_t anchor_us;	    /* our link clock minus the host's monotonic one */
	struct remus_offset offset; /* the peer's link clock to ours */
	uint64_t sending_until;	    /* while an epoch is handed to the kernel: when its last byte is */
	struct wire_frame *flight, **flight_tail; /* towards this endpoint */
	uint64_t last_at;			  /* arrival of the last of them */
	struct inbox_frame *inbox, **inbox_tail;
};

struct connection {
	struct endpoint end[2];
	bool replayed; /* made by a middle box: what the backup answers goes nowhere */
};

struct network {
	uint64_t latency_us, jitter_us;
	uint64_t slow_until;
	unsigned slow_factor;
	uint64_t blocked_until[2];	      /* direction: from host 0, from host 1 */
	int corrupt[2];			      /* damage so many of the next frames from this host */
	int repeat[2];			      /* deliver so many of the next frames twice */
	struct wire_frame *tape, **tape_tail; /* what primaries sent, for a replay */
	unsigned taped;
};

/* A connection from @primary's host; its other end gets a new receiver. NULL: refused. */
struct endpoint *network_connect(struct world *w, struct proc *primary, int to);
void endpoint_bind(struct endpoint *e, const uint8_t session[REMUS_SESSION_SIZE], uint64_t generation);
/* FIN, after what was sent. */
void endpoint_close(struct endpoint *e);
/* The process died or its host did; @silently: not even a FIN goes out. */
void endpoint_abandon(struct endpoint *e, bool silently);
/* Next received frame, NULL = none. */
struct inbox_frame *endpoint_take(struct endpoint *e);

void network_deliver(struct world *w, int endpoint);
void network_heart(struct world *w, int endpoint);
/* Connection resets: @sides bit 0: the primary's end notices, bit 1: the backup's. */
void network_reset(struct world *w, int sides);
/* Deliver what was held back towards @host. */
void network_kick(struct world *w, int host);
/* A middle box plays what was once sent to the backup on a connection of its own. */
void network_replay(struct world *w, int to);
/* Somebody who is no primary connects: silent, or with bytes that are no session's. */
void network_stranger(struct world *w, int to, uint32_t detail);
void network_clear(struct world *w);

/* Between network.c and nobody.c. */
void wire_fly(struct endpoint *to, struct wire_frame *frame, uint64_t leaves);
struct wire_frame *wire_copy(const struct wire_frame *frame);
void wire_free(struct wire_frame *frame);
void wire_hang_up(struct endpoint *to, uint64_t leaves);
void endpoint_open(struct world *w, struct connection *c, int side, int host);
/* The supervisor of @host accepts: a receiver of its own for each connection. */
bool endpoint_accept(struct world *w, struct endpoint *e, int host);
bool network_reaches(const struct world *w, int from, int to);

#endif
