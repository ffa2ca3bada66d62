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
 * I5  ACTIVATE needs a won claim (or the operator's word in its place). A guest that ended (END) is never claimed.
 * I12 PASS and ANNOUNCE follow ACTIVATED, and the guest's renewal or the end of the patience with it. The primary that
 *     handed over is told before: its copy has nothing to wait for.
 * ENTROPY is mixed into the reservoir while there is a standby; it changes no state and is never answered.
 */
#include "machine.h"

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

static void enter(struct remus_backup *m, enum remus_backup_state state, struct remus_actions *out,
		  const char *reason)
{
	m->state = state;
	remus_do_text(out, REMUS_DO_REPORT, "%s", reason);
}

static void close_link(struct remus_backup *m, struct remus_actions *out)
{
	if (m->linked)
		remus_do(out, REMUS_DO_CLOSE_LINK);
	m->linked = false;
}

static void forget_staged(struct remus_backup *m, struct remus_actions *out)
{
	if (m->staging)
		remus_do_epoch(out, REMUS_DO_ABORT_EPOCH, m->staging);
	m->staging = 0;
}

static void drop(struct remus_backup *m, struct remus_actions *out, enum remus_level level, const char *why)
{
	remus_do_event(out, level, "standby-dropped", "%s", why);
	enter(m, REMUS_B_DROPPED, out, why);
	remus_do(out, REMUS_DO_DROP);
	close_link(m, out);
	remus_do_text(out, REMUS_DO_END, "%s", why);
}

static void refuse_and_drop(struct remus_backup *m, struct remus_actions *out, int code, const char *why)
{
	if (m->linked)
		remus_do_refuse(out, code, "%s", why);
	drop(m, out, REMUS_LEVEL_ERROR, why);
}

static void ask_arbiter(struct remus_backup *m, struct remus_actions *out)
{
	m->claiming = true;
	remus_do(out, REMUS_DO_CLAIM);
}

static void link_is_lost(struct remus_backup *m, struct remus_actions *out, const char *why)
{
	close_link(m, out);
	switch (m->state) {
	case REMUS_B_HELLO:
	case REMUS_B_PREPARING:
	case REMUS_B_SYNCING:
		drop(m, out, REMUS_LEVEL_WARNING, why);
		return;
	case REMUS_B_STANDBY:
		forget_staged(m, out);
		remus_do_event(out, REMUS_LEVEL_WARNING, "primary-lost",
			       "%s; asking the arbiter for epoch %llu", why,
			       (unsigned long long)m->committed);
		enter(m, REMUS_B_CLAIMING, out, why);
		ask_arbiter(m, out);
		return;
	default:
		return; /* CLAIMING, ACTIVATING, RENEWING, ACTIVE: it was already decided or is being decided */
	}
}

static void protocol_error(struct remus_backup *m, struct remus_actions *out, const char *what)
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
	enter(m, REMUS_B_ENDED, out, "a check was answered");
	close_link(m, out);
	remus_do_text(out, REMUS_DO_END, "a check was answered");
}

static void on_hello(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	const struct remus_hello *hello = ev->hello;
	char why[256];

	if (m->state != REMUS_B_HELLO) {
		protocol_error(m, out, "a second HELLO");
		return;
	}
	remus_do_cancel(out, REMUS_TIMER_SETUP);
	uint64_t unknown = hello->features_required & ~(REMUS_FEATURES_KNOWN | REMUS_FEATURE_CHECK);
	if (unknown) {
		snprintf(why, sizeof why,
			 "the primary requires features 0x%llx that this remusd does not know",
			 (unsigned long long)unknown);
		refuse_and_drop(m, out, -EPROTONOSUPPORT, why);
		return;
	}
	if (hello->features_required & REMUS_FEATURE_CHECK) {
		answer_check(m, out);
		return;
	}
	m->features = hello->features_offered & REMUS_FEATURES_KNOWN;
	enter(m, REMUS_B_PREPARING, out, "");
	remus_do(out, REMUS_DO_PREPARE);
}

static void on_standby_ready(struct remus_backup *m, struct remus_actions *out)
{
	if (m->state != REMUS_B_PREPARING)
		return;
	/* Bound before the primary can answer, or its first frames would look like a stranger's. */
	remus_do(out, REMUS_DO_BIND);
	remus_do_send(out, REMUS_FRAME_WELCOME, 0)->value = m->features;
	enter(m, REMUS_B_SYNCING, out, "first full copy");
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
	protocol_error(m, out, what);
}

