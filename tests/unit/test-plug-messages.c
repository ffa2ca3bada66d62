// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The messages to the kernel, byte for byte and as libnl itself reads them. That the kernel takes them as well
 * is shown by tests/lab/plug-check.
 */
#include "config.h"
#include "messages.h"
#include "unit.h"

#include <arpa/inet.h>
#include <linux/gen_stats.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <netlink/route/act/mirred.h>
#include <netlink/route/action.h>
#include <netlink/route/classifier.h>
#include <netlink/route/cls/matchall.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/prio.h>

static void take_object(struct nl_object *object, void *out)
{
	nl_object_get(object);
	*(struct nl_object **)out = object;
}

/* As libnl reads it. */
static struct nl_object *parsed(struct nl_msg *msg)
{
	struct nl_object *object = NULL;

	nlmsg_set_proto(msg, NETLINK_ROUTE);
	CU_ASSERT_EQUAL_FATAL(nl_msg_parse(msg, take_object, &object), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(object);
	return object;
}

static void filter_equals_libnls(void)
{
	struct rtnl_cls *cls = rtnl_cls_alloc();
	struct rtnl_act *act = rtnl_act_alloc();
	struct nl_msg *theirs = NULL, *mine = message_filter_add(12, FILTER_INGRESS, 1, 34, false);

	rtnl_tc_set_ifindex(TC_CAST(cls), 12);
	rtnl_tc_set_parent(TC_CAST(cls), FILTER_INGRESS);
	rtnl_tc_set_handle(TC_CAST(cls), FILTER_HANDLE);
	rtnl_cls_set_prio(cls, 1);
	rtnl_cls_set_protocol(cls, ETH_P_ALL);
	CU_ASSERT_EQUAL_FATAL(rtnl_tc_set_kind(TC_CAST(cls), "matchall"), 0);
	CU_ASSERT_EQUAL_FATAL(rtnl_tc_set_kind(TC_CAST(act), "mirred"), 0);
	rtnl_mirred_set_action(act, TCA_EGRESS_REDIR);
	rtnl_mirred_set_policy(act, TC_ACT_STOLEN);
	rtnl_mirred_set_ifindex(act, 34);
	CU_ASSERT_EQUAL_FATAL(rtnl_mall_append_action(cls, act), 0);
	CU_ASSERT_EQUAL_FATAL(rtnl_cls_build_add_request(cls, NLM_F_CREATE | NLM_F_EXCL, &theirs), 0);

	struct nlmsghdr *a = nlmsg_hdr(mine), *b = nlmsg_hdr(theirs);
	CU_ASSERT_EQUAL(a->nlmsg_type, b->nlmsg_type);
	CU_ASSERT_EQUAL(a->nlmsg_flags, b->nlmsg_flags | NLM_F_REQUEST); /* theirs gets it when sent */
	/* the head and the kind; then theirs has an empty class and flags; then the action */
	size_t head = sizeof(struct tcmsg) + NLA_HDRLEN + NLA_ALIGN(sizeof "matchall"), action = 56;
	uint8_t *mine_end = (uint8_t *)a + a->nlmsg_len, *their_end = (uint8_t *)b + b->nlmsg_len;
	CU_ASSERT_EQUAL_FATAL((size_t)nlmsg_datalen(a), head + NLA_HDRLEN + action);
	CU_ASSERT(memcmp(nlmsg_data(a), nlmsg_data(b), head) == 0);
	CU_ASSERT(memcmp(mine_end - action, their_end - action, action) == 0);
	nlmsg_free(theirs);
	nlmsg_free(mine);
	rtnl_act_put(act);
	rtnl_cls_put(cls);
}

static void filter_reads_back(void)
{
	struct filter_facts facts;
	struct nl_msg *msg = message_filter_add(12, FILTER_INGRESS, 2, 34, false);
	struct rtnl_cls *cls = (struct rtnl_cls *)parsed(msg);
	struct rtnl_act *act = rtnl_mall_get_first_action(cls);

	CU_ASSERT_EQUAL(rtnl_cls_get_protocol(cls), ETH_P_ALL); /* I1 */
	CU_ASSERT_EQUAL(rtnl_cls_get_prio(cls), 2);
	CU_ASSERT_PTR_NOT_NULL_FATAL(act);
	CU_ASSERT_EQUAL(rtnl_mirred_get_ifindex(act), 34);
	CU_ASSERT_EQUAL(rtnl_mirred_get_action(act), TCA_EGRESS_REDIR);
	CU_ASSERT_EQUAL(rtnl_mirred_get_policy(act), TC_ACT_STOLEN);
	rtnl_act_put(act);
	nl_object_put(OBJ_CAST(cls));

	CU_ASSERT_FATAL(read_filter(nlmsg_hdr(msg), &facts));
	CU_ASSERT_EQUAL(facts.handle, FILTER_HANDLE);
	CU_ASSERT_EQUAL(facts.priority, 2);
	CU_ASSERT_STRING_EQUAL(facts.kind, "matchall");
	CU_ASSERT_EQUAL(facts.target, 34);
	nlmsg_free(msg);

	msg = message_filter_add(12, FILTER_EGRESS, 1, 34, true);
	CU_ASSERT(read_filter(nlmsg_hdr(msg), &facts));
	CU_ASSERT_EQUAL(facts.target, 0); /* one that receives is no gate */
	nlmsg_free(msg);
}

/* The options of a qdisc message: struct tc_plug_qopt. */
static struct tc_plug_qopt plug_options(struct nl_msg *msg, const char *kind)
{
	struct tc_plug_qopt out = {-1, 0};
	struct nlattr *a = nlmsg_find_attr(nlmsg_hdr(msg), sizeof(struct tcmsg), TCA_OPTIONS);
	struct nlattr *k = nlmsg_find_attr(nlmsg_hdr(msg), sizeof(struct tcmsg), TCA_KIND);

