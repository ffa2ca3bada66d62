/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the primary's machine wants done, as replicator/primary_actions.c does it. Capturing, pending pages, base
 * cache and encoding are the shipping capture.c and encoder; their only world is the simulated copy and link.
 */
#include "process.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include "invariants.h"
#include "remus/link.h"
#include "remus/util.h"
#include "world.h"

/* Captures are costly to make (the encoder's tables), so they are kept over runs. */
static struct capture *shelf[PROCS_MAX];
static unsigned shelved;

static struct capture *capture_fetch(struct copy *copy)
{
	static struct remus_guest guest[PROCS_MAX];
	static unsigned guests;
	struct capture *c = NULL;

	if (shelved) {
		c = shelf[--shelved];
	} else {
		struct remus_guest *g = &guest[guests++];
		g->domain = &copy->domain;
		if (capture_create(g, 1 << 20, 0, &c, NULL) < 0)
			abort();
	}
	c->guest->domain = &copy->domain;
	c->domain = &copy->domain;
	c->cap = copy->w->setting.staging_pages * REMUS_PAGE_SIZE;
	c->pending[0] = 0;
	c->count = 0;
	c->epoch = 0;
	c->cursor = 0;
	c->state_bytes = 0;
	remus_encoder_abort(c->encoder, 0);
	return c;
}

void primary_forget(struct proc *p)
{
	early_clear(p);
	if (p->capture)
		shelf[shelved++] = p->capture;
	p->capture = NULL;
}

void primary_start(struct proc *p, bool recover)
{
	struct remus_event ev = {
		.type = recover ? REMUS_EV_RECOVER : REMUS_EV_START,
		.text = recover ? "the engine died" : NULL,
	};

	p->copy->owner = p;
	p->copy->in_relay = false;
	if (!recover)
		p->capture = capture_fetch(p->copy);
	p->sent_epoch = 0;
	p->brake_until = 0;
	proc_feed(p, &ev);
}

static int send_hello(struct proc *p)
{
	REMUS_AUTO_FREE uint8_t *payload = NULL;
	size_t length;
	struct remus_hello hello = {
		.generation = p->session->key.generation,
		.features_offered = REMUS_FEATURES_KNOWN,
		.features_required = REMUS_FEATURE_DELTA | REMUS_FEATURE_LZ4,
		.guest_pages = GUEST_PAGES,
		.interval_ms = (uint32_t)(p->primary.config.interval_us / 1000),
		.heartbeat_ms = HEARTBEAT_US / 1000,
		.dead_ms = DEAD_US / 1000,
		.backend = (char *)"fake",
		.domain = (char *)"guest",
		.arbiter = (char *)"file:/arbiter",
		.egress = (char *)"",
		.description = (char *)"{}",
	};

	memcpy(hello.session, p->session->key.session, sizeof hello.session);
	int rc = remus_hello_encode(&hello, &payload, &length, NULL);
	if (rc < 0)
		return rc;
	struct iovec part = {.iov_base = payload, .iov_len = length};
	return remus_link_send((struct remus_link *)p->link, REMUS_FRAME_HELLO, REMUS_FRAME_MANDATORY, 0,
			       &part, 1, NULL, NULL);
}

static int do_send(struct proc *p, const struct remus_action *a)
{
	uint8_t body[REMUS_SMALL_PAYLOAD_MAX];
	struct iovec part = {.iov_base = body, .iov_len = 0};

	if (!p->link)
		return 0;
	if (a->frame == REMUS_FRAME_HELLO)
		return send_hello(p);
	if (a->frame == REMUS_FRAME_END) {
		remus_put_le32(body, (uint32_t)a->value);
		part.iov_len = 4;
	} else if (a->frame == REMUS_FRAME_REFUSE) {
		part.iov_len = remus_refuse_encode((uint32_t)a->value, a->text, body);
	} else if (a->frame == REMUS_FRAME_ENTROPY) {
		memset(body, 0x5a, REMUS_ENTROPY_PAYLOAD_MAX);
		part.iov_len = REMUS_ENTROPY_PAYLOAD_MAX;
	}
	remus_link_send((struct remus_link *)p->link, a->frame, REMUS_FRAME_MANDATORY, a->epoch, &part,
			part.iov_len ? 1 : 0, NULL, NULL);
	return 0;
}

static int do_connect(struct proc *p)
{
	p->link = network_connect(p->w, p, !p->host);
	if (!p->link)
		return -ECONNREFUSED;
	if (p->capture)
		p->capture->clock_anchor_ns = p->link->anchor_us * 1000;
	proc_raise(p, REMUS_EV_LINK_UP, NULL);
	return 0;
}

