// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Messages built with libnl's setters where it has them; written attribute by attribute where it hasn't: it has
 * no mirred action that *receives*, so the filter is written by hand (tests/unit/test-plug-messages.c compares
 * it byte for byte with what libnl makes of a redirect that sends), and reading an answer with libnl's objects
 * would allocate while the guest is paused.
 *
 * Never: a plug without a limit. libnl sends 0 unless told, and then every packet is dropped.
 */
#include "config.h"
#include "messages.h"
#include "remus/util.h"

#include <arpa/inet.h>
#include <linux/gen_stats.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <netlink/attr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/inet6.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/plug.h>
#include <netlink/route/tc.h>
#include <stdio.h>

/* ---- links ---- */

static struct nl_msg *begin(int type, int flags, const void *head, size_t bytes)
{
	struct nl_msg *msg = nlmsg_alloc_simple(type, NLM_F_REQUEST | flags);

	if (msg && nlmsg_append(msg, (void *)head, bytes, NLMSG_ALIGNTO) < 0) {
		nlmsg_free(msg);
		msg = NULL;
	}
	return msg;
}

struct nl_msg *message_link_get(const char *name)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
	struct nl_msg *msg = begin(RTM_GETLINK, 0, &head, sizeof head);

	if (msg && nla_put_string(msg, IFLA_IFNAME, name) < 0) {
		nlmsg_free(msg);
		msg = NULL;
	}
	return msg;
}

struct nl_msg *message_link_dump(void)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC};

	return begin(RTM_GETLINK, NLM_F_DUMP, &head, sizeof head);
}

struct nl_msg *message_ifb_add(const char *name)
{
	struct nl_msg *msg = NULL;
	struct rtnl_link *link = rtnl_link_alloc();

	if (!link)
		return NULL;
	rtnl_link_set_name(link, name);
	if (rtnl_link_set_type(link, "ifb") < 0 ||
	    rtnl_link_build_add_request(link, NLM_F_CREATE | NLM_F_EXCL, &msg) < 0)
		msg = NULL;
	rtnl_link_put(link);
	return msg;
}

static struct nl_msg *link_change(int index, struct rtnl_link *changes)
{
	struct nl_msg *msg = NULL;
	struct rtnl_link *link = rtnl_link_alloc();

	if (link && changes) {
		rtnl_link_set_ifindex(link, index);
		if (rtnl_link_build_change_request(link, changes, 0, &msg) < 0)
			msg = NULL;
	}
	rtnl_link_put(link);
	rtnl_link_put(changes);
	return msg;
}

struct nl_msg *message_link_set(int index, bool up, const char *alias)
{
	struct rtnl_link *changes = rtnl_link_alloc();

	if (changes && up)
		rtnl_link_set_flags(changes, IFF_UP);
	else if (changes)
		rtnl_link_unset_flags(changes, IFF_UP);
	if (changes && alias)
		rtnl_link_set_ifalias(changes, alias);
	return link_change(index, changes);
}

struct nl_msg *message_link_no_ipv6(int index)
{
	struct rtnl_link *changes = rtnl_link_alloc();

	if (changes && rtnl_link_inet6_set_addr_gen_mode(changes, IN6_ADDR_GEN_MODE_NONE) < 0) {
		rtnl_link_put(changes);
		return NULL;
	}
	return link_change(index, changes);
}

struct nl_msg *message_link_delete(int index)
{
	struct nl_msg *msg = NULL;
	struct rtnl_link *link = rtnl_link_alloc();

	if (link) {
		rtnl_link_set_ifindex(link, index);
		if (rtnl_link_build_delete_request(link, &msg) < 0)
			msg = NULL;
	}
	rtnl_link_put(link);
	return msg;
}

static void copy_text(char *out, size_t size, struct nlattr *a)
{
	if (a)
		snprintf(out, size, "%.*s", nla_len(a), (const char *)nla_data(a));
}

