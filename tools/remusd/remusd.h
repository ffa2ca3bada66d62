/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remusd: one daemon a host, both roles. The daemon itself is one thread that supervises; each protected
 * domain, each standby and each relayed guest has a child process of its own, joined by a socket pair that
 * carries JSON messages. A child that dies takes down its own session only, and the daemon cleans up after it
 * (I8, I13).
 *
 *   main.c       options, signals, the poll loop
 *   control.c    clients of the control socket: requests in, answers out
 *   request.c    what a request may hold
 *   verbs.c      what they can ask for
 *   checks.c     one of these: would protection work?
 *   drills.c     another: does a copy of the standby run?
 *   guests.c     what an operator means by it
 *   sessions.c   the table of domains, and what children say
 *   endings.c    what happens when one ends
 *   spawn.c      making children
 *   child.c      the child's end of the pair: struct remus_supervisor
 *   engine.c     a child that protects (and then relays) a guest
 *   receiver.c   a child that stands by for one
 *   check.c      a child that checks a guest, or a relay that does
 *   wanted.c     reading a request, in a child
 *   record.c     what a daemon that was killed left behind
 *   orphan.c     a child that outlives its daemon, since it may hold the last copy of a guest
 *   events.c     history of events
 *   privileges.c root's privileges that it gives up
 *   strangers.c  who is let in before it has shown who it is
 *   status.c     struct remus_status as JSON
 */
#ifndef REMUSD_H
#define REMUSD_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "remus/engine.h"

#define MESSAGE_MAX 65536 /* bytes of one JSON message between daemon and child */

#define ARMED_MARK "armed" /* a file's name */

#define TIME_STAMP 40 /* bytes of a time as text */

struct options {
	char run_dir[PATH_MAX];
	char control[PATH_MAX];
	char *host, *port; /* listen */
	bool listen;
	char *group;	 /* of the control socket */
	char *arbiter;	 /* URI or NULL */
	char *trace_dir; /* or NULL */
	char tls_dir[PATH_MAX];
	bool insecure; /* the replication port takes plaintext */
	unsigned watchdog_s;
	uint64_t staging_bytes; /* of an epoch, in either role; 0 = as many as the guest needs */
};

enum role { ROLE_ENGINE, ROLE_RECEIVER, ROLE_RELAY, ROLE_CHECK };

/* A check of a session's guest under way. */
struct checking {
	unsigned id; /* 0 = none: what a child still says of an older one is not listened to */
	uint8_t key[REMUS_SESSION_SIZE];
	uint64_t deadline_us;
	char step[128];
	json_t *findings, *asked; /* array; {"domain", "name", "to"} */
};

/* One domain on this host. */
struct session {
	struct session *next;
	unsigned id;
	enum role role;
	char name[128], locator[256], dir[PATH_MAX];
	pid_t pid;	    /* of the child, 0 = none: the session is over and kept to be shown */
	int fd;		    /* to the child */
	uint64_t since_us;  /* the child's start */
	uint64_t heard_us;  /* its last word */
	unsigned restarts;  /* of a relay or recovery in a row */
	uint64_t retry_us;  /* no child, though the guest needs one: when to try to make it, 0 = no need */
	bool retry_recover; /* ... which is an engine that takes up after another */
	json_t *request;    /* how protection was asked for: egress, arbiter, policy...; {} */
	json_t *sockets;    /* engine, relay: those it made at the guest's, or NULL */
	json_t *status;	    /* the last one, docs/control.md */
	char since[TIME_STAMP]; /* when the status's state was entered */
	struct remus_key key;
	bool keyed;	 /* key is meaningful */
	bool admitted;	 /* receiver: the hello was accepted */
	bool armed;	 /* engine: going on alone needs a claim */
	bool active;	 /* receiver: the guest runs here */
	bool detached;	 /* the operator wants nothing more of us for it */
	bool outcome;	 /* the child told how its session ended */
	bool was_relay;	 /* engine: the guest was relayed before: do so again if protection can't begin */
	pid_t guest_pid; /* receiver: the standby's hypervisor */
	unsigned long long
		guest_started; /* ... of an adopted one: tells it from a later process with its pid */
	bool adopted;	       /* the child isn't ours: its end is seen at its socket alone */
	bool reaping;	       /* whoever waits for that end sees to it */
	int last_word;	       /* adopted: its exit status; -1 = it has not said */
	bool drilling;	       /* receiver: it was told to hold a drill, and has not said what came of it */
	uint64_t source;       /* receiver: where it was connected from (strangers.c) */
	struct checking check;
};

struct daemon {
	struct options options;
	struct session *sessions;
	unsigned next_id;
	int control_fd, listen_fd, signal_fd;
	gid_t control_gid; /* whose members may use the control socket; (gid_t)-1 = nobody's */
	bool control_made; /* the control socket is there and ours */
	bool stopping;
	uint64_t sweep_us; /* when to look for gates of interfaces that are gone, 0 = no need */
	struct client *clients;
};

