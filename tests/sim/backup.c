/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the backup's machine wants done, as replicator/backup_actions.c does it. Staging, its checks and the applying
 * of pages are the shipping staging.c and decoder.
 */
#include "process.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include "invariants.h"
#include "remus/link.h"
#include "remus/util.h"
#include "world.h"

static struct session *session_of(struct world *w, const struct remus_hello *hello)
{
	for (unsigned i = 0; i < w->sessions; i++)
		if (!memcmp(w->session[i].key.session, hello->session, REMUS_SESSION_SIZE) &&
		    w->session[i].key.generation == hello->generation)
			return &w->session[i];
	return NULL;
}

/* The shell decodes a HELLO before the machine sees it. */
void backup_hello(struct proc *p)
{
	const struct remus_frame *f = &p->frame->frame;
	struct remus_error err = REMUS_ERROR_INIT;

	if (!p->hello.generation && remus_hello_decode(f->payload, f->header.length, &p->hello, &err) < 0) {
		struct remus_event *ev = proc_raise(p, REMUS_EV_FAILED, err.message);
		ev->action = REMUS_DO_PREPARE;
		ev->code = -EBADMSG;
		return;
	}
	p->session = session_of(p->w, &p->hello);
	proc_raise(p, REMUS_EV_HELLO, NULL)->hello = &p->hello;
}

static int do_prepare(struct proc *p)
{
	struct world *w = p->w;
	struct session *s = p->session;
	const char *why = s ? daemon_admit(w, p, s) : "a session that nobody began";

	if (why) {
		world_trace(w, p->host, "daemon", "refuses: %s", why);
		return -EOPNOTSUPP;
	}
	p->admitted = true;
	if (arbiter_check(w, p->host, s) < 0)
		return -EOPNOTSUPP;
	p->copy = copy_create(w, p->host, true);
	if (!p->copy)
		return -EOPNOTSUPP;
	p->copy->session = s;
	p->copy->owner = p;
	p->clock.began_ns = host_mono(w, p->host) * 1000;
	check_prepare(p);
	s->copy[ROLE_BACKUP] = p->copy;
	staging_init(&p->staging, GUEST_PAGES, p->w->setting.backup.staging_bytes);
	proc_raise(p, REMUS_EV_STANDBY_READY, NULL);
	return 0;
}

static void do_send(struct proc *p, const struct remus_action *a)
{
	uint8_t body[REMUS_SMALL_PAYLOAD_MAX];
	struct iovec part = {.iov_base = body, .iov_len = 0};

	switch (a->frame) {
	case REMUS_FRAME_WELCOME: {
		struct remus_welcome welcome = {.features = a->value, .staging_bytes = p->staging.cap};
		remus_welcome_encode(&welcome, body);
		part.iov_len = REMUS_WELCOME_SIZE;
		break;
	}
	case REMUS_FRAME_REFUSE:
		part.iov_len = remus_refuse_encode((uint32_t)a->value, a->text, body);
		if (p->session && p->admitted)
			p->session->ceded = true;
		break;
	case REMUS_FRAME_END_ACK:
		p->session->end_arrived = true;
		break;
	case REMUS_FRAME_ACK:
		remus_put_le64(body, a->value);
		part.iov_len = 8;
		check_ack(p, a->epoch);
		break;
	default:
		break;
	}
	if (p->link)
		remus_link_send((struct remus_link *)p->link, a->frame, REMUS_FRAME_MANDATORY, a->epoch,
				&part, part.iov_len ? 1 : 0, NULL, NULL);
}

static int do_apply_sync(struct proc *p)
{
	const struct remus_frame *f = &p->frame->frame;
	int64_t n = remus_pages_check(f->payload, f->header.length, GUEST_PAGES, NULL);

	if (n >= 0)
		n = remus_pages_apply(f->payload, f->header.length, GUEST_PAGES, staging_locate,
				      &p->copy->standby, NULL);
	return n < 0 ? (int)n : 0;
}

/* The mistake of acknowledging what has begun to arrive. */
static void ack_early(struct proc *p, uint64_t epoch)
{
	struct session *s = p->session;
	struct proc *primary = s->copy[ROLE_PRIMARY]->owner;

	if (!primary || p->frame->frame.header.type != REMUS_FRAME_STATE)
		return;
	struct remus_action ack = {
		.type = REMUS_DO_SEND,
		.frame = REMUS_FRAME_ACK,
		.epoch = epoch,
		.value = primary->primary.digest,
	};
	do_send(p, &ack);
}

/* The mistake of taking the clock as it comes, and not with its epoch. */
static void take_clock(struct proc *p)
{
	const struct remus_frame *f = &p->frame->frame;
	struct remus_section s;
	size_t at = 0;

	while (f->header.type == REMUS_FRAME_STATE &&
	       remus_section_next(f->payload, f->header.length, &at, &s, NULL) > 0)
		if (s.kind == REMUS_SECTION_CLOCK)
			remus_clock_facts_decode(s.body, s.length, &p->clock.facts, NULL);
}

