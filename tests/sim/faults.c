/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See faults.h. */
#include "faults.h"

#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include "remus/link.h"
#include "remus/util.h"
#include "world.h"

#define FRAGILE	 14
#define AFTER_US 20000u /* from the last fault's end to the fair suffix */

static const struct {
	const char *name;
	unsigned weight;
	uint32_t span_ms; /* at most */
} kinds[FAULT_KINDS] = {
	[FAULT_CRASH] = {"power loss", 10, 900},
	[FAULT_FREEZE] = {"standstill", 6, 1500},
	[FAULT_STOP_PROCESS] = {"SIGSTOP", 6, 1500},
	[FAULT_KILL_ENGINE] = {"engine killed", 8, 0},
	[FAULT_KILL_RECEIVER] = {"receiver killed", 5, 0},
	[FAULT_KILL_DAEMON] = {"daemon killed", 4, 400},
	[FAULT_DOMAIN_DIES] = {"hypervisor dies", 5, 0},
	[FAULT_STANDBY_DIES] = {"standby dies", 4, 0},
	[FAULT_SHUTDOWN] = {"guest shuts down", 4, 0},
	[FAULT_CUT] = {"network cut", 12, 1200},
	[FAULT_RESET] = {"connection reset", 8, 0},
	[FAULT_SLOW] = {"slow network", 5, 600},
	[FAULT_CORRUPT] = {"bit flip", 5, 0},
	[FAULT_REPEAT] = {"frame repeated", 3, 0},
	[FAULT_REPLAY] = {"connection replayed", 3, 0},
	[FAULT_ARBITER_DOWN] = {"arbiter unreachable", 8, 1500},
	[FAULT_ARBITER_HANGS] = {"arbiter hangs", 6, 9000},
	[FAULT_ARBITER_FORGETS] = {"arbiter forgets", 1, 0},
	[FAULT_ACTION] = {"action fails", 16, 800},
	[FAULT_CLOCK] = {"wall clock jumps", 2, 0},
	[FAULT_UNPROTECT] = {"unprotect", 6, 0},
	[FAULT_FAILOVER] = {"failover", 10, 0},
	[FAULT_FORCE] = {"force", 4, 0},
	[FAULT_STRANGER] = {"stranger connects", 2, 0},
	[FAULT_ODD_FRAME] = {"odd frame", 5, 0},
};

/* Actions that can fail in a shell, by role. */
static const enum remus_action_type fragile[2][FRAGILE] = {
	[ROLE_PRIMARY] = {REMUS_DO_PAUSE, REMUS_DO_CAPTURE, REMUS_DO_HOLD, REMUS_DO_SEAL, REMUS_DO_RESUME,
			  REMUS_DO_SEND_EPOCH, REMUS_DO_RELEASE, REMUS_DO_PASS, REMUS_DO_DISCARD,
			  REMUS_DO_DESTROY, REMUS_DO_RETIRE, REMUS_DO_TRACK_START, REMUS_DO_SYNC_ROUND,
			  REMUS_DO_SEND},
	[ROLE_BACKUP] = {REMUS_DO_PREPARE, REMUS_DO_APPLY_SYNC, REMUS_DO_STAGE, REMUS_DO_APPLY,
			 REMUS_DO_ACTIVATE, REMUS_DO_ACTIVATE, REMUS_DO_PASS, REMUS_DO_ANNOUNCE,
			 REMUS_DO_ACTIVATE, REMUS_DO_APPLY, REMUS_DO_STAGE, REMUS_DO_PREPARE, REMUS_DO_PASS,
			 REMUS_DO_APPLY_SYNC},
};

static enum fault_kind draw_kind(struct rng *r)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < FAULT_KINDS; i++)
		sum += kinds[i].weight;
	unsigned dice = rng_below(r, sum);
	unsigned i = 0;
	while (dice >= kinds[i].weight)
		dice -= kinds[i++].weight;
	return (enum fault_kind)i;
}

