/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Xen's v2 records of a PV guest. Byte 0: bit 0: the rest is
 *   0  a stream, as libxenguest writes it; the upper bits are the piece that it comes in a second time, which must
 *      make no difference
 *   1  the state of one checkpoint, as a peer sends it, of a guest with words of 8 bytes (bit 1: 4)
 */
#include "fuzz.h"

#include "replicator/domain/xen/records.h"
#include "replicator/domain/xen/types.h"

#define PAGES 600u

struct seen {
	int rc;
	uint64_t calls, sum, state;
	uint64_t last; /* the highest page, as the frame list says */
	uint8_t page[4096];
};

static void mix(struct seen *s, uint64_t value)
{
	s->calls++;
	s->sum = (s->sum ^ value) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint8_t *place(void *context, uint64_t pfn)
{
	struct seen *s = context;

	FUZZ_CHECK(pfn < PAGES && pfn <= s->last);
	mix(s, pfn);
	return pfn == PAGES - 1 ? NULL : s->page;
}

static void page(void *context, uint64_t pfn, unsigned type)
{
	struct seen *s = context;

	FUZZ_CHECK(pfn < PAGES && pfn <= s->last && remus_xen_pv_type_known(type));
	mix(s, pfn << 4 | type);
	if (remus_xen_pv_type_has_content(type))
		for (size_t i = 0; i < sizeof s->page; i += 256)
			mix(s, s->page[i]);
}

static int frames(void *context, const uint8_t *body, size_t bytes, struct remus_error *err)
{
	struct seen *s = context;

	mix(s, bytes);
	s->last = remus_get_le32(body + 4);
	mix(s, s->last);
	FUZZ_CHECK(s->last < PAGES);
	return 0;
}

static int checkpoint(void *context, const uint8_t *state, size_t bytes, struct remus_error *err)
{
	struct seen *s = context;

	mix(s, bytes);
	for (size_t i = 0; i < bytes; i += 61)
		mix(s, state[i]);
	s->state++;
	return 0;
}

static void feed(const uint8_t *data, size_t size, size_t piece, struct seen *s)
{
	const struct remus_xen_records_sink sink = {
		.context = s, .place = place, .page = page, .frames = frames, .checkpoint = checkpoint};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_xen_records r;

	memset(s, 0, sizeof *s);
	remus_xen_records_init(&r, PAGES, &sink);
	for (size_t at = 0; at < size && s->rc == 0; at += piece)
		s->rc = remus_xen_records_feed(&r, data + at, size - at < piece ? size - at : piece, &err);
	fuzz_check_error(s->rc, &err);
	if (s->rc)
		FUZZ_CHECK(remus_xen_records_feed(&r, data, 1, NULL) < 0);
	FUZZ_CHECK(r.entries <= REMUS_XEN_STREAM_BATCH && r.state.bytes <= REMUS_XEN_PV_STATE_MAX &&
		   r.part.bytes <= 128 * 1024);
	remus_xen_records_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct seen whole, pieces;
	struct remus_error err = REMUS_ERROR_INIT;

	if (!size)
		return 0;
	if (data[0] & 1) {
		int rc = remus_xen_records_check_state(data + 1, size - 1, data[0] & 2 ? 4 : 8, &err);
		fuzz_check_error(rc, &err);
		return 0;
	}
	feed(data + 1, size - 1, SIZE_MAX / 2, &whole);
	feed(data + 1, size - 1, 1u + (data[0] >> 1) * 5u, &pieces);
	FUZZ_CHECK(whole.rc == pieces.rc && whole.calls == pieces.calls && whole.sum == pieces.sum &&
		   whole.state == pieces.state);
	return 0;
}

/* ---- seeds: what remus writes for libxl, and libxc's state records, which nobody but libxc writes ---- */

static void head(struct remus_xen_buffer *b, uint32_t type, uint32_t length)
{
	uint8_t out[8];

	remus_put_le32(out, type);
	remus_put_le32(out + 4, length);
	remus_xen_buffer_add(b, out, sizeof out);
}

/* A body of @length bytes that begins with @first. */
static void record(struct remus_xen_buffer *b, uint32_t type, uint32_t first, uint32_t length)
{
	static uint8_t body[8192];

	memset(body, 0, sizeof body);
	remus_put_le32(body, first);
	head(b, type, length);
	remus_xen_buffer_add(b, body, (length + 7) & ~7u);
}

static void state(struct remus_xen_buffer *b, unsigned width, unsigned vcpus)
{
	record(b, REMUS_XEN_REC_TSC_INFO, 1, 24);
	record(b, REMUS_XEN_REC_SHARED_INFO, 0, 4096);
	for (unsigned cpu = 0; cpu < vcpus; cpu++) {
		record(b, REMUS_XEN_REC_VCPU_BASIC, cpu, 8 + (width == 4 ? 2800 : 5168));
		record(b, REMUS_XEN_REC_VCPU_EXTENDED, cpu, 8 + 128);
		record(b, REMUS_XEN_REC_VCPU_XSAVE, cpu, 8 + 35);
		record(b, REMUS_XEN_REC_VCPU_MSRS, cpu, 8 + 32);
	}
}

/* Everything before the first page, without libxl's own layer. */
static void begin(struct remus_xen_buffer *b, unsigned width, uint32_t last)
{
	static const uint8_t marker[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, policy[48] = {1};
	const struct remus_xen_stream_static facts = {
		REMUS_XEN_STREAM_PV, width, 4, 17, policy, policy, 48, 16};
	uint8_t list[8 + 8 * 4] = {0};
	struct remus_xen_buffer whole = {0};

	remus_xen_stream_begin(&whole, &facts);
	const uint8_t *image = memmem(whole.data, whole.bytes, marker, sizeof marker);
	FUZZ_CHECK(image);
	remus_put_le32(list + 4, last);
	remus_xen_buffer_add(b, image, whole.bytes - (size_t)(image - whole.data));
	remus_xen_stream_frames(b, list, remus_xen_p2m_frames_bytes(width, last));
	remus_xen_buffer_free(&whole);
}

static void pages(struct remus_xen_buffer *b, const uint64_t *entry, unsigned count)
{
	static uint8_t content[4096] = {0x67};

	remus_xen_stream_pages(b, entry, count);
	for (unsigned i = 0; i < count; i++)
		if (remus_xen_pv_type_has_content((unsigned)(entry[i] >> 60)))
			remus_xen_buffer_add(b, content, sizeof content);
}

/* A record of one page more than there may be. */
static void many(void)
{
	struct remus_xen_buffer b = {0};
	uint8_t entry[8], count[8] = {1, 4};

	remus_xen_buffer_add(&b, "\2", 1);
	begin(&b, 8, 590);
	head(&b, REMUS_XEN_REC_PAGE_DATA, 8 + 8 * (REMUS_XEN_STREAM_BATCH + 1));
	remus_xen_buffer_add(&b, count, sizeof count);
	remus_put_le64(entry, UINT64_C(15) << 60 | 5);
	for (unsigned i = 0; i <= REMUS_XEN_STREAM_BATCH; i++)
		remus_xen_buffer_add(&b, entry, sizeof entry);
	fuzz_seed("many", b.data, b.bytes);
	remus_xen_buffer_free(&b);
}

static void stream(const char *name, uint8_t mode, unsigned width, uint32_t last, const uint64_t *entry,
		   unsigned count, size_t less)
{
	struct remus_xen_buffer b = {0};

	remus_xen_buffer_add(&b, &mode, 1);
	begin(&b, width, last);
	pages(&b, entry, count);
	state(&b, width, 1);
	head(&b, REMUS_XEN_REC_CHECKPOINT, 0);
	FUZZ_CHECK(!b.failed);
	fuzz_seed(name, b.data, b.bytes - less);
	remus_xen_buffer_free(&b);
}

void fuzz_seeds(void)
{
	const uint64_t none = UINT64_C(15) << 60, table = UINT64_C(9) << 60, alloc = UINT64_C(14) << 60;
	struct remus_xen_buffer b = {0};

	stream("stream-64", 4, 8, 590, (uint64_t[]){0, none | 1, table | 2, alloc | 3}, 4, 0);
	stream("stream-32", 254, 4, 590, (uint64_t[]){none | 7}, 1, 0);
	many();
	stream("cut", 0, 8, 100, (uint64_t[]){5}, 1, 77);
	stream("beyond", 2, 8, 100, (uint64_t[]){none | 101}, 1, 0);
	stream("type", 2, 8, 100, (uint64_t[]){UINT64_C(5) << 60}, 1, 0);
	stream("no-place", 2, 8, PAGES - 1, (uint64_t[]){PAGES - 1}, 1, 0);
	stream("no-guest", 2, 8, PAGES, (uint64_t[]){none}, 1, 0);
	for (unsigned width = 4; width <= 8; width += 4) {
		uint8_t mode = width == 4 ? 3 : 1;
		remus_xen_buffer_reset(&b);
		remus_xen_buffer_add(&b, &mode, 1);
		state(&b, width, 2);
		fuzz_seed(width == 4 ? "state-32" : "state-64", b.data, b.bytes);
		fuzz_seed(width == 4 ? "state-32-cut" : "state-64-cut", b.data, b.bytes - 9);
	}
	fuzz_seed("state-no-vcpu", b.data, 1 + 8 + 24 + 8 + 4096);
	fuzz_seed("state-no-page", b.data, 1 + 8 + 24);
	record(&b, REMUS_XEN_REC_TSC_INFO, 1, 24);
	fuzz_seed("state-twice", b.data, b.bytes);
	remus_xen_buffer_free(&b);
	fuzz_seed("state-unknown", "\1\x77\0\0\0\0\0\0\0", 9);
	fuzz_seed("state-hostile", "\1\6\0\0\0\xff\xff\xff\xff", 9);
}
