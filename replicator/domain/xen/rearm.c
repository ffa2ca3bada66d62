/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See rearm.h. */
#include "rearm.h"

bool remus_xen_rearm_due(const struct remus_xen_rearm *r)
{
	return !r->told || r->grown || r->wait;
}

/* The second set since the clear: how many faults did the first save? */
static void judge(struct remus_xen_rearm *r, uint64_t size)
{
	if (size - r->first <= r->first / 2) {
		r->retry = 0;
		return;
	}
	r->retry = r->retry ? r->retry * 2 : 1;
	if (r->retry > REMUS_XEN_REARM_MAX)
		r->retry = REMUS_XEN_REARM_MAX;
	r->wait = r->retry;
}

void remus_xen_rearm_fetched(struct remus_xen_rearm *r, uint64_t size, bool cleared)
{
	r->told = false;
	r->grown = false;
	r->size = size;
	if (cleared) {
		r->reads = 0;
		if (r->wait)
			r->wait--;
		return;
	}
	r->reads++;
	if (r->reads == 1)
		r->first = size;
	else if (r->reads == 2 && size > r->first)
		judge(r, size);
}

void remus_xen_rearm_changed(struct remus_xen_rearm *r, uint64_t changed)
{
	r->told = true;
	if (changed > r->size)
		changed = r->size;
	if (r->reads == 1)
		r->unchanged = r->size - changed;
	r->grown = r->reads > 0 && r->size > 2 * (r->unchanged + changed);
}
