/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that changes more than the link carries. The next pause waits for the ack (I10), so the interval stretches
 * by itself, and with it the next epoch: what the guest sends is held longer and longer. A *turn* is the time from an
 * epoch's pause to its ack. One beyond max_interval_us is overload; what is done then is the operator's policy:
 *
 *   stretch   nothing but to say so; the interval grows with the load
 *   throttle  the guest stands still for a part of each turn, while its epoch is on the way (QEMU's migration calls
 *             this auto-converge), but not beyond its ack: 20 % at first, 20 more for each turn that is still too long, 90 at most and never more
 *             than half of an epoch's deadline; less again once a turn takes no more than half of what it may
 *   drop      protection ends, the guest goes on here (I7)
 *
 * Whatever the policy, an epoch has a deadline for being sent, and may not be larger than the backup has room for. One
 * that fails there ends protection in order, by END: its COMMIT was not sent, so the backup cannot hold it, and a lost
 * link, which could end in a failover, is not made of a busy guest. One that was sent and isn't acknowledged in time
 * (it may still be in the kernel's buffers) is answered by END too; if that isn't answered either, the link is lost. The
 * overload is over when no turn was too long for
 * ten times the bound. Epoch 1 carries what the full copy left, and isn't judged by its turn.
 */
#include "primary_machine.h"

#define THROTTLE_STEP 20u /* percent */
#define THROTTLE_MAX  90u

const char *remus_overload_word(enum remus_overload_policy policy)
{
	static const char *const words[] = {"stretch", "throttle", "drop"};

	return words[policy];
}

static uint64_t deadline_us(const struct remus_primary *m)
{
	bool strict = m->config.on_overload == REMUS_OVERLOAD_DROP && m->epoch > 1;

	return m->config.max_interval_us * (strict ? 1 : REMUS_STRETCH_MAX);
}

/* How long the guest stands still from the pause on. */
static uint64_t brake_us(const struct remus_primary *m)
{
	uint64_t brake = m->turn_us * m->throttle / 100;
	uint64_t most = m->config.max_interval_us * REMUS_STRETCH_MAX / 2;

	return brake < most ? brake : most;
}

bool primary_brakes(const struct remus_primary *m)
{
	return m->throttle > 0;
}

void primary_send_epoch(struct remus_primary *m, struct remus_actions *out, bool paused)
{
	struct remus_action *send = remus_do(out, REMUS_DO_SEND_EPOCH);

	send->epoch = m->epoch;
	send->at_us = m->begun_us + deadline_us(m);
	if (paused)
		send->value = m->begun_us + brake_us(m);
}

/* The epoch is with the kernel, and the guest may stand still for some time yet. */
void primary_brake_sent(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	if (!m->braked)
		return;
	if (ev->resumed_us)
		m->braked = m->paused = false;
	else
		remus_do_timer(out, REMUS_TIMER_BRAKE, m->begun_us + brake_us(m));
}

void primary_brake_off(struct remus_primary *m, uint64_t now, struct remus_actions *out)
{
	if (!m->braked)
		return;
	m->braked = m->paused = false;
	m->resumed_us = now;
	remus_do(out, REMUS_DO_RESUME); /* last in its step: if it fails, it is tried again */
}

static void drop_protection(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out,
			    const char *why)
{
	m->code = ev->code ? ev->code : REMUS_EPOCH_LATE;
	m->handover_wanted = false;
	primary_send_end(m, REMUS_END_ERROR, ev->now_us, out, why);
	/* The END waits behind what the link has not carried yet. */
	remus_do_timer(out, REMUS_TIMER_END, ev->now_us + m->config.end_us + m->config.ack_us);
}

static void too_long(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	bool throttles = m->config.on_overload == REMUS_OVERLOAD_THROTTLE;

	m->late_us = ev->now_us;
	if (throttles)
		m->throttle = m->throttle + THROTTLE_STEP < THROTTLE_MAX ? m->throttle + THROTTLE_STEP
									 : THROTTLE_MAX;
	if (m->overloaded)
		return;
	m->overloaded = true;
	remus_do_event(
		out, REMUS_LEVEL_WARNING, "overload",
		"epoch %llu took %llu ms, more than the %llu that it may: the guest changes more than the "
		"link and the backup take; %s",
		(unsigned long long)m->committed, (unsigned long long)(m->turn_us / 1000),
		(unsigned long long)(m->config.max_interval_us / 1000),
		throttles ? "it is slowed down until they can follow"
		: m->config.on_overload == REMUS_OVERLOAD_DROP
			? "protection ends, as policy says"
			: "the interval grows, and what the guest sends is held for longer");
}

/* The epoch of this ack is through. */
void primary_turn_done(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	uint64_t bound = m->config.max_interval_us;

	m->turn_us = ev->now_us - m->begun_us;
	if (m->committed == 1)
		return;
	if (m->turn_us > bound) {
		too_long(m, ev, out);
		if (m->config.on_overload == REMUS_OVERLOAD_DROP)
			drop_protection(m, ev, out, "overload: the guest changes more than the link carries");
		return;
	}
	if (!m->overloaded)
		return;
	if (m->throttle && m->turn_us <= bound / 2)
		m->throttle = m->throttle > THROTTLE_STEP ? m->throttle - THROTTLE_STEP : 0;
	if (!m->throttle && ev->now_us - m->late_us >= bound * REMUS_STRETCH_MAX) {
		m->overloaded = false;
		remus_do_event(out, REMUS_LEVEL_INFO, "overload-over",
			       "the link and the backup keep up with the guest again, at epoch %llu",
			       (unsigned long long)m->committed);
	}
}

/* It was sent, into buffers at least, and the peer is alive: as long as END is answered this is no lost link. */
void primary_not_acknowledged(struct remus_primary *m, const struct remus_event *ev,
			      struct remus_actions *out)
{
	remus_do_event(out, REMUS_LEVEL_ERROR, "overload",
		       "epoch %llu was sent and has not been acknowledged for %llu ms: the link or the "
		       "backup does not "
		       "keep up",
		       (unsigned long long)m->epoch, (unsigned long long)(m->config.ack_us / 1000));
	drop_protection(m, ev, out, "no acknowledgement within the deadline");
	primary_brake_off(m, ev->now_us, out);
}

/* It won't be sent: what is there of it goes with the END. */
void primary_epoch_too_large(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out)
{
	bool first = m->epoch == 1;

	m->aborted++;
	remus_do_epoch(out, REMUS_DO_ABORT_EPOCH, m->epoch);
	m->epoch = m->committed;
	remus_do_event(out, REMUS_LEVEL_ERROR, "overload", "%s", remus_text(ev));
	if (first) { /* the backup has nothing that it could activate */
		m->armed = false;
		m->code = ev->code;
		primary_give_up(m, remus_text(ev), out);
		return;
	}
	drop_protection(m, ev, out, remus_text(ev));
	if (m->paused)
		remus_do(out, REMUS_DO_RESUME); /* last: if it fails, the END is on its way all the same */
	m->paused = m->braked = false;
}
