/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What both shells stand on: timers, quantiles, the feed's rule for failing actions, and claims that hang. An
 * arbiter here is a table of functions that waits for the test.
 */
#include <poll.h>
#include <pthread.h>
#include "replicator/shell.h"
#include "unit.h"

/* ---- timers, samples ---- */

static void timers_come_in_time(void)
{
	struct shell_timers timers = {0};

	CU_ASSERT_EQUAL(shell_timers_wait(&timers, 1000, 100), 100);
	CU_ASSERT_EQUAL(shell_timers_wait(&timers, 1000, -1), -1);
	timers.at_us[REMUS_TIMER_EPOCH] = 3500;
	timers.at_us[REMUS_TIMER_ACK] = 99000;
	CU_ASSERT_EQUAL(shell_timers_wait(&timers, 1000, 100), 3); /* 2.5 ms, rounded up: never early */
	CU_ASSERT_EQUAL(shell_timers_due(&timers, 3499), -1);
	CU_ASSERT_EQUAL(shell_timers_wait(&timers, 3500, 100), 0);
	CU_ASSERT_EQUAL(shell_timers_due(&timers, 3500), REMUS_TIMER_EPOCH);
	CU_ASSERT_EQUAL(shell_timers_due(&timers, 3500), -1); /* once */
}

static void quantiles_are_of_the_last_values(void)
{
	static struct shell_samples samples;
	struct remus_quantiles q;

	shell_samples_quantiles(&samples, &q);
	CU_ASSERT(q.p50 == 0 && q.p99 == 0 && q.max == 0);
	for (uint64_t i = 1; i <= 100; i++)
		shell_samples_add(&samples, i);
	shell_samples_quantiles(&samples, &q);
	CU_ASSERT(q.p50 == 51 && q.p99 == 100 && q.max == 100);
	for (int i = 0; i < SAMPLES; i++)
		shell_samples_add(&samples, 7);
	shell_samples_quantiles(&samples, &q);
	CU_ASSERT(q.p50 == 7 && q.max == 7);
	shell_samples_add(&samples, UINT64_MAX);
	shell_samples_quantiles(&samples, &q);
	CU_ASSERT_EQUAL(q.max, UINT32_MAX);
}

/* ---- the feed ---- */

static char log_text[512];

static void step(void *machine, const struct remus_event *event, struct remus_actions *out)
{
	size_t n = strlen(log_text);
	(void)machine;
	snprintf(log_text + n, sizeof log_text - n, "<%s%s%s>", remus_event_name(event->type),
		 event->type == REMUS_EV_FAILED ? " " : "",
		 event->type == REMUS_EV_FAILED ? remus_action_name(event->action) : "");
	memset(out, 0, sizeof *out);
	if (event->type != REMUS_EV_START)
		return;
	static const enum remus_action_type types[] = {REMUS_DO_PAUSE, REMUS_DO_CAPTURE, REMUS_DO_RESUME};
	for (out->count = 0; out->count < 3; out->count++)
		out->list[out->count].type = types[out->count];
}

static int carry_out(void *shell, const struct remus_action *action, struct remus_error *err)
{
	struct shell_feed *feed = shell;
	size_t n = strlen(log_text);

	snprintf(log_text + n, sizeof log_text - n, "%s ", remus_action_name(action->type));
	if (action->type == REMUS_DO_PAUSE)
		shell_raise(feed, REMUS_EV_SENT, NULL);
	return action->type == REMUS_DO_CAPTURE ? remus_fail(err, -EIO, "no") : 0;
}

/* What follows a failed action isn't done; raised events come in order, the failure after them. */
static void a_failing_action_ends_its_step(void)
{
	static struct shell_feed feed;

	feed = (struct shell_feed){.shell = &feed, .step = step, .carry_out = carry_out};
	log_text[0] = 0;
	shell_feed_simple(&feed, REMUS_EV_START, NULL);
	CU_ASSERT_STRING_EQUAL(log_text, "<EV_START>DO_PAUSE DO_CAPTURE <EV_SENT><EV_FAILED DO_CAPTURE>");
}

/* ---- claims ---- */

struct slow_arbiter {
	struct remus_arbiter base;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool open;
	int asked;
};

