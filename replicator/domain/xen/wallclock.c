/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See wallclock.h. */
#include "wallclock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clocks.h"
#include "handles.h"
#include "remus/log.h"

/* Xen's wall clock is dom0's, which set it; remus_clock_coarse() allows for what they may differ by. */
int remus_xen_wallclock_choose(struct remus_xen_wallclock *w, const char *name,
			       const struct remus_truth *truth, const struct remus_guest_clock *guest,
			       struct remus_error *err)
{
	struct remus_clock_reading now;
	struct remus_truth t;

	remus_clock_read(&now);
	remus_clock_carry(truth, &now, &t);
	int64_t offset = remus_clock_coarse(&t, guest, now.realtime_ns);
	if (offset < INT32_MIN || offset > INT32_MAX)
		return remus_fail(err, -ERANGE,
				  "%s: its wall clock would have to be %" PRId64
				  " s from this host's: it is left as it is; set this host's clock right",
				  name, offset);
	w->chosen = true;
	w->offset = (int32_t)offset;
	return 0;
}

void remus_xen_wallclock_apply(const struct remus_xen_wallclock *w, uint32_t domid, const char *name)
{
	struct remus_xen_handles xen;
	char path[64], text[16];

	if (!w->chosen || remus_xen_open(&xen, NULL) < 0)
		return;
	snprintf(path, sizeof path, "/local/domain/%u/" REMUS_XEN_TIME_OFFSET, domid);
	snprintf(text, sizeof text, "%" PRId32, w->offset);
	if (xc_domain_set_time_offset(xen.xch, domid, w->offset))
		remus_warn("%s: its time offset can't be set: its wall clock is as wrong as this host's",
			   name);
	else if (!xs_write(xen.xs, XBT_NULL, path, text, (unsigned)strlen(text)))
		remus_warn(
			"xenstore: %s can't be written: the next failover of %s starts from its configured "
			"time offset",
			path, name);
	remus_xen_close(&xen);
}
