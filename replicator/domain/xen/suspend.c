/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See suspend.h. */
#include "suspend.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xen/sched.h>
#include <xenguest.h>
#include "remus/log.h"
#include "remus/util.h"

#define TELL_US	   1000000u
#define RECHECK_MS 100	 /* a signal that got lost costs this much */
#define SETTLE_US  8000u /* between two looks at a guest that must catch up: each costs it processor time */
#define FOREIGN_MS 200 /* for a guest to take up what somebody else asked of it; a running one takes a few */

/* A signal that poll() told of. */
static void take_signal(struct remus_xen_suspend *s)
{
	int port = xenevtchn_pending(s->events);

	if (port >= 0)
		xenevtchn_unmask(s->events, (evtchn_port_t)port);
}

/* The bind itself raises one. */
static void throw_first_away(struct remus_xen_suspend *s)
{
	struct pollfd pfd = {.fd = xenevtchn_fd(s->events), .events = POLLIN};

	if (poll(&pfd, 1, 20) == 1)
		take_signal(s);
}

static int open_channel(struct remus_xen_suspend *s, struct remus_error *err)
{
	s->events = xenevtchn_open(s->xen->log, 0);
	if (!s->events)
		return remus_fail_errno(err, "event channels");
	int theirs = xc_evtchn_alloc_unbound(s->xen->xch, s->domid, 0);
	if (theirs < 0)
		return remus_fail_errno(err, "an event channel of domain %u", s->domid);
	int ours = xenevtchn_bind_interdomain(s->events, s->domid, (evtchn_port_t)theirs);
	if (ours < 0)
		return remus_fail_errno(err, "binding an event channel to domain %u", s->domid);
	s->port = (evtchn_port_t)ours;
	throw_first_away(s);
	/* In the place of the channel of an engine that was killed, if there is one. */
	if (xc_domain_subscribe_for_suspend(s->xen->xch, s->domid, (evtchn_port_t)theirs))
		return remus_fail_errno(err, "subscribing to the suspends of domain %u", s->domid);
	return 0;
}

int remus_xen_suspend_check(const struct remus_xen_handles *xen, uint32_t domid, struct remus_error *err)
{
	REMUS_AUTO_FREE char *can = remus_xen_read(xen, domid, "control/feature-suspend");

	if (!can || strcmp(can, "1"))
		return remus_fail(
			err, -ENOTSUP,
			"domain %u doesn't say that it can be suspended (control/feature-suspend in "
			"xenstore): its kernel lacks Xen's suspend support, or has not started yet. One that "
			"xl restored or migrated does not say so again: write 1 there for it",
			domid);
	return 0;
}

int remus_xen_suspend_open(struct remus_xen_suspend *s, const struct remus_xen_handles *xen,
			   struct xs_handle *watch, uint32_t domid, struct remus_error *err)
{
	*s = (struct remus_xen_suspend){
		.xen = xen,
		.domid = domid,
		.answer = {.xen = xen, .events = watch, .domid = domid},
	};
	return remus_xen_suspend_check(xen, domid, err);
}

void remus_xen_suspend_listen(struct remus_xen_suspend *s)
{
	struct remus_error why = REMUS_ERROR_INIT;
	const char *told = secure_getenv("REMUS_XEN_SUSPEND");

	if (s->listening)
		return;
	s->listening = true;
	remus_xen_ring_open(&s->ring, s->xen, s->domid);
	s->note[0] = 0;
	if (told && !strcmp(told, "poll"))
		remus_fail(&why, -ENOTSUP, "REMUS_XEN_SUSPEND says so");
	else if (open_channel(s, &why) == 0)
		return;
	snprintf(s->note, sizeof s->note, "suspends are polled for: %.200s", why.message);
	if (s->events)
		xenevtchn_close(s->events);
	s->events = NULL;
}

void remus_xen_suspend_unlisten(struct remus_xen_suspend *s)
{
	if (!s->listening)
		return;
	s->listening = false;
	remus_xen_answer_over(&s->answer);
	remus_xen_answer_rest(&s->answer);
	remus_xen_ring_close(&s->ring);
	if (!s->events)
		return;
	xc_domain_subscribe_for_suspend(s->xen->xch, s->domid, 0);
	xenevtchn_close(s->events); /* and with it the channel; the guest's end goes with the guest */
	s->events = NULL;
}

void remus_xen_suspend_close(struct remus_xen_suspend *s)
{
	if (!s->xen)
		return;
	remus_xen_suspend_settle(s, 0);
	s->told_us = 0;
	remus_xen_suspend_tell(s);
	remus_xen_suspend_unlisten(s);
	s->xen = NULL;
}

/* In one step: what the guest is asked to do becomes @to if it is @from. 1 = done, 0 = it is something else, which is
 * then in @other. */
static int ask_instead(struct remus_xen_suspend *s, const char *from, const char *to, char other[32],
		       struct remus_error *err)
{
	char path[64];
	unsigned length;

