/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backup's machine, event by event: the whole life of a standby, each way it can end, what comes out of turn. */
#include "machine-script.h"

static const struct remus_hello good_hello = {
	.generation = 1,
	.features_offered = REMUS_FEATURES_KNOWN,
	.features_required = REMUS_FEATURE_DELTA,
};
static const struct remus_hello greedy_hello = {
	.generation = 1,
	.features_offered = ~UINT64_C(0),
	.features_required = UINT64_C(1) << 40,
};

static const struct remus_hello plain_hello = {
	.generation = 1,
	.features_offered = REMUS_FEATURE_DELTA,
	.features_required = REMUS_FEATURE_DELTA,
};
static const struct remus_hello asking_hello = {
	.generation = 1,
	.features_offered = REMUS_FEATURE_CHECK,
	.features_required = REMUS_FEATURE_CHECK,
};
static const struct remus_hello asking_more_hello = {
	.generation = 1,
	.features_offered = REMUS_FEATURE_CHECK | UINT64_C(1) << 40,
	.features_required = REMUS_FEATURE_CHECK | UINT64_C(1) << 40,
};

#define HELLO(which)                                            \
	{                                                       \
		.type = REMUS_EV_HELLO, .hello = &which##_hello \
	}
#define VERIFIED(n)                                                        \
	{                                                                  \
		.type = REMUS_EV_EPOCH_VERIFIED, .epoch = (n), .digest = 7 \
	}
#define TO_SYNCING                                                               \
	{EV(START), "SET_TIMER:SETUP", "hello"},                                 \
		{HELLO(good), "CANCEL_TIMER:SETUP REPORT PREPARE", "preparing"}, \
	{                                                                        \
		EV(STANDBY_READY), "BIND SEND:WELCOME REPORT", "syncing"         \
	}
#define TO_STANDBY                                                                                       \
	TO_SYNCING, {EMPTY(PAGES, 0), "APPLY_SYNC", "syncing"}, {EMPTY(PAGES, 1), "STAGE:1", "syncing"}, \
		{EMPTY(STATE, 1), "STAGE:1", "syncing"}, {EMPTY(COMMIT, 1), "VERIFY:1", "syncing"},      \
	{                                                                                                \
		VERIFIED(1), "SEND:ACK APPLY:1 EVENT:standby REPORT", "standby"                          \
	}
#define LOST	"CLOSE_LINK EVENT:primary-lost REPORT CLAIM"
#define DROPPED "EVENT:standby-dropped REPORT DROP CLOSE_LINK END"
#define RUNNING "EVENT:activated REPORT RENEW"
#define OPENED	"REPORT PASS ANNOUNCE END"
#define ACTIVATED(us)                                       \
	{                                                   \
		.type = REMUS_EV_ACTIVATED, .wait_us = (us) \
	}
#define RENEWED(how)                                                    \
	{                                                               \
		.type = REMUS_EV_RENEWED, .clean = (how), .text = "why" \
	}
#define TO_RENEWING                                                                \
	TO_STANDBY, {EV(LINK_LOST), LOST, "claiming"},                             \
		{CLAIMED(WON), "EVENT:claim-won REPORT ACTIVATE:1", "activating"}, \
	{                                                                          \
		ACTIVATED(500000), RUNNING " SET_TIMER:RENEW", "renewing"          \
	}

static void step(void *machine, const struct remus_event *event, struct remus_actions *out)
{
	remus_backup_step(machine, event, out);
}

static const char *word(const void *machine)
{
	return remus_backup_word(machine);
}

static struct remus_backup machine;

static void run(const char *name, const struct line *lines, size_t count)
{
	struct remus_backup_config config = {0};

	remus_backup_init(&machine, &config);
	play(name, &machine, step, word, lines, count);
}
#define RUN(...)                                               \
	do {                                                   \
		const struct line lines[] = {__VA_ARGS__};     \
		run(__func__, lines, REMUS_ARRAY_SIZE(lines)); \
	} while (0)

static void life(void)
{
	RUN(TO_STANDBY, {EMPTY(PAGES, 2), "STAGE:2", "standby"}, {EMPTY(COMMIT, 2), "VERIFY:2", "standby"},
	    {VERIFIED(2), "SEND:ACK APPLY:2", "standby"},
	    {EMPTY(END, 2), "EVENT:standby-dropped REPORT DROP SEND:END_ACK CLOSE_LINK END", "ended"});
}

