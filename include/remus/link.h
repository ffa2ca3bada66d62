/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replication link: one connection between a primary's engine and a backup's receiver, as a stream of
 * frames (wire.h). Three threads touch it: the owner (send, next), a reader thread (receives, checks, queues)
 * and a heartbeat thread (sends HEARTBEATs, declares the peer dead). HEARTBEAT and CLOCK frames and optional
 * frames of unknown type never reach the owner.
 *
 * Liveness: any byte received counts as a sign of life, so a long epoch on a slow wire isn't mistaken for
 * death; so does a reader that waits because the owner's queue is full. No sign of life for dead_ms, EOF, a
 * socket error or a frame that breaks the format: the link is *lost*. That is all the link says; what it
 * means is decided in protocol/ (never here, and never by a clock alone: design.md par. 4, I5, I6).
 * Time in which our own process was stopped isn't held against the peer.
 *
 * A transport (struct remus_transport) moves bytes: TCP, or TLS over it (tls.h); framing and threads don't change.
 */
#ifndef REMUS_LINK_H
#define REMUS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "remus/clock.h"
#include "remus/error.h"
#include "remus/wire.h"

#define REMUS_DEFAULT_PORT	   "7368"
#define REMUS_DEFAULT_HEARTBEAT_MS 50u
#define REMUS_DEFAULT_DEAD_MS	   300u
/* Until the backup holds a first epoch nothing depends on a fast verdict, while building the standby and the full
 * copy keep both hosts busy: the silence that counts as death is at least this long. */
#define REMUS_SETUP_DEAD_MS	   3000u

struct remus_tls;
struct remus_link_config {
	uint32_t heartbeat_ms; /* period of our heartbeats; 0 = default */
	uint32_t dead_ms;      /* silence after which the peer is dead; 0 = default; at least 2 heartbeats */
	uint32_t connect_ms;   /* deadline of remus_link_connect; 0 = 5000 */
	size_t queue_bytes;    /* cap of received, not yet fetched payload; 0 = 8 MiB; at least one frame */
	uint32_t
		stall_ms; /* how long a peer that lives may take no data before it is lost; 0 = 10000; at most
				* 50000 (above that the kernel gives up first) */
	/* remus_link_connect: encrypt, with these keys; they must outlive the link. NULL = plaintext. */
	const struct remus_tls *tls;
	const char *tls_peer; /* whom to expect, or NULL: tls.h, remus_transport_tls_connect() */
};

struct remus_transport;
struct remus_transport_ops {
	/* Bytes moved (>0), 0 = EOF (read), -EAGAIN, or another negative errno. The descriptor is non-blocking. After
	 * -EAGAIN from writev the same bytes come first in the next call. @more: what is written next follows at once, so
	 * an end of these that does not fill a packet had better wait for it (a fraction of a second at most). */
	ssize_t (*read)(struct remus_transport *, void *buf, size_t n, struct remus_error *);
	ssize_t (*writev)(struct remus_transport *, const struct iovec *, int count, bool more,
			  struct remus_error *);
	void (*shutdown)(struct remus_transport *); /* wakes both directions; safe from any thread */
	void (*close)(struct remus_transport *);    /* frees */
	int (*fd)(const struct remus_transport *);  /* for poll(2) */
	/* "plaintext", "tls1.3 psk NAME", "tls1.3 x509 NAME"; valid as long as the transport. */
	const char *(*security)(const struct remus_transport *);
};
struct remus_transport {
	const struct remus_transport_ops *ops;
};
/* Take ownership of a connected stream socket (also on failure: it is closed). TCP_NODELAY, TCP_USER_TIMEOUT
 * and non-blocking mode are set where they apply. */
int remus_transport_tcp(int fd, struct remus_transport **out, struct remus_error *err);

struct remus_link;

/* Connect to host:port within connect_ms, trying each address it resolves to, and start the threads. */
int remus_link_connect(const char *host, const char *port, const struct remus_link_config *config,
		       struct remus_link **out, struct remus_error *err);
