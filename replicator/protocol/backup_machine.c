/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's decisions: what to accept, when an epoch counts as held, whether to run the guest.
 *
 *   HELLO -> PREPARING -> SYNCING -> STANDBY --link lost, HANDOVER, DOMAIN_LOST--> CLAIMING --won--> ACTIVATING
 *                                       |                                             \--lost-> DROPPED   |
 *                                       \--END--> ENDED                                   ACTIVE <- RENEWING
 * A HELLO that asks for a check is answered and leads straight to ENDED: no standby, no claim.
 *
 * I2  ACK(N) follows EPOCH_VERIFIED(N) alone, and verification comes after N-1 is applied: a step's actions are
 *     carried out in order.
 * I3  a link lost in the middle of N forgets what is staged: the image stays N-1.
 * I4  COMMIT, PAGES and STATE must name committed + 1.
 * I5  a guest that ended (END) is never claimed; the rest of taking over is in backup_takeover.c.
 * ENTROPY is mixed into the reservoir while there is a standby; it changes no state and is never answered.
 */
#include "backup_machine.h"

#include <stdio.h>
#include <string.h>

void remus_backup_init(struct remus_backup *m, const struct remus_backup_config *config)
{
	memset(m, 0, sizeof *m);
	m->config = *config;
	m->config.hello_us = config->hello_us ? config->hello_us : 5000000;
	m->config.retry_us = config->retry_us ? config->retry_us : 250000;
	m->config.activate_attempts = config->activate_attempts ? config->activate_attempts : 3;
}

const char *remus_backup_word(const struct remus_backup *m)
{
	static const char *const words[REMUS_BACKUP_STATES] = {
		[REMUS_B_HELLO] = "hello",	 [REMUS_B_PREPARING] = "preparing",
		[REMUS_B_SYNCING] = "syncing",	 [REMUS_B_STANDBY] = "standby",
		[REMUS_B_CLAIMING] = "claiming", [REMUS_B_ACTIVATING] = "activating",
		[REMUS_B_RENEWING] = "renewing", [REMUS_B_ACTIVE] = "active",
		[REMUS_B_DROPPED] = "dropped",	 [REMUS_B_ENDED] = "ended",
	};
	return m->state < REMUS_BACKUP_STATES ? words[m->state] : "?";
}

static bool over(const struct remus_backup *m)
{
	return m->state == REMUS_B_DROPPED || m->state == REMUS_B_ENDED;
}

void backup_enter(struct remus_backup *m, enum remus_backup_state state, struct remus_actions *out,
		  const char *reason)
{
	m->state = state;
	remus_do_text(out, REMUS_DO_REPORT, "%s", reason);
}

void backup_close_link(struct remus_backup *m, struct remus_actions *out)
{
	if (m->linked)
		remus_do(out, REMUS_DO_CLOSE_LINK);
	m->linked = false;
}

void backup_forget_staged(struct remus_backup *m, struct remus_actions *out)
{
	if (m->staging)
		remus_do_epoch(out, REMUS_DO_ABORT_EPOCH, m->staging);
	m->staging = 0;
}

void backup_give_up(struct remus_backup *m, struct remus_actions *out, enum remus_level level,
		    const char *why)
{
	remus_do_event(out, level, "standby-dropped", "%s", why);
	backup_enter(m, REMUS_B_DROPPED, out, why);
	remus_do(out, REMUS_DO_DROP);
	backup_close_link(m, out);
	remus_do_text(out, REMUS_DO_END, "%s", why);
}

void backup_refuse_and_drop(struct remus_backup *m, struct remus_actions *out, int code, const char *why)
{
	if (m->linked)
		remus_do_refuse(out, code, "%s", why);
	backup_give_up(m, out, REMUS_LEVEL_ERROR, why);
}

void backup_ask_arbiter(struct remus_backup *m, struct remus_actions *out)
{
	m->claiming = true;
	remus_do(out, REMUS_DO_CLAIM);
}

