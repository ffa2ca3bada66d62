/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HELLO: what goes in comes out, and every way in which a hostile or broken sender could lie is refused. */
#include "remus/wire.h"
#include "unit.h"

static struct remus_hello sample(void)
{
	struct remus_hello h = {
		.session = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		.generation = 3,
		.features_offered = REMUS_FEATURES_KNOWN,
		.features_required = REMUS_FEATURE_DELTA,
		.guest_pages = 65536,
		.interval_ms = 25,
		.heartbeat_ms = 50,
		.dead_ms = 300,
		.backend = (char *)"qemu",
		.domain = (char *)"vm1 \xc3\xa9",
		.arbiter = (char *)"file:/srv/claims",
		.egress = (char *)"",
		.description = (char *)"{\n\t\"memory\": 256\n}",
	};
	return h;
}

static void round_trip(void)
{
	struct remus_hello in = sample(), out;
	uint8_t *bytes = NULL;
	size_t n = 0;

	CU_ASSERT_EQUAL_FATAL(remus_hello_encode(&in, &bytes, &n, NULL), 0);
	CU_ASSERT_EQUAL(n, 60 + 5 * 4 + 4 + 6 + 16 + 0 + 18);
	CU_ASSERT_EQUAL_FATAL(remus_hello_decode(bytes, n, &out, NULL), 0);
	CU_ASSERT(!memcmp(in.session, out.session, sizeof in.session));
	CU_ASSERT_EQUAL(out.generation, 3);
	CU_ASSERT_EQUAL(out.features_offered, REMUS_FEATURES_KNOWN);
	CU_ASSERT_EQUAL(out.features_required, REMUS_FEATURE_DELTA);
	CU_ASSERT_EQUAL(out.guest_pages, 65536);
	CU_ASSERT_EQUAL(out.interval_ms, 25);
	CU_ASSERT_EQUAL(out.heartbeat_ms, 50);
	CU_ASSERT_EQUAL(out.dead_ms, 300);
	CU_ASSERT_STRING_EQUAL(out.backend, in.backend);
	CU_ASSERT_STRING_EQUAL(out.domain, in.domain);
	CU_ASSERT_STRING_EQUAL(out.arbiter, in.arbiter);
	CU_ASSERT_STRING_EQUAL(out.egress, in.egress);
	CU_ASSERT_STRING_EQUAL(out.description, in.description);
	remus_hello_clear(&out);
	CU_ASSERT_PTR_NULL(out.description);
	remus_hello_clear(&out); /* harmless twice */
	free(bytes);
}

static void absent_strings_are_empty(void)
{
	struct remus_hello in = sample(), out;
	uint8_t *bytes = NULL;
	size_t n = 0;

	in.backend = in.domain = in.arbiter = in.egress = in.description = NULL;
	CU_ASSERT_EQUAL_FATAL(remus_hello_encode(&in, &bytes, &n, NULL), 0);
	CU_ASSERT_EQUAL(n, 60 + 5 * 4);
	CU_ASSERT_EQUAL_FATAL(remus_hello_decode(bytes, n, &out, NULL), 0);
	CU_ASSERT_STRING_EQUAL(out.egress, "");
	remus_hello_clear(&out);
	free(bytes);
}

