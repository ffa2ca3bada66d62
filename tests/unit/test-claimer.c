/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shells' small parts. Claims: an arbiter that hangs costs its deadline and no more (I8), its late answer is
 * taken by the next question, and letting go of the worker doesn't wait for it. Timers and samples.
 * Time comes in as a number, so that no deadline is waited for.
 */
#include <poll.h>
#include <pthread.h>
#include "replicator/shell.h"
#include "unit.h"

/* An arbiter that answers when it is told to. */
struct slow {
	struct remus_arbiter base;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool hang;
	unsigned asked, answered;
	enum remus_claim answer;
};

static enum remus_claim slow_claim(struct remus_arbiter *arbiter, const struct remus_key *key,
				   enum remus_holder holder, struct remus_error *err)
{
	struct slow *s = (struct slow *)arbiter;

	pthread_mutex_lock(&s->lock);
	s->asked++;
	pthread_cond_broadcast(&s->changed);
	while (s->hang)
		pthread_cond_wait(&s->changed, &s->lock);
	s->answered++;
	enum remus_claim answer = s->answer;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	if (answer == REMUS_CLAIM_UNKNOWN)
		remus_fail(err, -EIO, "the medium broke for %d", (int)holder);
	return answer;
}

static const struct remus_arbiter_ops slow_ops = {.scheme = "slow", .claim = slow_claim};
static const struct remus_key key = {.generation = 1};

static struct slow *slow_new(bool hang, enum remus_claim answer)
{
	struct slow *s = calloc(1, sizeof *s);

	s->base.ops = &slow_ops;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	s->hang = hang;
	s->answer = answer;
	return s;
}

