/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual time: the queue of events (a binary heap by time, then by the order of scheduling), the loop of a run,
 * and what the library asks the machine that it runs on: its clocks, which the linker wraps (Makefile.inc) so that
 * the shipping code reads the simulated host's.
 */
#include "world.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>
#include "invariants.h"

#define SUFFIX_US 60000000u /* after the last fault the guest must be back by then */

struct world *sim_world;
int sim_clock_host;
uint64_t sim_clock_ahead;
bool sim_clock_runs;

/* ---- the wrapped clocks ---- */

int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
	uint64_t us = clock == CLOCK_REALTIME ? host_wall(sim_world, sim_clock_host)
					      : host_mono(sim_world, sim_clock_host);

	us += sim_clock_ahead;
	out->tv_sec = (time_t)(us / 1000000);
	out->tv_nsec = (long)(us % 1000000) * 1000;
	return 0;
}

/* ---- the queue ---- */

static bool before(const struct queued *a, const struct queued *b)
{
	return a->at < b->at || (a->at == b->at && a->order < b->order);
}

void world_at(struct world *w, uint64_t at, enum event_kind kind, unsigned who, uint32_t cookie)
{
	struct queued q = {at < w->now ? w->now : at, w->order++, cookie, (uint16_t)kind, (uint16_t)who};
	unsigned i = w->queued;

	if (i == QUEUE_MAX) {
		sim_fail(w, "simulator", "the event queue is full");
		return;
	}
	w->queued++;
	for (; i > 0 && before(&q, &w->queue[(i - 1) / 2]); i = (i - 1) / 2)
		w->queue[i] = w->queue[(i - 1) / 2];
	w->queue[i] = q;
}

int world_next(struct world *w, struct queued *out)
{
	if (!w->queued)
		return 0;
	*out = w->queue[0];
	struct queued last = w->queue[--w->queued];
	unsigned i = 0;

	for (;;) {
		unsigned child = 2 * i + 1;
		if (child >= w->queued)
			break;
		if (child + 1 < w->queued && before(&w->queue[child + 1], &w->queue[child]))
			child++;
		if (!before(&w->queue[child], &last))
			break;
		w->queue[i] = w->queue[child];
		i = child;
	}
	w->queue[i] = last;
	w->now = out->at;
	return 1;
}

