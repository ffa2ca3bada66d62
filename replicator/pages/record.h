/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 8-byte head of a record, in and out (layout: pages.h). Shared by the encoder and the decoder. */
#ifndef REMUS_PAGES_RECORD_H
#define REMUS_PAGES_RECORD_H

#include "remus/pages.h"
#include "remus/util.h"

static inline void remus_record_put(void *out, uint64_t pfn, enum remus_page_encoding encoding, size_t length)
{
	remus_put_le64(out, pfn | (uint64_t)encoding << 40 | (uint64_t)length << 48);
}
static inline uint64_t remus_record_pfn(uint64_t head)
{
	return head & REMUS_PFN_MAX;
}
static inline unsigned remus_record_encoding(uint64_t head)
{
	return (unsigned)(head >> 40 & 0xff);
}
static inline size_t remus_record_length(uint64_t head)
{
	return (size_t)(head >> 48);
}

#endif
