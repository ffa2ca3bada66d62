/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel for the plug: reads the messages it is sent and does with numbers what Linux does with frames. There is
 * the prio qdisc, whose bands pass until they get a plug, and the plug of net/sched/sch_plug.c, with what is surprising
 * about them:
 *   - a plug made with limit 0 drops all; made anew it is blocked
 *   - what a replaced plug held counts as drops of the root
 *   - frames of a lower band leave first, whatever the order in which they came
 * RELEASE_ONE and its counters, which take no lock, are unknown here: nobody may use them.
 * and of the redirect: to an interface that is down or gone it drops; matchall can't be changed in place.
 *
 * The guest's interface is vif5.0, index 5. One gate at a time.
 */
#ifndef REMUS_PLUG_KERNEL_H
#define REMUS_PLUG_KERNEL_H

#include <linux/gen_stats.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include "messages.h"
#include "netlink.h"
#include "unit.h"

#define KERNEL_FRAMES 4096
#define FRAME_BYTES   100u

struct kernel_plug {
	bool there, open; /* not there: a qdisc that passes */
	uint32_t handle, limit;
	int queue[KERNEL_FRAMES], length;
};

struct plug_kernel {
	struct netlink base;
	const char *lacks; /* a module, or NULL */
	bool vif_gone, ingress, foreign_filter;
	struct filter_facts filter[2]; /* [priority - 1]; handle 0 = none */
	int gate;		       /* index, 0 = none */
	bool gate_up;
	int next_index;
	bool root; /* is prio; else a qdisc that passes */
	unsigned led_to;
	struct kernel_plug plug[BANDS];
	uint32_t gate_rx, drops; /* of the root */
	uint64_t sent;
	int out[KERNEL_FRAMES], outs, next_out; /* what reached the network */
	int next_frame;
	int asked, fail_at; /* the fail_at'th request fails with -EIO */
	/* called in the middle of each request, to be a guest that sends all the time */
	void (*meanwhile)(struct plug_kernel *);
};

/* ---- frames ---- */

static inline void kernel_dequeue(struct plug_kernel *k)
{
	for (unsigned band = 0; band < BANDS && k->gate_up; band++) {
		struct kernel_plug *p = &k->plug[band];
		for (int i = 0; i < p->length && p->open; i++) {
			k->out[k->outs++] = p->queue[i];
			k->sent += FRAME_BYTES;
			k->gate_rx++;
		}
		p->length = p->open ? 0 : p->length;
	}
}

static inline int kernel_length(const struct plug_kernel *k)
{
	return k->plug[0].length + k->plug[1].length;
}

/* The guest sends one frame; returns its number. */
static inline int kernel_frame(struct plug_kernel *k)
{
	struct kernel_plug *p = &k->plug[k->led_to];
	int frame = k->next_frame++, target = -1;

	for (int i = 1; i >= 0; i--)
		if (k->ingress && k->filter[i].handle)
			target = k->filter[i].target;
	if (target == -1 || (target && target == k->gate && k->gate_up && (!k->root || !p->there))) {
		k->out[k->outs++] = frame;
		return frame;
	}
	if (!target || target != k->gate || !k->gate_up)
		return frame;
	if ((uint32_t)p->length * FRAME_BYTES + FRAME_BYTES > p->limit) {
		k->drops++;
		return frame;
	}
	p->queue[p->length++] = frame;
	kernel_dequeue(k);
	return frame;
}

/* ---- requests ---- */

static inline int kernel_answer(struct nl_msg *msg, netlink_see *see, void *context)
{
	if (see)
		see(nlmsg_hdr(msg), context);
	nlmsg_free(msg);
	return 0;
}

