// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The deadline around an arbiter's calls: what hangs is a timeout, what comes late is kept where it still is true, and
 * closing never waits. The arbiter inside hangs until it is told to go on.
 */
#include <pthread.h>
#include <stdatomic.h>
#include "replicator/arbiter/schemes.h"
#include "unit.h"

#define DEADLINE_MS 50

/* Static, and never freed: a thread that was left behind may still look at it. */
struct slow {
	struct remus_arbiter base;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool hang, closed;
	unsigned opened, checked, claimed, retired;
	enum remus_claim answer;
};

static void pass_gate(struct slow *s, unsigned *count)
{
	pthread_mutex_lock(&s->lock);
	(*count)++;
	while (s->hang)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static int slow_open(struct remus_arbiter *a, const struct remus_key *key, struct remus_error *err)
{
	pass_gate((struct slow *)a, &((struct slow *)a)->opened);
	return key->generation == 13 ? remus_fail(err, -EEXIST, "thirteen") : 0;
}

static int slow_check(struct remus_arbiter *a, const struct remus_key *key, struct remus_error *err)
{
	pass_gate((struct slow *)a, &((struct slow *)a)->checked);
	return 0;
}

static enum remus_claim slow_claim(struct remus_arbiter *a, const struct remus_key *key,
				   enum remus_holder holder, struct remus_error *err)
{
	struct slow *s = (struct slow *)a;

	pass_gate(s, &s->claimed);
	if (s->answer == REMUS_CLAIM_UNKNOWN)
		remus_fail(err, -EIO, "broken");
	return s->answer;
}

static int slow_retire(struct remus_arbiter *a, const struct remus_key *key, struct remus_error *err)
{
	pass_gate((struct slow *)a, &((struct slow *)a)->retired);
	return 0;
}

static void slow_close(struct remus_arbiter *a)
{
	struct slow *s = (struct slow *)a;

	pthread_mutex_lock(&s->lock);
	s->closed = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static const struct remus_arbiter_ops slow_ops = {
	.scheme = "slow",
	.open = slow_open,
	.check = slow_check,
	.claim = slow_claim,
	.retire = slow_retire,
	.close = slow_close,
};

static struct remus_arbiter *bound(struct slow *s, unsigned deadline_ms)
{
	struct remus_arbiter *a = &s->base;

	memset(s, 0, sizeof *s);
	s->base.ops = &slow_ops;
	s->base.fences = true;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	CU_ASSERT_EQUAL_FATAL(arbiter_bound(&a, deadline_ms, NULL), 0);
	return a;
}

static void set_hang(struct slow *s, bool hang)
{
	pthread_mutex_lock(&s->lock);
	s->hang = hang;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static void wait_closed(struct slow *s)
{
	pthread_mutex_lock(&s->lock);
	while (!s->closed)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static const struct remus_key one = {.generation = 1}, two = {.generation = 2}, thirteen = {.generation = 13};

static void answers_pass(void)
{
	static struct slow s;
	struct remus_arbiter *a = bound(&s, 60000);
	struct remus_error err = REMUS_ERROR_INIT;

	CU_ASSERT_STRING_EQUAL(a->ops->scheme, "slow");
	CU_ASSERT(a->fences);
	CU_ASSERT_EQUAL(a->ops->open(a, &one, &err), 0);
	CU_ASSERT_EQUAL(a->ops->check(a, &one, &err), 0);
	s.answer = REMUS_CLAIM_WON;
	CU_ASSERT_EQUAL(a->ops->claim(a, &one, REMUS_HOLDER_BACKUP, &err), REMUS_CLAIM_WON);
	s.answer = REMUS_CLAIM_LOST; /* an answer that was taken is not kept */
	CU_ASSERT_EQUAL(a->ops->claim(a, &one, REMUS_HOLDER_BACKUP, &err), REMUS_CLAIM_LOST);
	CU_ASSERT_EQUAL(a->ops->retire(a, &one, &err), 0);
	CU_ASSERT_STRING_EQUAL(err.message, "");
	CU_ASSERT_EQUAL(a->ops->open(a, &thirteen, &err), -EEXIST);
	CU_ASSERT_STRING_EQUAL(err.message, "thirteen");
	s.answer = REMUS_CLAIM_UNKNOWN;
	CU_ASSERT_EQUAL(a->ops->claim(a, &one, REMUS_HOLDER_BACKUP, &err), REMUS_CLAIM_UNKNOWN);
	CU_ASSERT_STRING_EQUAL(err.message, "broken");
	CU_ASSERT_EQUAL(a->ops->claim(a, &one, REMUS_HOLDER_BACKUP, NULL), REMUS_CLAIM_UNKNOWN);
	CU_ASSERT(!s.closed);
	a->ops->close(a);
	CU_ASSERT(s.closed);
}

static void hanging_claim_is_unknown_and_joined(void)
{
	static struct slow s;
	struct remus_arbiter *a = bound(&s, DEADLINE_MS);
	struct remus_error err = REMUS_ERROR_INIT;

	s.hang = true;
	s.answer = REMUS_CLAIM_WON;
	for (int i = 0; i < 2; i++) { /* the second joins the first */
		CU_ASSERT_EQUAL(a->ops->claim(a, &one, REMUS_HOLDER_PRIMARY, &err), REMUS_CLAIM_UNKNOWN);
		CU_ASSERT_EQUAL(err.code, -ETIMEDOUT);
		UNIT_ASSERT_MESSAGE(err, "the arbiter (slow) has not answered for 0.05 s (claim)");
	}
	/* No other question in between: not of another side, key or kind. */
	CU_ASSERT_EQUAL(a->ops->claim(a, &one, REMUS_HOLDER_BACKUP, &err), REMUS_CLAIM_UNKNOWN);
	CU_ASSERT_EQUAL(err.code, -EBUSY);
	CU_ASSERT_EQUAL(a->ops->claim(a, &two, REMUS_HOLDER_PRIMARY, &err), REMUS_CLAIM_UNKNOWN);
	CU_ASSERT_EQUAL(a->ops->retire(a, &one, &err), -EBUSY);
	UNIT_ASSERT_MESSAGE(err, "still hangs in an earlier call (claim)");
	set_hang(&s, false);
	enum remus_claim claim = REMUS_CLAIM_UNKNOWN;
	for (int i = 0; i < 400 && claim == REMUS_CLAIM_UNKNOWN; i++) /* 20 s */
		claim = a->ops->claim(a, &one, REMUS_HOLDER_PRIMARY, &err);
	CU_ASSERT_EQUAL(claim, REMUS_CLAIM_WON);
	CU_ASSERT_EQUAL(s.claimed, 1);
	a->ops->close(a);
	CU_ASSERT(s.closed);
}

/* A check that succeeded after its asker went says nothing about now. */
static void late_check_is_asked_anew(void)
{
	static struct slow s;
	struct remus_arbiter *a = bound(&s, DEADLINE_MS);
	struct remus_error err = REMUS_ERROR_INIT;
	int rc = -1;

	s.hang = true;
	CU_ASSERT_EQUAL(a->ops->check(a, &one, &err), -ETIMEDOUT);
	set_hang(&s, false);
	for (int i = 0; i < 400 && s.checked < 2; i++)
		rc = a->ops->check(a, &one, &err);
	CU_ASSERT_EQUAL(rc, 0);
	a->ops->close(a);
	wait_closed(&s);
}

static void closing_does_not_wait(void)
{
	static struct slow s;
	struct remus_arbiter *a = bound(&s, DEADLINE_MS);

	s.hang = true;
	CU_ASSERT_EQUAL(a->ops->claim(a, &one, REMUS_HOLDER_PRIMARY, NULL), REMUS_CLAIM_UNKNOWN);
	a->ops->close(a);
	CU_ASSERT(!s.closed); /* the thread still needs it, and closes it */
	set_hang(&s, false);
	wait_closed(&s);
	CU_ASSERT_EQUAL(s.retired, 0);
}

static void late_open_is_undone(void)
{
	static struct slow s;
	struct remus_arbiter *a = bound(&s, DEADLINE_MS);

	s.hang = true;
	CU_ASSERT_EQUAL(a->ops->open(a, &one, NULL), -ETIMEDOUT);
	a->ops->close(a);
	set_hang(&s, false);
	wait_closed(&s);
	CU_ASSERT_EQUAL(s.opened, 1);
	CU_ASSERT_EQUAL(s.retired, 1);

	static struct slow failing;
	a = bound(&failing, DEADLINE_MS);
	failing.hang = true;
	CU_ASSERT_EQUAL(a->ops->open(a, &thirteen, NULL), -ETIMEDOUT);
	a->ops->close(a);
	set_hang(&failing, false);
	wait_closed(&failing);
	CU_ASSERT_EQUAL(failing.retired, 0); /* somebody else's key */
}

static const struct unit_case cases[] = {
	{"answers pass", answers_pass},
	{"a hanging claim is UNKNOWN, and joined", hanging_claim_is_unknown_and_joined},
	{"a late check is asked anew", late_check_is_asked_anew},
	{"closing does not wait", closing_does_not_wait},
	{"a late open is undone", late_open_is_undone},
};
UNIT_MAIN("arbiter-bounded", cases)
