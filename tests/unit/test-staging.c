/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's staging: what may be acknowledged (I2) and what must not, and that nothing of a bad epoch reaches
 * the standby's image (I3). Frames are made by the real codec.
 */
#include <sys/uio.h>
#include "remus/pages.h"
#include "replicator/staging.h"
#include "unit.h"

#define PAGES 16

/* A standby that is only an image. */
struct image {
	struct remus_standby base;
	uint8_t page[PAGES][REMUS_PAGE_SIZE];
	uint64_t epoch;
	size_t state_bytes;
	int fail;
};

static uint8_t *image_page(struct remus_standby *standby, uint64_t pfn)
{
	return ((struct image *)standby)->page[pfn];
}

static int image_commit(struct remus_standby *standby, uint64_t epoch, const uint8_t *state, size_t bytes,
			struct remus_error *err)
{
	struct image *image = (struct image *)standby;

	CU_ASSERT(bytes == 0 || state != NULL);
	if (image->fail)
		return remus_fail(err, -EIO, "no room for epoch %llu", (unsigned long long)epoch);
	image->epoch = epoch;
	image->state_bytes = bytes;
	return 0;
}

static const struct remus_standby_ops image_ops = {
	.backend = "image", .page = image_page, .commit = image_commit};
static struct image image;
static struct staging staging;
static struct remus_digest digest;
static struct remus_commit commit;

static void begin(void)
{
	staging_clear(&staging);
	staging_init(&staging, PAGES);
	memset(&image, 0, sizeof image);
	image.base.ops = &image_ops;
	digest.value = 0;
	memset(&commit, 0, sizeof commit);
}

/* Make a frame of @payload and stage it as part of @epoch; the COMMIT that fits is kept up to date. */
static int add(uint64_t epoch, uint16_t type, const void *payload, size_t bytes, uint64_t pages,
	       struct remus_error *err)
{
	uint8_t head[REMUS_FRAME_HEADER];
	struct iovec part = {.iov_base = (void *)payload, .iov_len = bytes};
	struct remus_frame frame = {
		.header = {.type = type, .epoch = epoch, .length = (uint32_t)bytes, .sequence = 1},
		.payload = malloc(bytes ? bytes : 1),
	};
	memcpy(frame.payload, payload, bytes);
	remus_frame_pack(head, &frame.header, &part, 1);
	int rc = staging_add(&staging, epoch, &frame, err);
	free(frame.payload); /* NULL when it was taken */
	if (rc < 0)
		return rc;
	remus_digest_add(&digest, &frame.header);
	commit.digest = digest.value;
	if (type == REMUS_FRAME_PAGES) {
		commit.pages += pages;
		commit.page_bytes += bytes;
	} else {
		commit.state_bytes += bytes;
	}
	return 0;
}

static int add_page(uint64_t epoch, uint64_t pfn, uint8_t fill, struct remus_error *err)
{
	uint8_t record[REMUS_PAGE_RECORD + REMUS_PAGE_SIZE];

	remus_put_le64(record, pfn | (uint64_t)REMUS_PAGE_RAW << 40 | (uint64_t)REMUS_PAGE_SIZE << 48);
	memset(record + REMUS_PAGE_RECORD, fill, REMUS_PAGE_SIZE);
	return add(epoch, REMUS_FRAME_PAGES, record, sizeof record, 1, err);
}

static int add_section(uint64_t epoch, uint16_t kind, uint16_t flags, struct remus_error *err)
{
	uint8_t section[REMUS_SECTION_HEADER + 8] = {0};

	remus_section_head(section, kind, flags, 8);
	return add(epoch, REMUS_FRAME_STATE, section, sizeof section, 0, err);
}

static void good_epoch(uint64_t epoch, uint64_t pfn, uint8_t fill)
{
	struct remus_error err = REMUS_ERROR_INIT;

	CU_ASSERT_EQUAL(add_page(epoch, pfn, fill, &err), 0);
	CU_ASSERT_EQUAL(add_section(epoch, REMUS_SECTION_DEVICE, REMUS_SECTION_MANDATORY, &err), 0);
}

static void complete_epochs_are_applied(void)
{
	struct remus_error err = REMUS_ERROR_INIT;

	begin();
	for (uint64_t n = 1; n <= 3; n++) {
		digest.value = 0;
		memset(&commit, 0, sizeof commit);
		good_epoch(n, n, (uint8_t)n);
		CU_ASSERT_EQUAL(image.page[n][0], 0); /* staged, not applied */
		CU_ASSERT_EQUAL(staging_verify(&staging, n, &commit, &err), 0);
		CU_ASSERT_EQUAL(staging_apply(&staging, &image.base, &err), 0);
		CU_ASSERT_EQUAL(image.epoch, n);
		CU_ASSERT_EQUAL(image.state_bytes, 8);
		CU_ASSERT_EQUAL(image.page[n][4095], n);
		CU_ASSERT_EQUAL(staging_bytes(&staging), 0);
	}
}

