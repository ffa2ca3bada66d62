/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decoder against payloads that no encoder makes. Whatever check accepts, apply must take whole; whatever
 * it refuses is refused with an offset. Payloads live in buffers of exactly their size, images too.
 */
#include "unit.h"
#include "unit-pages.h"
#include <lz4.h>
#include "record.h"

#define PAGES 16u

struct image {
	uint8_t *page[PAGES]; /* apart, so that ASan sees each one's edges */
};

static uint8_t *locate(void *context, uint64_t pfn)
{
	struct image *image = context;
	CU_ASSERT_FATAL(pfn < PAGES);
	return image->page[pfn];
}
static void image_make(struct image *image)
{
	for (unsigned i = 0; i < PAGES; i++)
		image->page[i] = calloc(1, REMUS_PAGE_SIZE);
}
static void image_free(struct image *image)
{
	for (unsigned i = 0; i < PAGES; i++)
		free(image->page[i]);
}

/* A record with any head over any body. */
static size_t put(uint8_t *out, uint64_t pfn, unsigned encoding, size_t length, const void *body,
		  size_t bytes)
{
	remus_record_put(out, pfn, (enum remus_page_encoding)encoding, length);
	if (bytes)
		memcpy(out + REMUS_PAGE_RECORD, body, bytes);
	return REMUS_PAGE_RECORD + bytes;
}

/* @bytes of compressible text as an LZ4 block. */
static size_t lz4_of(size_t bytes, uint8_t *out, size_t room)
{
	uint64_t seed = 5;
	uint8_t text[2 * REMUS_PAGE_SIZE];
	unit_fill_text(&seed, text);
	unit_fill_text(&seed, text + REMUS_PAGE_SIZE);
	int n = LZ4_compress_default((const char *)text, (char *)out, (int)bytes, (int)room);
	CU_ASSERT_FATAL(n > 0);
	return (size_t)n;
}

static int64_t check_exact(const uint8_t *payload, size_t bytes, struct remus_error *err)
{
	uint8_t *copy = malloc(bytes ? bytes : 1);
	memcpy(copy, payload, bytes);
	int64_t rc = remus_pages_check(copy, bytes, PAGES, err);
	free(copy);
	return rc;
}

