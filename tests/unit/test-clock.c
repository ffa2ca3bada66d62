/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an epoch says of its clocks, and what the right time is on the backup (continuity/facts.c, clock.c). */
#include <errno.h>
#include "remus/clock.h"
#include "unit.h"

#define MS     INT64_C(1000000)
#define S      INT64_C(1000000000)
#define NOW_NS (INT64_C(1795000000) * S) /* a wall clock */

/* ---- facts ---- */

static const struct remus_clock_facts sample = {
	.realtime_ns = NOW_NS + 123,
	.monotonic_ns = 77 * S + 5,
	.boottime_ns = 99 * S + 6,
	.complete = true,
	.link_ns = NOW_NS + 456,
	.sync = {true, 3 * MS},
	.policy = REMUS_CLOCK_SLEW,
	.guest = {true, 1, 2894560, true, -7200},
};

/* By what they say: the bytes between members are nobody's. */
static bool same(const struct remus_clock_facts *a, const struct remus_clock_facts *b)
{
	uint8_t body[2][REMUS_CLOCK_FACTS_SIZE];

	remus_clock_facts_encode(a, body[0]);
	remus_clock_facts_encode(b, body[1]);
	return !memcmp(body[0], body[1], sizeof body[0]) && a->complete == b->complete;
}

static void facts_make_the_trip(void)
{
	struct remus_clock_facts in = sample, out;
	uint8_t body[REMUS_CLOCK_FACTS_SIZE];

	remus_clock_facts_encode(&in, body);
	CU_ASSERT_FATAL(remus_clock_facts_decode(body, sizeof body, &out, NULL) == 0);
	CU_ASSERT(same(&in, &out));

	in = (struct remus_clock_facts){.realtime_ns = 1, .complete = true};
	remus_clock_facts_encode(&in, body);
	CU_ASSERT_FATAL(remus_clock_facts_decode(body, sizeof body, &out, NULL) == 0);
	CU_ASSERT(same(&in, &out));
}

/* Release 0.1 sends the three clocks and no more. */
static void facts_of_the_first_release(void)
{
	struct remus_clock_facts out;
	uint8_t body[REMUS_CLOCK_FACTS_SIZE];

	remus_clock_facts_encode(&sample, body);
	CU_ASSERT_FATAL(remus_clock_facts_decode(body, 24, &out, NULL) == 0);
	CU_ASSERT(out.realtime_ns == sample.realtime_ns && out.monotonic_ns == sample.monotonic_ns &&
		  out.boottime_ns == sample.boottime_ns);
	CU_ASSERT(!out.complete && !out.link_ns && !out.sync.synchronised && !out.guest.tsc_known);
}

/* A later one may add bytes and flags. */
static void facts_of_a_later_release(void)
{
	struct remus_clock_facts out;
	uint8_t body[REMUS_CLOCK_FACTS_SIZE + 9] = {0};

	remus_clock_facts_encode(&sample, body);
	body[24] = 2;
	body[27] = 0x80;
	memset(body + REMUS_CLOCK_FACTS_SIZE, 0x55, 9);
	CU_ASSERT_FATAL(remus_clock_facts_decode(body, sizeof body, &out, NULL) == 0);
	CU_ASSERT(same(&sample, &out));
}

