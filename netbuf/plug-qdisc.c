// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The plug as the kernel has it: orders, counters, and putting a new one in the old one's place. See plug.c.
 *
 * Never is there a moment without a plug: it is replaced, not deleted and made again, since in between the
 * interface would have the kernel's default qdisc, which passes (tests/lab/plug-check sees that leak).
 */
#include "config.h"
#include "plug.h"
#include "remus/log.h"
#include "remus/util.h"

#include <inttypes.h>
#include <stdio.h>

/* Two names for the plug, taken in turn: only one of another handle replaces the one that is there. */
#define HANDLE_EVEN UINT32_C(0x72650000)
#define HANDLE_ODD  UINT32_C(0x72660000)
#define MODULE_PLUG "sch_plug"

int plug_order(struct plug *p, enum plug_order what, struct remus_error *err)
{
	static const char *const name[] = {"buffer", "release one", "release indefinite"};

	return netlink_ask(p->nl, message_plug_order(p->gate.gate, p->handle, what), NULL, NULL, NULL, err,
			   "netbuf %s: plug on %s: %s", p->gate.interface, p->gate.gate_name, name[what]);
}

void plug_see_qdisc(const struct nlmsghdr *h, void *context)
{
	read_qdisc(h, context);
}

int plug_look(struct plug *p, struct qdisc_facts *out, struct remus_error *err)
{
	*out = (struct qdisc_facts){0};
	int rc = netlink_ask(p->nl, message_qdisc_get(p->gate.gate), plug_see_qdisc, out, NULL, err,
			     "netbuf %s: reading the counters of %s", p->gate.interface, p->gate.gate_name);
	if (rc == 0 && (!out->seen || out->handle != p->handle || strcmp(out->kind, "plug") != 0))
		rc = remus_fail(
			err, -ENOENT,
			"netbuf %s: somebody replaced the plug on %s: what the guest sends may not be held "
			"any more",
			p->gate.interface, p->gate.gate_name);
	return rc;
}

static void see_counts(const struct nlmsghdr *h, void *context)
{
	read_counts(h, context);
}

void plug_count(struct plug *p, int index, struct link_counts *out)
{
	struct link_counts fresh = {0};

	netlink_ask(p->nl, message_counts_get(index), see_counts, &fresh, NULL, NULL, "counters");
	if (fresh.seen)
		*out = fresh;
}

void plug_note_held(struct plug *p, const struct qdisc_facts *q)
{
	p->stats.held_packets = q->held_packets;
	p->stats.held_bytes = q->held_bytes;
	if (q->held_packets > p->stats.held_packets_peak)
		p->stats.held_packets_peak = q->held_packets;
	p->stats.dropped_packets = p->drops_before + q->drops;
}

int plug_renew(struct plug *p, uint32_t there, struct remus_error *err)
{
	uint32_t handle = there == HANDLE_EVEN ? HANDLE_ODD : HANDLE_EVEN;
	int rc = netlink_ask(p->nl, message_plug_new(p->gate.gate, handle, p->limit), NULL, NULL, MODULE_PLUG,
			     err, "netbuf %s: putting a plug (sch_plug) on %s", p->gate.interface,
			     p->gate.gate_name);
	if (rc < 0)
		return rc;
	p->handle = handle;
	p->sealed = false;
	p->mark_known = true;
	p->mark = 0;
	p->drops_before = p->stats.dropped_packets;
	p->stats.held_packets = p->stats.held_bytes = 0;
	return 0;
}

int plug_drop_held(struct plug *p, struct remus_error *err)
{
	struct qdisc_facts q;

	if (plug_look(p, &q, NULL) == 0)
		plug_note_held(p, &q);
	uint64_t dropped = p->stats.held_packets;
	int rc = plug_renew(p, p->handle, err);
	if (rc == 0)
		p->stats.discarded_packets += dropped;
	return rc;
}

/*
 * After BUFFER. The counters are read one after the other, not at an instant: while frames leave, their sum is
 * worth nothing. None leave when all that was released has left.
 */
void plug_check_mark(struct plug *p, const struct qdisc_facts *q)
{
	if (p->mark_known && q->sent_bytes > p->mark)
		remus_error_log("netbuf %s: %" PRIu64
				" bytes of an epoch that isn't acknowledged have left through %s. "
				"The kernel's plug miscounted, or somebody changed it; a failover now could "
				"be seen from "
				"outside",
				p->gate.interface, q->sent_bytes - p->mark, p->gate.gate_name);
	if (!p->mark_known || q->sent_bytes != p->mark) {
		struct qdisc_facts again;
		p->mark_known = plug_look(p, &again, NULL) == 0 && again.sent_bytes == q->sent_bytes &&
				again.held_bytes == q->held_bytes;
	}
	p->mark = q->sent_bytes + q->held_bytes;
}
