/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hosts and their supervisors. Each host has clocks of its own: a monotonic one with drift that never jumps, a wall
 * clock that may. The supervisor (tools/remusd) accepts connections, admits generations, and does what
 * tools/remusd/endings.c does when a child ends.
 */
#ifndef SIM_HOST_H
#define SIM_HOST_H

#include <stdbool.h>
#include <stdint.h>

#define SESSIONS_MAX 4

struct world;
struct session;
struct copy;
struct proc;

struct host {
	bool up, frozen, daemon_up;
	bool forgot; /* its records were lost */
	uint64_t frozen_at;
	uint64_t mono_origin; /* µs, of the monotonic clock at world time 0 */
	int64_t drift_ppm;
	int64_t wall_offset; /* µs, wall clock minus monotonic clock */
	bool synchronised;   /* its kernel says that the wall clock is */
	uint64_t seen;	     /* the highest generation that the supervisor remembers */
};

uint64_t host_mono(const struct world *w, int host);
uint64_t host_wall(const struct world *w, int host);
/* World time at which the host's monotonic clock shows @mono. */
uint64_t host_when(const struct world *w, int host, uint64_t mono);

void host_crash(struct world *w, int host, bool keep_records);
void host_restart(struct world *w, int host);
void host_freeze(struct world *w, int host, bool freeze);
void daemon_die(struct world *w, int host);
void daemon_return(struct world *w, int host);
/* NULL: admitted, else why not. */
const char *daemon_admit(struct world *w, struct proc *receiver, struct session *s);
/* A child ended: killed, or through with what it had to do. */
void supervise_killed(struct proc *p);
void supervise_respawn(struct world *w, int copy, uint32_t session);

#endif
