/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory and state of a PVH guest: dirty pages by log-dirty mode, memory by kept foreign mappings, state by a
 * handful of hypercalls. What is set up is undone by close(), and by the open() of the next engine when this one
 * was killed (I13). No deadlines but the pause's (suspend.h): hypercalls do not wait.
 */
#include "domain.h"

#include <stdlib.h>
#include <string.h>
#include <xen/hvm/params.h>

#include "logdirty.h"
#include "memory.h"
#include "remus/bitmap.h"
#include "remus/log.h"
#include "remus/util.h"
#include "state.h"
#include "types.h"

#define SCRUB_PERIOD_US 1000000u

struct pvh {
	struct remus_xen_memory memory;
	struct remus_xen_logdirty log;
	uint64_t *again; /* pages to be sent again: found stale by the scrubber */
	bool stale;	 /* there are some */
	uint64_t *plain; /* pages known to have content */
	unsigned long nr_pages;
	uint64_t scrubbed_us;
	uint64_t *found; /* page frame numbers of a fetch, for the types */
	xen_pfn_t *type;
	size_t room; /* of both */
	struct remus_xen_vcpus vcpus;
	struct remus_xen_param param[REMUS_XEN_PARAMS_MAX];
	unsigned params;
	struct remus_xen_buffer state;
};

static void pvh_close(struct remus_xen_domain *d)
{
	struct pvh *p = d->own;

	remus_xen_logdirty_stop(&p->log);
	remus_xen_memory_close(&p->memory);
	remus_xen_buffer_free(&p->state);
	free(p->again);
	free(p->plain);
	free(p->found);
	free(p->type);
	d->suspend.vcpus = NULL;
	remus_xen_vcpus_close(&p->vcpus);
	free(p);
}

static int pvh_open(struct remus_xen_domain *d, struct remus_error *err)
{
	struct pvh *p = calloc(1, sizeof *p);

	if (!p)
		return remus_fail(err, -ENOMEM, "%s: out of memory", remus_xen_name(d));
	d->own = p;
	int rc = remus_xen_memory_open(&p->memory, &d->xen, d->domid, d->guest.description.pages, err);
	if (rc == 0)
		rc = remus_xen_vcpus_open(&p->vcpus, d->xen.log, d->domid, err);
	if (rc < 0)
		return rc;
	d->suspend.vcpus = &p->vcpus;
	p->again = calloc(remus_bitmap_words(p->memory.pages), sizeof *p->again);
	p->plain = calloc(remus_bitmap_words(p->memory.pages), sizeof *p->plain);
	return p->again && p->plain ? 0 : remus_fail(err, -ENOMEM, "%s: out of memory", remus_xen_name(d));
}

static void ask_types_anew(struct pvh *p)
{
	memset(p->plain, 0, remus_bitmap_words(p->memory.pages) * sizeof *p->plain);
}

static uint64_t pvh_pages(const struct remus_xen_domain *d)
{
	return d->guest.description.pages;
}

/* ---- dirty pages ---- */

