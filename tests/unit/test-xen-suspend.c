/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking a Xen guest to suspend: when it may be asked, when it began to stop, and whose requests are left alone. */
#include "replicator/domain/xen/suspend.h"

#include <unistd.h>
#include <xen/io/xs_wire.h>

#include "unit.h"
#include "xen-fake.h"

#define MS 1000u

/* What a guest's three requests about nothing have: START "", READ "control/shutdown", END "F". */
enum { EMPTY_READ = 3 * sizeof(struct xsd_sockmsg) + 1 + sizeof "control/shutdown" + 2 };

static void test_ring(void)
{
	struct xenstore_domain_interface page = {.req_prod = UINT32_MAX - 20, .req_cons = UINT32_MAX - 20};
	struct remus_xen_ring ring = {.page = &page};
	uint32_t from = page.req_prod;

	CU_ASSERT(remus_xen_ring_settled(&ring, 0)); /* nobody was resumed */
	remus_xen_ring_mark(&ring);
	static const struct {
		uint64_t ms;
		uint32_t asked, taken; /* request bytes since the resume, and those that xenstored has read */
		uint32_t answered, read;
		bool settled;
	} steps[] = {
		{1, 0, 0, 0, 0, false},
		{500, 0, 0, 0, 0, false}, /* quiet, but it has not read yet */
		{501, 17, 0, 0, 0, false},
		{502, 17, 17, 17, 17, false},
		{503, EMPTY_READ, EMPTY_READ, 60, 60, false}, /* just read: another event may follow */
		{512, EMPTY_READ, EMPTY_READ, 60, 60, false},
		{513, EMPTY_READ, EMPTY_READ, 60, 60, true},
		{514, EMPTY_READ + 17, EMPTY_READ + 17, 60, 60, false}, /* it does */
		{600, 2 * EMPTY_READ, 2 * EMPTY_READ, 90, 60, false},	/* an answer that it has not read */
		{700, 2 * EMPTY_READ, 2 * EMPTY_READ, 90, 90, false},
		{709, 2 * EMPTY_READ, 2 * EMPTY_READ, 90, 90, false},
		{710, 2 * EMPTY_READ, 2 * EMPTY_READ, 90, 90, true},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(steps); i++) {
		page.req_prod = from + steps[i].asked;
		page.req_cons = from + steps[i].taken;
		page.rsp_prod = steps[i].answered;
		page.rsp_cons = steps[i].read;
		bool settled = remus_xen_ring_settled(&ring, (1000 + steps[i].ms) * MS);
		if (settled != steps[i].settled)
			printf("\n    at %d ms: %d\n", (int)steps[i].ms, settled);
		CU_ASSERT_EQUAL(settled, steps[i].settled);
	}
	remus_xen_ring_mark(&ring); /* resumed again */
	CU_ASSERT(!remus_xen_ring_settled(&ring, 2000 * MS));
}

struct rig {
	struct remus_xen_handles xen;
	struct remus_xen_suspend suspend;
	xc_dominfo_t info;
	struct remus_error err;
	char path[64];
};

static void begin(struct rig *r)
{
	*r = (struct rig){.err = REMUS_ERROR_INIT};
	snprintf(r->path, sizeof r->path, "/tmp/test-xen-suspend-%d", (int)getpid());
	fake_xen_begin(r->path);
	CU_ASSERT_EQUAL_FATAL(remus_xen_open(&r->xen, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(remus_xen_suspend_open(&r->suspend, &r->xen, r->xen.xs, FAKE_DOMID, NULL), 0);
	remus_xen_suspend_listen(&r->suspend);
}

static void end(struct rig *r)
{
	remus_xen_suspend_close(&r->suspend);
	remus_xen_close(&r->xen);
	unlink(r->path);
}

static void test_when_it_began(void)
{
	struct rig r;

	begin(&r);
	CU_ASSERT_EQUAL(remus_xen_suspend_lead(&r.suspend), 0); /* nothing is known yet */
	for (int i = 0; i < 3; i++) {
		uint64_t before = remus_now_us();
		CU_ASSERT_EQUAL(remus_xen_suspend_request(&r.suspend, &r.err), 0);
		CU_ASSERT_EQUAL(remus_xen_suspend_wait(&r.suspend, &r.info, &r.err), 0);
		CU_ASSERT(fake->shutdown);
		CU_ASSERT(r.suspend.began_us >= before && r.suspend.began_us <= remus_now_us());
		CU_ASSERT_EQUAL(remus_xen_suspend_resume(&r.suspend, &r.err), 0);
		CU_ASSERT(!fake->shutdown);
	}
	/* A stop that a killed engine left: nobody knows when it began. */
	fake->shutdown = true;
	CU_ASSERT_EQUAL(remus_xen_suspend_wait(&r.suspend, &r.info, &r.err), 0);
	CU_ASSERT_EQUAL(r.suspend.began_us, 0);
	end(&r);
}

/* "Never overwritten": a shutdown that somebody asked for comes first, and the guest runs on (I8). */
static void test_somebody_elses_request(void)
{
	struct rig r;

	begin(&r);
	strcpy(fake->control, "poweroff");
	fake->writes++;
	CU_ASSERT_EQUAL(remus_xen_suspend_wait(&r.suspend, &r.info, &r.err), -EBUSY);
	UNIT_ASSERT_MESSAGE(r.err, "poweroff");
	CU_ASSERT_STRING_EQUAL(fake->control, "poweroff");
	CU_ASSERT(!fake->shutdown);
	CU_ASSERT_EQUAL(r.suspend.requested_us, 0);
	fake->control[0] = 0;
	CU_ASSERT_EQUAL(remus_xen_suspend_wait(&r.suspend, &r.info, &r.err), 0);
	CU_ASSERT_EQUAL(remus_xen_suspend_resume(&r.suspend, &r.err), 0);
	end(&r);
}

/* A request that nobody waits for is taken back. */
static void test_called_off(void)
{
	struct rig r;

	begin(&r);
	fake->never_suspends = true;
	CU_ASSERT_EQUAL(remus_xen_suspend_request(&r.suspend, &r.err), 0);
	CU_ASSERT_STRING_EQUAL(fake->control, "suspend");
	remus_xen_suspend_settle(&r.suspend, 0);
	CU_ASSERT_STRING_EQUAL(fake->control, "");
	CU_ASSERT_EQUAL(r.suspend.requested_us, 0);
	CU_ASSERT_EQUAL(r.suspend.late_until, 0); /* it had not been taken up */
	end(&r);
}

static const struct unit_case cases[] = {
	{"a guest that has read what its answer left over may be asked again", test_ring},
	{"when a guest began to stop", test_when_it_began},
	{"somebody else's request is left alone", test_somebody_elses_request},
	{"a request that nobody waits for is called off", test_called_off},
};
UNIT_MAIN("xen: suspend", cases)
