/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a client of the control socket can ask for: a table of verbs. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include "client.h"
#include "config.h"
#include "remus/util.h"

#define FAILOVER_DEADLINE_US 20000000u
#define RELAY_STOP_MS	     3000

static const char *text_of(const json_t *request, const char *name)
{
	return json_string_value(json_object_get(request, name));
}

static struct session *need_session(struct daemon *d, struct client *c, const json_t *request)
{
	const char *domain = text_of(request, "domain");
	char why[512];
	struct session *s = domain ? session_find(d, domain) : NULL;

	if (!domain) {
		client_error(c, -EINVAL, "the request names no domain");
	} else if (!s) {
		snprintf(why, sizeof why,
			 "no domain \"%.300s\" here; `remusctl list` shows those that there are", domain);
		client_error(c, -ENOENT, why);
	}
	return s;
}

/* A relay must let go of the guest's QMP socket and network before an engine can take them. */
static bool stop_relay(struct daemon *d, struct session *s)
{
	unsigned id = s->id;

	s->reaping = true;
	session_command(s, "quit");
	struct pollfd pfd = {.fd = s->fd, .events = POLLIN};
	uint64_t end = remus_now_us() + RELAY_STOP_MS * 1000u;
	while (remus_now_us() < end) {
		session_readable(d, s);
		poll(&pfd, 1, 20);
		if (pfd.revents & POLLHUP)
			break;
	}
	if (!(pfd.revents & POLLHUP) || s->id != id)
		return false;
	/* Its exit is reaped here, so that nobody takes it for a death. */
	s->role = ROLE_RELAY;
	return session_wait(s);
}

static bool protect_new(struct daemon *d, struct client *c, const char *domain, const char *name,
			struct session **out)
{
	struct session *s = sessions_full(d) ? NULL : session_new(d, ROLE_ENGINE, name, domain);

	if (!s && sessions_full(d)) {
		client_error(c, -EBUSY, "this host has as many sessions as it may have");
		return false;
	}
	if (!s) {
		client_error(c, -ENOMEM, "no memory");
		return false;
	}
	*out = s;
	return true;
}

/* No engine could be made: the guest's network is forwarded as before. */
static void not_begun(struct daemon *d, struct session *s)
{
	struct remus_error err = REMUS_ERROR_INIT;

	s->role = ROLE_RELAY;
	if (s->was_relay && spawn_relay(d, s, &err) == 0)
		return;
	if (s->was_relay)
		session_event(s, "error", "failed", err.message);
	record_remove(&d->options, s);
	if (s->key.generation <= 1)
		session_drop(d, s);
}

static void verb_protect(struct daemon *d, struct client *c, json_t *request)
{
	const char *domain = text_of(request, "domain"), *name = text_of(request, "name");
	struct remus_error err = REMUS_ERROR_INIT;
	char derived[128], why[512], locator[256];

	if (!domain || !text_of(request, "to")) {
		client_error(c, -EINVAL, "protect needs a domain and `to`, the backup's address");
		return;
	}
	struct session *s = session_find(d, domain);
	bool known = s && (s->pid || (s->locator[0] && s->role == ROLE_RELAY));
	if (!known && !strchr(domain, ':') && guest_on_xen()) {
		snprintf(locator, sizeof locator, "xen:%s", domain);
		domain = locator;
	}
	if (s && s->pid && s->role != ROLE_RELAY && !s->active) {
		snprintf(why, sizeof why, "%s is in a session already (%s, state %s)", s->name,
			 role_name(s->role), json_string_value(json_object_get(s->status, "state")));
		client_error(c, -EBUSY, why);
		return;
	}
	if (s && name)
		session_name(s, name);
	if (s && s->pid) {
		if (!stop_relay(d, s)) {
			snprintf(why, sizeof why,
				 "%s: its relay did not let go of the guest in time; try again", s->name);
			client_error(c, -ETIMEDOUT, why);
			return;
		}
		s->was_relay = true;
	} else if (s && s->locator[0] && strchr(domain, ':') == NULL && s->role == ROLE_RELAY) {
		s->was_relay = false; /* known by name from an earlier session */
	} else if (!strchr(domain, ':')) {
		snprintf(why, sizeof why,
			 "no domain \"%.300s\" here: name a running one by its socket, qemu:QMP-SOCKET, "
			 "or xen:NAME",
			 domain);
		client_error(c, -ENOENT, why);
		return;
	} else {
		guest_name(domain, derived);
		if (!protect_new(d, c, domain, name ? name : derived, &s))
			return;
	}
	/* An heir of an earlier session keeps its id: a stale primary of it is then turned away (I4). */
	if (!s->keyed && getrandom(s->key.session, sizeof s->key.session, 0) != sizeof s->key.session) {
		client_error(c, -EIO, "no randomness for a session id");
		return;
	}
	s->key.generation++;
	s->keyed = true;
	json_t *whole = guest_request(d, s, request);
	json_decref(s->request);
	s->request = whole;
	json_object_clear(s->status);
	json_object_set_new(s->status, "role", json_string(role_name(ROLE_ENGINE)));
	s->active = false;
	int rc = spawn_engine(d, s, false, &err);
	if (rc < 0) {
		client_error(c, rc, err.message);
		not_begun(d, s);
		return;
	}
	if (json_is_false(json_object_get(request, "wait"))) {
		client_ok(c, session_json(s));
		return;
	}
	c->wait = WAIT_PROTECT;
	c->session_id = s->id;
}

