/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pairs of state and event cannot occur, and why; which are so rare that a run of `make check` may miss them;
 * which transitions the machines have. Checked both ways: a pair listed here as impossible that is met is an error.
 */
#include "coverage.h"

#include <stddef.h>
#include "process.h"

#define BIT(x) (1u << (x))

/* ---- primary ---- */

#define P(name)	     BIT(REMUS_P_##name)
#define P_ALL	     (BIT(REMUS_PRIMARY_STATES) - 1)
#define P_LINKED     (P(HELLO) | P(SYNCING) | P(RUNNING) | P(IN_FLIGHT) | P(UNPROTECTING) | P(HANDING_OVER))
#define P_BEFORE     (P(IDLE) | P(CONNECTING) | P(HELLO))
#define P_LINGERING  (P(SOLO) | P(DISCARDED) | P(ENDED)) /* over, but RESUME, PASS or DESTROY is tried again */
#define FAILED(name) (COVER_FAILED + REMUS_DO_##name)
#define FRAME(name)  (COVER_FRAME + REMUS_FRAME_##name)
#define TIMER(name)  (COVER_TIMER + REMUS_TIMER_##name)

/* An event, the states in which it occurs, those in which it is rare, and why it doesn't in the others. */
struct row {
	unsigned event, states, rare;
	const char *why;
};

static const char first_event[] = "the first event of a process, once";
static const char connecting[] = "CONNECT blocks the shell until its outcome";
static const char closed[] = "the link was closed on the way to this state, or isn't open yet";
static const char unbound[] = "the gate admits only greetings before the hello is accepted";
static const char no_lies[] = "a false word about who runs the guest: not simulated (unit tests)";
static const char of_its_step[] = "its action is of steps that end in other states";
static const char cancelled[] = "set and cancelled, or given up, in other states";
static const char asked[] = "asked in CLAIMING alone";

#define OPEN_FRAMES (P(SYNCING) | P(RUNNING) | P(IN_FLIGHT) | P(UNPROTECTING) | P(HANDING_OVER))
#define ODD	    (P(SYNCING) | P(UNPROTECTING) | P(HANDING_OVER) | P(RUNNING) | P(IN_FLIGHT))
#define AT_WORK	    (P_ALL & ~(P(IDLE) | P(CONNECTING)))

