/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both shells together, and every fault point of theirs: each is reached, each makes its call fail, and each time a
 * session with a real protocol, arbiter and network comes to a good end: the guest runs on exactly one side (I5),
 * never paused (I8), with its memory whole (I9), and nothing left that was not committed (I1). Then the same with the
 * process killed in that place.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include "engine-rig.h"
#include "remus/fault.h"

/* What leads to the point, besides protection. */
enum way { SESSION, CUT, HANDOVER, UNPROTECT, GUEST_DIES };

#define EITHER 0
#define LATER  8 /* an epoch in the middle of a session */

struct visit {
	enum remus_fault_point point;
	enum way way;
	bool every_epoch; /* so it is visited in the first and in a later one */
	bool kill;	  /* visit it with a kill too: what follows needs no daemon */
	char survivor;	  /* who must go on when it failed; 'x' = nobody is connected to the primary */
};

#define AT(id) REMUS_AT_##id
static const struct visit visits[] = {
	{AT(primary_connect), SESSION, .survivor = 'x'},
	{AT(primary_hello), SESSION, .survivor = 'p'},
	{AT(primary_track), SESSION, .survivor = 'p'},
	{AT(primary_sync_round), SESSION, .survivor = 'p'},
	{AT(primary_sync_send), SESSION, .survivor = 'p'},
	{AT(primary_sync_paused), SESSION, .survivor = 'p'},
	{AT(primary_pause), SESSION, true, true, 'b'},
	{AT(primary_paused), SESSION, true, true, 'b'},
	{AT(primary_state_saved), SESSION, true, true, 'b'},
	{AT(primary_dirty_fetched), SESSION, true, true, 'b'},
	{AT(primary_copied), SESSION, true, true, 'b'},
	{AT(primary_hold), SESSION, .survivor = 'b'},
	{AT(primary_seal), SESSION, true, true, 'b'},
	{AT(primary_sealed), SESSION, true, true, 'p'}, /* no second seal (I10): given up in order */
	{AT(primary_resume), SESSION, true, true, 'b'},
	{AT(primary_resumed), SESSION, true, true, 'b'},
	{AT(primary_send), SESSION, true, true, EITHER},
	{AT(primary_pages_sent), SESSION, true, true, EITHER},
	{AT(primary_commit), SESSION, true, true, EITHER},
	{AT(primary_sent), SESSION, true, true, EITHER},
	{AT(primary_acked), SESSION, true, true, EITHER},
	{AT(primary_release), SESSION, true, true, 'p'},
	{AT(primary_released), SESSION, true, true, 'p'},
	{AT(primary_handover), HANDOVER, .survivor = EITHER},
	{AT(primary_domain_lost), GUEST_DIES, .survivor = 'b'},
	{AT(primary_end), UNPROTECT, .survivor = EITHER},
	{AT(primary_claim), CUT, .kill = true},
	{AT(primary_claimed), CUT, .survivor = EITHER},
	{AT(primary_pass), UNPROTECT, .survivor = 'p'},
	{AT(primary_discard), HANDOVER, .survivor = 'b'},
	{AT(primary_destroy), HANDOVER, .survivor = 'b'},
	{AT(primary_retire), UNPROTECT, .survivor = 'p'},
	{AT(backup_hello), SESSION, .kill = true, .survivor = 'p'},
	{AT(backup_admitted), SESSION, .kill = true, .survivor = 'p'},
	{AT(backup_arbiter), SESSION, .kill = true, .survivor = 'p'},
	{AT(backup_standby), SESSION, .kill = true, .survivor = 'p'},
	{AT(backup_nics), SESSION, .kill = true, .survivor = 'p'},
	{AT(backup_welcome), SESSION, .kill = true, .survivor = 'p'},
	{AT(backup_sync_apply), SESSION, .kill = true, .survivor = 'p'},
	{AT(backup_stage), SESSION, true, true, EITHER},
	{AT(backup_verify), SESSION, true, true, EITHER},
	{AT(backup_verified), SESSION, true, true, EITHER},
	{AT(backup_ack), SESSION, true, true, EITHER},
	{AT(backup_acked), SESSION, true, true, 'p'},
	{AT(backup_applying), SESSION, true, true, 'p'},
	{AT(backup_applied), SESSION, true, true, 'p'},
	{AT(backup_claim), CUT, .kill = true},
	{AT(backup_claimed), CUT, .survivor = EITHER},
	{AT(backup_activate), HANDOVER, .survivor = 'p'},
	{AT(backup_activated), HANDOVER, .survivor = 'p'},
	{AT(backup_activate), GUEST_DIES, .survivor = 'b'},
	{AT(backup_activated), GUEST_DIES, .survivor = 'b'},
	{AT(backup_pass), HANDOVER, .survivor = 'b'},
	{AT(backup_announce), HANDOVER, .survivor = 'b'},
	{AT(backup_tell), HANDOVER, .survivor = 'b'},
	{AT(backup_drop), UNPROTECT, .survivor = 'p'},
	{AT(backup_end_ack), UNPROTECT, .survivor = EITHER},
};

