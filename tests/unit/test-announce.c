// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Announcements byte by byte, the checksum summed again in another way, and the learned table: what must be
 * learned, what must not, every truncation, order of eviction, encoding.
 */
#include "remus/netbuf.h"
#include "unit.h"

static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
static const uint8_t ipv6[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34};

static void gratuitous_arp_bytes(void)
{
	static const uint8_t expected[60] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0x08, 0x06,
		0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56,
		192,  0,    2,	  7,	0,    0,    0,	  0,	0,    0,    192,  0,	2,    7,
	};
	struct remus_address address = {.family = 4, .ip = {192, 0, 2, 7}};
	uint8_t out[REMUS_ANNOUNCE_MAX];

	memcpy(address.mac, mac, 6);
	memset(out, 0xa5, sizeof out);
	CU_ASSERT_EQUAL(remus_announce_frame(&address, out), sizeof expected);
	CU_ASSERT(memcmp(out, expected, sizeof expected) == 0);
}

static void rarp_bytes(void)
{
	static const uint8_t expected[60] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0x80, 0x35,
		0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x03, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56,
		0,    0,    0,	  0,	0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0,	  0,	0,    0,
	};
	uint8_t out[REMUS_ANNOUNCE_MAX];

	memset(out, 0xa5, sizeof out);
	CU_ASSERT_EQUAL(remus_announce_rarp(mac, out), sizeof expected);
	CU_ASSERT(memcmp(out, expected, sizeof expected) == 0);
}

/* A receiver's check: the one's complement sum over pseudo-header and message, checksum included, is 0xffff.
 * Summed here byte-wise into two columns, unlike the sender's words. */
static bool checksum_holds(const uint8_t *ip, size_t bytes)
{
	uint64_t even = 0, odd = 58;
	size_t length = bytes - 40;

	for (size_t i = 8; i < bytes; i++)
		*(i % 2 ? &odd : &even) += ip[i];
	even += length >> 8;
	odd += length & 0xff;
	uint64_t sum = even * 256 + odd;
	return sum % 0xffff == 0;
}

