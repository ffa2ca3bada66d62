/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fault points by themselves: how they are named, armed and counted, and what each action does. That each point of the
 * table is where it says is tests/unit/test-engine-points.c and tests/system/test-faults.py. */
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include "remus/fault.h"
#include "remus/log.h"
#include "unit.h"

static void arm(const char *spec)
{
	struct remus_error err = REMUS_ERROR_INIT;

	CU_ASSERT_EQUAL(remus_fault_arm(spec, &err), 0);
	CU_ASSERT_STRING_EQUAL(err.message, "");
	CU_ASSERT_STRING_EQUAL(remus_fault_armed(), spec);
}

static void table_is_whole(void)
{
	struct remus_fault_info one, other;

	for (int i = 0; i < REMUS_FAULT_COUNT; i++) {
		remus_fault_info((enum remus_fault_point)i, &one);
		CU_ASSERT(strlen(one.name) < REMUS_FAULT_NAME - 1);
		for (const char *c = one.name; *c; c++)
			CU_ASSERT(islower((unsigned char)*c) || *c == '-');
		CU_ASSERT(strlen(one.text) > 10);
		CU_ASSERT(!strcmp(one.process, "remusd") || !strcmp(one.process, "primary") ||
			  !strcmp(one.process, "backup"));
		for (int k = 0; k < i; k++) {
			remus_fault_info((enum remus_fault_point)k, &other);
			CU_ASSERT_STRING_NOT_EQUAL(one.name, other.name);
			CU_ASSERT_STRING_NOT_EQUAL(one.text, other.text);
		}
	}
}

static void nonsense_is_refused(void)
{
	static const struct {
		const char *spec, *word;
	} cases[] = {
		{"primary_copied", "no fault point"},
		{"nowhere", "remusd --faults"},
		{":1:kill", "no fault point"},
		{"primary-copied:", "no count"},
		{"primary-copied:0", "no count"},
		{"primary-copied:-1", "no count"},
		{"primary-copied:+", "no count"},
		{"primary-copied:2++", "no count"},
		{"primary-copied:one", "no count"},
		{"primary-copied:99999999999999999999", "no count"},
		{"primary-copied:1:", "no action"},
		{"primary-copied:1:explode", "no action"},
		{"primary-copied:1:kill=9", "no action"},
		{"primary-copied:1:stop=1", "no action"},
		{"primary-copied:1:kill:", "no action"},
		{"primary-copied:1:fail=", "no error"},
		{"primary-copied:1:fail=5", "no error"},
		{"primary-copied:1:fail=ENONSENSE", "no error"},
		{"primary-copied:1:delay=", "milliseconds"},
		{"primary-copied:1:delay=-1", "milliseconds"},
		{"primary-copied:1:delay=1s", "milliseconds"},
		{"primary-copied:1:delay=600001", "milliseconds"},
		{"primary-copied,primary-sent", "no fault point"},
		{"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"
		 "123456"
		 "7890123456789012345678901234567890",
		 "127 bytes"},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(cases); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		CU_ASSERT_EQUAL(remus_fault_arm(NULL, NULL), 0);
		CU_ASSERT_EQUAL(remus_fault_arm(cases[i].spec, &err), -EINVAL);
		CU_ASSERT_EQUAL(err.code, -EINVAL);
		UNIT_ASSERT_MESSAGE(err, cases[i].word);
		UNIT_ASSERT_MESSAGE(err, "REMUS_FAULT=");
		CU_ASSERT(!remus_fault_on);
		CU_ASSERT_STRING_EQUAL(remus_fault_armed(), "");
	}
}

static void unarmed_is_silent(void)
{
	struct remus_error err = REMUS_ERROR_INIT;

	CU_ASSERT_EQUAL(remus_fault_arm("", &err), 0);
	CU_ASSERT(!remus_fault_on);
	CU_ASSERT_EQUAL(REMUS_FAULT(primary_copied, &err), 0);
	CU_ASSERT_EQUAL(remus_fault_reached(REMUS_AT_primary_copied), 0);
	CU_ASSERT_EQUAL(remus_fault_fired(), 0);
}

