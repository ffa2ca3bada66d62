/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scripts for the state machine tests: each line is an event, the actions that must come out (as text) and the
 * state afterwards. "CAPTURE:1" = action CAPTURE with epoch 1; "SEND:ACK"; "EVENT:solo"; "SET_TIMER:EPOCH".
 */
#ifndef REMUS_MACHINE_SCRIPT_H
#define REMUS_MACHINE_SCRIPT_H

#include "remus/protocol.h"
#include "unit.h"

struct line {
	struct remus_event event;
	const char *actions;
	const char *state;
};

static const char *const timer_names[REMUS_TIMERS] = {"SETUP",	  "EPOCH", "ACK",   "END",
						      "HANDOVER", "RETRY", "RENEW", "BRAKE"};

static inline void render(const struct remus_actions *actions, char *out, size_t size)
{
	size_t n = 0;

	out[0] = 0;
	for (unsigned i = 0; i < actions->count && n < size; i++) {
		const struct remus_action *a = &actions->list[i];
		n += (size_t)snprintf(out + n, size - n, "%s%s", i ? " " : "",
				      remus_action_name(a->type) + 3);
		if (a->type == REMUS_DO_SEND)
			n += (size_t)snprintf(out + n, size - n, ":%s", remus_frame_name(a->frame));
		else if (a->type == REMUS_DO_EVENT)
			n += (size_t)snprintf(out + n, size - n, ":%s", a->kind);
		else if (a->type == REMUS_DO_SET_TIMER || a->type == REMUS_DO_CANCEL_TIMER)
			n += (size_t)snprintf(out + n, size - n, ":%s", timer_names[a->timer]);
		else if (a->epoch)
			n += (size_t)snprintf(out + n, size - n, ":%llu", (unsigned long long)a->epoch);
	}
}

typedef void step_function(void *machine, const struct remus_event *event, struct remus_actions *out);
typedef const char *word_function(const void *machine);

static inline void play(const char *script, void *machine, step_function *step, word_function *word,
			const struct line *lines, size_t count)
{
	static struct remus_actions actions;
	char text[2048];

	for (size_t i = 0; i < count; i++) {
		step(machine, &lines[i].event, &actions);
		render(&actions, text, sizeof text);
		if (strcmp(text, lines[i].actions) || strcmp(word(machine), lines[i].state))
			printf("\n    %s, line %zu (%s):\n      want %s [%s]\n      have %s [%s]\n", script,
			       i + 1, remus_event_name(lines[i].event.type), lines[i].actions, lines[i].state,
			       text, word(machine));
		CU_ASSERT_STRING_EQUAL(text, lines[i].actions);
		CU_ASSERT_STRING_EQUAL(word(machine), lines[i].state);
	}
}

/* Frame events: header and payload live in static storage, one per type and epoch used in a table. */
#define FRAME(kind, n, bytes, body)                                                          \
	{                                                                                    \
		.type = REMUS_EV_FRAME,                                                      \
		.header = &(const struct remus_frame_header){.type = REMUS_FRAME_##kind,     \
							     .flags = REMUS_FRAME_MANDATORY, \
							     .epoch = (n),                   \
							     .length = (bytes)},             \
		.payload = (const uint8_t *)(body),                                          \
	}
#define EMPTY(kind, n) FRAME(kind, n, 0, "")
#define ACK(n)	       FRAME(ACK, n, 8, "\x07\0\0\0\0\0\0\0") /* digest 7 */
#define EV(name)                                       \
	{                                              \
		.type = REMUS_EV_##name, .text = "why" \
	}
#define TIMER(name)                                                 \
	{                                                           \
		.type = REMUS_EV_TIMER, .timer = REMUS_TIMER_##name \
	}
#define CLAIMED(how)                                                              \
	{                                                                         \
		.type = REMUS_EV_CLAIM, .claim = REMUS_CLAIM_##how, .text = "why" \
	}
#define FAILED(what)                                                                            \
	{                                                                                       \
		.type = REMUS_EV_FAILED, .action = REMUS_DO_##what, .code = -EIO, .text = "why" \
	}

#endif
