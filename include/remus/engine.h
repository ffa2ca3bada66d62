/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shells: they own threads, descriptors and memory, carry out what the state machines (protocol.h) decide
 * and hold no decision of their own. remusd runs each in a process of its own; tests run them in threads.
 */
#ifndef REMUS_ENGINE_H
#define REMUS_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include "remus/arbiter.h"
#include "remus/clock.h"
#include "remus/continuity.h"
#include "remus/domain.h"
#include "remus/error.h"
#include "remus/findings.h"
#include "remus/link.h"
#include "remus/netbuf.h"
#include "remus/protocol.h"
#include "remus/renewal.h"

struct remus_quantiles {
	uint64_t p50, p99, max; /* µs, of the last 1024 epochs */
};

/* Something that works, but that an operator should know: stands as long as it is true. */
#define REMUS_WARNINGS_MAX 4
struct remus_warning {
	char subject[REMUS_FINDING_SUBJECT_MAX];
	char text[REMUS_REASON_MAX];
};

/* What is known of the clocks of both hosts, and of the guest's after an activation (clock.h). */
struct remus_clock_status {
	bool known; /* then: the peer's wall clock minus ours, give or take */
	int64_t offset_us;
	uint64_t error_us;
	struct remus_clock_sync here, peer;
	bool peer_known;
	enum remus_clock_policy policy; /* what was asked for */
	bool activated;			/* then: */
	struct remus_truth truth;	/* as of the activation */
	struct remus_warning warning[REMUS_WARNINGS_MAX];
	unsigned warnings;
};

/* The agent in the guest, and what it did. */
struct remus_agent_status {
	bool known; /* the rest means something */
	bool present;
	char version[REMUS_AGENT_VERSION];
	char why[REMUS_TEXT_MAX]; /* there is no way to one; "" = there is */
	enum remus_renewal_phase phase;
	uint64_t took_ns; /* DONE: since the activation */
	struct remus_renewed renewed;
	bool hooks_known;
	struct remus_hooks hooks;
	double steal_share; /* percent of the last minute, by the guest's own kernel; negative = unknown */
};

/* A snapshot of one session: what `remusctl status` shows. */
struct remus_status {
	const char *role;  /* "primary", "backup", "relay" */
	const char *state; /* docs/control.md */
	bool protected_now;
	char reason[REMUS_REASON_MAX];
	char tracking[32], tracking_note[REMUS_TEXT_MAX];
	uint64_t guest_pages;
	uint64_t sync_round, sync_sent, sync_total; /* pages */
	uint64_t epochs_sent, epochs_committed, epochs_aborted;
	double pause_share; /* percent of the last minute that the guest was paused by us */
	struct remus_clock_status clock;
	struct remus_quantiles pause;  /* from when the guest begins to stop until it goes on */
	struct remus_quantiles own;    /* of which after it stands still: what replication adds to the stop */
	struct remus_quantiles commit; /* from the pause's begin to the ack */
	struct remus_pause_parts parts; /* means, µs */
	uint64_t lag_us;		/* since the last committed epoch's pause */
	uint64_t dirty_last;		/* pages whose content had changed */
	double dirty_mean;
	uint64_t wire_bytes, raw_bytes;	  /* of committed and in-flight epochs, full copy excluded */
	const char *egress_state;	  /* "closed", "passing", "holding" */
	struct remus_netbuf_stats egress; /* all NICs together */
	uint64_t held_total;		  /* frames that waited for an ack */
	uint64_t cache_bytes, cache_cap, staging_bytes;
	const char *on_overload; /* primary: the policy; NULL on others */
	uint64_t max_interval_us,
		turn_us; /* the bound, and the last epoch's time from its pause to its ack */
	bool overloaded;
	unsigned throttle; /* percent of its time that the guest is made to stand still */
	struct remus_link_stats link;
	char link_security[REMUS_TEXT_MAX]; /* "plaintext", "tls1.3 psk NAME"...; "" = there is no link yet */
	char peer[REMUS_TEXT_MAX];
	uint64_t detect_us, claim_us, activate_us; /* backup, after failover */
	pid_t guest_pid;			   /* hypervisor process, 0 = unknown */
	char locator[REMUS_TEXT_MAX];		   /* of the guest on this host, "" = none yet */
	struct remus_agent_status agent;
};

#define REMUS_DEFAULT_RENEW_WAIT_MS 500u

