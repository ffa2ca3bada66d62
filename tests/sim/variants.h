/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deliberately wrong replications, to test the simulator itself: each breaks one rule in the simulator's own layer
 * (what carries actions out, what feeds events in), as a mistake in a shell or a machine would. The machines that
 * are linked are the shipping ones, always.
 */
#ifndef SIM_VARIANTS_H
#define SIM_VARIANTS_H

enum variant {
	RIGHT,
	RELEASE_AT_SEND,
	ACK_INCOMPLETE,
	CLAIM_SKIPPED,
	STALE_GENERATION,
	SECOND_SEAL,
	BASE_KEPT,
	ACTIVATE_ON_EOF,
	SOLO_WITHOUT_CLAIM,
	HEARTBEAT_AS_ACK,
	SILENCE_AS_DEATH,
	CHECKSUM_IGNORED,
	TORN_APPLIED,
	PAGES_FORGOTTEN,
	DIRTY_AFTER_RESUME,
	PASS_FIRST,
	LEFT_PAUSED,
	RECOVER_OPEN,
	OVERFLOW_PASSES,
	RENEWAL_SKIPPED,
	BRAKE_KEPT,
	OWN_CLOCK,
	CLOCK_SET_BACK,
	CLOCK_TORN,
	VARIANTS,
};

struct variant_info {
	const char *name, *what;
	const char *invariants; /* those that may catch it, separated by blanks */
	unsigned within;	/* seeds, from 1 */
};

extern const struct variant_info variant_info[VARIANTS];

#endif
