/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a process notices of being made to do system calls: nothing. Whatever its main thread does meanwhile
 * (sleeping in a system call that the kernel restarts in one way or another, computing, being stopped,
 * receiving signals) must end as it would have.
 */
#include <sys/ptrace.h>
#include "target.h"
#include "replicator/domain/track/inject.h"

#define ROUNDS 5

/* getppid proves that it ran over there. */
static int ask_parent(struct remus_inject *inject, void *context, struct remus_error *err)
{
	return remus_inject_call(inject, SYS_getppid, 0, 0, 0, context, err);
}

static bool can_inject(const struct target *t)
{
	struct remus_error err = REMUS_ERROR_INIT;
	long parent = 0;
	int code = remus_inject_run(t->pid, ask_parent, &parent, &err);
	if (code == -EPERM) {
		printf("\n    not here: %s\n    ", err.message);
		return false;
	}
	if (code)
		printf("\n    inject: %s\n    ", err.message);
	CU_ASSERT_EQUAL(code, 0);
	CU_ASSERT_EQUAL(parent, (long)getpid());
	return code == 0;
}

static void sleeping(int verb, long number)
{
	struct target t = target_start();
	uint64_t mask = target_call(&t, DO_MASK, 0).b;
	CU_ASSERT_NOT_EQUAL(mask, 0);
	if (can_inject(&t)) {
		CU_ASSERT_EQUAL(target_call(&t, DO_MASK, 0).b, mask);
		target_send(&t, verb, 300);
		CU_ASSERT(target_sleeps_in(&t, number));
		for (int i = 0; i < ROUNDS; i++)
			CU_ASSERT(can_inject(&t));
		struct answer a = target_receive(&t);
		CU_ASSERT_EQUAL(a.result, 0);
		CU_ASSERT_EQUAL(a.error, 0);
		CU_ASSERT(a.b >= 299); /* didn't wake early */
		CU_ASSERT_EQUAL(target_call(&t, DO_MASK, 0).b, mask);
	}
	target_end(&t);
}
static void in_nanosleep(void)
{
	sleeping(DO_NANOSLEEP, SYS_clock_nanosleep);
}
static void in_ppoll(void)
{
	sleeping(DO_PPOLL, SYS_ppoll);
}

static void in_read(void)
{
	struct target t = target_start();
	if (can_inject(&t)) {
		target_send(&t, DO_READ_PIPE, 0);
		CU_ASSERT(target_sleeps_in(&t, SYS_read));
		for (int i = 0; i < ROUNDS; i++)
			CU_ASSERT(can_inject(&t));
		CU_ASSERT_EQUAL(write(t.pipe, "Q", 1), 1);
		struct answer a = target_receive(&t);
		CU_ASSERT_EQUAL(a.result, 1);
		CU_ASSERT_EQUAL(a.b, 'Q');
	}
	target_end(&t);
}

static void in_user_code(void)
{
	struct target t = target_start();
	if (can_inject(&t)) {
		target_send(&t, DO_SPIN, 0);
		for (int i = 0; i < ROUNDS; i++)
			CU_ASSERT(can_inject(&t)); /* rip - 2 is no syscall here: the vDSO's is used */
		atomic_store(t.flag, 1);
		CU_ASSERT(target_receive(&t).b & 1);
	}
	target_end(&t);
}

static void signals_are_not_lost(void)
{
	struct target t = target_start();
	if (can_inject(&t)) {
		const int signals = 100;
		target_send(&t, DO_COUNT_SIGNALS, signals);
		CU_ASSERT(target_sleeps_in(&t, SYS_ppoll));
		for (int i = 0; i < signals; i++) {
			/* before, and on its way while we attach */
			CU_ASSERT_EQUAL(sigqueue(t.pid, SIGRTMIN, (union sigval){.sival_int = i}), 0);
			CU_ASSERT(can_inject(&t));
		}
		CU_ASSERT_EQUAL(target_receive(&t).result, signals);
	}
	target_end(&t);
}

struct storm {
	pid_t pid;
	int count;
};
static void *send_signals(void *argument)
{
	const struct storm *storm = argument;
	for (int i = 0; i < storm->count; i++) {
		while (sigqueue(storm->pid, SIGRTMIN, (union sigval){.sival_int = i})) /* queue full */
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
	}
	return NULL;
}

