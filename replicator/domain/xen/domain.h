/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest on Xen as the engine's domain: what is the same for every kind of guest (domain.c), and what each kind
 * does in its own way: how its memory and state are had. pvh.c: by hypercalls and kept mappings; pv.c: by
 * libxenguest. Another kind (HVM) is another file that fills in this table.
 */
#ifndef REMUS_XEN_DOMAIN_H
#define REMUS_XEN_DOMAIN_H

#include "agent.h"
#include "inspect.h"
#include "remus/domain.h"
#include "suspend.h"

struct remus_xen_domain {
	struct remus_domain base;
	struct remus_xen_handles xen;
	struct xs_handle *watch; /* @releaseDomain */
	uint32_t domid;
	struct remus_xen_guest guest;
	struct remus_xen_suspend suspend;
	bool suspendable; /* suspend is open */
	bool over;	  /* its end was told */
	struct remus_guest_clock clock;
	uint64_t looked_us;
	char *run_dir; /* of the session */
	struct remus_xen_agent agent;
	const struct remus_xen_kind *kind;
	void *own; /* the kind's; NULL = not open */
};

/* As remus_domain_ops has them, called with what open() has put into domain->own; and: */
struct remus_xen_kind {
	/* Nothing of the guest is changed. */
	int (*open)(struct remus_xen_domain *domain, struct remus_error *err);
	void (*close)(struct remus_xen_domain *domain);
	uint64_t (*pages)(const struct remus_xen_domain *domain);
	int (*populated)(struct remus_xen_domain *domain, uint64_t *map, struct remus_error *err);
	int (*track_start)(struct remus_xen_domain *domain, struct remus_error *err);
	const char *(*track_name)(const struct remus_xen_domain *domain);
	int (*track_fetch)(struct remus_xen_domain *domain, uint64_t *dirty, uint64_t *count,
			   struct remus_error *err);
	void (*track_changed)(struct remus_xen_domain *domain, uint64_t changed); /* optional */
	void (*track_stop)(struct remus_xen_domain *domain);
	int (*pause)(struct remus_xen_domain *domain, struct remus_error *err);
	int (*resume)(struct remus_xen_domain *domain, struct remus_error *err);
	int (*save_state)(struct remus_xen_domain *domain, const uint8_t **out, size_t *bytes,
			  struct remus_error *err);
	int (*copy)(struct remus_xen_domain *domain, const uint64_t *pfn, size_t count, void *dst,
		    struct remus_error *err);
	/* Let go of its memory: it is gone, or about to be, and would stay as a zombie. */
	void (*forget)(struct remus_xen_domain *domain);
	/* Optional: now and then, of a domain that runs. */
	void (*idle)(struct remus_xen_domain *domain, uint64_t now_us);
};

extern const struct remus_xen_kind remus_xen_pvh;
extern const struct remus_xen_kind remus_xen_pv;

static inline const char *remus_xen_name(const struct remus_xen_domain *domain)
{
	return domain->guest.description.name;
}

#endif
