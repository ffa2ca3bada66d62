/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which page frames have content of their own: what Xen's getpageframeinfo3 says of them. shared_info, grant
 * frames and holes answer "no page" and are never sent as memory. Of a PV guest's pages the type also says
 * which are page tables: 0 ordinary, 1..4 page table of that level, 9..12 the same and pinned, 13 broken, 14
 * allocated without content, 15 no page.
 */
#ifndef REMUS_XEN_TYPES_H
#define REMUS_XEN_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "remus/bitmap.h"

#define REMUS_XEN_TYPES_BATCH 1024u /* the hypervisor's own limit per call */

/* xen/domctl.h: XTAB, XALLOC and BROKEN, 0xd..0xf in the top four bits of 32. */
static inline bool remus_xen_type_has_content(uint64_t type)
{
	return (type >> 28 & 0xf) < 0xd;
}

#define REMUS_XEN_PV_NO_PAGE 15u

/* A PV guest's page types, the four bits alone. */
static inline bool remus_xen_pv_type_known(unsigned type)
{
	return type <= 4 || (type >= 9 && type <= 15);
}
static inline bool remus_xen_pv_type_has_content(unsigned type)
{
	return type < 13;
}
static inline bool remus_xen_pv_type_is_table(unsigned type)
{
	return (type & 7) >= 1 && (type & 7) <= 4;
}

/* The frames [first, first+count) have these types: set the bits of those with content. */
static inline void remus_xen_types_mark(uint64_t *map, uint64_t first, const uint64_t *type, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (remus_xen_type_has_content(type[i]))
			remus_bitmap_set(map, first + i);
}

#endif