static int do_stage(struct proc *p, uint64_t epoch)
{
	if (p->w->variant == CLOCK_TORN)
		take_clock(p);
	int rc = staging_add(&p->staging, epoch, &p->frame->frame, NULL);

	if (rc == 0 && p->w->variant == ACK_INCOMPLETE && epoch > 1)
		ack_early(p, epoch);
	return rc;
}

static void do_verify(struct proc *p, uint64_t epoch)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_commit commit;
	const struct remus_frame *f = &p->frame->frame;
	int rc = remus_commit_decode(f->payload, f->header.length, &commit, &err);

	if (rc == 0)
		rc = staging_verify(&p->staging, epoch, &commit, &err);
	if (rc == 0)
		clock_verified(p);
	struct remus_event *ev =
		proc_raise(p, rc == 0 ? REMUS_EV_EPOCH_VERIFIED : REMUS_EV_EPOCH_BAD, err.message);
	ev->epoch = epoch;
	if (rc == 0)
		ev->digest = commit.digest;
}

static int do_apply(struct proc *p, uint64_t epoch)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_clock_facts clock = p->staging.clock;
	int rc = staging_apply(&p->staging, &p->copy->standby, &err);

	if (rc < 0)
		return rc;
	remus_clock_applied(&p->clock, &clock);
	clock_link(p);
	check_image(p, epoch);
	return 0;
}

static int do_activate(struct proc *p, uint64_t epoch)
{
	struct copy *c = p->copy;

	if (!c || !c->exists)
		return -ESRCH;
	check_activate(p, epoch);
	c->waiting = false;
	c->captured = 0;
	clock_activate(p, epoch);
	proc_raise(p, REMUS_EV_ACTIVATED, NULL)->wait_us = p->w->setting.renew_wait_us;
	p->shut_until = host_mono(p->w, p->host) + p->w->setting.renew_wait_us;
	return 0;
}

/* Of four guests one has no agent, and one's never answers. */
static void do_renew(struct proc *p)
{
	struct rng r = rng_stream(p->w->seed, 1000 + (unsigned)p->id);

	if (rng_chance(&r, 250)) {
		proc_raise(p, REMUS_EV_RENEWED, "no agent");
		p->shut_until = 0;
	} else if (rng_chance(&r, 667)) {
		p->renewed_at = p->w->now + rng_range(&r, 1000, 700000);
		world_at(p->w, p->renewed_at, AT_WAKE, (unsigned)p->id, 0);
	}
}

static void do_abort(struct proc *p)
{
	if (p->w->variant == TORN_APPLIED)
		for (size_t i = 0; i < p->staging.frames; i++)
			remus_pages_apply(p->staging.frame[i].payload, p->staging.frame[i].header.length,
					  GUEST_PAGES, staging_locate, &p->copy->standby, NULL);
	staging_clear(&p->staging);
}

static void do_drop(struct proc *p)
{
	staging_clear(&p->staging);
	if (!p->copy)
		return;
	check_drop(p);
	copy_end(p->copy, COPY_DROPPED);
	p->copy->owner = NULL;
	p->copy = NULL;
}

int backup_action(struct proc *p, const struct remus_action *a)
{
	switch (a->type) {
	case REMUS_DO_SEND:
		do_send(p, a);
		return 0;
	case REMUS_DO_PREPARE:
		return do_prepare(p);
	case REMUS_DO_APPLY_SYNC:
		return do_apply_sync(p);
	case REMUS_DO_STAGE:
		return do_stage(p, a->epoch);
	case REMUS_DO_VERIFY:
		do_verify(p, a->epoch);
		return 0;
	case REMUS_DO_APPLY:
		return do_apply(p, a->epoch);
	case REMUS_DO_STIR:
		return 0;
	case REMUS_DO_ACTIVATE:
		return do_activate(p, a->epoch);
	case REMUS_DO_RENEW:
		do_renew(p);
		return 0;
	case REMUS_DO_PASS:
		check_pass(p);
		return egress_pass(p->copy);
	case REMUS_DO_ANNOUNCE:
		return 0;
	case REMUS_DO_ABORT_EPOCH:
		do_abort(p);
		return 0;
	case REMUS_DO_DROP:
		do_drop(p);
		return 0;
	default:
		sim_fail(p->w, "simulator", "%s is not an action of a backup", remus_action_name(a->type));
		return -ENOSYS;
	}
}

void backup_forget(struct proc *p)
{
	if (p->role != ROLE_BACKUP)
		return;
	staging_clear(&p->staging);
	remus_hello_clear(&p->hello);
}

/* What the receiver does when its session is over (tools/remusd/receiver.c). */
void backup_over_with(struct proc *p)
{
	struct copy *c = p->copy;

	p->relay = true;
	if (p->link)
		endpoint_close(p->link);
	p->link = NULL;
	if (p->backup.state != REMUS_B_ACTIVE || !c || !c->exists) {
		p->alive = false;
		if (c && c->exists) { /* remus_backup_run() drops what is not active */
			check_drop(p);
			copy_end(c, COPY_DROPPED);
		}
		return;
	}
	c->was_active = c->in_relay = true;
	if (c->egress.state == EGRESS_CLOSED)
		egress_pass(c);
	if (p->quit) {
		p->alive = false;
		c->owner = NULL;
		egress_close(c);
		supervise_killed(p);
	}
}
