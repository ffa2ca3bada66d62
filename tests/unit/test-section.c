/* SPDX-License-Identifier: GPL-2.0-or-later */
/* State sections: a stream is walked to its exact end or refused, and nothing outside it is read. */
#include "remus/wire.h"
#include "unit.h"

static size_t append(uint8_t *stream, size_t at, uint16_t kind, uint16_t flags, const void *body, uint32_t n)
{
	size_t pad = remus_section_head(stream + at, kind, flags, n);

	memcpy(stream + at + REMUS_SECTION_HEADER, body, n);
	memset(stream + at + REMUS_SECTION_HEADER + n, 0, pad);
	return at + REMUS_SECTION_HEADER + n + pad;
}

static size_t sample(uint8_t *stream)
{
	size_t n = append(stream, 0, REMUS_SECTION_DEVICE, REMUS_SECTION_MANDATORY, "device", 6);

	n = append(stream, n, REMUS_SECTION_CLOCK, 0, "12345678", 8);
	n = append(stream, n, 900, 0, "x", 1);
	return append(stream, n, REMUS_SECTION_ADDRESSES, 0, "", 0);
}

static int walk(const uint8_t *stream, size_t bytes, unsigned *sections, struct remus_error *err)
{
	struct remus_section s;
	size_t offset = 0;
	int rc;

	*sections = 0;
	while ((rc = remus_section_next(stream, bytes, &offset, &s, err)) == 1)
		++*sections;
	return rc;
}

static void walks_to_the_end(void)
{
	uint8_t stream[256];
	struct remus_section s;
	size_t n = sample(stream), offset = 0;

	CU_ASSERT_EQUAL(n, 16 + 16 + 16 + 8);
	CU_ASSERT_EQUAL(remus_section_next(stream, n, &offset, &s, NULL), 1);
	CU_ASSERT_EQUAL(s.kind, REMUS_SECTION_DEVICE);
	CU_ASSERT_EQUAL(s.flags, REMUS_SECTION_MANDATORY);
	CU_ASSERT_EQUAL(s.length, 6);
	CU_ASSERT(!memcmp(s.body, "device", 6));
	CU_ASSERT_EQUAL(remus_section_next(stream, n, &offset, &s, NULL), 1);
	CU_ASSERT_EQUAL(s.length, 8);
	CU_ASSERT_EQUAL(remus_section_next(stream, n, &offset, &s, NULL), 1);
	CU_ASSERT_EQUAL(s.kind, 900);
	CU_ASSERT_EQUAL(remus_section_next(stream, n, &offset, &s, NULL), 1);
	CU_ASSERT_EQUAL(s.length, 0);
	CU_ASSERT_EQUAL(remus_section_next(stream, n, &offset, &s, NULL), 0);
	CU_ASSERT_EQUAL(offset, n);
	offset = 0;
	CU_ASSERT_EQUAL(remus_section_next(NULL, 0, &offset, &s, NULL), 0);
}

static void truncations(void)
{
	uint8_t stream[256];
	size_t n = sample(stream);
	unsigned sections;

	for (size_t cut = 0; cut < n; cut++) {
		uint8_t *exact = malloc(cut ? cut : 1);
		memcpy(exact, stream, cut);
		bool boundary = cut == 0 || cut == 16 || cut == 32 || cut == 48;
		CU_ASSERT_EQUAL(walk(exact, cut, &sections, NULL), boundary ? 0 : -EBADMSG);
		free(exact);
	}
}