static void on_commit(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	uint64_t n = ev->header->epoch;
	char what[160];

	if ((m->state != REMUS_B_SYNCING && m->state != REMUS_B_STANDBY) || n != m->committed + 1) {
		snprintf(what, sizeof what, "COMMIT of epoch %llu while %s at epoch %llu",
			 (unsigned long long)n, remus_backup_word(m), (unsigned long long)m->committed);
		protocol_error(m, out, what);
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
		enter(m, REMUS_B_STANDBY, out, "");
	}
}

/* ---- taking over ---- */

static void take_over(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out,
		      bool primary_gone)
{
	uint64_t n = ev->header->epoch;
	char what[160];

	if (m->state != REMUS_B_STANDBY || (!primary_gone && n != m->committed)) {
		snprintf(what, sizeof what, "%s at epoch %llu while %s at epoch %llu",
			 remus_frame_name(ev->header->type), (unsigned long long)n, remus_backup_word(m),
			 (unsigned long long)m->committed);
		protocol_error(m, out, what);
		return;
	}
	forget_staged(m, out);
	m->handover = true;
	m->primary_gone = primary_gone;
	remus_do_event(out, REMUS_LEVEL_WARNING, "primary-lost", "%s epoch %llu",
		       primary_gone ? "the guest died on the primary: taking over at"
				    : "the primary hands over at",
		       (unsigned long long)m->committed);
	enter(m, REMUS_B_CLAIMING, out, primary_gone ? "the guest died on the primary" : "planned hand-over");
	ask_arbiter(m, out);
}

static void activate(struct remus_backup *m, struct remus_actions *out, const char *why)
{
	m->won = true;
	enter(m, REMUS_B_ACTIVATING, out, why);
	remus_do_epoch(out, REMUS_DO_ACTIVATE, m->committed);
}

static void on_claim(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (m->state != REMUS_B_CLAIMING || !m->claiming)
		return;
	m->claiming = false;
	if (ev->claim == REMUS_CLAIM_WON) {
		remus_do_event(out, REMUS_LEVEL_INFO, "claim-won", "the arbiter gave the guest to this host");
		activate(m, out, "claim won");
	} else if (ev->claim == REMUS_CLAIM_LOST) {
		drop(m, out, REMUS_LEVEL_WARNING, "claim lost: the guest goes on at the primary");
	} else {
		/* The primary waits with a paused guest. We can't cede: our claim may have been carried out with only
		 * its answer lost, and a REFUSE that is lost too would leave a primary that has lost the claim to a
		 * dropped standby. It shall ask the arbiter itself. */
		if (m->handover && !m->primary_gone)
			close_link(m, out);
		if (!m->told_unknown)
			remus_do_event(out, REMUS_LEVEL_ERROR, "claim-unknown",
				       "no answer from the arbiter, nothing is activated: %s",
				       remus_text(ev));
		m->told_unknown = true;
		remus_do_timer(out, REMUS_TIMER_RETRY, ev->now_us + m->config.retry_us);
	}
}

static void open_egress(struct remus_backup *m, struct remus_actions *out)
{
	enter(m, REMUS_B_ACTIVE, out, "activated; not protected");
	remus_do(out, REMUS_DO_PASS);
	remus_do(out, REMUS_DO_ANNOUNCE);
	remus_do_text(out, REMUS_DO_END, "activated");
}

static void on_activated(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (m->state != REMUS_B_ACTIVATING)
		return;
	remus_do_event(out, REMUS_LEVEL_WARNING, "activated",
		       "the guest runs here since epoch %llu, UNPROTECTED until protected anew",
		       (unsigned long long)m->committed);
	enter(m, REMUS_B_RENEWING, out, "activated; its network waits until the guest is renewed");
	remus_do(out, REMUS_DO_RENEW);
	if (m->linked)
		remus_do_send(out, REMUS_FRAME_ACTIVATED, m->committed);
	close_link(m, out);
	if (ev->wait_us)
		remus_do_timer(out, REMUS_TIMER_RENEW, ev->now_us + ev->wait_us);
	else
		open_egress(m, out);
}

static void on_renewed(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (m->state != REMUS_B_RENEWING)
		return;
	remus_do_cancel(out, REMUS_TIMER_RENEW);
	remus_do_event(out, ev->clean ? REMUS_LEVEL_INFO : REMUS_LEVEL_WARNING,
		       ev->clean ? "renewed" : "not-renewed", "%s", remus_text(ev));
	open_egress(m, out);
}

