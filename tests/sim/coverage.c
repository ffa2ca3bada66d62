/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See coverage.h. */
#include "coverage.h"

#include <stdio.h>
#include "process.h"

static const char *const primary_states[] = {
	"IDLE",		"CONNECTING", "HELLO", "SYNCING", "RUNNING",   "IN_FLIGHT", "UNPROTECTING",
	"HANDING_OVER", "CLAIMING",   "SOLO",  "HELD",	  "DISCARDED", "ENDED"};
static const char *const backup_states[] = {"HELLO",	  "PREPARING", "SYNCING", "STANDBY", "CLAIMING",
					    "ACTIVATING", "RENEWING",  "ACTIVE",  "DROPPED", "ENDED"};

const char *coverage_state_name(int role, unsigned state)
{
	return role == ROLE_PRIMARY ? primary_states[state] : backup_states[state];
}

static unsigned states_of(int role)
{
	return role == ROLE_PRIMARY ? REMUS_PRIMARY_STATES : REMUS_BACKUP_STATES;
}

unsigned coverage_event(const struct remus_event *ev)
{
	switch (ev->type) {
	case REMUS_EV_FRAME:
		return COVER_FRAME + (ev->header->type < COVER_FRAMES ? ev->header->type : 0);
	case REMUS_EV_TIMER:
		return COVER_TIMER + ev->timer;
	case REMUS_EV_CLAIM:
		return COVER_CLAIM + ev->claim;
	case REMUS_EV_FAILED:
		return COVER_FAILED + ev->action;
	default:
		return ev->type;
	}
}

static const char *event_name(unsigned event, char out[40])
{
	static const char *const timers[REMUS_TIMERS] = {"SETUP",    "EPOCH", "ACK",   "END",
							 "HANDOVER", "RETRY", "RENEW", "BRAKE"};

	if (event < COVER_FRAME)
		snprintf(out, 40, "%s", remus_event_name((enum remus_event_type)event) + 3);
	else if (event < COVER_TIMER)
		snprintf(out, 40, "FRAME:%s", remus_frame_name((uint16_t)(event - COVER_FRAME)));
	else if (event < COVER_CLAIM)
		snprintf(out, 40, "TIMER:%s", timers[event - COVER_TIMER]);
	else if (event < COVER_FAILED)
		snprintf(out, 40, "CLAIM:%s", remus_claim_name((enum remus_claim)(event - COVER_CLAIM)));
	else
		snprintf(out, 40, "FAILED:%s",
			 remus_action_name((enum remus_action_type)(event - COVER_FAILED)) + 3);
	return out;
}

void coverage_note(struct coverage *c, int role, unsigned before, const struct remus_event *event,
		   unsigned after)
{
	c->pair[role][before][coverage_event(event)]++;
	c->step[role][before][after]++;
}

static void short_count(uint64_t n, char out[8])
{
	if (n < 10000)
		snprintf(out, 8, "%u", (unsigned)n);
	else if (n < 10000000)
		snprintf(out, 8, "%uk", (unsigned)(n / 1000));
	else
		snprintf(out, 8, "%uM", (unsigned)(n / 1000000));
}

static void print_table(const struct coverage *c, int role)
{
	char name[40], count[8];

	printf("\n%s: how often each event met each state (. = cannot, - = rare, ! = missing)\n%-24s",
	       role == ROLE_PRIMARY ? "primary" : "backup", "");
	for (unsigned s = 0; s < states_of(role); s++)
		printf(" %6.6s", coverage_state_name(role, s));
	putchar('\n');
	for (unsigned e = 0; e < COVER_EVENTS; e++) {
		if (!expected_event(role, e))
			continue;
		printf("%-24s", event_name(e, name));
		for (unsigned s = 0; s < states_of(role); s++) {
			uint64_t n = c->pair[role][s][e];
			if (n)
				short_count(n, count);
			else
				snprintf(count, sizeof count, "%s",
					 unreachable_pair(role, s, e) ? "."
					 : rare_pair(role, s, e)      ? "-"
								      : "!");
			printf(" %6s", count);
		}
		putchar('\n');
	}
}

static unsigned check_pairs(const struct coverage *c, int role, bool enforce)
{
	unsigned wrong = 0, visited = 0, possible = 0, rare = 0;
	char name[40];

	for (unsigned s = 0; s < states_of(role); s++)
		for (unsigned e = 0; e < COVER_EVENTS; e++) {
			bool seen = c->pair[role][s][e] > 0;
			const char *why = expected_event(role, e) ? unreachable_pair(role, s, e)
								  : "not an event of this machine";
			visited += seen;
			possible += !why;
			if (!seen && !why && rare_pair(role, s, e)) {
				rare++;
				continue;
			}
			if (seen == !why || (!seen && !enforce))
				continue;
			wrong++;
			printf("%s %s x %s: %s%s\n", role == ROLE_PRIMARY ? "primary" : "backup",
			       coverage_state_name(role, s), event_name(e, name),
			       seen ? "visited, but listed as unreachable: " : "never visited",
			       seen ? why : "");
		}
	printf("%s: %u of %u pairs of state and event visited, %u rare ones not\n",
	       role == ROLE_PRIMARY ? "primary" : "backup", visited, possible, rare);
	return wrong;
}

static unsigned check_steps(const struct coverage *c, int role, bool enforce)
{
	unsigned wrong = 0, visited = 0;

	for (unsigned from = 0; from < states_of(role); from++)
		for (unsigned to = 0; to < states_of(role); to++) {
			bool seen = c->step[role][from][to] > 0, expected = expected_step(role, from, to);
			if (from == to)
				continue;
			visited += seen;
			if (seen == expected || (!seen && !enforce))
				continue;
			wrong++;
			printf("%s %s -> %s: %s\n", role == ROLE_PRIMARY ? "primary" : "backup",
			       coverage_state_name(role, from), coverage_state_name(role, to),
			       seen ? "happened, but is no transition of the machine" : "never happened");
		}
	printf("%s: %u transitions visited\n", role == ROLE_PRIMARY ? "primary" : "backup", visited);
	return wrong;
}

unsigned coverage_print(const struct coverage *c, bool enforce)
{
	unsigned wrong = 0;

	for (int role = 0; role < ROLES; role++) {
		print_table(c, role);
		wrong += check_pairs(c, role, enforce);
		wrong += check_steps(c, role, enforce);
	}
	return wrong;
}
