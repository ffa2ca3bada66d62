/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See capture.h. The pause does nothing but copy; encoding happens while the guest runs. */
#include "capture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "remus/bitmap.h"
#include "remus/fault.h"
#include "remus/util.h"
#include "agent.h"

#define ROUND_PIECE  2048u		   /* pages a step of the full copy sends: 8 MiB */
#define STAGING_KEEP (32u * 1024u * 1024u) /* staging that stays resident between epochs, bytes */

int capture_create(struct remus_guest *guest, uint64_t cache_bytes, unsigned threads, struct capture **out,
		   struct remus_error *err)
{
	struct capture *c = calloc(1, sizeof *c);

	if (!c)
		return remus_fail(err, -ENOMEM, "capture: no memory");
	c->guest = guest;
	c->domain = guest->domain;
	c->guest_pages = guest->domain->ops->pages(guest->domain);
	c->pending = calloc(remus_bitmap_words(c->guest_pages), sizeof *c->pending);
	/* Reserved, not touched: an epoch may in the worst case hold every page. */
	c->pfn = mmap(NULL, c->guest_pages * sizeof *c->pfn, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	c->pages = mmap(NULL, c->guest_pages * REMUS_PAGE_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!c->pending || c->pfn == MAP_FAILED || c->pages == MAP_FAILED) {
		remus_fail(err, -ENOMEM, "capture: cannot reserve staging for %llu pages",
			   (unsigned long long)c->guest_pages);
		capture_destroy(c);
		return -ENOMEM;
	}
	struct remus_encoder_config config = {
		.guest_pages = c->guest_pages,
		.cache_bytes = cache_bytes,
		.threads = threads,
		.compress = true,
		.delta = true,
	};
	int rc = remus_encoder_create(&config, &c->encoder, err);
	if (rc < 0) {
		capture_destroy(c);
		return rc;
	}
	*out = c;
	return 0;
}

void capture_destroy(struct capture *c)
{
	if (!c)
		return;
	if (c->encoder)
		remus_encoder_destroy(c->encoder);
	if (c->pages && c->pages != MAP_FAILED)
		munmap(c->pages, c->guest_pages * REMUS_PAGE_SIZE);
	if (c->pfn && c->pfn != MAP_FAILED)
		munmap(c->pfn, c->guest_pages * sizeof *c->pfn);
	free(c->pending);
	free(c->state);
	free(c);
}

uint64_t capture_memory(const struct capture *c)
{
	return c->touched + c->touched / REMUS_PAGE_SIZE * sizeof *c->pfn + c->state_room +
	       remus_bitmap_words(c->guest_pages) * 8;
}

/* ---- state sections ---- */

static int state_section(struct capture *c, uint16_t kind, uint16_t flags, const void *body, size_t bytes,
			 struct remus_error *err)
{
	uint8_t head[REMUS_SECTION_HEADER];
	size_t padding = remus_section_head(head, kind, flags, (uint32_t)bytes);
	size_t need = c->state_bytes + sizeof head + bytes + padding;

