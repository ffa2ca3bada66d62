/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loop of a shell (replicator/primary.c, backup.c, feed.c), cut into pieces between which the world goes on. The
 * order in which sources are asked is the shells': what a step raised, timers, the link, the claim, the domain,
 * commands, and last a piece of the full copy.
 */
#include "process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "invariants.h"
#include "world.h"

struct proc *proc_create(struct world *w, int host, enum role role)
{
	if (w->procs == PROCS_MAX)
		return NULL;
	struct proc *p = &w->proc[w->procs];

	memset(p, 0, offsetof(struct proc, actions));
	memset((char *)p + offsetof(struct proc, at), 0, sizeof *p - offsetof(struct proc, at));
	p->w = w;
	p->id = (int)w->procs++;
	p->host = host;
	p->role = role;
	p->alive = true;
	if (role == ROLE_PRIMARY)
		remus_primary_init(&p->primary, &w->setting.primary);
	else
		remus_backup_init(&p->backup, &w->setting.backup);
	return p;
}

const char *proc_word(const struct proc *p)
{
	return p->role == ROLE_PRIMARY ? remus_primary_word(&p->primary) : remus_backup_word(&p->backup);
}

unsigned proc_state(const struct proc *p)
{
	return p->role == ROLE_PRIMARY ? (unsigned)p->primary.state : (unsigned)p->backup.state;
}

/* ---- one line per event ---- */

static const char *event_text(const struct remus_event *ev, char *out, size_t size)
{
	static const char *const timers[REMUS_TIMERS] = {"SETUP",    "EPOCH", "ACK",   "END",
							 "HANDOVER", "RETRY", "RENEW", "BRAKE"};
	const char *name = remus_event_name(ev->type) + 3;

	switch (ev->type) {
	case REMUS_EV_FRAME:
		snprintf(out, size, "%s %llu", remus_frame_name(ev->header->type),
			 (unsigned long long)ev->header->epoch);
		break;
	case REMUS_EV_TIMER:
		snprintf(out, size, "TIMER %s", timers[ev->timer]);
		break;
	case REMUS_EV_CLAIM:
		snprintf(out, size, "CLAIM %s", remus_claim_name(ev->claim));
		break;
	case REMUS_EV_FAILED:
		snprintf(out, size, "FAILED %s", remus_action_name(ev->action) + 3);
		break;
	default:
		snprintf(out, size, "%s%s%s", name, ev->text && *ev->text ? ": " : "",
			 ev->text ? ev->text : "");
	}
	return out;
}

static void trace_step(struct proc *p, const struct remus_event *ev, const char *before)
{
	char event[160], done[400];
	size_t n = 0;

	if (!p->w->tracing)
		return;
	done[0] = 0;
	for (unsigned i = 0; i < p->actions.count && n < sizeof done; i++) {
		const struct remus_action *a = &p->actions.list[i];
		n += (size_t)snprintf(done + n, sizeof done - n, " %s%s%s", remus_action_name(a->type) + 3,
				      a->type == REMUS_DO_SEND ? ":" : "",
				      a->type == REMUS_DO_SEND ? remus_frame_name(a->frame) : "");
	}
	char who[16];
	snprintf(who, sizeof who, "%s#%d", p->role == ROLE_PRIMARY ? "primary" : "backup", p->id);
	bool primary = p->role == ROLE_PRIMARY;
	world_trace(p->w, p->host, who, "%-13s s%llu/c%llu/a%llu  %-20s ->%s%s%s", before,
		    (unsigned long long)(primary ? p->sent_epoch : 0),
		    (unsigned long long)(primary ? p->primary.committed : p->backup.committed),
		    (unsigned long long)(primary || !p->copy ? 0 : p->copy->applied),
		    event_text(ev, event, sizeof event), done, strcmp(before, proc_word(p)) ? "  => " : "",
		    strcmp(before, proc_word(p)) ? proc_word(p) : "");
}

/* ---- steps ---- */

struct remus_event *proc_raise(struct proc *p, enum remus_event_type type, const char *text)
{
	struct raised *r = &p->raised[p->raisings];

	if (p->raisings == RAISED_MAX) {
		sim_fail(p->w, "simulator", "too many events raised by one step");
		return &r[-1].event;
	}
	p->raisings++;
	memset(&r->event, 0, sizeof r->event);
	r->event.type = type;
	snprintf(r->text, sizeof r->text, "%s", text ? text : "");
	return &r->event;
}

