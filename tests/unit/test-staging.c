/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Staging: what may become an epoch of the standby, and what may not. Whatever is wrong with what came, nothing of
 * it reaches the image (I2, I3), and nothing is kept beyond the cap (I11).
 */
#include "remus/pages.h"
#include "replicator/staging.h"
#include "unit.h"

#define PAGES 8u

/* A standby that is only memory. */
struct memory {
	struct remus_standby base;
	uint8_t page[PAGES][REMUS_PAGE_SIZE];
	uint64_t epoch;
	uint8_t state[64];
	size_t state_bytes;
	int commits, fail;
};

static uint8_t *memory_page(struct remus_standby *s, uint64_t pfn)
{
	return ((struct memory *)s)->page[pfn];
}

static int memory_commit(struct remus_standby *s, uint64_t epoch, const uint8_t *state, size_t bytes,
			 struct remus_error *err)
{
	struct memory *m = (struct memory *)s;

	if (m->fail)
		return remus_fail(err, m->fail, "no commit today");
	m->epoch = epoch;
	m->state_bytes = bytes;
	memcpy(m->state, state, bytes < sizeof m->state ? bytes : sizeof m->state);
	m->commits++;
	return 0;
}

static const struct remus_standby_ops memory_ops = {.page = memory_page, .commit = memory_commit};
static struct memory standby;
static struct staging staging;
static struct remus_commit totals; /* what an honest COMMIT says */
static uint64_t checksum;

static void begin(void)
{
	memset(&standby, 0, sizeof standby);
	standby.base.ops = &memory_ops;
	memset(&totals, 0, sizeof totals);
	staging_init(&staging, PAGES, 0);
}

/* A frame as the link would hand it over. */
static struct remus_frame frame_of(uint16_t type, const void *payload, size_t bytes)
{
	struct remus_frame f = {.header = {.version = REMUS_WIRE_VERSION,
					   .type = type,
					   .length = (uint32_t)bytes,
					   .checksum = ++checksum}};
	f.payload = malloc(bytes ? bytes : 1);
	memcpy(f.payload, payload, bytes);
	return f;
}

static int add(uint64_t epoch, uint16_t type, const void *payload, size_t bytes, struct remus_error *err)
{
	struct remus_frame f = frame_of(type, payload, bytes);
	int rc = staging_add(&staging, epoch, &f, err);

	if (rc == 0 && type == REMUS_FRAME_PAGES) {
		CU_ASSERT_PTR_NULL(f.payload); /* taken */
		totals.page_bytes += bytes;
	} else if (rc == 0) {
		totals.state_bytes += bytes;
	}
	totals.digest = staging.digest.value;
	free(f.payload);
	return rc;
}

static size_t raw_page(uint8_t *out, uint64_t pfn, uint8_t fill)
{
	remus_put_le64(out, pfn | (uint64_t)REMUS_PAGE_RAW << 40 | (uint64_t)REMUS_PAGE_SIZE << 48);
	memset(out + 8, fill, REMUS_PAGE_SIZE);
	return REMUS_PAGE_RECORD_MAX;
}

static void add_page(uint64_t epoch, uint64_t pfn, uint8_t fill)
{
	uint8_t record[REMUS_PAGE_RECORD_MAX];

	CU_ASSERT_EQUAL(add(epoch, REMUS_FRAME_PAGES, record, raw_page(record, pfn, fill), NULL), 0);
	totals.pages++;
}

static size_t section(uint8_t *out, uint16_t kind, uint16_t flags, const char *body, size_t bytes)
{
	size_t padding = remus_section_head(out, kind, flags, (uint32_t)bytes);

	memcpy(out + REMUS_SECTION_HEADER, body, bytes);
	memset(out + REMUS_SECTION_HEADER + bytes, 0, padding);
	return REMUS_SECTION_HEADER + bytes + padding;
}

static void add_device(uint64_t epoch)
{
	uint8_t state[64];
	size_t n = section(state, REMUS_SECTION_DEVICE, REMUS_SECTION_MANDATORY, "state", 5);

	CU_ASSERT_EQUAL(add(epoch, REMUS_FRAME_STATE, state, n, NULL), 0);
}

static void untouched(void)
{
	static const uint8_t zero[PAGES][REMUS_PAGE_SIZE];

	CU_ASSERT_EQUAL(memcmp(standby.page, zero, sizeof zero), 0);
	CU_ASSERT_EQUAL(standby.commits, 0);
}