/* events.c */
void time_stamp(char out[TIME_STAMP]); /* now, UTC, ISO 8601 with ms */
/* @mono_us: when it was raised, CLOCK_MONOTONIC. */
void events_add(const char *domain, const char *role, const char *level, const char *kind, const char *text,
		uint64_t mono_us);
json_t *events_since(uint64_t sequence); /* new array */
uint64_t events_last(void);

/* privileges.c */
int privileges_drop(struct remus_error *err);

/* strangers.c */
uint64_t stranger_source(int socket); /* an address as a number, 0 = unknown */
/* NULL = it may come in; else why not. */
const char *stranger_refused(const struct daemon *d, uint64_t source);
/* To the log, if it isn't too often. */
void stranger_says(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* status.c */
json_t *status_json(const struct remus_status *status);
json_t *agent_json(const struct remus_agent_status *agent);
void key_hex(const struct remus_key *key, char out[2 * REMUS_SESSION_SIZE + 1]);
int key_parse(const char *hex, uint8_t session[REMUS_SESSION_SIZE]); /* -EINVAL; @hex may be NULL */

/* guests.c */
void guest_name(const char *locator, char out[128]); /* "qemu:/run/vms/web1.qmp" -> "web1" */
/* Does this host run on Xen, so that the name of a domain that remusd doesn't know yet is one of Xen's? */
bool guest_on_xen(void);
/* @request with what isn't said in it: from an earlier session of the domain (@s may be NULL), else the defaults. New. */
json_t *guest_request(const struct daemon *d, const struct session *s, const json_t *request);

/* drills.c */
uint64_t drill_ms(const json_t *message); /* how long a drill shall run; @message: a request or a command */
json_t *drill_json(const struct remus_drill *drill);
void drill_over(struct daemon *d, struct session *s, const json_t *result);

/* checks.c */
/* A child's words on the check of @s. false: they are of something else. */
bool check_message(struct daemon *d, struct session *s, const char *type, const json_t *message);
/* Give up those that take too long. */
void checks_expire(struct daemon *d);
/* @s has no child any more. */
void check_over(struct daemon *d, struct session *s);
void check_clear(struct session *s);
/* sessions.c */
/* Has it a child, or will it have one again? */
bool session_lives(const struct session *s);
struct session *session_find(struct daemon *d, const char *domain);
/* No room for another one. */
bool sessions_full(const struct daemon *d);
struct session *session_new(struct daemon *d, enum role role, const char *name, const char *locator);
void session_name(struct session *s, const char *name); /* made fit for a file's */
void session_drop(struct daemon *d, struct session *s);
json_t *session_json(const struct session *s); /* new */
/* An event of @s, in the log and for whoever follows. */
void session_event(struct session *s, const char *level, const char *kind, const char *text);
/* A message from a session's child is waiting, or its end of the pair is closed. */
/* Kill a child that has not said a word for longer than it may. */
void session_watch(const struct daemon *d, struct session *s);
void session_readable(struct daemon *d, struct session *s);
/* A child ended. */
void session_reap(struct daemon *d, pid_t pid, int wait_status);
/* ... one that isn't our child, seen at its socket. */
void session_adopted_ended(struct daemon *d, struct session *s);
/* The child closed its end and is about to exit: wait for it (bounded), leaving the session without one. */
bool session_wait(struct session *s);
void session_command(struct session *s, const char *command);
/* Of a receiver that waits for its arbiter: the operator knows that the guest runs elsewhere. */
void session_drop_standby(struct session *s);
/* Make the child that could not be made before. */
void session_retry(struct daemon *d, struct session *s);
/* Of a guest whose relay was stopped for a child that could not be made. */
void session_relay_later(struct daemon *d, struct session *s, const char *why);
/* End every session in order (@deadline_ms), then kill what is left. */
void sessions_stop(struct daemon *d, int deadline_ms);
const char *role_name(enum role role);

/* orphan.c */
bool receiver_undecided(const json_t *status);
int orphan_listen(const char *dir);
int orphan_adopted(int listener, const char *dir);
int orphan_connect(const char *dir);

/* spawn.c: fork; the child never returns. Fill s->pid and s->fd. */
int spawn_engine(struct daemon *d, struct session *s, bool recover, struct remus_error *err);
int spawn_relay(struct daemon *d, struct session *s, struct remus_error *err);
int spawn_receiver(struct daemon *d, struct session *s, int socket, struct remus_error *err);
/* A process that ends what a killed standby left, by the mark in its directory @dir (remus/domain.h). */
void spawn_sweep(struct daemon *d, const char *dir);
int spawn_check(struct daemon *d, struct session *s, struct remus_error *err);

/* child.c */
struct child {
	int fd;
	bool orphan;		/* the daemon is gone */
	bool quit;		/* it told us to go */
	bool waits_for_another; /* orphan: fd is where the next daemon comes to */
	char state[32];		/* last published */
	char dir[PATH_MAX];
	const struct options *options;
	struct session *session; /* the child's copy */
	uint64_t drill_ms;	 /* of the last one that was asked for */
	struct {
		unsigned id;
		uint8_t key[REMUS_SESSION_SIZE];
		json_t *request; /* NULL = none */
		bool busy;	 /* one is being made, in a thread */
	} check;
};
void child_supervisor(struct child *child, struct remus_supervisor *out);
struct remus_nic;
/* Leave a mark in the child's directory that going on alone needs a claim: it is there whoever is killed, and whatever
 * becomes of the message to the daemon. Gone when the child tells its outcome. */
int child_arm(struct child *child, struct remus_error *err);
void child_sockets(struct child *child, const struct remus_nic *nic, int nics);
void child_failed(struct child *child, const struct remus_error *err);
void child_outcome(struct child *child, const struct remus_outcome *out);
/* The exit status, for a daemon that is not our parent. Returns it. */
int child_exit(struct child *child, int status);
int message_send(int fd, json_t *message);   /* takes the reference; 0 or -errno */
json_t *message_receive(int fd, int *error); /* NULL: *error = 0 EOF, -EAGAIN, or another */

/* Exit status of a child that was told to go while its guest runs on, on this host. */
#define EXIT_GUEST_STAYS 3

/* wanted.c: members of a request */
#define WANTED_EGRESS_MAX 4096
const char *wanted_text(const json_t *request, const char *name, const char *otherwise);
uint64_t wanted_number(const json_t *request, const char *name, uint64_t otherwise);
enum remus_overload_policy wanted_overload(const json_t *request);
/* The backend of "qemu:PATH", and the PATH in @locator. */
int wanted_backend(const char *locator, const struct remus_domain_ops **ops, const char **place,
		   struct remus_error *err);
int wanted_egress(const json_t *request, const char *out[REMUS_NICS_MAX]); /* how many */
void wanted_standby_egress(const json_t *request, char out[WANTED_EGRESS_MAX]);
/* The keys of the link and whom to expect there; *tls NULL = plaintext, as asked for. Free with remus_tls_free(). */
struct remus_tls;
int wanted_tls(const struct options *options, const json_t *request, struct remus_tls **tls,
	       const char **peer, struct remus_error *err);

/* check.c: carry out child->check; @held: the guest that this child has open, or NULL. */
void check_for_child(struct child *child, const struct remus_guest *held);

/* engine.c, receiver.c, check.c: main functions of children; return the exit status */
int engine_main(struct child *child, bool recover);
int relay_main(struct child *child);
int receiver_main(struct child *child, int socket);
int check_main(struct child *child);

/* control.c */
int control_open(struct daemon *d, struct remus_error *err);
void control_accept(struct daemon *d);
int control_poll_count(const struct daemon *d);
struct pollfd;
int control_poll_fill(const struct daemon *d, struct pollfd *fds);
void control_poll_done(struct daemon *d, const struct pollfd *fds, int count);
/* Answer those that wait for the check of @s: @result (stolen), or NULL and why there is none. */
void control_check_done(struct daemon *d, struct session *s, json_t *result, int code, const char *why);
/* Something a waiting client may wait for has happened to @s: its status changed, it failed, it ended. */
void control_session_changed(struct daemon *d, struct session *s, const json_t *failure);
/* @s has no child any more: whoever still waits gets an answer. */
void control_session_over(struct daemon *d, struct session *s);
void control_tell_events(struct daemon *d); /* to the clients that follow them */
void control_close(struct daemon *d);

/* record.c */
/* 0 or -errno, told in the log: the record is as it was. */
int record_write(const struct options *options, const struct session *s);
/* By a child whose daemon is gone: what it knows itself, in the record that is there. */
void record_amend(const struct options *options, const struct session *s, const char *state);
/* Has a child left its mark in @dir (child_arm())? */
bool record_armed(const char *dir);
void record_remove(const struct options *options, const struct session *s);
/* At start: end what a killed daemon left, and take up relaying and recovery of guests that still run. */
void records_adopt(struct daemon *d);
/* Does the guest at @locator have its own sockets in @dir? (An activated one does.) */
bool record_dir_in_use(const char *dir, const char *locator);
void remove_tree(const char *path);
/* Signal a process unless it is another than the one that began at @started; true: it has ended, within @wait_ms. */
bool process_end(pid_t pid, unsigned long long started, int signal, int wait_ms);
bool process_alive(pid_t pid, unsigned long long started);
/* Remove those of @paths that are sockets of dead processes. */
void remove_sockets(const json_t *paths);

#endif
