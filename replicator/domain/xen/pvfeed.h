/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the backup's copy of a PV guest's memory, numbered as space.h says, back to the records that Xen's restorer
 * reads: the frame list once, then what was written since the last time, each page with its type. A page whose
 * type alone has changed goes again, with its content; one that has no content goes when that is news.
 *
 * Types and frame list are a peer's word: what is out of bounds is refused (I11) before anything of it is passed
 * on. Pure: bytes out through a call.
 */
#ifndef REMUS_XEN_PVFEED_H
#define REMUS_XEN_PVFEED_H

#include <stdbool.h>
#include <sys/uio.h>
#include "shadow.h"
#include "stream.h"

struct remus_xen_pvfeed {
	uint64_t pages; /* of the guest */
	unsigned width;
	uint64_t last;	 /* the highest page, told by the frame list */
	uint8_t *frames; /* the list as it was passed on */
	size_t frames_bytes;
	uint8_t *fed;		      /* the types as they were passed on; FED_NOTHING */
	uint64_t *entry;	      /* the PAGE_DATA record that is being made: REMUS_XEN_STREAM_BATCH */
	struct iovec *iov;	      /* one more */
	unsigned entries, parts;      /* in them; parts: without the head */
	struct remus_xen_buffer head; /* record heads being built */
};

/* Where the bytes go. @iov may be changed. */
typedef int remus_xen_emit(void *context, struct iovec *iov, int parts, struct remus_error *err);

int remus_xen_pvfeed_create(struct remus_xen_pvfeed *feed, uint64_t pages, unsigned width,
			    struct remus_error *err);
void remus_xen_pvfeed_destroy(struct remus_xen_pvfeed *feed);
/* A new stream begins: nothing was passed on. */
void remus_xen_pvfeed_restart(struct remus_xen_pvfeed *feed);
/* Everything of @shadow that was touched; -EBADMSG for what can't be a PV guest's. */
int remus_xen_pvfeed_pages(struct remus_xen_pvfeed *feed, struct remus_xen_shadow *shadow,
			   remus_xen_emit *emit, void *context, struct remus_error *err);

#endif
