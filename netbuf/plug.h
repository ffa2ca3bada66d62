/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of the plug reach: the same calls on a kernel of the caller's choice. See plug.c. */
#ifndef REMUS_NETBUF_PLUG_H
#define REMUS_NETBUF_PLUG_H

#include "remus/netbuf.h"
#include "redirect.h"

/* As remus_netbuf_plug.open(). Owns @nl, also when it fails. */
int plug_open_on(struct netlink *nl, const struct remus_netbuf_config *config, struct remus_netbuf **out,
		 struct remus_error *err);
/* As remus_netbuf_plug_sweep(); @nl stays the caller's. */
int plug_sweep_on(struct netlink *nl, const char *interface, struct remus_error *err);

#endif
