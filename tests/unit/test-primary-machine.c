/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's machine, event by event: the whole life of a session, each way it can end, and what comes out of
 * turn. Time stands at 0 except where a line sets it; the interval is 25 ms.
 */
#include "machine-script.h"

#define WELCOME                    \
	FRAME(WELCOME, 0, 16,      \
	      "\x07\0\0\0\0\0\0\0" \
	      "\0\0\0\x01\0\0\0\0")
#define WELCOME_ENTROPY            \
	FRAME(WELCOME, 0, 16,      \
	      "\x17\0\0\0\0\0\0\0" \
	      "\0\0\0\x01\0\0\0\0")
#define REFUSE FRAME(REFUSE, 0, 6, "\x10\0\0\0no")
#define SENT(n)                                                  \
	{                                                        \
		.type = REMUS_EV_SENT, .epoch = (n), .digest = 7 \
	}
#define ROUND(n, left)                                                     \
	{                                                                  \
		.type = REMUS_EV_ROUND_DONE, .round = (n), .pages = (left) \
	}

#define EPOCH1 "PAUSE CAPTURE:1 HOLD SEAL:1 RESUME SEND_EPOCH:1"
#define EPOCH2 "PAUSE CAPTURE:2 SEAL:2 RESUME SEND_EPOCH:2"

/* From nothing to epoch 1 in flight, to epoch 1 committed. */
#define TO_SYNCING                                                                          \
	{EV(START), "REPORT CONNECT", "connecting"},                                        \
		{EV(LINK_UP), "REPORT SEND:HELLO SET_TIMER:SETUP", "hello"},                \
	{                                                                                   \
		WELCOME, "CANCEL_TIMER:SETUP BIND REPORT TRACK_START SYNC_ROUND", "syncing" \
	}
#define TO_FIRST                                                                                   \
	TO_SYNCING, {ROUND(1, 5000), "SYNC_ROUND", "syncing"}, {ROUND(2, 100), EPOCH1, "syncing"}, \
	{                                                                                          \
		SENT(1), "SET_TIMER:ACK", "syncing"                                                \
	}
#define TO_PROTECTED                                                                                     \
	TO_FIRST,                                                                                        \
	{                                                                                                \
		ACK(1), "CANCEL_TIMER:ACK RELEASE:1 EVENT:protected REPORT SET_TIMER:EPOCH", "protected" \
	}
#define LOST	 "CLOSE_LINK EVENT:backup-lost REPORT CLAIM"
#define GIVEN_UP "EVENT:failed REPORT PASS TRACK_STOP RETIRE END"

static void step(void *machine, const struct remus_event *event, struct remus_actions *out)
{
	remus_primary_step(machine, event, out);
}

static const char *word(const void *machine)
{
	return remus_primary_word(machine);
}

static struct remus_primary machine;

