/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The offset of two hosts' clocks; remus/clock.h has the reasoning. */
#include "remus/clock.h"

#define DELAY_MAX_US  60000000		   /* a longer round trip is a clock that was stepped, or a lie */
#define ANSWER_MAX_US UINT64_C(3600000000) /* nobody waits for an answer that long */
#define OFFSET_MAX_US INT64_C(3200000000000000) /* some 101 years: ns of it don't overflow */
#define RESOLUTION_NS 1000u			/* of the timestamps */

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

uint64_t remus_offset_error(const struct remus_offset *offset, uint64_t at_us)
{
	uint64_t age_us = distance(at_us, offset->at_us);

	if (!offset->samples || age_us > UINT64_MAX / 2000u)
		return UINT64_MAX;
	return offset->error_ns + remus_clock_drift(age_us * 1000u);
}

/* Can both be true? Two intervals around two offsets meet. */
static bool agree(int64_t a, uint64_t a_error, int64_t b, uint64_t b_error)
{
	uint64_t apart = a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;

	return apart <= a_error || apart - a_error <= b_error;
}

int64_t remus_offset_add(struct remus_offset *o, uint64_t t1, uint64_t t2, uint64_t t3, uint64_t t4)
{
	int64_t delay = (int64_t)((t4 - t1) - (t3 - t2));
	int64_t there = (int64_t)(t2 - t1), back = (int64_t)(t3 - t4);

	if (delay < 0 || delay > DELAY_MAX_US || t4 - t1 > ANSWER_MAX_US || there > OFFSET_MAX_US ||
	    there < -OFFSET_MAX_US || back > OFFSET_MAX_US || back < -OFFSET_MAX_US)
		return -1;
	int64_t offset_ns = (there + back) * 500;
	uint64_t error_ns = (uint64_t)delay * 500u + RESOLUTION_NS + remus_clock_drift((t4 - t1) * 1000u);
	uint64_t kept_ns = remus_offset_error(o, t4);
	bool stepped = o->samples && !agree(o->offset_ns, kept_ns, offset_ns, error_ns);

	if (stepped) {
		o->samples = 0;
		o->restarts++;
	}
	if (!o->samples || error_ns <= kept_ns) {
		o->at_us = t4;
		o->offset_ns = offset_ns;
		o->error_ns = error_ns;
	}
	o->samples++;
	if (!o->samples) /* it has counted round */
		o->samples = UINT32_MAX;
	return delay;
}
