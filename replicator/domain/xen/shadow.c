/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See shadow.h. */
#include "shadow.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "remus/bitmap.h"
#include "snapshot.h"

int remus_xen_shadow_create(struct remus_xen_shadow *s, uint64_t pages, struct remus_error *err)
{
	memset(s, 0, sizeof *s);
	s->pages = pages;
	s->memory = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	s->present = calloc(remus_bitmap_words(pages), sizeof *s->present);
	s->touched = calloc(remus_bitmap_words(pages), sizeof *s->touched);
	if (s->memory != MAP_FAILED && s->present && s->touched)
		return 0;
	remus_xen_shadow_destroy(s);
	return remus_fail(err, -ENOMEM, "no address space for a shadow of %llu pages",
			  (unsigned long long)pages);
}

void remus_xen_shadow_destroy(struct remus_xen_shadow *s)
{
	if (s->snapshot)
		remus_xen_snapshot_drop(s->snapshot);
	if (s->memory && s->memory != MAP_FAILED)
		munmap(s->memory, s->pages * 4096);
	free(s->present);
	free(s->touched);
	memset(s, 0, sizeof *s);
}

void remus_xen_shadow_touch(struct remus_xen_shadow *s, uint64_t pfn)
{
	if (!remus_bitmap_test(s->touched, pfn)) {
		remus_bitmap_set(s->touched, pfn);
		s->touched_count++;
	}
}

bool remus_xen_shadow_claim(struct remus_xen_shadow *s, uint64_t pfn)
{
	if (!remus_bitmap_test(s->touched, pfn))
		return false;
	s->touched[pfn / 64] &= ~(UINT64_C(1) << (pfn % 64));
	s->touched_count--;
	return true;
}

uint8_t *remus_xen_shadow_page(struct remus_xen_shadow *s, uint64_t pfn)
{
	if (pfn >= s->pages)
		return NULL;
	if (s->snapshot && !remus_xen_snapshot_keep(s->snapshot, pfn))
		s->snapshot = NULL;
	remus_xen_shadow_touch(s, pfn);
	remus_bitmap_set(s->present, pfn);
	return s->memory + pfn * 4096;
}

size_t remus_xen_shadow_take(struct remus_xen_shadow *s, uint64_t *cursor, uint64_t *pfn, size_t max)
{
	size_t n = remus_bitmap_take(s->touched, s->pages, cursor, pfn, max);

	s->touched_count -= n;
	return n;
}

void remus_xen_shadow_touch_all(struct remus_xen_shadow *s)
{
	memcpy(s->touched, s->present, remus_bitmap_words(s->pages) * sizeof *s->touched);
	s->touched_count = remus_bitmap_count(s->touched, s->pages);
}
