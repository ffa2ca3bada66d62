// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a guest sends reaches the host as frames *received* on vifX.Y (or on a QEMU tap), and Linux can hold
 * only what an interface sends. So each gated interface gets an ifb: whatever is received is turned round to be
 * sent by the ifb, held there by its root qdisc, and when the ifb sends it, received once more on the interface,
 * past the filter this time.
 *
 *   guest --> vif5.0 ==ingress, matchall==> remus-12 [plug] --> vif5.0 --> bridge --> network
 *   guest <-- vif5.0 <------------------------------------------------ bridge <-- network     (not touched)
 *
 * The filter asks for nothing, so that every EtherType is gated (I1): ARP, IPv6 with neighbour discovery, tags.
 * The gate is named after the interface's index (12), which no other interface gets while the host is up: that
 * is how the next engine, and the sweep, find what a killed one left.
 *
 * Order is all. Setting up: a gate with a closed plug, then the filter. The filter of a killed engine is never
 * taken away and put back: it is used as it is, since in between frames would pass. Taking down, where nothing
 * may pass: the gate goes down first, which drops what it holds and everything after; the kernel drops too
 * what is redirected to an interface that is gone. Then the filter goes, then the gate.
 */
#include "config.h"
#include "plug.h"
#include "messages.h"
#include "remus/util.h"

#include <stdio.h>

#define INDEX_MAX     999999999 /* nine digits leave room for the prefix in an interface's name */
#define ALIAS	      "what %s sends, held by remus"
#define ORPHANS_MAX   64
#define FILTERS_MAX   8
#define PRIORITY_MAIN 1 /* first of all filters */
#define PRIORITY_NEXT 2 /* stands in while the first is changed */

int redirect_named(const char *name, const char *prefix)
{
	size_t length = strlen(prefix);
	char *end;

	if (strncmp(name, prefix, length) != 0 || name[length] < '1' || name[length] > '9')
		return 0;
	long index = strtol(name + length, &end, 10);
	return *end == 0 && index <= INDEX_MAX ? (int)index : 0;
}

static void see_link(const struct nlmsghdr *h, void *context)
{
	read_link(h, context);
}

/* 0, with index 0 in *out, when there is none of that name. */
static int find_link(struct netlink *nl, const char *name, struct link_facts *out, struct remus_error *err)
{
	struct remus_error local = REMUS_ERROR_INIT;

	*out = (struct link_facts){0};
	int rc = netlink_ask(nl, message_link_get(name), see_link, out, NULL, &local, "interface %s", name);
	if (rc == -ENODEV)
		return 0;
	return rc < 0 ? remus_fail(err, rc, "%s", local.message) : 0;
}

int redirect_find(struct netlink *nl, const char *interface, struct redirect *out, struct remus_error *err)
{
	struct link_facts link;

	*out = (struct redirect){0};
	if (snprintf(out->interface, sizeof out->interface, "%s", interface) >= (int)sizeof out->interface)
		return remus_fail(err, -EINVAL, "interface %s: the name is too long", interface);
	int rc = find_link(nl, interface, &link, err);
	if (rc < 0)
		return rc;
	if (link.index <= 0 || link.index > INDEX_MAX)
		return remus_fail(err, -ENODEV, "there is no interface %s on this host", interface);
	out->index = link.index;
	snprintf(out->gate_name, sizeof out->gate_name, GATE_PREFIX "%d", link.index);
	rc = find_link(nl, out->gate_name, &link, err);
	if (rc < 0)
		return rc;
	if (link.index && strcmp(link.kind, "ifb") != 0)
		return remus_fail(err, -EEXIST,
				  "interface %s exists but is no ifb of remus: rename or remove it",
				  out->gate_name);
	out->gate = link.index;
	out->shut = link.index != 0;
	return 0;
}

int redirect_make(struct netlink *nl, struct redirect *r, struct remus_error *err)
{
	struct link_facts link;

	if (r->gate)
		return 0;
	int rc = netlink_ask(nl, message_ifb_add(r->gate_name), NULL, NULL, "ifb", err,
			     "making interface %s (ifb)", r->gate_name);
	if (rc == 0)
		rc = find_link(nl, r->gate_name, &link, err);
	if (rc == 0 && link.index == 0)
		rc = remus_fail(err, -ENODEV, "interface %s vanished as soon as it was made", r->gate_name);
	if (rc < 0)
		return rc;
	r->gate = link.index;
	/* Where there is no IPv6 this fails, and isn't needed. */
	netlink_ask(nl, message_link_no_ipv6(r->gate), NULL, NULL, NULL, NULL, "no IPv6 on %s", r->gate_name);
	return 0;
}

/* ---- the filter ---- */

struct filters {
	unsigned count;
	struct filter_facts filter[FILTERS_MAX];
};

static void see_filter(const struct nlmsghdr *h, void *context)
{
	struct filters *all = context;
	struct filter_facts one;

	/* Each priority is also listed by itself, with handle 0. */
	if (read_filter(h, &one) && one.handle && all->count < FILTERS_MAX)
		all->filter[all->count++] = one;
}

