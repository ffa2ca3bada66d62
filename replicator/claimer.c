/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Claims in a worker thread. The medium of an arbiter (a network file system, a cluster) may hang for minutes;
 * the shell must go on serving its guest, so a question that isn't answered by its deadline counts as UNKNOWN.
 * That is safe because asking again is: the arbiter gives the winner the same answer for ever.
 */
#include "shell.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "remus/fault.h"
#include "remus/util.h"

struct shell_claimer {
	struct remus_arbiter *arbiter;
	struct remus_key key;
	enum remus_holder holder;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	int fd;
	bool quit, asked, busy, answered;
	bool abandoned; /* its owner has gone: the worker frees it */
	enum remus_claim claim;
	struct remus_error err;
	uint64_t deadline_us; /* owner's side only */
};

static void free_claimer(struct shell_claimer *c)
{
	close(c->fd);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->wake);
	free(c);
}

/* The question, and where it may fail: before it is asked, and with only its answer lost. */
static enum remus_claim ask(struct shell_claimer *c, struct remus_error *err)
{
	bool primary = c->holder == REMUS_HOLDER_PRIMARY;

	if ((primary ? REMUS_FAULT(primary_claim, err) : REMUS_FAULT(backup_claim, err)) < 0)
		return REMUS_CLAIM_UNKNOWN;
	enum remus_claim claim = c->arbiter->ops->claim(c->arbiter, &c->key, c->holder, err);
	if ((primary ? REMUS_FAULT(primary_claimed, err) : REMUS_FAULT(backup_claimed, err)) < 0)
		return REMUS_CLAIM_UNKNOWN;
	return claim;
}

static void *worker(void *context)
{
	struct shell_claimer *c = context;

	pthread_mutex_lock(&c->lock);
	while (!c->quit) {
		if (!c->asked) {
			pthread_cond_wait(&c->wake, &c->lock);
			continue;
		}
		c->asked = false;
		c->busy = true;
		pthread_mutex_unlock(&c->lock);

		struct remus_error err = REMUS_ERROR_INIT;
		enum remus_claim claim = ask(c, &err);

		pthread_mutex_lock(&c->lock);
		c->busy = false;
		c->answered = true;
		c->claim = claim;
		c->err = err;
		eventfd_write(c->fd, 1);
	}
	bool mine = c->abandoned;
	pthread_mutex_unlock(&c->lock);
	if (mine)
		free_claimer(c);
	return NULL;
}

int shell_claimer_create(struct remus_arbiter *arbiter, const struct remus_key *key, enum remus_holder holder,
			 struct shell_claimer **out, struct remus_error *err)
{
	struct shell_claimer *c = calloc(1, sizeof *c);

	if (!c)
		return remus_fail(err, -ENOMEM, "arbiter: no memory for the claim worker");
	c->arbiter = arbiter;
	c->key = *key;
	c->holder = holder;
	c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->fd < 0) {
		free(c);
		return remus_fail_errno(err, "arbiter: eventfd");
	}
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->wake, NULL);
	int rc = pthread_create(&c->thread, NULL, worker, c);
	if (rc) {
		close(c->fd);
		free(c);
		return remus_fail(err, -rc, "arbiter: cannot start the claim worker");
	}
	*out = c;
	return 0;
}

int shell_claimer_fd(const struct shell_claimer *c)
{
	return c->fd;
}

void shell_claimer_ask(struct shell_claimer *c, uint64_t now_us)
{
	pthread_mutex_lock(&c->lock);
	if (!c->busy) {
		c->answered = false;
		c->asked = true;
		pthread_cond_signal(&c->wake);
	}
	pthread_mutex_unlock(&c->lock);
	c->deadline_us = now_us + CLAIM_DEADLINE_US;
}

bool shell_claimer_answer(struct shell_claimer *c, uint64_t now_us, enum remus_claim *claim,
			  struct remus_error *err)
{
	eventfd_t ignored;
	bool have = false;

	if (!c->deadline_us)
		return false;
	eventfd_read(c->fd, &ignored);
	pthread_mutex_lock(&c->lock);
	if (c->answered) {
		c->answered = false;
		*claim = c->claim;
		if (c->claim == REMUS_CLAIM_UNKNOWN && err)
			*err = c->err;
		have = true;
	}
	pthread_mutex_unlock(&c->lock);
	if (!have && now_us >= c->deadline_us) {
		*claim = REMUS_CLAIM_UNKNOWN;
		remus_fail(err, -ETIMEDOUT, "the arbiter (%s) has not answered for %u s",
			   c->arbiter->ops->scheme, CLAIM_DEADLINE_US / 1000000);
		have = true;
	}
	if (have)
		c->deadline_us = 0;
	return have;
}

uint64_t shell_claimer_deadline(const struct shell_claimer *c)
{
	return c->deadline_us;
}

bool shell_claimer_destroy(struct shell_claimer *c)
{
	if (!c)
		return true;
	pthread_mutex_lock(&c->lock);
	c->quit = true;
	c->abandoned = c->busy; /* it hangs in the arbiter: not waited for */
	if (c->abandoned)
		pthread_detach(c->thread);
	bool gone = c->abandoned;
	pthread_t thread = c->thread;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	if (gone)
		return false;
	pthread_join(thread, NULL);
	free_claimer(c);
	return true;
}
