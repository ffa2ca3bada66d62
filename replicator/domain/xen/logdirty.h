/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Xen's log-dirty mode of one domain. It outlives the process that turned it on, so a mark in the domain's
 * xenstore directory says whose it is: /local/domain/N/remus = "PID" or, where a saver has it on (saver.h),
 * "PID SAVER". open() of a later engine ends what a dead one left (I13) and refuses a domain that a living one
 * protects.
 */
#ifndef REMUS_XEN_LOGDIRTY_H
#define REMUS_XEN_LOGDIRTY_H

#include <stdbool.h>
#include "handles.h"
#include "rearm.h"

struct remus_xen_logdirty {
	const struct remus_xen_handles *xen;
	uint32_t domid;
	uint64_t pages;
	bool on;
	void *bitmap; /* hypercall memory */
	xc_hypercall_buffer_t buffer;
	struct remus_xen_rearm rearm;
};

/* -EBUSY when another living process protects it. The first only looks; the second ends what a dead one left
 * on: 1 = there was one. */
int remus_xen_logdirty_check(const struct remus_xen_handles *xen, uint32_t domid, struct remus_error *err);
int remus_xen_logdirty_sweep(const struct remus_xen_handles *xen, uint32_t domid, struct remus_error *err);
/* Leave the mark, @saver = 0 when log-dirty mode is this process's own; and turn it off, the mark too. */
int remus_xen_logdirty_mark(const struct remus_xen_handles *xen, uint32_t domid, pid_t saver,
			    struct remus_error *err);
void remus_xen_logdirty_off(const struct remus_xen_handles *xen, uint32_t domid);
int remus_xen_logdirty_start(struct remus_xen_logdirty *log, const struct remus_xen_handles *xen,
			     uint32_t domid, uint64_t pages, struct remus_error *err);
/* Add to @dirty what was written since the last call, and maybe more: what rearm.h leaves in the set. *found: how many;
 * *cleared: nothing is left in it. */
int remus_xen_logdirty_fetch(struct remus_xen_logdirty *log, uint64_t *dirty, uint64_t *found, bool *cleared,
			     struct remus_error *err);
void remus_xen_logdirty_stop(struct remus_xen_logdirty *log);

#endif
