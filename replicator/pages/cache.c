/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The base cache: the content of pages as last sent, so that the next change of a page can be sent as a delta.
 *
 * One lazily backed mapping, never larger than its cap, index included:
 *
 *   slab    slots x 4096   the pages; contents touched by the encoder's workers, one worker per slot
 *   entry   slots x 16     whose page it is, the epoch that touched it last, its heat
 *   index   4 bytes per guest page: slot + 1, or 0. Direct, because dirty pages come in ascending order and
 *           then the index is read in order too; it costs 0.1 % of the guest's memory. A cap below that holds
 *           no base at all: it could not have held one page in a thousand.
 *
 * Only the encoder's caller comes here, so there is no lock; workers get pointers into the slab.
 *
 * Eviction is a clock with second chances and one guard. A hit heats an entry (up to 3). The hand cools what
 * it passes and takes the first entry that is cold, but never one touched in this epoch or the one before:
 * when the working set is larger than the cache, an LRU or plain clock would evict each page just before its
 * next use and hit never; with the guard the pages that are in stay in and hit each time. The guard is also
 * what makes it safe to hand out pointers: nothing touched in the current epoch can be evicted under a worker.
 * The hand gives up after 32 entries and the page goes without a base: a miss has a bounded cost.
 * Epoch 0 (the first full copy) never evicts: it touches every page once, so evicting could only thrash. The
 * guard alone would see to it, at the price of a vain walk per page.
 *
 * Aborting is a walk over the entries, 16 bytes each: a few ms for a cache of 4 GiB. It drops later epochs
 * as well: an entry remembers only its last epoch, and epochs commit in order (I4), so giving one up gives up
 * what came after.
 */
#include "cache.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "remus/pages.h"

#define HEAT_MAX    3u
#define HAND_STEPS  32u
#define NOBODY	    REMUS_PFN_MAX /* owner of a free slot; a cache for so many pages is refused */
#define SLOT_NONE   UINT32_MAX
#define SYSTEM_PAGE 4096u

struct entry {
	uint64_t owner : 40, heat : 2;
	uint64_t epoch; /* that touched it last; of a free slot: the next free one, or SLOT_NONE */
};

struct remus_cache {
	uint8_t *slab; /* start of the mapping */
	struct entry *entry;
	uint32_t *index;
	size_t mapped;
	uint64_t guest_pages, index_bytes;
	uint32_t slots;
	uint32_t fresh; /* slots below this have been used at least once */
	uint32_t free;	/* head of the list of slots given back, or SLOT_NONE */
	uint32_t used;
	uint32_t hand;
	uint64_t hits, misses, evictions;
};

static uint64_t round_up(uint64_t bytes)
{
	return (bytes + SYSTEM_PAGE - 1) / SYSTEM_PAGE * SYSTEM_PAGE;
}

static uint64_t bytes_for(uint64_t slots, uint64_t index_bytes)
{
	return slots * REMUS_PAGE_SIZE + round_up(slots * sizeof(struct entry)) + index_bytes;
}

/* How many slots fit @cap beside the index. */
static uint64_t slots_for(uint64_t guest_pages, uint64_t cap, uint64_t index_bytes)
{
	if (cap <= index_bytes || guest_pages >= NOBODY)
		return 0;
	uint64_t slots = (cap - index_bytes) / (REMUS_PAGE_SIZE + sizeof(struct entry));
	if (slots > guest_pages)
		slots = guest_pages;
	if (slots > SLOT_NONE - 1)
		slots = SLOT_NONE - 1;
	while (slots && bytes_for(slots, index_bytes) > cap)
		slots--; /* at most once: the rounding of the entries */
	return slots;
}

