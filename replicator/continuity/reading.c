/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See remus/clock.h: what is asked of this host's kernel. */
#include "remus/clock.h"

#include <sys/timex.h>
#include <time.h>

static uint64_t read_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void remus_clock_read(struct remus_clock_reading *out)
{
	out->raw_ns = read_ns(CLOCK_MONOTONIC_RAW);
	out->realtime_ns = (int64_t)read_ns(CLOCK_REALTIME);
	out->monotonic_ns = read_ns(CLOCK_MONOTONIC);
	out->boottime_ns = read_ns(CLOCK_BOOTTIME);
}

/* With modes 0 adjtimex(2) only reads, and needs no privilege. */
void remus_clock_sync(struct remus_clock_sync *out)
{
	struct timex t = {0};
	int state = adjtimex(&t);

	*out = (struct remus_clock_sync){0};
	if (state < 0 || state == TIME_ERROR || (t.status & STA_UNSYNC) || t.maxerror < 0)
		return;
	out->synchronised = true;
	out->error_ns = (uint64_t)t.maxerror * 1000u;
}
