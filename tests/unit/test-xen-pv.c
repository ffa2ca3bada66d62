/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Capturing a PV guest (replicator/domain/xen/pv.c) with the real saver and Xen's real libxenguest, against a host
 * that is made up (xen-fake.h): epochs, and then a failure and a crash at each single thing that the saver asks
 * of Xen. Whatever happens: the guest runs in the end (I8), log-dirty mode is off, nothing is left (I13).
 */
#include "unit.h"
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "remus/bitmap.h"
#include "replicator/domain/xen/domain.h"
#include "replicator/domain/xen/logdirty.h"
#include "replicator/domain/xen/records.h"
#include "replicator/domain/xen/space.h"
#include "xen-fake.h"

#define KIND (&remus_xen_pv)

enum { NUMBERS = 1 + 1 + FAKE_PAGES };

static char folder[] = "/tmp/test-xen-pv-XXXXXX";

struct rig {
	struct remus_xen_domain domain;
	struct remus_error err;
	uint64_t pending[NUMBERS / 64 + 1], number[NUMBERS];
	uint8_t pages[NUMBERS][4096]; /* what the backup has: by number */
	uint8_t *data;
};

static struct rig *open_rig(void)
{
	struct rig *r = calloc(1, sizeof *r);
	char path[64];

	snprintf(path, sizeof path, "%s/xen", folder);
	fake_xen_begin(path);
	r->data = malloc(NUMBERS * 4096);
	struct remus_xen_domain *d = &r->domain;
	d->domid = FAKE_DOMID;
	d->run_dir = folder;
	d->kind = KIND;
	d->guest.description.type = REMUS_XEN_PV;
	d->guest.description.pages = FAKE_PAGES;
	d->guest.description.width = 8;
	snprintf(d->guest.description.name, sizeof d->guest.description.name, "pv1");
	CU_ASSERT_EQUAL_FATAL(remus_xen_open(&d->xen, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(remus_xen_suspend_open(&d->suspend, &d->xen, d->xen.xs, d->domid, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(KIND->open(d, NULL), 0);
	CU_ASSERT_EQUAL(KIND->pages(d), NUMBERS);
	return r;
}

static void close_rig(struct rig *r)
{
	struct remus_xen_domain *d = &r->domain;

	KIND->track_stop(d);
	CU_ASSERT(!fake->log_dirty);
	CU_ASSERT_STRING_EQUAL(fake->mark, "");
	remus_xen_suspend_close(&d->suspend);
	KIND->close(d);
	remus_xen_close(&d->xen);
	CU_ASSERT(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
	free(r->data);
	free(r);
}

/* What the engine does, step by step; each returns what failed. */
static int copy_range(struct rig *r, uint64_t end, size_t piece)
{
	uint64_t cursor = 0;
	size_t n;

	while (cursor < end && (n = remus_bitmap_take(r->pending, NUMBERS, &cursor, r->number, piece))) {
		int rc = KIND->copy(&r->domain, r->number, n, r->data, &r->err);
		for (size_t i = 0; i < n; i++)
			if (rc < 0)
				remus_bitmap_set(r->pending, r->number[i]);
			else
				memcpy(r->pages[r->number[i]], r->data + 4096 * i, 4096);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int copy_up_to(struct rig *r, size_t count)
{
	return copy_range(r, 1, count);
}

static int copy_pending(struct rig *r, size_t piece)
{
	return copy_range(r, NUMBERS, piece);
}

static int first_copy(struct rig *r)
{
	int rc = KIND->track_start(&r->domain, &r->err);
	if (rc == 0)
		rc = KIND->populated(&r->domain, r->pending, &r->err);
	return rc == 0 ? copy_pending(r, 300) : rc;
}

static int epoch(struct rig *r)
{
	const uint8_t *state = NULL;
	size_t bytes = 0;
	int rc = KIND->pause(&r->domain, &r->err);

	if (rc == 0) {
		CU_ASSERT(fake->shutdown);
		rc = KIND->save_state(&r->domain, &state, &bytes, &r->err);
	}
	if (rc == 0) {
		CU_ASSERT_EQUAL(remus_xen_records_check_state(state, bytes, 8, NULL), 0);
		rc = KIND->track_fetch(&r->domain, r->pending, NULL, &r->err);
	}
	if (rc == 0)
		rc = copy_pending(r, NUMBERS);
	int resumed = KIND->resume(&r->domain, rc < 0 ? NULL : &r->err);
	return rc < 0 ? rc : resumed;
}

static uint8_t *page(struct rig *r, uint64_t pfn)
{
	return r->pages[remus_xen_space_memory(FAKE_PAGES, pfn)];
}

/* The backup's copy against the machine's memory: page tables by page frame numbers, without Xen's part. */
static void assert_equal_memory(struct rig *r)
{
	const uint8_t *types = r->pages[remus_xen_space_types(FAKE_PAGES, 0)];
	unsigned wrong = 0;

	for (uint64_t pfn = 0; pfn < FAKE_PAGES; pfn++) {
		uint64_t want[512] = {0};
		if (pfn == FAKE_HOLE) {
			wrong += types[pfn] != 15;
		} else {
			memcpy(want, fake->machine[fake_mfn(pfn)], 4096);
			wrong += types[pfn] != fake->type[fake_mfn(pfn)];
		}
		for (unsigned i = 0; (types[pfn] & 7) >= 1 && (types[pfn] & 7) <= 4 && i < 512; i++) {
			if (pfn == FAKE_L4 && i >= 256 && i <= 271)
				want[i] = 0;
			for (uint64_t to = 0; want[i] & 1 && to < FAKE_PAGES; to++)
				if (fake_mfn(to) == want[i] >> 12) {
					want[i] = to << 12 | (want[i] & 0xfff);
					break;
				}
		}
		wrong += memcmp(want, page(r, pfn), 4096) != 0;
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void test_epochs(void)
{
	struct rig *r = open_rig();

	CU_ASSERT_EQUAL_FATAL(KIND->track_start(&r->domain, &r->err), 0);
	CU_ASSERT_STRING_EQUAL(KIND->track_name(&r->domain), "log-dirty");
	KIND->populated(&r->domain, r->pending, NULL);
	CU_ASSERT_EQUAL(copy_up_to(r, 600), 0);
	CU_ASSERT(fake->log_dirty && !fake->shutdown);
	for (unsigned i = 0; i < 1500; i++) /* while it is copied */
		fake_guest_write(50 + i, 3, UINT64_C(0xd1d1) + i);
	CU_ASSERT_EQUAL(copy_pending(r, 300), 0);
	for (unsigned n = 1; n <= 5; n++) {
		fake_guest_write(500 + n, 7, n);
		fake_guest_write(FAKE_L1, 200 + n, fake_mfn(900 + n) << 12 | 0x63);
		if (n == 3) { /* a page becomes a page table, and one ceases to be */
			fake->type[fake_mfn(600)] = 9;
			fake->type[fake_mfn(FAKE_L1 + 7)] = 0;
			for (unsigned i = 0; i < 512; i++) {
				fake_guest_write(600, i, 0);
				fake_guest_write(FAKE_L1 + 7, i, i);
			}
		}
		CU_ASSERT_EQUAL(epoch(r), 0);
		CU_ASSERT_STRING_EQUAL(r->err.message, "");
		CU_ASSERT(!fake->shutdown);
		CU_ASSERT_EQUAL(fake->resumed, n);
		assert_equal_memory(r);
	}
	KIND->track_stop(&r->domain);
	CU_ASSERT(!fake->log_dirty && !fake->shutdown);
	CU_ASSERT_EQUAL(first_copy(r), 0); /* protected again */
	CU_ASSERT_EQUAL(epoch(r), 0);
	assert_equal_memory(r);
	close_rig(r);
}

/* An epoch that is given up after its pages were copied: they can be had again (I9). */
static void test_given_up(void)
{
	struct rig *r = open_rig();
	uint64_t kept[NUMBERS / 64 + 1];

	CU_ASSERT_EQUAL_FATAL(first_copy(r), 0);
	CU_ASSERT_EQUAL(epoch(r), 0);
	for (unsigned n = 0; n < 3; n++) {
		fake_guest_write(700 + n, 1, 0xabc0 + n);
		CU_ASSERT_EQUAL(KIND->pause(&r->domain, &r->err), 0);
		CU_ASSERT_EQUAL(KIND->track_fetch(&r->domain, r->pending, NULL, &r->err), 0);
		memcpy(kept, r->pending, sizeof kept);
		CU_ASSERT_EQUAL(copy_pending(r, NUMBERS), 0);
		memcpy(r->pending, kept, sizeof kept);
		for (unsigned i = 0; i <= n; i++) /* as if it had never come */
			memset(page(r, 700 + i), 0, 4096);
		CU_ASSERT_EQUAL(KIND->resume(&r->domain, &r->err), 0);
	}
	CU_ASSERT_EQUAL(epoch(r), 0);
	assert_equal_memory(r);
	close_rig(r);
}

/* A suspend that fails is tried again; libxenguest never hears of it. */
static void test_never_suspends(void)
{
	struct rig *r = open_rig();

	CU_ASSERT_EQUAL_FATAL(first_copy(r), 0);
	fake->never_suspends = true;
	CU_ASSERT_EQUAL(epoch(r), -ETIMEDOUT);
	UNIT_ASSERT_MESSAGE(r->err, "did not suspend");
	CU_ASSERT(!fake->shutdown && fake->log_dirty);
	fake->never_suspends = false;
	CU_ASSERT_EQUAL(epoch(r), 0);
	assert_equal_memory(r);
	close_rig(r);
}

/* Paused, and nothing captured: the checkpoint is written to its end before the guest goes on. A hand-over. */
static void test_pause_alone(void)
{
	struct rig *r = open_rig();

	CU_ASSERT_EQUAL_FATAL(first_copy(r), 0);
	CU_ASSERT_EQUAL(KIND->pause(&r->domain, &r->err), 0);
	CU_ASSERT_EQUAL(KIND->resume(&r->domain, &r->err), 0);
	CU_ASSERT_EQUAL(KIND->resume(&r->domain, &r->err), 0);
	fake_guest_write(800, 0, 0x800);
	CU_ASSERT_EQUAL(epoch(r), 0);
	assert_equal_memory(r);
	CU_ASSERT_EQUAL(KIND->pause(&r->domain, &r->err), 0);
	KIND->track_stop(&r->domain); /* the session ends in a pause: as it is */
	CU_ASSERT(fake->shutdown && !fake->log_dirty);
	CU_ASSERT_EQUAL(KIND->resume(&r->domain, &r->err), 0);
	CU_ASSERT(!fake->shutdown);
	close_rig(r);
}

static void test_no_shadow_paging(void)
{
	struct rig *r = open_rig();

	fake->no_shadow = true;
	CU_ASSERT(first_copy(r) < 0);
	UNIT_ASSERT_MESSAGE(r->err, "pv1: libxenguest has ended: xc_domain_save failed");
	CU_ASSERT(!fake->shutdown);
	close_rig(r);
}

/* The stream of a page table that can't be read while the guest stands: not an epoch. */
static void test_lost_table(void)
{
	struct rig *r = open_rig();

	CU_ASSERT_EQUAL_FATAL(first_copy(r), 0);
	CU_ASSERT_EQUAL(epoch(r), 0);
	fake_guest_write(FAKE_L1, 5, UINT64_C(4000) << 12 | 0x63); /* a frame that isn't the guest's */
	CU_ASSERT_EQUAL(epoch(r), -EIO);
	UNIT_ASSERT_MESSAGE(r->err, "page 23 is a page table");
	CU_ASSERT(!fake->shutdown && !fake->log_dirty);
	CU_ASSERT(epoch(r) < 0);
	close_rig(r);
}

/* Another program in the saver's place: garbage, a stream that is cut, nothing at all. */
static void test_garbage(void)
{
	static const struct {
		const char *script, *word;
		int code;
	} cases[] = {
		{"head -c 1000 /dev/zero >&4", "does not begin as", -EBADMSG},
		{"printf '\\377\\377\\377\\377\\377\\377\\377\\377XEN' >&4", "its process died", -EPIPE},
		{"exit 3", "its process died", -EPIPE},
		{"printf 'ended by itself' >&3", "its process died", -EPIPE},
	};
	char path[64], *saver = strdup(getenv("REMUS_XEN_SAVER"));

	snprintf(path, sizeof path, "%s/saver", folder);
	setenv("REMUS_XEN_SAVER", path, 1);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(cases); i++) {
		struct rig *r = open_rig();
		FILE *file = fopen(path, "we");
		fprintf(file, "#!/bin/sh\n%s\n", cases[i].script);
		fchmod(fileno(file), 0700);
		fclose(file);
		CU_ASSERT_EQUAL(first_copy(r), cases[i].code);
		UNIT_ASSERT_MESSAGE(r->err, i == 3 ? "by itself" : cases[i].word);
		CU_ASSERT(epoch(r) < 0);
		CU_ASSERT(!fake->shutdown);
		close_rig(r);
	}
	setenv("REMUS_XEN_SAVER", saver, 1);
	free(saver);
}

static unsigned tolerated; /* faults that did no harm */

static unsigned run_with_fault(unsigned at, enum fake_mode mode, unsigned *calls)
{
	struct rig *r = open_rig();

	fake->fault_at = at;
	fake->fault = mode;
	int rc = first_copy(r);
	for (unsigned n = 0; n < 3 && rc == 0; n++) {
		fake_guest_write(500 + n, 7, n);
		rc = epoch(r);
		CU_ASSERT(!fake->shutdown);
		if (rc == 0)
			assert_equal_memory(r);
	}
	unsigned faults = fake->faults;
	CU_ASSERT(!fake->shutdown);
	CU_ASSERT(rc == 0 || faults);
	tolerated += rc == 0 && faults;
	if (rc < 0)
		UNIT_ASSERT_MESSAGE(r->err, "pv1: ");
	if (rc < 0) { /* and it stays so */
		CU_ASSERT(epoch(r) < 0);
		CU_ASSERT(!fake->shutdown && !fake->log_dirty);
	}
	*calls = fake->saver_calls;
	close_rig(r);
	return faults;
}

static void test_faults(void)
{
	static const enum fake_mode modes[] = {FAKE_FAIL, FAKE_ABORT};
	unsigned calls, all;

	CU_ASSERT_EQUAL(run_with_fault(0, 0, &all), 0);
	printf("%u calls ", all);
	CU_ASSERT(all > 60);
	for (size_t m = 0; m < REMUS_ARRAY_SIZE(modes); m++)
		for (unsigned at = 1; at + 2 < all; at++) /* the last ones belong to its end */
			CU_ASSERT_EQUAL(run_with_fault(at, modes[m], &calls), 1);
	CU_ASSERT_EQUAL(tolerated, 1); /* libxenguest tries twice to turn log-dirty mode on */
}

/* The engine is killed in a pause: the saver lets the guest go on and puts Xen in order. */
static void test_engine_dies(void)
{
	for (unsigned stage = 0; stage < 3; stage++) {
		struct rig *r = open_rig();
		pid_t engine = fork();
		if (engine == 0) {
			int rc = first_copy(r);
			if (rc == 0 && stage > 0)
				rc = epoch(r);
			if (rc == 0 && stage > 1)
				rc = KIND->pause(&r->domain, NULL);
			kill(getpid(), rc == 0 ? SIGKILL : SIGTERM);
		}
		int status = 0;
		CU_ASSERT_EQUAL(waitpid(engine, &status, 0), engine);
		CU_ASSERT_EQUAL(WTERMSIG(status), SIGKILL);
		/* what the next engine's open() does */
		CU_ASSERT(remus_xen_logdirty_sweep(&r->domain.xen, FAKE_DOMID, NULL) >= 0);
		for (int i = 0; i < 500 && (fake->shutdown || fake->log_dirty); i++)
			usleep(10000);
		CU_ASSERT(!fake->shutdown && !fake->log_dirty);
		CU_ASSERT_EQUAL(first_copy(r), 0);
		CU_ASSERT_EQUAL(epoch(r), 0);
		assert_equal_memory(r);
		close_rig(r);
	}
}

static const struct unit_case cases[] = {
	{"epochs", test_epochs},
	{"an epoch that is given up", test_given_up},
	{"a guest that doesn't suspend", test_never_suspends},
	{"paused and not captured", test_pause_alone},
	{"no shadow paging", test_no_shadow_paging},
	{"a page table that can't be read", test_lost_table},
	{"the engine dies", test_engine_dies},
	{"garbage", test_garbage},
	{"a failure and a crash at every call", test_faults},
};

int main(void)
{
	char self[4000], saver[4096], command[64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	self[n > 0 ? n : 0] = 0;
	*strrchr(self, '/') = 0;
	snprintf(saver, sizeof saver, "%s/remus-fake-saver", self);
	setenv("REMUS_XEN_SAVER", saver, 1);
	if (!mkdtemp(folder))
		return 99;
	int status = unit_main("xen-pv", cases, REMUS_ARRAY_SIZE(cases));
	snprintf(command, sizeof command, "rm -rf %s", folder);
	return system(command) ? 99 : status;
}
