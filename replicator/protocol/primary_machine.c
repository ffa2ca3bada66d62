/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's decisions: when to pause, what to send, when output may leave, who runs the guest at the end.
 *
 *   IDLE -> CONNECTING -> HELLO -> SYNCING -> IN_FLIGHT <-> RUNNING -> UNPROTECTING -> ENDED
 *                                                 |  link lost            |
 *                                                 v                       v link lost
 *                                              CLAIMING --won--> SOLO or HELD
 *                                                      \--lost-> DISCARDED      (HANDING_OVER --> DISCARDED)
 *
 * I1  RELEASE(N) is emitted on ACK(N) alone.
 * I6  once `armed` (a COMMIT may have reached the backup), PASS needs a won claim, an END_ACK, or the backup's
 *     word that it ceded (REFUSE in answer to a hand-over: it holds the claim and dropped its copy).
 * I7  EVENT and REPORT come before PASS.
 * I8  every path out of a pause emits RESUME or DESTROY; every wait sets a timer.
 * I10 a pause starts only when the epoch before it is acknowledged and released.
 */
#include "primary_machine.h"
#include "remus/util.h"

#include <stdio.h>
#include <string.h>

void remus_primary_init(struct remus_primary *m, const struct remus_primary_config *config)
{
	memset(m, 0, sizeof *m);
	m->config = *config;
	struct remus_primary_config *c = &m->config;
	c->interval_us = c->interval_us ? c->interval_us : 25000;
	c->hello_us = c->hello_us ? c->hello_us : 30000000;
	c->ack_us = c->ack_us ? c->ack_us : 10000000;
	c->end_us = c->end_us ? c->end_us : 5000000;
	c->handover_us = c->handover_us ? c->handover_us : 10000000;
	c->retry_us = c->retry_us ? c->retry_us : 250000;
	c->entropy_us = c->entropy_us ? c->entropy_us : 10000000;
	c->sync_pages = c->sync_pages ? c->sync_pages : 1024;
	c->sync_rounds = c->sync_rounds ? c->sync_rounds : 5;
	if (!c->max_interval_us)
		c->max_interval_us = c->interval_us > 250000 ? 4 * c->interval_us : 1000000;
}

bool remus_primary_protected(const struct remus_primary *m)
{
	return m->committed && m->linked && (m->state == REMUS_P_RUNNING || m->state == REMUS_P_IN_FLIGHT);
}

const char *remus_primary_word(const struct remus_primary *m)
{
	switch (m->state) {
	case REMUS_P_IDLE:
		return "idle";
	case REMUS_P_CONNECTING:
		return "connecting";
	case REMUS_P_HELLO:
		return "hello";
	case REMUS_P_SYNCING:
		return "syncing";
	case REMUS_P_RUNNING:
	case REMUS_P_IN_FLIGHT:
		return m->committed ? "protected" : "syncing";
	case REMUS_P_UNPROTECTING:
		return "unprotecting";
	case REMUS_P_HANDING_OVER:
		return "handing-over";
	case REMUS_P_CLAIMING:
		return "claiming";
	case REMUS_P_SOLO:
		return "solo";
	case REMUS_P_HELD:
		return "held";
	case REMUS_P_DISCARDED:
		return "discarded";
	case REMUS_P_ENDED:
	case REMUS_PRIMARY_STATES:
		break;
	}
	return "ended";
}

static void begin_epoch(struct remus_primary *m, uint64_t now, struct remus_actions *out, bool resume)
{
	uint64_t n = m->committed + 1;
	bool brakes = resume && primary_brakes(m);

	m->epoch = n;
	m->begun_us = now;
	m->sent = false;
	m->paused = true;
	m->state = resume ? REMUS_P_IN_FLIGHT : REMUS_P_HANDING_OVER;
	if (!resume)
		remus_do_text(out, REMUS_DO_REPORT, "handing over at epoch %llu", (unsigned long long)n);
	remus_do(out, REMUS_DO_PAUSE);
	remus_do_epoch(out, REMUS_DO_CAPTURE, n);
	if (n == 1)
		remus_do(out, REMUS_DO_HOLD);
	remus_do_epoch(out, REMUS_DO_SEAL, n);
	m->braked = brakes;
	if (resume && !brakes) {
		remus_do(out, REMUS_DO_RESUME);
		m->paused = false;
	}
	m->armed = true;
	primary_send_epoch(m, out, brakes);
}

