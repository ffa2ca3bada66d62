/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See xenwire.h. */
#include "xenwire.h"

#include <errno.h>
#include <string.h>
#include "remus/util.h"

size_t xenwire_pack(uint8_t out[XENWIRE_HEADER + XENWIRE_PAYLOAD], enum xenwire_type type, uint32_t request,
		    const char *first, const char *second, bool ends)
{
	size_t a = strlen(first) + 1, b = second ? strlen(second) + ends : 0;

	if (a + b > XENWIRE_PAYLOAD)
		return 0;
	remus_put_le32(out, type);
	remus_put_le32(out + 4, request);
	remus_put_le32(out + 8, 0);
	remus_put_le32(out + 12, (uint32_t)(a + b));
	memcpy(out + XENWIRE_HEADER, first, a);
	if (b)
		memcpy(out + XENWIRE_HEADER + a, second, b);
	return XENWIRE_HEADER + a + b;
}

uint8_t *xenwire_room(struct xenwire_reader *r, size_t *room)
{
	if (r->taken) {
		memmove(r->bytes, r->bytes + r->taken, r->used - r->taken);
		r->used -= r->taken;
		r->taken = 0;
	}
	*room = sizeof r->bytes - r->used;
	return r->bytes + r->used;
}

void xenwire_filled(struct xenwire_reader *r, size_t count)
{
	r->used += count;
}

int xenwire_next(struct xenwire_reader *r, struct xenwire_packet *out)
{
	const uint8_t *at = r->bytes + r->taken;
	size_t left = r->used - r->taken;

	if (left < XENWIRE_HEADER)
		return 0;
	*out = (struct xenwire_packet){
		.type = remus_get_le32(at),
		.request = remus_get_le32(at + 4),
		.length = remus_get_le32(at + 12),
		.payload = at + XENWIRE_HEADER,
	};
	if (out->length > XENWIRE_PAYLOAD)
		return -1;
	if (left - XENWIRE_HEADER < out->length)
		return 0;
	r->taken += XENWIRE_HEADER + out->length;
	return 1;
}

bool xenwire_is_event(const struct xenwire_packet *p, const char *token)
{
	const uint8_t *nul = p->type == XENWIRE_EVENT ? memchr(p->payload, 0, p->length) : NULL;
	size_t size = strlen(token) + 1;

	if (!nul)
		return false;
	nul++;
	return (size_t)(p->payload + p->length - nul) >= size && !memcmp(nul, token, size);
}

int xenwire_error(const struct xenwire_packet *p)
{
	static const struct {
		const char *name;
		int value;
	} errors[] = {
		{"ENOENT", ENOENT}, {"EACCES", EACCES}, {"EINVAL", EINVAL}, {"ENOSPC", ENOSPC},
		{"EQUOTA", EDQUOT}, {"EEXIST", EEXIST}, {"EBUSY", EBUSY},   {"E2BIG", E2BIG},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(errors); i++)
		if (p->length == strlen(errors[i].name) + 1 && !memcmp(p->payload, errors[i].name, p->length))
			return errors[i].value;
	return EIO;
}