static const struct row primary_rows[] = {
	{REMUS_EV_START, P(IDLE), 0, first_event},
	{REMUS_EV_RECOVER, P(IDLE), 0, first_event},
	{REMUS_EV_LINK_LOST, P_LINKED, P(ENDED), closed},
	{REMUS_EV_CMD_UNPROTECT, AT_WORK & ~P_LINGERING, P_LINGERING, connecting},
	{REMUS_EV_CMD_FAILOVER, AT_WORK & ~P_LINGERING, P_LINGERING, connecting},
	{REMUS_EV_CMD_FORCE, AT_WORK & ~P_LINGERING & ~P(SYNCING), P_LINGERING | P(SYNCING), connecting},
	{REMUS_EV_LINK_UP, P(CONNECTING), 0, "the outcome of CONNECT"},
	{REMUS_EV_ROUND_DONE, P(SYNCING), 0, "the full copy ends with its state"},
	{REMUS_EV_SENT, P(IN_FLIGHT) | P(HANDING_OVER), 0, of_its_step},
	{REMUS_EV_DOMAIN_SHUTDOWN, AT_WORK & ~P_LINGERING, P_LINGERING, connecting},
	{REMUS_EV_DOMAIN_LOST, AT_WORK & ~P_LINGERING, P_LINGERING, connecting},
	{FRAME(HELLO), 0, ODD, closed},
	{FRAME(WELCOME), P(HELLO), ODD, closed},
	{FRAME(REFUSE), P_LINKED & ~P(SYNCING), P(SYNCING), closed},
	{FRAME(PAGES), 0, ODD, unbound},
	{FRAME(STATE), 0, ODD, unbound},
	{FRAME(COMMIT), 0, ODD, unbound},
	{FRAME(ACK), P(IN_FLIGHT) | P(UNPROTECTING) | P(HANDING_OVER), P(RUNNING) | P(SYNCING), unbound},
	{FRAME(HANDOVER_REQUEST), P(RUNNING) | P(IN_FLIGHT), ODD, unbound},
	{FRAME(HANDOVER), 0, ODD, unbound},
	{FRAME(DOMAIN_LOST), 0, ODD, unbound},
	{FRAME(ACTIVATED), P(HANDING_OVER), 0, no_lies},
	{FRAME(END), 0, ODD, unbound},
	{FRAME(END_ACK), P(UNPROTECTING), 0, no_lies},
	{FRAME(ENTROPY), 0, ODD, unbound},
	{TIMER(SETUP), P(HELLO), P(ENDED), cancelled},
	{TIMER(EPOCH), P(SYNCING) | P(RUNNING) | P(UNPROTECTING) | P(HANDING_OVER) | P(CLAIMING) | P(HELD),
	 P_LINGERING, "not set before the first epoch, nor while one is in flight"},
	{TIMER(ACK), P(IN_FLIGHT) | P(UNPROTECTING) | P(HANDING_OVER) | P(CLAIMING) | P(HELD), P_LINGERING,
	 cancelled},
	{TIMER(END), P(UNPROTECTING) | P(CLAIMING), P_LINGERING | P(HELD) | P(HANDING_OVER), cancelled},
	{TIMER(HANDOVER), P(HANDING_OVER) | P(CLAIMING), P_LINGERING | P(HELD), cancelled},
	{TIMER(RETRY), P(IN_FLIGHT) | P(CLAIMING) | P(SOLO) | P(DISCARDED) | P(ENDED),
	 P(SYNCING) | P(RUNNING) | P(UNPROTECTING) | P(HANDING_OVER) | P(HELD), cancelled},
	{TIMER(BRAKE), P(IN_FLIGHT),
	 P(RUNNING) | P(UNPROTECTING) | P(CLAIMING) | P(HELD) | P(HANDING_OVER) | P_LINGERING,
	 "set while a throttled guest's epoch is in flight"},
	{COVER_CLAIM + REMUS_CLAIM_UNKNOWN, P(CLAIMING), P_LINGERING, asked},
	{COVER_CLAIM + REMUS_CLAIM_WON, P(CLAIMING), P_LINGERING, asked},
	{COVER_CLAIM + REMUS_CLAIM_LOST, P(CLAIMING), P_LINGERING, asked},
	{FAILED(SEND), P(HELLO), 0, "of what is sent only the HELLO can fail"},
	{FAILED(CONNECT), P(CONNECTING), 0, connecting},
	{FAILED(TRACK_START), P(SYNCING), 0, of_its_step},
	{FAILED(SYNC_ROUND), P(SYNCING), 0, of_its_step},
	{FAILED(PAUSE), P(IN_FLIGHT), P(HANDING_OVER), of_its_step},
	{FAILED(CAPTURE), P(IN_FLIGHT), P(HANDING_OVER), of_its_step},
	{FAILED(HOLD), P(IN_FLIGHT), 0, of_its_step},
	{FAILED(SEAL), P(IN_FLIGHT) | P(HANDING_OVER), 0, of_its_step},
	{FAILED(RESUME), P(IN_FLIGHT) | P(CLAIMING),
	 P(SYNCING) | P(RUNNING) | P(UNPROTECTING) | P(SOLO) | P(HELD) | P(ENDED), of_its_step},
	{FAILED(SEND_EPOCH), P(IN_FLIGHT) | P(HANDING_OVER), 0, of_its_step},
	{FAILED(RELEASE), P(RUNNING) | P(IN_FLIGHT) | P(UNPROTECTING) | P(HANDING_OVER), 0, of_its_step},
	{FAILED(PASS), P(SOLO) | P(ENDED), 0, of_its_step},
	{FAILED(DISCARD), P(DISCARDED), P(ENDED), of_its_step},
	{FAILED(DESTROY), P(DISCARDED), 0, of_its_step},
	{FAILED(RETIRE), P(ENDED), 0, of_its_step},
	{0, 0, 0, NULL},
};

