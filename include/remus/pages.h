/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page encodings: what turns copied guest pages into the payload of PAGES frames and back.
 *
 * A page is 4096 bytes. A payload is a sequence of records, each
 *
 *     u64 little-endian   bits 0..39 pfn | bits 40..47 encoding | bits 48..63 length of the body in bytes
 *     body                0..4096 bytes
 *
 * so a zero page costs 8 bytes. Encodings:
 *   ZERO   body empty: the page is all zero bytes.
 *   RAW    body 4096 bytes.
 *   LZ4    body is one LZ4 block that decompresses to exactly 4096 bytes.
 *   DELTA  against the page's content in the previous committed image. The page is 512 words of 8 bytes.
 *          body = u64 LE top mask, bit g set when word group g (words 8g..8g+7) has a change;
 *          then one mask byte per set bit of the top mask, ascending (bit i: word 8g+i changed; never 0);
 *          then the new value of each changed word, 8 bytes each, ascending.
 *          An empty change set is a top mask of 0 (REMUS_DELTA_EMPTY bytes). The encoder sends none: a page that
 *          equals its base has no record.
 * The receiver needs no cache: its base is the standby's own image of the page.
 *
 * The sender's base cache holds the content of pages *as last sent*. It is an invariant of the session that
 * a cached page equals the backup's image of that page once everything sent so far is applied. When an epoch
 * is given up after encoding began, remus_encoder_abort() drops every entry that the epoch touched, so the
 * next encoding of those pages uses no base (I9: the pages themselves must be sent again by the caller).
 */
#ifndef REMUS_PAGES_H
#define REMUS_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "remus/error.h"

#define REMUS_PAGE_SIZE	      4096u
#define REMUS_PAGE_RECORD     8u /* bytes of a record's head */
#define REMUS_PAGE_RECORD_MAX (REMUS_PAGE_RECORD + REMUS_PAGE_SIZE)
#define REMUS_PFN_MAX	      ((UINT64_C(1) << 40) - 1)
#define REMUS_DELTA_EMPTY     8u /* length of a delta's body without any change */

enum remus_page_encoding {
	REMUS_PAGE_ZERO = 0,
	REMUS_PAGE_RAW = 1,
	REMUS_PAGE_LZ4 = 2,
	REMUS_PAGE_DELTA = 3,
};

/* ---- single-page primitives (pure, thread safe) ---- */

bool remus_page_is_zero(const void *page);

/*
 * Delta from @base to @page into @out. Returns the body's length, or 0 when it would exceed @max (then @out
 * holds garbage). @max at most 4096. When @update is true @base becomes equal to @page in the same pass,
 * whatever is returned.
 */
size_t remus_delta_encode(void *base, const void *page, void *out, size_t max, bool update);

/* 0 when the @len bytes at @body are a well-formed delta (lengths agree, no zero mask byte), else -EBADMSG. */
int remus_delta_check(const void *body, size_t len);

/* Apply a checked delta to @page in place. */
void remus_delta_apply(void *page, const void *body, size_t len);

/* ---- encoder: base cache + parallel encoding ---- */

struct remus_encoder;

struct remus_encoder_config {
	uint64_t guest_pages; /* pfns are below this */
	uint64_t cache_bytes; /* cap of the base cache, page contents and its index together; 0 = no deltas */
	unsigned threads;     /* workers besides the caller, at most 15; 0 = the caller encodes alone */
	bool compress;	      /* false: RAW instead of LZ4 */
	bool delta;	      /* false: never DELTA (bench, comparisons) */
};

struct remus_encoder_stats { /* running totals since creation, except cache_* */
	uint64_t pages, zero, raw, lz4, delta;
	uint64_t same; /* of pages: equal to their base, not sent */
	uint64_t bytes_in, bytes_out;
	uint64_t cache_hits, cache_misses, cache_evictions;
	uint64_t cache_bytes; /* in use now */
	uint64_t cache_cap;
};

/*
 * Create an encoder. Memory for the cache is reserved lazily and never exceeds cache_bytes. Eviction:
 * stated in replicator/pages/cache.c. Errors: -ENOMEM, -EINVAL.
 */
int remus_encoder_create(const struct remus_encoder_config *config, struct remus_encoder **out,
			 struct remus_error *err);
void remus_encoder_destroy(struct remus_encoder *encoder);

/* Where encoded payload goes: called with whole records, in one thread (the caller's), in order. A negative
 * return stops the encoding and becomes the return value of remus_encoder_run(). */
typedef int remus_encoder_sink(void *context, const void *payload, size_t bytes, uint32_t pages,
			       struct remus_error *err);

/*
 * Encode @count pages: page i is pfn[i], its content the 4096 bytes at data + i*4096, which must not change
 * during the call. Each pfn at most once per call and below guest_pages. Calls @sink with payloads of at most @max_payload bytes (at least
 * REMUS_PAGE_RECORD_MAX). @epoch tags the cache entries touched, for abort. Not thread safe: one caller.
 * On error every cache entry touched under @epoch must be assumed wrong: call remus_encoder_abort(epoch).
 */
int remus_encoder_run(struct remus_encoder *encoder, uint64_t epoch, const uint64_t *pfn, const void *data,
		      size_t count, size_t max_payload, remus_encoder_sink *sink, void *context,
		      struct remus_error *err);

/* Forget every base that @epoch or a later one touched (see the head of this file): epochs commit in order, so
 * giving one up gives up those behind it. */
void remus_encoder_abort(struct remus_encoder *encoder, uint64_t epoch);

void remus_encoder_stats(const struct remus_encoder *encoder, struct remus_encoder_stats *out);

/* ---- decoder ---- */

/*
 * Check a whole payload without applying it: record bounds, encodings, pfn < guest_pages, well-formed
 * deltas, LZ4 blocks that decompress to exactly a page. Returns the number of pages, or -EBADMSG with a
 * message that names the offset and what is wrong. Never reads outside @payload, never allocates.
 */
int64_t remus_pages_check(const void *payload, size_t bytes, uint64_t guest_pages, struct remus_error *err);

/* Where a page's image lives: returns 4096 writable bytes for @pfn that hold its previous content. */
typedef uint8_t *remus_page_locate(void *context, uint64_t pfn);

/*
 * Apply a payload that remus_pages_check() accepted with the same @guest_pages. Returns the number of pages
 * applied. @payload must not have changed since the check. Records of the same page are applied in order.
 */
int64_t remus_pages_apply(const void *payload, size_t bytes, uint64_t guest_pages, remus_page_locate *locate,
			  void *context, struct remus_error *err);

#endif