static void run(const char *name, const struct line *lines, size_t count, enum remus_loss_policy policy)
{
	struct remus_primary_config config = {.interval_us = 25000, .on_backup_loss = policy};

	remus_primary_init(&machine, &config);
	play(name, &machine, step, word, lines, count);
}
#define RUN(policy, ...)                                                            \
	do {                                                                        \
		const struct line lines[] = {__VA_ARGS__};                          \
		run(__func__, lines, REMUS_ARRAY_SIZE(lines), REMUS_LOSS_##policy); \
	} while (0)

static void life(void)
{
	RUN(SOLO, TO_PROTECTED, {TIMER(EPOCH), EPOCH2, "protected"}, {SENT(2), "SET_TIMER:ACK", "protected"},
	    {ACK(2), "CANCEL_TIMER:ACK RELEASE:2 SET_TIMER:EPOCH", "protected"});
	CU_ASSERT(remus_primary_protected(&machine));
	CU_ASSERT_EQUAL(machine.committed, 2);
}

/* I1, I10: no release without its ack; no second pause before the first epoch is acknowledged. */
static void no_pause_before_the_ack(void)
{
	RUN(SOLO, TO_PROTECTED, {TIMER(EPOCH), EPOCH2, "protected"}, {SENT(2), "SET_TIMER:ACK", "protected"},
	    {TIMER(EPOCH), "", "protected"}, {EV(CMD_FAILOVER), "", "protected"});
}

static void late_ack_pauses_at_once(void)
{
	struct remus_event late = ACK(1);
	late.now_us = 30000;
	RUN(SOLO, TO_FIRST, {late, "CANCEL_TIMER:ACK RELEASE:1 EVENT:protected REPORT " EPOCH2, "protected"});
}

/* Randomness goes out with the first commit and then at most every ten seconds, when an epoch has been released and before
 * the next pause; not to a backup that didn't ask for it, and not when the guest is about to be handed over. */
static void entropy_now_and_then(void)
{
#define AT(us, ack)                                                                                  \
	{                                                                                            \
		.type = (ack).type, .now_us = (us), .header = (ack).header, .payload = (ack).payload \
	}
	const struct remus_event ack1 = ACK(1), ack2 = ACK(2), ack3 = ACK(3);
	const struct line before[] = {
		{EV(START), "REPORT CONNECT", "connecting"},
		{EV(LINK_UP), "REPORT SEND:HELLO SET_TIMER:SETUP", "hello"},
		{WELCOME_ENTROPY, "CANCEL_TIMER:SETUP BIND REPORT TRACK_START SYNC_ROUND", "syncing"},
		{ROUND(1, 100), EPOCH1, "syncing"},
		{SENT(1), "SET_TIMER:ACK", "syncing"},
		{AT(0, ack1),
		 "CANCEL_TIMER:ACK RELEASE:1 EVENT:protected REPORT SEND:ENTROPY SET_TIMER:EPOCH",
		 "protected"},
		{TIMER(EPOCH), EPOCH2, "protected"},
		{SENT(2), "SET_TIMER:ACK", "protected"},
		{AT(9999999, ack2), "CANCEL_TIMER:ACK RELEASE:2 PAUSE CAPTURE:3 SEAL:3 RESUME SEND_EPOCH:3",
		 "protected"},
		{SENT(3), "SET_TIMER:ACK", "protected"},
	};
	const struct line due[] = {
		{AT(10000000, ack3),
		 "CANCEL_TIMER:ACK RELEASE:3 SEND:ENTROPY PAUSE CAPTURE:4 SEAL:4 RESUME SEND_EPOCH:4",
		 "protected"},
	};
	const struct line unprotecting[] = {
		{EV(CMD_UNPROTECT), "REPORT SEND:END SET_TIMER:END", "unprotecting"},
		{AT(10000000, ack3), "CANCEL_TIMER:ACK RELEASE:3", "unprotecting"},
	};
	struct remus_primary_config config = {.interval_us = 25000, .max_interval_us = 60000000};

	remus_primary_init(&machine, &config);
	play(__func__, &machine, step, word, before, REMUS_ARRAY_SIZE(before));
	struct remus_primary there = machine;
	play(__func__, &machine, step, word, due, REMUS_ARRAY_SIZE(due));
	machine = there;
	play(__func__, &machine, step, word, unprotecting, REMUS_ARRAY_SIZE(unprotecting));
	/* WELCOME without the feature: TO_PROTECTED and all that the other scripts say. */
}

/* I4: an ack for another epoch, twice, or with another digest ends the link, releases nothing. */
static void wrong_acks(void)
{
	RUN(SOLO, TO_PROTECTED, {ACK(1), "SEND:REFUSE " LOST, "claiming"});
	CU_ASSERT_EQUAL(machine.committed, 1);
	RUN(SOLO, TO_FIRST, {ACK(2), "SEND:REFUSE " LOST, "claiming"});
	RUN(SOLO, TO_FIRST, {FRAME(ACK, 1, 8, "\x08\0\0\0\0\0\0\0"), "SEND:REFUSE " LOST, "claiming"});
	RUN(SOLO, TO_FIRST, {FRAME(ACK, 1, 4, "\x07\0\0\0"), "SEND:REFUSE " LOST, "claiming"});
	RUN(SOLO, TO_SYNCING, {ACK(1), "SEND:REFUSE CLOSE_LINK " GIVEN_UP, "ended"});
}

/* An ack before SENT would be an ack for something that isn't complete. */
static void ack_before_sent(void)
{
	RUN(SOLO, TO_SYNCING, {ROUND(1, 0), EPOCH1, "syncing"}, {ACK(1), "SEND:REFUSE " LOST, "claiming"});
}

static void setup_fails(void)
{
	RUN(SOLO, {EV(START), "REPORT CONNECT", "connecting"},
	    {FAILED(CONNECT), "EVENT:failed REPORT PASS RETIRE END", "ended"});
	CU_ASSERT_EQUAL(machine.code, -EIO);
	RUN(SOLO, {EV(START), "REPORT CONNECT", "connecting"},
	    {EV(LINK_UP), "REPORT SEND:HELLO SET_TIMER:SETUP", "hello"},
	    {REFUSE, "CLOSE_LINK EVENT:failed REPORT PASS RETIRE END", "ended"});
	CU_ASSERT_EQUAL(machine.code, -EBUSY);
	RUN(SOLO, {EV(START), "REPORT CONNECT", "connecting"},
	    {EV(LINK_UP), "REPORT SEND:HELLO SET_TIMER:SETUP", "hello"},
	    {TIMER(SETUP), "CLOSE_LINK EVENT:failed REPORT PASS RETIRE END", "ended"});
	CU_ASSERT_EQUAL(machine.code, -ETIMEDOUT);
	RUN(SOLO, TO_SYNCING, {FAILED(SYNC_ROUND), "SEND:END CLOSE_LINK " GIVEN_UP, "ended"});
	RUN(SOLO, TO_SYNCING, {EV(LINK_LOST), "CLOSE_LINK " GIVEN_UP, "ended"});
	RUN(SOLO, TO_SYNCING, {EV(CMD_UNPROTECT), "SEND:END CLOSE_LINK " GIVEN_UP, "ended"});
}

static void rounds_are_bounded(void)
{
	RUN(SOLO, TO_SYNCING, {ROUND(1, 90000), "SYNC_ROUND", "syncing"},
	    {ROUND(2, 90000), "SYNC_ROUND", "syncing"}, {ROUND(3, 90000), "SYNC_ROUND", "syncing"},
	    {ROUND(4, 90000), "SYNC_ROUND", "syncing"}, {ROUND(5, 90000), EPOCH1, "syncing"});
}

/* I6: armed by the first send, going on needs a claim; I7: event and report come before PASS. */
static void backup_lost(void)
{
	RUN(SOLO, TO_PROTECTED, {EV(LINK_LOST), LOST, "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won EVENT:solo REPORT PASS TRACK_STOP END", "solo"});
	RUN(SOLO, TO_PROTECTED, {EV(LINK_LOST), LOST, "claiming"},
	    {CLAIMED(LOST), "EVENT:claim-lost REPORT DISCARD DESTROY END", "discarded"});
	RUN(SOLO, TO_PROTECTED, {EV(LINK_LOST), LOST, "claiming"},
	    {CLAIMED(UNKNOWN), "EVENT:claim-unknown SET_TIMER:RETRY", "claiming"},
	    {TIMER(RETRY), "CLAIM", "claiming"}, {TIMER(RETRY), "", "claiming"},
	    {CLAIMED(UNKNOWN), "SET_TIMER:RETRY", "claiming"},
	    {EV(CMD_UNPROTECT), "EVENT:refused", "claiming"},
	    {EV(CMD_FORCE), "EVENT:solo REPORT PASS TRACK_STOP END", "solo"});
	/* A claim's answer that comes when nobody asked changes nothing. */
	RUN(SOLO, TO_PROTECTED, {CLAIMED(WON), "", "protected"});
	/* A backup that refuses in the middle is a lost backup that says why. */
	RUN(SOLO, TO_PROTECTED, {REFUSE, LOST, "claiming"});
	/* One that lives and doesn't acknowledge may be busy: END first. */
	RUN(SOLO, TO_FIRST,
	    {TIMER(ACK), "EVENT:overload REPORT SEND:END SET_TIMER:END SET_TIMER:END", "unprotecting"},
	    {TIMER(END), LOST, "claiming"});
	/* Before the first send nobody else has an image: no claim. */
	RUN(SOLO, TO_SYNCING, {ROUND(1, 0), EPOCH1, "syncing"},
	    {FAILED(CAPTURE), "ABORT_EPOCH:1 RESUME EVENT:failed SET_TIMER:EPOCH", "syncing"},
	    {EV(LINK_LOST), "CLOSE_LINK " GIVEN_UP, "ended"});
}

static void hold_policy(void)
{
	RUN(HOLD, TO_PROTECTED, {EV(LINK_LOST), LOST, "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won EVENT:unprotected REPORT TRACK_STOP", "held"},
	    {EV(CMD_UNPROTECT), "EVENT:solo REPORT PASS END", "solo"});
	RUN(HOLD, TO_PROTECTED, {EV(LINK_LOST), LOST, "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won EVENT:unprotected REPORT TRACK_STOP", "held"},
	    {EV(CMD_FORCE), "EVENT:solo REPORT PASS END", "solo"});
}

static void killed_engine_is_taken_up(void)
{
	RUN(SOLO, {EV(RECOVER), "EVENT:backup-lost REPORT CLAIM RESUME", "claiming"},
	    {CLAIMED(LOST), "EVENT:claim-lost REPORT DISCARD DESTROY END", "discarded"});
	RUN(SOLO, {EV(RECOVER), "EVENT:backup-lost REPORT CLAIM RESUME", "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won EVENT:solo REPORT PASS END", "solo"});
}

static void unprotect(void)
{
	RUN(SOLO, TO_PROTECTED, {EV(CMD_UNPROTECT), "REPORT SEND:END SET_TIMER:END", "unprotecting"},
	    {EMPTY(END_ACK, 1), "EVENT:unprotected REPORT PASS TRACK_STOP CLOSE_LINK RETIRE END", "ended"});
	RUN(SOLO, TO_PROTECTED, {EV(CMD_UNPROTECT), "REPORT SEND:END SET_TIMER:END", "unprotecting"},
	    {TIMER(END), LOST, "claiming"});
	/* The epoch in flight is still acknowledged on the way out. */
	RUN(SOLO, TO_PROTECTED, {TIMER(EPOCH), EPOCH2, "protected"}, {SENT(2), "SET_TIMER:ACK", "protected"},
	    {EV(CMD_UNPROTECT), "REPORT SEND:END SET_TIMER:END", "unprotecting"},
	    {ACK(2), "CANCEL_TIMER:ACK RELEASE:2", "unprotecting"},
	    {EMPTY(END_ACK, 2), "EVENT:unprotected REPORT PASS TRACK_STOP CLOSE_LINK RETIRE END", "ended"});
	RUN(SOLO, TO_PROTECTED, {EMPTY(END_ACK, 1), "SEND:REFUSE " LOST, "claiming"});
}

#define TO_HANDED                                                                                       \
	TO_PROTECTED, {EV(CMD_FAILOVER), "REPORT PAUSE CAPTURE:2 SEAL:2 SEND_EPOCH:2", "handing-over"}, \
		{SENT(2), "SET_TIMER:ACK", "handing-over"},                                             \
	{                                                                                               \
		ACK(2), "CANCEL_TIMER:ACK RELEASE:2 SEND:HANDOVER SET_TIMER:HANDOVER", "handing-over"   \
	}

static void planned_hand_over(void)
{
	RUN(SOLO, TO_HANDED,
	    {EMPTY(ACTIVATED, 2), "EVENT:handed-over REPORT CLOSE_LINK DISCARD DESTROY END", "discarded"});
	/* The backup couldn't: it ceded. The paused guest goes on here. */
	RUN(SOLO, TO_HANDED, {REFUSE, "EVENT:solo REPORT CLOSE_LINK RESUME PASS TRACK_STOP END", "solo"});
	/* I8: silence is decided by the arbiter, and the guest doesn't stand still meanwhile. */
	RUN(SOLO, TO_HANDED,
	    {TIMER(HANDOVER), "CLOSE_LINK EVENT:backup-lost REPORT CLAIM RESUME", "claiming"});
	RUN(SOLO, TO_HANDED, {EV(LINK_LOST), "CLOSE_LINK EVENT:backup-lost REPORT CLAIM RESUME", "claiming"});
	RUN(SOLO, TO_PROTECTED,
	    {EMPTY(HANDOVER_REQUEST, 1), "CANCEL_TIMER:EPOCH REPORT PAUSE CAPTURE:2 SEAL:2 SEND_EPOCH:2",
	     "handing-over"},
	    {FAILED(CAPTURE), "ABORT_EPOCH:2 RESUME EVENT:failed REPORT SET_TIMER:EPOCH", "protected"});
	/* Asked for while an epoch is in flight: done right after its ack. */
	RUN(SOLO, TO_PROTECTED, {TIMER(EPOCH), EPOCH2, "protected"}, {SENT(2), "SET_TIMER:ACK", "protected"},
	    {EV(CMD_FAILOVER), "", "protected"},
	    {ACK(2), "CANCEL_TIMER:ACK RELEASE:2 REPORT PAUSE CAPTURE:3 SEAL:3 SEND_EPOCH:3",
	     "handing-over"});
	RUN(SOLO, TO_SYNCING, {EV(CMD_FAILOVER), "EVENT:refused", "syncing"});
}

static void guest_ends(void)
{
	RUN(SOLO, TO_PROTECTED,
	    {EV(DOMAIN_SHUTDOWN), "EVENT:guest-shutdown REPORT SEND:END SET_TIMER:END", "unprotecting"},
	    {EMPTY(END_ACK, 1), "EVENT:guest-shutdown REPORT PASS CLOSE_LINK RETIRE END", "ended"});
	RUN(SOLO, TO_PROTECTED,
	    {EV(DOMAIN_LOST), "EVENT:guest-lost REPORT SEND:DOMAIN_LOST SET_TIMER:HANDOVER", "handing-over"},
	    {EMPTY(ACTIVATED, 1), "EVENT:handed-over REPORT CLOSE_LINK DISCARD END", "discarded"});
	RUN(SOLO, TO_PROTECTED,
	    {EV(DOMAIN_LOST), "EVENT:guest-lost REPORT SEND:DOMAIN_LOST SET_TIMER:HANDOVER", "handing-over"},
	    {EV(LINK_LOST), "CLOSE_LINK EVENT:discarded REPORT DISCARD END", "discarded"});
	/* It dies while an epoch is on its way: that one counts, and the backup isn't told a second time. */
	RUN(SOLO, TO_PROTECTED, {TIMER(EPOCH), EPOCH2, "protected"}, {SENT(2), "SET_TIMER:ACK", "protected"},
	    {EV(DOMAIN_LOST), "EVENT:guest-lost REPORT SEND:DOMAIN_LOST SET_TIMER:HANDOVER", "handing-over"},
	    {ACK(2), "CANCEL_TIMER:ACK RELEASE:2", "handing-over"},
	    {EMPTY(ACTIVATED, 2), "EVENT:handed-over REPORT CLOSE_LINK DISCARD END", "discarded"});
	/* A shut-down guest must not be resurrected: still claim when the backup is silent. */
	RUN(SOLO, TO_PROTECTED,
	    {EV(DOMAIN_SHUTDOWN), "EVENT:guest-shutdown REPORT SEND:END SET_TIMER:END", "unprotecting"},
	    {EV(LINK_LOST), LOST, "claiming"}, {CLAIMED(WON), "EVENT:claim-won REPORT DISCARD END", "ended"});
	RUN(SOLO, TO_SYNCING,
	    {EV(DOMAIN_SHUTDOWN), "SEND:END CLOSE_LINK EVENT:failed REPORT PASS RETIRE END", "ended"});
	/* Dead on both counts: the one without a copy doesn't claim. */
	RUN(SOLO, TO_PROTECTED, {EV(LINK_LOST), LOST, "claiming"},
	    {EV(DOMAIN_LOST), "EVENT:guest-lost REPORT DISCARD END", "discarded"},
	    {CLAIMED(WON), "", "discarded"});
}

/* I8: each failing step of a pause leaves the guest running; three in a row end protection, in order. */
static void captures_fail(void)
{
	static const enum remus_action_type steps[] = {REMUS_DO_PAUSE, REMUS_DO_CAPTURE, REMUS_DO_SEAL};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(steps); i++) {
		struct remus_event failed = FAILED(PAUSE);
		failed.action = steps[i];
		RUN(SOLO, TO_PROTECTED, {TIMER(EPOCH), EPOCH2, "protected"},
		    {failed, "ABORT_EPOCH:2 RESUME EVENT:failed SET_TIMER:EPOCH", "protected"},
		    {TIMER(EPOCH), EPOCH2, "protected"},
		    {failed, "ABORT_EPOCH:2 RESUME EVENT:failed SET_TIMER:EPOCH", "protected"},
		    {TIMER(EPOCH), EPOCH2, "protected"},
		    {failed, "ABORT_EPOCH:2 EVENT:failed REPORT SEND:END SET_TIMER:END RESUME",
		     "unprotecting"});
	}
	/* One success in between and the count begins anew. */
	RUN(SOLO, TO_PROTECTED, {TIMER(EPOCH), EPOCH2, "protected"},
	    {FAILED(CAPTURE), "ABORT_EPOCH:2 RESUME EVENT:failed SET_TIMER:EPOCH", "protected"},
	    {TIMER(EPOCH), EPOCH2, "protected"}, {SENT(2), "SET_TIMER:ACK", "protected"},
	    {ACK(2), "CANCEL_TIMER:ACK RELEASE:2 SET_TIMER:EPOCH", "protected"});
	CU_ASSERT_EQUAL(machine.failures, 0);
}

