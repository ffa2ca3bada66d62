/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arbiter: one key per session, claimed once, atomically, at one instant of virtual time. That instant may lie
 * anywhere between question and answer, and the answer may be lost. Also replicator/claimer.c's contract towards a
 * shell: a question that hangs is UNKNOWN at its deadline, and its late answer answers a later question.
 */
#ifndef SIM_ARBITER_H
#define SIM_ARBITER_H

#include <stdbool.h>
#include <stdint.h>
#include "remus/arbiter.h"

#define QUERIES_MAX 256

struct world;
struct proc;
struct session;

enum key_state { KEY_NONE, KEY_OPEN, KEY_PRIMARY, KEY_BACKUP, KEY_RETIRED };

struct query {
	struct session *session;
	enum remus_holder who;
	int proc;
	uint32_t cookie;
	bool lost; /* carried out, but its answer is UNKNOWN */
	bool never;
	enum remus_claim answer;
};

struct sim_arbiter {
	uint64_t down_until[2];	 /* unreachable from that host */
	uint64_t hangs_until[2]; /* questions from that host are answered then */
	bool hang_acts_late;	 /* the claim takes effect at the end of the hang */
	uint64_t latency_us;
	struct query query[QUERIES_MAX];
	unsigned queries;
};

struct claimer {
	bool busy, answered;
	enum remus_claim claim;
	uint64_t deadline; /* world time, 0 = nothing outstanding */
};

int arbiter_open(struct world *w, int host, struct session *s);
int arbiter_check(struct world *w, int host, struct session *s);
int arbiter_retire(struct world *w, int host, struct session *s);
void arbiter_ask(struct world *w, struct proc *p);
/* true: *claim answers the outstanding question. */
bool arbiter_answer(struct world *w, struct proc *p, enum remus_claim *claim);
/* Scheduled: the claim takes effect; its answer arrives. */
void arbiter_effect(struct world *w, unsigned query);
void arbiter_deliver(struct world *w, unsigned query);

#endif
