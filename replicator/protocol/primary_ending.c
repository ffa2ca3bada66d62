/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the primary's sessions end: given up before anybody else could run the guest, ended in agreement, lost and
 * decided by the arbiter, handed over. The rules of I5, I6, I7 and I8 for the primary are all in this file.
 */
#include "primary_machine.h"

#include <stdio.h>

bool primary_over(const struct remus_primary *m)
{
	return m->state == REMUS_P_SOLO || m->state == REMUS_P_DISCARDED || m->state == REMUS_P_ENDED;
}

void primary_enter(struct remus_primary *m, enum remus_primary_state state, struct remus_actions *out,
		   const char *reason)
{
	m->state = state;
	remus_do_text(out, REMUS_DO_REPORT, "%s", reason);
}

void primary_close_link(struct remus_primary *m, struct remus_actions *out)
{
	if (m->linked)
		remus_do(out, REMUS_DO_CLOSE_LINK);
	m->linked = false;
}

/* Leave the guest's side in order: running, untracked, its network open. */
void primary_let_go(struct remus_primary *m, struct remus_actions *out)
{
	if (m->paused && !m->guest_gone)
		remus_do(out, REMUS_DO_RESUME);
	m->paused = m->braked = false;
	remus_do(out, REMUS_DO_PASS);
	if (m->tracking)
		remus_do(out, REMUS_DO_TRACK_STOP);
	m->tracking = false;
}

/* End a session that was never armed: nobody else can run the guest, so no claim is needed. */
void primary_give_up(struct remus_primary *m, const char *why, struct remus_actions *out)
{
	if (m->linked)
		remus_do_send(out, REMUS_FRAME_END, 0)->value = REMUS_END_ERROR;
	primary_close_link(m, out);
	remus_do_event(out, REMUS_LEVEL_ERROR, "failed", "not protected: %s; the guest runs on untouched",
		       why);
	primary_enter(m, REMUS_P_ENDED, out, why);
	primary_let_go(m, out);
	remus_do(out, REMUS_DO_RETIRE);
	remus_do_text(out, REMUS_DO_END, "%s", why);
}

void primary_ask_arbiter(struct remus_primary *m, struct remus_actions *out)
{
	m->claiming = true;
	remus_do(out, REMUS_DO_CLAIM);
}

/* The backup can't be heard. Armed, it may hold an epoch to activate: only the arbiter can say who goes on. */
void primary_link_is_lost(struct remus_primary *m, const char *why, struct remus_actions *out)
{
	char reason[REMUS_REASON_MAX];

	if (!m->code)
		m->code = -EPIPE;
	if (!m->armed) {
		primary_close_link(m, out);
		primary_give_up(m, why, out);
		return;
	}
	primary_close_link(m, out);
	if (m->epoch > m->committed)
		m->aborted++;
	m->handover_wanted = false;
	if (m->guest_gone && !m->guest_ended) {
		remus_do_event(out, REMUS_LEVEL_ERROR, "discarded",
			       "the guest died here and the backup cannot be heard (%s): it decides alone",
			       why);
		primary_enter(m, REMUS_P_DISCARDED, out, why);
		remus_do(out, REMUS_DO_DISCARD);
		if (m->paused)
			remus_do(out, REMUS_DO_DESTROY);
		remus_do_text(out, REMUS_DO_END, "%s", why);
		return;
	}
	snprintf(reason, sizeof reason, "backup lost: %.400s", why);
	remus_do_event(out, REMUS_LEVEL_WARNING, "backup-lost",
		       "%s; output is held until the arbiter says who runs the guest", reason);
	primary_enter(m, REMUS_P_CLAIMING, out, reason);
	primary_ask_arbiter(m, out); /* first: a resume that fails drops what follows it */
	if (m->paused && !m->guest_gone)
		remus_do(out, REMUS_DO_RESUME); /* what it does is speculative: its output is held */
	m->paused = m->braked = false;
}

void primary_protocol_error(struct remus_primary *m, struct remus_actions *out, const char *what)
{
	m->code = -EPROTO;
	if (m->linked)
		remus_do_refuse(out, -EPROTO, "%s", what);
	primary_link_is_lost(m, what, out);
}

void primary_send_end(struct remus_primary *m, enum remus_end_reason why, uint64_t now,
		      struct remus_actions *out, const char *reason)
{
	primary_enter(m, REMUS_P_UNPROTECTING, out, reason);
	remus_do_send(out, REMUS_FRAME_END, m->committed)->value = why;
	remus_do_timer(out, REMUS_TIMER_END, now + m->config.end_us);
}

void primary_send_domain_lost(struct remus_primary *m, uint64_t now, struct remus_actions *out,
			      const char *why)
{
	m->guest_gone = true;
	m->tracking = false;
	remus_do_event(out, REMUS_LEVEL_ERROR, "guest-lost", "%s; the backup takes over", why);
	primary_enter(m, REMUS_P_HANDING_OVER, out, why);
	remus_do_send(out, REMUS_FRAME_DOMAIN_LOST, m->committed);
	remus_do_timer(out, REMUS_TIMER_HANDOVER, now + m->config.handover_us);
}

void primary_destroy_ours(struct remus_primary *m, struct remus_actions *out, const char *kind,
			  const char *why)
{
	remus_do_event(out, REMUS_LEVEL_WARNING, kind, "%s", why);
	primary_enter(m, REMUS_P_DISCARDED, out, why);
	primary_close_link(m, out);
	remus_do(out, REMUS_DO_DISCARD);
	if (!m->guest_gone || m->paused) /* given up though it is there: it could not be resumed */
		remus_do(out, REMUS_DO_DESTROY);
	m->guest_gone = true;
	m->tracking = false;
	remus_do_text(out, REMUS_DO_END, "%s", why);
}

