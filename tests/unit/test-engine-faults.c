/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both shells together while calls to the hypervisor fail: the guest is never left standing (I8), and not a dirty
 * page is lost by an epoch that was given up (I9). After many failures the guest is handed over and its memory
 * verified on the backup, where a page that wasn't sent again would be one write too old. The guest writes each
 * page about once a second, so that a lost page isn't covered up by the next write to it.
 */
#include <stdio.h>
#include "engine-rig.h"

#define HITS 8

static bool await_hits(struct rig *r, unsigned hits)
{
	for (int ms = 0; ms < RIG_PATIENCE_MS; ms += 2) {
		if (atomic_load(&r->options.faults->hits) >= hits)
			return true;
		if (up_is_over(&r->primary))
			break;
		usleep(2000);
	}
	printf("\n    %u faults of %u came\n", atomic_load(&r->options.faults->hits), hits);
	return false;
}

static void survives(struct rig_faults *faults)
{
	struct rig *r = rig_protected(
		&(struct rig_options){.pages = 4096, .rate = 4000, .interval_ms = 5, .faults = faults});
	uint64_t gaps = 1, committed;

	atomic_store(&faults->on, true);
	CU_ASSERT_FATAL(await_hits(r, HITS));
	atomic_store(&faults->on, false);
	/* Epochs go on, and the guest runs. */
	committed = up_status(&r->primary).epochs_committed;
	CU_ASSERT(up_wait_committed(&r->primary, committed + 1));
	rig_check_runs(r->control);
	CU_ASSERT(up_count(&r->primary, "failed") > 0);
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->primary), "protected");

	up_command(&r->primary, REMUS_COMMAND_FAILOVER);
	CU_ASSERT_EQUAL(rig_survivor(r), 'b'); /* verifies memory */
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, &gaps));
	CU_ASSERT_EQUAL(gaps, 0);
	rig_end(r);
}

static void one_kind(enum rig_call call, bool after)
{
	struct rig_faults faults = {.after = after};

	faults.every[call] = 3;
	survives(&faults);
}
static void pause_fails(void)
{
	one_kind(CALL_PAUSE, false);
}
static void pause_succeeds_and_fails(void)
{
	one_kind(CALL_PAUSE, true);
}
static void state_fails(void)
{
	one_kind(CALL_SAVE, false);
}
static void fetch_fails(void)
{
	one_kind(CALL_FETCH, false);
}
static void fetch_succeeds_and_fails(void)
{
	one_kind(CALL_FETCH, true);
}
static void copy_fails(void)
{
	one_kind(CALL_COPY, false);
}
static void resume_fails(void)
{
	one_kind(CALL_RESUME, false);
}
static void resume_succeeds_and_fails(void)
{
	one_kind(CALL_RESUME, true);
}
static void many_fail(void)
{
	struct rig_faults faults = {.every = {17, 19, 23, 29, 13}};

	survives(&faults);
}
/* Pages that are reported though nothing was written, and epochs given up among them: each page arrives (I9). */
static void lazy_tracking(void)
{
	struct rig_faults faults = {.every = {[CALL_FETCH] = 11, [CALL_COPY] = 7}, .lazy = true};

	survives(&faults);
	CU_ASSERT(atomic_load(&faults.told) > 4 * HITS);
}

/* Pauses whose beginning nobody saw are in no quantile. */
static void reckoned_pauses(void)
{
	struct rig_faults faults = {.reckoned = true};
	struct rig *r = rig_protected(&(struct rig_options){.faults = &faults});

	CU_ASSERT_FATAL(up_wait_committed(&r->primary, up_status(&r->primary).epochs_committed + 20));
	struct remus_status status = up_status(&r->primary);
	CU_ASSERT_EQUAL(status.pause.max, 0);
	CU_ASSERT_EQUAL(status.parts.stop, 0);
	CU_ASSERT(status.own.max > 0);
	CU_ASSERT(status.dirty_mean > 0 &&
		  status.dirty_mean < 1024); /* all that doesn't hang on it is of all epochs */
	rig_end(r);
}

/* The capture fails, and the guest can't be woken at the first attempt. */
static void copy_fails_then_resume(void)
{
	struct rig_faults faults = {.every[CALL_COPY] = 4, .then_resume = true};

	survives(&faults);
}

