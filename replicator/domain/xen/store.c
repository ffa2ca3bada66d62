/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See store.h. */
#include "store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "remus/bitmap.h"
#include "remus/util.h"
#include "space.h"
#include "types.h"

#define KEEP 8192u /* resident pages without content to keep: 32 MiB, what a busy epoch dirties */

static void clear(uint64_t *map, uint64_t page)
{
	map[page / 64] &= ~(UINT64_C(1) << (page % 64));
}

int remus_xen_store_create(struct remus_xen_store *s, uint64_t pages, struct remus_error *err)
{
	size_t words = remus_bitmap_words(pages),
	       types = remus_xen_space_blocks(pages) * REMUS_XEN_SPACE_BLOCK;

	memset(s, 0, sizeof *s);
	s->pages = s->lost = pages;
	s->numbers = remus_xen_space_size(pages);
	s->memory = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	s->type = malloc(types);
	s->frames = calloc(remus_xen_space_frames(pages), 4096);
	s->dirty = calloc(remus_bitmap_words(s->numbers), sizeof *s->dirty);
	s->told = calloc(words, sizeof *s->told);
	s->held = calloc(words, sizeof *s->held);
	s->given = calloc(words, sizeof *s->given);
	s->old = calloc(words, sizeof *s->old);
	s->resident = calloc(words, sizeof *s->resident);
	if (s->memory == MAP_FAILED || !s->type || !s->frames || !s->dirty || !s->told || !s->held ||
	    !s->given || !s->old || !s->resident) {
		remus_xen_store_destroy(s);
		return remus_fail(err, -ENOMEM, "no memory to keep account of %llu pages",
				  (unsigned long long)pages);
	}
	memset(s->type, REMUS_XEN_PV_NO_PAGE, types);
	return 0;
}

void remus_xen_store_destroy(struct remus_xen_store *s)
{
	if (s->memory && s->memory != MAP_FAILED)
		munmap(s->memory, s->pages * 4096);
	free(s->type);
	free(s->frames);
	free(s->dirty);
	free(s->told);
	free(s->held);
	free(s->given);
	free(s->old);
	free(s->resident);
	memset(s, 0, sizeof *s);
}

static void drop(struct remus_xen_store *s, uint64_t pfn)
{
	s->held_count -= (uint64_t)remus_bitmap_test(s->held, pfn);
	clear(s->held, pfn);
	clear(s->given, pfn);
	clear(s->old, pfn);
}

/* Give back what is resident without being kept. */
static void trim(struct remus_xen_store *s)
{
	uint64_t first = 0, run = 0;

	if (s->resident_count - s->held_count <= KEEP)
		return;
	for (uint64_t pfn = 0; pfn <= s->pages; pfn++) {
		bool idle = pfn < s->pages && remus_bitmap_test(s->resident, pfn) &&
			    !remus_bitmap_test(s->held, pfn);
		if (idle) {
			clear(s->resident, pfn);
			first = run ? first : pfn;
			run++;
		} else if (run) {
			madvise(s->memory + first * 4096, run * 4096, MADV_DONTNEED);
			run = 0;
		}
	}
	s->resident_count = s->held_count;
}

/* ---- what comes ---- */

uint8_t *remus_xen_store_place(void *store, uint64_t pfn)
{
	struct remus_xen_store *s = store;

	drop(s, pfn);
	if (!remus_bitmap_test(s->resident, pfn)) {
		remus_bitmap_set(s->resident, pfn);
		s->resident_count++;
	}
	return s->memory + pfn * 4096;
}

void remus_xen_store_page(void *store, uint64_t pfn, unsigned type)
{
	struct remus_xen_store *s = store;

	remus_bitmap_set(s->told, pfn);
	if (remus_xen_pv_type_has_content(type)) {
		remus_bitmap_set(s->held, pfn);
		s->held_count++;
		remus_bitmap_set(s->dirty, remus_xen_space_memory(s->pages, pfn));
	} else {
		drop(s, pfn);
		if (s->settled && remus_xen_pv_type_is_table(s->type[pfn]))
			s->lost = pfn;
	}
	if (s->type[pfn] != type)
		remus_bitmap_set(s->dirty, remus_xen_space_types(s->pages, pfn / REMUS_XEN_SPACE_BLOCK));
	s->type[pfn] = (uint8_t)type;
}

int remus_xen_store_frames(void *store, const uint8_t *body, size_t bytes, struct remus_error *err)
{
	struct remus_xen_store *s = store;

	if (bytes > remus_xen_space_frames(s->pages) * 4096)
		return remus_fail(err, -EBADMSG, "a frame list of %zu bytes for %llu pages", bytes,
				  (unsigned long long)s->pages);
	memcpy(s->frames, body, bytes);
	s->last = remus_get_le32(body + 4);
	s->framed = true;
	remus_bitmap_set_range(s->dirty, 0, remus_xen_space_frames(s->pages));
	return 0;
}

/* ---- what is taken ---- */

bool remus_xen_store_ready(const struct remus_xen_store *s, uint64_t number)
{
	struct remus_xen_place at = remus_xen_space_at(s->pages, number);
	uint64_t first = at.index, end = at.index + 1;

	if (s->settled || !s->framed || at.kind == REMUS_XEN_SPACE_FRAMES)
		return s->framed;
	if (at.kind == REMUS_XEN_SPACE_TYPES) {
		first = at.index * REMUS_XEN_SPACE_BLOCK;
		end = first + REMUS_XEN_SPACE_BLOCK;
	}
	for (uint64_t pfn = first; pfn < end && pfn <= s->last; pfn++)
		if (!remus_bitmap_test(s->told, pfn))
			return false;
	return true;
}

uint64_t remus_xen_store_take(struct remus_xen_store *s, uint64_t *dirty)
{
	uint64_t n = 0;

	for (size_t w = 0; w < remus_bitmap_words(s->numbers); w++) {
		dirty[w] |= s->dirty[w];
		n += (uint64_t)__builtin_popcountll(s->dirty[w]);
		s->dirty[w] = 0;
	}
	memcpy(s->old, s->given, remus_bitmap_words(s->pages) * sizeof *s->old);
	return n;
}

static void copy_memory(struct remus_xen_store *s, uint64_t pfn, void *to)
{
	if (!remus_bitmap_test(s->held, pfn)) {
		memset(to, 0, 4096);
		return;
	}
	memcpy(to, s->memory + pfn * 4096, 4096);
	remus_bitmap_set(s->given, pfn);
	clear(s->old, pfn);
	if (!s->settled)
		drop(s, pfn); /* a first copy that fails is not gone on with */
}

void remus_xen_store_copy(struct remus_xen_store *s, const uint64_t *number, size_t count, void *dst)
{
	uint8_t *to = dst;

	for (size_t i = 0; i < count; i++, to += 4096) {
		struct remus_xen_place at = remus_xen_space_at(s->pages, number[i]);
		if (at.kind == REMUS_XEN_SPACE_FRAMES)
			memcpy(to, s->frames + at.index * 4096, 4096);
		else if (at.kind == REMUS_XEN_SPACE_TYPES)
			memcpy(to, s->type + at.index * REMUS_XEN_SPACE_BLOCK, 4096);
		else
			copy_memory(s, at.index, to);
		if (!s->settled)
			clear(s->dirty, number[i]);
	}
	for (size_t w = 0; w < remus_bitmap_words(s->pages); w++)
		while (s->old[w])
			drop(s, (uint64_t)w * 64 + (uint64_t)__builtin_ctzll(s->old[w]));
	trim(s);
}
