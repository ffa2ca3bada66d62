/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The numbers under which a PV guest's memory travels, and what is kept of it until the engine has it. */
#include "xen-pv-stream.h"
#include "remus/bitmap.h"
#include "replicator/domain/xen/space.h"
#include "replicator/domain/xen/store.h"

static void test_space(void)
{
	static const uint64_t sizes[] = {1, 2, 511, 512, 4096, 4097, 32768, 261632, 261633, 2097152};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(sizes); i++) {
		uint64_t pages = sizes[i], next = 0, frames = 0, types = 0;
		for (uint64_t n = 0; n < remus_xen_space_size(pages); n++) {
			struct remus_xen_place at = remus_xen_space_at(pages, n);
			if (at.kind == REMUS_XEN_SPACE_FRAMES) {
				CU_ASSERT(at.index == n && n == frames++);
			} else if (at.kind == REMUS_XEN_SPACE_TYPES) {
				CU_ASSERT_EQUAL(at.index, types++);
				CU_ASSERT_EQUAL(n, remus_xen_space_types(pages, at.index));
				CU_ASSERT_EQUAL(next, at.index * REMUS_XEN_SPACE_BLOCK);
			} else {
				CU_ASSERT_EQUAL(at.index, next++);
				CU_ASSERT_EQUAL(n, remus_xen_space_memory(pages, at.index));
			}
		}
		CU_ASSERT_EQUAL(next, pages);
		CU_ASSERT(frames * 4096 >= remus_xen_p2m_frames_bytes(8, pages - 1));
		CU_ASSERT(frames * 4096 >= remus_xen_p2m_frames_bytes(4, pages - 1));
	}
}

struct rig {
	struct remus_xen_store store;
	uint64_t dirty[(PV_PAGES + 200) / 64];
	uint8_t page[4096];
};

static void open_rig(struct rig *r)
{
	uint8_t frames[4096] = {0};

	memset(r, 0, sizeof *r);
	CU_ASSERT_EQUAL_FATAL(remus_xen_store_create(&r->store, PV_PAGES, NULL), 0);
	CU_ASSERT(!remus_xen_store_ready(&r->store, 0));
	remus_put_le32(frames + 4, PV_LAST);
	CU_ASSERT_EQUAL(remus_xen_store_frames(&r->store, frames, sizeof frames, NULL), 0);
	CU_ASSERT(remus_xen_store_ready(&r->store, 0));
	CU_ASSERT_EQUAL(remus_xen_store_frames(&r->store, frames, 8193, NULL), -EBADMSG);
}

static void write_page(struct rig *r, uint64_t pfn, unsigned type, int fill)
{
	if (type < 13)
		memset(remus_xen_store_place(&r->store, pfn), fill, 4096);
	remus_xen_store_page(&r->store, pfn, type);
}

static uint64_t memory(uint64_t pfn)
{
	return remus_xen_space_memory(PV_PAGES, pfn);
}
static uint64_t types(uint64_t block)
{
	return remus_xen_space_types(PV_PAGES, block);
}

static int first_byte(struct rig *r, uint64_t number)
{
	remus_xen_store_copy(&r->store, &number, 1, r->page);
	return r->page[0];
}

static uint64_t take(struct rig *r)
{
	memset(r->dirty, 0, sizeof r->dirty);
	uint64_t n = remus_xen_store_take(&r->store, r->dirty);
	CU_ASSERT_EQUAL(n, remus_bitmap_count(r->dirty, r->store.numbers));
	return n;
}

/* The first copy: a number can be had once the stream has said everything of it, and is clean afterwards. */
static void test_first_copy(void)
{
	struct rig r;

	open_rig(&r);
	for (uint64_t pfn = 0; pfn < 4096; pfn++) {
		CU_ASSERT(!remus_xen_store_ready(&r.store, memory(pfn)));
		CU_ASSERT(!remus_xen_store_ready(&r.store, types(0)));
		write_page(&r, pfn, pfn == 9 ? 15 : pfn == 10 ? 9 : 0, (int)pfn);
		CU_ASSERT(remus_xen_store_ready(&r.store, memory(pfn)));
	}
	CU_ASSERT(remus_xen_store_ready(&r.store, types(0)));
	CU_ASSERT(!remus_xen_store_ready(&r.store, types(1)));
	CU_ASSERT_EQUAL(first_byte(&r, types(0)), 0);
	CU_ASSERT(r.page[9] == 15 && r.page[10] == 9 && r.page[4095] == 0);
	CU_ASSERT_EQUAL(first_byte(&r, memory(8)), 8);
	CU_ASSERT_EQUAL(first_byte(&r, memory(9)), 0);
	CU_ASSERT_EQUAL(first_byte(&r, 0), 0);
	CU_ASSERT_EQUAL(r.store.held_count, 4096 - 2);
	write_page(&r, 8, 1, 80); /* and written again, before the first checkpoint */
	r.store.settled = true;
	CU_ASSERT_EQUAL(take(&r), 1 + 4096 - 1);
	CU_ASSERT(remus_bitmap_test(r.dirty, memory(8)) && remus_bitmap_test(r.dirty, types(0)));
	CU_ASSERT(!remus_bitmap_test(r.dirty, memory(9)) && !remus_bitmap_test(r.dirty, 0));
	CU_ASSERT(remus_xen_store_ready(&r.store, types(1)));
	CU_ASSERT_EQUAL(first_byte(&r, types(1)), 15); /* of which nothing was ever said */
	remus_xen_store_destroy(&r.store);
}

