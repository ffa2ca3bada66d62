/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `check`: would protection work? A child gathers the findings (check.c), here they are kept until it is done. A
 * guest that nobody here has to do with gets a child for the purpose, which is gone afterwards; one whose network
 * is forwarded is checked by its relay. Whoever asked gets an answer in CHECK_DEADLINE_US, also when the child
 * hangs in an arbiter's dead file system (I8).
 */
#include "client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include "remus/log.h"
#include "remus/util.h"

#define CHECK_DEADLINE_US 45000000u /* connecting, clocks, answer: 26 s; the guest and the arbiter the rest */
#define CHECKS_MAX	  8	    /* at a time (I11) */
#define FINDINGS_MAX	  (2 * REMUS_FINDINGS_MAX + 4)

void check_clear(struct session *s)
{
	json_decref(s->check.findings);
	json_decref(s->check.asked);
	s->check = (struct checking){0};
}

static json_int_t count(const json_t *findings, const char *severity)
{
	json_int_t n = 0;
	const json_t *one;
	size_t i;

	json_array_foreach(findings, i, one)
	{
		const char *word = json_string_value(json_object_get(one, "severity"));
		n += word && !strcmp(word, severity);
	}
	return n;
}

/* The check of @s has ended; @clock may be NULL. */
static void done(struct daemon *d, struct session *s, const json_t *clock)
{
	json_int_t fatal = count(s->check.findings, "fatal");
	json_t *result = json_deep_copy(s->check.asked);

	json_object_update_new(result, json_pack("{s:b, s:I, s:I, s:O}", "would_work", fatal == 0, "fatal",
						 fatal, "warnings", count(s->check.findings, "warning"),
						 "findings", s->check.findings));
	if (json_is_object(clock))
		json_object_set(result, "clock", (json_t *)clock);
	control_check_done(d, s, result, 0, NULL);
	check_clear(s);
}

bool check_message(struct daemon *d, struct session *s, const char *type, const json_t *message)
{
	bool finding = !strcmp(type, "finding"), checked = !strcmp(type, "checked");

	if (!finding && !checked && strcmp(type, "checking") != 0)
		return false;
	if (!s->check.id || s->check.id != (unsigned)json_integer_value(json_object_get(message, "check")))
		return true; /* of one that was given up */
	if (checked) {
		done(d, s, json_object_get(message, "clock"));
	} else if (finding) {
		if (json_array_size(s->check.findings) < FINDINGS_MAX)
			json_array_append(s->check.findings, json_object_get(message, "finding"));
	} else {
		const char *step = json_string_value(json_object_get(message, "step"));
		snprintf(s->check.step, sizeof s->check.step, "%s", step ? step : "");
	}
	return true;
}

void check_over(struct daemon *d, struct session *s)
{
	if (!s->check.id)
		return;
	control_check_done(d, s, NULL, -EIO, "the process that checked the guest died; see remusd's log");
	check_clear(s);
}

void checks_expire(struct daemon *d)
{
	uint64_t now = remus_now_us();

	for (struct session *s = d->sessions; s; s = s->next) {
		char why[256];
		if (!s->check.id || now < s->check.deadline_us)
			continue;
		snprintf(why, sizeof why, "the check did not end within %u s; it hung at: %s",
			 CHECK_DEADLINE_US / 1000000u, s->check.step[0] ? s->check.step : "the guest");
		remus_warn("%s: %s", s->name, why);
		control_check_done(d, s, NULL, -ETIMEDOUT, why);
		check_clear(s);
		if (s->role == ROLE_CHECK)
			kill(s->pid, SIGKILL); /* a relay goes on with its work as soon as it can */
	}
}

/* ---- the verb ---- */

static unsigned under_way(const struct daemon *d)
{
	unsigned n = 0;

	for (const struct session *s = d->sessions; s; s = s->next)
		n += s->check.id != 0;
	return n;
}

