/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PV guest on paper, and the stream that Xen's libxenguest would write of it, made without the writer that is
 * under test: bytes are put together here as Xen's docs/specs/libxc-migration-stream.pandoc lays them out.
 */
#ifndef XEN_PV_STREAM_H
#define XEN_PV_STREAM_H

#include "unit.h"
#include "replicator/domain/xen/stream.h"

enum { PV_PAGES = 5000, PV_LAST = PV_PAGES - 3, PV_BASIC = 8 + 5168 };

/* The type of a page in epoch @epoch: mostly ordinary, some page tables, some pinned, a few holes. */
static inline unsigned pv_type(uint64_t pfn, unsigned epoch)
{
	if (pfn % 97 == 5 || (epoch >= 2 && pfn % 89 == 4))
		return 15;
	if (pfn % 31 == 7)
		return pfn % 2 ? 1 : 9 + (unsigned)(pfn % 4);
	return epoch && pfn % 53 == 3 ? 1 : 0;
}

static inline void pv_content(uint64_t pfn, unsigned epoch, uint8_t page[4096])
{
	memset(page, (int)(pfn * 7), 4096);
	remus_put_le64(page + 8 * (pfn % 512), pfn << 12 | 0x67);
	remus_put_le64(page + 8 * (epoch % 512), (uint64_t)epoch << 32 | pfn);
}

static inline void pv_le32(struct remus_xen_buffer *b, uint32_t v)
{
	uint8_t bytes[4];
	remus_put_le32(bytes, v);
	remus_xen_buffer_add(b, bytes, 4);
}
static inline void pv_le64(struct remus_xen_buffer *b, uint64_t v)
{
	pv_le32(b, (uint32_t)v);
	pv_le32(b, (uint32_t)(v >> 32));
}
static inline void pv_head(struct remus_xen_buffer *b, uint32_t type, uint32_t length)
{
	pv_le32(b, type);
	pv_le32(b, length);
}
/* A record whose body is @length bytes of @fill, the first four of them @first. */
static inline void pv_blob(struct remus_xen_buffer *b, uint32_t type, uint32_t first, uint32_t length,
			   int fill)
{
	uint8_t body[70000];

	memset(body, fill, sizeof body);
	remus_put_le32(body, first);
	if (length >= 8 && type != 7) /* the reserved half of the header */
		remus_put_le32(body + 4, 0);
	memset(body + length, 0, 8);
	pv_head(b, type, length);
	remus_xen_buffer_add(b, body, (length + 7) & ~7u);
}

static const uint8_t pv_image[40] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'X', 'E', 'N', 'F', 0, 0,
				     0,	   3,	 0,    0,    0,	   0,	 0,    0,    0,	  0,   1,   0,	 0, 0,
				     12,   0,	 0,    0,    4,	   0,	 0,    0,    17,  0,   0,   0};

static inline void pv_static(struct remus_xen_buffer *b)
{
	static const uint8_t info[16] = {2, 0, 0, 0, 8, 0, 0, 0, 8, 4};

	remus_xen_buffer_add(b, pv_image, sizeof pv_image);
	remus_xen_buffer_add(b, info, sizeof info);
	pv_blob(b, 0x11, 1, 48, 0xc1);
	pv_blob(b, 0x12, 2, 16, 0x3a);
	pv_head(b, 0x10, 0);
}
static inline void pv_frames(struct remus_xen_buffer *b)
{
	unsigned frames = PV_LAST / 512 + 1;

	pv_head(b, 3, 8 + 8 * frames);
	pv_le32(b, 0);
	pv_le32(b, PV_LAST);
	for (unsigned i = 0; i < frames; i++)
		pv_le64(b, 100 + i);
}
static inline void pv_start(struct remus_xen_buffer *b)
{
	pv_static(b);
	pv_frames(b);
}

/* The PAGE_DATA record of @n pages. */
static inline void pv_batch(struct remus_xen_buffer *b, const uint64_t *pfn, unsigned n, unsigned epoch)
{
	uint8_t page[4096];
	uint32_t content = 0;

	for (unsigned i = 0; i < n; i++)
		content += pv_type(pfn[i], epoch) != 15;
	pv_head(b, 1, 8 + 8 * n + 4096 * content);
	pv_le32(b, n);
	pv_le32(b, 0);
	for (unsigned i = 0; i < n; i++)
		pv_le64(b, (uint64_t)pv_type(pfn[i], epoch) << 60 | pfn[i]);
	for (unsigned i = 0; i < n; i++)
		if (pv_type(pfn[i], epoch) != 15) {
			pv_content(pfn[i], epoch, page);
			remus_xen_buffer_add(b, page, 4096);
		}
}

/* Every @step-th page, as Xen does: ascending, at most 1024 in a record. @holes: types as told so far, to leave
 * out pages without content that were known to be; NULL = tell them again, which Xen does. */
static inline void pv_pages(struct remus_xen_buffer *b, unsigned step, unsigned epoch, uint8_t *holes)
{
	uint64_t batch[1024];
	unsigned n = 0;

	for (uint64_t pfn = 0; pfn <= PV_LAST; pfn += step) {
		unsigned type = pv_type(pfn, epoch);
		if (holes && type == 15 && holes[pfn] == 15)
			continue;
		if (holes)
			holes[pfn] = (uint8_t)type;
		batch[n++] = pfn;
		if (n == 1024) {
			pv_batch(b, batch, n, epoch);
			n = 0;
		}
	}
	if (n)
		pv_batch(b, batch, n, epoch);
}

static inline void pv_state(struct remus_xen_buffer *b, unsigned epoch)
{
	static const uint8_t tsc[24] = {1, 0, 0, 0, 0, 0x9f, 0x24};

	pv_head(b, 8, sizeof tsc);
	remus_xen_buffer_add(b, tsc, sizeof tsc);
	pv_blob(b, 7, epoch, 4096, 0x51);
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		pv_blob(b, 4, cpu, PV_BASIC, (int)(epoch + cpu));
		pv_blob(b, 5, cpu, 8 + 128, 0x5e);
		pv_blob(b, 6, cpu, 8 + 835, 0x66);
		pv_blob(b, 12, cpu, 8 + 32, 0x33);
	}
}
static inline void pv_checkpoint(struct remus_xen_buffer *b, unsigned epoch)
{
	pv_state(b, epoch);
	pv_head(b, 0x0e, 0);
}

#endif