static void link_is_lost(struct remus_backup *m, struct remus_actions *out, const char *why)
{
	backup_close_link(m, out);
	switch (m->state) {
	case REMUS_B_HELLO:
	case REMUS_B_PREPARING:
	case REMUS_B_SYNCING:
		backup_give_up(m, out, REMUS_LEVEL_WARNING, why);
		return;
	case REMUS_B_STANDBY:
		backup_forget_staged(m, out);
		remus_do_event(out, REMUS_LEVEL_WARNING, "primary-lost",
			       "%s; asking the arbiter for epoch %llu", why,
			       (unsigned long long)m->committed);
		backup_enter(m, REMUS_B_CLAIMING, out, why);
		backup_ask_arbiter(m, out);
		return;
	default:
		return; /* CLAIMING, ACTIVATING, RENEWING, ACTIVE: it was already decided or is being decided */
	}
}

void backup_protocol_error(struct remus_backup *m, struct remus_actions *out, const char *what)
{
	/* REFUSE is our word that we have no copy and never will activate: a primary that hands over goes on by it
	 * without a claim. So it is said only where that is true (I5). */
	if (m->linked && m->state < REMUS_B_STANDBY)
		remus_do_refuse(out, -EPROTO, "%s", what);
	link_is_lost(m, out, what);
}

/* ---- hello ---- */

/* The answer is all there is to it: the link is never bound, so nothing more can come of it. */
static void answer_check(struct remus_backup *m, struct remus_actions *out)
{
	remus_do(out, REMUS_DO_CHECK);
	remus_do_send(out, REMUS_FRAME_FINDINGS, 0);
	backup_enter(m, REMUS_B_ENDED, out, "a check was answered");
	backup_close_link(m, out);
	remus_do_text(out, REMUS_DO_END, "a check was answered");
}

static void on_hello(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	const struct remus_hello *hello = ev->hello;
	char why[256];

	if (m->state != REMUS_B_HELLO) {
		backup_protocol_error(m, out, "a second HELLO");
		return;
	}
	remus_do_cancel(out, REMUS_TIMER_SETUP);
	uint64_t unknown = hello->features_required & ~(REMUS_FEATURES_KNOWN | REMUS_FEATURE_CHECK);
	if (unknown) {
		snprintf(why, sizeof why,
			 "the primary requires features 0x%llx that this remusd does not know",
			 (unsigned long long)unknown);
		backup_refuse_and_drop(m, out, -EPROTONOSUPPORT, why);
		return;
	}
	if (hello->features_required & REMUS_FEATURE_CHECK) {
		answer_check(m, out);
		return;
	}
	m->features = hello->features_offered & REMUS_FEATURES_KNOWN;
	backup_enter(m, REMUS_B_PREPARING, out, "");
	remus_do(out, REMUS_DO_PREPARE);
}

static void on_standby_ready(struct remus_backup *m, struct remus_actions *out)
{
	if (m->state != REMUS_B_PREPARING)
		return;
	/* Bound before the primary can answer, or its first frames would look like a stranger's. */
	remus_do(out, REMUS_DO_BIND);
	remus_do_send(out, REMUS_FRAME_WELCOME, 0)->value = m->features;
	backup_enter(m, REMUS_B_SYNCING, out, "first full copy");
}

/* ---- epochs ---- */

static void on_bulk(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	uint64_t n = ev->header->epoch;
	char what[160];

	if (n == 0 && ev->header->type == REMUS_FRAME_PAGES && m->state == REMUS_B_SYNCING && !m->staging) {
		remus_do(out, REMUS_DO_APPLY_SYNC);
		return;
	}
	if ((m->state == REMUS_B_SYNCING || m->state == REMUS_B_STANDBY) && n == m->committed + 1) {
		m->staging = n;
		remus_do_epoch(out, REMUS_DO_STAGE, n);
		return;
	}
	snprintf(what, sizeof what, "%s of epoch %llu while %s at epoch %llu",
		 remus_frame_name(ev->header->type), (unsigned long long)n, remus_backup_word(m),
		 (unsigned long long)m->committed);
	backup_protocol_error(m, out, what);
}

static void on_commit(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	uint64_t n = ev->header->epoch;
	char what[160];

	if ((m->state != REMUS_B_SYNCING && m->state != REMUS_B_STANDBY) || n != m->committed + 1) {
		snprintf(what, sizeof what, "COMMIT of epoch %llu while %s at epoch %llu",
			 (unsigned long long)n, remus_backup_word(m), (unsigned long long)m->committed);
		backup_protocol_error(m, out, what);
		return;
	}
	m->staging = n;
	remus_do_epoch(out, REMUS_DO_VERIFY, n);
}