/* Start a link on an accepted transport (owned from here on, also on failure). */
int remus_link_start(struct remus_transport *transport, const struct remus_link_config *config,
		     struct remus_link **out, struct remus_error *err);

/* Bind both directions to a session once the hello is accepted (I4). Frames sent later carry it. The backup binds
 * before it sends WELCOME, the primary when it has read it. */
void remus_link_bind(struct remus_link *link, const uint8_t session[REMUS_SESSION_SIZE], uint64_t generation);
/* Change the timing after the hello (the primary's values rule; the backup does it as soon as it has read them:
 * a primary with a slower heart would look dead to the defaults). dead_ms is raised to 2 heartbeats. */
void remus_link_timing(struct remus_link *link, uint32_t heartbeat_ms, uint32_t dead_ms);

/* The dead_ms to use while a session is being set up whose own is @dead_ms (0 = default). */
static inline uint32_t remus_link_setup_dead_ms(uint32_t dead_ms)
{
	return dead_ms > REMUS_SETUP_DEAD_MS ? dead_ms : REMUS_SETUP_DEAD_MS;
}

/*
 * Send one frame; returns when its bytes are handed to the kernel, or -EPIPE when the link is or gets lost.
 * Thread safe; the heartbeat thread interleaves between frames. @out_header (may be NULL) receives the header
 * as sent, for the digest.
 */
int remus_link_send(struct remus_link *link, uint16_t type, uint32_t flags, uint64_t epoch,
		    const struct iovec *parts, size_t count, struct remus_frame_header *out_header,
		    struct remus_error *err);

/* Readable (poll) when remus_link_next() has something to say. */
int remus_link_event_fd(const struct remus_link *link);
/* 1: *out filled (payload owned by the caller). 0: nothing now. -EPIPE: the link is lost and every frame that
 * came before was fetched; the message says why ("no sign of life for 300 ms", "connection reset"...). */
int remus_link_next(struct remus_link *link, struct remus_frame *out, struct remus_error *err);

struct remus_link_stats {
	uint64_t bytes_sent, bytes_received; /* headers included */
	uint64_t frames_sent, frames_received;
	uint64_t rtt_us;	 /* smoothed, from heartbeats; 0 = not known yet */
	int64_t clock_offset_us; /* peer's wall clock minus ours (clock.h, offset) */
	uint64_t clock_error_us; /* that may be wrong by as much now */
	unsigned clock_samples;	 /* so far; 0 = the two above mean nothing yet */
	unsigned clock_restarts; /* how often a clock was found stepped since the link began */
	bool peer_told;		 /* it said how its wall clock stands: */
	bool peer_synchronised;
	uint64_t peer_error_us; /* from UTC it differs by no more, if it is synchronised */
	uint64_t silent_us;	/* since the last sign of life */
};
void remus_link_stats(struct remus_link *link, struct remus_link_stats *out);
/* For the time of a guest (clock.h): the peer's link clock to ours, and ours minus CLOCK_MONOTONIC_RAW, which never
 * changes. @offset may be NULL. */
int64_t remus_link_clock(struct remus_link *link, struct remus_offset *offset);
/* "10.0.0.2:7368": the peer's address as text, valid as long as the link. */
const char *remus_link_peer(const struct remus_link *link);
/* How it is secured (transport_ops.security), valid as long as the link. */
const char *remus_link_security(const struct remus_link *link);

/* Stop the threads, close the connection, free. Bytes that send() handed over still go out (FIN, not RST). */
void remus_link_close(struct remus_link *link);

/* Open a listening TCP socket (IPv6 and IPv4; @host NULL or "" = any). Returns the descriptor (close-on-exec,
 * non-blocking) or a negative code whose message names address, port and cause ("port taken by ..."). */
int remus_link_listen(const char *host, const char *port, struct remus_error *err);
/* Split "host", "host:port", "[v6]:port", "[v6]" into malloc'ed parts; port defaults to REMUS_DEFAULT_PORT. */
int remus_link_parse_address(const char *text, char **host, char **port, struct remus_error *err);

#endif
