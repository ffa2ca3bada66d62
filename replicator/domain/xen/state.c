/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See state.h. */
#include "state.h"

#include <string.h>
#include "remus/util.h"

#define MAGIC 0x31535852u /* "RXS1" */

enum part { PART_TSC = 1, PART_PARAMS = 2, PART_CONTEXT = 3, PARTS = 3 };

static void part_head(struct remus_xen_buffer *out, enum part kind, size_t bytes)
{
	uint8_t head[8];

	remus_put_le32(head, kind);
	remus_put_le32(head + 4, (uint32_t)bytes);
	remus_xen_buffer_add(out, head, sizeof head);
}

void remus_xen_state_encode(struct remus_xen_buffer *out, const struct remus_xen_state *state)
{
	static const uint8_t zero[8];
	uint8_t head[8], tsc[24] = {0}, param[16];

	remus_put_le32(head, MAGIC);
	remus_put_le32(head + 4, PARTS);
	remus_xen_buffer_add(out, head, sizeof head);

	remus_put_le32(tsc, state->tsc.mode);
	remus_put_le32(tsc + 4, state->tsc.khz);
	remus_put_le64(tsc + 8, state->tsc.nsec);
	remus_put_le32(tsc + 16, state->tsc.incarnation);
	part_head(out, PART_TSC, sizeof tsc);
	remus_xen_buffer_add(out, tsc, sizeof tsc);

	part_head(out, PART_PARAMS, state->params * sizeof param);
	for (unsigned i = 0; i < state->params; i++) {
		remus_put_le64(param, state->param[i].index);
		remus_put_le64(param + 8, state->param[i].value);
		remus_xen_buffer_add(out, param, sizeof param);
	}

	part_head(out, PART_CONTEXT, state->context_bytes);
	remus_xen_buffer_add(out, state->context, state->context_bytes);
	remus_xen_buffer_add(out, zero, -state->context_bytes % 8);
}

static int decode_tsc(const uint8_t *body, size_t length, struct remus_xen_state *out,
		      struct remus_error *err)
{
	if (length != 24 || remus_get_le32(body + 20))
		return remus_fail(err, -EBADMSG, "Xen guest state: %zu bytes of TSC facts are malformed",
				  length);
	out->tsc = (struct remus_xen_tsc){
		.mode = remus_get_le32(body),
		.khz = remus_get_le32(body + 4),
		.nsec = remus_get_le64(body + 8),
		.incarnation = remus_get_le32(body + 16),
	};
	return 0;
}

static int decode_params(const uint8_t *body, size_t length, struct remus_xen_state *out,
			 struct remus_xen_param *params, struct remus_error *err)
{
	if (length % 16 || length / 16 > REMUS_XEN_PARAMS_MAX)
		return remus_fail(err, -EBADMSG, "Xen guest state: %zu bytes of HVM parameters", length);
	out->params = (unsigned)(length / 16);
	out->param = params;
	for (unsigned i = 0; i < out->params; i++) {
		params[i].index = remus_get_le64(body + 16 * i);
		params[i].value = remus_get_le64(body + 16 * i + 8);
	}
	return 0;
}

static int decode_part(uint32_t kind, const uint8_t *body, size_t length, struct remus_xen_state *out,
		       struct remus_xen_param *params, struct remus_error *err)
{
	switch (kind) {
	case PART_TSC:
		return decode_tsc(body, length, out, err);
	case PART_PARAMS:
		return decode_params(body, length, out, params, err);
	case PART_CONTEXT:
		if (length < 8 || length > REMUS_XEN_CONTEXT_MAX)
			return remus_fail(err, -EBADMSG, "Xen guest state: a vCPU context of %zu bytes",
					  length);
		out->context = body;
		out->context_bytes = length;
		return 0;
	default:
		return remus_fail(err, -EBADMSG,
				  "Xen guest state: part %u is unknown here: both hosts need the same remus",
				  kind);
	}
}

int remus_xen_state_decode(const uint8_t *data, size_t bytes, struct remus_xen_state *out,
			   struct remus_xen_param *params, struct remus_error *err)
{
	unsigned seen = 0;

	memset(out, 0, sizeof *out);
	if (bytes < 8 || remus_get_le32(data) != MAGIC)
		return remus_fail(err, -EBADMSG, "this is no Xen guest's state");
	if (remus_get_le32(data + 4) != PARTS)
		return remus_fail(err, -EBADMSG, "Xen guest state: %u parts, not %u",
				  remus_get_le32(data + 4), PARTS);
	for (size_t at = 8; at < bytes;) {
		if (bytes - at < 8)
			return remus_fail(err, -EBADMSG, "Xen guest state: cut at byte %zu", at);
		uint32_t kind = remus_get_le32(data + at);
		size_t length = remus_get_le32(data + at + 4), padded = (length + 7) & ~(size_t)7;
		at += 8;
		if (padded > bytes - at)
			return remus_fail(err, -EBADMSG,
					  "Xen guest state: part %u of %zu bytes is cut at byte %zu", kind,
					  length, at);
		if (kind && kind <= PARTS && seen & 1u << kind)
			return remus_fail(err, -EBADMSG, "Xen guest state: part %u twice", kind);
		int rc = decode_part(kind, data + at, length, out, params, err);
		if (rc < 0)
			return rc;
		seen |= 1u << kind;
		at += padded;
	}
	if (seen != (1u << PART_TSC | 1u << PART_PARAMS | 1u << PART_CONTEXT))
		return remus_fail(err, -EBADMSG, "Xen guest state: incomplete");
	return 0;
}
