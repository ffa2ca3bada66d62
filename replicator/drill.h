/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A drill: a copy of the standby, as of its last committed epoch, is run for a while to see that it does. Protection goes
 * on meanwhile. The copy is a standby of its own, from the same description: it has memory of its own, and its network
 * leads nowhere, since nobody opens it. So it needs no claim (I5): it is not the guest, nobody can meet it, and it is
 * destroyed in the end.
 *
 * A thread does what takes long: starting the hypervisor, waking the copy up, watching it, destroying it. The shell's
 * own thread has the image copied (copy_into() of domain.h), between two epochs: acknowledgements, and with them the
 * guest's output, wait for that.
 * The copy dies with the thread, however that ends (standby_config.mortal, I13).
 */
#ifndef REMUS_SHELL_DRILL_H
#define REMUS_SHELL_DRILL_H

#include "remus/continuity.h"
#include "remus/engine.h"

struct shell_drill;

struct shell_drill_wanted {
	const struct remus_standby_ops *ops;
	const char *description, *name; /* the guest's; copied */
	const char *dir;		/* the standby's; the copy's is below it */
	uint64_t run_ms;		/* how long it shall run */
};
int shell_drill_start(const struct shell_drill_wanted *wanted, struct shell_drill **out,
		      struct remus_error *err);

enum shell_drill_turn {
	SHELL_DRILL_WAIT,
	SHELL_DRILL_COPY, /* the copy has been built: shell_drill_copy() is due */
	SHELL_DRILL_OVER, /* shell_drill_result() tells */
};
int shell_drill_fd(const struct shell_drill *drill); /* poll for reading */
enum shell_drill_turn shell_drill_turn(struct shell_drill *drill);

/* What the copy gets in a renewal, as an activated guest would (I12). */
struct shell_drill_renewal {
	uint8_t seed[REMUS_SEED_SIZE];	     /* its own; erased by the drill */
	char fingerprint[REMUS_FINGERPRINT]; /* "" = there is none */
	struct remus_truth truth;
	bool clock_known;		      /* the truth is the primary's word, and so is the next: */
	struct remus_guest_clock guest_clock; /* what the copied epoch says of the guest's clocks */
	bool agent_known; /* the epoch says that there is an agent in it: it must answer */
};
/* Give the copy what @from has committed last. A failure ends the drill. */
void shell_drill_copy(struct shell_drill *drill, struct remus_standby *from,
		      struct shell_drill_renewal *renewal);
/* What came of it; valid until destroy(). */
const struct remus_drill *shell_drill_result(const struct shell_drill *drill);
/* End it now; @why becomes the result, unless it has one. It will be over soon. */
void shell_drill_cancel(struct shell_drill *drill, const char *why);
/* Never waits: a thread that is still busy cleans up behind itself. NULL is fine. */
void shell_drill_destroy(struct shell_drill *drill);

#endif
