/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both engines, whole, in one test: remus_primary_run() and remus_backup_run() in a thread each, over a TCP link
 * that can be cut, with a fake guest (a process of its own), a file arbiter and one network that sees all the
 * guest sends, wherever it runs.
 *
 *     guest DIR/p/nic.guest --> [ hold ] DIR/net-p --\
 *                                                     +--> DIR/net  (what the world saw, in order)
 *   standby DIR/b/nic0.guest -> [ hold ] DIR/net-b --/
 *
 *   primary's link --> 127.0.0.1:relay --> 127.0.0.1:listen --> backup            arbiter: file:DIR/arb
 *
 * Nothing here asserts on time: what must happen is waited for, RIG_PATIENCE_MS at most. Which side wins a race
 * for the claim is open; that exactly one does is asserted (I5), and what the world saw is judged by the trace
 * files of both sides (I1).
 */
#ifndef REMUS_ENGINE_RIG_H
#define REMUS_ENGINE_RIG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>
#include "remus/engine.h"
#include "replicator/domain/fake/fake.h"
#include "unit.h"

#define RIG_PATIENCE_MS 20000
#define RIG_NAME	"alice"

/* ---- engine-up.c: a supervisor that records what it is told, and passes commands on ---- */

#define RIG_EVENTS 64
struct rig_up {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const char *side; /* "primary", "backup" */
	const char *standby_dir;
	int command_fd;
	_Atomic bool quit;
	bool refuse_to_arm; /* primary: as if the record could not be written */
	bool echo;	    /* kinds of events to stdout, for the process that started this one */
	/* under the lock */
	enum remus_command command;
	unsigned events, armed, admitted;
	struct {
		enum remus_level level;
		char kind[24], text[REMUS_REASON_MAX];
	} event[RIG_EVENTS];
	struct remus_status status;
	bool returned; /* the shell has */
	int rc;
	struct remus_outcome out;
	struct remus_error err;
};
void up_init(struct rig_up *up, const char *side, const char *standby_dir);
void up_clear(struct rig_up *up);
struct remus_supervisor up_supervisor(struct rig_up *up);
void up_command(struct rig_up *up, enum remus_command command);
/* QUIT, as often as it is asked for. */
void up_quit(struct rig_up *up);
void up_returned(struct rig_up *up, int rc, const struct remus_outcome *out, const struct remus_error *err);
/* Wait for an event, a number of committed epochs, the shell's return. False: it did not come; said on stdout. */
bool up_wait_event(struct rig_up *up, const char *kind);
bool up_wait_committed(struct rig_up *up, uint64_t epochs);
bool up_wait_return(struct rig_up *up);
bool up_is_over(struct rig_up *up);
/* The last status, whole: the shell's thread writes it. */
struct remus_status up_status(struct rig_up *up);
/* The kinds of all events so far, but "failed" ones, in order, separated by blanks. */
const char *up_kinds(struct rig_up *up);
unsigned up_count(struct rig_up *up, const char *kind);
/* Text of the last event of a kind, "" = none. */
const char *up_text(struct rig_up *up, const char *kind);

/* ---- engine-relay.c: a TCP connection that can be hurt ---- */

enum rig_wire {
	WIRE_WHOLE,
	WIRE_STALLED,  /* open, but nothing gets through */
	WIRE_CUT,      /* reset, in both directions */
	WIRE_HALF,     /* the backup sees the end of the primary's stream; its own way is open */
	WIRE_BAD_TO,   /* one bit of what the primary sends next is turned over, then whole */
	WIRE_BAD_FROM, /* ... of what the backup sends */
};
struct rig_relay {
	pthread_t thread;
	int listener, wake;
	char port[8];
	_Atomic uint16_t target; /* port of the backup */
	_Atomic int wire;
	_Atomic uint32_t rate;	/* bytes a second from the primary, 0 = no limit */
	_Atomic int64_t budget; /* bytes from the primary until the wire stalls by itself; -1 = no limit */
	_Atomic bool spent, stop;
};
bool relay_start(struct rig_relay *relay);
void relay_set(struct rig_relay *relay, enum rig_wire wire);
void relay_stop(struct rig_relay *relay);

/* ---- engine-net.c: the world's side of the guest's network ---- */

struct rig_seen {
	uint64_t number, writes, at_us;
	char from; /* 'p', 'b' */
};
struct rig_net {
	pthread_t thread;
	int fd, wake;
	char path[108];
	pthread_mutex_t lock;
	struct rig_seen *seen;
	size_t count, room;
	unsigned announced; /* frames from the backup that the guest did not make */
	unsigned echoes;
};
bool net_start(struct rig_net *net, const char *path);
void net_stop(struct rig_net *net);
size_t net_count(struct rig_net *net);
uint64_t net_last(struct rig_net *net); /* number of the frame seen last */
/* Wait until a frame from a side was seen that is newer than @than. */
bool net_wait(struct rig_net *net, char from, uint64_t than);
/* Send a frame towards the guest through the egress bound at @path; wait until the guest echoes it. */
bool net_echo(struct rig_net *net, const char *path);
/*
 * Was all that was seen allowed to be (I1)? What each side sent rises, the backup begins above the primary's end; and by the traces each frame that the
 * primary let out belongs to an epoch that the backup had acknowledged by then, or came before protection or
 * after pass(). @gaps gets how many numbers are missing.
 */