static void resume_fails(void)
{
	RUN(SOLO, TO_PROTECTED, {TIMER(EPOCH), EPOCH2, "protected"},
	    {FAILED(RESUME), "EVENT:failed SET_TIMER:RETRY", "protected"},
	    {TIMER(RETRY), "RESUME SEND_EPOCH:2", "protected"}, {SENT(2), "SET_TIMER:ACK", "protected"});
	RUN(SOLO, TO_PROTECTED, {TIMER(EPOCH), EPOCH2, "protected"},
	    {FAILED(RESUME), "EVENT:failed SET_TIMER:RETRY", "protected"},
	    {TIMER(RETRY), "RESUME SEND_EPOCH:2", "protected"},
	    {FAILED(RESUME), "EVENT:failed SET_TIMER:RETRY", "protected"},
	    {TIMER(RETRY), "RESUME SEND_EPOCH:2", "protected"},
	    {FAILED(RESUME), "EVENT:failed EVENT:guest-lost REPORT SEND:DOMAIN_LOST SET_TIMER:HANDOVER",
	     "handing-over"},
	    /* It still stands there: it must not be found and resumed by anybody later (I5). */
	    {EMPTY(ACTIVATED, 1), "EVENT:handed-over REPORT CLOSE_LINK DISCARD DESTROY END", "discarded"});
}

