/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child that protects a guest, takes up after a killed engine, or just forwards a guest's network. Whatever
 * happens to protection, as long as the guest is on this host its network is forwarded (I8): every path that
 * has the guest open ends in the relay.
 */
#include "remusd.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "remus/log.h"
#include "remus/tls.h"
#include "remus/util.h"

#define REOPEN_MS      100 /* between two tries to open the guest of an engine that died */
#define REOPEN_SLOW_MS 1000
#define REOPEN_QUICK   50 /* tries before it goes slowly */

struct setup {
	struct remus_guest guest;
	struct remus_arbiter *arbiter;
	const char *egress[REMUS_NICS_MAX];
	int egresses;
	char standby_egress[WANTED_EGRESS_MAX];
	char *host, *port;
	struct remus_tls *tls;
	struct remus_protect_config config;
};

/* -ENOENT and -ESRCH tell a client that there is no such domain (docs/control.md). When it is something else that is
 * missing, an interface or the arbiter's directory, they must not. */
static int not_the_domain(int rc, struct remus_error *err)
{
	if (rc == -ENOENT || rc == -ESRCH)
		rc = -EIO;
	if (rc < 0)
		err->code = rc;
	return rc;
}

/* Attach to the guest and open the buffers of its interfaces. */
static int open_guest(struct child *child, struct setup *s, struct remus_error *err)
{
	const struct session *session = child->session;
	struct remus_nic nic[REMUS_NICS_MAX];
	struct remus_domain_config config = {.run_dir = child->dir};
	const struct remus_domain_ops *ops;
	const char *place;

	int rc = wanted_backend(session->locator, &ops, &place, err);
	if (rc == 0)
		rc = remus_track_method_parse(wanted_text(session->request, "tracking", "auto"),
					      &config.tracking, err);
	if (rc == 0)
		rc = ops->open(place, &config, &s->guest.domain, err);
	if (rc < 0)
		return rc;
	int nics = ops->nics(s->guest.domain, nic, REMUS_NICS_MAX, err);
	if (nics < 0)
		return nics;
	child_sockets(child, nic, nics);
	s->egresses = wanted_egress(session->request, s->egress);
	rc = remus_guest_open_nics(&s->guest, nic, nics, s->egress, s->egresses,
				   wanted_number(session->request, "hold_mib", 0) << 20, err);
	return not_the_domain(rc, err);
}

static int fill_config(struct child *child, struct setup *s, bool recover, struct remus_error *err)
{
	const struct session *session = child->session;
	const json_t *r = session->request;
	struct remus_protect_config *c = &s->config;
	static char trace[PATH_MAX + 160];

	c->arbiter_uri = wanted_text(r, "arbiter", "");
	int rc = remus_arbiter_create(c->arbiter_uri, &s->arbiter, err);
	if (rc == 0 && !recover)
		rc = remus_link_parse_address(wanted_text(r, "to", ""), &s->host, &s->port, err);
	if (rc == 0 && !recover)
		rc = wanted_tls(child->options, r, &s->tls, &c->link.tls_peer, err);
	c->link.tls = s->tls;
	if (rc < 0)
		return rc;
	wanted_standby_egress(r, s->standby_egress);
	c->name = session->name;
	c->host = s->host;
	c->port = s->port;
	c->key = session->key;
	c->arbiter = s->arbiter;
	c->standby_egress = s->standby_egress;
	c->machine.interval_us = wanted_number(r, "interval_ms", 25) * 1000;
	c->machine.on_backup_loss =
		!strcmp(wanted_text(r, "on_backup_loss", "solo"), "hold") ? REMUS_LOSS_HOLD : REMUS_LOSS_SOLO;
	c->clock_policy =
		!strcmp(wanted_text(r, "clock", "step"), "slew") ? REMUS_CLOCK_SLEW : REMUS_CLOCK_STEP;
	c->machine.max_interval_us = wanted_number(r, "max_interval_ms", 0) * 1000;
	c->machine.on_overload = wanted_overload(r);
	c->staging_bytes = child->options->staging_bytes;
	c->link.heartbeat_ms = (uint32_t)wanted_number(r, "heartbeat_ms", REMUS_DEFAULT_HEARTBEAT_MS);
	c->link.dead_ms = (uint32_t)wanted_number(r, "dead_ms", REMUS_DEFAULT_DEAD_MS);
	c->renew_wait_ms = (uint32_t)wanted_number(r, "renew_wait_ms", REMUS_DEFAULT_RENEW_WAIT_MS);
	c->cache_bytes = wanted_number(r, "cache_mib", 128) << 20;
	c->threads = sysconf(_SC_NPROCESSORS_ONLN) > 1; /* on one processor it would only be in the way */
	c->recover = recover;
	if (child->options->trace_dir) {
		snprintf(trace, sizeof trace, "%s/%s.primary.trace", child->options->trace_dir,
			 session->name);
		c->trace_path = trace;
	}
	return 0;
}

