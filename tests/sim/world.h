/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The world of one run: virtual time, two hosts, a network, an arbiter, one guest and whoever looks at it from
 * outside. Everything that happens is an event of the queue; two at the same µs happen in the order in which they
 * were scheduled. Nothing reads a real clock, so a seed is a run.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "arbiter.h"
#include "clock.h"
#include "coverage.h"
#include "faults.h"
#include "guest.h"
#include "host.h"
#include "network.h"
#include "process.h"
#include "rng.h"
#include "variants.h"

#define COPIES_MAX	10
#define PROCS_MAX	40
#define CONNECTIONS_MAX 14
#define QUEUE_MAX	4096

enum event_kind {
	AT_WAKE,     /* a process's timer */
	AT_CONTINUE, /* ... its action in progress is through */
	AT_TICK,     /* the guest's turn */
	AT_DELIVER,
	AT_HEART,
	AT_EFFECT, /* a claim takes effect */
	AT_ANSWER, /* ... its answer arrives */
	AT_FAULT,
	AT_HEAL,
	AT_RESPAWN,
	AT_OPERATOR,
};

struct queued {
	uint64_t at;
	uint32_t order, cookie;
	uint16_t kind, who;
};

/* What the run is like, drawn from the seed. */
struct setting {
	struct remus_primary_config primary;
	struct remus_backup_config backup;
	uint64_t tick_us; /* mean time between two things that the guest does */
	unsigned packets_permille, egress_cap;
	bool costs;		/* actions take time */
	bool early;		/* pages are encoded during the pause */
	bool loses_pauses;	/* the guest's wall clock stands still while it is paused */
	bool protects_again;	/* the operator protects a survivor anew */
	uint64_t operator_us;	/* ... so long after */
	uint64_t renew_wait_us; /* an activated guest's egress waits for its agent */
	uint64_t staging_pages; /* the primary's cap of an epoch, 0 = none */
};

/* One protection, and what the simulator alone knows of it. */
struct session {
	int id, from; /* host */
	struct remus_key key;
	enum key_state arbiter_key;
	bool commit_left; /* a COMMIT is on its way or there: the backup may hold an epoch */
	bool end_arrived; /* the backup was told never to activate */
	bool ceded;	  /* a backup said REFUSE */
	bool forced[2];	  /* the operator said that the other side doesn't run it: by role */
	bool activated;
	uint64_t held;	  /* last epoch that the backup has acknowledged */
	bool injected[2]; /* a fault made this side's copy useless: by role */
	struct copy *copy[2];
	struct {
		uint64_t epoch;
		uint64_t at, stood_us; /* when that was, and for how long the guest had stood still */
		int64_t wall_us;       /* the primary's wall clock then */
		struct device device;
		uint8_t memory[GUEST_PAGES][REMUS_PAGE_SIZE];
	} taken[2]; /* the last two captures */
};

struct outside {
	uint32_t last; /* node of the packet seen last */
	int last_copy;
	uint64_t seen, seen_before_fair;
	bool fair;	 /* seen_before_fair is set */
	int64_t wall_us; /* the guest's wall clock as its packets show it */
};

struct totals { /* over all runs of the program */
	uint64_t runs, events, epochs, packets, failovers, solos, handovers, lost_excused, forced,
		generations, clock_error_us, overloads, braked, too_large;
};

struct world {
	uint64_t seed, now, fair_from;
	bool failed, done, tracing;
	char failure[600];
	enum variant variant;
	struct setting setting;
	struct rng net_rng, guest_rng, cost_rng, arbiter_rng;
	struct queued queue[QUEUE_MAX];
	unsigned queued;
	uint32_t order;
	uint64_t events;
	struct host host[2];
	struct network net;
	struct sim_arbiter arbiter;
	struct outside outside;
	struct faults faults;
	struct connection connection[CONNECTIONS_MAX];
	unsigned connections;
	struct proc proc[PROCS_MAX];
	unsigned procs;
	struct copy copy[COPIES_MAX];
	unsigned copies;
	struct session session[SESSIONS_MAX];
	unsigned sessions;
	bool guest_shut_down;
	uint32_t parent[NODES_MAX];
	uint64_t shown[NODES_MAX / 64 + 1]; /* nodes whose packet was seen outside */
	uint32_t nodes;
	uint64_t hectic_until; /* the guest works sixteen times as fast */
	struct totals *totals;
	struct coverage *coverage;
};

/* The one that the wrapped library calls (clocks, the link) belong to. */
extern struct world *sim_world;
/* Whose clock the code that runs now reads. */
extern int sim_clock_host;
/* ... and by how much it is ahead of the world's: within an epoch's sending, what its frames took so far. */
extern uint64_t sim_clock_ahead;
extern bool sim_clock_runs; /* within that */

void world_at(struct world *w, uint64_t at, enum event_kind kind, unsigned who, uint32_t cookie);
/* 1: *out is the next event, now is its time. 0: nothing is left. */
int world_next(struct world *w, struct queued *out);
void world_trace(struct world *w, int host, const char *who, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

struct run_options {
	uint64_t seed;
	uint32_t without; /* faults left out, a bit each */
	enum variant variant;
	bool tracing;
};
/* One run. false: an invariant or liveness failed, w->failure says which. */
bool world_run(struct world *w, const struct run_options *options);

/* operator.c: protects, decides what only people can, ends what was asked to be ended. */
void operator_look(struct world *w);
bool operator_protect(struct world *w, struct copy *copy, int to);
/* Has everything come to rest, with the guest's network flowing? */
bool operator_content(struct world *w);

#endif
