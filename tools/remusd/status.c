/* SPDX-License-Identifier: GPL-2.0-or-later */
/* struct remus_status as the JSON of docs/control.md. */
#include "remusd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *quantiles(const struct remus_quantiles *q)
{
	return json_pack("{s:o, s:o, s:o}", "p50", number(q->p50), "p99", number(q->p99), "max",
			 number(q->max));
}

static json_t *milliseconds(uint64_t us)
{
	return json_real((double)us / 1000.0);
}

static json_t *egress(const struct remus_status *s)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "state",
			 s->egress_state ? s->egress_state : "none", "held_packets",
			 number(s->egress.held_packets), "held_bytes", number(s->egress.held_bytes),
			 "held_total", number(s->held_total), "dropped", number(s->egress.dropped_packets),
			 "released", number(s->egress.released_packets), "discarded",
			 number(s->egress.discarded_packets), "received", number(s->egress.received_packets));
}

static json_t *pause(const struct remus_status *s)
{
	json_t *all = quantiles(&s->pause);

	json_object_set_new(all, "stop", number(s->parts.stop));
	json_object_set_new(all, "save", number(s->parts.save));
	json_object_set_new(all, "scan", number(s->parts.scan));
	json_object_set_new(all, "copy", number(s->parts.copy));
	json_object_set_new(all, "resume", number(s->parts.resume));
	return all;
}

static json_t *link_figures(const struct remus_link_stats *l, const char *security)
{
	return json_pack("{s:s, s:o, s:I, s:o, s:o, s:o}", "security", security, "rtt_us", number(l->rtt_us),
			 "clock_offset_us", (json_int_t)l->clock_offset_us, "silent_ms",
			 number(l->silent_us / 1000), "bytes_sent", number(l->bytes_sent), "bytes_received",
			 number(l->bytes_received));
}

static json_t *renewal(const struct remus_agent_status *a)
{
	const struct remus_renewed *r = &a->renewed;
	json_t *o = json_pack("{s:b}", "renewed", a->phase == REMUS_RENEWAL_DONE);

	if (a->phase != REMUS_RENEWAL_DONE)
		return o;
	json_object_update_new(o, json_pack("{s:o, s:b, s:o, s:s, s:f, s:f, s:f, s:f}", "took_ms",
					    milliseconds(a->took_ns / 1000), "reseeded", r->reseed == 0,
					    "bits", number(r->bits), "clock", remus_clock_word(r->clock),
					    "offset_ms", (double)r->offset_ns / 1e6, "step_ms",
					    (double)r->step_ns / 1e6, "slew_ms", (double)r->slew_ns / 1e6,
					    "error_ms", (double)r->error_ns / 1e6));
	if (a->hooks_known)
		json_object_set_new(o, "hooks",
				    json_pack("{s:o, s:o, s:s}", "ran", number(a->hooks.ran), "failed",
					      number(a->hooks.failed), "first_failed",
					      a->hooks.failed ? a->hooks.first : ""));
	return o;
}

/* What an agent in the guest vouches for, or that nobody does. */
json_t *agent_json(const struct remus_agent_status *a)
{
	json_t *o = json_pack("{s:b, s:s, s:s}", "present", a->present, "version", a->version, "why", a->why);

	if (!a->present && a->phase != REMUS_RENEWAL_DONE)
		json_object_set_new(
			o, "not_guaranteed",
			json_string("after a failover nothing renews the guest's random numbers, which may "
				    "be those of another activation of the same checkpoint, nor its "
				    "clock, which is behind by what the failover took"));
	if (a->phase != REMUS_RENEWAL_NONE)
		json_object_set_new(o, "last", renewal(a));
	return o;
}

/* How the policy of primary_overload.c stands. */
static json_t *overload(const struct remus_status *s)
{
	return json_pack("{s:s, s:b, s:o, s:o, s:o}", "policy", s->on_overload, "now", s->overloaded,
			 "max_interval_ms", number(s->max_interval_us / 1000), "interval_ms",
			 milliseconds(s->turn_us), "throttle_percent", number(s->throttle));
}

/* A relay has no session figures: only what it knows, so that those of the session before stay visible. */
static json_t *relay_json(const struct remus_status *s)
{
	json_t *o = json_pack("{s:s, s:b, s:s, s:o}", "state", s->state, "protected", 0, "reason", s->reason,
			      "egress", egress(s));
	if (s->guest_pages)
		json_object_set_new(o, "memory_mib", number(s->guest_pages / 256));
	if (s->guest_pid)
		json_object_set_new(o, "guest_pid", number((uint64_t)s->guest_pid));
	if (s->locator[0])
		json_object_set_new(o, "domain", json_string(s->locator));
	if (s->agent.known && s->agent.phase != REMUS_RENEWAL_NONE)
		json_object_set_new(o, "agent", agent_json(&s->agent));
	return o;
}

static json_t *synchronised(bool known, const struct remus_clock_sync *sync)
{
	return known ? json_boolean(sync->synchronised) : json_null();
}

