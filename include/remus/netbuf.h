/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The egress buffer: holds a guest's outgoing frames until the epoch that produced them is acknowledged (I1).
 * Frames towards the guest always pass.
 *
 * States:   CLOSED --pass--> PASSING --hold--> HOLDING --pass--> PASSING
 *           CLOSED --hold--> HOLDING (taking up after a killed engine: nothing may pass before a claim, I6)
 *   CLOSED   nothing flows in either direction (a standby: interfaces are open, so that a missing one shows at
 *            protect time, but not a frame is read or sent).
 *   PASSING  frames go straight through.
 *   HOLDING  frames queue in order. seal(N): those queued until now belong to epoch N or older, later ones to
 *            N+1. release(N): those sealed up to N leave. At most one sealed, unreleased epoch (I10): a second
 *            seal before the release fails with -EBUSY and changes nothing.
 * Overflow of a cap drops the newest frame, counts it and never lets one pass (I10).
 */
#ifndef REMUS_NETBUF_H
#define REMUS_NETBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "remus/domain.h"
#include "remus/error.h"
#include "remus/findings.h"

struct remus_netbuf_config {
	struct remus_nic nic;
	const char *egress; /* hold: "packet:IFNAME", "tap:IFNAME", "unix:PATH[,bind=PATH]"; plug: not used */
	uint64_t max_bytes; /* cap of held bytes, 0 = 64 MiB; plug: of each of two epochs, at most 2 GiB */
	uint64_t max_packets; /* cap of held frames, 0 = 65536; plug: there is none */
};

struct remus_netbuf_stats {
	uint64_t held_packets, held_bytes; /* now */
	uint64_t held_packets_peak;
	uint64_t accepted_packets; /* from the guest since open; those dropped for a cap not counted */
	uint64_t released_packets, released_bytes; /* sent to the egress since open, passing ones included */
	uint64_t dropped_packets;		   /* overflow of a cap or refused by the egress */
	uint64_t discarded_packets;		   /* by discard() */
	uint64_t received_packets;		   /* towards the guest */
};

/* Addresses learned from the guest's own frames, for announcements after failover. */
#define REMUS_ADDRESSES_MAX 16
struct remus_address {
	uint8_t mac[6];
	uint8_t family; /* 4 or 6 */
	uint8_t ip[16]; /* network order; the first 4 bytes for family 4 */
};
struct remus_addresses {
	uint32_t count;
	struct remus_address entry[REMUS_ADDRESSES_MAX];
};

struct remus_netbuf {
	const struct remus_netbuf_ops *ops;
};

/* Calls come from one thread (the shell's). Those that return int fail only with a message. */
struct remus_netbuf_ops {
	const char *name; /* "hold", "plug" */
	/* Could open() and hold() do their work? Makes nothing and sends nothing. The interface may be unknown ("", a vif that
	 * comes with the guest): then what it will need of this host is looked at. */
	void (*check)(const struct remus_netbuf_config *config, struct remus_report *report);
	/* Opens in state CLOSED. */
	int (*open)(const struct remus_netbuf_config *config, struct remus_netbuf **out,
		    struct remus_error *err);
	int (*hold)(struct remus_netbuf *, struct remus_error *err);
	int (*seal)(struct remus_netbuf *, uint64_t epoch, struct remus_error *err);
	int (*release)(struct remus_netbuf *, uint64_t epoch, struct remus_error *err);
	/* Drop everything held, sealed or not; stay in HOLDING. */
	int (*discard)(struct remus_netbuf *, struct remus_error *err);
	/* Send everything held, then pass. Only after a won claim or an END_ACK (I6): the caller's duty. */
	int (*pass)(struct remus_netbuf *, struct remus_error *err);
	void (*stats)(struct remus_netbuf *, struct remus_netbuf_stats *out);
	/* What was learned so far. */
	void (*addresses)(struct remus_netbuf *, struct remus_addresses *out);
	/* Tell the egress network where the guest is now: gratuitous ARP, unsolicited NA, and a RARP where no address
	 * is known. Only in PASSING (I12). */
	int (*announce)(struct remus_netbuf *, const struct remus_addresses *, struct remus_error *err);
	/*
	 * Drops what is held, removes sockets and interfaces that it made (I13), frees. Opens nothing: what the guest
	 * sends afterwards leaves only if it could when the buffer was opened and it hasn't been holding since, or it
	 * was passing. hold: never, nobody forwards it any more. plug: else the gate stays, shut, for
	 * remus_netbuf_plug_sweep().
	 */
	void (*close)(struct remus_netbuf *);
};

/* In user space, for interfaces of kind DGRAM; needs no privilege. */
extern const struct remus_netbuf_ops remus_netbuf_hold;
/* In the kernel (two sch_plugs under sch_prio behind an ifb), for interfaces of kind VIF and TAP; needs CAP_NET_ADMIN, and
 * CAP_NET_RAW to learn and announce addresses. An engine that dies leaves its gate in place: nothing passes. */
extern const struct remus_netbuf_ops remus_netbuf_plug;

/*
 * Remove the plug's gate from @interface, dropping what it holds; from then on the guest's frames go straight
 * out. For the supervisor of an engine that died or that closed its buffer while holding, and only when the guest
 * is gone or the claim is won (I6). The gates of interfaces that are gone are removed too; @interface may be NULL
 * to do only that. Idempotent.
 */
int remus_netbuf_plug_sweep(const char *interface, struct remus_error *err);

/* ---- announce.c: frames, pure ---- */
#define REMUS_ANNOUNCE_MAX 128
/* An announcement for one address (gratuitous ARP or unsolicited NA with checksum): length in bytes. */
size_t remus_announce_frame(const struct remus_address *address, uint8_t out[REMUS_ANNOUNCE_MAX]);
/* A RARP request that only teaches switches where @mac is. */
size_t remus_announce_rarp(const uint8_t mac[6], uint8_t out[REMUS_ANNOUNCE_MAX]);
/* Note the source address of a frame the guest sent (ARP, IPv4, IPv6). Unspecified, loopback, multicast and
 * foreign-MAC sources are ignored; so are VLAN-tagged frames, whose addresses an untagged announcement would
 * tell to the wrong network. When full the least recently seen goes. */
void remus_addresses_learn(struct remus_addresses *table, const uint8_t mac[6], const uint8_t *frame,
			   size_t bytes);
/* The table on the wire (REMUS_SECTION_ADDRESSES): u32 count, then 24 bytes each (mac, family, pad, ip). */
#define REMUS_ADDRESSES_WIRE_MAX (4 + 24 * REMUS_ADDRESSES_MAX)
size_t remus_addresses_encode(const struct remus_addresses *in, uint8_t out[REMUS_ADDRESSES_WIRE_MAX]);
int remus_addresses_decode(const void *body, size_t bytes, struct remus_addresses *out,
			   struct remus_error *err);

#endif
