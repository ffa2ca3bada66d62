/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How far a guest that is suspended again and again has fallen behind xenstore.
 *
 * One kernel thread of a Linux guest answers all xenstore watches, one after the other, and the guest's own answer to
 * a suspend ("control/shutdown" = "") fires the watch that the request came by. So each epoch brings that thread two
 * events: one that it suspends for, and one that it reads for nothing: START, READ, END. A request that is written
 * before it got to that is found by the event that was left over, and leaves its own. Where suspends are asked for
 * faster than the guest reads, such events pile up in its kernel: each costs it three round trips while it runs, and
 * all of them come before its network's on the backup, when it is missed (measured: 31 events, 1.4 s).
 *
 * Nobody tells how many there are, but the page that guest and xenstored share has counters of the bytes that went
 * over it, and each event costs a known number of them. The guest can write there what it likes: it decides about
 * when, never about whether.
 */
#ifndef REMUS_XEN_RING_H
#define REMUS_XEN_RING_H

#include <stdbool.h>
#include "handles.h"

#define REMUS_XEN_RING_BEHIND \
	1u /* events that may be left: on the backup they delay the guest; with more of them it is asked no more often */

struct remus_xen_ring {
	const struct remus_xen_handles *xen;
	const struct xenstore_domain_interface *page; /* NULL = not known */
	uint32_t from; /* its counter of request bytes when it was resumed last */
	unsigned left; /* events that it had not read then */
	bool marked;   /* it was resumed, and these are known */
};

/* Map the page of an HVM-like guest; of another it stays unknown. */
void remus_xen_ring_open(struct remus_xen_ring *ring, const struct remus_xen_handles *xen, uint32_t domid);
void remus_xen_ring_close(struct remus_xen_ring *ring);
/* The guest is about to be resumed from a suspend that was asked for once since the last mark. */
void remus_xen_ring_mark(struct remus_xen_ring *ring);
/* Events that it has not read by now; 0 when that isn't known. */
unsigned remus_xen_ring_behind(const struct remus_xen_ring *ring);

#endif
