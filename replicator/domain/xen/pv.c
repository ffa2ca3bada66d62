/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory and state of a PV guest: what libxenguest's xc_domain_save() writes of it, in a process of its own
 * (saver.h), taken apart (records.h) and kept until the engine has it (store.h). Page numbers are those of space.h.
 *
 *   first copy   libxenguest goes through all of memory while the guest runs, at the engine's pace: copy() reads
 *                as far as it needs to
 *   pause()      before the first one the rounds that libxenguest still does with the guest running are read to
 *                their end; then the guest is suspended, and libxenguest told to write a checkpoint
 *   save_state() or track_fetch(), whichever is first, reads the checkpoint to its end
 *   resume()     does so too if nobody did; then the guest goes on, and libxenguest is told
 *
 * Whatever goes wrong with libxenguest or its stream breaks the session, not the guest: the saver is ended,
 * log-dirty mode turned off (I13), and resume() works as ever (I8). A suspend that fails is no such thing and may
 * be tried again.
 */
#include "domain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "logdirty.h"
#include "remus/bitmap.h"
#include "remus/log.h"
#include "remus/util.h"
#include "saver.h"
#include "space.h"
#include "store.h"

/* Deadlines. The guest runs in the first two; in a checkpoint it stands still, which a gigabyte of dirty pages
 * makes a second. */
#define COPY_MS	      10000 /* for libxenguest to come to what the engine wants of the first copy */
#define READY_MS      20000 /* for its last rounds (saver_main.c: 8 s and what one of them takes) */
#define CHECKPOINT_MS 10000
#define STOP_MS	      3000

struct pv {
	struct remus_xen_store store; /* first: the sink's context is both */
	struct remus_xen_records records;
	struct remus_xen_records_sink sink;
	struct remus_xen_saver saver;
	struct remus_xen_buffer state; /* of the last checkpoint */
	bool on;		       /* tracking */
	bool writing;		       /* a checkpoint was asked for and is not complete */
	bool captured;		       /* it is, and the guest was not resumed since */
	const uint64_t *wanted;	       /* copy(): numbers that must be had */
	size_t wanted_count;
	struct remus_error broken; /* code 0 = it is not */
};

static struct pv *of(const struct remus_xen_domain *d)
{
	return d->own;
}

/* ---- the saver ---- */

static int on_checkpoint(void *context, const uint8_t *state, size_t bytes, struct remus_error *err)
{
	struct pv *p = context;

	remus_xen_buffer_reset(&p->state);
	remus_xen_buffer_add(&p->state, state, bytes);
	if (p->state.failed)
		return remus_fail(err, -ENOMEM, "no memory for %zu bytes of state", bytes);
	if (!p->writing)
		return remus_fail(err, -EBADMSG, "a checkpoint that nobody asked for");
	if (p->store.lost < p->store.pages)
		return remus_fail(
			err, -EIO,
			"page %llu is a page table that libxenguest could not read while the guest stood "
			"still",
			(unsigned long long)p->store.lost);
	p->store.settled = true;
	p->writing = false;
	p->captured = true;
	return 0;
}

static void end_saver(struct remus_xen_domain *d)
{
	struct pv *p = of(d);

	if (p->saver.started) {
		remus_xen_saver_stop(&p->saver, STOP_MS);
		remus_xen_logdirty_off(&d->xen, d->domid);
	}
	p->writing = p->captured = false;
}

/* The session can't go on; the guest can. Returns err->code. */
static int break_off(struct remus_xen_domain *d, int code, struct remus_error *err)
{
	struct pv *p = of(d);
	struct remus_error why = REMUS_ERROR_INIT;

	remus_fail(&why, code, "%s", err ? err->message : "libxenguest failed");
	end_saver(d);
	p->broken = why;
	return remus_fail(err, code, "%s: %s", remus_xen_name(d), why.message);
}

static int check(const struct remus_xen_domain *d, struct remus_error *err)
{
	const struct pv *p = of(d);

	if (p->broken.code)
		return remus_fail(err, p->broken.code, "%s: %s", remus_xen_name(d), p->broken.message);
	return p->on ? 0 : remus_fail(err, -EINVAL, "%s: tracking is off", remus_xen_name(d));
}

