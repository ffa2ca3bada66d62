/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames: the bytes that docs/protocol.md shows, every header that must be refused, and the order that the gate
 * keeps (I4). Also the small payloads of fixed layout.
 */
#include <sys/uio.h>
#include "remus/wire.h"
#include "unit.h"

static const uint8_t session[REMUS_SESSION_SIZE] = {0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
						    0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f};

/* docs/protocol.md, "A worked example": the ACK. */
/* clang-format off */
static const uint8_t ack_bytes[] = {
	0x52, 0x4d, 0x55, 0x53, 0x01, 0x00, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, /* 00 */
	0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, /* 10 */
	0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* 20 */
	0x2a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x11, 0x24, 0xa6, 0xf3, 0x78, 0xb2, 0x35, 0x53, /* 30 */
	0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* 40 */
};
/* clang-format on */

/* docs/protocol.md, "A worked example": the PAGES frame. */
/* clang-format off */
static const uint8_t pages_bytes[] = {
	0x52, 0x4d, 0x55, 0x53, 0x01, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x21, 0x00, 0x00, 0x00, /* 00 */
	0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, /* 10 */
	0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* 20 */
	0xe8, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x95, 0x5d, 0x14, 0xe1, 0xee, 0xad, 0x3f, /* 30 */
	0x34, 0x12, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x35, 0x12, 0x00, 0x00, 0x00, 0x03, 0x11, 0x00, /* 40 */
	0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0xfe, 0xca, 0x00, 0x00, 0x00, 0x00, 0x00, /* 50 */
	0x00, /* 60 */
};
/* clang-format on */

static struct remus_frame_header header_of(uint16_t type, uint64_t epoch, uint64_t sequence, uint32_t length)
{
	struct remus_frame_header h = {.version = REMUS_WIRE_VERSION,
				       .type = type,
				       .length = length,
				       .generation = 1,
				       .epoch = epoch,
				       .sequence = sequence};
	memcpy(h.session, session, sizeof session);
	return h;
}

static void print_bytes(const char *what, const uint8_t *p, size_t n)
{
	printf("\n    %s:", what);
	for (size_t i = 0; i < n; i++)
		printf("%s%02x", i % 16 ? " " : "\n    ", p[i]);
	printf("\n");
}

static void expect_bytes(const char *what, struct remus_frame_header h, const void *payload,
			 const uint8_t *want, size_t want_bytes)
{
	uint8_t got[256];
	struct iovec part = {(void *)(uintptr_t)payload, h.length};

	remus_frame_pack(got, &h, &part, 1);
	memcpy(got + REMUS_FRAME_HEADER, payload, h.length);
	if (REMUS_FRAME_HEADER + h.length != want_bytes || memcmp(got, want, want_bytes))
		print_bytes(what, got, REMUS_FRAME_HEADER + h.length);
	CU_ASSERT_EQUAL(REMUS_FRAME_HEADER + h.length, want_bytes);
	CU_ASSERT(want_bytes == REMUS_FRAME_HEADER + h.length && !memcmp(got, want, want_bytes));

	struct remus_frame_header back;
	CU_ASSERT_EQUAL(remus_frame_unpack(got, &back, NULL), 0);
	CU_ASSERT(!memcmp(&back, &h, sizeof h));
	CU_ASSERT_EQUAL(remus_frame_verify(got, got + REMUS_FRAME_HEADER, back.length, NULL), 0);
}

static void bytes_of_the_document(void)
{
	uint8_t ack[8], pages[8 + 8 + 17];

	remus_put_le64(ack, UINT64_C(0x1122334455667788));
	expect_bytes("ACK", header_of(REMUS_FRAME_ACK, 7, 42, sizeof ack), ack, ack_bytes, sizeof ack_bytes);

	remus_put_le64(pages, UINT64_C(0x1234)); /* ZERO, no body */
	remus_put_le64(pages + 8,
		       UINT64_C(0x1235) | UINT64_C(3) << 40 | UINT64_C(17) << 48); /* DELTA, 17 bytes */
	remus_put_le64(pages + 16, 1);						   /* group 0 has a change */
	pages[24] = 0x04;							   /* its word 2 */
	remus_put_le64(pages + 25, UINT64_C(0xcafe));				   /* is this now */
	expect_bytes("PAGES", header_of(REMUS_FRAME_PAGES, 7, 1000, sizeof pages), pages, pages_bytes,
		     sizeof pages_bytes);
}

