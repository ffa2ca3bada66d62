/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two state machines: everything that remus decides. `event in -> actions out`; no I/O, no clock (time
 * comes in with each event), no threads, no allocation. The shells (primary.c, backup.c) carry the actions
 * out and turn what happens into events; the simulator and the fuzzers drive the same code.
 *
 * The rule for failing actions: a shell carries out the actions of one step in order. When one fails it drops
 * the rest of that step's actions and reports REMUS_EV_FAILED with the action that failed and the reason.
 * SEND is the exception: it never fails, a link that cannot send is lost and LINK_LOST follows.
 * Actions whose outcome comes later (CONNECT, CLAIM, SYNC_ROUND, PREPARE...) report through their own event.
 *
 * Timers: one per enum remus_timer; SET replaces, CANCEL removes. A TIMER event that comes late, after a
 * CANCEL, is harmless: the machine checks what it waits for.
 */
#ifndef REMUS_PROTOCOL_H
#define REMUS_PROTOCOL_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include "remus/arbiter.h"
#include "remus/error.h"
#include "remus/wire.h"

#define REMUS_ACTIONS_MAX 16
#define REMUS_REASON_MAX  512

enum remus_timer {
	REMUS_TIMER_SETUP,    /* hello, standby preparation */
	REMUS_TIMER_EPOCH,    /* the next pause is due */
	REMUS_TIMER_ACK,      /* an epoch was sent and not acknowledged */
	REMUS_TIMER_END,      /* END was sent and not acknowledged */
	REMUS_TIMER_HANDOVER, /* HANDOVER or DOMAIN_LOST was sent and not answered */
	REMUS_TIMER_RETRY,    /* ask the arbiter, resume or activate again */
	REMUS_TIMER_RENEW,    /* an activated guest's egress waits for its renewal */
	REMUS_TIMER_BRAKE,    /* a throttled guest has stood still long enough */
	REMUS_TIMERS,
};

enum remus_event_type {
	/* both machines */
	REMUS_EV_START,		/* primary: an operator wants protection; backup: a connection came in */
	REMUS_EV_LINK_LOST,	/* .text says why */
	REMUS_EV_FRAME,		/* .header, .payload (valid during the step) */
	REMUS_EV_TIMER,		/* .timer */
	REMUS_EV_CLAIM,		/* .claim; .text when UNKNOWN */
	REMUS_EV_FAILED,	/* .action failed: .code, .text */
	REMUS_EV_CMD_UNPROTECT, /* operator: end protection (on a backup: drop the standby) */
	REMUS_EV_CMD_FAILOVER,	/* operator: planned hand-over */
	REMUS_EV_CMD_DRILL,	/* operator, of a backup: run a copy of the standby for a while */
	REMUS_EV_CMD_FORCE,	/* operator's word in place of the arbiter's (only while claiming or held) */
	/* primary */
	REMUS_EV_RECOVER, /* instead of START: an engine died while its domain was armed */
	REMUS_EV_LINK_UP,
	REMUS_EV_ROUND_DONE, /* .pages still dirty, .round */
	REMUS_EV_SENT,	     /* .epoch handed to the kernel; .digest; .resumed_us when its pause ended; 0:
				   * the guest that stood still meanwhile does so yet */
	REMUS_EV_DOMAIN_SHUTDOWN, /* the guest ended by its own or its operator's will; .text */
	REMUS_EV_DOMAIN_LOST,	  /* its hypervisor died; .text */
	/* backup */
	REMUS_EV_HELLO, /* .hello: a HELLO frame that the shell decoded */
	REMUS_EV_STANDBY_READY,
	REMUS_EV_EPOCH_VERIFIED, /* .epoch, .digest */
	REMUS_EV_EPOCH_BAD,	 /* .epoch, .text */
	REMUS_EV_ACTIVATED,	 /* .wait_us: how long egress shall wait for the renewal, 0 = not at all */
	REMUS_EV_RENEWED, /* the guest has fresh randomness and the right time, or says why not: .clean; .text */
	REMUS_EV_STANDBY_ENDED, /* the standby's or active guest's hypervisor is gone; .text; .clean: by its will */
	REMUS_EVENT_TYPES,
};

