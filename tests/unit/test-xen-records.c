/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading what libxenguest writes of a PV guest: in pieces of any size, and everything that must be refused. */
#include "xen-pv-stream.h"
#include "replicator/domain/xen/records.h"
#include "replicator/domain/xen/types.h"

struct seen {
	uint8_t page[4096];
	uint64_t told, content, wrong, frames, checkpoints, sum, last;
	unsigned epoch;
	struct remus_xen_buffer state;
};

static uint8_t *place(void *context, uint64_t pfn)
{
	struct seen *s = context;
	return pfn < PV_PAGES ? s->page : NULL;
}

static void page(void *context, uint64_t pfn, unsigned type)
{
	struct seen *s = context;
	uint8_t want[4096];

	s->told++;
	s->wrong += type != pv_type(pfn, s->epoch);
	if (!remus_xen_pv_type_has_content(type))
		return;
	s->content++;
	pv_content(pfn, s->epoch, want);
	s->wrong += memcmp(want, s->page, 4096) != 0;
}

static int frames(void *context, const uint8_t *body, size_t bytes, struct remus_error *err)
{
	struct seen *s = context;
	(void)err;
	s->frames += bytes == 8 + 8 * (PV_LAST / 512 + 1) && remus_get_le32(body + 4) == PV_LAST;
	return 0;
}

static int checkpoint(void *context, const uint8_t *state, size_t bytes, struct remus_error *err)
{
	struct seen *s = context;
	(void)err;
	s->checkpoints++;
	s->epoch++;
	remus_xen_buffer_reset(&s->state);
	remus_xen_buffer_add(&s->state, state, bytes);
	return 0;
}

static int feed(struct seen *s, const struct remus_xen_buffer *b, size_t piece, struct remus_error *err)
{
	const struct remus_xen_records_sink sink = {
		.context = s, .place = place, .page = page, .frames = frames, .checkpoint = checkpoint};
	struct remus_xen_records r;
	int rc = 0;

	memset(s, 0, sizeof *s);
	remus_xen_records_init(&r, PV_PAGES, &sink);
	for (size_t at = 0; at < b->bytes && rc == 0; at += piece) {
		size_t n = b->bytes - at < piece ? b->bytes - at : piece;
		uint8_t *copy = malloc(n); /* so that a read beyond a piece is seen */
		memcpy(copy, b->data + at, n);
		rc = remus_xen_records_feed(&r, copy, n, err);
		free(copy);
	}
	if (rc < 0)
		CU_ASSERT(remus_xen_records_feed(&r, b->data, b->bytes, NULL) < 0);
	remus_xen_records_free(&r);
	return rc;
}

static void test_pieces(void)
{
	static const size_t pieces[] = {1, 3, 7, 8, 4095, 4096, 65536, SIZE_MAX / 2};
	struct remus_xen_buffer b = {0}, state = {0};

	pv_start(&b);
	pv_pages(&b, 1, 0, NULL);
	pv_checkpoint(&b, 0);
	pv_pages(&b, 37, 1, NULL);
	pv_checkpoint(&b, 1);
	pv_checkpoint(&b, 2); /* nothing was written */
	pv_state(&state, 2);
	CU_ASSERT_FATAL(!b.failed);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(pieces); i++) {
		struct seen s;
		CU_ASSERT_EQUAL(feed(&s, &b, pieces[i], NULL), 0);
		CU_ASSERT_EQUAL(s.wrong, 0);
		CU_ASSERT_EQUAL(s.told, PV_LAST + 1 + PV_LAST / 37 + 1);
		CU_ASSERT(s.content < s.told);
		CU_ASSERT_EQUAL(s.frames, 1);
		CU_ASSERT_EQUAL(s.checkpoints, 3);
		CU_ASSERT(s.state.bytes == state.bytes && !memcmp(s.state.data, state.data, state.bytes));
		remus_xen_buffer_free(&s.state);
	}
	CU_ASSERT_EQUAL(remus_xen_records_check_state(state.data, state.bytes, 8, NULL), 0);
	remus_xen_buffer_free(&b);
	remus_xen_buffer_free(&state);
}

static void put(struct remus_xen_buffer *b, uint32_t type, uint32_t length, const char *hex)
{
	pv_head(b, type, length);
	for (unsigned v; sscanf(hex, "%2x", &v) == 1; hex += 2) {
		uint8_t byte = (uint8_t)v;
		remus_xen_buffer_add(b, &byte, 1);
	}
}

