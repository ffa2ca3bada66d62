/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The encoder against a model of the backup: whatever was committed, the backup's image equals the guest's
 * memory at that epoch, through any mixture of writes, evictions, sink failures and aborted epochs.
 */
#include "unit.h"
#include "unit-pages.h"
#include <xxhash.h>

#define PAGES	 512u
#define SLOT	 (REMUS_PAGE_SIZE + 16u)	       /* what a cached page costs */
#define INDEX	 4096u				       /* index of 512 pages, rounded up */
#define ROOM(n)	 (INDEX + 4096u + (n)*REMUS_PAGE_SIZE) /* a cap for n pages, n <= 256 */
#define ALL_ROOM (INDEX + 8192u + PAGES * REMUS_PAGE_SIZE)

/* A guest, its primary's encoder, the link and the backup, in one struct. */
struct rig {
	struct remus_encoder *encoder;
	size_t max_payload;
	uint8_t *guest, *image; /* PAGES pages each */
	bool dirty[PAGES];
	uint64_t seed, digest; /* of all bytes sent */
	/* the epoch on the wire */
	uint8_t *staged;
	size_t staged_bytes, sunk, fail_after; /* payloads */
};

static uint8_t *locate(void *context, uint64_t pfn)
{
	return ((struct rig *)context)->image + pfn * REMUS_PAGE_SIZE;
}

static int stage(void *context, const void *payload, size_t bytes, uint32_t pages, struct remus_error *err)
{
	struct rig *rig = context;
	if (rig->sunk++ == rig->fail_after)
		return remus_fail(err, -EPIPE, "the link broke");
	CU_ASSERT(bytes > 0 && bytes <= rig->max_payload);
	CU_ASSERT_EQUAL(remus_pages_check(payload, bytes, PAGES, NULL), pages);
	memcpy(rig->staged + rig->staged_bytes, payload, bytes);
	rig->staged_bytes += bytes;
	rig->digest = XXH3_64bits_withSeed(payload, bytes, rig->digest);
	return 0;
}

static void rig_open(struct rig *rig, uint64_t cache_bytes, unsigned threads, bool compress, bool delta)
{
	const struct remus_encoder_config config = {
		.guest_pages = PAGES,
		.cache_bytes = cache_bytes,
		.threads = threads,
		.compress = compress,
		.delta = delta,
	};
	*rig = (struct rig){.max_payload = 256 * 1024, .seed = 42, .digest = 1, .fail_after = SIZE_MAX};
	rig->guest = calloc(PAGES, REMUS_PAGE_SIZE);
	rig->image = calloc(PAGES, REMUS_PAGE_SIZE);
	rig->staged = malloc((size_t)PAGES * REMUS_PAGE_RECORD_MAX);
	CU_ASSERT_EQUAL_FATAL(remus_encoder_create(&config, &rig->encoder, NULL), 0);
}
static void rig_close(struct rig *rig)
{
	remus_encoder_destroy(rig->encoder);
	free(rig->guest);
	free(rig->image);
	free(rig->staged);
}

/* The guest runs: up to @max pages change, in one of the ways that pages change. */
static void guest_writes(struct rig *rig, unsigned max)
{
	for (uint64_t n = unit_below(&rig->seed, max + 1); n; n--) {
		uint64_t pfn = unit_below(&rig->seed, unit_below(&rig->seed, 2) ? PAGES : PAGES / 8);
		uint8_t *page = rig->guest + pfn * REMUS_PAGE_SIZE;
		switch (unit_below(&rig->seed, 8)) {
		case 0:
			memset(page, 0, REMUS_PAGE_SIZE);
			break;
		case 1:
			unit_fill_random(&rig->seed, page);
			break;
		case 2:
			unit_fill_text(&rig->seed, page);
			break;
		case 3: /* large delta: near each of the codec's bounds */
			unit_scribble(&rig->seed, page, 200 + (unsigned)unit_below(&rig->seed, 400));
			break;
		case 4: /* dirty, but unchanged */
			break;
		default:
			unit_scribble(&rig->seed, page, 1 + (unsigned)unit_below(&rig->seed, 20));
		}
		rig->dirty[pfn] = true;
	}
}

