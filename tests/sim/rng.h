/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random numbers that are a function of the seed alone: SplitMix64 (Steele, Lea, Flood: "Fast splittable
 * pseudorandom number generators", OOPSLA 2014). Each part of the world draws from a stream of its own, so that
 * leaving out a fault changes as little as possible of everything else: that is what lets a failure shrink.
 */
#ifndef SIM_RNG_H
#define SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline struct rng rng_stream(uint64_t seed, unsigned stream)
{
	struct rng r = {seed * UINT64_C(0xd1342543de82ef95) + stream};

	r.state = rng_next(&r);
	return r;
}

/* 0 to n-1; the bias of a 32-bit range is of no account here. */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)(((rng_next(r) >> 32) * n) >> 32);
}

/* low to high, both included */
static inline uint32_t rng_range(struct rng *r, uint32_t low, uint32_t high)
{
	return low + rng_below(r, high - low + 1);
}

static inline bool rng_chance(struct rng *r, uint32_t permille)
{
	return rng_below(r, 1000) < permille;
}

#endif