/* One bad record behind a good ZERO record, so that every offset in a message is 8. */
static void malformed_records(void)
{
	static const uint8_t zeros[REMUS_PAGE_SIZE + 8];
	static const uint8_t empty_delta[8];
	static const uint8_t short_delta[] = {0x01, 0, 0, 0, 0, 0, 0, 0, 0x03, 1, 2, 3, 4, 5, 6, 7, 8};
	static const uint8_t no_lz4[] = {0xff, 0xff, 0xff, 0xff};
	static uint8_t small[REMUS_PAGE_SIZE], large[REMUS_PAGE_SIZE];
	size_t small_n = lz4_of(4095, small, sizeof small), large_n = lz4_of(4097, large, sizeof large);
	const struct {
		const char *name;
		uint64_t pfn;
		unsigned encoding;
		size_t length;
		const void *body;
		size_t bytes;
		const char *word; /* that the message must hold */
	} table[] = {
		{"encoding 4", 1, 4, 0, NULL, 0, "unknown encoding"},
		{"encoding 255", 1, 255, 8, zeros, 8, "unknown encoding"},
		{"first pfn outside", PAGES, REMUS_PAGE_ZERO, 0, NULL, 0, "pfn 16 "},
		{"largest pfn", REMUS_PFN_MAX, REMUS_PAGE_ZERO, 0, NULL, 0, "pfn 1099511627775"},
		{"ZERO with a body", 1, REMUS_PAGE_ZERO, 1, zeros, 1, "ZERO"},
		{"RAW of 0", 1, REMUS_PAGE_RAW, 0, NULL, 0, "RAW"},
		{"RAW of 4095", 1, REMUS_PAGE_RAW, 4095, zeros, 4095, "RAW"},
		{"RAW of 4097", 1, REMUS_PAGE_RAW, 4097, zeros, 4097, "RAW"},
		{"RAW cut off", 1, REMUS_PAGE_RAW, 4096, zeros, 4095, "cut off"},
		{"body of 65535 cut off", 1, REMUS_PAGE_LZ4, 65535, zeros, 4096, "cut off"},
		{"LZ4 of 0", 1, REMUS_PAGE_LZ4, 0, NULL, 0, "LZ4"},
		{"LZ4 of 4097", 1, REMUS_PAGE_LZ4, 4097, zeros, 4097, "LZ4"},
		{"LZ4 that is none", 1, REMUS_PAGE_LZ4, 4, no_lz4, 4, "LZ4"},
		{"LZ4 that makes 4095 bytes", 1, REMUS_PAGE_LZ4, small_n, small, small_n, "bytes: 4095"},
		{"LZ4 that makes 4097 bytes", 1, REMUS_PAGE_LZ4, large_n, large, large_n, "too large"},
		{"DELTA of 0", 1, REMUS_PAGE_DELTA, 0, NULL, 0, "DELTA"},
		{"DELTA of 7", 1, REMUS_PAGE_DELTA, 7, zeros, 7, "DELTA"},
		{"DELTA with a byte too many", 1, REMUS_PAGE_DELTA, 9, zeros, 9, "DELTA"},
		{"DELTA that lacks a word", 1, REMUS_PAGE_DELTA, 17, short_delta, 17, "DELTA"},
		{"DELTA of 4097", 1, REMUS_PAGE_DELTA, 4097, zeros, 4097, "longer than 4096"},
		{"DELTA cut off", 1, REMUS_PAGE_DELTA, 8, empty_delta, 7, "cut off"},
	};
	for (size_t t = 0; t < REMUS_ARRAY_SIZE(table); t++) {
		uint8_t payload[2 * REMUS_PAGE_RECORD_MAX];
		struct remus_error err = REMUS_ERROR_INIT;
		size_t n = put(payload, 0, REMUS_PAGE_ZERO, 0, NULL, 0);
		n += put(payload + n, table[t].pfn, table[t].encoding, table[t].length, table[t].body,
			 table[t].bytes);
		int64_t rc = check_exact(payload, n, &err);
		if (rc != -EBADMSG)
			printf("\n    %s: %d\n", table[t].name, (int)rc);
		CU_ASSERT_EQUAL(rc, -EBADMSG);
		CU_ASSERT_EQUAL(err.code, -EBADMSG);
		UNIT_ASSERT_MESSAGE(err, "offset 8:");
		UNIT_ASSERT_MESSAGE(err, table[t].word);
	}
}

/* One page of each encoding; returns the payload's length. */
static size_t sample(uint8_t *out)
{
	uint64_t seed = 6;
	uint8_t page[REMUS_PAGE_SIZE], zero[REMUS_PAGE_SIZE] = {0}, body[REMUS_PAGE_SIZE];
	size_t n = put(out, 3, REMUS_PAGE_ZERO, 0, NULL, 0), length;

	unit_fill_random(&seed, page);
	n += put(out + n, 4, REMUS_PAGE_RAW, REMUS_PAGE_SIZE, page, REMUS_PAGE_SIZE);
	length = lz4_of(REMUS_PAGE_SIZE, body, sizeof body);
	n += put(out + n, 5, REMUS_PAGE_LZ4, length, body, length);
	memset(page, 0, sizeof page);
	unit_scribble(&seed, page, 40);
	length = remus_delta_encode(zero, page, body, sizeof body, false);
	n += put(out + n, 6, REMUS_PAGE_DELTA, length, body, length);
	return n;
}

static void truncations(void)
{
	uint8_t payload[4 * REMUS_PAGE_RECORD_MAX];
	size_t bytes = sample(payload), whole = 0;
	CU_ASSERT_EQUAL(check_exact(payload, 0, NULL), 0);
	CU_ASSERT_EQUAL(check_exact(payload, bytes, NULL), 4);
	for (size_t n = 1; n < bytes; n++) {
		int64_t rc = check_exact(payload, n, NULL);
		CU_ASSERT(rc == -EBADMSG || (rc > 0 && rc < 4));
		whole += rc > 0;
	}
	CU_ASSERT_EQUAL(whole, 3); /* only at the ends of records */
}

