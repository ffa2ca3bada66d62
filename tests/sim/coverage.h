/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which event met which state, and which state followed which, of both machines. The pairs that cannot occur are
 * listed with the reason (unreachable.c); all others must have been visited by a run of the size of `make check`, and
 * one listed that was visited all the same is an error of the list.
 */
#ifndef SIM_COVERAGE_H
#define SIM_COVERAGE_H

#include <stdbool.h>
#include <stdint.h>
#include "remus/protocol.h"

#define COVER_STATES 13
#define COVER_FRAMES (REMUS_FRAME_ENTROPY + 1)
/* Event types, frames by their type, timers by their name, claims by their answer, failures by their action. */
enum {
	COVER_FRAME = REMUS_EVENT_TYPES,
	COVER_TIMER = COVER_FRAME + COVER_FRAMES,
	COVER_CLAIM = COVER_TIMER + REMUS_TIMERS,
	COVER_FAILED = COVER_CLAIM + 3,
	COVER_EVENTS = COVER_FAILED + REMUS_ACTION_TYPES,
};

struct coverage {
	uint64_t pair[2][COVER_STATES][COVER_EVENTS];
	uint64_t step[2][COVER_STATES][COVER_STATES];
};

unsigned coverage_event(const struct remus_event *event);
void coverage_note(struct coverage *c, int role, unsigned before, const struct remus_event *event,
		   unsigned after);
const char *coverage_state_name(int role, unsigned state);
/* Print the table. Returns how many pairs are wrong: missing, or visited though listed as unreachable. */
unsigned coverage_print(const struct coverage *c, bool enforce);

/* unreachable.c: why the pair can't occur, NULL = it can */
const char *unreachable_pair(int role, unsigned state, unsigned event);
/* ... it can, but a run of `make check` may miss it */
bool rare_pair(int role, unsigned state, unsigned event);
/* ... and which state follows which */
bool expected_step(int role, unsigned from, unsigned to);
/* Events that exist for this machine at all */
bool expected_event(int role, unsigned event);

#endif
