/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's side of a PVH guest on Xen: dirty pages by log-dirty mode, memory by kept foreign mappings, the
 * pause by the guest's own suspend, state by a handful of hypercalls. libxl is asked once, in open().
 *
 * Everything that could make a failover fail is checked in open(), before anything is changed. What is set up
 * later is undone by close(), and by the open() of the next engine when this one was killed (I13). A pause that
 * comes to nothing leaves the guest running (I8). Deadlines: suspend.h for the pause; hypercalls do not wait.
 */
#include "config.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libxl.h>
#include <xen/hvm/params.h>
#include <xen/sched.h>

#include "check.h"
#include "inspect.h"
#include "libxl_wait.h"
#include "logdirty.h"
#include "memory.h"
#include "remus/bitmap.h"
#include "remus/domain.h"
#include "remus/log.h"
#include "remus/util.h"
#include "state.h"
#include "suspend.h"
#include "types.h"

#define SCRUB_PERIOD_US 1000000u
#define SCRUB_PAGES	8u
#define STALE_ASK_US \
	100000u /* a suspend asked for ahead and not waited for: called off this much after it was due */
#define DESTROY_MS 10000

struct domain {
	struct remus_domain base;
	struct remus_xen_handles xen;
	struct xs_handle *watch; /* @releaseDomain */
	uint32_t domid;
	struct remus_xen_guest guest;
	struct remus_xen_memory memory;
	struct remus_xen_logdirty log;
	struct remus_xen_suspend suspend;
	bool suspendable; /* suspend is open */
	bool over;	  /* its end was told */
	uint64_t *again;  /* pages to be sent again: found stale by the scrubber */
	unsigned long nr_pages;
	uint64_t looked_us, scrubbed_us;
	uint64_t *found; /* page frame numbers of a fetch, for the types */
	xen_pfn_t *type;
	size_t room; /* of both */
	uint8_t *context;
	uint32_t context_room;
	struct remus_xen_buffer state;
};

static struct domain *of(struct remus_domain *base)
{
	return (struct domain *)base;
}

static const char *name_of(const struct domain *d)
{
	return d->guest.description.name;
}

static void domain_close(struct remus_domain *base)
{
	struct domain *d = of(base);

	if (d->suspendable)
		remus_xen_suspend_close(&d->suspend);
	remus_xen_logdirty_stop(&d->log);
	remus_xen_memory_close(&d->memory);
	remus_xen_guest_free(&d->guest);
	remus_xen_buffer_free(&d->state);
	if (d->watch)
		xs_close(d->watch);
	remus_xen_close(&d->xen);
	free(d->again);
	free(d->found);
	free(d->type);
	free(d->context);
	free(d);
}

static int open_watch(struct domain *d, struct remus_error *err)
{
	d->watch = xs_open(0);
	if (!d->watch || !xs_watch(d->watch, "@releaseDomain", "end"))
		return remus_fail_errno(err, "%s: watching for its end in xenstore", name_of(d));
	return 0;
}

static int domain_open(const char *locator, const struct remus_domain_config *config,
		       struct remus_domain **out, struct remus_error *err)
{
	struct domain *d = calloc(1, sizeof *d);

	(void)config;
	if (!d)
		return remus_fail(err, -ENOMEM, "%s: out of memory", locator);
	d->base.ops = &remus_xen_domain_ops;
	struct remus_report report = {0};
	int rc = remus_xen_open(&d->xen, err);
	if (rc == 0)
		rc = remus_xen_find(&d->xen, locator, &d->domid, err);
	if (rc == 0) {
		remus_xen_inspect(&d->xen, d->domid, &d->guest, &report);
		rc = remus_report_first(&report, err);
	}
	if (rc == 0)
		rc = open_watch(d, err);
	int swept = rc == 0 ? remus_xen_logdirty_sweep(&d->xen, d->domid, err) : rc;
	rc = swept < 0 ? swept : remus_xen_suspend_open(&d->suspend, &d->xen, d->domid, err);
	d->suspendable = rc == 0;
	if (rc == 0 && swept)
		remus_xen_suspend_inherit(&d->suspend);
	if (rc == 0)
		rc = remus_xen_memory_open(&d->memory, &d->xen, d->domid, d->guest.description.pages, err);
	if (rc == 0) {
		d->again = calloc(remus_bitmap_words(d->memory.pages), sizeof *d->again);
		if (!d->again)
			rc = remus_fail(err, -ENOMEM, "%s: out of memory", locator);
	}
	if (rc < 0) {
		domain_close(&d->base);
		return rc;
	}
	*out = &d->base;
	return 0;
}

