/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When a guest that was asked to suspend took that up: it empties control/shutdown, begins to freeze, and serves nobody
 * from then on. Whether it has stopped is not asked here (suspend.h); this is for the pause's account, and for how
 * early to ask.
 *
 * How long a guest takes to answer changes slowly, and to hear of an answer costs xenstored and us as much as a third of
 * the request. So at most one a second is listened to, by a watch; when the others came is reckoned from those, and
 * a guest that is slower than usual is looked at, so that a late answer isn't taken for a long freeze.
 */
#ifndef REMUS_XEN_ANSWER_H
#define REMUS_XEN_ANSWER_H

#include <stdbool.h>
#include "handles.h"

#define REMUS_XEN_SHUTDOWN "control/shutdown" /* what the guest is asked to do; below its own path */

struct remus_xen_answer {
	const struct remus_xen_handles *xen;
	struct xs_handle *events; /* a connection to xenstored; hear() reads all of its events */
	uint32_t domid;
	bool others;		/* an event of somebody else's watch was among them */
	unsigned requests;	/* how many there were */
	uint64_t listened_us;	/* the last one that was listened to; 0 = none yet */
	bool watching;		/* for the answer to the last of them */
	unsigned heard;		/* its watch: for being set, then for the answer */
	uint64_t requested_us;	/* when the guest was asked, 0 = no request is out */
	uint64_t taken_us;	/* when it was heard to answer, 0 = not */
	uint64_t open_us;	/* when it was last seen not to have answered, 0 = never */
	uint64_t look_us;	/* when to look again */
	uint64_t usual_us;	/* request to answer, a running mean; 0 = not known */
	uint64_t usual_stop_us; /* request to stopped */
};

/* The guest was asked, just now (@now: before that). @listen: its answer may be listened to. */
void remus_xen_answer_asked(struct remus_xen_answer *answer, uint64_t now, bool listen);
/* Read the events that are there. */
void remus_xen_answer_hear(struct remus_xen_answer *answer);
/* It has not stopped yet: look, if it is time for that. Returns when to be here again, UINT64_MAX = need not be. */
uint64_t remus_xen_answer_look(struct remus_xen_answer *answer, uint64_t now);
/* It has stopped, by @now. @late: it had when first looked at, so it may have stopped, and been heard, long after it
 * did. Returns when it began to freeze, 0 = that can't be told. */
uint64_t remus_xen_answer_stopped(struct remus_xen_answer *answer, uint64_t now, bool late);
/* The request is over, however it ended. */
void remus_xen_answer_over(struct remus_xen_answer *answer);
/* No event is wanted until the next request; beside the pause, not in it. */
void remus_xen_answer_rest(struct remus_xen_answer *answer);

#endif