/* A page is there until a capture that came after its own did not ask for it (I9). */
static void test_given_up_epoch(void)
{
	struct rig r;

	open_rig(&r);
	r.store.settled = true;
	write_page(&r, 7, 0, 70);
	write_page(&r, 8, 0, 80);
	take(&r);
	CU_ASSERT_EQUAL(first_byte(&r, memory(7)), 70);
	CU_ASSERT_EQUAL(first_byte(&r, memory(8)), 80);
	write_page(&r, 9, 0, 90);
	CU_ASSERT_EQUAL(take(&r), 2);
	uint64_t all[3] = {memory(7), memory(8), memory(9)}; /* the one before was given up */
	uint8_t out[3 * 4096];
	remus_xen_store_copy(&r.store, all, 3, out);
	CU_ASSERT(out[0] == 70 && out[4096] == 80 && out[8192] == 90);
	write_page(&r, 8, 0, 81);
	take(&r);
	CU_ASSERT_EQUAL(first_byte(&r, memory(8)), 81);
	CU_ASSERT_EQUAL(r.store.held_count, 1); /* that went well: 7 and 9 are on the backup */
	CU_ASSERT_EQUAL(first_byte(&r, memory(7)), 0);
	/* pages that were not asked for yet stay, over any number of pieces */
	for (uint64_t pfn = 100; pfn < 104; pfn++)
		write_page(&r, pfn, 0, (int)pfn);
	take(&r);
	for (uint64_t pfn = 100; pfn < 104; pfn++)
		CU_ASSERT_EQUAL(first_byte(&r, memory(pfn)), (int)pfn);
	CU_ASSERT_EQUAL(r.store.held_count, 4);
	remus_xen_store_destroy(&r.store);
}

static void test_types(void)
{
	struct rig r;

	open_rig(&r);
	r.store.settled = true;
	write_page(&r, 7, 9, 70);
	take(&r);
	write_page(&r, 7, 9, 71); /* the same type: its page needn't be sent */
	CU_ASSERT_EQUAL(take(&r), 1);
	write_page(&r, 7, 1, 71);
	CU_ASSERT_EQUAL(take(&r), 2);
	write_page(&r, 8, 0, 80);
	write_page(&r, 8, 15, 0); /* given back to Xen */
	CU_ASSERT_EQUAL(first_byte(&r, memory(8)), 0);
	CU_ASSERT_EQUAL(r.store.lost, PV_PAGES);
	write_page(&r, 7, 15, 0); /* a page table can't vanish while the guest stands */
	CU_ASSERT_EQUAL(r.store.lost, 7);
	remus_xen_store_destroy(&r.store);
}

/* What a large epoch needed is given back; what a small one needs stays resident. */
static void test_trim(void)
{
	enum { MANY = 20000 };
	static uint64_t dirty[MANY / 64 + 100], number[MANY];
	uint8_t *out = malloc((size_t)MANY * 4096);
	struct remus_xen_store s;

	CU_ASSERT_EQUAL_FATAL(remus_xen_store_create(&s, MANY, NULL), 0);
	s.framed = s.settled = true;
	for (uint64_t pfn = 0; pfn < MANY; pfn++) {
		memset(remus_xen_store_place(&s, pfn), 1, 4096);
		remus_xen_store_page(&s, pfn, 0);
		number[pfn] = remus_xen_space_memory(MANY, pfn);
	}
	CU_ASSERT_EQUAL(remus_xen_store_take(&s, dirty), MANY + 5);
	remus_xen_store_copy(&s, number, MANY, out);
	CU_ASSERT(out[0] == 1 && out[(size_t)MANY * 4096 - 1] == 1);
	CU_ASSERT(s.held_count == MANY && s.resident_count == MANY);
	memset(remus_xen_store_place(&s, 3), 3, 4096);
	remus_xen_store_page(&s, 3, 0);
	remus_xen_store_take(&s, dirty);
	remus_xen_store_copy(&s, &number[3], 1, out);
	CU_ASSERT_EQUAL(out[0], 3);
	CU_ASSERT(s.held_count == 1 && s.resident_count == 1);
	CU_ASSERT_EQUAL(s.memory[4 * 4096], 0); /* it is the kernel's again */
	CU_ASSERT_EQUAL(s.memory[3 * 4096], 3);
	free(out);
	remus_xen_store_destroy(&s);
}

static const struct unit_case cases[] = {
	{"numbers", test_space},
	{"the first copy", test_first_copy},
	{"an epoch that was given up", test_given_up_epoch},
	{"types", test_types},
	{"memory is given back", test_trim},
};

UNIT_MAIN("xen-store", cases)