static const char *domain_name(struct remus_domain *base)
{
	return name_of(of(base));
}

static pid_t domain_pid(struct remus_domain *base)
{
	(void)base;
	return 0; /* a PVH guest is no process of this host */
}

static uint64_t domain_pages(struct remus_domain *base)
{
	return of(base)->guest.description.pages;
}

static int domain_describe(struct remus_domain *base, char **json, struct remus_error *err)
{
	return remus_xen_describe(&of(base)->guest.description, json, err);
}

static int domain_nics(struct remus_domain *base, struct remus_nic *out, int max, struct remus_error *err)
{
	struct domain *d = of(base);

	if (d->guest.nics > max)
		return remus_fail(err, -E2BIG, "%s has %d network interfaces, more than %d", name_of(d),
				  d->guest.nics, max);
	memcpy(out, d->guest.nic, (size_t)d->guest.nics * sizeof *out);
	return d->guest.nics;
}

/* ---- dirty pages ---- */

static int domain_populated(struct remus_domain *base, uint64_t *map, struct remus_error *err)
{
	struct domain *d = of(base);
	xen_pfn_t type[REMUS_XEN_TYPES_BATCH];

	for (uint64_t first = 0; first < d->memory.pages; first += REMUS_XEN_TYPES_BATCH) {
		uint64_t n = d->memory.pages - first;
		if (n > REMUS_XEN_TYPES_BATCH)
			n = REMUS_XEN_TYPES_BATCH;
		for (uint64_t i = 0; i < n; i++)
			type[i] = first + i;
		int rc = remus_xen_types(&d->xen, d->domid, type, n, err);
		if (rc < 0)
			return rc;
		remus_xen_types_mark(map, first, type, n);
	}
	return 0;
}

static int domain_track_start(struct remus_domain *base, struct remus_error *err)
{
	struct domain *d = of(base);
	xc_dominfo_t info;

	if (d->log.on)
		return remus_fail(err, -EALREADY, "%s: tracking was started already", name_of(d));
	int rc = remus_xen_info(&d->xen, d->domid, &info, err);
	if (rc < 0)
		return rc;
	d->nr_pages = info.nr_pages;
	memset(d->again, 0, remus_bitmap_words(d->memory.pages) * sizeof *d->again);
	rc = remus_xen_logdirty_start(&d->log, &d->xen, d->domid, d->memory.pages, err);
	if (rc == 0)
		remus_xen_suspend_listen(&d->suspend); /* after the mark that tells the next engine of both */
	return rc;
}

static const char *domain_track_name(struct remus_domain *base)
{
	return of(base)->log.on ? "log-dirty" : "";
}

static const char *domain_track_note(struct remus_domain *base)
{
	return of(base)->suspend.note;
}

/* Drop from @dirty what has no content (shared_info, grant frames): asked of those pages alone. */
static int drop_without_content(struct domain *d, uint64_t *dirty, struct remus_error *err)
{
	uint64_t count = remus_bitmap_count(dirty, d->memory.pages), cursor = 0;

	if (count > d->room) {
		free(d->found);
		free(d->type);
		d->room = count * 2;
		d->found = malloc(d->room * sizeof *d->found);
		d->type = malloc(d->room * sizeof *d->type);
		if (!d->found || !d->type) {
			d->room = 0;
			return remus_fail(err, -ENOMEM, "%s: no memory for %llu dirty pages", name_of(d),
					  (unsigned long long)count);
		}
	}
	size_t n = remus_bitmap_take(dirty, d->memory.pages, &cursor, d->found, count);
	for (size_t i = 0; i < n; i++)
		d->type[i] = d->found[i];
	int rc = remus_xen_types(&d->xen, d->domid, d->type, n, err);
	if (rc == 0)
		n = remus_xen_types_filter(d->found, d->type, n);
	for (size_t i = 0; i < n; i++) /* all of them when the types are unknown (I9) */
		remus_bitmap_set(dirty, d->found[i]);
	return rc;
}

static int domain_track_fetch(struct remus_domain *base, uint64_t *dirty, uint64_t *count,
			      struct remus_error *err)
{
	struct domain *d = of(base);
	uint64_t found = 0;
	int rc = remus_xen_logdirty_fetch(&d->log, dirty, &found, err);

