/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Has a guest that was resumed caught up with xenstore?
 *
 * One kernel thread of a Linux guest answers all xenstore watches, one after the other, and the guest's own answer to
 * a suspend ("control/shutdown" = "") fires the watch that the request came by. So each epoch leaves one event for that
 * thread: START, READ, END, for nothing. A request that is written before it got to that is found by the event that
 * was left over, and leaves its own. Where suspends are asked for faster than the guest reads, such events pile up in
 * its kernel: every round trip costs it time while it runs, and all of them come before its network's on the
 * backup, when it is missed (measured: 31 events, 1.4 s).
 *
 * Nobody tells when a watch was answered, but the page that guest and xenstored share has counters of the bytes that
 * went over it. The guest can write there what it likes: it decides about when, never about whether.
 */
#ifndef REMUS_XEN_RING_H
#define REMUS_XEN_RING_H

#include <stdbool.h>
#include "handles.h"

struct remus_xen_ring {
	const struct remus_xen_handles *xen;
	const struct xenstore_domain_interface *page; /* NULL = not known: settled at any time */
	uint32_t from;				      /* its counter of request bytes when it was resumed */
	uint32_t seen;				      /* that counter when it was last looked at */
	uint64_t quiet_since_us; /* since when it has not moved; 0 = it was not looked at */
	bool marked;
};

/* Map the page of an HVM-like guest; of another it stays unknown. */
void remus_xen_ring_open(struct remus_xen_ring *ring, const struct remus_xen_handles *xen, uint32_t domid);
void remus_xen_ring_close(struct remus_xen_ring *ring);
/* The guest is about to be resumed from a suspend that was asked for. */
void remus_xen_ring_mark(struct remus_xen_ring *ring);
/* Since then it has read what its answer left over, waits for no answer of xenstored's and has asked for nothing for
 * some ms: so it must be asked again and again. */
bool remus_xen_ring_settled(struct remus_xen_ring *ring, uint64_t now_us);

#endif
