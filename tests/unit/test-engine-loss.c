/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both shells together, sessions that are lost: the link is cut, stalls, closes one way, garbles; the guest, an
 * engine, a backup is killed; the arbiter is out of reach. Each time exactly one side goes on (I5), with memory as
 * of its last epoch or later (I3), and the world has seen nothing that was not committed (I1, I6).
 */
#include <signal.h>
#include <stdio.h>
#include "engine-rig.h"

/* Does @kinds consist of what always comes and then one of two ends? */
static void expect_kinds(struct rig_up *up, const char *begin, const char *won, const char *lost,
			 bool has_won)
{
	char want[256];

	snprintf(want, sizeof want, "%s %s", begin, has_won ? won : lost);
	CU_ASSERT_STRING_EQUAL(up_kinds(up), want);
	if (strcmp(up_kinds(up), want))
		printf("\n    %s: \"%s\", expected \"%s\"\n", up->side, up_kinds(up), want);
}

/* The link is lost and both sides ask the arbiter: one wins, whichever. */
static void either_goes_on(struct rig *r, const char *reason)
{
	uint64_t gaps = 0;
	char winner = rig_survivor(r);

	expect_kinds(&r->primary, "protected backup-lost", "claim-won solo", "claim-lost", winner == 'p');
	expect_kinds(&r->backup, "standby primary-lost", "claim-won activated not-renewed", "standby-dropped",
		     winner == 'b');
	if (reason && !strstr(up_text(&r->primary, "backup-lost"), reason) &&
	    !strstr(up_text(&r->backup, "primary-lost"), reason)) {
		printf("\n    neither \"%s\" ", up_text(&r->primary, "backup-lost"));
		printf("nor \"%s\" has \"%s\"\n", up_text(&r->backup, "primary-lost"), reason);
		CU_FAIL("reason");
	}
	CU_ASSERT(net_wait(&r->net, winner, net_last(&r->net) + 3));
	CU_ASSERT(net_echo(&r->net, winner == 'p' ? r->net_p : r->net_b));
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, &gaps));
	if (winner == 'p')
		CU_ASSERT_EQUAL(gaps, 0); /* what was held came out, in order */
	rig_end(r);
}

static void link_hurt(enum rig_wire wire, uint32_t dead_ms, const char *reason)
{
	struct rig *r = rig_protected(&(struct rig_options){.dead_ms = dead_ms});

	relay_set(&r->relay, wire);
	either_goes_on(r, reason);
}
static void link_cut(void)
{
	link_hurt(WIRE_CUT, 0, NULL);
}
static void link_stalled(void)
{
	link_hurt(WIRE_STALLED, 1000, "no sign of life");
}
static void link_half_closed(void)
{
	link_hurt(WIRE_HALF, 0, "closed the connection");
}
static void byte_turned_over(void)
{
	link_hurt(WIRE_BAD_TO, 0, "garbage");
}
static void byte_of_an_answer_turned_over(void)
{
	link_hurt(WIRE_BAD_FROM, 0, "garbage");
}

static void guest_killed(void)
{
	struct rig *r = rig_protected(&(struct rig_options){0});

	kill(r->guest, SIGKILL);
	CU_ASSERT_EQUAL(rig_survivor(r), 'b');
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->primary), "protected guest-lost handed-over");
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->backup), "standby primary-lost claim-won activated not-renewed");
	CU_ASSERT(net_wait(&r->net, 'b', net_last(&r->net)));
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, NULL));
	rig_end(r);
}

/* ---- I12 ---- */

/* The guest has an agent, its primary's host is as good as dead, and the backup must take it over. */
static struct rig *taken_over(struct rig_agent *agent, uint32_t wait_ms, bool deaf)
{
	struct rig *r = rig_protected(&(struct rig_options){.agent = agent, .renew_wait_ms = wait_ms});

	CU_ASSERT_FATAL(up_wait_event(&r->primary, "agent"));
	CU_ASSERT_FATAL(up_wait_committed(&r->backup, up_status(&r->backup).epochs_committed + 3));
	CU_ASSERT(up_status(&r->backup).agent.present);
	atomic_store(&agent->deaf, deaf);
	atomic_store(&agent->behind_ns, INT64_C(700000000));
	kill(r->guest, SIGKILL);
	return r;
}

