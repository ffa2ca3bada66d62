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

/* ---- time ---- */

/* How far two clocks of ordinary hosts drift apart, parts per million: what an offset that was measured some time ago may
 * be wrong by since (RFC 5905 section 7.3 reckons with 15 for a disciplined clock; undisciplined quartz stays below). */
#define REMUS_CLOCK_DRIFT_PPM 500u

/* The right wall clock for an activated guest, as well as this host can know it. */
struct remus_truth {
	uint64_t monotonic_ns; /* CLOCK_MONOTONIC of this host: the moment that the rest speaks of */
	int64_t realtime_ns;   /* the right wall clock then, ns since the Unix epoch */
	uint64_t error_ns; /* it is wrong by no more than this; grows by REMUS_CLOCK_DRIFT_PPM afterwards */
	int64_t floor_ns; /* the guest's wall clock may never show less: the right time at the activated pause */
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
