/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See clock.h. What the right time is comes from the shipping offset filter, facts and truth; here is the glue that
 * replicator/backup_clock.c is in production, and what it must come to, from what only the simulator knows.
 */
#include "clock.h"

#include <stdlib.h>
#include <sys/timex.h>
#include "invariants.h"
#include "world.h"

#define EPOCH_US INT64_C(1700000000000000) /* UTC at world time 0 */
#define SYNC_US	 30000			   /* a synchronised clock begins within */
#define SYNC_NS	 UINT64_C(50000000)	   /* ... and never leaves, 200 ppm of a run included */
#define ROUND_NS 4000			   /* the simulated clocks have whole microseconds */

/* ---- hosts ---- */

int __wrap_adjtimex(struct timex *t);

int __wrap_adjtimex(struct timex *t)
{
	bool synchronised = sim_world->host[sim_clock_host].synchronised;

	t->status = synchronised ? 0 : STA_UNSYNC;
	t->maxerror = (long)(SYNC_NS / 1000);
	return synchronised ? TIME_OK : TIME_ERROR;
}

static int64_t utc_us(const struct world *w)
{
	return EPOCH_US + (int64_t)w->now;
}

static void set_wall(struct world *w, int host, int64_t wall_us)
{
	w->host[host].wall_offset = wall_us - (int64_t)host_mono(w, host);
}

void clock_draw(struct world *w, struct rng *r)
{
	w->setting.loses_pauses = rng_chance(r, 500);
	for (int i = 0; i < 2; i++) {
		bool synchronised = rng_chance(r, 600);
		int64_t off = (int64_t)rng_below(r, 10000000) - 5000000;
		w->host[i].synchronised = synchronised;
		set_wall(w, i, utc_us(w) + (synchronised ? off % SYNC_US : off));
	}
}

/* By somebody's hand, who is then known to be wrong, or by an NTP client that has found its servers. */
void clock_step(struct world *w, int host, uint32_t detail)
{
	int64_t off = (int64_t)(detail % 20000000) - 10000000;
	struct host *h = &w->host[host];

	h->synchronised = !h->synchronised && detail % 3 == 0;
	if (h->synchronised)
		set_wall(w, host, utc_us(w) + off % SYNC_US);
	else
		h->wall_offset += off;
}

/* ---- the guest ---- */

static int64_t machine_clock(const struct copy *c)
{
	return (int64_t)host_wall(c->w, c->host) + c->time_offset_s * 1000000;
}

static int64_t guest_clock(const struct copy *c)
{
	int64_t ran = c->running ? (int64_t)(host_mono(c->w, c->host) - c->clock_at) : 0;

	return c->device.time.wall_us + ran;
}

void clock_pause(struct copy *c)
{
	c->device.time.wall_us = guest_clock(c);
	c->device.time.machine_us = machine_clock(c);
}

void clock_resume(struct copy *c)
{
	int64_t slept = machine_clock(c) - c->device.time.machine_us;

	c->clock_at = host_mono(c->w, c->host);
	if (!c->w->setting.loses_pauses && slept > 0 && c->device.time.wall_us)
		c->device.time.wall_us += slept;
	if (!c->device.time.wall_us) /* it boots */
		c->device.time.wall_us = machine_clock(c);
}

void clock_tick(struct copy *c)
{
	int64_t now = guest_clock(c);

	if (now < c->device.time.seen_us)
		sim_fail(c->w, "I12", "the guest on host %c sees its wall clock go back by %lld us",
			 'A' + c->host, (long long)(c->device.time.seen_us - now));
	c->device.time.seen_us = now;
}

/* ---- the backup's shell ---- */

void clock_verified(struct proc *p)
{
	struct remus_clock_reading now;

	remus_clock_read(&now);
	remus_clock_verified(&p->clock, now.raw_ns);
}

void clock_link(struct proc *p)
{
	if (!p->link)
		return;
	p->clock.offset = p->link->offset;
	p->clock.anchor_ns = p->link->anchor_us * 1000;
}

