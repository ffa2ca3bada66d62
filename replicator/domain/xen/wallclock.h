/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Setting what a standby's wall clock is made from (clocks.h): chosen when the guest is about to run, applied to the
 * domain that then does, which may be another one than a moment before.
 */
#ifndef REMUS_XEN_WALLCLOCK_H
#define REMUS_XEN_WALLCLOCK_H

#include <stdbool.h>
#include "remus/clock.h"

struct remus_xen_wallclock { /* begins all zero */
	bool chosen;
	int32_t offset; /* s */
};
/* As standby_ops.set_time(). -ERANGE: Xen can't express it. */
int remus_xen_wallclock_choose(struct remus_xen_wallclock *wallclock, const char *name,
			       const struct remus_truth *truth, const struct remus_guest_clock *guest,
			       struct remus_error *err);
/* Of a domain that doesn't run yet. What fails is logged: the guest is run all the same. */
void remus_xen_wallclock_apply(const struct remus_xen_wallclock *wallclock, uint32_t domid, const char *name);

#endif
