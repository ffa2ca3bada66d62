/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When to clear Xen's dirty set. To clear it protects all of the guest's memory anew: in the epoch that follows,
 * every page that the guest touches costs it a fault (those that it only reads too, where the p2m is recalculated
 * lazily), a thousand for a guest that does next to nothing, since its own suspend and resume touch hundreds of pages.
 * A set that is read and not cleared costs no fault for the pages that are in it already, and stays right: it holds
 * what was written since it was last cleared, which is no less than what was written since the last epoch (I9). The
 * price is that all its pages are copied and compared at every epoch. So it is cleared
 *
 *   - when it has grown to twice of what it would hold if it were cleared each time. That is estimated: the pages
 *     that really changed, and as many that were written without a change as right after the last clear;
 *   - when leaving it did not pay: more than a third of the pages of an epoch were not in it yet. The next try then
 *     comes later and later, up to REMUS_XEN_REARM_MAX epochs;
 *   - unless the engine told what became of the last set: in the full copy, and after an epoch that was given up.
 *
 * Pure: numbers in, a decision out.
 */
#ifndef REMUS_XEN_REARM_H
#define REMUS_XEN_REARM_H

#include <stdbool.h>
#include <stdint.h>

#define REMUS_XEN_REARM_MAX 64u

/* Zeroed = as at the start of tracking. */
struct remus_xen_rearm {
	bool told;	      /* what became of the last set */
	bool grown;	      /* it is twice as large as it need be */
	unsigned reads;	      /* since the last clear */
	uint64_t first, size; /* pages of the first set since then, and of the last */
	uint64_t unchanged;   /* of the first */
	unsigned wait, retry; /* so many times yet it is cleared at once; how many the next time */
};

/* Is the set to be cleared as it is read now? */
bool remus_xen_rearm_due(const struct remus_xen_rearm *rearm);
/* It was read, and held @size pages; @cleared: and cleared. */
void remus_xen_rearm_fetched(struct remus_xen_rearm *rearm, uint64_t size, bool cleared);
/* So many of those pages had changed. */
void remus_xen_rearm_changed(struct remus_xen_rearm *rearm, uint64_t changed);

#endif
