/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's decisions when what it wanted done could not be done: the epoch is given up and tried again, the
 * session ended, or the backup told to take over. An action that fails drops what follows it in its step.
 *
 * I8  whatever fails, the guest is made to run again or is the backup's.
 * I9  ABORT_EPOCH gives the pages of an epoch that was given up back to be sent.
 */
#include "primary_machine.h"

#define CAPTURE_ATTEMPTS 3 /* failed captures or resumes in a row before protection is given up */
#define RETRY_PAUSE_US	 50000

/* A pause came to nothing: the guest runs on, the same epoch is tried again (I8, I9). */
static void capture_failed(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	bool handing_over = m->state == REMUS_P_HANDING_OVER;

	m->aborted++;
	m->failures++;
	bool ends = m->failures >= CAPTURE_ATTEMPTS && m->epoch > 1;
	remus_do_epoch(out, REMUS_DO_ABORT_EPOCH, m->epoch);
	if (!ends)
		remus_do(out, REMUS_DO_RESUME);
	m->paused = false;
	if (m->epoch == 1)
		m->armed = false; /* nothing of epoch 1 was sent */
	m->epoch = m->committed;
	m->state = m->committed ? REMUS_P_RUNNING : REMUS_P_SYNCING;
	remus_do_event(out, REMUS_LEVEL_WARNING, "failed", "epoch given up: %s", remus_text(ev));
	if (handing_over) {
		m->handover_wanted = false;
		remus_do_text(out, REMUS_DO_REPORT, "hand-over failed: %s", remus_text(ev));
	}
	if (m->failures >= CAPTURE_ATTEMPTS)
		m->code = ev->code;
	if (ends) {
		primary_send_end(m, REMUS_END_ERROR, ev->now_us, out, remus_text(ev));
		remus_do(out, REMUS_DO_RESUME); /* last: if it fails, the END is on its way all the same */
	} else if (m->failures >= CAPTURE_ATTEMPTS) {
		primary_give_up(m, remus_text(ev), out);
	} else {
		remus_do_timer(out, REMUS_TIMER_EPOCH, ev->now_us + m->config.interval_us);
	}
}

/* The guest is captured and stands still. Keep trying; at last let the backup have it. */
static void resume_failed(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	m->paused = true;
	m->braked = false;
	remus_do_event(out, REMUS_LEVEL_ERROR, "failed", "the guest could not be resumed: %s",
		       remus_text(ev));
	/* After END the backup has no copy: this one must not be given up. */
	if (++m->failures < CAPTURE_ATTEMPTS || m->state == REMUS_P_CLAIMING ||
	    m->state == REMUS_P_UNPROTECTING || primary_over(m))
		remus_do_timer(out, REMUS_TIMER_RETRY, ev->now_us + RETRY_PAUSE_US);
	else if (m->committed && m->linked)
		primary_send_domain_lost(m, ev->now_us, out, "the guest cannot be resumed here");
	else
		remus_do_timer(out, REMUS_TIMER_RETRY, ev->now_us + m->config.retry_us);
}

/* What followed the release in its step was dropped, but the machine has moved on: take that back, or make up for it. */
static void release_failed(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	remus_do_event(out, REMUS_LEVEL_ERROR, "failed", "held output cannot be released: %s",
		       remus_text(ev));
	if (m->guest_gone)
		return;
	if (m->state == REMUS_P_HANDING_OVER && m->epoch == m->committed) {
		/* The guest stands still for the backup's sake: to the network its last output is lost, it is not. */
		primary_say_handover(m, ev, out);
		return;
	}
	if (m->state != REMUS_P_RUNNING && m->state != REMUS_P_IN_FLIGHT && m->state != REMUS_P_HANDING_OVER)
		return;
	m->epoch = m->committed; /* the next one was to begin: its PAUSE was dropped */
	m->paused = false;
	m->handover_wanted = false;
	primary_send_end(m, REMUS_END_ERROR, ev->now_us, out, remus_text(ev));
}

