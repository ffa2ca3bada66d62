/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Seeded randomness and page contents for the tests of replicator/pages. */
#ifndef REMUS_UNIT_PAGES_H
#define REMUS_UNIT_PAGES_H

#include <stdint.h>
#include <string.h>
#include "remus/pages.h"

/* xorshift64*: the same sequence on every machine. @state must not be 0. */
static inline uint64_t unit_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}
static inline uint64_t unit_below(uint64_t *state, uint64_t limit)
{
	return unit_random(state) % limit;
}

static inline void unit_fill_random(uint64_t *state, void *page)
{
	for (size_t i = 0; i < REMUS_PAGE_SIZE; i += 8) {
		uint64_t v = unit_random(state);
		memcpy((uint8_t *)page + i, &v, 8);
	}
}
/* Compresses to about a third: words drawn from a small set. */
static inline void unit_fill_text(uint64_t *state, void *page)
{
	for (size_t i = 0; i < REMUS_PAGE_SIZE; i += 8) {
		uint64_t v = UINT64_C(0x6d65726f73207365) * (1 + unit_below(state, 12));
		memcpy((uint8_t *)page + i, &v, 8);
	}
}
/* Change @words words (some perhaps twice) by one bit each at least. */
static inline void unit_scribble(uint64_t *state, void *page, unsigned words)
{
	while (words--) {
		uint8_t *at = (uint8_t *)page + 8 * unit_below(state, REMUS_PAGE_SIZE / 8);
		at[unit_below(state, 8)] ^= (uint8_t)(1 + unit_below(state, 255));
	}
}

#endif