/* When the backup's guest was first seen outside. */
static uint64_t first_from_backup(struct rig *r)
{
	uint64_t at = 0;

	CU_ASSERT(net_wait(&r->net, 'b', 0));
	pthread_mutex_lock(&r->net.lock);
	for (size_t i = 0; i < r->net.count && !at; i++)
		at = r->net.seen[i].from == 'b' ? r->net.seen[i].at_us : 0;
	pthread_mutex_unlock(&r->net.lock);
	return at;
}

static bool await_count(struct rig_up *up, const char *kind, unsigned count)
{
	for (int ms = 0; ms < RIG_PATIENCE_MS && up_count(up, kind) < count; ms++)
		usleep(1000);
	return up_count(up, kind) >= count;
}

static void renewed_before_the_network(void)
{
	struct rig_agent agent;
	struct rig *r = taken_over(&agent, REMUS_AGENT_WAIT_MAX_MS, false);

	CU_ASSERT_EQUAL(rig_survivor(r), 'b');
	CU_ASSERT(first_from_backup(r) > atomic_load(&agent.renewed_us));
	CU_ASSERT(await_count(&r->backup, "renewed",
			      2)); /* the renewal, and its hooks, which the relay hears of */
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->backup),
			       "standby primary-lost claim-won activated renewed renewed");
	CU_ASSERT_EQUAL(atomic_load(&agent.reseeds), 1);
	CU_ASSERT(strstr(up_text(&r->backup, "renewed"), "1 of 2 programs of resume.d failed, 10-late") !=
		  NULL);
	/* It was 700 ms behind; what the truth and the way there leave open is far less. */
	int64_t behind = atomic_load(&agent.behind_ns);
	CU_ASSERT(behind > -INT64_C(500000000) && behind < INT64_C(500000000));
	struct remus_status s = up_status(&r->backup);
	CU_ASSERT_EQUAL(s.agent.phase, REMUS_RENEWAL_DONE);
	CU_ASSERT_EQUAL(s.agent.renewed.bits, 512);
	rig_end(r);
}

/* An agent that doesn't answer costs the deadline, not the guest; and what it says later is heard. */
static void network_opens_without_an_answer(void)
{
	struct rig_agent agent;
	struct rig *r = taken_over(&agent, 100, true);

	CU_ASSERT_EQUAL(rig_survivor(r), 'b');
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->backup), "standby primary-lost claim-won activated not-renewed");
	CU_ASSERT(first_from_backup(r) > 0);
	CU_ASSERT_EQUAL(atomic_load(&agent.reseeds), 0);
	atomic_store(&agent.deaf, false);
	CU_ASSERT(await_count(&r->backup, "renewed", 2));
	CU_ASSERT_EQUAL(atomic_load(&agent.reseeds), 1);
	rig_end(r);
}

/* Not waited for at all: opened at once, renewed beside. */
static void network_does_not_wait(void)
{
	struct rig_agent agent;
	struct rig *r = taken_over(&agent, 0, true);

	CU_ASSERT_EQUAL(rig_survivor(r), 'b');
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->backup), "standby primary-lost claim-won activated");
	CU_ASSERT(first_from_backup(r) > 0);
	atomic_store(&agent.deaf, false);
	CU_ASSERT(await_count(&r->backup, "renewed", 2));
	rig_end(r);
}

static void backup_killed_in_full_copy(void)
{
	struct rig *r =
		rig_start(&(struct rig_options){.backup_apart = true, .pages = 4096, .budget = 2000000});

	for (int ms = 0; ms < RIG_PATIENCE_MS && !atomic_load(&r->relay.spent); ms++)
		usleep(1000);
	CU_ASSERT_FATAL(atomic_load(&r->relay.spent));
	rig_kill_apart(r, 1);
	relay_set(&r->relay, WIRE_WHOLE); /* the relay sees the end, and passes it on */
	CU_ASSERT_FATAL(up_wait_return(&r->primary));
	CU_ASSERT(r->primary.out.guest_here && !r->primary.out.armed);
	CU_ASSERT_STRING_EQUAL(r->primary.out.word, "ended");
	CU_ASSERT_EQUAL(r->primary.armed, 0);
	CU_ASSERT(strstr(up_text(&r->primary, "failed"), "runs on untouched") != NULL);
	rig_check_runs(r->control);
	CU_ASSERT(net_wait(&r->net, 'p', net_last(&r->net)));
	for (int ms = 0; ms < RIG_PATIENCE_MS && !access(r->locator, F_OK); ms++)
		usleep(1000); /* the standby goes with its maker */
	rig_end(r);
}

