/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's side of a guest on Xen, for every kind of guest: finding and checking it, its pause by its own
 * suspend, its end. How its memory and state are had is its kind's affair (domain.h). libxl is asked once, in open().
 *
 * Everything that could make a failover fail is checked in open(), before anything is changed. What is set up
 * later is undone by close(), and by the open() of the next engine when this one was killed (I13). A pause that
 * comes to nothing leaves the guest running (I8). Deadlines: suspend.h for the pause; hypercalls do not wait.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libxl.h>
#include <xen/sched.h>

#include "check.h"
#include "domain.h"
#include "inspect.h"
#include "libxl_wait.h"
#include "logdirty.h"
#include "remus/bitmap.h"
#include "remus/log.h"
#include "remus/util.h"
#include "clocks.h"

#define LOOK_US 1000000u
#define STALE_ASK_US \
	100000u /* a suspend asked for ahead and not waited for: called off this much after it was due */
#define DESTROY_MS 10000

static struct remus_xen_domain *of(struct remus_domain *base)
{
	return (struct remus_xen_domain *)base;
}

static void domain_close(struct remus_domain *base)
{
	struct remus_xen_domain *d = of(base);

	if (d->suspendable)
		remus_xen_suspend_close(&d->suspend);
	if (d->own)
		d->kind->close(d);
	remus_xen_guest_free(&d->guest);
	remus_xen_agent_close(&d->agent);
	if (d->watch)
		xs_close(d->watch);
	remus_xen_close(&d->xen);
	free(d->run_dir);
	free(d);
}

static int open_watch(struct remus_xen_domain *d, struct remus_error *err)
{
	d->watch = xs_open(0);
	if (!d->watch || !xs_watch(d->watch, "@releaseDomain", "end"))
		return remus_fail_errno(err, "%s: watching for its end in xenstore", remus_xen_name(d));
	return 0;
}

/* Neither changes while it lives: libxl set the offset when it was built, or a failover before it ran here. */
static void know_clock(struct remus_xen_domain *d)
{
	const struct remus_xen_description *guest = &d->guest.description;
	REMUS_AUTO_FREE char *key = remus_xen_read(&d->xen, d->domid, REMUS_XEN_TIME_OFFSET);

	d->clock = (struct remus_guest_clock){
		.tsc_known = guest->tsc_khz > 0,
		.tsc_mode = guest->tsc_mode,
		.tsc_khz = guest->tsc_khz,
		.offset_known = true,
		.offset_s = remus_xen_time_offset(guest->config, key, time(NULL)),
	};
}

static int domain_open(const char *locator, const struct remus_domain_config *config,
		       struct remus_domain **out, struct remus_error *err)
{
	struct remus_xen_domain *d = calloc(1, sizeof *d);

	if (!d)
		return remus_fail(err, -ENOMEM, "%s: out of memory", locator);
	d->base.ops = &remus_xen_domain_ops;
	struct remus_report report = {0};
	d->run_dir = strdup(config->run_dir ? config->run_dir : "");
	int rc = d->run_dir ? remus_xen_open(&d->xen, err)
			    : remus_fail(err, -ENOMEM, "%s: out of memory", locator);
	if (rc == 0)
		rc = remus_xen_find(&d->xen, locator, &d->domid, err);
	if (rc == 0) {
		remus_xen_inspect(&d->xen, d->domid, &d->guest, &report);
		rc = remus_report_first(&report, err);
	}
	if (rc == 0)
		rc = open_watch(d, err);
	int swept = rc == 0 ? remus_xen_logdirty_sweep(&d->xen, d->domid, err) : rc;
	rc = swept < 0 ? swept : remus_xen_suspend_open(&d->suspend, &d->xen, d->watch, d->domid, err);
	d->suspendable = rc == 0;
	if (rc == 0 && swept)
		remus_xen_suspend_inherit(&d->suspend);
	d->kind = d->guest.description.type == REMUS_XEN_PV ? &remus_xen_pv : &remus_xen_pvh;
	if (rc == 0)
		rc = d->kind->open(d, err);
	if (rc == 0)
		know_clock(d);
	if (rc < 0) {
		domain_close(&d->base);
		return rc;
	}
	*out = &d->base;
	return 0;
}

