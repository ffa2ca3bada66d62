/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See keeper.h. */
#include "keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "remus/log.h"
#include "remus/util.h"

#define PROGRAM	   "remus-xen-keeper"
#define PIPE_BYTES (1u << 20) /* what an unprivileged pipe may have; an epoch or two */
#define FEED_PARTS 1024	      /* iovecs a writev(2) takes */

extern char **environ;

/* Told, installed, or beside this program (the build's folder). */
static int find_program(char out[4096], struct remus_error *err)
{
	const char *told = secure_getenv("REMUS_XEN_KEEPER");
	char self[4000];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	if (told) {
		snprintf(out, 4096, "%s", told);
		return 0;
	}
	snprintf(out, 4096, "%s/" PROGRAM, REMUS_LIBEXEC);
	if (!access(out, X_OK))
		return 0;
	self[n > 0 ? n : 0] = 0;
	for (int level = 0; level < 3; level++) {
		char *slash = strrchr(self, '/');
		if (!slash)
			break;
		*slash = 0;
		snprintf(out, 4096, "%s/" PROGRAM, self);
		if (!access(out, X_OK))
			return 0;
	}
	return remus_fail(err, -ENOENT, PROGRAM " is neither in %s nor beside this program; reinstall remus",
			  REMUS_LIBEXEC);
}

static int spawn(struct remus_xen_keeper *k, const char *program, char *const argv[], const int fds[4],
		 struct remus_error *err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, fds[3], 1);
	posix_spawn_file_actions_adddup2(&actions, fds[3], 2);
	for (int i = 0; i < 3; i++)
		posix_spawn_file_actions_adddup2(&actions, fds[i], 3 + i);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	/* its own process group: libxl's helper processes are in it, and go with it */
	posix_spawnattr_setflags(&attributes,
				 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	int code = posix_spawn(&k->pid, program, &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return code ? remus_fail(err, -code, "cannot run %s: %s", program, strerror(code)) : 0;
}

/* dup2 onto itself would keep close-on-exec; so none of ours may be one of the numbers 0 to 5. */
static int lift(int fd)
{
	int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 16);
	if (fd >= 0)
		close(fd);
	return high;
}

int remus_xen_keeper_start(struct remus_xen_keeper *k, const char *name, const char *config,
			   const char *log_path, struct remus_error *err)
{
	char program[4096];
	int talk[2] = {-1, -1}, stream[2] = {-1, -1};
	const char *argv[] = {PROGRAM, "--name", name, "--config", config, NULL};

	*k = (struct remus_xen_keeper)REMUS_XEN_KEEPER_INIT;
	int rc = find_program(program, err);
	if (rc < 0)
		return rc;
	int words = lift(open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
	if (words < 0)
		return remus_fail_errno(err, "%s", log_path);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, talk) || pipe2(stream, O_CLOEXEC)) {
		rc = remus_fail_errno(err, "channels to %s", PROGRAM);
	} else {
		fcntl(stream[1], F_SETPIPE_SZ, PIPE_BYTES);
		fcntl(stream[1], F_SETFL,
		      O_NONBLOCK); /* the read end is another description: libxl's blocks */
		talk[1] = lift(talk[1]);
		stream[0] = lift(stream[0]);
		stream[1] = lift(stream[1]);
		rc = spawn(k, program, (char *const *)(uintptr_t)argv,
			   (int[]){talk[1], stream[0], stream[1], words}, err);
	}
	close(words);
	if (talk[1] >= 0)
		close(talk[1]);
	if (stream[0] >= 0)
		close(stream[0]);
	if (rc < 0) {
		if (talk[0] >= 0)
			close(talk[0]);
		if (stream[1] >= 0)
			close(stream[1]);
		k->pid = 0;
		return rc;
	}
	k->talk = talk[0];
	k->stream = stream[1];
	return 0;
}

int remus_xen_keeper_hear(struct remus_xen_keeper *k, int timeout_ms, char out[REMUS_XEN_KEEPER_MESSAGE])
{
	struct pollfd pfd = {.fd = k->talk, .events = POLLIN};

	if (k->talk < 0)
		return -EPIPE;
	if (poll(&pfd, 1, timeout_ms) <= 0)
		return 0;
	ssize_t n = recv(k->talk, out, REMUS_XEN_KEEPER_MESSAGE - 1, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return -EPIPE;
	out[n] = 0;
	return 1;
}

int remus_xen_keeper_tell(struct remus_xen_keeper *k, const char *text, struct remus_error *err)
{
	if (k->talk < 0 || send(k->talk, text, strlen(text), MSG_NOSIGNAL) < 0)
		return remus_fail(err, -EPIPE, "%s is gone", PROGRAM);
	return 0;
}

int remus_xen_keeper_feed(struct remus_xen_keeper *k, struct iovec *iov, int parts, int timeout_ms,
			  struct remus_error *err)
{
	if (k->stream < 0)
		return remus_fail(err, -EPIPE, "there is no standby domain to feed");
	while (parts > 0) {
		struct pollfd fds[2] = {
			{.fd = k->stream, .events = POLLOUT},
			{.fd = k->talk, .events = 0}, /* POLLHUP: the keeper is gone */
		};
		int n = poll(fds, 2, timeout_ms);
		if (n == 0)
			return remus_fail(
				err, -ETIMEDOUT,
				"libxl did not take an epoch's data for %d ms; its words are in the "
				"standby's xen.log",
				timeout_ms);
		if (fds[1].revents || fds[0].revents & POLLERR)
			return remus_fail(err, -EPIPE,
					  "%s is gone; its last words are in the standby's xen.log", PROGRAM);
		ssize_t w = writev(k->stream, iov, parts < FEED_PARTS ? parts : FEED_PARTS);
		if (w < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (w < 0)
			return remus_fail_errno(err, "feeding the standby domain");
		while (parts > 0 && (size_t)w >= iov->iov_len) {
			w -= (ssize_t)iov->iov_len;
			iov++;
			parts--;
		}
		if (parts > 0) {
			iov->iov_base = (uint8_t *)iov->iov_base + w;
			iov->iov_len -= (size_t)w;
		}
	}
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

void remus_xen_keeper_stop(struct remus_xen_keeper *k, int timeout_ms)
{
	if (k->talk >= 0)
		close(k->talk); /* the order to destroy */
	k->talk = -1;
	if (k->pid > 0) {
		if (!exited(k->pid, timeout_ms))
			remus_warn("%s (pid %d) does not come to an end and is killed", PROGRAM, (int)k->pid);
		kill(-k->pid, SIGKILL); /* libxl's helpers too, which one that died left behind */
		if (exited(k->pid, 1000))
			waitpid(k->pid, NULL, WNOHANG);
	}
	k->pid = 0;
	if (k->stream >= 0)
		close(k->stream); /* only now: nobody is left who would take it for an end */
	k->stream = -1;
}

void remus_xen_keeper_release(struct remus_xen_keeper *k)
{
	if (k->talk >= 0)
		close(k->talk);
	if (k->stream >= 0)
		close(k->stream);
	*k = (struct remus_xen_keeper)REMUS_XEN_KEEPER_INIT;
}