/* The backup holds the last epoch: it is to activate. */
void primary_say_handover(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	remus_do_send(out, REMUS_FRAME_HANDOVER, m->committed);
	remus_do_timer(out, REMUS_TIMER_HANDOVER, ev->now_us + m->config.handover_us);
}

/* Some randomness for the backup's reservoir: with the first commit and now and then afterwards, while the guest runs
 * and no epoch is on its way. One that is lost is no loss. */
static void send_entropy(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (!(m->features & REMUS_FEATURE_ENTROPY) || (m->committed > 1 && ev->now_us < m->entropy_us))
		return;
	m->entropy_us = ev->now_us + m->config.entropy_us;
	remus_do_send(out, REMUS_FRAME_ENTROPY, 0);
}

static void on_ack(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	uint64_t n = ev->header->epoch;
	char what[128];

	if (m->epoch != m->committed + 1 || n != m->epoch || !m->sent) {
		snprintf(what, sizeof what, "ack for epoch %llu, which was not sent (last committed %llu)",
			 (unsigned long long)n, (unsigned long long)m->committed);
		primary_protocol_error(m, out, what);
		return;
	}
	if (ev->header->length != 8 || remus_get_le64(ev->payload) != m->digest) {
		snprintf(what, sizeof what, "ack for epoch %llu with another digest", (unsigned long long)n);
		primary_protocol_error(m, out, what);
		return;
	}
	m->committed = n;
	m->failures = 0;
	remus_do_cancel(out, REMUS_TIMER_ACK);
	if (m->state == REMUS_P_IN_FLIGHT)
		primary_turn_done(m, ev, out); /* first: a release that fails drops what follows it */
	remus_do_epoch(out, REMUS_DO_RELEASE, n);
	if (m->state == REMUS_P_UNPROTECTING)
		return;
	if (m->state == REMUS_P_HANDING_OVER && m->guest_gone)
		return; /* DOMAIN_LOST is on its way, the backup takes over from here */
	if (m->state == REMUS_P_HANDING_OVER) {
		primary_say_handover(m, ev, out);
		return;
	}
	m->state = REMUS_P_RUNNING;
	if (n == 1) {
		remus_do_event(out, REMUS_LEVEL_INFO, "protected", "the backup holds epoch 1");
		remus_do_text(out, REMUS_DO_REPORT, "%s", "");
	}
	send_entropy(m, ev, out);
	if (m->braked) { /* what it was to stand still for is over */
		remus_do_timer(out, REMUS_TIMER_EPOCH,
			       ev->now_us + (m->handover_wanted ? 0 : m->config.interval_us));
		primary_brake_off(m, ev->now_us, out);
	} else if (m->handover_wanted)
		begin_epoch(m, ev->now_us, out, false);
	else if (ev->now_us >= m->resumed_us + m->config.interval_us)
		begin_epoch(m, ev->now_us, out, true);
	else
		remus_do_timer(out, REMUS_TIMER_EPOCH, m->resumed_us + m->config.interval_us);
}

static void on_welcome(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	struct remus_welcome welcome;
	struct remus_error err = REMUS_ERROR_INIT;

	if (m->state != REMUS_P_HELLO) {
		primary_protocol_error(m, out, "WELCOME out of place");
		return;
	}
	if (remus_welcome_decode(ev->payload, ev->header->length, &welcome, &err) < 0) {
		primary_protocol_error(m, out, err.message);
		return;
	}
	if (welcome.features & ~REMUS_FEATURES_KNOWN) {
		primary_protocol_error(m, out, "the backup chose features that were not offered");
		return;
	}
	m->features = welcome.features;
	m->staging_bytes = welcome.staging_bytes;
	remus_do_cancel(out, REMUS_TIMER_SETUP);
	remus_do(out, REMUS_DO_BIND);
	primary_enter(m, REMUS_P_SYNCING, out, "first full copy");
	m->tracking = true;
	remus_do(out, REMUS_DO_TRACK_START);
	remus_do(out, REMUS_DO_SYNC_ROUND)->value = 1;
}

