/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The base cache: pages as last sent. Used by the encoder only; the design stands in cache.c. */
#ifndef REMUS_PAGES_CACHE_H
#define REMUS_PAGES_CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include "remus/error.h"

struct remus_cache;

/* *@out is NULL, with success, when @cap (bytes) is too small for the index and one page. -ENOMEM. */
int remus_cache_create(uint64_t guest_pages, uint64_t cap, struct remus_cache **out, struct remus_error *err);
void remus_cache_destroy(struct remus_cache *cache);

/*
 * The 4096 bytes where @pfn's base lives, or NULL when there is none and no room for one. *@known tells
 * whether they hold a base already; if not, the caller must fill them with the page that it sends, or call
 * forget(). They stay valid until forget() or abort(), or a resolve() of a later epoch evicts them.
 */
uint8_t *remus_cache_resolve(struct remus_cache *cache, uint64_t pfn, uint64_t epoch, bool *known);

/* Drop @pfn's entry, if any. */
void remus_cache_forget(struct remus_cache *cache, uint64_t pfn);

/* Drop each entry last touched under @epoch or a later one. */
void remus_cache_abort(struct remus_cache *cache, uint64_t epoch);

struct remus_cache_stats {
	uint64_t hits, misses, evictions, bytes; /* bytes: in use now, index included */
};
void remus_cache_stats(const struct remus_cache *cache, struct remus_cache_stats *out);

#endif
