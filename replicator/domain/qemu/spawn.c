/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting a QEMU. The name of the program may come from a hostile peer: it is looked up in a list of names and
 * in folders of this host, so nothing else can be run. The child calls only async-signal-safe functions between
 * fork and exec, as its parent may have threads.
 */
#include "config.h"

#include "spawn.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "keyval.h"
#include "process.h"
#include "remus/util.h"

#define NAMES	   "qemu-system-x86_64 qemu-system-x86_64-microvm qemu-system-x86_64-spice qemu-kvm kvm"
#define FOLDERS	   "/usr/bin:/usr/local/bin:/usr/libexec"
#define VERSION_MS 5000 /* a cold start reads 30 MB of program and libraries */

static bool in_folders(const char *folders, const char *name, char out[PATH_MAX])
{
	while (folders && *folders) {
		size_t n = strcspn(folders, ":");
		if (*folders == '/' && snprintf(out, PATH_MAX, "%.*s/%s", (int)n, folders, name) < PATH_MAX &&
		    access(out, X_OK) == 0)
			return true;
		folders += n + (folders[n] == ':');
	}
	return false;
}

int remus_qemu_find(const char *name, char out[PATH_MAX], struct remus_error *err)
{
	if (!remus_word_in(NAMES, name))
		return remus_fail(err, -EINVAL, "\"%s\" isn't a program that a standby may be run with (%s)",
				  name, NAMES);
	if (in_folders(getenv("PATH"), name, out) || in_folders(FOLDERS, name, out))
		return 0;
	return remus_fail(err, -ENOENT, "%s isn't installed on this host (Debian: qemu-system-x86)", name);
}

/* In the child. Returns only on failure, with errno set. */
static void become(const char *program, char *const *argv, const char *dir, int output, pid_t parent)
{
	sigset_t none;
	if (parent && (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent))
		return; /* it was dead already */
	sigemptyset(&none);
	for (int s = 1; s < 32; s++) /* an ignored signal stays ignored over exec */
		if (s != SIGKILL && s != SIGSTOP)
			signal(s, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	int null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 || chdir(dir))
		return;
	setsid();
	umask(077);
	/* The rest is marked rather than closed: the pipe that reports a failed exec must live until then. */
	syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC, Linux 5.11 */);
	execv(program, argv);
}

int remus_qemu_spawn(const char *program, char *const *args, const char *dir, int output, bool mortal,
		     struct remus_qemu_child *out, struct remus_error *err)
{
	int report[2], n = 0, code = 0;

	while (args[n])
		n++;
	REMUS_AUTO_FREE char **argv = calloc((size_t)n + 2, sizeof *argv);
	if (!argv)
		return remus_fail(err, -ENOMEM, "%s: out of memory", program);
	argv[0] = (char *)(uintptr_t)program;
	memcpy(argv + 1, args, (size_t)n * sizeof *argv);
	if (pipe2(report, O_CLOEXEC))
		return remus_fail_errno(err, "pipe");

	pid_t parent = mortal ? getpid() : 0, pid = fork();
	if (pid == 0) {
		become(program, argv, dir, output, parent);
		code = errno;
		(void)!write(report[1], &code, sizeof code);
		_exit(127);
	}
	int fork_errno = errno;
	close(report[1]);
	ssize_t got = pid < 0 ? 0 : read(report[0], &code, sizeof code); /* ends with exec or exit */
	close(report[0]);
	if (pid < 0) {
		errno = fork_errno;
		return remus_fail_errno(err, "starting %s: fork", program);
	}
	out->pid = pid;
	out->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (got > 0 || out->pidfd < 0) {
		int why = got > 0 ? code : errno;
		kill(pid, SIGKILL); /* our child, not reaped yet: the pid is its own */
		waitpid(pid, NULL, 0);
		if (out->pidfd >= 0)
			close(out->pidfd);
		*out = (struct remus_qemu_child){.pidfd = -1};
		errno = why;
		return remus_fail_errno(err, "starting %s", program);
	}
	return 0;
}

void remus_qemu_reap(struct remus_qemu_child *child)
{
	if (child->pid)
		waitpid(child->pid, NULL, WNOHANG);
	if (child->pidfd >= 0)
		close(child->pidfd);
	*child = (struct remus_qemu_child){.pidfd = -1};
}

int remus_qemu_ask_version(const char *program, char out[128], struct remus_error *err)
{
	static char flag[] = "--version";
	char *args[] = {flag, NULL}, text[512];
	struct remus_qemu_child child;
	size_t have = 0;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return remus_fail_errno(err, "pipe");
	int rc = remus_qemu_spawn(program, args, "/", ends[1], true, &child, err);
	close(ends[1]);
	uint64_t end = remus_now_us() + VERSION_MS * 1000u;
	while (rc == 0 && have < sizeof text - 1) {
		uint64_t now = remus_now_us();
		struct pollfd p = {.fd = ends[0], .events = POLLIN};
		if (now >= end || poll(&p, 1, (int)((end - now) / 1000) + 1) <= 0)
			break;
		ssize_t n = read(ends[0], text + have, sizeof text - 1 - have);
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	close(ends[0]);
	if (rc)
		return rc;
	text[have] = 0;
	remus_qemu_process_kill(child.pidfd, 1000, NULL);
	remus_qemu_reap(&child);
	if (sscanf(text, "QEMU emulator version %127[^\n]", out) != 1)
		return remus_fail(err, -EPROTO, "%s --version doesn't answer as QEMU does", program);
	return 0;
}