/* How long an action keeps the process, µs. */
static uint32_t cost_of(struct proc *p, const struct remus_action *a)
{
	struct rng *r = &p->w->cost_rng;

	if (!p->w->setting.costs)
		return 0;
	switch (a->type) {
	case REMUS_DO_PAUSE:
		return rng_range(r, 50, 900);
	case REMUS_DO_CAPTURE:
		return rng_range(r, 50, 600);
	case REMUS_DO_RESUME:
		return rng_range(r, 20, 200);
	case REMUS_DO_SEND_EPOCH:
		return rng_range(r, 0, 100);
	case REMUS_DO_PREPARE:
	case REMUS_DO_ACTIVATE:
		return rng_range(r, 500, 30000);
	case REMUS_DO_APPLY:
		return rng_range(r, 20, 300);
	case REMUS_DO_CONNECT:
	case REMUS_DO_DESTROY:
	case REMUS_DO_DROP:
		return rng_range(r, 100, 3000);
	case REMUS_DO_PASS:
	case REMUS_DO_RETIRE:
		return rng_range(r, 5, 100);
	default:
		return 0;
	}
}

/* Of what is sent only a HELLO can: its description may not be had. */
static bool may_fail(const struct remus_action *a)
{
	return a->type != REMUS_DO_SEND || a->frame == REMUS_FRAME_HELLO;
}

static int carry_out_one(struct proc *p, const struct remus_action *a)
{
	struct world *w = p->w;

	sim_clock_host = p->host;
	switch (a->type) {
	case REMUS_DO_REPORT: {
		p->told_state = proc_state(p);
		p->told_protected = p->role == ROLE_PRIMARY && remus_primary_protected(&p->primary);
		if (p->role == ROLE_BACKUP &&
		    (p->backup.state == REMUS_B_ACTIVE || p->backup.state == REMUS_B_RENEWING))
			p->copy->was_active = true; /* the supervisor notes it */
		return 0;
	}
	case REMUS_DO_EVENT:
		p->event_state = proc_state(p);
		w->totals->overloads += !strcmp(a->kind, "overload");
		if (!strcmp(a->kind, "claim-unknown")) {
			p->told_unknown = true;
			p->unknown_since = w->now;
		}
		return 0;
	case REMUS_DO_SET_TIMER:
		p->timers.at_us[a->timer] = a->at_us ? a->at_us : 1;
		return 0;
	case REMUS_DO_CANCEL_TIMER:
		p->timers.at_us[a->timer] = 0;
		return 0;
	case REMUS_DO_BIND:
		if (p->link)
			endpoint_bind(p->link, p->session->key.session, p->session->key.generation);
		return 0;
	case REMUS_DO_CLOSE_LINK:
		clock_link(p);
		if (p->link)
			endpoint_close(p->link);
		p->link = NULL;
		p->syncing = false;
		return 0;
	case REMUS_DO_CLAIM:
		arbiter_ask(w, p);
		return 0;
	case REMUS_DO_END:
		p->ended = true;
		check_end(p);
		return 0;
	default:
		if (may_fail(a) && faults_action(w, (int)p->role, a->type)) {
			world_trace(w, p->host, "fault", "%s fails", remus_action_name(a->type));
			if (p->session && (a->type == REMUS_DO_RESUME ||
					   (p->role == ROLE_BACKUP && a->type != REMUS_DO_PASS &&
					    a->type != REMUS_DO_ANNOUNCE)))
				p->session->injected[p->role] = true;
			/* What asked for the stop may have been heard all the same. */
			if (a->type == REMUS_DO_PAUSE && rng_chance(&w->cost_rng, 500))
				copy_pause(p->copy);
			return -EIO;
		}
		return p->role == ROLE_PRIMARY ? primary_action(p, a) : backup_action(p, a);
	}
}

/* Carry out what is left of the step. False: it takes time, proc_continue() goes on. */
static bool carry_on(struct proc *p)
{
	struct world *w = p->w;

	while (p->at < p->actions.count && !w->failed) {
		const struct remus_action *a = &p->actions.list[p->at];
		uint32_t cost = p->paid ? 0 : cost_of(p, a);
		if (cost) {
			p->paid = true;
			p->busy_until = w->now + cost;
			world_at(w, p->busy_until, AT_CONTINUE, (unsigned)p->id, 0);
			return false;
		}
		p->paid = false;
		p->at++;
		int rc = carry_out_one(p, a);
		if (rc < 0) {
			struct remus_event *failed = proc_raise(p, REMUS_EV_FAILED, "injected");
			failed->action = a->type;
			failed->code = rc;
			break;
		}
		if (!p->alive)
			return false;
	}
	p->stepping = false;
	return p->busy_until <= w->now;
}

/* PASS before the operator hears of it. */
static void reorder(struct proc *p)
{
	struct remus_actions *l = &p->actions;

	for (unsigned i = 1; i < l->count; i++)
		if (l->list[i].type == REMUS_DO_PASS) {
			struct remus_action pass = l->list[i];
			memmove(&l->list[1], &l->list[0], i * sizeof pass);
			l->list[0] = pass;
			return;
		}
}