static bool ours(const struct filter_facts *filter)
{
	return filter->handle == FILTER_HANDLE && !strcmp(filter->kind, "matchall") &&
	       (filter->priority == PRIORITY_MAIN || filter->priority == PRIORITY_NEXT);
}

static int list_filters(struct netlink *nl, const struct redirect *r, struct filters *all,
			struct remus_error *err)
{
	*all = (struct filters){0};
	return netlink_ask(nl, message_filter_dump(r->index), see_filter, all, NULL, err,
			   "listing the filters of %s", r->interface);
}

static int add_filter(struct netlink *nl, const struct redirect *r, uint16_t priority,
		      struct remus_error *err)
{
	return netlink_ask(nl, message_filter_add(r->index, FILTER_INGRESS, priority, r->gate, false), NULL,
			   NULL, "cls_matchall act_mirred", err,
			   "leading what %s receives to %s (matchall, mirred)", r->interface, r->gate_name);
}

static int delete_filter(struct netlink *nl, const struct redirect *r, uint16_t priority,
			 struct remus_error *err)
{
	return netlink_ask(nl, message_filter_delete(r->index, priority), NULL, NULL, NULL, err,
			   "removing the filter of %s", r->interface);
}

/* None but ours may be there. */
static int check_filters(const struct redirect *r, const struct filters *all, struct remus_error *err)
{
	for (unsigned i = 0; i < all->count; i++)
		if (!ours(&all->filter[i]))
			return remus_fail(
				err, -EEXIST,
				"interface %s has an ingress filter that isn't of remus (%s, priority %u), "
				"which could let frames past the buffer: remove it (tc qdisc del dev %s "
				"ingress)",
				r->interface, all->filter[i].kind, all->filter[i].priority, r->interface);
	return 0;
}

int redirect_check(struct netlink *nl, const struct redirect *r, struct remus_error *err)
{
	struct remus_error local = REMUS_ERROR_INIT;
	struct filters all;
	int rc = list_filters(nl, r, &all, &local);

	if (rc == -EINVAL || rc == -ENOENT) /* no ingress qdisc */
		return 0;
	return rc < 0 ? remus_fail(err, rc, "%s", local.message) : check_filters(r, &all, err);
}

/*
 * The ingress qdisc was there. Ours leads here: good. Ours leads to a gate that is gone (it drops everything):
 * the right one is put beside it before it goes. Somebody else's: not to be touched, and it could let frames by.
 */
static int lead_again(struct netlink *nl, const struct redirect *r, struct remus_error *err)
{
	struct filters all;
	int rc = list_filters(nl, r, &all, err);

	if (rc == 0)
		rc = check_filters(r, &all, err);
	if (rc < 0)
		return rc;
	bool right = false;
	for (unsigned i = 0; i < all.count; i++)
		right = right || all.filter[i].target == r->gate;
	if (!right && all.count == 2) /* the first goes on dropping */
		rc = delete_filter(nl, r, all.filter[--all.count].priority, err);
	if (!right && rc == 0)
		rc = add_filter(nl, r,
				all.count && all.filter[0].priority == PRIORITY_MAIN ? PRIORITY_NEXT
										     : PRIORITY_MAIN,
				err);
	for (unsigned i = 0; i < all.count && rc == 0; i++)
		if (all.filter[i].target != r->gate)
			rc = delete_filter(nl, r, all.filter[i].priority, err);
	return rc;
}

int redirect_lead(struct netlink *nl, struct redirect *r, struct remus_error *err)
{
	char alias[64];
	struct remus_error local = REMUS_ERROR_INIT;

	snprintf(alias, sizeof alias, ALIAS, r->interface);
	int rc = netlink_ask(nl, message_link_set(r->gate, true, alias), NULL, NULL, NULL, err,
			     "setting interface %s up", r->gate_name);
	if (rc < 0)
		return rc;
	rc = netlink_ask(nl, message_ingress_add(r->index), NULL, NULL, "sch_ingress", &local,
			 "making an ingress qdisc on %s", r->interface);
	if (rc == -EEXIST)
		return lead_again(nl, r, err);
	return rc < 0 ? remus_fail(err, rc, "%s", local.message) : add_filter(nl, r, PRIORITY_MAIN, err);
}

bool redirect_leads(struct netlink *nl, const struct redirect *r)
{
	struct filters all;
	struct link_facts link;
	int rc = list_filters(nl, r, &all, NULL);

	if (rc < 0)
		return rc != -EINVAL && rc != -ENOENT; /* those mean: there is no ingress qdisc */
	if (all.count > 0)
		return ours(&all.filter[0]) && all.filter[0].target == r->gate;
	/* Of an interface that went with its guest the kernel lists nothing, without an error. */
	return find_link(nl, r->interface, &link, NULL) == 0 && link.index != r->index;
}