static void given_up_after_many(void)
{
	struct rig_faults faults = {.every[CALL_COPY] = 1};
	struct rig *r = rig_protected(&(struct rig_options){.faults = &faults});
	uint64_t gaps = 1;

	atomic_store(&faults.on, true);
	CU_ASSERT_EQUAL(rig_survivor(r), 'p');
	CU_ASSERT_EQUAL(r->primary.out.code, -EIO);
	CU_ASSERT_STRING_EQUAL(r->primary.out.word, "ended");
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->primary), "protected unprotected");
	CU_ASSERT_EQUAL(up_count(&r->primary, "failed"), 3);
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->backup), "standby standby-dropped");
	CU_ASSERT(net_wait(&r->net, 'p', net_last(&r->net) + 3));
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, &gaps));
	CU_ASSERT_EQUAL(gaps, 0);
	rig_end(r);
}

/* In the first full copy nothing is armed yet: a failure ends the session and leaves the guest as it was. */
static void first_copy_fails(void)
{
	struct rig_faults faults = {.every[CALL_COPY] = 1, .on = true};
	struct rig *r = rig_start(&(struct rig_options){.faults = &faults});

	CU_ASSERT_EQUAL(rig_survivor(r), 'p');
	CU_ASSERT(!r->primary.out.armed);
	CU_ASSERT_EQUAL(r->primary.out.code, -EIO);
	CU_ASSERT(strstr(up_text(&r->primary, "failed"), "runs on untouched") != NULL);
	rig_end(r);
}

/* What can't be recorded isn't sent: the backup never gets an epoch, and the guest goes on here. */
static void record_fails(void)
{
	struct rig *r = rig_start(&(struct rig_options){.refuse_to_arm = true});

	CU_ASSERT_EQUAL(rig_survivor(r), 'p');
	CU_ASSERT_STRING_EQUAL(r->primary.out.word, "solo");
	CU_ASSERT_EQUAL(up_count(&r->backup, "standby"), 0);
	CU_ASSERT(strstr(up_text(&r->primary, "backup-lost"), "the record can't be written") != NULL);
	CU_ASSERT(net_wait(&r->net, 'p', net_last(&r->net) + 3));
	rig_end(r);
}

/* The link is lost while an epoch's guest can't be woken: still the claim is asked for, and one side goes on. */
static void resume_fails_and_link_cut(void)
{
	struct rig_faults faults = {.every[CALL_RESUME] = 1};
	struct rig *r = rig_protected(&(struct rig_options){.faults = &faults});

	atomic_store(&faults.on, true);
	CU_ASSERT_FATAL(await_hits(r, 1));
	relay_set(&r->relay, WIRE_CUT);
	CU_ASSERT_FATAL(up_wait_event(&r->primary, "backup-lost"));
	usleep(100000); /* some more attempts to wake it, in the state that follows */
	atomic_store(&faults.on, false);
	rig_survivor(r);
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, NULL));
	rig_end(r);
}

/* It can't be woken at all: the backup takes over, and our copy is destroyed, not forgotten. */
static void never_resumes(void)
{
	struct rig_faults faults = {.every[CALL_RESUME] = 1};
	struct rig *r = rig_protected(&(struct rig_options){.faults = &faults});

	atomic_store(&faults.on, true);
	CU_ASSERT_EQUAL(rig_survivor(r), 'b');
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->primary), "protected guest-lost handed-over");
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, NULL));
	rig_end(r);
}

static const struct unit_case cases[] = {
	{"pause fails", pause_fails},
	{"pause works, and fails", pause_succeeds_and_fails},
	{"state fails", state_fails},
	{"dirty fetch fails", fetch_fails},
	{"dirty fetch works, and fails", fetch_succeeds_and_fails},
	{"copy fails", copy_fails},
	{"resume fails", resume_fails},
	{"resume works, and fails", resume_succeeds_and_fails},
	{"many things fail", many_fail},
	{"pages that stay in the dirty set", lazy_tracking},
	{"pauses of which nobody saw the beginning", reckoned_pauses},
	{"copy fails, then resume", copy_fails_then_resume},
	{"resume never works", never_resumes},
	{"given up after many failures", given_up_after_many},
	{"the first full copy fails", first_copy_fails},
	{"the record can't be written", record_fails},
	{"resume fails and the link is cut", resume_fails_and_link_cut},
};
RIG_MAIN("engine-faults", cases)
