/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * uffd-wp: a userfaultfd of the target's address space in WP_ASYNC mode. The kernel write-protects pages and,
 * at the first write to one, lifts the protection by itself, without waking anybody; which pages are no longer
 * protected is read (and protected anew) by PAGEMAP_SCAN from here.
 *
 * A userfaultfd belongs to the address space of the process that makes it, so the target has to make it; that
 * and a close are the only calls it is made to do (inject.c). While it is held we take a descriptor of the
 * same userfaultfd with pidfd_getfd(2), and the target closes its own. From then on this process has the only
 * one: API handshake, registration and first protection are done from here, with the target running, and when
 * this process ends, however it ends, the kernel ends the registration and lifts all protection (I13).
 *
 * UFFDIO_WRITEPROTECT and not PAGEMAP_SCAN protects at the start, because it also splits huge mappings and
 * fills unpopulated page tables with markers, which a scan relies upon.
 */
#include "method.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <sys/syscall.h>
#include "inject.h"
#include "pagemap.h"
#include "remus/util.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define FEATURES                                                                                             \
	(REMUS_UFFD_FEATURE_WP | REMUS_UFFD_FEATURE_WP_HUGETLBFS_SHMEM | REMUS_UFFD_FEATURE_WP_UNPOPULATED | \
	 REMUS_UFFD_FEATURE_WP_ASYNC)
#define UFFD_FLAGS (O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY)

#define PROTECT_CHUNK (UINT64_C(256) << 20) /* bytes protected per call: bounds how long mmap() waits there */
#define BUSY_TRIES    20		    /* a killed tracker's registration may take a moment to go */
#define BUSY_PAUSE_NS 25000000

struct uffd {
	int fd, pagemap;
};

static int handshake(int fd, struct remus_error *err)
{
	struct uffdio_api api = {.api = UFFD_API, .features = FEATURES};

	if (!ioctl(fd, UFFDIO_API, &api))
		return 0;
	if (errno == EINVAL)
		return remus_fail(
			err, -EOPNOTSUPP,
			"this kernel's userfaultfd lacks asynchronous write-protection of shared memory "
			"(UFFD_FEATURE_WP_ASYNC): Linux 6.7 or later with CONFIG_PTE_MARKER_UFFD_WP is "
			"needed");
	return remus_fail_errno(err, "UFFDIO_API");
}

static int userfaultfd_missing(const char *who, int code, struct remus_error *err)
{
	const char *why =
		code == -ENOSYS	 ? ": the kernel has no CONFIG_USERFAULTFD, or seccomp hides it"
		: code == -EPERM ? ": a seccomp filter (container?) or vm.unprivileged_userfaultfd forbids it"
				 : "";
	return remus_fail(err, code, "userfaultfd in %s: %s%s", who, strerror(-code), why);
}

/* All that can be known without touching the target. */
static int probe(struct remus_error *err)
{
	int code = remus_pagemap_scan_probe(err);
	if (code)
		return code;
	REMUS_AUTO_CLOSE int fd = (int)syscall(SYS_userfaultfd, UFFD_FLAGS);
	if (fd < 0)
		return userfaultfd_missing("this process", -errno, err);
	return handshake(fd, err);
}

struct birth {
	int pidfd, fd;
};

/* While the target is held: it makes the userfaultfd, we take it over, it closes its own descriptor. */
static int give_birth(struct remus_inject *inject, void *context, struct remus_error *err)
{
	struct birth *birth = context;
	long theirs, closed;
	int code = remus_inject_call(inject, SYS_userfaultfd, UFFD_FLAGS, 0, 0, &theirs, err);

	if (code)
		return code;
	if (theirs < 0)
		return userfaultfd_missing("the target", (int)theirs, err);
	birth->fd = remus_track_take_fd(birth->pidfd, (int)theirs);
	code = remus_inject_call(inject, SYS_close, (uint64_t)theirs, 0, 0, &closed, err);
	if (birth->fd < 0)
		return remus_fail(
			err, birth->fd,
			"pidfd_getfd: %s: a seccomp filter or security module forbids it; run remus with "
			"CAP_SYS_PTRACE",
			strerror(-birth->fd));
	return code;
}