/* ---- taking down ---- */

int redirect_shut(struct netlink *nl, const struct redirect *r, struct remus_error *err)
{
	if (!r->gate)
		return 0;
	int rc = netlink_ask(nl, message_link_set(r->gate, false, NULL), NULL, NULL, NULL, err,
			     "setting interface %s down", r->gate_name);
	return rc == -ENODEV ? 0 : rc;
}

/* Ours alone: the whole ingress qdisc; else our filter from among the others. */
int redirect_unlead(struct netlink *nl, const struct redirect *r, struct remus_error *err)
{
	struct remus_error local = REMUS_ERROR_INIT;
	struct filters all;
	unsigned mine = 0;
	int rc = list_filters(nl, r, &all, &local);

	if (rc == -ENODEV || rc == -EINVAL || rc == -ENOENT)
		return 0; /* no interface, no ingress qdisc */
	if (rc < 0)
		return remus_fail(err, rc, "%s", local.message);
	for (unsigned i = 0; i < all.count; i++)
		mine += ours(&all.filter[i]);
	if (mine == all.count && (mine || r->gate)) {
		rc = netlink_ask(nl, message_ingress_delete(r->index), NULL, NULL, NULL, &local,
				 "removing the ingress qdisc of %s", r->interface);
		if (rc == -ENODEV || rc == -EINVAL || rc == -ENOENT)
			rc = 0;
		return rc < 0 ? remus_fail(err, rc, "%s", local.message) : 0;
	}
	for (unsigned i = 0; i < all.count && rc == 0; i++)
		if (ours(&all.filter[i]))
			rc = delete_filter(nl, r, all.filter[i].priority, err);
	return rc;
}

static int delete_link(struct netlink *nl, int index, const char *name, struct remus_error *err)
{
	struct remus_error local = REMUS_ERROR_INIT;
	int rc = netlink_ask(nl, message_link_delete(index), NULL, NULL, NULL, &local,
			     "removing interface %s", name);

	return rc < 0 && rc != -ENODEV ? remus_fail(err, rc, "%s", local.message) : 0;
}

int redirect_undo(struct netlink *nl, const struct redirect *r, struct remus_error *err)
{
	struct link_facts gate = {.index = r->gate};
	int rc = redirect_unlead(nl, r, err);

	if (rc == 0 && !gate.index) /* made, but then not found? */
		rc = find_link(nl, r->gate_name, &gate, err);
	if (rc == 0 && gate.index)
		rc = delete_link(nl, gate.index, r->gate_name, err);
	return rc;
}

/* ---- the sweep ---- */

struct orphans {
	unsigned count, indexes;
	struct link_facts link[ORPHANS_MAX];
	int *index; /* of every interface */
};

static void see_any_link(const struct nlmsghdr *h, void *context)
{
	struct orphans *all = context;
	struct link_facts link;

	if (!read_link(h, &link))
		return;
	int *grown = realloc(all->index, (all->indexes + 1) * sizeof *grown);
	if (!grown)
		return;
	all->index = grown;
	all->index[all->indexes++] = link.index;
	bool mine = redirect_named(link.name, GATE_PREFIX) || redirect_named(link.name, INJECT_PREFIX);
	if (mine && !strcmp(link.kind, "ifb") && all->count < ORPHANS_MAX)
		all->link[all->count++] = link;
}

static int sweep_orphans(struct netlink *nl, struct remus_error *err)
{
	struct orphans all = {0};
	int rc = netlink_ask(nl, message_link_dump(), see_any_link, &all, NULL, err, "listing interfaces");

	for (unsigned i = 0; i < all.count && rc == 0; i++) {
		int of = redirect_named(all.link[i].name, GATE_PREFIX);
		bool orphan = true;
		for (unsigned j = 0; of && j < all.indexes; j++)
			orphan = orphan && all.index[j] != of;
		if (orphan) /* one that announces has no business to be there at all */
			rc = delete_link(nl, all.link[i].index, all.link[i].name, err);
	}
	free(all.index);
	return rc;
}

int plug_sweep_on(struct netlink *nl, const char *interface, struct remus_error *err)
{
	struct redirect r;
	struct remus_error local = REMUS_ERROR_INIT;
	int rc = 0;

	if (interface) {
		rc = redirect_find(nl, interface, &r, &local);
		if (rc == 0 && !(rc = redirect_shut(nl, &r, &local)))
			rc = redirect_undo(nl, &r, &local);
		if (rc == -ENODEV)
			rc = 0;
	}
	return rc < 0 ? remus_fail(err, rc, "%s", local.message) : sweep_orphans(nl, err);
}

int remus_netbuf_plug_sweep(const char *interface, struct remus_error *err)
{
	struct netlink *nl;
	int rc = netlink_open(&nl, err);

	if (rc < 0)
		return rc;
	rc = plug_sweep_on(nl, interface, err);
	nl->ops->close(nl);
	return rc;
}