/* ---- backup ---- */

#define B(name) BIT(REMUS_B_##name)
#define B_WAITS (B(HELLO) | B(SYNCING) | B(STANDBY) | B(CLAIMING))
#define B_MID	(B(CLAIMING) | B(ACTIVATING))

static const char blocks[] =
	"PREPARE and ACTIVATE block the shell until their outcome; END follows in the step";
static const char no_session[] = "there is no session to command or no standby to end yet, or END follows";

static const struct row backup_rows[] = {
	{REMUS_EV_START, B(HELLO), 0, first_event},
	{REMUS_EV_LINK_LOST, B_WAITS, B(ACTIVATING), blocks},
	{REMUS_EV_CMD_UNPROTECT, B(SYNCING) | B(STANDBY) | B(CLAIMING),
	 B(HELLO) | B(ACTIVATING) | B(RENEWING), blocks},
	{REMUS_EV_CMD_FAILOVER, B(SYNCING) | B(STANDBY) | B(CLAIMING), B(ACTIVATING) | B(RENEWING),
	 no_session},
	{REMUS_EV_CMD_FORCE, B(SYNCING) | B(STANDBY) | B(CLAIMING), B(ACTIVATING) | B(RENEWING), no_session},
	{REMUS_EV_HELLO, B(HELLO), B(SYNCING) | B(STANDBY) | B_MID, blocks},
	{REMUS_EV_STANDBY_READY, B(PREPARING), 0, "the outcome of PREPARE"},
	{REMUS_EV_EPOCH_VERIFIED, B(SYNCING) | B(STANDBY), 0, "raised by VERIFY within its step"},
	{REMUS_EV_EPOCH_BAD, B(STANDBY), B(SYNCING), "raised by VERIFY within its step"},
	{REMUS_EV_ACTIVATED, B(ACTIVATING), 0, "the outcome of ACTIVATE"},
	{REMUS_EV_RENEWED, B(RENEWING) | B(ACTIVE), B(ENDED), "the outcome of RENEW"},
	{REMUS_EV_STANDBY_ENDED, B(SYNCING) | B(STANDBY) | B(CLAIMING), B(ACTIVATING) | B(RENEWING),
	 no_session},
	{FRAME(WELCOME), 0, B_WAITS | B(ACTIVATING), blocks},
	{FRAME(REFUSE), 0, B_WAITS | B(ACTIVATING), blocks},
	{FRAME(PAGES), B(SYNCING) | B(STANDBY), B_MID, unbound},
	{FRAME(STATE), B(SYNCING) | B(STANDBY), B_MID, unbound},
	{FRAME(COMMIT), B(SYNCING) | B(STANDBY), B_MID, unbound},
	{FRAME(ACK), 0, B(SYNCING) | B(STANDBY) | B_MID, unbound},
	{FRAME(HANDOVER_REQUEST), 0, B(SYNCING) | B(STANDBY) | B_MID, unbound},
	{FRAME(HANDOVER), B(STANDBY), B(SYNCING) | B_MID, unbound},
	{FRAME(DOMAIN_LOST), B(STANDBY), B(SYNCING), "sent once, and never after a HANDOVER"},
	{FRAME(ACTIVATED), 0, B(SYNCING) | B(STANDBY) | B_MID, unbound},
	{FRAME(END), B(SYNCING) | B(STANDBY), 0, "not sent after a HANDOVER or a DOMAIN_LOST"},
	{FRAME(END_ACK), 0, B(SYNCING) | B(STANDBY) | B_MID, unbound},
	{FRAME(ENTROPY), B(STANDBY), B(SYNCING) | B_MID, unbound},
	{TIMER(SETUP), B(HELLO), 0, "cancelled by the hello"},
	{TIMER(RENEW), B(RENEWING), 0, "set in RENEWING alone, cancelled by the renewal"},
	{TIMER(RETRY), B_MID, B(RENEWING), "set in CLAIMING and ACTIVATING alone"},
	{COVER_CLAIM + REMUS_CLAIM_UNKNOWN, B(CLAIMING), B(ACTIVATING) | B(RENEWING), asked},
	{COVER_CLAIM + REMUS_CLAIM_WON, B(CLAIMING), B(ACTIVATING) | B(RENEWING), asked},
	{COVER_CLAIM + REMUS_CLAIM_LOST, B(CLAIMING), B(ACTIVATING) | B(RENEWING), asked},
	{FAILED(PREPARE), B(HELLO) | B(PREPARING), 0, "HELLO (a bad one) and PREPARE alone"},
	{FAILED(APPLY_SYNC), B(SYNCING), 0, of_its_step},
	{FAILED(STAGE), B(SYNCING) | B(STANDBY), 0, of_its_step},
	{FAILED(APPLY), B(STANDBY), 0, of_its_step},
	{FAILED(ACTIVATE), B(ACTIVATING), 0, of_its_step},
	{FAILED(PASS), B(ACTIVE), 0, of_its_step},
	{FAILED(ANNOUNCE), B(ACTIVE), 0, of_its_step},
	{0, 0, 0, NULL},
};

