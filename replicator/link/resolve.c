/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Name to addresses, with a deadline. getaddrinfo() has none: a dead DNS server holds it for half a minute. So a
 * name that isn't a number is looked up by a thread of its own; when it is late it is left behind and frees
 * what it holds when the resolver lets it go.
 */
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include "internal.h"

struct lookup {
	pthread_mutex_t lock;
	pthread_cond_t done_cond;
	bool done, abandoned; /* whoever comes second frees */
	int rc, saved_errno;
	struct addrinfo hints, *result;
	char *host, *port;
};

static void forget(struct lookup *l)
{
	if (l->result)
		freeaddrinfo(l->result);
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->done_cond);
	free(l->host);
	free(l->port);
	free(l);
}

static void *run(void *context)
{
	struct lookup *l = context;
	int rc = getaddrinfo(l->host, l->port, &l->hints, &l->result);
	int saved = errno;

	pthread_mutex_lock(&l->lock);
	l->rc = rc;
	l->saved_errno = saved;
	l->done = true;
	bool abandoned = l->abandoned;
	pthread_cond_signal(&l->done_cond);
	pthread_mutex_unlock(&l->lock);
	if (abandoned)
		forget(l);
	return NULL;
}

static struct lookup *begin(const char *host, const char *port, const struct addrinfo *hints)
{
	struct lookup *l = calloc(1, sizeof *l);
	pthread_condattr_t monotonic;

	if (!l)
		return NULL;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&l->done_cond, &monotonic);
	pthread_condattr_destroy(&monotonic);
	l->hints = *hints;
	l->host = strdup(host);
	l->port = strdup(port);
	if (!l->host || !l->port) {
		forget(l);
		return NULL;
	}
	return l;
}

static int start(struct lookup *l)
{
	pthread_attr_t detached;
	sigset_t all, old;
	pthread_t thread;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = pthread_create(&thread, &detached, run, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&detached);
	return rc;
}

static int failed(const char *host, int rc, int saved_errno, struct remus_error *err)
{
	return remus_fail(err, -EHOSTUNREACH, "cannot resolve host name \"%s\": %s; check the name and DNS",
			  host, rc == EAI_SYSTEM ? strerror(saved_errno) : gai_strerror(rc));
}

int link_resolve(const char *host, const char *port, int flags, uint64_t deadline_us, struct addrinfo **out,
		 struct remus_error *err)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

	hints.ai_flags = flags | AI_NUMERICSERV | AI_NUMERICHOST;
	if (!getaddrinfo(host, port, &hints, out))
		return 0;
	hints.ai_flags &= ~AI_NUMERICHOST;

	struct lookup *l = begin(host, port, &hints);
	if (!l)
		return remus_fail(err, -ENOMEM, "resolving \"%s\": no memory", host);
	int rc = start(l);
	if (rc) {
		forget(l);
		return remus_fail(err, -rc, "resolving \"%s\": cannot start a thread: %s", host,
				  strerror(rc));
	}
	struct timespec until = {(time_t)(deadline_us / 1000000u), (long)(deadline_us % 1000000u) * 1000};
	pthread_mutex_lock(&l->lock);
	for (rc = 0; !l->done && rc != ETIMEDOUT;)
		rc = pthread_cond_timedwait(&l->done_cond, &l->lock, &until);
	bool done = l->done;
	l->abandoned = !done;
	pthread_mutex_unlock(&l->lock);
	if (!done)
		return remus_fail(
			err, -ETIMEDOUT,
			"resolving host name \"%s\" takes too long: a DNS server doesn't answer; use an "
			"address, or put the name into /etc/hosts",
			host);
	if (l->rc) {
		rc = failed(host, l->rc, l->saved_errno, err);
	} else {
		*out = l->result;
		l->result = NULL;
		rc = 0;
	}
	forget(l);
	return rc;
}