static void applies_what_it_checks(void)
{
	uint8_t payload[4 * REMUS_PAGE_RECORD_MAX];
	size_t bytes = sample(payload);
	struct image image;
	image_make(&image);
	memset(image.page[3], 0xee, REMUS_PAGE_SIZE);
	CU_ASSERT_EQUAL(remus_pages_apply(payload, bytes, PAGES, locate, &image, NULL), 4);
	CU_ASSERT(remus_page_is_zero(image.page[3]));
	CU_ASSERT_EQUAL(memcmp(image.page[4], payload + 16, REMUS_PAGE_SIZE), 0);
	CU_ASSERT(!remus_page_is_zero(image.page[5]));
	CU_ASSERT(!remus_page_is_zero(image.page[6]));
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT(remus_page_is_zero(image.page[i]));
	image_free(&image);
}

/* Records of one page are applied in order, each on the result of the one before. */
static void same_page_twice(void)
{
	uint64_t seed = 8;
	uint8_t payload[3 * REMUS_PAGE_RECORD_MAX], first[REMUS_PAGE_SIZE], then[REMUS_PAGE_SIZE];
	uint8_t body[REMUS_PAGE_SIZE];
	struct image image;
	image_make(&image);
	unit_fill_random(&seed, first);
	memcpy(then, first, sizeof then);
	unit_scribble(&seed, then, 5);
	size_t n = put(payload, 2, REMUS_PAGE_RAW, REMUS_PAGE_SIZE, first, REMUS_PAGE_SIZE);
	size_t length = remus_delta_encode(first, then, body, sizeof body, false);
	n += put(payload + n, 2, REMUS_PAGE_DELTA, length, body, length);
	CU_ASSERT_EQUAL(check_exact(payload, n, NULL), 2);
	CU_ASSERT_EQUAL(remus_pages_apply(payload, n, PAGES, locate, &image, NULL), 2);
	CU_ASSERT_EQUAL(memcmp(image.page[2], then, REMUS_PAGE_SIZE), 0);
	image_free(&image);
}

/* Seeded damage. Accepted payloads must apply whole; refused ones must still not lead apply outside. */
static void mutations(void)
{
	uint64_t seed = 9;
	uint8_t good[4 * REMUS_PAGE_RECORD_MAX];
	size_t bytes = sample(good);
	size_t head[4] = {0, 8, 16 + REMUS_PAGE_SIZE}; /* where sample()'s records begin */
	head[3] = head[2] + 8 + remus_record_length(remus_get_le64(good + head[2]));
	unsigned accepted = 0, refused = 0;
	struct image image;
	image_make(&image);

	for (unsigned round = 0; round < 20000; round++) {
		size_t n = unit_below(&seed, 8) ? bytes : unit_below(&seed, bytes + 1);
		uint8_t *payload = malloc(n ? n : 1);
		struct remus_error err = REMUS_ERROR_INIT;
		memcpy(payload, good, n);
		for (uint64_t hits = 1 + unit_below(&seed, 4); hits && n; hits--) {
			size_t at = unit_below(&seed, n);
			if (unit_below(&seed, 2)) /* aim at a head or the bytes behind it */
				at = (head[unit_below(&seed, 4)] + unit_below(&seed, 24)) % n;
			if (unit_below(&seed, 2))
				payload[at] ^= (uint8_t)(1u << unit_below(&seed, 8));
			else
				payload[at] = (uint8_t)unit_random(&seed);
		}
		int64_t rc = remus_pages_check(payload, n, PAGES, &err);
		int64_t did = remus_pages_apply(payload, n, PAGES, locate, &image, NULL);
		if (rc >= 0) {
			accepted++;
			CU_ASSERT_EQUAL(did, rc);
		} else {
			refused++;
			CU_ASSERT_EQUAL(rc, -EBADMSG);
			CU_ASSERT_EQUAL(did, -EBADMSG);
			CU_ASSERT(strstr(err.message, "offset ") != NULL);
		}
		free(payload);
	}
	image_free(&image);
	CU_ASSERT(accepted > 1000);
	CU_ASSERT(refused > 1000);
}

static const struct unit_case cases[] = {
	{"malformed records", malformed_records},
	{"truncations", truncations},
	{"applies what it checks", applies_what_it_checks},
	{"the same page twice", same_page_twice},
	{"20,000 mutations", mutations},
};
UNIT_MAIN("pages-decode", cases)
