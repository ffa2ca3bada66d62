/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The zero test sees every bit of a page and not one bit beyond it, in every variant. */
#include "unit.h"
#include "unit-pages.h"
#include "kernels.h"

static bool zero_everywhere(const void *page, bool expect)
{
	bool ok = remus_page_is_zero(page) == expect;
	for (int simd = REMUS_SIMD_NONE; simd <= (int)remus_simd_best(); simd++)
		ok = ok && remus_page_is_zero_with((enum remus_simd)simd, page) == expect;
	return ok;
}

static void every_bit_counts(void)
{
	uint8_t *page = calloc(1, REMUS_PAGE_SIZE); /* of its own: ASan sees a read outside */
	CU_ASSERT(zero_everywhere(page, true));
	unsigned wrong = 0;
	for (unsigned bit = 0; bit < 8 * REMUS_PAGE_SIZE; bit++) {
		page[bit / 8] = (uint8_t)(1u << (bit % 8));
		wrong += !zero_everywhere(page, false);
		page[bit / 8] = 0;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(zero_everywhere(page, true));
	free(page);
}

static void neighbours_do_not_count(void)
{
	uint8_t *three = malloc(3 * REMUS_PAGE_SIZE);
	memset(three, 0xff, 3 * REMUS_PAGE_SIZE);
	for (unsigned shift = 0; shift < 64; shift += 7) { /* unaligned pages too */
		uint8_t *page = three + REMUS_PAGE_SIZE + shift;
		memset(page, 0, REMUS_PAGE_SIZE);
		CU_ASSERT(zero_everywhere(page, true));
		memset(page, 0xff, REMUS_PAGE_SIZE);
	}
	free(three);
}

static const struct unit_case cases[] = {
	{"every bit counts", every_bit_counts},
	{"neighbours do not count", neighbours_do_not_count},
};
UNIT_MAIN("pages-zero", cases)
