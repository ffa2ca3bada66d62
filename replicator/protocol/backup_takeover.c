/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's decisions from the loss of its primary, or its word, until the guest is heard again: the claim, the
 * activation, the renewal.
 *
 * I5  ACTIVATE needs a won claim (or the operator's word in its place).
 * I12 PASS and ANNOUNCE follow ACTIVATED, and the guest's renewal or the end of the patience with it. The primary that
 *     handed over is told before: its copy has nothing to wait for.
 */
#include "backup_machine.h"

#include <stdio.h>

void backup_take_over(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out,
		      bool primary_gone)
{
	uint64_t n = ev->header->epoch;
	char what[160];

	if (m->state != REMUS_B_STANDBY || (!primary_gone && n != m->committed)) {
		snprintf(what, sizeof what, "%s at epoch %llu while %s at epoch %llu",
			 remus_frame_name(ev->header->type), (unsigned long long)n, remus_backup_word(m),
			 (unsigned long long)m->committed);
		backup_protocol_error(m, out, what);
		return;
	}
	backup_forget_staged(m, out);
	m->handover = true;
	m->primary_gone = primary_gone;
	remus_do_event(out, REMUS_LEVEL_WARNING, "primary-lost", "%s epoch %llu",
		       primary_gone ? "the guest died on the primary: taking over at"
				    : "the primary hands over at",
		       (unsigned long long)m->committed);
	backup_enter(m, REMUS_B_CLAIMING, out,
		     primary_gone ? "the guest died on the primary" : "planned hand-over");
	backup_ask_arbiter(m, out);
}

void backup_activate(struct remus_backup *m, struct remus_actions *out, const char *why)
{
	m->won = true;
	backup_enter(m, REMUS_B_ACTIVATING, out, why);
	remus_do_epoch(out, REMUS_DO_ACTIVATE, m->committed);
}

void backup_on_claim(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (m->state != REMUS_B_CLAIMING || !m->claiming)
		return;
	m->claiming = false;
	if (ev->claim == REMUS_CLAIM_WON) {
		remus_do_event(out, REMUS_LEVEL_INFO, "claim-won", "the arbiter gave the guest to this host");
		backup_activate(m, out, "claim won");
	} else if (ev->claim == REMUS_CLAIM_LOST) {
		backup_give_up(m, out, REMUS_LEVEL_WARNING, "claim lost: the guest goes on at the primary");
	} else {
		/* The primary waits with a paused guest. We can't cede: our claim may have been carried out with only
		 * its answer lost, and a REFUSE that is lost too would leave a primary that has lost the claim to a
		 * dropped standby. It shall ask the arbiter itself. */
		if (m->handover && !m->primary_gone)
			backup_close_link(m, out);
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
	backup_enter(m, REMUS_B_ACTIVE, out, "activated; not protected");
	remus_do(out, REMUS_DO_PASS);
	remus_do(out, REMUS_DO_ANNOUNCE);
	remus_do_text(out, REMUS_DO_END, "activated");
}

void backup_on_activated(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (m->state != REMUS_B_ACTIVATING)
		return;
	remus_do_event(out, REMUS_LEVEL_WARNING, "activated",
		       "the guest runs here since epoch %llu, UNPROTECTED until protected anew",
		       (unsigned long long)m->committed);
	backup_enter(m, REMUS_B_RENEWING, out, "activated; its network waits until the guest is renewed");
	remus_do(out, REMUS_DO_RENEW);
	if (m->linked)
		remus_do_send(out, REMUS_FRAME_ACTIVATED, m->committed);
	backup_close_link(m, out);
	if (ev->wait_us)
		remus_do_timer(out, REMUS_TIMER_RENEW, ev->now_us + ev->wait_us);
	else
		open_egress(m, out);
}

void backup_on_renewed(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (m->state != REMUS_B_RENEWING)
		return;
	remus_do_cancel(out, REMUS_TIMER_RENEW);
	remus_do_event(out, ev->clean ? REMUS_LEVEL_INFO : REMUS_LEVEL_WARNING,
		       ev->clean ? "renewed" : "not-renewed", "%s", remus_text(ev));
	open_egress(m, out);
}

/* The process shall end: whoever forwards the guest's network next opens it. */
void backup_stop_waiting(struct remus_backup *m, struct remus_actions *out)
{
	remus_do_cancel(out, REMUS_TIMER_RENEW);
	remus_do_event(out, REMUS_LEVEL_WARNING, "not-renewed",
		       "told to end before the guest's agent has answered: its random numbers may be those "
		       "of another "
		       "activation of the same checkpoint, and its clock may be behind");
	backup_enter(m, REMUS_B_ACTIVE, out, "activated; not protected");
	remus_do_text(out, REMUS_DO_END, "activated");
}

/* Nobody waits for ever on a guest that may have hung itself up: what isn't guaranteed is said instead. */
void backup_renewal_is_late(struct remus_backup *m, struct remus_actions *out)
{
	remus_do_event(out, REMUS_LEVEL_WARNING, "not-renewed",
		       "the guest's agent has not answered in time, and the guest's network is opened all "
		       "the same: its "
		       "random numbers may be those of another activation of the same checkpoint, and its "
		       "clock may be "
		       "behind, until it answers");
	open_egress(m, out);
}

void backup_activation_failed(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out)
{
	remus_do_event(out, REMUS_LEVEL_ERROR, "activation-failed", "%s", remus_text(ev));
	if (m->handover && !m->primary_gone && m->linked) {
		backup_refuse_and_drop(m, out, ev->code, remus_text(ev));
	} else if (++m->attempts < m->config.activate_attempts) {
		remus_do_timer(out, REMUS_TIMER_RETRY, ev->now_us + m->config.retry_us);
	} else {
		backup_give_up(m, out, REMUS_LEVEL_ERROR,
			       "the guest could not be activated: it runs nowhere");
	}
}