/* Copy the dirty pages, encode and stage them. The dirty set stays: commit() clears it. */
static int encode(struct rig *rig, uint64_t epoch)
{
	static uint64_t pfn[PAGES];
	size_t count = 0;
	uint8_t *copy = malloc((size_t)PAGES * REMUS_PAGE_SIZE);
	for (uint64_t i = 0; i < PAGES; i++)
		if (rig->dirty[i]) {
			memcpy(copy + count * REMUS_PAGE_SIZE, rig->guest + i * REMUS_PAGE_SIZE,
			       REMUS_PAGE_SIZE);
			pfn[count++] = i;
		}
	rig->staged_bytes = rig->sunk = 0;
	int rc = remus_encoder_run(rig->encoder, epoch, pfn, copy, count, rig->max_payload, stage, rig, NULL);
	free(copy); /* now, so that ASan sees a worker that lags behind */
	return rc;
}
static void commit(struct rig *rig)
{
	CU_ASSERT(remus_pages_apply(rig->staged, rig->staged_bytes, PAGES, locate, rig, NULL) >= 0);
	memset(rig->dirty, 0, sizeof rig->dirty);
}
static bool equal(const struct rig *rig)
{
	return !memcmp(rig->guest, rig->image, (size_t)PAGES * REMUS_PAGE_SIZE);
}
static struct remus_encoder_stats stats_of(const struct rig *rig)
{
	struct remus_encoder_stats s;
	remus_encoder_stats(rig->encoder, &s);
	CU_ASSERT_EQUAL(s.pages, s.zero + s.raw + s.lz4 + s.delta + s.same);
	CU_ASSERT_EQUAL(s.bytes_in, s.pages * REMUS_PAGE_SIZE);
	CU_ASSERT(s.cache_bytes <= s.cache_cap);
	return s;
}
/* Mark [first, first + count) dirty with small changes to random content. */
static void touch(struct rig *rig, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++) {
		uint8_t *page = rig->guest + i * REMUS_PAGE_SIZE;
		if (remus_page_is_zero(page))
			unit_fill_random(&rig->seed, page);
		unit_scribble(&rig->seed, page, 5);
		rig->dirty[i] = true;
	}
}
static void step(struct rig *rig, uint64_t epoch)
{
	CU_ASSERT_EQUAL(encode(rig, epoch), 0);
	commit(rig);
	CU_ASSERT(equal(rig));
}

/* Sixty epochs, some of them given up; returns the digest of everything sent. */
static uint64_t drive(struct rig *rig)
{
	for (unsigned i = 0; i < PAGES; i++)
		rig->dirty[i] = true;
	for (uint64_t epoch = 0; epoch < 60; epoch++) {
		guest_writes(rig, 150);
		unsigned fate = (unsigned)unit_below(&rig->seed, 6);
		rig->fail_after = fate == 0 ? unit_below(&rig->seed, 4) : SIZE_MAX;
		int rc = encode(rig, epoch);
		CU_ASSERT(rc == 0 || (rc == -EPIPE && fate == 0));
		if (rc || fate == 1) /* sent in part or whole, not acknowledged */
			remus_encoder_abort(rig->encoder, epoch);
		else
			commit(rig);
		stats_of(rig);
		if (!rc && fate != 1 && !equal(rig)) {
			printf("\n    image differs at epoch %d\n", (int)epoch);
			CU_FAIL("image differs");
			break;
		}
	}
	return rig->digest;
}

static void image_follows_the_guest(void)
{
	static const uint64_t caps[] = {0, 4096, ROOM(1), ROOM(3), ROOM(40), ALL_ROOM, UINT64_C(1) << 40};
	static const size_t payloads[] = {REMUS_PAGE_RECORD_MAX, 10000, 256 * 1024, SIZE_MAX};
	for (size_t c = 0; c < REMUS_ARRAY_SIZE(caps); c++) {
		uint64_t digest = 0;
		for (unsigned threads = 0; threads < 3; threads++) {
			struct rig rig;
			rig_open(&rig, caps[c], threads, true, true);
			rig.max_payload = payloads[c % REMUS_ARRAY_SIZE(payloads)];
			uint64_t d = drive(&rig);
			/* the same bytes, whoever encodes them */
			CU_ASSERT(!threads || d == digest);
			digest = d;
			rig_close(&rig);
		}
	}
}