/* Forward until the guest ends or the daemon wants us gone. */
static int relay(struct child *child, struct setup *s, struct remus_outcome *outcome)
{
	struct remus_supervisor supervisor;
	struct remus_error err = REMUS_ERROR_INIT;

	child_supervisor(child, &supervisor);
	int rc;
	do {
		if (child->check.request)
			check_for_child(child, &s->guest);
		rc = child->quit ? 1 : remus_relay_run(&s->guest, &supervisor, outcome, &err);
	} while (rc == 2);
	if (rc < 0) {
		child_failed(child, &err);
		return EXIT_FAILURE;
	}
	return rc == 1 ? EXIT_GUEST_STAYS : EXIT_SUCCESS;
}

static void tear_down(struct setup *s)
{
	remus_guest_close(&s->guest);
	if (s->arbiter)
		s->arbiter->ops->close(s->arbiter);
	free(s->host);
	free(s->port);
	remus_tls_free(s->tls);
}

/* The guest of an engine that died may stand still. */
static int wake(struct setup *s, struct remus_error *err)
{
	return s->guest.domain->ops->resume(s->guest.domain, err);
}

static int protect(struct child *child, struct setup *s, bool recover, struct remus_outcome *outcome,
		   struct remus_error *err)
{
	struct remus_supervisor supervisor;
	int rc;

	child_supervisor(child, &supervisor);
	if (recover) {
		/* Closed until the arbiter has spoken: from CLOSED straight to holding (I6). */
		rc = remus_guest_hold(&s->guest, err);
		if (rc == 0)
			rc = wake(s, err);
	} else {
		/* First the guest's network: an arbiter may take its time. */
		rc = remus_guest_pass(&s->guest, err);
		if (rc == 0) {
			rc = s->arbiter->ops->open(s->arbiter, &s->config.key, err);
			if (rc < 0)
				remus_error_prefix(err, "arbiter %s", s->config.arbiter_uri);
		}
	}
	if (rc < 0)
		return rc;
	return remus_primary_run(&s->guest, &s->config, &supervisor, outcome, err);
}

static bool guest_is_gone(int rc)
{
	return rc == -ENOENT || rc == -ESRCH || rc == -ECONNREFUSED;
}

/* The guest of an engine that died may stand still (I8): try as long as it exists. False: told to go. */
static bool open_again(struct child *child, struct setup *s, int *rc, struct remus_error *err)
{
	struct remus_supervisor supervisor;

	child_supervisor(child, &supervisor);
	for (unsigned tries = 0;; tries++) {
		*rc = open_guest(child, s, err);
		if (*rc == 0 || guest_is_gone(*rc))
			return true;
		if (tries == 0)
			child_failed(child, err);
		tear_down(s);
		*s = (struct setup){0};
		struct pollfd pfd = {.fd = child->fd, .events = POLLIN};
		poll(&pfd, 1, tries < REOPEN_QUICK ? REOPEN_MS : REOPEN_SLOW_MS);
		if (supervisor.next_command(supervisor.context) == REMUS_COMMAND_QUIT)
			return false;
	}
}

/* Nobody else can run it: make it run here and forward. */
static int take_back(struct child *child, struct setup *s, struct remus_outcome *outcome,
		     struct remus_error *err)
{
	snprintf(outcome->word, sizeof outcome->word, "failed");
	snprintf(outcome->reason, sizeof outcome->reason,
		 "remusd or its engine was killed; protection has ended");
	int rc = wake(s, err);
	if (rc == 0)
		rc = remus_guest_pass(&s->guest, err);
	if (rc == 0 && fill_config(child, s, true, NULL) == 0)
		s->arbiter->ops->retire(s->arbiter, &s->config.key, NULL);
	return rc;
}

/* After a crash or a reboot of this host: nothing is started here, whoever has the guest. Asked, not claimed: a claim
 * would keep the backup from taking over. */
