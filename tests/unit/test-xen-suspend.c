/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking a Xen guest to suspend: when it may be asked, when it began to stop, and whose requests are left alone. */
#include "replicator/domain/xen/suspend.h"

#include <unistd.h>
#include <xen/io/xs_wire.h>

#include "unit.h"
#include "xen-fake.h"

/* What a guest's requests about nothing have: START "", READ "control/shutdown", END "F"; and with WRITE. */
enum {
	NOTHING = 3 * sizeof(struct xsd_sockmsg) + 1 + sizeof "control/shutdown" + 2,
	SUSPEND = NOTHING + sizeof(struct xsd_sockmsg) + sizeof "control/shutdown",
};

/* A guest's epochs: what it asks for before it is looked at, then until it is resumed anew. */
static void test_ring(void)
{
	struct xenstore_domain_interface page = {.req_prod = UINT32_MAX - 20};
	struct remus_xen_ring ring = {.page = &page};
	static const struct {
		uint32_t before, after;
		unsigned behind; /* when it is looked at */
	} epochs[] = {
		{0, SUSPEND, 1},		 /* its own answer */
		{17, NOTHING - 17 + SUSPEND, 2}, /* it had to be asked too early once */
		{NOTHING, SUSPEND, 1},		 /* one read for each epoch: it does not catch up */
		{2 * NOTHING, SUSPEND, 0},	 /* and now it does */
		{NOTHING, 5000 + SUSPEND, 0},	 /* other requests than these */
		{0, SUSPEND, 1},
		{0, SUSPEND, 2},
		{0, SUSPEND, 3},
		{0, SUSPEND, 4},
		{3 * NOTHING, SUSPEND, 2},
	};

	CU_ASSERT_EQUAL(remus_xen_ring_behind(&ring), 0); /* it was never resumed */
	remus_xen_ring_mark(&ring);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(epochs); i++) {
		page.req_prod += epochs[i].before;
		unsigned behind = remus_xen_ring_behind(&ring);
		if (behind != epochs[i].behind)
			printf("\n    epoch %zu: %u", i, behind);
		CU_ASSERT_EQUAL(behind, epochs[i].behind);
		page.req_prod += epochs[i].after;
		remus_xen_ring_mark(&ring);
	}
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
	fake->slow = 3;
	for (unsigned i = 0; i < 17; i++) {
		uint64_t lead = remus_xen_suspend_lead(&r.suspend);
		r.suspend.answer.listened_us = i % 8 ? remus_now_us() + 60000000 : 0;
		uint64_t before = remus_now_us();
		CU_ASSERT_EQUAL(remus_xen_suspend_request(&r.suspend, &r.err), 0);
		CU_ASSERT_EQUAL(remus_xen_suspend_wait(&r.suspend, &r.info, &r.err), 0);
		CU_ASSERT(fake->shutdown);
		CU_ASSERT(r.suspend.began_us >= before && r.suspend.began_us <= remus_now_us());
		/* One in a while is heard; the others came as long after the request as is usual. */
		CU_ASSERT_EQUAL(fake->watches, 1 + i / 8);
		CU_ASSERT_EQUAL(r.suspend.answer.taken_us != 0, i % 8 == 0);
		CU_ASSERT_EQUAL(r.suspend.began_us == r.suspend.answer.taken_us, i % 8 == 0);
		CU_ASSERT_EQUAL(r.suspend.began_reckoned, i % 8 != 0);
		CU_ASSERT(i % 8 == 0 || (r.suspend.began_us > before && lead > 0));
		CU_ASSERT(remus_xen_suspend_lead(&r.suspend) > 0);
		CU_ASSERT_EQUAL(remus_xen_suspend_resume(&r.suspend, &r.err), 0);
		CU_ASSERT(!fake->shutdown);
	}
	/* One that nobody listens to, and that comes late for once: it is looked for. */
	fake->slow = 60;
	uint64_t asked = remus_now_us();
	CU_ASSERT_EQUAL(remus_xen_suspend_request(&r.suspend, &r.err), 0);
	uint64_t stop = r.suspend.answer.usual_stop_us;
	CU_ASSERT_EQUAL(remus_xen_suspend_wait(&r.suspend, &r.info, &r.err), 0);
	CU_ASSERT_EQUAL(r.suspend.answer.taken_us, 0);
	CU_ASSERT(r.suspend.began_us <= fake->taken_us);
	/* It was looked at 60 times at least, a millisecond apart, and for this again and again. */
	CU_ASSERT(stop > 30000 || r.suspend.began_us >= asked + 58000 - stop / 2);
	CU_ASSERT_EQUAL(remus_xen_suspend_resume(&r.suspend, &r.err), 0);
	fake->slow = 0;
	/* A stop that a killed engine left: nobody knows when it began. */
	fake->shutdown = true;
	CU_ASSERT_EQUAL(remus_xen_suspend_wait(&r.suspend, &r.info, &r.err), 0);
	CU_ASSERT_EQUAL(r.suspend.began_us, 0);
	end(&r);
}

