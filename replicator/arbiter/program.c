// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See program.h. The program leads a process group, so that what it has started can be killed with it. It isn't reaped
 * before that: until then its number cannot be anybody else's.
 */
#include "program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "remus/util.h"

/* In the child, between fork and exec in a process with threads: async-signal-safe calls only. */
static void become(const char *program, char *const *environment, int in, int out)
{
	char *const argv[] = {(char *)(uintptr_t)program, NULL};
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&none);
	for (int s = 1; s < 32; s++) /* an ignored signal stays ignored over exec */
		if (s != SIGKILL && s != SIGSTOP)
			signal(s, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (setpgid(0, 0) < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || chdir("/") < 0)
		return;
	syscall(SYS_close_range, 3u, ~0u,
		4u /* CLOSE_RANGE_CLOEXEC: the report of a failed exec must live */);
	execve(program, argv, environment);
}

static pid_t start(const char *program, char *const *environment, int in, int out, struct remus_error *err)
{
	int report[2], code = 0;

	if (pipe2(report, O_CLOEXEC) < 0)
		return remus_fail_errno(err, "%s: pipe", program);
	pid_t pid = fork();
	if (pid == 0) {
		become(program, environment, in, out);
		code = errno;
		(void)!write(report[1], &code, sizeof code);
		_exit(127);
	}
	int why = errno;
	close(report[1]);
	ssize_t got = pid < 0 ? 0 : read(report[0], &code, sizeof code); /* ends with exec or exit */
	close(report[0]);
	if (pid < 0)
		return remus_fail(err, -why, "%s: fork: %s", program, strerror(why));
	if (got <= 0)
		return pid;
	waitpid(pid, NULL, 0);
	return remus_fail(err, -code, "%s: exec: %s", program, strerror(code));
}

/* A pipe's reading end that holds @input and then ends. */
static int input_pipe(const char *input, size_t length, struct remus_error *err)
{
	int ends[2];

	if (length > PROGRAM_INPUT_MAX)
		return remus_fail(err, -E2BIG, "too many options");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return remus_fail_errno(err, "pipe");
	bool whole = write(ends[1], input, length) == (ssize_t)length;
	close(ends[1]);
	if (whole)
		return ends[0];
	close(ends[0]);
	return remus_fail(err, -EIO, "writing into a pipe");
}

/* What is there; false at its end. */
static bool take_output(int fd, char output[PROGRAM_OUTPUT_MAX], size_t *have)
{
	char drop[PROGRAM_OUTPUT_MAX];

	for (int i = 0; i < 64; i++) { /* a program that floods us gets the deadline all the same */
		size_t room = PROGRAM_OUTPUT_MAX - 1 - *have;
		ssize_t n = read(fd, room ? output + *have : drop, room ? room : sizeof drop);
		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		*have += room ? (size_t)n : 0;
	}
	return true;
}

/* Until the program ends (0) or the deadline (-ETIMEDOUT). Something it has started may hold its output open. */
static int watch(int pidfd, int fd, uint64_t end_us, char output[PROGRAM_OUTPUT_MAX])
{
	struct pollfd fds[2] = {{.fd = pidfd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	size_t have = 0;
	int rc = -ETIMEDOUT;

	for (uint64_t now; rc < 0 && (now = remus_now_us()) < end_us;) {
		int ready = poll(fds, 2, (int)((end_us - now) / 1000) + 1);
		if (ready > 0 && fds[0].revents)
			rc = 0;
		if (ready > 0 && (fds[1].revents || rc == 0) && !take_output(fd, output, &have))
			fds[1].fd = -1;
	}
	output[have] = 0;
	return rc;
}

int program_run(const char *program, char *const *environment, const char *input, size_t length,
		unsigned deadline_ms, char output[PROGRAM_OUTPUT_MAX], struct remus_error *err)
{
	uint64_t end_us = remus_now_us() + deadline_ms * (uint64_t)1000;
	int ends[2], status = 0;

	output[0] = 0;
	REMUS_AUTO_CLOSE int in = input_pipe(input, length, err);
	if (in < 0)
		return in;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return remus_fail_errno(err, "%s: pipe", program);
	/* The program's end blocks, as programs expect. */
	fcntl(ends[1], F_SETFL, 0);
	pid_t pid = start(program, environment, in, ends[1], err);
	close(ends[1]);
	REMUS_AUTO_CLOSE int out = ends[0];
	if (pid < 0)
		return pid;
	REMUS_AUTO_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int rc = pidfd < 0 ? -errno : watch(pidfd, out, end_us, output);
	if (rc < 0)
		kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rc == -ETIMEDOUT)
		return remus_fail(err, rc, "%s: had not ended after %g s and was killed", program,
				  deadline_ms / 1e3);
	if (rc < 0)
		return remus_fail(err, rc, "%s: pidfd_open: %s", program, strerror(-rc));
	if (WIFSIGNALED(status))
		return remus_fail(err, -EINTR, "%s: ended by signal %d (%s)", program, WTERMSIG(status),
				  strsignal(WTERMSIG(status)));
	return WEXITSTATUS(status);
}