int remus_cache_create(uint64_t guest_pages, uint64_t cap, struct remus_cache **out, struct remus_error *err)
{
	uint64_t index_bytes = round_up(guest_pages * sizeof(uint32_t));
	uint64_t slots = slots_for(guest_pages, cap, index_bytes);
	*out = NULL;
	if (!slots)
		return 0;

	struct remus_cache *cache = calloc(1, sizeof *cache);
	if (!cache)
		return remus_fail(err, -ENOMEM, "base cache: out of memory");
	cache->guest_pages = guest_pages;
	cache->index_bytes = index_bytes;
	cache->slots = (uint32_t)slots;
	cache->free = SLOT_NONE;
	cache->mapped = bytes_for(slots, index_bytes);
	cache->slab = mmap(NULL, cache->mapped, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (cache->slab == MAP_FAILED) {
		int rc = remus_fail(
			err, -ENOMEM,
			"base cache: mmap of %zu bytes: %s; give the cache less memory or raise the "
			"address space limit",
			cache->mapped, strerror(errno));
		free(cache);
		return rc;
	}
	/* Guest memory does not belong in a core dump. */
	madvise(cache->slab, cache->mapped, MADV_DONTDUMP);
	cache->entry = (struct entry *)(cache->slab + slots * REMUS_PAGE_SIZE);
	cache->index = (uint32_t *)((uint8_t *)cache->entry + round_up(slots * sizeof(struct entry)));
	*out = cache;
	return 0;
}

void remus_cache_destroy(struct remus_cache *cache)
{
	if (!cache)
		return;
	munmap(cache->slab, cache->mapped);
	free(cache);
}

static void release(struct remus_cache *cache, uint32_t slot)
{
	struct entry *e = &cache->entry[slot];
	assert(e->owner != NOBODY);
	cache->index[e->owner] = 0;
	e->owner = NOBODY;
	e->epoch = cache->free;
	cache->free = slot;
	cache->used--;
}

/* Touched in this epoch, a later one or the one before. */
static bool is_young(const struct entry *e, uint64_t epoch)
{
	return e->epoch >= epoch || epoch - e->epoch == 1;
}

static void evict_one(struct remus_cache *cache, uint64_t epoch)
{
	for (uint32_t step = 0; step < HAND_STEPS && step < cache->slots; step++) {
		uint32_t slot = cache->hand;
		struct entry *e = &cache->entry[slot];
		cache->hand = slot + 1 == cache->slots ? 0 : slot + 1;
		assert(e->owner != NOBODY); /* only called when no slot is free */
		if (is_young(e, epoch))
			continue;
		if (e->heat) {
			e->heat--;
			continue;
		}
		release(cache, slot);
		cache->evictions++;
		return;
	}
}

static uint32_t take_slot(struct remus_cache *cache, uint64_t epoch)
{
	if (cache->free == SLOT_NONE && cache->fresh == cache->slots && epoch != 0)
		evict_one(cache, epoch);
	if (cache->free != SLOT_NONE) {
		uint32_t slot = cache->free;
		cache->free = (uint32_t)cache->entry[slot].epoch;
		return slot;
	}
	return cache->fresh < cache->slots ? cache->fresh++ : SLOT_NONE;
}

uint8_t *remus_cache_resolve(struct remus_cache *cache, uint64_t pfn, uint64_t epoch, bool *known)
{
	uint32_t slot = cache->index[pfn] - 1; /* SLOT_NONE when there is none */
	*known = slot != SLOT_NONE;
	if (*known) {
		struct entry *e = &cache->entry[slot];
		assert(e->owner == pfn);
		cache->hits++;
		e->epoch = epoch;
		e->heat = e->heat < HEAT_MAX ? e->heat + 1u : HEAT_MAX;
		return cache->slab + (size_t)slot * REMUS_PAGE_SIZE;
	}
	cache->misses++;
	slot = take_slot(cache, epoch);
	if (slot == SLOT_NONE)
		return NULL;
	cache->entry[slot] = (struct entry){.owner = pfn, .epoch = epoch};
	cache->index[pfn] = slot + 1;
	cache->used++;
	return cache->slab + (size_t)slot * REMUS_PAGE_SIZE;
}

void remus_cache_forget(struct remus_cache *cache, uint64_t pfn)
{
	if (cache->index[pfn])
		release(cache, cache->index[pfn] - 1);
}

void remus_cache_abort(struct remus_cache *cache, uint64_t epoch)
{
	for (uint32_t slot = 0; slot < cache->fresh; slot++)
		if (cache->entry[slot].owner != NOBODY && cache->entry[slot].epoch >= epoch)
			release(cache, slot);
}

void remus_cache_stats(const struct remus_cache *cache, struct remus_cache_stats *out)
{
	*out = (struct remus_cache_stats){
		.hits = cache->hits,
		.misses = cache->misses,
		.evictions = cache->evictions,
		.bytes =
			cache->index_bytes + cache->used * (uint64_t)(REMUS_PAGE_SIZE + sizeof(struct entry)),
	};
}