static void neighbour_advertisement_bytes(void)
{
	static const uint8_t head[] = {0x33, 0x33, 0,	 0,    0,    1,	   0x52, 0x54, 0x00, 0x12, 0x34, 0x56,
				       0x86, 0xdd,				      /* */
				       0x60, 0,	   0,	 0,    0,    32,   58,	 255, /* */
				       0x20, 0x01, 0x0d, 0xb8, 0,    0,	   0,	 0,    0,    0,	   0,	 0,
				       0,    0,	   0x12, 0x34, 0xff, 0x02, 0,	 0,    0,    0,	   0,	 0,
				       0,    0,	   0,	 0,    0,    0,	   0,	 1,    136,  0};
	static const uint8_t tail[] = {0x20, 0,	   0,	 0, /* */
				       0x20, 0x01, 0x0d, 0xb8, 0, 0, 0,	   0,	 0,    0,    0,	   0,
				       0,    0,	   0x12, 0x34, 2, 1, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
	struct remus_address address = {.family = 6};
	uint8_t out[REMUS_ANNOUNCE_MAX];

	memcpy(address.mac, mac, 6);
	memcpy(address.ip, ipv6, 16);
	memset(out, 0xa5, sizeof out);
	CU_ASSERT_EQUAL(remus_announce_frame(&address, out), 86);
	CU_ASSERT(memcmp(out, head, sizeof head) == 0);
	CU_ASSERT(memcmp(out + sizeof head + 2, tail, sizeof tail) == 0);
	CU_ASSERT_EQUAL(sizeof head + 2 + sizeof tail, 86);
	CU_ASSERT(checksum_holds(out + 14, 72));
	for (unsigned i = 0; i < 256; i++) { /* carries of many kinds */
		address.ip[15] = (uint8_t)i;
		address.ip[8] = (uint8_t)(255 - i);
		address.mac[5] = (uint8_t)(i * 7);
		remus_announce_frame(&address, out);
		CU_ASSERT(checksum_holds(out + 14, 72));
	}
}

/* ---- learning ---- */

static size_t ethernet(uint8_t *out, const uint8_t source[6], unsigned type)
{
	memset(out, 0xff, 6);
	memcpy(out + 6, source, 6);
	out[12] = (uint8_t)(type >> 8);
	out[13] = (uint8_t)type;
	return 14;
}

static size_t arp(uint8_t *out, const uint8_t source[6], uint8_t last)
{
	static const uint8_t body[28] = {0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2};
	size_t n = ethernet(out, source, 0x0806);
	memcpy(out + n, body, sizeof body);
	memcpy(out + n + 8, source, 6);
	out[n + 17] = last;
	return n + sizeof body;
}

static size_t ipv4(uint8_t *out, uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	size_t n = ethernet(out, mac, 0x0800);
	const uint8_t body[20] = {0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, a, b, c, d, 192, 0, 2, 99};
	memcpy(out + n, body, sizeof body);
	return n + sizeof body;
}

static size_t ipv6_frame(uint8_t *out, const uint8_t source[16])
{
	size_t n = ethernet(out, mac, 0x86dd);
	memset(out + n, 0, 40);
	out[n] = 0x60;
	memcpy(out + n + 8, source, 16);
	return n + 40;
}

static uint32_t learned(const uint8_t *frame, size_t bytes)
{
	struct remus_addresses table = {0};
	/* in memory of exactly that size, so that a read beyond it shows under ASan */
	uint8_t *exact = malloc(bytes ? bytes : 1);
	memcpy(exact, frame, bytes);
	remus_addresses_learn(&table, mac, exact, bytes);
	free(exact);
	return table.count;
}

static void learns_each_family(void)
{
	struct remus_addresses table = {0};
	uint8_t link_local[16] = {0xfe, 0x80}, f[128];

	link_local[15] = 9;
	remus_addresses_learn(&table, mac, f, arp(f, mac, 7));
	remus_addresses_learn(&table, mac, f, ipv4(f, 198, 51, 100, 3));
	remus_addresses_learn(&table, mac, f, ipv6_frame(f, ipv6));
	remus_addresses_learn(&table, mac, f, ipv6_frame(f, link_local));
	CU_ASSERT_EQUAL(table.count, 4);
	CU_ASSERT(table.entry[0].family == 4 && table.entry[0].ip[3] == 7);
	CU_ASSERT(table.entry[1].family == 4 && table.entry[1].ip[0] == 198);
	CU_ASSERT(table.entry[2].family == 6 && !memcmp(table.entry[2].ip, ipv6, 16));
	CU_ASSERT(table.entry[3].family == 6 && !memcmp(table.entry[3].ip, link_local, 16));
	for (int i = 0; i < 4; i++)
		CU_ASSERT(memcmp(table.entry[i].mac, mac, 6) == 0);
}

static void ignores_what_nobody_may_announce(void)
{
	static const uint8_t other[6] = {0x52, 0x54, 0, 9, 9, 9};
	uint8_t f[128], six[16] = {0};
	size_t n;

	CU_ASSERT_EQUAL(learned(f, ipv4(f, 0, 0, 0, 0)), 0);
	CU_ASSERT_EQUAL(learned(f, ipv4(f, 127, 0, 0, 1)), 0);
	CU_ASSERT_EQUAL(learned(f, ipv4(f, 224, 0, 0, 1)), 0);
	CU_ASSERT_EQUAL(learned(f, ipv4(f, 255, 255, 255, 255)), 0);
	CU_ASSERT_EQUAL(learned(f, ipv6_frame(f, six)), 0); /* a DAD solicitation's source */
	six[15] = 1;
	CU_ASSERT_EQUAL(learned(f, ipv6_frame(f, six)), 0);
	six[0] = 0xff;
	CU_ASSERT_EQUAL(learned(f, ipv6_frame(f, six)), 0);
	CU_ASSERT_EQUAL(learned(f, arp(f, other, 7)), 0);

	n = arp(f, mac, 7); /* ARP sender is somebody else: proxying */
	memcpy(f + 14 + 8, other, 6);
	CU_ASSERT_EQUAL(learned(f, n), 0);
	n = arp(f, mac, 7); /* ARP probe */
	memset(f + 14 + 14, 0, 4);
	CU_ASSERT_EQUAL(learned(f, n), 0);
	for (unsigned at = 0; at < 8; at++) { /* each fixed field of ARP */
		n = arp(f, mac, 7);
		f[14 + at] ^= 0x40;
		CU_ASSERT_EQUAL(learned(f, n), 0);
	}
	n = ipv4(f, 192, 0, 2, 1);
	f[14] = 0x44; /* header length 16 */
	CU_ASSERT_EQUAL(learned(f, n), 0);
	f[14] = 0x65;
	CU_ASSERT_EQUAL(learned(f, n), 0);
	n = ipv6_frame(f, ipv6);
	f[14] = 0x40;
	CU_ASSERT_EQUAL(learned(f, n), 0);
}

static void ignores_tags_and_strangers(void)
{
	static const unsigned types[] = {0x8100, 0x88a8, 0x9100, 0x88cc, 0x0026, 0x0000, 0xffff, 0x8035};
	uint8_t f[128];

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(types); i++) {
		size_t n = ipv4(f, 192, 0, 2, 1);
		memmove(f + 18, f + 14, n - 14); /* the payload behind where a tag would end */
		f[12] = (uint8_t)(types[i] >> 8);
		f[13] = (uint8_t)types[i];
		f[14] = 0;
		f[15] = 5;
		f[16] = 0x08;
		f[17] = 0;
		CU_ASSERT_EQUAL(learned(f, n + 4), 0);
	}
}