static void parts_are_one_payload(void)
{
	uint8_t one[REMUS_FRAME_HEADER], many[REMUS_FRAME_HEADER], data[1000];
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 7);
	struct remus_frame_header h = header_of(REMUS_FRAME_STATE, 3, 9, sizeof data);
	struct iovec whole = {data, sizeof data};
	struct iovec cut[] = {{data, 1}, {NULL, 0}, {data + 1, 700}, {data + 701, 299}};

	remus_frame_pack(one, &h, &whole, 1);
	remus_frame_pack(many, &h, cut, REMUS_ARRAY_SIZE(cut));
	CU_ASSERT(!memcmp(one, many, sizeof one));
	CU_ASSERT_EQUAL(remus_frame_verify(one, data, sizeof data, NULL), 0);
}

static void every_flipped_bit_is_noticed(void)
{
	uint8_t bytes[REMUS_FRAME_HEADER + 24];
	uint8_t *payload = bytes + REMUS_FRAME_HEADER;
	struct remus_frame_header h = header_of(REMUS_FRAME_HEARTBEAT, 0, 5, 24);
	struct iovec part = {payload, 24};
	unsigned missed = 0;

	memset(payload, 0x5a, 24);
	remus_frame_pack(bytes, &h, &part, 1);
	CU_ASSERT_EQUAL(remus_frame_verify(bytes, payload, 24, NULL), 0);
	CU_ASSERT_EQUAL(remus_frame_verify(bytes, payload, 23, NULL), -EBADMSG);
	for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		missed += remus_frame_verify(bytes, payload, 24, NULL) != -EBADMSG;
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	CU_ASSERT_EQUAL(missed, 0);
}

static void bad_headers(void)
{
	static const struct {
		uint16_t version, type;
		uint32_t flags, length;
		int want;
		const char *word;
	} table[] = {
		{1, REMUS_FRAME_HELLO, 0, REMUS_HELLO_PAYLOAD_MAX, 0, NULL},
		{1, REMUS_FRAME_HELLO, 0, REMUS_HELLO_PAYLOAD_MAX + 1, -EBADMSG, "HELLO"},
		{1, REMUS_FRAME_PAGES, 0, REMUS_PAGES_PAYLOAD_MAX, 0, NULL},
		{1, REMUS_FRAME_PAGES, 0, REMUS_PAGES_PAYLOAD_MAX + 1, -EBADMSG, "262145"},
		{1, REMUS_FRAME_STATE, 0, UINT32_MAX, -EBADMSG, "STATE"},
		{1, REMUS_FRAME_ACK, REMUS_FRAME_MANDATORY, 8, 0, NULL},
		{1, REMUS_FRAME_ACK, 0, REMUS_SMALL_PAYLOAD_MAX + 1, -EBADMSG, "ACK"},
		{1, REMUS_FRAME_END_ACK, 0xfffffffe, 0, 0, NULL},
		{1, REMUS_FRAME_FINDINGS, REMUS_FRAME_MANDATORY, REMUS_FINDINGS_PAYLOAD_MAX, 0, NULL},
		{1, REMUS_FRAME_FINDINGS, 0, REMUS_FINDINGS_PAYLOAD_MAX + 1, -EBADMSG, "FINDINGS"},
		{1, REMUS_FRAME_CLOCK, 0, REMUS_SMALL_PAYLOAD_MAX + 1, -EBADMSG, "CLOCK"},
		{1, REMUS_FRAME_ENTROPY, 0, REMUS_ENTROPY_PAYLOAD_MAX, 0, NULL},
		{1, REMUS_FRAME_ENTROPY, 0, REMUS_ENTROPY_PAYLOAD_MAX + 1, -EBADMSG, "ENTROPY"},
		{1, 77, 0, REMUS_SMALL_PAYLOAD_MAX, 0, NULL},
		{1, 77, 0, REMUS_SMALL_PAYLOAD_MAX + 1, -EBADMSG, "type 77"},
		{1, 77, REMUS_FRAME_MANDATORY, 0, -EBADMSG, "unknown type 77"},
		{1, 0, REMUS_FRAME_MANDATORY, 0, -EBADMSG, "unknown type 0"},
		{1, 65535, REMUS_FRAME_MANDATORY, 0, -EBADMSG, "65535"},
		{0, REMUS_FRAME_ACK, 0, 8, -EPROTONOSUPPORT, "version 0"},
		{2, REMUS_FRAME_ACK, 0, UINT32_MAX, -EPROTONOSUPPORT, "version 2"},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		uint8_t bytes[REMUS_FRAME_HEADER];
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_frame_header h = header_of(table[i].type, 1, 1, table[i].length), out;
		h.version = table[i].version;
		h.flags = table[i].flags;
		remus_frame_pack(bytes, &h, NULL, 0);
		CU_ASSERT_EQUAL(remus_frame_unpack(bytes, &out, &err), table[i].want);
		CU_ASSERT_EQUAL(err.code, table[i].want);
		if (table[i].word)
			UNIT_ASSERT_MESSAGE(err, table[i].word);
	}
}

