/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that changes more than the link carries: when that is told, what each policy does about it, and that it is
 * never made of a lost link. The interval is 25 ms, the bound 100 ms; the world is one function, turn(), that plays an
 * epoch from its pause to its ack.
 */
#include <errno.h>

#include "machine-script.h"

#define MS    UINT64_C(1000)
#define BOUND (100 * MS)

static struct remus_primary machine;
static struct remus_actions actions;
static uint64_t now;
static char text[2048];

static const char *step(struct remus_event event)
{
	event.now_us = now;
	remus_primary_step(&machine, &event, &actions);
	render(&actions, text, sizeof text);
	return text;
}

static const struct remus_action *find(enum remus_action_type type)
{
	for (unsigned i = 0; i < actions.count; i++)
		if (actions.list[i].type == type)
			return &actions.list[i];
	return NULL;
}

static bool told(const char *kind)
{
	for (unsigned i = 0; i < actions.count; i++)
		if (actions.list[i].type == REMUS_DO_EVENT && !strcmp(actions.list[i].kind, kind))
			return true;
	return false;
}

static const struct remus_action *timer(enum remus_timer which)
{
	for (unsigned i = actions.count; i-- > 0;)
		if (actions.list[i].type == REMUS_DO_SET_TIMER && actions.list[i].timer == which)
			return &actions.list[i];
	return NULL;
}

/* The epoch whose pause has begun is sent, and acknowledged @us after its pause. */
static const char *turn(uint64_t us)
{
	struct remus_event sent = {.type = REMUS_EV_SENT, .epoch = machine.epoch, .digest = 7};
	struct remus_event ack = ACK(1);
	struct remus_frame_header header = *ack.header;
	uint64_t begun = now;

	sent.resumed_us = now;
	header.epoch = machine.epoch;
	ack.header = &header;
	step(sent);
	now = begun + us;
	return step(ack);
}

/* ... and if the next one did not begin at once, it does now. */
static void next(void)
{
	const struct remus_action *due = timer(REMUS_TIMER_EPOCH);

	if (!due)
		return;
	now = due->at_us;
	step((struct remus_event)TIMER(EPOCH));
}

/* Protected, epoch 1 after ten seconds, epoch 2 on its way. */
static void protect(enum remus_overload_policy policy)
{
	struct remus_primary_config config = {
		.interval_us = 25 * MS,
		.max_interval_us = BOUND,
		.on_overload = policy,
	};

	now = 1000 * MS;
	remus_primary_init(&machine, &config);
	step((struct remus_event)EV(START));
	step((struct remus_event)EV(LINK_UP));
	step((struct remus_event)FRAME(WELCOME, 0, 16, "\x07\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0"));
	step((struct remus_event){.type = REMUS_EV_ROUND_DONE, .round = 1});
	turn(10000 * MS);
	CU_ASSERT_STRING_EQUAL(remus_primary_word(&machine), "protected");
	CU_ASSERT(!machine.overloaded);
	next();
	CU_ASSERT_EQUAL(machine.epoch, 2);
}

static void to_the_bound_is_no_overload(void)
{
	protect(REMUS_OVERLOAD_DROP);
	for (int i = 0; i < 20; i++) {
		CU_ASSERT_STRING_EQUAL(turn(BOUND), text);
		CU_ASSERT(!told("overload"));
		next();
	}
	CU_ASSERT(remus_primary_protected(&machine));
	CU_ASSERT_EQUAL(machine.turn_us, BOUND);
}

static void stretch_is_told_once_and_over_after_calm(void)
{
	protect(REMUS_OVERLOAD_STRETCH);
	CU_ASSERT_EQUAL(find(REMUS_DO_SEND_EPOCH)->at_us, now + REMUS_STRETCH_MAX * BOUND);
	CU_ASSERT_STRING_EQUAL(
		turn(BOUND + 1),
		"CANCEL_TIMER:ACK EVENT:overload RELEASE:2 PAUSE CAPTURE:3 SEAL:3 RESUME SEND_EPOCH:3");
	for (int i = 0; i < 5; i++) { /* however long, the guest runs, and it isn't told again */
		turn(9 * BOUND);
		CU_ASSERT(!told("overload") && find(REMUS_DO_SEND_EPOCH)->value == 0);
	}
	uint64_t late = now;
	while (!told("overload-over") && now < late + 20 * BOUND) {
		CU_ASSERT(machine.overloaded);
		next();
		turn(40 * MS);
	}
	CU_ASSERT(told("overload-over") && !machine.overloaded);
	CU_ASSERT(now >= late + 10 * BOUND && now <= late + 11 * BOUND);
	CU_ASSERT(remus_primary_protected(&machine));
}

