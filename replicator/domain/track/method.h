/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a tracking method is made of, and the questions about a process that all of them ask. Private to
 * domain/track; the contract with the rest is remus/track.h.
 *
 * A method's start() leaves nothing behind when it fails, and its fetch() must uphold I9: whatever it cleared
 * is set in the caller's map, also when it fails half-way.
 */
#ifndef REMUS_TRACK_METHOD_H
#define REMUS_TRACK_METHOD_H

#include <stdbool.h>
#include <stdint.h>
#include "remus/bitmap.h"
#include "remus/error.h"
#include "remus/track.h"

#define REMUS_TRACK_PAGE UINT64_C(4096)

struct remus_track_ops {
	const char *name;
	/* All that can be known without touching the target; start() begins with it. NULL = works everywhere. */
	int (*probe)(struct remus_error *err);
	int (*start)(struct remus_track *, struct remus_error *err);
	int (*fetch)(struct remus_track *, uint64_t *dirty, uint64_t *found, struct remus_error *err);
	void (*stop)(struct remus_track *);
};

struct remus_track {
	const struct remus_track_ops *ops;
	struct remus_track_target target;
	uint64_t pages;
	int pidfd, statm; /* the process, immune to the reuse of its number */
	void *method;	  /* the method's own; NULL when it isn't started */
	char note[REMUS_ERROR_MAX];
};

extern const struct remus_track_ops remus_track_uffd_ops;
extern const struct remus_track_ops remus_track_soft_dirty_ops;
extern const struct remus_track_ops remus_track_compare_ops;

/* Fill pidfd and statm. -ESRCH when the process is gone. */
int remus_track_process_open(struct remus_track *track, struct remus_error *err);
void remus_track_process_close(struct remus_track *track);

/*
 * 0 while the target has its address space, else -ESRCH. Asked *after* a scan it proves that the scan saw the
 * living address space: page tables go away only after statm shows zero.
 */
int remus_track_alive(const struct remus_track *track, struct remus_error *err);

/* The range is mapped in the target without a gap; -EFAULT. */
int remus_track_covered(const struct remus_track_target *target, struct remus_error *err);

/* Open /proc/PID/@file. */
int remus_track_proc_open(pid_t pid, const char *file, int flags, struct remus_error *err);

/*
 * @call on process @pid failed with @code (negative errno): fill @err with the cause as far as /proc tells it
 * (gone, another tracer, another user, yama, not dumpable, seccomp) and the remedy. Returns @code.
 */
int remus_track_refused(pid_t pid, const char *call, int code, struct remus_error *err);

/* Close userfaultfds that a tracker, killed between making one and taking it over, left in the process. */
int remus_track_sweep_process(pid_t pid, int pidfd, struct remus_error *err);

/* A second descriptor, ours, for descriptor @fd of the process; negative errno. */
int remus_track_take_fd(int pidfd, int fd);

#endif