	if (need > REMUS_STATE_TOTAL_MAX)
		return remus_fail(err, -EMSGSIZE,
				  "the guest's device state has %zu bytes, more than the %u of an epoch",
				  bytes, REMUS_STATE_TOTAL_MAX);
	if (need > c->state_room) {
		uint8_t *larger = realloc(c->state, need + need / 4);
		if (!larger)
			return remus_fail(err, -ENOMEM, "capture: no memory for %zu bytes of device state",
					  need);
		c->state = larger;
		c->state_room = need + need / 4;
	}
	uint8_t *at = c->state + c->state_bytes;
	memcpy(at, head, sizeof head);
	if (bytes)
		memcpy(at + sizeof head, body, bytes);
	memset(at + sizeof head + bytes, 0, padding);
	c->state_bytes = need;
	return 0;
}

/* The clocks at the pause (clock.h). */
static int state_clock(struct capture *c, struct remus_error *err)
{
	struct remus_clock_reading now;
	uint8_t body[REMUS_CLOCK_FACTS_SIZE];

	remus_clock_read(&now);
	struct remus_clock_facts facts = {
		.realtime_ns = now.realtime_ns,
		.monotonic_ns = now.monotonic_ns,
		.boottime_ns = now.boottime_ns,
		.link_ns = (uint64_t)((int64_t)now.raw_ns + c->clock_anchor_ns),
		.policy = c->clock_policy,
	};
	remus_clock_sync(&facts.sync);
	if (c->domain->ops->clock)
		c->domain->ops->clock(c->domain, &facts.guest);
	remus_clock_facts_encode(&facts, body);
	return state_section(c, REMUS_SECTION_CLOCK, 0, body, sizeof body, err);
}

static int state_addresses(struct capture *c, struct remus_error *err)
{
	uint8_t body[REMUS_ADDRESSES_WIRE_MAX];
	struct remus_addresses all = {0};

	for (int i = 0; i < c->guest->nics; i++) {
		struct remus_addresses one;
		c->guest->nic[i]->ops->addresses(c->guest->nic[i], &one);
		for (uint32_t k = 0; k < one.count && all.count < REMUS_ADDRESSES_MAX; k++)
			all.entry[all.count++] = one.entry[k];
	}
	size_t bytes = remus_addresses_encode(&all, body);
	return state_section(c, REMUS_SECTION_ADDRESSES, 0, body, bytes, err);
}

static int state_agent(struct capture *c, struct remus_error *err)
{
	uint8_t body[REMUS_AGENT_SECTION_MAX];
	struct remus_agent_section agent = {.wait_ms = c->renew_wait_ms};

	if (!shell_agent_present(c->guest->agent, agent.version))
		return 0;
	return state_section(c, REMUS_SECTION_AGENT, 0, body, remus_agent_section_encode(&agent, body), err);
}

static int take_state(struct capture *c, struct remus_error *err)
{
	const uint8_t *device;
	size_t bytes;

	c->state_bytes = 0;
	int rc = c->domain->ops->save_state(c->domain, &device, &bytes, err);
	if (rc < 0)
		return rc;
	rc = state_section(c, REMUS_SECTION_DEVICE, REMUS_SECTION_MANDATORY, device, bytes, err);
	if (rc == 0)
		rc = state_clock(c, err);
	if (rc == 0)
		rc = state_addresses(c, err);
	if (rc == 0)
		rc = state_agent(c, err);
	return rc;
}

/* ---- pages ---- */

/* Give back what an unusually large epoch left resident. */
static void trim(struct capture *c)
{
	if (c->touched <= STAGING_KEEP || c->count * REMUS_PAGE_SIZE > STAGING_KEEP)
		return;
	madvise(c->pages + STAGING_KEEP, c->touched - STAGING_KEEP, MADV_DONTNEED);
	c->touched = STAGING_KEEP;
}

static int copy_staged(struct capture *c, struct remus_error *err)
{
	size_t bytes = c->count * REMUS_PAGE_SIZE;

	if (bytes > c->touched)
		c->touched = bytes;
	return c->domain->ops->copy(c->domain, c->pfn, c->count, c->pages, err);
}

int capture_take(struct capture *c, uint64_t epoch, struct remus_error *err)
{
	uint64_t t0 = remus_now_us(), cursor = 0;

	trim(c);
	int rc = take_state(c, err);
	if (rc == 0)
		rc = REMUS_FAULT(primary_state_saved, err);
	if (rc < 0)
		return rc;
	uint64_t t1 = remus_now_us();
	rc = c->domain->ops->track_fetch(c->domain, c->pending, NULL, err);
	if (rc == 0)
		rc = REMUS_FAULT(primary_dirty_fetched, err);
	if (rc < 0)
		return rc;
	uint64_t t2 = remus_now_us();
	c->epoch = epoch;
	c->count = remus_bitmap_take(c->pending, c->guest_pages, &cursor, c->pfn, c->guest_pages);
	if (c->cap && c->count > c->cap / REMUS_PAGE_SIZE)
		return remus_fail(
			err, REMUS_EPOCH_LARGE,
			"the guest has changed %zu MiB since the last checkpoint, more than the %llu "
			"MiB that this host keeps for one (remusd --staging)",
			c->count / 256, (unsigned long long)(c->cap >> 20));
	rc = copy_staged(c, err);
	if (rc == 0)
		rc = REMUS_FAULT(primary_copied, err);
	if (rc < 0)
		return rc; /* the machine aborts the epoch: the pages go back to pending */
	uint64_t t3 = remus_now_us();
	c->parts.save = t1 - t0;
	c->parts.scan = t2 - t1;
	c->parts.copy = t3 - t2;
	return 0;
}

void capture_abort(struct capture *c, uint64_t epoch)
{
	if (c->epoch == epoch)
		for (size_t i = 0; i < c->count; i++)
			remus_bitmap_set(c->pending, c->pfn[i]);
	c->count = 0;
	c->epoch = 0;
	remus_encoder_abort(c->encoder, epoch);
}

/* ---- onto the link ---- */

struct sink {
	struct remus_link *link;
	const struct capture_limits *limits; /* NULL = none */
	uint64_t epoch, pages, bytes, cost;
	struct remus_digest digest;
};

/* May another frame of @bytes begin? */
static int sink_may(struct sink *s, size_t bytes, struct remus_error *err)
{
	const struct capture_limits *l = s->limits;

	if (!l)
		return 0;
	if (l->between)
		l->between(l->context);
	s->cost += bytes + REMUS_STAGING_FRAME_COST;
	if (l->bytes && s->cost > l->bytes)
		return remus_fail(
			err, REMUS_EPOCH_LARGE,
			"epoch %llu needs more than the %llu MiB that the backup keeps for one (remusd "
			"--staging there)",
			(unsigned long long)s->epoch, (unsigned long long)(l->bytes >> 20));
	if (l->deadline_us && remus_now_us() > l->deadline_us)
		return remus_fail(
			err, REMUS_EPOCH_LATE,
			"epoch %llu could not be sent in time, only %llu MiB of it: the guest changes "
			"more than the link carries",
			(unsigned long long)s->epoch, (unsigned long long)(s->bytes >> 20));
	return 0;
}

static int sink_frame(struct sink *s, uint16_t type, const void *payload, size_t bytes,
		      struct remus_error *err)
{
	struct iovec part = {.iov_base = (void *)payload, .iov_len = bytes};
	struct remus_frame_header header;
	int rc = sink_may(s, bytes, err);