static void facts_that_cannot_be(void)
{
	static const struct {
		const char *word;
		size_t length, at;
		uint64_t value;
		unsigned bytes;
	} bad[] = {
		{"0 bytes", 0, 0, 0, 0},
		{"23 bytes", 23, 0, 0, 0},
		{"25 bytes", 25, 0, 0, 0},
		{"63 bytes", 63, 0, 0, 0},
		{"65 bytes", 65, 0, 0, 0}, /* version 1 has 64 */
		{"4097 bytes", 4097, 24, 2, 2},
		{"wall clock", 64, 0, 0, 8},
		{"wall clock", 64, 0, UINT64_MAX, 8},
		{"a clock", 64, 8, UINT64_C(1) << 62, 8},
		{"a clock", 64, 16, UINT64_C(1) << 63, 8},
		{"version 0", 64, 24, 0, 2},
		{"flags 0x1", 64, 26, 0x1f, 2},
		{"TSC mode", 64, 28, 4, 4},
		{"TSC mode of 1", 64, 26, 0xd, 2}, /* one that is said to be unknown */
		{"link clock", 64, 32, INT64_MAX, 8},
		{"error", 64, 40, UINT64_C(3600000000001), 8},
		{"error", 64, 26, 0xe, 2}, /* of a clock that isn't synchronised */
		{"TSC rate", 64, 48, 0, 4},
		{"TSC rate", 64, 48, 100000001, 4},
		{"reserved", 64, 52, 1, 4},
		{"time offset", 64, 56, UINT64_C(4000000001), 8},
		{"time offset", 64, 56, (uint64_t)INT64_MIN, 8},
		{"time offset", 64, 26, 0xb, 2},
	};
	static const struct remus_clock_facts none;
	uint8_t body[4200];

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_clock_facts out = sample;
		memset(body, 0, sizeof body);
		remus_clock_facts_encode(&sample, body);
		for (unsigned k = 0; k < bad[i].bytes; k++)
			body[bad[i].at + k] = (uint8_t)(bad[i].value >> (8 * k));
		CU_ASSERT(remus_clock_facts_decode(body, bad[i].length, &out, &err) == -EBADMSG);
		UNIT_ASSERT_MESSAGE(err, bad[i].word);
		CU_ASSERT(!memcmp(&out, &none, sizeof out));
	}
}

/* A backend that talks nonsense costs its guest no epoch. */
static void facts_of_a_strange_backend(void)
{
	struct remus_clock_facts in = sample, out;
	uint8_t body[REMUS_CLOCK_FACTS_SIZE];

	in.guest = (struct remus_guest_clock){true, 17, 0, true, INT64_MIN};
	in.sync.error_ns = UINT64_MAX;
	remus_clock_facts_encode(&in, body);
	CU_ASSERT_FATAL(remus_clock_facts_decode(body, sizeof body, &out, NULL) == 0);
	CU_ASSERT(!out.guest.tsc_known && !out.guest.offset_known);
	CU_ASSERT(out.sync.synchronised && out.sync.error_ns == UINT64_C(3600) * (uint64_t)S);
}

/* ---- truth ---- */

/*
 * Two hosts. The world's time is ns since some moment at which every raw clock stood where these say; the primary's
 * raw clock runs by its drift off, the backup's is right.
 */
struct hosts {
	int64_t raw_p, raw_b;	/* at world time 0 */
	int64_t wall_p, wall_b; /* wall minus raw clock */
	int64_t drift_ppm;
};

static int64_t raw_p(const struct hosts *h, int64_t t)
{
	return h->raw_p + t + t / 1000000 * h->drift_ppm;
}

/* The primary's wall clock was stepped by @step since the connection began at world time 0. */
static struct remus_clock_known know(const struct hosts *h, int64_t step, int64_t measured, int64_t pause,
				     int64_t arrived)
{
	int64_t link_p = h->wall_p - step, link_b = h->wall_b; /* link minus raw */
	struct remus_clock_known k = {
		.after_ns = (uint64_t)(h->raw_b + pause - 40 * MS),
		.before_ns = (uint64_t)(h->raw_b + arrived),
		.anchor_ns = link_b,
		.facts =
			{
				.realtime_ns = raw_p(h, pause) + h->wall_p,
				.complete = true,
				.link_ns = (uint64_t)(raw_p(h, pause) + link_p),
			},
	};
	/* a round trip of 200 us, its answer 60 us slower than the question */
	uint64_t t1 = (uint64_t)(h->raw_b + link_b + measured) / 1000, t4 = t1 + 200;
	uint64_t t2 = (uint64_t)(raw_p(h, measured + 70000) + link_p) / 1000;

	CU_ASSERT(remus_offset_add(&k.offset, t1, t2, t2, t4) == 200);
	return k;
}

static struct remus_clock_reading at(const struct hosts *h, int64_t t)
{
	return (struct remus_clock_reading){
		.raw_ns = (uint64_t)(h->raw_b + t),
		.monotonic_ns = (uint64_t)(h->raw_b + t + 5),
		.realtime_ns = h->raw_b + t + h->wall_b,
	};
}

