/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A Xen guest's clocks. Its wall clock is Xen's plus a time offset of whole seconds: libxl sets that from the domain's
 * configuration (rtc_timeoffset, localtime) when it builds a domain, for a standby as for any other, and nothing sets it
 * later. Xen doesn't tell it, so what a failover has set is kept at /local/domain/N/remus-time-offset, which goes with
 * the domain.
 *
 * Its TSC goes on from the checkpoint. Xen lets it run at the rate that the guest was built with: by the processor's
 * own TSC when that has just this rate or can be scaled to it, else (tsc_mode default) each reading traps.
 */
#ifndef REMUS_XEN_CLOCKS_H
#define REMUS_XEN_CLOCKS_H

#include <stdint.h>
#include <time.h>
#include "description.h"
#include "remus/clock.h"

#define REMUS_XEN_TIME_OFFSET "remus-time-offset"

/* What libxl makes of a configuration (its JSON) at @now, s; and that as text of the key, which counts more; NULL: none. */
int64_t remus_xen_time_offset(const char *config, const char *key, time_t now);
/* Can this host, whose TSC runs at @host_khz, present the guest's? */
void remus_xen_check_tsc(const struct remus_xen_description *description, uint32_t host_khz,
			 struct remus_report *report);

#endif
