/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The numbers under which a PV guest's memory travels. Page tables of a PV guest are only page tables when their
 * type comes with them, and which pages hold the guest's own table of its memory must be known before the first
 * of them. Both are made pages of their own, so that everything made for pages holds for them too: the first full
 * copy, deltas against what was sent last, sending again after a lost epoch (I9), one epoch whole or not at all (I3).
 *
 *   number     0 .. F-1             the frame list: the body of Xen's X86_PV_P2M_FRAMES record, zero padded
 *              F + 4097 k           types of the pages 4096 k .. 4096 k + 4095, a byte each (types.h)
 *              F + 4097 k + 1 + i   page 4096 k + i of the guest
 *
 * Types come before their pages, so that the first copy can be passed on in ascending order. Page tables
 * themselves hold page frame numbers (Xen's stream normalises them): they stay equal from epoch to epoch.
 */
#ifndef REMUS_XEN_SPACE_H
#define REMUS_XEN_SPACE_H

#include <stdint.h>

#define REMUS_XEN_SPACE_BLOCK 4096u /* pages whose types are on one */

enum remus_xen_space_kind { REMUS_XEN_SPACE_FRAMES, REMUS_XEN_SPACE_TYPES, REMUS_XEN_SPACE_MEMORY };

struct remus_xen_place {
	enum remus_xen_space_kind kind;
	uint64_t index; /* of the frame list's page, of the block, of the guest's page */
};

/* Pages that the frame list of a guest with @pages may take: 8 bytes and 8 per 512 pages (words of 8 bytes), or
 * per 1024 (words of 4). */
static inline uint64_t remus_xen_space_frames(uint64_t pages)
{
	return (8 + 8 * ((pages - 1) / 512 + 1) + 4095) / 4096;
}
static inline uint64_t remus_xen_space_blocks(uint64_t pages)
{
	return (pages + REMUS_XEN_SPACE_BLOCK - 1) / REMUS_XEN_SPACE_BLOCK;
}
/* How many numbers there are. @pages is at least 1. */
static inline uint64_t remus_xen_space_size(uint64_t pages)
{
	return remus_xen_space_frames(pages) + remus_xen_space_blocks(pages) + pages;
}
static inline uint64_t remus_xen_space_types(uint64_t pages, uint64_t block)
{
	return remus_xen_space_frames(pages) + block * (REMUS_XEN_SPACE_BLOCK + 1);
}
static inline uint64_t remus_xen_space_memory(uint64_t pages, uint64_t pfn)
{
	return remus_xen_space_types(pages, pfn / REMUS_XEN_SPACE_BLOCK) + 1 + pfn % REMUS_XEN_SPACE_BLOCK;
}
/* What is at @number, which is below the size. */
static inline struct remus_xen_place remus_xen_space_at(uint64_t pages, uint64_t number)
{
	uint64_t frames = remus_xen_space_frames(pages), block, offset;

	if (number < frames)
		return (struct remus_xen_place){REMUS_XEN_SPACE_FRAMES, number};
	block = (number - frames) / (REMUS_XEN_SPACE_BLOCK + 1);
	offset = (number - frames) % (REMUS_XEN_SPACE_BLOCK + 1);
	if (offset == 0)
		return (struct remus_xen_place){REMUS_XEN_SPACE_TYPES, block};
	return (struct remus_xen_place){REMUS_XEN_SPACE_MEMORY, block * REMUS_XEN_SPACE_BLOCK + offset - 1};
}

#endif