static void tell_who_has_it(struct child *child, struct setup *s)
{
	struct remus_error why = REMUS_ERROR_INIT;
	struct remus_supervisor supervisor;
	char text[1024];
	int rc = 0;

	child_supervisor(child, &supervisor);
	if (child->session->armed) {
		rc = fill_config(child, s, true, &why);
		if (rc == 0)
			rc = s->arbiter->ops->check(s->arbiter, &s->config.key, &why);
	}
	snprintf(text, sizeof text,
		 "the guest that was protected here is gone, and nothing is started in its place: %s%.700s",
		 !child->session->armed ? "the backup had nothing of it yet"
		 : rc == 0	   ? "its backup may take it over, but has not claimed it yet; look there"
		 : rc == -EALREADY ? "it belongs to the host that won the claim; "
				   : "who has it can't be told; look at its backup; ",
		 rc < 0 ? why.message : "");
	supervisor.event(supervisor.context, REMUS_LEVEL_WARNING, "discarded", text);
}

static int take_up(struct child *child, struct setup *s, struct remus_outcome *outcome,
		   struct remus_error *err)
{
	int rc;

	if (!open_again(child, s, &rc, err))
		return EXIT_GUEST_STAYS;
	if (rc < 0) {
		outcome->guest_here = false;
		snprintf(outcome->word, sizeof outcome->word, "discarded");
		snprintf(outcome->reason, sizeof outcome->reason, "the engine and the guest died: %.400s",
			 err->message);
		tell_who_has_it(child, s);
		return 0;
	}
	if (!child->session->armed)
		return take_back(child, s, outcome, err);
	rc = fill_config(child, s, true, err);
	return rc < 0 ? rc : protect(child, s, true, outcome, err);
}

int engine_main(struct child *child, bool recover)
{
	struct setup s = {0};
	struct remus_outcome outcome = {.guest_here = true};
	struct remus_error err = REMUS_ERROR_INIT;
	int rc;

	if (recover) {
		rc = take_up(child, &s, &outcome, &err);
	} else {
		rc = open_guest(child, &s, &err);
		if (rc < 0) {
			child_failed(child, &err);
			tear_down(&s);
			return EXIT_FAILURE;
		}
		rc = fill_config(child, &s, false, &err);
		if (rc == 0)
			rc = protect(child, &s, false, &outcome, &err);
	}
	if (rc < 0) {
		rc = not_the_domain(rc, &err);
		child_failed(child, &err);
		snprintf(outcome.reason, sizeof outcome.reason, "%.*s", (int)sizeof outcome.reason - 1,
			 err.message);
		snprintf(outcome.word, sizeof outcome.word, "failed");
		outcome.code = rc;
	}
	if (rc == EXIT_GUEST_STAYS || (rc < 0 && recover && child->session->armed)) {
		tear_down(&s); /* undecided: the network stays closed (I6), the daemon tries again */
		return rc < 0 ? EXIT_FAILURE : rc;
	}
	outcome.code = not_the_domain(outcome.code, &err); /* another host's -ENOENT, say */
	if (outcome.guest_here && !strcmp(outcome.word, "ended") && outcome.code &&
	    outcome.code != -ECANCELED)
		snprintf(outcome.word, sizeof outcome.word, "failed"); /* nobody wanted it to end */
	child_outcome(child, &outcome);
	if (outcome.claim_hangs)
		s.arbiter = NULL; /* the process ends with it */
	rc = outcome.guest_here ? relay(child, &s, &outcome) : EXIT_SUCCESS;
	tear_down(&s);
	return rc;
}

int relay_main(struct child *child)
{
	struct setup s = {0};
	struct remus_outcome outcome = {.guest_here = true};
	struct remus_error err = REMUS_ERROR_INIT;
	int rc = open_guest(child, &s, &err);

	/* What became of the session before stays to be seen, or a guest that went on alone would look as if
	 * nobody had wanted it protected. */
	snprintf(outcome.word, sizeof outcome.word, "%s", wanted_text(child->session->status, "state", ""));
	snprintf(outcome.reason, sizeof outcome.reason, "%s",
		 wanted_text(child->session->status, "reason", ""));

	if (rc < 0) {
		child_failed(child, &err);
		rc = EXIT_FAILURE;
	} else {
		rc = relay(child, &s, &outcome);
	}
	tear_down(&s);
	return rc;
}
