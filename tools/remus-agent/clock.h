/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's wall clock: how it is brought to the right time, and by whom.
 *
 * The rule. Let `offset` be the right time minus the guest's, known to within `error`.
 *   - It never goes backwards: what is ahead is slewed, at the kernel's 500 ppm, a second in 2000.
 *   - What is no larger than `error` is left alone: nobody can say that it is wrong.
 *   - Policy step: a clock that is behind is set forward at once.
 *   - Policy slew: one that is behind by at most REMUS_SLEW_MAX_NS is slewed, one that is behind by more is set forward.
 *   - Whatever the policy, it is set forward at once to the floor: what the guest had been showing when it was activated,
 *     by the right time. Nobody outside shall be told an earlier one.
 */
#ifndef REMUS_AGENT_CLOCK_H
#define REMUS_AGENT_CLOCK_H

#include "remus/renewal.h"

#define REMUS_SLEW_MAX_NS INT64_C(128000000) /* RFC 5905's step threshold, STEPT */

/* @below_floor_ns: the floor minus the guest's clock. Fills in @out: clock, offset, step, slew, error. Pure. */
void clock_decide(int64_t offset_ns, uint64_t error_ns, int64_t below_floor_ns,
		  enum remus_clock_policy policy, struct remus_renewed *out);

uint64_t clock_monotonic_ns(void);
int64_t clock_realtime_ns(void);
/* Set CLOCK_REALTIME forward by @step_ns (never negative) at once and let it approach @slew_ns more; a slew that was
 * under way is forgotten, since what is left of it was measured too. Negative errno. */
int clock_adjust(int64_t step_ns, int64_t slew_ns);

#endif
