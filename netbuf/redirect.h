/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way of a guest's outgoing frames through an interface where they can be held: see redirect.c. */
#ifndef REMUS_NETBUF_REDIRECT_H
#define REMUS_NETBUF_REDIRECT_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include "netlink.h"

struct redirect {
	char interface[IFNAMSIZ], gate_name[IFNAMSIZ];
	int index; /* the gated interface */
	int gate;  /* the ifb; 0 = none yet */
	bool shut; /* the gate was there when we came: whatever we couldn't finish must leave it shut */
};

/* Look what there is: the interface (-ENODEV without), and a gate of an engine before us. */
int redirect_find(struct netlink *nl, const char *interface, struct redirect *out, struct remus_error *err);
/* Would redirect_lead() work? Somebody else's ingress filter is -EEXIST. Only looks. */
int redirect_check(struct netlink *nl, const struct redirect *r, struct remus_error *err);
/* Make the gate, down, unless it was found. Hang a plug in it next, then redirect_lead(). */
int redirect_make(struct netlink *nl, struct redirect *r, struct remus_error *err);
/* Lead all frames that the guest sends through the gate. */
int redirect_lead(struct netlink *nl, struct redirect *r, struct remus_error *err);
/* Whether what the interface receives goes through the gate and nowhere else; true too when it can't be told. */
bool redirect_leads(struct netlink *nl, const struct redirect *r);
/* Drop whatever the gate holds and will get; nothing passes until redirect_undo(). */
int redirect_shut(struct netlink *nl, const struct redirect *r, struct remus_error *err);
/* Frames go their straight way again. Idempotent; the interface may be gone. */
int redirect_unlead(struct netlink *nl, const struct redirect *r, struct remus_error *err);
/* The same, then the gate goes, with what it holds. */
int redirect_undo(struct netlink *nl, const struct redirect *r, struct remus_error *err);

/* ---- inject.c ---- */
/* Send @frames into the network as if the guest had: they are received on its interface. Stops at the first
 * that can't be sent. */
struct iovec;
int inject_frames(struct netlink *nl, const struct redirect *r, const struct iovec *frames, unsigned count,
		  struct remus_error *err);
/* The index in the name of an interface that is ours, of this prefix; 0 = it isn't. */
#define GATE_PREFIX   "remus-"
#define INJECT_PREFIX "remus+"
int redirect_named(const char *name, const char *prefix);

#endif
