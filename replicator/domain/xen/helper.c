/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See helper.h. */
#include "helper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "remus/log.h"
#include "remus/util.h"

#define FDS 4

extern char **environ;

void remus_xen_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Told, installed, or beside this program (the build's folder). */
static int find_program(const char *program, const char *variable, char out[4096], struct remus_error *err)
{
	const char *told = secure_getenv(variable);
	char self[4000];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	if (told) {
		snprintf(out, 4096, "%s", told);
		return 0;
	}
	snprintf(out, 4096, "%s/%s", REMUS_LIBEXEC, program);
	if (!access(out, X_OK))
		return 0;
	self[n > 0 ? n : 0] = 0;
	for (int level = 0; level < 3; level++) {
		char *slash = strrchr(self, '/');
		if (!slash)
			break;
		*slash = 0;
		snprintf(out, 4096, "%s/%s", self, program);
		if (!access(out, X_OK))
			return 0;
	}
	return remus_fail(err, -ENOENT, "%s is neither in %s nor beside this program; reinstall remus",
			  program, REMUS_LIBEXEC);
}

static int spawn(struct remus_xen_helper *h, const char *path, char *const argv[], const int *fds, int count,
		 int words, struct remus_error *err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, words, 1);
	posix_spawn_file_actions_adddup2(&actions, words, 2);
	for (int i = 0; i < count; i++)
		posix_spawn_file_actions_adddup2(&actions, fds[i], 3 + i);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	/* its own process group: the library's own helper processes are in it, and go with it */
	posix_spawnattr_setflags(&attributes,
				 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	int code = posix_spawn(&h->pid, path, &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return code ? remus_fail(err, -code, "cannot run %s: %s", path, strerror(code)) : 0;
}

/* dup2 onto itself would keep close-on-exec; so none of ours may be one of the numbers 0 to 7. */
static int lift(int fd)
{
	int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 16);
	if (fd >= 0)
		close(fd);
	return high;
}

int remus_xen_helper_start(struct remus_xen_helper *h, const char *program, const char *variable,
			   char *const argv[], int *fds, int count, const char *log_path,
			   struct remus_error *err)
{
	char path[4096];
	int talk[2] = {-1, -1}, theirs[1 + FDS], words = -1;

	*h = (struct remus_xen_helper){.program = program, .talk = -1};
	int rc = find_program(program, variable, path, err);
	if (rc == 0) {
		words = lift(open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
		if (words < 0)
			rc = remus_fail_errno(err, "%s", log_path);
		else if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, talk))
			rc = remus_fail_errno(err, "a channel to %s", program);
	}
	theirs[0] = talk[1] = lift(talk[1]);
	for (int i = 0; i < count; i++)
		theirs[1 + i] = fds[i] = lift(fds[i]);
	if (rc == 0)
		rc = spawn(h, path, argv, theirs, 1 + count, words, err);
	remus_xen_close_fd(&words);
	remus_xen_close_fd(&talk[1]);
	for (int i = 0; i < count; i++)
		remus_xen_close_fd(&fds[i]);
	if (rc < 0) {
		remus_xen_close_fd(&talk[0]);
		h->pid = 0;
		return rc;
	}
	h->talk = talk[0];
	return 0;
}

int remus_xen_helper_hear(struct remus_xen_helper *h, int timeout_ms, char out[REMUS_XEN_HELPER_MESSAGE])
{
	struct pollfd pfd = {.fd = h->talk, .events = POLLIN};

	if (h->talk < 0)
		return -EPIPE;
	if (poll(&pfd, 1, timeout_ms) <= 0)
		return 0;
	ssize_t n = recv(h->talk, out, REMUS_XEN_HELPER_MESSAGE - 1, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return -EPIPE;
	out[n] = 0;
	return 1;
}

int remus_xen_helper_tell(struct remus_xen_helper *h, const char *text, struct remus_error *err)
{
	if (h->talk < 0 || send(h->talk, text, strlen(text), MSG_NOSIGNAL) < 0)
		return remus_fail(err, -EPIPE, "%s is gone", h->program);
	return 0;
}

/* Has it exited (not reaped yet, so that its number, which is the group's too, stays its own)? */
static bool exited(pid_t pid, int timeout_ms)
{
	uint64_t until = remus_now_us() + (uint64_t)timeout_ms * 1000;

	for (;;) {
		siginfo_t info = {0};
		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid == pid)
			return true;
		if (remus_now_us() >= until)
			return false;
		usleep(10000);
	}
}

void remus_xen_helper_stop(struct remus_xen_helper *h, int timeout_ms)
{
	remus_xen_close_fd(&h->talk);
	if (h->pid > 0) {
		if (!exited(h->pid, timeout_ms))
			remus_warn("%s (pid %d) does not come to an end and is killed", h->program,
				   (int)h->pid);
		kill(-h->pid, SIGKILL); /* its library's helpers too, which one that died left behind */
		if (exited(h->pid, 1000))
			waitpid(h->pid, NULL, WNOHANG);
	}
	h->pid = 0;
}
