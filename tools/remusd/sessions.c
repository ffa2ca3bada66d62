/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of domains, what children say, and what is done when one dies:
 *
 *   engine, armed         a new engine claims before it opens anything (I6), the guest runs meanwhile (I8)
 *   engine, not armed     the guest is made to run and its network is forwarded
 *   receiver, standing by the standby is killed: it must never run by itself
 *   receiver, active      the guest runs on; its network is forwarded again
 *   relay                 started again
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
#define TOMBSTONES     16	/* ended sessions that status still shows */
#define RESTARTS_MAX   5	/* of a relay or recovery that keeps dying within a minute */

const char *role_name(enum role role)
{
	static const char *const names[] = {"primary", "backup", "relay"};
	return names[role];
}

static void event(struct session *s, const char *level, const char *kind, const char *text)
{
	events_add(s->name[0] ? s->name : "?", role_name(s->role), level, kind, text);
}

struct session *session_find(struct daemon *d, const char *domain)
{
	struct session *dead = NULL;

	for (struct session *s = d->sessions; s; s = s->next) {
		if (strcmp(s->name, domain) && strcmp(s->locator, domain))
			continue;
		if (s->pid)
			return s;
		if (!dead)
			dead = s;
	}
	return dead;
}

static void bury_oldest(struct daemon *d)
{
	unsigned dead = 0;
	struct session *oldest = NULL;

	for (struct session *s = d->sessions; s; s = s->next)
		if (!s->pid) {
			dead++;
			oldest = s; /* new ones are put in front */
		}
	if (dead > TOMBSTONES)
		session_drop(d, oldest);
}

void session_name(struct session *s, const char *name)
{
	snprintf(s->name, sizeof s->name, "%s", name);
	for (char *c = s->name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("._-+@", *c))
			*c = '_';
	if (s->name[0] == '.')
		s->name[0] = '_';
}

struct session *session_new(struct daemon *d, enum role role, const char *name, const char *locator)
{
	struct session *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->id = ++d->next_id;
	s->role = role;
	s->fd = -1;
	session_name(s, name);
	snprintf(s->locator, sizeof s->locator, "%s", locator);
	snprintf(s->dir, sizeof s->dir, "%s/%s-%u", d->options.run_dir, role_name(role), s->id);
	s->request = json_object();
	s->status = json_object();
	s->next = d->sessions;
	d->sessions = s;
	bury_oldest(d);
	return s;
}

void session_drop(struct daemon *d, struct session *s)
{
	for (struct session **at = &d->sessions; *at; at = &(*at)->next)
		if (*at == s) {
			*at = s->next;
			break;
		}
	if (s->fd >= 0)
		close(s->fd);
	json_decref(s->request);
	json_decref(s->status);
	json_decref(s->sockets);
	free(s);
}

/* Members of the request and of the daemon's own that make a status whole. */
json_t *session_json(const struct session *s)
{
	static const char *const asked[] = {"interval_ms", "arbiter", "on_backup_loss"};
	json_t *o = json_copy(s->status);
	char hex[2 * REMUS_SESSION_SIZE + 1];

	if (!json_object_get(o, "domain"))
		json_object_set_new(o, "domain", json_string(s->locator));
	json_object_set_new(o, "name", json_string(s->name));
	if (!json_object_get(o, "role"))
		json_object_set_new(o, "role", json_string(role_name(s->role)));
	if (!json_object_get(o, "state"))
		json_object_set_new(o, "state", json_string("starting"));
	if (!s->pid || !json_object_get(o, "protected"))
		json_object_set_new(o, "protected", json_false());
	if (!json_object_get(o, "reason"))
		json_object_set_new(o, "reason", json_string(""));
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(asked); i++)
		if (json_object_get(s->request, asked[i]))
			json_object_set(o, asked[i], json_object_get(s->request, asked[i]));
	if (s->keyed) {
		key_hex(&s->key, hex);
		json_object_set_new(o, "session", json_string(hex));
		json_object_set_new(o, "generation", json_integer((json_int_t)s->key.generation));
	}
	if (s->since[0])
		json_object_set_new(o, "since", json_string(s->since));
	json_object_set_new(o, "pid", json_integer(s->pid));
	return o;
}

void session_command(struct session *s, const char *command)
{
	if (s->pid)
		message_send(s->fd, json_pack("{s:s}", "cmd", command));
}

void session_drop_standby(struct session *s)
{
	s->detached = true;
	kill(s->pid, SIGKILL); /* what follows is what follows when it dies: the standby goes, nothing runs */
}

