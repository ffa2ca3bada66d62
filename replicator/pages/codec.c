/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which encoding a page gets:
 *
 *   zero                         ZERO
 *   equal to its base            no record: the backup's image has it already
 *   base known, small delta      DELTA without looking further
 *   otherwise                    the shortest of DELTA, LZ4 and RAW
 *
 * "Small" is 2048 bytes. LZ4 brings 4 KiB pages of guest memory to about 2500 bytes on average and costs ten
 * times as much as the delta, so below half a page trying it would rarely win and never pay.
 * LZ4 has to save 128 bytes (3 %) against RAW: below that the backup's two decompressions cost more than the
 * bytes do.
 */
#include "codec.h"

#include <string.h>

#include "record.h"

#define DELTA_SMALL 2048u
#define LZ4_SAVES   128u

size_t remus_codec_page(struct remus_codec *codec, uint64_t pfn, const uint8_t *page, uint8_t *base,
			bool known, bool compress, uint8_t *out)
{
	enum remus_page_encoding encoding = REMUS_PAGE_RAW;
	size_t length = REMUS_PAGE_SIZE - LZ4_SAVES + 1; /* to be beaten by LZ4 */
	uint8_t *body = out + REMUS_PAGE_RECORD;

	if (remus_page_is_zero(page)) {
		remus_record_put(out, pfn, REMUS_PAGE_ZERO, 0);
		return REMUS_PAGE_RECORD;
	}
	if (base && known) {
		size_t n = remus_delta_encode(base, page, body, REMUS_PAGE_SIZE - 1, true);
		if (n == REMUS_DELTA_EMPTY)
			return 0;
		if (n) {
			encoding = REMUS_PAGE_DELTA;
			length = n;
		}
	} else if (base) {
		memcpy(base, page, REMUS_PAGE_SIZE);
	}
	if (compress && (encoding == REMUS_PAGE_RAW || length > DELTA_SMALL)) {
		/* Beside a delta that stands in the body already, else straight into it. */
		uint8_t *to = encoding == REMUS_PAGE_DELTA ? codec->scratch : body;
		int n = LZ4_compress_fast_extState(&codec->lz4, (const char *)page, (char *)to,
						   (int)REMUS_PAGE_SIZE, (int)length - 1, 1);
		if (n > 0) {
			encoding = REMUS_PAGE_LZ4;
			length = (size_t)n;
			if (to != body)
				memcpy(body, to, length);
		}
	}
	if (encoding == REMUS_PAGE_RAW) {
		length = REMUS_PAGE_SIZE;
		memcpy(body, page, REMUS_PAGE_SIZE);
	}
	remus_record_put(out, pfn, encoding, length);
	return REMUS_PAGE_RECORD + length;
}
