/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames: the 64-byte header that stands before every payload, its checksum, and the gate that admits frames
 * in order (I4). The layout is described in docs/protocol.md, which holds bytes that tests/unit/test-frame.c
 * reproduces.
 *
 * Everything here is a function of its arguments: no I/O, no clock, no allocation. A header is bounded before
 * anybody believes its length (I11).
 *
 * The hash is compiled in from xxhash.h rather than called in the shared library: only so may its streaming
 * state live on the stack, since the library doesn't promise the size of that state between versions.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include "remus/util.h"
#include "remus/wire.h"

enum {
	OFF_MAGIC = 0,
	OFF_VERSION = 4,
	OFF_TYPE = 6,
	OFF_FLAGS = 8,
	OFF_LENGTH = 12,
	OFF_SESSION = 16,
	OFF_GENERATION = 32,
	OFF_EPOCH = 40,
	OFF_SEQUENCE = 48,
	OFF_CHECKSUM = 56,
};

static const uint8_t magic[4] = {'R', 'M', 'U', 'S'};

/* Indexed by type; an entry without a name is an unknown type. */
static const struct {
	const char *name;
	uint32_t payload_max; /* bytes */
} types[] = {
	[REMUS_FRAME_HELLO] = {"HELLO", REMUS_HELLO_PAYLOAD_MAX},
	[REMUS_FRAME_WELCOME] = {"WELCOME", REMUS_SMALL_PAYLOAD_MAX},
	[REMUS_FRAME_REFUSE] = {"REFUSE", REMUS_SMALL_PAYLOAD_MAX},
	[REMUS_FRAME_HEARTBEAT] = {"HEARTBEAT", REMUS_SMALL_PAYLOAD_MAX},
	[REMUS_FRAME_PAGES] = {"PAGES", REMUS_PAGES_PAYLOAD_MAX},
	[REMUS_FRAME_STATE] = {"STATE", REMUS_STATE_PAYLOAD_MAX},
	[REMUS_FRAME_COMMIT] = {"COMMIT", REMUS_SMALL_PAYLOAD_MAX},
	[REMUS_FRAME_ACK] = {"ACK", REMUS_SMALL_PAYLOAD_MAX},
	[REMUS_FRAME_HANDOVER_REQUEST] = {"HANDOVER_REQUEST", REMUS_SMALL_PAYLOAD_MAX},
	[REMUS_FRAME_HANDOVER] = {"HANDOVER", REMUS_SMALL_PAYLOAD_MAX},
	[REMUS_FRAME_DOMAIN_LOST] = {"DOMAIN_LOST", REMUS_SMALL_PAYLOAD_MAX},
	[REMUS_FRAME_ACTIVATED] = {"ACTIVATED", REMUS_SMALL_PAYLOAD_MAX},
	[REMUS_FRAME_END] = {"END", REMUS_SMALL_PAYLOAD_MAX},
	[REMUS_FRAME_END_ACK] = {"END_ACK", REMUS_SMALL_PAYLOAD_MAX},
	[REMUS_FRAME_FINDINGS] = {"FINDINGS", REMUS_FINDINGS_PAYLOAD_MAX},
	[REMUS_FRAME_CLOCK] = {"CLOCK", REMUS_SMALL_PAYLOAD_MAX},
	[REMUS_FRAME_ENTROPY] = {"ENTROPY", REMUS_ENTROPY_PAYLOAD_MAX},
};

static bool known(uint16_t type)
{
	return type < REMUS_ARRAY_SIZE(types) && types[type].name;
}

const char *remus_frame_name(uint16_t type)
{
	static _Thread_local char text[16];

	if (known(type))
		return types[type].name;
	snprintf(text, sizeof text, "type %u", type);
	return text;
}

uint32_t remus_frame_payload_max(uint16_t type)
{
	return known(type) ? types[type].payload_max : REMUS_SMALL_PAYLOAD_MAX;
}

/* The header's part of the checksum: its bytes before the checksum field, then that field as zero. */
static void checksum_begin(XXH3_state_t *state, const uint8_t header[REMUS_FRAME_HEADER])
{
	static const uint8_t zero[REMUS_FRAME_HEADER - OFF_CHECKSUM];

	XXH3_64bits_reset(state);
	XXH3_64bits_update(state, header, OFF_CHECKSUM);
	XXH3_64bits_update(state, zero, sizeof zero);
}

void remus_frame_pack(uint8_t out[REMUS_FRAME_HEADER], struct remus_frame_header *header,
		      const struct iovec *parts, size_t count)
{
	XXH3_state_t state;

	memcpy(out + OFF_MAGIC, magic, sizeof magic);
	remus_put_le16(out + OFF_VERSION, header->version);
	remus_put_le16(out + OFF_TYPE, header->type);
	remus_put_le32(out + OFF_FLAGS, header->flags);
	remus_put_le32(out + OFF_LENGTH, header->length);
	memcpy(out + OFF_SESSION, header->session, REMUS_SESSION_SIZE);
	remus_put_le64(out + OFF_GENERATION, header->generation);
	remus_put_le64(out + OFF_EPOCH, header->epoch);
	remus_put_le64(out + OFF_SEQUENCE, header->sequence);
	checksum_begin(&state, out);
	for (size_t i = 0; i < count; i++)
		if (parts[i].iov_len)
			XXH3_64bits_update(&state, parts[i].iov_base, parts[i].iov_len);
	header->checksum = XXH3_64bits_digest(&state);
	remus_put_le64(out + OFF_CHECKSUM, header->checksum);
}

