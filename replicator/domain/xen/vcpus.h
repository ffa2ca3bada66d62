/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each epoch asks the hypervisor about the vCPUs of an HVM or PVH guest that stands still: their state, and to go
 * on. libxenctrl has calls for both; they map and unmap a buffer each time, and ask anew what doesn't change while a
 * domain lives. Here the buffers stay.
 */
#ifndef REMUS_XEN_VCPUS_H
#define REMUS_XEN_VCPUS_H

#include <stddef.h>
#include <stdint.h>
#include <xencall.h>
#include <xenctrl.h>
#include "remus/error.h"

struct remus_xen_vcpus {
	uint32_t domid;
	xencall_handle *call;
	/* hypercall buffers: memory that the hypervisor reads and writes */
	struct xen_domctl *op;
	vcpu_guest_context_t *first;
	uint8_t *context;
	size_t context_pages;
};

int remus_xen_vcpus_open(struct remus_xen_vcpus *vcpus, struct xentoollog_logger *log, uint32_t domid,
			 struct remus_error *err);
/* Also right for one that open() refused, or that is all zero. */
void remus_xen_vcpus_close(struct remus_xen_vcpus *vcpus);

/* Their state and that of the devices that the hypervisor emulates (public/arch-x86/hvm/save.h). *out is owned by
 * @vcpus, valid until the next call. */
int remus_xen_vcpus_read(struct remus_xen_vcpus *vcpus, const uint8_t **out, size_t *bytes,
			 struct remus_error *err);

/* Make a guest go on that was suspended with its own help, and tell it that the suspend was called off. It must have
 * stopped: a running one would be given a wrong register. */
int remus_xen_vcpus_resume(struct remus_xen_vcpus *vcpus, struct remus_error *err);

#endif
