/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See ring.h. */
#include "ring.h"

#include <sys/mman.h>
#include <xen/hvm/params.h>
#include <xen/io/xs_wire.h>

#define HEAD	sizeof(struct xsd_sockmsg)
#define PATH	sizeof "control/shutdown"
#define START	(HEAD + 1)
#define READ	(HEAD + PATH)
#define WRITE	(HEAD + PATH)
#define END	(HEAD + 2)
#define NOTHING (START + READ + END)	     /* bytes of an event that is read for nothing */
#define SUSPEND (START + READ + WRITE + END) /* of the one that the guest suspends for */

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

/* Events read for nothing since the last mark, of @bytes that may hold a suspend. */
static unsigned read_since(const struct remus_xen_ring *ring, uint32_t asked, uint32_t suspend)
{
	uint32_t bytes = asked - ring->from;
	uint32_t events = bytes > suspend ? (uint32_t)((bytes - suspend) / NOTHING) : 0;

	return events < ring->left ? events : ring->left; /* it asks for other things, too */
}

void remus_xen_ring_mark(struct remus_xen_ring *ring)
{
	if (!ring->page)
		return;
	uint32_t asked = counter(&ring->page->req_prod);
	/* Two came, of which it took one. */
	ring->left = ring->marked ? ring->left - read_since(ring, asked, SUSPEND) + 1 : 1;
	ring->from = asked;
	ring->marked = true;
}

unsigned remus_xen_ring_behind(const struct remus_xen_ring *ring)
{
	if (!ring->marked)
		return 0;
	return ring->left - read_since(ring, counter(&ring->page->req_prod), 0);
}
