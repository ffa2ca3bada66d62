/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See pvfeed.h. */
#include "pvfeed.h"

#include <stdlib.h>
#include <string.h>
#include "records.h"
#include "remus/bitmap.h"
#include "remus/util.h"
#include "space.h"
#include "types.h"

#define FED_NOTHING 0xff

int remus_xen_pvfeed_create(struct remus_xen_pvfeed *f, uint64_t pages, unsigned width,
			    struct remus_error *err)
{
	*f = (struct remus_xen_pvfeed){.pages = pages, .width = width};
	f->frames = malloc(remus_xen_space_frames(pages) * 4096);
	f->fed = malloc(pages);
	f->entry = calloc(REMUS_XEN_STREAM_BATCH, sizeof *f->entry);
	f->iov = calloc(REMUS_XEN_STREAM_BATCH + 1, sizeof *f->iov);
	if (!f->frames || !f->fed || !f->entry || !f->iov) {
		remus_xen_pvfeed_destroy(f);
		return remus_fail(err, -ENOMEM, "no memory for the types of %llu pages",
				  (unsigned long long)pages);
	}
	remus_xen_pvfeed_restart(f);
	return 0;
}

void remus_xen_pvfeed_destroy(struct remus_xen_pvfeed *f)
{
	free(f->frames);
	free(f->fed);
	free(f->entry);
	free(f->iov);
	remus_xen_buffer_free(&f->head);
	memset(f, 0, sizeof *f);
}

void remus_xen_pvfeed_restart(struct remus_xen_pvfeed *f)
{
	f->frames_bytes = 0;
	f->entries = f->parts = 0;
	memset(f->fed, FED_NOTHING, f->pages);
}

/* ---- the frame list ---- */

static int check_frames(struct remus_xen_pvfeed *f, const uint8_t *body, struct remus_error *err)
{
	uint32_t first = remus_get_le32(body), last = remus_get_le32(body + 4);

	if (first || last >= f->pages)
		return remus_fail(err, -EBADMSG, "a frame list for pages %u to %u of %llu", first, last,
				  (unsigned long long)f->pages);
	f->frames_bytes = remus_xen_p2m_frames_bytes(f->width, last);
	f->last = last;
	memcpy(f->frames, body, f->frames_bytes); /* not beyond it: its room is made for the most pages */
	for (size_t at = 8; at < f->frames_bytes; at += 8)
		if (remus_get_le64(body + at) > last)
			return remus_fail(err, -EBADMSG, "the frame list names page %llu, after %u the last",
					  (unsigned long long)remus_get_le64(body + at), last);
	return 0;
}

static int feed_frames(struct remus_xen_pvfeed *f, struct remus_xen_shadow *shadow, remus_xen_emit *emit,
		       void *context, struct remus_error *err)
{
	const uint8_t *body = shadow->memory; /* numbers 0 on */
	bool touched = false;

	for (uint64_t n = 0; n < remus_xen_space_frames(f->pages); n++)
		touched |= remus_xen_shadow_claim(shadow, n);
	if (f->frames_bytes && touched && memcmp(f->frames, body, f->frames_bytes))
		return remus_fail(err, -EBADMSG, "the frame list has changed, which it can't");
	if (f->frames_bytes)
		return 0;
	int rc = touched ? check_frames(f, body, err)
			 : remus_fail(err, -EBADMSG, "a PV guest's pages came without their frame list");
	if (rc < 0) {
		f->frames_bytes = 0;
		return rc;
	}
	remus_xen_buffer_reset(&f->head);
	remus_xen_stream_frames(&f->head, f->frames, f->frames_bytes);
	struct iovec iov = {.iov_base = f->head.data, .iov_len = f->head.bytes};
	return f->head.failed ? remus_fail(err, -ENOMEM, "no memory for the frame list")
			      : emit(context, &iov, 1, err);
}

/* ---- types ---- */

static const uint8_t *types_of(const struct remus_xen_pvfeed *f, const struct remus_xen_shadow *shadow,
			       uint64_t block)
{
	return shadow->memory + remus_xen_space_types(f->pages, block) * 4096;
}

