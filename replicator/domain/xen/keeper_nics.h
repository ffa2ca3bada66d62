/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network interfaces of a domain that stands by: attached before it is needed. See keeper_nics.c. */
#ifndef REMUS_XEN_KEEPER_NICS_H
#define REMUS_XEN_KEEPER_NICS_H

#include <libxl.h>
#include <stdbool.h>

#define REMUS_XEN_KEEPER_NICS 16

struct remus_xen_keeper_nics {
	libxl_device_nic
		nic[REMUS_XEN_KEEPER_NICS]; /* their own memory is that of the configuration they left */
	int count, done;
	int failed; /* index of the first that could not be attached, -1 = none */
	int error;  /* libxl's, of that one */
};

/* Take the interfaces out of @config: all, or none of an HVM guest or of one that has too many. */
void remus_xen_keeper_nics_take(struct remus_xen_keeper_nics *nics, libxl_domain_config *config);

/* Begin to attach them to @domid, which is being built with @config. 0 or libxl's error. */
int remus_xen_keeper_nics_attach(struct remus_xen_keeper_nics *nics, libxl_ctx *ctx, uint32_t domid,
				 libxl_domain_config *config);

/* true = all are attached, or one has failed. To be asked after each turn of libxl's. */
bool remus_xen_keeper_nics_settled(struct remus_xen_keeper_nics *nics, libxl_ctx *ctx);

/* The domain is built: put them back into @config, and into what libxl knows of @domid. 0 or libxl's error. */
int remus_xen_keeper_nics_give_back(struct remus_xen_keeper_nics *nics, libxl_ctx *ctx, uint32_t domid,
				    libxl_domain_config *config);

#endif
