/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libxenguest wrote of a PV guest's memory and the engine has not taken yet. Unlike other guests' memory it
 * can't be read a second time: libxenguest reads a page once per checkpoint, in its own order. So a page stays
 * here until it is sure that the engine doesn't need it any more: it was copied, and the next capture did not ask
 * for it again, as it does when an epoch was given up (I9).
 *
 * Everything is numbered as space.h says. Address space for the whole guest, of which what is kept is resident,
 * and up to KEEP pages more: of a guest at rest, what one epoch dirties. Pure memory, no Xen.
 */
#ifndef REMUS_XEN_STORE_H
#define REMUS_XEN_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include "records.h"

struct remus_xen_store {
	uint64_t pages, numbers; /* of the guest; of space.h */
	uint64_t last;		 /* the highest page that the stream names, valid once `framed` */
	bool framed;		 /* the frame list is there */
	bool settled;		 /* the first checkpoint is complete: every page was told */
	uint8_t *memory, *type, *frames;
	uint64_t *dirty;       /* numbers that changed since the last take */
	uint64_t *told;	       /* pages of which something was said */
	uint64_t *held;	       /* pages whose content is here */
	uint64_t *given, *old; /* pages copied; those of them from before the last take */
	uint64_t *resident;    /* pages whose memory was touched */
	uint64_t held_count, resident_count;
	uint64_t lost; /* a page table whose content could not be had in a settled checkpoint; pages = none */
};

int remus_xen_store_create(struct remus_xen_store *store, uint64_t pages, struct remus_error *err);
void remus_xen_store_destroy(struct remus_xen_store *store);

/* The calls of remus_xen_records_sink, @store being the context. */
uint8_t *remus_xen_store_place(void *store, uint64_t pfn);
void remus_xen_store_page(void *store, uint64_t pfn, unsigned type);
int remus_xen_store_frames(void *store, const uint8_t *body, size_t bytes, struct remus_error *err);

/* Before the first checkpoint: may @number be copied already? */
bool remus_xen_store_ready(const struct remus_xen_store *store, uint64_t number);
/* Move the numbers that changed into @dirty; returns how many. */
uint64_t remus_xen_store_take(struct remus_xen_store *store, uint64_t *dirty);
/* Copy @count numbers' pages to dst + i*4096. A page without content reads as zeros. */
void remus_xen_store_copy(struct remus_xen_store *store, const uint64_t *number, size_t count, void *dst);

#endif