bool read_link(const struct nlmsghdr *h, struct link_facts *out)
{
	struct nlattr *tb[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];

	if (h->nlmsg_type != RTM_NEWLINK ||
	    nlmsg_parse((struct nlmsghdr *)h, sizeof(struct ifinfomsg), tb, IFLA_MAX, NULL) < 0)
		return false;
	const struct ifinfomsg *head = nlmsg_data(h);
	*out = (struct link_facts){.index = head->ifi_index,
				   .up = head->ifi_flags & IFF_UP,
				   .carrier = head->ifi_flags & IFF_RUNNING};
	copy_text(out->name, sizeof out->name, tb[IFLA_IFNAME]);
	if (tb[IFLA_LINKINFO] && nla_parse_nested(info, IFLA_INFO_MAX, tb[IFLA_LINKINFO], NULL) == 0)
		copy_text(out->kind, sizeof out->kind, info[IFLA_INFO_KIND]);
	return true;
}

struct nl_msg *message_counts_get(int index)
{
	struct if_stats_msg head = {.family = AF_UNSPEC,
				    .ifindex = (uint32_t)index,
				    .filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64)};

	return begin(RTM_GETSTATS, 0, &head, sizeof head);
}

bool read_counts(const struct nlmsghdr *h, struct link_counts *out)
{
	struct rtnl_link_stats64 stats = {0};
	struct nlattr *a;

	if (h->nlmsg_type != RTM_NEWSTATS ||
	    !(a = nlmsg_find_attr((struct nlmsghdr *)h, sizeof(struct if_stats_msg), IFLA_STATS_LINK_64)))
		return false;
	nla_memcpy(&stats, a, sizeof stats);
	*out = (struct link_counts){.seen = true,
				    .rx_packets = stats.rx_packets,
				    .rx_bytes = stats.rx_bytes,
				    .tx_packets = stats.tx_packets};
	return true;
}

/* ---- qdiscs ---- */

static struct rtnl_qdisc *qdisc_make(int index, uint32_t parent, uint32_t handle, const char *kind)
{
	struct rtnl_qdisc *qdisc = rtnl_qdisc_alloc();

	if (!qdisc)
		return NULL;
	rtnl_tc_set_ifindex(TC_CAST(qdisc), index);
	rtnl_tc_set_parent(TC_CAST(qdisc), parent);
	rtnl_tc_set_handle(TC_CAST(qdisc), handle);
	if (rtnl_tc_set_kind(TC_CAST(qdisc), kind) < 0) {
		rtnl_qdisc_put(qdisc);
		return NULL;
	}
	return qdisc;
}

static struct nl_msg *qdisc_message(struct rtnl_qdisc *qdisc, int flags)
{
	struct nl_msg *msg = NULL;

	if (qdisc && rtnl_qdisc_build_add_request(qdisc, flags, &msg) < 0)
		msg = NULL;
	rtnl_qdisc_put(qdisc);
	return msg;
}

/* The map says for each of a frame's 16 priorities which band it goes to: all go to the same. */
static struct nl_msg *bands(int index, int flags, unsigned band)
{
	struct tcmsg head = {.tcm_ifindex = index, .tcm_parent = TC_H_ROOT, .tcm_handle = ROOT};
	struct tc_prio_qopt options = {.bands = BANDS};
	struct nl_msg *msg = begin(RTM_NEWQDISC, flags, &head, sizeof head);

	memset(options.priomap, (int)band, sizeof options.priomap);
	if (msg && (nla_put_string(msg, TCA_KIND, "prio") < 0 ||
		    nla_put(msg, TCA_OPTIONS, sizeof options, &options) < 0)) {
		nlmsg_free(msg);
		msg = NULL;
	}
	return msg;
}

struct nl_msg *message_bands_new(int index)
{
	return bands(index, NLM_F_CREATE | NLM_F_REPLACE, 0);
}

struct nl_msg *message_bands_turn(int index, unsigned band)
{
	return bands(index, 0, band);
}

