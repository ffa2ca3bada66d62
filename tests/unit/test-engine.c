/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both shells together, sessions that end in agreement: unprotect, shutdown, planned hand-over from either side,
 * refusal; and protecting anew. The guest's memory is verified at the survivor (I3, I9), the world's view of its
 * network judged (I1), and nothing may be left over (I13). How sessions end that are lost is in
 * test-engine-loss.c.
 */
#include <signal.h>
#include <sys/wait.h>
#include "engine-rig.h"

static void ends_in_agreement(struct rig *r, uint64_t *gaps)
{
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, gaps));
	CU_ASSERT(net_count(&r->net) > 0);
	CU_ASSERT_EQUAL(r->primary.armed, 1);
	CU_ASSERT_EQUAL(r->backup.admitted, 1);
}

static void unprotect(enum remus_command command)
{
	struct rig *r = rig_protected(&(struct rig_options){0});
	uint64_t gaps = 1;

	up_command(&r->primary, command);
	CU_ASSERT_EQUAL(rig_survivor(r), 'p');
	CU_ASSERT_STRING_EQUAL(r->primary.out.word, "ended");
	CU_ASSERT_EQUAL(r->primary.out.code, 0);
	CU_ASSERT_STRING_EQUAL(r->backup.out.word, "ended");
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->primary), "protected unprotected");
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->backup), "standby standby-dropped");
	if (command ==
	    REMUS_COMMAND_UNPROTECT) /* its network goes on, and nothing of what was held is lost */
		CU_ASSERT(net_wait(&r->net, 'p', net_last(&r->net) + 5));
	ends_in_agreement(r, &gaps);
	CU_ASSERT_EQUAL(gaps, 0);
	rig_end(r);
}
static void unprotects(void)
{
	unprotect(REMUS_COMMAND_UNPROTECT);
}
static void quits_in_order(void)
{
	unprotect(REMUS_COMMAND_QUIT);
}

static void shutdown_is_not_undone(void)
{
	struct rig *r = rig_protected(&(struct rig_options){0});

	CU_ASSERT_EQUAL(rig_ask(r->control, REMUS_FAKE_SHUTDOWN, NULL), 0);
	CU_ASSERT_FATAL(up_wait_return(&r->primary) && up_wait_return(&r->backup));
	CU_ASSERT(!r->primary.out.guest_here && !r->backup.out.guest_here);
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->primary), "protected guest-shutdown guest-shutdown");
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->backup), "standby standby-dropped");
	CU_ASSERT_STRING_EQUAL(r->backup.out.word, "ended");
	CU_ASSERT(access(r->locator, F_OK) != 0);
	ends_in_agreement(r, NULL);
	rig_end(r);
}

/* Both shells read the clocks of one host here: what the backup takes for the right time is what they show. */
static void knows_the_time(struct rig_up *backup, uint64_t gap_max_ns)
{
	const struct remus_clock_status *c = &backup->status.clock;
	struct remus_clock_reading now;
	struct remus_truth t;

	CU_ASSERT_FATAL(c->activated);
	CU_ASSERT(strstr(up_text(backup, "clock"), "the right time is the primary's") != NULL);
	remus_clock_read(&now);
	remus_clock_carry(&c->truth, &now, &t);
	CU_ASSERT((uint64_t)llabs(t.realtime_ns - now.realtime_ns) <= t.error_ns + 1000000);
	CU_ASSERT(t.source == REMUS_TIME_PRIMARY && t.policy == REMUS_CLOCK_SLEW && c->policy == t.policy);
	CU_ASSERT(t.floor_ns == t.shown_ns && t.gap_ns > 0 && t.gap_ns < gap_max_ns);
	CU_ASSERT(t.gap_error_ns < t.gap_ns + 1000000);
}

static void hand_over(bool asked_by_backup)
{
	struct rig *r = rig_protected(&(struct rig_options){0});
	uint64_t gaps = 1;

	up_command(asked_by_backup ? &r->backup : &r->primary, REMUS_COMMAND_FAILOVER);
	CU_ASSERT_EQUAL(rig_survivor(r), 'b');
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->primary), "protected handed-over");
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->backup), "standby primary-lost claim-won activated not-renewed");
	CU_ASSERT(net_wait(&r->net, 'b', net_last(&r->net) + 5));
	CU_ASSERT(net_echo(&r->net, r->net_b));
	CU_ASSERT(r->net.announced > 0);
	knows_the_time(&r->backup, UINT64_C(20000000000));
	ends_in_agreement(r, &gaps);
	CU_ASSERT_EQUAL(gaps, 0); /* planned: not a frame is lost */
	rig_end(r);
}
static void hands_over(void)
{
	hand_over(false);
}
static void hands_over_when_asked(void)
{
	hand_over(true);
}