static inline void kernel_tell_link(int index, const char *name, const char *kind, bool up, netlink_see *see,
				    void *context)
{
	struct ifinfomsg head = {.ifi_index = index, .ifi_flags = up ? IFF_UP : 0};
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWLINK, 0);
	nlmsg_append(msg, &head, sizeof head, NLMSG_ALIGNTO);
	nla_put_string(msg, IFLA_IFNAME, name);
	struct nlattr *info = nla_nest_start(msg, IFLA_LINKINFO);
	nla_put_string(msg, IFLA_INFO_KIND, kind);
	nla_nest_end(msg, info);
	kernel_answer(msg, see, context);
}

static inline bool kernel_lacks(const struct plug_kernel *k, const char *module)
{
	return k->lacks && !strcmp(k->lacks, module);
}

static inline int kernel_link(struct plug_kernel *k, struct nlmsghdr *h, netlink_see *see, void *context)
{
	struct nlattr *tb[IFLA_MAX + 1];
	struct ifinfomsg *head = nlmsg_data(h);

	CU_ASSERT_EQUAL_FATAL(nlmsg_parse(h, sizeof *head, tb, IFLA_MAX, NULL), 0);
	const char *name = tb[IFLA_IFNAME] ? nla_data(tb[IFLA_IFNAME]) : "";
	switch (h->nlmsg_type) {
	case RTM_GETLINK:
		if (h->nlmsg_flags & NLM_F_DUMP) {
			if (!k->vif_gone)
				kernel_tell_link(5, "vif5.0", "vif", true, see, context);
			if (k->gate)
				kernel_tell_link(k->gate, "remus-5", "ifb", k->gate_up, see, context);
			return 0;
		}
		if (!strcmp(name, "vif5.0") && !k->vif_gone)
			kernel_tell_link(5, name, "vif", true, see, context);
		else if (!strcmp(name, "remus-5") && k->gate)
			kernel_tell_link(k->gate, name, "ifb", k->gate_up, see, context);
		else
			return -ENODEV;
		return 0;
	case RTM_DELLINK:
		CU_ASSERT_EQUAL(head->ifi_index, k->gate);
		for (int i = 0; i < 2; i++)
			if (k->filter[i].target == k->gate)
				k->filter[i].target = 0;
		k->gate = 0;
		k->gate_up = k->root = false;
		memset(k->plug, 0, sizeof k->plug);
		return 0;
	}
	if (h->nlmsg_flags & NLM_F_CREATE) {
		if (kernel_lacks(k, "ifb"))
			return -EOPNOTSUPP;
		CU_ASSERT_EQUAL(k->gate, 0);
		CU_ASSERT_STRING_EQUAL(name, "remus-5");
		k->gate = k->next_index++;
		k->gate_rx = 0;
	} else if (head->ifi_index != k->gate) {
		return -ENODEV;
	} else if (head->ifi_change & IFF_UP) {
		k->gate_up = head->ifi_flags & IFF_UP;
		for (int i = 0; i < BANDS && !k->gate_up; i++)
			k->plug[i].length = 0;
		kernel_dequeue(k);
	}
	return 0;
}

static inline int kernel_tell_qdisc(struct plug_kernel *k, int band, netlink_see *see, void *context)
{
	int length = band < 0 ? kernel_length(k) : k->plug[band].length;
	struct tcmsg head = {.tcm_ifindex = k->gate, .tcm_handle = band < 0 ? ROOT : k->plug[band].handle};
	struct gnet_stats_basic basic = {.bytes = k->sent};
	struct gnet_stats_queue queue = {
		.qlen = (uint32_t)length, .backlog = (uint32_t)length * FRAME_BYTES, .drops = k->drops};
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWQDISC, 0);
	nlmsg_append(msg, &head, sizeof head, NLMSG_ALIGNTO);
	nla_put_string(msg, TCA_KIND, band < 0 ? "prio" : k->plug[band].there ? "plug" : "pfifo");
	struct nlattr *stats = nla_nest_start(msg, TCA_STATS2);
	nla_put(msg, TCA_STATS_BASIC, sizeof basic, &basic);
	nla_put(msg, TCA_STATS_QUEUE, sizeof queue, &queue);
	nla_nest_end(msg, stats);
	return kernel_answer(msg, see, context);
}