static void throttle_brakes_harder_and_lets_go(void)
{
	static const unsigned percent[] = {20, 40, 60, 80, 90, 90}, back[] = {70, 50, 30, 10, 0};
	uint64_t begun;

	protect(REMUS_OVERLOAD_THROTTLE);
	CU_ASSERT_STRING_EQUAL(
		turn(3 * BOUND),
		"CANCEL_TIMER:ACK EVENT:overload RELEASE:2 PAUSE CAPTURE:3 SEAL:3 SEND_EPOCH:3");
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(percent); i++) {
		begun = now;
		const struct remus_action *send = find(REMUS_DO_SEND_EPOCH);
		CU_ASSERT_EQUAL(machine.throttle, percent[i]);
		CU_ASSERT_EQUAL(send->value - begun, 3 * BOUND * percent[i] / 100);
		CU_ASSERT(!find(REMUS_DO_RESUME)); /* SEND_EPOCH's business */
		turn(3 * BOUND);
	}
	/* I8: never more than half of the deadline, whatever a turn took */
	turn(9 * BOUND);
	CU_ASSERT_EQUAL(find(REMUS_DO_SEND_EPOCH)->value - now, 5 * BOUND);
	/* between half of the bound and the bound it stays as it is, below it goes back */
	turn(BOUND);
	CU_ASSERT_EQUAL(machine.throttle, 90);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(back); i++) {
		turn(BOUND / 2);
		CU_ASSERT_EQUAL(machine.throttle, back[i]);
	}
	CU_ASSERT(find(REMUS_DO_RESUME) && find(REMUS_DO_SEND_EPOCH)->value == 0);
}

/* I7: told, in order, and no claim: the guest goes on here. */
static void drop_ends_protection_in_order(void)
{
	protect(REMUS_OVERLOAD_DROP);
	CU_ASSERT_EQUAL(find(REMUS_DO_SEND_EPOCH)->at_us, now + BOUND);
	CU_ASSERT_STRING_EQUAL(
		turn(BOUND + 1),
		"CANCEL_TIMER:ACK EVENT:overload REPORT SEND:END SET_TIMER:END SET_TIMER:END RELEASE:2");
	CU_ASSERT_EQUAL(timer(REMUS_TIMER_END)->at_us, now + 15000 * MS);
	CU_ASSERT_STRING_EQUAL(remus_primary_word(&machine), "unprotecting");
	step((struct remus_event)FAILED(RELEASE)); /* what followed it was done */
	CU_ASSERT_STRING_EQUAL(text, "EVENT:failed");
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)EMPTY(END_ACK, 2)),
			       "EVENT:unprotected REPORT PASS TRACK_STOP CLOSE_LINK RETIRE END");
	CU_ASSERT_EQUAL(machine.code, -ETIME);
}

static struct remus_event failed(enum remus_action_type action, int code)
{
	return (struct remus_event){
		.type = REMUS_EV_FAILED, .action = action, .code = code, .text = "too much"};
}

/* Too late or too large: END, not a lost link, which might become a failover. Its COMMIT was not sent. */
static void an_epoch_that_cannot_be_sent(void)
{
	static const int codes[] = {REMUS_EPOCH_LATE, REMUS_EPOCH_LARGE};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(codes); i++)
		for (int policy = REMUS_OVERLOAD_STRETCH; policy <= REMUS_OVERLOAD_DROP; policy++) {
			protect((enum remus_overload_policy)policy);
			CU_ASSERT_STRING_EQUAL(step(failed(REMUS_DO_SEND_EPOCH, codes[i])),
					       "ABORT_EPOCH:2 EVENT:overload REPORT SEND:END SET_TIMER:END "
					       "SET_TIMER:END");
			CU_ASSERT_EQUAL(machine.code, codes[i]);
			CU_ASSERT_STRING_EQUAL(
				step((struct remus_event)EMPTY(END_ACK, 1)),
				"EVENT:unprotected REPORT PASS TRACK_STOP CLOSE_LINK RETIRE END");
		}
	/* Any other failure is the link's, as ever. */
	protect(REMUS_OVERLOAD_STRETCH);
	CU_ASSERT_STRING_EQUAL(step(failed(REMUS_DO_SEND_EPOCH, -EPIPE)),
			       "CLOSE_LINK EVENT:backup-lost REPORT CLAIM");
	/* The END isn't heard: then it is the arbiter's to say. */
	protect(REMUS_OVERLOAD_STRETCH);
	step(failed(REMUS_DO_SEND_EPOCH, REMUS_EPOCH_LATE));
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)TIMER(END)),
			       "CLOSE_LINK EVENT:backup-lost REPORT CLAIM");
}

