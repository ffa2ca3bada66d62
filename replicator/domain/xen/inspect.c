/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See inspect.h. */
#include "inspect.h"

#include <libxl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/sysctl.h>
#include <xenguest.h>
#include "remus/util.h"
#include "suspend.h"

#define SLACK_KIB 4096u /* by which libxl's maxmem exceeds what the guest was given (ring and boot pages) */

/* "X can't be protected: WHAT; REMEDY" */
static void refuse(struct remus_report *report, const char *name, const char *subject, const char *remedy,
		   const char *what)
{
	remus_report_fatal(report, -ENOTSUP, subject, remedy, "%s can't be protected: %s", name, what);
}

/* Without shadow paging there is no log-dirty mode for PV guests: Xen answers EOPNOTSUPP. HVM and PVH guests do
 * without it, so that it can be left out of a hypervisor. */
static bool check_pv(const struct remus_xen_handles *xen, uint32_t domid, struct remus_xen_description *d,
		     struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	xc_physinfo_t info = {0};

	d->type = REMUS_XEN_PV;
	if (xc_physinfo(xen->xch, &info)) {
		remus_fail_errno(&err, "%s: what this hypervisor is able to do", d->name);
	} else if (!(info.capabilities & XEN_SYSCTL_PHYSCAP_shadow)) {
		refuse(report, d->name, "type",
		       "use a PVH guest (type=\"pvh\"), or a hypervisor with CONFIG_SHADOW_PAGING",
		       "it is a PV guest, and this hypervisor was built without shadow paging (as "
		       "Debian's is), so that what a PV guest writes can't be tracked");
		return false;
	} else if (xc_domain_get_guest_width(xen->xch, domid, &d->width) ||
		   (d->width != 8 && d->width != 4)) {
		remus_fail_errno(&err, "%s: whether it is a 64-bit guest", d->name);
	} else {
		return true;
	}
	remus_report_error(report, "type", NULL, &err);
	return false;
}

static void check_disks(const libxl_domain_config *config, const char *name, struct remus_report *report)
{
	for (int i = 0; i < config->num_disks; i++) {
		const libxl_device_disk *disk = &config->disks[i];
		const char *vdev = disk->vdev ? disk->vdev : "?",
			   *path = disk->pdev_path ? disk->pdev_path : "?";
		if (disk->readwrite)
			remus_report_fatal(
				report, -ENOTSUP, "disk", "make it read-only or take it away",
				"%s can't be protected: its disk %s (%s) is writable, and disks are "
				"not replicated: after a failover memory and disk would disagree",
				name, vdev, path);
		else if (disk->backend_domid)
			refuse(report, name, "disk", "let dom0 serve it",
			       "a disk's backend is another domain (driver domain)");
		else
			remus_report_ok(report, "disk", "disk %s (%s) is read-only", vdev, path);
	}
}

/* Devices that nobody reconnects on another host. */
static void check_devices(const libxl_domain_config *c, const char *name, struct remus_report *report)
{
	const struct {
		int count;
		const char *what;
	} devices[] = {
		{c->num_pcidevs, "a PCI device is passed through to it"},
		{c->num_rdms, "reserved device memory is assigned to it"},
		{c->num_dtdevs, "a host device is passed through to it"},
		{c->num_usbctrls + c->num_usbdevs, "USB is passed through to it"},
		{c->num_vtpms, "it has a vTPM, whose state is not replicated"},
		{c->num_p9s, "it has a 9pfs share, whose state is not replicated"},
		{c->num_pvcallsifs, "it has PV calls, whose sockets are the host's"},
		{c->num_vfbs + c->num_vkbs, "it has a virtual framebuffer or keyboard"},
		{c->num_vdispls + c->num_vsnds, "it has a virtual display or sound device"},
		{c->num_channels, "it has channels"},
	};
	int found = 0;

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(devices); i++) {
		found += devices[i].count;
		if (devices[i].count)
			refuse(report, name, "device", "take it out of the guest's configuration",
			       devices[i].what);
	}
	if (!found)
		remus_report_ok(report, "device", "it has no device that only this host could serve");
	check_disks(c, name, report);
}

