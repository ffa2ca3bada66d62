/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is done when a child ends, by itself or by a signal:
 *
 *   engine, armed         a new engine claims before it opens anything (I6), the guest runs meanwhile (I8)
 *   engine, not armed     the guest is made to run and its network is forwarded
 *   receiver, standing by the standby is killed: it must never run by itself
 *   receiver, active      the guest runs on; its network is forwarded again
 *   relay                 started again
 *   check                 whoever asked is told
 */
#include "remusd.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "remus/log.h"
#include "remus/util.h"

#define SWEEP_AFTER_US 3000000u /* Xen has removed a dead guest's interfaces by then */
#define RESTARTS_MAX   5	/* of a relay or recovery that keeps dying within a minute */

bool session_wait(struct session *s)
{
	for (int waited = 0; waited < 1000; waited += 5) {
		if (s->adopted ? kill(s->pid, 0) < 0 && errno == ESRCH
			       : waitpid(s->pid, NULL, WNOHANG) == s->pid) {
			s->adopted = s->reaping = false;
			close(s->fd);
			s->fd = -1;
			s->pid = 0;
			return true;
		}
		poll(NULL, 0, 5);
	}
	return false;
}

static bool too_often(struct session *s)
{
	if (remus_now_us() - s->since_us > 60000000)
		s->restarts = 0;
	return ++s->restarts > RESTARTS_MAX;
}

static void over(struct daemon *d, struct session *s)
{
	s->pid = 0;
	s->armed = false;
	record_remove(&d->options, s);
	if (!strncmp(s->locator, "xen:", 4))
		d->sweep_us = remus_now_us() + SWEEP_AFTER_US;
	bool lives_there = s->detached && (s->role != ROLE_RECEIVER || s->active);
	if (!lives_there || !record_dir_in_use(s->dir, s->locator))
		remove_tree(s->dir);
	remove_sockets(s->sockets);
	json_object_set_new(s->status, "protected", json_false());
	control_session_over(d, s);
	if (s->role == ROLE_RELAY)
		json_object_set_new(s->status, "state", json_string("ended"));
	if (s->role == ROLE_RECEIVER && !s->keyed)
		session_drop(d, s); /* a stranger on the port: nothing to show */
}

/* The daemon stops, the guest doesn't: what the next daemon needs to forward its network again stays. */
static void leave_behind(struct daemon *d, struct session *s)
{
	s->pid = 0;
	if (!s->active && !s->armed) /* armed: the claim is still to be made (I6) */
		s->role = ROLE_RELAY;
	if (!record_dir_in_use(s->dir, s->locator))
		remove_tree(s->dir);
	record_write(&d->options, s);
}

static void restart(struct daemon *d, struct session *s, bool recover)
{
	struct remus_error err = REMUS_ERROR_INIT;
	int rc;

	if (d->stopping || too_often(s)) {
		session_event(s, "error", "failed",
			      "given up: the guest's network is not forwarded any more");
		over(d, s);
		return;
	}
	rc = recover ? spawn_engine(d, s, true, &err) : spawn_relay(d, s, &err);
	if (rc < 0) {
		session_event(s, "error", "failed", err.message);
		over(d, s);
	}
}

static void engine_died(struct daemon *d, struct session *s)
{
	char text[256];

	snprintf(text, sizeof text, "the engine died; %s",
		 s->armed ? "asking the arbiter who runs the guest"
			  : "nothing was committed: the guest goes on here");
	session_event(s, "error", "engine-died", text);
	json_object_set_new(s->status, "protected", json_false());
	json_object_set_new(s->status, "state", json_string(s->armed ? "claiming" : "relay"));
	restart(d, s, true);
}

