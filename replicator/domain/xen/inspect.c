/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See inspect.h. */
#include "inspect.h"

#include <libxl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/sysctl.h>
#include <xenguest.h>
#include "remus/log.h"
#include "remus/util.h"

#define SLACK_KIB 4096u /* by which libxl's maxmem exceeds what the guest was given (ring and boot pages) */

static int refuse(const char *name, struct remus_error *err, const char *what)
{
	return remus_fail(err, -ENOTSUP, "%s can't be protected: %s", name, what);
}

/* Without shadow paging there is no log-dirty mode for PV guests: Xen answers EOPNOTSUPP. HVM and PVH guests do
 * without it, so that it can be left out of a hypervisor. */
static int check_pv(const struct remus_xen_handles *xen, uint32_t domid, struct remus_xen_description *d,
		    struct remus_error *err)
{
	xc_physinfo_t info = {0};

	if (xc_physinfo(xen->xch, &info))
		return remus_fail_errno(err, "%s: what this hypervisor is able to do", d->name);
	if (!(info.capabilities & XEN_SYSCTL_PHYSCAP_shadow))
		return refuse(
			d->name, err,
			"it is a PV guest, and this hypervisor was built without shadow paging (as "
			"Debian's is), so that what a PV guest writes can't be tracked. Use a PVH guest "
			"(type=\"pvh\"), or a hypervisor with CONFIG_SHADOW_PAGING");
	d->type = REMUS_XEN_PV;
	if (xc_domain_get_guest_width(xen->xch, domid, &d->width) || (d->width != 8 && d->width != 4))
		return remus_fail_errno(err, "%s: whether it is a 64-bit guest", d->name);
	return 0;
}

static int check_disks(const libxl_domain_config *config, const char *name, struct remus_error *err)
{
	for (int i = 0; i < config->num_disks; i++) {
		const libxl_device_disk *disk = &config->disks[i];
		if (disk->readwrite)
			return remus_fail(
				err, -ENOTSUP,
				"%s can't be protected: its disk %s (%s) is writable, and disks are "
				"not replicated: after a failover memory and disk would disagree. "
				"Make it read-only or take it away",
				name, disk->vdev ? disk->vdev : "?", disk->pdev_path ? disk->pdev_path : "?");
		if (disk->backend_domid)
			return refuse(name, err, "a disk's backend is another domain (driver domain)");
	}
	return 0;
}

/* Devices that nobody reconnects on another host. */
static int check_devices(const libxl_domain_config *c, const char *name, struct remus_error *err)
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

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(devices); i++)
		if (devices[i].count)
			return refuse(name, err, devices[i].what);
	return check_disks(c, name, err);
}

/* Pages that come and go would leave stale mappings (memory.h) and holes that the backup doesn't know of. */
static int check_memory(const struct remus_xen_handles *xen, uint32_t domid, const libxl_domain_config *c,
			const char *name, struct remus_error *err)
{
	uint64_t total = 0, cache = 0, entries = 0;

	if (c->b_info.target_memkb + SLACK_KIB < c->b_info.max_memkb)
		return remus_fail(
			err, -ENOTSUP,
			"%s can't be protected: it has %llu of up to %llu KiB of memory, so that it "
			"could balloon. Give it a fixed size (memory = maxmem)",
			name, (unsigned long long)c->b_info.target_memkb,
			(unsigned long long)c->b_info.max_memkb);
	if (xc_domain_get_pod_target(xen->xch, domid, &total, &cache, &entries) == 0 && entries)
		return refuse(name, err,
			      "some of its memory is populated on demand; let it balloon down first, "
			      "or give it a fixed size (memory = maxmem)");
	return 0;
}

