/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The right time for a guest that goes on here (I12): when it was paused there, on our clock, and what its wall clock
 * ought to show now. Pure; the rule is in remus/clock.h, and why it is so in docs/continuity.md.
 */
#include "remus/clock.h"

/* The epoch before was acknowledged once it was complete here, and this one's pause came after its acknowledgement. */
void remus_clock_verified(struct remus_clock_known *k, uint64_t raw_ns)
{
	k->after_ns = k->verified_ns ? k->verified_ns : k->began_ns;
	k->verified_ns = raw_ns;
}

void remus_clock_applied(struct remus_clock_known *k, const struct remus_clock_facts *facts)
{
	k->facts = *facts;
	k->before_ns = k->verified_ns;
}

/* When the pause was: between these, ns of CLOCK_MONOTONIC_RAW. */
struct span {
	int64_t from, to;
};

static struct span meet(struct span a, struct span b)
{
	return (struct span){a.from > b.from ? a.from : b.from, a.to < b.to ? a.to : b.to};
}

static struct span place_pause(const struct remus_clock_known *k)
{
	struct span sure = {(int64_t)k->after_ns, (int64_t)k->before_ns};

	if (!k->facts.link_ns || !k->offset.samples)
		return sure;
	int64_t ours = (int64_t)k->facts.link_ns - k->offset.offset_ns;
	uint64_t error = remus_offset_error(&k->offset, ours > 0 ? (uint64_t)ours / 1000u : 0);
	if (error > INT64_MAX / 4)
		return sure;
	int64_t at = ours - k->anchor_ns;
	struct span measured = meet(sure, (struct span){at - (int64_t)error, at + (int64_t)error});
	/* Nowhere: the clocks contradict what happened. What happened is true. */
	return measured.from <= measured.to ? measured : sure;
}

static uint64_t add_error(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static void take_primary(const struct remus_clock_known *k, struct remus_truth *t)
{
	t->source = REMUS_TIME_PRIMARY;
	t->floor_ns = k->facts.realtime_ns;
	t->realtime_ns = t->floor_ns + (int64_t)t->gap_ns;
	t->error_ns = t->gap_error_ns;
	t->utc_error_ns =
		k->facts.sync.synchronised ? add_error(t->error_ns, k->facts.sync.error_ns) : UINT64_MAX;
}

static void take_here(const struct remus_clock_known *k, const struct remus_clock_reading *now,
		      struct remus_truth *t)
{
	t->source = REMUS_TIME_HERE;
	t->realtime_ns = now->realtime_ns;
	t->floor_ns = now->realtime_ns - (int64_t)t->gap_ns;
	t->error_ns = 0;
	t->utc_error_ns = k->here.error_ns;
}

void remus_clock_truth(const struct remus_clock_known *k, const struct remus_clock_reading *now,
		       struct remus_truth *out)
{
	struct span pause = place_pause(k);
	struct remus_truth t = {
		.monotonic_ns = now->monotonic_ns,
		.raw_ns = now->raw_ns,
		.shown_ns = k->facts.realtime_ns,
		.policy = k->facts.policy,
	};
	int64_t middle = pause.from + (pause.to - pause.from) / 2, passed = (int64_t)now->raw_ns - middle;

	t.gap_ns = passed > 0 ? (uint64_t)passed : 0;
	t.gap_error_ns = (uint64_t)(pause.to - middle) + remus_clock_drift(t.gap_ns);
	if (k->here.synchronised && !k->facts.sync.synchronised)
		take_here(k, now, &t);
	else
		take_primary(k, &t);
	t.correction_ns = t.realtime_ns - t.shown_ns;
	*out = t;
}

void remus_clock_carry(const struct remus_truth *then, const struct remus_clock_reading *now,
		       struct remus_truth *out)
{
	int64_t passed = (int64_t)(now->raw_ns - then->raw_ns);
	uint64_t drift = remus_clock_drift(passed < 0 ? (uint64_t)-passed : (uint64_t)passed);
	struct remus_truth t = *then;

	t.raw_ns = now->raw_ns;
	t.monotonic_ns = now->monotonic_ns;
	t.realtime_ns += passed;
	if (t.realtime_ns < t.floor_ns)
		t.realtime_ns = t.floor_ns;
	t.error_ns = add_error(t.error_ns, drift);
	t.utc_error_ns = add_error(t.utc_error_ns, drift);
	*out = t;
}

int64_t remus_clock_coarse(const struct remus_truth *t, const struct remus_guest_clock *guest,
			   int64_t wall_ns)
{
	int64_t target = t->shown_ns + (int64_t)t->gap_ns;

	if (target > t->realtime_ns)
		target = t->realtime_ns;
	int64_t behind = target - REMUS_CLOCK_COARSE_NS - wall_ns, second = 1000000000;
	int64_t seconds = behind / second - (behind % second < 0);
	return seconds + (guest->offset_known ? guest->offset_s : 0);
}

const char *remus_time_source_name(enum remus_time_source source)
{
	return source == REMUS_TIME_HERE ? "here" : "primary";
}

const char *remus_clock_policy_name(enum remus_clock_policy policy)
{
	return policy == REMUS_CLOCK_SLEW ? "slew" : "step";
}