/* The backup says no: before the first commit that is the end; later it is a lost backup that said why. */
static void on_refuse(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	uint32_t code = 0;
	char text[1024], reason[REMUS_REASON_MAX];

	if (remus_refuse_decode(ev->payload, ev->header->length, &code, text, NULL) < 0)
		snprintf(text, sizeof text, "(unreadable reason)");
	snprintf(reason, sizeof reason, "the backup refuses: %.480s", text);
	m->code = code && code < 4096 ? -(int)code : -EPROTO;
	if (m->state == REMUS_P_HANDING_OVER && m->epoch == m->committed) {
		/* It was told to activate and couldn't: it holds the claim and has dropped its copy. */
		primary_go_on_alone(m, out, reason);
		return;
	}
	primary_link_is_lost(m, reason, out);
}

static void on_frame(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (!m->linked)
		return;
	switch (ev->header->type) {
	case REMUS_FRAME_WELCOME:
		on_welcome(m, ev, out);
		return;
	case REMUS_FRAME_REFUSE:
		on_refuse(m, ev, out);
		return;
	case REMUS_FRAME_ACK:
		if (m->state == REMUS_P_IN_FLIGHT || m->state == REMUS_P_HANDING_OVER ||
		    m->state == REMUS_P_UNPROTECTING)
			on_ack(m, ev, out);
		else
			primary_protocol_error(m, out, "ACK out of place");
		return;
	case REMUS_FRAME_HANDOVER_REQUEST:
		if (m->state == REMUS_P_RUNNING) {
			remus_do_cancel(out, REMUS_TIMER_EPOCH);
			begin_epoch(m, ev->now_us, out, false);
		} else {
			m->handover_wanted = true;
		}
		return;
	case REMUS_FRAME_ACTIVATED:
		if (m->state == REMUS_P_HANDING_OVER && m->epoch == m->committed)
			primary_destroy_ours(m, out, "handed-over", "the guest runs on the backup");
		else if (m->state == REMUS_P_HANDING_OVER && m->guest_gone)
			primary_destroy_ours(m, out, "handed-over", "the guest runs on the backup");
		else
			primary_protocol_error(m, out, "ACTIVATED out of place");
		return;
	case REMUS_FRAME_END_ACK:
		if (m->state != REMUS_P_UNPROTECTING) {
			primary_protocol_error(m, out, "END_ACK out of place");
			return;
		}
		remus_do_event(out, m->guest_ended ? REMUS_LEVEL_INFO : REMUS_LEVEL_WARNING,
			       m->guest_ended ? "guest-shutdown" : "unprotected",
			       m->guest_ended
				       ? "the guest has ended; the standby is dropped, nothing is resurrected"
				       : "protection has ended in order; the guest runs here, unprotected");
		primary_enter(m, REMUS_P_ENDED, out, m->guest_ended ? "guest ended" : "unprotected");
		primary_let_go(m, out);
		primary_close_link(m, out);
		remus_do(out, REMUS_DO_RETIRE);
		remus_do_text(out, REMUS_DO_END, "%s", m->guest_ended ? "guest ended" : "unprotected");
		return;
	default:
		if (ev->header->flags & REMUS_FRAME_MANDATORY)
			primary_protocol_error(m, out, "a frame that a backup does not send");
	}
}

static void on_timer(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	switch (ev->timer) {
	case REMUS_TIMER_SETUP:
		if (m->state == REMUS_P_HELLO)
			m->code = -ETIMEDOUT;
		if (m->state == REMUS_P_HELLO)
			primary_link_is_lost(m, "the backup did not answer the hello in time", out);
		return;
	case REMUS_TIMER_EPOCH:
		if (m->state == REMUS_P_RUNNING || (m->state == REMUS_P_SYNCING && m->failures))
			begin_epoch(m, ev->now_us, out, m->state != REMUS_P_RUNNING || !m->handover_wanted);
		return;
	case REMUS_TIMER_BRAKE:
		primary_brake_off(m, ev->now_us, out);
		return;
	case REMUS_TIMER_ACK:
		if (!m->sent || m->epoch == m->committed)
			return;
		if (m->state == REMUS_P_IN_FLIGHT)
			primary_not_acknowledged(m, ev, out);
		else if (m->state == REMUS_P_HANDING_OVER)
			primary_link_is_lost(m, "no acknowledgement within the deadline", out);
		return;
	case REMUS_TIMER_END:
		if (m->state == REMUS_P_UNPROTECTING)
			primary_link_is_lost(m, "the backup did not acknowledge the end of protection", out);
		return;
	case REMUS_TIMER_HANDOVER:
		if (m->state == REMUS_P_HANDING_OVER && (m->guest_gone || m->epoch == m->committed))
			primary_link_is_lost(m, "the backup did not activate in time", out);
		return;
	case REMUS_TIMER_RETRY:
		primary_on_retry(m, ev, out);
		return;
	case REMUS_TIMER_RENEW: /* a backup's */
	case REMUS_TIMERS:
		return;
	}
}

