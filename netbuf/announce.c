// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Announcements: frames that tell a network where a guest's addresses live after a failover, and the table of
 * those addresses, learned from what the guest itself sends. All of it is pure: bytes in, bytes out.
 *
 * A switch needs any frame with the guest's source MAC on the new port; a neighbour whose cache still points
 * elsewhere needs its entry rewritten. Hence per address
 *
 *   IPv4   gratuitous ARP, the request form (RFC 5227 par. 2.3 "ARP announcement"): every stack takes it
 *   IPv6   unsolicited neighbour advertisement (RFC 4861 par. 7.2.6) to ff02::1, override set, router clear
 *   none   RARP request (RFC 903), as hypervisors do after a migration: teaches the switches only
 *
 * What is announced is believed by others. So an address enters the table only from an untagged frame whose
 * source MAC is the guest's own (behind an 802.1Q or QinQ tag it lives in a network that this port's untagged
 * frames don't reach), and never when it is unspecified, loopback or multicast: an ARP probe or a DAD
 * solicitation carries the unspecified source because its sender does *not* own the address yet.
 *
 * The router flag is clear because it can't be known; a guest that is an IPv6 router corrects it with its own
 * next router advertisement.
 */
#include "remus/netbuf.h"
#include "remus/util.h"

#include <stdbool.h>

#define ETHERNET_HEADER 14u
#define ETHERNET_LEAST	60u /* shorter frames are padded; without the checksum */
#define IPV6_HEADER	40u
#define ARP_BODY	28u
#define NA_BODY		32u /* the advertisement, 24, and its target link-layer address option, 8 */

enum { ETHERTYPE_IPV4 = 0x0800, ETHERTYPE_ARP = 0x0806, ETHERTYPE_RARP = 0x8035, ETHERTYPE_IPV6 = 0x86dd };

static void put_be16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned get_be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put_ethernet(uint8_t *out, const uint8_t destination[6], const uint8_t source[6], unsigned type)
{
	memcpy(out, destination, 6);
	memcpy(out + 6, source, 6);
	put_be16(out + 12, type);
}

static void put_arp_head(uint8_t *arp, unsigned operation)
{
	put_be16(arp, 1); /* Ethernet */
	put_be16(arp + 2, ETHERTYPE_IPV4);
	arp[4] = 6;
	arp[5] = 4;
	put_be16(arp + 6, operation);
}

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static size_t gratuitous_arp(const struct remus_address *address, uint8_t *out)
{
	uint8_t *arp = out + ETHERNET_HEADER;

	put_ethernet(out, broadcast, address->mac, ETHERTYPE_ARP);
	put_arp_head(arp, 1);
	memcpy(arp + 8, address->mac, 6);
	memcpy(arp + 14, address->ip, 4);
	/* arp + 18: the target's MAC stays zero */
	memcpy(arp + 24, address->ip, 4);
	return ETHERNET_LEAST;
}

