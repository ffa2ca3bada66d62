/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The loop around a state machine, the same for both shells: step, carry out, raise, step again. */
#include "shell.h"

#include <stdio.h>
#include <string.h>
#include "remus/log.h"
#include "remus/util.h"

struct remus_event *shell_raise(struct shell_feed *feed, enum remus_event_type type, const char *text)
{
	static struct remus_event overflow; /* can't happen; keeps a bug from writing past the queue */

	if (feed->queued == SHELL_QUEUE) {
		remus_error_log("event queue overflow at %s", remus_event_name(type));
		return &overflow;
	}
	struct remus_event *ev = &feed->queue[feed->queued];
	memset(ev, 0, sizeof *ev);
	ev->type = type;
	snprintf(feed->text[feed->queued], REMUS_REASON_MAX, "%s", text ? text : "");
	feed->queued++;
	return ev;
}

/* Take the oldest queued event; its text is copied to @text, which must outlive the step. */
static bool pop(struct shell_feed *feed, struct remus_event *ev, char text[REMUS_REASON_MAX])
{
	if (!feed->queued)
		return false;
	*ev = feed->queue[0];
	memcpy(text, feed->text[0], REMUS_REASON_MAX);
	ev->text = text;
	feed->queued--;
	memmove(&feed->queue[0], &feed->queue[1], feed->queued * sizeof feed->queue[0]);
	memmove(&feed->text[0], &feed->text[1], feed->queued * sizeof feed->text[0]);
	return true;
}

static void carry_out(struct shell_feed *feed, const struct remus_actions *actions)
{
	for (unsigned i = 0; i < actions->count; i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		const struct remus_action *action = &actions->list[i];
		int rc = feed->carry_out(feed->shell, action, &err);

		if (rc >= 0)
			continue;
		remus_debug("%s failed: %s", remus_action_name(action->type), err.message);
		struct remus_event *failed = shell_raise(feed, REMUS_EV_FAILED, err.message);
		failed->action = action->type;
		failed->code = rc;
		return;
	}
}

void shell_feed(struct shell_feed *feed, const struct remus_event *event)
{
	struct remus_actions actions;
	struct remus_event ev = *event;
	char text[REMUS_REASON_MAX];

	do {
		ev.now_us = remus_now_us();
		feed->step(feed->machine, &ev, &actions);
		carry_out(feed, &actions);
	} while (pop(feed, &ev, text));
}

void shell_feed_simple(struct shell_feed *feed, enum remus_event_type type, const char *text)
{
	struct remus_event ev = {.type = type, .text = text};
	shell_feed(feed, &ev);
}