static void foreign_magic(void)
{
	uint8_t bytes[REMUS_FRAME_HEADER] = "HTTP/1.1 400 Bad Request\r\n\r\n";
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_frame_header out = {.type = 99};

	CU_ASSERT_EQUAL(remus_frame_unpack(bytes, &out, &err), -EPROTO);
	UNIT_ASSERT_MESSAGE(err, "not a remus peer");
	UNIT_ASSERT_MESSAGE(err, "\"HTTP\"");
	CU_ASSERT_EQUAL(out.type, 99);
	bytes[0] = '\n';
	remus_frame_unpack(bytes, &out, &err);
	UNIT_ASSERT_MESSAGE(err, "\".TTP\"");
}

static void names_and_bounds(void)
{
	CU_ASSERT_STRING_EQUAL(remus_frame_name(REMUS_FRAME_HELLO), "HELLO");
	CU_ASSERT_STRING_EQUAL(remus_frame_name(REMUS_FRAME_END_ACK), "END_ACK");
	CU_ASSERT_STRING_EQUAL(remus_frame_name(0), "type 0");
	CU_ASSERT_STRING_EQUAL(remus_frame_name(77), "type 77");
	CU_ASSERT_EQUAL(remus_frame_payload_max(REMUS_FRAME_HELLO), REMUS_HELLO_PAYLOAD_MAX);
	CU_ASSERT_EQUAL(remus_frame_payload_max(REMUS_FRAME_COMMIT), REMUS_SMALL_PAYLOAD_MAX);
	CU_ASSERT_EQUAL(remus_frame_payload_max(65535), REMUS_SMALL_PAYLOAD_MAX);
}

