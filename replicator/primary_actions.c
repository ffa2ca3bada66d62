/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the primary's machine wants done, one function per kind of action, and the figures that come of it. Nothing
 * here decides: a failure goes back to the machine as an event.
 */
#include "agent.h"
#include "primary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "remus/bitmap.h"
#include "remus/fault.h"
#include "remus/util.h"

#define STATUS_PERIOD_US 500000u /* asking a kernel buffer for its counters isn't free */

/* ---- status ---- */

/* The buffer's counters. What it has taken since it began to hold has waited for an ack, or does. */
static void look_at_egress(struct primary *p)
{
	remus_guest_egress_stats(p->guest, &p->status.egress);
	if (remus_guest_holds(p->guest))
		p->status.held_total = p->status.egress.accepted_packets - p->passed;
}

void primary_publish(struct primary *p)
{
	struct remus_status *s = &p->status;
	struct remus_encoder_stats encoder;
	uint64_t now = remus_now_us();
	uint64_t epochs = p->own.count, known = p->pause.count;

	s->role = "primary";
	s->state = remus_primary_word(&p->machine);
	s->protected_now = remus_primary_protected(&p->machine);
	s->guest_pages = p->memory_pages ? p->memory_pages : p->capture->guest_pages;
	s->guest_pid = p->guest->domain->ops->pid(p->guest->domain);
	s->epochs_committed = p->machine.committed;
	s->epochs_aborted = p->machine.aborted;
	shell_samples_quantiles(&p->pause, &s->pause);
	shell_samples_quantiles(&p->own, &s->own);
	shell_samples_quantiles(&p->commit, &s->commit);
	if (epochs) {
		s->parts.stop = known ? p->sums.stop / known : 0;
		s->parts.save = p->sums.save / epochs;
		s->parts.scan = p->sums.scan / epochs;
		s->parts.copy = p->sums.copy / epochs;
		s->parts.resume = p->sums.resume / epochs;
		s->dirty_mean = (double)p->pages_sum / (double)epochs;
	}
	s->pause_share = shell_share_percent(&p->paused, now);
	s->clock.policy = p->config->clock_policy;
	shell_clock_look(&p->clock, p->link, &s->clock, &(struct shell_voice){p->up->context, p->up->event});
	s->lag_us = p->committed_us ? now - p->committed_us : 0;
	s->egress_state = p->guest->egress_state;
	look_at_egress(p);
	remus_encoder_stats(p->capture->encoder, &encoder);
	s->cache_bytes = encoder.cache_bytes;
	s->cache_cap = encoder.cache_cap;
	s->staging_bytes = capture_memory(p->capture);
	s->on_overload = remus_overload_word(p->machine.config.on_overload);
	s->max_interval_us = p->machine.config.max_interval_us;
	s->turn_us = p->machine.turn_us;
	s->overloaded = p->machine.overloaded && s->protected_now;
	s->throttle = s->protected_now ? p->machine.throttle : 0;
	if (p->link) {
		remus_link_stats(p->link, &s->link);
		snprintf(s->peer, sizeof s->peer, "%s", remus_link_peer(p->link));
		snprintf(s->link_security, sizeof s->link_security, "%s", remus_link_security(p->link));
	}
	shell_agent_status(p->guest->agent, &s->agent);
	p->up->status(p->up->context, s);
	p->next_status_us = now + STATUS_PERIOD_US;
}

/* ---- actions ---- */

static int do_connect(struct primary *p, struct remus_error *err)
{
	struct remus_link_config setup = p->config->link;

	setup.dead_ms = remus_link_setup_dead_ms(setup.dead_ms);
	int rc = REMUS_FAULT(primary_connect, err);
	if (rc == 0)
		rc = remus_link_connect(p->config->host, p->config->port, &setup, &p->link, err);
	if (rc < 0)
		return rc;
	p->capture->clock_anchor_ns = remus_link_clock(p->link, NULL);
	p->capture->clock_policy = p->config->clock_policy;
	shell_raise(&p->feed, REMUS_EV_LINK_UP, NULL);
	return 0;
}