static bool step(struct proc *p, struct remus_event *ev)
{
	unsigned before = proc_state(p);
	const char *word = proc_word(p);

	ev->now_us = host_mono(p->w, p->host);
	if (p->role == ROLE_PRIMARY)
		remus_primary_step(&p->primary, ev, &p->actions);
	else
		remus_backup_step(&p->backup, ev, &p->actions);
	coverage_note(p->w->coverage, (int)p->role, before, ev, proc_state(p));
	trace_step(p, ev, word);
	if (p->w->variant == PASS_FIRST)
		reorder(p);
	p->at = 0;
	p->stepping = true;
	return carry_on(p);
}

/* ---- the loop ---- */

static void sleep_until_timer(struct proc *p)
{
	uint64_t first = 0;

	for (int i = 0; i < REMUS_TIMERS; i++)
		if (p->timers.at_us[i] && (!first || p->timers.at_us[i] < first))
			first = p->timers.at_us[i];
	if (!first)
		return;
	uint64_t when = host_when(p->w, p->host, first);
	if (p->wake_at && p->wake_at <= when)
		return;
	p->wake_at = when;
	world_at(p->w, when, AT_WAKE, (unsigned)p->id, 0);
}

static void over(struct proc *p)
{
	p->ended = false;
	if (p->role == ROLE_PRIMARY)
		primary_over_with(p);
	else
		backup_over_with(p);
}

static void feed_one(struct proc *p, struct remus_event *ev)
{
	struct inbox_frame *f = p->frame;

	proc_distort(p, ev);
	if (ev->type == REMUS_EV_FRAME && p->role == ROLE_BACKUP && f &&
	    f->frame.header.type == REMUS_FRAME_HELLO)
		backup_hello(p); /* raises HELLO or FAILED */
	else
		step(p, ev);
}

void proc_run(struct proc *p)
{
	struct world *w = p->w;
	struct raised raised;
	struct remus_event ev;

	if (p->in_run || p->relay)
		return;
	p->in_run = true;
	while (p->alive && !p->relay && !p->frozen && !w->host[p->host].frozen && !w->failed &&
	       !p->stepping && p->busy_until <= w->now) {
		if (proc_next_event(p, &raised, &ev)) {
			feed_one(p, &ev);
		} else if (p->ended) {
			over(p);
			break;
		} else if (p->syncing && p->link) {
			primary_sync_piece(p);
		} else {
			break;
		}
	}
	p->in_run = false;
	/* What can't run now is run again by what ends that: SIGCONT, the end of an action. */
	if (p->alive && !p->relay && !p->frozen && !w->host[p->host].frozen && !p->stepping &&
	    p->busy_until <= w->now)
		sleep_until_timer(p);
}

void proc_feed(struct proc *p, const struct remus_event *event)
{
	*proc_raise(p, event->type, event->text) = *event;
	proc_run(p);
}

void proc_command(struct proc *p, enum remus_event_type command)
{
	if (p->commands < COMMANDS_MAX)
		p->command[p->commands++] = command;
	proc_run(p);
}

void proc_wake(struct world *w, int proc, uint32_t cookie)
{
	struct proc *p = &w->proc[proc];

	if (p->wake_at && p->wake_at <= w->now)
		p->wake_at = 0;
	if (p->alive)
		proc_run(p);
}

void proc_continue(struct world *w, int proc, uint32_t cookie)
{
	struct proc *p = &w->proc[proc];

	if (!p->alive)
		return;
	if (p->frozen || w->host[p->host].frozen) {
		p->parked = true;
		return;
	}
	if (p->brake_until && p->brake_until <= w->now)
		primary_let_go_on(p);
	if (p->stepping && !carry_on(p))
		return;
	proc_run(p);
}

/* ---- signals ---- */

void proc_freeze(struct proc *p, bool freeze)
{
	if (!p->alive || p->frozen == freeze)
		return;
	p->frozen = freeze;
	if (freeze || p->w->host[p->host].frozen)
		return;
	if (p->parked) {
		p->parked = false;
		world_at(p->w, p->w->now, AT_CONTINUE, (unsigned)p->id, 0);
	} else {
		world_at(p->w, p->w->now, AT_WAKE, (unsigned)p->id, 0);
	}
	network_kick(p->w, p->host);
}

void proc_kill(struct proc *p, bool host_died)
{
	if (!p->alive)
		return;
	p->alive = p->stepping = p->frozen = false;
	if (p->link)
		endpoint_abandon(p->link, host_died);
	p->link = NULL;
	if (p->copy && p->copy->owner == p) {
		p->copy->owner = NULL;
		egress_close(p->copy);
		p->copy->tracking = false;
	}
	proc_free_frame(p);
	if (!host_died)
		supervise_killed(p);
}