static void strange_arbiter_is_refused(void)
{
	struct rig *r = rig_start(&(struct rig_options){.strange_arbiter = true});

	CU_ASSERT_EQUAL(rig_survivor(r), 'p');
	CU_ASSERT_EQUAL(r->primary.out.code, -EOPNOTSUPP);
	CU_ASSERT(!r->primary.out.armed);
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->primary), "");
	const char *text = up_text(&r->primary, "failed");
	CU_ASSERT(strstr(text, "the backup refuses") && strstr(text, r->arb2) && strstr(text, "shared") &&
		  strstr(text, "runs on untouched"));
	CU_ASSERT_EQUAL(r->primary.armed, 0);
	CU_ASSERT(net_wait(&r->net, 'p', net_last(&r->net) + 5));
	uint64_t gaps = 1;
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, &gaps));
	CU_ASSERT_EQUAL(gaps, 0);
	rig_end(r);
}

static void nobody_listens(void)
{
	struct rig *r = rig_start(&(struct rig_options){.backup_apart = true, .budget = 1});

	/* The relay accepts and gives up at once; the engine of the backup is dead. */
	rig_kill_apart(r, 1);
	CU_ASSERT_FATAL(up_wait_return(&r->primary));
	CU_ASSERT(r->primary.out.guest_here && !r->primary.out.armed);
	CU_ASSERT(r->primary.out.code < 0);
	CU_ASSERT(strstr(up_text(&r->primary, "failed"), "runs on untouched") != NULL);
	rig_check_runs(r->control);
	rig_end(r);
}

static void backup_drops_out(void)
{
	struct rig *r = rig_protected(&(struct rig_options){0});
	uint64_t gaps = 1;

	up_command(&r->backup, REMUS_COMMAND_UNPROTECT);
	CU_ASSERT_EQUAL(rig_survivor(r), 'p'); /* it dropped its copy before it said so, and never claims */
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->primary), "protected backup-lost claim-won solo");
	CU_ASSERT(strstr(up_text(&r->primary, "backup-lost"), "operator") != NULL);
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->backup), "standby standby-dropped");
	CU_ASSERT(net_wait(&r->net, 'p', net_last(&r->net) + 5));
	ends_in_agreement(r, &gaps);
	CU_ASSERT_EQUAL(gaps, 0);
	rig_end(r);
}

/* After a lost backup: the same guest, a new session with a new backup, and a failover to that one. */
static void protects_anew(void)
{
	struct rig *r = rig_protected(&(struct rig_options){0});

	up_command(&r->backup, REMUS_COMMAND_UNPROTECT);
	CU_ASSERT_EQUAL(rig_survivor(r), 'p');
	r->keep_guest = true;
	rig_quit(r, &r->primary);
	rig_quit(r, &r->backup);
	r->keep_guest = false;

	char record[160];
	snprintf(record, sizeof record, "%s/656e67696e652d746573740000000000.1.primary", r->arb);
	CU_ASSERT_EQUAL(unlink(record), 0);
	unlink(r->trace);
	unlink(r->backup_trace);
	up_clear(&r->primary);
	up_clear(&r->backup);
	up_init(&r->primary, "primary", NULL);
	up_init(&r->backup, "backup", r->b);
	r->generation = 2;
	rig_run_backup(r);
	rig_run_primary(r, false);
	CU_ASSERT_FATAL(up_wait_committed(&r->primary, 5));
	kill(r->guest, SIGKILL);
	CU_ASSERT_EQUAL(rig_survivor(r), 'b');
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->backup), "standby primary-lost claim-won activated not-renewed");
	CU_ASSERT(net_wait(&r->net, 'b', net_last(&r->net)));
	rig_end(r);
}

static const struct unit_case cases[] = {
	{"unprotect", unprotects},
	{"quit is unprotect", quits_in_order},
	{"a guest's shutdown is not undone", shutdown_is_not_undone},
	{"planned hand-over", hands_over},
	{"planned hand-over, asked for by the backup", hands_over_when_asked},
	{"an arbiter that isn't shared is refused", strange_arbiter_is_refused},
	{"nobody listens", nobody_listens},
	{"the backup drops out", backup_drops_out},
	{"protects anew after a lost backup", protects_anew},
};
RIG_MAIN("engine", cases)
