/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way to a Xen guest's agent: two nodes below the guest's own `data`, each a letter box for one line (renewal.h).
 * libxl makes `data` and gives it to the guest; what dom0 makes below it is the guest's too, so that both can write.
 */
#ifndef REMUS_XEN_AGENT_H
#define REMUS_XEN_AGENT_H

#include <xenstore.h>
#include "remus/domain.h"

struct remus_xen_agent {
	struct remus_channel base; /* ops NULL = not open */
	struct xs_handle *xs;	   /* with a watch on the reply */
	bool look;		   /* it has fired since the box was last looked into */
	char domain[64], request[64], reply[64];
};

/* NULL, and the reason in @why, when xenstore can't be asked. */
struct remus_channel *remus_xen_agent_open(struct remus_xen_agent *agent, uint32_t domid,
					   char why[REMUS_TEXT_MAX]);
/* Leaves no letter of ours behind, nor the nodes that one made of a domain which is gone. For one that is all zero
 * too. */
void remus_xen_agent_close(struct remus_xen_agent *agent);

#endif
