/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backup's part in drills (drill.h): one at a time, and the guest itself comes first. */
#include "backup.h"

#include <stdio.h>
#include <string.h>

#include "drill.h"

#define DRILL_MS 5000u /* unless the supervisor says otherwise */

static void tell(struct backup *b, const struct remus_drill *drill)
{
	b->up->event(b->up->context, drill->passed ? REMUS_LEVEL_INFO : REMUS_LEVEL_WARNING, "drill",
		     drill->text);
	if (b->up->drilled)
		b->up->drilled(b->up->context, drill);
}

static void tell_refused(struct backup *b, const char *why)
{
	struct remus_drill none = {0};

	snprintf(none.text, sizeof none.text, "no drill was held: %.400s", why);
	tell(b, &none);
}

void backup_drill(struct backup *b, const char *why_not)
{
	struct remus_error err = REMUS_ERROR_INIT;

	if (*why_not || b->drill) {
		tell_refused(b, *why_not ? why_not : "one is under way");
		return;
	}
	struct shell_drill_wanted wanted = {
		.ops = b->guest->standby->ops,
		.description = b->hello.description,
		.name = b->hello.domain,
		.dir = b->up->standby_dir(b->up->context),
		.run_ms = b->up->drill_ms ? b->up->drill_ms(b->up->context) : DRILL_MS,
	};
	if (shell_drill_start(&wanted, &b->drill, &err) < 0)
		tell_refused(b, err.message);
}

/* A seed of its own, never another copy's (I12). What can't be had is done without. */
static void copy(struct backup *b)
{
	struct shell_drill_renewal renewal = {0};

	if (remus_entropy_take(b->entropy, "drill", renewal.seed, renewal.fingerprint, NULL) < 0)
		*renewal.fingerprint = 0;
	renewal.clock_known = backup_clock_compute(b, &renewal.truth);
	renewal.guest_clock = b->clock.facts.guest;
	if (!renewal.clock_known)
		backup_truth_of_this_host(&renewal.truth);
	renewal.agent_known = b->agent.version[0];
	shell_drill_copy(b->drill, b->guest->standby, &renewal);
}

void backup_poll_drill(struct backup *b)
{
	enum shell_drill_turn turn = b->drill ? shell_drill_turn(b->drill) : SHELL_DRILL_WAIT;

	if (turn == SHELL_DRILL_COPY && b->guest->standby)
		copy(b);
	if (turn != SHELL_DRILL_OVER)
		return;
	tell(b, shell_drill_result(b->drill));
	backup_end_drill(b);
}

void backup_end_drill(struct backup *b)
{
	shell_drill_destroy(b->drill);
	b->drill = NULL;
}