static int send_hello(struct primary *p, struct remus_error *err)
{
	const struct remus_protect_config *c = p->config;
	REMUS_AUTO_FREE char *description = NULL;
	REMUS_AUTO_FREE uint8_t *payload = NULL;
	size_t length;
	int rc = REMUS_FAULT(primary_hello, err);

	if (rc == 0)
		rc = p->guest->domain->ops->describe(p->guest->domain, &description, err);
	if (rc < 0)
		return rc;
	struct remus_hello hello = {
		.generation = c->key.generation,
		.features_offered = REMUS_FEATURES_KNOWN,
		.features_required = REMUS_FEATURE_DELTA | REMUS_FEATURE_LZ4,
		.guest_pages = p->capture->guest_pages,
		.interval_ms = (uint32_t)(c->machine.interval_us / 1000),
		.heartbeat_ms = c->link.heartbeat_ms,
		.dead_ms = c->link.dead_ms,
		.backend = (char *)p->guest->domain->ops->backend,
		.domain = (char *)c->name,
		.arbiter = (char *)c->arbiter_uri,
		.egress = (char *)(c->standby_egress ? c->standby_egress : ""),
		.description = description,
	};
	memcpy(hello.session, c->key.session, sizeof hello.session);
	rc = remus_hello_encode(&hello, &payload, &length, err);
	if (rc < 0)
		return rc;
	struct iovec part = {.iov_base = payload, .iov_len = length};
	return remus_link_send(p->link, REMUS_FRAME_HELLO, REMUS_FRAME_MANDATORY, 0, &part, 1, NULL, err);
}

/* 64 bytes that nobody else has. A host without any has nothing to say. */
static void send_entropy(struct primary *p)
{
	uint8_t material[REMUS_ENTROPY_PAYLOAD_MAX];
	struct iovec part = {.iov_base = material, .iov_len = sizeof material};

	if (getrandom(material, sizeof material, GRND_NONBLOCK) != (ssize_t)sizeof material)
		return;
	remus_link_send(p->link, REMUS_FRAME_ENTROPY, 0, 0, &part, 1, NULL, NULL);
	explicit_bzero(material, sizeof material);
}

/* The frames whose loss leaves the two sides with different ideas. */
static int fault_before(uint16_t frame, struct remus_error *err)
{
	switch (frame) {
	case REMUS_FRAME_HANDOVER:
		return REMUS_FAULT(primary_handover, err);
	case REMUS_FRAME_DOMAIN_LOST:
		return REMUS_FAULT(primary_domain_lost, err);
	case REMUS_FRAME_END:
		return REMUS_FAULT(primary_end, err);
	default:
		return 0;
	}
}

static int do_send(struct primary *p, const struct remus_action *a, struct remus_error *err)
{
	struct remus_error why = REMUS_ERROR_INIT;
	uint8_t body[REMUS_SMALL_PAYLOAD_MAX];
	struct iovec part = {.iov_base = body, .iov_len = 0};

	if (!p->link)
		return 0;
	if (fault_before(a->frame, &why) < 0) {
		shell_raise(&p->feed, REMUS_EV_LINK_LOST, why.message);
		return 0;
	}
	switch (a->frame) {
	case REMUS_FRAME_HELLO:
		return send_hello(p, err); /* a description that can't be made is a failure of its own */
	case REMUS_FRAME_END:
		remus_put_le32(body, (uint32_t)a->value);
		part.iov_len = 4;
		break;
	case REMUS_FRAME_REFUSE:
		part.iov_len = remus_refuse_encode((uint32_t)a->value, a->text, body);
		break;
	case REMUS_FRAME_ENTROPY:
		send_entropy(p);
		return 0;
	default:
		break;
	}
	remus_link_send(p->link, a->frame, REMUS_FRAME_MANDATORY, a->epoch, &part, part.iov_len ? 1 : 0, NULL,
			NULL);
	return 0; /* a link that can't send is lost; LINK_LOST follows */
}

static int do_pause(struct primary *p, struct remus_error *err)
{
	struct remus_domain *d = p->guest->domain;

	p->pause_begin_us = remus_now_us();
	int rc = REMUS_FAULT(primary_pause, err);
	if (rc == 0)
		rc = d->ops->pause(d, err);
	p->stopped_us = remus_now_us();
	p->pause_reckoned = false;
	uint64_t began = rc == 0 && d->ops->pause_began ? d->ops->pause_began(d, &p->pause_reckoned) : 0;
	if (began > p->resumed_us) /* asked ahead, it stopped earlier; or it ran on until it was ready */
		p->pause_begin_us = began;
	p->capture->parts.stop = p->stopped_us - p->pause_begin_us;
	shell_trace_epoch(&p->trace, "pause", 0);
	return rc < 0 ? rc : REMUS_FAULT(primary_paused, err);
}

static int do_resume(struct primary *p, struct remus_error *err)
{
	struct remus_domain *d = p->guest->domain;
	uint64_t t = remus_now_us();

	shell_trace_epoch(&p->trace, "resume", 0);
	int rc = REMUS_FAULT(primary_resume, err);
	if (rc == 0)
		rc = d->ops->resume(d, err);

	p->resumed_us = remus_now_us();
	uint64_t went_on = rc == 0 && d->ops->went_on ? d->ops->went_on(d) : 0;
	if (went_on > t) /* else it ran already */
		p->resumed_us = went_on;
	if (p->resumed_us > p->pause_begin_us)
		shell_share_add(&p->paused, p->pause_begin_us, p->resumed_us);
	p->capture->parts.resume = p->resumed_us - t;
	return rc < 0 ? rc : REMUS_FAULT(primary_resumed, err);
}

