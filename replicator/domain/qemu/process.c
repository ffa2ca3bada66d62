/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a QEMU process from outside, through /proc. Everything needs the same uid (or root): QEMU is neither
 * patched nor asked. A pid can be reused between two reads; the pidfd is opened first and asked last, so that
 * what was read is of one process.
 */
#include "process.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "remus/util.h"

#define CMDLINE_MAX (256 * 1024) /* bytes */
#define MEMFD_LINK  "/memfd:memory-backend-memfd"

static int read_link(pid_t pid, const char *what, char out[PATH_MAX], struct remus_error *err)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
	ssize_t n = readlink(path, out, PATH_MAX - 1);
	if (n < 0 && errno == EACCES)
		return remus_fail(err, -EACCES,
				  "%s: permission denied: remus must run as the user of the guest's "
				  "QEMU or as root",
				  path);
	if (n < 0)
		return remus_fail_errno(err, "readlink %s", path);
	out[n] = 0;
	return 0;
}

static int read_cmdline(struct remus_qemu_process *p, struct remus_error *err)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)p->pid);
	REMUS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return remus_fail_errno(err, "open %s", path);
	p->cmdline = malloc(CMDLINE_MAX + 1);
	if (!p->cmdline)
		return remus_fail(err, -ENOMEM, "%s: out of memory", path);

	size_t have = 0;
	ssize_t n;
	while (have < CMDLINE_MAX && (n = read(fd, p->cmdline + have, CMDLINE_MAX - have)) > 0)
		have += (size_t)n;
	if (have == 0 || have == CMDLINE_MAX)
		return remus_fail(err, -E2BIG, "%s: empty, or longer than %d bytes", path, CMDLINE_MAX);
	p->cmdline[have] = 0;
	for (size_t i = 0; i < have; i += strlen(p->cmdline + i) + 1)
		p->argc++;
	p->argv = calloc((size_t)p->argc + 1, sizeof *p->argv);
	if (!p->argv)
		return remus_fail(err, -ENOMEM, "%s: out of memory", path);
	size_t at = 0;
	for (int i = 0; i < p->argc; i++) {
		p->argv[i] = p->cmdline + at;
		at += strlen(p->argv[i]) + 1;
	}
	return 0;
}

uint64_t remus_qemu_process_start(pid_t pid)
{
	char path[64], line[1024];
	uint64_t start = 0;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	REMUS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
	if (n <= 0)
		return 0;
	line[n] = 0;
	/* Field 2, the name in parentheses, may hold anything: count from its end. */
	char *at = strrchr(line, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at && sscanf(at, " %" SCNu64, &start) == 1 ? start : 0;
}

int remus_qemu_process_open(pid_t pid, struct remus_qemu_process *out, struct remus_error *err)
{
	memset(out, 0, sizeof *out);
	out->pid = pid;
	out->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (out->pidfd < 0) {
		int rc = remus_fail_errno(err, "pidfd_open of QEMU, pid %d", (int)pid);
		return rc;
	}
	out->start = remus_qemu_process_start(pid);
	int rc = read_link(pid, "exe", out->exe, err);
	if (rc == 0)
		rc = read_link(pid, "cwd", out->cwd, err);
	if (rc == 0)
		rc = read_cmdline(out, err);
	struct pollfd ended = {.fd = out->pidfd, .events = POLLIN};
	if (rc == 0 && poll(&ended, 1, 0) != 0)
		rc = remus_fail(err, -ESRCH, "QEMU, pid %d, has just ended", (int)pid);
	if (rc) {
		remus_qemu_process_close(out);
		return rc;
	}
	char *deleted = strstr(out->exe, " (deleted)"); /* upgraded under a running guest */
	if (deleted)
		*deleted = 0;
	return 0;
}

void remus_qemu_process_close(struct remus_qemu_process *p)
{
	if (p->pidfd >= 0)
		close(p->pidfd);
	free(p->argv);
	free(p->cmdline);
	memset(p, 0, sizeof *p);
	p->pidfd = -1;
}

int remus_qemu_process_kill(int pidfd, int deadline_ms, struct remus_error *err)
{
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) && errno != ESRCH)
		return remus_fail_errno(err, "killing QEMU: pidfd_send_signal");
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};
	if (poll(&ended, 1, deadline_ms) <= 0)
		return remus_fail(err, -ETIMEDOUT, "QEMU was sent SIGKILL but hasn't ended within %d ms",
				  deadline_ms);
	return 0;
}

