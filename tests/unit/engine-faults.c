/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See engine-rig.h: every call goes on to the fake domain's table, but each k-th of a kind fails. */
#include "engine-rig.h"

#include "remus/bitmap.h"

#define KEEP 7

struct faulty {
	struct remus_domain base;
	struct remus_domain *inner;
	struct rig_faults *faults;
	uint64_t *kept; /* lazy: pages that are reported until they are dropped from here */
	unsigned fetches;
	bool told;
};

static struct faulty *of(struct remus_domain *d)
{
	return (struct faulty *)d;
}

static bool strikes(struct rig_faults *f, enum rig_call call)
{
	bool strike = false;

	if (!atomic_load(&f->on))
		return false;
	f->calls[call]++;
	if (call == CALL_RESUME && f->pending_resume) {
		f->pending_resume = 0;
		strike = true;
	} else if (f->every[call] && f->calls[call] % f->every[call] == 0) {
		f->pending_resume = f->then_resume;
		strike = true;
	}
	if (strike)
		atomic_fetch_add(&f->hits, 1);
	return strike;
}

/* Make @expression, or don't, and fail. */
#define FAULTY(domain, call, expression)                                                        \
	do {                                                                                    \
		struct rig_faults *f_ = of(domain)->faults;                                     \
		bool strike_ = strikes(f_, (call));                                             \
		int rc_ = strike_ && !f_->after ? 0 : (expression);                             \
		return strike_ ? remus_fail(err, -EIO, "an injected fault (%d)", (call)) : rc_; \
	} while (0)

static const char *name(struct remus_domain *d)
{
	return of(d)->inner->ops->name(of(d)->inner);
}
static uint64_t pages(struct remus_domain *d)
{
	return of(d)->inner->ops->pages(of(d)->inner);
}
static int describe(struct remus_domain *d, char **json, struct remus_error *err)
{
	return of(d)->inner->ops->describe(of(d)->inner, json, err);
}
static int nics(struct remus_domain *d, struct remus_nic *out, int max, struct remus_error *err)
{
	return of(d)->inner->ops->nics(of(d)->inner, out, max, err);
}
static int track_start(struct remus_domain *d, struct remus_error *err)
{
	return of(d)->inner->ops->track_start(of(d)->inner, err);
}
static const char *track_name(struct remus_domain *d)
{
	return of(d)->inner->ops->track_name(of(d)->inner);
}
static const char *track_note(struct remus_domain *d)
{
	return of(d)->inner->ops->track_note(of(d)->inner);
}
/* A page is reported again and again: until nobody says what became of it, and each seventh time. */
static int fetch_lazily(struct faulty *f, uint64_t *dirty, struct remus_error *err)
{
	size_t words = remus_bitmap_words(pages(&f->base));
	int rc = f->inner->ops->track_fetch(f->inner, f->kept, NULL, err);

	for (size_t w = 0; w < words; w++)
		dirty[w] |= f->kept[w];
	if (!f->told || ++f->fetches % KEEP == 0)
		memset(f->kept, 0, words * sizeof *f->kept);
	f->told = false;
	return rc;
}
static int track_fetch(struct remus_domain *d, uint64_t *dirty, uint64_t *count, struct remus_error *err)
{
	if (of(d)->faults->lazy)
		FAULTY(d, CALL_FETCH, fetch_lazily(of(d), dirty, err));
	FAULTY(d, CALL_FETCH, of(d)->inner->ops->track_fetch(of(d)->inner, dirty, count, err));
}
static void track_changed(struct remus_domain *d, uint64_t changed)
{
	(void)changed;
	of(d)->told = true;
	atomic_fetch_add(&of(d)->faults->told, 1);
}
static void track_stop(struct remus_domain *d)
{
	of(d)->inner->ops->track_stop(of(d)->inner);
}
static int pause_it(struct remus_domain *d, struct remus_error *err)
{
	FAULTY(d, CALL_PAUSE, of(d)->inner->ops->pause(of(d)->inner, err));
}
static uint64_t pause_began(struct remus_domain *d, bool *reckoned)
{
	*reckoned = of(d)->faults->reckoned;
	return 0;
}
static int resume_it(struct remus_domain *d, struct remus_error *err)
{
	FAULTY(d, CALL_RESUME, of(d)->inner->ops->resume(of(d)->inner, err));
}
static int save_state(struct remus_domain *d, const uint8_t **out, size_t *bytes, struct remus_error *err)
{
	FAULTY(d, CALL_SAVE, of(d)->inner->ops->save_state(of(d)->inner, out, bytes, err));
}
static int copy(struct remus_domain *d, const uint64_t *pfn, size_t count, void *dst, struct remus_error *err)
{
	FAULTY(d, CALL_COPY, of(d)->inner->ops->copy(of(d)->inner, pfn, count, dst, err));
}
static pid_t pid(struct remus_domain *d)
{
	return of(d)->inner->ops->pid(of(d)->inner);
}
static int event_fd(struct remus_domain *d)
{
	return of(d)->inner->ops->event_fd(of(d)->inner);
}
static enum remus_domain_event next_event(struct remus_domain *d, char why[REMUS_TEXT_MAX])
{
	return of(d)->inner->ops->next_event(of(d)->inner, why);
}
static int destroy(struct remus_domain *d, struct remus_error *err)
{
	return of(d)->inner->ops->destroy(of(d)->inner, err);
}
static void close_it(struct remus_domain *d)
{
	of(d)->inner->ops->close(of(d)->inner);
	free(of(d)->kept);
	free(of(d));
}

static const struct remus_domain_ops faulty_ops = {
	.backend = "fake",
	.name = name,
	.pages = pages,
	.describe = describe,
	.nics = nics,
	.track_start = track_start,
	.track_name = track_name,
	.track_note = track_note,
	.track_fetch = track_fetch,
	.track_changed = track_changed,
	.track_stop = track_stop,
	.pause = pause_it,
	.pause_began = pause_began,
	.resume = resume_it,
	.save_state = save_state,
	.copy = copy,
	.pid = pid,
	.event_fd = event_fd,
	.next_event = next_event,
	.destroy = destroy,
	.close = close_it,
};

struct remus_domain *faulty_domain(struct remus_domain *inner, struct rig_faults *faults)
{
	struct faulty *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	f->base.ops = &faulty_ops;
	f->inner = inner;
	f->faults = faults;
	f->kept = calloc(remus_bitmap_words(inner->ops->pages(inner)), sizeof *f->kept);
	if (!f->kept) {
		free(f);
		return NULL;
	}
	return &f->base;
}