static struct rig *backup_killed(enum remus_loss_policy policy)
{
	struct rig *r = rig_protected(&(struct rig_options){.backup_apart = true, .policy = policy});

	rig_kill_apart(r, 1);
	r->claimed = 'p';
	for (int ms = 0; ms < RIG_PATIENCE_MS && !access(r->locator, F_OK); ms++)
		usleep(1000);
	return r;
}

static void backup_killed_goes_solo(void)
{
	struct rig *r = backup_killed(REMUS_LOSS_SOLO);
	uint64_t gaps = 1;

	CU_ASSERT_FATAL(up_wait_return(&r->primary));
	CU_ASSERT(r->primary.out.guest_here);
	CU_ASSERT_STRING_EQUAL(r->primary.out.word, "solo");
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->primary), "protected backup-lost claim-won solo");
	rig_check_runs(r->control);
	CU_ASSERT(net_wait(&r->net, 'p', net_last(&r->net) + 3));
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, &gaps));
	CU_ASSERT_EQUAL(gaps, 0);
	rig_end(r);
}

/* Nothing leaves while the test waits for the guest to send more. */
static void nothing_leaves(struct rig *r)
{
	struct remus_fake_state before = {0}, now = {0};

	CU_ASSERT_EQUAL(rig_ask(r->control, REMUS_FAKE_STATUS, &before), 0);
	for (int ms = 0; ms < RIG_PATIENCE_MS && now.frames < before.frames + 20; ms += 5) {
		usleep(5000);
		if (rig_ask(r->control, REMUS_FAKE_STATUS, &now))
			break;
	}
	CU_ASSERT(now.frames >= before.frames + 20);
	/* Frames of released epochs may still have been on their way at first. */
	CU_ASSERT(net_last(&r->net) <= before.frames);
}

static void policy_hold(void)
{
	struct rig *r = backup_killed(REMUS_LOSS_HOLD);
	uint64_t gaps = 1;

	CU_ASSERT_FATAL(up_wait_event(&r->primary, "unprotected"));
	nothing_leaves(r);
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, NULL));
	CU_ASSERT(!up_is_over(&r->primary));
	up_command(&r->primary, REMUS_COMMAND_UNPROTECT);
	CU_ASSERT_FATAL(up_wait_return(&r->primary));
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->primary), "protected backup-lost claim-won unprotected solo");
	rig_check_runs(r->control);
	CU_ASSERT(net_wait(&r->net, 'p', net_last(&r->net) + 3));
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, &gaps));
	CU_ASSERT_EQUAL(gaps, 0); /* all that was held came */
	rig_end(r);
}

static struct rig *arbiter_gone(void)
{
	struct rig *r = rig_protected(&(struct rig_options){0});
	char away[80];

	snprintf(away, sizeof away, "%s/away", r->dir);
	CU_ASSERT_EQUAL(rename(r->arb, away), 0);
	relay_set(&r->relay, WIRE_CUT);
	CU_ASSERT_FATAL(up_wait_event(&r->primary, "claim-unknown"));
	CU_ASSERT_FATAL(up_wait_event(&r->backup, "claim-unknown"));
	nothing_leaves(r);
	CU_ASSERT(!up_is_over(&r->primary) && !up_is_over(&r->backup));
	CU_ASSERT_EQUAL(up_count(&r->primary, "claim-unknown"), 1); /* told once, though asked again */
	/* unprotect is not the word that decides */
	up_command(&r->primary, REMUS_COMMAND_UNPROTECT);
	CU_ASSERT(up_wait_event(&r->primary, "refused"));
	CU_ASSERT_EQUAL(rename(away, r->arb), 0);
	return r;
}

static void arbiter_comes_back(void)
{
	struct rig *r = arbiter_gone();
	uint64_t gaps = 0;
	char winner = rig_survivor(r);

	expect_kinds(&r->primary, "protected backup-lost claim-unknown refused", "claim-won solo",
		     "claim-lost", winner == 'p');
	expect_kinds(&r->backup, "standby primary-lost claim-unknown", "claim-won activated not-renewed",
		     "standby-dropped", winner == 'b');
	CU_ASSERT(net_wait(&r->net, winner, net_last(&r->net) + 3));
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, &gaps));
	if (winner == 'p')
		CU_ASSERT_EQUAL(gaps, 0);
	rig_end(r);
}

