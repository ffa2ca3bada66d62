/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the primary tells the backup of a Xen guest, JSON:
 *
 *   {"xen":1, "type":"pvh", "name":"web1", "version":"4.17", "pages":1044480, "memory_kib":131072,
 *    "cpuid":"<hex>", "msr":"<hex>", "config":{libxl's own JSON of the domain's configuration}}
 *
 * also "tsc":{"mode":0,"khz":2894560}, as Xen numbers the modes (release 0.1 doesn't have it); and of a PV guest
 * "type":"pv", "width":8 (bytes of its words; 4 for a 32-bit guest). cpuid and msr are the domain's CPU policy as
 * xc_cpu_policy_serialise() gives it. The parser is given a peer's text: everything is bounded,
 * lengths are checked, and the name can't leave its place in xenstore.
 */
#ifndef REMUS_XEN_DESCRIPTION_H
#define REMUS_XEN_DESCRIPTION_H

#include <stddef.h>
#include <stdint.h>
#include "remus/domain.h"

#define REMUS_XEN_NAME_MAX 80 /* with "--incoming" still within what xenstore and xl print */

enum remus_xen_type { REMUS_XEN_PVH, REMUS_XEN_PV };

struct remus_xen_description {
	enum remus_xen_type type;
	unsigned width; /* PV: 8 or 4 */
	char name[REMUS_XEN_NAME_MAX + 1];
	unsigned major, minor; /* of Xen */
	uint64_t pages;	       /* page frame numbers are below this */
	uint64_t memory_kib;   /* that the guest has */
	uint8_t *cpuid, *msr;  /* owned */
	size_t cpuid_bytes, msr_bytes;
	char *config;		    /* owned; JSON text */
	uint32_t tsc_mode, tsc_khz; /* what it counts on; kHz 0 = unknown */
};

/* The interfaces in the configuration, as domain @domid will have them. Returns how many. */
int remus_xen_description_nics(const struct remus_xen_description *description, uint32_t domid,
			       struct remus_nic *out, int max, struct remus_error *err);
int remus_xen_describe(const struct remus_xen_description *in, char **json, struct remus_error *err);
int remus_xen_description_parse(const char *json, struct remus_xen_description *out, struct remus_error *err);
void remus_xen_description_free(struct remus_xen_description *description);

#endif