static void lead(struct remus_xen_buffer *b, char until)
{
	static const uint8_t info[16] = {2, 0, 0, 0, 8, 0, 0, 0, 8, 4};

	if (until >= 'i')
		remus_xen_buffer_add(b, pv_image, sizeof pv_image);
	if (until >= 'j') /* after X86_PV_INFO */
		remus_xen_buffer_add(b, info, sizeof info);
	if (until >= 'k') /* after STATIC_DATA_END */
		pv_head(b, 0x10, 0);
	if (until >= 'l') /* after the frame list */
		pv_frames(b);
	if (until >= 'm') { /* in the state */
		pv_blob(b, 8, 0, 24, 0);
		pv_blob(b, 7, 0, 4096, 0);
	}
	if (until >= 'n') /* with a vCPU */
		pv_blob(b, 4, 0, PV_BASIC, 0);
}

#define PAD "0000000000000000"

static void test_refused(void)
{
	static const struct {
		char after; /* see lead() */
		uint32_t type, length;
		const char *body, *word;
	} cases[] = {
		{'a', 0xffffffff, 0xffffffff, "58454e460000000200000000000000000000", "begin"},
		{'i', 3, 16, PAD PAD, "out of its place"},
		{'i', 0x10, 0, "", "no X86_PV_INFO"},
		{'i', 2, 8, "0803" PAD, "3 levels"},
		{'i', 2, 8, "0604" PAD, "words of 6"},
		{'i', 2, 7, PAD, "X86_PV_INFO record of 7"},
		{'i', 0x11, 23, PAD PAD PAD, "CPUID_POLICY record of 23"},
		{'i', 0x11, 24 * 1000, "", "CPUID_POLICY record of 24000"},
		{'j', 2, 8, "0804000000000000", "second X86_PV_INFO"},
		{'j', 1, 4112, "", "out of its place"},
		{'k', 1, 4112, "", "out of its place"},
		{'k', 0x10, 0, "", "out of its place"},
		{'k', 3, 8, "0000000000000000", "frame list"},
		{'k', 3, 0x7ffffff8, "", "frame list"},
		{'k', 3, 16,
		 "01000000"
		 "00000000" PAD,
		 "frame list"},
		{'k', 3, 88,
		 "00000000"
		 "88130000" PAD PAD PAD PAD PAD PAD PAD PAD PAD PAD,
		 "frame list"},
		{'l', 3, 88, "", "out of its place"},
		{'l', 0, 0, "", "unknown"},	  /* END: a checkpointed stream has none */
		{'l', 9, 16, PAD PAD, "unknown"}, /* HVM_CONTEXT */
		{'l', 0x0d, 0, "", "unknown"},	  /* VERIFY */
		{'l', 0x80000001, 0, "", "unknown"},
		{'l', 1, 0, "", "PAGE_DATA record of 0"},
		{'l', 1, 8 + 1025 * (8 + 4096), "", "PAGE_DATA record of"},
		{'l', 1, 8, "0000000000000000", "0 pages"},
		{'l', 1, 16, "0200000000000000", "2 pages"},
		{'l', 1, 8 + 8 * 1025, "0104000000000000", "1025 pages"},
		{'l', 1, 16, "ffffffff00000000", "4294967295 pages"},
		{'l', 1, 16,
		 "0100000000000000"
		 "0000000000000000",
		 "1 with content"},
		{'l', 1, 16 + 4096,
		 "0100000000000000"
		 "00000000000000f0",
		 "0 with content"},
		{'l', 1, 16 + 4096,
		 "0100000000000000"
		 "8613000000000000",
		 "page 0x1386"},
		{'l', 1, 16 + 4096,
		 "0100000000000000"
		 "0000000000001000",
		 "page 0x10000000000000"},
		{'l', 1, 16 + 4096,
		 "0100000000000000"
		 "0000000000000050",
		 "type 5"},
		{'l', 1, 16 + 4096,
		 "0100000000000000"
		 "0000000000000080",
		 "type 8"},
		{'l', 0x0e, 0, "", "out of its place"},
		{'m', 1, 4112, "", "out of its place"},
		{'m', 8, 24, PAD PAD PAD, "second TSC_INFO"},
		{'m', 8, 23, PAD PAD PAD, "TSC_INFO record of 23"},
		{'m', 7, 4095, "", "SHARED_INFO record of 4095"},
		{'m', 4, 8 + 2800, "", "VCPU_BASIC record of 2808"}, /* a 32-bit guest's */
		{'m', 4, 0xffffffff, "", "VCPU_BASIC"},
		{'m', 6, 8 + 835, "", NULL}, /* completed below: before its VCPU_BASIC */
		{'m', 0x0e, 0, "", "lacks vCPU 0"},
		{'n', 5, 4, "", "EXTENDED record of 4"},
		{'n', 5, 8 + 129, "", "EXTENDED record of 137"},
		{'n', 6, 23, "", "XSAVE record of 23"},
		{'n', 6, 1u << 20, "", "XSAVE record of 1048576"},
		{'n', 12, 17, "", "MSRS record of 17"},
		{'n', 12, 24, "0100000000000000" PAD PAD, "vCPU 1"},
		{'n', 12, 24, "ffffffff00000000" PAD PAD, "vCPU 4294967295"},
		{'n', 5, 9,
		 "0000000000000000"
		 "aabb000000000000",
		 "padding"},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(cases); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_xen_buffer b = {0};
		struct seen s;

		lead(&b, cases[i].after);
		if (cases[i].word)
			put(&b, cases[i].type, cases[i].length, cases[i].body);
		else
			pv_blob(&b, cases[i].type, 0, cases[i].length, 1);
		CU_ASSERT_EQUAL(feed(&s, &b, b.bytes, &err), -EBADMSG);
		UNIT_ASSERT_MESSAGE(err, cases[i].word ? cases[i].word : "out of its place");
		remus_xen_buffer_free(&s.state);
		remus_xen_buffer_free(&b);
	}
}