static void encodings_can_be_switched_off(void)
{
	for (unsigned bits = 0; bits < 4; bits++) {
		struct rig rig;
		rig_open(&rig, ALL_ROOM, 1, bits & 1, bits & 2);
		drive(&rig);
		struct remus_encoder_stats s = stats_of(&rig);
		CU_ASSERT_EQUAL(s.lz4 > 0, bits & 1);
		CU_ASSERT_EQUAL(s.delta > 0, (bits & 2) != 0);
		CU_ASSERT(s.raw > 0 && s.zero > 0);
		rig_close(&rig);
	}
}

/* An epoch that was encoded and lost; then the same pages under the next. Without abort the image is wrong. */
static void abort_is_needed_and_enough(void)
{
	for (unsigned aborts = 0; aborts < 2; aborts++)
		for (unsigned lost = 1; lost <= 2; lost++) { /* epochs in flight when the link broke */
			struct rig rig;
			rig_open(&rig, ALL_ROOM, 1, true, true);
			touch(&rig, 0, 100);
			step(&rig, 1);
			for (unsigned i = 0; i < lost; i++) {
				touch(&rig, 50, 20);
				CU_ASSERT_EQUAL(encode(&rig, 2 + i), 0);
			}
			if (aborts)
				remus_encoder_abort(rig.encoder, 2);
			CU_ASSERT_EQUAL(encode(&rig, 2 + lost), 0);
			commit(&rig);
			CU_ASSERT_EQUAL(equal(&rig), aborts);
			rig_close(&rig);
		}
}

static void abort_keeps_what_was_committed(void)
{
	struct rig rig;
	rig_open(&rig, ALL_ROOM, 0, true, true);
	touch(&rig, 0, 100);
	step(&rig, 1);
	touch(&rig, 90, 20);
	CU_ASSERT_EQUAL(encode(&rig, 2), 0);
	uint64_t before = stats_of(&rig).delta;
	remus_encoder_abort(rig.encoder, 2);
	touch(&rig, 0, 90);
	step(&rig, 3);
	CU_ASSERT_EQUAL(stats_of(&rig).delta - before, 90);
	rig_close(&rig);
}

/* A page that equals what the backup has isn't sent: unless the epoch that brought it there was given up. */
static void what_the_backup_has_is_not_sent(void)
{
	struct rig rig;
	rig_open(&rig, ALL_ROOM, 1, true, true);
	touch(&rig, 0, 100);
	step(&rig, 1);
	touch(&rig, 40, 10);
	memset(rig.dirty, 1, 100);
	step(&rig, 2);
	CU_ASSERT_EQUAL(stats_of(&rig).same, 90);
	memset(rig.dirty, 1, 100);
	step(&rig, 3);
	CU_ASSERT_EQUAL(stats_of(&rig).same, 190);
	CU_ASSERT_EQUAL(rig.staged_bytes, 0);
	touch(&rig, 0, 5);
	CU_ASSERT_EQUAL(encode(&rig, 4), 0); /* never gets there */
	remus_encoder_abort(rig.encoder, 4);
	step(&rig, 5);
	CU_ASSERT_EQUAL(stats_of(&rig).same, 190);
	rig_close(&rig);
}

/* The sink fails at one payload or another; its code comes back and the next epoch is right. */
static void sink_failures(void)
{
	for (unsigned threads = 0; threads < 3; threads++)
		for (size_t at = 0; at < 40; at += 3) {
			struct rig rig;
			rig_open(&rig, ALL_ROOM, threads, true, true);
			rig.max_payload = 2 * REMUS_PAGE_RECORD_MAX;
			touch(&rig, 0, PAGES);
			step(&rig, 1);
			touch(&rig, 0, PAGES);
			rig.fail_after = at;
			int rc = encode(&rig, 2);
			CU_ASSERT_EQUAL(rc, at < rig.sunk ? -EPIPE : 0);
			remus_encoder_abort(rig.encoder, 2);
			rig.fail_after = SIZE_MAX;
			step(&rig, 3);
			rig_close(&rig);
		}
}