static void on_sent(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (ev->epoch != m->epoch || m->epoch == m->committed)
		return;
	m->sent = true;
	m->digest = ev->digest;
	if (ev->resumed_us)
		m->resumed_us = ev->resumed_us;
	primary_brake_sent(m, ev, out);
	remus_do_timer(out, REMUS_TIMER_ACK, ev->now_us + m->config.ack_us);
}

void remus_primary_step(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	out->count = 0;
	switch (ev->type) {
	case REMUS_EV_START:
		if (m->state != REMUS_P_IDLE)
			return;
		primary_enter(m, REMUS_P_CONNECTING, out, "");
		remus_do(out, REMUS_DO_CONNECT);
		return;
	case REMUS_EV_RECOVER:
		if (m->state != REMUS_P_IDLE)
			return;
		m->armed = true;
		m->committed = ev->epoch;
		m->epoch = ev->epoch;
		m->paused = true; /* it may be: resume is idempotent */
		primary_link_is_lost(m, remus_text(ev), out);
		return;
	case REMUS_EV_LINK_UP:
		if (m->state != REMUS_P_CONNECTING)
			return;
		m->linked = true;
		primary_enter(m, REMUS_P_HELLO, out, "");
		remus_do_send(out, REMUS_FRAME_HELLO, 0);
		remus_do_timer(out, REMUS_TIMER_SETUP, ev->now_us + m->config.hello_us);
		return;
	case REMUS_EV_LINK_LOST:
		if (m->linked)
			primary_link_is_lost(m, remus_text(ev), out);
		return;
	case REMUS_EV_FRAME:
		on_frame(m, ev, out);
		return;
	case REMUS_EV_TIMER:
		on_timer(m, ev, out);
		return;
	case REMUS_EV_CLAIM:
		primary_on_claim(m, ev, out);
		return;
	case REMUS_EV_FAILED:
		primary_on_failed(m, ev, out);
		return;
	case REMUS_EV_ROUND_DONE:
		if (m->state != REMUS_P_SYNCING)
			return;
		if (ev->pages <= m->config.sync_pages || ev->round >= m->config.sync_rounds)
			begin_epoch(m, ev->now_us, out, true);
		else
			remus_do(out, REMUS_DO_SYNC_ROUND)->value = ev->round + 1;
		return;
	case REMUS_EV_SENT:
		on_sent(m, ev, out);
		return;
	case REMUS_EV_DOMAIN_SHUTDOWN:
	case REMUS_EV_DOMAIN_LOST:
		primary_on_guest_end(m, ev, out);
		return;
	case REMUS_EV_CMD_UNPROTECT:
		primary_on_unprotect(m, ev, out);
		return;
	case REMUS_EV_CMD_FAILOVER:
		if (m->state == REMUS_P_RUNNING)
			begin_epoch(m, ev->now_us, out, false);
		else if (m->state == REMUS_P_IN_FLIGHT && m->committed)
			m->handover_wanted = true;
		else
			remus_do_event(out, REMUS_LEVEL_WARNING, "refused",
				       "failover: the guest is not protected (state %s)",
				       remus_primary_word(m));
		return;
	case REMUS_EV_CMD_FORCE:
		if (m->state == REMUS_P_CLAIMING || m->state == REMUS_P_HELD) {
			m->claiming = false;
			m->state = REMUS_P_HELD; /* the operator's word also overrules the hold policy */
			primary_go_on_alone(m, out,
					    "the operator says that the backup does not run the guest");
		}
		return;
	default:
		return;
	}
}