void faults_plan(struct world *w)
{
	struct rng r = rng_stream(w->seed, 6);
	struct faults *f = &w->faults;
	uint32_t window = rng_chance(&r, 250) ? 60 : 500; /* ms; the short one aims at the beginning */

	f->count = rng_range(&r, 0, 4);
	if (rng_chance(&r, 150))
		f->count += rng_range(&r, 2, 6);
	w->fair_from = 50000 + w->setting.primary.interval_us * 4;
	uint64_t at = 0;
	for (unsigned i = 0; i < f->count; i++) {
		struct fault *one = &f->list[i];
		one->kind = draw_kind(&r);
		uint32_t when = rng_range(&r, 200, window * 1000), near = rng_range(&r, 0, 30000);
		at = i && rng_chance(&r, 600) ? at + near : when; /* faults like company */
		one->at = at;
		one->span =
			kinds[one->kind].span_ms ? rng_range(&r, 1000, kinds[one->kind].span_ms * 1000) : 0;
		one->host = (int)rng_below(&r, 2);
		one->detail = (uint32_t)rng_next(&r);
		one->count = rng_chance(&r, 700) ? 1 : rng_range(&r, 2, 5);
		if (f->without & (1u << i))
			continue;
		world_at(w, one->at, AT_FAULT, i, 0);
		if (one->span)
			world_at(w, one->at + one->span, AT_HEAL, i, 0);
		if (one->at + one->span + AFTER_US > w->fair_from)
			w->fair_from = one->at + one->span + AFTER_US;
	}
}

void faults_describe(const struct fault *f, char *out, unsigned size)
{
	int n = snprintf(out, size, "%s", kinds[f->kind].name);

	if (f->kind == FAULT_ACTION)
		n += snprintf(out + n, size - (unsigned)n, " (%s of the %s, %u times)",
			      remus_action_name(fragile[f->host][f->detail % FRAGILE]),
			      f->host ? "backup" : "primary", f->count);
	else
		n += snprintf(out + n, size - (unsigned)n, ", %c, detail %u", 'A' + f->host,
			      f->detail % 1000);
	if (f->span)
		snprintf(out + n, size - (unsigned)n, ", for %.3f ms", (double)f->span / 1000);
}

/* The newest living process of this role that has a session. */
static struct proc *find(struct world *w, enum role role)
{
	for (unsigned i = w->procs; i-- > 0;)
		if (w->proc[i].alive && w->proc[i].role == role && w->proc[i].session && w->proc[i].copy)
			return &w->proc[i];
	return NULL;
}

static struct copy *find_copy(struct world *w, bool waiting)
{
	for (unsigned i = w->copies; i-- > 0;)
		if (w->copy[i].exists && w->copy[i].waiting == waiting)
			return &w->copy[i];
	return NULL;
}

bool faults_action(struct world *w, int role, unsigned action)
{
	uint8_t *left = &w->faults.failing[role][action];

	if (!*left)
		return false;
	--*left;
	return true;
}

static void end_guest(struct world *w, struct copy *c, bool by_will)
{
	if (!c)
		return;
	struct proc *owner = c->owner;
	if (by_will)
		w->guest_shut_down = true;
	if (c->waiting && c->session)
		c->session->injected[ROLE_BACKUP] = true;
	copy_end(c, by_will ? COPY_ENDED_BY_WILL : COPY_KILLED_BY_FAULT);
	if (!owner || !owner->alive)
		return;
	if (owner->relay) {
		owner->alive = false;
		return;
	}
	owner->domain_event = by_will ? REMUS_DOMAIN_SHUTDOWN : REMUS_DOMAIN_LOST;
	proc_run(owner);
}

static void fail_actions(struct world *w, const struct fault *f)
{
	enum remus_action_type action = fragile[f->host][f->detail % FRAGILE];
	struct copy *c = find_copy(w, false);

	if (action == REMUS_DO_CAPTURE && c) {
		int *where[3] = {&c->fail_save, &c->fail_fetch, &c->fail_copy};
		*where[(f->detail >> 8) % 3] += (int)f->count;
		return;
	}
	w->faults.failing[f->host][action] = (uint8_t)f->count;
}

