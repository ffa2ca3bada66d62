/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See handles.h. Deadline: hypercalls return; xenstored answers in milliseconds or the host is lost anyway. */
#include "handles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/version.h>
#include "remus/util.h"
#include "types.h"

/* Exported by libxenctrl and used by libxenguest, but declared in no public header (4.17). */
int xc_get_pfn_type_batch(xc_interface *xch, uint32_t dom, unsigned int num, xen_pfn_t *arr);

int remus_xen_open(struct remus_xen_handles *xen, struct remus_error *err)
{
	memset(xen, 0, sizeof *xen);
	/* Errors of the libraries; ours say the same with the domain's name. */
	xen->log = (xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_CRITICAL, 0);
	xen->xch = xc_interface_open(xen->log, xen->log, 0);
	if (!xen->xch) {
		remus_fail_errno(err,
				 "Xen's control interface (/dev/xen/privcmd): does this host run on Xen, "
				 "and is this root?");
		remus_xen_close(xen);
		return -ENODEV;
	}
	xen->fmem = xenforeignmemory_open(xen->log, 0);
	xen->xs = xs_open(0);
	if (!xen->fmem || !xen->xs) {
		remus_fail_errno(err, xen->fmem ? "xenstore: is xenstored running?"
						: "Xen's foreign memory interface");
		remus_xen_close(xen);
		return -ENODEV;
	}
	return 0;
}

void remus_xen_close(struct remus_xen_handles *xen)
{
	if (xen->xs)
		xs_close(xen->xs);
	if (xen->fmem)
		xenforeignmemory_close(xen->fmem);
	if (xen->xch)
		xc_interface_close(xen->xch);
	if (xen->log)
		xtl_logger_destroy(xen->log);
	memset(xen, 0, sizeof *xen);
}

int remus_xen_version(const struct remus_xen_handles *xen, unsigned *major, unsigned *minor,
		      struct remus_error *err)
{
	int version = xc_version(xen->xch, XENVER_version, NULL);

	if (version < 0)
		return remus_fail_errno(err, "the hypervisor's version");
	*major = (unsigned)version >> 16;
	*minor = (unsigned)version & 0xffff;
	return 0;
}

void remus_xen_version_text(const struct remus_xen_handles *xen, char out[64])
{
	xen_extraversion_t extra = "";
	int version = xc_version(xen->xch, XENVER_version, NULL);

	if (xc_version(xen->xch, XENVER_extraversion, &extra) < 0)
		extra[0] = 0;
	snprintf(out, 64, "%d.%d%.16s", version < 0 ? 0 : version >> 16, version < 0 ? 0 : version & 0xffff,
		 extra);
}

char *remus_xen_read(const struct remus_xen_handles *xen, uint32_t domid, const char *key)
{
	char path[128];
	unsigned length;

	snprintf(path, sizeof path, "/local/domain/%u/%s", domid, key);
	return xs_read(xen->xs, XBT_NULL, path, &length); /* NUL-terminated by the library */
}

int remus_xen_find(const struct remus_xen_handles *xen, const char *name, uint32_t *domid,
		   struct remus_error *err)
{
	unsigned count = 0;
	char *end;
	unsigned long number = strtoul(name, &end, 10);

	if (*name && !*end && number < DOMID_FIRST_RESERVED) {
		*domid = (uint32_t)number;
		return 0;
	}
	char **list = xs_directory(xen->xs, XBT_NULL, "/local/domain", &count);
	int rc = -ENOENT;
	for (unsigned i = 0; list && i < count && rc < 0; i++) {
		uint32_t id = (uint32_t)strtoul(list[i], NULL, 10);
		REMUS_AUTO_FREE char *its = remus_xen_read(xen, id, "name");
		if (its && !strcmp(its, name)) {
			*domid = id;
			rc = 0;
		}
	}
	free(list);
	return rc == 0 ? 0 : remus_fail(err, rc, "no Xen domain is named \"%s\"; `xl list` shows them", name);
}

int remus_xen_info(const struct remus_xen_handles *xen, uint32_t domid, xc_dominfo_t *info,
		   struct remus_error *err)
{
	int n = xc_domain_getinfo(xen->xch, domid, 1, info);

	if (n < 0)
		return remus_fail_errno(err, "domain %u", domid);
	if (n == 0 || info->domid != domid || info->dying)
		return remus_fail(err, -ESRCH, "domain %u doesn't exist any more", domid);
	return 0;
}

int remus_xen_types(const struct remus_xen_handles *xen, uint32_t domid, xen_pfn_t *type, size_t count,
		    struct remus_error *err)
{
	for (size_t at = 0; at < count; at += REMUS_XEN_TYPES_BATCH) {
		size_t piece = count - at;
		if (piece > REMUS_XEN_TYPES_BATCH)
			piece = REMUS_XEN_TYPES_BATCH;
		if (xc_get_pfn_type_batch(xen->xch, domid, (unsigned)piece, type + at))
			return remus_fail_errno(err, "domain %u: the types of %zu pages", domid, piece);
	}
	return 0;
}