	CU_ASSERT_PTR_NOT_NULL_FATAL(a);
	CU_ASSERT_PTR_NOT_NULL_FATAL(k);
	CU_ASSERT_STRING_EQUAL(nla_data(k), kind);
	CU_ASSERT_EQUAL(nla_len(a), (int)sizeof out);
	nla_memcpy(&out, a, sizeof out);
	return out;
}

static void plug_messages(void)
{
	static const int action[] = {TCQ_PLUG_BUFFER, TCQ_PLUG_RELEASE_INDEFINITE};
	struct nl_msg *msg = message_plug_new(34, 1, 0x72650000, 1000000);

	CU_ASSERT_EQUAL(plug_options(msg, "plug").limit, 1000000); /* 0 would drop everything */
	CU_ASSERT_EQUAL(nlmsg_hdr(msg)->nlmsg_flags & (NLM_F_CREATE | NLM_F_REPLACE | NLM_F_EXCL),
			NLM_F_CREATE | NLM_F_REPLACE);
	struct rtnl_qdisc *qdisc = (struct rtnl_qdisc *)parsed(msg);
	CU_ASSERT_EQUAL(rtnl_tc_get_ifindex(TC_CAST(qdisc)), 34);
	CU_ASSERT_EQUAL(rtnl_tc_get_parent(TC_CAST(qdisc)), 0x72640002);
	CU_ASSERT_EQUAL(rtnl_tc_get_handle(TC_CAST(qdisc)), 0x72650000);
	CU_ASSERT_STRING_EQUAL(rtnl_tc_get_kind(TC_CAST(qdisc)), "plug");
	nl_object_put(OBJ_CAST(qdisc));
	nlmsg_free(msg);
	msg = message_plug_new(34, 0, 0x72650000, UINT32_MAX);
	CU_ASSERT_EQUAL(plug_options(msg, "plug").limit, INT32_MAX);
	nlmsg_free(msg);

	for (int i = 0; i < 2; i++) {
		msg = message_plug_order(34, 0, 0x72650000, (enum plug_order)i);
		CU_ASSERT_EQUAL(plug_options(msg, "plug").action, action[i]);
		/* never makes one, nor takes another's place */
		CU_ASSERT_EQUAL(nlmsg_hdr(msg)->nlmsg_flags & (NLM_F_CREATE | NLM_F_REPLACE), 0);
		nlmsg_free(msg);
	}
}

/* As libnl reads them. */
static void band_messages(void)
{
	for (unsigned band = 0; band < BANDS; band++) {
		struct nl_msg *msg = message_bands_turn(34, band);
		CU_ASSERT_EQUAL(nlmsg_hdr(msg)->nlmsg_flags & (NLM_F_CREATE | NLM_F_REPLACE), 0);
		struct rtnl_qdisc *qdisc = (struct rtnl_qdisc *)parsed(msg);
		CU_ASSERT_EQUAL(rtnl_tc_get_parent(TC_CAST(qdisc)), TC_H_ROOT);
		CU_ASSERT_STRING_EQUAL(rtnl_tc_get_kind(TC_CAST(qdisc)), "prio");
		CU_ASSERT_EQUAL(rtnl_qdisc_prio_get_bands(qdisc), BANDS);
		uint8_t *map = rtnl_qdisc_prio_get_priomap(qdisc);
		CU_ASSERT_PTR_NOT_NULL_FATAL(map);
		for (int i = 0; i <= TC_PRIO_MAX; i++)
			CU_ASSERT_EQUAL(map[i], band);
		nl_object_put(OBJ_CAST(qdisc));
		nlmsg_free(msg);
	}
	struct nl_msg *msg = message_bands_new(34);
	CU_ASSERT_EQUAL(nlmsg_hdr(msg)->nlmsg_flags & (NLM_F_CREATE | NLM_F_REPLACE | NLM_F_EXCL),
			NLM_F_CREATE | NLM_F_REPLACE);
	nlmsg_free(msg);
}

static void link_messages(void)
{
	struct link_facts facts;
	struct nl_msg *msg = message_ifb_add("remus-12");

	nlmsg_hdr(msg)->nlmsg_type = RTM_NEWLINK;
	CU_ASSERT_FATAL(read_link(nlmsg_hdr(msg), &facts));
	CU_ASSERT_STRING_EQUAL(facts.name, "remus-12");
	CU_ASSERT_STRING_EQUAL(facts.kind, "ifb");
	nlmsg_free(msg);

	msg = message_link_set(34, true, "what vif5.0 sends");
	struct ifinfomsg *head = nlmsg_data(nlmsg_hdr(msg));
	struct nlattr *alias = nlmsg_find_attr(nlmsg_hdr(msg), sizeof *head, IFLA_IFALIAS);
	CU_ASSERT_EQUAL(head->ifi_index, 34);
	CU_ASSERT_EQUAL(head->ifi_flags, IFF_UP);
	CU_ASSERT_EQUAL(head->ifi_change, IFF_UP);
	CU_ASSERT_PTR_NOT_NULL_FATAL(alias);
	CU_ASSERT_STRING_EQUAL(nla_data(alias), "what vif5.0 sends");
	nlmsg_free(msg);

	msg = message_link_set(34, false, NULL);
	head = nlmsg_data(nlmsg_hdr(msg));
	CU_ASSERT_EQUAL(head->ifi_change, IFF_UP);
	CU_ASSERT_EQUAL(head->ifi_flags & IFF_UP, 0);
	nlmsg_free(msg);
	msg = message_link_delete(34);
	CU_ASSERT_EQUAL(nlmsg_hdr(msg)->nlmsg_type, RTM_DELLINK);
	CU_ASSERT_EQUAL(((struct ifinfomsg *)nlmsg_data(nlmsg_hdr(msg)))->ifi_index, 34);
	nlmsg_free(msg);
}

/* Answers that are cut short, or of another kind, are not believed. */
static void short_answers(void)
{
	struct gnet_stats_basic basic = {.bytes = 4711, .packets = 3};
	struct gnet_stats_queue queue = {.qlen = 5, .backlog = 600, .drops = 7};
	struct tcmsg head = {.tcm_ifindex = 34, .tcm_handle = 0x72650000};
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWQDISC, 0);
	struct qdisc_facts facts;
	struct filter_facts filter;
	struct link_facts link;
	struct link_counts counts;

