/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See memory.h. */
#include "memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "remus/bitmap.h"

#define SAMPLES 8 /* pages compared at a time */
#define TRIES	3 /* comparisons until a difference is no coincidence of a running guest */

struct remus_xen_chunk {
	uint8_t *base;
	unsigned pages;
	uint64_t valid[REMUS_XEN_CHUNK / 64];
};

static uint64_t chunks(const struct remus_xen_memory *m)
{
	return (m->pages + REMUS_XEN_CHUNK - 1) / REMUS_XEN_CHUNK;
}

int remus_xen_memory_open(struct remus_xen_memory *m, const struct remus_xen_handles *xen, uint32_t domid,
			  uint64_t pages, struct remus_error *err)
{
	memset(m, 0, sizeof *m);
	m->xen = xen;
	m->domid = domid;
	m->pages = pages;
	m->chunk = calloc(chunks(m), sizeof *m->chunk);
	return m->chunk ? 0
			: remus_fail(err, -ENOMEM, "domain %u: no memory to keep account of %llu pages",
				     domid, (unsigned long long)pages);
}

static void unmap(struct remus_xen_memory *m, uint64_t index)
{
	struct remus_xen_chunk *c = m->chunk[index];

	if (!c)
		return;
	xenforeignmemory_unmap(m->xen->fmem, c->base, c->pages);
	m->mapped -= c->pages;
	m->chunk[index] = NULL;
	free(c);
}

void remus_xen_memory_drop(struct remus_xen_memory *m)
{
	for (uint64_t i = 0; m->chunk && i < chunks(m); i++)
		unmap(m, i);
}

void remus_xen_memory_close(struct remus_xen_memory *m)
{
	remus_xen_memory_drop(m);
	free(m->chunk);
	m->chunk = NULL;
}

static int map(struct remus_xen_memory *m, uint64_t index, struct remus_error *err)
{
	xen_pfn_t pfn[REMUS_XEN_CHUNK];
	int bad[REMUS_XEN_CHUNK];
	uint64_t first = index * REMUS_XEN_CHUNK;
	struct remus_xen_chunk *c = calloc(1, sizeof *c);

	if (!c)
		return remus_fail(err, -ENOMEM, "domain %u: no memory to map its pages", m->domid);
	c->pages = (unsigned)(m->pages - first < REMUS_XEN_CHUNK ? m->pages - first : REMUS_XEN_CHUNK);
	for (unsigned i = 0; i < c->pages; i++)
		pfn[i] = first + i;
	c->base = xenforeignmemory_map(m->xen->fmem, m->domid, PROT_READ, c->pages, pfn, bad);
	if (!c->base) {
		free(c);
		return remus_fail_errno(err, "domain %u: mapping its pages from %llu", m->domid,
					(unsigned long long)first);
	}
	for (unsigned i = 0; i < c->pages; i++)
		if (!bad[i])
			remus_bitmap_set(c->valid, i);
	m->chunk[index] = c;
	m->mapped += c->pages;
	return 0;
}

/* The mapping of a page; *at = NULL when there is nothing to map at that number. */
static int locate(struct remus_xen_memory *m, uint64_t pfn, const uint8_t **at, struct remus_error *err)
{
	uint64_t index = pfn / REMUS_XEN_CHUNK;
	unsigned offset = (unsigned)(pfn % REMUS_XEN_CHUNK);

	*at = NULL;
	if (m->chunk[index] && !remus_bitmap_test(m->chunk[index]->valid, offset))
		unmap(m, index); /* it was a hole; it may have been filled since */
	if (!m->chunk[index]) {
		int rc = map(m, index, err);
		if (rc < 0)
			return rc;
	}
	if (remus_bitmap_test(m->chunk[index]->valid, offset))
		*at = m->chunk[index]->base + (size_t)offset * 4096;
	return 0;
}

int remus_xen_memory_copy(struct remus_xen_memory *m, const uint64_t *pfn, size_t count, void *dst,
			  struct remus_error *err)
{
	uint8_t *to = dst;

	for (size_t i = 0; i < count; i++, to += 4096) {
		const uint8_t *from;
		if (pfn[i] >= m->pages)
			return remus_fail(err, -EINVAL, "domain %u: page %llu doesn't exist", m->domid,
					  (unsigned long long)pfn[i]);
		int rc = locate(m, pfn[i], &from, err);
		if (rc < 0)
			return rc;
		if (from)
			memcpy(to, from, 4096);
		else
			memset(to, 0, 4096);
	}
	return 0;
}

/* Our mapping of a page; NULL where there is none. */
static const uint8_t *mapped(const struct remus_xen_memory *m, uint64_t pfn)
{
	const struct remus_xen_chunk *c = m->chunk[pfn / REMUS_XEN_CHUNK];
	unsigned offset = (unsigned)(pfn % REMUS_XEN_CHUNK);

	return c && offset < c->pages && remus_bitmap_test(c->valid, offset) ? c->base + (size_t)offset * 4096
									     : NULL;
}

/* The next mapped pages. A stride that shares no factor with a chunk visits every offset in turn. */
static unsigned choose(struct remus_xen_memory *m, xen_pfn_t pfn[SAMPLES])
{
	const uint64_t stride = 5 * REMUS_XEN_CHUNK + 3, tries = chunks(m);
	unsigned n = 0;

	for (uint64_t i = 0; n < SAMPLES && i < tries; i++) {
		m->scrub_at = (m->scrub_at + stride) % m->pages;
		if (mapped(m, m->scrub_at))
			pfn[n++] = m->scrub_at;
	}
	return n;
}

static bool differs(const uint8_t *kept, const uint8_t *fresh)
{
	for (int i = 0; i < TRIES; i++)
		if (!memcmp(kept, fresh, 4096))
			return false;
	return true;
}

unsigned remus_xen_memory_scrub(struct remus_xen_memory *m, uint64_t *again)
{
	xen_pfn_t pfn[SAMPLES];
	int bad[SAMPLES];
	unsigned n = choose(m, pfn), found = 0;
	uint8_t *fresh = n ? xenforeignmemory_map(m->xen->fmem, m->domid, PROT_READ, n, pfn, bad) : NULL;

	if (!fresh)
		return 0; /* can't tell; copy() will say what is wrong */
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *kept = mapped(m, pfn[i]);
		if (!kept || (!bad[i] && !differs(kept, fresh + (size_t)i * 4096)))
			continue; /* or its chunk was dropped for another page */
		uint64_t index = pfn[i] / REMUS_XEN_CHUNK;
		remus_bitmap_set_range(again, index * REMUS_XEN_CHUNK, m->chunk[index]->pages);
		unmap(m, index);
		found++;
	}
	xenforeignmemory_unmap(m->xen->fmem, fresh, n);
	return found;
}