/* The operator's word in place of the arbiter's: the primary is dead for sure, the arbiter out of reach. */
static void operator_decides(void)
{
	struct rig *r = rig_protected(&(struct rig_options){.primary_apart = true});
	char away[80];

	snprintf(away, sizeof away, "%s/away", r->dir);
	CU_ASSERT_EQUAL(rename(r->arb, away), 0);
	rig_kill_apart(r, 0);
	kill(r->guest, SIGKILL);
	CU_ASSERT_FATAL(up_wait_event(&r->backup, "claim-unknown"));
	up_command(&r->backup, REMUS_COMMAND_FORCE);
	CU_ASSERT_FATAL(up_wait_return(&r->backup));
	CU_ASSERT_STRING_EQUAL(r->backup.out.word, "active");
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->backup),
			       "standby primary-lost claim-unknown claim-won activated not-renewed");
	rig_check_runs(r->locator);
	CU_ASSERT(net_wait(&r->net, 'b', net_last(&r->net)));
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, NULL));
	CU_ASSERT_EQUAL(rename(away, r->arb), 0);
	r->claimed = 'o'; /* the key was never claimed */
	r->guest_swept = true;
	rig_end(r);
}

/* An engine dies, its guest goes on speaking into a wire that nobody reads. The next engine asks first. */
static void engine_killed(void)
{
	struct rig *r = rig_protected(&(struct rig_options){.primary_apart = true});
	uint64_t writes_there;
	struct remus_fake_state state = {0};

	rig_kill_apart(r, 0);
	CU_ASSERT_FATAL(up_wait_return(&r->backup));
	CU_ASSERT_STRING_EQUAL(r->backup.out.word, "active");
	CU_ASSERT_EQUAL(rig_ask(r->locator, REMUS_FAKE_STATUS, &state), 0);
	writes_there = state.writes;
	rig_run_primary(r, true);
	CU_ASSERT_EQUAL(rig_survivor(r), 'b');
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->primary), "backup-lost claim-lost");
	CU_ASSERT_EQUAL(rig_ask(r->locator, REMUS_FAKE_STATUS, &state), 0);
	CU_ASSERT(state.writes >= writes_there);
	CU_ASSERT(net_wait(&r->net, 'b', net_last(&r->net)));
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, NULL));
	rig_end(r);
}

static void engine_killed_guest_stays(void)
{
	struct rig *r = rig_protected(&(struct rig_options){.primary_apart = true, .dead_ms = 100000});

	relay_set(&r->relay, WIRE_STALLED); /* the backup hears nothing of it */
	rig_kill_apart(r, 0);
	/* It may have died between pause and resume: worse can't be. */
	CU_ASSERT_EQUAL(rig_ask(r->control, REMUS_FAKE_PAUSE, NULL), 0);
	rig_run_primary(r, true);
	CU_ASSERT_FATAL(up_wait_return(&r->primary));
	CU_ASSERT_STRING_EQUAL(r->primary.out.word, "solo");
	relay_set(&r->relay, WIRE_CUT);
	CU_ASSERT_EQUAL(rig_survivor(r), 'p');
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->primary), "backup-lost claim-won solo");
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->backup), "standby primary-lost standby-dropped");
	CU_ASSERT(net_wait(&r->net, 'p', net_last(&r->net)));
	rig_end(r);
}

static const struct unit_case cases[] = {
	{"the link is cut", link_cut},
	{"the link stalls", link_stalled},
	{"the link closes one way", link_half_closed},
	{"a bit to the backup is turned over", byte_turned_over},
	{"a bit to the primary is turned over", byte_of_an_answer_turned_over},
	{"the guest is killed", guest_killed},
	{"renewed before the network opens (I12)", renewed_before_the_network},
	{"no answer: the network opens at the deadline (I12)", network_opens_without_an_answer},
	{"not waited for: the network opens at once (I12)", network_does_not_wait},
	{"the backup is killed in the first full copy", backup_killed_in_full_copy},
	{"the backup is killed", backup_killed_goes_solo},
	{"the backup is killed, policy hold", policy_hold},
	{"the arbiter is away, and comes back", arbiter_comes_back},
	{"the arbiter is away, the operator decides", operator_decides},
	{"the engine is killed, the backup takes over", engine_killed},
	{"the engine is killed, the guest stays", engine_killed_guest_stays},
};
RIG_MAIN("engine-loss", cases)
