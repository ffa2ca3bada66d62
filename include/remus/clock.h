/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time between two hosts, and across a failover (I12). Three things, all pure but for the readings:
 *
 *   offset   how the peer's clock stands to ours, from NTP's four timestamps, with a bound on the error
 *   facts    what an epoch carries of its primary's and its guest's clocks: the CLOCK section
 *   truth    what the guest's wall clock ought to show on the backup, from both
 *
 * Intervals are measured by CLOCK_MONOTONIC_RAW throughout: no NTP client steps it, and none slews it either
 * (chrony may slew CLOCK_MONOTONIC by 8 %, and does so on just that host whose clock was found to be wrong).
 * What two such clocks drift apart is bounded by their quartzes: REMUS_CLOCK_DRIFT_PPM. A *link clock* is the raw
 * clock set to what the wall clock showed when the connection began: never stepped, and still of a magnitude that
 * a peer of another release takes for a wall clock.
 */
#ifndef REMUS_CLOCK_H
#define REMUS_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "remus/continuity.h"
#include "remus/error.h"

/* How wrong an offset becomes in @ns, rounded up. */
static inline uint64_t remus_clock_drift(uint64_t ns)
{
	return ns / 1000000u * REMUS_CLOCK_DRIFT_PPM +
	       (ns % 1000000u * REMUS_CLOCK_DRIFT_PPM + 999999u) / 1000000u;
}

/* ---- readings: the only calls here that ask the system ---- */

/* This host's clocks, ns, one read right after the other. */
struct remus_clock_reading {
	uint64_t raw_ns, monotonic_ns, boottime_ns;
	int64_t realtime_ns;
};
void remus_clock_read(struct remus_clock_reading *out);

/* What adjtimex(2) says of the wall clock. */
struct remus_clock_sync {
	bool synchronised;
	uint64_t error_ns; /* from UTC it differs by no more, if it is synchronised */
};
void remus_clock_sync(struct remus_clock_sync *out);

/* ---- offset ---- */

/*
 * NTP's clock filter (RFC 5905, sections 8 and 10) reduced to what it comes to: of all samples the one whose error is
 * least *now* counts, the error being half the sample's delay plus what the clocks may have drifted apart while it was taken and
 * since. All
 * samples age alike, so the best of them stays the best until a better one comes, and one is all that is kept.
 * A sample that can't be true if the kept one is (their intervals don't meet) means that a clock was stepped: the
 * filter begins anew with it. All zero = nothing is known.
 */
struct remus_offset {
	uint32_t samples;  /* since it began or began anew; 0 = the rest means nothing */
	uint32_t restarts; /* how often a clock was found stepped */
	uint64_t at_us;	   /* our clock at the kept sample */
	int64_t offset_ns; /* the peer's clock minus ours */
	uint64_t error_ns; /* that may be wrong by as much, at_us */
};
/*
 * T1 ours when we sent, T2 the peer's when that arrived, T3 the peer's when it answered, T4 ours when that arrived, µs.
 * Returns the round trip, µs; negative: the sample is of no use (a delay below zero or above a minute, an answer to
 * a question of an hour ago, or an offset of more than a century: the filter is as it was).
 */
int64_t remus_offset_add(struct remus_offset *offset, uint64_t t1, uint64_t t2, uint64_t t3, uint64_t t4);
/* The bound of its error at @at_us of our clock, before or after the sample. UINT64_MAX when nothing is known. */
uint64_t remus_offset_error(const struct remus_offset *offset, uint64_t at_us);

/* ---- facts ---- */

/* What a hypervisor knows of its guest's clocks. */
struct remus_guest_clock {
	bool tsc_known;	   /* then: */
	uint32_t tsc_mode; /* Xen's TSC_MODE_*; 0 elsewhere */
	uint32_t tsc_khz;  /* the rate that the guest counts on; at least 1 */
	bool offset_known; /* then the guest's wall clock is the host's plus: */
	int64_t offset_s;  /* seconds */
};