/* Each row is offered to a gate that has admitted sequence 4. */
static void gate(void)
{
	enum { OURS, ZERO, OTHER };
	static const struct {
		bool bound;
		uint16_t type;
		int whose;
		uint64_t generation, sequence;
		int want;
		const char *word;
	} table[] = {
		{false, REMUS_FRAME_HELLO, ZERO, 0, 5, 0, NULL},
		{false, REMUS_FRAME_WELCOME, OURS, 1, 5, 0, NULL},
		{false, REMUS_FRAME_REFUSE, ZERO, 0, 5, 0, NULL},
		{false, REMUS_FRAME_HEARTBEAT, ZERO, 0, 5, 0, NULL},
		{false, REMUS_FRAME_HEARTBEAT, OURS, 1, 5, 0, NULL}, /* the peer bound first */
		{false, REMUS_FRAME_PAGES, ZERO, 0, 5, -EPROTO, "PAGES"},
		{false, REMUS_FRAME_END, OURS, 1, 5, -EPROTO, "before the hello"},
		{false, 77, ZERO, 0, 5, -EPROTO, "type 77"},
		{false, REMUS_FRAME_HELLO, ZERO, 0, 4, -EBADMSG, "sequence 4 where 5"},
		{false, REMUS_FRAME_HELLO, ZERO, 0, 6, -EBADMSG, "sequence 6 where 5"},
		{true, REMUS_FRAME_PAGES, OURS, 1, 5, 0, NULL},
		{true, 77, OURS, 1, 5, 0, NULL},
		{true, REMUS_FRAME_PAGES, OURS, 1, 4, -EBADMSG, "repeated"},
		{true, REMUS_FRAME_PAGES, OURS, 1, 0, -EBADMSG, "sequence 0"},
		{true, REMUS_FRAME_PAGES, OURS, 1, UINT64_MAX, -EBADMSG, "lost"},
		{true, REMUS_FRAME_PAGES, OTHER, 1, 5, -ESTALE, "another session"},
		{true, REMUS_FRAME_PAGES, ZERO, 1, 5, -ESTALE, "another session"},
		{true, REMUS_FRAME_PAGES, ZERO, 0, 5, -ESTALE, "another session"},
		{true, REMUS_FRAME_COMMIT, OURS, 2, 5, -ESTALE, "generation 2"},
		{true, REMUS_FRAME_ACK, OURS, 0, 5, -ESTALE, "generation 0"},
		{true, REMUS_FRAME_HEARTBEAT, OURS, 1, 5, 0, NULL},
		{true, REMUS_FRAME_HEARTBEAT, ZERO, 0, 5, 0, NULL}, /* sent before the peer bound */
		{true, REMUS_FRAME_HEARTBEAT, ZERO, 1, 5, -ESTALE, "another session"},
		{true, REMUS_FRAME_HEARTBEAT, OURS, 0, 5, -ESTALE, "generation 0"},
		{true, REMUS_FRAME_HEARTBEAT, OTHER, 1, 5, -ESTALE, "HEARTBEAT"},
		{true, REMUS_FRAME_HEARTBEAT, ZERO, 0, 6, -EBADMSG, "sequence 6"},
		{true, REMUS_FRAME_REFUSE, ZERO, 0, 5, 0, NULL},
		{true, REMUS_FRAME_REFUSE, OTHER, 1, 5, -ESTALE, "REFUSE"},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_frame_gate g = {.sequence = 4};
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_frame_header h = header_of(table[i].type, 0, table[i].sequence, 0);
		h.generation = table[i].generation;
		if (table[i].whose == ZERO)
			memset(h.session, 0, sizeof h.session);
		else if (table[i].whose == OTHER)
			h.session[15] ^= 1;
		if (table[i].bound)
			remus_frame_gate_bind(&g, session, 1);
		int rc = remus_frame_admit(&g, &h, &err);
		if (rc != table[i].want)
			printf("\n    row %zu: %d\n", i, rc);
		CU_ASSERT_EQUAL(rc, table[i].want);
		CU_ASSERT_EQUAL(g.sequence, rc ? 4 : 5);
		if (table[i].word)
			UNIT_ASSERT_MESSAGE(err, table[i].word);
	}
}

static void digest_is_a_chain(void)
{
	struct remus_frame_header a = header_of(REMUS_FRAME_PAGES, 1, 1, 10), b = a, c = a;
	struct remus_digest ab = {0}, ba = {0}, aa = {0}, longer = {0}, empty = {0};

	a.checksum = 111;
	b.checksum = 222;
	c.checksum = 111;
	c.length = 11;
	remus_digest_add(&ab, &a), remus_digest_add(&ab, &b);
	remus_digest_add(&ba, &b), remus_digest_add(&ba, &a);
	remus_digest_add(&aa, &a), remus_digest_add(&aa, &a);
	remus_digest_add(&longer, &c), remus_digest_add(&longer, &b);
	CU_ASSERT(ab.value != ba.value && ab.value != aa.value && ab.value != longer.value);
	CU_ASSERT(ab.value != empty.value);
}