/* A failed resume drops the actions behind it: what they began must not be forgotten. */
static void resume_fails_on_the_way(void)
{
	/* ... of a capture given up: epochs go on */
	RUN(SOLO, TO_PROTECTED, {TIMER(EPOCH), EPOCH2, "protected"},
	    {FAILED(CAPTURE), "ABORT_EPOCH:2 RESUME EVENT:failed SET_TIMER:EPOCH", "protected"},
	    {FAILED(RESUME), "EVENT:failed SET_TIMER:RETRY", "protected"},
	    {TIMER(RETRY), "RESUME SET_TIMER:EPOCH", "protected"}, {TIMER(EPOCH), EPOCH2, "protected"});
	/* ... until it is given up for a standby that was dropped meanwhile: nobody else has the guest (I8) */
	RUN(SOLO, TO_PROTECTED, {TIMER(EPOCH), EPOCH2, "protected"},
	    {FAILED(CAPTURE), "ABORT_EPOCH:2 RESUME EVENT:failed SET_TIMER:EPOCH", "protected"},
	    {FAILED(RESUME), "EVENT:failed SET_TIMER:RETRY", "protected"},
	    {TIMER(RETRY), "RESUME SET_TIMER:EPOCH", "protected"},
	    {FAILED(RESUME), "EVENT:failed EVENT:guest-lost REPORT SEND:DOMAIN_LOST SET_TIMER:HANDOVER",
	     "handing-over"},
	    {REFUSE, "EVENT:solo REPORT CLOSE_LINK RESUME PASS END", "solo"},
	    {FAILED(RESUME), "EVENT:failed SET_TIMER:RETRY", "solo"},
	    {TIMER(RETRY), "RESUME PASS TRACK_STOP END", "solo"});
	/* ... of a lost link: the arbiter was asked */
	RUN(SOLO, {EV(RECOVER), "EVENT:backup-lost REPORT CLAIM RESUME", "claiming"},
	    {FAILED(RESUME), "EVENT:failed SET_TIMER:RETRY", "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won EVENT:solo REPORT RESUME PASS END", "solo"});
	/* ... after END: the backup drops its copy, so ours isn't given up, however often it fails */
	RUN(SOLO, TO_PROTECTED, {EV(CMD_UNPROTECT), "REPORT SEND:END SET_TIMER:END", "unprotecting"},
	    {FAILED(RESUME), "EVENT:failed SET_TIMER:RETRY", "unprotecting"},
	    {TIMER(RETRY), "RESUME", "unprotecting"},
	    {FAILED(RESUME), "EVENT:failed SET_TIMER:RETRY", "unprotecting"},
	    {TIMER(RETRY), "RESUME", "unprotecting"},
	    {FAILED(RESUME), "EVENT:failed SET_TIMER:RETRY", "unprotecting"},
	    {EMPTY(END_ACK, 1), "EVENT:unprotected REPORT RESUME PASS TRACK_STOP CLOSE_LINK RETIRE END",
	     "ended"});
	/* ... and is asked again, whatever becomes of the resume */
	RUN(SOLO, {EV(RECOVER), "EVENT:backup-lost REPORT CLAIM RESUME", "claiming"},
	    {FAILED(RESUME), "EVENT:failed SET_TIMER:RETRY", "claiming"},
	    {CLAIMED(UNKNOWN), "EVENT:claim-unknown SET_TIMER:RETRY", "claiming"},
	    {TIMER(RETRY), "CLAIM RESUME", "claiming"},
	    {FAILED(RESUME), "EVENT:failed SET_TIMER:RETRY", "claiming"},
	    {TIMER(RETRY), "RESUME", "claiming"}, {CLAIMED(UNKNOWN), "SET_TIMER:RETRY", "claiming"},
	    {TIMER(RETRY), "CLAIM", "claiming"});
	/* ... of going on alone: tracking ends all the same (I13) */
	RUN(SOLO, TO_PROTECTED,
	    {EV(CMD_FAILOVER), "REPORT PAUSE CAPTURE:2 SEAL:2 SEND_EPOCH:2", "handing-over"},
	    {SENT(2), "SET_TIMER:ACK", "handing-over"},
	    {EV(LINK_LOST), "CLOSE_LINK EVENT:backup-lost REPORT CLAIM RESUME", "claiming"},
	    {FAILED(RESUME), "EVENT:failed SET_TIMER:RETRY", "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won EVENT:solo REPORT RESUME PASS TRACK_STOP END", "solo"},
	    {FAILED(RESUME), "EVENT:failed SET_TIMER:RETRY", "solo"},
	    {TIMER(RETRY), "RESUME PASS TRACK_STOP END", "solo"});
}