static int do_capture(struct proc *p, uint64_t epoch)
{
	struct copy *c = p->copy;
	struct remus_error err = REMUS_ERROR_INIT;

	if (p->w->variant == DIRTY_AFTER_RESUME)
		c->dirty &= c->dirty - 1; /* a page whose bit was cleared and whose content wasn't copied */
	int rc = capture_take(p->capture, epoch, &err);
	if (rc < 0)
		return rc;
	check_capture(p, epoch);
	c->captured = epoch;
	return p->w->setting.early ? early_encode(p) : 0;
}

static void do_abort(struct proc *p, uint64_t epoch)
{
	struct capture *c = p->capture;

	early_clear(p);
	if (p->copy->captured == epoch)
		p->copy->captured = epoch - 1;
	if (p->w->variant == BASE_KEPT) {
		for (size_t i = 0; i < c->count; i++)
			c->pending[0] |= UINT64_C(1) << c->pfn[i];
		c->count = 0;
		c->epoch = 0;
		return;
	}
	if (p->w->variant == PAGES_FORGOTTEN)
		c->count = 0;
	capture_abort(c, epoch);
}

/* On the way: the guest that stands still while its epoch is sent is let go. */
void primary_let_go_on(struct proc *p)
{
	p->brake_until = 0;
	if (faults_action(p->w, ROLE_PRIMARY, REMUS_DO_RESUME)) {
		p->session->injected[ROLE_PRIMARY] = true;
		return; /* the machine is told that it stands yet */
	}
	copy_resume(p->copy);
	p->resumed_us = host_mono(p->w, p->host);
	for (unsigned i = 0; i < p->raisings; i++)
		if (p->raised[i].event.type == REMUS_EV_SENT)
			p->raised[i].event.resumed_us = p->resumed_us;
}

/* If that time comes before the epoch is sent. */
static void brake(struct proc *p, uint64_t until_mono)
{
	struct world *w = p->w;
	uint64_t until = host_when(w, p->host, until_mono);

	w->totals->braked++;
	if (until >= p->busy_until)
		return;
	p->brake_until = until; /* proc_continue() */
	world_at(w, until, AT_CONTINUE, (unsigned)p->id, 0);
}

static int send_captured(struct proc *p, const struct remus_action *a, uint64_t *digest)
{
	const struct capture_limits limits = {.deadline_us = a->at_us, .bytes = p->primary.staging_bytes};
	struct remus_error err = REMUS_ERROR_INIT;
	uint64_t bytes = 0;

	if (!p->link)
		return -EPIPE;
	if (p->early)
		return early_send(p, digest);
	sim_clock_runs = true;
	int rc = capture_send(p->capture, (struct remus_link *)p->link, &limits, digest, &bytes, &err);
	p->w->totals->too_large += rc == REMUS_EPOCH_LATE || rc == REMUS_EPOCH_LARGE;
	sim_clock_runs = false;
	sim_clock_ahead = 0;
	return rc;
}

static int do_send_epoch(struct proc *p, const struct remus_action *a)
{
	uint64_t epoch = a->epoch;
	uint64_t digest = 0;

	if (epoch == 1 && p->link)
		p->copy->armed = true;
	if (!p->copy->running && !a->value)
		p->resumed_us = host_mono(p->w, p->host); /* a hand-over doesn't resume */
	int rc = send_captured(p, a, &digest);
	if (rc != REMUS_EPOCH_LATE && rc != REMUS_EPOCH_LARGE)
		p->session->commit_left = true;
	if (p->link && p->link->sending_until > p->w->now) { /* send() returns when the kernel has it all */
		p->busy_until = p->link->sending_until;
		world_at(p->w, p->busy_until, AT_CONTINUE, (unsigned)p->id, 0);
	}
	if (rc < 0)
		return rc;
	p->sent_epoch = epoch;
	p->w->totals->epochs++;
	struct remus_event *ev = proc_raise(p, REMUS_EV_SENT, NULL);
	ev->epoch = epoch;
	ev->digest = digest;
	ev->resumed_us = a->value ? 0 : p->resumed_us;
	if (a->value)
		brake(p, a->value);
	if (p->w->variant == RELEASE_AT_SEND)
		egress_release(p->copy, epoch);
	if (p->w->variant == SECOND_SEAL && epoch > 1)
		egress_seal(p->copy, epoch + 1);
	return 0;
}