/* ---- what children say ---- */

/* Keep when a state was entered. @state is borrowed. */
static void note_state(struct session *s, const json_t *state)
{
	if (!state || json_equal(json_object_get(s->status, "state"), state))
		return;
	time_stamp(s->since);
}

static void on_status(struct daemon *d, struct session *s, json_t *status)
{
	const char *locator;

	note_state(s, json_object_get(status, "state"));
	json_object_update(s->status, status);
	locator = json_string_value(json_object_get(status, "domain"));
	if (locator && !s->locator[0])
		snprintf(s->locator, sizeof s->locator, "%s", locator);
	pid_t guest = (pid_t)json_integer_value(json_object_get(status, "guest_pid"));
	bool fresh = guest > 0 && guest != s->guest_pid;
	if (fresh)
		s->guest_pid = guest;
	const char *state = json_string_value(json_object_get(status, "state"));
	if (state && s->role == ROLE_RECEIVER && !strcmp(state, "active")) {
		fresh |= !s->active;
		s->active = true;
	}
	if (fresh) /* the next daemon must find the hypervisor, and know whether it may run */
		record_write(&d->options, s);
}

static int parse_key(const json_t *message, struct remus_key *key)
{
	const char *hex = json_string_value(json_object_get(message, "session"));

	if (!hex || strlen(hex) != 2 * REMUS_SESSION_SIZE)
		return -EINVAL;
	for (int i = 0; i < REMUS_SESSION_SIZE; i++) {
		unsigned byte;
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return -EINVAL;
		key->session[i] = (uint8_t)byte;
	}
	key->generation = (uint64_t)json_integer_value(json_object_get(message, "generation"));
	return 0;
}

/* I4: a session's generations only grow, and one domain has one standby. */
static const char *refuse_hello(struct daemon *d, struct session *mine, const struct remus_key *key,
				const char *name)
{
	static char why[256];

	for (struct session *s = d->sessions; s; s = s->next) {
		if (s == mine)
			continue;
		bool same = s->keyed && !memcmp(s->key.session, key->session, sizeof key->session);
		if (same && s->pid && s->role == ROLE_ENGINE && s->key.generation == key->generation)
			return "the guest runs on this same host: its backup must be another one";
		if (same && s->key.generation >= key->generation) {
			snprintf(
				why, sizeof why,
				"generation %llu of this session is over: this host has seen generation %llu",
				(unsigned long long)key->generation, (unsigned long long)s->key.generation);
			return why;
		}
		if (s->pid && s->admitted && !strcmp(s->name, name)) {
			snprintf(why, sizeof why,
				 "this host already stands by for, or runs, a domain named %s (session of "
				 "pid %d)",
				 name, (int)s->pid);
			return why;
		}
	}
	return NULL;
}

/* What the primary asked for, as far as this host needs it should it protect the guest in its turn. */
static void take_request(struct session *s, const json_t *message)
{
	const char *uri[REMUS_NICS_MAX], *list = json_string_value(json_object_get(message, "egress"));
	REMUS_AUTO_FREE char *copy = list ? strdup(list) : NULL;
	json_t *egress = json_array();

	json_object_set(s->request, "arbiter", json_object_get(message, "arbiter"));
	json_object_set(s->request, "interval_ms", json_object_get(message, "interval_ms"));
	for (int i = 0, n = copy ? remus_egress_split(copy, uri, REMUS_NICS_MAX) : 0; i < n; i++)
		json_array_append_new(egress, json_string(uri[i]));
	json_object_set_new(s->request, "egress", egress);
}

static void on_admit(struct daemon *d, struct session *s, const json_t *message)
{
	const char *name = json_string_value(json_object_get(message, "name"));
	const char *why;
	struct remus_key key;

	if (!name || parse_key(message, &key) < 0) {
		why = "unusable hello";
	} else {
		session_name(s, name);
		why = refuse_hello(d, s, &key, s->name);
	}
	if (why) {
		message_send(s->fd, json_pack("{s:s, s:i}", "refused", why, "code", -EBUSY));
		event(s, "warning", "refused", why);
		return;
	}
	s->key = key;
	s->keyed = true;
	s->admitted = true;
	take_request(s, message);
	record_write(&d->options, s);
	message_send(s->fd, json_pack("{s:s}", "dir", s->dir));
}