static int start(struct daemon *d, struct session *s, json_t *whole, struct remus_error *err)
{
	struct remus_key key = {0};
	char hex[2 * REMUS_SESSION_SIZE + 1];

	memcpy(key.session, s->check.key, sizeof key.session);
	key_hex(&key, hex);
	if (s->role != ROLE_CHECK)
		return message_send(s->fd, json_pack("{s:s, s:i, s:s, s:O}", "cmd", "check", "id",
						     (int)s->check.id, "key", hex, "request", whole));
	json_decref(s->request);
	s->request = json_incref(whole);
	return spawn_check(d, s, err);
}

static void begin(struct daemon *d, struct client *c, struct session *s, json_t *whole)
{
	static unsigned last_id;
	struct remus_error err = REMUS_ERROR_INIT;
	const char *name = json_string_value(json_object_get(whole, "name"));

	if (getrandom(s->check.key, sizeof s->check.key, 0) != sizeof s->check.key) {
		client_error(c, -EIO, "no randomness for a session id");
		return;
	}
	s->check.id = ++last_id;
	s->check.deadline_us = remus_now_us() + CHECK_DEADLINE_US;
	s->check.findings = json_array();
	s->check.asked = json_pack("{s:s, s:s, s:O}", "domain", s->locator, "name", name ? name : s->name,
				   "to", json_object_get(whole, "to"));
	int rc = start(d, s, whole, &err);
	if (rc < 0) {
		client_error(c, rc, err.message[0] ? err.message : strerror(-rc));
		check_clear(s);
		return;
	}
	c->wait = WAIT_CHECK;
	c->session_id = s->id;
}

/* Of a guest that no child of ours has to do with. */
static void begin_new(struct daemon *d, struct client *c, const char *locator, const json_t *request,
		      const struct session *earlier)
{
	char name[128];
	const char *wanted = json_string_value(json_object_get(request, "name"));

	guest_name(locator, name);
	if (earlier && !wanted)
		wanted = earlier->name;
	json_t *whole = guest_request(d, earlier, request);
	char place[256];
	snprintf(place, sizeof place, "%s", locator); /* session_new() may bury @earlier, whose it may be */
	char called[128];
	snprintf(called, sizeof called, "%s", wanted ? wanted : name);
	struct session *s = session_new(d, ROLE_CHECK, called, place);
	if (!s)
		client_error(c, -ENOMEM, "no memory");
	else
		begin(d, c, s, whole);
	if (s && !s->pid)
		session_drop(d, s);
	json_decref(whole);
}

void verb_check(struct daemon *d, struct client *c, json_t *request)
{
	const char *domain = json_string_value(json_object_get(request, "domain"));
	char why[512], locator[256];
	struct session *s;

	if (!domain || !json_object_get(request, "to")) {
		client_error(c, -EINVAL, "check needs a domain and `to`, the backup's address");
		return;
	}
	s = session_find(d, domain);
	if (s && session_lives(s) && s->role != ROLE_RELAY && !s->active) {
		snprintf(why, sizeof why,
			 "%s is in a session already (%s, state %s): `remusctl status` tells how it fares",
			 s->name, role_name(s->role), json_string_value(json_object_get(s->status, "state")));
		client_error(c, -EBUSY, why);
	} else if (under_way(d) >= CHECKS_MAX || (s && s->check.id)) {
		client_error(c, -EBUSY, "it is being checked already, or too many guests are; try again");
	} else if (s && s->pid) {
		json_t *whole = guest_request(d, s, request);
		begin(d, c, s, whole);
		json_decref(whole);
	} else if (strchr(domain, ':')) {
		begin_new(d, c, domain, request, s);
	} else if (s && s->locator[0]) {
		begin_new(d, c, s->locator, request, s);
	} else if (guest_on_xen()) {
		snprintf(locator, sizeof locator, "xen:%s", domain);
		begin_new(d, c, locator, request, NULL);
	} else {
		snprintf(why, sizeof why,
			 "no domain \"%.300s\" here: name a running one by its socket, qemu:QMP-SOCKET, or "
			 "xen:NAME",
			 domain);
		client_error(c, -ENOENT, why);
	}
}