static void hello_refused(void)
{
	RUN({EV(START), "SET_TIMER:SETUP", "hello"},
	    {HELLO(greedy), "CANCEL_TIMER:SETUP SEND:REFUSE " DROPPED, "dropped"});
	RUN({EV(START), "SET_TIMER:SETUP", "hello"},
	    {HELLO(good), "CANCEL_TIMER:SETUP REPORT PREPARE", "preparing"},
	    {FAILED(PREPARE), "SEND:REFUSE " DROPPED, "dropped"});
	RUN({EV(START), "SET_TIMER:SETUP", "hello"},
	    {TIMER(SETUP), "CLOSE_LINK EVENT:standby-dropped REPORT DROP END", "dropped"});
	RUN(TO_SYNCING,
	    {HELLO(good), "SEND:REFUSE CLOSE_LINK EVENT:standby-dropped REPORT DROP END", "dropped"});
}

/* Answered and over: nothing is prepared, bound, claimed or dropped, whatever follows. */
static void check_answered(void)
{
	RUN({EV(START), "SET_TIMER:SETUP", "hello"},
	    {HELLO(asking), "CANCEL_TIMER:SETUP CHECK SEND:FINDINGS REPORT CLOSE_LINK END", "ended"},
	    {EV(LINK_LOST), "", "ended"}, {EMPTY(HANDOVER, 0), "", "ended"}, {EV(CMD_FORCE), "", "ended"},
	    {CLAIMED(WON), "", "ended"});
	RUN({EV(START), "SET_TIMER:SETUP", "hello"},
	    {HELLO(asking_more), "CANCEL_TIMER:SETUP SEND:REFUSE " DROPPED, "dropped"});
	RUN(TO_SYNCING,
	    {HELLO(asking), "SEND:REFUSE CLOSE_LINK EVENT:standby-dropped REPORT DROP END", "dropped"});
}

/* I4: no gap, no repetition, no full-copy pages after a commit. Each loses the link: the arbiter decides. */
static void epochs_out_of_order(void)
{
	const struct remus_event wrong[] = {EMPTY(PAGES, 0), EMPTY(PAGES, 1),  EMPTY(PAGES, 3),
					    EMPTY(STATE, 1), EMPTY(COMMIT, 1), EMPTY(COMMIT, 3),
					    EMPTY(ACK, 1)};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(wrong); i++)
		RUN(TO_STANDBY, {wrong[i], LOST, "claiming"});
	RUN(TO_SYNCING, {EMPTY(PAGES, 1), "STAGE:1", "syncing"},
	    {EMPTY(PAGES, 0), "SEND:REFUSE CLOSE_LINK EVENT:standby-dropped REPORT DROP END", "dropped"});
}

/* I2: a bad epoch isn't acknowledged; I3: a torn one is forgotten, the image stays N-1. */
static void bad_and_torn_epochs(void)
{
	RUN(TO_STANDBY, {EMPTY(COMMIT, 2), "VERIFY:2", "standby"},
	    {EV(EPOCH_BAD), "CLOSE_LINK ABORT_EPOCH:2 EVENT:primary-lost REPORT CLAIM", "claiming"});
	RUN(TO_STANDBY, {EMPTY(PAGES, 2), "STAGE:2", "standby"},
	    {EV(LINK_LOST), "CLOSE_LINK ABORT_EPOCH:2 EVENT:primary-lost REPORT CLAIM", "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won REPORT ACTIVATE:1", "activating"},
	    {EV(ACTIVATED), RUNNING " " OPENED, "active"});
	CU_ASSERT_EQUAL(machine.committed, 1);
	RUN(TO_STANDBY, {FAILED(APPLY), "SEND:REFUSE " DROPPED, "dropped"});
	/* A verification that nobody asked for. */
	RUN(TO_STANDBY, {VERIFIED(2), "", "standby"});
}