static void force(struct world *w, int role)
{
	struct proc *p = find(w, (enum role)role);

	if (!p || p->relay || p->frozen || w->host[p->host].frozen || p->stepping || p->busy_until > w->now)
		return; /* a word that is heard later may no longer be true */
	struct copy *other = p->session->copy[!role];
	bool waits = role == ROLE_PRIMARY
			     ? p->primary.state == REMUS_P_CLAIMING || p->primary.state == REMUS_P_HELD
			     : p->backup.state == REMUS_B_CLAIMING;
	bool went_on = p->session->arbiter_key == (role == ROLE_PRIMARY ? KEY_BACKUP : KEY_PRIMARY) ||
		       p->session->forced[!role] || p->session->activated;
	if (waits && !(other && other->exists) && !went_on)
		p->session->forced[role] = true;
	else if (waits)
		return; /* a careful operator doesn't */
	proc_command(p, REMUS_EV_CMD_FORCE);
}

/* A frame that a peer of another make might send there. None that is a lie about who runs the guest. */
static void odd_frame(struct world *w, const struct fault *f)
{
	static const uint16_t types[2][11] = {
		{REMUS_FRAME_PAGES, REMUS_FRAME_STATE, REMUS_FRAME_COMMIT, REMUS_FRAME_HANDOVER,
		 REMUS_FRAME_ACK, REMUS_FRAME_WELCOME, REMUS_FRAME_HELLO, REMUS_FRAME_ACTIVATED,
		 REMUS_FRAME_END_ACK, REMUS_FRAME_HANDOVER_REQUEST, REMUS_FRAME_ENTROPY},
		{REMUS_FRAME_ACK, REMUS_FRAME_WELCOME, REMUS_FRAME_HANDOVER_REQUEST, REMUS_FRAME_PAGES,
		 REMUS_FRAME_STATE, REMUS_FRAME_COMMIT, REMUS_FRAME_HELLO, REMUS_FRAME_HANDOVER,
		 REMUS_FRAME_END, REMUS_FRAME_DOMAIN_LOST, REMUS_FRAME_ENTROPY},
	};
	struct proc *p = find(w, (enum role)f->host);
	uint8_t body[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}; /* no page, no state */
	struct iovec part = {body, sizeof body};

	if (!p || !p->link || !p->link->bound)
		return;
	uint16_t type = types[f->host][f->detail % 11];
	uint64_t epoch = p->session->held + (f->detail >> 8) % 4;
	if (type == REMUS_FRAME_HANDOVER)
		epoch = p->session->held + 2; /* the right epoch would be a hand-over */
	remus_link_send((struct remus_link *)p->link, type, REMUS_FRAME_MANDATORY, epoch, &part, 1, NULL,
			NULL);
}

static void clear_arbiter(struct world *w)
{
	if (w->sessions && w->session[w->sessions - 1].arbiter_key == KEY_OPEN)
		w->session[w->sessions - 1].arbiter_key = KEY_NONE;
}

static void arbiter_unreachable(struct world *w, const struct fault *f)
{
	uint64_t until = w->now + f->span;
	bool hangs = f->kind == FAULT_ARBITER_HANGS;

	for (int host = 0; host < 2; host++)
		if (f->detail % 3 == 0 || f->host == host) {
			if (hangs)
				w->arbiter.hangs_until[host] = until;
			else
				w->arbiter.down_until[host] = until;
		}
	w->arbiter.hang_acts_late = f->detail & 8;
}

static void on_process(struct world *w, const struct fault *f)
{
	struct proc *p = find(w, f->kind == FAULT_KILL_ENGINE	  ? ROLE_PRIMARY
				 : f->kind == FAULT_KILL_RECEIVER ? ROLE_BACKUP
								  : (enum role)f->host);

	if (!p)
		return;
	if (f->kind == FAULT_STOP_PROCESS)
		proc_freeze(p, true);
	else
		proc_kill(p, false);
}