static void verb_unprotect(struct daemon *d, struct client *c, json_t *request)
{
	struct session *s = need_session(d, c, request);
	const char *state;

	if (!s)
		return;
	state = json_string_value(json_object_get(s->status, "state"));
	if (!s->pid || s->role == ROLE_RELAY || s->active) {
		client_error(c, -EALREADY, "the domain is not protected");
		return;
	}
	bool force = json_is_true(json_object_get(request, "force"));
	bool claiming = state && !strcmp(state, "claiming"), standby = s->role == ROLE_RECEIVER;
	if (!force && claiming) {
		client_error(
			c, -EBUSY,
			standby ? "the arbiter has not said yet who runs the guest, and this host's "
				  "standby may be all that is left of it; only if the other host runs it: "
				  "--force drops the standby"
				: "the arbiter has not said yet who runs the guest; only if the other "
				  "host is known not to run it: --force");
		return;
	}
	if (claiming && standby)
		session_drop_standby(s); /* its own "force" means to activate */
	else
		session_command(s, force && !standby ? "force" : "unprotect");
	c->wait = WAIT_UNPROTECT;
	c->session_id = s->id;
}

static void verb_failover(struct daemon *d, struct client *c, json_t *request)
{
	struct session *s = need_session(d, c, request);
	const char *state;
	char why[512];

	if (!s)
		return;
	state = json_string_value(json_object_get(s->status, "state"));
	state = state ? state : "starting";
	bool force = json_is_true(json_object_get(request, "force"));
	bool can = s->pid && (force ? !strcmp(state, "claiming") && s->role == ROLE_RECEIVER
				    : !strcmp(state, "protected") || !strcmp(state, "standby"));
	if (!can) {
		snprintf(why, sizeof why,
			 force ? "%s: --force is for a backup that waits for its arbiter (state claiming); "
				 "it is in state %s"
			       : "%s: only a protected guest can be handed over; it is in state %s",
			 s->name, state);
		client_error(c, -EBUSY, why);
		return;
	}
	if (!force && remus_arbiter_fences(s->role == ROLE_RECEIVER ? d->options.arbiter
								    : text_of(s->request, "arbiter"))) {
		snprintf(why, sizeof why,
			 "%s: its arbiter decides by switching the other host off, so a guest cannot be "
			 "handed "
			 "over (a command that wraps a lock instead: kind=lock, remus-arbiters(7))",
			 s->name);
		client_error(c, -EOPNOTSUPP, why);
		return;
	}
	session_command(s, force ? "force" : "failover");
	c->wait = WAIT_FAILOVER;
	c->session_id = s->id;
	c->deadline_us = remus_now_us() + FAILOVER_DEADLINE_US;
}

