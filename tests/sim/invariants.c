/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See invariants.h. */
#include "invariants.h"

#include <stdarg.h>
#include <string.h>
#include "world.h"

#define PAUSE_MAX_US 6000000u /* sum of the longest deadlines that a hand-over may wait for, and some */

void sim_fail(struct world *w, const char *which, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (w->failed)
		return;
	w->failed = true;
	n = snprintf(w->failure, sizeof w->failure, "%s at %.3f ms: ", which, (double)w->now / 1000);
	va_start(ap, fmt);
	vsnprintf(w->failure + n, sizeof w->failure - (size_t)n, fmt, ap);
	va_end(ap);
	world_trace(w, -1, "FAILED", "%s", w->failure);
}

#define LLU(x) ((unsigned long long)(x))

/* May this copy's output leave without an acknowledgement? */
static const char *not_allowed_alone(const struct copy *c)
{
	const struct session *s = c->session;

	if (c->waiting)
		return "it is a standby";
	if (!s)
		return NULL;
	if (s->copy[ROLE_BACKUP] == c)
		return s->arbiter_key == KEY_BACKUP || s->forced[ROLE_BACKUP]
			       ? NULL
			       : "it was activated without a claim";
	if (!s->commit_left || s->arbiter_key == KEY_PRIMARY || s->end_arrived || s->ceded ||
	    s->forced[ROLE_PRIMARY])
		return NULL;
	return "the backup may hold an epoch and nothing says that it cannot activate";
}

/* Was state @node computed from @from, at however many removes? */
static bool descends(const struct world *w, uint32_t node, uint32_t from)
{
	while (node > from)
		node = w->parent[node];
	return node == from;
}

void check_packet(struct copy *c, const struct packet *packet, bool gated)
{
	struct world *w = c->w;
	struct outside *o = &w->outside;
	struct session *s = c->session;
	uint32_t node = packet->node;

	if (gated && (!s || packet->epoch > s->held))
		sim_fail(w, "I1", "a packet of epoch %u leaves host %c, the backup has acknowledged %llu",
			 packet->epoch, 'A' + c->host, LLU(s ? s->held : 0));
	if (!gated && not_allowed_alone(c))
		sim_fail(w, "I6", "a packet leaves host %c unheld: %s", 'A' + c->host, not_allowed_alone(c));
	if (!gated && c->owner && c->owner->told_protected)
		sim_fail(w, "I7", "host %c lets packets pass while it says that the guest is protected",
			 'A' + c->host);
	if (w->shown[node / 64] & UINT64_C(1) << node % 64)
		sim_fail(w, "I1", "outside, state %u is seen twice", node);
	w->shown[node / 64] |= UINT64_C(1) << node % 64;
	o->seen++;
	/* An acknowledged packet may come late, as if the network had been slow; it is still of the one history. */
	bool late = gated && descends(w, o->last, node);
	if (!late && !descends(w, node, o->last))
		sim_fail(w, "I1",
			 "outside, a fork shows: state %u (host %c) doesn't follow from state %u (copy %d)",
			 node, 'A' + c->host, o->last, o->last_copy);
	if (late)
		return;
	if (packet->wall_us < o->wall_us)
		sim_fail(w, "I12", "outside, the guest's wall clock is seen to go back by %lld us",
			 (long long)(o->wall_us - packet->wall_us));
	o->wall_us = packet->wall_us;
	o->last = node;
	o->last_copy = c->id;
}

void check_capture(struct proc *p, uint64_t epoch)
{
	struct session *s = p->session;
	struct copy *c = p->copy;

	if (c->running)
		sim_fail(p->w, "I9", "epoch %llu is captured while the guest runs", LLU(epoch));
	if (epoch != s->held + 1)
		sim_fail(p->w, "I4", "epoch %llu is captured, the backup has acknowledged %llu", LLU(epoch),
			 LLU(s->held));
	s->taken[epoch & 1].epoch = epoch;
	s->taken[epoch & 1].at = p->w->now;
	s->taken[epoch & 1].stood_us = p->w->now - c->stopped_at;
	s->taken[epoch & 1].wall_us = (int64_t)host_wall(p->w, p->host);
	s->taken[epoch & 1].device = c->device;
	memcpy(s->taken[epoch & 1].memory, c->memory, sizeof c->memory);
}

void check_prepare(struct proc *p)
{
	struct session *s = p->session;

	if (s->copy[ROLE_BACKUP])
		sim_fail(p->w, "I4", "a second standby is made for generation %llu", LLU(s->key.generation));
	if (p->w->host[p->host].seen > s->key.generation)
		sim_fail(p->w, "I4", "a standby is made for generation %llu, which is over",
			 LLU(s->key.generation));
}

