/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The libraries of one Xen host, opened together, and the questions that every part asks of a domain. */
#ifndef REMUS_XEN_HANDLES_H
#define REMUS_XEN_HANDLES_H

#include <stdint.h>
#include <xenctrl.h>
#include <xenforeignmemory.h>
#include <xenstore.h>
#include <xentoollog.h>
#include "remus/error.h"

struct remus_xen_handles {
	xentoollog_logger *log;
	xc_interface *xch;
	xenforeignmemory_handle *fmem;
	struct xs_handle *xs;
};

int remus_xen_open(struct remus_xen_handles *xen, struct remus_error *err);
void remus_xen_close(struct remus_xen_handles *xen);

/* "4.17" of the hypervisor that runs here. */
int remus_xen_version(const struct remus_xen_handles *xen, unsigned *major, unsigned *minor,
		      struct remus_error *err);

/* "4.17.7": the same with what its builder added. */
void remus_xen_version_text(const struct remus_xen_handles *xen, char out[64]);

/* A domain's id by its name or its number in digits; -ENOENT. */
int remus_xen_find(const struct remus_xen_handles *xen, const char *name, uint32_t *domid,
		   struct remus_error *err);

/* What the hypervisor knows of it; -ESRCH for one that is gone or dying. */
int remus_xen_info(const struct remus_xen_handles *xen, uint32_t domid, xc_dominfo_t *info,
		   struct remus_error *err);

/* Types (remus_xen_type_has_content) of any number of page frames: @type holds them, and is overwritten. */
int remus_xen_types(const struct remus_xen_handles *xen, uint32_t domid, xen_pfn_t *type, size_t count,
		    struct remus_error *err);

/* A malloc'ed xenstore value below /local/domain/@domid, NULL = none. */
char *remus_xen_read(const struct remus_xen_handles *xen, uint32_t domid, const char *key);

#endif
