/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wire format: framing, bounds and the hello exchange. Pure: no I/O, no clock. docs/protocol.md holds the
 * description and a byte-exact example.
 *
 * Header, 64 bytes, little-endian:
 *    0  u8[4]  magic "RMUS"
 *    4  u16    version
 *    6  u16    type
 *    8  u32    flags           bit 0 MANDATORY: a receiver that doesn't know the type must close the link
 *   12  u32    length          of the payload, bytes
 *   16  u8[16] session         zero until the hello is accepted
 *   32  u64    generation
 *   40  u64    epoch           0 where the type has none
 *   48  u64    sequence        1, 2, 3 ... in each direction of a connection
 *   56  u64    checksum        XXH3-64 of the header with this field zero, then the payload
 */
#ifndef REMUS_WIRE_H
#define REMUS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "remus/error.h"

#define REMUS_WIRE_VERSION 1
#define REMUS_FRAME_HEADER 64u
#define REMUS_SESSION_SIZE 16

#define REMUS_PAGES_PAYLOAD_MAX	   (256u * 1024u) /* so that a heartbeat never waits behind more than this */
#define REMUS_STATE_PAYLOAD_MAX	   (256u * 1024u)
#define REMUS_HELLO_PAYLOAD_MAX	   (64u * 1024u)
#define REMUS_FINDINGS_PAYLOAD_MAX (64u * 1024u)
#define REMUS_SMALL_PAYLOAD_MAX	   4096u
#define REMUS_ENTROPY_PAYLOAD_MAX  64u
#define REMUS_STATE_TOTAL_MAX	   (64u * 1024u * 1024u) /* device state of one epoch */

enum remus_frame_type {
	REMUS_FRAME_HELLO = 1,	 /* P->B  struct remus_hello */
	REMUS_FRAME_WELCOME = 2, /* B->P  struct remus_welcome */
	REMUS_FRAME_REFUSE =
		3, /* both  u32 code (errno value), text: why; the sender then closes. From a backup
				    also its word that it has no copy and never will activate (I5) */
	REMUS_FRAME_HEARTBEAT =
		4, /* both  struct remus_heartbeat; belongs to the link, never reaches a machine */
	REMUS_FRAME_PAGES = 5,		  /* P->B  records of pages.h; epoch 0 = first full copy */
	REMUS_FRAME_STATE = 6,		  /* P->B  a piece of the epoch's state, pieces in order */
	REMUS_FRAME_COMMIT = 7,		  /* P->B  struct remus_commit: the epoch is complete */
	REMUS_FRAME_ACK = 8,		  /* B->P  u64 digest: the epoch is staged, verified, complete */
	REMUS_FRAME_HANDOVER_REQUEST = 9, /* B->P  please hand over (planned failover) */
	REMUS_FRAME_HANDOVER = 10, /* P->B  guest is stopped at this committed epoch: claim and activate */
	REMUS_FRAME_DOMAIN_LOST =
		11, /* P->B  the primary's copy died: claim and activate the last committed epoch */
	REMUS_FRAME_ACTIVATED = 12, /* B->P  the guest runs on the backup */
	REMUS_FRAME_END = 13,	    /* P->B  u32 enum remus_end_reason: drop the standby, never activate */
	REMUS_FRAME_END_ACK = 14,   /* B->P  the standby is dropped */
	REMUS_FRAME_FINDINGS =
		15, /* B->P  findings.h: the answer to a HELLO with REMUS_FEATURE_CHECK; B then closes */
	REMUS_FRAME_CLOCK =
		16, /* both  struct remus_clock_note; optional; belongs to the link, as HEARTBEAT does */
	REMUS_FRAME_ENTROPY =
		17, /* P->B  1 to 64 bytes of randomness for the backup's reservoir; between epochs, optional */
};

#define REMUS_FRAME_MANDATORY 0x1u

struct remus_frame_header {
	uint16_t version, type;
	uint32_t flags, length;
	uint8_t session[REMUS_SESSION_SIZE];
	uint64_t generation, epoch, sequence, checksum;
};

/* A frame in memory. @payload is malloc'ed and owned by whoever holds the frame; NULL when length is 0. */
struct remus_frame {
	struct remus_frame_header header;
	uint8_t *payload;
};

/* Name of a type for logs: "HELLO" ..., or "type 77" (static or thread-local text). */
const char *remus_frame_name(uint16_t type);

/* The largest payload a type may have, bytes; REMUS_SMALL_PAYLOAD_MAX for unknown types. */
uint32_t remus_frame_payload_max(uint16_t type);

/* Serialise @header with the checksum over itself and the payload given in @parts (concatenated). Sets
 * header->checksum. header->length must be the sum of the parts. */
struct iovec;
void remus_frame_pack(uint8_t out[REMUS_FRAME_HEADER], struct remus_frame_header *header,
		      const struct iovec *parts, size_t count);

/* Do the first four bytes of a connection, or of a frame, begin one? -EPROTO says what they look like instead; who is no
 * remus peer may never send as many as a header has. */