/* The staged epoch's figures: they count once it is on its way. */
static void count_epoch(struct primary *p)
{
	const struct remus_pause_parts *parts = &p->capture->parts;

	if (!p->pause_reckoned) {
		shell_samples_add(&p->pause, p->resumed_us - p->pause_begin_us);
		p->sums.stop += parts->stop;
	}
	shell_samples_add(&p->own, p->resumed_us - p->stopped_us);
	p->sums.save += parts->save;
	p->sums.scan += parts->scan;
	p->sums.copy += parts->copy;
	p->sums.resume += parts->resume;
	p->pages_sum += p->capture->changed;
	p->status.dirty_last = p->capture->changed;
	p->status.raw_bytes += p->capture->changed * REMUS_PAGE_SIZE + p->capture->state_bytes;
}

/* Between two frames of an epoch whose guest stands still meanwhile. */
static void between_frames(void *context)
{
	struct primary *p = context;

	if (p->resume_at_us && remus_now_us() >= p->resume_at_us && do_resume(p, NULL) == 0)
		p->resume_at_us = 0; /* else once more, and at the end the machine sees to it */
}

static int send_captured(struct primary *p, const struct remus_action *a, uint64_t *digest,
			 struct remus_error *err)
{
	const struct capture_limits limits = {
		.deadline_us = a->at_us,
		.bytes = p->machine.staging_bytes,
		.between = between_frames,
		.context = p,
	};

	if (!p->link)
		return remus_fail(err, -EPIPE, "the link is gone");
	int rc = a->epoch == 1 ? p->up->armed(p->up->context, err) : 0;

	if (rc == 0)
		rc = REMUS_FAULT(primary_send, err);
	return rc < 0 ? rc : capture_send(p->capture, p->link, &limits, digest, &p->status.wire_bytes, err);
}

static int do_send_epoch(struct primary *p, const struct remus_action *a, struct remus_error *err)
{
	uint64_t digest = 0;

	p->resume_at_us = a->value;
	int rc = send_captured(p, a, &digest, err);
	if (rc < 0)
		return rc;
	if (p->resumed_us < p->pause_begin_us)
		p->resumed_us = remus_now_us(); /* in a hand-over, or braked yet */
	count_epoch(p);
	p->status.epochs_sent = a->epoch;
	struct remus_event *ev = shell_raise(&p->feed, REMUS_EV_SENT, NULL);
	ev->epoch = a->epoch;
	ev->digest = digest;
	ev->resumed_us = p->resume_at_us ? 0 : p->resumed_us;
	return 0;
}

static int do_release(struct primary *p, uint64_t epoch, struct remus_error *err)
{
	uint64_t now = remus_now_us();

	uint64_t took = now - p->resumed_us;
	p->ack_usual_us = p->ack_usual_us ? (p->ack_usual_us * 7 + took) / 8 : took;
	p->committed_us = p->pause_begin_us;
	shell_samples_add(&p->commit, now - p->pause_begin_us);
	shell_trace_epoch(&p->trace, "release", epoch);
	int rc = REMUS_FAULT(primary_release, err);
	if (rc == 0)
		rc = remus_guest_release(p->guest, epoch, err);
	return rc < 0 ? rc : REMUS_FAULT(primary_released, err);
}

static int do_seal(struct primary *p, uint64_t epoch, struct remus_error *err)
{
	int rc = REMUS_FAULT(primary_seal, err);
	if (rc == 0)
		rc = remus_guest_seal(p->guest, epoch, err);
	if (shell_trace_on(&p->trace)) { /* costs the guest, which stands still, what the counters cost */
		uint64_t sealed_us = remus_now_us(); /* what comes later belongs to the next epoch */
		look_at_egress(p);
		shell_trace_accepted(&p->trace, "seal", sealed_us, epoch, p->guest);
	}
	return rc < 0 ? rc : REMUS_FAULT(primary_sealed, err);
}

static int do_domain(struct primary *p, enum remus_action_type type, struct remus_error *err)
{
	struct remus_domain *d = p->guest->domain;
	int rc = 0;

	switch (type) {
	case REMUS_DO_TRACK_START:
		rc = REMUS_FAULT(primary_track, err);
		if (rc == 0)
			rc = d->ops->track_start(d, err);
		if (rc == 0) {
			snprintf(p->status.tracking, sizeof p->status.tracking, "%s", d->ops->track_name(d));
			snprintf(p->status.tracking_note, sizeof p->status.tracking_note, "%s",
				 d->ops->track_note(d));
		}
		return rc;
	case REMUS_DO_TRACK_STOP:
		d->ops->track_stop(d);
		return 0;
	default:
		rc = REMUS_FAULT(primary_destroy, err);
		return rc < 0 ? rc : d->ops->destroy(d, err);
	}
}