	snprintf(path, sizeof path, "/local/domain/%u/" REMUS_XEN_SHUTDOWN, s->domid);
	for (int i = 0; i < 5; i++) { /* whoever else writes there at the same time makes it fail */
		xs_transaction_t t = xs_transaction_start(s->xen->xs);
		if (t == XBT_NULL)
			break;
		REMUS_AUTO_FREE char *now = xs_read(s->xen->xs, t, path, &length);
		snprintf(other, 32, "%s", now ? now : "");
		bool same = !strcmp(other, from);
		bool written = !same || xs_write(s->xen->xs, t, path, to, (unsigned)strlen(to));
		if (xs_transaction_end(s->xen->xs, t, !written) && written)
			return same;
	}
	return remus_fail_errno(err, "xenstore: %s", path);
}

int remus_xen_suspend_request(struct remus_xen_suspend *s, struct remus_error *err)
{
	char other[32];
	int rc = 0;

	if (s->answer.requested_us)
		return 0;
	remus_xen_suspend_tell(s);
	uint64_t now = remus_now_us();
	for (int waited = 0; waited <= FOREIGN_MS; waited++) {
		rc = ask_instead(s, "", "suspend", other, err);
		if (rc || !strcmp(other, "suspend"))
			break;
		usleep(1000);
	}
	if (rc == 0 && strcmp(other, "suspend"))
		rc = remus_fail(err, -EBUSY, "domain %u was asked to \"%s\" and has not taken that up",
				s->domid, other);
	if (rc < 0)
		return rc;
	remus_xen_answer_asked(&s->answer, now, s->listening);
	return 0;
}

bool remus_xen_suspend_settled(const struct remus_xen_suspend *s)
{
	return remus_xen_ring_behind(&s->ring) <= REMUS_XEN_RING_BEHIND ||
	       remus_now_us() - s->resumed_us >= REMUS_XEN_SETTLE_MS * 1000u;
}

/* 1 = stopped by a suspend, 0 = runs. */
static int stopped(struct remus_xen_suspend *s, xc_dominfo_t *info, struct remus_error *err)
{
	int rc = remus_xen_info(s->xen, s->domid, info, err);

	if (rc < 0)
		return rc;
	if (!info->shutdown)
		return 0;
	if (info->shutdown_reason == SHUTDOWN_suspend)
		return 1;
	return remus_fail(err, -ESHUTDOWN, "domain %u has ended", s->domid);
}

/* Until the hypervisor signals, or it should be asked all the same. False: only the guest's answer was heard. */
static bool hear_either(struct remus_xen_suspend *s, int wait_ms)
{
	struct pollfd pfd[2] = {
		{.fd = xenevtchn_fd(s->events), .events = POLLIN},
		{.fd = s->answer.watching && !s->answer.taken_us ? xs_fileno(s->answer.events) : -1,
		 .events = POLLIN},
	};

	if (poll(pfd, 2, wait_ms) < 1)
		return true;
	if (pfd[1].revents)
		remus_xen_answer_hear(&s->answer);
	if (pfd[0].revents)
		take_signal(s);
	return pfd[0].revents;
}

static int ms_until(uint64_t then, uint64_t now)
{
	uint64_t ms = (then > now ? then - now : 0) / 1000 + 1;

	return ms < RECHECK_MS ? (int)ms : RECHECK_MS;
}

/* It ran when last looked at. 1 = it has stopped, 0 = it still runs at @until. */
static int await(struct remus_xen_suspend *s, uint64_t until, xc_dominfo_t *info, struct remus_error *err)
{
	for (;;) {
		uint64_t now = remus_now_us(), look = remus_xen_answer_look(&s->answer, now);
		bool over = now >= until;
		if (!over && s->events) {
			if (!hear_either(s, ms_until(look < until ? look : until, now)))
				continue;
		} else if (!over) {
			usleep(1000);
			remus_xen_answer_hear(&s->answer);
		}
		int rc = stopped(s, info, err);
		if (rc || over)
			return rc;
	}
}

/* Take the request back if the guest has not taken it up. */
static bool call_off(struct remus_xen_suspend *s)
{
	char other[32];

	return ask_instead(s, "suspend", "", other, NULL) > 0;
}

static void expect_late(struct remus_xen_suspend *s)
{
	s->late_until = remus_now_us() + REMUS_XEN_LATE_MS * 1000u;
}

void remus_xen_suspend_inherit(struct remus_xen_suspend *s)
{
	remus_xen_suspend_listen(s);
	if (!s->events)
		xc_domain_subscribe_for_suspend(s->xen->xch, s->domid, 0);
	if (!call_off(s))
		expect_late(s); /* if it was asked at all: that can't be told */
}