static void destroy_is_tried_until_it_works(void)
{
	RUN(SOLO, TO_PROTECTED, {EV(LINK_LOST), LOST, "claiming"},
	    {CLAIMED(LOST), "EVENT:claim-lost REPORT DISCARD DESTROY END", "discarded"},
	    {FAILED(DESTROY), "EVENT:failed SET_TIMER:RETRY", "discarded"},
	    {TIMER(RETRY), "DESTROY END", "discarded"});
}

/* RELEASE fails and takes with it what stood behind it in its step: nobody may wait for that for ever (I8). */
static void release_fails(void)
{
	RUN(SOLO, TO_FIRST,
	    {ACK(1), "CANCEL_TIMER:ACK RELEASE:1 EVENT:protected REPORT SET_TIMER:EPOCH", "protected"},
	    {FAILED(RELEASE), "EVENT:failed REPORT SEND:END SET_TIMER:END", "unprotecting"});
	/* The paused guest's last epoch is with the backup: go on handing over. */
	RUN(SOLO, TO_HANDED,
	    {FAILED(RELEASE), "EVENT:failed SEND:HANDOVER SET_TIMER:HANDOVER", "handing-over"},
	    {EMPTY(ACTIVATED, 2), "EVENT:handed-over REPORT CLOSE_LINK DISCARD DESTROY END", "discarded"});
	/* The hand-over was to begin behind the release: its pause was never carried out. */
	RUN(SOLO, TO_PROTECTED, {TIMER(EPOCH), EPOCH2, "protected"}, {SENT(2), "SET_TIMER:ACK", "protected"},
	    {EV(CMD_FAILOVER), "", "protected"},
	    {ACK(2), "CANCEL_TIMER:ACK RELEASE:2 REPORT PAUSE CAPTURE:3 SEAL:3 SEND_EPOCH:3", "handing-over"},
	    {FAILED(RELEASE), "EVENT:failed REPORT SEND:END SET_TIMER:END", "unprotecting"},
	    {EMPTY(END_ACK, 2), "EVENT:unprotected REPORT PASS TRACK_STOP CLOSE_LINK RETIRE END", "ended"});
}

