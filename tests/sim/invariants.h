/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The invariants of the design, as far as a simulator of the protocol can see them: I1 to I10, and that
 * egress waits for the guest's renewal (I12). Each check names the one that it asserts; what is looked at is what the simulator knows of both hosts at once, never what a machine
 * believes.
 */
#ifndef SIM_INVARIANTS_H
#define SIM_INVARIANTS_H

#include <stdbool.h>
#include <stdint.h>
#include "guest.h"

struct world;
struct session;
struct proc;

/* The first failure of a run is kept. @which is "I1" ... "I12", "L1" (liveness), "L2" (the guest is lost). */
void sim_fail(struct world *w, const char *which, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A packet leaves a copy's egress: @gated by an acknowledgement, or passed. */
void check_packet(struct copy *copy, const struct packet *packet, bool gated);
/* The primary took an epoch of the paused guest. */
void check_capture(struct proc *p, uint64_t epoch);
/* A standby was made. */
void check_prepare(struct proc *p);
/* The backup acknowledges. */
void check_ack(struct proc *p, uint64_t epoch);
/* The standby's image is now said to be @epoch. */
void check_image(struct proc *p, uint64_t epoch);
void check_activate(struct proc *p, uint64_t epoch);
/* Egress is about to open. */
void check_pass(struct proc *p);
void check_seal(struct copy *copy, uint64_t epoch);
/* A copy is about to be destroyed by the primary's or dropped by the backup's machine. */
void check_destroy(struct proc *p);
void check_drop(struct proc *p);
/* The session is over for this process. */
void check_end(struct proc *p);
/* After every event. */
void check_always(struct world *w);
/* When the suffix is over: @content says whether everything came to rest. */
void check_liveness(struct world *w, bool content);

#endif
