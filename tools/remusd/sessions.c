/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of domains, and what children say. What is done when one dies is in endings.c. */
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

#define LIVE_MAX	 256 /* sessions (I11) */
#define TOMBSTONES	 16  /* ended sessions that status still shows */
#define RECEIVER_GRACE_S 90  /* preparing and activating a standby have up to 70 s of their own */

const char *role_name(enum role role)
{
	static const char *const names[] = {"primary", "backup", "relay", "check"};
	return names[role];
}

void session_event(struct session *s, const char *level, const char *kind, const char *text)
{
	events_add(s->name[0] ? s->name : "?", role_name(s->role), level, kind, text);
}

struct session *session_find(struct daemon *d, const char *domain)
{
	struct session *dead = NULL;

	for (struct session *s = d->sessions; s; s = s->next) {
		if (s->role == ROLE_CHECK || (strcmp(s->name, domain) && strcmp(s->locator, domain)))
			continue;
		if (s->pid)
			return s;
		if (!dead)
			dead = s;
	}
	return dead;
}

bool sessions_full(const struct daemon *d)
{
	unsigned live = 0;

	for (const struct session *s = d->sessions; s; s = s->next)
		live += s->pid && (s->role != ROLE_RECEIVER || s->admitted);
	return live >= LIVE_MAX;
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
	check_clear(s);
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

	bool was_undecided = receiver_undecided(s->status);
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
	if (state && s->role == ROLE_RECEIVER && (!strcmp(state, "active") || !strcmp(state, "renewing"))) {
		fresh |= !s->active;
		s->active = true;
	}
	fresh |= s->role == ROLE_RECEIVER && receiver_undecided(s->status) != was_undecided;
	if (fresh) /* the next daemon must find the hypervisor, and know whether it may run, or must not be killed */
		record_write(&d->options, s);
}

static int parse_key(const json_t *message, struct remus_key *key)
{
	key->generation = (uint64_t)json_integer_value(json_object_get(message, "generation"));
	return key_parse(json_string_value(json_object_get(message, "session")), key->session);
}

/* I4: a session's generations only grow, and one domain has one standby. */
static const char *refuse_hello(struct daemon *d, struct session *mine, const struct remus_key *key,
				const char *name)
{
	static char why[256];

	if (sessions_full(d))
		return "this host has as many sessions as it may have";
	for (struct session *s = d->sessions; s; s = s->next) {
		if (s == mine)
			continue;
		bool same = s->keyed && !memcmp(s->key.session, key->session, sizeof key->session);
		bool asks = s->check.id && !memcmp(s->check.key, key->session, sizeof key->session);
		if (asks ||
		    (same && s->pid && s->role == ROLE_ENGINE && s->key.generation == key->generation))
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
	bool check = json_is_true(json_object_get(message, "check"));
	char full[256];
	const char *why;
	struct remus_key key;

	if (!name || parse_key(message, &key) < 0) {
		why = "unusable hello";
	} else {
		session_name(s, name);
		why = refuse_hello(d, s, &key, s->name);
	}
	if (check)
		session_name(s, "connection"); /* only a question: it stays a stranger's */
	if (why) {
		message_send(s->fd, json_pack("{s:s, s:i}", "refused", why, "code", -EBUSY));
		if (!check)
			session_event(s, "warning", "refused", why);
		return;
	}
	if (check) {
		message_send(s->fd, json_pack("{s:s}", "dir", s->dir));
		return;
	}
	s->key = key;
	s->keyed = true;
	s->admitted = true;
	take_request(s, message);
	int rc = record_write(&d->options, s);
	if (rc < 0) {
		snprintf(full, sizeof full, "the backup can't record the session in its run directory: %s",
			 strerror(-rc));
		s->keyed = s->admitted = false;
		message_send(s->fd, json_pack("{s:s, s:i}", "refused", full, "code", rc));
		session_event(s, "error", "refused", full);
		return;
	}
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

	if (!type || check_message(d, s, type, message))
		return;
	if (!strcmp(type, "status")) {
		on_status(d, s, json_object_get(message, "status"));
		control_session_changed(d, s, NULL);
	} else if (!strcmp(type, "event") && s->role == ROLE_RECEIVER && !s->admitted) {
		/* A stranger's: for the log. A port scan must not push out the events that count. */
		stranger_says("%s", json_string_value(json_object_get(message, "text")));
	} else if (!strcmp(type, "event")) {
		session_event(s, json_string_value(json_object_get(message, "level")),
			      json_string_value(json_object_get(message, "kind")),
			      json_string_value(json_object_get(message, "text")));
	} else if (!strcmp(type, "sockets")) {
		json_decref(s->sockets);
		s->sockets = json_incref(json_object_get(message, "paths"));
		record_write(&d->options, s);
	} else if (!strcmp(type, "exit")) {
		s->last_word = (int)json_integer_value(json_object_get(message, "status"));
	} else if (!strcmp(type, "armed")) {
		s->armed = true;
		if (record_write(&d->options, s) < 0) {
			session_event(s, "error", "failed",
				      "the session can't be recorded any more (see the log): protection "
				      "ends, since a remusd that "
				      "is restarted could not know that the backup may run the guest");
			session_command(s, "unprotect");
		}
	} else if (!strcmp(type, "admit")) {
		on_admit(d, s, message);
	} else if (!strcmp(type, "drilled")) {
		drill_over(d, s, json_object_get(message, "result"));
	} else if (!strcmp(type, "outcome")) {
		on_outcome(d, s, message);
	} else if (!strcmp(type, "failed") && s->role == ROLE_RECEIVER && !s->admitted) {
		stranger_says("%s", json_string_value(json_object_get(message, "message")));
	} else if (!strcmp(type, "failed")) {
		session_event(s, "error", "failed", json_string_value(json_object_get(message, "message")));
		json_object_set(s->status, "reason", json_object_get(message, "message"));
		control_session_changed(d, s, message);
	}
}

void session_readable(struct daemon *d, struct session *s)
{
	for (;;) {
		int error;
		json_t *message = message_receive(s->fd, &error);
		if (!message && error == 0 && s->adopted && !s->reaping) {
			session_adopted_ended(d, s);
			return;
		}
		if (!message)
			return; /* EAGAIN, or EOF: SIGCHLD tells */
		s->heard_us = remus_now_us();
		on_message(d, s, message);
		json_decref(message);
	}
}

/*
 * A child publishes its status every second at least, except in a call that takes long, and those have deadlines of
 * their own: the longest is a standby's activation. Calls without one (a xenstored that hangs) end here (I8): what
 * follows is what follows any death of a child.
 */
void session_watch(const struct daemon *d, struct session *s)
{
	uint64_t limit_s = d->options.watchdog_s + (s->role == ROLE_RECEIVER ? RECEIVER_GRACE_S : 0);
	uint64_t silent_s = (remus_now_us() - s->heard_us) / 1000000;
	char text[160];

	if (!s->pid || silent_s < limit_s)
		return;
	snprintf(text, sizeof text, "its process (pid %d) has hung for %llu s and is killed", (int)s->pid,
		 (unsigned long long)silent_s);
	session_event(s, "error", "hung", text);
	kill(s->pid, SIGKILL); /* SIGCHLD does the rest */
	s->heard_us = remus_now_us();
}
