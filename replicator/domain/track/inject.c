/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System calls in another process, by ptrace. The stops that one injected call takes:
 *
 *	SEIZE, INTERRUPT -> trap stop		save registers and signal mask, block all signals
 *	SYSCALL -> entry stop -> SYSCALL -> exit stop	(once per call; registers point at a `syscall`)
 *	INTERRUPT, CONT -> trap stop		put registers and mask back, DETACH
 *
 * Why the second trap stop: a thread that was interrupted in ppoll, nanosleep or read stands at the first one
 * with rax = -ERESTART... and orig_rax = the call. The kernel turns that into a restart (or, when a signal is
 * to be handled, into EINTR) when it leaves *that kind of stop*. From a system call's exit stop it need not: the
 * raw code could reach the program. So the registers are put back in a stop where the kernel surely looks.
 * Calls that the kernel never restarts (epoll_wait, see signal(7)) return EINTR, as they do after SIGCONT.
 *
 * Signals: everything but SIGKILL and SIGSTOP is blocked meanwhile and stays pending; a SIGSTOP that comes is
 * sent again after the detach. A signal that the thread was about to handle when we attached is delivered
 * first, and we stop at its handler's first instruction.
 *
 * Must never leave a thread held: the tracer is a thread of its own, and the kernel detaches whatever a tracer
 * thread held when it exits, whatever went wrong. Stops are found by asking (PTRACE_GETSIGINFO answers only
 * about a stopped thread), not by wait(2), so that no other wait in this process can steal or be confused by
 * them. What remains: SIGKILL of this process within those few hundred microseconds leaves the thread with the
 * registers of the injected call (I8: the supervisor's business).
 */
#include "inject.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include "method.h"
#include "remus/util.h"

#define MASK_BYTES     8		/* the kernel's sigset_t */
#define CS_64BIT       0x33		/* code segment of 64-bit user code */
#define RESTORE_US     UINT64_C(500000) /* granted for putting things back after the deadline has passed */
#define POLLS_YIELDING 32		/* a stop usually takes about 30 us: don't sleep at once */

enum stop { STOP_TRAP, STOP_SYSCALL, STOP_SIGNAL };

struct remus_inject {
	pid_t pid;
	uint64_t deadline; /* CLOCK_MONOTONIC, us */
	struct user_regs_struct saved;
	uint64_t saved_mask;
	uint64_t syscall_at;
	bool borrowed;	 /* registers or mask differ from the saved ones */
	int held_signal; /* a SIGSTOP that came meanwhile */
};

static int gone_or(struct remus_inject *inject, const char *call, struct remus_error *err)
{
	return remus_track_refused(inject->pid, call, -errno, err);
}

static bool alive(pid_t pid)
{
	char path[64], state = 'X', line[256];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	if (fgets(line, sizeof line, f)) {
		char *paren = strrchr(line, ')');
		if (paren && paren[1] == ' ')
			state = paren[2];
	}
	fclose(f);
	return state != 'X' && state != 'Z';
}

/* Wait until the thread stands in a ptrace stop and say in which kind. */
static int wait_stop(struct remus_inject *inject, enum stop *kind, int *signal, struct remus_error *err)
{
	for (unsigned polls = 0;; polls++) {
		siginfo_t info;
		memset(&info, 0, sizeof info);
		if (!ptrace(PTRACE_GETSIGINFO, inject->pid, 0, &info)) {
			*signal = info.si_signo;
			if (info.si_code == (SIGTRAP | 0x80))
				*kind = STOP_SYSCALL;
			else if (info.si_code >> 8 == PTRACE_EVENT_STOP)
				*kind = STOP_TRAP;
			else
				*kind = STOP_SIGNAL;
			return 0;
		}
		if (errno != ESRCH) /* ESRCH: not stopped yet, or gone */
			return gone_or(inject, "ptrace(GETSIGINFO)", err);
		if (polls < POLLS_YIELDING) {
			sched_yield();
			continue;
		}
		if (!alive(inject->pid))
			return remus_fail(err, -ESRCH, "process %d is gone", (int)inject->pid);
		if (remus_now_us() > inject->deadline)
			return remus_fail(
				err, -ETIMEDOUT,
				"process %d did not stop for ptrace within %u ms: it hangs in the kernel "
				"(state D: storage, NFS?) or is frozen",
				(int)inject->pid, (unsigned)(REMUS_INJECT_DEADLINE_US / 1000));
		nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
	}
}

/* Resume until a stop of kind @want. Signals met on the way are kept for later (only SIGSTOP can come). */
static int resume_until(struct remus_inject *inject, int request, enum stop want, struct remus_error *err)
{
	for (;;) {
		enum stop kind;
		int signal;

		if (ptrace(request, inject->pid, 0, 0))
			return gone_or(inject, "ptrace(resume)", err);
		int code = wait_stop(inject, &kind, &signal, err);
		if (code || kind == want)
			return code;
		if (kind == STOP_SIGNAL)
			inject->held_signal = signal;
		/* a stop clears a pending INTERRUPT: ask again */
		if (want == STOP_TRAP && ptrace(PTRACE_INTERRUPT, inject->pid, 0, 0))
			return gone_or(inject, "ptrace(INTERRUPT)", err);
	}
}

static int attach(struct remus_inject *inject, struct remus_error *err)
{
	enum stop kind;
	int signal, code;

	if (ptrace(PTRACE_SEIZE, inject->pid, 0, PTRACE_O_TRACESYSGOOD))
		return gone_or(inject, "ptrace(SEIZE)", err);
	if (ptrace(PTRACE_INTERRUPT, inject->pid, 0, 0))
		return gone_or(inject, "ptrace(INTERRUPT)", err);
	for (;;) {
		code = wait_stop(inject, &kind, &signal, err);
		if (code)
			return code;
		if (kind == STOP_TRAP)
			break;
		/* About to handle a signal: let it have it, and stop before the handler's first instruction. */
		if (ptrace(PTRACE_INTERRUPT, inject->pid, 0, 0) ||
		    ptrace(PTRACE_CONT, inject->pid, 0, kind == STOP_SIGNAL ? (long)signal : 0L))
			return gone_or(inject, "ptrace(CONT)", err);
	}
	if (ptrace(PTRACE_GETREGS, inject->pid, 0, &inject->saved))
		return gone_or(inject, "ptrace(GETREGS)", err);
	if (ptrace(PTRACE_GETSIGMASK, inject->pid, MASK_BYTES, &inject->saved_mask))
		return gone_or(inject, "ptrace(GETSIGMASK)", err);
	if (inject->saved.cs != CS_64BIT)
		return remus_fail(err, -ENOEXEC, "process %d is no 64-bit x86 program", (int)inject->pid);
	inject->syscall_at = remus_inject_find_syscall(inject->pid, inject->saved.rip);
	if (!inject->syscall_at)
		return remus_fail(err, -ENOEXEC, "process %d: found no syscall instruction to use",
				  (int)inject->pid);
	return 0;
}

int remus_inject_call(struct remus_inject *inject, long number, uint64_t a, uint64_t b, uint64_t c,
		      long *result, struct remus_error *err)
{
	struct user_regs_struct regs = inject->saved;
	uint64_t all = ~UINT64_C(0);
	int code;

	regs.rip = inject->syscall_at;
	regs.rax = (uint64_t)number;
	regs.orig_rax = ~UINT64_C(0); /* not in a system call: nothing to restart */
	regs.rdi = a;
	regs.rsi = b;
	regs.rdx = c;
	inject->borrowed = true;
	if (ptrace(PTRACE_SETSIGMASK, inject->pid, MASK_BYTES, &all))
		return gone_or(inject, "ptrace(SETSIGMASK)", err);
	if (ptrace(PTRACE_SETREGS, inject->pid, 0, &regs))
		return gone_or(inject, "ptrace(SETREGS)", err);
	for (int stops = 0; stops < 2; stops++) { /* entry, exit */
		code = resume_until(inject, PTRACE_SYSCALL, STOP_SYSCALL, err);
		if (code)
			return code;
	}
	if (ptrace(PTRACE_GETREGS, inject->pid, 0, &regs))
		return gone_or(inject, "ptrace(GETREGS)", err);
	*result = (long)regs.rax;
	return 0;
}

/* Put everything back, whatever happened before. */
static int release(struct remus_inject *inject, struct remus_error *err)
{
	siginfo_t info;
	int code = 0;

	if (inject->borrowed) {
		if (remus_now_us() + RESTORE_US > inject->deadline)
			inject->deadline = remus_now_us() + RESTORE_US;
		if (ptrace(PTRACE_INTERRUPT, inject->pid, 0, 0))
			return gone_or(inject, "ptrace(INTERRUPT)", err);
		if (ptrace(PTRACE_GETSIGINFO, inject->pid, 0, &info)) { /* it runs: a call failed half-way */
			enum stop kind;
			int signal;
			code = wait_stop(inject, &kind, &signal, err);
			if (!code && kind == STOP_SIGNAL)
				inject->held_signal = signal;
			if (!code && ptrace(PTRACE_INTERRUPT, inject->pid, 0, 0))
				code = gone_or(inject, "ptrace(INTERRUPT)", err);
		}
		if (!code)
			code = resume_until(inject, PTRACE_CONT, STOP_TRAP, err);
		if (!code && ptrace(PTRACE_SETREGS, inject->pid, 0, &inject->saved))
			code = gone_or(inject, "ptrace(SETREGS)", err);
		if (!code && ptrace(PTRACE_SETSIGMASK, inject->pid, MASK_BYTES, &inject->saved_mask))
			code = gone_or(inject, "ptrace(SETSIGMASK)", err);
	}
	/* Fails when the thread isn't stopped; then the end of this thread detaches it. */
	ptrace(PTRACE_DETACH, inject->pid, 0, 0);
	if (inject->held_signal)
		kill(inject->pid, inject->held_signal);
	return code;
}

struct session {
	pid_t pid;
	remus_inject_body *body;
	void *context;
	struct remus_error *err;
	int code;
};

static void *tracer(void *argument)
{
	struct session *session = argument;
	struct remus_inject inject = {.pid = session->pid,
				      .deadline = remus_now_us() + REMUS_INJECT_DEADLINE_US};

	session->code = attach(&inject, session->err);
	if (!session->code)
		session->code = session->body(&inject, session->context, session->err);
	int code = release(&inject, session->code ? NULL : session->err);
	if (!session->code)
		session->code = code;
	return NULL;
}

int remus_inject_run(pid_t pid, remus_inject_body *body, void *context, struct remus_error *err)
{
	struct session session = {.pid = pid, .body = body, .context = context, .err = err};
	sigset_t all, old;
	pthread_t thread;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all,
			&old); /* the thread inherits it: nothing may interrupt an injection */
	int code = pthread_create(&thread, NULL, tracer, &session);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (code)
		return remus_fail(err, -code, "cannot start the tracer thread: %s", strerror(code));
	pthread_join(thread, NULL);
	return session.code;
}