/* What the standby's image would be with what is staged. */
static bool staged_is(struct proc *p, uint64_t epoch)
{
	struct session *s = p->session;
	struct copy *c = p->copy;
	static uint8_t keep[GUEST_PAGES][REMUS_PAGE_SIZE];

	memcpy(keep, c->memory, sizeof keep);
	for (size_t i = 0; i < p->staging.frames; i++)
		remus_pages_apply(p->staging.frame[i].payload, p->staging.frame[i].header.length, GUEST_PAGES,
				  staging_locate, &c->standby, NULL);
	bool same = !memcmp(c->memory, s->taken[epoch & 1].memory, sizeof keep);
	memcpy(c->memory, keep, sizeof keep);
	return same;
}

void check_ack(struct proc *p, uint64_t epoch)
{
	struct session *s = p->session;

	if (epoch != s->held + 1)
		sim_fail(p->w, "I4", "epoch %llu is acknowledged after epoch %llu", LLU(epoch), LLU(s->held));
	if (p->copy->applied != epoch - 1)
		sim_fail(p->w, "I2", "epoch %llu is acknowledged while the image is at %llu", LLU(epoch),
			 LLU(p->copy->applied));
	if (p->staging.epoch != epoch || !p->staging.device || s->taken[epoch & 1].epoch != epoch)
		sim_fail(p->w, "I2", "epoch %llu is acknowledged before it is complete and verified",
			 LLU(epoch));
	else if ((epoch + p->w->seed) % 4 == 0 && !staged_is(p, epoch))
		sim_fail(p->w, "I2", "epoch %llu is acknowledged, but what is held is not that epoch",
			 LLU(epoch));
	s->held = epoch;
}

static void compare_image(struct proc *p, uint64_t epoch)
{
	struct session *s = p->session;
	struct copy *c = p->copy;
	const char *host = p->host ? "B" : "A";

	if (s->taken[epoch & 1].epoch != epoch) {
		sim_fail(p->w, "I3", "host %s calls its image epoch %llu, which was not captured", host,
			 LLU(epoch));
		return;
	}
	if (memcmp(&c->device, &s->taken[epoch & 1].device, sizeof c->device))
		sim_fail(p->w, "I3", "the device state on host %s is not that of epoch %llu", host,
			 LLU(epoch));
	if (!memcmp(c->memory, s->taken[epoch & 1].memory, sizeof c->memory))
		return;
	for (unsigned page = 0; page < GUEST_PAGES; page++) {
		if (!memcmp(c->memory[page], s->taken[epoch & 1].memory[page], REMUS_PAGE_SIZE))
			continue;
		bool old = epoch > 1 &&
			   !memcmp(c->memory[page], s->taken[~epoch & 1].memory[page], REMUS_PAGE_SIZE);
		sim_fail(p->w, old ? "I9" : "I3", "page %u on host %s is not that of epoch %llu%s", page,
			 host, LLU(epoch), old ? " but the one before: a dirty page was lost" : "");
	}
}

void check_image(struct proc *p, uint64_t epoch)
{
	compare_image(p, epoch);
}

void check_activate(struct proc *p, uint64_t epoch)
{
	struct session *s = p->session;
	const char *why = copy_check(p->copy);

	if (s->arbiter_key != KEY_BACKUP && !s->forced[ROLE_BACKUP])
		sim_fail(p->w, "I5", "the backup activates without a won claim");
	if (s->end_arrived)
		sim_fail(p->w, "I5", "the backup activates after the END");
	if (epoch < s->held || epoch != p->backup.committed || epoch != p->copy->applied)
		sim_fail(p->w, "I3", "epoch %llu is activated, acknowledged was %llu, applied %llu",
			 LLU(epoch), LLU(s->held), LLU(p->copy->applied));
	compare_image(p, epoch);
	if (why)
		sim_fail(p->w, "I3", "epoch %llu is activated: %s", LLU(epoch), why);
	s->activated = true;
	p->w->totals->failovers++;
}

void check_pass(struct proc *p)
{
	const char *why = not_allowed_alone(p->copy);

	if (why)
		sim_fail(p->w, "I6", "egress is opened on host %c: %s", 'A' + p->host, why);
	if (p->relay)
		return;
	if (p->told_protected || p->told_state != proc_state(p) || p->event_state != proc_state(p))
		sim_fail(p->w, "I7", "egress is opened on host %c before the loss of protection is told",
			 'A' + p->host);
	if (p->role == ROLE_BACKUP && host_mono(p->w, p->host) < p->shut_until)
		sim_fail(p->w, "I12",
			 "egress is opened on host %c, where the guest isn't renewed and time is left",
			 'A' + p->host);
}

void check_seal(struct copy *c, uint64_t epoch)
{
	if (c->egress.has_sealed)
		sim_fail(c->w, "I10", "epoch %llu is sealed while epoch %llu is sealed and not released",
			 LLU(epoch), LLU(c->egress.sealed_epoch));
}

/* ---- the last copy ---- */

