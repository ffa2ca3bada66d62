/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's end of the conversation with a guest's agent (renewal.h). What it owes is kept as flags, not as a queue:
 * a guest that asks a thousand times is owed one answer. A time is told as of the moment when it leaves.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remus/clock.h"
#include "remus/renewal.h"

void remus_renewal_init(struct remus_renewal *r)
{
	memset(r, 0, sizeof *r);
}

void remus_renewal_clear(struct remus_renewal *r)
{
	explicit_bzero(r->seed, sizeof r->seed);
	explicit_bzero(r->in.line, sizeof r->in.line);
}

void remus_renewal_probe(struct remus_renewal *r, uint64_t id, uint64_t now)
{
	r->probing = true;
	r->probe_id = id;
	r->probe_due = now;
	r->unanswered = 0;
}

void remus_renewal_begin(struct remus_renewal *r, uint64_t id, const uint8_t seed[REMUS_SEED_SIZE],
			 const struct remus_truth *truth, uint64_t now)
{
	r->probing = r->hello_wanted = r->steal_wanted = false;
	memset(&r->steal, 0, sizeof r->steal);
	r->phase = REMUS_RENEWAL_ASKED;
	r->id = id;
	r->begun = r->again = now;
	r->heard = 0;
	memcpy(r->seed, seed, sizeof r->seed);
	r->truth = *truth;
	r->renew_wanted = r->time_wanted = false;
	r->hooks_known = false;
}

/* ---- in ---- */

static void on_message(struct remus_renewal *r, const struct remus_message *m, uint64_t now)
{
	if (m->verb == REMUS_MESSAGE_HELLO) {
		r->present = true;
		r->unanswered = 0;
		snprintf(r->version, sizeof r->version, "%s", m->version);
		/* One that has just started has not heard what was said to the one before. */
		if (r->phase == REMUS_RENEWAL_ASKED && m->id == 0)
			r->again = now;
		r->steal_wanted = r->probing && m->id == r->probe_id;
		return;
	}
	if (m->verb == REMUS_MESSAGE_STEAL) {
		if (r->probing && m->id == r->probe_id)
			remus_steal_note(&r->steal, &m->steal, now);
		return;
	}
	if (r->phase == REMUS_RENEWAL_NONE || m->id != r->id)
		return; /* of another activation, or of nobody's */
	switch (m->verb) {
	case REMUS_MESSAGE_ASK_TIME:
		if (r->phase != REMUS_RENEWAL_ASKED)
			return;
		r->present = true;
		r->heard = now;
		r->again = now + REMUS_RENEWAL_LATER_NS;
		r->time_wanted = true;
		r->time_number = m->number;
		return;
	case REMUS_MESSAGE_RENEWED:
		if (r->phase == REMUS_RENEWAL_DONE)
			return;
		r->present = true;
		r->heard = now;
		r->phase = REMUS_RENEWAL_DONE;
		r->renewed = m->renewed;
		r->took = now - r->begun;
		r->time_wanted = false;
		explicit_bzero(r->seed, sizeof r->seed);
		return;
	case REMUS_MESSAGE_HOOKS:
		if (r->phase != REMUS_RENEWAL_DONE || r->hooks_known)
			return;
		r->hooks_known = true;
		r->hooks = m->hooks;
		return;
	default:
		return; /* those are said by hosts */
	}
}

void remus_renewal_receive(struct remus_renewal *r, const void *bytes, size_t count, uint64_t now)
{
	const uint8_t *at = bytes;
	struct remus_message m;
	bool got;

	while (count) {
		size_t n = remus_message_feed(&r->in, at, count, &m, &got);
		if (got)
			on_message(r, &m, now);
		at += n;
		count -= n;
	}
}

/* ---- out ---- */

static void let_time_pass(struct remus_renewal *r, uint64_t now)
{
	if (r->phase == REMUS_RENEWAL_ASKED && now >= r->again) {
		if (now - r->begun >= REMUS_RENEWAL_LIMIT_NS) {
			r->phase = REMUS_RENEWAL_OVER;
			r->time_wanted = false;
			explicit_bzero(r->seed, sizeof r->seed);
			return;
		}
		bool patient = r->heard || now - r->begun >= REMUS_RENEWAL_LATER_NS;
		r->again = now + (patient ? REMUS_RENEWAL_LATER_NS : REMUS_RENEWAL_AGAIN_NS);
		r->renew_wanted = true;
	}
	if (r->probing && now >= r->probe_due) {
		if (r->unanswered >= REMUS_RENEWAL_PROBES)
			r->present = false;
		if (!r->present)
			memset(&r->steal, 0, sizeof r->steal);
		r->unanswered++;
		r->probe_id++;
		r->hello_wanted = true;
		r->probe_due = now + REMUS_RENEWAL_PROBE_NS;
	}
}

