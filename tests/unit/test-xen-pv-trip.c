/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PV guest's way through remus, without Xen: what libxenguest writes is read, kept, encoded with deltas, decoded
 * into the backup's copy and written as a stream again, which must be the first one byte for byte. And what a peer
 * may not say. With REMUS_XEN_STREAM_DUMP=FILE streams are left there for xen-utils' verify-stream-v2: a plain one
 * of both layers, and FILE.libxc, libxc's layer with its checkpoints.
 */
#include "xen-pv-stream.h"
#include "remus/bitmap.h"
#include "remus/pages.h"
#include "replicator/domain/xen/pvfeed.h"
#include "replicator/domain/xen/space.h"
#include "replicator/domain/xen/store.h"

struct trip {
	struct remus_xen_store store;
	struct remus_xen_records records;
	struct remus_xen_records_sink sink;
	struct remus_encoder *encoder;
	struct remus_xen_shadow shadow;
	struct remus_xen_pvfeed feed;
	struct remus_xen_buffer state, out;
	uint64_t *pending, *number, epoch, deltas;
	uint8_t *data;
};

static struct trip *trip_of(void *store)
{
	return store; /* its first member */
}

static int on_checkpoint(void *context, const uint8_t *state, size_t bytes, struct remus_error *err)
{
	struct trip *t = trip_of(context);
	(void)err;
	remus_xen_buffer_reset(&t->state);
	remus_xen_buffer_add(&t->state, state, bytes);
	t->store.settled = true;
	return 0;
}

