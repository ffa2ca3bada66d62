/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rtnetlink messages of the plug and the redirect, as bytes: no socket, no state. A builder returns NULL
 * when memory is out (netlink_ask() takes that); a reader fills its struct and returns whether it could.
 * Interfaces go by index.
 */
#ifndef REMUS_NETBUF_MESSAGES_H
#define REMUS_NETBUF_MESSAGES_H

#include <net/if.h>
#include <netlink/msg.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- links ---- */
struct link_facts {
	int index; /* 0 = there is none */
	bool up, carrier;
	char name[IFNAMSIZ], kind[16];
};

struct nl_msg *message_link_get(const char *name);
struct nl_msg *message_link_dump(void);
struct nl_msg *message_ifb_add(const char *name);
/* @alias may be NULL: left as it is. */
struct nl_msg *message_link_set(int index, bool up, const char *alias);
/* No address of its own, hence no packet of its own. */
struct nl_msg *message_link_no_ipv6(int index);
struct nl_msg *message_link_delete(int index);
bool read_link(const struct nlmsghdr *h, struct link_facts *out);

struct link_counts {
	bool seen;
	uint64_t rx_packets, rx_bytes, tx_packets;
};
struct nl_msg *message_counts_get(int index);
bool read_counts(const struct nlmsghdr *h, struct link_counts *out);

/* ---- the plug ---- */
#define BANDS	   2
#define ROOT	   UINT32_C(0x72640000)
#define BAND(band) (ROOT + (band) + 1) /* the place of a band's own qdisc */

/* The root qdisc: prio with two bands, each with a qdisc that passes; all frames go to the first one. The interface must
 * be down. */
struct nl_msg *message_bands_new(int index);
/* From now on frames go to @band: the kernel changes that under the lock that queueing takes. */
struct nl_msg *message_bands_turn(int index, unsigned band);

enum plug_order { PLUG_BUFFER, PLUG_RELEASE_INDEFINITE };

/* Put a new, closed plug of @limit bytes in the place of @band's qdisc, which drops what it holds.
 * @handle must differ from that one's. */
struct nl_msg *message_plug_new(int index, unsigned band, uint32_t handle, uint32_t limit);
/* An order to the plug that is there; the kernel refuses it when another qdisc is. */
struct nl_msg *message_plug_order(int index, unsigned band, uint32_t handle, enum plug_order order);

struct qdisc_facts {
	bool seen;
	uint32_t handle;
	char kind[16];
	uint64_t sent_bytes;
	uint32_t held_packets, held_bytes, drops;
};
/* The qdisc at @parent: TC_H_ROOT (its counts are those of both bands), or a BAND(). */
struct nl_msg *message_qdisc_get(int index, uint32_t parent);
bool read_qdisc(const struct nlmsghdr *h, struct qdisc_facts *out);

/* ---- ingress and the filter ---- */
/* Where a filter sits: what comes in by an interface with an ingress qdisc; what leaves one with clsact. */
#define FILTER_INGRESS UINT32_C(0xffff0000)
#define FILTER_EGRESS  UINT32_C(0xfffffff3)
#define FILTER_HANDLE  UINT32_C(0x72656d75) /* "remu": ours */

struct nl_msg *message_ingress_add(int index);
struct nl_msg *message_ingress_delete(int index);
struct nl_msg *message_clsact_add(int index);

struct filter_facts {
	uint32_t handle, priority;
	char kind[16];
	int target; /* of a redirect by matchall; 0 = none, or the interface is gone */
};
/* All frames of whatever protocol, moved to @target: as if @target should send them, or (@received) as if it
 * had received them. */
struct nl_msg *message_filter_add(int index, uint32_t parent, uint16_t priority, int target, bool received);
struct nl_msg *message_filter_delete(int index, uint16_t priority);
struct nl_msg *message_filter_dump(int index);
bool read_filter(const struct nlmsghdr *h, struct filter_facts *out);

#endif
