/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The people: they protect the guest (anew), let a held guest go, and decide where the arbiter can't. They are careful
 * people: before saying that the other side doesn't run the guest they look, and remove what could.
 */
#include <string.h>
#include "invariants.h"
#include "world.h"

#define LOOKS_EVERY_US 100000u
#define PATIENCE_US    6500000u /* of an unanswered claim: longer than a hanging question's deadline */

bool operator_protect(struct world *w, struct copy *copy, int to)
{
	if (w->sessions == SESSIONS_MAX || w->procs + 4 > PROCS_MAX || w->copies + 3 > COPIES_MAX ||
	    w->connections + 3 > CONNECTIONS_MAX)
		return false;
	struct session *s = &w->session[w->sessions];
	memset(s, 0, sizeof *s);
	s->id = (int)w->sessions;
	s->from = copy->host;
	for (unsigned i = 0; i < REMUS_SESSION_SIZE; i++)
		s->key.session[i] = (uint8_t)(w->seed >> (i % 8)) | 1;
	s->key.generation = w->sessions + 1;
	if (arbiter_open(w, copy->host, s) < 0)
		return false;
	struct proc *p = proc_create(w, copy->host, ROLE_PRIMARY);
	w->sessions++;
	if (copy->owner) { /* the relay makes room */
		copy->owner->alive = false;
		copy->owner = NULL;
	}
	w->host[copy->host].seen = s->key.generation;
	s->copy[ROLE_PRIMARY] = copy;
	copy->session = s;
	copy->captured = 0;
	copy->armed = false;
	copy->was_active = false;
	egress_pass(copy);
	p->session = s;
	p->copy = copy;
	world_trace(w, copy->host, "operator", "protects the guest, generation %llu",
		    (unsigned long long)s->key.generation);
	primary_start(p, false);
	return true;
}

static bool free_host(struct world *w, int host)
{
	if (!w->host[host].up || w->host[host].frozen || !w->host[host].daemon_up)
		return false;
	for (unsigned i = 0; i < w->copies; i++)
		if (w->copy[i].exists && w->copy[i].host == host)
			return false;
	return true;
}

static void protect_again(struct world *w)
{
	for (unsigned i = 0; i < w->copies; i++) {
		struct copy *c = &w->copy[i];
		if (c->exists && c->running && c->in_relay && c->owner && c->owner->alive &&
		    !c->owner->frozen && !w->host[c->host].frozen && free_host(w, !c->host)) {
			operator_protect(w, c, !c->host);
			return;
		}
	}
}

/* Nobody else will: the arbiter has forgotten the key, or it was retired while an engine died. */
static void decide(struct world *w, struct proc *p)
{
	struct session *s = p->session;
	struct copy *other = s->copy[!p->role];
	bool here = p->role == ROLE_PRIMARY;

	if (other && other->exists && !(here && other->waiting)) {
		if (!here) { /* the guest is there: this standby has had its day */
			world_trace(w, p->host, "operator", "drops the standby that waits for its arbiter");
			proc_kill(p, false);
		}
		return;
	}
	if (s->forced[!p->role] || s->activated)
		return; /* the guest ran over there and has shown what this copy doesn't know */
	if (other && other->exists) {
		world_trace(w, other->host, "operator", "drops the standby before the primary is let go");
		if (other->owner)
			proc_kill(other->owner, false);
		copy_end(other, COPY_KILLED_BY_FAULT);
	}
	s->forced[p->role] = true;
	w->totals->forced++;
	proc_command(p, REMUS_EV_CMD_FORCE);
}

static void decide_where_needed(struct world *w)
{
	for (unsigned i = 0; i < w->procs; i++) {
		struct proc *p = &w->proc[i];
		if (!p->alive || p->relay || !p->session)
			continue;
		bool claiming = p->role == ROLE_PRIMARY ? p->primary.state == REMUS_P_CLAIMING
							: p->backup.state == REMUS_B_CLAIMING;
		bool forgotten =
			p->session->arbiter_key == KEY_NONE || p->session->arbiter_key == KEY_RETIRED;
		if (p->role == ROLE_PRIMARY && p->primary.state == REMUS_P_HELD)
			proc_command(p, REMUS_EV_CMD_UNPROTECT);
		else if (claiming && forgotten && p->told_unknown && w->now > p->unknown_since + PATIENCE_US)
			decide(w, p);
	}
}

void operator_look(struct world *w)
{
	if (w->now >= w->fair_from)
		decide_where_needed(w);
	else if (w->setting.protects_again)
		protect_again(w);
	world_at(w, w->now + (w->now < w->fair_from ? w->setting.operator_us : LOOKS_EVERY_US), AT_OPERATOR,
		 0, 0);
}

static bool settled(const struct copy *c)
{
	const struct proc *p = c->owner;

	if (!p || !p->alive)
		return false;
	if (c->waiting)
		return p->backup.state == REMUS_B_STANDBY;
	return c->running && (p->relay || p->primary.state == REMUS_P_RUNNING ||
			      (p->primary.state == REMUS_P_IN_FLIGHT && p->primary.committed));
}

bool operator_content(struct world *w)
{
	struct outside *o = &w->outside;
	unsigned alive = 0, standing_by = 0;
	bool protects = false;

	if (!o->fair) {
		o->fair = true;
		o->seen_before_fair = o->seen;
	}
	for (unsigned i = 0; i < w->copies; i++) {
		struct copy *c = &w->copy[i];
		if (!c->exists)
			continue;
		if (!settled(c))
			return false;
		alive += !c->waiting;
		standing_by += c->waiting;
		protects |= !c->waiting && !c->owner->relay;
	}
	if (alive + standing_by == 0)
		return true; /* check_liveness() asks why */
	return alive == 1 && standing_by == protects && o->seen >= o->seen_before_fair + 4;
}
