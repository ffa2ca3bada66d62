/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fake domain: a guest without a hypervisor, for tests, benchmarks and sanitizers. The "guest" is a plain
 * process, remus-fake-guest, whose memory is a shared memfd and which writes numbered writes to it:
 *
 *	write i (1, 2, 3 ...) goes to page hash(seed, i) and puts there words that depend on (seed, page, i) only
 *
 * so its whole memory follows from (seed, number of writes), and anybody can tell a page that is one write
 * too old. The number of writes is its device state. It may also send numbered Ethernet frames and echo those
 * it receives, over the same kind of datagram sockets as QEMU's netdev.
 *
 * Control: SOCK_SEQPACKET on a Unix socket, one packet per request and answer:
 *	u32 id, u32 verb (request) or i32 status (answer: 0 or a negative errno), body
 * Private to domain/fake and its tests.
 */
#ifndef REMUS_FAKE_H
#define REMUS_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "../channel.h"
#include "remus/domain.h"
#include "remus/error.h"

#define REMUS_FAKE_PAGE	     4096u
#define REMUS_FAKE_PAGES_MAX (UINT64_C(1) << 24) /* 64 GiB */
#define REMUS_FAKE_BODY_MAX  8192u
#define REMUS_FAKE_CALL_MS   2000
#define REMUS_FAKE_VERIFY_MS 20000 /* verify replays every write */

/* ---- pattern.c ---- */

struct remus_fake_params {
	uint64_t pages;
	uint64_t seed;
	uint64_t words;	      /* 8-byte words changed per write, 1 ... 512, spread over the page */
	uint64_t hot;	      /* writes go to the first `hot` pages; 0 = to all */
	uint64_t rate;	      /* writes per second; 0 = only those that are asked for */
	uint64_t frame_every; /* writes per frame sent; 0 = no frames */
};
/* All numbers in bounds; -EINVAL. */
int remus_fake_params_check(const struct remus_fake_params *params, struct remus_error *err);
/* Memory before the first write. */
void remus_fake_fill(const struct remus_fake_params *params, uint8_t *memory);
/* Perform write number @i. */
void remus_fake_write(const struct remus_fake_params *params, uint8_t *memory, uint64_t i);
/* Is @memory what @writes writes leave? -EUCLEAN: names the first wrong page, and how many there are. */
int remus_fake_verify(const struct remus_fake_params *params, const uint8_t *memory, uint64_t writes,
		      struct remus_error *err);

/* Device state: what, with the params, makes up the guest. 32 bytes little-endian: magic, then these. */
#define REMUS_FAKE_STATE 32u
struct remus_fake_state {
	uint64_t writes, frames, received;
};
void remus_fake_state_encode(const struct remus_fake_state *state, uint8_t out[REMUS_FAKE_STATE]);
int remus_fake_state_decode(const void *in, size_t bytes, struct remus_fake_state *out,
			    struct remus_error *err);

/*
 * A frame that the guest sends: 14 bytes of Ethernet (broadcast, the guest's MAC, EtherType 0x88b5 for local
 * experiments), then u32 magic, u32 zero, u64 frame number (1, 2, 3 ...), u64 writes done before it; 60 bytes.
 */
#define REMUS_FAKE_FRAME       60u
#define REMUS_FAKE_ETHERTYPE   0x88b5
#define REMUS_FAKE_FRAME_MAGIC UINT32_C(0x4b46414d)
void remus_fake_frame_encode(const uint8_t mac[6], uint64_t number, uint64_t writes,
			     uint8_t out[REMUS_FAKE_FRAME]);
/* false: no such frame. */
bool remus_fake_frame_decode(const uint8_t *frame, size_t bytes, uint64_t *number, uint64_t *writes);

/* ---- control.c ---- */

enum remus_fake_verb {
	REMUS_FAKE_HELLO = 1, /* -> JSON: everything about it; with the memfd */
	REMUS_FAKE_SUBSCRIBE, /* this connection only gets events from now on */
	REMUS_FAKE_PAUSE,
	REMUS_FAKE_RESUME,
	REMUS_FAKE_SAVE,     /* -> state; of a paused guest */
	REMUS_FAKE_ACTIVATE, /* state -> : run from there, and outlive whoever started it; idempotent */
	REMUS_FAKE_WRITE,    /* u64 n: do n writes now; of a running guest */
	REMUS_FAKE_STATUS,   /* -> state, of a running guest, too */
	REMUS_FAKE_VERIFY,   /* check all memory */
	REMUS_FAKE_SHUTDOWN, /* end in good order: event, then exit */
};

/* One connection to a guest. */
struct remus_fake_client {
	int fd;
	uint32_t id;
	char path[108];
};
int remus_fake_connect(struct remus_fake_client *client, const char *path, struct remus_error *err);
void remus_fake_disconnect(struct remus_fake_client *client);

/*
 * Ask and wait for the answer, @ms milliseconds at most. @reply (REMUS_FAKE_BODY_MAX bytes, may be NULL) gets
 * the answer's body and *@bytes its length; *@passed (may be NULL) a descriptor that came with it, or -1.
 */
int remus_fake_call(struct remus_fake_client *client, enum remus_fake_verb verb, const void *body, size_t n,
		    uint8_t *reply, size_t *bytes, int *passed, int ms, struct remus_error *err);

/* A guest as seen from outside: what domain.c and standby.c have in common. */
struct remus_fake_guest {
	struct remus_fake_client control, events;
	struct remus_fake_params params;
	char name[64];
	pid_t pid;
	int pidfd;
	uint8_t *memory;  /* shared with it */
	uint64_t address; /* of the memory over there */
	int nics;
	struct remus_nic nic;
	bool ended; /* its end was reported */
	struct remus_socket_channel agent;
};
int remus_fake_guest_open(struct remus_fake_guest *guest, const char *path, struct remus_error *err);
void remus_fake_guest_close(struct remus_fake_guest *guest);
/* Kill it, wait for its end (not reaping), remove its sockets. Idempotent. */
int remus_fake_guest_kill(struct remus_fake_guest *guest, struct remus_error *err);
/* A fake guest has an agent when somebody listens on SOCKET.agent, in a program of its own (stream, as QEMU's port). */
struct remus_channel *remus_fake_guest_agent(struct remus_fake_guest *guest, char why[REMUS_TEXT_MAX]);
enum remus_domain_event remus_fake_guest_event(struct remus_fake_guest *guest, char why[REMUS_TEXT_MAX]);

/* ---- spawn.c ---- */

/* Where that program is. -ENOENT. */
int remus_fake_program(char out[4096], struct remus_error *err);
/*
 * Start remus-fake-guest ($REMUS_FAKE_GUEST, or found beside or above this program) with @args
 * (NULL-terminated, without the program's name) and wait until its control socket listens. The guest ends when
 * the last copy of *@lifeline is closed, until it is activated; started with --mortal, then too. The caller reaps it.
 */
int remus_fake_spawn(const char *const args[], pid_t *pid, int *lifeline, struct remus_error *err);

#endif
