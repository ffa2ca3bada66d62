/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames as a reader meets them, one after the other: magic, header, gate, checksum, digest.
 *
 *   byte 0    bit 0: the gate is bound before the first frame; bit 1: put right the checksums first, which a
 *             search by mutation can't find, so that what lies behind them is reached
 *   the rest  frames
 */
#include "fuzz.h"

#include <sys/uio.h>
#include "remus/wire.h"

static const uint8_t ours[REMUS_SESSION_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8};

/* Packing what was unpacked gives the bytes back, and a checksum that is right, but not for anything else. */
static void check_pack(const uint8_t *in, const struct remus_frame_header *h, const uint8_t *payload,
		       size_t n, uint8_t out[REMUS_FRAME_HEADER])
{
	struct remus_frame_header copy = *h;
	struct iovec parts[3] = {{(void *)(uintptr_t)payload, n / 2},
				 {NULL, 0},
				 {n ? (uint8_t *)(uintptr_t)payload + n / 2 : NULL, n - n / 2}};

	remus_frame_pack(out, &copy, parts, 3);
	FUZZ_CHECK(!memcmp(out, in, 56));
	FUZZ_CHECK((remus_frame_verify(out, payload, n, NULL) == 0) == (n == h->length));
	out[32] ^= 1;
	FUZZ_CHECK(remus_frame_verify(out, payload, n, NULL) < 0);
	out[32] ^= 1;
}

/* Bytes used, 0 = the connection ends here. */
static size_t one_frame(const uint8_t *data, size_t size, bool repair, struct remus_frame_gate *gate,
			struct remus_digest *digest)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_frame_header h;
	struct remus_frame_gate before = *gate;
	uint8_t packed[REMUS_FRAME_HEADER];

	if (size < REMUS_FRAME_MAGIC)
		return 0;
	int magic = remus_frame_check_magic(data, &err);
	fuzz_check_error(magic, &err);
	if (size < REMUS_FRAME_HEADER)
		return 0;
	int rc = remus_frame_unpack(data, &h, &err);
	fuzz_check_error(rc, &err);
	FUZZ_CHECK(!magic || rc == magic);
	if (rc)
		return 0;
	FUZZ_CHECK(h.length <= remus_frame_payload_max(h.type) && h.length <= REMUS_PAGES_PAYLOAD_MAX);
	FUZZ_CHECK(strlen(remus_frame_name(h.type)) > 0);
	rc = remus_frame_admit(gate, &h, &err);
	fuzz_check_error(rc, &err);
	if (rc) {
		FUZZ_CHECK(gate->sequence == before.sequence && gate->bound == before.bound);
		return 0;
	}
	FUZZ_CHECK(gate->sequence == before.sequence + 1);
	size_t left = size - REMUS_FRAME_HEADER, n = h.length < left ? h.length : left;
	const uint8_t *payload = data + REMUS_FRAME_HEADER;
	check_pack(data, &h, payload, n, packed);
	rc = remus_frame_verify(repair ? packed : data, payload, n, &err);
	fuzz_check_error(rc, &err);
	if (rc)
		return 0;
	FUZZ_CHECK(n == h.length);
	remus_digest_add(digest, &h);
	if (h.type == REMUS_FRAME_HELLO && !gate->bound)
		remus_frame_gate_bind(gate, h.session, h.generation);
	return REMUS_FRAME_HEADER + n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct remus_frame_gate gate = {0};
	struct remus_digest digest = {0};
	size_t used;

	if (!size)
		return 0;
	if (data[0] & 1)
		remus_frame_gate_bind(&gate, ours, 7);
	for (size_t at = 1; (used = one_frame(data + at, size - at, data[0] & 2, &gate, &digest)); at += used)
		;
	return 0;
}

/* ---- seeds ---- */

struct frame {
	uint16_t type;
	uint32_t flags, length;
	uint64_t generation, sequence;
	bool session; /* ours, else zero */
};

static size_t put(uint8_t *out, const struct frame *f)
{
	struct remus_frame_header h = {.version = REMUS_WIRE_VERSION,
				       .type = f->type,
				       .flags = f->flags,
				       .length = f->length,
				       .generation = f->generation,
				       .epoch = 3,
				       .sequence = f->sequence};
	struct iovec part = {out + REMUS_FRAME_HEADER, f->length};

	if (f->session)
		memcpy(h.session, ours, sizeof ours);
	memset(part.iov_base, 0x5a, f->length);
	remus_frame_pack(out, &h, &part, 1);
	return REMUS_FRAME_HEADER + f->length;
}

