/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes wrong in a run, and when: a list made from the seed before the run begins, so that entries can be left
 * out (shrink.c). Each has a begin and an end; after the last end the suffix is fair.
 */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#define FAULTS_MAX 12

struct world;

enum fault_kind {
	FAULT_CRASH,	    /* a host loses power, comes back */
	FAULT_FREEZE,	    /* a host stands still, goes on */
	FAULT_STOP_PROCESS, /* SIGSTOP, SIGCONT */
	FAULT_KILL_ENGINE,
	FAULT_KILL_RECEIVER,
	FAULT_KILL_DAEMON,
	FAULT_DOMAIN_DIES,
	FAULT_STANDBY_DIES,
	FAULT_SHUTDOWN, /* not a fault of anybody: the guest ends by its own will */
	FAULT_CUT,	/* no bytes from a host, or from either */
	FAULT_RESET,
	FAULT_SLOW,
	FAULT_CORRUPT,
	FAULT_REPEAT, /* a frame arrives twice */
	FAULT_REPLAY, /* a whole connection does */
	FAULT_ARBITER_DOWN,
	FAULT_ARBITER_HANGS,
	FAULT_ARBITER_FORGETS,
	FAULT_ACTION, /* the next few of one kind of action fail */
	FAULT_CLOCK,
	FAULT_UNPROTECT, /* operators' commands */
	FAULT_FAILOVER,
	FAULT_FORCE,
	FAULT_STRANGER,	 /* somebody connects to the backup's port and says nothing, or nonsense */
	FAULT_ODD_FRAME, /* a peer of another make: a frame that doesn't belong there */
	FAULT_KINDS,
};

struct fault {
	enum fault_kind kind;
	uint64_t at, span; /* µs */
	int host;	   /* or role */
	uint32_t detail;
	uint32_t count;
};

struct faults {
	struct fault list[FAULTS_MAX];
	unsigned count;
	uint32_t without;
	uint8_t failing[2][64]; /* role, action: how many of the next fail */
};

void faults_plan(struct world *w);
void faults_begin(struct world *w, unsigned i);
void faults_end(struct world *w, unsigned i);
/* Shall this action fail now? */
bool faults_action(struct world *w, int role, unsigned action);
/* "crash host 1 at 123.4 ms for 50.0 ms" */
void faults_describe(const struct fault *f, char *out, unsigned size);

#endif