struct nl_msg *message_plug_new(int index, unsigned band, uint32_t handle, uint32_t limit)
{
	struct rtnl_qdisc *plug = qdisc_make(index, BAND(band), handle, "plug");

	if (plug)
		rtnl_qdisc_plug_set_limit(plug, limit > INT32_MAX ? INT32_MAX : (int)limit);
	return qdisc_message(plug, NLM_F_CREATE | NLM_F_REPLACE);
}

struct nl_msg *message_plug_order(int index, unsigned band, uint32_t handle, enum plug_order order)
{
	struct rtnl_qdisc *plug = qdisc_make(index, BAND(band), handle, "plug");

	if (plug && order == PLUG_BUFFER)
		rtnl_qdisc_plug_buffer(plug);
	else if (plug)
		rtnl_qdisc_plug_release_indefinite(plug);
	return qdisc_message(plug, 0);
}

/* NLM_F_ECHO: without it the kernel tells only those who listen for changes. */
struct nl_msg *message_qdisc_get(int index, uint32_t parent)
{
	struct tcmsg head = {.tcm_ifindex = index, .tcm_parent = parent};

	return begin(RTM_GETQDISC, NLM_F_ECHO, &head, sizeof head);
}

bool read_qdisc(const struct nlmsghdr *h, struct qdisc_facts *out)
{
	struct nlattr *tb[TCA_MAX + 1], *stats[TCA_STATS_MAX + 1];
	struct gnet_stats_basic basic = {0};
	struct gnet_stats_queue queue = {0};

	if (h->nlmsg_type != RTM_NEWQDISC ||
	    nlmsg_parse((struct nlmsghdr *)h, sizeof(struct tcmsg), tb, TCA_MAX, NULL) < 0)
		return false;
	if (tb[TCA_STATS2] && nla_parse_nested(stats, TCA_STATS_MAX, tb[TCA_STATS2], NULL) == 0) {
		if (stats[TCA_STATS_BASIC])
			nla_memcpy(&basic, stats[TCA_STATS_BASIC], sizeof basic);
		if (stats[TCA_STATS_QUEUE])
			nla_memcpy(&queue, stats[TCA_STATS_QUEUE], sizeof queue);
	}
	*out = (struct qdisc_facts){.seen = true,
				    .handle = ((struct tcmsg *)nlmsg_data(h))->tcm_handle,
				    .sent_bytes = basic.bytes,
				    .held_packets = queue.qlen,
				    .held_bytes = queue.backlog,
				    .drops = queue.drops};
	copy_text(out->kind, sizeof out->kind, tb[TCA_KIND]);
	return true;
}

/* ---- ingress and the filter ---- */

struct nl_msg *message_ingress_add(int index)
{
	return qdisc_message(qdisc_make(index, TC_H_INGRESS, FILTER_INGRESS, "ingress"),
			     NLM_F_CREATE | NLM_F_EXCL);
}

struct nl_msg *message_ingress_delete(int index)
{
	struct tcmsg head = {.tcm_ifindex = index, .tcm_parent = TC_H_INGRESS, .tcm_handle = FILTER_INGRESS};

	return begin(RTM_DELQDISC, 0, &head, sizeof head);
}

struct nl_msg *message_clsact_add(int index)
{
	return qdisc_message(qdisc_make(index, TC_H_CLSACT, FILTER_INGRESS, "clsact"),
			     NLM_F_CREATE | NLM_F_EXCL);
}

static struct tcmsg filter_head(int index, uint32_t parent, uint16_t priority)
{
	return (struct tcmsg){.tcm_ifindex = index,
			      .tcm_handle = FILTER_HANDLE,
			      .tcm_parent = parent,
			      .tcm_info = TC_H_MAKE((uint32_t)priority << 16, htons(ETH_P_ALL))};
}