static inline int kernel_root(struct plug_kernel *k, const struct nlmsghdr *h, const struct nlattr *options)
{
	struct tc_prio_qopt map = {0};

	if (kernel_lacks(k, "sch_prio"))
		return -ENOENT;
	if (!k->root && !(h->nlmsg_flags & NLM_F_CREATE))
		return -ENOENT;
	CU_ASSERT_PTR_NOT_NULL_FATAL(options);
	nla_memcpy(&map, options, sizeof map);
	CU_ASSERT_EQUAL(map.bands, BANDS);
	CU_ASSERT_FATAL(map.priomap[0] < BANDS);
	for (int i = 0; i <= TC_PRIO_MAX; i++)
		CU_ASSERT_EQUAL(map.priomap[i], map.priomap[0]); /* I1: whatever a frame's priority */
	if (!k->root) {
		CU_ASSERT_FALSE(k->gate_up); /* its new bands pass */
		memset(k->plug, 0, sizeof k->plug);
	}
	k->root = true;
	k->led_to = map.priomap[0];
	return 0;
}

static inline int kernel_band(struct plug_kernel *k, const struct tcmsg *head, const struct nlmsghdr *h,
			      const struct nlattr *attribute)
{
	struct kernel_plug *p = &k->plug[head->tcm_parent - BAND(0)];
	struct tc_plug_qopt options = {0};

	if (kernel_lacks(k, "sch_plug"))
		return -ENOENT;
	CU_ASSERT_PTR_NOT_NULL_FATAL(attribute);
	nla_memcpy(&options, attribute, sizeof options);
	if (p->there && p->handle == head->tcm_handle) {
		if (options.action != TCQ_PLUG_BUFFER && options.action != TCQ_PLUG_RELEASE_INDEFINITE)
			return -EINVAL;
		p->open = options.action == TCQ_PLUG_RELEASE_INDEFINITE;
		kernel_dequeue(k);
		return 0;
	}
	if (p->there && !(h->nlmsg_flags & NLM_F_REPLACE))
		return -EEXIST;
	if (!(h->nlmsg_flags & NLM_F_CREATE))
		return -ENOENT;
	k->drops += (uint32_t)p->length;
	*p = (struct kernel_plug){.there = true, .handle = head->tcm_handle, .limit = options.limit};
	return 0;
}

static inline int kernel_qdisc(struct plug_kernel *k, struct nlmsghdr *h, netlink_see *see, void *context)
{
	struct nlattr *tb[TCA_MAX + 1];
	struct tcmsg *head = nlmsg_data(h);

	CU_ASSERT_EQUAL_FATAL(nlmsg_parse(h, sizeof *head, tb, TCA_MAX, NULL), 0);
	if (head->tcm_ifindex == 5 && head->tcm_parent == TC_H_INGRESS) {
		if (k->vif_gone)
			return -ENODEV;
		if (h->nlmsg_type == RTM_DELQDISC) {
			memset(k->filter, 0, sizeof k->filter);
			bool was = k->ingress;
			k->ingress = false;
			return was ? 0 : -ENOENT;
		}
		if (kernel_lacks(k, "sch_ingress"))
			return -ENOENT;
		if (k->ingress)
			return -EEXIST;
		k->ingress = true;
		return 0;
	}
	if (!k->gate || head->tcm_ifindex != k->gate)
		return -ENODEV;
	int band = head->tcm_parent == TC_H_ROOT ? -1 : (int)(head->tcm_parent - BAND(0));
	CU_ASSERT_FATAL(band < BANDS && h->nlmsg_type != RTM_DELQDISC);
	if (!k->root && band >= 0)
		return -ENOENT;
	if (h->nlmsg_type == RTM_GETQDISC)
		return k->root ? kernel_tell_qdisc(k, band, see, context) : -EINVAL;
	if (band >= 0)
		return kernel_band(k, head, h, tb[TCA_OPTIONS]);
	return kernel_root(k, h, tb[TCA_OPTIONS]);
}

