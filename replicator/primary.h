/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between primary.c (the loop) and primary_actions.c (what the machine wants done). Private to both. */
#ifndef REMUS_PRIMARY_H
#define REMUS_PRIMARY_H

#include "capture.h"
#include "shell.h"

struct primary {
	struct remus_guest *guest;
	const struct remus_protect_config *config;
	const struct remus_supervisor *up;
	struct remus_primary machine;
	struct capture *capture;
	struct remus_link *link;
	struct shell_claimer *claimer;
	struct shell_timers timers;
	struct shell_trace trace;

	struct shell_feed feed;

	bool ended, quit_wanted, syncing;
	unsigned round;
	uint64_t memory_pages; /* of round 1: a PVH guest's frame numbers are sparse */
	uint64_t pause_begin_us, stopped_us, resumed_us, committed_us;
	uint64_t resume_at_us; /* the guest stands still while its epoch is sent: until then, 0 = it runs */
	uint64_t next_status_us;
	uint64_t asked_for;    /* when the pause is due for which a stop was asked for ahead */
	uint64_t ack_usual_us; /* resume to ack, a running mean */
	struct remus_status status;
	struct shell_samples pause, own, commit;
	struct shell_share paused;
	struct shell_clock clock;
	struct remus_pause_parts sums;
	bool pause_reckoned; /* when the guest began to stop was not seen: it is in no quantile, nor in the sum of stops */
	uint64_t pages_sum;
	uint64_t passed; /* frames that the buffer had let straight through when it began to hold */
	char end_text[REMUS_REASON_MAX];
};

/* shell_feed's carry_out; @shell is a struct primary. */
int primary_carry_out(void *shell, const struct remus_action *action, struct remus_error *err);
/* Tell the supervisor how things stand. */
void primary_publish(struct primary *p);

#endif