static void domain_clock(struct remus_domain *base, struct remus_guest_clock *out)
{
	*out = of(base)->clock;
}

static const char *domain_name(struct remus_domain *base)
{
	return remus_xen_name(of(base));
}

static pid_t domain_pid(struct remus_domain *base)
{
	(void)base;
	return 0; /* these guests are no processes of this host */
}

static struct remus_channel *domain_agent(struct remus_domain *base, char why[REMUS_TEXT_MAX])
{
	return remus_xen_agent_open(&of(base)->agent, of(base)->domid, why);
}

static uint64_t domain_pages(struct remus_domain *base)
{
	return of(base)->kind->pages(of(base));
}

static int domain_describe(struct remus_domain *base, char **json, struct remus_error *err)
{
	return remus_xen_describe(&of(base)->guest.description, json, err);
}

static int domain_nics(struct remus_domain *base, struct remus_nic *out, int max, struct remus_error *err)
{
	struct remus_xen_domain *d = of(base);

	if (d->guest.nics > max)
		return remus_fail(err, -E2BIG, "%s has %d network interfaces, more than %d",
				  remus_xen_name(d), d->guest.nics, max);
	memcpy(out, d->guest.nic, (size_t)d->guest.nics * sizeof *out);
	return d->guest.nics;
}

/* ---- its kind's ---- */

static int domain_populated(struct remus_domain *base, uint64_t *map, struct remus_error *err)
{
	return of(base)->kind->populated(of(base), map, err);
}

static int domain_track_start(struct remus_domain *base, struct remus_error *err)
{
	struct remus_xen_domain *d = of(base);
	int rc = d->kind->track_start(d, err);

	if (rc == 0)
		remus_xen_suspend_listen(&d->suspend); /* after the mark that tells the next engine of both */
	return rc;
}

static const char *domain_track_name(struct remus_domain *base)
{
	return of(base)->kind->track_name(of(base));
}

static const char *domain_track_note(struct remus_domain *base)
{
	return of(base)->suspend.note;
}

static int domain_track_fetch(struct remus_domain *base, uint64_t *dirty, uint64_t *count,
			      struct remus_error *err)
{
	return of(base)->kind->track_fetch(of(base), dirty, count, err);
}

/* Who suspends it is somebody else's business again, once ours are all over. */
static void leave_to_others(struct remus_xen_domain *d)
{
	if (!*d->kind->track_name(d) && !d->suspend.late_until)
		remus_xen_suspend_unlisten(&d->suspend);
}

static void domain_track_changed(struct remus_domain *base, uint64_t changed)
{
	struct remus_xen_domain *d = of(base);

	if (d->kind->track_changed)
		d->kind->track_changed(d, changed);
}

static void domain_track_stop(struct remus_domain *base)
{
	struct remus_xen_domain *d = of(base);

	remus_xen_suspend_settle(&d->suspend, 0);
	d->kind->track_stop(d);
	leave_to_others(d);
}

static uint64_t domain_pause_lead(struct remus_domain *base)
{
	return remus_xen_suspend_lead(&of(base)->suspend);
}

static bool domain_prepare_pause(struct remus_domain *base)
{
	struct remus_xen_domain *d = of(base);

	if (!remus_xen_suspend_settled(&d->suspend))
		return false;
	remus_xen_suspend_request(&d->suspend, NULL); /* pause() will say what is wrong */
	return true;
}

static uint64_t domain_pause_began(struct remus_domain *base, bool *reckoned)
{
	*reckoned = of(base)->suspend.began_reckoned;
	return of(base)->suspend.began_us;
}

static uint64_t domain_went_on(struct remus_domain *base)
{
	return of(base)->suspend.resumed_us;
}

static int domain_pause(struct remus_domain *base, struct remus_error *err)
{
	return of(base)->kind->pause(of(base), err);
}

static int domain_resume(struct remus_domain *base, struct remus_error *err)
{
	return of(base)->kind->resume(of(base), err);
}

static int domain_save_state(struct remus_domain *base, const uint8_t **out, size_t *bytes,
			     struct remus_error *err)
{
	return of(base)->kind->save_state(of(base), out, bytes, err);
}

