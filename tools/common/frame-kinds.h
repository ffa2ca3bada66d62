/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One frame of every kind that a guest may send and an egress buffer must hold (I1): what differs between them is
 * what a filter could tell apart. Each carries a number in its last bytes, by which it is known again wherever it is
 * seen; number % FRAME_KINDS is its kind when they are sent in turn.
 *
 *   | to 6 | from 6 | what makes the kind, up to 46 | zeros | magic 4 | number 8 |   both in the host's byte order
 *
 * Used by the lab's guest, which sends them, by the agent in dom0, which sees them, and by plug-check.
 */
#ifndef REMUS_FRAME_KINDS_H
#define REMUS_FRAME_KINDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FRAME_MAGIC    UINT32_C(0x52454d55)
#define FRAME_KIND_MAX 1514 /* bytes */
#define FRAME_KINDS    12

struct frame_kind {
	const char *name;
	uint8_t to[6];
	unsigned bytes; /* of the whole frame */
	uint8_t after[46];
	unsigned mac_at; /* where the sender's address is repeated; 0 = nowhere */
};

/* Addresses are those of documentation (192.0.2.0/24) and link-local ones: nobody answers. */
#define FRAME_KIND_FAR             \
	{                          \
		2, 0, 0, 0, 0, 0xf \
	}
#define FRAME_KIND_ALL                       \
	{                                    \
		255, 255, 255, 255, 255, 255 \
	}
static const struct frame_kind frame_kind[FRAME_KINDS] = {
	{"ipv4-udp",
	 FRAME_KIND_FAR,
	 100,
	 {8, 0, 0x45, 0, 0, 86, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 7, 192, 0, 2, 1},
	 0},
	{"ipv4-udp-large",
	 FRAME_KIND_FAR,
	 1514,
	 {8, 0, 0x45, 0, 5, 220, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 7, 192, 0, 2, 1},
	 0},
	{"ipv4-tcp",
	 FRAME_KIND_FAR,
	 100,
	 {8, 0, 0x45, 0, 0, 86, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 7, 192, 0, 2, 1, [34] = 0x50, 4},
	 0},
	{"ipv6-udp",
	 FRAME_KIND_FAR,
	 120,
	 {0x86, 0xdd, 0x60, 0, 0, 0, 0, 66, 17, 64, 0xfe, 0x80, [25] = 7, [26] = 0xfe, [27] = 0x80},
	 0},
	/* to a solicited-node group */
	{"neighbour-solicitation",
	 {0x33, 0x33, 0xff, 0, 0, 1},
	 120,
	 {0x86, 0xdd, 0x60, 0, 0, 0, 0, 66, 58, 255, 0xfe, 0x80, [25] = 7, [26] = 0xff, [27] = 2, [42] = 135},
	 0},
	{"neighbour-advertisement",
	 {0x33, 0x33, 0, 0, 0, 1},
	 120,
	 {0x86, 0xdd, 0x60, 0, 0, 0, 0, 66, 58, 255, 0xfe, 0x80, [25] = 7, [26] = 0xff, [27] = 2, [41] = 1,
	  136},
	 0},
	{"arp",
	 FRAME_KIND_ALL,
	 72,
	 {8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1},
	 22},
	{"vlan", FRAME_KIND_FAR, 100, {0x81, 0, 0, 42, 8, 0, 0x45}, 0},
	{"qinq", FRAME_KIND_ALL, 100, {0x88, 0xa8, 0, 43, 0x81, 0, 0, 44, 8, 6}, 0},
	{"broadcast",
	 FRAME_KIND_ALL,
	 100,
	 {8, 0, 0x45, 0, 0, 86, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 7, 255, 255, 255, 255},
	 0},
	{"multicast",
	 {1, 0, 0x5e, 0, 0, 251},
	 100,
	 {8, 0, 0x45, 0, 0, 86, 0, 0, 0, 0, 1, 17, 0, 0, 192, 0, 2, 7, 224, 0, 0, 251},
	 0},
	{"unknown-ethertype", FRAME_KIND_FAR, 100, {0x88, 0xb5}, 0},
};

/* A bridge that snoops on multicast drops what has a wrong IPv4 header. */
static inline void frame_kind_checksum(uint8_t *header)
{
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)(header[i] << 8 | header[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	header[10] = (uint8_t)(sum >> 8);
	header[11] = (uint8_t)sum;
}

/* Fill @frame (FRAME_KIND_MAX bytes); returns its length in bytes. */
static inline size_t frame_kind_write(uint8_t *frame, const struct frame_kind *kind, const uint8_t from[6],
				      uint64_t number)
{
	uint32_t magic = FRAME_MAGIC;

	memset(frame, 0, kind->bytes);
	memcpy(frame, kind->to, 6);
	memcpy(frame + 6, from, 6);
	memcpy(frame + 12, kind->after, sizeof kind->after);
	if (kind->after[0] == 8 && kind->after[1] == 0)
		frame_kind_checksum(frame + 14);
	if (kind->mac_at)
		memcpy(frame + kind->mac_at, from, 6);
	memcpy(frame + kind->bytes - 12, &magic, 4);
	memcpy(frame + kind->bytes - 8, &number, 8);
	return kind->bytes;
}

/* Is it one of them? Then its number. */
static inline bool frame_kind_number(const uint8_t *frame, size_t bytes, uint64_t *number)
{
	uint32_t magic;

	if (bytes < 26)
		return false;
	memcpy(&magic, frame + bytes - 12, 4);
	memcpy(number, frame + bytes - 8, 8);
	return magic == FRAME_MAGIC;
}

#endif
