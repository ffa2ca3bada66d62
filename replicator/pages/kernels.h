/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The variants of the two page kernels (zero test, delta), one per instruction set. The public functions of
 * pages.h choose the best one that this processor has; the unit tests run every usable variant and demand
 * identical bytes. Nobody else includes this.
 */
#ifndef REMUS_PAGES_KERNELS_H
#define REMUS_PAGES_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

enum remus_simd { REMUS_SIMD_NONE, REMUS_SIMD_AVX2, REMUS_SIMD_AVX512, REMUS_SIMD_COUNT };

/* The processor's flags and the operating system's consent are looked up once, before main(), by libgcc; this
 * is a load and a test. */
static inline enum remus_simd remus_simd_best(void)
{
	if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	    __builtin_cpu_supports("bmi2"))
		return REMUS_SIMD_AVX512;
	return __builtin_cpu_supports("avx2") ? REMUS_SIMD_AVX2 : REMUS_SIMD_NONE;
}

/* As remus_page_is_zero() and remus_delta_encode(), with @simd at most remus_simd_best(). */
bool remus_page_is_zero_with(enum remus_simd simd, const void *page);
size_t remus_delta_encode_with(enum remus_simd simd, void *base, const void *page, void *out, size_t max,
			       bool update);

#endif
