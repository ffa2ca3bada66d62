/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The zero-page test. Most pages of a first full copy are zero and must be found at memory speed; most pages
 * of a later epoch are not and are told apart by their first bytes. So: blocks of 256 bytes, leave at the
 * first one that has a bit set.
 */
#include "remus/pages.h"

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"

#define BLOCK 256u

static bool zero_portable(const uint8_t *page)
{
	for (size_t at = 0; at < REMUS_PAGE_SIZE; at += BLOCK) {
		uint64_t word[BLOCK / 8], any = 0;
		memcpy(word, page + at, BLOCK);
		for (size_t i = 0; i < BLOCK / 8; i++)
			any |= word[i];
		if (any)
			return false;
	}
	return true;
}

__attribute__((target("avx2"))) static bool zero_avx2(const uint8_t *page)
{
	for (size_t at = 0; at < REMUS_PAGE_SIZE; at += BLOCK) {
		const __m256i *v = (const __m256i *)(page + at);
		__m256i any = _mm256_loadu_si256(v);
		for (size_t i = 1; i < BLOCK / 32; i++)
			any = _mm256_or_si256(any, _mm256_loadu_si256(v + i));
		if (!_mm256_testz_si256(any, any))
			return false;
	}
	return true;
}

__attribute__((target("avx512f"))) static bool zero_avx512(const uint8_t *page)
{
	for (size_t at = 0; at < REMUS_PAGE_SIZE; at += BLOCK) {
		__m512i a = _mm512_loadu_si512(page + at), b = _mm512_loadu_si512(page + at + 64);
		__m512i c = _mm512_loadu_si512(page + at + 128), d = _mm512_loadu_si512(page + at + 192);
		__m512i any = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
		if (_mm512_test_epi64_mask(any, any))
			return false;
	}
	return true;
}

bool remus_page_is_zero_with(enum remus_simd simd, const void *page)
{
	switch (simd) {
	case REMUS_SIMD_AVX512:
		return zero_avx512(page);
	case REMUS_SIMD_AVX2:
		return zero_avx2(page);
	default:
		return zero_portable(page);
	}
}

bool remus_page_is_zero(const void *page)
{
	return remus_page_is_zero_with(remus_simd_best(), page);
}
