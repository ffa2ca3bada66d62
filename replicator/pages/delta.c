/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The word-mask delta; pages.h defines its layout. A guest that writes dirties a few words of a page, and
 * finding them costs no more than reading both versions:
 *
 *   scan   compare page and base, 64 bytes (one group, one cache line) at a time, into 64 mask bytes
 *   size   popcounts: the body's length is known before a byte of it is written, so nothing is ever written
 *          past @max
 *   pack   visit the changed groups only: emit their words, and bring the base's line up to date while it is
 *          in the first-level cache. Unchanged lines of the base are never dirtied: half the memory traffic.
 *
 * Each step has a variant per instruction set; all give the same bytes (tests/unit/test-pages-delta.c).
 * A body from the wire is checked before it is applied; check and apply read nothing outside it, and apply
 * writes nothing outside the page (I3, I11).
 */
#include "remus/pages.h"

#include <immintrin.h>
#include <string.h>

#include "kernels.h"
#include "remus/util.h"

#define GROUPS 64u /* of 8 words of 8 bytes */
#define INLINE static inline __attribute__((always_inline))
#define AVX2   __attribute__((target("avx2,bmi,popcnt")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,bmi,bmi2,popcnt")))

/* What a scan found: a mask byte per group, which groups have any, how many words in all. */
struct changes {
	uint8_t mask[GROUPS] __attribute__((aligned(64)));
	uint64_t top;
	unsigned words;
};

/* popcount and lowest-bit compile to single instructions only inside the AVX variants; hence INLINE. */
INLINE unsigned count_words(const uint8_t mask[GROUPS])
{
	unsigned n = 0;
	for (size_t i = 0; i < GROUPS; i += 8)
		n += (unsigned)__builtin_popcountll(remus_get_le64(mask + i));
	return n;
}

/* Straight-line loads: given arrays, compilers go by way of the stack. */
INLINE uint64_t differ(const uint8_t *page, const uint8_t *base, unsigned word)
{
	uint64_t a, b;
	memcpy(&a, page + 8 * (size_t)word, 8);
	memcpy(&b, base + 8 * (size_t)word, 8);
	return a ^ b;
}

static void scan_portable(const uint8_t *base, const uint8_t *page, struct changes *c)
{
	*c = (struct changes){0};
	for (unsigned g = 0; g < GROUPS; g++, page += 64, base += 64) {
		if (!(differ(page, base, 0) | differ(page, base, 1) | differ(page, base, 2) |
		      differ(page, base, 3) | differ(page, base, 4) | differ(page, base, 5) |
		      differ(page, base, 6) | differ(page, base, 7)))
			continue;
		unsigned mask = 0;
		for (unsigned i = 0; i < 8; i++)
			mask |= (unsigned)(differ(page, base, i) != 0) << i;
		c->mask[g] = (uint8_t)mask;
		c->top |= UINT64_C(1) << g;
		c->words += (unsigned)__builtin_popcount(mask);
	}
}

AVX2 static void scan_avx2(const uint8_t *base, const uint8_t *page, struct changes *c)
{
	c->top = 0;
	for (unsigned g = 0; g < GROUPS; g++) {
		const __m256i *a = (const __m256i *)(page + 64 * g), *b = (const __m256i *)(base + 64 * g);
		__m256i low = _mm256_cmpeq_epi64(_mm256_loadu_si256(a), _mm256_loadu_si256(b));
		__m256i high = _mm256_cmpeq_epi64(_mm256_loadu_si256(a + 1), _mm256_loadu_si256(b + 1));
		unsigned same = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(low)) |
				(unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(high)) << 4;
		c->mask[g] = (uint8_t)~same;
		c->top |= (uint64_t)(same != 0xff) << g;
	}
	c->words = count_words(c->mask);
}

AVX512 static void scan_avx512(const uint8_t *base, const uint8_t *page, struct changes *c)
{
	for (unsigned g = 0; g < GROUPS; g++)
		c->mask[g] = (uint8_t)_mm512_cmpneq_epi64_mask(_mm512_loadu_si512(page + 64 * g),
							       _mm512_loadu_si512(base + 64 * g));
	__m512i mask = _mm512_load_si512(c->mask);
	c->top = _mm512_test_epi8_mask(mask, mask);
	c->words = count_words(c->mask);
}