/* Pages whose type is new go with those that were written. One that was never written will be: it is underway. */
static int claim_types(struct remus_xen_pvfeed *f, struct remus_xen_shadow *shadow, uint64_t block,
		       struct remus_error *err)
{
	const uint8_t *type = types_of(f, shadow, block);

	for (uint64_t i = 0; i < REMUS_XEN_SPACE_BLOCK; i++) {
		uint64_t pfn = block * REMUS_XEN_SPACE_BLOCK + i;
		if (!remus_xen_pv_type_known(type[i]) || (pfn > f->last && type[i] != REMUS_XEN_PV_NO_PAGE))
			return remus_fail(err, -EBADMSG,
					  "page %llu of type %u, after which there are %llu pages",
					  (unsigned long long)pfn, type[i], (unsigned long long)f->last + 1);
		if (pfn > f->last || f->fed[pfn] == type[i])
			continue;
		uint64_t number = remus_xen_space_memory(f->pages, pfn);
		if (!remus_xen_pv_type_has_content(type[i]) || remus_bitmap_test(shadow->present, number))
			remus_xen_shadow_touch(shadow, number);
	}
	return 0;
}

/* ---- pages ---- */

static int flush(struct remus_xen_pvfeed *f, remus_xen_emit *emit, void *context, struct remus_error *err)
{
	if (!f->entries)
		return 0;
	remus_xen_buffer_reset(&f->head);
	remus_xen_stream_pages(&f->head, f->entry, f->entries);
	if (f->head.failed)
		return remus_fail(err, -ENOMEM, "no memory for %u page numbers", f->entries);
	f->iov[0] = (struct iovec){.iov_base = f->head.data, .iov_len = f->head.bytes};
	int rc = emit(context, f->iov, (int)f->parts + 1, err);
	f->entries = f->parts = 0;
	return rc;
}

static int add(struct remus_xen_pvfeed *f, struct remus_xen_shadow *shadow, uint64_t number,
	       struct remus_error *err)
{
	struct remus_xen_place at = remus_xen_space_at(f->pages, number);
	uint64_t block = at.index / REMUS_XEN_SPACE_BLOCK;

	if (at.kind != REMUS_XEN_SPACE_MEMORY) /* claimed before */
		return 0;
	if (!remus_bitmap_test(shadow->present, remus_xen_space_types(f->pages, block)))
		return remus_fail(err, -EBADMSG, "page %llu came before its type",
				  (unsigned long long)at.index);
	uint8_t type = types_of(f, shadow, block)[at.index % REMUS_XEN_SPACE_BLOCK];
	bool content = remus_xen_pv_type_has_content(type);
	if (at.index > f->last || (!content && f->fed[at.index] == type))
		return 0;
	f->fed[at.index] = type;
	f->entry[f->entries++] = (uint64_t)type << 60 | at.index;
	if (content)
		f->iov[1 + f->parts++] =
			(struct iovec){.iov_base = shadow->memory + number * 4096, .iov_len = 4096};
	return 0;
}

int remus_xen_pvfeed_pages(struct remus_xen_pvfeed *f, struct remus_xen_shadow *shadow, remus_xen_emit *emit,
			   void *context, struct remus_error *err)
{
	uint64_t number[64], cursor = 0;
	size_t n;

	if (!shadow->touched_count)
		return 0;
	int rc = feed_frames(f, shadow, emit, context, err);
	for (uint64_t block = 0; rc == 0 && block < remus_xen_space_blocks(f->pages); block++)
		if (remus_xen_shadow_claim(shadow, remus_xen_space_types(f->pages, block)))
			rc = claim_types(f, shadow, block, err);
	while (rc == 0 && (n = remus_xen_shadow_take(shadow, &cursor, number, REMUS_ARRAY_SIZE(number))))
		for (size_t i = 0; i < n && rc == 0; i++) {
			rc = add(f, shadow, number[i], err);
			if (rc == 0 && f->entries == REMUS_XEN_STREAM_BATCH)
				rc = flush(f, emit, context, err);
		}
	return rc == 0 ? flush(f, emit, context, err) : rc;
}