/* The hypervisor lets the guest run before it lets us return. */
static void test_when_it_went_on(void)
{
	struct rig r;

	begin(&r);
	for (uint32_t held = 0; held <= 40000; held += 20000) {
		fake->held_us = held;
		CU_ASSERT_EQUAL(remus_xen_suspend_wait(&r.suspend, &r.info, &r.err), 0);
		uint64_t before = remus_now_us();
		CU_ASSERT_EQUAL(remus_xen_suspend_resume(&r.suspend, &r.err), 0);
		uint64_t after = remus_now_us();
		CU_ASSERT(r.suspend.resumed_us >= before);
		CU_ASSERT(r.suspend.resumed_us + held <= after);
	}
	fake->cpu_ns = 0; /* a count that says nothing */
	CU_ASSERT_EQUAL(remus_xen_suspend_wait(&r.suspend, &r.info, &r.err), 0);
	fake->held_us = 0;
	CU_ASSERT_EQUAL(remus_xen_suspend_resume(&r.suspend, &r.err), 0);
	CU_ASSERT(r.suspend.resumed_us <= remus_now_us());
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
	CU_ASSERT_EQUAL(r.suspend.answer.requested_us, 0);
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
	CU_ASSERT_EQUAL(r.suspend.answer.requested_us, 0);
	CU_ASSERT_EQUAL(r.suspend.late_until, 0); /* it had not been taken up */
	end(&r);
}

/* An HVM or PVH guest, by our own hypercalls. One that runs is left as it is. */
static void test_told_that_it_was_called_off(void)
{
	struct rig r;
	struct remus_xen_vcpus vcpus;

	begin(&r);
	CU_ASSERT_EQUAL_FATAL(remus_xen_vcpus_open(&vcpus, r.xen.log, FAKE_DOMID, &r.err), 0);
	r.suspend.vcpus = &vcpus;
	for (unsigned i = 1; i <= 2; i++) {
		CU_ASSERT_EQUAL(remus_xen_suspend_wait(&r.suspend, &r.info, &r.err), 0);
		fake->rax = 0;
		fake->rip = 0x1234;
		CU_ASSERT_EQUAL(remus_xen_suspend_resume(&r.suspend, &r.err), 0);
		CU_ASSERT(!fake->shutdown);
		CU_ASSERT_EQUAL(fake->resumed, i);
		CU_ASSERT_EQUAL(fake->rax, 1);
		CU_ASSERT_EQUAL(fake->rip, 0x1234);
	}
	fake->rax = 77;
	CU_ASSERT_EQUAL(remus_xen_suspend_resume(&r.suspend, &r.err), 0);
	CU_ASSERT_EQUAL(fake->rax, 77);
	CU_ASSERT_EQUAL(fake->resumed, 2);
	r.suspend.vcpus = NULL;
	remus_xen_vcpus_close(&vcpus);
	remus_xen_vcpus_close(&vcpus);
	end(&r);
}

static void test_vcpu_state(void)
{
	struct rig r;
	struct remus_xen_vcpus vcpus;
	const uint8_t *state = NULL;
	size_t bytes = 0;

	begin(&r);
	CU_ASSERT_EQUAL_FATAL(remus_xen_vcpus_open(&vcpus, r.xen.log, FAKE_DOMID, &r.err), 0);
	fake->context = 0;
	CU_ASSERT_EQUAL(remus_xen_vcpus_read(&vcpus, &state, &bytes, &r.err), -EIO);
	fake->context = (16u << 20) + 1;
	CU_ASSERT_EQUAL(remus_xen_vcpus_read(&vcpus, &state, &bytes, &r.err), -EIO);
	UNIT_ASSERT_MESSAGE(r.err, "16777217 bytes");
	fake->sized = 0;
	fake->context = 5000;
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL_FATAL(remus_xen_vcpus_read(&vcpus, &state, &bytes, &r.err), 0);
		CU_ASSERT_EQUAL_FATAL(bytes, 5000);
		CU_ASSERT_EQUAL(state[4999], (uint8_t)4999);
	}
	CU_ASSERT_EQUAL(fake->sized, 1);
	fake->context = 9000; /* more than there is room for: nothing is cut off */
	CU_ASSERT_EQUAL(remus_xen_vcpus_read(&vcpus, &state, &bytes, &r.err), -ENOSPC);
	UNIT_ASSERT_MESSAGE(r.err, "its vCPU state can't be read");
	remus_xen_vcpus_close(&vcpus);
	end(&r);
}

static const struct unit_case cases[] = {
	{"how far a guest is behind xenstore", test_ring},
	{"when a guest began to stop", test_when_it_began},
	{"when it went on", test_when_it_went_on},
	{"it is told that the suspend was called off", test_told_that_it_was_called_off},
	{"the state of its vCPUs", test_vcpu_state},
	{"somebody else's request is left alone", test_somebody_elses_request},
	{"a request that nobody waits for is called off", test_called_off},
};
UNIT_MAIN("xen: suspend", cases)
