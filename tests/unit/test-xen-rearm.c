/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When Xen's dirty set is cleared, against a model of a guest and of what Xen's log does with its writes. */
#include "unit.h"
#include "remus/bitmap.h"
#include "replicator/domain/xen/rearm.h"

#define PAGES 60000u

/* Xen's side: what was written since the set was last cleared; and what the engine has captured of it. */
struct model {
	struct remus_xen_rearm rearm;
	uint64_t log[(PAGES + 63) / 64];
	uint64_t written[(PAGES + 63) / 64]; /* since the last epoch */
	unsigned epochs, cleared, faults;
	uint64_t copied;
};

static void writes(struct model *m, uint64_t first, uint64_t count)
{
	for (uint64_t i = first; i < first + count; i++) {
		m->faults += !remus_bitmap_test(m->log, i % PAGES);
		remus_bitmap_set(m->log, i % PAGES);
		remus_bitmap_set(m->written, i % PAGES);
	}
}

/* One epoch's end: what was read holds all that was written (I9). */
static bool epoch(struct model *m, uint64_t changed)
{
	bool due = remus_xen_rearm_due(&m->rearm);
	uint64_t size = remus_bitmap_count(m->log, PAGES);

	for (size_t w = 0; w < REMUS_ARRAY_SIZE(m->log); w++)
		CU_ASSERT_EQUAL(m->written[w] & ~m->log[w], 0);
	memset(m->written, 0, sizeof m->written);
	if (due)
		memset(m->log, 0, sizeof m->log);
	remus_xen_rearm_fetched(&m->rearm, size, due);
	remus_xen_rearm_changed(&m->rearm, changed);
	m->epochs++;
	m->cleared += due;
	m->copied += size;
	return due;
}

static void forget(struct model *m)
{
	m->epochs = m->cleared = m->faults = 0;
	m->copied = 0;
}

/* A guest that does little: 400 pages in each epoch that its suspend writes, a tenth of them with a change. */
static void an_idle_guest(void)
{
	static struct model m;

	CU_ASSERT_TRUE(
		remus_xen_rearm_due(&m.rearm)); /* nobody told what became of the full copy's last set */
	for (unsigned i = 0; i < 1000; i++) {
		writes(&m, 0, 400);
		epoch(&m, 40);
	}
	CU_ASSERT_EQUAL(m.cleared, 1);
	CU_ASSERT_EQUAL(m.faults, 800);
	CU_ASSERT_EQUAL(m.copied, 400 * 1000);
}

/* As that, and forty pages more that are others each time: the set grows to twice its size and is cleared. */
static void a_set_that_grows(void)
{
	static struct model m;

	for (unsigned i = 0; i < 1000; i++) {
		writes(&m, 0, 400);
		writes(&m, 1000 + 40 * i, 40);
		epoch(&m, 80);
	}
	CU_ASSERT(m.cleared > 60 && m.cleared < 100); /* each 11 epochs or so */
	CU_ASSERT(m.copied <= 1000 * (2 * 440 + 40));
	CU_ASSERT(m.faults < 1000 * 440 / 4);
}

/* What was written once in a burst is not dragged along. */
static void a_burst(void)
{
	static struct model m;

	for (unsigned i = 0; i < 10; i++) {
		writes(&m, 0, 400);
		epoch(&m, 40);
	}
	writes(&m, 1000, 40000);
	epoch(&m, 40040);
	forget(&m);
	for (unsigned i = 0; i < 10; i++) {
		writes(&m, 0, 400);
		epoch(&m, 40);
	}
	CU_ASSERT(m.copied < 3 * 41000); /* twice until it is known to be over, and cleared */
	CU_ASSERT_EQUAL(m.cleared, 1);
}

/* The burst comes right after a clear: it is the set that others are measured by. */
static void a_burst_first(void)
{
	static struct model m;

	epoch(&m, 0); /* clears */
	writes(&m, 1000, 40000);
	epoch(&m, 40000);
	forget(&m);
	for (unsigned i = 0; i < 10; i++) {
		writes(&m, 0, 400);
		epoch(&m, 40);
	}
	CU_ASSERT_EQUAL(m.cleared, 1);
	CU_ASSERT(m.copied < 3 * 41000);
}

/* Always other pages: to leave them in the set saves nothing, which is tried less and less often. */
static void a_writer_that_streams(void)
{
	static struct model m;

	for (unsigned i = 0; i < 1000; i++) {
		writes(&m, 1000u * i, 1000);
		epoch(&m, 1000);
	}
	CU_ASSERT(m.epochs - m.cleared < 60);
	CU_ASSERT(m.copied < 1000 * 1000 * 11 / 10);
	/* and it stops: a long wait ends, though not at once */
	forget(&m);
	for (unsigned i = 0; i < 2 * REMUS_XEN_REARM_MAX; i++) {
		writes(&m, 0, 400);
		epoch(&m, 40);
	}
	CU_ASSERT(m.cleared <= REMUS_XEN_REARM_MAX + 2);
}

/* The full copy's rounds and epochs that are given up: nobody tells, so each reading clears. */
static void nobody_tells(void)
{
	struct remus_xen_rearm r = {0};

	for (unsigned i = 0; i < 5; i++) {
		CU_ASSERT_TRUE(remus_xen_rearm_due(&r));
		remus_xen_rearm_fetched(&r, 500, true);
	}
	remus_xen_rearm_changed(&r, 500);
	CU_ASSERT_FALSE(remus_xen_rearm_due(&r));
	remus_xen_rearm_fetched(&r, 500, false);
	CU_ASSERT_TRUE(remus_xen_rearm_due(&r)); /* given up */
}

/* Empty sets, and more changes than pages, decide nothing wrong. */
static void edges(void)
{
	struct remus_xen_rearm r = {0};

	remus_xen_rearm_fetched(&r, 0, true);
	remus_xen_rearm_changed(&r, 0);
	for (unsigned i = 0; i < 3; i++) {
		CU_ASSERT_FALSE(remus_xen_rearm_due(&r));
		remus_xen_rearm_fetched(&r, 0, false);
		remus_xen_rearm_changed(&r, 7);
	}
	remus_xen_rearm_fetched(&r, 10, false);
	remus_xen_rearm_changed(&r, 1000);
	CU_ASSERT_FALSE(remus_xen_rearm_due(&r));
	remus_xen_rearm_fetched(&r, 10, false);
	remus_xen_rearm_changed(&r, 0);
	CU_ASSERT_TRUE(remus_xen_rearm_due(&r)); /* nothing of it is needed */
}

static const struct unit_case cases[] = {
	{"an idle guest", an_idle_guest},
	{"a set that grows", a_set_that_grows},
	{"a burst", a_burst},
	{"a burst, right after a clear", a_burst_first},
	{"a writer that streams", a_writer_that_streams},
	{"nobody tells", nobody_tells},
	{"edges", edges},
};

UNIT_MAIN("xen-rearm", cases)
