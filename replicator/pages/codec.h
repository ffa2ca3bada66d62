/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which encoding a page gets. One codec per thread; the choices stand in codec.c. */
#ifndef REMUS_PAGES_CODEC_H
#define REMUS_PAGES_CODEC_H

#include <lz4.h>
#include "remus/pages.h"

struct remus_codec {
	LZ4_stream_t lz4;
	uint8_t scratch[REMUS_PAGE_SIZE];
};

/*
 * Write one record of @page to @out (REMUS_PAGE_RECORD_MAX bytes of room) and return its length; 0 when it equals
 * its base and there is nothing to say.
 * @base is where the page's base lives, or NULL; @known: it holds one. Unless the record is ZERO, @base equals
 * @page afterwards; a ZERO record leaves it as it was.
 */
size_t remus_codec_page(struct remus_codec *codec, uint64_t pfn, const uint8_t *page, uint8_t *base,
			bool known, bool compress, uint8_t *out);

#endif
