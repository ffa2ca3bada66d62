// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Frames into the network at the guest's own port.
 *
 * An announcement must come from where the guest is: only then does the bridge learn the port (sent by the
 * bridge itself, it would leave the host but leave the bridge believing what it learned before the failover,
 * and frames for the guest would turn round at the uplink), and only then does a VLAN-aware bridge put it in the
 * guest's VLAN. But nothing in user space can make a frame *received* by a vif: what one sends there goes to the
 * guest. A filter can: mirred knows "receive". So for the moment of the announcement there is an interface that
 * has nothing but such a filter on its way out:
 *
 *   packet socket --> remus+12 ==clsact egress, matchall, mirred ingress==> vif5.0 ==> remus-12 [plug, passing]
 *                                                                           vif5.0 --> bridge
 *
 * It needs no module that the gate doesn't need, and works with any kind of bridge or none.
 */
#include "config.h"
#include "redirect.h"
#include "messages.h"
#include "remus/util.h"

#include <linux/if_packet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>

static void see_link(const struct nlmsghdr *h, void *context)
{
	read_link(h, context);
}

static int send_frames(int index, const struct iovec *frames, unsigned count)
{
	REMUS_AUTO_CLOSE int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = index};

	if (fd < 0)
		return -errno;
	for (unsigned i = 0; i < count; i++) {
		memcpy(&to.sll_protocol, (const uint8_t *)frames[i].iov_base + 12, 2);
		if (sendto(fd, frames[i].iov_base, frames[i].iov_len, 0, (struct sockaddr *)&to, sizeof to) <
		    0)
			return -errno;
	}
	return 0;
}

static int prepare(struct netlink *nl, const struct redirect *r, const char *name, struct link_facts *link,
		   struct remus_error *err)
{
	int rc = netlink_ask(nl, message_ifb_add(name), NULL, NULL, "ifb", err, "making interface %s (ifb)",
			     name);

	if (rc == 0)
		rc = netlink_ask(nl, message_link_get(name), see_link, link, NULL, err, "interface %s", name);
	if (rc < 0)
		return rc;
	netlink_ask(nl, message_link_no_ipv6(link->index), NULL, NULL, NULL, NULL, "no IPv6");
	rc = netlink_ask(nl, message_clsact_add(link->index), NULL, NULL, "sch_ingress", err,
			 "making a clsact qdisc on %s", name);
	if (rc == 0)
		rc = netlink_ask(nl, message_filter_add(link->index, FILTER_EGRESS, 1, r->index, true), NULL,
				 NULL, "cls_matchall act_mirred", err, "leading what %s sends into %s", name,
				 r->interface);
	if (rc == 0)
		rc = netlink_ask(nl, message_link_set(link->index, true, NULL), NULL, NULL, NULL, err,
				 "setting interface %s up", name);
	return rc;
}

int inject_frames(struct netlink *nl, const struct redirect *r, const struct iovec *frames, unsigned count,
		  struct remus_error *err)
{
	struct link_facts link = {0}, port = {0};
	char name[IFNAMSIZ];

	/* mirred would drop them: the guest has not connected its end yet */
	if (netlink_ask(nl, message_link_get(r->interface), see_link, &port, NULL, NULL, "interface %s",
			r->interface) == 0 &&
	    !(port.up && port.carrier))
		return remus_fail(err, -ENETDOWN, "%s has no carrier: the guest has not connected to it",
				  r->interface);
	snprintf(name, sizeof name, INJECT_PREFIX "%d", r->index);
	/* of an engine that was killed while it announced */
	if (netlink_ask(nl, message_link_get(name), see_link, &link, NULL, NULL, "interface %s", name) == 0)
		netlink_ask(nl, message_link_delete(link.index), NULL, NULL, NULL, NULL, "interface %s",
			    name);
	link.index = 0;
	int rc = prepare(nl, r, name, &link, err);
	if (rc == 0 && (rc = send_frames(link.index, frames, count)) < 0)
		remus_fail(err, rc, "%s: sending an announcement: %s", name, strerror(-rc));
	if (link.index)
		netlink_ask(nl, message_link_delete(link.index), NULL, NULL, NULL, NULL, "interface %s",
			    name);
	return rc;
}