static enum remus_claim slow_claim(struct remus_arbiter *arbiter, const struct remus_key *key,
				   enum remus_holder holder, struct remus_error *err)
{
	struct slow_arbiter *slow = (struct slow_arbiter *)arbiter;

	pthread_mutex_lock(&slow->lock);
	slow->asked++;
	while (!slow->open)
		pthread_cond_wait(&slow->wake, &slow->lock);
	pthread_mutex_unlock(&slow->lock);
	return REMUS_CLAIM_WON;
}

static const struct remus_arbiter_ops slow_ops = {.scheme = "slow", .claim = slow_claim};
/* Static: a worker that hangs is left behind and still uses it. */
static struct slow_arbiter slow = {
	.base = {&slow_ops}, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static void set_open(bool open)
{
	pthread_mutex_lock(&slow.lock);
	slow.open = open;
	pthread_cond_broadcast(&slow.wake);
	pthread_mutex_unlock(&slow.lock);
}

static enum remus_claim wait_answer(struct shell_claimer *claimer)
{
	enum remus_claim claim = REMUS_CLAIM_LOST;
	struct pollfd pfd = {.fd = shell_claimer_fd(claimer), .events = POLLIN};

	for (int i = 0; i < 100; i++) {
		poll(&pfd, 1, 100);
		if (shell_claimer_answer(claimer, 2, &claim, NULL))
			break;
	}
	return claim;
}

/* I5: a hanging arbiter is UNKNOWN at the deadline, its late answer is no answer to anything, and asking again
 * works once it is back. Time is the test's: nothing is waited for. */
static void a_hanging_arbiter_is_unknown(void)
{
	struct remus_key key = {.generation = 1};
	struct remus_error err = REMUS_ERROR_INIT;
	struct shell_claimer *claimer;
	enum remus_claim claim = REMUS_CLAIM_LOST;

	set_open(false);
	CU_ASSERT_EQUAL_FATAL(shell_claimer_create(&slow.base, &key, REMUS_HOLDER_BACKUP, &claimer, &err), 0);
	CU_ASSERT(!shell_claimer_answer(claimer, 1, &claim, &err)); /* nobody asked */
	shell_claimer_ask(claimer, 1);
	CU_ASSERT(!shell_claimer_answer(claimer, CLAIM_DEADLINE_US, &claim, &err));
	CU_ASSERT(shell_claimer_answer(claimer, CLAIM_DEADLINE_US + 1, &claim, &err));
	CU_ASSERT_EQUAL(claim, REMUS_CLAIM_UNKNOWN);
	UNIT_ASSERT_MESSAGE(err, "slow");
	CU_ASSERT(!shell_claimer_answer(claimer, CLAIM_DEADLINE_US + 2, &claim,
					&err)); /* one answer a question */
	set_open(true);
	shell_claimer_ask(claimer, 1);
	CU_ASSERT_EQUAL(wait_answer(claimer), REMUS_CLAIM_WON);
	CU_ASSERT(!shell_claimer_destroy(claimer));
}

static void leaving_a_hanging_arbiter_does_not_hang(void)
{
	struct remus_key key = {.generation = 2};
	struct shell_claimer *claimer;
	int before;

	set_open(false);
	CU_ASSERT_EQUAL_FATAL(shell_claimer_create(&slow.base, &key, REMUS_HOLDER_BACKUP, &claimer, NULL), 0);
	before = slow.asked;
	shell_claimer_ask(claimer, 1);
	for (int i = 0; i < 1000; i++) { /* until the worker is inside */
		pthread_mutex_lock(&slow.lock);
		bool inside = slow.asked > before;
		pthread_mutex_unlock(&slow.lock);
		if (inside)
			break;
		usleep(1000);
	}
	CU_ASSERT(shell_claimer_destroy(claimer)); /* returns: that is the test */
	set_open(true);
	usleep(20000); /* the worker left behind ends before the program does */
}

static const struct unit_case cases[] = {
	{"timers come in time", timers_come_in_time},
	{"quantiles are of the last values", quantiles_are_of_the_last_values},
	{"a failing action ends its step", a_failing_action_ends_its_step},
	{"a hanging arbiter is unknown (I5)", a_hanging_arbiter_is_unknown},
	{"leaving a hanging arbiter doesn't hang (I8)", leaving_a_hanging_arbiter_does_not_hang},
};
UNIT_MAIN("shell", cases)