static void test_order_of_vcpus(void)
{
	static const struct {
		uint32_t type, vcpu;
		bool good;
	} cases[] = {
		{4, 0, false}, {4, 1, true}, {4, 511, true}, {4, 512, false}, {5, 0, true}, {5, 1, false},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(cases); i++) {
		struct remus_xen_buffer b = {0};
		struct seen s;
		lead(&b, 'n');
		pv_blob(&b, cases[i].type, cases[i].vcpu, cases[i].type == 4 ? PV_BASIC : 8 + 128, 0);
		CU_ASSERT_EQUAL(feed(&s, &b, b.bytes, NULL), cases[i].good ? 0 : -EBADMSG);
		if (cases[i].good) { /* the same again */
			pv_blob(&b, cases[i].type, cases[i].vcpu, cases[i].type == 4 ? PV_BASIC : 8 + 128, 0);
			CU_ASSERT_EQUAL(feed(&s, &b, b.bytes, NULL), -EBADMSG);
		}
		remus_xen_buffer_free(&b);
	}
}

/* Every changed byte of the heads and lists: refused or read within bounds, never more (run it under ASan). */
static void test_hostile(void)
{
	struct remus_xen_buffer b = {0};
	uint64_t accepted = 0;

	pv_start(&b);
	size_t start = b.bytes;
	pv_head(&b, 1, 8 + 2 * 8 + 4096);
	pv_le32(&b, 2);
	pv_le32(&b, 0);
	pv_le64(&b, 4);
	pv_le64(&b, UINT64_C(0xf000000000000005));
	size_t lists = b.bytes;
	remus_xen_buffer_add(&b, pv_image, sizeof pv_image);
	for (size_t i = sizeof pv_image; i < 4096; i++)
		remus_xen_buffer_add(&b, "", 1);
	pv_checkpoint(&b, 0);
	for (size_t at = 0; at < b.bytes; at += at < lists || at > b.bytes - 400 ? 1 : 61)
		for (unsigned bit = 0; bit < 8; bit++) {
			struct seen s;
			b.data[at] ^= (uint8_t)(1u << bit);
			int rc = feed(&s, &b, 4096, NULL);
			CU_ASSERT(rc == 0 || rc == -EBADMSG || rc == -ENOMEM);
			accepted += rc == 0;
			b.data[at] ^= (uint8_t)(1u << bit);
			remus_xen_buffer_free(&s.state);
		}
	CU_ASSERT(accepted > 0); /* a page's content or a register is anybody's guess */
	CU_ASSERT(start < lists);
	remus_xen_buffer_free(&b);
}

static void test_state_cuts(void)
{
	struct remus_xen_buffer b = {0};
	size_t good = 0;

	pv_state(&b, 1);
	for (size_t cut = 0; cut < b.bytes; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1);
		memcpy(copy, b.data, cut);
		good += remus_xen_records_check_state(copy, cut, 8, NULL) == 0;
		free(copy);
	}
	CU_ASSERT_EQUAL(good,
			7); /* after each of the vCPUs' records but the last; vCPU 0's first is a must */
	CU_ASSERT(remus_xen_records_check_state(b.data, b.bytes, 4, NULL) < 0);
	for (size_t at = 0; at < b.bytes; at += 3) {
		uint8_t *copy = malloc(b.bytes);
		memcpy(copy, b.data, b.bytes);
		copy[at] ^= 0xff;
		int rc = remus_xen_records_check_state(copy, b.bytes, 8, NULL);
		CU_ASSERT(rc == 0 || rc == -EBADMSG);
		free(copy);
	}
	remus_xen_buffer_free(&b);
}

static const struct unit_case cases[] = {
	{"in pieces of any size", test_pieces},
	{"refused", test_refused},
	{"vCPUs in their order", test_order_of_vcpus},
	{"every changed bit", test_hostile},
	{"state: every cut, changed bytes", test_state_cuts},
};

UNIT_MAIN("xen-records", cases)
