/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest: at each tick it reads memory, computes, writes one to three pages and often sends a packet whose number
 * it keeps in memory. It checks what it reads: an image put together from two epochs shows at once.
 */
#include "guest.h"

#include <string.h>
#include "invariants.h"
#include "remus/util.h"
#include "world.h"

#define WORDS (REMUS_PAGE_SIZE / 8)

static uint64_t mix(uint64_t a, uint64_t b)
{
	struct rng r = {a * UINT64_C(0x2545f4914f6cdd1d) ^ b};

	return rng_next(&r);
}

struct copy *copy_create(struct world *w, int host, bool standby)
{
	if (w->copies == COPIES_MAX)
		return NULL;
	struct copy *c = &w->copy[w->copies];

	memset(c, 0, sizeof *c);
	c->domain.ops = &sim_domain_ops;
	c->standby.ops = &sim_standby_ops;
	c->w = w;
	c->id = (int)w->copies++;
	c->host = host;
	c->exists = true;
	c->waiting = standby;
	c->egress.cap = w->setting.egress_cap;
	return c;
}

static void write_word(struct copy *c, unsigned page, unsigned word, uint64_t value)
{
	remus_put_le64(&c->memory[page][word * 8], value);
	c->dirty |= UINT64_C(1) << page;
}

static void stamp(struct copy *c, unsigned page)
{
	uint64_t value = mix(c->device.node, page);

	write_word(c, page, 0, value);
	c->device.stamp[page] = value;
}

void copy_boot(struct copy *c)
{
	for (unsigned page = 0; page < GUEST_PAGES / 2; page++) /* the others are zero for now */
		stamp(c, page);
	c->egress.state = EGRESS_PASSING;
	c->in_relay = true;
}

const char *copy_check(const struct copy *c)
{
	for (unsigned page = 0; page < GUEST_PAGES; page++)
		if (remus_get_le64(c->memory[page]) != c->device.stamp[page])
			return "a page and the guest's record of it are from different states";
	return NULL;
}

/* ---- running ---- */

static void schedule(struct copy *c, uint64_t after)
{
	c->tick_at = c->w->now + after;
	world_at(c->w, c->tick_at, AT_TICK, (unsigned)c->id, c->cookie);
}

static uint64_t next_tick(struct world *w)
{
	uint64_t mean = w->setting.tick_us;

	/* Long waits are for the machines, the guest may doze. */
	if (w->now > w->fair_from + 2000000 || w->nodes > NODES_MAX / 2)
		mean *= 16;
	else if (w->now < w->hectic_until)
		mean /= 16;
	return mean / 2 + rng_below(&w->guest_rng, (uint32_t)mean);
}

void copy_pause(struct copy *c)
{
	if (!c->running)
		return;
	clock_pause(c);
	c->running = false;
	c->cookie++;
	c->stopped_at = c->w->now;
	c->left_us = c->tick_at > c->w->now ? c->tick_at - c->w->now : 0;
}

void copy_resume(struct copy *c)
{
	if (c->running || !c->exists)
		return;
	c->running = true;
	clock_resume(c);
	c->cookie++;
	schedule(c, c->left_us); /* a pause doesn't begin its work anew */
}

void copy_wake(struct copy *c)
{
	if (!c->exists || !c->running)
		return;
	c->cookie++;
	schedule(c, next_tick(c->w));
}

void copy_end(struct copy *c, enum copy_end how)
{
	if (!c->exists)
		return;
	if (c->running)
		clock_pause(c);
	c->exists = c->running = false;
	c->cookie++;
	c->end = how;
	c->ended_at = c->w->now;
	egress_close(c);
}

static void emit(struct copy *c, uint32_t node)
{
	struct egress *e = &c->egress;
	struct packet packet = {node, (uint32_t)c->captured + 1, c->device.time.seen_us};

	if (e->state == EGRESS_CLOSED)
		return;
	e->accepted++;
	if (e->state == EGRESS_PASSING) {
		e->released++;
		check_packet(c, &packet, false);
		return;
	}
	if (e->count == e->cap) {
		e->dropped++;
		if (c->w->variant == OVERFLOW_PASSES)
			check_packet(c, &packet, true);
		return;
	}
	e->held[(e->first + e->count) % EGRESS_ROOM] = packet;
	e->count++;
}

static void step(struct copy *c)
{
	struct world *w = c->w;
	uint32_t dice = (uint32_t)(rng_next(&w->guest_rng) >> 32);
	unsigned pages = 1 + dice % 3;

	if (w->nodes == NODES_MAX)
		return;
	uint32_t node = w->nodes++;
	w->parent[node] = (uint32_t)c->device.node;
	c->device.node = node;
	c->device.chain = mix(c->device.chain, node);
	clock_tick(c);
	for (unsigned i = 0; i < pages; i++) {
		unsigned page = (dice >> (4 + 4 * i)) % GUEST_PAGES;
		if (remus_get_le64(c->memory[page]) != c->device.stamp[page]) {
			sim_fail(w, "I3", "the guest on host %c finds page %u of another state than its own",
				 'A' + c->host, page);
			return;
		}
		stamp(c, page);
		unsigned word = 1 + (dice >> 16) % (WORDS - 1);
		write_word(c, page, word, dice % 16 ? mix(c->device.chain, page) : 0);
	}
	if ((dice >> 20) % 1000 < w->setting.packets_permille)
		emit(c, node);
}