static void on_network(struct world *w, const struct fault *f)
{
	switch (f->kind) {
	case FAULT_CUT:
		if (f->detail % 3 != 1)
			w->net.blocked_until[f->host] = w->now + f->span;
		if (f->detail % 3 != 0)
			w->net.blocked_until[!f->host] = w->now + f->span;
		return;
	case FAULT_RESET:
		network_reset(w, 1 + (int)(f->detail % 3));
		return;
	case FAULT_SLOW:
		w->net.slow_until = w->now + f->span;
		w->net.slow_factor = 2 + f->detail % 400;
		if (f->detail & 512)
			w->hectic_until = w->now + f->span;
		return;
	case FAULT_CORRUPT:
		w->net.corrupt[f->host] += (int)f->count;
		return;
	case FAULT_REPEAT:
		w->net.repeat[f->host] += (int)f->count;
		return;
	case FAULT_REPLAY:
		network_replay(w, f->detail & 16 ? f->host : 1);
		return;
	case FAULT_STRANGER:
		network_stranger(w, f->host, f->detail);
		return;
	default:
		odd_frame(w, f);
	}
}

static void on_operator(struct world *w, const struct fault *f)
{
	struct proc *p = find(w, (enum role)f->host);

	if (f->kind == FAULT_FORCE) {
		force(w, f->host);
		return;
	}
	if (!p || p->relay)
		return;
	if (f->kind == FAULT_UNPROTECT && f->host == ROLE_BACKUP)
		p->session->injected[ROLE_BACKUP] = true;
	proc_command(p, f->kind == FAULT_UNPROTECT ? REMUS_EV_CMD_UNPROTECT : REMUS_EV_CMD_FAILOVER);
}

void faults_begin(struct world *w, unsigned i)
{
	const struct fault *f = &w->faults.list[i];
	char text[120];

	if (w->tracing) {
		faults_describe(f, text, sizeof text);
		world_trace(w, -1, "fault", "%u: %s", i, text);
	}
	switch (f->kind) {
	case FAULT_CRASH:
		host_crash(w, f->host, f->detail & 1);
		return;
	case FAULT_FREEZE:
		host_freeze(w, f->host, true);
		return;
	case FAULT_KILL_DAEMON:
		daemon_die(w, f->host);
		return;
	case FAULT_DOMAIN_DIES:
		end_guest(w, find_copy(w, false), false);
		return;
	case FAULT_STANDBY_DIES:
		end_guest(w, find_copy(w, true), false);
		return;
	case FAULT_SHUTDOWN:
		end_guest(w, find_copy(w, false), true);
		return;
	case FAULT_ARBITER_DOWN:
	case FAULT_ARBITER_HANGS:
		arbiter_unreachable(w, f);
		return;
	case FAULT_ARBITER_FORGETS:
		clear_arbiter(w);
		return;
	case FAULT_ACTION:
		fail_actions(w, f);
		return;
	case FAULT_CLOCK:
		clock_step(w, f->host, f->detail);
		return;
	case FAULT_STOP_PROCESS:
	case FAULT_KILL_ENGINE:
	case FAULT_KILL_RECEIVER:
		on_process(w, f);
		return;
	case FAULT_UNPROTECT:
	case FAULT_FAILOVER:
	case FAULT_FORCE:
		on_operator(w, f);
		return;
	default:
		on_network(w, f);
	}
}

void faults_end(struct world *w, unsigned i)
{
	const struct fault *f = &w->faults.list[i];

	switch (f->kind) {
	case FAULT_CRASH:
		host_restart(w, f->host);
		break;
	case FAULT_FREEZE:
		host_freeze(w, f->host, false);
		break;
	case FAULT_STOP_PROCESS:
		for (unsigned k = 0; k < w->procs; k++)
			if (w->proc[k].frozen && (int)w->proc[k].role == f->host)
				proc_freeze(&w->proc[k], false);
		break;
	case FAULT_KILL_DAEMON:
		daemon_return(w, f->host);
		break;
	case FAULT_CUT:
		network_kick(w, 0);
		network_kick(w, 1);
		break;
	case FAULT_ACTION:
		memset(w->faults.failing[f->host], 0, sizeof w->faults.failing[f->host]);
		for (unsigned k = 0; k < w->copies; k++)
			w->copy[k].fail_save = w->copy[k].fail_fetch = w->copy[k].fail_copy = 0;
		break;
	default:
		break;
	}
}
