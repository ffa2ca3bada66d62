/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a killed tracker can leave in its target. Its registration goes with it (uffd.c). But killed between
 * the target's userfaultfd() and close() it leaves a descriptor there: useless, harmless, and litter (I13).
 * Told from those that the hypervisor made for itself (post-copy, background snapshots) by this: ours never
 * had the API handshake, which poll(2) shows as POLLERR. Asked twice, some time apart, because the hypervisor
 * too needs a moment between the two calls.
 */
#include "method.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include "inject.h"
#include "remus/util.h"

#define LITTER_MAX 16
#define MOMENT_NS  20000000
#define UFFD_LINK  "anon_inode:[userfaultfd]"

int remus_track_take_fd(int pidfd, int fd)
{
	int ours = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	return ours < 0 ? -errno : ours;
}

static bool abandoned(int pidfd, int fd)
{
	REMUS_AUTO_CLOSE int ours = remus_track_take_fd(pidfd, fd);
	struct pollfd ask = {.fd = ours, .events = POLLIN};

	return ours >= 0 && poll(&ask, 1, 0) == 1 && (ask.revents & POLLERR);
}

/* Userfaultfds of the process without a handshake, up to LITTER_MAX. */
static int find(pid_t pid, int pidfd, int out[LITTER_MAX], struct remus_error *err)
{
	int n = 0, dirfd = remus_track_proc_open(pid, "fd", O_RDONLY | O_DIRECTORY, err);
	if (dirfd < 0)
		return dirfd;
	DIR *dir = fdopendir(dirfd);
	if (!dir) {
		close(dirfd);
		return remus_fail(err, -ENOMEM, "/proc/%d/fd: out of memory", (int)pid);
	}
	for (struct dirent *entry; n < LITTER_MAX && (entry = readdir(dir));) {
		char link[64] = "";
		if (readlinkat(dirfd, entry->d_name, link, sizeof link - 1) <= 0 || strcmp(link, UFFD_LINK))
			continue;
		int fd = atoi(entry->d_name);
		if (abandoned(pidfd, fd))
			out[n++] = fd;
	}
	closedir(dir);
	return n;
}

struct litter {
	int count, fd[LITTER_MAX];
};

static int close_all(struct remus_inject *inject, void *context, struct remus_error *err)
{
	struct litter *litter = context;
	long result;
	int code = 0;

	for (int i = 0; i < litter->count && !code; i++)
		code = remus_inject_call(inject, SYS_close, (uint64_t)litter->fd[i], 0, 0, &result, err);
	return code;
}

int remus_track_sweep_process(pid_t pid, int pidfd, struct remus_error *err)
{
	struct litter litter;
	int kept = 0;

	litter.count = find(pid, pidfd, litter.fd, err);
	if (litter.count <= 0)
		return litter.count;
	nanosleep(&(struct timespec){.tv_nsec = MOMENT_NS}, NULL);
	for (int i = 0; i < litter.count; i++)
		if (abandoned(pidfd, litter.fd[i]))
			litter.fd[kept++] = litter.fd[i];
	litter.count = kept;
	return kept ? remus_inject_run(pid, close_all, &litter, err) : 0;
}
