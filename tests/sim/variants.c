/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The deliberately wrong variants: their names and in how many seeds each must be caught. */
#include "variants.h"

const struct variant_info variant_info[VARIANTS] = {
	[RIGHT] = {"right", "as shipped", "", 0},
	[RELEASE_AT_SEND] = {"release-at-send", "output leaves when its epoch was sent", "I1", 20},
	[ACK_INCOMPLETE] = {"ack-incomplete", "the backup acknowledges before the COMMIT is there", "I2 I4",
			    20},
	[CLAIM_SKIPPED] = {"claim-skipped", "a hand-over is activated without a claim", "I5", 500},
	[STALE_GENERATION] = {"stale-generation", "generations are neither admitted nor compared", "I4",
			      1000},
	[SECOND_SEAL] = {"second-seal", "an epoch is sealed before the one before is released", "I10", 20},
	[BASE_KEPT] = {"base-kept", "the base cache isn't rolled back with an epoch given up", "I2 I3 I9",
		       20000},
	[ACTIVATE_ON_EOF] = {"activate-on-eof", "the backup takes an EOF for the primary's death", "I5", 200},
	[SOLO_WITHOUT_CLAIM] = {"solo-without-claim", "the primary goes on alone without a claim", "I6", 200},
	[HEARTBEAT_AS_ACK] = {"heartbeat-as-ack", "a sign of life is taken for an acknowledgement", "I1",
			      200},
	[SILENCE_AS_DEATH] = {"silence-as-death", "silence is taken for a won claim", "I5 I6", 500},
	[CHECKSUM_IGNORED] = {"checksum-ignored", "damaged frames are taken", "I1 I2 I3 I4 I9 L1", 3000},
	[TORN_APPLIED] = {"torn-applied", "a torn epoch is applied as far as it came", "I3 I9", 500},
	[PAGES_FORGOTTEN] = {"pages-forgotten", "pages of an epoch given up aren't sent again", "I2 I9 I3",
			     500},
	[DIRTY_AFTER_RESUME] = {"dirty-unpaired", "the dirty set is cleared apart from copying", "I2 I9 I3",
				20},
	[PASS_FIRST] = {"pass-first", "egress opens before the loss of protection is told", "I7", 200},
	[LEFT_PAUSED] = {"left-paused", "a guest paused for a hand-over isn't resumed when it fails", "I8 L1",
			 2000},
	[RECOVER_OPEN] = {"recover-open", "after an engine's death the network is forwarded at once",
			  "I5 I6 I1", 1000},
	[OVERFLOW_PASSES] = {"overflow-passes", "a packet for which there is no room passes", "I1 I10", 1000},
	[BRAKE_KEPT] = {"brake-kept", "a guest braked while its epoch is sent isn't let go", "I8 L1", 20000},
};