static void fails_when_it_is_due(void)
{
	static const struct {
		const char *spec;
		int want[5];
	} cases[] = {
		{"primary-copied", {-EIO, 0, 0, 0, 0}},
		{"primary-copied:1", {-EIO, 0, 0, 0, 0}},
		{"primary-copied:3", {0, 0, -EIO, 0, 0}},
		{"primary-copied:3:fail", {0, 0, -EIO, 0, 0}},
		{"primary-copied:2:fail=ENOSPC", {0, -ENOSPC, 0, 0, 0}},
		{"primary-copied:4+:fail=ENOMEM", {0, 0, 0, -ENOMEM, -ENOMEM}},
		{"primary-copied:1+", {-EIO, -EIO, -EIO, -EIO, -EIO}},
		{"primary-sent", {0, 0, 0, 0, 0}},
		{"primary-copied:2:delay=0", {0, 0, 0, 0, 0}},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(cases); i++) {
		arm(cases[i].spec);
		for (int n = 0; n < 5; n++) {
			struct remus_error err = REMUS_ERROR_INIT;
			int rc = REMUS_FAULT(primary_copied, &err);
			CU_ASSERT_EQUAL(rc, cases[i].want[n]);
			CU_ASSERT_EQUAL(err.code, rc);
			if (rc < 0)
				UNIT_ASSERT_MESSAGE(err, "fault point primary-copied");
			CU_ASSERT_EQUAL(REMUS_FAULT(primary_acked, NULL), 0);
		}
		CU_ASSERT_EQUAL(remus_fault_reached(REMUS_AT_primary_copied), 5);
		CU_ASSERT_EQUAL(remus_fault_reached(REMUS_AT_primary_acked), 5);
	}
	CU_ASSERT_EQUAL(remus_fault_fired(), 1); /* the delay */
}

static void any_counts_each(void)
{
	arm("any:2:fail=EPIPE");
	for (int n = 1; n <= 3; n++) {
		CU_ASSERT_EQUAL(REMUS_FAULT(primary_copied, NULL), n == 2 ? -EPIPE : 0);
		CU_ASSERT_EQUAL(REMUS_FAULT(backup_ack, NULL), n == 2 ? -EPIPE : 0);
	}
	CU_ASSERT_EQUAL(remus_fault_fired(), 2);
}

static void watching_only_counts(void)
{
	CU_ASSERT_EQUAL(remus_fault_watch(NULL), 0);
	CU_ASSERT(remus_fault_on);
	CU_ASSERT_STRING_EQUAL(remus_fault_armed(), "");
	for (int n = 0; n < 3; n++)
		CU_ASSERT_EQUAL(REMUS_FAULT(primary_copied, NULL), 0);
	CU_ASSERT_EQUAL(remus_fault_reached(REMUS_AT_primary_copied), 3);
	CU_ASSERT_EQUAL(remus_fault_reached(REMUS_AT_primary_sent), 0);
	CU_ASSERT_EQUAL(remus_fault_fired(), 0);
}

/* A child that passes the point @times and then ends with 7; how waitpid(2) says that it went. */
static int child_passes(int times, pid_t *pid)
{
	int status = -1;

	fflush(stdout);
	*pid = fork();
	if (*pid == 0) {
		for (int i = 0; i < times; i++)
			(void)REMUS_FAULT(primary_copied, NULL);
		_exit(7);
	}
	CU_ASSERT_FATAL(*pid > 0);
	CU_ASSERT_EQUAL_FATAL(waitpid(*pid, &status, WUNTRACED), *pid);
	return status;
}

static void stops_and_goes_on(void)
{
	pid_t pid;

	arm("primary-copied:1:stop");
	int status = child_passes(1, &pid);
	CU_ASSERT_FATAL(WIFSTOPPED(status));
	CU_ASSERT_EQUAL(WSTOPSIG(status), SIGSTOP);
	kill(pid, SIGCONT);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void kills(void)
{
	pid_t pid;

	arm("primary-copied:3:kill");
	int status = child_passes(5, &pid);
	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CU_ASSERT_EQUAL(remus_fault_reached(REMUS_AT_primary_copied), 3);
}

/* What killed one child does not kill its successor: the count is the family's. */
static void counts_are_shared_with_children(void)
{
	pid_t pid;

	arm("primary-copied:2:kill");
	CU_ASSERT(WIFEXITED(child_passes(1, &pid)));
	CU_ASSERT(WIFSIGNALED(child_passes(1, &pid)));
	CU_ASSERT(WIFEXITED(child_passes(3, &pid)));
	CU_ASSERT_EQUAL(remus_fault_reached(REMUS_AT_primary_copied), 5);
	CU_ASSERT_EQUAL(remus_fault_fired(), 1);
	arm("primary-copied:2+:kill");
	CU_ASSERT(WIFEXITED(child_passes(1, &pid)));
	CU_ASSERT(WIFSIGNALED(child_passes(1, &pid)));
	CU_ASSERT(WIFSIGNALED(child_passes(1, &pid)));
	CU_ASSERT_EQUAL(remus_fault_arm(NULL, NULL), 0);
}

static const struct unit_case cases[] = {
	{"the table is whole", table_is_whole},
	{"nonsense is refused", nonsense_is_refused},
	{"not armed, nothing happens", unarmed_is_silent},
	{"fails when it is due", fails_when_it_is_due},
	{"any: each with its own count", any_counts_each},
	{"watching only counts", watching_only_counts},
	{"stop", stops_and_goes_on},
	{"kill", kills},
	{"counts are shared with children", counts_are_shared_with_children},
};

int main(void)
{
	remus_log_level(REMUS_LOG_ERROR);
	return unit_main("fault", cases, REMUS_ARRAY_SIZE(cases));
}