static void slow_hang(struct slow *s, bool hang)
{
	pthread_mutex_lock(&s->lock);
	s->hang = hang;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static void slow_wait(struct slow *s, unsigned asked, unsigned answered)
{
	pthread_mutex_lock(&s->lock);
	while (s->asked < asked || s->answered < answered)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static struct shell_claimer *claimer_on(struct slow *s)
{
	struct shell_claimer *c = NULL;

	CU_ASSERT_EQUAL_FATAL(shell_claimer_create(&s->base, &key, REMUS_HOLDER_BACKUP, &c, NULL), 0);
	return c;
}

/* The answer of the worker, as the loop would get it. */
static enum remus_claim await(struct shell_claimer *c, uint64_t now, struct remus_error *err)
{
	enum remus_claim claim = (enum remus_claim)99;

	for (int i = 0; i < 20000 && !shell_claimer_answer(c, now, &claim, err); i++) {
		struct pollfd p = {.fd = shell_claimer_fd(c), .events = POLLIN};
		poll(&p, 1, 1);
	}
	return claim;
}

static void answers_are_passed_on(void)
{
	static const enum remus_claim answers[] = {REMUS_CLAIM_UNKNOWN, REMUS_CLAIM_WON, REMUS_CLAIM_LOST};
	struct slow *s = slow_new(false, REMUS_CLAIM_UNKNOWN);
	struct shell_claimer *c = claimer_on(s);
	enum remus_claim claim;

	CU_ASSERT(!shell_claimer_answer(c, UINT64_MAX, &claim, NULL)); /* nothing was asked */
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(answers); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		s->answer = answers[i]; /* the worker rests */
		shell_claimer_ask(c, 1000);
		CU_ASSERT_EQUAL(shell_claimer_deadline(c), 1000 + CLAIM_DEADLINE_US);
		CU_ASSERT_EQUAL(await(c, 1000, &err), answers[i]);
		CU_ASSERT_EQUAL(shell_claimer_deadline(c), 0);
		if (answers[i] == REMUS_CLAIM_UNKNOWN)
			UNIT_ASSERT_MESSAGE(err, "the medium broke for 2");
		else
			CU_ASSERT_STRING_EQUAL(err.message, "");
		CU_ASSERT(!shell_claimer_answer(c, UINT64_MAX, &claim, NULL)); /* once */
	}
	CU_ASSERT(shell_claimer_destroy(c));
	free(s);
}

static void hanging_is_unknown_at_the_deadline(void)
{
	struct slow *s = slow_new(true, REMUS_CLAIM_WON);
	struct shell_claimer *c = claimer_on(s);
	struct remus_error err = REMUS_ERROR_INIT;
	enum remus_claim claim = REMUS_CLAIM_WON;

	shell_claimer_ask(c, 0);
	slow_wait(s, 1, 0);
	CU_ASSERT(!shell_claimer_answer(c, CLAIM_DEADLINE_US - 1, &claim, &err));
	CU_ASSERT(shell_claimer_answer(c, CLAIM_DEADLINE_US, &claim, &err));
	CU_ASSERT_EQUAL(claim, REMUS_CLAIM_UNKNOWN);
	UNIT_ASSERT_MESSAGE(err, "the arbiter (slow) has not answered for 5 s");

	/* Asked again while the first question hangs: its own deadline, and no second question. */
	shell_claimer_ask(c, CLAIM_DEADLINE_US);
	CU_ASSERT(!shell_claimer_answer(c, 2 * CLAIM_DEADLINE_US - 1, &claim, &err));
	CU_ASSERT(shell_claimer_answer(c, 2 * CLAIM_DEADLINE_US, &claim, &err));
	CU_ASSERT_EQUAL(claim, REMUS_CLAIM_UNKNOWN);

	/* The late answer to the first is right for the third: the arbiter doesn't change its mind. */
	shell_claimer_ask(c, 2 * CLAIM_DEADLINE_US);
	slow_hang(s, false);
	CU_ASSERT_EQUAL(await(c, 2 * CLAIM_DEADLINE_US, &err), REMUS_CLAIM_WON);
	CU_ASSERT_EQUAL(s->asked, 1);
	CU_ASSERT(shell_claimer_destroy(c));
	free(s);
}

static void hanging_worker_is_left_behind(void)
{
	static struct slow *s; /* static: left behind, not lost */
	static struct shell_claimer *c;

	s = slow_new(true, REMUS_CLAIM_LOST);
	c = claimer_on(s);
	shell_claimer_ask(c, 0);
	slow_wait(s, 1, 0);
	CU_ASSERT(!shell_claimer_destroy(c)); /* at once; and says that the arbiter is still in use */
	slow_hang(s, false);
	slow_wait(s, 1, 1); /* the worker ends by itself; what it uses is left, as a shell leaves it */
}

static void unused_worker_ends(void)
{
	struct slow *s = slow_new(false, REMUS_CLAIM_LOST);

	CU_ASSERT(shell_claimer_destroy(claimer_on(s)));
	CU_ASSERT(shell_claimer_destroy(NULL));
	CU_ASSERT_EQUAL(s->asked, 0);
	free(s);
}

static void timers(void)
{
	struct shell_timers t = {0};

	CU_ASSERT_EQUAL(shell_timers_wait(&t, 5000, -1), -1);
	CU_ASSERT_EQUAL(shell_timers_wait(&t, 5000, 100), 100);
	CU_ASSERT_EQUAL(shell_timers_due(&t, UINT64_MAX), -1);
	t.at_us[REMUS_TIMER_EPOCH] = 7001;
	t.at_us[REMUS_TIMER_ACK] = 9000;
	CU_ASSERT_EQUAL(shell_timers_wait(&t, 5000, -1), 3); /* rounded up: never early */
	CU_ASSERT_EQUAL(shell_timers_wait(&t, 5000, 2), 2);
	CU_ASSERT_EQUAL(shell_timers_due(&t, 7000), -1);
	CU_ASSERT_EQUAL(shell_timers_wait(&t, 7001, -1), 0);
	CU_ASSERT_EQUAL(shell_timers_due(&t, 9000), REMUS_TIMER_EPOCH);
	CU_ASSERT_EQUAL(shell_timers_due(&t, 9000), REMUS_TIMER_ACK);
	CU_ASSERT_EQUAL(shell_timers_due(&t, 9000), -1);
	CU_ASSERT_EQUAL(shell_timers_wait(&t, 9000, -1), -1);
}

static void samples(void)
{
	static struct shell_samples s;
	struct remus_quantiles q;

	shell_samples_quantiles(&s, &q);
	CU_ASSERT(q.p50 == 0 && q.p99 == 0 && q.max == 0);
	shell_samples_add(&s, 7);
	shell_samples_quantiles(&s, &q);
	CU_ASSERT(q.p50 == 7 && q.p99 == 7 && q.max == 7);
	for (uint64_t i = 0; i < 5 * SAMPLES; i++) /* only the last SAMPLES count: 1 ... SAMPLES, mixed */
		shell_samples_add(&s, i < 4 * SAMPLES ? 1000000 : 1 + (i * 7) % SAMPLES);
	shell_samples_quantiles(&s, &q);
	CU_ASSERT_EQUAL(q.p50, SAMPLES / 2 + 1);
	CU_ASSERT_EQUAL(q.p99, SAMPLES * 99 / 100 + 1);
	CU_ASSERT_EQUAL(q.max, SAMPLES);
	shell_samples_add(&s, UINT64_MAX);
	shell_samples_quantiles(&s, &q);
	CU_ASSERT_EQUAL(q.max, UINT32_MAX); /* more than an hour */
}

static const struct unit_case cases[] = {
	{"answers are passed on", answers_are_passed_on},
	{"a hanging arbiter is UNKNOWN at the deadline", hanging_is_unknown_at_the_deadline},
	{"a hanging worker is left behind", hanging_worker_is_left_behind},
	{"an unused worker ends", unused_worker_ends},
	{"timers", timers},
	{"samples", samples},
};
UNIT_MAIN("claimer", cases)