static void every_truncation_is_refused(void)
{
	struct remus_hello in = sample(), out;
	uint8_t *bytes = NULL;
	size_t n = 0;
	unsigned wrong = 0;

	CU_ASSERT_EQUAL_FATAL(remus_hello_encode(&in, &bytes, &n, NULL), 0);
	for (size_t cut = 0; cut < n; cut++) {
		struct remus_error err = REMUS_ERROR_INIT;
		uint8_t *exact = malloc(cut ? cut : 1); /* so that a sanitizer sees a read past the end */
		memcpy(exact, bytes, cut);
		wrong += remus_hello_decode(exact, cut, &out, &err) != -EBADMSG || out.backend ||
			 out.description || !err.message[0];
		free(exact);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	uint8_t *more = malloc(n + 1);
	memcpy(more, bytes, n);
	more[n] = 0;
	CU_ASSERT_EQUAL(remus_hello_decode(more, n + 1, &out, NULL), -EBADMSG);
	free(more);
	free(bytes);
}

/* Overwrite @size bytes of a valid hello at @at with @value. */
static void lies(void)
{
	static const struct {
		const char *word;
		size_t at, size;
		uint64_t value;
	} table[] = {
		{"generation 0", 16, 8, 0},
		{"requires", 32, 8, UINT64_C(1) << 40},
		{"0 pages", 40, 8, 0},
		{"pages", 40, 8, (UINT64_C(1) << 40) + 1},
		{"timing", 48, 4, 3600001},
		{"timing", 52, 4, 0},
		{"timing", 52, 4, 151},
		{"timing", 52, 4, UINT32_MAX},
		{"timing", 56, 4, 99},
		{"timing", 56, 4, UINT32_MAX},
		{"backend claims", 60, 4, UINT32_MAX},
		{"backend claims", 60, 4, 1000},
		{"backend of 32", 60, 4, 32},
		{"backend holds a control character (0x00)", 65, 1, 0},
		{"backend holds a control character (0x0a)", 65, 1, '\n'},
		{"domain claims", 68, 4, UINT32_MAX - 3},
		{"domain holds a control character (0x1b)", 72, 1, 033},
		{"domain holds a control character (0x7f)", 72, 1, 0x7f},
		{"description holds a control character (0x00)", 110, 1, 0},
	};
	struct remus_hello in = sample(), out;
	uint8_t *bytes = NULL;
	size_t n = 0;

	CU_ASSERT_EQUAL_FATAL(remus_hello_encode(&in, &bytes, &n, NULL), 0);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		uint8_t *copy = malloc(n), value[8];
		memcpy(copy, bytes, n);
		remus_put_le64(value, table[i].value);
		memcpy(copy + table[i].at, value, table[i].size);
		CU_ASSERT_EQUAL(remus_hello_decode(copy, n, &out, &err), -EBADMSG);
		UNIT_ASSERT_MESSAGE(err, table[i].word);
		CU_ASSERT_PTR_NULL(out.backend);
		free(copy);
	}
	memset(bytes, 0, REMUS_SESSION_SIZE);
	CU_ASSERT_EQUAL(remus_hello_decode(bytes, n, &out, NULL), -EBADMSG);
	free(bytes);
}

static void oversized_strings_are_not_sent(void)
{
	static const struct {
		const char *word;
		size_t max;
		size_t offset;
	} table[] = {
		{"backend", 31, offsetof(struct remus_hello, backend)},
		{"domain", 255, offsetof(struct remus_hello, domain)},
		{"arbiter", 1023, offsetof(struct remus_hello, arbiter)},
		{"egress", 4095, offsetof(struct remus_hello, egress)},
		{"description", 58 * 1024, offsetof(struct remus_hello, description)},
	};
	static char longest[60 * 1024 + 1];
	struct remus_hello full = sample(), out;
	uint8_t *bytes = NULL;
	size_t n = 0;

	memset(longest, 'x', sizeof longest - 1);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_hello in = sample();
		char *text = strndup(longest, table[i].max + 1);
		*(char **)(void *)((char *)&in + table[i].offset) = text;
		CU_ASSERT_EQUAL(remus_hello_encode(&in, &bytes, &n, &err), -EMSGSIZE);
		UNIT_ASSERT_MESSAGE(err, table[i].word);
		text[table[i].max] = 0;
		*(char **)(void *)((char *)&full + table[i].offset) = text;
	}
	/* all of them at their caps still fit one frame */
	CU_ASSERT_EQUAL(remus_hello_encode(&full, &bytes, &n, NULL), 0);
	CU_ASSERT(n <= REMUS_HELLO_PAYLOAD_MAX);
	CU_ASSERT_EQUAL(remus_hello_decode(bytes, n, &out, NULL), 0);
	remus_hello_clear(&out);
	remus_hello_clear(&full);
	free(bytes);

	struct remus_hello in = sample();
	struct remus_error err = REMUS_ERROR_INIT;
	in.domain = (char *)"two\nlines";
	CU_ASSERT_EQUAL(remus_hello_encode(&in, &bytes, &n, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "domain");
}

static const struct unit_case cases[] = {
	{"round trip", round_trip},
	{"absent strings are empty", absent_strings_are_empty},
	{"every truncation is refused", every_truncation_is_refused},
	{"every lie is refused", lies},
	{"oversized strings are not sent", oversized_strings_are_not_sent},
};
UNIT_MAIN("hello", cases)
