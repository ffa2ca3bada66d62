/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See ring.h. */
#include "ring.h"

#include <sys/mman.h>
#include <xen/hvm/params.h>
#include <xen/io/xs_wire.h>

/* What the three requests have at least: their heads and "control/shutdown". */
#define LEFT_OVER_BYTES (3 * sizeof(struct xsd_sockmsg) + sizeof "control/shutdown")
#define QUIET_US	10000u /* between the reading of two events it is never so quiet, even on a slow host */

void remus_xen_ring_open(struct remus_xen_ring *ring, const struct remus_xen_handles *xen, uint32_t domid)
{
	uint64_t pfn = 0;
	int bad = 0;

	*ring = (struct remus_xen_ring){.xen = xen};
	if (xc_hvm_param_get(xen->xch, domid, HVM_PARAM_STORE_PFN, &pfn) || !pfn)
		return;
	xen_pfn_t frame = pfn;
	ring->page = xenforeignmemory_map(xen->fmem, domid, PROT_READ, 1, &frame, &bad);
	if (ring->page && bad)
		remus_xen_ring_close(ring);
}

void remus_xen_ring_close(struct remus_xen_ring *ring)
{
	if (ring->page)
		xenforeignmemory_unmap(ring->xen->fmem, (void *)ring->page, 1);
	ring->page = NULL;
	ring->marked = false;
}

static uint32_t counter(const XENSTORE_RING_IDX *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

void remus_xen_ring_mark(struct remus_xen_ring *ring)
{
	if (ring->page)
		ring->from = counter(&ring->page->req_prod);
	ring->marked = ring->page != NULL;
	ring->quiet_since_us = 0;
}

bool remus_xen_ring_settled(struct remus_xen_ring *ring, uint64_t now_us)
{
	if (!ring->marked)
		return true;
	uint32_t asked = counter(&ring->page->req_prod);
	bool idle = asked - ring->from >= LEFT_OVER_BYTES && counter(&ring->page->req_cons) == asked &&
		    counter(&ring->page->rsp_prod) == counter(&ring->page->rsp_cons);
	if (!idle || asked != ring->seen || !ring->quiet_since_us)
		ring->quiet_since_us = idle ? now_us : 0;
	ring->seen = asked;
	return idle && now_us - ring->quiet_since_us >= QUIET_US;
}