static inline int kernel_filter(struct plug_kernel *k, struct nlmsghdr *h, netlink_see *see, void *context)
{
	struct filter_facts facts = {0};
	struct tcmsg *head = nlmsg_data(h);
	unsigned priority = head->tcm_info >> 16;

	if (k->vif_gone)
		return -ENODEV;
	if (!k->ingress)
		return -EINVAL;
	if (h->nlmsg_type == RTM_GETTFILTER) {
		for (int i = 0; i < 2; i++)
			if (k->filter[i].handle)
				kernel_answer(message_filter_add(5, FILTER_INGRESS, (uint16_t)(i + 1),
								 k->filter[i].target, false),
					      see, context);
		if (k->foreign_filter) {
			struct nl_msg *msg = message_filter_add(5, FILTER_INGRESS, 49152, 9, false);
			((struct tcmsg *)nlmsg_data(nlmsg_hdr(msg)))->tcm_handle = 1;
			kernel_answer(msg, see, context);
		}
		return 0;
	}
	CU_ASSERT_FATAL(priority == 1 || priority == 2);
	if (h->nlmsg_type == RTM_DELTFILTER) {
		bool was = k->filter[priority - 1].handle;
		k->filter[priority - 1] = (struct filter_facts){0};
		return was ? 0 : -ENOENT;
	}
	if (kernel_lacks(k, "cls_matchall") || kernel_lacks(k, "act_mirred"))
		return -ENOENT;
	if (k->filter[priority - 1].handle)
		return -EEXIST;
	CU_ASSERT(read_filter(h, &facts));
	k->filter[priority - 1] = facts;
	return 0;
}

static inline int kernel_counts(struct plug_kernel *k, struct nlmsghdr *h, netlink_see *see, void *context)
{
	struct if_stats_msg *head = nlmsg_data(h);
	struct rtnl_link_stats64 stats = {.rx_packets = k->gate_rx, .rx_bytes = k->gate_rx * FRAME_BYTES};
	if ((int)head->ifindex != k->gate)
		memset(&stats, 0, sizeof stats);
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWSTATS, 0);
	nlmsg_append(msg, head, sizeof *head, NLMSG_ALIGNTO);
	nla_put(msg, IFLA_STATS_LINK_64, sizeof stats, &stats);
	return kernel_answer(msg, see, context);
}

static inline int plug_kernel_ask(struct netlink *base, struct nl_msg *request, netlink_see *see,
				  void *context, char why[NETLINK_WHY_MAX])
{
	struct plug_kernel *k = (struct plug_kernel *)base;
	struct nlmsghdr *h = nlmsg_hdr(request);
	int rc;

	why[0] = 0;
	if (++k->asked == k->fail_at)
		return -EIO;
	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_SETLINK:
	case RTM_GETLINK:
	case RTM_DELLINK:
		rc = kernel_link(k, h, see, context);
		break;
	case RTM_NEWQDISC:
	case RTM_GETQDISC:
	case RTM_DELQDISC:
		rc = kernel_qdisc(k, h, see, context);
		break;
	case RTM_NEWTFILTER:
	case RTM_GETTFILTER:
	case RTM_DELTFILTER:
		rc = kernel_filter(k, h, see, context);
		break;
	case RTM_GETSTATS:
		rc = kernel_counts(k, h, see, context);
		break;
	default:
		rc = -EOPNOTSUPP;
	}
	if (k->meanwhile)
		k->meanwhile(k);
	return rc;
}

static inline void plug_kernel_close(struct netlink *base)
{
	(void)base; /* the test's */
}

static const struct netlink_ops plug_kernel_ops = {.ask = plug_kernel_ask, .close = plug_kernel_close};

static inline void plug_kernel_boot(struct plug_kernel *k)
{
	memset(k, 0, sizeof *k);
	k->base.ops = &plug_kernel_ops;
	k->next_index = 34;
}

#endif
