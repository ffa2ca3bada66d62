/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What open() must know of a guest before anything is changed: whether it could be failed over, and what the
 * backup needs to build its equal. Every refusal names what stands in the way.
 */
#ifndef REMUS_XEN_INSPECT_H
#define REMUS_XEN_INSPECT_H

#include <stdbool.h>
#include "description.h"
#include "handles.h"
#include "remus/domain.h"

struct remus_xen_guest {
	struct remus_xen_description description;
	struct remus_nic nic[REMUS_NICS_MAX];
	int nics;
	bool supported; /* else only the name and the configuration are known */
};

/* Everything that would be refused, and what is good; changes nothing. @out is filled as far as it can be known, whole
 * when nothing was fatal. */
void remus_xen_inspect(const struct remus_xen_handles *xen, uint32_t domid, struct remus_xen_guest *out,
		       struct remus_report *report);
void remus_xen_guest_free(struct remus_xen_guest *guest);

#endif