#define REMUS_FRAME_MAGIC 4u
int remus_frame_check_magic(const uint8_t in[REMUS_FRAME_MAGIC], struct remus_error *err);

/* Parse and bound a header: magic, version, known-or-optional type, length. -EPROTO (bad magic: not a remus
 * peer), -EPROTONOSUPPORT (version), -EBADMSG (length, unknown mandatory type). The checksum is not looked at. */
int remus_frame_unpack(const uint8_t in[REMUS_FRAME_HEADER], struct remus_frame_header *out,
		       struct remus_error *err);

/* Compare the checksum of header bytes + payload; -EBADMSG. */
int remus_frame_verify(const uint8_t in[REMUS_FRAME_HEADER], const void *payload, size_t length,
		       struct remus_error *err);

/*
 * I4 at the level of frames: one of these per direction of a connection. Refuses gaps and duplicates of the
 * sequence (-EBADMSG) and, once bound, any other session or generation (-ESTALE). Unbound, only HELLO,
 * WELCOME, FINDINGS, REFUSE and HEARTBEAT pass, whatever their session (-EPROTO for others). Bound, a HEARTBEAT or a
 * REFUSE with session and generation all zero still passes: the peer sent it before it bound, and it says
 * nothing about the guest. A refused frame leaves the gate as it was.
 */
struct remus_frame_gate {
	uint64_t sequence; /* of the last frame admitted */
	bool bound;
	uint8_t session[REMUS_SESSION_SIZE];
	uint64_t generation;
};
int remus_frame_admit(struct remus_frame_gate *gate, const struct remus_frame_header *header,
		      struct remus_error *err);
void remus_frame_gate_bind(struct remus_frame_gate *gate, const uint8_t session[REMUS_SESSION_SIZE],
			   uint64_t generation);

/* ---- payloads ---- */

/* Features, offered by the primary and chosen by the backup (a subset that holds every required bit). */
#define REMUS_FEATURE_DELTA	(UINT64_C(1) << 0)
#define REMUS_FEATURE_LZ4	(UINT64_C(1) << 1)
#define REMUS_FEATURE_ADDRESSES (UINT64_C(1) << 2) /* the STATE stream has a section of learned addresses */
#define REMUS_FEATURE_ENTROPY	(UINT64_C(1) << 4) /* ENTROPY frames come now and then */
#define REMUS_FEATURES_KNOWN \
	(REMUS_FEATURE_DELTA | REMUS_FEATURE_LZ4 | REMUS_FEATURE_ADDRESSES | REMUS_FEATURE_ENTROPY)
/* Required in a HELLO that protects nothing: the backup answers with FINDINGS instead of a WELCOME, makes no standby,
 * claims nothing, and closes. One that doesn't know it refuses. Never offered for protection. */
#define REMUS_FEATURE_CHECK (UINT64_C(1) << 3)

struct remus_hello {
	uint8_t session[REMUS_SESSION_SIZE];
	uint64_t generation; /* >= 1 */
	uint64_t features_offered, features_required;
	uint64_t guest_pages;
	uint32_t interval_ms, heartbeat_ms, dead_ms;
	/* Strings: NUL-terminated in memory, length-prefixed (u32) on the wire, no NUL inside. Decoded strings are
	 * malloc'ed; free with remus_hello_clear(). */
	char *backend;	   /* "qemu", "xen", "fake" */
	char *domain;	   /* the operator's name, for messages */
	char *arbiter;	   /* URI */
	char *egress;	   /* egress URIs for the backup, one per NIC, separated by ';'; may be empty */
	char *description; /* JSON made by domain_ops.describe */
};
struct remus_welcome {
	uint64_t features; /* chosen */
	uint64_t
		staging_bytes; /* the most one epoch may have, each PAGES and STATE frame counting its payload and
				 * REMUS_STAGING_FRAME_COST; larger is refused by the backup */
};
#define REMUS_STAGING_FRAME_COST 128u /* what keeping a frame costs a backup besides its payload, at most */
struct remus_commit {
	uint64_t pages;	      /* in all PAGES frames of the epoch */
	uint64_t page_bytes;  /* their payload bytes */
	uint64_t state_bytes; /* in all STATE frames */
	uint64_t digest;      /* struct remus_digest over the epoch's PAGES and STATE frames */
};
struct remus_heartbeat {	/* NTP's four timestamps; all µs of the named side's link clock (clock.h) */
	uint64_t sent;		/* sender, now */
	uint64_t peer_sent;	/* `sent` of the last heartbeat received from the peer, 0 if none */
	uint64_t peer_received; /* sender's clock when that one arrived */
};
struct remus_clock_note { /* how the sender's wall clock stands now; sent now and then once the link is bound */
	int64_t wall_ns; /* CLOCK_REALTIME minus its link clock: what it was stepped or slewed by meanwhile */
	bool synchronised;
	uint64_t error_ns; /* from UTC it differs by no more, if it is synchronised */
};
enum remus_end_reason {
	REMUS_END_UNPROTECT = 1, /* the operator ended protection */
	REMUS_END_GUEST_SHUTDOWN = 2,
	REMUS_END_ERROR = 3, /* the primary gave up; its guest runs on, unprotected */
};

