/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See preflight.h. */
#include "preflight.h"

#include <stdio.h>
#include <xenctrl.h>
#include <xen/sysctl.h>
#include <xenguest.h>

#include "handles.h"
#include "needs.h"
#include "remus/host.h"
#include "clocks.h"

#define OVERHEAD_KIB 16384u /* Xen's own tables for a small guest, with room to spare */

static void check_policy(const struct remus_xen_handles *xen, const struct remus_xen_description *d,
			 const char *standby, struct remus_report *report)
{
	xc_cpu_policy_t *host = xc_cpu_policy_init(), *guest = xc_cpu_policy_init();
	unsigned most =
		d->type == REMUS_XEN_PV ? XEN_SYSCTL_cpu_policy_pv_max : XEN_SYSCTL_cpu_policy_hvm_max;
	struct remus_error err = REMUS_ERROR_INIT;

	if (!host || !guest || xc_cpu_policy_get_system(xen->xch, most, host))
		remus_fail_errno(&err, "this host's CPU policy");
	else if (xc_cpu_policy_get_system(xen->xch, most, guest) ||
		 xc_cpu_policy_update_cpuid(xen->xch, guest, (const void *)d->cpuid,
					    (uint32_t)(d->cpuid_bytes / sizeof(xen_cpuid_leaf_t))) ||
		 xc_cpu_policy_update_msrs(xen->xch, guest, (const void *)d->msr,
					   (uint32_t)(d->msr_bytes / sizeof(xen_msr_entry_t))))
		remus_fail_errno(&err, "%s: its CPU policy isn't understood here", standby);
	else if (!xc_cpu_policy_is_compatible(xen->xch, host, guest))
		remus_report_fatal(report, -ENOTSUP, "cpu",
				   "mask them in the guest's configuration (cpuid=...) and start it anew, or "
				   "use equal hosts",
				   "%s sees processor features that this host lacks", d->name);
	else
		remus_report_ok(report, "cpu", "this host has every processor feature that %s sees", d->name);
	if (err.code)
		remus_report_error(report, "cpu", NULL, &err);
	if (host)
		xc_cpu_policy_destroy(host);
	if (guest)
		xc_cpu_policy_destroy(guest);
}

static void check_version(const struct remus_xen_handles *xen, const struct remus_xen_description *d,
			  struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	unsigned major, minor;
	char text[64];

	if (remus_xen_version(xen, &major, &minor, &err) < 0) {
		remus_report_error(report, "xen", NULL, &err);
		return;
	}
	remus_xen_version_text(xen, text);
	if (major < d->major || (major == d->major && minor < d->minor))
		remus_report_fatal(
			report, -ENOTSUP, "xen", "upgrade this host first",
			"%s runs on Xen %u.%u, this host has %u.%u: a standby's Xen must not be older",
			d->name, d->major, d->minor, major, minor);
	else if (major != d->major || minor != d->minor)
		remus_report_warn(
			report, "xen", "upgrade the primary too",
			"%s runs on Xen %u.%u, this host has %s: after a failover there is no way back",
			d->name, d->major, d->minor, text);
	else
		remus_report_ok(report, "xen", "this host runs Xen %s", text);
}

static void check_names(const struct remus_xen_handles *xen, const struct remus_xen_description *d,
			const char *standby, struct remus_report *report)
{
	char remedy[64];
	uint32_t domid;
	bool clash = false;

	if (remus_xen_find(xen, d->name, &domid, NULL) == 0) {
		clash = true;
		remus_report_fatal(report, -EEXIST, "name", "rename (xl rename) or destroy that one",
				   "this host has a domain named %s already (%u)", d->name, domid);
	}
	if (remus_xen_find(xen, standby, &domid, NULL) == 0) {
		clash = true;
		snprintf(remedy, sizeof remedy, "`xl destroy %u`", domid);
		remus_report_fatal(report, -EEXIST, "name", remedy,
				   "this host has a domain %s (%u), left by a standby that was killed",
				   standby, domid);
	}
	if (!clash)
		remus_report_ok(report, "name", "the names %s and %s are free", d->name, standby);
}

/* The domain's memory is Xen's; the copy that outlives a failed activation (shadow.h) is dom0's. */
static void check_memory(const struct remus_xen_handles *xen, const struct remus_xen_description *d,
			 bool copy, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	xc_physinfo_t info;

	if (xc_physinfo(xen->xch, &info)) {
		remus_fail_errno(&err, "this host's memory");
		remus_report_error(report, "memory", NULL, &err);
		return;
	}
	uint64_t free_kib = info.free_pages * 4, need_kib = d->memory_kib + OVERHEAD_KIB;
	if (copy && free_kib < 2 * need_kib)
		remus_report_fatal(
			report, -ENOMEM, "memory", "end or shrink other guests there, or give its dom0 less",
			"a copy of %s needs %llu MiB of memory, and as much must be left to build its "
			"standby "
			"anew, should that be lost meanwhile: this host has %llu MiB free for domains",
			d->name, (unsigned long long)need_kib >> 10, (unsigned long long)free_kib >> 10);
	else if (free_kib < need_kib)
		remus_report_fatal(
			report, -ENOMEM, "memory", "end or shrink other guests there, or give its dom0 less",
			"%s needs %llu MiB of memory, this host has %llu MiB free for domains", d->name,
			(unsigned long long)need_kib >> 10, (unsigned long long)free_kib >> 10);
	else
		remus_report_ok(report, "memory",
				"%s needs %llu MiB of memory, %llu MiB are free for domains", d->name,
				(unsigned long long)need_kib >> 10, (unsigned long long)free_kib >> 10);
	if (copy) /* it is fed from its standby's shadow (snapshot.h) */
		return;
	remus_host_check_memory(d->memory_kib << 10, "the copy of its memory in dom0", REMUS_FINDING_WARNING,
				report);
}

static uint32_t host_khz(const struct remus_xen_handles *xen)
{
	xc_physinfo_t info;

	return xc_physinfo(xen->xch, &info) ? 0 : info.cpu_khz;
}

void remus_xen_preflight(const struct remus_xen_description *d, const char *standby, bool copy,
			 struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_xen_handles xen;

	if (remus_xen_open(&xen, &err) < 0) {
		remus_report_error(report, "xen", NULL, &err);
	} else {
		check_version(&xen, d, report);
		check_names(&xen, d, standby, report);
		check_memory(&xen, d, copy, report);
		check_policy(&xen, d, standby, report);
		remus_xen_check_tsc(d, host_khz(&xen), report);
		remus_xen_close(&xen);
	}
	remus_xen_check_needs(d, &remus_xen_places, report);
}
