/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See stream.h. libxl's header is big-endian, all records are little-endian here (x86). */
#include "stream.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include "remus/util.h"
#include "types.h"

/* libxl's layer */
#define LIBXL_MAGIC	     UINT64_C(0x4c6962786c466d74) /* "LibxlFmt" */
#define LIBXL_VERSION_2	     2u
#define LIBXL_LIBXC_CONTEXT  1u
#define LIBXL_CHECKPOINT_END 4u

/* libxc's layer */
#define IMAGE_ID	0x58454e46u /* "XENF" */
#define IMAGE_VERSION_3 3u

void remus_xen_buffer_reset(struct remus_xen_buffer *buffer)
{
	buffer->bytes = 0;
	buffer->failed = false;
}

void remus_xen_buffer_free(struct remus_xen_buffer *buffer)
{
	free(buffer->data);
	memset(buffer, 0, sizeof *buffer);
}

static uint8_t *grow(struct remus_xen_buffer *b, size_t bytes)
{
	if (b->failed)
		return NULL;
	if (b->bytes + bytes > b->room) {
		size_t room = (b->bytes + bytes) * 2;
		uint8_t *larger = realloc(b->data, room);
		if (!larger) {
			b->failed = true;
			return NULL;
		}
		b->data = larger;
		b->room = room;
	}
	uint8_t *at = b->data + b->bytes;
	b->bytes += bytes;
	return at;
}

void remus_xen_buffer_add(struct remus_xen_buffer *buffer, const void *data, size_t bytes)
{
	uint8_t *at = grow(buffer, bytes);

	if (at && bytes)
		memcpy(at, data, bytes);
}

static void add_le32(struct remus_xen_buffer *b, uint32_t v)
{
	v = htole32(v);
	remus_xen_buffer_add(b, &v, sizeof v);
}

static void add_le64(struct remus_xen_buffer *b, uint64_t v)
{
	v = htole64(v);
	remus_xen_buffer_add(b, &v, sizeof v);
}

static void add_be32(struct remus_xen_buffer *b, uint32_t v)
{
	v = htobe32(v);
	remus_xen_buffer_add(b, &v, sizeof v);
}

static void record(struct remus_xen_buffer *b, uint32_t type, size_t length)
{
	add_le32(b, type);
	add_le32(b, (uint32_t)length);
}

/* A record with its body, padded to 8 bytes. */
static void whole_record(struct remus_xen_buffer *b, uint32_t type, const void *body, size_t length)
{
	static const uint8_t zero[8];

	record(b, type, length);
	remus_xen_buffer_add(b, body, length);
	remus_xen_buffer_add(b, zero, -length % 8);
}

void remus_xen_stream_begin(struct remus_xen_buffer *out, const struct remus_xen_stream_static *facts)
{
	uint64_t magic = htobe64(LIBXL_MAGIC);

	remus_xen_buffer_add(out, &magic, sizeof magic);
	add_be32(out, LIBXL_VERSION_2);
	add_be32(out, 0); /* options: little-endian records, no legacy conversion */
	record(out, LIBXL_LIBXC_CONTEXT, 0);

	add_le64(out, UINT64_MAX); /* the marker that tells this from a version 1 stream */
	add_be32(out, IMAGE_ID);
	add_be32(out, IMAGE_VERSION_3);
	add_le64(out, 0); /* u16 options: little-endian; reserved */

	add_le32(out, facts->guest);
	add_le32(out, 12); /* u16 page shift, u16 reserved */
	add_le32(out, facts->xen_major);
	add_le32(out, facts->xen_minor);

	if (facts->guest == REMUS_XEN_STREAM_PV) {
		const uint8_t info[8] = {(uint8_t)facts->width, facts->width == 8 ? 4 : 3};
		whole_record(out, REMUS_XEN_REC_PV_INFO, info, sizeof info);
	}
	if (facts->cpuid_bytes)
		whole_record(out, REMUS_XEN_REC_CPUID_POLICY, facts->cpuid, facts->cpuid_bytes);
	if (facts->msr_bytes)
		whole_record(out, REMUS_XEN_REC_MSR_POLICY, facts->msr, facts->msr_bytes);
	record(out, REMUS_XEN_REC_STATIC_DATA_END, 0);
}

void remus_xen_stream_frames(struct remus_xen_buffer *out, const void *body, size_t bytes)
{
	whole_record(out, REMUS_XEN_REC_P2M_FRAMES, body, bytes);
}

void remus_xen_stream_pages(struct remus_xen_buffer *out, const uint64_t *entry, unsigned count)
{
	size_t with_content = 0;

	for (unsigned i = 0; i < count; i++)
		with_content += remus_xen_pv_type_has_content((unsigned)(entry[i] >> 60));
	record(out, REMUS_XEN_REC_PAGE_DATA, 8 + (size_t)count * 8 + with_content * 4096);
	add_le32(out, count);
	add_le32(out, 0);
	for (unsigned i = 0; i < count; i++)
		add_le64(out, entry[i]);
}

static void tsc_record(struct remus_xen_buffer *out, const struct remus_xen_tsc *tsc)
{
	record(out, REMUS_XEN_REC_TSC_INFO, 24);
	add_le32(out, tsc->mode);
	add_le32(out, tsc->khz);
	add_le64(out, tsc->nsec);
	add_le32(out, tsc->incarnation);
	add_le32(out, 0);
}

void remus_xen_stream_state(struct remus_xen_buffer *out, const struct remus_xen_state *state)
{
	tsc_record(out, &state->tsc);
	whole_record(out, REMUS_XEN_REC_HVM_CONTEXT, state->context, state->context_bytes);
	record(out, REMUS_XEN_REC_HVM_PARAMS, 8 + (size_t)state->params * 16);
	add_le32(out, state->params);
	add_le32(out, 0);
	for (unsigned i = 0; i < state->params; i++) {
		add_le64(out, state->param[i].index);
		add_le64(out, state->param[i].value);
	}
}

void remus_xen_stream_checkpoint(struct remus_xen_buffer *out)
{
	record(out, REMUS_XEN_REC_CHECKPOINT, 0);
	record(out, LIBXL_CHECKPOINT_END, 0);
}

void remus_xen_stream_end(struct remus_xen_buffer *out)
{
	record(out, REMUS_XEN_REC_END, 0);
}