static const char *name_of(enum remus_fault_point point)
{
	static struct remus_fault_info info;

	remus_fault_info(point, &info);
	return info.name;
}

/* remusd's own points and those of its children around a session are tests/system/test-faults.py's. */
static bool is_shells(enum remus_fault_point point)
{
	return !strncmp(name_of(point), "primary-", 8) || !strncmp(name_of(point), "backup-", 7);
}

static void every_point_is_visited(void)
{
	for (int p = 0; p < REMUS_FAULT_COUNT; p++) {
		bool visited = false;
		for (size_t i = 0; i < REMUS_ARRAY_SIZE(visits); i++)
			visited |= (int)visits[i].point == p;
		if (visited != is_shells((enum remus_fault_point)p))
			printf("\n    %s\n", name_of((enum remus_fault_point)p));
		CU_ASSERT_EQUAL(visited, is_shells((enum remus_fault_point)p));
	}
}

/* ---- on the way ---- */

static bool await_fired(void)
{
	for (int ms = 0; ms < RIG_PATIENCE_MS; ms += 2) {
		if (remus_fault_fired())
			return true;
		usleep(2000);
	}
	return false;
}

/* Bring about what the point is a part of. */
static void lead_to(struct rig *r, enum way way)
{
	if (way == SESSION || !up_wait_committed(&r->primary, 5))
		return;
	if (way == CUT)
		relay_set(&r->relay, WIRE_CUT);
	else if (way == GUEST_DIES)
		kill(r->guest, SIGKILL);
	else
		up_command(&r->primary, way == HANDOVER ? REMUS_COMMAND_FAILOVER : REMUS_COMMAND_UNPROTECT);
}

/* Either the session has ended, or it goes on: then it is ended by a hand-over, which checks the standby's memory. */
static void settle(struct rig *r)
{
	uint64_t committed = up_status(&r->primary).epochs_committed;

	for (int ms = 0; ms < RIG_PATIENCE_MS && !up_is_over(&r->primary); ms += 2) {
		if (up_status(&r->primary).epochs_committed >= committed + 5) {
			up_command(&r->primary, REMUS_COMMAND_FAILOVER);
			break;
		}
		usleep(2000);
	}
}

/* What the arbiter holds: 'o', 'p', 'b', 0 = nothing. */
static char record(const struct rig *r)
{
	char kept = 0;
	DIR *d = opendir(r->arb);

	CU_ASSERT_FATAL(d != NULL);
	for (struct dirent *e; (e = readdir(d));) {
		const char *end = strrchr(e->d_name, '.');
		if (e->d_name[0] != '.' && end)
			kept = end[1];
	}
	closedir(d);
	return kept;
}

/* Nobody goes on against the arbiter's word (I5). The backup may give its claim back, by saying REFUSE. */
static void check_record(struct rig *r, char survivor, const struct visit *v)
{
	r->claimed = record(r);
	if (survivor == 'b')
		CU_ASSERT_EQUAL(r->claimed, 'b');
	if (survivor == 'p' && r->claimed == 'b')
		CU_ASSERT(v->point == AT(backup_activate) || v->point == AT(backup_activated));
	CU_ASSERT_EQUAL(r->claimed == 'o', v->point == AT(primary_retire));
}

static void check_end(struct rig *r, const struct visit *v)
{
	uint64_t gaps = 0;
	char survivor = rig_survivor(r); /* one side, running, with its memory whole */

	if (v->survivor)
		CU_ASSERT_EQUAL(survivor, v->survivor);
	check_record(r, survivor, v);
	CU_ASSERT(net_wait(&r->net, survivor, net_last(&r->net) + 3));
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, &gaps));
	if (survivor == 'p')
		CU_ASSERT_EQUAL(gaps, v->point == AT(primary_release) ? gaps : 0);
}

/* The primary never came to a backup. */
static void check_untouched(struct rig *r)
{
	CU_ASSERT_FATAL(up_wait_return(&r->primary));
	CU_ASSERT(r->primary.out.guest_here && !r->primary.out.armed);
	rig_check_runs(r->control);
	CU_ASSERT(net_wait(&r->net, 'p', net_last(&r->net) + 3));
	rig_quit(r, &r->backup);
}

static bool arm(const struct visit *v, unsigned nth, const char *action, char spec[96])
{
	snprintf(spec, 96, "%s:%u%s", name_of(v->point), nth, action);
	bool good = remus_fault_arm(spec, NULL) == 0;
	CU_ASSERT(good);
	return good;
}

