/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sections: the concatenated STATE payloads of an epoch are a sequence of them, so that the hypervisor's state,
 * the guest's addresses and its clock travel together and are atomic together (I3).
 *
 *	 0        2        4                 8            8+length   next multiple of 8
 *	 +--------+--------+-----------------+------ ... ------+--- ... ---+
 *	 | kind   | flags  | length          | body            | zero      |
 *	 +--------+--------+-----------------+------ ... ------+--- ... ---+
 *
 * Reading never leaves the stream and never allocates. Padding must be zero, so that one state has one
 * encoding.
 */
#include <inttypes.h>
#include "remus/renewal.h"
#include "remus/util.h"
#include "remus/wire.h"

static size_t padding(uint32_t length)
{
	return (8 - length % 8) % 8;
}

size_t remus_section_head(uint8_t out[REMUS_SECTION_HEADER], uint16_t kind, uint16_t flags, uint32_t length)
{
	remus_put_le16(out, kind);
	remus_put_le16(out + 2, flags);
	remus_put_le32(out + 4, length);
	return padding(length);
}

static bool known(uint16_t kind)
{
	return (kind >= REMUS_SECTION_DEVICE && kind <= REMUS_SECTION_CLOCK) || kind == REMUS_SECTION_AGENT;
}

int remus_section_next(const uint8_t *stream, size_t bytes, size_t *offset, struct remus_section *out,
		       struct remus_error *err)
{
	struct remus_section s;
	size_t at = *offset, left, pad;

	if (at == bytes)
		return 0;
	if (at > bytes || bytes - at < REMUS_SECTION_HEADER)
		return remus_fail(err, -EBADMSG, "state stream: offset %zu of %zu is no place for a section",
				  at, bytes);
	left = bytes - at - REMUS_SECTION_HEADER;
	s.kind = remus_get_le16(stream + at);
	s.flags = remus_get_le16(stream + at + 2);
	s.length = remus_get_le32(stream + at + 4);
	s.body = stream + at + REMUS_SECTION_HEADER;
	pad = padding(s.length);
	if (s.length > left || pad > left - s.length)
		return remus_fail(err, -EBADMSG,
				  "state stream: section of kind %u at offset %zu claims %" PRIu32
				  " bytes and %zu of padding, %zu are left",
				  s.kind, at, s.length, pad, left);
	for (size_t i = 0; i < pad; i++)
		if (s.body[s.length + i])
			return remus_fail(
				err, -EBADMSG,
				"state stream: section of kind %u at offset %zu has padding that is not zero",
				s.kind, at);
	if (!known(s.kind) && (s.flags & REMUS_SECTION_MANDATORY))
		return remus_fail(
			err, -EBADMSG,
			"state stream: section of unknown kind %u at offset %zu is marked mandatory: the "
			"primary is newer; install the same release on both hosts",
			s.kind, at);
	*offset = at + REMUS_SECTION_HEADER + s.length + pad;
	*out = s;
	return 1;
}

size_t remus_agent_section_encode(const struct remus_agent_section *in, uint8_t out[REMUS_AGENT_SECTION_MAX])
{
	size_t length = strnlen(in->version, sizeof in->version - 1);

	remus_put_le32(out, in->wait_ms);
	remus_put_le16(out + 4, 0);
	remus_put_le16(out + 6, (uint16_t)length);
	memcpy(out + 8, in->version, length);
	return 8 + length;
}

int remus_agent_section_decode(const void *body, size_t length, struct remus_agent_section *out,
			       struct remus_error *err)
{
	const uint8_t *at = body;

	memset(out, 0, sizeof *out);
	if (length < 9 || length > REMUS_AGENT_SECTION_MAX - 1 || remus_get_le16(at + 4) ||
	    remus_get_le16(at + 6) != length - 8 || remus_get_le32(at) > REMUS_AGENT_WAIT_MAX_MS)
		return remus_fail(err, -EBADMSG, "state stream: an AGENT section of %zu bytes makes no sense",
				  length);
	memcpy(out->version, at + 8, length - 8);
	if (strlen(out->version) != length - 8 || !remus_message_word(out->version, sizeof out->version)) {
		memset(out, 0, sizeof *out);
		return remus_fail(err, -EBADMSG, "state stream: an AGENT section without a version");
	}
	out->wait_ms = remus_get_le32(at);
	return 0;
}