/* Held output that can't be dropped must not save the copy that produced it (I5). */
static void discard_fails(void)
{
	RUN(SOLO, TO_PROTECTED, {EV(LINK_LOST), LOST, "claiming"},
	    {CLAIMED(LOST), "EVENT:claim-lost REPORT DISCARD DESTROY END", "discarded"},
	    {FAILED(DISCARD), "EVENT:failed DESTROY END", "discarded"},
	    {FAILED(DESTROY), "EVENT:failed SET_TIMER:RETRY", "discarded"},
	    {TIMER(RETRY), "DESTROY END", "discarded"});
	RUN(SOLO, TO_PROTECTED,
	    {EV(DOMAIN_SHUTDOWN), "EVENT:guest-shutdown REPORT SEND:END SET_TIMER:END", "unprotecting"},
	    {EV(LINK_LOST), LOST, "claiming"}, {CLAIMED(WON), "EVENT:claim-won REPORT DISCARD END", "ended"},
	    {FAILED(DISCARD), "EVENT:failed END", "ended"});
}

/* A guest that runs on here without a network is of no use: opening it is tried until it works. */
static void pass_is_tried_until_it_works(void)
{
	RUN(SOLO, TO_PROTECTED, {EV(LINK_LOST), LOST, "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won EVENT:solo REPORT PASS TRACK_STOP END", "solo"},
	    {FAILED(PASS), "EVENT:failed SET_TIMER:RETRY", "solo"},
	    {TIMER(RETRY), "PASS TRACK_STOP END", "solo"}, {FAILED(PASS), "SET_TIMER:RETRY", "solo"},
	    {TIMER(RETRY), "PASS TRACK_STOP END", "solo"});
	/* Of a guest that is gone the interfaces are too. */
	RUN(SOLO, TO_PROTECTED,
	    {EV(DOMAIN_SHUTDOWN), "EVENT:guest-shutdown REPORT SEND:END SET_TIMER:END", "unprotecting"},
	    {EMPTY(END_ACK, 1), "EVENT:guest-shutdown REPORT PASS CLOSE_LINK RETIRE END", "ended"},
	    {FAILED(PASS), "EVENT:failed END", "ended"});
}