static void malformed(void)
{
	static const struct {
		const char *word;
		uint32_t length; /* claimed by the first section, whose body is "abc" */
		uint16_t kind, flags;
		uint8_t padding; /* last byte of the padding */
		size_t offset;
	} table[] = {
		{"claims 4294967295", UINT32_MAX, 1, 0, 0, 0},
		{"claims 4294967288", 0xfffffff8, 1, 0, 0, 0},
		{"claims 9", 9, 1, 0, 0, 0},
		{"padding that is not zero", 3, 1, 0, 1, 0},
		{"unknown kind 900", 3, 900, 1, 0, 0},
		{"unknown kind 0", 3, 0, 1, 0, 0},
		{"no place for a section", 3, 1, 0, 0, 9},
		{"no place for a section", 3, 1, 0, 0, 17},
		{"no place for a section", 3, 1, 0, 0, SIZE_MAX},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		uint8_t stream[16];
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_section s = {.kind = 77};
		size_t offset = table[i].offset;
		append(stream, 0, table[i].kind, table[i].flags, "abc", 3);
		remus_put_le32(stream + 4, table[i].length);
		stream[15] = table[i].padding;
		CU_ASSERT_EQUAL(remus_section_next(stream, sizeof stream, &offset, &s, &err), -EBADMSG);
		UNIT_ASSERT_MESSAGE(err, table[i].word);
		CU_ASSERT_EQUAL(offset, table[i].offset);
		CU_ASSERT_EQUAL(s.kind, 77);
	}
}

/* An AGENT section: out of shape, too long, a wait without bound, a version that would show up in logs. */
static void agents(void)
{
	static const struct {
		uint32_t wait;
		uint16_t zero, length;
		const char *version;
		size_t bytes;
		int rc;
	} table[] = {
		{500, 0, 5, "0.1.0", 5, 0},
		{0, 0, 1, "x", 1, 0},
		{REMUS_AGENT_WAIT_MAX_MS, 0, 31, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 31, 0},
		{REMUS_AGENT_WAIT_MAX_MS + 1, 0, 1, "x", 1, -EBADMSG},
		{0, 1, 1, "x", 1, -EBADMSG},
		{0, 0, 2, "x", 1, -EBADMSG},
		{0, 0, 0, "", 0, -EBADMSG},
		{0, 0, 32, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 32, -EBADMSG},
		{0, 0, 3, "a b", 3, -EBADMSG},
		{0, 0, 3, "a\0b", 3, -EBADMSG},
		{0, 0, 3, "a\033b", 3, -EBADMSG},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_agent_section out, zero = {0};
		struct remus_error err = REMUS_ERROR_INIT;
		uint8_t body[64], again[REMUS_AGENT_SECTION_MAX];
		remus_put_le32(body, table[i].wait);
		remus_put_le16(body + 4, table[i].zero);
		remus_put_le16(body + 6, table[i].length);
		memcpy(body + 8, table[i].version, table[i].bytes);
		CU_ASSERT_EQUAL(remus_agent_section_decode(body, 8 + table[i].bytes, &out, &err),
				table[i].rc);
		if (table[i].rc) {
			CU_ASSERT(!memcmp(&out, &zero, sizeof out));
			continue;
		}
		CU_ASSERT_EQUAL(remus_agent_section_encode(&out, again), 8 + table[i].bytes);
		CU_ASSERT(!memcmp(body, again, 8 + table[i].bytes));
		for (size_t cut = 0; cut < 8 + table[i].bytes; cut++)
			CU_ASSERT_EQUAL(remus_agent_section_decode(body, cut, &out, &err), -EBADMSG);
	}
}

static void padding(void)
{
	uint8_t head[REMUS_SECTION_HEADER];
	static const struct {
		uint32_t length;
		size_t pad;
	} table[] = {{0, 0}, {1, 7}, {7, 1}, {8, 0}, {9, 7}, {UINT32_MAX, 1}};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++)
		CU_ASSERT_EQUAL(remus_section_head(head, 1, 0, table[i].length), table[i].pad);
}

static const struct unit_case cases[] = {
	{"walks to the end", walks_to_the_end},
	{"truncations", truncations},
	{"malformed streams", malformed},
	{"padding", padding},
	{"agents (I11)", agents},
};
UNIT_MAIN("section", cases)