/* It has stopped. @late: that was found, not waited for. */
static void note_stop(struct remus_xen_suspend *s, bool late)
{
	const struct remus_xen_answer *a = &s->answer;
	uint64_t now = remus_now_us();

	s->began_us = remus_xen_answer_stopped(&s->answer, now, late);
	s->began_reckoned = !a->taken_us;
	if (a->requested_us)
		remus_debug("suspend: asked %lld us after the resume, taken up %lld us later%s, stopped %lld "
			    "us after it was asked",
			    (long long)(a->requested_us - s->resumed_us),
			    s->began_us ? (long long)(s->began_us - a->requested_us) : -1LL,
			    a->taken_us && !late ? "" : " (reckoned)", (long long)(now - a->requested_us));
}

int remus_xen_suspend_wait(struct remus_xen_suspend *s, xc_dominfo_t *info, struct remus_error *err)
{
	bool taken = s->answer.taken_us != 0;
	int rc = stopped(s, info, err); /* it was asked ahead, or a killed engine left it so */
	bool was_stopped = rc > 0;

	while (rc == 0 && !s->answer.requested_us && !remus_xen_suspend_settled(s))
		usleep(SETTLE_US);
	if (rc == 0)
		rc = remus_xen_suspend_request(s, err);
	if (rc == 0)
		rc = await(s, s->answer.requested_us + REMUS_XEN_SUSPEND_MS * 1000u, info, err);
	if (rc == 0 && !call_off(s)) {
		rc = await(s, remus_now_us() + REMUS_XEN_GRACE_MS * 1000u, info, err);
		if (rc == 0)
			expect_late(s);
	}
	remus_xen_answer_hear(&s->answer);
	if (rc > 0)
		note_stop(s, was_stopped && !taken);
	remus_xen_answer_over(&s->answer);
	if (rc > 0)
		return 0;
	return rc < 0 ? rc
		      : remus_fail(
				err, -ETIMEDOUT,
				"domain %u did not suspend within %d ms: it runs on; its kernel's log says "
				"what would not freeze",
				s->domid, REMUS_XEN_SUSPEND_MS);
}

/*
 * When it went on that was told to at @called: the hypervisor may let it run, on this very processor, before it lets us
 * return. It has run for as long as it was counted to since; of several vCPUs that is the least that it can be.
 */
static uint64_t went_on(struct remus_xen_suspend *s, const xc_dominfo_t *before, uint64_t called)
{
	xc_dominfo_t after;
	int rc = remus_xen_info(s->xen, s->domid, &after, NULL);
	uint64_t now = remus_now_us();

	if (rc < 0 || after.cpu_time < before->cpu_time)
		return now;
	uint64_t ran = (after.cpu_time - before->cpu_time) / 1000 / (after.max_vcpu_id + 1);
	return ran < now - called ? now - ran : called;
}

int remus_xen_suspend_resume(struct remus_xen_suspend *s, struct remus_error *err)
{
	xc_dominfo_t info;
	int rc = stopped(s, &info, err);

	if (rc <= 0)
		return rc == -ESHUTDOWN || rc == -ESRCH ? 0 : rc; /* it ended: that is told elsewhere */
	remus_xen_ring_mark(&s->ring);
	uint64_t called = remus_now_us();
	if (s->vcpus)
		rc = remus_xen_vcpus_resume(s->vcpus, err);
	else
		rc = xc_domain_resume(s->xen->xch, s->domid, 1)
			     ? remus_fail_errno(err, "domain %u can't be resumed", s->domid)
			     : 0;
	if (rc < 0)
		return rc;
	s->resumed_us = went_on(s, &info, called);
	s->late_until = 0;
	s->untold = true;
	return 0;
}

void remus_xen_suspend_tell(struct remus_xen_suspend *s)
{
	uint64_t now = remus_now_us();

	remus_xen_answer_rest(&s->answer);
	/* a suspend that is told to our channel is not told to xenstored, but anything else that happens meanwhile may
	 * have made it look */
	if (!s->untold || (s->events && now - s->told_us < TELL_US))
		return;
	if (!xs_resume_domain(s->xen->xs, s->domid) && errno != ENOENT) /* it has ended since */
		remus_warn("domain %u runs again, but xenstored was not told: %s", s->domid, strerror(errno));
	s->untold = false;
	s->told_us = now;
}

void remus_xen_suspend_settle(struct remus_xen_suspend *s, uint64_t older_us)
{
	xc_dominfo_t info;

	if (s->answer.requested_us && remus_now_us() - s->answer.requested_us >= older_us) {
		remus_xen_answer_over(&s->answer);
		bool taken = !call_off(s);
		if (taken)
			expect_late(s);
		if (taken &&
		    await(s, remus_now_us() + (older_us ? 0 : REMUS_XEN_GRACE_MS * 1000u), &info, NULL) > 0)
			remus_xen_suspend_resume(s, NULL);
	}
	if (s->late_until && stopped(s, &info, NULL) == 1)
		remus_xen_suspend_resume(s, NULL);
	if (s->late_until && remus_now_us() >= s->late_until)
		s->late_until = 0;
}

uint64_t remus_xen_suspend_lead(const struct remus_xen_suspend *s)
{
	return s->answer.usual_us;
}
