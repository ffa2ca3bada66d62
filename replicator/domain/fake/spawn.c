/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting a fake guest. It is tied to its starter by a lifeline, a socket pair of which it watches one end:
 * unlike PDEATHSIG that doesn't depend on which *thread* of the starter lives on, and it can be let go of.
 */
#include "fake.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "remus/util.h"

#define PROGRAM	 "remus-fake-guest"
#define LEVELS	 3 /* a test in tests/unit finds the program in the build's top folder */
#define ARGS_MAX 32
#define READY_MS \
	10000 /* filling memory with the pattern takes about 1 s per GiB, ten times that under TSan */
#define CHILD_FD 3

extern char **environ;

int remus_fake_program(char out[4096], struct remus_error *err)
{
	const char *told = secure_getenv("REMUS_FAKE_GUEST");
	char self[4000];

	if (told) {
		snprintf(out, 4096, "%s", told);
		return 0;
	}
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n <= 0)
		return remus_fail_errno(err, "readlink /proc/self/exe");
	self[n] = 0;
	for (int level = 0; level < LEVELS; level++) {
		char *slash = strrchr(self, '/');
		if (!slash)
			break;
		*slash = 0;
		snprintf(out, 4096, "%s/" PROGRAM, self);
		if (!access(out, X_OK))
			return 0;
	}
	return remus_fail(err, -ENOENT,
			  PROGRAM
			  " is not beside this program; it is built for tests only: set REMUS_FAKE_GUEST to "
			  "its path");
}

static int spawn(const char *program, char *const argv[], int child_end, pid_t *pid, struct remus_error *err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, child_end, CHILD_FD);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	/* its own process group: a ^C at the terminal is for us, and we decide what becomes of the guest */
	posix_spawnattr_setflags(&attributes,
				 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	int code = posix_spawn(pid, program, &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	if (code)
		return remus_fail(err, -code, "cannot run %s: %s", program, strerror(code));
	return 0;
}

int remus_fake_spawn(const char *const args[], pid_t *pid, int *lifeline, struct remus_error *err)
{
	char program[4096], number[16], byte;
	const char *argv[ARGS_MAX + 4] = {PROGRAM, "--lifeline", number};
	int ends[2], n = 3;

	snprintf(number, sizeof number, "%d", CHILD_FD);
	for (int i = 0; args[i]; i++) {
		if (i == ARGS_MAX)
			return remus_fail(err, -E2BIG, PROGRAM ": too many arguments");
		argv[n++] = args[i];
	}
	int code = remus_fake_program(program, err);
	if (code)
		return code;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return remus_fail_errno(err, "socketpair");
	code = spawn(program, (char *const *)(uintptr_t)argv, ends[1], pid, err);
	close(ends[1]);
	if (!code) {
		struct pollfd ready = {.fd = ends[0], .events = POLLIN};
		if (poll(&ready, 1, READY_MS) == 1 && read(ends[0], &byte, 1) == 1) {
			*lifeline = ends[0];
			return 0;
		}
		kill(*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
		code = remus_fail(err, -ECHILD, "%s did not get ready within %d ms; its words are on stderr",
				  program, READY_MS);
	}
	close(ends[0]);
	return code;
}