struct remus_clock_facts {
	int64_t realtime_ns; /* the primary's clocks at the pause */
	uint64_t monotonic_ns, boottime_ns;
	/* The rest is 0 from a primary of release 0.1. */
	bool complete;
	uint64_t link_ns; /* its link clock at the pause; 0 = unknown */
	struct remus_clock_sync sync;
	enum remus_clock_policy policy;
	struct remus_guest_clock guest;
};

#define REMUS_CLOCK_FACTS_SIZE 64u
#define REMUS_CLOCK_FACTS_MAX  4096u /* bytes that a later release's may have; the first 64 mean the same */

/* The body of a CLOCK section; docs/protocol.md has its layout. */
void remus_clock_facts_encode(const struct remus_clock_facts *in, uint8_t out[REMUS_CLOCK_FACTS_SIZE]);
/* -EBADMSG: a length or a value that cannot be; @out is all zero then. Every value is bounded, so that no sum of two
 * times overflows. */
int remus_clock_facts_decode(const void *body, size_t length, struct remus_clock_facts *out,
			     struct remus_error *err);

/* ---- truth ---- */

/* What a backup knows when it activates. Times in ns of CLOCK_MONOTONIC_RAW. Begins all zero but for began_ns. */
struct remus_clock_known {
	struct remus_clock_facts facts; /* of the epoch that is activated (I3) */
	uint64_t began_ns;		/* when the session began */
	uint64_t verified_ns;		/* when the last epoch was complete here; 0 = none was yet */
	/* The pause came after the first and before the second, whatever any clock of the primary says: when the epoch
	 * before was complete here, and when this one was. */
	uint64_t after_ns, before_ns;
	struct remus_offset offset; /* the primary's link clock to ours */
	int64_t anchor_ns;	    /* our link clock minus CLOCK_MONOTONIC_RAW */
	struct remus_clock_sync here;
};
/* An epoch is complete here; it is not acknowledged yet. */
void remus_clock_verified(struct remus_clock_known *known, uint64_t raw_ns);
/* That epoch is the standby's image now. */
void remus_clock_applied(struct remus_clock_known *known, const struct remus_clock_facts *facts);

/*
 * The rule. The pause is placed on this host's raw clock: facts.link_ns less the offset, within the offset's error aged
 * to then, and never outside (after_ns, before_ns); without an offset the latter alone says it. Then
 *
 *   the primary was synchronised, or neither host was:
 *	the right time is its wall clock at the pause plus what has passed since; it is as wrong as the pause is, plus
 *	REMUS_CLOCK_DRIFT_PPM of what has passed
 *   this host is synchronised and the primary was not:
 *	the right time is this host's wall clock, and the floor what that showed at the pause
 *
 * and never less than the floor.
 */
void remus_clock_truth(const struct remus_clock_known *known, const struct remus_clock_reading *now,
		       struct remus_truth *out);
/* The same truth later (or earlier): what has passed since is added, and its drift to the errors. The gap stays. */
void remus_clock_carry(const struct remus_truth *then, const struct remus_clock_reading *now,
		       struct remus_truth *out);

/*
 * For a hypervisor that makes its guest's wall clock from its own, which shows @wall_ns now, and whole seconds: the time
 * offset, s, with which that reads as late as can be but neither more than the truth nor more than what @guest was shown
 * at the pause and the gap: a guest that reads it after the pause to see how long it slept then never runs ahead, and
 * keeps what its own NTP client has made of its clock. It reads up to a second and REMUS_CLOCK_COARSE_NS less.
 */
#define REMUS_CLOCK_COARSE_NS \
	100000000 /* what the hypervisor's clock may be ahead of the kernel's that sets it */
int64_t remus_clock_coarse(const struct remus_truth *truth, const struct remus_guest_clock *guest,
			   int64_t wall_ns);

const char *remus_time_source_name(enum remus_time_source source);   /* "primary", "here" */
const char *remus_clock_policy_name(enum remus_clock_policy policy); /* "step", "slew" */

#endif