void primary_go_on_alone(struct remus_primary *m, struct remus_actions *out, const char *why)
{
	if (m->guest_gone && m->paused)
		m->guest_gone =
			false; /* given up for a standby that there isn't: it stands here, and must run (I8) */
	if (m->guest_gone) {
		primary_enter(m, REMUS_P_ENDED, out, "the guest is gone");
		remus_do(out, REMUS_DO_DISCARD);
		remus_do_text(out, REMUS_DO_END, "the guest is gone");
		return;
	}
	if (m->config.on_backup_loss == REMUS_LOSS_HOLD && m->state == REMUS_P_CLAIMING) {
		remus_do_event(out, REMUS_LEVEL_ERROR, "unprotected",
			       "%s: the guest runs here unprotected, its output HELD as policy says; "
			       "`unprotect --force` lets it go",
			       why);
		primary_enter(m, REMUS_P_HELD, out, why);
		if (m->tracking)
			remus_do(out, REMUS_DO_TRACK_STOP);
		m->tracking = false;
		return;
	}
	remus_do_event(out, REMUS_LEVEL_ERROR, "solo", "%s: the guest goes on here, UNPROTECTED", why);
	primary_enter(m, REMUS_P_SOLO, out, why);
	primary_close_link(m, out);
	primary_let_go(m, out);
	remus_do_text(out, REMUS_DO_END, "%s", why);
}

void primary_on_claim(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (m->state != REMUS_P_CLAIMING || !m->claiming)
		return;
	m->claiming = false;
	if (ev->claim == REMUS_CLAIM_WON) {
		remus_do_event(out, REMUS_LEVEL_INFO, "claim-won", "the arbiter gave the guest to this host");
		primary_go_on_alone(m, out, "backup lost, claim won");
	} else if (ev->claim == REMUS_CLAIM_LOST) {
		primary_destroy_ours(
			m, out, "claim-lost",
			"the backup won the claim: this host's copy is destroyed, held output is dropped");
	} else {
		if (!m->told_unknown)
			remus_do_event(out, REMUS_LEVEL_ERROR, "claim-unknown",
				       "no answer from the arbiter, output stays held: %s", remus_text(ev));
		m->told_unknown = true;
		remus_do_timer(out, REMUS_TIMER_RETRY, ev->now_us + m->config.retry_us);
	}
}

void primary_on_guest_end(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	bool shutdown = ev->type == REMUS_EV_DOMAIN_SHUTDOWN;

	if (m->guest_gone)
		return;
	m->guest_gone = true;
	m->guest_ended = shutdown;
	m->paused = m->braked = false;
	m->tracking = false;
	switch (m->state) {
	case REMUS_P_RUNNING:
	case REMUS_P_IN_FLIGHT:
	case REMUS_P_HANDING_OVER:
		if (m->state == REMUS_P_HANDING_OVER && m->epoch == m->committed)
			return; /* the backup was told to activate: ours is of no use any more */
		if (!m->armed) {
			primary_give_up(m, remus_text(ev), out);
		} else if (shutdown) { /* also with epoch 1 on its way: the backup may hold it */
			remus_do_event(out, REMUS_LEVEL_INFO, "guest-shutdown", "%s", remus_text(ev));
			primary_send_end(m, REMUS_END_GUEST_SHUTDOWN, ev->now_us, out, remus_text(ev));
		} else {
			primary_send_domain_lost(m, ev->now_us, out, remus_text(ev));
		}
		return;
	case REMUS_P_CLAIMING:
		if (shutdown)
			return; /* still ask: the backup must not resurrect it */
		remus_do_event(out, REMUS_LEVEL_ERROR, "guest-lost", "%s; the backup decides alone",
			       remus_text(ev));
		primary_enter(m, REMUS_P_DISCARDED, out, remus_text(ev));
		remus_do(out, REMUS_DO_DISCARD);
		remus_do_text(out, REMUS_DO_END, "%s", remus_text(ev));
		return;
	case REMUS_P_UNPROTECTING:
		m->guest_ended = true; /* END is on its way: the backup drops its copy, nobody takes over */
		return;
	case REMUS_P_HELD:
		primary_enter(m, REMUS_P_ENDED, out, remus_text(ev));
		remus_do_text(out, REMUS_DO_END, "%s", remus_text(ev));
		return;
	case REMUS_P_SOLO:
	case REMUS_P_DISCARDED:
	case REMUS_P_ENDED:
		return;
	default:
		primary_give_up(m, remus_text(ev), out);
	}
}

void primary_on_unprotect(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (m->state == REMUS_P_RUNNING || (m->state == REMUS_P_IN_FLIGHT && (!m->paused || m->braked))) {
		primary_send_end(m, REMUS_END_UNPROTECT, ev->now_us, out, "the operator ends protection");
		primary_brake_off(m, ev->now_us, out);
	} else if (m->state == REMUS_P_HELD) {
		primary_go_on_alone(m, out, "released by the operator");
	} else if (m->state == REMUS_P_CLAIMING) {
		remus_do_event(out, REMUS_LEVEL_WARNING, "refused",
			       "unprotect: the arbiter has not said who runs the guest; once the backup is "
			       "known not "
			       "to run it, use `unprotect --force`");
	} else if (!m->armed && !primary_over(m)) {
		m->code = -ECANCELED;
		primary_give_up(m, "the operator ended protection before it was complete", out);
	}
}