static const struct {
	const char *name;
	struct hosts hosts;
	int64_t step;
} cases_of_hosts[] = {
	{"alike", {50 * S, 900 * S, NOW_NS, NOW_NS - 850 * S, 0}, 0},
	{"the backup is 5 s late", {50 * S, 900 * S, NOW_NS, NOW_NS - 855 * S, 0}, 0},
	{"the backup is 5 s early", {50 * S, 900 * S, NOW_NS, NOW_NS - 845 * S, 0}, 0},
	{"the backup is a year early", {50 * S, 900 * S, NOW_NS, NOW_NS + 31536000 * S, 0}, 0},
	{"they drift", {50 * S, 900 * S, NOW_NS, NOW_NS - 855 * S, 400}, 0},
	{"they drift the other way", {50 * S, 900 * S, NOW_NS, NOW_NS - 855 * S, -400}, 0},
	{"the primary was stepped forward", {50 * S, 900 * S, NOW_NS, NOW_NS - 850 * S, 0}, 7200 * S},
	{"the primary was stepped back", {50 * S, 900 * S, NOW_NS, NOW_NS - 850 * S, 100}, -7200 * S},
};

/* Whoever's wall clock is wrong on the backup: what the link measured carries the primary's time on. */
static void the_primarys_time_goes_on(void)
{
	static const struct remus_clock_sync sync[] = {{true, 2 * MS}, {false, 0}};
	int64_t measured = 1000 * S, pause = measured + 300 * MS, arrived = pause + 4 * MS;

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(cases_of_hosts); i++)
		for (int synced = 0; synced < 2; synced++)
			for (int64_t gap = 20 * MS; gap <= 40 * S; gap *= 4) {
				const struct hosts *h = &cases_of_hosts[i].hosts;
				struct remus_clock_known k =
					know(h, cases_of_hosts[i].step, measured, pause, arrived);
				struct remus_clock_reading now = at(h, pause + gap);
				struct remus_truth t;
				k.facts.sync = sync[synced];
				if (!synced)
					k.here = (struct remus_clock_sync){true, 1 * MS};
				remus_clock_truth(&k, &now, &t);
				int64_t right = raw_p(h, pause + gap) + h->wall_p;
				uint64_t off = (uint64_t)llabs(t.realtime_ns - right);
				if (off > t.error_ns)
					printf("\n    %s: off by %llu ns, said at most %llu\n",
					       cases_of_hosts[i].name, (unsigned long long)off,
					       (unsigned long long)t.error_ns);
				CU_ASSERT(off <= t.error_ns);
				CU_ASSERT(t.error_ns <= 300000u + 500u * (uint64_t)(gap / MS)); /* ns */
				CU_ASSERT(t.source == REMUS_TIME_PRIMARY);
				CU_ASSERT(t.floor_ns == k.facts.realtime_ns && t.shown_ns == t.floor_ns);
				CU_ASSERT(t.realtime_ns >= t.floor_ns);
				CU_ASSERT((uint64_t)llabs((int64_t)t.gap_ns - gap) <= t.gap_error_ns);
				CU_ASSERT(t.correction_ns == t.realtime_ns - t.shown_ns);
				CU_ASSERT(t.monotonic_ns == now.monotonic_ns && t.raw_ns == now.raw_ns);
				CU_ASSERT(t.utc_error_ns ==
					  (synced ? UINT64_MAX : t.error_ns + k.facts.sync.error_ns));
			}
}

/* The primary's clock was nobody's, this one's is UTC's. */
static void this_hosts_time_counts(void)
{
	const struct hosts h = {50 * S, 900 * S, NOW_NS + 3 * S, NOW_NS - 850 * S, 0};
	struct remus_clock_known k = know(&h, 0, S, 2 * S, 2 * S + 3 * MS);
	struct remus_clock_reading now = at(&h, 2 * S + 500 * MS);
	struct remus_truth t;

	k.here = (struct remus_clock_sync){true, 4 * MS};
	remus_clock_truth(&k, &now, &t);
	CU_ASSERT(t.source == REMUS_TIME_HERE);
	CU_ASSERT(t.realtime_ns == now.realtime_ns && t.error_ns == 0 && t.utc_error_ns == 4 * MS);
	CU_ASSERT(llabs(t.floor_ns - (now.realtime_ns - 500 * MS)) <= (int64_t)t.gap_error_ns);
	/* The guest had been shown 3 s more than was right: it loses that, but never goes back by itself. */
	CU_ASSERT(t.shown_ns == k.facts.realtime_ns);
	CU_ASSERT(llabs(t.correction_ns + 2500 * MS) <= (int64_t)t.gap_error_ns);

	k.here.synchronised = false;
	remus_clock_truth(&k, &now, &t);
	CU_ASSERT(t.source == REMUS_TIME_PRIMARY && t.utc_error_ns == UINT64_MAX);
}