static void seed(const char *name, uint8_t mode, const struct frame *frames, size_t n)
{
	static uint8_t text[64 * 1024];
	size_t bytes = 1;

	text[0] = mode;
	for (size_t i = 0; i < n; i++)
		bytes += put(text + bytes, &frames[i]);
	fuzz_seed(name, text, bytes);
}

#define SEED(name, mode, ...)                                 \
	seed(name, mode, (const struct frame[]){__VA_ARGS__}, \
	     sizeof((const struct frame[]){__VA_ARGS__}) / sizeof(struct frame))

/* One byte of a good frame wrong. @at counts from the frame's first byte. */
static void seed_wrong(const char *name, size_t at, uint8_t byte)
{
	uint8_t text[1 + REMUS_FRAME_HEADER + 8] = {0};
	size_t n = 1 + put(text + 1, &(struct frame){REMUS_FRAME_HEARTBEAT, 0, 8, 0, 1, false});

	text[1 + at] = byte;
	fuzz_seed(name, text, n);
}

void fuzz_seeds(void)
{
	char name[32];

	for (uint16_t type = 1; type <= REMUS_FRAME_ENTROPY; type++) { /* each type in a session */
		snprintf(name, sizeof name, "type-%u", type);
		SEED(name, 1, {type, REMUS_FRAME_MANDATORY, 8, 7, 1, true}, {type, 0, 0, 7, 2, true});
	}
	SEED("hello", 0, {REMUS_FRAME_HELLO, 1, 60, 7, 1, true}, {REMUS_FRAME_PAGES, 1, 16, 7, 2, true},
	     {REMUS_FRAME_COMMIT, 1, 32, 7, 3, true});
	SEED("welcome", 0, {REMUS_FRAME_WELCOME, 1, 16, 7, 1, true});
	SEED("findings", 0, {REMUS_FRAME_FINDINGS, 1, 16, 7, 1, true});
	SEED("early", 0, {REMUS_FRAME_HEARTBEAT, 0, 24, 0, 1, false},
	     {REMUS_FRAME_REFUSE, 0, 9, 0, 2, false});
	SEED("early-bound", 1, {REMUS_FRAME_HEARTBEAT, 0, 24, 0, 1, false},
	     {REMUS_FRAME_REFUSE, 0, 9, 0, 2, false}, {REMUS_FRAME_HEARTBEAT, 0, 24, 7, 3, false});
	SEED("early-half", 1, {REMUS_FRAME_HEARTBEAT, 0, 24, 0, 1, true});
	SEED("before-hello", 0, {REMUS_FRAME_PAGES, 1, 8, 0, 1, false});
	SEED("gap", 1, {REMUS_FRAME_PAGES, 1, 8, 7, 1, true}, {REMUS_FRAME_PAGES, 1, 8, 7, 3, true});
	SEED("again", 1, {REMUS_FRAME_PAGES, 1, 8, 7, 1, true}, {REMUS_FRAME_PAGES, 1, 8, 7, 1, true});
	SEED("other-session", 1, {REMUS_FRAME_PAGES, 1, 8, 7, 1, false});
	SEED("other-generation", 1, {REMUS_FRAME_PAGES, 1, 8, 6, 1, true});
	SEED("unknown", 1, {77, 0, 8, 7, 1, true}, {0, 0, 0, 7, 2, true});
	SEED("unknown-mandatory", 1, {77, 1, 8, 7, 1, true});
	SEED("too-long", 0, {REMUS_FRAME_HEARTBEAT, 0, REMUS_SMALL_PAYLOAD_MAX + 1, 0, 1, false});
	seed_wrong("magic-letter", 0, 'Q');
	seed_wrong("magic-low", 1, 7);
	seed_wrong("magic-high", 2, 0xf0);
	seed_wrong("version", 4, 2);
	seed_wrong("flag", 11, 0x80);
	seed_wrong("damaged", 66, 0xff);
	seed_wrong("cut", 12, 9);
	seed_wrong("long", 12, 7);
	fuzz_seed("tls", "\0\x16\x03\x01\x02\x00\x01", 7);
	fuzz_seed("tls-alert", "\0\x17\x03\x03\x02\x00\x01", 7);
	fuzz_seed("not-tls", "\0\x16\x04\x01\x02", 5);
	fuzz_seed("not-tls-low", "\0\x13\x03\x01\x02", 5);
	fuzz_seed("ssh", "\0SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 34);
	/* A checksum that is wrong, put right. */
	uint8_t text[1 + REMUS_FRAME_HEADER + 8] = {0};
	size_t n = 1 + put(text + 1, &(struct frame){REMUS_FRAME_ACK, 0, 8, 7, 1, true});
	text[0] = 3;
	text[1 + 56] ^= 0xff;
	fuzz_seed("repaired", text, n);
}