/* A COMMIT is on its way: whether or not it was acknowledged, the backup may hold epoch 1 (I6). */
static void guest_ends_in_the_first_epoch(void)
{
	RUN(SOLO, TO_FIRST,
	    {EV(DOMAIN_SHUTDOWN), "EVENT:guest-shutdown REPORT SEND:END SET_TIMER:END", "unprotecting"},
	    {ACK(1), "CANCEL_TIMER:ACK RELEASE:1", "unprotecting"},
	    {EMPTY(END_ACK, 1), "EVENT:guest-shutdown REPORT PASS CLOSE_LINK RETIRE END", "ended"});
	RUN(SOLO, TO_FIRST,
	    {EV(DOMAIN_SHUTDOWN), "EVENT:guest-shutdown REPORT SEND:END SET_TIMER:END", "unprotecting"},
	    {EV(LINK_LOST), LOST, "claiming"}, {CLAIMED(WON), "EVENT:claim-won REPORT DISCARD END", "ended"});
	RUN(SOLO, TO_FIRST,
	    {EV(DOMAIN_LOST), "EVENT:guest-lost REPORT SEND:DOMAIN_LOST SET_TIMER:HANDOVER", "handing-over"},
	    {ACK(1), "CANCEL_TIMER:ACK RELEASE:1", "handing-over"},
	    {EMPTY(ACTIVATED, 1), "EVENT:handed-over REPORT CLOSE_LINK DISCARD END", "discarded"});
	/* The backup hadn't got that far: it drops its standby, and the guest is dead here. */
	RUN(SOLO, TO_FIRST,
	    {EV(DOMAIN_LOST), "EVENT:guest-lost REPORT SEND:DOMAIN_LOST SET_TIMER:HANDOVER", "handing-over"},
	    {REFUSE, "CLOSE_LINK EVENT:discarded REPORT DISCARD END", "discarded"});
}