static void receiver_died(struct daemon *d, struct session *s)
{
	if (s->active) {
		session_event(s, "error", "failed",
			      "the receiver died; the guest runs on, its network is taken up again");
		restart(d, s, false);
		return;
	}
	session_event(s, s->detached ? "warning" : "error", "standby-dropped",
		      s->detached ? "the operator dropped the standby that waited for its arbiter"
				  : "the receiver died: its standby is killed and never runs");
	json_object_set_new(s->status, "state", json_string("dropped"));
	if (s->guest_started) /* not of ours: its pid may be another's by now */
		process_end(s->guest_pid, s->guest_started, SIGKILL, 0);
	else if (s->guest_pid > 0)
		kill(s->guest_pid,
		     SIGKILL); /* our own grandchild, reaped by us alone: the pid can't be another's */
	spawn_sweep(d, s->dir);
	over(d, s);
}

/* What an operator asked for came to nothing before it began. Of a guest seen for the first time nothing is kept:
 * a mistyped socket would be an unprotected domain for ever. */
static void never_began(struct daemon *d, struct session *s)
{
	json_object_set_new(s->status, "state", json_string("failed"));
	over(d, s);
	if (s->key.generation <= 1)
		session_drop(d, s);
}

void session_reap(struct daemon *d, pid_t pid, int wait_status)
{
	struct session *s = d->sessions;

	while (s && s->pid != pid)
		s = s->next;
	if (!s)
		return; /* a hypervisor whose receiver is gone */
	session_readable(d, s);
	close(s->fd);
	s->fd = -1;
	check_over(d, s);
	bool clean = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
	if (WIFSIGNALED(wait_status))
		remus_warn("%s child of %s (pid %d) was killed by signal %d", role_name(s->role), s->name,
			   (int)pid, WTERMSIG(wait_status));
	bool stays = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EXIT_GUEST_STAYS;
	if (s->role == ROLE_CHECK) {
		over(d, s);
		session_drop(d, s);
	} else if (stays && d->stopping && !s->detached) {
		leave_behind(d, s);
	} else if (clean || stays || d->stopping) {
		over(d, s);
	} else if (s->role == ROLE_RECEIVER) {
		if (s->admitted)
			receiver_died(d, s);
		else
			over(d, s);
	} else if (s->role == ROLE_RELAY || s->outcome) {
		restart(d, s, false);
	} else if (WIFSIGNALED(wait_status)) {
		engine_died(d, s);
	} else if (s->armed) {
		restart(d, s, true);
	} else if (s->was_relay) {
		restart(d, s, false);
	} else {
		never_began(d, s);
	}
}

void session_adopted_ended(struct daemon *d, struct session *s)
{
	int status = s->last_word >= 0 ? s->last_word << 8 : SIGKILL;

	s->adopted = false;
	session_reap(d, s->pid, status);
}

/* A receiver that waits for its arbiter may hold the last copy of its guest: it goes on by itself (orphan.c). */
static void let_undecided_be(struct daemon *d, struct session *s)
{
	remus_warn("%s: its process (pid %d) waits for the arbiter, and goes on without remusd", s->name,
		   (int)s->pid);
	record_write(&d->options, s);
	close(s->fd);
	s->fd = -1;
	s->pid = 0;
}

void sessions_stop(struct daemon *d, int deadline_ms)
{
	uint64_t end = remus_now_us() + (uint64_t)deadline_ms * 1000;
	bool left;

	d->stopping = true;
	for (struct session *s = d->sessions; s; s = s->next) {
		if (s->pid)
			session_readable(d, s);
		if (s->pid && s->role == ROLE_RECEIVER && receiver_undecided(s->status))
			let_undecided_be(d, s);
		else
			session_command(s, "quit");
	}
	do {
		int status;
		pid_t pid;
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			session_reap(d, pid, status);
		left = false;
		for (struct session *s = d->sessions; s; s = s->next) {
			left |= s->pid != 0;
			if (s->pid)
				session_readable(d, s);
		}
		if (left)
			poll(NULL, 0, 10);
	} while (left && remus_now_us() < end);
	while (left) {
		struct session *s = d->sessions;
		while (s && !s->pid)
			s = s->next;
		if (!s)
			break;
		remus_error_log("%s: its child (pid %d) did not end in time and is killed", s->name,
				(int)s->pid);
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
		if (s->armed)
			leave_behind(d, s);
		else
			over(d, s);
	}
}