/* Encoders return a malloc'ed payload in *out and its length, or -EMSGSIZE (a string beyond its cap: backend 31
 * bytes, domain 255, arbiter 1023, egress 4095, description 58 KiB), -EINVAL (a control character in any but the
 * description), -ENOMEM. A NULL string is sent as "". */
int remus_hello_encode(const struct remus_hello *hello, uint8_t **out, size_t *length,
		       struct remus_error *err);
/* Decoders: -EBADMSG with what is wrong. Nothing is read outside @length; nothing larger than it is allocated.
 * On failure @out is all zero. Refused besides a bad layout: a zero session, generation 0, no pages, required
 * features that aren't offered, heartbeat_ms 0, dead_ms below 2 heartbeats, times beyond an hour. */
int remus_hello_decode(const void *payload, size_t length, struct remus_hello *out, struct remus_error *err);
void remus_hello_clear(struct remus_hello *hello);

#define REMUS_WELCOME_SIZE   16u
#define REMUS_COMMIT_SIZE    32u
#define REMUS_HEARTBEAT_SIZE 24u
#define REMUS_CLOCK_SIZE     24u
void remus_welcome_encode(const struct remus_welcome *in, uint8_t out[REMUS_WELCOME_SIZE]);
int remus_welcome_decode(const void *payload, size_t length, struct remus_welcome *out,
			 struct remus_error *err);
void remus_commit_encode(const struct remus_commit *in, uint8_t out[REMUS_COMMIT_SIZE]);
int remus_commit_decode(const void *payload, size_t length, struct remus_commit *out,
			struct remus_error *err);
void remus_heartbeat_encode(const struct remus_heartbeat *in, uint8_t out[REMUS_HEARTBEAT_SIZE]);
int remus_heartbeat_decode(const void *payload, size_t length, struct remus_heartbeat *out,
			   struct remus_error *err);
/* -EBADMSG also for a difference of more than a century and an error of more than an hour. */
void remus_clock_note_encode(const struct remus_clock_note *in, uint8_t out[REMUS_CLOCK_SIZE]);
int remus_clock_note_decode(const void *payload, size_t length, struct remus_clock_note *out,
			    struct remus_error *err);
/* REFUSE: u32 code, then text without NUL. @text is cut to 1023 bytes, made printable on decode. */
size_t remus_refuse_encode(uint32_t code, const char *text, uint8_t out[REMUS_SMALL_PAYLOAD_MAX]);
int remus_refuse_decode(const void *payload, size_t length, uint32_t *code, char text[1024],
			struct remus_error *err);

/* The running digest of an epoch: a chain over (type, length, checksum) of its PAGES and STATE frames. Begins
 * with value 0. */
struct remus_digest {
	uint64_t value;
};
void remus_digest_add(struct remus_digest *digest, const struct remus_frame_header *header);

/* ---- state sections: the concatenated STATE payloads of an epoch ---- */

/* u16 kind, u16 flags (bit 0: mandatory), u32 length, body, zero padding to 8 bytes. */
enum remus_section_kind {
	REMUS_SECTION_DEVICE = 1,    /* the hypervisor's device and vCPU state, opaque */
	REMUS_SECTION_ADDRESSES = 2, /* netbuf.h's address table */
	REMUS_SECTION_CLOCK = 3,     /* continuity: the primary's clocks at the pause */
	REMUS_SECTION_AGENT = 5,     /* struct remus_agent_section: there was an agent in the guest */
};
#define REMUS_SECTION_HEADER	8u
#define REMUS_SECTION_MANDATORY 0x1u

struct remus_section {
	uint16_t kind, flags;
	uint32_t length;
	const uint8_t *body; /* points into the stream */
};
/* Write a section's 8-byte header; returns the padding bytes that must follow the body. */
size_t remus_section_head(uint8_t out[REMUS_SECTION_HEADER], uint16_t kind, uint16_t flags, uint32_t length);
/* AGENT: u32 wait_ms, u16 zero, u16 length of the version, the version. Absent: nobody answered in the guest. */
#define REMUS_AGENT_WAIT_MAX_MS 10000u
#define REMUS_AGENT_SECTION_MAX (8u + 32u)
struct remus_agent_section {
	uint32_t wait_ms; /* how long the activated guest's network waits for its renewal */
	char version[32]; /* of the agent: letters, digits, "._+~-" */
};
size_t remus_agent_section_encode(const struct remus_agent_section *in, uint8_t out[REMUS_AGENT_SECTION_MAX]);
/* -EBADMSG; @out is all zero then. */
int remus_agent_section_decode(const void *body, size_t length, struct remus_agent_section *out,
			       struct remus_error *err);

/* Step through @stream: *offset advances. 1 = @out filled, 0 = end, -EBADMSG = malformed or an unknown kind
 * that is mandatory. An unknown kind that is not is returned; the caller skips it. */
int remus_section_next(const uint8_t *stream, size_t bytes, size_t *offset, struct remus_section *out,
		       struct remus_error *err);

#endif
