// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A deadline for every call of an arbiter (I8): the call is made in a thread, and waited for so long. What happens to
 * a call that misses it is told in arbiter.h. At most one is under way at a time, so the arbiter inside needs no
 * locks.
 */
#include <pthread.h>
#include <stdio.h>
#include "schemes.h"
#include "remus/util.h"

enum what { OPEN, CHECK, CLAIM, RETIRE };

struct question {
	enum what what;
	struct remus_key key;
	enum remus_holder holder; /* CLAIM */
};

struct bounded {
	struct remus_arbiter base;
	struct remus_arbiter_ops ops; /* with the scheme of the one inside */
	struct remus_arbiter *inside;
	unsigned deadline_ms;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct question question;
	pthread_t thread;
	bool asked, answered, closed; /* asked and not answered: the thread is at it, and owns @inside */
	int rc;
	enum remus_claim claim;
	struct remus_error err;
};

static const char *const words[] = {
	[OPEN] = "open", [CHECK] = "check", [CLAIM] = "claim", [RETIRE] = "retire"};

static void free_all(struct bounded *b)
{
	b->inside->ops->close(b->inside);
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->changed);
	free(b);
}

static int put(struct remus_arbiter *to, const struct question *q, enum remus_claim *claim,
	       struct remus_error *err)
{
	switch (q->what) {
	case OPEN:
		return to->ops->open(to, &q->key, err);
	case CHECK:
		return to->ops->check(to, &q->key, err);
	case RETIRE:
		return to->ops->retire(to, &q->key, err);
	case CLAIM:
		break;
	}
	*claim = to->ops->claim(to, &q->key, q->holder, err);
	return *claim == REMUS_CLAIM_UNKNOWN ? -EAGAIN : 0;
}

static void *thread(void *context)
{
	struct bounded *b = context;
	struct remus_error err = REMUS_ERROR_INIT;
	enum remus_claim claim = REMUS_CLAIM_UNKNOWN;
	int rc = put(b->inside, &b->question, &claim, &err); /* the question stands until it is answered */

	pthread_mutex_lock(&b->lock);
	b->answered = true;
	b->rc = rc;
	b->claim = claim;
	b->err = err;
	bool closed = b->closed;
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->lock);
	if (closed) {
		if (b->question.what == OPEN && rc == 0)
			b->inside->ops->retire(b->inside, &b->question.key, NULL);
		free_all(b);
	}
	return NULL;
}

static bool is_same(const struct question *a, const struct question *b)
{
	return a->what == b->what && a->holder == b->holder && a->key.generation == b->key.generation &&
	       !memcmp(a->key.session, b->key.session, sizeof a->key.session);
}

/* With the lock held and an answer there: what the libraries keep for the thread goes with it. */
static void end_thread(struct bounded *b)
{
	b->asked = false;
	pthread_mutex_unlock(&b->lock); /* the thread may be about to let go of it */
	pthread_join(b->thread, NULL);
	pthread_mutex_lock(&b->lock);
}

static int begin(struct bounded *b, const struct question *q, struct remus_error *err)
{
	if (b->asked)
		end_thread(b);
	b->question = *q;
	b->asked = true;
	b->answered = false;
	int rc = pthread_create(&b->thread, NULL, thread, b);
	if (!rc)
		return 0;
	b->asked = false;
	return remus_fail(err, -rc, "cannot start a thread to %s: %s", words[q->what], strerror(rc));
}

/* With the lock held. False: the deadline has passed. */
static bool wait_answer(struct bounded *b)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += b->deadline_ms / 1000;
	end.tv_nsec += b->deadline_ms % 1000 * 1000000L;
	end.tv_sec += end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	while (!b->answered)
		if (pthread_cond_timedwait(&b->changed, &b->lock, &end) == ETIMEDOUT && !b->answered)
			return false;
	return true;
}