static int register_range(int fd, const struct remus_track_target *target, struct remus_error *err)
{
	struct uffdio_register range = {.range = {.start = target->address, .len = target->bytes},
					.mode = UFFDIO_REGISTER_MODE_WP};

	for (int tries = 0; ioctl(fd, UFFDIO_REGISTER, &range); tries++) {
		if (errno != EBUSY)
			return remus_fail_errno(err, "UFFDIO_REGISTER of 0x%" PRIx64 "+0x%" PRIx64,
						target->address, target->bytes);
		if (tries == BUSY_TRIES)
			return remus_fail(
				err, -EBUSY,
				"UFFDIO_REGISTER: the memory is under another userfaultfd already: another "
				"remus, a background snapshot or a post-copy migration; end that first");
		nanosleep(&(struct timespec){.tv_nsec = BUSY_PAUSE_NS}, NULL);
	}
	return 0;
}

static int protect_all(int fd, const struct remus_track_target *target, struct remus_error *err)
{
	uint64_t done = 0;
	int tries = 0;

	while (done < target->bytes) {
		uint64_t left = target->bytes - done;
		struct uffdio_writeprotect wp = {
			.range = {.start = target->address + done,
				  .len = left < PROTECT_CHUNK ? left : PROTECT_CHUNK},
			.mode = UFFDIO_WRITEPROTECT_MODE_WP};
		if (!ioctl(fd, UFFDIO_WRITEPROTECT, &wp))
			done += wp.range.len;
		else if (errno != EAGAIN || ++tries > 1000) /* EAGAIN: the mappings are changing just now */
			return remus_fail_errno(err, "UFFDIO_WRITEPROTECT at 0x%" PRIx64,
						target->address + done);
	}
	return 0;
}

static void uffd_stop(struct remus_track *track)
{
	struct uffd *uffd = track->method;

	if (!uffd)
		return;
	if (uffd->fd >= 0)
		close(uffd->fd); /* the last descriptor: ends the registration */
	if (uffd->pagemap >= 0)
		close(uffd->pagemap);
	free(uffd);
	track->method = NULL;
}

static int uffd_start(struct remus_track *track, struct remus_error *err)
{
	pid_t pid = track->target.pid;
	struct birth birth = {.pidfd = track->pidfd, .fd = -1};
	int code = probe(err);

	if (code)
		return code;
	struct uffd *uffd = malloc(sizeof *uffd);
	if (!uffd)
		return remus_fail(err, -ENOMEM, "out of memory");
	*uffd = (struct uffd){.fd = -1, .pagemap = -1};
	track->method = uffd;
	code = uffd->pagemap = remus_track_proc_open(pid, "pagemap", O_RDONLY, err);
	if (code >= 0)
		code = remus_track_sweep_process(pid, track->pidfd, err);
	if (code >= 0)
		code = remus_inject_run(pid, give_birth, &birth, err);
	uffd->fd = birth.fd;
	if (code >= 0)
		code = handshake(uffd->fd, err);
	if (code >= 0)
		code = register_range(uffd->fd, &track->target, err);
	if (code >= 0)
		code = protect_all(uffd->fd, &track->target, err);
	if (code < 0)
		uffd_stop(track);
	return code < 0 ? code : 0;
}

static int uffd_fetch(struct remus_track *track, uint64_t *dirty, uint64_t *found, struct remus_error *err)
{
	struct uffd *uffd = track->method;

	return remus_pagemap_fetch(uffd->pagemap, track->target.address, track->target.bytes, dirty, found,
				   err);
}

const struct remus_track_ops remus_track_uffd_ops = {
	.name = "uffd-wp",
	.probe = probe,
	.start = uffd_start,
	.fetch = uffd_fetch,
	.stop = uffd_stop,
};
