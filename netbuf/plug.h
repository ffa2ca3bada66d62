/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What plug.c (the states) and plug-qdisc.c (the kernel's plug) share, and what the tests reach. */
#ifndef REMUS_NETBUF_PLUG_H
#define REMUS_NETBUF_PLUG_H

#include "remus/netbuf.h"
#include "messages.h"
#include "redirect.h"

enum plug_state { CLOSED, PASSING, HOLDING };

struct plug {
	struct remus_netbuf base;
	struct netlink *nl;
	struct redirect gate;
	uint8_t mac[6];
	uint32_t limit;		/* bytes, of each band */
	uint32_t handle[BANDS]; /* of the bands' plugs */
	unsigned active;	/* the band that frames are queued in; the other one's are sealed, or leave */
	enum plug_state state;
	bool sealed, leave_shut, complained;
	uint64_t sealed_epoch;

	/* How far the frames may have gone: bytes through this qdisc, sealed ones included. */
	bool mark_known;
	uint64_t mark;

	struct remus_netbuf_stats stats;
	struct link_counts gate_before, interface_before; /* at open() */
	uint64_t drops_before;				  /* counted by the kernel, but not for overflow */
	uint64_t received_read;				  /* time */

	int learn; /* socket, -1 = none */
	struct remus_addresses learned;
};

/* ---- plug-check.c ---- */
/* As remus_netbuf_plug.check(). */
void plug_check(const struct remus_netbuf_config *config, struct remus_report *report);
/* The same of the interface alone; @nl stays the caller's. */
void plug_check_on(struct netlink *nl, const struct remus_netbuf_config *config, struct remus_report *report);

/* As remus_netbuf_plug.open(). Owns @nl, also when it fails. */
int plug_open_on(struct netlink *nl, const struct remus_netbuf_config *config, struct remus_netbuf **out,
		 struct remus_error *err);
/* As remus_netbuf_plug_sweep(); @nl stays the caller's. */
int plug_sweep_on(struct netlink *nl, const char *interface, struct remus_error *err);

/* ---- plug-qdisc.c ---- */
int plug_order(struct plug *p, unsigned band, enum plug_order what, struct remus_error *err);
/* Close the other band and have frames queued there from now on. On failure frames go where they went. */
int plug_turn(struct plug *p, struct remus_error *err);
/* A reader for message_qdisc_get(): context is a struct qdisc_facts. */
void plug_see_qdisc(const struct nlmsghdr *h, void *context);
/* The counters of both bands; -ENOENT when what is there isn't ours. */
int plug_look(struct plug *p, struct qdisc_facts *out, struct remus_error *err);
/* Of an interface; *out stays as it is when there is no answer. */
void plug_count(struct plug *p, int index, struct link_counts *out);
/* Into the statistics. */
void plug_note_held(struct plug *p, const struct qdisc_facts *q);
/* How many frames a band holds; 0 when that can't be told. */
uint32_t plug_held(struct plug *p, unsigned band);
/* The bands with their plugs, closed and empty, on a gate that is down; whatever was there goes. */
int plug_build(struct plug *p, struct remus_error *err);
/* New plugs, closed and empty, in the place of ours; the kernel drops what those hold. */
int plug_drop_held(struct plug *p, struct remus_error *err);
/* Between a seal and its release, when nothing leaves: has more left than was released? Logged if so. */
void plug_check_mark(struct plug *p);

#endif