enum remus_action_type {
	/* both */
	REMUS_DO_REPORT,    /* state changed: publish state and .text (the reason, may be empty) */
	REMUS_DO_EVENT,	    /* .kind, .level, .text: tell the operator. Comes before what it announces (I7) */
	REMUS_DO_SET_TIMER, /* .timer at .at_us */
	REMUS_DO_CANCEL_TIMER, /* .timer */
	REMUS_DO_SEND,	       /* a frame without bulk: .frame, .epoch; .value/.text as the type needs */
	REMUS_DO_BIND,	       /* bind the link to the session (I4) */
	REMUS_DO_CLOSE_LINK,
	REMUS_DO_CLAIM,	      /* ask the arbiter, outcome as REMUS_EV_CLAIM */
	REMUS_DO_PASS,	      /* open egress: send what is held, then pass */
	REMUS_DO_ABORT_EPOCH, /* .epoch won't be completed: primary: its pages must be sent again (I9), its bases
	                          forgotten; backup: forget what is staged (I3) */
	REMUS_DO_END,	      /* the session is over; .text; no action follows */
	/* primary */
	REMUS_DO_CONNECT, /* LINK_UP or FAILED */
	REMUS_DO_TRACK_START,
	REMUS_DO_TRACK_STOP,
	REMUS_DO_SYNC_ROUND, /* .value = round, 1-based: send all pages (1) or those dirty since */
	REMUS_DO_PAUSE,
	REMUS_DO_CAPTURE, /* .epoch: state, dirty set, copy; the guest is paused */
	REMUS_DO_HOLD,	  /* netbuf: PASSING -> HOLDING */
	REMUS_DO_SEAL,	  /* .epoch */
	REMUS_DO_RESUME,
	/* .epoch: encode and send; SENT, LINK_LOST or FAILED. Not a frame begins after .at_us, nor beyond the
	 * backup's cap (staging_bytes): then FAILED with REMUS_EPOCH_LATE or REMUS_EPOCH_LARGE, and its COMMIT was
	 * not sent. .value: the guest stands still; resume it on the way if that time comes (SENT says so);
	 * 0 = it runs, or is to stay as it is. */
	REMUS_DO_SEND_EPOCH,
	REMUS_DO_RELEASE, /* .epoch */
	REMUS_DO_DISCARD, /* netbuf: drop what is held */
	REMUS_DO_DESTROY, /* kill our copy of the domain */
	REMUS_DO_RETIRE,  /* arbiter: the session ended in agreement */
	/* backup */
	REMUS_DO_PREPARE, /* build the standby; STANDBY_READY or FAILED */
	REMUS_DO_CHECK, /* the hello of this step asks for it: gather findings, change nothing; never fails */
	REMUS_DO_APPLY_SYNC, /* the frame of this step: check and apply at once (first full copy) */
	REMUS_DO_STAGE,	     /* the frame of this step: keep for .epoch */
	REMUS_DO_VERIFY,     /* .epoch against the COMMIT of this step; EPOCH_VERIFIED or EPOCH_BAD */
	REMUS_DO_APPLY,	     /* .epoch: staged and acknowledged; make it the standby's image */
	REMUS_DO_STIR,	     /* the frame of this step: into the reservoir of randomness; never fails */
	REMUS_DO_ACTIVATE,   /* .epoch; ACTIVATED or FAILED */
	REMUS_DO_RENEW,	   /* begin (I12); RENEWED when it is done, at once where it can't be. Never fails */
	REMUS_DO_ANNOUNCE, /* ARP/NA, after PASS (I12) */
	REMUS_DO_DROP,	   /* destroy the standby */
	REMUS_DO_DRILL, /* begin one with the last committed epoch; .text not empty: why not. Never fails */
	REMUS_ACTION_TYPES,
};

enum remus_level { REMUS_LEVEL_INFO, REMUS_LEVEL_WARNING, REMUS_LEVEL_ERROR };

struct remus_event {
	enum remus_event_type type;
	uint64_t now_us; /* monotonic, any origin, never decreasing */
	enum remus_timer timer;
	enum remus_claim claim;
	enum remus_action_type action;
	int code; /* negative errno */
	bool clean;
	uint64_t epoch, pages, round, digest, resumed_us, wait_us;
	const struct remus_frame_header *header;
	const uint8_t *payload;
	const struct remus_hello *hello;
	const char *text; /* may be NULL */
};

struct remus_action {
	enum remus_action_type type;
	enum remus_timer timer;
	enum remus_level level;
	uint16_t frame; /* enum remus_frame_type */
	uint64_t epoch, value, at_us;
	const char *kind; /* docs/control.md, Events; static */
	char text[REMUS_REASON_MAX];
};

struct remus_actions {
	unsigned count;
	struct remus_action list[REMUS_ACTIONS_MAX];
};

/* ---- primary ---- */

enum remus_primary_state {
	REMUS_P_IDLE,
	REMUS_P_CONNECTING,
	REMUS_P_HELLO,
	REMUS_P_SYNCING,
	REMUS_P_RUNNING,      /* between epochs: everything captured is committed */
	REMUS_P_IN_FLIGHT,    /* one epoch is captured or sent, not acknowledged */
	REMUS_P_UNPROTECTING, /* END sent */
	REMUS_P_HANDING_OVER, /* guest stopped (or gone), the backup is to activate */
	REMUS_P_CLAIMING,
	REMUS_P_SOLO,	   /* claim won: the guest runs on here, unprotected */
	REMUS_P_HELD,	   /* claim won, policy hold: the guest runs, its output waits for the operator */
	REMUS_P_DISCARDED, /* claim lost or handed over: our copy is destroyed */
	REMUS_P_ENDED,
	REMUS_PRIMARY_STATES,
};

enum remus_loss_policy { REMUS_LOSS_SOLO, REMUS_LOSS_HOLD };

/* What to do about a guest that changes more than the link carries: let the interval grow, slow the guest down, or
 * end protection. primary_overload.c. */