bool net_gated(struct rig_net *net, const char *primary_trace, const char *backup_trace, uint64_t *gaps);

/* ---- engine-faults.c: a fake domain some of whose calls fail ---- */

enum rig_call { CALL_PAUSE, CALL_RESUME, CALL_SAVE, CALL_FETCH, CALL_COPY, RIG_CALLS };
struct rig_faults {
	_Atomic bool on;
	bool after;		   /* the work is done, and then the call fails */
	unsigned every[RIG_CALLS]; /* each k-th call of a kind; 0 = never */
	bool then_resume;	   /* the resume after a failure fails, too */
	bool reckoned;		   /* nobody sees when the guest begins to stop */
	bool lazy;		   /* tracking reports a page again and again (track_changed() in domain.h) */
	_Atomic unsigned told;	   /* how often it was told what had changed */
	unsigned calls[RIG_CALLS], pending_resume;
	_Atomic unsigned hits;
};
/* Wraps @inner, which close() closes. NULL = no memory. */
struct remus_domain *faulty_domain(struct remus_domain *inner, struct rig_faults *faults);

/* ---- engine-agent.c: the guest's agent, wherever the guest runs ---- */

struct rig_agent {
	pthread_t thread;
	int wake, listener[2];
	char path[2][108];
	_Atomic bool deaf;	   /* to renew: it is there and does nothing */
	_Atomic int64_t behind_ns; /* the guest's clock */
	_Atomic unsigned reseeds;
	_Atomic uint64_t renewed_us; /* when it last said renewed, CLOCK_MONOTONIC */
};
/* @control: the sockets of the guest on the primary and on the backup. */
bool rig_agent_start(struct rig_agent *agent, const char *const control[2]);
void rig_agent_stop(struct rig_agent *agent);

/* ---- engine-rig.c ---- */

struct rig_options {
	uint64_t pages, rate, words, frame_every; /* of the guest; 0 = 1024, 5000/s, 16, 20 */
	uint32_t interval_ms;			  /* 0 = 10 */
	uint32_t dead_ms;			  /* 0 = 5000: loss is noticed otherwise than by silence */
	enum remus_loss_policy policy;
	bool refuse_to_arm;
	bool strange_arbiter; /* the backup looks into another directory */
	int64_t budget;	      /* of the relay; 0 = no limit */
	bool primary_apart;   /* the engine is a process of its own, that can be killed */
	bool backup_apart;
	struct rig_faults *faults;
	struct rig_agent *agent; /* NULL = the guest has none */
	uint32_t renew_wait_ms;
	uint32_t max_interval_ms; /* 0 = the default */
	enum remus_overload_policy on_overload;
	uint64_t staging[2]; /* caps of an epoch, bytes: primary, backup; 0 = none */
};
struct rig {
	struct rig_options options;
	char dir[48], p[64], b[64], arb[64], arb2[64], net_p[64], net_b[64], control[80], locator[80];
	char trace[80], backup_trace[96], arbiter_uri[80], strange_uri[80], egress[160], standby_egress[160],
		nic[240];
	uint64_t generation;
	pid_t guest;
	int lifeline;
	struct rig_net net;
	struct rig_relay relay;
	int listener;
	uint16_t listen_port;
	struct rig_up primary, backup;
	pthread_t primary_thread, backup_thread;
	bool primary_runs, backup_runs, recover;
	bool keep_guest; /* a primary that is told to quit leaves the guest running */
	pid_t apart[2];	 /* primary, backup; 0 = in this process */
	int apart_out[2];
	char claimed;	  /* which record the arbiter must hold at the end; 0 = none */
	bool swept[2];	  /* a side was killed: its sockets are swept at the end */
	bool guest_swept; /* ... the guest, by the test, and no engine was there to notice */
};

/* Guest, network, backup and primary; protection has begun, nothing was waited for. */
struct rig *rig_start(const struct rig_options *options);
/* As start; returns when the backup holds a few epochs. NULL: it does not come to that. */
struct rig *rig_protected(const struct rig_options *options);
/* Start a side (again): after the one before has ended. */
void rig_run_primary(struct rig *rig, bool recover);
void rig_run_backup(struct rig *rig);
/* Quit a side and wait for its thread. */
void rig_quit(struct rig *rig, struct rig_up *up);
/* A side that is a process of its own: kill it; wait until it says a word. */
void rig_kill_apart(struct rig *rig, int side);
bool rig_apart_says(struct rig *rig, int side, const char *word);
/* End all, look for litter (I13), free. */
void rig_end(struct rig *rig);

/* Ask a guest; 0 or negative, as fake.h. */
int rig_ask(const char *control, enum remus_fake_verb verb, struct remus_fake_state *state);
bool rig_guest_gone(const struct rig *rig);
/* The guest at @control runs, and its memory is what its writes make it. */
void rig_check_runs(const char *control);
/* Both shells have returned: exactly one side runs the guest, the other has nothing. 'p' or 'b'. */
char rig_survivor(struct rig *rig);
const char *rig_standby_control(const struct rig *rig);

int rig_main(int argc, char **argv, const char *suite, const struct unit_case *cases, size_t count);
#define RIG_MAIN(suite, cases)                                                      \
	int main(int argc, char **argv)                                             \
	{                                                                           \
		return rig_main(argc, argv, suite, cases, REMUS_ARRAY_SIZE(cases)); \
	}

#endif
