/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Continuity: what a guest that wakes up on the backup needs besides memory (I12): the right time, and randomness that
 * no other activation of the same checkpoint has. docs/continuity.md says what is guaranteed to whom.
 *
 * Nothing here is on the path of an epoch, and nothing here may delay a failover: what isn't known in time is told and
 * done without.
 */
#ifndef REMUS_CONTINUITY_H
#define REMUS_CONTINUITY_H

#include <stddef.h>
#include <stdint.h>
#include "remus/error.h"

/* ---- time (clock.h says how it is known) ---- */

/* How far two clocks that nobody slews drift apart, parts per million: what an offset that was measured some time ago
 * may be wrong by since. Quartz keeps within 100 of its nominal rate over its range of temperature, the kernel's
 * calibration of the TSC adds some; two hosts make twice that (RFC 5905, section 7.2: 15 for a disciplined one). */
#define REMUS_CLOCK_DRIFT_PPM 500u

/* Whose wall clock is taken for the right one. */
enum remus_time_source {
	REMUS_TIME_PRIMARY, /* the primary's, carried on from the pause: it was synchronised, or neither was */
	REMUS_TIME_HERE,    /* this host's: it is synchronised, and the primary's wasn't */
};

/* What the agent does with a guest's wall clock that is behind. One that is ahead is never set back. */
enum remus_clock_policy {
	REMUS_CLOCK_STEP, /* set it: right at once */
	REMUS_CLOCK_SLEW, /* let it run faster until it is right: no jump, but wrong for a while */
};

/* The right wall clock for an activated guest, as well as this host can know it. */
struct remus_truth {
	uint64_t monotonic_ns; /* CLOCK_MONOTONIC of this host: the moment that the rest speaks of */
	uint64_t raw_ns;       /* CLOCK_MONOTONIC_RAW, the same moment */
	int64_t realtime_ns;   /* the right wall clock then, ns since the Unix epoch; never below floor_ns */
	uint64_t error_ns;     /* from the source's clock it differs by no more than this */
	uint64_t
		utc_error_ns; /* and from UTC by no more than this; UINT64_MAX = the source isn't synchronised */
	int64_t floor_ns; /* the guest's wall clock may never show less: the right time at the activated pause */
	int64_t shown_ns; /* the primary's wall clock at the activated pause, right or not */
	uint64_t gap_ns;  /* since the activated pause, give or take gap_error_ns: what the guest lost */
	uint64_t gap_error_ns;
	int64_t correction_ns; /* what to add to a clock that stood at shown_ns since the pause */
	enum remus_time_source source;
	enum remus_clock_policy policy; /* as the primary's operator asked for */
};

/* ---- entropy ---- */

#define REMUS_SEED_SIZE	  64u /* bytes */
#define REMUS_FINGERPRINT 17u /* of a seed, for logs: 16 hexadecimal digits of its SHA-256, and a NUL */

/*
 * A session's reservoir: what the primary stirs in, mixed with this host's own randomness. @dir: the standby's private
 * directory; what is kept there makes sure that no seed is served twice, across any death of the process.
 */
struct remus_entropy;
int remus_entropy_open(const char *dir, struct remus_entropy **out, struct remus_error *err);
/* Mix in material of the other host. Cheap; never fails. */
void remus_entropy_stir(struct remus_entropy *entropy, const void *material, size_t bytes);
/*
 * One seed for one activation, which is never served again, not even if the process dies here. @purpose: a word for the
 * log, and part of the derivation. Never waits: with an empty reservoir the seed comes from getrandom alone. The caller
 * erases it after use (explicit_bzero).
 */
int remus_entropy_take(struct remus_entropy *entropy, const char *purpose, uint8_t seed[REMUS_SEED_SIZE],
		       char fingerprint[REMUS_FINGERPRINT], struct remus_error *err);
void remus_entropy_close(struct remus_entropy *entropy);

#endif
