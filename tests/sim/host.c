/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See host.h. The supervisor's rules are those of tools/remusd/endings.c, record.c and sessions.c: an armed engine
 * that died is followed by one that claims, an unarmed one by a relay, a standby without receiver is killed; a receiver that
 * waits for its arbiter outlives its daemon.
 */
#include "host.h"

#include "invariants.h"
#include "world.h"

#define RESPAWN_US 20000u
#define ORPHAN_US  8000000u /* that a new daemon gives an orphaned child to end by itself */

uint64_t host_mono(const struct world *w, int host)
{
	const struct host *h = &w->host[host];

	return h->mono_origin + w->now + (uint64_t)((int64_t)w->now * h->drift_ppm / 1000000);
}

uint64_t host_wall(const struct world *w, int host)
{
	return host_mono(w, host) + (uint64_t)w->host[host].wall_offset;
}

uint64_t host_when(const struct world *w, int host, uint64_t mono)
{
	const struct host *h = &w->host[host];

	if (mono <= host_mono(w, host))
		return w->now;
	uint64_t passed = mono - h->mono_origin;
	uint64_t when = passed - (uint64_t)((int64_t)passed * h->drift_ppm / 1000000) + 1;
	return when > w->now ? when : w->now + 1;
}

void host_crash(struct world *w, int host, bool keep_records)
{
	struct host *h = &w->host[host];

	h->up = h->daemon_up = h->frozen = false;
	for (unsigned i = 0; i < w->procs; i++)
		if (w->proc[i].host == host)
			proc_kill(&w->proc[i], true);
	for (unsigned i = 0; i < w->copies; i++)
		if (w->copy[i].host == host)
			copy_end(&w->copy[i], COPY_KILLED_BY_FAULT);
	if (keep_records)
		return;
	h->seen = 0;
	h->forgot = true;
}

void host_restart(struct world *w, int host)
{
	if (w->host[host].up)
		return;
	w->host[host].up = w->host[host].daemon_up = true;
}

void host_freeze(struct world *w, int host, bool freeze)
{
	struct host *h = &w->host[host];

	if (!h->up || h->frozen == freeze)
		return;
	h->frozen = freeze;
	if (freeze)
		return;
	for (unsigned i = 0; i < w->procs; i++) {
		struct proc *p = &w->proc[i];
		if (p->host != host || !p->alive || p->frozen)
			continue;
		world_at(w, w->now, p->parked ? AT_CONTINUE : AT_WAKE, i, 0);
		p->parked = false;
	}
	for (unsigned i = 0; i < w->copies; i++)
		if (w->copy[i].host == host)
			copy_wake(&w->copy[i]);
	network_kick(w, host);
}

/* ---- the supervisor ---- */

/* It may hold the last copy of the guest: it outlives its daemon, and the next one takes it over. */
static bool undecided(const struct proc *p)
{
	return p->role == ROLE_BACKUP &&
	       (p->backup.state == REMUS_B_CLAIMING || p->backup.state == REMUS_B_ACTIVATING);
}

void daemon_die(struct world *w, int host)
{
	if (!w->host[host].daemon_up)
		return;
	w->host[host].daemon_up = false;
	for (unsigned i = 0; i < w->procs; i++) {
		struct proc *p = &w->proc[i];
		if (p->host != host || !p->alive)
			continue;
		p->quit = true;
		if (!p->relay) {
			if (p->role == ROLE_BACKUP && p->session && !undecided(p))
				p->session->injected[ROLE_BACKUP] =
					true; /* told to go, it drops its standby */
			proc_command(p, REMUS_EV_CMD_UNPROTECT);
			continue;
		}
		p->alive = false;
		p->copy->owner = NULL;
		egress_close(p->copy);
	}
}

void daemon_return(struct world *w, int host)
{
	if (!w->host[host].up || w->host[host].daemon_up)
		return;
	w->host[host].daemon_up = true;
	for (unsigned i = 0; i < w->copies; i++) {
		struct copy *c = &w->copy[i];
		if (c->host == host && c->exists)
			world_at(w, w->now + (c->owner ? ORPHAN_US : RESPAWN_US), AT_RESPAWN, i, 1);
	}
}

const char *daemon_admit(struct world *w, struct proc *receiver, struct session *s)
{
	struct host *h = &w->host[receiver->host];

	if (w->variant == STALE_GENERATION)
		return NULL;
	if (!h->daemon_up)
		return "the daemon is gone";
	if (h->seen >= s->key.generation)
		return "this generation is over";
	for (unsigned i = 0; i < w->procs; i++) {
		struct proc *p = &w->proc[i];
		if (p != receiver && p->alive && p->host == receiver->host && p->admitted)
			return "this host already stands by for the guest, or runs it";
	}
	h->seen = s->key.generation;
	return NULL;
}

void supervise_killed(struct proc *p)
{
	struct world *w = p->w;
	struct copy *c = p->copy;

	if (!c || !c->exists)
		return;
	if (!w->host[p->host].daemon_up)
		return; /* daemon_return() */
	if (p->role == ROLE_BACKUP && !c->was_active) {
		copy_end(c, COPY_KILLED_BY_FAULT);
		return;
	}
	world_at(w, w->now + RESPAWN_US, AT_RESPAWN, (unsigned)c->id, 0);
}

static void respawn_engine(struct world *w, struct copy *c, struct proc *p)
{
	if (w->variant == RECOVER_OPEN)
		egress_pass(c);
	else
		egress_hold(c);
	copy_resume(c);
	primary_start(p, true);
}

static void respawn_relay(struct world *w, struct copy *c, struct proc *p)
{
	copy_resume(c);
	if (c->session && c->session->from == c->host)
		arbiter_retire(w, c->host, c->session);
	c->owner = p;
	c->in_relay = true;
	p->relay = true;
	if (p->session)
		check_pass(p);
	egress_pass(c);
}

void supervise_respawn(struct world *w, int copy, uint32_t settle)
{
	struct copy *c = &w->copy[copy];
	struct host *h = &w->host[c->host];

	if (!c->exists || !h->up || !h->daemon_up)
		return;
	if (h->frozen) {
		world_at(w, w->now + RESPAWN_US, AT_RESPAWN, (unsigned)copy, settle);
		return;
	}
	if (c->owner && settle && undecided(c->owner))
		c->owner->quit = false;
	if (c->owner && settle && c->owner->quit && !c->owner->relay)
		proc_kill(c->owner, false); /* comes back here */
	if (c->owner || !c->exists)
		return;
	if (c->waiting) {
		copy_end(c, COPY_KILLED_BY_FAULT);
		return;
	}
	bool backup = c->session && c->session->from != c->host;
	struct proc *p = proc_create(w, c->host, backup ? ROLE_BACKUP : ROLE_PRIMARY);
	if (!p)
		return;
	world_trace(w, c->host, "daemon", "a new child for the guest: %s", c->armed ? "claims" : "relays");
	p->copy = c;
	p->session = c->session;
	p->admitted = backup;
	if (c->armed)
		respawn_engine(w, c, p);
	else
		respawn_relay(w, c, p);
}