static int pvh_populated(struct remus_xen_domain *d, uint64_t *map, struct remus_error *err)
{
	struct pvh *p = d->own;
	xen_pfn_t type[REMUS_XEN_TYPES_BATCH];

	for (uint64_t first = 0; first < p->memory.pages; first += REMUS_XEN_TYPES_BATCH) {
		uint64_t n = p->memory.pages - first;
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

/* The parameters that a restored domain needs; of those the ones that are set. Who built the domain set them: they
 * are read once, and not in a pause. */
static int read_params(struct remus_xen_domain *d, struct remus_error *err)
{
	struct pvh *p = d->own;
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

	p->params = 0;
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(wanted); i++) {
		uint64_t value = 0;
		if (xc_hvm_param_get(d->xen.xch, d->domid, wanted[i], &value))
			return remus_fail_errno(err, "%s: its HVM parameter %u", remus_xen_name(d),
						wanted[i]);
		if (value)
			p->param[p->params++] = (struct remus_xen_param){wanted[i], value};
	}
	return 0;
}

static int pvh_track_start(struct remus_xen_domain *d, struct remus_error *err)
{
	struct pvh *p = d->own;
	xc_dominfo_t info;

	if (p->log.on)
		return remus_fail(err, -EALREADY, "%s: tracking was started already", remus_xen_name(d));
	int rc = remus_xen_info(&d->xen, d->domid, &info, err);
	if (rc == 0)
		rc = read_params(d, err);
	if (rc < 0)
		return rc;
	p->nr_pages = info.nr_pages;
	memset(p->again, 0, remus_bitmap_words(p->memory.pages) * sizeof *p->again);
	p->stale = false;
	ask_types_anew(p);
	return remus_xen_logdirty_start(&p->log, &d->xen, d->domid, p->memory.pages, err);
}

static const char *pvh_track_name(const struct remus_xen_domain *d)
{
	return ((const struct pvh *)d->own)->log.on ? "log-dirty" : "";
}

/* Those of @dirty that aren't known to have content, into p->found. */
static int find_unknown(struct remus_xen_domain *d, const uint64_t *dirty, size_t *found,
			struct remus_error *err)
{
	struct pvh *p = d->own;
	size_t words = remus_bitmap_words(p->memory.pages), count = 0, n = 0;

	for (size_t w = 0; w < words; w++)
		if (dirty[w] & ~p->plain[w])
			count += (size_t)__builtin_popcountll(dirty[w] & ~p->plain[w]);
	if (count > p->room) {
		free(p->found);
		free(p->type);
		p->room = count * 2;
		p->found = malloc(p->room * sizeof *p->found);
		p->type = malloc(p->room * sizeof *p->type);
		if (!p->found || !p->type) {
			p->room = 0;
			return remus_fail(err, -ENOMEM, "%s: no memory for %zu dirty pages",
					  remus_xen_name(d), count);
		}
	}
	for (size_t w = 0; w < words && n < count; w++)
		for (uint64_t left = dirty[w] & ~p->plain[w]; left; left &= left - 1)
			p->found[n++] = (uint64_t)w * 64 + (uint64_t)__builtin_ctzll(left);
	*found = n;
	return 0;
}

/*
 * Drop from @dirty what has no content (shared_info, grant frames). Of a page that stays in the set (rearm.h) that is
 * asked once: it has content until the set is cleared, or the guest's memory mapped anew. When the types can't be
 * had, all of them stay (I9).
 */
static int drop_without_content(struct remus_xen_domain *d, uint64_t *dirty, struct remus_error *err)
{
	struct pvh *p = d->own;
	size_t n = 0;
	int rc = find_unknown(d, dirty, &n, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		p->type[i] = p->found[i];
	rc = remus_xen_types(&d->xen, d->domid, p->type, n, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		if (remus_xen_type_has_content(p->type[i]))
			remus_bitmap_set(p->plain, p->found[i]);
		else
			remus_bitmap_clear(dirty, p->found[i]);
	return 0;
}

static int pvh_track_fetch(struct remus_xen_domain *d, uint64_t *dirty, uint64_t *count,
			   struct remus_error *err)
{
	struct pvh *p = d->own;
	uint64_t found = 0;
	bool cleared = false;
	int rc = remus_xen_logdirty_fetch(&p->log, dirty, &found, &cleared, err);

	if (rc < 0) {
		pvh_populated(d, dirty, NULL); /* whatever was cleared is among them (I9) */
		return rc;
	}
	if (cleared)
		ask_types_anew(p);
	for (size_t w = 0; p->stale && w < remus_bitmap_words(p->memory.pages); w++) {
		dirty[w] |= p->again[w];
		p->again[w] = 0;
	}
	p->stale = false;
	rc = drop_without_content(d, dirty, err);
	if (rc == 0 && count)
		*count = found;
	return rc;
}

static void pvh_track_changed(struct remus_xen_domain *d, uint64_t changed)
{
	struct pvh *p = d->own;

	remus_xen_rearm_changed(&p->log.rearm, changed);
}

static void pvh_track_stop(struct remus_xen_domain *d)
{
	struct pvh *p = d->own;

	remus_xen_logdirty_stop(&p->log);
	remus_xen_memory_drop(&p->memory); /* mappings would hold a destroyed domain back */
}

/* ---- pause, state, memory ---- */

static int pvh_pause(struct remus_xen_domain *d, struct remus_error *err)
{
	struct pvh *p = d->own;
	xc_dominfo_t info;
	int rc = remus_xen_suspend_wait(&d->suspend, &info, err);

	if (rc == 0 && p->log.on && info.nr_pages != p->nr_pages) {
		remus_warn("%s: it had %lu pages and has %lu: its memory is mapped anew", remus_xen_name(d),
			   p->nr_pages, info.nr_pages);
		p->nr_pages = info.nr_pages;
		remus_xen_memory_drop(&p->memory);
		ask_types_anew(p);
	}
	return rc;
}

static int pvh_resume(struct remus_xen_domain *d, struct remus_error *err)
{
	return remus_xen_suspend_resume(&d->suspend, err);
}

static int pvh_save_state(struct remus_xen_domain *d, const uint8_t **out, size_t *bytes,
			  struct remus_error *err)
{
	struct pvh *p = d->own;
	struct remus_xen_state state = {.param = p->param, .params = p->params};
	int rc = remus_xen_vcpus_read(&p->vcpus, &state.context, &state.context_bytes, err);

	if (rc == 0 && xc_domain_get_tsc_info(d->xen.xch, d->domid, &state.tsc.mode, &state.tsc.nsec,
					      &state.tsc.khz, &state.tsc.incarnation))
		rc = remus_fail_errno(err, "%s: its TSC", remus_xen_name(d));
	if (rc < 0)
		return rc;
	remus_xen_buffer_reset(&p->state);
	remus_xen_state_encode(&p->state, &state);
	if (p->state.failed)
		return remus_fail(err, -ENOMEM, "%s: no memory for its state", remus_xen_name(d));
	*out = p->state.data;
	*bytes = p->state.bytes;
	return 0;
}

static int pvh_copy(struct remus_xen_domain *d, const uint64_t *pfn, size_t count, void *dst,
		    struct remus_error *err)
{
	struct pvh *p = d->own;

	return remus_xen_memory_copy(&p->memory, pfn, count, dst, err);
}

static void pvh_forget(struct remus_xen_domain *d)
{
	struct pvh *p = d->own;

	remus_xen_logdirty_stop(&p->log);
	remus_xen_memory_drop(&p->memory);
}

static void pvh_idle(struct remus_xen_domain *d, uint64_t now)
{
	struct pvh *p = d->own;

	if (!p->log.on || now - p->scrubbed_us <= SCRUB_PERIOD_US)
		return;
	unsigned n = remus_xen_memory_scrub(&p->memory, p->again);
	if (n) {
		remus_warn("%s: %u mappings of its memory were stale; their pages are sent again",
			   remus_xen_name(d), n);
		p->stale = true;
		ask_types_anew(p);
	}
	p->scrubbed_us = now;
}

const struct remus_xen_kind remus_xen_pvh = {
	.open = pvh_open,
	.close = pvh_close,
	.pages = pvh_pages,
	.populated = pvh_populated,
	.track_start = pvh_track_start,
	.track_name = pvh_track_name,
	.track_fetch = pvh_track_fetch,
	.track_changed = pvh_track_changed,
	.track_stop = pvh_track_stop,
	.pause = pvh_pause,
	.resume = pvh_resume,
	.save_state = pvh_save_state,
	.copy = pvh_copy,
	.forget = pvh_forget,
	.idle = pvh_idle,
};
