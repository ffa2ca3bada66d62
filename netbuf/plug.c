// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The egress buffer in the kernel: at the root of an ifb, through which redirect.c leads all that the guest sends, a
 * prio qdisc with two bands and a sch_plug in each.
 *
 *                        +--> band 0 [plug]  the epoch that runs: closed
 *   frames --> [prio] ---+                                                    --> network
 *                        +--> band 1 [plug]  the one before: sealed and closed, then open
 *
 *   CLOSED, HOLDING   both closed. A new plug is: so hold() after open() has nothing to tell the kernel.
 *   PASSING           both open
 *   seal(N)           the other band is closed, and frames are led there from now on: the bands have turned
 *   release(N)        the band that isn't led to is opened: RELEASE_INDEFINITE
 *
 * Why two. A single sch_plug can hold epochs apart by counting their frames (BUFFER, RELEASE_ONE), but takes no lock
 * for that: plug_change() in net/sched/sch_plug.c moves the counters while another CPU may be adding a frame to them.
 * An increment that is undone by the reset errs late; a reset that is undone by the increment leaves the old count
 * in the new epoch, and then frames of an epoch that isn't acknowledged leave with the one before. The guest is stopped
 * at seal(), but what it sent just before may still be on its way through the host's softirqs, and nothing in user
 * space can wait for those. Here nothing is counted. Which band a frame goes to is prio's map, which the kernel reads
 * and changes under the qdisc's lock: each frame is in one epoch or in the other, and the plugs are only ever open or
 * closed. A frame that was on its way comes into N or N+1: early never, late at most.
 *
 * What else follows:
 *   - a second seal before the release would need a third band: refused, -EBUSY (I10).
 *   - released frames that haven't left when the bands turn next are closed in again, and leave with that epoch: late.
 *   - discard() puts new plugs in the old ones' place, each in one step: the kernel drops what the old one holds and
 *     at no time is there a qdisc that passes, as there would be between deleting and adding.
 *
 * The kernel's plug outlives the process: a killed engine's guest stays mute, its held frames unsent. open()
 * takes such a gate over without opening it.
 */
#include "config.h"
#include "plug.h"
#include "learn.h"
#include "messages.h"
#include "remus/log.h"
#include "remus/util.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/uio.h>

#define DEFAULT_MAX_BYTES (UINT64_C(64) << 20)
#define DRAIN_TRIES	  50 /* 1 ms apart */
/* Age at which the count towards the guest is read anew, and the filter looked at. */
#define RECEIVED_US	  UINT64_C(500000)

static struct plug *plug_of(struct remus_netbuf *netbuf)
{
	return (struct plug *)netbuf;
}

