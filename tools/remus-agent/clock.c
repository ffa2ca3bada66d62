/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See clock.h. Steps are adjtimex(ADJ_SETOFFSET): added to the clock as it is, not to a reading of it. */
#include "clock.h"

#include <errno.h>
#include <sys/timex.h>
#include <time.h>

void clock_decide(int64_t offset_ns, uint64_t error_ns, int64_t below_floor_ns,
		  enum remus_clock_policy policy, struct remus_renewed *out)
{
	uint64_t size = offset_ns < 0 ? 0 - (uint64_t)offset_ns : (uint64_t)offset_ns;
	bool at_once = offset_ns > 0 && (policy == REMUS_CLOCK_STEP || offset_ns > REMUS_SLEW_MAX_NS);

	out->offset_ns = offset_ns;
	out->error_ns = error_ns;
	out->step_ns = out->slew_ns = 0;
	if (size > error_ns) {
		out->step_ns = at_once ? offset_ns : 0;
		out->slew_ns = at_once ? 0 : offset_ns;
	}
	if (below_floor_ns > out->step_ns) {
		out->step_ns = below_floor_ns;
		out->slew_ns = size > error_ns ? offset_ns - below_floor_ns : 0;
	}
	out->clock = out->step_ns   ? REMUS_CLOCK_STEPPED
		     : out->slew_ns ? REMUS_CLOCK_SLEWING
				    : REMUS_CLOCK_KEPT;
}

static int64_t read_clock(clockid_t which)
{
	struct timespec t;

	clock_gettime(which, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

uint64_t clock_monotonic_ns(void)
{
	return (uint64_t)read_clock(CLOCK_MONOTONIC);
}

int64_t clock_realtime_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

int clock_adjust(int64_t step_ns, int64_t slew_ns)
{
	struct timex step = {.modes = ADJ_SETOFFSET | ADJ_NANO};
	struct timex slew = {.modes = ADJ_OFFSET_SINGLESHOT, .offset = (long)(slew_ns / 1000)};

	if (step_ns < 0)
		return -EINVAL;
	step.time.tv_sec = step_ns / 1000000000;
	step.time.tv_usec = step_ns % 1000000000; /* ADJ_NANO: nanoseconds */
	if (step_ns && adjtimex(&step) < 0)
		return -errno;
	return adjtimex(&slew) < 0 ? -errno : 0;
}
