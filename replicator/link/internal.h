/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of a link (remus/link.h): what the owner's calls (link.c, send.c), the reader thread (reader.c) and the
 * heartbeat thread (heartbeat.c) share.
 *
 *	owner ---- send slot ----+                                +---- queue ----> owner
 *	                         +--> transport ==== transport -->|
 *	heartbeat thread --------+        reader thread           +---- HEARTBEAT: clocks, dropped
 *
 * One mutex guards all state. It is never held over a wait for the wire: who writes a frame holds the *slot*
 * instead (a flag under the mutex), so that the heartbeat thread can still watch the peer while the owner's
 * frame is stuck in a full socket.
 *
 * The heartbeat thread is everybody's deadline: when it declares the link lost, the transport is shut down,
 * which wakes reader and writers. Nobody else waits on the wire without it, and a peer that lives but takes
 * no data is caught by stall_ms in send.c.
 */
#ifndef REMUS_LINK_INTERNAL_H
#define REMUS_LINK_INTERNAL_H

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include "remus/link.h"
#include "remus/util.h"

#define LINK_PEER_TEXT	80 /* bytes: an address, brackets, scope, port */
#define LINK_READ_AHEAD 16384u

struct link_node {
	struct link_node *next;
	struct remus_frame frame;
};

struct remus_link {
	struct remus_transport *transport;
	char peer[LINK_PEER_TEXT];
	int event_fd; /* readable when next() has something to say */
	int stop_fd;  /* readable for good once the link is lost or closing: wakes every poll */
	pthread_t reader, heart;

	/* The reader is anywhere but in its poll: bytes may be in its hands that alive_us doesn't know of yet. */
	atomic_bool reader_busy;

	pthread_mutex_t lock; /* guards all that follows */
	pthread_cond_t slot_free, room, heart_wake;

	uint64_t heartbeat_us, dead_us, stall_us;
	bool closing, lost, reader_done;
	struct remus_error reason; /* why it is lost */

	bool slot_busy, heart_wants;
	unsigned slot_waiters;
	uint64_t sequence;	      /* of the last frame sent */
	struct remus_frame_gate gate; /* what is received; its session is also what is sent */

	struct link_node *head, **tail;
	size_t queued, queue_cap; /* bytes */

	uint64_t
		alive_us; /* when the peer last counted as alive; moved on by time that we ourselves slept over */
	uint64_t last_byte_us;			 /* when its last byte came */
	uint64_t spoke_us;			 /* when our last frame was on its way */
	uint64_t peer_sent_us, peer_received_us; /* of its last heartbeat: its link clock, ours */
	struct remus_offset offset;		 /* the peer's link clock minus ours */
	int64_t anchor_ns;			 /* our link clock minus CLOCK_MONOTONIC_RAW; never changes */
	bool peer_bound; /* a frame of the session came: it takes frames of the session, too */
	bool peer_told;
	struct remus_clock_note peer_clock;
	uint64_t told_us; /* when we said last how our own wall clock stands */
	struct remus_link_stats stats;

	uint8_t ahead[LINK_READ_AHEAD]; /* the reader's alone: bytes read, not yet used */
	size_t ahead_at, ahead_end;
};

/* What a queued frame counts for, so that a flood of empty frames is bounded too (I11). */
static inline size_t link_cost(const struct remus_frame_header *header)
{
	return header->length + sizeof(struct link_node);
}

/* ---- link.c ---- */
/* Declare the link lost, unless it is already: the first reason stays. The mutex is held (_locked) or not. */
void link_lose_locked(struct remus_link *link, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void link_lose(struct remus_link *link, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Lost or closing. Takes the mutex. */
bool link_over(struct remus_link *link);
/* Wait on @cond until CLOCK_MONOTONIC is @until_us, the mutex held. */
void link_wait_locked(struct remus_link *link, pthread_cond_t *cond, uint64_t until_us);
/* Our link clock (clock.h), µs. */
uint64_t link_clock_us(const struct remus_link *link);

/* CLOCK_REALTIME minus our link clock, ns. */
int64_t link_wall_ns(const struct remus_link *link);

/* ---- send.c ---- */
/* Send a heartbeat now. The mutex and the slot are held; the mutex is let go meanwhile. */
void link_send_heartbeat_locked(struct remus_link *link);
/* Is it time to say how our wall clock stands, and can the peer take it? The mutex is held. */
bool link_clock_due_locked(const struct remus_link *link);
/* Say it. As link_send_heartbeat_locked(). */
void link_send_clock_locked(struct remus_link *link);
/* Give the slot to who waits for it, the heartbeat first. The mutex is held. */
void link_slot_release_locked(struct remus_link *link);

/* ---- reader.c, heartbeat.c ---- */
void *link_reader(void *link);
void *link_heart(void *link);
/* Is the peer alive? Declares the link lost if not. Returns when to ask again, CLOCK_MONOTONIC µs. */
uint64_t link_check_alive_locked(struct remus_link *link, uint64_t now_us);

/* ---- address.c ---- */
struct addrinfo;
/* "10.0.0.2:7368", "[fe80::1%eth0]:7368", "a local socket". */
void link_address_text(const struct sockaddr *address, socklen_t length, char out[LINK_PEER_TEXT]);
void link_peer_text(int fd, char out[LINK_PEER_TEXT]);
/* 1..65535, or 0 too where @zero_allowed. */
int link_check_port(const char *port, bool zero_allowed, struct remus_error *err);

/* ---- resolve.c ---- */
/* getaddrinfo() for a stream socket, with a deadline. Free *out with freeaddrinfo(). */
int link_resolve(const char *host, const char *port, int flags, uint64_t deadline_us, struct addrinfo **out,
		 struct remus_error *err);

/* ---- port_owner.c ---- */
/* Who listens on a TCP port of this host so that @wanted (NULL: all addresses) can't: "remusd (pid 4242)", or
 * "another process" when /proc doesn't tell. */
void link_port_owner(const struct sockaddr *wanted, unsigned port, char out[64]);

#endif
