/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See preflight.h. */
#include "preflight.h"

#include <xenctrl.h>
#include <xen/sysctl.h>
#include <xenguest.h>

#include "handles.h"

#define OVERHEAD_KIB 16384u /* Xen's own tables for a small guest, with room to spare */

static int check_policy(const struct remus_xen_handles *xen, const struct remus_xen_description *d,
			const char *standby, struct remus_error *err)
{
	xc_cpu_policy_t *host = xc_cpu_policy_init(), *guest = xc_cpu_policy_init();
	unsigned most =
		d->type == REMUS_XEN_PV ? XEN_SYSCTL_cpu_policy_pv_max : XEN_SYSCTL_cpu_policy_hvm_max;
	int rc = 0;

	if (!host || !guest || xc_cpu_policy_get_system(xen->xch, most, host))
		rc = remus_fail_errno(err, "this host's CPU policy");
	else if (xc_cpu_policy_get_system(xen->xch, most, guest) ||
		 xc_cpu_policy_update_cpuid(xen->xch, guest, (const void *)d->cpuid,
					    (uint32_t)(d->cpuid_bytes / sizeof(xen_cpuid_leaf_t))) ||
		 xc_cpu_policy_update_msrs(xen->xch, guest, (const void *)d->msr,
					   (uint32_t)(d->msr_bytes / sizeof(xen_msr_entry_t))))
		rc = remus_fail_errno(err, "%s: its CPU policy isn't understood here", standby);
	else if (!xc_cpu_policy_is_compatible(xen->xch, host, guest))
		rc = remus_fail(err, -ENOTSUP,
				"%s sees processor features that this host lacks: mask them in the guest's "
				"configuration (cpuid=...) and start it anew, or use equal hosts",
				d->name);
	if (host)
		xc_cpu_policy_destroy(host);
	if (guest)
		xc_cpu_policy_destroy(guest);
	return rc;
}

static int check_host(const struct remus_xen_handles *xen, const struct remus_xen_description *d,
		      const char *standby, struct remus_error *err)
{
	unsigned major, minor;
	xc_physinfo_t info;
	uint32_t domid;
	int rc = remus_xen_version(xen, &major, &minor, err);

	if (rc < 0)
		return rc;
	if (major < d->major || (major == d->major && minor < d->minor))
		return remus_fail(
			err, -ENOTSUP,
			"%s runs on Xen %u.%u, this host has %u.%u: a standby's Xen must not be older",
			d->name, d->major, d->minor, major, minor);
	if (remus_xen_find(xen, d->name, &domid, NULL) == 0)
		return remus_fail(err, -EEXIST, "this host has a domain named %s already (%u)", d->name,
				  domid);
	if (remus_xen_find(xen, standby, &domid, NULL) == 0)
		return remus_fail(err, -EEXIST,
				  "this host has a domain %s (%u), left by a standby that was killed: "
				  "`xl destroy %u`",
				  standby, domid, domid);
	if (xc_physinfo(xen->xch, &info))
		return remus_fail_errno(err, "this host's memory");
	uint64_t free_kib = info.free_pages * 4, need_kib = d->memory_kib + OVERHEAD_KIB;
	if (free_kib < need_kib)
		return remus_fail(
			err, -ENOMEM, "%s needs %llu MiB of memory, this host has %llu MiB free for domains",
			d->name, (unsigned long long)need_kib >> 10, (unsigned long long)free_kib >> 10);
	return check_policy(xen, d, standby, err);
}

int remus_xen_preflight(const struct remus_xen_description *d, const char *standby, struct remus_error *err)
{
	struct remus_xen_handles xen;
	int rc = remus_xen_open(&xen, err);

	if (rc == 0) {
		rc = check_host(&xen, d, standby, err);
		remus_xen_close(&xen);
	}
	return rc;
}