static void whole_epochs_are_applied(void)
{
	struct remus_error err = REMUS_ERROR_INIT;

	begin();
	for (uint64_t epoch = 1; epoch <= 3; epoch++) {
		memset(&totals, 0, sizeof totals);
		add_page(epoch, epoch, (uint8_t)epoch);
		add_page(epoch, 7, (uint8_t)(epoch * 16));
		add_device(epoch);
		CU_ASSERT(staging_bytes(&staging) > 2 * REMUS_PAGE_SIZE);
		CU_ASSERT_EQUAL(staging_verify(&staging, epoch, &totals, &err), 0);
		CU_ASSERT_EQUAL(standby.page[epoch][0], 0); /* verified isn't applied */
		CU_ASSERT_EQUAL(staging_apply(&staging, &standby.base, &err), 0);
		CU_ASSERT_EQUAL(standby.page[epoch][4095], epoch);
		CU_ASSERT_EQUAL(standby.page[7][0], epoch * 16);
		CU_ASSERT_EQUAL(standby.epoch, epoch);
		CU_ASSERT(standby.state_bytes == 5 && !memcmp(standby.state, "state", 5));
		CU_ASSERT_EQUAL(staging_bytes(&staging), 0);
	}
	/* An epoch without a page is whole, too. */
	memset(&totals, 0, sizeof totals);
	add_device(4);
	CU_ASSERT_EQUAL(staging_verify(&staging, 4, &totals, &err), 0);
	CU_ASSERT_EQUAL(staging_apply(&staging, &standby.base, &err), 0);
	CU_ASSERT_EQUAL(standby.commits, 4);
	CU_ASSERT_STRING_EQUAL(err.message, "");
}

/* Each total of the COMMIT must be what came; so must the digest. */
static void incomplete_epochs(void)
{
	static const struct {
		int pages, page_bytes, state_bytes;
		uint64_t digest;
		const char *word;
	} wrong[] = {
		{1, 0, 0, 0, "1 of 2 pages"},
		{-1, 0, 0, 0, "incomplete"},
		{0, 8, 0, 0, "page bytes"},
		{0, 0, 8, 0, "state bytes"},
		{0, 0, -8, 0, "incomplete"},
		{0, 0, 0, 1, "digest"},
		{0, 0, 0, UINT64_C(1) << 63, "digest"},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(wrong); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		begin();
		add_page(1, 1, 0xaa);
		add_device(1);
		struct remus_commit commit = totals;
		commit.pages += (uint64_t)wrong[i].pages;
		commit.page_bytes += (uint64_t)wrong[i].page_bytes;
		commit.state_bytes += (uint64_t)wrong[i].state_bytes;
		commit.digest ^= wrong[i].digest;
		CU_ASSERT_EQUAL(staging_verify(&staging, 1, &commit, &err), -EBADMSG);
		UNIT_ASSERT_MESSAGE(err, wrong[i].word);
		untouched();
		staging_clear(&staging);
	}
}

static void wrong_epochs(void)
{
	struct remus_error err = REMUS_ERROR_INIT;

	begin();
	CU_ASSERT_EQUAL(staging_verify(&staging, 1, &totals, &err), -EBADMSG);
	UNIT_ASSERT_MESSAGE(err, "nothing came");
	add_page(1, 1, 1);
	add_device(1);
	CU_ASSERT_EQUAL(staging_verify(&staging, 2, &totals, &err), -EBADMSG);
	/* A frame of another epoch: the one begun before is forgotten, not mixed in. */
	memset(&totals, 0, sizeof totals);
	add_page(2, 2, 2);
	add_device(2);
	CU_ASSERT_EQUAL(staging_verify(&staging, 2, &totals, &err), 0);
	CU_ASSERT_EQUAL(staging_apply(&staging, &standby.base, &err), 0);
	CU_ASSERT_EQUAL(standby.page[1][0], 0);
	CU_ASSERT_EQUAL(standby.page[2][0], 2);
}

