/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty tracking of another process's memory, from outside. Used by domain/qemu (guest RAM in a shared memfd)
 * and domain/fake (the same in a plain process), so that tests exercise what ships.
 *
 * Three methods, tried in this order unless one is asked for:
 *   uffd-wp     userfaultfd in WP_ASYNC mode, made in the target by ptrace and then held by this process alone,
 *               read with PAGEMAP_SCAN (Linux >= 6.7)
 *   soft-dirty  /proc/PID/clear_refs + bit 55 of /proc/PID/pagemap (CONFIG_MEM_SOFT_DIRTY)
 *   compare     a private copy of the memory, compared at every fetch: always works, costs as much memory as
 *               the guest has and reads all of it at each epoch; last resort
 */
#ifndef REMUS_TRACK_H
#define REMUS_TRACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "remus/error.h"
#include "remus/findings.h"

enum remus_track_method { REMUS_TRACK_AUTO, REMUS_TRACK_UFFD, REMUS_TRACK_SOFT_DIRTY, REMUS_TRACK_COMPARE };

struct remus_track_target {
	pid_t pid;
	uint64_t address;	/* start of the memory's mapping in the target, page aligned */
	uint64_t bytes;		/* of it, a multiple of 4096 */
	const uint8_t *mapping; /* the same memory mapped here, for compare */
};

struct remus_track;

/*
 * Begin tracking; every page counts as clean afterwards (the caller does a full copy). Remains of an earlier,
 * killed tracker in the target are removed first. On failure the target runs on untouched. The message names
 * the method, the call, the cause and the remedy (kernel too old, ptrace not permitted: yama, other uid...);
 * with AUTO, @err tells why each method failed.
 */
int remus_track_start(const struct remus_track_target *target, enum remus_track_method method,
		      struct remus_track **out, struct remus_error *err);
/* Which method this kernel allows, as far as can be told without touching a target (not: whether it may be traced). */
void remus_track_check(enum remus_track_method method, struct remus_report *report);
/* "uffd-wp", "soft-dirty", "compare". */
const char *remus_track_name(const struct remus_track *track);
/* One line on why a better method was not used, or "". */
const char *remus_track_note(const struct remus_track *track);

/*
 * Set in @dirty the bit of each page written since the last fetch (bits already set stay) and make them clean.
 * @count (may be NULL) gets the number found now. On failure whatever was cleared is set in @dirty (I9). The
 * target should be stopped; if it runs, a page written during the call shows in this fetch or in the next
 * (soft-dirty: it must be stopped, such a write may be lost). A target that is gone is -ESRCH, all pages dirty.
 */
int remus_track_fetch(struct remus_track *track, uint64_t *dirty, uint64_t *count, struct remus_error *err);

/* End tracking and remove it from the target (I13): no page left protected. (The death of this process does
 * the same.) A target that is gone is no error. Frees @track. */
void remus_track_stop(struct remus_track *track);

/* Remove what a tracker that was killed while starting left in @target, without starting. 0 also when there was
 * nothing. */
int remus_track_sweep(const struct remus_track_target *target, struct remus_error *err);

/* "auto", "uffd-wp", "soft-dirty", "compare"; -EINVAL. */
int remus_track_method_parse(const char *word, enum remus_track_method *out, struct remus_error *err);

#endif