	nlmsg_append(msg, &head, sizeof head, NLMSG_ALIGNTO);
	nla_put_string(msg, TCA_KIND, "plug");
	struct nlattr *nest = nla_nest_start(msg, TCA_STATS2);
	nla_put(msg, TCA_STATS_BASIC, sizeof basic, &basic);
	nla_put(msg, TCA_STATS_QUEUE, sizeof queue, &queue);
	nla_nest_end(msg, nest);
	CU_ASSERT_FATAL(read_qdisc(nlmsg_hdr(msg), &facts));
	CU_ASSERT(facts.seen);
	CU_ASSERT_EQUAL(facts.sent_bytes, 4711);
	CU_ASSERT_EQUAL(facts.held_packets, 5);
	CU_ASSERT_EQUAL(facts.held_bytes, 600);
	CU_ASSERT_EQUAL(facts.drops, 7);
	CU_ASSERT_FALSE(read_filter(nlmsg_hdr(msg), &filter));
	CU_ASSERT_FALSE(read_link(nlmsg_hdr(msg), &link));
	CU_ASSERT_FALSE(read_counts(nlmsg_hdr(msg), &counts));
	uint32_t whole = nlmsg_hdr(msg)->nlmsg_len;
	for (uint32_t n = sizeof(struct nlmsghdr); n < whole; n++) {
		nlmsg_hdr(msg)->nlmsg_len = n;
		read_qdisc(nlmsg_hdr(msg), &facts); /* the sanitizers look on */
	}
	nlmsg_free(msg);
}

static const struct unit_case cases[] = {
	{"filter equals libnl's", filter_equals_libnls},
	{"filter reads back", filter_reads_back},
	{"plug messages", plug_messages},
	{"band messages", band_messages},
	{"link messages", link_messages},
	{"short answers", short_answers},
};

UNIT_MAIN("plug-messages", cases)
