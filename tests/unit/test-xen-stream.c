/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The migration stream that a Xen standby is fed, byte for byte, and the state that it is made from. With
 * REMUS_XEN_STREAM_DUMP=FILE a whole plain stream is left there, for xen-utils' verify-stream-v2.
 */
#include "unit.h"
#include "replicator/domain/xen/state.h"
#include "replicator/domain/xen/stream.h"

static const struct remus_xen_param params[2] = {{1, 0xfefff}, {36, 8}};
static const uint8_t context[13] = "vcpu-context";

static const struct remus_xen_state state = {
	.tsc = {.mode = 1, .khz = 2400000, .incarnation = 3, .nsec = UINT64_C(0x0102030405060708)},
	.context = context,
	.context_bytes = sizeof context,
	.param = params,
	.params = 2,
};

static void assert_bytes(const struct remus_xen_buffer *b, size_t at, const void *want, size_t bytes)
{
	CU_ASSERT_FATAL(b->bytes >= at + bytes);
	CU_ASSERT(!memcmp(b->data + at, want, bytes));
}

static void test_begin(void)
{
	static const uint8_t want[] = {
		'L',  'i',  'b',  'x',	'l',  'F',  'm',  't',	0,   0,	  0,   2,
		0,    0,    0,	  0,	1,    0,    0,	  0,	0,   0,	  0,   0, /* LIBXC_CONTEXT */
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'X', 'E', 'N', 'F',
		0,    0,    0,	  3,	0,    0,    0,	  0,	0,   0,	  0,   0, /* image */
		2,    0,    0,	  0,	12,   0,    0,	  0,	4,   0,	  0,   0,
		17,   0,    0,	  0,	0x11, 0,    0,	  0,	24,  0,	  0,   0, /* CPUID */
	};
	static const uint8_t tail[] = {0x12, 0, 0, 0, 16, 0, 0, 0};
	static const uint8_t end[] = {0x10, 0, 0, 0, 0, 0, 0, 0};
	uint8_t cpuid[24], msr[16];
	struct remus_xen_buffer b = {0};

	memset(cpuid, 0xc1, sizeof cpuid);
	memset(msr, 0x3a, sizeof msr);
	remus_xen_stream_begin(&b, &(struct remus_xen_stream_static){.guest = REMUS_XEN_STREAM_HVM,
								     .xen_major = 4,
								     .xen_minor = 17,
								     .cpuid = cpuid,
								     .cpuid_bytes = sizeof cpuid,
								     .msr = msr,
								     .msr_bytes = sizeof msr});
	CU_ASSERT(!b.failed);
	assert_bytes(&b, 0, want, sizeof want);
	assert_bytes(&b, sizeof want, cpuid, sizeof cpuid);
	assert_bytes(&b, sizeof want + 24, tail, sizeof tail);
	assert_bytes(&b, sizeof want + 32, msr, sizeof msr);
	assert_bytes(&b, sizeof want + 48, end, sizeof end);
	CU_ASSERT_EQUAL(b.bytes, sizeof want + 48 + sizeof end);

	remus_xen_buffer_reset(&b); /* no policy: no record of it */
	remus_xen_stream_begin(&b, &(struct remus_xen_stream_static){.guest = REMUS_XEN_STREAM_HVM});
	CU_ASSERT_EQUAL(b.bytes, 24 + 24 + 16 + 8);
	remus_xen_buffer_free(&b);
}

static void test_pages(void)
{
	static const uint8_t want[] = {
		1, 0, 0, 0, 0x18, 0x20, 0, 0, /* 8 + 2 * (8 + 4096) = 0x2018 */
		2, 0, 0, 0, 0,	  0,	0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xef, 0x0f, 0, 0, 0, 0, 0,
	};
	static const uint64_t pfn[2] = {5, 0xfefff};
	struct remus_xen_buffer b = {0};

	remus_xen_stream_pages(&b, pfn, 2);
	CU_ASSERT_EQUAL(b.bytes, sizeof want);
	assert_bytes(&b, 0, want, sizeof want);
	remus_xen_buffer_free(&b);
}