static void signals_meanwhile(void)
{
	struct target t = target_start();
	if (can_inject(&t)) {
		struct storm storm = {t.pid, 2000};
		pthread_t thread;
		target_send(&t, DO_COUNT_SIGNALS, (uint64_t)storm.count);
		CU_ASSERT(target_sleeps_in(&t, SYS_ppoll));
		CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, send_signals, &storm), 0);
		for (int i = 0; i < 200; i++)
			CU_ASSERT(can_inject(&t));
		pthread_join(thread, NULL);
		CU_ASSERT_EQUAL(target_receive(&t).result, storm.count);
	}
	target_end(&t);
}

static char state_of(pid_t pid)
{
	char path[64], line[256] = "";
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	if (f && fgets(line, sizeof line, f)) {
		fclose(f);
		char *paren = strrchr(line, ')');
		return paren ? paren[2] : '?';
	}
	return '?';
}
static bool reaches_state(pid_t pid, char want)
{
	for (int tries = 0; tries < 1000 && state_of(pid) != want; tries++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	return state_of(pid) == want;
}

static void while_stopped(void)
{
	struct target t = target_start();
	if (can_inject(&t)) {
		target_send(&t, DO_READ_PIPE, 0);
		CU_ASSERT(target_sleeps_in(&t, SYS_read));
		kill(t.pid, SIGSTOP);
		CU_ASSERT(reaches_state(t.pid, 'T'));
		CU_ASSERT(can_inject(&t));
		CU_ASSERT(reaches_state(t.pid, 'T')); /* stopped it was and stopped it is */
		kill(t.pid, SIGCONT);
		CU_ASSERT_EQUAL(write(t.pipe, "S", 1), 1);
		CU_ASSERT_EQUAL(target_receive(&t).b, 'S');
	}
	target_end(&t);
}

static int fail_after_call(struct remus_inject *inject, void *context, struct remus_error *err)
{
	int code = ask_parent(inject, context, err);
	return code ? code : remus_fail(err, -EDOM, "the body's own");
}

static void failures(void)
{
	struct target t = target_start();
	struct remus_error err = REMUS_ERROR_INIT;
	long parent = 0;
	if (!can_inject(&t))
		goto out;
	/* the body's error comes through, and the process goes on */
	CU_ASSERT_EQUAL(remus_inject_run(t.pid, fail_after_call, &parent, &err), -EDOM);
	CU_ASSERT_STRING_EQUAL(err.message, "the body's own");
	CU_ASSERT_EQUAL(target_call(&t, DO_WRITE, 1).result, 0);

	/* another tracer: named */
	int ready[2];
	char byte;
	if (pipe(ready))
		abort();
	fflush(NULL);
	pid_t other = fork();
	if (!other) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		byte = ptrace(PTRACE_SEIZE, t.pid, 0, 0) ? 'n' : 'y';
		if (write(ready[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	CU_ASSERT_FATAL(read(ready[0], &byte, 1) == 1);
	close(ready[0]);
	close(ready[1]);
	if (byte == 'y') {
		char text[32];
		snprintf(text, sizeof text, "process %d ", (int)other);
		CU_ASSERT_EQUAL(remus_inject_run(t.pid, ask_parent, &parent, &err), -EPERM);
		UNIT_ASSERT_MESSAGE(err, text);
		UNIT_ASSERT_MESSAGE(err, "traces it already");
	}
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);

	kill(t.pid, SIGKILL);
	waitpid(t.pid, NULL, 0);
	CU_ASSERT_EQUAL(remus_inject_run(t.pid, ask_parent, &parent, &err), -ESRCH);
	UNIT_ASSERT_MESSAGE(err, "gone");
	t.pid = -1;
out:
	target_end(&t);
}

static const struct unit_case cases[] = {
	{"a nanosleep goes on", in_nanosleep},
	{"a ppoll goes on", in_ppoll},
	{"a read goes on", in_read},
	{"a computation goes on", in_user_code},
	{"signals sent before are not lost", signals_are_not_lost},
	{"signals sent meanwhile are not lost", signals_meanwhile},
	{"a stopped process stays stopped", while_stopped},
	{"failures detach and name their cause", failures},
};
UNIT_MAIN("inject", cases)