static void malformed_pages(void)
{
	uint8_t record[2 * REMUS_PAGE_RECORD_MAX];
	struct remus_error err = REMUS_ERROR_INIT;

	begin();
	CU_ASSERT_EQUAL(add(1, REMUS_FRAME_PAGES, record, raw_page(record, PAGES, 1), &err), -EBADMSG);
	CU_ASSERT_EQUAL(add(1, REMUS_FRAME_PAGES, record, raw_page(record, 1, 1) - 1, &err), -EBADMSG);
	CU_ASSERT_EQUAL(add(1, REMUS_FRAME_PAGES, "short", 5, &err), -EBADMSG);
	remus_put_le64(record, 1 | (uint64_t)77 << 40);
	CU_ASSERT_EQUAL(add(1, REMUS_FRAME_PAGES, record, 8, &err), -EBADMSG);
	/* One good record before a bad one saves nothing of the frame. */
	size_t n = raw_page(record, 1, 1);
	CU_ASSERT_EQUAL(add(1, REMUS_FRAME_PAGES, record, n + raw_page(record + n, PAGES + 1, 1), &err),
			-EBADMSG);
	CU_ASSERT_EQUAL(staging.frames, 0);
	CU_ASSERT_EQUAL(staging.pages, 0);
	untouched();
	staging_clear(&staging);
}

static void malformed_state(void)
{
	static const struct {
		uint16_t kind, flags;
		size_t cut;
		int rc;
		const char *word;
	} table[] = {
		{REMUS_SECTION_DEVICE, REMUS_SECTION_MANDATORY, 0, 0, ""},
		{REMUS_SECTION_DEVICE, REMUS_SECTION_MANDATORY, 1, -EBADMSG, ""},
		{REMUS_SECTION_DEVICE, REMUS_SECTION_MANDATORY, 10, -EBADMSG, ""},
		{REMUS_SECTION_CLOCK, 0, 0, -EBADMSG, "5 bytes of clock facts"},
		{999, 0, 0, -EBADMSG, "no device state"}, /* optional and unknown: skipped */
		{999, REMUS_SECTION_MANDATORY, 0, -EBADMSG, "999"},
		{REMUS_SECTION_ADDRESSES, 0, 0, -EBADMSG, ""},	/* "state" is no table */
		{REMUS_SECTION_AGENT, 0, 0, -EBADMSG, "AGENT"}, /* ... and no agent */
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		uint8_t state[64];
		begin();
		add_page(1, 1, 1);
		size_t n = section(state, table[i].kind, table[i].flags, "state", 5) - table[i].cut;
		CU_ASSERT_EQUAL(add(1, REMUS_FRAME_STATE, state, n, &err), 0);
		CU_ASSERT_EQUAL(staging_verify(&staging, 1, &totals, &err), table[i].rc);
		UNIT_ASSERT_MESSAGE(err, table[i].word);
		untouched();
		staging_clear(&staging);
	}
	/* No state at all. */
	struct remus_error err = REMUS_ERROR_INIT;
	begin();
	add_page(1, 1, 1);
	CU_ASSERT_EQUAL(staging_verify(&staging, 1, &totals, &err), -EBADMSG);
	UNIT_ASSERT_MESSAGE(err, "no device state");
	staging_clear(&staging);
}

/* The agent of an epoch is that epoch's: one without it has none, whatever the one before had. */
static void agents_come_and_go(void)
{
	const struct remus_agent_section agent = {.wait_ms = 500, .version = "0.1.0"};
	uint8_t body[REMUS_AGENT_SECTION_MAX], state[128];

	begin();
	for (uint64_t epoch = 1; epoch <= 3; epoch++) {
		add_page(epoch, 1, 1);
		size_t n = section(state, REMUS_SECTION_DEVICE, REMUS_SECTION_MANDATORY, "state", 5);
		if (epoch != 2)
			n += section(state + n, REMUS_SECTION_AGENT, 0, (const char *)body,
				     remus_agent_section_encode(&agent, body));
		CU_ASSERT_EQUAL(add(epoch, REMUS_FRAME_STATE, state, n, NULL), 0);
		CU_ASSERT_EQUAL(staging_verify(&staging, epoch, &totals, NULL), 0);
		CU_ASSERT_STRING_EQUAL(staging.agent.version, epoch == 2 ? "" : "0.1.0");
		CU_ASSERT_EQUAL(staging.agent.wait_ms, epoch == 2 ? 0 : 500);
		staging_clear(&staging);
		memset(&totals, 0, sizeof totals);
	}
	CU_ASSERT_STRING_EQUAL(staging.agent.version, "");
}

