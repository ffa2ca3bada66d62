/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's half: payloads come from the network, so they are checked whole before the epoch is
 * acknowledged (I2) and applied only after it (I3). The check is complete: a payload that passed cannot fail
 * to apply, because LZ4 blocks are decompressed once for the check and again for the apply (about 1 µs per
 * page; the alternative, keeping the result, would need memory without bound, I11).
 *
 * Both walk records through one parser, so apply stays inside its bounds even if its payload was never
 * checked; it may then leave a part of the payload applied, which check exists to exclude.
 *
 * A pfn may occur more than once in a payload or an epoch: records are applied in order, each on the result
 * of the one before. remus's own encoder never does it within one call.
 */
#include "remus/pages.h"

#include <inttypes.h>
#include <lz4.h>
#include <string.h>

#include "record.h"

struct record {
	size_t at; /* offset in the payload, for messages */
	uint64_t pfn;
	enum remus_page_encoding encoding;
	size_t length;
	const uint8_t *body;
};

/* Does the body's length fit the encoding, and is a delta well formed? NULL = yes, else what is wrong. */
static const char *body_fault(const struct record *r)
{
	switch (r->encoding) {
	case REMUS_PAGE_ZERO:
		return r->length ? "a ZERO record has a body" : NULL;
	case REMUS_PAGE_RAW:
		return r->length != REMUS_PAGE_SIZE ? "a RAW body is not 4096 bytes" : NULL;
	case REMUS_PAGE_LZ4:
		return r->length < 1 || r->length > REMUS_PAGE_SIZE ? "an LZ4 body is not 1 to 4096 bytes"
								    : NULL;
	case REMUS_PAGE_DELTA:
		if (r->length > REMUS_PAGE_SIZE)
			return "a DELTA body is longer than 4096 bytes";
		return remus_delta_check(r->body, r->length) ? "a DELTA body is malformed" : NULL;
	}
	return "unknown encoding";
}

/* Step to the record at *@offset. 1 = filled and *@offset advanced, 0 = end of payload, -EBADMSG. */
static int next_record(const uint8_t *payload, size_t bytes, size_t *offset, uint64_t guest_pages,
		       struct record *r, struct remus_error *err)
{
	size_t at = *offset, left = bytes - at;
	if (!left)
		return 0;
	if (left < REMUS_PAGE_RECORD)
		return remus_fail(err, -EBADMSG,
				  "page payload, offset %zu: record head cut off, %zu of %u bytes", at, left,
				  REMUS_PAGE_RECORD);
	uint64_t head = remus_get_le64(payload + at);
	r->at = at;
	r->pfn = remus_record_pfn(head);
	r->encoding = (enum remus_page_encoding)remus_record_encoding(head);
	r->length = remus_record_length(head);
	r->body = payload + at + REMUS_PAGE_RECORD;
	left -= REMUS_PAGE_RECORD;

	if (r->pfn >= guest_pages)
		return remus_fail(err, -EBADMSG,
				  "page payload, offset %zu: pfn %" PRIu64 " is outside the guest's %" PRIu64
				  " pages",
				  at, r->pfn, guest_pages);
	if (r->length > left)
		return remus_fail(err, -EBADMSG,
				  "page payload, offset %zu: body of %zu bytes cut off after %zu", at,
				  r->length, left);
	const char *fault = body_fault(r);
	if (fault)
		return remus_fail(err, -EBADMSG,
				  "page payload, offset %zu: %s (pfn %" PRIu64 ", encoding %u, length %zu)",
				  at, fault, r->pfn, remus_record_encoding(head), r->length);
	*offset = at + REMUS_PAGE_RECORD + r->length;
	return 1;
}

/* Decompress to exactly a page; never writes outside @page. */
static int unpack_lz4(const struct record *r, uint8_t *page, struct remus_error *err)
{
	int n = LZ4_decompress_safe((const char *)r->body, (char *)page, (int)r->length,
				    (int)REMUS_PAGE_SIZE);
	if (n == (int)REMUS_PAGE_SIZE)
		return 0;
	return remus_fail(err, -EBADMSG,
			  "page payload, offset %zu: LZ4 body of pfn %" PRIu64
			  " does not decompress to 4096 bytes (%s %d)",
			  r->at, r->pfn, n < 0 ? "malformed or too large:" : "bytes:", n);
}

int64_t remus_pages_check(const void *payload, size_t bytes, uint64_t guest_pages, struct remus_error *err)
{
	uint8_t scratch[REMUS_PAGE_SIZE];
	struct record r;
	size_t offset = 0;
	int64_t pages = 0;
	int rc;

	for (; (rc = next_record(payload, bytes, &offset, guest_pages, &r, err)) > 0; pages++) {
		if (r.encoding == REMUS_PAGE_LZ4 && (rc = unpack_lz4(&r, scratch, err)) < 0)
			break;
	}
	return rc < 0 ? rc : pages;
}

int64_t remus_pages_apply(const void *payload, size_t bytes, uint64_t guest_pages, remus_page_locate *locate,
			  void *context, struct remus_error *err)
{
	struct record r;
	size_t offset = 0;
	int64_t pages = 0;
	int rc;

	for (; (rc = next_record(payload, bytes, &offset, guest_pages, &r, err)) > 0; pages++) {
		uint8_t *page = locate(context, r.pfn);
		switch (r.encoding) {
		case REMUS_PAGE_ZERO:
			/* Most are zero already; writing would make the kernel give them memory. */
			if (!remus_page_is_zero(page))
				memset(page, 0, REMUS_PAGE_SIZE);
			break;
		case REMUS_PAGE_RAW:
			memcpy(page, r.body, REMUS_PAGE_SIZE);
			break;
		case REMUS_PAGE_LZ4:
			if ((rc = unpack_lz4(&r, page, err)) < 0)
				return rc;
			break;
		case REMUS_PAGE_DELTA:
			remus_delta_apply(page, r.body, r.length);
			break;
		}
	}
	return rc < 0 ? rc : pages;
}