/* Is the outstanding question, or its answer that nobody has taken, the answer to @q? */
static bool may_join(const struct bounded *b, const struct question *q)
{
	if (!b->asked || !is_same(&b->question, q))
		return false;
	/* What was true then may not be now, but a decided claim is for ever. */
	return !b->answered || (q->what == CLAIM && b->claim != REMUS_CLAIM_UNKNOWN);
}

static int ask(struct remus_arbiter *arbiter, const struct question *q, enum remus_claim *claim,
	       struct remus_error *err)
{
	struct bounded *b = (struct bounded *)arbiter;
	const char *scheme = b->ops.scheme;
	int rc = 0;

	pthread_mutex_lock(&b->lock);
	if (!may_join(b, q)) {
		if (b->asked && !b->answered)
			rc = remus_fail(err, -EBUSY, "the arbiter (%s) still hangs in an earlier call (%s)",
					scheme, words[b->question.what]);
		else
			rc = begin(b, q, err);
	}
	if (rc == 0 && !wait_answer(b)) {
		rc = remus_fail(err, -ETIMEDOUT, "the arbiter (%s) has not answered for %g s (%s)", scheme,
				b->deadline_ms / 1e3, words[q->what]);
	} else if (rc == 0) {
		rc = b->rc;
		if (claim)
			*claim = b->claim;
		if (rc < 0 && err)
			*err = b->err;
		end_thread(b);
	}
	pthread_mutex_unlock(&b->lock);
	return rc;
}

static int bounded_open(struct remus_arbiter *a, const struct remus_key *key, struct remus_error *err)
{
	return ask(a, &(struct question){.what = OPEN, .key = *key}, NULL, err);
}

static int bounded_check(struct remus_arbiter *a, const struct remus_key *key, struct remus_error *err)
{
	return ask(a, &(struct question){.what = CHECK, .key = *key}, NULL, err);
}

static enum remus_claim bounded_claim(struct remus_arbiter *a, const struct remus_key *key,
				      enum remus_holder holder, struct remus_error *err)
{
	enum remus_claim claim = REMUS_CLAIM_UNKNOWN;
	int rc = ask(a, &(struct question){.what = CLAIM, .key = *key, .holder = holder}, &claim, err);

	return rc < 0 ? REMUS_CLAIM_UNKNOWN : claim;
}

static int bounded_retire(struct remus_arbiter *a, const struct remus_key *key, struct remus_error *err)
{
	return ask(a, &(struct question){.what = RETIRE, .key = *key}, NULL, err);
}

static void bounded_close(struct remus_arbiter *arbiter)
{
	struct bounded *b = (struct bounded *)arbiter;

	pthread_mutex_lock(&b->lock);
	bool busy = b->asked && !b->answered;
	b->closed = busy;
	if (busy)
		pthread_detach(b->thread);
	else if (b->asked)
		end_thread(b);
	pthread_mutex_unlock(&b->lock);
	if (!busy)
		free_all(b);
}

int arbiter_bound(struct remus_arbiter **arbiter, unsigned deadline_ms, struct remus_error *err)
{
	struct bounded *b = calloc(1, sizeof *b);
	pthread_condattr_t clock;

	if (!b) {
		(*arbiter)->ops->close(*arbiter);
		return remus_fail(err, -ENOMEM, "out of memory");
	}
	b->ops = (struct remus_arbiter_ops){
		.scheme = (*arbiter)->ops->scheme,
		.open = bounded_open,
		.check = bounded_check,
		.claim = bounded_claim,
		.retire = bounded_retire,
		.close = bounded_close,
	};
	b->base = (struct remus_arbiter){.ops = &b->ops, .fences = (*arbiter)->fences};
	b->inside = *arbiter;
	b->deadline_ms = deadline_ms;
	pthread_mutex_init(&b->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&b->changed, &clock);
	pthread_condattr_destroy(&clock);
	*arbiter = &b->base;
	return 0;
}