/* Without a round trip measured: the pause came after the last ACK and before the epoch was here. */
static void without_an_offset(void)
{
	const struct hosts h = {50 * S, 900 * S, NOW_NS, NOW_NS - 855 * S, 0};
	struct remus_clock_known k = know(&h, 0, S, 2 * S, 2 * S + 4 * MS);
	struct remus_clock_reading now = at(&h, 3 * S);
	struct remus_truth t;

	k.offset = (struct remus_offset){0};
	remus_clock_truth(&k, &now, &t);
	CU_ASSERT(llabs(t.realtime_ns - (k.facts.realtime_ns + S)) <= (int64_t)t.error_ns);
	CU_ASSERT(t.error_ns >= 22 * MS && t.error_ns <= 23 * MS);

	/* A primary of release 0.1. */
	k = know(&h, 0, S, 2 * S, 2 * S + 4 * MS);
	k.facts.link_ns = 0;
	remus_clock_truth(&k, &now, &t);
	CU_ASSERT(t.error_ns >= 22 * MS && t.error_ns <= 23 * MS);
}

/* An offset that says that the pause came after its epoch was here is wrong, whoever's fault that is. */
static void an_offset_that_cannot_be(void)
{
	const struct hosts h = {50 * S, 900 * S, NOW_NS, NOW_NS - 855 * S, 0};

	for (int sign = -1; sign <= 1; sign += 2) {
		struct remus_clock_known k = know(&h, 0, S, 2 * S, 2 * S + 4 * MS);
		struct remus_clock_reading now = at(&h, 3 * S);
		struct remus_truth t;
		k.offset.offset_ns += sign * 10 * S;
		remus_clock_truth(&k, &now, &t);
		CU_ASSERT(llabs(t.realtime_ns - (k.facts.realtime_ns + S)) <= (int64_t)t.error_ns);
		CU_ASSERT(t.error_ns <= 23 * MS);
	}
}

/* At the caps of what a peer can say nothing overflows (UBSan), and the floor holds. */
static void hostile_facts(void)
{
	static const uint64_t extreme[] = {1, UINT64_C(4000000000000000000)};
	static const uint64_t peer[] = {0, UINT64_C(1795000000000000), UINT64_C(3200000000000000)};

	for (int i = 0; i < 2; i++)
		for (int j = 0; j < 2; j++)
			for (size_t n = 0; n < REMUS_ARRAY_SIZE(peer); n++) {
				const struct hosts h = {50 * S, 900 * S, NOW_NS, NOW_NS, 0};
				struct remus_clock_known k = know(&h, 0, S, 2 * S, 2 * S + 4 * MS);
				struct remus_clock_reading now = at(&h, 3 * S);
				struct remus_truth t;
				k.facts.realtime_ns = (int64_t)extreme[i];
				k.facts.link_ns = extreme[j];
				k.offset = (struct remus_offset){0};
				remus_offset_add(&k.offset, 1795000000000000, peer[n], peer[n],
						 1795000000000300);
				remus_clock_truth(&k, &now, &t);
				CU_ASSERT(t.realtime_ns >= t.floor_ns);
				CU_ASSERT(t.realtime_ns - t.floor_ns <= 1100 * MS);
			}
}

