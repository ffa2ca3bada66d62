/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A crew of threads that does numbered jobs for one caller, who works with them. Design: crew.c. */
#ifndef REMUS_PAGES_CREW_H
#define REMUS_PAGES_CREW_H

#include <stdint.h>
#include "remus/error.h"

#define REMUS_CREW_JOBS	   16u /* that can be posted and not yet awaited */
#define REMUS_CREW_THREADS 15u /* at most: with the caller, one job each */

/* Do @job. @member is 0 for the caller, 1... for the threads: an index of private scratch. */
typedef void remus_crew_work(void *context, unsigned member, uint64_t job);

struct remus_crew;

int remus_crew_create(unsigned threads, remus_crew_work *work, void *context, struct remus_crew **out,
		      struct remus_error *err);
void remus_crew_destroy(struct remus_crew *crew); /* no job may be open */

/* The number that the next job will have: 0, 1, 2 ... */
uint64_t remus_crew_next(const struct remus_crew *crew);

/* Post the next job. What the caller wrote before, the worker sees. */
void remus_crew_post(struct remus_crew *crew);

/* Return when @job is done, doing jobs meanwhile. Jobs are awaited in order. */
void remus_crew_await(struct remus_crew *crew, uint64_t job);

/* Drop the jobs that nobody has begun and wait for the others (each is short). */
void remus_crew_cancel(struct remus_crew *crew);

#endif
