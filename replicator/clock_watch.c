/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What both shells watch of the clocks while a session lives: whether the two hosts' are synchronised and how far apart,
 * and whether this one's was set. What an operator should know of it is written by the same code as in a check; it
 * stands in the status as long as it is true, and is told once when it begins. Nothing of the guest's time depends
 * on it.
 */
#include "shell.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remus/host.h"
#include "remus/util.h"

#define PERIOD_US   1000000u
#define SAMPLES_MIN 4	     /* of the offset, before a skew is told of */
#define SLEW_FACTOR 8	     /* a client slews by an eighth at most (chrony: 8.3 %) */
#define STEP_MIN_NS 20000000 /* what isn't told of */

/* Was CLOCK_REALTIME set since the last look? What it gained on the raw clock says so. */
static void look_for_step(struct shell_clock *c, const struct remus_clock_reading *now,
			  const struct shell_voice *v)
{
	int64_t wall_ns = now->realtime_ns - (int64_t)now->raw_ns, gained = wall_ns - c->wall_ns;
	int64_t allowed = (int64_t)(now->raw_ns - c->raw_ns) / SLEW_FACTOR + STEP_MIN_NS;
	char text[REMUS_REASON_MAX];

	if (c->raw_ns && llabs(gained) > allowed) {
		snprintf(text, sizeof text,
			 "this host's clock was set %s by %" PRId64
			 " ms; the guest's time doesn't depend on it",
			 gained < 0 ? "back" : "forward", (int64_t)llabs(gained) / 1000000);
		v->event(v->context, REMUS_LEVEL_WARNING, "clock", text);
	}
	c->wall_ns = wall_ns;
	c->raw_ns = now->raw_ns;
}

static bool stood(const struct remus_clock_status *before, const char *subject)
{
	for (unsigned i = 0; i < before->warnings; i++)
		if (!strcmp(before->warning[i].subject, subject))
			return true;
	return false;
}

/* Those that weren't there before are told. */
static void take_warnings(const struct remus_report *report, struct remus_clock_status *s,
			  const struct shell_voice *v)
{
	struct remus_clock_status before = *s;
	char text[REMUS_REASON_MAX];

	s->warnings = 0;
	for (uint32_t i = 0; i < report->count && s->warnings < REMUS_WARNINGS_MAX; i++) {
		const struct remus_finding *f = &report->list[i];
		struct remus_warning *w = &s->warning[s->warnings];
		if (f->severity != REMUS_FINDING_WARNING)
			continue;
		s->warnings++;
		snprintf(w->subject, sizeof w->subject, "%s", f->subject);
		snprintf(w->text, sizeof w->text, "%.*s; %.*s", (int)sizeof w->text / 2 - 2, f->what,
			 (int)sizeof w->text / 2 - 2, f->remedy);
		if (stood(&before, w->subject))
			continue;
		snprintf(text, sizeof text, "%.*s", (int)sizeof text - 1, w->text);
		v->event(v->context, REMUS_LEVEL_WARNING, "clock", text);
	}
}

void shell_clock_look(struct shell_clock *c, struct remus_link *link, struct remus_clock_status *s,
		      const struct shell_voice *v)
{
	struct remus_clock_reading now;
	struct remus_link_stats stats;

	remus_clock_read(&now);
	if (c->raw_ns && now.raw_ns < c->raw_ns + PERIOD_US * 1000u)
		return;
	look_for_step(c, &now, v);
	remus_clock_sync(&s->here);
	if (!link)
		return; /* what was known of the peer stays */
	remus_link_stats(link, &stats);
	s->known = stats.clock_samples > 0;
	s->offset_us = stats.clock_offset_us;
	s->error_us = stats.clock_error_us;
	s->peer_known = stats.peer_told;
	s->peer = (struct remus_clock_sync){stats.peer_synchronised, stats.peer_error_us * 1000u};
	if (!c->report)
		c->report = malloc(sizeof *c->report);
	if (!c->report)
		return;
	memset(c->report, 0, sizeof *c->report);
	remus_host_check_clock(&s->here, false, c->report);
	if (s->peer_known)
		remus_host_check_clock(&s->peer, true, c->report);
	if (stats.clock_samples >= SAMPLES_MIN)
		remus_host_check_skew(s->offset_us, s->error_us, c->report);
	take_warnings(c->report, s, v);
}

void shell_clock_end(struct shell_clock *c)
{
	free(c->report);
	c->report = NULL;
}