INLINE void pack_scalar(uint8_t *base, const uint8_t *page, const struct changes *c, uint8_t *masks,
			uint8_t *values, bool update)
{
	for (uint64_t top = c->top; top; top &= top - 1) {
		unsigned g = (unsigned)__builtin_ctzll(top);
		*masks++ = c->mask[g];
		for (unsigned m = c->mask[g]; m; m &= m - 1) {
			memcpy(values, page + 64 * g + 8 * (unsigned)__builtin_ctz(m), 8);
			values += 8;
		}
		if (update)
			memcpy(base + 64 * g, page + 64 * g, 64);
	}
}

static void pack_portable(uint8_t *base, const uint8_t *page, const struct changes *c, uint8_t *masks,
			  uint8_t *values, bool update)
{
	pack_scalar(base, page, c, masks, values, update);
}

AVX2 static void pack_avx2(uint8_t *base, const uint8_t *page, const struct changes *c, uint8_t *masks,
			   uint8_t *values, bool update)
{
	pack_scalar(base, page, c, masks, values, update);
}

/* Compress in a register, then store under a mask: a compressing store to memory is microcoded on AMD. */
AVX512 static void pack_avx512(uint8_t *base, const uint8_t *page, const struct changes *c, uint8_t *masks,
			       uint8_t *values, bool update)
{
	for (uint64_t top = c->top; top; top &= top - 1) {
		unsigned g = (unsigned)__builtin_ctzll(top);
		__mmask8 m = c->mask[g];
		unsigned n = (unsigned)__builtin_popcount(m);
		__m512i v = _mm512_loadu_si512(page + 64 * g);
		*masks++ = m;
		_mm512_mask_storeu_epi64(values, (__mmask8)_bzhi_u32(0xff, n),
					 _mm512_maskz_compress_epi64(m, v));
		values += 8 * n;
		if (update)
			_mm512_storeu_si512(base + 64 * g, v);
	}
}

static const struct {
	void (*scan)(const uint8_t *base, const uint8_t *page, struct changes *c);
	void (*pack)(uint8_t *base, const uint8_t *page, const struct changes *c, uint8_t *masks,
		     uint8_t *values, bool update);
} kernels[REMUS_SIMD_COUNT] = {
	[REMUS_SIMD_NONE] = {scan_portable, pack_portable},
	[REMUS_SIMD_AVX2] = {scan_avx2, pack_avx2},
	[REMUS_SIMD_AVX512] = {scan_avx512, pack_avx512},
};

size_t remus_delta_encode_with(enum remus_simd simd, void *base, const void *page, void *out, size_t max,
			       bool update)
{
	struct changes c;
	kernels[simd].scan(base, page, &c);

	size_t groups = (size_t)__builtin_popcountll(c.top), length = 8 + groups + 8 * (size_t)c.words;
	if (length > max) {
		if (update)
			memcpy(base, page, REMUS_PAGE_SIZE);
		return 0;
	}
	uint8_t *body = out;
	remus_put_le64(body, c.top);
	kernels[simd].pack(base, page, &c, body + 8, body + 8 + groups, update);
	return length;
}

size_t remus_delta_encode(void *base, const void *page, void *out, size_t max, bool update)
{
	return remus_delta_encode_with(remus_simd_best(), base, page, out, max, update);
}

int remus_delta_check(const void *body, size_t len)
{
	const uint8_t *in = body;
	if (len < 8)
		return -EBADMSG;
	size_t groups = (size_t)__builtin_popcountll(remus_get_le64(in)), words = 0;
	if (len - 8 < groups)
		return -EBADMSG;
	for (size_t i = 0; i < groups; i++) {
		if (!in[8 + i])
			return -EBADMSG;
		words += (size_t)__builtin_popcount(in[8 + i]);
	}
	return len == 8 + groups + 8 * words ? 0 : -EBADMSG;
}

void remus_delta_apply(void *page, const void *body, size_t len)
{
	uint64_t top = remus_get_le64(body);
	const uint8_t *masks = (const uint8_t *)body + 8;
	const uint8_t *values = masks + __builtin_popcountll(top);
	for (; top; top &= top - 1) {
		uint8_t *group = (uint8_t *)page + 64 * (unsigned)__builtin_ctzll(top);
		for (unsigned m = *masks++; m; m &= m - 1) {
			memcpy(group + 8 * (unsigned)__builtin_ctz(m), values, 8);
			values += 8;
		}
	}
}