/* Pages that come and go would leave stale mappings (memory.h) and holes that the backup doesn't know of. */
static void check_memory(const struct remus_xen_handles *xen, uint32_t domid, const libxl_domain_config *c,
			 const char *name, struct remus_report *report)
{
	uint64_t total = 0, cache = 0, entries = 0;
	bool balloons = c->b_info.target_memkb + SLACK_KIB < c->b_info.max_memkb;
	bool on_demand = xc_domain_get_pod_target(xen->xch, domid, &total, &cache, &entries) == 0 && entries;

	if (balloons)
		remus_report_fatal(
			report, -ENOTSUP, "memory", "give it a fixed size (memory = maxmem)",
			"%s can't be protected: it has %llu of up to %llu KiB of memory, so that it "
			"could balloon",
			name, (unsigned long long)c->b_info.target_memkb,
			(unsigned long long)c->b_info.max_memkb);
	if (on_demand)
		refuse(report, name, "memory",
		       "let it balloon down first, or give it a fixed size (memory = maxmem)",
		       "some of its memory is populated on demand");
	if (!balloons && !on_demand)
		remus_report_ok(report, "memory", "its memory has a fixed size, %llu MiB",
				(unsigned long long)c->b_info.target_memkb >> 10);
}

static void read_nics(const libxl_domain_config *c, uint32_t domid, struct remus_xen_guest *out,
		      struct remus_report *report)
{
	if (c->num_nics > REMUS_NICS_MAX) {
		remus_report_fatal(report, -E2BIG, "network", "take some away",
				   "%s has %d network interfaces, more than %d", out->description.name,
				   c->num_nics, REMUS_NICS_MAX);
		return;
	}
	for (int i = 0; i < c->num_nics; i++) {
		const libxl_device_nic *nic = &c->nics[i];
		struct remus_nic *to = &out->nic[i];
		if (nic->backend_domid)
			refuse(report, out->description.name, "network", "let dom0 serve it",
			       "a network interface's backend is another domain (driver domain)");
		memset(to, 0, sizeof *to);
		to->kind = REMUS_NIC_VIF;
		memcpy(to->mac, nic->mac, sizeof to->mac);
		if (nic->ifname && *nic->ifname)
			snprintf(to->interface, sizeof to->interface, "%s", nic->ifname);
		else
			snprintf(to->interface, sizeof to->interface, "vif%u.%d", domid, nic->devid);
	}
	out->nics = c->num_nics;
}

static int read_policy(const struct remus_xen_handles *xen, uint32_t domid, struct remus_xen_description *d,
		       struct remus_error *err)
{
	xc_cpu_policy_t *policy = xc_cpu_policy_init();
	uint32_t leaves = 0, msrs = 0;
	int rc = 0;

	if (!policy || xc_cpu_policy_get_size(xen->xch, &leaves, &msrs) ||
	    xc_cpu_policy_get_domain(xen->xch, domid, policy)) {
		rc = remus_fail_errno(err, "%s: its CPU policy", d->name);
	} else {
		d->cpuid = calloc(leaves, sizeof(xen_cpuid_leaf_t));
		d->msr = calloc(msrs, sizeof(xen_msr_entry_t));
		if (!d->cpuid || !d->msr)
			rc = remus_fail(err, -ENOMEM, "%s: no memory for its CPU policy", d->name);
		else if (xc_cpu_policy_serialise(xen->xch, policy, (void *)d->cpuid, &leaves, (void *)d->msr,
						 &msrs))
			rc = remus_fail_errno(err, "%s: its CPU policy can't be serialised", d->name);
		d->cpuid_bytes = leaves * sizeof(xen_cpuid_leaf_t);
		d->msr_bytes = msrs * sizeof(xen_msr_entry_t);
	}
	if (policy)
		xc_cpu_policy_destroy(policy);
	return rc;
}

static void check_config(const struct remus_xen_handles *xen, uint32_t domid, const libxl_domain_config *c,
			 struct remus_xen_guest *out, struct remus_report *report)
{
	const char *name = out->description.name;

