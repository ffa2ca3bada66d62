/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The delta's exact layout, its bounds, the equality of its variants, and what a damaged body can do: be
 * refused, or change words of its page. Buffers are exactly as large as allowed, so that ASan sees a stray.
 */
#include "unit.h"
#include "unit-pages.h"
#include "kernels.h"

#define WORDS	 (REMUS_PAGE_SIZE / 8)
#define BODY_MAX (8 + 64 + REMUS_PAGE_SIZE)

/* The layout as pages.h words it, with no thought for speed. */
static size_t reference(const uint8_t *base, const uint8_t *page, uint8_t *out)
{
	uint64_t top = 0;
	size_t masks = 8, length;
	for (unsigned w = 0; w < WORDS; w++)
		if (memcmp(base + 8 * w, page + 8 * w, 8))
			top |= UINT64_C(1) << w / 8;
	remus_put_le64(out, top);
	for (unsigned g = 0; g < 64; g++) {
		uint8_t mask = 0;
		for (unsigned i = 0; i < 8; i++)
			if (memcmp(base + 64 * g + 8 * i, page + 64 * g + 8 * i, 8))
				mask |= (uint8_t)(1u << i);
		if (mask)
			out[masks++] = mask;
	}
	length = masks;
	for (unsigned w = 0; w < WORDS; w++)
		if (memcmp(base + 8 * w, page + 8 * w, 8)) {
			memcpy(out + length, page + 8 * w, 8);
			length += 8;
		}
	return length;
}

/* Encode with every variant, with and without update, into a buffer of exactly @max bytes. */
static void check_all_variants(const uint8_t *base, const uint8_t *page, size_t max)
{
	uint8_t expect[BODY_MAX], before[REMUS_PAGE_SIZE];
	size_t length = reference(base, page, expect);
	memcpy(before, base, REMUS_PAGE_SIZE);

	for (int simd = REMUS_SIMD_NONE; simd <= (int)remus_simd_best(); simd++)
		for (int update = 0; update < 2; update++) {
			uint8_t *out = malloc(max ? max : 1), *copy = malloc(REMUS_PAGE_SIZE);
			memcpy(copy, base, REMUS_PAGE_SIZE);
			size_t n =
				remus_delta_encode_with((enum remus_simd)simd, copy, page, out, max, update);
			CU_ASSERT_EQUAL(n, length <= max ? length : 0);
			CU_ASSERT_EQUAL(memcmp(copy, update ? page : before, REMUS_PAGE_SIZE), 0);
			if (n) {
				CU_ASSERT_EQUAL(memcmp(out, expect, n), 0);
				CU_ASSERT_EQUAL(remus_delta_check(out, n), 0);
				memcpy(copy, base, REMUS_PAGE_SIZE);
				remus_delta_apply(copy, out, n);
				CU_ASSERT_EQUAL(memcmp(copy, page, REMUS_PAGE_SIZE), 0);
			}
			free(copy);
			free(out);
		}
}

static void layout_is_exact(void)
{
	uint8_t base[REMUS_PAGE_SIZE] = {0}, page[REMUS_PAGE_SIZE] = {0}, out[REMUS_PAGE_SIZE];
	/* words 1 and 7 of group 0, word 0 of group 63 */
	page[8] = 0x11;
	page[63] = 0x22;
	page[4032] = 0x33;
	static const uint8_t expect[] = {
		0x01, 0, 0, 0, 0, 0, 0, 0x80, 0x82, 0x01, 0x11, 0, 0, 0, 0, 0, 0,
		0,    0, 0, 0, 0, 0, 0, 0,    0x22, 0x33, 0,	0, 0, 0, 0, 0, 0,
	};
	size_t n = remus_delta_encode(base, page, out, sizeof out, false);
	CU_ASSERT_EQUAL(n, sizeof expect);
	CU_ASSERT_EQUAL(memcmp(out, expect, sizeof expect), 0);
}

static void every_single_word(void)
{
	uint64_t seed = 1;
	uint8_t base[REMUS_PAGE_SIZE], page[REMUS_PAGE_SIZE];
	unit_fill_random(&seed, base);
	for (unsigned w = 0; w < WORDS; w++) {
		memcpy(page, base, REMUS_PAGE_SIZE);
		page[8 * w + w % 8] ^= (uint8_t)(1u << w % 7);
		check_all_variants(base, page, 17);
	}
}

