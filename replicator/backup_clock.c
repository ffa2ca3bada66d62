/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the backup's shell does about time (I12): it keeps the facts of the epoch that its image is (I3), and how the
 * primary's clock stood to this one when the link was last there, so that at activation the right time is known
 * without asking anybody. Computed in clock.h; nothing here can delay or fail an activation.
 */
#include "backup.h"

#include <inttypes.h>
#include <stdio.h>

#include "remus/log.h"
#include "remus/util.h"

void backup_clock_verified(struct backup *b)
{
	struct remus_clock_reading now;

	remus_clock_read(&now);
	remus_clock_verified(&b->clock, now.raw_ns);
}

void backup_clock_applied(struct backup *b, const struct remus_clock_facts *facts)
{
	remus_clock_applied(&b->clock, facts);
	backup_clock_link(b);
}

void backup_clock_link(struct backup *b)
{
	if (b->link)
		b->clock.anchor_ns = remus_link_clock(b->link, &b->clock.offset);
}

bool backup_clock_compute(struct backup *b, struct remus_truth *out)
{
	struct remus_clock_reading now;

	if (!b->clock.facts.realtime_ns)
		return false;
	backup_clock_link(b);
	remus_clock_sync(&b->clock.here);
	remus_clock_read(&now);
	remus_clock_truth(&b->clock, &now, out);
	return true;
}

void backup_clock_set(struct backup *b)
{
	struct remus_standby *s = b->guest->standby;
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_truth truth;

	if (!s->ops->set_time || !backup_clock_compute(b, &truth))
		return;
	if (s->ops->set_time(s, &truth, &b->clock.facts.guest, &err) < 0)
		b->up->event(b->up->context, REMUS_LEVEL_WARNING, "clock", err.message);
}

void backup_clock_activated(struct backup *b)
{
	char text[REMUS_REASON_MAX];
	const struct remus_truth *t = &b->truth;

	b->truth_known = backup_clock_compute(b, &b->truth);
	if (!b->truth_known) {
		b->up->event(b->up->context, REMUS_LEVEL_WARNING, "clock",
			     "the primary sent no clock: nobody knows how long the guest stood still");
		return;
	}
	snprintf(text, sizeof text,
		 "the guest stood still for %" PRIu64 ".%03" PRIu64 " ms, give or take %" PRIu64 ".%03" PRIu64
		 " ms; the right time is %s's, %s%" PRIu64 ".%03" PRIu64 " ms after the pause",
		 t->gap_ns / 1000000, t->gap_ns / 1000 % 1000, t->gap_error_ns / 1000000,
		 t->gap_error_ns / 1000 % 1000, t->source == REMUS_TIME_HERE ? "this host" : "the primary",
		 t->correction_ns < 0 ? "-" : "", (uint64_t)llabs(t->correction_ns) / 1000000,
		 (uint64_t)llabs(t->correction_ns) / 1000 % 1000);
	b->up->event(b->up->context, REMUS_LEVEL_INFO, "clock", text);
}

void backup_clock_status(struct backup *b)
{
	struct remus_clock_status *s = &b->status.clock;

	if (b->guest->standby) /* not for who only asks, or isn't known yet */
		shell_clock_look(&b->watch, b->link, s, &(struct shell_voice){b->up->context, b->up->event});
	s->policy = b->clock.facts.policy;
	s->activated = b->truth_known;
	s->truth = b->truth;
}

int backup_truth(const struct backup *b, struct remus_truth *out)
{
	struct remus_clock_reading now;

	if (!b->truth_known)
		return -ENODATA;
	remus_clock_read(&now);
	remus_clock_carry(&b->truth, &now, out);
	return 0;
}