void primary_on_failed(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	switch (ev->action) {
	case REMUS_DO_PAUSE:
	case REMUS_DO_CAPTURE:
	case REMUS_DO_HOLD:
	case REMUS_DO_SEAL:
		if (m->state != REMUS_P_IN_FLIGHT && m->state != REMUS_P_HANDING_OVER)
			return;
		if (ev->code == REMUS_EPOCH_LARGE) { /* trying again would not make it smaller */
			m->paused = true;
			primary_epoch_too_large(m, ev, out);
		} else {
			capture_failed(m, ev, out);
		}
		return;
	case REMUS_DO_RESUME:
		resume_failed(m, ev, out);
		return;
	case REMUS_DO_SEND_EPOCH:
		if (m->state != REMUS_P_IN_FLIGHT && m->state != REMUS_P_HANDING_OVER)
			return;
		if (ev->code == REMUS_EPOCH_LATE || ev->code == REMUS_EPOCH_LARGE)
			primary_epoch_too_large(m, ev, out);
		else
			primary_link_is_lost(m, remus_text(ev), out);
		return;
	case REMUS_DO_RELEASE:
		release_failed(m, ev, out);
		return;
	case REMUS_DO_DISCARD:
		remus_do_event(out, REMUS_LEVEL_ERROR, "failed", "held output cannot be dropped: %s",
			       remus_text(ev));
		if (m->state ==
		    REMUS_P_DISCARDED) /* dropped with the step: the copy must go all the same (I5) */
			remus_do(out, REMUS_DO_DESTROY);
		if (primary_over(m))
			remus_do_text(out, REMUS_DO_END, "%s", remus_text(ev));
		return;
	case REMUS_DO_DESTROY:
		remus_do_event(out, REMUS_LEVEL_ERROR, "failed",
			       "our copy of the guest could not be destroyed, its output stays closed: %s",
			       remus_text(ev));
		remus_do_timer(out, REMUS_TIMER_RETRY, ev->now_us + m->config.retry_us);
		return;
	case REMUS_DO_PASS:
		if (!primary_over(m) || m->guest_gone)
			break;
		/* The guest is here and may run, but nobody hears it: nothing else will open its network. */
		if (!m->failures++)
			remus_do_event(out, REMUS_LEVEL_ERROR, "failed",
				       "the guest's network cannot be opened, trying again: %s",
				       remus_text(ev));
		remus_do_timer(out, REMUS_TIMER_RETRY, ev->now_us + m->config.retry_us);
		return;
	default:
		break;
	}
	if (primary_over(m)) {
		remus_do_event(out, REMUS_LEVEL_ERROR, "failed", "%s: %s", remus_action_name(ev->action),
			       remus_text(ev));
		remus_do_text(out, REMUS_DO_END, "%s", remus_text(ev));
	} else if (!m->armed) {
		m->code = ev->code;
		primary_give_up(m, remus_text(ev), out);
	} else {
		remus_do_event(out, REMUS_LEVEL_ERROR, "failed", "%s: %s", remus_action_name(ev->action),
			       remus_text(ev));
	}
}

/* What didn't work or had no answer: the claim, a resume, the end of a session. */
void primary_on_retry(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (m->state == REMUS_P_CLAIMING && !m->claiming)
		primary_ask_arbiter(m, out); /* first: a resume that fails drops what follows it */
	if (m->paused && !m->guest_gone && m->state != REMUS_P_HANDING_OVER) {
		remus_do(out, REMUS_DO_RESUME);
		m->paused = false;
		if (m->state == REMUS_P_IN_FLIGHT && !m->sent)
			primary_send_epoch(m, out, false);
		else if (m->state == REMUS_P_RUNNING || (m->state == REMUS_P_SYNCING && m->failures))
			remus_do_timer(out, REMUS_TIMER_EPOCH, ev->now_us + m->config.interval_us);
	}
	if (m->state == REMUS_P_DISCARDED) {
		remus_do(out, REMUS_DO_DESTROY);
		remus_do_text(out, REMUS_DO_END, "the other side runs the guest");
	} else if (primary_over(m)) {
		m->tracking = true; /* what followed the failed resume was dropped */
		primary_let_go(m, out);
		if (m->state == REMUS_P_ENDED)
			remus_do(out, REMUS_DO_RETIRE);
		remus_do_text(out, REMUS_DO_END, "%s", "");
	}
}
