/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Could this Xen guest be protected? What open() refuses, all of it, by hypercalls that read and by xenstore: no
 * watch, no event channel, no mapping, no log-dirty mode.
 */
#include "check.h"

#include <string.h>
#include "inspect.h"
#include "logdirty.h"

static void check_found(const struct remus_xen_handles *xen, uint32_t domid, struct remus_domain_view *out,
			struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_xen_guest guest;
	char version[64];

	remus_xen_version_text(xen, version);
	remus_xen_inspect(xen, domid, &guest, report);
	if (remus_xen_logdirty_check(xen, domid, &err) < 0)
		remus_report_error(report, "session", "end that protection first", &err);
	out->nics = guest.nics;
	memcpy(out->nic, guest.nic, (size_t)guest.nics * sizeof *out->nic);
	out->pages = guest.description.pages;
	if (guest.supported && guest.description.config && guest.description.pages &&
	    remus_xen_describe(&guest.description, &out->description, &err) < 0)
		remus_report_error(report, "guest", NULL, &err);
	if (guest.supported)
		remus_report_ok(report, "guest", "%s (domain %u) is a %s guest on Xen %s",
				guest.description.name, domid,
				guest.description.type == REMUS_XEN_PV ? "PV" : "PVH", version);
	remus_xen_guest_free(&guest);
}

void remus_xen_check(const char *locator, const struct remus_domain_config *config,
		     const struct remus_held *held, struct remus_domain_view *out,
		     struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_xen_handles xen;
	uint32_t domid;

	(void)config, (void)held; /* Xen answers everybody */
	if (remus_xen_open(&xen, &err) < 0) {
		remus_report_error(report, "xen", NULL, &err);
		return;
	}
	if (remus_xen_find(&xen, locator, &domid, &err) < 0)
		remus_report_error(report, "guest", NULL, &err);
	else
		check_found(&xen, domid, out, report);
	remus_xen_close(&xen);
}