enum remus_command {
	REMUS_COMMAND_NONE,
	REMUS_COMMAND_UNPROTECT,
	REMUS_COMMAND_FAILOVER,
	REMUS_COMMAND_DRILL, /* backup: hold one, for as long as drill_ms() says */
	REMUS_COMMAND_FORCE,
	REMUS_COMMAND_CHECK, /* a relay: return, the supervisor wants the guest checked */
	REMUS_COMMAND_QUIT,  /* the supervisor wants the process gone: end protection in order, then return */
};

/* What came of a drill: a copy of the standby was run, cut off from everything, and destroyed. */
struct remus_drill {
	bool passed;
	char text[REMUS_REASON_MAX];			 /* a sentence */
	uint64_t epoch;					 /* that was copied; 0 = it didn't come to that */
	uint64_t build_us, copy_us, activate_us, ran_us; /* copy_us: acknowledgements waited for so long */
	char fingerprint[REMUS_FINGERPRINT];		 /* of the seed that the copy got */
	struct remus_agent_status agent;		 /* in the copy */
	char *console; /* what it wrote there, from its activation on, printable; NULL = unknown */
};

/* What a shell needs of whoever supervises it. Called in the shell's own thread. */
struct remus_supervisor {
	void *context;
	int command_fd;					   /* poll; -1 = none */
	enum remus_command (*next_command)(void *context); /* never blocks */
	void (*status)(void *context, const struct remus_status *status);
	void (*event)(void *context, enum remus_level level, const char *kind, const char *text);
	/* Primary, before the first COMMIT leaves: from now on going on alone needs a claim. Recorded before return, in what
	 * outlives this process and its supervisor; if it can't be, the COMMIT doesn't leave. */
	int (*armed)(void *context, struct remus_error *err);
	/* Backup: may this peer use this session and generation? Negative code and message = refused. A hello that asks for a
	 * check is answered the same way, but leaves no trace. */
	int (*admit)(void *context, const struct remus_hello *hello, struct remus_error *err);
	/* Backup: where to keep this standby's files; valid after admit. */
	const char *(*standby_dir)(void *context);
	/* Backup, both or none: how long the copy of the drill that was asked for shall run; what came of it. */
	uint64_t (*drill_ms)(void *context);
	void (*drilled)(void *context, const struct remus_drill *drill);
};

struct shell_agent;

/* A guest on this host, the buffers of its interfaces, and the agent in it. */
struct remus_guest {
	struct remus_domain *domain;   /* primary, relay of a protected guest */
	struct remus_standby *standby; /* backup, relay of an activated guest */
	struct remus_netbuf *nic[REMUS_NICS_MAX];
	int nics;
	const char *egress_state;
	uint64_t accepted[REMUS_NICS_MAX]; /* frames from each NIC, at the last remus_guest_egress_stats() */
	unsigned announcements;		   /* that the relay still has to make */
	struct remus_addresses addresses;  /* to announce: the last committed epoch's */
	struct shell_agent *agent;	   /* the engine's; NULL = it was not looked for */
};

/* Open one buffer per NIC (state CLOSED). @egress: one URI per NIC; fewer is an error that names the NIC. On
 * failure those opened are closed. */
int remus_guest_open_nics(struct remus_guest *guest, const struct remus_nic *nic, int nics,
			  const char *const *egress, int egresses, uint64_t hold_bytes,
			  struct remus_error *err);
/* Close the buffers (netbuf.h tells what becomes of the guest's frames); the guest stays. */
void remus_guest_close_nics(struct remus_guest *guest);
/* Could remus_guest_open_nics() do its work? Nothing is opened. */
void remus_guest_check_nics(const struct remus_nic *nic, int nics, const char *const *egress, int egresses,
			    uint64_t hold_bytes, struct remus_report *report);
/* Cut "URI;URI" (changed in place) into at most @max pieces; returns how many. */
int remus_egress_split(char *list, const char **uri, int max);
/* Each call does all NICs; the first failure's message is kept, the others are tried all the same. */
int remus_guest_hold(struct remus_guest *guest, struct remus_error *err);
int remus_guest_seal(struct remus_guest *guest, uint64_t epoch, struct remus_error *err);
int remus_guest_release(struct remus_guest *guest, uint64_t epoch, struct remus_error *err);
int remus_guest_discard(struct remus_guest *guest, struct remus_error *err);
int remus_guest_pass(struct remus_guest *guest, struct remus_error *err);
/* Since remus_guest_hold(), until remus_guest_pass(). */
bool remus_guest_holds(const struct remus_guest *guest);
int remus_guest_announce(struct remus_guest *guest, struct remus_error *err);
void remus_guest_egress_stats(struct remus_guest *guest, struct remus_netbuf_stats *sum);
/* Close buffers and domain or standby (an activated one is left running). */
void remus_guest_close(struct remus_guest *guest);