/* Is @ns within @bound of what it should be? */
static void within(struct proc *p, const char *what, int64_t ns, int64_t right_ns, uint64_t bound)
{
	int64_t off = ns - right_ns;

	if ((uint64_t)llabs(off) > bound + ROUND_NS)
		sim_fail(p->w, "I12", "%s is off by %lld us, and was said to be by at most %llu us", what,
			 (long long)(off / 1000), (unsigned long long)(bound / 1000));
}

static void check_truth(struct proc *p, uint64_t epoch, const struct remus_truth *t)
{
	struct world *w = p->w;
	const struct remus_clock_facts *f = &p->clock.facts;
	uint64_t passed = (w->now - p->session->taken[epoch & 1].at) * 1000u;
	bool here = f->complete && w->host[p->host].synchronised && !f->sync.synchronised;

	if (f->realtime_ns != p->session->taken[epoch & 1].wall_us * 1000)
		sim_fail(w, "I12", "epoch %llu is activated with the clock of another",
			 (unsigned long long)epoch);
	if ((t->source == REMUS_TIME_HERE) != here)
		sim_fail(w, "I12", "the clock of the wrong host is taken for the right one");
	if (t->realtime_ns < t->floor_ns)
		sim_fail(w, "I12", "the right time lies below its floor");
	if ((f->sync.synchronised || w->host[p->host].synchronised) && t->utc_error_ns == UINT64_MAX)
		sim_fail(w, "I12", "a host knows UTC, and the guest isn't given it");
	within(p, "the right time", t->realtime_ns,
	       here ? (int64_t)host_wall(w, p->host) * 1000 : f->realtime_ns + (int64_t)passed, t->error_ns);
	within(p, "the gap", (int64_t)t->gap_ns, (int64_t)passed, t->gap_error_ns);
	if (t->utc_error_ns != UINT64_MAX)
		within(p, "the right time as UTC", t->realtime_ns, utc_us(w) * 1000, t->utc_error_ns);
	w->totals->clock_error_us += t->gap_error_ns / 1000;
}

/* What the guest's clock shows is the right time, unless it was ahead of that when it was paused: then it still is. */
static void check_guest(struct proc *p, const struct remus_truth *t, int64_t ahead_ns)
{
	int64_t off = guest_clock(p->copy) * 1000 - t->realtime_ns;

	if (off < -ROUND_NS)
		sim_fail(p->w, "I12", "the guest's clock is %lld us late", (long long)(-off / 1000));
	if (off > (ahead_ns > 0 ? ahead_ns : 0) + (int64_t)t->gap_error_ns + ROUND_NS)
		sim_fail(p->w, "I12", "the guest's clock is set ahead, by %lld us, not %lld",
			 (long long)(off / 1000), (long long)(ahead_ns / 1000));
}

void clock_activate(struct proc *p, uint64_t epoch)
{
	struct copy *c = p->copy;
	struct world *w = p->w;
	struct remus_clock_reading now;
	struct remus_truth t;
	int64_t lag_us = (int64_t)p->session->taken[epoch & 1].stood_us;

	clock_link(p);
	remus_clock_sync(&p->clock.here);
	remus_clock_read(&now);
	remus_clock_truth(&p->clock, &now, &t);
	check_truth(p, epoch, &t);
	int64_t ahead = (c->device.time.wall_us + lag_us) * 1000 + (int64_t)t.gap_ns - t.realtime_ns;

	c->time_offset_s = remus_clock_coarse(&t, &p->clock.facts.guest, now.realtime_ns);
	copy_resume(c);
	int64_t right_us = (w->variant == OWN_CLOCK ? now.realtime_ns : t.realtime_ns) / 1000;
	if (right_us > guest_clock(c) || w->variant == OWN_CLOCK || w->variant == CLOCK_SET_BACK)
		c->device.time.wall_us += right_us - guest_clock(c); /* the agent */
	check_guest(p, &t, ahead);
}