static void test_state_records(void)
{
	static const uint8_t want[] = {
		8,   0,	  0,   0,   24, 0, 0, 0, 1,    0,    0,	   0,	0x00, 0x9f, 0x24, 0,
		8,   7,	  6,   5,   4,	3, 2, 1, 3,    0,    0,	   0,	0,    0,    0,	  0, /* TSC */
		9,   0,	  0,   0,   13, 0, 0, 0, 'v',  'c',  'p',  'u', '-',  'c',  'o',  'n',
		't', 'e', 'x', 't', 0,	0, 0, 0, /* context, padded */
		10,  0,	  0,   0,   40, 0, 0, 0, 2,    0,    0,	   0,	0,    0,    0,	  0,
		1,   0,	  0,   0,   0,	0, 0, 0, 0xff, 0xef, 0x0f, 0,	0,    0,    0,	  0,
		36,  0,	  0,   0,   0,	0, 0, 0, 8,    0,    0,	   0,	0,    0,    0,	  0,
	};
	static const uint8_t commit[] = {0x0e, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t end[8] = {0};
	struct remus_xen_buffer b = {0};

	remus_xen_stream_state(&b, &state);
	CU_ASSERT_EQUAL(b.bytes, sizeof want);
	assert_bytes(&b, 0, want, sizeof want);
	remus_xen_buffer_reset(&b);
	remus_xen_stream_checkpoint(&b);
	CU_ASSERT_EQUAL(b.bytes, sizeof commit);
	assert_bytes(&b, 0, commit, sizeof commit);
	remus_xen_buffer_reset(&b);
	remus_xen_stream_end(&b);
	CU_ASSERT_EQUAL(b.bytes, sizeof end);
	assert_bytes(&b, 0, end, sizeof end);
	remus_xen_buffer_free(&b);
}

static void test_state_round_trip(void)
{
	struct remus_xen_buffer b = {0};
	struct remus_xen_param room[REMUS_XEN_PARAMS_MAX];
	struct remus_xen_state out;

	remus_xen_state_encode(&b, &state);
	CU_ASSERT_EQUAL_FATAL(remus_xen_state_decode(b.data, b.bytes, &out, room, NULL), 0);
	CU_ASSERT(!memcmp(&out.tsc, &state.tsc, sizeof out.tsc));
	CU_ASSERT_EQUAL(out.params, 2);
	CU_ASSERT(!memcmp(out.param, params, sizeof params));
	CU_ASSERT_EQUAL(out.context_bytes, sizeof context);
	CU_ASSERT(!memcmp(out.context, context, sizeof context));
	remus_xen_buffer_free(&b);
}

/* Every cut and every changed byte: an error or a decode within bounds, never more (run it under ASan). */
static void test_state_hostile(void)
{
	struct remus_xen_buffer b = {0};
	struct remus_xen_param room[REMUS_XEN_PARAMS_MAX];
	struct remus_xen_state out;

	remus_xen_state_encode(&b, &state);
	for (size_t cut = 0; cut < b.bytes; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1);
		memcpy(copy, b.data, cut);
		CU_ASSERT(remus_xen_state_decode(copy, cut, &out, room, NULL) < 0);
		free(copy);
	}
	for (size_t at = 0; at < b.bytes; at++)
		for (unsigned v = 0; v < 256; v += 5) {
			uint8_t *copy = malloc(b.bytes);
			memcpy(copy, b.data, b.bytes);
			copy[at] = (uint8_t)v;
			if (remus_xen_state_decode(copy, b.bytes, &out, room, NULL) == 0) {
				CU_ASSERT(out.context >= copy &&
					  out.context + out.context_bytes <= copy + b.bytes);
				CU_ASSERT(out.params <= REMUS_XEN_PARAMS_MAX);
			}
			free(copy);
		}
	remus_xen_buffer_free(&b);
}

static void put_part(struct remus_xen_buffer *b, uint32_t kind, uint32_t length, const void *body,
		     size_t bytes)
{
	uint8_t head[8];
	remus_put_le32(head, kind);
	remus_put_le32(head + 4, length);
	remus_xen_buffer_add(b, head, 8);
	remus_xen_buffer_add(b, body, bytes);
}

