/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A crew of threads for the encoder. Jobs are numbers, begun in order; the work function knows what a number
 * means. The caller is a member too: while it awaits a job it does others, so a crew of no threads is simply
 * the caller, and on a host with one idle core nothing is slower than without threads.
 *
 * One mutex, taken twice per job. A job is some 20 µs of work, so the lock is not on the hot path; nobody
 * spins, threads without work sleep.
 *
 *   awaited   <=   begun   <=   posted   <=   awaited + REMUS_CREW_JOBS
 */
#include "crew.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct member {
	struct remus_crew *crew;
	unsigned number;
	pthread_t thread;
};

struct remus_crew {
	remus_crew_work *work;
	void *context;

	pthread_mutex_t lock;
	pthread_cond_t posted_one; /* to the threads */
	pthread_cond_t done_one;   /* to the caller */
	uint64_t posted, begun;
	bool done[REMUS_CREW_JOBS]; /* job % REMUS_CREW_JOBS */
	unsigned busy;		    /* threads inside work() */
	unsigned idle;		    /* threads asleep */
	bool caller_waits, quit;

	unsigned threads;
	struct member member[REMUS_CREW_THREADS];
};

/* Under the lock, which is let go during the work. */
static void do_next_job(struct remus_crew *crew, unsigned member)
{
	uint64_t job = crew->begun++;
	pthread_mutex_unlock(&crew->lock);
	crew->work(crew->context, member, job);
	pthread_mutex_lock(&crew->lock);
	crew->done[job % REMUS_CREW_JOBS] = true;
}

static void *thread_main(void *arg)
{
	struct member *self = arg;
	struct remus_crew *crew = self->crew;

	pthread_mutex_lock(&crew->lock);
	while (!crew->quit) {
		if (crew->begun == crew->posted) {
			crew->idle++;
			pthread_cond_wait(&crew->posted_one, &crew->lock);
			crew->idle--;
			continue;
		}
		crew->busy++;
		do_next_job(crew, self->number);
		crew->busy--;
		if (crew->caller_waits)
			pthread_cond_signal(&crew->done_one);
	}
	pthread_mutex_unlock(&crew->lock);
	return NULL;
}

int remus_crew_create(unsigned threads, remus_crew_work *work, void *context, struct remus_crew **out,
		      struct remus_error *err)
{
	if (threads > REMUS_CREW_THREADS)
		return remus_fail(err, -EINVAL, "page encoder: %u threads asked for, at most %u", threads,
				  REMUS_CREW_THREADS);
	struct remus_crew *crew = calloc(1, sizeof *crew);
	if (!crew)
		return remus_fail(err, -ENOMEM, "page encoder: out of memory");
	crew->work = work;
	crew->context = context;
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->posted_one, NULL);
	pthread_cond_init(&crew->done_one, NULL);

	/* The process's signals belong to its other threads. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = 0;
	while (crew->threads < threads && !rc) {
		struct member *m = &crew->member[crew->threads];
		m->crew = crew;
		m->number = crew->threads + 1;
		rc = pthread_create(&m->thread, NULL, thread_main, m);
		if (!rc)
			crew->threads++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc) {
		unsigned failed = crew->threads + 1;
		remus_crew_destroy(crew);
		return remus_fail(err, -rc,
				  "page encoder: thread %u of %u cannot be started: %s; raise the limit on "
				  "processes or ask for fewer threads",
				  failed, threads, strerror(rc));
	}
	*out = crew;
	return 0;
}

void remus_crew_destroy(struct remus_crew *crew)
{
	if (!crew)
		return;
	pthread_mutex_lock(&crew->lock);
	crew->quit = true;
	pthread_cond_broadcast(&crew->posted_one);
	pthread_mutex_unlock(&crew->lock);
	for (unsigned i = 0; i < crew->threads; i++)
		pthread_join(crew->member[i].thread, NULL);
	pthread_cond_destroy(&crew->done_one);
	pthread_cond_destroy(&crew->posted_one);
	pthread_mutex_destroy(&crew->lock);
	free(crew);
}

uint64_t remus_crew_next(const struct remus_crew *crew)
{
	return crew->posted; /* only the caller changes it */
}

void remus_crew_post(struct remus_crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	crew->done[crew->posted++ % REMUS_CREW_JOBS] = false;
	if (crew->idle)
		pthread_cond_signal(&crew->posted_one);
	pthread_mutex_unlock(&crew->lock);
}

void remus_crew_await(struct remus_crew *crew, uint64_t job)
{
	pthread_mutex_lock(&crew->lock);
	assert(job < crew->posted && crew->posted - job <= REMUS_CREW_JOBS);
	while (!crew->done[job % REMUS_CREW_JOBS]) {
		if (crew->begun < crew->posted) {
			do_next_job(crew, 0);
			continue;
		}
		crew->caller_waits = true;
		pthread_cond_wait(&crew->done_one, &crew->lock);
		crew->caller_waits = false;
	}
	pthread_mutex_unlock(&crew->lock);
}

void remus_crew_cancel(struct remus_crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	crew->begun = crew->posted;
	while (crew->busy) {
		crew->caller_waits = true;
		pthread_cond_wait(&crew->done_one, &crew->lock);
		crew->caller_waits = false;
	}
	pthread_mutex_unlock(&crew->lock);
}