static void on_verified(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (!m->staging || ev->epoch != m->staging)
		return;
	m->committed = ev->epoch;
	m->staging = 0;
	if (m->linked) {
		struct remus_action *ack = remus_do_send(out, REMUS_FRAME_ACK, ev->epoch);
		ack->value = ev->digest;
	}
	remus_do_epoch(out, REMUS_DO_APPLY, ev->epoch);
	if (m->state == REMUS_B_SYNCING) {
		remus_do_event(out, REMUS_LEVEL_INFO, "standby", "standing by at epoch %llu",
			       (unsigned long long)ev->epoch);
		backup_enter(m, REMUS_B_STANDBY, out, "");
	}
}

static void on_failed(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	switch (ev->action) {
	case REMUS_DO_PREPARE:
	case REMUS_DO_APPLY_SYNC:
	case REMUS_DO_APPLY:
		/* The image can't be trusted any more: say so and never claim. The primary goes on. */
		if (!over(m))
			backup_refuse_and_drop(m, out, ev->code, remus_text(ev));
		return;
	case REMUS_DO_STAGE:
		backup_protocol_error(m, out, remus_text(ev));
		return;
	case REMUS_DO_ACTIVATE:
		backup_activation_failed(m, ev, out);
		return;
	case REMUS_DO_PASS:
	case REMUS_DO_ANNOUNCE:
		remus_do_event(out, REMUS_LEVEL_ERROR, "failed", "the guest runs, but its network: %s",
			       remus_text(ev));
		remus_do_text(out, REMUS_DO_END, "activated");
		return;
	default:
		remus_do_event(out, REMUS_LEVEL_ERROR, "failed", "%s: %s", remus_action_name(ev->action),
			       remus_text(ev));
	}
}

static void on_frame(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (!m->linked)
		return;
	switch (ev->header->type) {
	case REMUS_FRAME_PAGES:
	case REMUS_FRAME_STATE:
		on_bulk(m, ev, out);
		return;
	case REMUS_FRAME_COMMIT:
		on_commit(m, ev, out);
		return;
	case REMUS_FRAME_HANDOVER:
		backup_take_over(m, ev, out, false);
		return;
	case REMUS_FRAME_DOMAIN_LOST:
		backup_take_over(m, ev, out, true);
		return;
	case REMUS_FRAME_END:
		if (m->state >= REMUS_B_CLAIMING && m->state <= REMUS_B_ACTIVE) {
			backup_protocol_error(m, out, "END after a hand-over");
			return;
		}
		backup_forget_staged(m, out);
		remus_do_event(out, REMUS_LEVEL_INFO, "standby-dropped", "the primary ended protection");
		backup_enter(m, REMUS_B_ENDED, out, "protection ended");
		remus_do(out, REMUS_DO_DROP);
		remus_do_send(out, REMUS_FRAME_END_ACK, m->committed);
		backup_close_link(m, out);
		remus_do_text(out, REMUS_DO_END, "protection ended");
		return;
	case REMUS_FRAME_ENTROPY:
		if (m->features & REMUS_FEATURE_ENTROPY && ev->header->length &&
		    (m->state == REMUS_B_SYNCING || m->state == REMUS_B_STANDBY))
			remus_do(out, REMUS_DO_STIR);
		return;
	case REMUS_FRAME_REFUSE: {
		uint32_t code;
		char text[1024];
		if (remus_refuse_decode(ev->payload, ev->header->length, &code, text, NULL) < 0)
			snprintf(text, sizeof text, "the primary refuses");
		link_is_lost(m, out, text);
		return;
	}
	default:
		if (ev->header->flags & REMUS_FRAME_MANDATORY)
			backup_protocol_error(m, out, "a frame that a primary does not send");
	}
}