static void test_state_refused(void)
{
	static const uint8_t body[2048];
	static const struct {
		uint32_t kind, length;
		size_t bytes;
		const char *word;
	} cases[] = {
		{4, 8, 8, "part 4 is unknown"},
		{0, 8, 8, "part 0 is unknown"},
		{1, 16, 16, "TSC"},
		{2, 8, 8, "HVM parameters"},
		{2, 16 * 65, 16 * 65, "HVM parameters"},
		{3, 0, 0, "context of 0"},
		{3, 0xffffffff, 16, "cut"},
		{0xffffffff, 8, 8, "unknown"},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(cases); i++) {
		struct remus_xen_buffer b = {0};
		struct remus_xen_param room[REMUS_XEN_PARAMS_MAX];
		struct remus_xen_state out;
		struct remus_error err = REMUS_ERROR_INIT;

		remus_xen_buffer_add(&b, "RXS1\3\0\0\0", 8);
		put_part(&b, cases[i].kind, cases[i].length, body, cases[i].bytes);
		CU_ASSERT_EQUAL(remus_xen_state_decode(b.data, b.bytes, &out, room, &err), -EBADMSG);
		UNIT_ASSERT_MESSAGE(err, cases[i].word);
		remus_xen_buffer_free(&b);
	}
}

static void test_state_twice(void)
{
	static const uint8_t tsc[24];
	struct remus_xen_buffer b = {0};
	struct remus_xen_param room[REMUS_XEN_PARAMS_MAX];
	struct remus_xen_state out;
	struct remus_error err = REMUS_ERROR_INIT;

	remus_xen_buffer_add(&b, "RXS1\3\0\0\0", 8);
	put_part(&b, 1, 24, tsc, 24);
	put_part(&b, 1, 24, tsc, 24);
	CU_ASSERT_EQUAL(remus_xen_state_decode(b.data, b.bytes, &out, room, &err), -EBADMSG);
	UNIT_ASSERT_MESSAGE(err, "twice");
	b.bytes = 8 + 32;
	CU_ASSERT_EQUAL(remus_xen_state_decode(b.data, b.bytes, &out, room, &err), -EBADMSG);
	UNIT_ASSERT_MESSAGE(err, "incomplete");
	remus_xen_buffer_free(&b);
}

/* Not an assertion of ours: Xen's own checker reads the file. */
static void test_dump(void)
{
	const char *path = getenv("REMUS_XEN_STREAM_DUMP");
	static const uint64_t pfn[3] = {0, 7, 0xfefff};
	static const uint8_t page[4096], cpuid[48], msr[16];
	struct remus_xen_buffer b = {0};

	if (!path)
		return;
	remus_xen_stream_begin(&b, &(struct remus_xen_stream_static){.guest = REMUS_XEN_STREAM_HVM,
								     .xen_major = 4,
								     .xen_minor = 17,
								     .cpuid = cpuid,
								     .cpuid_bytes = sizeof cpuid,
								     .msr = msr,
								     .msr_bytes = sizeof msr});
	remus_xen_stream_pages(&b, pfn, 3);
	for (int i = 0; i < 3; i++)
		remus_xen_buffer_add(&b, page, sizeof page);
	remus_xen_stream_state(&b, &state);
	remus_xen_stream_end(&b); /* libxc's */
	remus_xen_stream_end(&b); /* libxl's */
	FILE *file = fopen(path, "wbe");
	CU_ASSERT_FATAL(file != NULL);
	CU_ASSERT_EQUAL(fwrite(b.data, 1, b.bytes, file), b.bytes);
	fclose(file);
	remus_xen_buffer_free(&b);
}

static const struct unit_case cases[] = {
	{"begin", test_begin},
	{"pages", test_pages},
	{"state records, checkpoint, end", test_state_records},
	{"state: round trip", test_state_round_trip},
	{"state: every cut, changed bytes", test_state_hostile},
	{"state: refused", test_state_refused},
	{"state: a part twice, a part missing", test_state_twice},
	{"a plain stream for verify-stream-v2", test_dump},
};

UNIT_MAIN("xen-stream", cases)
