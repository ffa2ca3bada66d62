/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See leftover.h. The mark: "PROGRAM DIR". */
#include "leftover.h"

#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "process.h"
#include "remus/domain.h"
#include "remus/log.h"
#include "remus/util.h"

#define LOOKS	5 /* a child that is being made is seen at the next */
#define LOOK_MS 100

static void mark_path(const char *run_dir, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/" REMUS_STANDBY_MARK, run_dir);
}

int remus_qemu_leftover_mark(const char *run_dir, const char *program, struct remus_error *err)
{
	char path[PATH_MAX], dir[PATH_MAX];

	mark_path(run_dir, path);
	if (!realpath(run_dir, dir)) /* as /proc will say it */
		return remus_fail_errno(err, "%s", run_dir);
	FILE *file = fopen(path, "we");
	if (!file)
		return remus_fail_errno(err, "%s", path);
	fprintf(file, "qemu %s %s\n", program, dir);
	return fclose(file) ? remus_fail_errno(err, "%s", path) : 0;
}

void remus_qemu_leftover_unmark(const char *run_dir)
{
	char path[PATH_MAX];

	mark_path(run_dir, path);
	unlink(path);
}

/* What /proc/PID/@what leads to is @wanted, be it removed meanwhile. */
static bool leads_to(pid_t pid, const char *what, const char *wanted)
{
	char path[64], target[PATH_MAX + 16];
	size_t n = strlen(wanted);

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
	ssize_t got = readlink(path, target, sizeof target - 1);
	if (got < 0)
		return false;
	target[got] = 0;
	return !strncmp(target, wanted, n) && (!target[n] || !strcmp(target + n, " (deleted)"));
}

static bool is_it(pid_t pid, const char *program, const char *dir)
{
	return leads_to(pid, "cwd", dir) && leads_to(pid, "exe", program);
}

static int end(pid_t pid, const char *program, const char *dir, int patience_ms, struct remus_error *err)
{
	REMUS_AUTO_CLOSE int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0 || !is_it(pid, program, dir)) /* looked at again: now the pid can't become another's */
		return 0;
	remus_warn("the standby's QEMU that nobody keeps any more (pid %d) is killed", (int)pid);
	return remus_qemu_process_kill(fd, patience_ms, err);
}

static int look(const char *program, const char *dir, int patience_ms, struct remus_error *err)
{
	DIR *all = opendir("/proc");
	struct dirent *entry;
	int rc = 0;

	while (all && (entry = readdir(all))) {
		pid_t pid = (pid_t)atoi(entry->d_name);
		int one = pid > 0 && is_it(pid, program, dir) ? end(pid, program, dir, patience_ms, err) : 0;
		rc = one < 0 ? one : rc;
	}
	if (all)
		closedir(all);
	return rc;
}

int remus_qemu_leftover_sweep(const char *mark, int patience_ms, struct remus_error *err)
{
	char program[PATH_MAX], real[PATH_MAX];
	const char *dir = strchr(mark, ' ');
	int rc = 0;

	if (!dir || mark[0] != '/' || dir[1] != '/' || (size_t)(dir - mark) >= sizeof program)
		return remus_fail(err, -EINVAL, "\"%s\" names no standby", mark);
	snprintf(program, sizeof program, "%.*s", (int)(dir - mark), mark);
	if (!realpath(program, real))
		snprintf(real, sizeof real, "%s", program);
	for (int i = 0; i < LOOKS; i++) {
		int one = look(real, dir + 1, patience_ms, err);
		rc = one < 0 ? one : rc;
		poll(NULL, 0, LOOK_MS);
	}
	return rc;
}