static void on_standby_ended(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (over(m))
		return;
	if (m->state == REMUS_B_ACTIVE || m->state == REMUS_B_RENEWING) {
		remus_do_event(out, ev->clean ? REMUS_LEVEL_INFO : REMUS_LEVEL_ERROR,
			       ev->clean ? "guest-shutdown" : "guest-lost", "%s", remus_text(ev));
		backup_enter(m, REMUS_B_ENDED, out, remus_text(ev));
		remus_do_text(out, REMUS_DO_END, "%s", remus_text(ev));
		return;
	}
	if (m->state == REMUS_B_ACTIVATING)
		return; /* ACTIVATE reports it as a failure */
	backup_refuse_and_drop(m, out, -ESRCH,
			       *remus_text(ev) ? remus_text(ev) : "the standby's hypervisor died");
}

void remus_backup_step(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	out->count = 0;
	switch (ev->type) {
	case REMUS_EV_START:
		m->linked = true;
		remus_do_timer(out, REMUS_TIMER_SETUP, ev->now_us + m->config.hello_us);
		return;
	case REMUS_EV_HELLO:
		on_hello(m, ev, out);
		return;
	case REMUS_EV_STANDBY_READY:
		on_standby_ready(m, out);
		return;
	case REMUS_EV_FRAME:
		on_frame(m, ev, out);
		return;
	case REMUS_EV_EPOCH_VERIFIED:
		on_verified(m, ev, out);
		return;
	case REMUS_EV_EPOCH_BAD:
		backup_protocol_error(m, out, remus_text(ev));
		return;
	case REMUS_EV_LINK_LOST:
		if (m->linked)
			link_is_lost(m, out, remus_text(ev));
		return;
	case REMUS_EV_CLAIM:
		backup_on_claim(m, ev, out);
		return;
	case REMUS_EV_ACTIVATED:
		backup_on_activated(m, ev, out);
		return;
	case REMUS_EV_RENEWED:
		backup_on_renewed(m, ev, out);
		return;
	case REMUS_EV_STANDBY_ENDED:
		on_standby_ended(m, ev, out);
		return;
	case REMUS_EV_FAILED:
		on_failed(m, ev, out);
		return;
	case REMUS_EV_TIMER:
		if (ev->timer == REMUS_TIMER_SETUP && m->state == REMUS_B_HELLO)
			link_is_lost(m, out, "no hello in time");
		else if (ev->timer == REMUS_TIMER_RETRY && m->state == REMUS_B_CLAIMING && !m->claiming)
			backup_ask_arbiter(m, out);
		else if (ev->timer == REMUS_TIMER_RETRY && m->state == REMUS_B_ACTIVATING)
			remus_do_epoch(out, REMUS_DO_ACTIVATE, m->committed);
		else if (ev->timer == REMUS_TIMER_RENEW && m->state == REMUS_B_RENEWING)
			backup_renewal_is_late(m, out);
		return;
	case REMUS_EV_CMD_UNPROTECT:
		if (m->state == REMUS_B_RENEWING)
			backup_stop_waiting(m, out);
		if (m->state == REMUS_B_STANDBY || m->state == REMUS_B_SYNCING ||
		    m->state == REMUS_B_PREPARING)
			backup_refuse_and_drop(m, out, -ECANCELED,
					       "the operator of the backup dropped the standby");
		return;
	case REMUS_EV_CMD_FAILOVER:
		if (m->state == REMUS_B_STANDBY && m->linked)
			remus_do_send(out, REMUS_FRAME_HANDOVER_REQUEST, m->committed);
		else
			remus_do_event(out, REMUS_LEVEL_WARNING, "refused",
				       "failover: not standing by (state %s)", remus_backup_word(m));
		return;
	case REMUS_EV_CMD_DRILL: /* of what is committed, which stands still in both states between two steps */
		if (m->committed && (m->state == REMUS_B_STANDBY || m->state == REMUS_B_CLAIMING))
			remus_do(out, REMUS_DO_DRILL);
		else
			remus_do_text(out, REMUS_DO_DRILL, "this host isn't standing by (state %s)",
				      remus_backup_word(m));
		return;
	case REMUS_EV_CMD_FORCE:
		if (m->state != REMUS_B_CLAIMING)
			return;
		m->claiming = false;
		remus_do_event(out, REMUS_LEVEL_ERROR, "claim-won",
			       "the operator says that the primary does not run the guest");
		backup_activate(m, out, "forced by the operator");
		return;
	default:
		return;
	}
}
