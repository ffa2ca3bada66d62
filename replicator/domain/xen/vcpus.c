/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See vcpus.h. The hypercalls are those of <xen/domctl.h>, whose version libxenctrl was built for, too. */
#include "vcpus.h"

#include <string.h>
#include "remus/pages.h"
#include "remus/util.h"
#include "state.h"

#define CALLED_OFF 1 /* what SCHEDOP_shutdown returns to a guest whose suspend was called off */

static size_t pages_of(size_t bytes)
{
	return (bytes + REMUS_PAGE_SIZE - 1) / REMUS_PAGE_SIZE;
}

static struct xen_domctl *prepare(struct remus_xen_vcpus *v, uint32_t cmd)
{
	memset(v->op, 0, sizeof *v->op);
	v->op->cmd = cmd;
	v->op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
	v->op->domain = (domid_t)v->domid;
	return v->op;
}

static int carry_out(struct remus_xen_vcpus *v, const char *what, struct remus_error *err)
{
	int rc = xencall1(v->call, __HYPERVISOR_domctl, (uintptr_t)v->op);

	return rc < 0 ? remus_fail_errno(err, "domain %u: %s", v->domid, what) : 0;
}

int remus_xen_vcpus_open(struct remus_xen_vcpus *v, struct xentoollog_logger *log, uint32_t domid,
			 struct remus_error *err)
{
	*v = (struct remus_xen_vcpus){.domid = domid, .call = xencall_open(log, 0)};
	if (!v->call)
		return remus_fail_errno(err, "domain %u: hypercalls", domid);
	v->op = xencall_alloc_buffer_pages(v->call, pages_of(sizeof *v->op));
	v->first = xencall_alloc_buffer_pages(v->call, pages_of(sizeof *v->first));
	if (v->op && v->first)
		return 0;
	remus_xen_vcpus_close(v);
	return remus_fail(err, -ENOMEM, "domain %u: no memory for hypercalls", domid);
}

void remus_xen_vcpus_close(struct remus_xen_vcpus *v)
{
	if (!v->call)
		return;
	if (v->op)
		xencall_free_buffer_pages(v->call, v->op, pages_of(sizeof *v->op));
	if (v->first)
		xencall_free_buffer_pages(v->call, v->first, pages_of(sizeof *v->first));
	if (v->context)
		xencall_free_buffer_pages(v->call, v->context, v->context_pages);
	xencall_close(v->call);
	memset(v, 0, sizeof *v);
}

/* How large the state is doesn't change: the hypervisor counts it out for the vCPUs that there are. */
static int make_room(struct remus_xen_vcpus *v, struct remus_error *err)
{
	struct xen_domctl *op = prepare(v, XEN_DOMCTL_gethvmcontext);
	int rc = carry_out(v, "the size of its vCPU state can't be asked", err);

	if (rc < 0)
		return rc;
	if (!op->u.hvmcontext.size || op->u.hvmcontext.size > REMUS_XEN_CONTEXT_MAX)
		return remus_fail(err, -EIO, "domain %u: its vCPU state has %u bytes", v->domid,
				  op->u.hvmcontext.size);
	v->context_pages = pages_of(op->u.hvmcontext.size);
	v->context = xencall_alloc_buffer_pages(v->call, v->context_pages);
	return v->context ? 0 : remus_fail(err, -ENOMEM, "domain %u: no memory for its vCPU state", v->domid);
}

int remus_xen_vcpus_read(struct remus_xen_vcpus *v, const uint8_t **out, size_t *bytes,
			 struct remus_error *err)
{
	int rc = v->context ? 0 : make_room(v, err);

	if (rc < 0)
		return rc;
	struct xen_domctl *op = prepare(v, XEN_DOMCTL_gethvmcontext);
	op->u.hvmcontext.size = (uint32_t)(v->context_pages * REMUS_PAGE_SIZE);
	set_xen_guest_handle_raw(op->u.hvmcontext.buffer, v->context);
	rc = carry_out(v, "its vCPU state can't be read", err);
	*out = v->context;
	*bytes = op->u.hvmcontext.size;
	return rc;
}

/* As a toolstack does after a checkpoint: the first vCPU, which made the call, is given the answer in its register. */
int remus_xen_vcpus_resume(struct remus_xen_vcpus *v, struct remus_error *err)
{
	struct xen_domctl *op = prepare(v, XEN_DOMCTL_getvcpucontext);
	set_xen_guest_handle_raw(op->u.vcpucontext.ctxt, v->first);
	int rc = carry_out(v, "its first vCPU can't be read", err);

	if (rc == 0) {
		v->first->user_regs.rax = CALLED_OFF;
		op = prepare(v, XEN_DOMCTL_setvcpucontext);
		set_xen_guest_handle_raw(op->u.vcpucontext.ctxt, v->first);
		rc = carry_out(v, "its first vCPU can't be set", err);
	}
	if (rc == 0) {
		prepare(v, XEN_DOMCTL_resumedomain);
		rc = carry_out(v, "it can't be resumed", err);
	}
	return rc;
}