static void open_trip(struct trip *t)
{
	uint64_t numbers = remus_xen_space_size(PV_PAGES);
	struct remus_encoder_config config = {
		.guest_pages = numbers, .cache_bytes = 64u << 20, .compress = true, .delta = true};

	memset(t, 0, sizeof *t);
	CU_ASSERT_EQUAL_FATAL(remus_xen_store_create(&t->store, PV_PAGES, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(remus_xen_shadow_create(&t->shadow, numbers, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(remus_xen_pvfeed_create(&t->feed, PV_PAGES, 8, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(remus_encoder_create(&config, &t->encoder, NULL), 0);
	t->sink = (struct remus_xen_records_sink){.context = &t->store,
						  .place = remus_xen_store_place,
						  .page = remus_xen_store_page,
						  .frames = remus_xen_store_frames,
						  .checkpoint = on_checkpoint};
	remus_xen_records_init(&t->records, PV_PAGES, &t->sink);
	t->pending = calloc(remus_bitmap_words(numbers), 8);
	t->number = calloc(numbers, 8);
	t->data = malloc(numbers * 4096);
}

static void close_trip(struct trip *t)
{
	remus_xen_store_destroy(&t->store);
	remus_xen_records_free(&t->records);
	remus_encoder_destroy(t->encoder);
	remus_xen_shadow_destroy(&t->shadow);
	remus_xen_pvfeed_destroy(&t->feed);
	remus_xen_buffer_free(&t->state);
	remus_xen_buffer_free(&t->out);
	free(t->pending);
	free(t->number);
	free(t->data);
}

static uint8_t *locate(void *context, uint64_t number)
{
	return remus_xen_shadow_page(&((struct trip *)context)->shadow, number);
}

/* A PAGES frame's way to the backup. */
static int over_the_wire(void *context, const void *payload, size_t bytes, uint32_t pages,
			 struct remus_error *err)
{
	struct trip *t = context;
	uint64_t numbers = t->shadow.pages;

	(void)err;
	CU_ASSERT_EQUAL(remus_pages_check(payload, bytes, numbers, NULL), (int64_t)pages);
	CU_ASSERT_EQUAL(remus_pages_apply(payload, bytes, numbers, locate, t, NULL), (int64_t)pages);
	return 0;
}

static int emit(void *context, struct iovec *iov, int parts, struct remus_error *err)
{
	struct trip *t = context;
	(void)err;
	for (int i = 0; i < parts; i++)
		remus_xen_buffer_add(&t->out, iov[i].iov_base, iov[i].iov_len);
	return 0;
}

/* The pending numbers, encoded, sent, applied and passed on, @piece at a time as in the first full copy. */
static void send_pending(struct trip *t, size_t piece)
{
	uint64_t cursor = 0;
	size_t n;

	t->epoch++;
	while ((n = remus_bitmap_take(t->pending, t->store.numbers, &cursor, t->number, piece))) {
		for (size_t i = 0; i < n; i++)
			CU_ASSERT(remus_xen_store_ready(&t->store, t->number[i]));
		remus_xen_store_copy(&t->store, t->number, n, t->data);
		CU_ASSERT_EQUAL(remus_encoder_run(t->encoder, t->epoch, t->number, t->data, n, 256 * 1024,
						  over_the_wire, t, NULL),
				0);
		struct remus_error err = REMUS_ERROR_INIT;
		CU_ASSERT_EQUAL(remus_xen_pvfeed_pages(&t->feed, &t->shadow, emit, t, &err), 0);
		CU_ASSERT_STRING_EQUAL(err.message, "");
	}
}

static void hear(struct trip *t, const struct remus_xen_buffer *in, size_t *at)
{
	CU_ASSERT_EQUAL_FATAL(remus_xen_records_feed(&t->records, in->data + *at, in->bytes - *at, NULL), 0);
	*at = in->bytes;
}

static void assert_same(const struct remus_xen_buffer *a, const struct remus_xen_buffer *b)
{
	size_t at = 0;

	CU_ASSERT(!a->failed && !b->failed);
	CU_ASSERT_EQUAL(a->bytes, b->bytes);
	while (at < a->bytes && at < b->bytes && a->data[at] == b->data[at])
		at++;
	if (at < a->bytes || at < b->bytes)
		printf("\n    %zu and %zu bytes, the first difference is at %zu\n", a->bytes, b->bytes, at);
	CU_ASSERT(at == a->bytes && at == b->bytes);
}

static void begin(struct remus_xen_buffer *out, struct remus_xen_stream_static *facts, uint8_t policy[64])
{
	struct remus_xen_buffer blob = {0};

	pv_blob(&blob, 0x11, 1, 48, 0xc1);
	memcpy(policy, blob.data + 8, 48);
	remus_xen_buffer_reset(&blob);
	pv_blob(&blob, 0x12, 2, 16, 0x3a);
	memcpy(policy + 48, blob.data + 8, 16);
	remus_xen_buffer_free(&blob);
	*facts = (struct remus_xen_stream_static){.guest = REMUS_XEN_STREAM_PV,
						  .width = 8,
						  .xen_major = 4,
						  .xen_minor = 17,
						  .cpuid = policy,
						  .cpuid_bytes = 48,
						  .msr = policy + 48,
						  .msr_bytes = 16};
	remus_xen_stream_begin(out, facts);
}

/* The libxl layer: what comes before libxc's, and behind each of its checkpoints. */
enum { LIBXL_HEAD = 24, LIBXL_CHECKPOINT_END = 8 };

static void leave(const char *suffix, const struct remus_xen_buffer *b)
{
	const char *base = getenv("REMUS_XEN_STREAM_DUMP");
	char path[4096];

	if (!base)
		return;
	snprintf(path, sizeof path, "%s%s", base, suffix);
	FILE *file = fopen(path, "wbe");
	CU_ASSERT_FATAL(file != NULL);
	CU_ASSERT_EQUAL(fwrite(b->data, 1, b->bytes, file), b->bytes);
	fclose(file);
}

static void test_byte_for_byte(void)
{
	static uint8_t holes[PV_PAGES], policy[64];
	struct remus_xen_stream_static facts;
	struct remus_xen_buffer in = {0}, head = {0}, plain = {0};
	struct trip t;
	size_t at = 0;

	open_trip(&t);
	begin(&head, &facts, policy);
	remus_xen_buffer_add(&plain, head.data, head.bytes);
	remus_xen_buffer_add(&t.out, head.data + LIBXL_HEAD, head.bytes - LIBXL_HEAD);
	pv_start(&in);
	pv_pages(&in, 1, 0, holes);
	hear(&t, &in, &at);
	remus_bitmap_set_range(t.pending, 0, t.store.numbers);
	send_pending(&t, t.store.numbers); /* one piece: libxc's records are not cut at the engine's pieces */
	assert_same(&in, &t.out);
	for (unsigned epoch = 1; epoch < 6; epoch++) {
		pv_pages(&in, epoch == 4 ? 1 : 7 * epoch + 2, epoch, holes);
		pv_checkpoint(&in, epoch);
		hear(&t, &in, &at);
		remus_xen_store_take(&t.store, t.pending);
		send_pending(&t, t.store.numbers);
		remus_xen_buffer_add(&t.out, t.state.data, t.state.bytes);
		if (epoch == 1) {
			remus_xen_buffer_add(&plain, t.out.data + head.bytes - LIBXL_HEAD,
					     t.out.bytes - head.bytes + LIBXL_HEAD);
			remus_xen_stream_end(&plain); /* libxc's */
			remus_xen_stream_end(&plain); /* libxl's */
			leave("", &plain);
		}
		remus_xen_stream_checkpoint(&t.out);
		t.out.bytes -= LIBXL_CHECKPOINT_END;
		assert_same(&in, &t.out);
	}
	remus_xen_stream_end(&t.out);
	leave(".libxc", &t.out);
	struct remus_encoder_stats stats;
	remus_encoder_stats(t.encoder, &stats);
	CU_ASSERT(stats.delta > 500); /* pages and types, against the base cache */
	remus_xen_buffer_free(&in);
	remus_xen_buffer_free(&head);
	remus_xen_buffer_free(&plain);
	close_trip(&t);
}

/* In pieces, as the engine makes the first copy: each page once, with its right type, nothing after its block's end. */
static void test_pieces(void)
{
	struct remus_xen_buffer in = {0}, again = {0};
	struct trip t;
	size_t at = 0;

	open_trip(&t);
	pv_start(&in);
	pv_pages(&in, 1, 0, NULL);
	hear(&t, &in, &at);
	remus_xen_buffer_reset(&again);
	pv_static(&again);
	remus_xen_buffer_add(&again, t.out.data, t.out.bytes);
	remus_bitmap_set_range(t.pending, 0, t.store.numbers);
	send_pending(&t, 700);
	remus_xen_buffer_add(&again, t.out.data, t.out.bytes);

	struct trip second; /* reads what the first one wrote */
	open_trip(&second);
	at = 0;
	hear(&second, &again, &at);
	CU_ASSERT(!memcmp(second.store.type, t.store.type, PV_PAGES));
	uint8_t want[4096], got[4096];
	for (uint64_t pfn = 0; pfn <= PV_LAST; pfn++) {
		uint64_t number = remus_xen_space_memory(PV_PAGES, pfn);
		CU_ASSERT_EQUAL(second.store.type[pfn], pv_type(pfn, 0));
		remus_xen_store_copy(&second.store, &number, 1, got);
		pv_content(pfn, 0, want);
		if (pv_type(pfn, 0) == 15)
			memset(want, 0, sizeof want);
		CU_ASSERT(!memcmp(want, got, sizeof want));
	}
	/* and the whole of it for a second domain, after the first one was lost */
	remus_xen_buffer_reset(&t.out);
	pv_static(&t.out);
	remus_xen_pvfeed_restart(&t.feed);
	remus_xen_shadow_touch_all(&t.shadow);
	CU_ASSERT_EQUAL(remus_xen_pvfeed_pages(&t.feed, &t.shadow, emit, &t, NULL), 0);
	assert_same(&in, &t.out);
	close_trip(&second);
	close_trip(&t);
	remus_xen_buffer_free(&in);
	remus_xen_buffer_free(&again);
}

/* A backup's copy with a list and types that are in order: all ordinary pages. */
static void hostile_trip(struct trip *t)
{
	open_trip(t);
	uint8_t *frames = remus_xen_shadow_page(&t->shadow, 0);
	remus_put_le32(frames + 4, PV_LAST);
	for (uint64_t block = 0; block < remus_xen_space_blocks(PV_PAGES); block++) {
		uint8_t *types = remus_xen_shadow_page(&t->shadow, remus_xen_space_types(PV_PAGES, block));
		for (uint64_t i = 0; i < 4096; i++)
			types[i] = block * 4096 + i > PV_LAST ? 15 : 0;
	}
}

static void test_refused(void)
{
	static const struct {
		const char *word;
		uint64_t number; /* whose byte... */
		size_t at;
		uint8_t value; /* ...is this */
	} cases[] = {
		{"pages 1 to", 0, 0, 1},	  {"frame list for pages", 0, 7, 0x40},
		{"names page", 0, 8 + 7, 1},	  {"type 5", UINT64_MAX, 3, 5},
		{"type 8", UINT64_MAX, 3, 8},	  {"type 16", UINT64_MAX, 4095, 16},
		{"type 255", UINT64_MAX, 0, 255},
	};
	struct remus_error err = REMUS_ERROR_INIT;
	struct trip t;

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(cases); i++) {
		uint64_t number = cases[i].number ? remus_xen_space_types(PV_PAGES, 0) : 0;
		hostile_trip(&t);
		remus_xen_shadow_page(&t.shadow, number)[cases[i].at] = cases[i].value;
		CU_ASSERT_EQUAL(remus_xen_pvfeed_pages(&t.feed, &t.shadow, emit, &t, &err), -EBADMSG);
		UNIT_ASSERT_MESSAGE(err, cases[i].word);
		close_trip(&t);
	}
	hostile_trip(&t); /* a page behind the last one */
	remus_xen_shadow_page(&t.shadow, remus_xen_space_types(PV_PAGES, 1))[PV_LAST + 1 - 4096] = 0;
	CU_ASSERT_EQUAL(remus_xen_pvfeed_pages(&t.feed, &t.shadow, emit, &t, &err), -EBADMSG);
	UNIT_ASSERT_MESSAGE(err, "type 0, after which");
	close_trip(&t);
	hostile_trip(&t); /* a list that changes */
	CU_ASSERT_EQUAL(remus_xen_pvfeed_pages(&t.feed, &t.shadow, emit, &t, &err), 0);
	remus_xen_shadow_page(&t.shadow, 0)[8] = 3;
	CU_ASSERT_EQUAL(remus_xen_pvfeed_pages(&t.feed, &t.shadow, emit, &t, &err), -EBADMSG);
	UNIT_ASSERT_MESSAGE(err, "has changed");
	close_trip(&t);
	open_trip(&t); /* pages without a list, and without types */
	memset(remus_xen_shadow_page(&t.shadow, remus_xen_space_memory(PV_PAGES, 9)), 1, 4096);
	CU_ASSERT_EQUAL(remus_xen_pvfeed_pages(&t.feed, &t.shadow, emit, &t, &err), -EBADMSG);
	UNIT_ASSERT_MESSAGE(err, "without their frame list");
	remus_put_le32(remus_xen_shadow_page(&t.shadow, 0) + 4, PV_LAST);
	CU_ASSERT_EQUAL(remus_xen_pvfeed_pages(&t.feed, &t.shadow, emit, &t, &err), -EBADMSG);
	UNIT_ASSERT_MESSAGE(err, "page 9 came before its type");
	close_trip(&t);
}

static const struct unit_case cases[] = {
	{"byte for byte, with deltas", test_byte_for_byte},
	{"in pieces, and for a second domain", test_pieces},
	{"refused", test_refused},
};

UNIT_MAIN("xen-pv-trip", cases)