	if (rc < 0) {
		domain_populated(base, dirty, NULL); /* whatever was cleared is among them (I9) */
		return rc;
	}
	for (size_t w = 0; w < remus_bitmap_words(d->memory.pages); w++) {
		dirty[w] |= d->again[w];
		d->again[w] = 0;
	}
	rc = drop_without_content(d, dirty, err);
	if (rc == 0 && count)
		*count = found;
	return rc;
}

/* Who suspends it is somebody else's business again, once ours are all over. */
static void leave_to_others(struct domain *d)
{
	if (!d->log.on && !d->suspend.late_until)
		remus_xen_suspend_unlisten(&d->suspend);
}

static void domain_track_stop(struct remus_domain *base)
{
	struct domain *d = of(base);

	remus_xen_suspend_settle(&d->suspend, 0);
	remus_xen_logdirty_stop(&d->log);
	remus_xen_memory_drop(&d->memory); /* mappings would hold a destroyed domain back */
	leave_to_others(d);
}

/* ---- pause, state, memory ---- */

static uint64_t domain_pause_lead(struct remus_domain *base)
{
	return remus_xen_suspend_lead(&of(base)->suspend);
}

static void domain_prepare_pause(struct remus_domain *base)
{
	remus_xen_suspend_request(&of(base)->suspend, NULL); /* pause() will say what is wrong */
}

static int domain_pause(struct remus_domain *base, struct remus_error *err)
{
	struct domain *d = of(base);
	xc_dominfo_t info;
	int rc = remus_xen_suspend_wait(&d->suspend, &info, err);

	if (rc == 0 && d->log.on && info.nr_pages != d->nr_pages) {
		remus_warn("%s: it had %lu pages and has %lu: its memory is mapped anew", name_of(d),
			   d->nr_pages, info.nr_pages);
		d->nr_pages = info.nr_pages;
		remus_xen_memory_drop(&d->memory);
	}
	return rc;
}

static int domain_resume(struct remus_domain *base, struct remus_error *err)
{
	return remus_xen_suspend_resume(&of(base)->suspend, err);
}

static int read_context(struct domain *d, struct remus_xen_state *state, struct remus_error *err)
{
	if (!d->context) {
		int bytes = xc_domain_hvm_getcontext(d->xen.xch, d->domid, NULL, 0);
		if (bytes <= 0 || bytes > (int)REMUS_XEN_CONTEXT_MAX)
			return remus_fail(err, -EIO, "%s: its vCPU state has %d bytes", name_of(d), bytes);
		d->context = malloc((size_t)bytes);
		if (!d->context)
			return remus_fail(err, -ENOMEM, "%s: no memory for its vCPU state", name_of(d));
		d->context_room = (uint32_t)bytes;
	}
	int bytes = xc_domain_hvm_getcontext(d->xen.xch, d->domid, d->context, d->context_room);
	if (bytes <= 0)
		return remus_fail_errno(err, "%s: its vCPU state can't be read", name_of(d));
	state->context = d->context;
	state->context_bytes = (size_t)bytes;
	return 0;
}

/* The parameters that a restored domain needs; of those the ones that are set. */
static int read_params(struct domain *d, struct remus_xen_param *param, unsigned *count,
		       struct remus_error *err)
{
	static const uint16_t wanted[] = {
		HVM_PARAM_STORE_PFN,
		HVM_PARAM_CONSOLE_PFN,
		HVM_PARAM_IOREQ_PFN,
		HVM_PARAM_BUFIOREQ_PFN,
		HVM_PARAM_PAGING_RING_PFN,
		HVM_PARAM_MONITOR_RING_PFN,
		HVM_PARAM_SHARING_RING_PFN,
		HVM_PARAM_VM86_TSS_SIZED,
		HVM_PARAM_ACPI_IOPORTS_LOCATION,
		HVM_PARAM_VIRIDIAN,
		HVM_PARAM_IDENT_PT,
		HVM_PARAM_VM_GENERATION_ID_ADDR,
		HVM_PARAM_IOREQ_SERVER_PFN,
		HVM_PARAM_NR_IOREQ_SERVER_PAGES,
		HVM_PARAM_X87_FIP_WIDTH,
		HVM_PARAM_MCA_CAP,
	};

	*count = 0;
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(wanted); i++) {
		uint64_t value = 0;
		if (xc_hvm_param_get(d->xen.xch, d->domid, wanted[i], &value))
			return remus_fail_errno(err, "%s: its HVM parameter %u", name_of(d), wanted[i]);
		if (value)
			param[(*count)++] = (struct remus_xen_param){wanted[i], value};
	}
	return 0;
}