static void state_comes_in_pieces(void)
{
	static const char clocks[24] = {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3,
					4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7};
	struct remus_error err = REMUS_ERROR_INIT;
	uint8_t state[128];
	size_t n = section(state, 999, 0, "skipped", 7);

	n += section(state + n, REMUS_SECTION_DEVICE, REMUS_SECTION_MANDATORY, "device state", 12);
	n += section(state + n, REMUS_SECTION_CLOCK, 0, clocks, sizeof clocks);
	begin();
	for (size_t i = 0; i < n; i++)
		CU_ASSERT_EQUAL(add(1, REMUS_FRAME_STATE, state + i, 1, &err), 0);
	CU_ASSERT_EQUAL(staging_verify(&staging, 1, &totals, &err), 0);
	CU_ASSERT_EQUAL(staging.clock.realtime_ns, 0x0706050403020100);
	CU_ASSERT_EQUAL(staging.clock.monotonic_ns, 0x0706050403020100);
	CU_ASSERT_FALSE(staging.clock.complete);
	CU_ASSERT_EQUAL(staging_apply(&staging, &standby.base, &err), 0);
	CU_ASSERT(standby.state_bytes == 12 && !memcmp(standby.state, "device state", 12));
}

/* I11: a primary gone mad can't fill the backup's memory. */
static void caps(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	uint8_t *much = calloc(1, REMUS_STATE_PAYLOAD_MAX);
	uint8_t record[REMUS_PAGE_RECORD_MAX];
	int rc = 0;

	begin();
	CU_ASSERT_EQUAL(staging.cap, PAGES * REMUS_PAGE_RECORD_MAX + REMUS_STATE_TOTAL_MAX);
	for (uint64_t i = 0; i <= REMUS_STATE_TOTAL_MAX / REMUS_STATE_PAYLOAD_MAX && rc == 0; i++)
		rc = add(1, REMUS_FRAME_STATE, much, REMUS_STATE_PAYLOAD_MAX, &err);
	CU_ASSERT_EQUAL(rc, -E2BIG);
	CU_ASSERT_EQUAL(staging.state_bytes, REMUS_STATE_TOTAL_MAX);
	CU_ASSERT(staging_bytes(&staging) <= 2 * (uint64_t)REMUS_STATE_TOTAL_MAX);
	staging_clear(&staging);

	/* A smaller guest's cap; an epoch that has begun keeps it. */
	CU_ASSERT_EQUAL(add(1, REMUS_FRAME_PAGES, record, raw_page(record, 1, 1), &err), 0);
	staging.cap = 3 * REMUS_PAGE_RECORD_MAX;
	CU_ASSERT_EQUAL(add(1, REMUS_FRAME_PAGES, record, REMUS_PAGE_RECORD_MAX, &err), 0);
	CU_ASSERT_EQUAL(add(1, REMUS_FRAME_PAGES, record, REMUS_PAGE_RECORD_MAX, &err), -E2BIG);
	UNIT_ASSERT_MESSAGE(err, "guest of 8 pages");
	/* Many small frames cost more than their bytes. */
	remus_put_le64(record, 1);
	for (rc = 0; rc == 0;)
		rc = add(1, REMUS_FRAME_PAGES, record, REMUS_PAGE_RECORD, &err);
	CU_ASSERT_EQUAL(rc, -E2BIG);
	CU_ASSERT(staging.frames < 100);
	staging_clear(&staging);
	CU_ASSERT_EQUAL(staging_bytes(&staging), 0);
	free(much);
}

static void failed_commit_keeps_the_epoch(void)
{
	struct remus_error err = REMUS_ERROR_INIT;

	begin();
	add_page(1, 1, 1);
	add_device(1);
	CU_ASSERT_EQUAL(staging_verify(&staging, 1, &totals, &err), 0);
	standby.fail = -EIO;
	CU_ASSERT_EQUAL(staging_apply(&staging, &standby.base, &err), -EIO);
	UNIT_ASSERT_MESSAGE(err, "no commit today");
	standby.fail = 0;
	CU_ASSERT_EQUAL(staging_apply(&staging, &standby.base, &err), 0);
	CU_ASSERT_EQUAL(standby.epoch, 1);
}

static const struct unit_case cases[] = {
	{"whole epochs are applied", whole_epochs_are_applied},
	{"incomplete epochs, wrong digest", incomplete_epochs},
	{"wrong epochs", wrong_epochs},
	{"malformed pages", malformed_pages},
	{"malformed state", malformed_state},
	{"agents come and go (I3)", agents_come_and_go},
	{"state comes in pieces", state_comes_in_pieces},
	{"caps", caps},
	{"a failed commit keeps the epoch", failed_commit_keeps_the_epoch},
};
UNIT_MAIN("staging", cases)
