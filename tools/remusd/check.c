/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child that checks whether a guest could be protected, and tells the daemon each finding. For a guest whose
 * network is forwarded the relay does it, since a QEMU talks to one at a time. It looks at the guest in its own
 * thread, seconds at most, while frames pass by the buffers' threads; arbiter and backup are asked in a thread of
 * the check's own, which may hang in an arbiter's dead file system: the relay has a guest to attend to (I8).
 */
#include "remusd.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "remus/util.h"

/* Texts of this host hold what file names hold: where that isn't UTF-8 it is no JSON either. */
static json_t *text(const char *from)
{
	json_t *string = json_string(from);
	char copy[REMUS_FINDING_WHAT_MAX];

	if (string)
		return string;
	snprintf(copy, sizeof copy, "%s", from);
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return json_string(copy);
}

/* One check. All that it needs is here, and nobody else's: its thread may outlive whatever asked for it. */
struct job {
	int fd; /* to the daemon */
	int id;
	bool *busy; /* of the child: that is done with, last of all */
	json_t *request;
	char name[128], locator[256], run_dir[PATH_MAX];
	const char *egress[REMUS_NICS_MAX];
	char standby_egress[WANTED_EGRESS_MAX];
	char *host, *port;
	struct remus_check_config config;
	struct remus_domain_view view;
	struct remus_check_result result;
};

static void tell(const struct job *job, const char *host, const struct remus_report *report)
{
	for (uint32_t i = 0; i < report->count; i++) {
		const struct remus_finding *f = &report->list[i];
		json_t *finding = json_pack("{s:s, s:s, s:o, s:o, s:o}", "host", host, "severity",
					    remus_severity_name(f->severity), "subject", text(f->subject),
					    "what", text(f->what), "remedy", text(f->remedy));
		message_send(job->fd, json_pack("{s:s, s:i, s:o}", "t", "finding", "check", job->id,
						"finding", finding));
	}
	if (report->lost)
		message_send(job->fd,
			     json_pack("{s:s, s:i, s:{s:s, s:s, s:s, s:s, s:s}}", "t", "finding", "check",
				       job->id, "finding", "host", host, "severity", "warning", "subject",
				       "check", "what", "there were more findings than can be shown",
				       "remedy", "mend what is shown, then check again"));
}

static void tell_step(void *context, const char *what)
{
	const struct job *job = context;

	message_send(job->fd, json_pack("{s:s, s:i, s:s}", "t", "checking", "check", job->id, "step", what));
}

static void free_job(struct job *job)
{
	json_decref(job->request);
	free(job->view.description);
	free(job->host);
	free(job->port);
	free(job);
}

static struct job *new_job(struct child *child, const struct remus_guest *held, struct remus_error *err)
{
	struct job *job = calloc(1, sizeof *job);

	if (!job) {
		remus_fail(err, -ENOMEM, "no memory for a check");
		return NULL;
	}
	struct remus_check_config *c = &job->config;
	job->fd = child->fd;
	job->id = (int)child->check.id;
	job->busy = &child->check.busy;
	job->request = child->check.request;
	child->check.request = NULL;
	snprintf(job->name, sizeof job->name, "%s", wanted_text(job->request, "name", child->session->name));
	snprintf(job->locator, sizeof job->locator, "%s", child->session->locator);
	snprintf(job->run_dir, sizeof job->run_dir, "%s", child->dir);
	wanted_standby_egress(job->request, job->standby_egress);
	c->name = job->name;
	c->domain.run_dir = job->run_dir;
	c->key.generation = 1;
	memcpy(c->key.session, child->check.key, sizeof c->key.session);
	c->arbiter_uri = wanted_text(job->request, "arbiter", "");
	c->egress = job->egress;
	c->egresses = wanted_egress(job->request, job->egress);
	c->standby_egress = job->standby_egress;
	c->hold_bytes = wanted_number(job->request, "hold_mib", 0) << 20;
	c->step = tell_step;
	c->context = job;
	if (held)
		c->held = (struct remus_held){.domain = held->domain, .standby = held->standby};
	int rc = wanted_backend(job->locator, &c->ops, &c->locator, err);
	if (rc == 0)
		rc = remus_track_method_parse(wanted_text(job->request, "tracking", "auto"),
					      &c->domain.tracking, err);
	if (rc == 0)
		rc = remus_link_parse_address(wanted_text(job->request, "to", ""), &job->host, &job->port,
					      err);
	c->host = job->host;
	c->port = job->port;
	if (rc == 0)
		return job;
	free_job(job);
	return NULL;
}

static void tell_all(const struct job *job)
{
	const struct remus_check_result *r = &job->result;
	json_t *clock = r->clock_known ? json_pack("{s:I, s:I}", "offset_us", (json_int_t)r->clock_offset_us,
						   "error_us", (json_int_t)r->clock_error_us)
				       : json_null();

	tell(job, "primary", &r->here);
	if (r->answered)
		tell(job, "backup", &r->there);
	message_send(job->fd, json_pack("{s:s, s:i, s:o}", "t", "checked", "check", job->id, "clock", clock));
}

static void *finish(void *context)
{
	struct job *job = context;
	bool *busy = job->busy;

	remus_check_there(&job->config, &job->view, &job->result);
	__atomic_store_n(busy, false, __ATOMIC_RELEASE); /* before the daemon may ask for the next one */
	tell_all(job);
	free_job(job);
	return NULL;
}

/* What kept a check from being made, as its only finding. */
static void could_not(struct child *child, const struct remus_error *err)
{
	struct job *job = calloc(1, sizeof *job);

	if (!job)
		return; /* whoever asked is told at the deadline */
	job->fd = child->fd;
	job->id = (int)child->check.id;
	remus_report_error(&job->result.here, "check", "see remusd's log", err);
	tell_all(job);
	free_job(job);
}

/* Begin the second half beside the relay. */
static int start_thread(struct job *job, struct remus_error *err)
{
	sigset_t all, before;
	pthread_t thread;

	sigfillset(&all); /* signals are the process's business, not this thread's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&thread, NULL, finish, job);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return remus_fail(err, -rc, "a check's thread: %s", strerror(rc));
	pthread_detach(thread);
	return 0;
}

void check_for_child(struct child *child, const struct remus_guest *held)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct job *job = NULL;

	if (__atomic_load_n(&child->check.busy, __ATOMIC_ACQUIRE))
		remus_fail(&err, -EBUSY, "an earlier check of this guest still hangs in the arbiter");
	else
		job = new_job(child, held, &err);
	json_decref(child->check.request);
	child->check.request = NULL;
	if (job) {
		remus_check_here(&job->config, &job->view, &job->result);
		child->check.busy = true;
		if (!held)
			finish(job);
		else if (start_thread(job, &err) < 0) {
			child->check.busy = false;
			free_job(job);
			job = NULL;
		}
	}
	if (!job && err.code)
		could_not(child, &err);
}

int check_main(struct child *child)
{
	check_for_child(child, NULL);
	return EXIT_SUCCESS;
}