static void truncated_at_every_length(void)
{
	uint8_t f[128];
	size_t whole;

	whole = arp(f, mac, 7);
	for (size_t n = 0; n <= whole; n++)
		CU_ASSERT_EQUAL(learned(f, n), n == whole);
	whole = ipv4(f, 192, 0, 2, 1);
	for (size_t n = 0; n <= whole; n++)
		CU_ASSERT_EQUAL(learned(f, n), n == whole);
	whole = ipv6_frame(f, ipv6);
	for (size_t n = 0; n <= whole; n++)
		CU_ASSERT_EQUAL(learned(f, n), n == whole);
}

static void evicts_least_recently_seen(void)
{
	struct remus_addresses table = {0};
	uint8_t f[128];

	for (uint8_t i = 1; i <= REMUS_ADDRESSES_MAX; i++)
		remus_addresses_learn(&table, mac, f, ipv4(f, 192, 0, 2, i));
	CU_ASSERT_EQUAL(table.count, REMUS_ADDRESSES_MAX);
	remus_addresses_learn(&table, mac, f, ipv4(f, 192, 0, 2, 1)); /* seen again: no longer the oldest */
	CU_ASSERT_EQUAL(table.count, REMUS_ADDRESSES_MAX);
	remus_addresses_learn(&table, mac, f, ipv4(f, 192, 0, 2, 200));
	CU_ASSERT_EQUAL(table.count, REMUS_ADDRESSES_MAX);
	CU_ASSERT_EQUAL(table.entry[0].ip[3], 3); /* 2 went */
	CU_ASSERT_EQUAL(table.entry[REMUS_ADDRESSES_MAX - 2].ip[3], 1);
	CU_ASSERT_EQUAL(table.entry[REMUS_ADDRESSES_MAX - 1].ip[3], 200);
}

static void encodes_and_decodes(void)
{
	struct remus_addresses table = {0}, back;
	uint8_t f[128], wire[REMUS_ADDRESSES_WIRE_MAX];
	struct remus_error err = REMUS_ERROR_INIT;

	remus_addresses_learn(&table, mac, f, arp(f, mac, 7));
	remus_addresses_learn(&table, mac, f, ipv6_frame(f, ipv6));
	size_t n = remus_addresses_encode(&table, wire);
	CU_ASSERT_EQUAL(n, 4 + 2 * 24);
	static const uint8_t first[] = {2, 0, 0, 0, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 4, 0, 192, 0, 2, 7, 0};
	CU_ASSERT(memcmp(wire, first, sizeof first) == 0);
	memset(&back, 0xa5, sizeof back);
	CU_ASSERT_EQUAL(remus_addresses_decode(wire, n, &back, &err), 0);
	CU_ASSERT(memcmp(&back, &table, sizeof table) == 0);
	for (size_t cut = 0; cut < n; cut++) {
		CU_ASSERT_EQUAL(remus_addresses_decode(wire, cut, &back, &err), -EBADMSG);
		UNIT_ASSERT_MESSAGE(err, "address table");
	}
	CU_ASSERT_EQUAL(remus_addresses_decode(wire, n + 1, &back, &err), -EBADMSG);
	wire[4 + 6] = 5; /* no such family */
	CU_ASSERT_EQUAL(remus_addresses_decode(wire, n, &back, &err), -EBADMSG);
	wire[4 + 6] = 4;
	wire[4 + 8] = 224; /* multicast */
	CU_ASSERT_EQUAL(remus_addresses_decode(wire, n, &back, &err), -EBADMSG);
	remus_put_le32(wire, 0xffffffff);
	CU_ASSERT_EQUAL(remus_addresses_decode(wire, n, &back, &err), -EBADMSG);
	remus_put_le32(wire, 0);
	CU_ASSERT_EQUAL(remus_addresses_decode(wire, 4, &back, &err), 0);
	CU_ASSERT_EQUAL(back.count, 0);
}

static const struct unit_case cases[] = {
	{"gratuitous ARP, byte by byte", gratuitous_arp_bytes},
	{"RARP, byte by byte", rarp_bytes},
	{"neighbour advertisement and its checksum", neighbour_advertisement_bytes},
	{"learns ARP, IPv4, IPv6 and link-local", learns_each_family},
	{"ignores what nobody may announce", ignores_what_nobody_may_announce},
	{"ignores VLAN tags and other EtherTypes", ignores_tags_and_strangers},
	{"truncated at every length", truncated_at_every_length},
	{"evicts the least recently seen", evicts_least_recently_seen},
	{"encodes and decodes", encodes_and_decodes},
};
UNIT_MAIN("announce", cases)