/* Find guest memory: *@fd open for reading and writing (the caller closes it, after a failure too). */
static int find_memfd(pid_t pid, int *fd, struct stat *st, struct remus_error *err)
{
	char folder[64], link[PATH_MAX];

	snprintf(folder, sizeof folder, "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(folder);
	if (!dir)
		return remus_fail_errno(err, "%s: remus must run as the user of the guest's QEMU or as root",
					folder);
	int rc = 0;
	*fd = -1;
	struct dirent *entry;
	while (rc == 0 && (entry = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof link - 1);
		if (n <= 0)
			continue;
		link[n] = 0;
		if (strncmp(link, MEMFD_LINK, strlen(MEMFD_LINK)))
			continue;
		struct stat here;
		if (fstatat(dirfd(dir), entry->d_name, &here, 0))
			continue; /* closed meanwhile */
		if (*fd >= 0 && here.st_ino != st->st_ino)
			rc = remus_fail(err, -ENOTSUP,
					"the guest's memory is made of several memory backends; one "
					"is supported");
		if (*fd >= 0)
			continue;
		*st = here;
		*fd = openat(dirfd(dir), entry->d_name, O_RDWR | O_CLOEXEC);
		if (*fd < 0)
			rc = remus_fail_errno(err, "opening the guest's memory, %s/%s", folder,
					      entry->d_name);
	}
	closedir(dir);
	if (rc == 0 && *fd < 0)
		rc = remus_fail(err, -ENOTSUP,
				"the guest's memory isn't a shared memfd, so it can't be read from "
				"outside: start QEMU with -machine ...,memory-backend=ram0 -object "
				"memory-backend-memfd,id=ram0,size=<the guest's>,share=on,prealloc=on");
	return rc;
}

/* The place of inode @ino in the address space: its parts must be in order and without holes. */
static int find_address(pid_t pid, const struct stat *st, uint64_t *address, struct remus_error *err)
{
	char path[64], line[PATH_MAX + 256], mode[5];

	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	FILE *maps = fopen(path, "re");
	if (!maps)
		return remus_fail_errno(err, "open %s", path);
	uint64_t covered = 0, shared = 1;
	while (fgets(line, sizeof line, maps)) {
		uint64_t from, to, offset, inode;
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %" SCNu64, &from, &to, mode,
			   &offset, &inode) != 5 ||
		    inode != st->st_ino || !strstr(line, MEMFD_LINK))
			continue;
		if (offset == 0 && covered == 0)
			*address = from;
		if (offset != covered || from != *address + covered)
			break;
		covered += to - from;
		shared &= mode[3] == 's';
	}
	fclose(maps);
	if (covered != (uint64_t)st->st_size || !shared)
		return remus_fail(err, -ENOTSUP,
				  "the guest's memory is mapped privately or in pieces: give QEMU's "
				  "-object memory-backend-memfd the property share=on");
	return 0;
}

int remus_qemu_ram_map(pid_t pid, struct remus_qemu_ram *out, struct remus_error *err)
{
	REMUS_AUTO_CLOSE int fd = -1;
	struct stat st;
	uint64_t address = 0;

	int rc = find_memfd(pid, &fd, &st, err);
	if (rc == 0)
		rc = find_address(pid, &st, &address, err);
	if (rc)
		return rc;
	struct statfs fs;
	if (st.st_size == 0 || st.st_size % 4096 || fstatfs(fd, &fs) || fs.f_type == HUGETLBFS_MAGIC)
		return remus_fail(err, -ENOTSUP,
				  "the guest's memory (%lld bytes) doesn't consist of 4 KiB pages; "
				  "huge pages can't be tracked yet: drop hugetlb=on",
				  (long long)st.st_size);
	void *mapping = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapping == MAP_FAILED)
		return remus_fail_errno(err, "mmap of the guest's memory, %lld bytes", (long long)st.st_size);
	out->bytes = (uint64_t)st.st_size;
	out->address = address;
	out->mapping = mapping;
	return 0;
}

void remus_qemu_ram_unmap(struct remus_qemu_ram *ram)
{
	if (ram->mapping)
		munmap(ram->mapping, ram->bytes);
	ram->mapping = NULL;
}