static int domain_copy(struct remus_domain *base, const uint64_t *pfn, size_t count, void *dst,
		       struct remus_error *err)
{
	return of(base)->kind->copy(of(base), pfn, count, dst, err);
}

/* ---- its end ---- */

static int domain_event_fd(struct remus_domain *base)
{
	return xs_fileno(of(base)->watch);
}

static enum remus_domain_event ended(struct remus_xen_domain *d, char why[REMUS_TEXT_MAX])
{
	static const char *const words[] = {
		[SHUTDOWN_poweroff] = "the guest shut down",
		[SHUTDOWN_reboot] = "the guest reboots",
		[SHUTDOWN_crash] = "the guest crashed",
		[SHUTDOWN_watchdog] = "the guest's watchdog ended it",
		[SHUTDOWN_soft_reset] = "the guest reset itself",
	};
	xc_dominfo_t info;
	const char *word = NULL;

	if (remus_xen_info(&d->xen, d->domid, &info, NULL) < 0)
		word = "the domain was destroyed";
	else if (info.shutdown && info.shutdown_reason != SHUTDOWN_suspend)
		word = info.shutdown_reason < REMUS_ARRAY_SIZE(words) ? words[info.shutdown_reason] : NULL;
	else
		return REMUS_DOMAIN_NONE;
	snprintf(why, REMUS_TEXT_MAX, "%s", word ? word : "the guest ended");
	d->over = true;
	d->kind->forget(d);
	return REMUS_DOMAIN_SHUTDOWN;
}

static enum remus_domain_event domain_next_event(struct remus_domain *base, char why[REMUS_TEXT_MAX])
{
	struct remus_xen_domain *d = of(base);
	uint64_t now = remus_now_us();
	bool look = now - d->looked_us > LOOK_US;

	if (d->over)
		return REMUS_DOMAIN_NONE;
	remus_xen_answer_hear(&d->suspend.answer);
	look = look || d->suspend.answer.others;
	d->suspend.answer.others = false;
	remus_xen_suspend_tell(&d->suspend);
	remus_xen_suspend_settle(&d->suspend, d->suspend.answer.usual_stop_us + STALE_ASK_US);
	leave_to_others(d);
	if (look) {
		enum remus_domain_event event = ended(d, why);
		d->looked_us = now;
		if (event != REMUS_DOMAIN_NONE)
			return event;
	}
	if (d->kind->idle)
		d->kind->idle(d, now);
	return REMUS_DOMAIN_NONE;
}

static int domain_destroy(struct remus_domain *base, struct remus_error *err)
{
	struct remus_xen_domain *d = of(base);
	xc_dominfo_t info;

	d->over = true;
	if (remus_xen_info(&d->xen, d->domid, &info, NULL) == -ESRCH)
		return 0;
	xc_domain_pause(d->xen.xch, d->domid); /* at once; taking it apart takes libxl a while */
	d->kind->forget(d);
	int rc = remus_xen_libxl_destroy(d->domid, DESTROY_MS, err);
	return rc < 0 ? remus_error_prefix(err, "%s", remus_xen_name(d)), rc : 0;
}

const struct remus_domain_ops remus_xen_domain_ops = {
	.backend = "xen",
	.open = domain_open,
	.check = remus_xen_check,
	.name = domain_name,
	.agent = domain_agent,
	.pid = domain_pid,
	.pages = domain_pages,
	.describe = domain_describe,
	.nics = domain_nics,
	.populated = domain_populated,
	.track_start = domain_track_start,
	.track_name = domain_track_name,
	.track_note = domain_track_note,
	.track_fetch = domain_track_fetch,
	.track_changed = domain_track_changed,
	.track_stop = domain_track_stop,
	.pause_lead = domain_pause_lead,
	.prepare_pause = domain_prepare_pause,
	.pause_began = domain_pause_began,
	.went_on = domain_went_on,
	.pause = domain_pause,
	.resume = domain_resume,
	.save_state = domain_save_state,
	.clock = domain_clock,
	.copy = domain_copy,
	.event_fd = domain_event_fd,
	.next_event = domain_next_event,
	.destroy = domain_destroy,
	.close = domain_close,
};
