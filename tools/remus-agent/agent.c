/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See agent.h. */
#include "agent.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"

#ifndef PACKAGE_VERSION
#include "config.h"
#endif

void agent_init(struct agent *a, const struct agent_world *world)
{
	memset(a, 0, sizeof *a);
	a->world = world;
}

static uint64_t now_of(const struct agent *a)
{
	return a->world->monotonic_ns(a->world->context);
}

static void say(struct agent *a, const struct remus_message *m)
{
	a->world->send(a->world->context, m);
}

static void say_hello(struct agent *a, uint64_t id)
{
	struct remus_message m = {.verb = REMUS_MESSAGE_HELLO, .id = id};

	snprintf(m.version, sizeof m.version, "%s", PACKAGE_VERSION);
	say(a, &m);
}

void agent_greet(struct agent *a)
{
	say_hello(a, 0);
}

static void say_renewed(struct agent *a)
{
	struct remus_message m = {.verb = REMUS_MESSAGE_RENEWED, .id = a->id, .renewed = a->renewed};
	say(a, &m);
}

static void say_hooks(struct agent *a)
{
	struct remus_message m = {.verb = REMUS_MESSAGE_HOOKS, .id = a->id, .hooks = a->hooks};
	say(a, &m);
}

static void say_steal(struct agent *a, uint64_t id)
{
	struct remus_message m = {.verb = REMUS_MESSAGE_STEAL, .id = id};

	if (a->world->stolen(a->world->context, &m.steal) == 0)
		say(a, &m);
}

static void ask_time(struct agent *a)
{
	struct remus_message m = {.verb = REMUS_MESSAGE_ASK_TIME, .id = a->id, .number = ++a->number};

	a->asked_ns = a->open[a->number % AGENT_OPEN] = now_of(a);
	say(a, &m);
}

/* ---- one activation ---- */

static bool known(const struct agent *a, uint64_t id)
{
	for (unsigned i = 0; i < AGENT_REMEMBERS && i < a->next_known; i++)
		if (a->known[i] == id)
			return true;
	return false;
}

static void begin(struct agent *a, const struct remus_message *m)
{
	int rc = a->world->reseed(a->world->context, m->seed);

	memset(&a->renewed, 0, sizeof a->renewed);
	a->renewed.reseed = (uint32_t)-rc;
	a->renewed.bits = rc ? 0 : REMUS_SEED_SIZE * 8;
	a->known[a->next_known++ % AGENT_REMEMBERS] = m->id;
	a->id = m->id;
	a->policy = m->policy;
	a->state = AGENT_MEASURING;
	a->begun_ns = now_of(a);
	a->first = a->number;
	a->answers = 0;
	a->hooks_over = false;
	ask_time(a);
}

static void finish(struct agent *a)
{
	uint64_t now = now_of(a);

	if (!a->answers) {
		a->renewed.clock = REMUS_CLOCK_UNKNOWN;
	} else {
		int64_t guest = a->world->realtime_ns(a->world->context);
		int64_t right = a->best_real_ns + (int64_t)(now - a->best_at_ns);
		clock_decide(right - guest, a->best_error_ns, a->floor_ns - guest, a->policy, &a->renewed);
		if (a->world->adjust(a->world->context, a->renewed.step_ns, a->renewed.slew_ns) < 0) {
			a->renewed.clock = REMUS_CLOCK_FAILED;
			a->renewed.step_ns = a->renewed.slew_ns = 0;
		}
	}
	a->state = AGENT_DONE;
	say_renewed(a);
	a->world->hooks(a->world->context, a->id, &a->renewed);
}

static void on_renew(struct agent *a, const struct remus_message *m)
{
	if (a->state == AGENT_IDLE || (m->id != a->id && !known(a, m->id))) {
		begin(a, m);
	} else if (m->id == a->id && a->state == AGENT_DONE) {
		say_renewed(a);
		if (a->hooks_over)
			say_hooks(a);
	}
}

/* When the question was asked that is answered; 0 = none of this activation, or it has been answered. On a busy host
 * every way is longer than what a question is waited for: only who hears late answers hears any. */
static uint64_t take_asked(struct agent *a, uint64_t number)
{
	if (number <= a->first || number > a->number || a->number - number >= AGENT_OPEN)
		return 0;
	uint64_t asked = a->open[number % AGENT_OPEN];
	a->open[number % AGENT_OPEN] = 0;
	return asked;
}

/* Half the round trip is the best guess of how old the answer is, and the most by which that can be wrong. A time that
 * no clock can show is none: sums with it must not overflow. */
static void on_time(struct agent *a, const struct remus_message *m)
{
	const int64_t most = INT64_MAX / 4;

	if (a->state != AGENT_MEASURING || m->id != a->id)
		return;
	uint64_t asked = take_asked(a, m->number), now = now_of(a), trip = now - asked;
	if (!asked)
		return;
	if (m->realtime_ns >= 0 && m->realtime_ns < most && m->floor_ns >= 0 && m->floor_ns < most &&
	    m->error_ns < (uint64_t)most && (!a->answers || trip < a->best_trip_ns)) {
		a->best_trip_ns = trip;
		a->best_at_ns = now;
		a->best_real_ns = m->realtime_ns + (int64_t)(trip / 2);
		a->best_error_ns = m->error_ns + trip / 2;
		a->floor_ns = m->floor_ns;
		a->answers++;
	}
	/* Or when the way there makes little of what is unknown. */
	if (a->number - a->first >= AGENT_EXCHANGES || (a->answers && now - a->begun_ns >= AGENT_ENOUGH_NS) ||
	    (a->answers && a->best_trip_ns / 2 <= m->error_ns / 4))
		finish(a);
	else
		ask_time(a);
}

void agent_message(struct agent *a, const struct remus_message *m)
{
	switch (m->verb) {
	case REMUS_MESSAGE_ASK_HELLO:
		say_hello(a, m->id);
		return;
	case REMUS_MESSAGE_ASK_STEAL:
		say_steal(a, m->id);
		return;
	case REMUS_MESSAGE_RENEW:
		on_renew(a, m);
		return;
	case REMUS_MESSAGE_TIME:
		on_time(a, m);
		return;
	default:
		return; /* those are said by agents */
	}
}

uint64_t agent_due(const struct agent *a)
{
	return a->state == AGENT_MEASURING ? a->asked_ns + AGENT_ANSWER_NS : UINT64_MAX;
}

void agent_tick(struct agent *a)
{
	uint64_t now = now_of(a);

	if (now < agent_due(a))
		return;
	if (now - a->begun_ns >= (a->answers ? AGENT_ENOUGH_NS : AGENT_GIVE_UP_NS))
		finish(a);
	else
		ask_time(a);
}

void agent_hooks_ended(struct agent *a, uint64_t id, const struct remus_hooks *hooks)
{
	if (a->state != AGENT_DONE || a->id != id)
		return; /* another activation came meanwhile */
	a->hooks_over = true;
	a->hooks = *hooks;
	say_hooks(a);
}
