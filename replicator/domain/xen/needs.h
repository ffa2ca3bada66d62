/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest's configuration needs of the host it comes to: bridges, disks' images, scripts, files for a reboot.
 * What is missing would otherwise show at the failover, when libxl attaches the devices: then it is too late. The
 * configuration is libxl's JSON, which a peer wrote: nothing of it is run or opened, names are only looked up.
 */
#ifndef REMUS_XEN_NEEDS_H
#define REMUS_XEN_NEEDS_H

#include "description.h"

/* Where to look; a test has places of its own. */
struct remus_xen_places {
	const char *net;     /* "/sys/class/net" */
	const char *scripts; /* "/etc/xen/scripts": for those named without a path */
};
extern const struct remus_xen_places remus_xen_places;

void remus_xen_check_needs(const struct remus_xen_description *description,
			   const struct remus_xen_places *places, struct remus_report *report);

#endif