/* More pages than this host keeps for an epoch: found in the pause, which must end (I8). */
static void an_epoch_that_cannot_be_captured(void)
{
	protect(REMUS_OVERLOAD_STRETCH);
	CU_ASSERT_STRING_EQUAL(
		step(failed(REMUS_DO_CAPTURE, REMUS_EPOCH_LARGE)),
		"ABORT_EPOCH:2 EVENT:overload REPORT SEND:END SET_TIMER:END SET_TIMER:END RESUME");
	step(failed(REMUS_DO_RESUME, -EIO));
	CU_ASSERT_STRING_EQUAL(text, "EVENT:failed SET_TIMER:RETRY");
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)TIMER(RETRY)), "RESUME");
	/* a hand-over: its guest stands still until then */
	protect(REMUS_OVERLOAD_STRETCH);
	turn(30 * MS);
	step((struct remus_event)EV(CMD_FAILOVER));
	turn(30 * MS);
	CU_ASSERT_STRING_EQUAL(remus_primary_word(&machine), "handing-over");
	CU_ASSERT_STRING_EQUAL(
		step(failed(REMUS_DO_SEND_EPOCH, REMUS_EPOCH_LARGE)),
		"ABORT_EPOCH:4 EVENT:overload REPORT SEND:END SET_TIMER:END SET_TIMER:END RESUME");
}

/* Nothing is committed yet, and nothing of a COMMIT was sent: no claim, the guest as it was. */
static void the_first_epoch(void)
{
	struct remus_primary_config config = {.max_interval_us = BOUND, .on_overload = REMUS_OVERLOAD_DROP};

	for (int i = 0; i < 2; i++) {
		remus_primary_init(&machine, &config);
		step((struct remus_event)EV(START));
		step((struct remus_event)EV(LINK_UP));
		step((struct remus_event)FRAME(WELCOME, 0, 16, "\x07\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0"));
		step((struct remus_event){.type = REMUS_EV_ROUND_DONE, .round = 1});
		CU_ASSERT_EQUAL(find(REMUS_DO_SEND_EPOCH)->at_us, now + REMUS_STRETCH_MAX * BOUND);
		step(i ? failed(REMUS_DO_CAPTURE, REMUS_EPOCH_LARGE)
		       : failed(REMUS_DO_SEND_EPOCH, REMUS_EPOCH_LATE));
		CU_ASSERT_STRING_EQUAL(text,
				       i ? "ABORT_EPOCH:1 EVENT:overload SEND:END CLOSE_LINK EVENT:failed "
					   "REPORT RESUME PASS TRACK_STOP RETIRE END"
					 : "ABORT_EPOCH:1 EVENT:overload SEND:END CLOSE_LINK EVENT:failed "
					   "REPORT PASS TRACK_STOP RETIRE END");
		CU_ASSERT(!machine.armed);
	}
}

static struct remus_event sent(uint64_t resumed_us)
{
	return (struct remus_event){
		.type = REMUS_EV_SENT, .epoch = machine.epoch, .digest = 7, .resumed_us = resumed_us};
}

/* Epoch 3 is on its way, and its guest is to stand still for 60 ms from now. */
static void brake(void)
{
	protect(REMUS_OVERLOAD_THROTTLE);
	turn(3 * BOUND);
	CU_ASSERT_EQUAL(find(REMUS_DO_SEND_EPOCH)->value, now + 60 * MS);
	CU_ASSERT(machine.paused && machine.braked);
}