static int pump(struct remus_xen_domain *d, bool (*done)(const void *), int timeout_ms,
		struct remus_error *err)
{
	struct remus_error why = REMUS_ERROR_INIT;
	int rc = remus_xen_saver_pump(&of(d)->saver, done, of(d), timeout_ms, &why);

	if (rc == 0)
		return 0;
	break_off(d, rc, &why);
	return remus_fail(err, rc, "%s", why.message);
}

static bool is_ready(const void *context)
{
	const struct pv *p = context;
	return p->saver.ready;
}

static bool is_captured(const void *context)
{
	const struct pv *p = context;
	return !p->writing;
}

/* Only the first of them that is not there yet is looked at; numbers ascend, and so does the stream. */
static bool has_wanted(const void *context)
{
	struct pv *p = (struct pv *)(uintptr_t)context;

	while (p->wanted_count && remus_xen_store_ready(&p->store, *p->wanted)) {
		p->wanted++;
		p->wanted_count--;
	}
	return !p->wanted_count;
}

/* ---- operations ---- */

static void pv_close(struct remus_xen_domain *d)
{
	struct pv *p = of(d);

	end_saver(d);
	remus_xen_records_free(&p->records);
	remus_xen_store_destroy(&p->store);
	remus_xen_buffer_free(&p->state);
	free(p);
}

static int pv_open(struct remus_xen_domain *d, struct remus_error *err)
{
	struct pv *p = calloc(1, sizeof *p);

	if (!p)
		return remus_fail(err, -ENOMEM, "%s: out of memory", remus_xen_name(d));
	d->own = p;
	p->saver = (struct remus_xen_saver)REMUS_XEN_SAVER_INIT;
	return remus_xen_store_create(&p->store, d->guest.description.pages, err);
}

static uint64_t pv_pages(const struct remus_xen_domain *d)
{
	return of(d)->store.numbers;
}

/* All of them: which have content shows as they come, and one without is eight bytes on the wire. */
static int pv_populated(struct remus_xen_domain *d, uint64_t *map, struct remus_error *err)
{
	(void)err;
	remus_bitmap_set_range(map, 0, of(d)->store.numbers);
	return 0;
}

static int pv_track_start(struct remus_xen_domain *d, struct remus_error *err)
{
	struct pv *p = of(d);
	char log_path[4096];

	if (p->on)
		return remus_fail(err, -EALREADY, "%s: tracking was started already", remus_xen_name(d));
	remus_xen_store_destroy(&p->store);
	remus_xen_records_free(&p->records);
	int rc = remus_xen_store_create(&p->store, d->guest.description.pages, err);
	if (rc < 0)
		return rc;
	p->sink = (struct remus_xen_records_sink){.context = &p->store, /* which is p, too */
						  .place = remus_xen_store_place,
						  .page = remus_xen_store_page,
						  .frames = remus_xen_store_frames,
						  .checkpoint = on_checkpoint};
	remus_xen_records_init(&p->records, p->store.pages, &p->sink);
	p->broken.code = 0;
	snprintf(log_path, sizeof log_path, "%s/xen.log", d->run_dir);
	rc = remus_xen_saver_start(&p->saver, d->domid, &p->records, log_path, err);
	if (rc == 0)
		rc = remus_xen_logdirty_mark(&d->xen, d->domid, p->saver.helper.pid, err);
	p->on = rc == 0;
	if (rc < 0)
		end_saver(d);
	return rc;
}

static const char *pv_track_name(const struct remus_xen_domain *d)
{
	return of(d)->on ? "log-dirty" : "";
}

static void pv_track_stop(struct remus_xen_domain *d)
{
	end_saver(d);
	of(d)->on = false;
}