/* Nobody waits for ever on a guest that may have hung itself up: what isn't guaranteed is said instead. */
static void renewal_is_late(struct remus_backup *m, struct remus_actions *out)
{
	remus_do_event(out, REMUS_LEVEL_WARNING, "not-renewed",
		       "the guest's agent has not answered in time, and the guest's network is opened all "
		       "the same: its "
		       "random numbers may be those of another activation of the same checkpoint, and its "
		       "clock may be "
		       "behind, until it answers");
	open_egress(m, out);
}

static void activation_failed(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	remus_do_event(out, REMUS_LEVEL_ERROR, "activation-failed", "%s", remus_text(ev));
	if (m->handover && !m->primary_gone && m->linked) {
		refuse_and_drop(m, out, ev->code, remus_text(ev));
	} else if (++m->attempts < m->config.activate_attempts) {
		remus_do_timer(out, REMUS_TIMER_RETRY, ev->now_us + m->config.retry_us);
	} else {
		drop(m, out, REMUS_LEVEL_ERROR, "the guest could not be activated: it runs nowhere");
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
			refuse_and_drop(m, out, ev->code, remus_text(ev));
		return;
	case REMUS_DO_STAGE:
		protocol_error(m, out, remus_text(ev));
		return;
	case REMUS_DO_ACTIVATE:
		activation_failed(m, ev, out);
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
		take_over(m, ev, out, false);
		return;
	case REMUS_FRAME_DOMAIN_LOST:
		take_over(m, ev, out, true);
		return;
	case REMUS_FRAME_END:
		if (m->state >= REMUS_B_CLAIMING && m->state <= REMUS_B_ACTIVE) {
			protocol_error(m, out, "END after a hand-over");
			return;
		}
		forget_staged(m, out);
		remus_do_event(out, REMUS_LEVEL_INFO, "standby-dropped", "the primary ended protection");
		enter(m, REMUS_B_ENDED, out, "protection ended");
		remus_do(out, REMUS_DO_DROP);
		remus_do_send(out, REMUS_FRAME_END_ACK, m->committed);
		close_link(m, out);
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
			protocol_error(m, out, "a frame that a primary does not send");
	}
}

static void on_standby_ended(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (over(m))
		return;
	if (m->state == REMUS_B_ACTIVE || m->state == REMUS_B_RENEWING) {
		remus_do_event(out, ev->clean ? REMUS_LEVEL_INFO : REMUS_LEVEL_ERROR,
			       ev->clean ? "guest-shutdown" : "guest-lost", "%s", remus_text(ev));
		enter(m, REMUS_B_ENDED, out, remus_text(ev));
		remus_do_text(out, REMUS_DO_END, "%s", remus_text(ev));
		return;
	}
	if (m->state == REMUS_B_ACTIVATING)
		return; /* ACTIVATE reports it as a failure */
	refuse_and_drop(m, out, -ESRCH, *remus_text(ev) ? remus_text(ev) : "the standby's hypervisor died");
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
		protocol_error(m, out, remus_text(ev));
		return;
	case REMUS_EV_LINK_LOST:
		if (m->linked)
			link_is_lost(m, out, remus_text(ev));
		return;
	case REMUS_EV_CLAIM:
		on_claim(m, ev, out);
		return;
	case REMUS_EV_ACTIVATED:
		on_activated(m, ev, out);
		return;
	case REMUS_EV_RENEWED:
		on_renewed(m, ev, out);
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
			ask_arbiter(m, out);
		else if (ev->timer == REMUS_TIMER_RETRY && m->state == REMUS_B_ACTIVATING)
			remus_do_epoch(out, REMUS_DO_ACTIVATE, m->committed);
		else if (ev->timer == REMUS_TIMER_RENEW && m->state == REMUS_B_RENEWING)
			renewal_is_late(m, out);
		return;
	case REMUS_EV_CMD_UNPROTECT:
		if (m->state == REMUS_B_STANDBY || m->state == REMUS_B_SYNCING ||
		    m->state == REMUS_B_PREPARING)
			refuse_and_drop(m, out, -ECANCELED, "the operator of the backup dropped the standby");
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
		activate(m, out, "forced by the operator");
		return;
	default:
		return;
	}
}
