/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest and its copies. There is one guest; a copy is a domain that runs it or a standby that could. Whatever
 * the guest does is a node of a tree that the simulator keeps: a node's parent is the state that it was computed
 * from, which the copy finds in its own (restored) device state. A rollback or a fork that shows outside is thus a
 * packet whose node doesn't descend from the one seen before it.
 *
 * The egress buffer of a copy behaves like netbuf/: CLOSED, PASSING, HOLDING, at most one sealed epoch.
 */
#ifndef SIM_GUEST_H
#define SIM_GUEST_H

#include <stdbool.h>
#include <stdint.h>
#include "clock.h"
#include "remus/domain.h"
#include "remus/pages.h"

#define GUEST_PAGES 8u
#define EGRESS_ROOM 512u
#define NODES_MAX   60000u

struct world;
struct session;
struct proc;

struct packet {
	uint32_t node;
	uint32_t epoch;	 /* the epoch that must be committed before it may leave */
	int64_t wall_us; /* the guest's wall clock when it was made */
};

enum egress_state { EGRESS_CLOSED, EGRESS_PASSING, EGRESS_HOLDING };

struct egress {
	enum egress_state state;
	struct packet held[EGRESS_ROOM]; /* ring */
	unsigned first, count, cap;
	unsigned sealed; /* of `count`, the oldest: they belong to sealed_epoch or one before */
	bool has_sealed;
	uint64_t sealed_epoch;
	uint64_t accepted, released, dropped, discarded;
};

/* What a hypervisor saves besides memory. */
struct device {
	uint64_t node;		     /* last state reached */
	uint64_t chain;		     /* hash over all that was done */
	uint64_t stamp[GUEST_PAGES]; /* what the first word of each page must be */
	struct guest_time time;
};

enum copy_end { COPY_LIVES, COPY_KILLED_BY_FAULT, COPY_ENDED_BY_WILL, COPY_DESTROYED, COPY_DROPPED };

struct copy {
	struct remus_domain domain;   /* first member: the vtable that capture.c sees */
	struct remus_standby standby; /* ... and the one that staging.c sees */
	struct world *w;
	int id, host;
	bool exists;
	bool running;  /* vCPUs run (unless the host stands still) */
	bool waiting;  /* a standby that was not activated */
	bool tracking; /* dirty pages are noted */
	bool armed;    /* the supervisor's record: a COMMIT may have left */
	bool in_relay; /* its session is over, its network is forwarded */
	bool announced_end;
	bool was_active; /* a standby that was activated */
	enum copy_end end;
	uint64_t ended_at;
	uint64_t stopped_at;	   /* when it was paused last */
	uint64_t tick_at, left_us; /* the guest's next turn; what was left until then when it was paused */
	uint32_t cookie;	   /* of its tick */
	struct session *session;   /* that protects it or that it stands by for */
	struct proc *owner;	   /* engine, receiver or relay that has it open */
	uint64_t clock_at;	   /* the host's monotonic clock when the guest began to run again */
	int64_t time_offset_s;	   /* of its machine's clock from the host's */
	uint64_t captured;	   /* last epoch captured, 0 = none */
	uint64_t applied;	   /* a standby: last epoch applied */
	uint64_t dirty;		   /* bitmap */
	struct device device;
	struct egress egress;
	int fail_save, fail_fetch, fail_copy; /* armed failures inside the capture */
	uint8_t memory[GUEST_PAGES][REMUS_PAGE_SIZE];
};

/* A new copy on @host; NULL when the table is full. */
struct copy *copy_create(struct world *w, int host, bool standby);
/* The guest's first content. */
void copy_boot(struct copy *copy);
void copy_pause(struct copy *copy);
void copy_resume(struct copy *copy);
void copy_end(struct copy *copy, enum copy_end how);
/* What the copy does when its turn comes. */
void copy_tick(struct world *w, struct copy *copy, uint32_t cookie);
/* After a host's standstill. */
void copy_wake(struct copy *copy);
/* Is the whole image what the guest's own bookkeeping says? NULL = yes, else what is wrong. */
const char *copy_check(const struct copy *copy);

int egress_hold(struct copy *copy);
int egress_seal(struct copy *copy, uint64_t epoch);
int egress_release(struct copy *copy, uint64_t epoch);
int egress_pass(struct copy *copy);
int egress_discard(struct copy *copy);
/* Its engine is gone: nothing passes, what is held is dropped. */
void egress_close(struct copy *copy);

extern const struct remus_domain_ops sim_domain_ops;
extern const struct remus_standby_ops sim_standby_ops;

#endif
