/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between backup.c (the loop) and backup_actions.c (what the machine wants done). Private to both. */
#ifndef REMUS_BACKUP_H
#define REMUS_BACKUP_H

#include "shell.h"
#include "remus/continuity.h"
#include "staging.h"

struct backup {
	struct remus_guest *guest;
	const struct remus_receive_config *config;
	const struct remus_supervisor *up;
	struct remus_backup machine;
	struct remus_link *link;
	struct remus_hello hello;
	struct remus_key key;
	struct remus_arbiter *arbiter;
	struct shell_claimer *claimer;
	struct shell_timers timers;
	struct shell_trace trace;
	struct staging staging;
	struct remus_entropy *entropy;
	struct shell_drill *drill; /* under way, or NULL */

	struct remus_frame *frame; /* of the step in progress */
	struct shell_feed feed;

	struct remus_agent_section agent; /* of the epoch applied last */

	struct remus_nic nic[REMUS_NICS_MAX]; /* whose buffers are open */
	int nics;

	bool ended;
	struct remus_status status;
	uint64_t next_status_us, last_commit_us, last_heard_us, lost_us, claimed_us;
	char end_text[REMUS_REASON_MAX];
	struct remus_clock_known clock; /* its facts are those of the epoch applied last */
	struct shell_clock watch;
	struct remus_truth truth; /* as of the activation */
	bool truth_known;
	struct remus_report report; /* of a check */
};

/* What both PREPARE and a check begin with: the backend that the hello names; the arbiter, with the primary's key in it
 * (b->arbiter, also when the key isn't there). */
int backup_find_backend(struct backup *b, const struct remus_standby_ops **out, struct remus_error *err);
int backup_open_arbiter(struct backup *b, struct remus_error *err);
const char *backup_arbiter_uri(const struct backup *b);
/* backup_check.c: fill b->report. */
void backup_check(struct backup *b);

/* backup_drill.c: begin one, or tell why not; go on with it; end it without waiting. */
void backup_drill(struct backup *b, const char *why_not);
void backup_poll_drill(struct backup *b);
void backup_end_drill(struct backup *b);
/* backup_renew.c: where nothing is known of the right time. Begin. */
void backup_truth_of_this_host(struct remus_truth *out);
void backup_renew(struct backup *b);

/*
 * backup_clock.c. The right time for the activated guest, now; may be asked as often as the guest does. -ENODATA: nothing
 * is known of it, for no epoch was activated or its primary sent no clock.
 */
int backup_truth(const struct backup *b, struct remus_truth *out);
/* The same for a copy that is woken up now from the epoch applied last; false: nothing is known. */
bool backup_clock_compute(struct backup *b, struct remus_truth *out);
/* Its steps: the link is about to go; an epoch is complete here (before the ACK); an epoch was applied, with these facts;
 * the guest is about to run; it runs. */
void backup_clock_link(struct backup *b);
void backup_clock_verified(struct backup *b);
void backup_clock_applied(struct backup *b, const struct remus_clock_facts *facts);
void backup_clock_set(struct backup *b);
void backup_clock_activated(struct backup *b);
/* b->status.clock. */
void backup_clock_status(struct backup *b);

/* shell_feed's carry_out; @shell is a struct backup. */
int backup_carry_out(void *shell, const struct remus_action *action, struct remus_error *err);
/* Tell the supervisor how things stand. */
void backup_publish(struct backup *b);
/* Destroy the standby and all that belongs to it. */
void backup_drop(struct backup *b);

#endif