/* RFC 1071 over the ICMPv6 message and its pseudo-header (RFC 8200 par. 8.1), both of even length here. */
static unsigned icmpv6_checksum(const uint8_t *ipv6, const uint8_t *message, unsigned bytes)
{
	uint32_t sum = bytes + 58;

	for (unsigned i = 8; i < IPV6_HEADER; i += 2) /* both addresses */
		sum += get_be16(ipv6 + i);
	for (unsigned i = 0; i < bytes; i += 2)
		sum += get_be16(message + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static size_t unsolicited_na(const struct remus_address *address, uint8_t *out)
{
	static const uint8_t nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
	uint8_t *ip = out + ETHERNET_HEADER, *na = ip + IPV6_HEADER;

	put_ethernet(out, nodes_mac, address->mac, ETHERTYPE_IPV6);
	ip[0] = 0x60;
	put_be16(ip + 4, NA_BODY);
	ip[6] = 58;  /* ICMPv6 */
	ip[7] = 255; /* receivers drop any other: proves that no router forwarded it */
	memcpy(ip + 8, address->ip, 16);
	ip[24] = 0xff; /* ff02::1, all nodes */
	ip[25] = 0x02;
	ip[39] = 0x01;

	na[0] = 136;
	na[4] = 0x20; /* override; neither router nor solicited */
	memcpy(na + 8, address->ip, 16);
	na[24] = 2; /* target link-layer address, */
	na[25] = 1; /* 8 bytes in all */
	memcpy(na + 26, address->mac, 6);
	put_be16(na + 2, icmpv6_checksum(ip, na, NA_BODY));
	return ETHERNET_HEADER + IPV6_HEADER + NA_BODY;
}

size_t remus_announce_frame(const struct remus_address *address, uint8_t out[REMUS_ANNOUNCE_MAX])
{
	memset(out, 0, REMUS_ANNOUNCE_MAX);
	return address->family == 4 ? gratuitous_arp(address, out) : unsolicited_na(address, out);
}

size_t remus_announce_rarp(const uint8_t mac[6], uint8_t out[REMUS_ANNOUNCE_MAX])
{
	uint8_t *arp = out + ETHERNET_HEADER;

	memset(out, 0, REMUS_ANNOUNCE_MAX);
	put_ethernet(out, broadcast, mac, ETHERTYPE_RARP);
	put_arp_head(arp, 3);
	memcpy(arp + 8, mac, 6);
	memcpy(arp + 18, mac, 6);
	return ETHERNET_LEAST;
}

/* ---- the table, least recently seen first ---- */

static bool announceable(unsigned family, const uint8_t *ip)
{
	static const uint8_t nothing[15];

	if (family == 4) /* not 0/8, 127/8, 224/3: "this" network, loopback, multicast, reserved, broadcast */
		return ip[0] != 0 && ip[0] != 127 && ip[0] < 224;
	if (family == 6) /* not multicast, "::" or "::1" */
		return ip[0] != 0xff && !(memcmp(ip, nothing, 15) == 0 && ip[15] <= 1);
	return false;
}

static void note(struct remus_addresses *table, const uint8_t mac[6], uint8_t family, const uint8_t *ip)
{
	struct remus_address seen = {.family = family};
	uint32_t i;

	if (!announceable(family, ip))
		return;
	memcpy(seen.mac, mac, 6);
	memcpy(seen.ip, ip, family == 4 ? 4 : 16);

	for (i = 0; i < table->count; i++)
		if (!memcmp(&table->entry[i], &seen, sizeof seen))
			break;
	if (i == table->count) {
		if (table->count < REMUS_ADDRESSES_MAX)
			table->count++;
		else
			i = 0; /* the least recently seen goes */
	}
	uint32_t last = table->count - 1;
	if (i < last)
		memmove(&table->entry[i], &table->entry[i + 1], (last - i) * sizeof seen);
	table->entry[last] = seen;
}

void remus_addresses_learn(struct remus_addresses *table, const uint8_t mac[6], const uint8_t *frame,
			   size_t bytes)
{
	if (bytes < ETHERNET_HEADER || memcmp(frame + 6, mac, 6) != 0)
		return;
	const uint8_t *body = frame + ETHERNET_HEADER;
	size_t left = bytes - ETHERNET_HEADER;

	switch (get_be16(frame + 12)) {
	case ETHERTYPE_ARP:
		if (left >= ARP_BODY && get_be16(body) == 1 && get_be16(body + 2) == ETHERTYPE_IPV4 &&
		    body[4] == 6 && body[5] == 4 && (get_be16(body + 6) == 1 || get_be16(body + 6) == 2) &&
		    !memcmp(body + 8, mac, 6))
			note(table, mac, 4, body + 14);
		break;
	case ETHERTYPE_IPV4:
		if (left >= 20 && body[0] >> 4 == 4 && (body[0] & 15) >= 5)
			note(table, mac, 4, body + 12);
		break;
	case ETHERTYPE_IPV6:
		if (left >= IPV6_HEADER && body[0] >> 4 == 6)
			note(table, mac, 6, body + 8);
		break;
	}
}

size_t remus_addresses_encode(const struct remus_addresses *in, uint8_t out[REMUS_ADDRESSES_WIRE_MAX])
{
	uint8_t *p = out + 4;

	remus_put_le32(out, in->count);
	for (uint32_t i = 0; i < in->count; i++, p += 24) {
		memcpy(p, in->entry[i].mac, 6);
		p[6] = in->entry[i].family;
		p[7] = 0;
		memcpy(p + 8, in->entry[i].ip, 16);
	}
	return (size_t)(p - out);
}

int remus_addresses_decode(const void *body, size_t bytes, struct remus_addresses *out,
			   struct remus_error *err)
{
	struct remus_addresses table = {0};
	const uint8_t *p = body;

	if (bytes < 4)
		return remus_fail(err, -EBADMSG, "address table: %zu bytes, at least 4 expected", bytes);
	table.count = remus_get_le32(p);
	if (table.count > REMUS_ADDRESSES_MAX || bytes != 4 + 24 * (size_t)table.count)
		return remus_fail(err, -EBADMSG, "address table: %u entries (at most %d) in %zu bytes",
				  table.count, REMUS_ADDRESSES_MAX, bytes);
	p += 4;
	for (uint32_t i = 0; i < table.count; i++, p += 24) {
		struct remus_address *entry = &table.entry[i];
		if (!announceable(p[6], p + 8) || (p[0] & 1))
			return remus_fail(err, -EBADMSG,
					  "address table: entry %u (family %u) is not a host's address", i,
					  p[6]);
		memcpy(entry->mac, p, 6);
		entry->family = p[6];
		memcpy(entry->ip, p + 8, p[6] == 4 ? 4 : 16);
	}
	*out = table;
	return 0;
}