void world_trace(struct world *w, int host, const char *who, const char *fmt, ...)
{
	va_list ap;

	if (!w->tracing)
		return;
	printf("%11.3f ms  %c  %-10s ", (double)w->now / 1000, host < 0 ? '-' : 'A' + host, who);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* ---- a run ---- */

static uint64_t between(struct rng *r, uint32_t low_ms, uint32_t high_ms)
{
	return (uint64_t)rng_range(r, low_ms, high_ms) * 1000;
}

static void draw_setting(struct world *w)
{
	struct rng r = rng_stream(w->seed, 1);
	struct setting *s = &w->setting;

	memset(s, 0, sizeof *s);
	s->primary.interval_us = between(&r, 5, 40);
	s->primary.hello_us = between(&r, 400, 2000);
	s->primary.ack_us = between(&r, 150, 1500);
	s->primary.end_us = between(&r, 150, 1500);
	s->primary.handover_us = between(&r, 150, 1500);
	s->primary.retry_us = between(&r, 50, 300);
	s->primary.sync_pages = rng_range(&r, 0, 4);
	s->primary.sync_rounds = rng_range(&r, 1, 4);
	s->primary.on_backup_loss = rng_chance(&r, 250) ? REMUS_LOSS_HOLD : REMUS_LOSS_SOLO;
	s->primary.on_overload = (enum remus_overload_policy)rng_below(&r, 3);
	s->primary.max_interval_us = rng_chance(&r, 400) ? between(&r, 8, 60) : between(&r, 200, 1000);
	s->staging_pages = rng_chance(&r, 60) ? rng_range(&r, 5, 8) : 0;
	s->backup.staging_bytes = rng_chance(&r, 60) ? rng_range(&r, 12000, 40000) : 0;
	s->backup.hello_us = between(&r, 200, 1000);
	s->backup.retry_us = between(&r, 50, 300);
	s->backup.activate_attempts = rng_range(&r, 1, 4);
	s->tick_us = rng_range(&r, 2000, 9000);
	s->packets_permille = rng_range(&r, 300, 900);
	s->egress_cap = rng_chance(&r, 150) ? rng_range(&r, 2, 12) : rng_range(&r, 64, EGRESS_ROOM);
	s->costs = rng_chance(&r, 700);
	s->early = rng_chance(&r, 300);
	if (s->early) /* that way of sending looks at no limits */
		s->staging_pages = s->backup.staging_bytes = 0;
	s->protects_again = rng_chance(&r, 300);
	s->operator_us = between(&r, 20, 400);
	w->net.latency_us = rng_range(&r, 20, rng_chance(&r, 200) ? 8000 : 400);
	w->net.jitter_us = rng_range(&r, 0, 300);
	w->arbiter.latency_us = rng_range(&r, 50, rng_chance(&r, 200) ? 60000 : 3000);
	for (int i = 0; i < 2; i++) {
		w->host[i] = (struct host){.up = true, .daemon_up = true};
		w->host[i].mono_origin = (uint64_t)rng_range(&r, 1000, 4000000) * 1000;
		w->host[i].drift_ppm = (int64_t)rng_below(&r, 401) - 200;
	}
	s->renew_wait_us = rng_chance(&r, 200) ? 0 : between(&r, 5, 500);
	struct rng clocks = rng_stream(w->seed, 7);
	clock_draw(w, &clocks);
}

static void begin(struct world *w, const struct run_options *o)
{
	w->seed = o->seed;
	w->variant = o->variant;
	w->tracing = o->tracing;
	w->now = 0;
	w->failed = w->done = w->guest_shut_down = false;
	w->hectic_until = 0;
	w->failure[0] = 0;
	w->queued = 0;
	w->order = 0;
	w->events = 0;
	w->connections = w->procs = w->copies = w->sessions = 0;
	memset(w->shown, 0, (w->nodes / 64 + 1) * sizeof w->shown[0]); /* as far as the run before came */
	w->nodes = 1;
	w->parent[0] = 0;
	memset(&w->net, 0, sizeof w->net);
	memset(&w->arbiter, 0, sizeof w->arbiter);
	memset(&w->outside, 0, sizeof w->outside);
	memset(&w->faults, 0, sizeof w->faults);
	w->net.tape_tail = &w->net.tape;
	w->outside.last_copy = -1;
	w->net_rng = rng_stream(o->seed, 2);
	w->guest_rng = rng_stream(o->seed, 3);
	w->cost_rng = rng_stream(o->seed, 4);
	w->arbiter_rng = rng_stream(o->seed, 5);
	draw_setting(w);
	w->faults.without = o->without;
	faults_plan(w);
	sim_world = w;
	sim_clock_host = 0;

	struct copy *guest = copy_create(w, 0, false);
	copy_boot(guest);
	copy_resume(guest);
	operator_protect(w, guest, 1);
	world_at(w, w->fair_from, AT_OPERATOR, 0, 0);
	if (w->setting.protects_again)
		world_at(w, w->setting.operator_us, AT_OPERATOR, 0, 0);
}

static void happen(struct world *w, const struct queued *q)
{
	switch ((enum event_kind)q->kind) {
	case AT_WAKE:
		proc_wake(w, q->who, q->cookie);
		return;
	case AT_CONTINUE:
		proc_continue(w, q->who, q->cookie);
		return;
	case AT_TICK:
		copy_tick(w, &w->copy[q->who], q->cookie);
		return;
	case AT_DELIVER:
		network_deliver(w, q->who);
		return;
	case AT_HEART:
		network_heart(w, q->who);
		return;
	case AT_EFFECT:
		arbiter_effect(w, q->who);
		return;
	case AT_ANSWER:
		arbiter_deliver(w, q->who);
		return;
	case AT_FAULT:
		faults_begin(w, q->who);
		return;
	case AT_HEAL:
		faults_end(w, q->who);
		return;
	case AT_RESPAWN:
		supervise_respawn(w, q->who, q->cookie);
		return;
	case AT_OPERATOR:
		operator_look(w);
		return;
	}
}

static void finish(struct world *w)
{
	struct totals *t = w->totals;

	for (unsigned i = 0; i < w->procs; i++)
		proc_forget(&w->proc[i]);
	network_clear(w);
	t->runs++;
	t->events += w->events;
	t->packets += w->outside.seen;
	t->generations += w->sessions;
}

bool world_run(struct world *w, const struct run_options *options)
{
	struct queued q;
	bool content = false;

	begin(w, options);
	while (!w->failed && !w->done && world_next(w, &q)) {
		w->events++;
		happen(w, &q);
		check_always(w);
		if (w->now < w->fair_from)
			continue;
		content = operator_content(w);
		if (content || w->now > w->fair_from + SUFFIX_US)
			break;
	}
	if (!w->failed)
		check_liveness(w, content);
	finish(w);
	return !w->failed;
}