static void on_outcome(struct daemon *d, struct session *s, const json_t *message)
{
	const char *word = json_string_value(json_object_get(message, "word"));
	const char *reason = json_string_value(json_object_get(message, "reason"));

	s->outcome = true;
	s->armed = false;
	note_state(s, json_object_get(message, "word"));
	json_object_set_new(s->status, "state", json_string(word ? word : "ended"));
	json_object_set_new(s->status, "reason", json_string(reason ? reason : ""));
	json_object_set_new(s->status, "protected", json_false());
	if (s->role == ROLE_ENGINE && json_is_true(json_object_get(message, "guest_here")))
		s->role = ROLE_RELAY; /* what the child does from here on */
	record_write(&d->options, s);
	control_session_changed(d, s, message);
}

static void on_message(struct daemon *d, struct session *s, json_t *message)
{
	const char *type = json_string_value(json_object_get(message, "t"));

	if (!type)
		return;
	if (!strcmp(type, "status")) {
		on_status(d, s, json_object_get(message, "status"));
		control_session_changed(d, s, NULL);
	} else if (!strcmp(type, "event") && s->role == ROLE_RECEIVER && !s->admitted) {
		/* A stranger's: for the log. A port scan must not push out the events that count. */
		remus_warn("replication port: %s", json_string_value(json_object_get(message, "text")));
	} else if (!strcmp(type, "event")) {
		event(s, json_string_value(json_object_get(message, "level")),
		      json_string_value(json_object_get(message, "kind")),
		      json_string_value(json_object_get(message, "text")));
	} else if (!strcmp(type, "sockets")) {
		json_decref(s->sockets);
		s->sockets = json_incref(json_object_get(message, "paths"));
		record_write(&d->options, s);
	} else if (!strcmp(type, "armed")) {
		s->armed = true;
		record_write(&d->options, s);
	} else if (!strcmp(type, "admit")) {
		on_admit(d, s, message);
	} else if (!strcmp(type, "outcome")) {
		on_outcome(d, s, message);
	} else if (!strcmp(type, "failed")) {
		event(s, "error", "failed", json_string_value(json_object_get(message, "message")));
		json_object_set(s->status, "reason", json_object_get(message, "message"));
		control_session_changed(d, s, message);
	}
}

void session_readable(struct daemon *d, struct session *s)
{
	for (;;) {
		int error;
		json_t *message = message_receive(s->fd, &error);
		if (!message)
			return; /* EAGAIN, or EOF: SIGCHLD tells */
		on_message(d, s, message);
		json_decref(message);
	}
}

/* ---- when a child ends ---- */

bool session_wait(struct session *s)
{
	for (int waited = 0; waited < 1000; waited += 5) {
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
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
		event(s, "error", "failed", "given up: the guest's network is not forwarded any more");
		over(d, s);
		return;
	}
	rc = recover ? spawn_engine(d, s, true, &err) : spawn_relay(d, s, &err);
	if (rc < 0) {
		event(s, "error", "failed", err.message);
		over(d, s);
	}
}

static void engine_died(struct daemon *d, struct session *s)
{
	char text[256];

	snprintf(text, sizeof text, "the engine died; %s",
		 s->armed ? "asking the arbiter who runs the guest"
			  : "nothing was committed: the guest goes on here");
	event(s, "error", "engine-died", text);
	json_object_set_new(s->status, "protected", json_false());
	json_object_set_new(s->status, "state", json_string(s->armed ? "claiming" : "relay"));
	restart(d, s, true);
}

static void receiver_died(struct daemon *d, struct session *s)
{
	if (s->active) {
		event(s, "error", "failed",
		      "the receiver died; the guest runs on, its network is taken up again");
		restart(d, s, false);
		return;
	}
	event(s, s->detached ? "warning" : "error", "standby-dropped",
	      s->detached ? "the operator dropped the standby that waited for its arbiter"
			  : "the receiver died: its standby is killed and never runs");
	json_object_set_new(s->status, "state", json_string("dropped"));
	if (s->guest_pid > 0)
		kill(s->guest_pid,
		     SIGKILL); /* our own grandchild, reaped by us alone: the pid can't be another's */
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
	bool clean = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
	if (WIFSIGNALED(wait_status))
		remus_warn("%s child of %s (pid %d) was killed by signal %d", role_name(s->role), s->name,
			   (int)pid, WTERMSIG(wait_status));
	bool stays = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EXIT_GUEST_STAYS;
	if (stays && d->stopping && !s->detached) {
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

void sessions_stop(struct daemon *d, int deadline_ms)
{
	uint64_t end = remus_now_us() + (uint64_t)deadline_ms * 1000;
	bool left;

	d->stopping = true;
	for (struct session *s = d->sessions; s; s = s->next)
		session_command(s, "quit");
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