struct remus_protect_config {
	const char *name;	 /* the operator's name of the domain */
	const char *host, *port; /* of the backup */
	struct remus_key key;
	struct remus_arbiter *arbiter;
	const char *arbiter_uri;
	const char *standby_egress; /* for the backup, separated by ';' as in the hello */
	struct remus_primary_config machine;
	struct remus_link_config link;
	uint32_t renew_wait_ms; /* how long the network of an activated guest waits for its agent, at most
				   REMUS_AGENT_WAIT_MAX_MS; 0 = not at all */
	uint64_t cache_bytes;
	uint64_t staging_bytes; /* of pages of one epoch; 0 = as many as the guest has */
	unsigned threads;	/* encoding workers besides the engine's own thread */
	enum remus_clock_policy clock_policy;
	const char *trace_path; /* NULL = none */
	bool recover;		/* take up after a killed engine: claim first */
	uint64_t recover_epoch;
};

/* How a session ended. */
struct remus_outcome {
	bool guest_here; /* the guest runs on this host (or may): go on relaying its network */
	bool armed;
	bool claim_hangs; /* primary: config->arbiter is still in use by a claim without answer: don't close it */
	int code;	  /* negative errno of what ended it, 0 = an end in order */
	char word[32]; /* last state */
	char reason[REMUS_REASON_MAX];
};

/*
 * Protect guest->domain until the session ends. The guest's buffers must be open; they are PASSING, CLOSED or
 * (policy hold) HOLDING afterwards, as guest->egress_state says. Returns 0 when the session was carried through
 * to an end that @out describes, or a negative code when it could not begin (guest untouched).
 */
int remus_primary_run(struct remus_guest *guest, const struct remus_protect_config *config,
		      const struct remus_supervisor *supervisor, struct remus_outcome *out,
		      struct remus_error *err);

struct remus_receive_config {
	struct remus_backup_config machine;
	struct remus_link_config link;
	const char *arbiter_uri; /* this host's own; NULL = what the primary names */
	uint64_t hold_bytes;
	const char *trace_dir; /* NULL = none */
};

/* Serve one connection from a primary (@transport is owned from here on). Fills @guest->standby and buffers as
 * it goes; the caller relays when out->guest_here. */
int remus_backup_run(struct remus_transport *transport, const struct remus_receive_config *config,
		     const struct remus_supervisor *supervisor, struct remus_guest *guest,
		     struct remus_outcome *out, struct remus_error *err);

/* Forward the guest's network until the guest ends or a command. 0 = guest ended, 1 = QUIT, 2 = CHECK: call it again
 * afterwards. */
int remus_relay_run(struct remus_guest *guest, const struct remus_supervisor *supervisor,
		    struct remus_outcome *out, struct remus_error *err);

/* ---- check: would protection work? ---- */

struct remus_check_config {
	const char *name; /* the operator's name of the domain */
	const struct remus_domain_ops *ops;
	const char *locator; /* what follows the colon */
	struct remus_domain_config domain;
	struct remus_held held;
	const char *host, *port; /* of the backup */
	struct remus_key
		key; /* fresh: opened at the arbiter, looked for by the backup, retired; never claimed */
	const char *arbiter_uri;
	const char *const *egress;
	int egresses;
	const char *standby_egress; /* separated by ';' */
	uint64_t hold_bytes;
	const struct remus_tls *tls; /* of the link; NULL = plaintext */
	const char *tls_peer;
	/* May be NULL: what is looked at from now on, for a supervisor whose patience ends. */
	void (*step)(void *context, const char *what);
	void *context;
};

struct remus_check_result {
	struct remus_report here, there;
	bool answered;	  /* `there` is the backup's; else `here` says why not */
	bool clock_known; /* and these are its clock minus ours, and by how much that may be wrong */
	int64_t clock_offset_us;
	uint64_t clock_error_us;
};

/*
 * Look at both hosts for everything that would stop protection or a failover. The guest isn't touched, no standby is
 * made, nothing is claimed. Two halves, since the second may hang in the arbiter's medium: here() is called in the
 * thread that has the guest open, if there is one, and there() in any. The latter waits, at most, 5 s for the
 * connection, 1 s for the clocks and 20 s for the answer; for the arbiter as long as it takes. @out is some 120 KiB;
 * here() begins with it as it comes, all zero. @view: free its description.
 */
void remus_check_here(const struct remus_check_config *config, struct remus_domain_view *view,
		      struct remus_check_result *out);
void remus_check_there(const struct remus_check_config *config, const struct remus_domain_view *view,
		       struct remus_check_result *out);

#endif