static json_t *clocks(const struct remus_clock_status *c)
{
	json_t *o = json_pack("{s:s, s:o, s:o}", "policy", remus_clock_policy_name(c->policy), "synchronised",
			      synchronised(true, &c->here), "peer_synchronised",
			      synchronised(c->peer_known, &c->peer));
	const struct remus_truth *t = &c->truth;

	if (c->known) {
		json_object_set_new(o, "offset_us", json_integer((json_int_t)c->offset_us));
		json_object_set_new(o, "error_us", number(c->error_us));
	}
	if (!c->activated)
		return o;
	json_object_set_new(o, "source", json_string(remus_time_source_name(t->source)));
	json_object_set_new(o, "gap_ms", json_real((double)t->gap_ns / 1e6));
	json_object_set_new(o, "gap_error_ms", json_real((double)t->gap_error_ns / 1e6));
	json_object_set_new(o, "correction_ms", json_real((double)t->correction_ns / 1e6));
	json_object_set_new(o, "correction_error_ms", json_real((double)t->error_ns / 1e6));
	json_object_set_new(o, "utc_error_ms",
			    t->utc_error_ns == UINT64_MAX ? json_null()
							  : json_real((double)t->utc_error_ns / 1e6));
	return o;
}

static json_t *warnings(const struct remus_clock_status *c)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < c->warnings; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "subject", c->warning[i].subject, "text",
						      c->warning[i].text));
	return list;
}

json_t *status_json(const struct remus_status *s)
{
	if (s->role[0] == 'r')
		return relay_json(s);
	json_t *o = json_pack("{s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:o}", "role", s->role, "state", s->state,
			      "protected", s->protected_now, "reason", s->reason, "peer", s->peer, "tracking",
			      s->tracking, "tracking_note", s->tracking_note, "memory_mib",
			      number(s->guest_pages / 256));
	json_object_set_new(o, "sync",
			    json_pack("{s:o, s:o, s:o}", "round", number(s->sync_round), "pages_sent",
				      number(s->sync_sent), "pages_total", number(s->sync_total)));
	json_object_set_new(o, "epochs",
			    json_pack("{s:o, s:o, s:o}", "sent", number(s->epochs_sent), "committed",
				      number(s->epochs_committed), "aborted", number(s->epochs_aborted)));
	json_object_set_new(o, "pause_us", pause(s));
	json_object_set_new(o, "own_us", quantiles(&s->own));
	json_object_set_new(o, "pause_share", json_real(s->pause_share));
	if (s->agent.known && s->agent.steal_share >= 0)
		json_object_set_new(o, "steal_share", json_real(s->agent.steal_share));
	json_object_set_new(o, "clock", clocks(&s->clock));
	json_object_set_new(o, "warnings", warnings(&s->clock));
	json_object_set_new(o, "commit_us", quantiles(&s->commit));
	if (s->on_overload)
		json_object_set_new(o, "overload", overload(s));
	json_object_set_new(o, "lag_ms", milliseconds(s->lag_us));
	json_object_set_new(o, "dirty_pages",
			    json_pack("{s:o, s:f}", "last", number(s->dirty_last), "mean", s->dirty_mean));
	json_object_set_new(o, "wire",
			    json_pack("{s:o, s:o, s:f}", "bytes", number(s->wire_bytes), "raw_bytes",
				      number(s->raw_bytes), "ratio",
				      s->wire_bytes ? (double)s->raw_bytes / (double)s->wire_bytes : 0.0));
	json_object_set_new(o, "egress", egress(s));
	json_object_set_new(o, "memory",
			    json_pack("{s:o, s:o, s:o}", "cache_bytes", number(s->cache_bytes), "cache_cap",
				      number(s->cache_cap), "staging_bytes", number(s->staging_bytes)));
	json_object_set_new(o, "link", link_figures(&s->link, s->link_security));
	json_object_set_new(o, "failover",
			    json_pack("{s:o, s:o, s:o}", "detect_ms", milliseconds(s->detect_us), "claim_ms",
				      milliseconds(s->claim_us), "activate_ms",
				      milliseconds(s->activate_us)));
	if (s->agent.known)
		json_object_set_new(o, "agent", agent_json(&s->agent));
	if (s->guest_pid)
		json_object_set_new(o, "guest_pid", number((uint64_t)s->guest_pid));
	if (s->locator[0])
		json_object_set_new(o, "domain", json_string(s->locator));
	return o;
}

int key_parse(const char *hex, uint8_t session[REMUS_SESSION_SIZE])
{
	unsigned byte;

	if (!hex || strlen(hex) != 2 * REMUS_SESSION_SIZE)
		return -EINVAL;
	for (int i = 0; i < REMUS_SESSION_SIZE; i++) {
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return -EINVAL;
		session[i] = (uint8_t)byte;
	}
	return 0;
}

void key_hex(const struct remus_key *key, char out[2 * REMUS_SESSION_SIZE + 1])
{
	for (int i = 0; i < REMUS_SESSION_SIZE; i++)
		snprintf(out + 2 * i, 3, "%02x", key->session[i]);
}