static int domain_save_state(struct remus_domain *base, const uint8_t **out, size_t *bytes,
			     struct remus_error *err)
{
	struct domain *d = of(base);
	struct remus_xen_param param[REMUS_XEN_PARAMS_MAX];
	struct remus_xen_state state = {.param = param};
	int rc = read_context(d, &state, err);

	if (rc == 0)
		rc = read_params(d, param, &state.params, err);
	if (rc == 0 && xc_domain_get_tsc_info(d->xen.xch, d->domid, &state.tsc.mode, &state.tsc.nsec,
					      &state.tsc.khz, &state.tsc.incarnation))
		rc = remus_fail_errno(err, "%s: its TSC", name_of(d));
	if (rc < 0)
		return rc;
	remus_xen_buffer_reset(&d->state);
	remus_xen_state_encode(&d->state, &state);
	if (d->state.failed)
		return remus_fail(err, -ENOMEM, "%s: no memory for its state", name_of(d));
	*out = d->state.data;
	*bytes = d->state.bytes;
	return 0;
}

static int domain_copy(struct remus_domain *base, const uint64_t *pfn, size_t count, void *dst,
		       struct remus_error *err)
{
	return remus_xen_memory_copy(&of(base)->memory, pfn, count, dst, err);
}

/* ---- its end ---- */

static int domain_event_fd(struct remus_domain *base)
{
	return xs_fileno(of(base)->watch);
}

static enum remus_domain_event ended(struct domain *d, char why[REMUS_TEXT_MAX])
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
	remus_xen_memory_drop(&d->memory); /* or it would stay as a zombie for as long as we live */
	return REMUS_DOMAIN_SHUTDOWN;
}

static enum remus_domain_event domain_next_event(struct remus_domain *base, char why[REMUS_TEXT_MAX])
{
	struct domain *d = of(base);
	uint64_t now = remus_now_us();
	bool look = now - d->looked_us > SCRUB_PERIOD_US;
	char **fired;

	if (d->over)
		return REMUS_DOMAIN_NONE;
	while ((fired = xs_check_watch(d->watch))) {
		free(fired);
		look = true;
	}
	remus_xen_suspend_tell(&d->suspend);
	remus_xen_suspend_settle(&d->suspend, d->suspend.usual_us + STALE_ASK_US);
	leave_to_others(d);
	if (look) {
		enum remus_domain_event event = ended(d, why);
		d->looked_us = now;
		if (event != REMUS_DOMAIN_NONE)
			return event;
	}
	if (d->log.on && now - d->scrubbed_us > SCRUB_PERIOD_US) {
		unsigned n = remus_xen_memory_scrub(&d->memory, SCRUB_PAGES, d->again);
		if (n)
			remus_warn("%s: %u mappings of its memory were stale; their pages are sent again",
				   name_of(d), n);
		d->scrubbed_us = now;
	}
	return REMUS_DOMAIN_NONE;
}

static int domain_destroy(struct remus_domain *base, struct remus_error *err)
{
	struct domain *d = of(base);
	xc_dominfo_t info;

	d->over = true;
	if (remus_xen_info(&d->xen, d->domid, &info, NULL) == -ESRCH)
		return 0;
	xc_domain_pause(d->xen.xch, d->domid); /* at once; taking it apart takes libxl a while */
	remus_xen_logdirty_stop(&d->log);
	remus_xen_memory_drop(&d->memory);
	int rc = remus_xen_libxl_destroy(d->domid, DESTROY_MS, err);
	return rc < 0 ? remus_error_prefix(err, "%s", name_of(d)), rc : 0;
}

const struct remus_domain_ops remus_xen_domain_ops = {
	.backend = "xen",
	.open = domain_open,
	.check = remus_xen_check,
	.name = domain_name,
	.pid = domain_pid,
	.pages = domain_pages,
	.describe = domain_describe,
	.nics = domain_nics,
	.populated = domain_populated,
	.track_start = domain_track_start,
	.track_name = domain_track_name,
	.track_note = domain_track_note,
	.track_fetch = domain_track_fetch,
	.track_stop = domain_track_stop,
	.pause_lead = domain_pause_lead,
	.prepare_pause = domain_prepare_pause,
	.pause = domain_pause,
	.resume = domain_resume,
	.save_state = domain_save_state,
	.copy = domain_copy,
	.event_fd = domain_event_fd,
	.next_event = domain_next_event,
	.destroy = domain_destroy,
	.close = domain_close,
};
