/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both shells together, and a guest that changes more than the link carries: it rewrites whole pages, many times
 * faster than a relay lets them through. What the policy says is done, told, and over when the link is fast again; and
 * whatever happens, the guest runs on here with its memory right, nothing uncommitted was seen (I1), and no link was
 * lost. Rates and waits are this test's own: nothing asserts how long anything took.
 */
#include <stdio.h>
#include "engine-rig.h"

#define SLOW 2000000u /* bytes a second; the guest makes 80 MB of them */

static const struct rig_options busy = {.pages = 2048,
					.rate = 20000,
					.words = 512,
					.interval_ms = 20,
					.max_interval_ms = 200,
					.frame_every = 400};

static struct rig *overloaded(enum remus_overload_policy policy, uint32_t rate)
{
	struct rig_options options = busy;

	options.on_overload = policy;
	struct rig *r = rig_protected(&options);
	atomic_store(&r->relay.rate, rate);
	CU_ASSERT_FATAL(up_wait_event(&r->primary, "overload"));
	return r;
}

static struct remus_status status(struct rig *r)
{
	pthread_mutex_lock(&r->primary.lock);
	struct remus_status s = r->primary.status;
	pthread_mutex_unlock(&r->primary.lock);
	return s;
}

/* Of the running session: until it says so, or fails to. */
static bool await(struct rig *r, bool (*says)(const struct remus_status *s))
{
	for (int ms = 0; ms < RIG_PATIENCE_MS; ms += 5) {
		struct remus_status s = status(r);
		if (says(&s))
			return true;
		if (up_is_over(&r->primary))
			break;
		usleep(5000);
	}
	return false;
}

static bool shows_overload(const struct remus_status *s)
{
	return s->overloaded && s->protected_now && s->turn_us > s->max_interval_us;
}

static bool shows_brake(const struct remus_status *s)
{
	return s->throttle > 0;
}

static bool shows_no_brake(const struct remus_status *s)
{
	return !s->throttle;
}

/* The link is fast again: it ends as it began, and the guest fails over with its memory right. */
static void recovers(struct rig *r)
{
	uint64_t gaps = 1;

	atomic_store(&r->relay.rate, 0);
	CU_ASSERT(up_wait_event(&r->primary, "overload-over"));
	CU_ASSERT(await(r, shows_no_brake));
	rig_check_runs(r->control);
	CU_ASSERT(!strncmp(up_kinds(&r->primary), "protected overload", 18));
	CU_ASSERT(!strstr(up_kinds(&r->primary), "lost"));
	up_command(&r->primary, REMUS_COMMAND_FAILOVER);
	CU_ASSERT_EQUAL(rig_survivor(r), 'b');
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, &gaps));
	CU_ASSERT_EQUAL(gaps, 0);
	rig_end(r);
}

static void stretch(void)
{
	struct rig *r = overloaded(REMUS_OVERLOAD_STRETCH, 8 * SLOW);

	CU_ASSERT(await(r, shows_overload));
	CU_ASSERT_EQUAL(status(r).throttle, 0);
	recovers(r);
}

static void throttle(void)
{
	struct rig *r = overloaded(REMUS_OVERLOAD_THROTTLE, 8 * SLOW);

	CU_ASSERT(await(r, shows_brake));
	rig_check_runs(r->control); /* slow, but it runs */
	recovers(r);
}

/* The session ends in order: told on both sides, and the guest goes on where it is. */
static void ends_here(struct rig *r, int code)
{
	uint64_t gaps = 1;

	atomic_store(&r->relay.rate, 0); /* the END need not be waited for that long */
	CU_ASSERT_EQUAL(rig_survivor(r), 'p');
	CU_ASSERT_EQUAL(r->primary.out.code, code);
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->primary), "protected overload unprotected");
	CU_ASSERT_STRING_EQUAL(up_kinds(&r->backup), "standby standby-dropped");
	rig_check_runs(r->control);
	CU_ASSERT(net_wait(&r->net, 'p', net_last(&r->net) + 3));
	CU_ASSERT(net_gated(&r->net, r->trace, r->backup_trace, &gaps));
	CU_ASSERT_EQUAL(gaps, 0); /* what was held came out */
	rig_end(r);
}

static void drop(void)
{
	ends_here(overloaded(REMUS_OVERLOAD_DROP, SLOW), -ETIME);
}

/* Not sent in time, or, as far as the kernel's buffers took it, not acknowledged. */
static bool gives_up(const struct remus_status *s)
{
	return !s->protected_now && !strcmp(s->state, "unprotecting");
}

/* Stretched as far as it may: an epoch that can't be sent by its deadline ends protection, and not in a failover. The
 * guest is larger than what the kernel's buffers take at once. */
static void stretched_to_the_end(void)
{
	struct rig_options options = busy;
	options.max_interval_ms = 60;
	options.pages = 8192;
	options.rate = 200000;
	struct rig *r = rig_protected(&options);
	atomic_store(&r->relay.rate, SLOW / 4);
	CU_ASSERT(await(r, gives_up));
	atomic_store(&r->relay.rate, 0);
	CU_ASSERT_EQUAL(rig_survivor(r), 'p');
	CU_ASSERT(!strstr(up_kinds(&r->primary), "lost"));
	CU_ASSERT_EQUAL(r->primary.out.code, REMUS_EPOCH_LATE);
	rig_check_runs(r->control);
	rig_end(r);
}

/* More than a host keeps for one epoch, on either side. As long as the link is fast none comes near that: the guest
 * writes so much in 400 ms. */
static void too_large(int side, const char *says)
{
	struct rig_options options = busy;
	options.max_interval_ms = 5000;
	options.staging[side] = 8 << 20;
	options.pages = 8192;
	options.rate = 5000;
	struct rig *r = rig_protected(&options);
	atomic_store(&r->relay.rate, 2 * SLOW); /* lets the interval grow, and with it an epoch */
	CU_ASSERT(up_wait_event(&r->primary, "overload"));
	CU_ASSERT(strstr(up_text(&r->primary, "overload"), says) != NULL);
	ends_here(r, REMUS_EPOCH_LARGE);
}

static void too_large_for_the_primary(void)
{
	too_large(0, "this host keeps");
}

static void too_large_for_the_backup(void)
{
	too_large(1, "the backup keeps");
}

static const struct unit_case cases[] = {
	{"stretch", stretch},
	{"throttle", throttle},
	{"drop", drop},
	{"stretched to the end", stretched_to_the_end},
	{"an epoch too large for the primary", too_large_for_the_primary},
	{"an epoch too large for the backup", too_large_for_the_backup},
};
RIG_MAIN("engine, overload", cases)