/* The truth grows older. */
static void tell_time(const struct remus_renewal *r, struct remus_message *m, uint64_t now)
{
	const struct remus_truth *t = &r->truth;
	uint64_t age = now > t->raw_ns ? now - t->raw_ns : 0;

	m->verb = REMUS_MESSAGE_TIME;
	m->number = r->time_number;
	m->realtime_ns = t->realtime_ns + (int64_t)age;
	m->error_ns = t->error_ns + remus_clock_drift(age);
	m->floor_ns = t->floor_ns;
}

size_t remus_renewal_output(struct remus_renewal *r, char line[REMUS_MESSAGE_MAX], uint64_t now)
{
	struct remus_message m = {.id = r->id};

	let_time_pass(r, now);
	if (r->time_wanted) {
		r->time_wanted = false;
		tell_time(r, &m, now);
	} else if (r->renew_wanted) {
		r->renew_wanted = false;
		if (r->phase != REMUS_RENEWAL_ASKED)
			return 0;
		m.verb = REMUS_MESSAGE_RENEW;
		m.policy = r->truth.policy;
		memcpy(m.seed, r->seed, sizeof m.seed);
	} else if (r->hello_wanted) {
		r->hello_wanted = false;
		m.verb = REMUS_MESSAGE_ASK_HELLO;
		m.id = r->probe_id;
	} else if (r->steal_wanted) { /* once hello? was answered: a way may hold one line at a time */
		r->steal_wanted = false;
		m.verb = REMUS_MESSAGE_ASK_STEAL;
		m.id = r->probe_id;
	} else {
		return 0;
	}
	int n = remus_message_encode(&m, line);
	explicit_bzero(&m, sizeof m);
	return n > 0 ? (size_t)n : 0;
}

uint64_t remus_renewal_due(const struct remus_renewal *r)
{
	uint64_t due = UINT64_MAX;

	if (r->time_wanted || r->renew_wanted || r->hello_wanted || r->steal_wanted)
		return 0;
	if (r->phase == REMUS_RENEWAL_ASKED)
		due = r->again;
	if (r->probing && r->probe_due < due)
		due = r->probe_due;
	return due;
}

/* ---- words ---- */

static double ms(int64_t ns)
{
	return (double)(ns < 0 ? -ns : ns) / 1e6;
}

void remus_renewed_text(const struct remus_renewed *renewed, char *out, size_t size)
{
	char clock[160], seed[96];

	if (renewed->reseed)
		snprintf(seed, sizeof seed, "its random numbers were NOT renewed (%s)",
			 strerror(renewed->reseed > INT32_MAX ? EINVAL : (int)renewed->reseed));
	else
		snprintf(seed, sizeof seed, "%" PRIu32 " bits of randomness credited", renewed->bits);
	switch (renewed->clock) {
	case REMUS_CLOCK_KEPT:
		snprintf(clock, sizeof clock, "its clock was right");
		break;
	case REMUS_CLOCK_STEPPED:
		snprintf(clock, sizeof clock, "its clock was set forward by %.3f ms", ms(renewed->step_ns));
		break;
	case REMUS_CLOCK_SLEWING:
		/* 500 ppm is what the kernel slews by: tools/remus-agent/clock.h */
		snprintf(clock, sizeof clock,
			 "its clock is %s by %.3f ms and approaches the right time (%.0f s)",
			 renewed->slew_ns < 0 ? "ahead" : "behind", ms(renewed->slew_ns),
			 ms(renewed->slew_ns) * 2);
		break;
	default:
		snprintf(clock, sizeof clock, "its clock was NOT corrected");
	}
	if (renewed->clock <= REMUS_CLOCK_SLEWING)
		snprintf(out, size, "%s, %s (within %.3f ms)", seed, clock, (double)renewed->error_ns / 1e6);
	else
		snprintf(out, size, "%s, %s", seed, clock);
}
