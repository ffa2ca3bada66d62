// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The bands and their plugs as the kernel has them: orders, counters, and putting new plugs in the old ones' place.
 * See plug.c.
 *
 * Never is there a moment without a plug: it is replaced, not deleted and made again, since in between the band would
 * have the kernel's default qdisc, which passes (tests/lab/plug-check sees that leak). The root, which is made with such
 * bands, is made while the ifb is down, and never replaced after that.
 */
#include "config.h"
#include "plug.h"
#include "remus/log.h"
#include "remus/util.h"

#include <inttypes.h>
#include <linux/pkt_sched.h>
#include <stdio.h>

/* Two names for each band's plug, taken in turn: only one of another handle replaces the one that is there. */
static const uint32_t handles[BANDS][2] = {{0x72650000, 0x72660000}, {0x72670000, 0x72680000}};
#define MODULE_PLUG "sch_plug"
#define MODULE_PRIO "sch_prio"

int plug_order(struct plug *p, unsigned band, enum plug_order what, struct remus_error *err)
{
	static const char *const name[] = {"buffer", "release indefinite"};

	return netlink_ask(p->nl, message_plug_order(p->gate.gate, band, p->handle[band], what), NULL, NULL,
			   NULL, err, "netbuf %s: plug %u on %s: %s", p->gate.interface, band,
			   p->gate.gate_name, name[what]);
}

int plug_turn(struct plug *p, struct remus_error *err)
{
	unsigned next = !p->active;
	int rc = plug_order(p, next, PLUG_BUFFER, err);

	if (rc == 0)
		rc = netlink_ask(p->nl, message_bands_turn(p->gate.gate, next), NULL, NULL, NULL, err,
				 "netbuf %s: turning the bands of %s", p->gate.interface, p->gate.gate_name);
	if (rc == 0)
		p->active = next;
	return rc;
}

void plug_see_qdisc(const struct nlmsghdr *h, void *context)
{
	read_qdisc(h, context);
}

int plug_look(struct plug *p, struct qdisc_facts *out, struct remus_error *err)
{
	*out = (struct qdisc_facts){0};
	int rc =
		netlink_ask(p->nl, message_qdisc_get(p->gate.gate, TC_H_ROOT), plug_see_qdisc, out, NULL, err,
			    "netbuf %s: reading the counters of %s", p->gate.interface, p->gate.gate_name);
	if (rc == 0 && (!out->seen || out->handle != ROOT || strcmp(out->kind, "prio") != 0))
		rc = remus_fail(
			err, -ENOENT,
			"netbuf %s: somebody replaced the plug on %s: what the guest sends may not be held "
			"any more",
			p->gate.interface, p->gate.gate_name);
	return rc;
}

static int look_at_band(struct plug *p, unsigned band, struct qdisc_facts *out)
{
	*out = (struct qdisc_facts){0};
	return netlink_ask(p->nl, message_qdisc_get(p->gate.gate, BAND(band)), plug_see_qdisc, out, NULL,
			   NULL, "band");
}

uint32_t plug_held(struct plug *p, unsigned band)
{
	struct qdisc_facts q;

	look_at_band(p, band, &q);
	return q.held_packets;
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
	p->stats.dropped_packets = q->drops > p->drops_before ? q->drops - p->drops_before : 0;
}

/* Both, the one that frames are led to last: what comes meanwhile is queued, in the old one or the new. */
static int renew(struct plug *p, struct remus_error *err)
{
	for (unsigned i = 0; i < BANDS; i++) {
		unsigned band = i ? p->active : !p->active;
		uint32_t handle = handles[band][p->handle[band] == handles[band][0]];
		int rc = netlink_ask(p->nl, message_plug_new(p->gate.gate, band, handle, p->limit), NULL,
				     NULL, MODULE_PLUG, err, "netbuf %s: putting a plug (sch_plug) on %s",
				     p->gate.interface, p->gate.gate_name);
		if (rc < 0)
			return rc;
		p->handle[band] = handle;
	}
	p->sealed = false;
	p->stats.held_packets = p->stats.held_bytes = 0;
	return 0;
}

int plug_build(struct plug *p, struct remus_error *err)
{
	struct qdisc_facts q;
	int rc = netlink_ask(p->nl, message_bands_new(p->gate.gate), NULL, NULL, MODULE_PRIO, err,
			     "netbuf %s: putting two bands (sch_prio) on %s", p->gate.interface,
			     p->gate.gate_name);

	for (unsigned band = 0; rc == 0 && band < BANDS; band++) {
		look_at_band(p, band, &q); /* what a killed engine left may have either name */
		p->handle[band] = q.handle;
	}
	if (rc == 0)
		rc = renew(p, err);
	if (rc == 0)
		rc = plug_look(p, &q, err);
	if (rc < 0)
		return rc;
	p->active = 0;
	p->mark_known = true;
	p->mark = q.sent_bytes;
	p->drops_before = q.drops;
	return 0;
}

/* The root counts among its drops what was in a plug that is replaced. */
int plug_drop_held(struct plug *p, struct remus_error *err)
{
	struct qdisc_facts before, after;
	bool known = plug_look(p, &before, NULL) == 0;

	if (known)
		plug_note_held(p, &before);
	int rc = renew(p, err);
	p->mark_known = known = plug_look(p, &after, NULL) == 0 && known;
	if (known) {
		p->stats.discarded_packets += after.drops - before.drops;
		p->drops_before += after.drops - before.drops;
		p->mark = after.sent_bytes;
	}
	return rc;
}

/* Both bands are closed, and the sealed one is led nothing: its counter and what has left stand still. */
void plug_check_mark(struct plug *p)
{
	struct qdisc_facts q, sealed;

	if (plug_look(p, &q, NULL) < 0 || look_at_band(p, !p->active, &sealed) < 0) {
		p->mark_known = false;
		return;
	}
	plug_note_held(p, &q);
	if (p->mark_known && q.sent_bytes > p->mark)
		remus_error_log("netbuf %s: %" PRIu64
				" bytes of an epoch that isn't acknowledged have left through %s. "
				"Somebody changed the plug; a failover now could be seen from outside",
				p->gate.interface, q.sent_bytes - p->mark, p->gate.gate_name);
	p->mark_known = true;
	p->mark = q.sent_bytes + sealed.held_bytes;
}