	if (rc == 0)
		rc = remus_link_send(s->link, type, REMUS_FRAME_MANDATORY, s->epoch, &part, 1, &header, err);
	if (rc < 0)
		return rc;
	remus_digest_add(&s->digest, &header);
	s->bytes += bytes;
	return 0;
}

static int sink_pages(void *context, const void *payload, size_t bytes, uint32_t pages,
		      struct remus_error *err)
{
	struct sink *s = context;

	s->pages += pages;
	return sink_frame(s, REMUS_FRAME_PAGES, payload, bytes, err);
}

/* The staged pages were encoded; @before: the encoder's totals until then. */
static void count_changed(struct capture *c, const struct remus_encoder_stats *before)
{
	struct remus_encoder_stats now;

	remus_encoder_stats(c->encoder, &now);
	uint64_t same = now.same - before->same, compared = now.cache_hits - before->cache_hits;
	c->changed = c->count - (size_t)same;
	if (!c->domain->ops->track_changed)
		return;
	/* A page that is reported needlessly must cost no more than a comparison, nor be what goes beyond the cap. */
	if (compared >= c->count / 2 && (!c->cap || c->count <= c->cap / REMUS_PAGE_SIZE / 2))
		c->domain->ops->track_changed(c->domain, compared - same);
}

int capture_send(struct capture *c, struct remus_link *link, const struct capture_limits *limits,
		 uint64_t *digest, uint64_t *bytes, struct remus_error *err)
{
	struct sink s = {.link = link, .limits = limits, .epoch = c->epoch};
	struct remus_encoder_stats before;

	remus_encoder_stats(c->encoder, &before);
	int rc = remus_encoder_run(c->encoder, c->epoch, c->pfn, c->pages, c->count, REMUS_PAGES_PAYLOAD_MAX,
				   sink_pages, &s, err);
	if (rc == 0)
		rc = REMUS_FAULT(primary_pages_sent, err);
	if (rc < 0)
		return rc;
	count_changed(c, &before);
	uint64_t page_bytes = s.bytes;
	for (size_t at = 0; at < c->state_bytes; at += REMUS_STATE_PAYLOAD_MAX) {
		size_t piece = c->state_bytes - at;
		if (piece > REMUS_STATE_PAYLOAD_MAX)
			piece = REMUS_STATE_PAYLOAD_MAX;
		rc = sink_frame(&s, REMUS_FRAME_STATE, c->state + at, piece, err);
		if (rc < 0)
			return rc;
	}
	struct remus_commit commit = {
		.pages = s.pages,
		.page_bytes = page_bytes,
		.state_bytes = c->state_bytes,
		.digest = s.digest.value,
	};
	uint8_t body[REMUS_COMMIT_SIZE];
	remus_commit_encode(&commit, body);
	struct iovec part = {.iov_base = body, .iov_len = sizeof body};
	rc = sink_may(&s, 0, err);
	if (rc == 0)
		rc = REMUS_FAULT(primary_commit, err);
	if (rc == 0)
		rc = remus_link_send(link, REMUS_FRAME_COMMIT, REMUS_FRAME_MANDATORY, c->epoch, &part, 1,
				     NULL, err);
	if (rc == 0)
		rc = REMUS_FAULT(primary_sent, err);
	if (rc < 0)
		return rc;
	*digest = s.digest.value;
	*bytes += s.bytes + sizeof body;
	return 0;
}

/* ---- full copy ---- */

int capture_round_begin(struct capture *c, unsigned round, struct remus_error *err)
{
	c->cursor = 0;
	c->epoch = 0;
	if (round == 1 && c->domain->ops->populated) {
		memset(c->pending, 0, remus_bitmap_words(c->guest_pages) * sizeof *c->pending);
		int rc = c->domain->ops->populated(c->domain, c->pending, err);
		if (rc < 0)
			return rc;
	} else if (round == 1) {
		remus_bitmap_set_range(c->pending, 0, c->guest_pages);
	}
	return 0; /* later rounds: round_step() of the one before has fetched the dirty set */
}

/*
 * The dirty set at a round's end. Paused, because not every tracking method can be read exactly while the guest
 * writes; tried again, because a guest left standing is worse than a failed session (I8).
 */
static int fetch_paused(struct capture *c, struct remus_error *err)
{
	struct remus_domain *d = c->domain;
	int rc = d->ops->pause(d, err);

	if (rc == 0)
		rc = REMUS_FAULT(primary_sync_paused, err);
	if (rc == 0)
		rc = d->ops->track_fetch(d, c->pending, NULL, err);
	for (int attempt = 0; attempt < 3; attempt++)
		if (d->ops->resume(d, rc < 0 ? NULL : err) == 0)
			return rc;
	return rc < 0 ? rc : -EIO;
}

int capture_round_step(struct capture *c, struct remus_link *link, uint64_t *sent, uint64_t *dirty,
		       struct remus_error *err)
{
	c->count = remus_bitmap_take(c->pending, c->guest_pages, &c->cursor, c->pfn, ROUND_PIECE);
	if (c->count) {
		struct sink s = {.link = link, .epoch = 0};
		int rc = copy_staged(c, err);
		if (rc == 0)
			rc = REMUS_FAULT(primary_sync_send, err);
		if (rc == 0)
			rc = remus_encoder_run(c->encoder, 0, c->pfn, c->pages, c->count,
					       REMUS_PAGES_PAYLOAD_MAX, sink_pages, &s, err);
		if (rc < 0)
			return rc;
		*sent += c->count;
		c->count = 0;
	}
	if (c->cursor < c->guest_pages)
		return 1;
	int rc = fetch_paused(c, err);
	if (rc < 0)
		return rc;
	*dirty = remus_bitmap_count(c->pending, c->guest_pages);
	return 0;
}
