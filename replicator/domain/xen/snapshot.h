/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A shadow as it is at one moment, for a copy that is built from it while the shadow goes on. Nothing is copied at that
 * moment but a bitmap. From then on a page that the copy hasn't taken yet is kept aside before it is handed out for
 * writing, so that what is copied twice, and what memory it takes, is what the guest writes while the copy is built.
 *
 * Two threads: the shadow's, which begins it and is never kept waiting for longer than a batch of take() is copied;
 * and the copy's, which takes it page by page. Either may go first. More than @most pages are not kept: then the
 * snapshot is lost, and the copy with it, rather than the memory of whoever the guest depends on (I11).
 */
#ifndef REMUS_XEN_SNAPSHOT_H
#define REMUS_XEN_SNAPSHOT_H

#include "shadow.h"

struct remus_xen_snapshot;

/* Of @shadow, which must not have one that is still being taken; that would be lost. */
int remus_xen_snapshot_begin(struct remus_xen_shadow *shadow, uint64_t most, struct remus_xen_snapshot **out,
			     struct remus_error *err);

/*
 * Up to @max pages that were not taken yet, ascending; their contents to @memory + i * 4096. 0 = all are taken.
 * -ENOMEM: it is lost, the guest writes faster than the copy is built. -ECANCELED: the shadow is gone.
 */
int remus_xen_snapshot_take(struct remus_xen_snapshot *snapshot, uint64_t *pfn, int max, uint8_t *memory,
			    struct remus_error *err);
/* Pages that had to be kept aside so far. */
uint64_t remus_xen_snapshot_kept(struct remus_xen_snapshot *snapshot);
/* The copy's side is done with it. NULL is none. */
void remus_xen_snapshot_close(struct remus_xen_snapshot *snapshot);

/* The shadow's side (shadow.c). keep(): @pfn is about to be written to. Both: false = nobody needs it any more; done. */
bool remus_xen_snapshot_keep(struct remus_xen_snapshot *snapshot, uint64_t pfn);
void remus_xen_snapshot_drop(struct remus_xen_snapshot *snapshot);

#endif
