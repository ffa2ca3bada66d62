/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What can be checked on the backup before anything is built there: Xen's version, names, memory, processor
 * features. Every refusal names what is missing.
 */
#ifndef REMUS_XEN_PREFLIGHT_H
#define REMUS_XEN_PREFLIGHT_H

#include "description.h"

/* Could this host stand by for the guest, under the name @standby until it runs? */
int remus_xen_preflight(const struct remus_xen_description *description, const char *standby,
			struct remus_error *err);

#endif