static void fixed_payloads(void)
{
	uint8_t buf[REMUS_SMALL_PAYLOAD_MAX] = {0};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_welcome w = {REMUS_FEATURES_KNOWN, 1u << 30}, w2;
	struct remus_commit c = {1, 2, 3, UINT64_MAX}, c2;
	struct remus_heartbeat h = {UINT64_MAX, 5, 6}, h2;

	remus_welcome_encode(&w, buf);
	CU_ASSERT_EQUAL(remus_welcome_decode(buf, REMUS_WELCOME_SIZE, &w2, NULL), 0);
	CU_ASSERT(!memcmp(&w, &w2, sizeof w));
	remus_commit_encode(&c, buf);
	CU_ASSERT_EQUAL(remus_commit_decode(buf, REMUS_COMMIT_SIZE, &c2, NULL), 0);
	CU_ASSERT(!memcmp(&c, &c2, sizeof c));
	remus_heartbeat_encode(&h, buf);
	CU_ASSERT_EQUAL(remus_heartbeat_decode(buf, REMUS_HEARTBEAT_SIZE, &h2, NULL), 0);
	CU_ASSERT(!memcmp(&h, &h2, sizeof h));
	for (size_t n = 0; n <= 64; n++) {
		if (n != REMUS_WELCOME_SIZE)
			CU_ASSERT_EQUAL(remus_welcome_decode(buf, n, &w2, &err), -EBADMSG);
		if (n != REMUS_COMMIT_SIZE)
			CU_ASSERT_EQUAL(remus_commit_decode(buf, n, &c2, &err), -EBADMSG);
		if (n != REMUS_HEARTBEAT_SIZE)
			CU_ASSERT_EQUAL(remus_heartbeat_decode(buf, n, &h2, &err), -EBADMSG);
	}
	UNIT_ASSERT_MESSAGE(err, "HEARTBEAT of 64 bytes");
}

static void refuse(void)
{
	uint8_t buf[REMUS_SMALL_PAYLOAD_MAX];
	char text[1024], longer[3000];
	uint32_t code = 0;
	struct remus_error err = REMUS_ERROR_INIT;

	size_t n = remus_refuse_encode(ENOSPC, "no room", buf);
	CU_ASSERT_EQUAL(n, 4 + 7);
	CU_ASSERT_EQUAL(remus_refuse_decode(buf, n, &code, text, NULL), 0);
	CU_ASSERT_EQUAL(code, ENOSPC);
	CU_ASSERT_STRING_EQUAL(text, "no room");

	memcpy(buf + 4, "a\n\033[2\0", 6);
	CU_ASSERT_EQUAL(remus_refuse_decode(buf, 4 + 6, &code, text, NULL), 0);
	CU_ASSERT_STRING_EQUAL(text, "a??[2?");

	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = 0;
	n = remus_refuse_encode(1, longer, buf);
	CU_ASSERT_EQUAL(n, 4 + 1023);
	memset(buf, 'y', sizeof buf);
	CU_ASSERT_EQUAL(remus_refuse_decode(buf, sizeof buf, &code, text, NULL), 0);
	CU_ASSERT_EQUAL(strlen(text), 1023);
	CU_ASSERT_EQUAL(remus_refuse_decode(buf, 4, &code, text, NULL), 0);
	CU_ASSERT_STRING_EQUAL(text, "");
	for (n = 0; n < 4; n++)
		CU_ASSERT_EQUAL(remus_refuse_decode(buf, n, &code, text, &err), -EBADMSG);
}

static const struct unit_case cases[] = {
	{"the document's bytes", bytes_of_the_document},
	{"parts make one payload", parts_are_one_payload},
	{"every flipped bit is noticed", every_flipped_bit_is_noticed},
	{"bad headers are refused", bad_headers},
	{"a foreign magic is shown", foreign_magic},
	{"names and bounds", names_and_bounds},
	{"the gate keeps order, session and generation", gate},
	{"the digest is a chain", digest_is_a_chain},
	{"payloads of fixed layout", fixed_payloads},
	{"REFUSE is cut and made printable", refuse},
};
UNIT_MAIN("frame", cases)