static void cap_holds(void)
{
	static const unsigned rooms[] = {1, 2, 31, 100, 256};
	for (size_t r = 0; r < REMUS_ARRAY_SIZE(rooms); r++) {
		struct rig rig;
		unsigned room = rooms[r];
		rig_open(&rig, ROOM(room), 1, true, true);
		touch(&rig, 0, PAGES);
		step(&rig, 0);
		struct remus_encoder_stats first = stats_of(&rig);
		CU_ASSERT_EQUAL(first.cache_bytes, INDEX + (uint64_t)room * SLOT);
		CU_ASSERT_EQUAL(first.cache_evictions, 0); /* a first full copy doesn't thrash */
		/* a working set larger than the cache: what is in stays in and hits each time */
		for (uint64_t epoch = 1; epoch < 6; epoch++) {
			touch(&rig, 0, PAGES);
			step(&rig, epoch);
			CU_ASSERT_EQUAL(stats_of(&rig).cache_hits, epoch * room);
		}
		rig_close(&rig);
	}
}

static void working_set_moves_in(void)
{
	struct rig rig;
	rig_open(&rig, ROOM(64), 0, true, true);
	uint64_t epoch = 0;
	for (; epoch < 10; epoch++) {
		touch(&rig, 0, 64);
		step(&rig, epoch);
	}
	for (; epoch < 40; epoch++) {
		touch(&rig, 200, 64);
		step(&rig, epoch);
	}
	uint64_t hits = stats_of(&rig).cache_hits;
	touch(&rig, 200, 64);
	step(&rig, epoch);
	CU_ASSERT_EQUAL(stats_of(&rig).cache_hits - hits, 64);
	CU_ASSERT_EQUAL(stats_of(&rig).cache_evictions, 64);
	rig_close(&rig);
}

/* A page sent as ZERO gives its slot back, and its next content does not build on the one before. */
static void zero_pages_need_no_room(void)
{
	struct rig rig;
	rig_open(&rig, ALL_ROOM, 0, true, true);
	touch(&rig, 0, 10);
	step(&rig, 1);
	memset(rig.guest, 0, 10 * REMUS_PAGE_SIZE);
	memset(rig.dirty, 1, 10);
	step(&rig, 2);
	CU_ASSERT_EQUAL(stats_of(&rig).cache_bytes, INDEX);
	touch(&rig, 0, 10);
	step(&rig, 3);
	CU_ASSERT_EQUAL(stats_of(&rig).delta, 0);
	CU_ASSERT_EQUAL(stats_of(&rig).zero, 10);
	rig_close(&rig);
}

static void misuse_is_refused(void)
{
	static const struct remus_encoder_config bad[] = {
		{.guest_pages = 0},
		{.guest_pages = REMUS_PFN_MAX + 1},
		{.guest_pages = 1, .threads = 16},
	};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_encoder *encoder = NULL;
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++)
		CU_ASSERT_EQUAL(remus_encoder_create(&bad[i], &encoder, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "16 threads");

	struct rig rig;
	rig_open(&rig, ALL_ROOM, 1, true, true);
	static const uint8_t data[3 * REMUS_PAGE_SIZE];
	const uint64_t pfn[] = {1, PAGES, 2};
	CU_ASSERT_EQUAL(remus_encoder_run(rig.encoder, 1, pfn, data, 3, 9000, stage, &rig, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "pfn 512");
	CU_ASSERT_EQUAL(
		remus_encoder_run(rig.encoder, 1, pfn, data, 1, REMUS_PAGE_RECORD_MAX - 1, stage, &rig, &err),
		-EINVAL);
	CU_ASSERT_EQUAL(remus_encoder_run(rig.encoder, 1, pfn, data, 0, 9000, stage, &rig, &err), 0);
	CU_ASSERT_EQUAL(rig.sunk, 0);
	rig_close(&rig);
}

static const struct unit_case cases[] = {
	{"the image follows the guest", image_follows_the_guest},
	{"encodings can be switched off", encodings_can_be_switched_off},
	{"abort is needed and enough", abort_is_needed_and_enough},
	{"abort keeps what was committed", abort_keeps_what_was_committed},
	{"what the backup has is not sent", what_the_backup_has_is_not_sent},
	{"sink failures", sink_failures},
	{"the cap holds", cap_holds},
	{"a new working set moves in", working_set_moves_in},
	{"zero pages need no room", zero_pages_need_no_room},
	{"misuse is refused", misuse_is_refused},
};
UNIT_MAIN("pages-encoder", cases)
