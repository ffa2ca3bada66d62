/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child of the supervisor: an engine (the primary's machine), a receiver (the backup's), or either of them once
 * its session is over and it only forwards the guest's network. It does what the shells do: one event at a time, the
 * actions of its step in order, each of which may take time; a failing one drops the rest and comes back as FAILED.
 * Between two actions anything may happen to it.
 */
#ifndef SIM_PROCESS_H
#define SIM_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include "remus/clock.h"
#include "remus/protocol.h"
#include "replicator/capture.h"
#include "replicator/shell.h"
#include "replicator/staging.h"
#include "arbiter.h"
#include "network.h"

#define RAISED_MAX   8
#define COMMANDS_MAX 4

struct world;
struct session;
struct copy;

enum role { ROLE_PRIMARY, ROLE_BACKUP, ROLES };

struct raised {
	struct remus_event event;
	char text[96];
};

struct proc {
	struct world *w;
	int id, host;
	enum role role;
	bool alive, frozen, relay, ended, in_run;
	uint32_t cookie;
	struct session *session;
	struct copy *copy;
	struct endpoint *link;
	struct remus_primary primary;
	struct remus_backup backup;
	struct shell_timers timers;
	struct claimer claimer;
	uint64_t wake_at; /* world time of the wake-up that is scheduled, 0 = none */

	/* the step in progress */
	struct remus_actions actions;
	unsigned at;
	bool stepping, paid, parked;
	uint64_t busy_until;
	struct raised raised[RAISED_MAX];
	unsigned raisings;
	struct inbox_frame *frame;

	enum remus_event_type command[COMMANDS_MAX];
	unsigned commands;
	int domain_event; /* REMUS_DOMAIN_SHUTDOWN, _LOST not told yet */
	bool quit;

	/* primary */
	struct capture *capture;
	bool syncing;
	unsigned round, idle; /* idle: pieces of a large guest's copy that this small one doesn't have */
	uint64_t resumed_us, sent_epoch;
	uint64_t brake_until; /* world time: the guest stands still while its epoch is sent, 0 = it doesn't */
	bool early;	      /* the staged epoch is encoded already: in `piece` */
	struct {
		uint8_t *payload;
		size_t bytes;
		uint32_t pages;
	} piece[8];
	unsigned pieces;

	/* backup */
	struct staging staging;
	struct remus_clock_known clock;
	struct remus_hello hello;
	bool admitted, told_unknown;
	uint64_t
		shut_until; /* by the host's clock: egress stays shut so long, or until the renewal; 0 = no more */
	uint64_t renewed_at; /* world time at which the guest's agent answers, 0 = not, or no more */
	uint64_t unknown_since;
	bool told_protected;		  /* what was published last */
	unsigned told_state, event_state; /* ... and of which state it and the last event spoke */
};

struct proc *proc_create(struct world *w, int host, enum role role);
/* kill -9 */
void proc_kill(struct proc *p, bool host_died);
void proc_freeze(struct proc *p, bool freeze);
/* The run is over: free what it holds. */
void proc_forget(struct proc *p);
/* Do what can be done now. */
void proc_run(struct proc *p);
void proc_feed(struct proc *p, const struct remus_event *event);
struct remus_event *proc_raise(struct proc *p, enum remus_event_type type, const char *text);
void proc_command(struct proc *p, enum remus_event_type command);
void proc_wake(struct world *w, int proc, uint32_t cookie);
void proc_continue(struct world *w, int proc, uint32_t cookie);
const char *proc_word(const struct proc *p);
unsigned proc_state(const struct proc *p);

/* sources.c: the next event, if any; @raised keeps its text */
bool proc_next_event(struct proc *p, struct raised *raised, struct remus_event *ev);
void proc_distort(struct proc *p, struct remus_event *ev);
void proc_free_frame(struct proc *p);

/* primary.c */
int primary_action(struct proc *p, const struct remus_action *a);
void primary_sync_piece(struct proc *p);
void primary_start(struct proc *p, bool recover);
void primary_over_with(struct proc *p);
void primary_forget(struct proc *p);
void primary_let_go_on(struct proc *p);
/* early.c: encode while the guest is paused */
int early_encode(struct proc *p);
int early_send(struct proc *p, uint64_t *digest);
void early_clear(struct proc *p);
/* backup.c */
int backup_action(struct proc *p, const struct remus_action *a);
void backup_hello(struct proc *p);
void backup_forget(struct proc *p);
void backup_over_with(struct proc *p);

#endif