static void carried_on(void)
{
	const struct hosts h = {50 * S, 900 * S, NOW_NS, NOW_NS - 855 * S, 300};
	struct remus_clock_known k = know(&h, 0, S, 2 * S, 2 * S + 4 * MS);
	struct remus_clock_reading now = at(&h, 3 * S);
	struct remus_truth t, later;

	k.facts.sync = (struct remus_clock_sync){true, MS};
	remus_clock_truth(&k, &now, &t);
	now = at(&h, 13 * S);
	remus_clock_carry(&t, &now, &later);
	CU_ASSERT(later.realtime_ns == t.realtime_ns + 10 * S);
	CU_ASSERT(later.error_ns == t.error_ns + 5 * MS && later.utc_error_ns == t.utc_error_ns + 5 * MS);
	CU_ASSERT((uint64_t)llabs(later.realtime_ns - (raw_p(&h, 13 * S) + h.wall_p)) <= later.error_ns);
	CU_ASSERT(later.gap_ns == t.gap_ns && later.floor_ns == t.floor_ns);
	CU_ASSERT(later.monotonic_ns == now.monotonic_ns && later.raw_ns == now.raw_ns);

	now = at(&h, -20 * S); /* a moment before the pause: never below the floor */
	remus_clock_carry(&t, &now, &later);
	CU_ASSERT(later.realtime_ns == t.floor_ns);
	t.utc_error_ns = UINT64_MAX;
	remus_clock_carry(&t, &now, &later);
	CU_ASSERT(later.utc_error_ns == UINT64_MAX);
}

/* ---- coarse ---- */

/* A hypervisor's clock and whole seconds: late by up to 1.1 s, never early, whatever either clock shows. */
static void coarse(void)
{
	static const int64_t wall_off[] = {0, 5 * S, -5 * S, 5 * S + 1, -999999999, 86400 * S, -31536000 * S};
	static const struct remus_guest_clock guests[] = {{.offset_known = false},
							  {.offset_known = true, .offset_s = 0},
							  {.offset_known = true, .offset_s = -7200},
							  {.offset_known = true, .offset_s = 90}};
	/* The right time is the primary's, or this host's, which says 3 s more or less. */
	static const int64_t moved[] = {0, 3 * S, -3 * S};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(wall_off); i++)
		for (size_t g = 0; g < REMUS_ARRAY_SIZE(guests); g++)
			for (size_t m = 0; m < REMUS_ARRAY_SIZE(moved); m++) {
				struct remus_truth t = {.gap_ns = 400 * MS, .shown_ns = NOW_NS + 7};
				t.realtime_ns = t.shown_ns + (int64_t)t.gap_ns + moved[m];
				int64_t wall = t.realtime_ns + wall_off[i];
				int64_t offset = remus_clock_coarse(&t, &guests[g], wall);
				int64_t reads = wall + (offset - guests[g].offset_s) * S;
				int64_t most = t.shown_ns + (int64_t)t.gap_ns;
				most = most < t.realtime_ns ? most : t.realtime_ns;
				CU_ASSERT(reads <= most - REMUS_CLOCK_COARSE_NS);
				CU_ASSERT(reads > most - REMUS_CLOCK_COARSE_NS - S);
			}
}

/* ---- readings ---- */

static void readings(void)
{
	struct remus_clock_reading a, b;
	struct remus_clock_sync sync;

	remus_clock_read(&a);
	remus_clock_read(&b);
	CU_ASSERT(b.raw_ns >= a.raw_ns && b.monotonic_ns >= a.monotonic_ns && b.boottime_ns >= a.boottime_ns);
	CU_ASSERT(a.boottime_ns >= a.monotonic_ns && a.realtime_ns > 0);
	remus_clock_sync(&sync);
	CU_ASSERT(sync.synchronised || !sync.error_ns);
}

static const struct unit_case cases[] = {
	{"facts make the trip", facts_make_the_trip},
	{"facts of the first release", facts_of_the_first_release},
	{"facts of a later release", facts_of_a_later_release},
	{"facts that cannot be", facts_that_cannot_be},
	{"facts of a strange backend", facts_of_a_strange_backend},
	{"the primary's time goes on", the_primarys_time_goes_on},
	{"this host's time counts", this_hosts_time_counts},
	{"without an offset", without_an_offset},
	{"an offset that cannot be", an_offset_that_cannot_be},
	{"hostile facts", hostile_facts},
	{"carried on", carried_on},
	{"coarse", coarse},
	{"readings", readings},
};
UNIT_MAIN("clock", cases)