void copy_tick(struct world *w, struct copy *c, uint32_t cookie)
{
	if (cookie != c->cookie || !c->running || !c->exists)
		return;
	if (w->host[c->host].frozen)
		return; /* copy_wake() */
	step(c);
	schedule(c, next_tick(w));
}

/* ---- the egress buffer ---- */

static void leave(struct copy *c, unsigned n, bool gated)
{
	struct egress *e = &c->egress;

	for (unsigned i = 0; i < n; i++) {
		struct packet packet = e->held[e->first];
		e->first = (e->first + 1) % EGRESS_ROOM;
		e->count--;
		e->released++;
		check_packet(c, &packet, gated);
	}
}

int egress_hold(struct copy *c)
{
	c->egress.state = EGRESS_HOLDING;
	return 0;
}

int egress_seal(struct copy *c, uint64_t epoch)
{
	struct egress *e = &c->egress;

	if (e->state != EGRESS_HOLDING)
		return -EINVAL;
	if (e->has_sealed && c->w->variant != SECOND_SEAL)
		return -EBUSY;
	check_seal(c, epoch);
	e->has_sealed = true;
	e->sealed_epoch = c->w->variant == SECOND_SEAL && e->sealed ? e->sealed_epoch : epoch;
	e->sealed = e->count;
	return 0;
}

int egress_release(struct copy *c, uint64_t epoch)
{
	struct egress *e = &c->egress;

	if (e->state == EGRESS_CLOSED)
		return -EINVAL;
	if (!e->has_sealed || e->sealed_epoch > epoch)
		return 0;
	unsigned n = e->sealed;
	e->has_sealed = false;
	e->sealed = 0;
	leave(c, n, true);
	return 0;
}

int egress_pass(struct copy *c)
{
	struct egress *e = &c->egress;

	e->state = EGRESS_PASSING;
	e->has_sealed = false;
	e->sealed = 0;
	leave(c, e->count, false);
	return 0;
}

static void forget_held(struct egress *e)
{
	e->discarded += e->count;
	e->count = e->sealed = 0;
	e->has_sealed = false;
}

int egress_discard(struct copy *c)
{
	forget_held(&c->egress);
	return 0;
}

void egress_close(struct copy *c)
{
	forget_held(&c->egress);
	c->egress.state = EGRESS_CLOSED;
}

/* ---- what capture.c and staging.c call ---- */

static uint64_t ops_pages(struct remus_domain *d)
{
	return GUEST_PAGES;
}

static int ops_pause(struct remus_domain *d, struct remus_error *err)
{
	copy_pause((struct copy *)d);
	return 0;
}

static int ops_resume(struct remus_domain *d, struct remus_error *err)
{
	copy_resume((struct copy *)d);
	return 0;
}

static int ops_fetch(struct remus_domain *d, uint64_t *dirty, uint64_t *count, struct remus_error *err)
{
	struct copy *c = (struct copy *)d;

	if (c->fail_fetch) {
		c->fail_fetch--;
		return remus_fail(err, -EIO, "injected: the dirty set cannot be read");
	}
	dirty[0] |= c->dirty;
	c->dirty = 0;
	return 0;
}

static int ops_save(struct remus_domain *d, const uint8_t **out, size_t *bytes, struct remus_error *err)
{
	struct copy *c = (struct copy *)d;

	if (c->fail_save) {
		c->fail_save--;
		return remus_fail(err, -EIO, "injected: the device state cannot be saved");
	}
	*out = (const uint8_t *)&c->device;
	*bytes = sizeof c->device;
	return 0;
}

static int ops_copy(struct remus_domain *d, const uint64_t *pfn, size_t count, void *dst,
		    struct remus_error *err)
{
	struct copy *c = (struct copy *)d;

	if (c->fail_copy) {
		c->fail_copy--;
		return remus_fail(err, -EIO, "injected: guest memory cannot be read");
	}
	for (size_t i = 0; i < count; i++)
		memcpy((uint8_t *)dst + i * REMUS_PAGE_SIZE, c->memory[pfn[i]], REMUS_PAGE_SIZE);
	return 0;
}

/* A guest that loses its pauses has a hypervisor that says nothing. */
static void ops_clock(struct remus_domain *d, struct remus_guest_clock *out)
{
	struct copy *c = (struct copy *)d;

	out->offset_known = !c->w->setting.loses_pauses;
	out->offset_s = c->time_offset_s;
}

const struct remus_domain_ops sim_domain_ops = {
	.backend = "fake",
	.pages = ops_pages,
	.pause = ops_pause,
	.resume = ops_resume,
	.track_fetch = ops_fetch,
	.save_state = ops_save,
	.clock = ops_clock,
	.copy = ops_copy,
};

static struct copy *copy_of(struct remus_standby *s)
{
	return (struct copy *)((char *)s - offsetof(struct copy, standby));
}

static uint8_t *ops_page(struct remus_standby *s, uint64_t pfn)
{
	return copy_of(s)->memory[pfn];
}

static int ops_commit(struct remus_standby *s, uint64_t epoch, const uint8_t *state, size_t bytes,
		      struct remus_error *err)
{
	struct copy *c = copy_of(s);

	if (bytes != sizeof c->device)
		return remus_fail(err, -EBADMSG, "a device state of %zu bytes", bytes);
	memcpy(&c->device, state, bytes);
	c->applied = epoch;
	return 0;
}

const struct remus_standby_ops sim_standby_ops = {
	.backend = "fake",
	.page = ops_page,
	.commit = ops_commit,
};
