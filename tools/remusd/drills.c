/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `drill`: a copy of a standby is run here for a while, cut off from everything, to see that a failover would work. The
 * receiver holds it (replicator/drill.h); whoever asked waits here, for as long as it may take and no longer (I8).
 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "remus/util.h"

#define DRILL_SECONDS	  5u
#define DRILL_DEADLINE_US 300000000u /* besides its running: a Xen copy of a large guest is fed for minutes */

uint64_t drill_ms(const json_t *message)
{
	const json_t *seconds = json_object_get(message, "seconds");

	return json_is_integer(seconds) ? (uint64_t)json_integer_value(seconds) * 1000 : DRILL_SECONDS * 1000;
}

static json_t *milliseconds(uint64_t us)
{
	return json_real((double)us / 1000.0);
}

json_t *drill_json(const struct remus_drill *drill)
{
	json_t *o = json_pack("{s:b, s:s, s:I, s:o, s:o, s:o, s:o, s:s}", "passed", drill->passed, "what",
			      drill->text, "epoch", (json_int_t)drill->epoch, "build_ms",
			      milliseconds(drill->build_us), "copy_ms", milliseconds(drill->copy_us),
			      "activate_ms", milliseconds(drill->activate_us), "ran_ms",
			      milliseconds(drill->ran_us), "seed", drill->fingerprint);

	if (drill->agent.phase != REMUS_RENEWAL_NONE)
		json_object_set_new(o, "agent", agent_json(&drill->agent));
	if (drill->console)
		json_object_set_new(o, "console", json_string(drill->console));
	return o;
}

/* @result with the guest's names. New. */
static json_t *with_names(const struct session *s, const json_t *result)
{
	json_t *whole = json_pack("{s:s, s:s}", "domain", s->locator, "name", s->name);

	json_object_update(whole, (json_t *)(uintptr_t)result);
	return whole;
}

/* A receiver's word: to all that wait for it. */
void drill_over(struct daemon *d, struct session *s, const json_t *result)
{
	json_t *whole = with_names(s, result);

	s->drilling = false;
	for (struct client *c = d->clients; c; c = c->next)
		if (c->wait == WAIT_DRILL && c->session_id == s->id && !c->done)
			client_ok(c, json_incref(whole));
	json_decref(whole);
}

/* One at a time. Said here, for the receiver's word on a second one would be taken for the first one's result. */
static void refuse_second(const struct session *s, struct client *c)
{
	const struct remus_drill none = {.text = "no drill was held: one is under way"};
	json_t *result = drill_json(&none);

	client_ok(c, with_names(s, result));
	json_decref(result);
}

void verb_drill(struct daemon *d, struct client *c, json_t *request)
{
	const char *domain = json_string_value(json_object_get(request, "domain"));
	struct session *s = domain ? session_find(d, domain) : NULL;
	char why[512];

	if (!s) {
		snprintf(why, sizeof why,
			 "no domain \"%.300s\" here; `remusctl list` shows those that there are",
			 domain ? domain : "");
		client_error(c, domain ? -ENOENT : -EINVAL, domain ? why : "the request names no domain");
		return;
	}
	const char *state = json_string_value(json_object_get(s->status, "state"));
	if (s->role != ROLE_RECEIVER || !s->pid || s->active) {
		snprintf(why, sizeof why,
			 "%s has no standby here (%s, state %s): a drill is held on the host that stands by "
			 "for "
			 "it",
			 s->name, role_name(s->role), state ? state : "starting");
		client_error(c, -EBUSY, why);
		return;
	}
	if (s->drilling) {
		refuse_second(s, c);
		return;
	}
	s->drilling = true;
	message_send(s->fd, json_pack("{s:s, s:I}", "cmd", "drill", "seconds",
				      (json_int_t)(drill_ms(request) / 1000)));
	c->wait = WAIT_DRILL;
	c->session_id = s->id;
	c->deadline_us = remus_now_us() + drill_ms(request) * 1000 + DRILL_DEADLINE_US;
}