static int pv_pause(struct remus_xen_domain *d, struct remus_error *err)
{
	struct pv *p = of(d);
	xc_dominfo_t info;

	if (!p->on) /* after tracking's end, or before its start: nothing but a pause */
		return remus_xen_suspend_wait(&d->suspend, &info, err);
	int rc = check(d, err);
	if (rc == 0 && !p->saver.ready) {
		/* "stop" matters once, before the first checkpoint; later it is ready when it was told "resumed" */
		rc = remus_xen_saver_tell(&p->saver, "stop", err);
		rc = rc < 0 ? break_off(d, rc, err) : pump(d, is_ready, READY_MS, err);
	}
	if (rc == 0)
		rc = remus_xen_suspend_wait(&d->suspend, &info, err);
	if (rc < 0)
		return rc;
	p->writing = true;
	rc = remus_xen_saver_tell(&p->saver, "suspended", err);
	return rc < 0 ? break_off(d, rc, err) : 0;
}

/* The checkpoint that was begun in pause(), to its end. */
static int finish(struct remus_xen_domain *d, struct remus_error *err)
{
	int rc = check(d, err);

	if (rc == 0)
		rc = pump(d, is_captured, CHECKPOINT_MS, err);
	if (rc == 0 && !of(d)->captured)
		rc = remus_fail(err, -EINVAL, "%s was not paused", remus_xen_name(d));
	return rc;
}

static int pv_resume(struct remus_xen_domain *d, struct remus_error *err)
{
	struct pv *p = of(d);

	/* Not before libxenguest is through, or it would read a running guest and take it for a stopped one. Should
	 * that fail the session is broken, but the guest goes on all the same. */
	if (p->writing && finish(d, NULL) < 0)
		remus_warn("%s", p->broken.message);
	int rc = remus_xen_suspend_resume(&d->suspend, err);
	if (rc == 0 && p->captured) {
		struct remus_error why = REMUS_ERROR_INIT;
		p->captured = false;
		int told = remus_xen_saver_tell(&p->saver, "resumed", &why);
		if (told < 0) /* the next pause says so */
			break_off(d, told, &why);
	}
	return rc;
}

static int pv_save_state(struct remus_xen_domain *d, const uint8_t **out, size_t *bytes,
			 struct remus_error *err)
{
	int rc = finish(d, err);

	if (rc < 0)
		return rc;
	*out = of(d)->state.data;
	*bytes = of(d)->state.bytes;
	return 0;
}

static int pv_track_fetch(struct remus_xen_domain *d, uint64_t *dirty, uint64_t *count,
			  struct remus_error *err)
{
	struct pv *p = of(d);
	int rc = finish(d, err);

	if (rc < 0) {
		remus_bitmap_set_range(dirty, 0, p->store.numbers); /* I9 */
		return rc;
	}
	uint64_t n = remus_xen_store_take(&p->store, dirty);
	if (count)
		*count = n;
	return 0;
}

static int pv_copy(struct remus_xen_domain *d, const uint64_t *number, size_t count, void *dst,
		   struct remus_error *err)
{
	struct pv *p = of(d);
	int rc = check(d, err);

	for (size_t i = 0; i < count && rc == 0; i++)
		if (number[i] >= p->store.numbers)
			rc = remus_fail(err, -EINVAL, "%s: page %llu doesn't exist", remus_xen_name(d),
					(unsigned long long)number[i]);
	p->wanted = number;
	p->wanted_count = count;
	if (rc == 0)
		rc = pump(d, has_wanted, COPY_MS, err);
	if (rc == 0)
		remus_xen_store_copy(&p->store, number, count, dst);
	return rc;
}

static void pv_forget(struct remus_xen_domain *d)
{
	end_saver(d);
	if (!of(d)->broken.code)
		remus_fail(&of(d)->broken, -ESHUTDOWN, "the guest has ended");
}

const struct remus_xen_kind remus_xen_pv = {
	.open = pv_open,
	.close = pv_close,
	.pages = pv_pages,
	.populated = pv_populated,
	.track_start = pv_track_start,
	.track_name = pv_track_name,
	.track_fetch = pv_track_fetch,
	.track_stop = pv_track_stop,
	.pause = pv_pause,
	.resume = pv_resume,
	.save_state = pv_save_state,
	.copy = pv_copy,
	.forget = pv_forget,
};