void check_destroy(struct proc *p)
{
	struct session *s = p->session;
	struct copy *other = s->copy[ROLE_BACKUP];

	if (p->w->guest_shut_down || !p->copy->exists)
		return;
	if (other && (other->exists || other->end == COPY_ENDED_BY_WILL))
		return;
	if (other && other->end == COPY_KILLED_BY_FAULT && s->arbiter_key == KEY_BACKUP)
		return; /* it had the guest; what it showed can't be shown again from an older state */
	/* Two at once: it can't be resumed here, and the standby that it was given up for was killed. */
	if (other && other->end == COPY_KILLED_BY_FAULT && s->injected[ROLE_PRIMARY])
		return;
	if (s->injected[ROLE_BACKUP] || s->forced[ROLE_BACKUP])
		return;
	sim_fail(p->w, "L2", "the primary destroys the last copy of the guest: the standby %s",
		 !other			      ? "was never made"
		 : other->end == COPY_DROPPED ? "was dropped"
					      : "is dead and didn't win");
}

void check_drop(struct proc *p)
{
	struct session *s = p->session;
	struct copy *other = s->copy[ROLE_PRIMARY];

	if (!p->copy->exists || other->exists || other->end == COPY_ENDED_BY_WILL || !p->backup.committed)
		return;
	if (s->arbiter_key == KEY_PRIMARY || s->end_arrived || s->injected[ROLE_BACKUP])
		return;
	if (p->backup.state == REMUS_B_ENDED)
		return; /* the END was sent while the primary's copy lived */
	sim_fail(p->w, "L2", "the backup drops the last copy of the guest, at epoch %llu",
		 LLU(p->backup.committed));
}

void check_end(struct proc *p)
{
	struct copy *c = p->copy;

	if (p->role == ROLE_PRIMARY && c->exists && p->primary.guest_gone)
		sim_fail(p->w, "I8", "the session ends (%s) as if the guest were gone; it is there, %s",
			 proc_word(p), c->running ? "running" : "paused");
	if (p->role == ROLE_PRIMARY && p->primary.state == REMUS_P_SOLO)
		p->w->totals->solos++;
}

/* ---- always ---- */

static void check_pause(struct world *w, struct copy *c)
{
	struct host *h = &w->host[c->host];

	if (c->running || c->waiting)
		return;
	if (!h->up || h->frozen || !h->daemon_up || !c->owner || c->owner->frozen)
		c->stopped_at = w->now; /* nobody could have resumed it */
	else if (w->now > c->stopped_at + PAUSE_MAX_US)
		sim_fail(w, "I8", "the guest on host %c is paused since %.3f ms (%s)", 'A' + c->host,
			 (double)c->stopped_at / 1000, proc_word(c->owner));
}

void check_always(struct world *w)
{
	unsigned open = 0;

	for (unsigned i = 0; i < w->copies; i++) {
		struct copy *c = &w->copy[i];
		struct egress *e = &c->egress;
		if (e->accepted != e->released + e->dropped + e->discarded + e->count ||
		    e->sealed > e->count || e->count > e->cap)
			sim_fail(w, "I10",
				 "host %c: %llu packets accepted, %llu released, %llu dropped, %llu "
				 "discarded, %u held of which %u sealed",
				 'A' + c->host, LLU(e->accepted), LLU(e->released), LLU(e->dropped),
				 LLU(e->discarded), e->count, e->sealed);
		if (!c->exists)
			continue;
		open += e->state == EGRESS_PASSING;
		check_pause(w, c);
	}
	if (open > 1)
		sim_fail(w, "I5", "%u copies of the guest have an open network", open);
}

void check_liveness(struct world *w, bool content)
{
	unsigned alive = 0;
	bool by_fault = false;

	if (!content) {
		char text[300];
		size_t n = 0;
		text[0] = 0;
		for (unsigned i = 0; i < w->procs && n < sizeof text; i++)
			if (w->proc[i].alive)
				n += (size_t)snprintf(text + n, sizeof text - n, " %c:%s",
						      'A' + w->proc[i].host,
						      w->proc[i].relay ? "relay" : proc_word(&w->proc[i]));
		for (unsigned i = 0; i < w->copies && n < sizeof text; i++)
			if (w->copy[i].exists)
				n += (size_t)snprintf(text + n, sizeof text - n, " copy%u@%c:%s,%s", i,
						      'A' + w->copy[i].host,
						      w->copy[i].waiting   ? "standby"
						      : w->copy[i].running ? "running"
									   : "paused",
						      w->copy[i].egress.state == EGRESS_PASSING	  ? "passing"
						      : w->copy[i].egress.state == EGRESS_HOLDING ? "holding"
												  : "closed");
		sim_fail(w, "L1", "nothing fails any more since %.3f ms, but the guest isn't back:%s",
			 (double)w->fair_from / 1000, text);
		return;
	}
	for (unsigned i = 0; i < w->copies; i++) {
		alive += w->copy[i].exists && !w->copy[i].waiting;
		by_fault |= w->copy[i].end == COPY_KILLED_BY_FAULT;
	}
	for (unsigned i = 0; i < w->sessions; i++)
		by_fault |= w->session[i].injected[0] || w->session[i].injected[1];
	if (alive == 0 && !w->guest_shut_down && !by_fault)
		sim_fail(w, "L2", "the guest is gone, and no fault took it");
	w->totals->lost_excused += alive == 0 && !w->guest_shut_down;
}
