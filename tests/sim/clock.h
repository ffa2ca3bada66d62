/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time in the simulator: what the hosts' kernels say of their clocks, the guest's wall clock, and I12's rule about it.
 *
 * A guest's clock runs while it runs. Over a pause a guest of one kind loses time, as under QEMU; one of the other kind
 * compares what its machine's clock shows before and after and goes on by that, unless it went back, as Linux on Xen
 * does. On the backup a machine's clock is the host's plus whole seconds. What the agent does is done at once.
 */
#ifndef SIM_CLOCK_H
#define SIM_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include "rng.h"

struct world;
struct copy;
struct proc;

/* Of the device state: it travels with the epochs. */
struct guest_time {
	int64_t wall_us;    /* the guest's wall clock at its last pause, and: */
	int64_t machine_us; /* its machine's clock then */
	int64_t seen_us;    /* what the guest read last */
};

/* The hosts' wall clocks at the beginning, and whether they are synchronised. */
void clock_draw(struct world *w, struct rng *r);
/* A host's wall clock is stepped. */
void clock_step(struct world *w, int host, uint32_t detail);

void clock_pause(struct copy *copy);
void clock_resume(struct copy *copy);
/* The guest reads its wall clock. */
void clock_tick(struct copy *copy);

/* The backup's shell: the facts of an epoch are there, applied; its link goes; the guest is about to run, and runs. */
void clock_verified(struct proc *p);
void clock_link(struct proc *p);
void clock_activate(struct proc *p, uint64_t epoch);

#endif
