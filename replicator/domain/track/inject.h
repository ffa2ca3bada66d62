/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Have another process make system calls, by ptrace. The process is stopped for some hundred microseconds and
 * then goes on as if nothing had happened: registers, signal mask, pending signals and an interrupted system
 * call are as before.
 */
#ifndef REMUS_TRACK_INJECT_H
#define REMUS_TRACK_INJECT_H

#include <stdint.h>
#include <sys/types.h>
#include "remus/error.h"

#define REMUS_INJECT_DEADLINE_US UINT64_C(2000000) /* for everything between attach and detach */

struct remus_inject;

/* What to do while the process is held. Runs in a thread of its own with all signals blocked. */
typedef int remus_inject_body(struct remus_inject *inject, void *context, struct remus_error *err);

/* Hold the main thread of @pid, run @body, let go. Returns what @body returned, or why it wasn't run. */
int remus_inject_run(pid_t pid, remus_inject_body *body, void *context, struct remus_error *err);

/*
 * Inside a body: the held thread makes system call @number. *@result gets the kernel's answer (a negative
 * errno is an answer). Fails only when the call could not be made.
 */
int remus_inject_call(struct remus_inject *inject, long number, uint64_t a, uint64_t b, uint64_t c,
		      long *result, struct remus_error *err);

/* ---- code.c ---- */

/*
 * Where in the process a `syscall` instruction stands: at @rip - 2 if the thread is in a system call, else in
 * the vDSO, else in the first executable mapping that has one. 0 = none found.
 */
uint64_t remus_inject_find_syscall(pid_t pid, uint64_t rip);

#endif