struct nl_msg *message_filter_add(int index, uint32_t parent, uint16_t priority, int target, bool received)
{
	struct tcmsg head = filter_head(index, parent, priority);
	struct tc_mirred redirect = {.action = TC_ACT_STOLEN,
				     .eaction = received ? TCA_INGRESS_REDIR : TCA_EGRESS_REDIR,
				     .ifindex = (uint32_t)target};
	struct nl_msg *msg = begin(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
	struct nlattr *options, *actions, *first, *parameters;

	if (msg && nla_put_string(msg, TCA_KIND, "matchall") == 0 &&
	    (options = nla_nest_start(msg, TCA_OPTIONS)) &&
	    (actions = nla_nest_start(msg, TCA_MATCHALL_ACT)) && (first = nla_nest_start(msg, 1)) &&
	    nla_put_string(msg, TCA_ACT_KIND, "mirred") == 0 &&
	    (parameters = nla_nest_start(msg, TCA_ACT_OPTIONS)) &&
	    nla_put(msg, TCA_MIRRED_PARMS, sizeof redirect, &redirect) == 0) {
		nla_nest_end(msg, parameters);
		nla_nest_end(msg, first);
		nla_nest_end(msg, actions);
		nla_nest_end(msg, options);
		return msg;
	}
	nlmsg_free(msg);
	return NULL;
}

struct nl_msg *message_filter_delete(int index, uint16_t priority)
{
	struct tcmsg head = filter_head(index, FILTER_INGRESS, priority);
	struct nl_msg *msg = begin(RTM_DELTFILTER, 0, &head, sizeof head);

	if (msg && nla_put_string(msg, TCA_KIND, "matchall") < 0) {
		nlmsg_free(msg);
		msg = NULL;
	}
	return msg;
}

struct nl_msg *message_filter_dump(int index)
{
	struct tcmsg head = {.tcm_ifindex = index, .tcm_parent = FILTER_INGRESS};

	return begin(RTM_GETTFILTER, NLM_F_DUMP, &head, sizeof head);
}

static int redirect_target(struct nlattr *options)
{
	struct nlattr *matchall[TCA_MATCHALL_MAX + 1], *actions[2], *action[TCA_ACT_MAX + 1];
	struct nlattr *mirred[TCA_MIRRED_MAX + 1];
	struct tc_mirred redirect = {0};

	if (nla_parse_nested(matchall, TCA_MATCHALL_MAX, options, NULL) < 0 || !matchall[TCA_MATCHALL_ACT] ||
	    nla_parse_nested(actions, 1, matchall[TCA_MATCHALL_ACT], NULL) < 0 || !actions[1] ||
	    nla_parse_nested(action, TCA_ACT_MAX, actions[1], NULL) < 0 || !action[TCA_ACT_KIND] ||
	    strncmp(nla_data(action[TCA_ACT_KIND]), "mirred", (size_t)nla_len(action[TCA_ACT_KIND])) != 0 ||
	    !action[TCA_ACT_OPTIONS] ||
	    nla_parse_nested(mirred, TCA_MIRRED_MAX, action[TCA_ACT_OPTIONS], NULL) < 0 ||
	    !mirred[TCA_MIRRED_PARMS])
		return 0;
	nla_memcpy(&redirect, mirred[TCA_MIRRED_PARMS], sizeof redirect);
	return redirect.eaction == TCA_EGRESS_REDIR ? (int)redirect.ifindex : 0;
}

bool read_filter(const struct nlmsghdr *h, struct filter_facts *out)
{
	struct nlattr *tb[TCA_MAX + 1];

	if (h->nlmsg_type != RTM_NEWTFILTER ||
	    nlmsg_parse((struct nlmsghdr *)h, sizeof(struct tcmsg), tb, TCA_MAX, NULL) < 0)
		return false;
	const struct tcmsg *head = nlmsg_data(h);
	*out = (struct filter_facts){.handle = head->tcm_handle, .priority = TC_H_MAJ(head->tcm_info) >> 16};
	copy_text(out->kind, sizeof out->kind, tb[TCA_KIND]);
	if (tb[TCA_OPTIONS] && !strcmp(out->kind, "matchall"))
		out->target = redirect_target(tb[TCA_OPTIONS]);
	return true;
}