/* Every frame type in every state: never a crash, never an action list that opens egress or destroys. */
static void frames_out_of_place(void)
{
	const struct line synced[] = {TO_SYNCING};
	const struct line protectd[] = {TO_PROTECTED};
	static struct remus_actions actions;

	for (int armed = 0; armed < 2; armed++)
		for (uint16_t type = 0; type < 20; type++) {
			char text[2048];
			struct remus_frame_header header = {
				.type = type, .flags = REMUS_FRAME_MANDATORY, .epoch = 9};
			struct remus_event ev = {.type = REMUS_EV_FRAME, .header = &header};
			if (armed)
				run("", protectd, REMUS_ARRAY_SIZE(protectd), REMUS_LOSS_SOLO);
			else
				run("", synced, REMUS_ARRAY_SIZE(synced), REMUS_LOSS_SOLO);
			remus_primary_step(&machine, &ev, &actions);
			render(&actions, text, sizeof text);
			CU_ASSERT(!strstr(text, "DESTROY") && !strstr(text, "RELEASE"));
			CU_ASSERT(!armed || !strstr(text, "PASS"));
		}
}

static const struct unit_case cases[] = {
	{"the life of a session", life},
	{"no pause before the ack (I10)", no_pause_before_the_ack},
	{"a late ack pauses at once", late_ack_pauses_at_once},
	{"randomness now and then", entropy_now_and_then},
	{"wrong acks (I4)", wrong_acks},
	{"an ack before the epoch is sent", ack_before_sent},
	{"setup fails: guest untouched", setup_fails},
	{"rounds of the full copy are bounded", rounds_are_bounded},
	{"backup lost: claim first (I6, I7)", backup_lost},
	{"policy hold", hold_policy},
	{"a killed engine is taken up", killed_engine_is_taken_up},
	{"unprotect", unprotect},
	{"planned hand-over", planned_hand_over},
	{"the guest ends or dies", guest_ends},
	{"captures fail (I8, I9)", captures_fail},
	{"resume fails (I8)", resume_fails},
	{"resume fails on the way (I8)", resume_fails_on_the_way},
	{"destroying is tried until it works (I5)", destroy_is_tried_until_it_works},
	{"release fails (I8)", release_fails},
	{"held output can't be dropped (I5)", discard_fails},
	{"opening the network is tried until it works", pass_is_tried_until_it_works},
	{"the guest ends in the first epoch (I6)", guest_ends_in_the_first_epoch},
	{"frames out of place", frames_out_of_place},
};
UNIT_MAIN("primary machine", cases)
