/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions to the kernel's network configuration (rtnetlink), one at a time: a message goes, the answer is
 * waited for. Whoever configures goes through this table, so that a test can put a kernel of its own behind it.
 */
#ifndef REMUS_NETBUF_NETLINK_H
#define REMUS_NETBUF_NETLINK_H

#include <netlink/msg.h>
#include "remus/error.h"

#define NETLINK_WHY_MAX 128

/* Remedies that a failure and a check have in common. */
#define NETLINK_OR_BOOT	   ", or boot a kernel that has it (Debian's linux-image-amd64 does)"
#define NETLINK_GIVE_ADMIN "run the engine as root, or with AmbientCapabilities=CAP_NET_ADMIN in its unit"

struct netlink {
	const struct netlink_ops *ops;
};

/* Called for each message of the answer. */
typedef void netlink_see(const struct nlmsghdr *message, void *context);

struct netlink_ops {
	/* Send @request, wait for the acknowledgement or the end of the dump. Returns 0 or what the kernel said,
	 * -errno; *why then holds the kernel's own words, if it had any, else "". */
	int (*ask)(struct netlink *, struct nl_msg *request, netlink_see *see, void *context,
		   char why[NETLINK_WHY_MAX]);
	void (*close)(struct netlink *);
};

/* The kernel of this network namespace. */
int netlink_open(struct netlink **out, struct remus_error *err);

/*
 * Ask, and explain a failure: the text given names what was attempted on which object. @request is freed; NULL
 * stands for "out of memory". @see may be NULL. @modules: which kernel modules the request needs, as modprobe
 * takes them ("sch_plug"), named when the kernel doesn't know the thing; NULL for requests that need none.
 */
int netlink_ask(struct netlink *netlink, struct nl_msg *request, netlink_see *see, void *context,
		const char *modules, struct remus_error *err, const char *fmt, ...)
	__attribute__((format(printf, 7, 8)));

#endif