enum remus_overload_policy { REMUS_OVERLOAD_STRETCH, REMUS_OVERLOAD_THROTTLE, REMUS_OVERLOAD_DROP };

/* Codes of a failed SEND_EPOCH or CAPTURE: no link could send them. */
#define REMUS_EPOCH_LATE  (-ETIME)
#define REMUS_EPOCH_LARGE (-E2BIG)
#define REMUS_STRETCH_MAX 10 /* an epoch has so many times max_interval_us from its pause to be sent */

struct remus_primary_config {
	uint64_t interval_us;					  /* guest run time between pauses */
	uint64_t hello_us, ack_us, end_us, handover_us, retry_us; /* deadlines; 0 = defaults */
	uint64_t entropy_us;  /* randomness goes to the backup at most this often; 0 = default */
	uint64_t sync_pages;  /* a round that leaves at most so many dirty pages is the last */
	unsigned sync_rounds; /* and at most so many rounds */
	enum remus_loss_policy on_backup_loss;
	uint64_t
		max_interval_us; /* a longer turn, from an epoch's pause to its ack, is overload; 0 = default */
	enum remus_overload_policy on_overload;
};

struct remus_primary {
	struct remus_primary_config config;
	enum remus_primary_state state;
	uint64_t committed; /* last acknowledged epoch */
	uint64_t epoch;	    /* of the pause in progress or in flight; committed or committed + 1 */
	uint64_t aborted;   /* attempts given up */
	uint64_t digest;    /* of the epoch in flight, once sent */
	uint64_t resumed_us;
	uint64_t entropy_us; /* randomness is due from then on */
	uint64_t begun_us;   /* when the pause of this epoch was due to begin */
	uint64_t turn_us;    /* from the last epoch's pause to its ack */
	uint64_t late_us;    /* when a turn was last too long */
	unsigned throttle;   /* how much of a turn the guest stands still, percent */
	bool braked;	     /* it does so now */
	bool overloaded;     /* told so */
	bool sent;	     /* the epoch in flight is with the kernel */
	bool armed;  /* a COMMIT may have reached the backup: going on without it needs a claim (I6) */
	bool linked; /* the link is up */
	bool tracking;
	bool holding; /* egress is held */
	bool paused;  /* the guest is, by us */
	bool guest_gone;
	bool guest_ended; /* ... by its own will */
	bool handover_wanted;
	bool claiming; /* an answer is outstanding */
	bool told_unknown;
	unsigned failures;	/* captures or resumes in a row */
	int code;		/* negative errno of what ended the session, 0 = an end in order */
	uint64_t features;	/* chosen in WELCOME */
	uint64_t staging_bytes; /* the backup's cap per epoch */
};

void remus_primary_init(struct remus_primary *machine, const struct remus_primary_config *config);
/* One step. @out is emptied first. */
void remus_primary_step(struct remus_primary *machine, const struct remus_event *event,
			struct remus_actions *out);
/* Word of docs/control.md for the state ("protected", "syncing", ...). */
const char *remus_primary_word(const struct remus_primary *machine);
/* "stretch", "throttle", "drop" */
const char *remus_overload_word(enum remus_overload_policy policy);
/* Is the guest protected now: an epoch is committed and the link is up? */
bool remus_primary_protected(const struct remus_primary *machine);

/* ---- backup ---- */

enum remus_backup_state {
	REMUS_B_HELLO, /* connected, waiting for the hello */
	REMUS_B_PREPARING,
	REMUS_B_SYNCING, /* full copy; nothing committed */
	REMUS_B_STANDBY, /* at epoch `committed` */
	REMUS_B_CLAIMING,
	REMUS_B_ACTIVATING,
	REMUS_B_RENEWING, /* the guest runs here; its egress waits until it is renewed, or for so long */
	REMUS_B_ACTIVE,
	REMUS_B_DROPPED, /* the other side runs the guest, or nobody can here */
	REMUS_B_ENDED,
	REMUS_BACKUP_STATES,
};

struct remus_backup_config {
	uint64_t hello_us, retry_us; /* 0 = defaults */
	uint64_t staging_bytes;	     /* told to the primary */
	unsigned activate_attempts;  /* 0 = 3 */
};

struct remus_backup {
	struct remus_backup_config config;
	enum remus_backup_state state;
	uint64_t committed; /* epoch acknowledged last */
	uint64_t staging;   /* epoch of which frames are staged, 0 = none */
	uint64_t features;
	bool linked;
	bool handover;	   /* the primary waits for our answer */
	bool primary_gone; /* ... and has no copy to go on with */
	bool claiming;
	bool told_unknown;
	bool won;
	unsigned attempts;
};

void remus_backup_init(struct remus_backup *machine, const struct remus_backup_config *config);
void remus_backup_step(struct remus_backup *machine, const struct remus_event *event,
		       struct remus_actions *out);
const char *remus_backup_word(const struct remus_backup *machine);

/* Names for traces and tests: "EV_START", "DO_SEND"... */
const char *remus_event_name(enum remus_event_type type);
const char *remus_action_name(enum remus_action_type type);

#endif
