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
	return kind >= REMUS_SECTION_DEVICE && kind <= REMUS_SECTION_CLOCK;
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