/* I8: whatever comes first lets the guest go: its time, the ack, an operator, a lost link. */
static void what_ends_a_brake(void)
{
	brake(); /* on the way */
	CU_ASSERT_STRING_EQUAL(step(sent(now + 60 * MS)), "SET_TIMER:ACK");
	CU_ASSERT(!machine.paused);
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)TIMER(BRAKE)), "");
	brake(); /* after that */
	uint64_t until = now + 60 * MS;
	CU_ASSERT_STRING_EQUAL(step(sent(0)), "SET_TIMER:BRAKE SET_TIMER:ACK");
	CU_ASSERT_EQUAL(timer(REMUS_TIMER_BRAKE)->at_us, until);
	now = until;
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)TIMER(BRAKE)), "RESUME");
	CU_ASSERT_EQUAL(machine.resumed_us, until);
	brake(); /* the guest gets its interval all the same */
	step(sent(0));
	now += 10 * MS;
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)ACK(3)),
			       "CANCEL_TIMER:ACK RELEASE:3 SET_TIMER:EPOCH RESUME");
	CU_ASSERT_EQUAL(timer(REMUS_TIMER_EPOCH)->at_us, now + 25 * MS);
	brake(); /* a hand-over stops it anew, and at once */
	step(sent(0));
	step((struct remus_event)EV(CMD_FAILOVER));
	step((struct remus_event)ACK(3));
	CU_ASSERT_EQUAL(timer(REMUS_TIMER_EPOCH)->at_us, now);
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)TIMER(EPOCH)),
			       "REPORT PAUSE CAPTURE:4 SEAL:4 SEND_EPOCH:4");
	brake();
	step(sent(0));
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)EV(CMD_UNPROTECT)),
			       "REPORT SEND:END SET_TIMER:END RESUME");
	brake();
	CU_ASSERT_STRING_EQUAL(step(failed(REMUS_DO_SEND_EPOCH, -EPIPE)),
			       "CLOSE_LINK EVENT:backup-lost REPORT CLAIM RESUME");
	brake();
	CU_ASSERT_STRING_EQUAL(
		step(failed(REMUS_DO_SEND_EPOCH, REMUS_EPOCH_LATE)),
		"ABORT_EPOCH:3 EVENT:overload REPORT SEND:END SET_TIMER:END SET_TIMER:END RESUME");
	brake();
	step(sent(0));
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)EV(LINK_LOST)),
			       "CLOSE_LINK EVENT:backup-lost REPORT CLAIM RESUME");
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)TIMER(BRAKE)), "");
}

/* Tried again, and the epoch isn't sent twice; when it fails with the ack, epochs go on. */
static void a_braked_guest_that_cannot_be_resumed(void)
{
	brake();
	step(sent(0));
	step((struct remus_event)TIMER(BRAKE));
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)FAILED(RESUME)), "EVENT:failed SET_TIMER:RETRY");
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)TIMER(RETRY)), "RESUME");
	brake();
	step(sent(0));
	step((struct remus_event)ACK(3));
	step((struct remus_event)FAILED(RESUME));
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)TIMER(RETRY)), "RESUME SET_TIMER:EPOCH");
}

/* Sent, into some buffer: the ack may still come, and counts; then END_ACK, or else the arbiter. */
static void an_epoch_that_is_not_acknowledged(void)
{
	protect(REMUS_OVERLOAD_STRETCH);
	step(sent(now));
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)TIMER(ACK)),
			       "EVENT:overload REPORT SEND:END SET_TIMER:END SET_TIMER:END");
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)ACK(2)), "CANCEL_TIMER:ACK RELEASE:2");
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)EMPTY(END_ACK, 2)),
			       "EVENT:unprotected REPORT PASS TRACK_STOP CLOSE_LINK RETIRE END");
	brake();
	step(sent(0));
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)TIMER(ACK)),
			       "EVENT:overload REPORT SEND:END SET_TIMER:END SET_TIMER:END RESUME");
	CU_ASSERT_STRING_EQUAL(step((struct remus_event)TIMER(END)),
			       "CLOSE_LINK EVENT:backup-lost REPORT CLAIM");
}

static void defaults(void)
{
	struct remus_primary_config config = {.interval_us = 0};

	remus_primary_init(&machine, &config);
	CU_ASSERT_EQUAL(machine.config.max_interval_us, 1000 * MS);
	config.interval_us = 2000 * MS;
	remus_primary_init(&machine, &config);
	CU_ASSERT_EQUAL(machine.config.max_interval_us, 8000 * MS);
}

static const struct unit_case cases[] = {
	{"up to the bound there is no overload", to_the_bound_is_no_overload},
	{"stretch: told once, over after a calm", stretch_is_told_once_and_over_after_calm},
	{"throttle: harder, bounded, and back (I8)", throttle_brakes_harder_and_lets_go},
	{"drop: in order, told, no claim (I7)", drop_ends_protection_in_order},
	{"an epoch that can't be sent", an_epoch_that_cannot_be_sent},
	{"an epoch that can't be captured (I8)", an_epoch_that_cannot_be_captured},
	{"the first epoch", the_first_epoch},
	{"what ends a brake (I8)", what_ends_a_brake},
	{"a braked guest that can't be resumed (I8)", a_braked_guest_that_cannot_be_resumed},
	{"an epoch that isn't acknowledged", an_epoch_that_is_not_acknowledged},
	{"defaults", defaults},
};
UNIT_MAIN("primary overload", cases)