static void verb_attach(struct daemon *d, struct client *c, json_t *request)
{
	const char *domain = text_of(request, "domain"), *name = text_of(request, "name");
	struct remus_error err = REMUS_ERROR_INIT;
	char derived[128];

	if (!domain || !strchr(domain, ':')) {
		client_error(c, -EINVAL, "attach needs a domain by its socket: qemu:QMP-SOCKET");
		return;
	}
	struct session *s = session_find(d, domain);
	if (s && s->pid) {
		client_error(c, -EBUSY, "its network is forwarded already");
		return;
	}
	if (sessions_full(d)) {
		client_error(c, -EBUSY, "this host has as many sessions as it may have");
		return;
	}
	guest_name(domain, derived);
	s = session_new(d, ROLE_RELAY, name ? name : derived, domain);
	if (!s) {
		client_error(c, -ENOMEM, "no memory");
		return;
	}
	json_decref(s->request);
	s->request = json_deep_copy(request);
	int rc = spawn_relay(d, s, &err);
	if (rc < 0) {
		client_error(c, rc, err.message);
		return;
	}
	c->wait = WAIT_ATTACH;
	c->session_id = s->id;
}

static void verb_detach(struct daemon *d, struct client *c, json_t *request)
{
	struct session *s = need_session(d, c, request);

	if (!s)
		return;
	if (!s->pid || (s->role != ROLE_RELAY && !s->active)) {
		client_error(c, -EBUSY, "only a relayed domain can be detached; `unprotect` it first");
		return;
	}
	s->detached = true;
	session_command(s, "quit");
	client_ok(c, session_json(s));
}

static void verb_status(struct daemon *d, struct client *c, json_t *request)
{
	json_t *domains = json_array();
	char listen[512] = "";

	if (json_object_get(request, "domain")) {
		struct session *s = need_session(d, c, request);
		if (!s) {
			json_decref(domains);
			return;
		}
		json_array_append_new(domains, session_json(s));
	} else {
		for (struct session *s = d->sessions; s; s = s->next)
			if (s->role != ROLE_CHECK && (s->role != ROLE_RECEIVER || s->admitted))
				json_array_append_new(domains, session_json(s));
	}
	if (d->options.listen)
		snprintf(listen, sizeof listen, "%s%s%s:%s", strchr(d->options.host, ':') ? "[" : "",
			 *d->options.host ? d->options.host : "*", strchr(d->options.host, ':') ? "]" : "",
			 d->options.port);
	client_ok(c, json_pack("{s:{s:s, s:i, s:s, s:s, s:s, s:s}, s:o}", "host", "version", PACKAGE_VERSION,
			       "pid", (int)getpid(), "listen", listen, "link",
			       d->options.insecure ? "plaintext" : "tls1.3", "run_dir", d->options.run_dir,
			       "arbiter", d->options.arbiter ? d->options.arbiter : "", "domains", domains));
}

static void verb_events(struct daemon *d, struct client *c, json_t *request)
{
	c->seen = (uint64_t)json_integer_value(json_object_get(request, "since"));
	if (c->seen > events_last())
		c->seen = events_last();
	c->wait = WAIT_EVENTS;
	control_tell_events(d);
	if (!json_is_true(json_object_get(request, "follow")))
		client_ok(c, json_object());
}

void verb_run(struct daemon *d, struct client *c, json_t *request)
{
	static const struct {
		const char *verb;
		void (*run)(struct daemon *d, struct client *c, json_t *request);
	} verbs[] = {
		{"protect", verb_protect}, {"unprotect", verb_unprotect}, {"failover", verb_failover},
		{"attach", verb_attach},   {"detach", verb_detach},	  {"status", verb_status},
		{"events", verb_events},   {"check", verb_check},	  {"drill", verb_drill},
	};
	const char *verb = text_of(request, "verb");
	char why[256];

	for (size_t i = 0; verb && i < REMUS_ARRAY_SIZE(verbs); i++)
		if (!strcmp(verb, verbs[i].verb)) {
			verbs[i].run(d, c, request);
			return;
		}
	snprintf(why, sizeof why, "unknown verb \"%.100s\"", verb ? verb : "");
	client_error(c, -EINVAL, why);
}
