/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's memory, mapped here chunk by chunk and kept mapped: mapping costs more than copying. Sparse, since
 * a PVH guest's page frame numbers go up to 4 GiB however small it is.
 *
 * A kept mapping is of machine frames, not of page frame numbers: a frame that the guest gives back and gets
 * anew elsewhere would be read from its old place. Against that: ballooning is refused at the start, the
 * guest's page count is watched (drop() when it changes), and scrub() compares samples with fresh mappings.
 * Mappings keep a destroyed domain's memory from being freed until close().
 */
#ifndef REMUS_XEN_MEMORY_H
#define REMUS_XEN_MEMORY_H

#include "handles.h"

#define REMUS_XEN_CHUNK 512u /* pages: 2 MiB */

struct remus_xen_memory {
	const struct remus_xen_handles *xen;
	uint32_t domid;
	uint64_t pages;
	struct remus_xen_chunk **chunk; /* NULL = not mapped */
	uint64_t scrub_at;		/* where the next sample is taken */
	uint64_t mapped;		/* pages */
};

int remus_xen_memory_open(struct remus_xen_memory *memory, const struct remus_xen_handles *xen,
			  uint32_t domid, uint64_t pages, struct remus_error *err);
void remus_xen_memory_close(struct remus_xen_memory *memory);
/* Forget every mapping; they are made anew when needed. */
void remus_xen_memory_drop(struct remus_xen_memory *memory);
/* Copy @count pages. A page without content reads as zeros. */
int remus_xen_memory_copy(struct remus_xen_memory *memory, const uint64_t *pfn, size_t count, void *dst,
			  struct remus_error *err);
/*
 * Compare the next mapped pages, going round, with one fresh mapping of them. The guest may run: a page is stale
 * only if it stays different. Returns how many chunks were stale, with their mappings dropped and the
 * bits of all their pages set in @again: what was sent of them may be wrong.
 */
unsigned remus_xen_memory_scrub(struct remus_xen_memory *memory, uint64_t *again);

#endif
