/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Xenstore's wire protocol (xen/io/xs_wire.h, docs/misc/xenstore.txt of Xen), as much of it as the agent needs. Pure.
 * A packet: u32 type, u32 request, u32 transaction, u32 length, little-endian on this machine; then `length` bytes.
 */
#ifndef REMUS_AGENT_XENWIRE_H
#define REMUS_AGENT_XENWIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XENWIRE_HEADER	16u
#define XENWIRE_PAYLOAD 4096u /* the protocol's own limit */

enum xenwire_type {
	XENWIRE_READ = 2,
	XENWIRE_WATCH = 4,
	XENWIRE_WRITE = 11,
	XENWIRE_EVENT = 15, /* of a watch: path, NUL, token, NUL */
	XENWIRE_ERROR = 16, /* the name of an errno value, NUL */
};

/* Write a request with the words @first, NUL, and @second, with a NUL too where @ends. Returns its size; 0: too long. */
size_t xenwire_pack(uint8_t out[XENWIRE_HEADER + XENWIRE_PAYLOAD], enum xenwire_type type, uint32_t request,
		    const char *first, const char *second, bool ends);

struct xenwire_packet {
	uint32_t type, request, length;
	const uint8_t *payload; /* in the reader, until the next call */
};
/* Packets out of a stream. All zero is its beginning. */
struct xenwire_reader {
	uint8_t bytes[XENWIRE_HEADER + XENWIRE_PAYLOAD];
	size_t used, taken;
};
/* Where to put what comes next, and how much there is room for: at least one byte until a whole packet is there. */
uint8_t *xenwire_room(struct xenwire_reader *reader, size_t *room);
/* @count bytes were put there. */
void xenwire_filled(struct xenwire_reader *reader, size_t count);
/* 1: @out is the next packet. 0: not all of it is here. -1: that is no packet, the stream is of no use any more. */
int xenwire_next(struct xenwire_reader *reader, struct xenwire_packet *out);

/* Is @packet an event of the watch with this token? */
bool xenwire_is_event(const struct xenwire_packet *packet, const char *token);
/* The errno value that an error packet names; EIO for one that isn't known here. */
int xenwire_error(const struct xenwire_packet *packet);

#endif
