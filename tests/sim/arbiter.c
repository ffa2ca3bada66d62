/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See arbiter.h. A claim's effect is one event of the queue: that is what makes it atomic. */
#include "arbiter.h"

#include <errno.h>
#include "world.h"

static bool down(const struct world *w, int host)
{
	return w->arbiter.down_until[host] > w->now || w->arbiter.hangs_until[host] > w->now;
}

int arbiter_open(struct world *w, int host, struct session *s)
{
	if (down(w, host))
		return -EIO;
	s->arbiter_key = KEY_OPEN;
	return 0;
}

int arbiter_check(struct world *w, int host, struct session *s)
{
	if (down(w, host))
		return -EIO;
	if (w->variant == STALE_GENERATION)
		return 0;
	return s->arbiter_key == KEY_OPEN ? 0 : s->arbiter_key == KEY_NONE ? -ENOENT : -EALREADY;
}

int arbiter_retire(struct world *w, int host, struct session *s)
{
	if (down(w, host))
		return -EIO;
	if (s->arbiter_key == KEY_OPEN)
		s->arbiter_key = KEY_RETIRED;
	return 0;
}

void arbiter_ask(struct world *w, struct proc *p)
{
	struct sim_arbiter *a = &w->arbiter;

	p->claimer.deadline = w->now + CLAIM_DEADLINE_US;
	if (p->claimer.busy)
		return; /* the question before still hangs: its answer will do */
	p->claimer.answered = false;
	p->claimer.busy = true;
	if (a->queries == QUERIES_MAX)
		return; /* ... and this one for ever */
	unsigned i = a->queries++;
	struct query *q = &a->query[i];
	*q = (struct query){
		.session = p->session,
		.who = p->role == ROLE_PRIMARY ? REMUS_HOLDER_PRIMARY : REMUS_HOLDER_BACKUP,
		.proc = p->id,
		.cookie = p->cookie,
	};
	uint64_t there = w->now + 1 + rng_below(&w->arbiter_rng, (uint32_t)a->latency_us);
	uint64_t back = there + 1 + rng_below(&w->arbiter_rng, (uint32_t)a->latency_us);
	if (a->down_until[p->host] > w->now) {
		q->lost = true;
		q->never = rng_chance(&w->arbiter_rng, 700); /* else only the answer was lost */
	} else if (a->hangs_until[p->host] > w->now) {
		back = a->hangs_until[p->host] + 1 + rng_below(&w->arbiter_rng, 1000);
		if (a->hang_acts_late)
			there = back - 1;
	}
	world_at(w, there, AT_EFFECT, i, 0);
	world_at(w, back, AT_ANSWER, i, 0);
	/* the shell polls its deadline */
	world_at(w, p->claimer.deadline, AT_WAKE, (unsigned)p->id, p->cookie);
}

void arbiter_effect(struct world *w, unsigned query)
{
	struct query *q = &w->arbiter.query[query];
	struct session *s = q->session;
	bool primary = q->who == REMUS_HOLDER_PRIMARY;

	q->answer = REMUS_CLAIM_UNKNOWN;
	if (q->never)
		return;
	if (s->arbiter_key == KEY_OPEN) {
		s->arbiter_key = primary ? KEY_PRIMARY : KEY_BACKUP;
		world_trace(w, -1, "arbiter", "generation %llu goes to the %s",
			    (unsigned long long)s->key.generation, primary ? "primary" : "backup");
	}
	if (s->arbiter_key == KEY_PRIMARY || s->arbiter_key == KEY_BACKUP)
		q->answer = (s->arbiter_key == KEY_PRIMARY) == primary ? REMUS_CLAIM_WON : REMUS_CLAIM_LOST;
	if (q->lost)
		q->answer = REMUS_CLAIM_UNKNOWN;
}

void arbiter_deliver(struct world *w, unsigned query)
{
	struct query *q = &w->arbiter.query[query];
	struct proc *p = &w->proc[q->proc];

	if (!p->alive || p->cookie != q->cookie)
		return;
	p->claimer.busy = false;
	p->claimer.answered = true;
	p->claimer.claim = q->answer;
	proc_run(p);
}

bool arbiter_answer(struct world *w, struct proc *p, enum remus_claim *claim)
{
	struct claimer *c = &p->claimer;

	if (!c->deadline)
		return false;
	if (c->answered) {
		c->answered = false;
		*claim = c->claim;
	} else if (w->now >= c->deadline) {
		*claim = REMUS_CLAIM_UNKNOWN;
	} else {
		return false;
	}
	c->deadline = 0;
	return true;
}