/* Once, the @nth time; or with @ever from then on: then who goes on isn't asked, only that one does. */
static void visit_and_fail(const struct visit *v, unsigned nth, bool ever)
{
	unsigned failures = CU_get_number_of_failures();
	struct visit once = *v;
	char spec[96];

	if (!arm(v, nth, ever ? "+:fail" : ":fail", spec))
		return;
	if (ever)
		once.survivor = EITHER;
	struct rig *r = rig_start(&(struct rig_options){.interval_ms = 5});
	lead_to(r, v->way);
	CU_ASSERT_FATAL(await_fired());
	if (v->survivor == 'x') {
		check_untouched(r);
	} else {
		settle(r);
		check_end(r, &once);
	}
	CU_ASSERT(ever ? remus_fault_fired() > 0 : remus_fault_fired() == 1);
	rig_end(r);
	remus_fault_arm(NULL, NULL);
	if (CU_get_number_of_failures() != failures)
		printf("\n    at %s\n", spec);
}

static void each_fails(const char *side, bool epochs)
{
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(visits); i++) {
		if (strncmp(name_of(visits[i].point), side, strlen(side)) || visits[i].every_epoch != epochs)
			continue;
		visit_and_fail(&visits[i], 1, false);
		if (epochs)
			visit_and_fail(&visits[i], LATER, false);
		if (epochs)
			visit_and_fail(&visits[i], LATER, true);
	}
}
static void primary_fails_around(void)
{
	each_fails("primary", false);
}
static void primary_fails_in_an_epoch(void)
{
	each_fails("primary", true);
}
static void backup_fails_around(void)
{
	each_fails("backup", false);
}
static void backup_fails_in_an_epoch(void)
{
	each_fails("backup", true);
}

/* ---- killed ---- */

static void await_death(struct rig *r, int side)
{
	siginfo_t info = {0};

	for (int ms = 0; ms < RIG_PATIENCE_MS && !info.si_pid; ms += 2) {
		CU_ASSERT_EQUAL_FATAL(waitid(P_PID, (id_t)r->apart[side], &info, WEXITED | WNOHANG | WNOWAIT),
				      0);
		usleep(info.si_pid ? 0 : 2000);
	}
	CU_ASSERT_EQUAL_FATAL(info.si_code, CLD_KILLED);
	CU_ASSERT_EQUAL(info.si_status, SIGKILL);
	rig_kill_apart(r, side); /* reaps it */
}

/* The backup may have won already, or not noticed yet: a new engine asks before it does anything. */
static void check_killed_primary(struct rig *r)
{
	rig_run_primary(r, true);
	char survivor = rig_survivor(r);
	CU_ASSERT_EQUAL(record(r), survivor);
	r->claimed = survivor;
	CU_ASSERT(net_wait(&r->net, survivor, net_last(&r->net)));
}

static void check_killed_backup(struct rig *r)
{
	CU_ASSERT_FATAL(up_wait_return(&r->primary));
	CU_ASSERT(r->primary.out.guest_here);
	rig_check_runs(r->control);
	r->claimed = record(r);
	CU_ASSERT_EQUAL(r->claimed, r->primary.out.armed ? 'p' : 0);
	CU_ASSERT(net_wait(&r->net, 'p', net_last(&r->net) + 3));
	for (int ms = 0; ms < RIG_PATIENCE_MS && !access(r->locator, F_OK); ms++)
		usleep(1000); /* the standby goes with its maker */
}

static void visit_and_kill(const struct visit *v)
{
	unsigned failures = CU_get_number_of_failures();
	bool primary = !strncmp(name_of(v->point), "primary", 7);
	struct rig_options options = {.interval_ms = 5, .primary_apart = primary, .backup_apart = !primary};
	char spec[96];

	snprintf(spec, sizeof spec, "%s:%u:kill", name_of(v->point), v->every_epoch ? LATER : 1);
	setenv(REMUS_FAULT_VARIABLE, spec, 1);
	struct rig *r = rig_start(&options);
	unsetenv(REMUS_FAULT_VARIABLE);
	if (v->way == CUT) {
		CU_ASSERT_FATAL(primary ? rig_apart_says(r, 0, "running")
					: up_wait_committed(&r->primary, 5));
		relay_set(&r->relay, WIRE_CUT);
	}
	await_death(r, !primary);
	if (primary)
		check_killed_primary(r);
	else
		check_killed_backup(r);
	rig_end(r);
	if (CU_get_number_of_failures() != failures)
		printf("\n    at %s\n", spec);
}

static void each_kills(void)
{
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(visits); i++)
		if (visits[i].kill)
			visit_and_kill(&visits[i]);
}

static const struct unit_case cases[] = {
	{"every point of the shells is visited", every_point_is_visited},
	{"the primary fails, before and after", primary_fails_around},
	{"the primary fails in an epoch", primary_fails_in_an_epoch},
	{"the backup fails, before and after", backup_fails_around},
	{"the backup fails in an epoch", backup_fails_in_an_epoch},
	{"either is killed", each_kills},
};
RIG_MAIN("engine-points", cases)