static void pause_1ms(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static int wrong_state(const struct plug *p, const char *call, struct remus_error *err)
{
	static const char *const name[] = {"closed", "passing", "holding"};

	return remus_fail(err, -EINVAL, "netbuf %s: %s while %s", p->gate.interface, call, name[p->state]);
}

/* ---- the states ---- */

static int plug_hold(struct remus_netbuf *netbuf, struct remus_error *err)
{
	struct plug *p = plug_of(netbuf);
	int rc = 0;

	p->leave_shut = true; /* from here on what the guest sends may depend on what is held */
	if (p->state == PASSING) {
		rc = plug_turn(p, err); /* what waits in the band that was led to leaves */
		p->mark_known = false;
	}
	if (rc == 0)
		p->state = HOLDING;
	return rc;
}

/* The guest stands still meanwhile: no question is asked here, only what must be done. */
static int plug_seal(struct remus_netbuf *netbuf, uint64_t epoch, struct remus_error *err)
{
	struct plug *p = plug_of(netbuf);

	if (p->state != HOLDING)
		return wrong_state(p, "seal", err);
	if (p->sealed)
		return remus_fail(err, -EBUSY,
				  "netbuf %s: seal %" PRIu64 " while epoch %" PRIu64
				  " is sealed and not released yet",
				  p->gate.interface, epoch, p->sealed_epoch);
	int rc = plug_turn(p, err);
	if (rc < 0)
		return rc;
	p->sealed = true;
	p->sealed_epoch = epoch;
	return 0;
}

static int plug_release(struct remus_netbuf *netbuf, uint64_t epoch, struct remus_error *err)
{
	struct plug *p = plug_of(netbuf);

	if (p->state == CLOSED)
		return wrong_state(p, "release", err);
	if (!p->sealed || epoch < p->sealed_epoch)
		return 0;
	plug_check_mark(p);
	int rc = plug_order(p, !p->active, PLUG_RELEASE_INDEFINITE, err);
	if (rc == 0)
		p->sealed = false;
	return rc;
}

static int plug_discard(struct remus_netbuf *netbuf, struct remus_error *err)
{
	struct plug *p = plug_of(netbuf);

	return p->state == HOLDING ? plug_drop_held(p, err) : 0; /* else nothing is held */
}

static int plug_pass(struct remus_netbuf *netbuf, struct remus_error *err)
{
	struct plug *p = plug_of(netbuf);
	int rc = plug_order(p, !p->active, PLUG_RELEASE_INDEFINITE, err);

	/* In order: prio would serve the first band first. */
	for (int i = 0; rc == 0 && i < DRAIN_TRIES && plug_held(p, !p->active); i++)
		pause_1ms();
	if (rc == 0)
		rc = plug_order(p, p->active, PLUG_RELEASE_INDEFINITE, err);
	if (rc < 0)
		return rc;
	p->state = PASSING;
	p->sealed = p->mark_known = p->leave_shut = false;
	return 0;
}

/*
 * The ifb counts what it was given to send, frame by frame; the qdisc's own count takes a large TCP segment for as
 * many as it will be cut into. Held and released are two readings: their sum may be off by what moves just then,
 * and is exact of a guest that is stopped and whose released frames have left.
 */
static void plug_stats(struct remus_netbuf *netbuf, struct remus_netbuf_stats *out)
{
	struct plug *p = plug_of(netbuf);
	struct link_counts now = p->gate_before;
	struct qdisc_facts q;
	uint64_t time = remus_now_us();

	if (plug_look(p, &q, NULL) == 0)
		plug_note_held(p, &q);
	plug_count(p, p->gate.gate, &now);
	p->stats.released_packets = now.rx_packets - p->gate_before.rx_packets;
	p->stats.released_bytes = now.rx_bytes - p->gate_before.rx_bytes;
	p->stats.accepted_packets =
		p->stats.released_packets + p->stats.held_packets + p->stats.discarded_packets;
	if (time - p->received_read >= RECEIVED_US) {
		if (!redirect_leads(p->nl, &p->gate) && !p->complained) {
			p->complained = true;
			remus_error_log(
				"netbuf %s: somebody removed the filter that leads what the guest sends "
				"to %s, or put another before it: frames may leave before they are "
				"acknowledged. Protect the guest anew",
				p->gate.interface, p->gate.gate_name);
		}
		now = p->interface_before;
		plug_count(p, p->gate.index, &now);
		p->stats.received_packets = now.tx_packets - p->interface_before.tx_packets;
		p->received_read = time;
	}
	*out = p->stats;
}

/* ---- addresses ---- */

static void plug_addresses(struct remus_netbuf *netbuf, struct remus_addresses *out)
{
	struct plug *p = plug_of(netbuf);

	if (p->learn >= 0)
		learn_take(p->learn, p->mac, &p->learned);
	*out = p->learned;
}

static int plug_announce(struct remus_netbuf *netbuf, const struct remus_addresses *addresses,
			 struct remus_error *err)
{
	struct plug *p = plug_of(netbuf);
	uint8_t bytes[REMUS_ADDRESSES_MAX][REMUS_ANNOUNCE_MAX];
	struct iovec frame[REMUS_ADDRESSES_MAX];
	unsigned n = 0;

	if (p->state != PASSING) /* I12 */
		return wrong_state(p, "announce", err);
	for (uint32_t i = 0; i < addresses->count && i < REMUS_ADDRESSES_MAX; i++)
		if (!memcmp(addresses->entry[i].mac, p->mac, 6)) {
			frame[n] = (struct iovec){bytes[n],
						  remus_announce_frame(&addresses->entry[i], bytes[n])};
			n++;
		}
	if (n == 0) {
		frame[0] = (struct iovec){bytes[0], remus_announce_rarp(p->mac, bytes[0])};
		n = 1;
	}
	int rc = inject_frames(p->nl, &p->gate, frame, n, err);
	if (rc < 0)
		remus_error_prefix(err, "netbuf %s: neighbours find the guest when it next sends",
				   p->gate.interface);
	return rc;
}

/* ---- making and ending ---- */

static void plug_free(struct plug *p)
{
	if (p->learn >= 0)
		close(p->learn);
	p->nl->ops->close(p->nl);
	free(p);
}

static int build(struct plug *p, struct remus_error *err)
{
	int rc = redirect_make(p->nl, &p->gate, err);

	if (rc == 0 &&
	    p->gate.shut) /* a killed engine's: what it holds goes, and nothing comes until all is there */
		rc = redirect_shut(p->nl, &p->gate, err);
	if (rc == 0)
		rc = plug_build(p, err);
	if (rc == 0)
		rc = redirect_lead(p->nl, &p->gate, err);
	return rc;
}

int plug_open_on(struct netlink *nl, const struct remus_netbuf_config *config, struct remus_netbuf **out,
		 struct remus_error *err)
{
	uint64_t limit = config->max_bytes ? config->max_bytes : DEFAULT_MAX_BYTES;
	char interface[sizeof config->nic.interface + 1];
	struct plug *p = calloc(1, sizeof *p);

	if (!p) {
		nl->ops->close(nl);
		return remus_fail(err, -ENOMEM, "netbuf: out of memory");
	}
	p->base.ops = &remus_netbuf_plug;
	p->nl = nl;
	p->learn = -1;
	p->limit = limit > INT32_MAX ? INT32_MAX : (uint32_t)limit;
	memcpy(p->mac, config->nic.mac, 6);
	snprintf(interface, sizeof interface, "%.*s", (int)sizeof config->nic.interface,
		 config->nic.interface);

	int rc = redirect_find(nl, interface, &p->gate, err);
	if (rc == 0) {
		rc = build(p, err);
		if (rc < 0 && !p->gate.shut)
			redirect_undo(nl, &p->gate, NULL);
	}
	if (rc < 0) {
		plug_free(p);
		return rc;
	}
	p->leave_shut = p->gate.shut;
	plug_count(p, p->gate.gate, &p->gate_before);
	plug_count(p, p->gate.index, &p->interface_before);
	*out = &p->base;
	return 0;
}

static int plug_open(const struct remus_netbuf_config *config, struct remus_netbuf **out,
		     struct remus_error *err)
{
	struct netlink *nl;

	if (config->nic.kind == REMUS_NIC_DGRAM)
		return remus_fail(err, -ENOTSUP,
				  "this network interface is none of the kernel's: use the hold");
	int rc = netlink_open(&nl, err);
	if (rc == 0)
		rc = plug_open_on(nl, config, out, err);
	if (rc < 0)
		return rc;
	struct plug *p = plug_of(*out);
	p->learn = learn_open(p->gate.index, p->mac);
	if (p->learn < 0)
		remus_warn(
			"netbuf %s: cannot learn the guest's addresses: %s. After a failover its neighbours "
			"learn of the move when it next sends (a packet socket needs CAP_NET_RAW)",
			p->gate.interface, strerror(-p->learn));
	return 0;
}

static void plug_close(struct remus_netbuf *netbuf)
{
	struct plug *p = plug_of(netbuf);
	struct remus_error err = REMUS_ERROR_INIT;
	struct qdisc_facts q;
	struct redirect now;
	int rc = 0;

	if (p->leave_shut && redirect_find(p->nl, p->gate.interface, &now, NULL) != -ENODEV)
		rc = redirect_shut(p->nl, &p->gate, &err);
	else if (p->leave_shut || p->state == CLOSED) {
		/* The interface is gone, or we leave it as we found it, without what came meanwhile. */
		rc = redirect_shut(p->nl, &p->gate, &err);
		if (rc == 0)
			rc = redirect_undo(p->nl, &p->gate, &err);
	} else {
		rc = redirect_unlead(p->nl, &p->gate, &err);
		for (int i = 0; rc == 0 && i < DRAIN_TRIES && plug_look(p, &q, NULL) == 0 && q.held_packets;
		     i++)
			pause_1ms();
		if (rc == 0)
			rc = redirect_undo(p->nl, &p->gate, &err);
	}
	if (rc < 0)
		remus_error_log("netbuf %s: could not clear up: %s", p->gate.interface, err.message);
	plug_free(p);
}

const struct remus_netbuf_ops remus_netbuf_plug = {
	.name = "plug",
	.check = plug_check,
	.open = plug_open,
	.hold = plug_hold,
	.seal = plug_seal,
	.release = plug_release,
	.discard = plug_discard,
	.pass = plug_pass,
	.stats = plug_stats,
	.addresses = plug_addresses,
	.announce = plug_announce,
	.close = plug_close,
};