	if (c->c_info.type == LIBXL_DOMAIN_TYPE_HVM)
		refuse(report, name, "type", "use a PVH guest (type=\"pvh\")",
		       "it is an HVM guest, and HVM guests are not in this version");
	else if (c->c_info.type == LIBXL_DOMAIN_TYPE_PV)
		out->supported = check_pv(xen, domid, &out->description, report);
	else
		out->supported = true;
	check_devices(c, name, report);
	check_memory(xen, domid, c, name, report);
	read_nics(c, domid, out, report);
}

static void read_config(const struct remus_xen_handles *xen, uint32_t domid, struct remus_xen_guest *out,
			struct remus_report *report)
{
	const char *name = out->description.name;
	libxl_ctx *ctx = NULL;
	libxl_domain_config config;

	if (libxl_ctx_alloc(&ctx, LIBXL_VERSION, 0, xen->log)) {
		remus_report_fatal(report, -EIO, "libxl", "is xenstored running?",
				   "libxl can't be initialised");
		return;
	}
	libxl_domain_config_init(&config);
	if (libxl_retrieve_domain_configuration(ctx, domid, &config, NULL)) {
		remus_report_fatal(
			report, -EIO, "guest", "start it with xl",
			"%s: libxl doesn't know its configuration: only domains made by xl or another "
			"user of libxl can be protected",
			name);
	} else {
		check_config(xen, domid, &config, out, report);
		out->description.config = libxl_domain_config_to_json(ctx, &config);
		if (!out->description.config)
			remus_report_fatal(report, -ENOMEM, "guest", NULL,
					   "%s: no memory for its configuration", name);
	}
	libxl_domain_config_dispose(&config);
	libxl_ctx_free(ctx);
}

/* What the backup needs besides the configuration. */
static void read_facts(const struct remus_xen_handles *xen, uint32_t domid, const xc_dominfo_t *info,
		       struct remus_xen_description *d, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	xen_pfn_t last = 0;
	int rc = remus_xen_version(xen, &d->major, &d->minor, &err);

	if (rc == 0 && xc_domain_maximum_gpfn(xen->xch, domid, &last) < 0)
		rc = remus_fail_errno(&err, "%s: its highest page", d->name);
	if (rc == 0)
		rc = read_policy(xen, domid, d, &err);
	if (rc < 0)
		remus_report_error(report, "guest", NULL, &err);
	uint32_t incarnation;
	uint64_t nsec;
	if (xc_domain_get_tsc_info(xen->xch, domid, &d->tsc_mode, &nsec, &d->tsc_khz, &incarnation))
		d->tsc_khz = 0; /* nothing fails for it */
	d->pages = last + 1;
	d->memory_kib = (uint64_t)info->nr_pages * 4;
}

void remus_xen_inspect(const struct remus_xen_handles *xen, uint32_t domid, struct remus_xen_guest *out,
		       struct remus_report *report)
{
	struct remus_xen_description *d = &out->description;
	REMUS_AUTO_FREE char *name = remus_xen_read(xen, domid, "name");
	struct remus_error err = REMUS_ERROR_INIT;
	xc_dominfo_t info;

	memset(out, 0, sizeof *out);
	if (domid == 0) {
		remus_report_fatal(report, -EINVAL, "guest", "name a guest",
				   "domain 0 is the host's own and can't be protected");
		return;
	}
	if (remus_xen_info(xen, domid, &info, &err) < 0) {
		remus_report_error(report, "guest", NULL, &err);
		return;
	}
	if (name)
		snprintf(d->name, sizeof d->name, "%s", name);
	else
		snprintf(d->name, sizeof d->name, "domain-%u", domid);
	read_config(xen, domid, out, report);
	if (out->supported)
		read_facts(xen, domid, &info, d, report);
	if (out->supported && remus_xen_suspend_check(xen, domid, &err) < 0)
		remus_report_error(report, "suspend", NULL, &err);
}

void remus_xen_guest_free(struct remus_xen_guest *guest)
{
	remus_xen_description_free(&guest->description);
	guest->nics = 0;
	guest->supported = false;
}