static int begin_round(struct proc *p, uint64_t round)
{
	p->round = (unsigned)round;
	p->syncing = true;
	p->idle = p->w->setting.costs ? rng_below(&p->w->cost_rng, 5) : 0;
	return capture_round_begin(p->capture, p->round, NULL);
}

static void take_time(struct proc *p)
{
	p->busy_until = p->w->now + (p->w->setting.costs ? rng_range(&p->w->cost_rng, 100, 6000) : 10);
	world_at(p->w, p->busy_until, AT_CONTINUE, (unsigned)p->id, 0);
}

void primary_sync_piece(struct proc *p)
{
	struct remus_error err = REMUS_ERROR_INIT;
	uint64_t sent = 0, dirty = 0;

	take_time(p);
	if (p->idle) {
		p->idle--;
		return;
	}
	sim_clock_host = p->host;
	int rc = capture_round_step(p->capture, (struct remus_link *)p->link, &sent, &dirty, &err);
	if (rc > 0)
		return;
	p->syncing = false;
	if (rc == -EPIPE)
		return; /* LINK_LOST is on its way */
	struct remus_event *ev =
		proc_raise(p, rc < 0 ? REMUS_EV_FAILED : REMUS_EV_ROUND_DONE, rc < 0 ? err.message : NULL);
	ev->pages = dirty;
	ev->round = p->round;
	ev->action = REMUS_DO_SYNC_ROUND;
	ev->code = rc;
}

static int do_destroy(struct proc *p)
{
	check_destroy(p);
	copy_end(p->copy, COPY_DESTROYED);
	return 0;
}

static int do_pass(struct proc *p)
{
	check_pass(p);
	return egress_pass(p->copy);
}

int primary_action(struct proc *p, const struct remus_action *a)
{
	struct copy *c = p->copy;

	switch (a->type) {
	case REMUS_DO_SEND:
		return do_send(p, a);
	case REMUS_DO_CONNECT:
		return do_connect(p);
	case REMUS_DO_TRACK_START:
		c->tracking = true;
		c->dirty = 0;
		return 0;
	case REMUS_DO_TRACK_STOP:
		c->tracking = false;
		return 0;
	case REMUS_DO_SYNC_ROUND:
		return begin_round(p, a->value);
	case REMUS_DO_PAUSE:
		copy_pause(c);
		return 0;
	case REMUS_DO_CAPTURE:
		return do_capture(p, a->epoch);
	case REMUS_DO_HOLD:
		return egress_hold(c);
	case REMUS_DO_SEAL:
		return egress_seal(c, a->epoch);
	case REMUS_DO_RESUME:
		if (p->w->variant == LEFT_PAUSED && !p->link)
			return 0;
		if (p->w->variant == BRAKE_KEPT && p->sent_epoch == p->primary.epoch)
			return 0;
		copy_resume(c);
		p->resumed_us = host_mono(p->w, p->host);
		return 0;
	case REMUS_DO_SEND_EPOCH:
		return do_send_epoch(p, a);
	case REMUS_DO_RELEASE:
		return egress_release(c, a->epoch);
	case REMUS_DO_PASS:
		return do_pass(p);
	case REMUS_DO_DISCARD:
		return egress_discard(c);
	case REMUS_DO_DESTROY:
		return do_destroy(p);
	case REMUS_DO_RETIRE:
		return arbiter_retire(p->w, p->host, p->session);
	case REMUS_DO_ABORT_EPOCH:
		do_abort(p, a->epoch);
		return 0;
	default:
		sim_fail(p->w, "simulator", "%s is not an action of a primary", remus_action_name(a->type));
		return -ENOSYS;
	}
}

/* What the engine does when its session is over (tools/remusd/engine.c): relay as long as the guest is here. */
void primary_over_with(struct proc *p)
{
	struct copy *c = p->copy;

	c->armed = false;
	p->relay = true;
	if (p->link)
		endpoint_close(p->link);
	p->link = NULL;
	c->tracking = false;
	if (p->primary.guest_gone || !c->exists) {
		p->alive = false;
		if (c->owner == p)
			c->owner = NULL;
		egress_close(c);
		return;
	}
	c->in_relay = true;
	if (c->egress.state == EGRESS_CLOSED)
		egress_pass(c);
	if (p->quit) { /* the daemon that comes next takes its network up */
		p->alive = false;
		c->owner = NULL;
		egress_close(c);
		supervise_killed(p);
	}
}
