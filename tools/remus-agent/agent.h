/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's end of the conversation (remus/renewal.h). Pure: messages and the time come in through the arguments and
 * `world`, which is all that it can do; so the tests give it a world of their own.
 *
 * What it upholds: a seed is used at once, before anything is said or asked (I12). An activation is done once, however
 * often it is asked for, and asked again it is answered again. A message of another activation than the last is as if it
 * had not come. What the host doesn't answer is done without.
 */
#ifndef REMUS_AGENT_H
#define REMUS_AGENT_H

#include "remus/renewal.h"

#define AGENT_EXCHANGES	 8u		      /* times asked for */
#define AGENT_ANSWER_NS	 UINT64_C(100000000)  /* until it is asked again: the question may be lost */
#define AGENT_OPEN	 32u		      /* questions whose answer may still come, however late */
#define AGENT_ENOUGH_NS	 UINT64_C(50000000)   /* measuring ends then, with what there is: the network waits */
#define AGENT_GIVE_UP_NS UINT64_C(3000000000) /* ... without any answer */
#define AGENT_REMEMBERS	 8u /* activations: one of these that isn't the last is a stale message */

struct agent_world {
	void *context;
	uint64_t (*monotonic_ns)(void *context);
	int64_t (*realtime_ns)(void *context);
	void (*send)(void *context, const struct remus_message *message); /* may be lost */
	/* Credit the seed and reseed; negative errno. */
	int (*reseed)(void *context, const uint8_t seed[REMUS_SEED_SIZE]);
	int (*adjust)(void *context, int64_t step_ns, int64_t slew_ns); /* clock.h */
	/* What /proc/stat says; negative errno: it doesn't. */
	int (*stolen)(void *context, struct remus_steal *out);
	/* Run the hooks of an activation; agent_hooks_ended() tells when that is over. */
	void (*hooks)(void *context, uint64_t id, const struct remus_renewed *renewed);
};

struct agent {
	const struct agent_world *world;
	enum { AGENT_IDLE, AGENT_MEASURING, AGENT_DONE } state;
	uint64_t id;
	uint64_t known[AGENT_REMEMBERS]; /* activations, a ring */
	unsigned next_known;
	enum remus_clock_policy policy;
	uint64_t begun_ns, asked_ns;
	uint64_t number, first;	   /* of the last question; before the first of this activation */
	uint64_t open[AGENT_OPEN]; /* when question N was asked, at N % AGENT_OPEN; 0 = it was answered */
	unsigned answers;
	uint64_t best_trip_ns;	/* of the shortest exchange: its round trip, */
	uint64_t best_at_ns;	/* the guest's monotonic clock at its end, */
	int64_t best_real_ns;	/* and the right time then */
	uint64_t best_error_ns; /* which may be wrong by this */
	int64_t floor_ns;
	struct remus_renewed renewed;
	bool hooks_over;
	struct remus_hooks hooks;
};

void agent_init(struct agent *agent, const struct agent_world *world);
/* Say hello without being asked: after a start, and when a transport opens anew. */
void agent_greet(struct agent *agent);
void agent_message(struct agent *agent, const struct remus_message *message);
/* When to call agent_tick(), by the guest's monotonic clock; UINT64_MAX = not by itself. */
uint64_t agent_due(const struct agent *agent);
void agent_tick(struct agent *agent);
void agent_hooks_ended(struct agent *agent, uint64_t id, const struct remus_hooks *hooks);

#endif