/* I5: activation needs a won claim. */
static void primary_lost(void)
{
	RUN(TO_STANDBY, {EV(LINK_LOST), LOST, "claiming"},
	    {CLAIMED(LOST), "EVENT:standby-dropped REPORT DROP END", "dropped"});
	RUN(TO_STANDBY, {EV(LINK_LOST), LOST, "claiming"},
	    {CLAIMED(UNKNOWN), "EVENT:claim-unknown SET_TIMER:RETRY", "claiming"},
	    {TIMER(RETRY), "CLAIM", "claiming"}, {CLAIMED(UNKNOWN), "SET_TIMER:RETRY", "claiming"},
	    {EV(CMD_FORCE), "EVENT:claim-won REPORT ACTIVATE:1", "activating"});
	RUN(TO_STANDBY, {CLAIMED(WON), "", "standby"}, {EV(ACTIVATED), "", "standby"},
	    {EV(CMD_FORCE), "", "standby"});
	RUN(TO_SYNCING, {EV(LINK_LOST), "CLOSE_LINK EVENT:standby-dropped REPORT DROP END", "dropped"});
}

static void hand_over(void)
{
	RUN(TO_STANDBY, {EMPTY(HANDOVER, 1), "EVENT:primary-lost REPORT CLAIM", "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won REPORT ACTIVATE:1", "activating"},
	    {EV(ACTIVATED), RUNNING " SEND:ACTIVATED CLOSE_LINK " OPENED, "active"});
	/* A REFUSE would tell the primary that our copy is dropped; it is not (I5). */
	RUN(TO_STANDBY, {EMPTY(HANDOVER, 7), LOST, "claiming"});
	RUN(TO_STANDBY, {EMPTY(HANDOVER, 1), "EVENT:primary-lost REPORT CLAIM", "claiming"},
	    {EMPTY(HANDOVER, 1), "CLOSE_LINK", "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won REPORT ACTIVATE:1", "activating"});
	/* It can't activate: cede, the primary has a guest that waits. */
	RUN(TO_STANDBY, {EMPTY(HANDOVER, 1), "EVENT:primary-lost REPORT CLAIM", "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won REPORT ACTIVATE:1", "activating"},
	    {FAILED(ACTIVATE), "EVENT:activation-failed SEND:REFUSE " DROPPED, "dropped"});
	/* Unknown may be won with the answer lost: it keeps its copy, and the primary asks for itself. */
	RUN(TO_STANDBY, {EMPTY(HANDOVER, 1), "EVENT:primary-lost REPORT CLAIM", "claiming"},
	    {CLAIMED(UNKNOWN), "CLOSE_LINK EVENT:claim-unknown SET_TIMER:RETRY", "claiming"},
	    {TIMER(RETRY), "CLAIM", "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won REPORT ACTIVATE:1", "activating"},
	    {EV(ACTIVATED), RUNNING " " OPENED, "active"});
	RUN(TO_STANDBY, {EV(CMD_FAILOVER), "SEND:HANDOVER_REQUEST", "standby"});
	RUN(TO_SYNCING, {EV(CMD_FAILOVER), "EVENT:refused", "syncing"});
}