static int read_nics(const libxl_domain_config *c, uint32_t domid, struct remus_xen_guest *out,
		     struct remus_error *err)
{
	if (c->num_nics > REMUS_NICS_MAX)
		return remus_fail(err, -E2BIG, "%s has %d network interfaces, more than %d",
				  out->description.name, c->num_nics, REMUS_NICS_MAX);
	for (int i = 0; i < c->num_nics; i++) {
		const libxl_device_nic *nic = &c->nics[i];
		struct remus_nic *to = &out->nic[i];
		if (nic->backend_domid)
			return refuse(out->description.name, err,
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
	return 0;
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

static int check_config(const struct remus_xen_handles *xen, uint32_t domid, const libxl_domain_config *c,
			struct remus_xen_guest *out, struct remus_error *err)
{
	const char *name = out->description.name;

	if (c->c_info.type == LIBXL_DOMAIN_TYPE_HVM)
		return refuse(name, err,
			      "it is an HVM guest, and HVM guests are not in this version; use a PVH "
			      "guest (type=\"pvh\")");
	if ((c->c_info.type == LIBXL_DOMAIN_TYPE_PV) != (out->description.type == REMUS_XEN_PV))
		return remus_fail(err, -EPROTO,
				  "%s: libxl and the hypervisor disagree on what kind of guest it is", name);
	int rc = check_devices(c, name, err);
	if (rc == 0)
		rc = check_memory(xen, domid, c, name, err);
	if (rc == 0)
		rc = read_nics(c, domid, out, err);
	return rc;
}

static int read_config(const struct remus_xen_handles *xen, uint32_t domid, struct remus_xen_guest *out,
		       struct remus_error *err)
{
	libxl_ctx *ctx = NULL;
	libxl_domain_config config;

	if (libxl_ctx_alloc(&ctx, LIBXL_VERSION, 0, xen->log))
		return remus_fail(err, -EIO, "libxl can't be initialised");
	libxl_domain_config_init(&config);
	int rc = 0;
	if (libxl_retrieve_domain_configuration(ctx, domid, &config, NULL))
		rc = remus_fail(
			err, -EIO,
			"%s: libxl doesn't know its configuration: only domains made by xl or another "
			"user of libxl can be protected",
			out->description.name);
	if (rc == 0)
		rc = check_config(xen, domid, &config, out, err);
	if (rc == 0) {
		out->description.config = libxl_domain_config_to_json(ctx, &config);
		if (!out->description.config)
			rc = remus_fail(err, -ENOMEM, "%s: no memory for its configuration",
					out->description.name);
	}
	libxl_domain_config_dispose(&config);
	libxl_ctx_free(ctx);
	return rc;
}

int remus_xen_inspect(const struct remus_xen_handles *xen, uint32_t domid, struct remus_xen_guest *out,
		      struct remus_error *err)
{
	struct remus_xen_description *d = &out->description;
	REMUS_AUTO_FREE char *name = remus_xen_read(xen, domid, "name");
	xen_pfn_t last = 0;
	xc_dominfo_t info;

	memset(out, 0, sizeof *out);
	if (domid == 0)
		return remus_fail(err, -EINVAL, "domain 0 is the host's own and can't be protected");
	int rc = remus_xen_info(xen, domid, &info, err);
	if (rc < 0)
		return rc;
	if (name)
		snprintf(d->name, sizeof d->name, "%s", name);
	else
		snprintf(d->name, sizeof d->name, "domain-%u", domid);
	rc = info.hvm ? 0 : check_pv(xen, domid, d, err);
	if (rc == 0)
		rc = read_config(xen, domid, out, err);
	if (rc == 0)
		rc = remus_xen_version(xen, &d->major, &d->minor, err);
	if (rc == 0 && xc_domain_maximum_gpfn(xen->xch, domid, &last) < 0)
		rc = remus_fail_errno(err, "%s: its highest page", d->name);
	if (rc == 0)
		rc = read_policy(xen, domid, d, err);
	d->pages = last + 1;
	d->memory_kib = (uint64_t)info.nr_pages * 4;
	if (rc < 0)
		remus_xen_guest_free(out);
	return rc;
}

void remus_xen_guest_free(struct remus_xen_guest *guest)
{
	remus_xen_description_free(&guest->description);
	guest->nics = 0;
}