static int do_egress(struct primary *p, enum remus_action_type type, struct remus_error *err)
{
	int rc;

	switch (type) {
	case REMUS_DO_HOLD:
		rc = REMUS_FAULT(primary_hold, err);
		if (rc < 0)
			return rc;
		look_at_egress(p);
		p->passed = p->status.egress.accepted_packets - p->status.held_total;
		shell_trace_accepted(&p->trace, "hold", remus_now_us(), 0, p->guest);
		return remus_guest_hold(p->guest, err);
	case REMUS_DO_PASS:
		rc = REMUS_FAULT(primary_pass, err);
		if (rc < 0)
			return rc;
		look_at_egress(p);
		shell_trace_epoch(&p->trace, "pass", 0);
		return remus_guest_pass(p->guest, err);
	default:
		rc = REMUS_FAULT(primary_discard, err);
		if (rc < 0)
			return rc;
		shell_trace_epoch(&p->trace, "discard", 0);
		return remus_guest_discard(p->guest, err);
	}
}

static int begin_round(struct primary *p, struct remus_error *err)
{
	int rc = REMUS_FAULT(primary_sync_round, err);

	if (rc == 0)
		rc = capture_round_begin(p->capture, p->round, err);

	if (rc < 0)
		return rc;
	p->status.sync_total = remus_bitmap_count(p->capture->pending, p->capture->guest_pages);
	if (p->round == 1)
		p->memory_pages = p->status.sync_total;
	primary_publish(p); /* a copy may be over before the next periodic status */
	return 0;
}

static int do_retire(struct primary *p, struct remus_error *err)
{
	struct remus_arbiter *arbiter = p->config->arbiter;
	int rc = REMUS_FAULT(primary_retire, err);

	return rc < 0 ? rc : arbiter->ops->retire(arbiter, &p->config->key, err);
}

int primary_carry_out(void *shell, const struct remus_action *a, struct remus_error *err)
{
	struct primary *p = shell;

	switch (a->type) {
	case REMUS_DO_REPORT:
		snprintf(p->status.reason, sizeof p->status.reason, "%s", a->text);
		if (p->link && remus_primary_protected(&p->machine))
			remus_link_timing(p->link, p->config->link.heartbeat_ms, p->config->link.dead_ms);
		primary_publish(p);
		return 0;
	case REMUS_DO_EVENT:
		p->up->event(p->up->context, a->level, a->kind, a->text);
		return 0;
	case REMUS_DO_SET_TIMER:
		p->timers.at_us[a->timer] = a->at_us ? a->at_us : 1;
		return 0;
	case REMUS_DO_CANCEL_TIMER:
		p->timers.at_us[a->timer] = 0;
		return 0;
	case REMUS_DO_SEND:
		return do_send(p, a, err);
	case REMUS_DO_BIND:
		remus_link_bind(p->link, p->config->key.session, p->config->key.generation);
		return 0;
	case REMUS_DO_CLOSE_LINK:
		if (p->link)
			remus_link_close(p->link);
		p->link = NULL;
		p->syncing = false;
		return 0;
	case REMUS_DO_CLAIM:
		shell_claimer_ask(p->claimer, remus_now_us());
		return 0;
	case REMUS_DO_RETIRE:
		return do_retire(p, err);
	case REMUS_DO_END:
		p->ended = true;
		snprintf(p->end_text, sizeof p->end_text, "%s", a->text);
		return 0;
	case REMUS_DO_CONNECT:
		return do_connect(p, err);
	case REMUS_DO_TRACK_START:
	case REMUS_DO_TRACK_STOP:
	case REMUS_DO_DESTROY:
		return do_domain(p, a->type, err);
	case REMUS_DO_SYNC_ROUND:
		p->round = (unsigned)a->value;
		p->status.sync_round = p->round;
		p->syncing = true;
		return begin_round(p, err);
	case REMUS_DO_PAUSE:
		return do_pause(p, err);
	case REMUS_DO_CAPTURE:
		return capture_take(p->capture, a->epoch, err);
	case REMUS_DO_ABORT_EPOCH:
		capture_abort(p->capture, a->epoch);
		return 0;
	case REMUS_DO_HOLD:
	case REMUS_DO_PASS:
	case REMUS_DO_DISCARD:
		return do_egress(p, a->type, err);
	case REMUS_DO_SEAL:
		return do_seal(p, a->epoch, err);
	case REMUS_DO_RESUME:
		return do_resume(p, err);
	case REMUS_DO_SEND_EPOCH:
		return do_send_epoch(p, a, err);
	case REMUS_DO_RELEASE:
		return do_release(p, a->epoch, err);
	default:
		return remus_fail(err, -ENOSYS, "%s is not an action of a primary",
				  remus_action_name(a->type));
	}
}
