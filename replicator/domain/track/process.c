/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Questions about the target process, and the words for its refusals. */
#include "method.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include "remus/util.h"

int remus_track_proc_open(pid_t pid, const char *file, int flags, struct remus_error *err)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	int fd = open(path, flags | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	int code = errno == ENOENT ? -ESRCH : -errno;
	char call[80];
	snprintf(call, sizeof call, "open %s", path);
	return remus_track_refused(pid, call, code, err);
}

int remus_track_process_open(struct remus_track *track, struct remus_error *err)
{
	pid_t pid = track->target.pid;

	track->statm = -1;
	track->pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : (errno = ESRCH, -1);
	if (track->pidfd < 0)
		return remus_track_refused(pid, "pidfd_open", -errno, err);
	track->statm = remus_track_proc_open(pid, "statm", O_RDONLY, err);
	return track->statm < 0 ? track->statm : remus_track_alive(track, err);
}

void remus_track_process_close(struct remus_track *track)
{
	if (track->pidfd >= 0)
		close(track->pidfd);
	if (track->statm >= 0)
		close(track->statm);
}

int remus_track_alive(const struct remus_track *track, struct remus_error *err)
{
	char size[32] = "";

	/* "0 0 0 ..." once the address space is given up; ESRCH once the process is reaped */
	ssize_t n = pread(track->statm, size, sizeof size - 1, 0);
	if (n > 0 && strtoull(size, NULL, 10) > 0)
		return 0;
	return remus_fail(err, -ESRCH, "process %d is gone: its memory can no longer be tracked",
			  (int)track->target.pid);
}

int remus_track_covered(const struct remus_track_target *target, struct remus_error *err)
{
	uint64_t next = target->address, end = target->address + target->bytes;
	char line[512];

	int fd = remus_track_proc_open(target->pid, "maps", O_RDONLY, err);
	if (fd < 0)
		return fd;
	FILE *maps = fdopen(fd, "r");
	if (!maps) {
		close(fd);
		return remus_fail(err, -ENOMEM, "/proc/%d/maps: out of memory", (int)target->pid);
	}
	while (next < end && fgets(line, sizeof line, maps)) {
		uint64_t from, to;
		char rights[8];
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &from, &to, rights) != 3 || to <= next)
			continue;
		if (from > next || rights[1] != 'w')
			break;
		next = to;
	}
	fclose(maps);
	if (next >= end)
		return 0;
	return remus_fail(err, -EFAULT,
			  "process %d: 0x%" PRIx64 "-0x%" PRIx64
			  " is not mapped writable there (from 0x%" PRIx64
			  " on): that is not the guest's memory",
			  (int)target->pid, target->address, end, next);
}

/* The number after "@key:" in /proc/PID/status; -1 = not there. */
static long status_number(pid_t pid, const char *key)
{
	char path[64], line[256];
	long value = -1;
	size_t n = strlen(key);

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, key, n) && line[n] == ':') {
			value = strtol(line + n + 1, NULL, 10);
			break;
		}
	if (f)
		fclose(f);
	return value;
}

static long sysctl_number(const char *path)
{
	char text[32] = "";
	REMUS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
		return -1;
	return strtol(text, NULL, 10);
}

int remus_track_refused(pid_t pid, const char *call, int code, struct remus_error *err)
{
	long tracer = status_number(pid, "TracerPid"), uid = status_number(pid, "Uid");
	long yama = sysctl_number("/proc/sys/kernel/yama/ptrace_scope");

	if (code == -ESRCH)
		return remus_fail(err, code, "%s: process %d is gone", call, (int)pid);
	if (code != -EPERM && code != -EACCES)
		return remus_fail(err, code, "%s of process %d: %s", call, (int)pid, strerror(-code));
	if (tracer > 0 && tracer != (long)getpid())
		return remus_fail(
			err, code,
			"%s of process %d: %s: process %ld (debugger, strace?) traces it already; end that "
			"and try again",
			call, (int)pid, strerror(-code), tracer);
	if (geteuid() && uid >= 0 && uid != (long)geteuid())
		return remus_fail(
			err, code,
			"%s of process %d: %s: it runs as uid %ld, remus as uid %ld; run both as one user, "
			"or remus with CAP_SYS_PTRACE",
			call, (int)pid, strerror(-code), uid, (long)geteuid());
	if (yama > 0)
		return remus_fail(
			err, code,
			"%s of process %d: %s: kernel.yama.ptrace_scope is %ld; set it to 0, or run remus "
			"with CAP_SYS_PTRACE%s",
			call, (int)pid, strerror(-code), yama,
			yama >= 3 ? " after a reboot with another value (3 can't be changed)" : "");
	return remus_fail(
		err, code,
		"%s of process %d: %s: it is not dumpable or has more privileges, or a container's seccomp "
		"filter or security module forbids it; run remus with CAP_SYS_PTRACE",
		call, (int)pid, strerror(-code));
}