/* Whoever dialled a wrong port recognises what answered ("HTTP", "SSH-") in the first four bytes. */
int remus_frame_check_magic(const uint8_t in[REMUS_FRAME_MAGIC], struct remus_error *err)
{
	char text[5] = "....";

	if (!memcmp(in, magic, sizeof magic))
		return 0;
	if (in[0] >= 0x14 && in[0] <= 0x17 && in[1] == 3) /* RFC 8446, 5.1: a record's type and version */
		return remus_fail(
			err, -EPROTO,
			"not a remus peer that takes plaintext: it speaks TLS; leave out --insecure here, or "
			"give it there too");
	for (int i = 0; i < 4; i++)
		if (in[i] >= 0x20 && in[i] < 0x7f)
			text[i] = (char)in[i];
	return remus_fail(err, -EPROTO,
			  "not a remus peer: it sent %02x %02x %02x %02x (\"%s\") where a frame begins with "
			  "\"RMUS\"; check address and port",
			  in[0], in[1], in[2], in[3], text);
}

int remus_frame_unpack(const uint8_t in[REMUS_FRAME_HEADER], struct remus_frame_header *out,
		       struct remus_error *err)
{
	struct remus_frame_header h = {
		.version = remus_get_le16(in + OFF_VERSION),
		.type = remus_get_le16(in + OFF_TYPE),
		.flags = remus_get_le32(in + OFF_FLAGS),
		.length = remus_get_le32(in + OFF_LENGTH),
		.generation = remus_get_le64(in + OFF_GENERATION),
		.epoch = remus_get_le64(in + OFF_EPOCH),
		.sequence = remus_get_le64(in + OFF_SEQUENCE),
		.checksum = remus_get_le64(in + OFF_CHECKSUM),
	};
	memcpy(h.session, in + OFF_SESSION, REMUS_SESSION_SIZE);

	int rc = remus_frame_check_magic(in + OFF_MAGIC, err);
	if (rc)
		return rc;
	if (h.version != REMUS_WIRE_VERSION)
		return remus_fail(
			err, -EPROTONOSUPPORT,
			"the peer speaks version %u of the protocol, this remus speaks %u: install the "
			"same release on both hosts",
			h.version, REMUS_WIRE_VERSION);
	if (!known(h.type) && (h.flags & REMUS_FRAME_MANDATORY))
		return remus_fail(
			err, -EBADMSG,
			"a frame of unknown type %u is marked mandatory: the peer is newer; install the "
			"same release on both hosts",
			h.type);
	if (h.length > remus_frame_payload_max(h.type))
		return remus_fail(err, -EBADMSG,
				  "a %s frame claims %" PRIu32 " bytes, at most %" PRIu32 " are allowed",
				  remus_frame_name(h.type), h.length, remus_frame_payload_max(h.type));
	*out = h;
	return 0;
}

int remus_frame_verify(const uint8_t in[REMUS_FRAME_HEADER], const void *payload, size_t length,
		       struct remus_error *err)
{
	XXH3_state_t state;
	uint64_t claimed = remus_get_le64(in + OFF_CHECKSUM), actual;

	checksum_begin(&state, in);
	if (length)
		XXH3_64bits_update(&state, payload, length);
	actual = XXH3_64bits_digest(&state);
	if (length == remus_get_le32(in + OFF_LENGTH) && actual == claimed)
		return 0;
	return remus_fail(err, -EBADMSG,
			  "a %s frame arrived damaged: checksum %016" PRIx64 " of its %zu bytes, %016" PRIx64
			  " in its header",
			  remus_frame_name(remus_get_le16(in + OFF_TYPE)), actual, length, claimed);
}

static bool without_session(const struct remus_frame_header *header)
{
	static const uint8_t none[REMUS_SESSION_SIZE];

	return header->generation == 0 && !memcmp(header->session, none, sizeof none);
}

int remus_frame_admit(struct remus_frame_gate *gate, const struct remus_frame_header *header,
		      struct remus_error *err)
{
	const char *name = remus_frame_name(header->type);
	bool early = header->type == REMUS_FRAME_HEARTBEAT || header->type == REMUS_FRAME_REFUSE;
	bool greets = header->type == REMUS_FRAME_HELLO || header->type == REMUS_FRAME_WELCOME ||
		      header->type == REMUS_FRAME_FINDINGS;

	if (header->sequence != gate->sequence + 1)
		return remus_fail(err, -EBADMSG,
				  "a %s frame has sequence %" PRIu64 " where %" PRIu64
				  " was due: a frame was lost, repeated or reordered",
				  name, header->sequence, gate->sequence + 1);
	if (!gate->bound) {
		if (!early && !greets)
			return remus_fail(err, -EPROTO, "a %s frame came before the hello was accepted",
					  name);
	} else if (!(early && without_session(header))) {
		if (memcmp(header->session, gate->session, REMUS_SESSION_SIZE))
			return remus_fail(err, -ESTALE, "a %s frame belongs to another session", name);
		if (header->generation != gate->generation)
			return remus_fail(err, -ESTALE,
					  "a %s frame belongs to generation %" PRIu64
					  ", this session is at %" PRIu64,
					  name, header->generation, gate->generation);
	}
	gate->sequence = header->sequence;
	return 0;
}

void remus_frame_gate_bind(struct remus_frame_gate *gate, const uint8_t session[REMUS_SESSION_SIZE],
			   uint64_t generation)
{
	memcpy(gate->session, session, REMUS_SESSION_SIZE);
	gate->generation = generation;
	gate->bound = true;
}

void remus_digest_add(struct remus_digest *digest, const struct remus_frame_header *header)
{
	uint8_t link[24];

	remus_put_le64(link, digest->value);
	remus_put_le32(link + 8, header->type);
	remus_put_le32(link + 12, header->length);
	remus_put_le64(link + 16, header->checksum);
	digest->value = XXH3_64bits(link, sizeof link);
}