/* I12: egress opens after the renewal, whatever became of it, or at its deadline; not before, and once. */
static void renewal(void)
{
	RUN(TO_RENEWING, {RENEWED(true), "CANCEL_TIMER:RENEW EVENT:renewed " OPENED, "active"},
	    {RENEWED(true), "", "active"}, {TIMER(RENEW), "", "active"});
	RUN(TO_RENEWING, {RENEWED(false), "CANCEL_TIMER:RENEW EVENT:not-renewed " OPENED, "active"});
	RUN(TO_RENEWING, {TIMER(RENEW), "EVENT:not-renewed " OPENED, "active"},
	    {RENEWED(true), "", "active"});
	/* A primary that hands over isn't kept waiting for it. */
	RUN(TO_STANDBY, {EMPTY(HANDOVER, 1), "EVENT:primary-lost REPORT CLAIM", "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won REPORT ACTIVATE:1", "activating"},
	    {ACTIVATED(1), RUNNING " SEND:ACTIVATED CLOSE_LINK SET_TIMER:RENEW", "renewing"},
	    {EV(LINK_LOST), "", "renewing"}, {EMPTY(END, 1), "", "renewing"},
	    {RENEWED(true), "CANCEL_TIMER:RENEW EVENT:renewed " OPENED, "active"});
	/* Nothing else opens it, neither a command nor what belongs to other states. */
	const struct remus_event others[] = {
		EV(LINK_LOST),	    EV(CMD_UNPROTECT), EV(CMD_FORCE),	EV(ACTIVATED),
		CLAIMED(WON),	    CLAIMED(LOST),     TIMER(RETRY),	TIMER(SETUP),
		EV(STANDBY_READY),  VERIFIED(1),       VERIFIED(2),	EMPTY(END, 1),
		EMPTY(HANDOVER, 1), EMPTY(COMMIT, 2),  EMPTY(PAGES, 2), EV(EPOCH_BAD)};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(others); i++) {
		const struct line lines[] = {TO_RENEWING};
		static struct remus_actions actions;
		char text[2048];

		run(__func__, lines, REMUS_ARRAY_SIZE(lines));
		remus_backup_step(&machine, &others[i], &actions);
		render(&actions, text, sizeof text);
		CU_ASSERT(!strstr(text, "PASS") && !strstr(text, "DROP") && !strstr(text, "ACTIVATE"));
		CU_ASSERT_STRING_EQUAL(word(&machine), "renewing");
	}
	/* The guest ends while it is waited for. */
	RUN(TO_RENEWING, {EV(STANDBY_ENDED), "EVENT:guest-lost REPORT END", "ended"},
	    {RENEWED(true), "", "ended"}, {TIMER(RENEW), "", "ended"});
	RUN(TO_RENEWING, {RENEWED(true), "CANCEL_TIMER:RENEW EVENT:renewed " OPENED, "active"},
	    {FAILED(PASS), "EVENT:failed END", "active"});
}

static void guest_died_on_the_primary(void)
{
	RUN(TO_STANDBY, {EMPTY(DOMAIN_LOST, 1), "EVENT:primary-lost REPORT CLAIM", "claiming"},
	    {EV(LINK_LOST), "CLOSE_LINK", "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won REPORT ACTIVATE:1", "activating"},
	    {FAILED(ACTIVATE), "EVENT:activation-failed SET_TIMER:RETRY", "activating"},
	    {TIMER(RETRY), "ACTIVATE:1", "activating"}, {EV(ACTIVATED), RUNNING " " OPENED, "active"});
	RUN(TO_STANDBY, {EMPTY(DOMAIN_LOST, 1), "EVENT:primary-lost REPORT CLAIM", "claiming"},
	    {CLAIMED(UNKNOWN), "EVENT:claim-unknown SET_TIMER:RETRY", "claiming"});
}

static void activation_is_given_up_after_three(void)
{
	RUN(TO_STANDBY, {EV(LINK_LOST), LOST, "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won REPORT ACTIVATE:1", "activating"},
	    {FAILED(ACTIVATE), "EVENT:activation-failed SET_TIMER:RETRY", "activating"},
	    {TIMER(RETRY), "ACTIVATE:1", "activating"},
	    {FAILED(ACTIVATE), "EVENT:activation-failed SET_TIMER:RETRY", "activating"},
	    {TIMER(RETRY), "ACTIVATE:1", "activating"},
	    {FAILED(ACTIVATE), "EVENT:activation-failed EVENT:standby-dropped REPORT DROP END", "dropped"});
}

/* A guest that ended by its own will is never resurrected: END drops, and nothing after it claims. */
static void guest_shutdown(void)
{
	RUN(TO_STANDBY,
	    {EMPTY(END, 1), "EVENT:standby-dropped REPORT DROP SEND:END_ACK CLOSE_LINK END", "ended"},
	    {EV(LINK_LOST), "", "ended"}, {TIMER(RETRY), "", "ended"}, {EV(CMD_FORCE), "", "ended"});
}

static void standby_dies(void)
{
	RUN(TO_STANDBY, {EV(STANDBY_ENDED), "SEND:REFUSE " DROPPED, "dropped"},
	    {EV(LINK_LOST), "", "dropped"});
	RUN(TO_STANDBY, {EV(CMD_UNPROTECT), "SEND:REFUSE " DROPPED, "dropped"});
}