static void shapes(void)
{
	static const struct {
		const char *name;
		unsigned first, last, step; /* the words that change */
		size_t length;
	} table[] = {
		{"nothing", 1, 0, 1, 8},
		{"first word", 0, 0, 1, 17},
		{"last word", 511, 511, 1, 17},
		{"one whole group", 8, 15, 1, 73},
		{"both sides of a group boundary", 7, 8, 1, 26},
		{"across a top mask byte", 63, 64, 1, 26},
		{"one word in each group", 0, 511, 8, 8 + 64 + 8 * 64},
		{"every other word", 0, 511, 2, 8 + 64 + 8 * 256},
		{"all but eight words", 8, 511, 1, 8 + 63 + 8 * 504},
		{"all words", 0, 511, 1, BODY_MAX},
	};
	for (size_t t = 0; t < REMUS_ARRAY_SIZE(table); t++) {
		uint64_t seed = 7 + t;
		uint8_t base[REMUS_PAGE_SIZE], page[REMUS_PAGE_SIZE], out[BODY_MAX];
		unit_fill_random(&seed, base);
		memcpy(page, base, REMUS_PAGE_SIZE);
		for (unsigned w = table[t].first; w <= table[t].last; w += table[t].step)
			page[8 * w]++;
		CU_ASSERT_EQUAL(reference(base, page, out), table[t].length);
		check_all_variants(base, page, REMUS_PAGE_SIZE);
		check_all_variants(base, page, table[t].length > 4096 ? 4096 : table[t].length);
		check_all_variants(base, page, table[t].length > 4096 ? 4096 : table[t].length - 1);
		check_all_variants(base, page, 0);
	}
}

static void random_pages(void)
{
	uint64_t seed = 20;
	uint8_t base[REMUS_PAGE_SIZE], page[REMUS_PAGE_SIZE];
	for (unsigned round = 0; round < 600; round++) {
		unit_fill_random(&seed, base);
		memcpy(page, base, REMUS_PAGE_SIZE);
		unit_scribble(&seed, page, (unsigned)unit_below(&seed, 700));
		check_all_variants(base, page, unit_below(&seed, REMUS_PAGE_SIZE + 1));
	}
}

/* Every truncation and extension of a body is refused: the length is implied by the masks. */
static void other_lengths_are_refused(void)
{
	uint64_t seed = 3;
	uint8_t base[REMUS_PAGE_SIZE], page[REMUS_PAGE_SIZE], out[REMUS_PAGE_SIZE] = {0};
	unit_fill_random(&seed, base);
	memcpy(page, base, REMUS_PAGE_SIZE);
	unit_scribble(&seed, page, 200);
	size_t n = remus_delta_encode(base, page, out, sizeof out, false);
	CU_ASSERT_FATAL(n > 8);
	unsigned accepted = 0;
	for (size_t len = 0; len <= sizeof out; len++) {
		uint8_t *cut = malloc(len ? len : 1);
		memcpy(cut, out, len);
		accepted += !remus_delta_check(cut, len);
		free(cut);
	}
	CU_ASSERT_EQUAL(accepted, 1);
}

static void empty_mask_byte_is_refused(void)
{
	uint8_t body[8 + 2 + 8] = {0x03, 0, 0, 0, 0, 0, 0, 0, 0x01, 0x00};
	CU_ASSERT_EQUAL(remus_delta_check(body, sizeof body), -EBADMSG);
	body[0] = 0x01;
	CU_ASSERT_EQUAL(remus_delta_check(body, sizeof body), -EBADMSG);
	CU_ASSERT_EQUAL(remus_delta_check(body, sizeof body - 1), 0);
}

static void damage_stays_inside_the_page(void)
{
	uint64_t seed = 4;
	unsigned refused = 0, applied = 0;
	uint8_t base[REMUS_PAGE_SIZE], page[REMUS_PAGE_SIZE], out[REMUS_PAGE_SIZE];
	uint8_t *target = malloc(REMUS_PAGE_SIZE);
	unit_fill_random(&seed, base);

	for (unsigned round = 0; round < 20000; round++) {
		memcpy(page, base, REMUS_PAGE_SIZE);
		unit_scribble(&seed, page, 1 + (unsigned)unit_below(&seed, 60));
		size_t n = remus_delta_encode(base, page, out, sizeof out, false);
		uint8_t *body = malloc(n);
		memcpy(body, out, n);
		for (uint64_t hits = 1 + unit_below(&seed, 3); hits; hits--) {
			/* mostly in the masks, where it matters */
			size_t at = unit_below(&seed, 4) ? unit_below(&seed, n < 24 ? n : 24)
							 : unit_below(&seed, n);
			body[at] ^= (uint8_t)(1u << unit_below(&seed, 8));
		}
		if (remus_delta_check(body, n)) {
			refused++;
		} else {
			memcpy(target, base, REMUS_PAGE_SIZE);
			remus_delta_apply(target, body, n);
			applied++;
		}
		free(body);
	}
	free(target);
	CU_ASSERT(refused > 1000);
	CU_ASSERT(applied > 1000);
}

static const struct unit_case cases[] = {
	{"layout is exact", layout_is_exact},
	{"every single word", every_single_word},
	{"shapes", shapes},
	{"random pages", random_pages},
	{"other lengths are refused", other_lengths_are_refused},
	{"an empty mask byte is refused", empty_mask_byte_is_refused},
	{"damage stays inside the page", damage_stays_inside_the_page},
};
UNIT_MAIN("pages-delta", cases)
