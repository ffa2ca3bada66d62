/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stopping a guest with its own help. Its frontends must know: a guest that was merely paused has event
 * channels, grants and a shared page that are gone on another host. So it is asked by xenstore
 * (control/shutdown = "suspend"), freezes itself and calls the hypervisor; a resume that tells it "the suspend
 * was called off" makes it go on at once, with everything still connected.
 *
 * That it has stopped is told by an event channel given to the hypervisor for that purpose; where that fails,
 * by asking every millisecond (REMUS_XEN_SUSPEND=poll in the environment does without the channel, for finding
 * faults). While there is such a channel Xen tells nobody else, so it is there only while a guest is protected:
 * otherwise `xl save` would wait for ever (I13).
 *
 * A request can be made ahead of the pause, so that the time until the guest takes it up (answer.h) overlaps with its
 * running; but not while the guest is behind with what earlier ones left (ring.h). A request that nobody waits for is
 * called off, also that of an engine that was killed (I8). One of somebody else's, a shutdown or a reboot, is never
 * overwritten.
 */
#ifndef REMUS_XEN_SUSPEND_H
#define REMUS_XEN_SUSPEND_H

#include <stdbool.h>
#include <xenevtchn.h>
#include "answer.h"
#include "handles.h"
#include "ring.h"
#include "vcpus.h"

#define REMUS_XEN_SUSPEND_MS 5000  /* a loaded guest takes 200 ms; seconds mean one that can't freeze */
#define REMUS_XEN_GRACE_MS   3000  /* more, when it has taken up the request */
#define REMUS_XEN_LATE_MS    30000 /* Linux tries for 20 s to freeze its processes; it may stop until then */
#define REMUS_XEN_SETTLE_MS \
	400 /* after a resume a guest that has not caught up by then is asked all the same */

struct remus_xen_suspend {
	const struct remus_xen_handles *xen;
	uint32_t domid;
	struct remus_xen_vcpus *vcpus; /* that make an HVM or PVH guest go on, NULL = libxenguest does */
	xenevtchn_handle *events;      /* NULL = polling */
	evtchn_port_t port;
	char note[256]; /* why polling, or "" */
	bool listening;
	struct remus_xen_answer answer; /* of the request that is out */
	struct remus_xen_ring ring;	/* while listening */
	uint64_t began_us;		/* when the guest of the last wait() began to freeze, 0 = not known */
	bool began_reckoned;		/* nobody saw it */
	uint64_t resumed_us;		/* when it was made to go on, 0 = never */
	uint64_t told_us;		/* when xenstored was told of a resume */
	bool untold;			/* it was resumed, xenstored doesn't know yet */
	uint64_t late_until; /* it took up a request that was given up and may stop until then; 0 = none */
};

/* Does the guest say that it can be suspended? */
int remus_xen_suspend_check(const struct remus_xen_handles *xen, uint32_t domid, struct remus_error *err);
/* It must. Nothing of it is changed. @watch: a connection to xenstored whose events the answer reads, all of them. */
int remus_xen_suspend_open(struct remus_xen_suspend *suspend, const struct remus_xen_handles *xen,
			   struct xs_handle *watch, uint32_t domid, struct remus_error *err);
/* Have the hypervisor tell us from here on; where that fails `note` says why. */
void remus_xen_suspend_listen(struct remus_xen_suspend *suspend);
/* No more: it tells whoever else waits for a suspend. */
void remus_xen_suspend_unlisten(struct remus_xen_suspend *suspend);
/* Take over what a killed engine left: its channel, and its request, which the guest may have taken up. */
void remus_xen_suspend_inherit(struct remus_xen_suspend *suspend);
/* Calls off what is out; the guest is left as it is. */
void remus_xen_suspend_close(struct remus_xen_suspend *suspend);
int remus_xen_suspend_request(struct remus_xen_suspend *suspend, struct remus_error *err);
/* May it be asked, or must it catch up with what earlier requests left? */
bool remus_xen_suspend_settled(const struct remus_xen_suspend *suspend);
/* Request unless that was done, and wait until it has stopped. -ETIMEDOUT: it runs, or will be made to. -ESHUTDOWN:
 * it ended instead. */
int remus_xen_suspend_wait(struct remus_xen_suspend *suspend, xc_dominfo_t *info, struct remus_error *err);
/* Make a guest go on that has stopped; nothing for one that runs, or has ended. */
int remus_xen_suspend_resume(struct remus_xen_suspend *suspend, struct remus_error *err);
/* Tell xenstored of the resume, so that it notices the domain's next end; beside the pause, not in it. */
void remus_xen_suspend_tell(struct remus_xen_suspend *suspend);
/* A request that is older than @older_us is called off; a guest that stopped late is made to go on. What is left to
 * be expected of the guest: late_until. */
void remus_xen_suspend_settle(struct remus_xen_suspend *suspend, uint64_t older_us);
/* How long a guest takes to take up a request, µs: how much earlier than the pause it should be made. */
uint64_t remus_xen_suspend_lead(const struct remus_xen_suspend *suspend);

#endif