static const struct row *row_of(int role, unsigned event)
{
	for (const struct row *r = role == ROLE_PRIMARY ? primary_rows : backup_rows; r->why; r++)
		if (r->event == event)
			return r;
	return NULL;
}

bool expected_event(int role, unsigned event)
{
	return row_of(role, event) != NULL;
}

const char *unreachable_pair(int role, unsigned state, unsigned event)
{
	const struct row *r = row_of(role, event);

	if (!r)
		return "not an event of this machine";
	return (r->states | r->rare) & BIT(state) ? NULL : r->why;
}

bool rare_pair(int role, unsigned state, unsigned event)
{
	const struct row *r = row_of(role, event);

	return r && r->rare & BIT(state);
}

/* ---- transitions ---- */

static const uint16_t primary_steps[REMUS_PRIMARY_STATES] = {
	[REMUS_P_IDLE] = P(CONNECTING) | P(CLAIMING),
	[REMUS_P_CONNECTING] = P(HELLO) | P(ENDED),
	[REMUS_P_HELLO] = P(SYNCING) | P(ENDED),
	[REMUS_P_SYNCING] = P(IN_FLIGHT) | P(ENDED),
	[REMUS_P_RUNNING] = P(IN_FLIGHT) | P(UNPROTECTING) | P(HANDING_OVER) | P(CLAIMING),
	[REMUS_P_IN_FLIGHT] =
		P(SYNCING) | P(RUNNING) | P(UNPROTECTING) | P(HANDING_OVER) | P(CLAIMING) | P(ENDED),
	[REMUS_P_UNPROTECTING] = P(CLAIMING) | P(ENDED),
	[REMUS_P_HANDING_OVER] =
		P(RUNNING) | P(UNPROTECTING) | P(CLAIMING) | P(SOLO) | P(DISCARDED) | P(ENDED),
	[REMUS_P_CLAIMING] = P(SOLO) | P(HELD) | P(DISCARDED) | P(ENDED),
	[REMUS_P_HELD] = P(SOLO) | P(ENDED),
};

static const uint16_t backup_steps[REMUS_BACKUP_STATES] = {
	[REMUS_B_HELLO] = B(PREPARING) | B(DROPPED),
	[REMUS_B_PREPARING] = B(SYNCING) | B(DROPPED),
	[REMUS_B_SYNCING] = B(STANDBY) | B(DROPPED) | B(ENDED),
	[REMUS_B_STANDBY] = B(CLAIMING) | B(DROPPED) | B(ENDED),
	[REMUS_B_CLAIMING] = B(ACTIVATING) | B(DROPPED),
	[REMUS_B_ACTIVATING] = B(RENEWING) | B(ACTIVE) | B(DROPPED),
	[REMUS_B_RENEWING] = B(ACTIVE) | B(ENDED),
};

bool expected_step(int role, unsigned from, unsigned to)
{
	return (role == ROLE_PRIMARY ? primary_steps : backup_steps)[from] & BIT(to);
}