static void frames_in_every_state(void)
{
	const struct line lines[] = {TO_STANDBY,
				     {EMPTY(HANDOVER, 1), "EVENT:primary-lost REPORT CLAIM", "claiming"},
				     {CLAIMED(WON), "EVENT:claim-won REPORT ACTIVATE:1", "activating"}};
	static struct remus_actions actions;

	for (size_t upto = 1; upto <= REMUS_ARRAY_SIZE(lines); upto++)
		for (uint16_t type = 0; type < 20; type++) {
			struct remus_frame_header header = {
				.type = type, .flags = REMUS_FRAME_MANDATORY, .epoch = 9};
			struct remus_event ev = {.type = REMUS_EV_FRAME, .header = &header};
			char text[2048];
			run("", lines, upto);
			remus_backup_step(&machine, &ev, &actions);
			render(&actions, text, sizeof text);
			CU_ASSERT(!strstr(text, "ACTIVATE:") && !strstr(text, "PASS") &&
				  !strstr(text, "SEND:ACK"));
		}
}

/* Into the reservoir while there is a standby, and nothing else comes of it: no state, no answer, no end of the link. */
static void entropy_is_stirred(void)
{
#define MATERIAL FRAME(ENTROPY, 0, 4, "ABCD")
	RUN(TO_SYNCING, {MATERIAL, "STIR", "syncing"});
	RUN(TO_STANDBY, {MATERIAL, "STIR", "standby"}, {EMPTY(ENTROPY, 0), "", "standby"},
	    {EMPTY(PAGES, 2), "STAGE:2", "standby"}, {MATERIAL, "STIR", "standby"},
	    {EMPTY(COMMIT, 2), "VERIFY:2", "standby"});
	RUN(TO_STANDBY, {EMPTY(HANDOVER, 1), "EVENT:primary-lost REPORT CLAIM", "claiming"},
	    {MATERIAL, "", "claiming"});
	RUN({EV(START), "SET_TIMER:SETUP", "hello"},
	    {HELLO(plain), "CANCEL_TIMER:SETUP REPORT PREPARE", "preparing"},
	    {EV(STANDBY_READY), "BIND SEND:WELCOME REPORT", "syncing"}, {MATERIAL, "", "syncing"});
}

/* A drill copies what is committed and changes nothing; where nothing is committed, or the guest is here, it says so. */
static void drill(void)
{
	RUN(TO_STANDBY, {EV(CMD_DRILL), "DRILL", "standby"}, {EMPTY(PAGES, 2), "STAGE:2", "standby"},
	    {EV(CMD_DRILL), "DRILL", "standby"}, {EMPTY(COMMIT, 2), "VERIFY:2", "standby"},
	    {EV(LINK_LOST), "CLOSE_LINK ABORT_EPOCH:2 EVENT:primary-lost REPORT CLAIM", "claiming"},
	    {EV(CMD_DRILL), "DRILL", "claiming"},
	    {CLAIMED(WON), "EVENT:claim-won REPORT ACTIVATE:1", "activating"});
	static struct remus_actions actions;
	const struct remus_event asked = EV(CMD_DRILL);
	remus_backup_step(&machine, &asked, &actions);
	CU_ASSERT_EQUAL(actions.count, 1);
	CU_ASSERT_EQUAL(actions.list[0].type, REMUS_DO_DRILL);
	CU_ASSERT(strstr(actions.list[0].text, "activating") != NULL);
	RUN(TO_SYNCING, {EV(CMD_DRILL), "DRILL", "syncing"});
	remus_backup_step(&machine, &asked, &actions);
	CU_ASSERT(strstr(actions.list[0].text, "syncing") != NULL);
}

static const struct unit_case cases[] = {
	{"the life of a standby", life},
	{"hello refused", hello_refused},
	{"a check is answered (I5)", check_answered},
	{"epochs out of order (I4)", epochs_out_of_order},
	{"bad and torn epochs (I2, I3)", bad_and_torn_epochs},
	{"primary lost: claim first (I5)", primary_lost},
	{"planned hand-over", hand_over},
	{"the guest is renewed before its network opens (I12)", renewal},
	{"the guest died on the primary", guest_died_on_the_primary},
	{"activation is given up after three", activation_is_given_up_after_three},
	{"a shut-down guest is never resurrected", guest_shutdown},
	{"the standby dies", standby_dies},
	{"every frame in every state", frames_in_every_state},
	{"randomness is stirred in", entropy_is_stirred},
	{"a drill", drill},
};
UNIT_MAIN("backup machine", cases)
