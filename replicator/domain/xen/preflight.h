/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What can be checked on the backup before anything is built there: Xen's version, names, memory, processor
 * features, and what the guest's configuration needs (needs.h). All of it; every refusal names what is missing.
 */
#ifndef REMUS_XEN_PREFLIGHT_H
#define REMUS_XEN_PREFLIGHT_H

#include "description.h"

/* Could this host stand by for the guest, under the name @standby until it runs? @copy: could a copy of the standby that
 * it has run beside it, and leave memory to build that anew? */
void remus_xen_preflight(const struct remus_xen_description *description, const char *standby, bool copy,
			 struct remus_report *report);

#endif