/* I2: each difference between what came and what was announced keeps the ack back. */
static void incomplete_epochs_are_refused(void)
{
	static const struct {
		size_t offset;
		const char *word;
	} wrong[] = {
		{offsetof(struct remus_commit, pages), "incomplete"},
		{offsetof(struct remus_commit, page_bytes), "incomplete"},
		{offsetof(struct remus_commit, state_bytes), "incomplete"},
		{offsetof(struct remus_commit, digest), "digest"},
	};
	struct remus_error err = REMUS_ERROR_INIT;

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(wrong); i++) {
		begin();
		good_epoch(1, 2, 7);
		*(uint64_t *)((uint8_t *)&commit + wrong[i].offset) += 1;
		CU_ASSERT_EQUAL(staging_verify(&staging, 1, &commit, &err), -EBADMSG);
		UNIT_ASSERT_MESSAGE(err, wrong[i].word);
	}
	begin();
	good_epoch(1, 2, 7);
	CU_ASSERT_EQUAL(staging_verify(&staging, 2, &commit, &err), -EBADMSG);
	UNIT_ASSERT_MESSAGE(err, "nothing came");
}

static void order_is_part_of_the_digest(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	uint64_t forward;

	begin();
	add_page(1, 1, 1, &err);
	add_page(1, 2, 2, &err);
	forward = commit.digest;
	begin();
	add_page(1, 2, 2, &err);
	add_page(1, 1, 1, &err);
	CU_ASSERT_NOT_EQUAL(commit.digest, forward);
}

static void state_must_be_usable(void)
{
	struct remus_error err = REMUS_ERROR_INIT;

	begin(); /* pages alone */
	add_page(1, 1, 1, &err);
	CU_ASSERT_EQUAL(staging_verify(&staging, 1, &commit, &err), -EBADMSG);
	UNIT_ASSERT_MESSAGE(err, "no device state");

	begin(); /* a section that a later version may demand */
	good_epoch(1, 1, 1);
	add_section(1, 77, REMUS_SECTION_MANDATORY, &err);
	CU_ASSERT_EQUAL(staging_verify(&staging, 1, &commit, &err), -EBADMSG);

	begin(); /* ... or only offer */
	good_epoch(1, 1, 1);
	add_section(1, 77, 0, &err);
	CU_ASSERT_EQUAL(staging_verify(&staging, 1, &commit, &err), 0);

	begin(); /* a section cut short */
	good_epoch(1, 1, 1);
	add(1, REMUS_FRAME_STATE, "\1\0\1\0\x40\0\0\0", 8, 0, &err);
	CU_ASSERT_EQUAL(staging_verify(&staging, 1, &commit, &err), -EBADMSG);
}

static void malformed_pages_are_refused_as_they_come(void)
{
	struct remus_error err = REMUS_ERROR_INIT;

	begin();
	CU_ASSERT_EQUAL(add_page(1, PAGES, 1, &err), -EBADMSG); /* outside the guest */
	CU_ASSERT_EQUAL(add(1, REMUS_FRAME_PAGES, "abc", 3, 0, &err), -EBADMSG);
	CU_ASSERT_EQUAL(staging.pages, 0);
}

/* I11: no more is kept than a guest of this size can need. */
static void staging_is_capped(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	int rc = 0, kept = 1;

	begin();
	CU_ASSERT_EQUAL(add_page(1, 0, 1, &err), 0); /* an epoch's first frame starts from the guest's own cap */
	staging.cap = 10 * REMUS_PAGE_RECORD_MAX;
	for (int i = 0; i < 20 && rc == 0; i++) {
		rc = add_page(1, (uint64_t)i % PAGES, 1, &err);
		kept += rc == 0;
	}
	CU_ASSERT_EQUAL(rc, -E2BIG);
	CU_ASSERT_EQUAL(kept, 10);
	CU_ASSERT(staging_cap(PAGES) >= PAGES * REMUS_PAGE_RECORD_MAX);
}

/* I3: a torn epoch leaves nothing; the next one starts from nothing. */
static void torn_epoch_is_forgotten(void)
{
	struct remus_error err = REMUS_ERROR_INIT;

	begin();
	add_page(5, 3, 9, &err);
	staging_clear(&staging);
	CU_ASSERT_EQUAL(image.page[3][0], 0);
	digest.value = 0;
	memset(&commit, 0, sizeof commit);
	good_epoch(5, 4, 4);
	CU_ASSERT_EQUAL(staging_verify(&staging, 5, &commit, &err), 0);
	CU_ASSERT_EQUAL(staging.pages, 1);
}

static void a_standby_that_cannot_commit_says_so(void)
{
	struct remus_error err = REMUS_ERROR_INIT;

	begin();
	image.fail = 1;
	good_epoch(1, 1, 1);
	CU_ASSERT_EQUAL(staging_verify(&staging, 1, &commit, &err), 0);
	CU_ASSERT_EQUAL(staging_apply(&staging, &image.base, &err), -EIO);
	UNIT_ASSERT_MESSAGE(err, "no room for epoch 1");
	staging_clear(&staging);
}

static const struct unit_case cases[] = {
	{"complete epochs are applied", complete_epochs_are_applied},
	{"incomplete epochs are refused (I2)", incomplete_epochs_are_refused},
	{"order is part of the digest (I4)", order_is_part_of_the_digest},
	{"state must be usable (I2)", state_must_be_usable},
	{"malformed pages are refused as they come", malformed_pages_are_refused_as_they_come},
	{"staging is capped (I11)", staging_is_capped},
	{"a torn epoch is forgotten (I3)", torn_epoch_is_forgotten},
	{"a standby that cannot commit says so", a_standby_that_cannot_commit_says_so},
};
UNIT_MAIN("staging", cases)
