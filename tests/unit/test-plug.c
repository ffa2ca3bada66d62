// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The plug's sequences on the kernel of plug-kernel.h: what leaves, what never does, what is left behind.
 */
#include "config.h"
#include "plug.h"
#include "plug-kernel.h"

#include <sys/mman.h>
#include <unistd.h>

#define OPS remus_netbuf_plug

static struct plug_kernel kernel;

static int try_open(uint64_t max_bytes, struct remus_netbuf **out, struct remus_error *err)
{
	struct remus_netbuf_config config = {.max_bytes = max_bytes,
					     .nic = {.kind = REMUS_NIC_VIF, .interface = "vif5.0"}};

	return plug_open_on(&kernel.base, &config, out, err);
}

static struct remus_netbuf *open_plug(uint64_t max_bytes)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_netbuf *netbuf = NULL;
	int rc = try_open(max_bytes, &netbuf, &err);

	if (rc < 0)
		printf("\n    %s\n", err.message);
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	return netbuf;
}

#define DO(netbuf, op, ...) CU_ASSERT_EQUAL_FATAL(OPS.op((netbuf), ##__VA_ARGS__, NULL), 0)

static int frames(int count)
{
	int first = kernel.next_frame;

	while (count--)
		kernel_frame(&kernel);
	return first;
}

/* These have left, and no others. */
static void expect(int first, int count)
{
	for (int i = 0; i < count; i++) {
		CU_ASSERT_FATAL(kernel.next_out < kernel.outs);
		CU_ASSERT_EQUAL(kernel.out[kernel.next_out++], first + i);
	}
	CU_ASSERT_EQUAL(kernel.next_out, kernel.outs);
}

static void silent(void)
{
	expect(0, 0);
}

static void untouched(void)
{
	CU_ASSERT_EQUAL(kernel.gate, 0);
	CU_ASSERT_FALSE(kernel.ingress);
	expect(frames(1), 1);
}

static void one_frame(struct plug_kernel *k)
{
	kernel_frame(k);
}

/* ---- cases ---- */

static void epochs(void)
{
	struct remus_netbuf_stats stats;

	plug_kernel_boot(&kernel);
	expect(frames(1), 1);
	struct remus_netbuf *nb = open_plug(0);
	CU_ASSERT_EQUAL(kernel.plug[0].limit, 64u << 20);
	struct redirect gate = {.index = 5, .gate = kernel.gate};
	CU_ASSERT(redirect_leads(&kernel.base, &gate));
	int a = frames(3);
	silent(); /* closed */
	CU_ASSERT_EQUAL(OPS.seal(nb, 1, NULL), -EINVAL);
	CU_ASSERT_EQUAL(OPS.release(nb, 1, NULL), -EINVAL);
	DO(nb, pass);
	expect(a, 3);
	expect(frames(5), 5);
	CU_ASSERT_EQUAL(OPS.seal(nb, 1, NULL), -EINVAL);
	DO(nb, hold);
	a = frames(4);
	DO(nb, seal, 7);
	int b = frames(2);
	silent();
	DO(nb, release, 6);
	silent();
	DO(nb, release, 7);
	expect(a, 4);
	DO(nb, release, 7); /* nothing is sealed */
	silent();
	DO(nb, seal, 8);
	a = frames(6);
	OPS.stats(nb, &stats);
	CU_ASSERT_EQUAL(stats.held_packets, 8);
	CU_ASSERT_EQUAL(stats.held_bytes, 800);
	CU_ASSERT_EQUAL(stats.accepted_packets, 20);
	CU_ASSERT_EQUAL(stats.released_packets, 12);
	CU_ASSERT_EQUAL(stats.released_bytes, 1200);
	DO(nb, release, 9); /* a later ack covers it */
	expect(b, 2);
	DO(nb, pass);
	expect(a, 6);
	OPS.close(nb);
	CU_ASSERT_FALSE(redirect_leads(&kernel.base, &gate));
	untouched();
}

static void one_sealed_epoch(void)
{
	struct remus_error err = REMUS_ERROR_INIT;

	plug_kernel_boot(&kernel);
	struct remus_netbuf *nb = open_plug(0);
	DO(nb, hold);
	int a = frames(3);
	DO(nb, seal, 1);
	int b = frames(2), asked = kernel.asked;
	CU_ASSERT_EQUAL(OPS.seal(nb, 2, &err), -EBUSY); /* I10 */
	UNIT_ASSERT_MESSAGE(err, "epoch 1 is sealed");
	CU_ASSERT_EQUAL(kernel.asked, asked); /* there are but two bands */
	DO(nb, release, 1);
	expect(a, 3);
	DO(nb, seal, 2);
	DO(nb, release, 2);
	expect(b, 2);
	DO(nb, pass);
	OPS.close(nb);
}

static void overflow_drops(void)
{
	struct remus_netbuf_stats stats;

	plug_kernel_boot(&kernel);
	struct remus_netbuf *nb = open_plug(1000);
	DO(nb, hold);
	int a = frames(25);
	DO(nb, seal, 1);
	OPS.stats(nb, &stats);
	CU_ASSERT_EQUAL(stats.held_packets, 10);
	CU_ASSERT_EQUAL(stats.dropped_packets, 15);
	DO(nb, release, 1);
	expect(a, 10);
	frames(11);
	DO(nb, discard);
	OPS.stats(nb, &stats); /* counters go on over the new plug */
	CU_ASSERT_EQUAL(stats.dropped_packets, 16);
	CU_ASSERT_EQUAL(stats.discarded_packets, 10);
	CU_ASSERT_EQUAL(stats.accepted_packets, 20);
	CU_ASSERT_EQUAL(stats.held_packets_peak, 10);
	DO(nb, pass);
	OPS.close(nb);
}

/* Lines on stderr that hold @text, from here on until the next call. */
static int complaints(const char *text)
{
	static int log = -1, terminal = -1;
	char line[512];
	int n = 0;

	if (log < 0) {
		log = memfd_create("log", MFD_CLOEXEC);
		terminal = dup(STDERR_FILENO);
		CU_ASSERT_FATAL(log >= 0 && terminal >= 0 && dup2(log, STDERR_FILENO) >= 0);
		return 0;
	}
	dup2(terminal, STDERR_FILENO);
	FILE *f = fdopen(log, "r");
	rewind(f);
	while (fgets(line, sizeof line, f))
		n += strstr(line, text) != NULL;
	fclose(f);
	close(terminal);
	log = -1;
	return n;
}

/* Somebody opens a closed band behind our back: it can't be undone, but it is said, once for what got out (I1). */
static void a_leak_is_told(void)
{
	plug_kernel_boot(&kernel);
	struct remus_netbuf *nb = open_plug(0);
	DO(nb, hold);
	complaints("");
	for (uint64_t epoch = 1; epoch < 5; epoch++) {
		frames(2);
		DO(nb, seal, epoch);
		frames(1); /* of the next epoch, before the ack */
		DO(nb, release, epoch);
	}
	CU_ASSERT_EQUAL(complaints("isn't acknowledged have left"), 0);
	frames(2);
	DO(nb, seal, 5);
	frames(3);
	kernel.plug[kernel.led_to].open = true;
	kernel_dequeue(&kernel);
	complaints("");
	DO(nb, release, 5);
	CU_ASSERT_EQUAL(complaints("isn't acknowledged have left"), 1);
	complaints("");
	DO(nb, seal, 6);
	DO(nb, release, 6);
	CU_ASSERT_EQUAL(complaints("isn't acknowledged have left"), 0);
	OPS.close(nb);
}

/* The guest stands still in seal(): two orders, and no question (what the counters say is read later). */
static void seal_asks_nothing(void)
{
	plug_kernel_boot(&kernel);
	struct remus_netbuf *nb = open_plug(0);
	DO(nb, hold);
	frames(3);
	int asked = kernel.asked;
	DO(nb, seal, 1);
	CU_ASSERT_EQUAL(kernel.asked - asked, 2);
	DO(nb, pass);
	OPS.close(nb);
}

/* The guest sends in the middle of everything. */
static void no_leak_while_sending(void)
{
	plug_kernel_boot(&kernel);
	struct remus_netbuf *nb = open_plug(0);
	DO(nb, hold);
	kernel.meanwhile = one_frame;
	for (int i = 0; i < 3; i++) {
		DO(nb, discard);
		DO(nb, seal, 1);
		DO(nb, discard);
	}
	OPS.close(nb); /* holding */
	frames(5);
	silent();
	CU_ASSERT(kernel.gate && !kernel.gate_up);
	for (int i = 0; i < 3; i++) { /* taking over */
		nb = open_plug(0);
		if (i == 1)
			DO(nb, hold);
		OPS.close(nb);
		silent();
	}
	nb = open_plug(0);
	kernel.meanwhile = NULL;
	int waiting = kernel_length(&kernel); /* since the new plug; all older ones are gone */
	int a = frames(2);
	silent();
	DO(nb, pass);
	expect(a - waiting, waiting + 2);
	OPS.close(nb);
	untouched();
}

static void killed_engine(void)
{
	plug_kernel_boot(&kernel);
	struct remus_netbuf *nb = open_plug(0);
	DO(nb, hold);
	frames(4);
	DO(nb, seal, 1);
	frames(4);
	free(nb); /* killed */
	frames(4);
	silent();
	struct remus_netbuf *next = open_plug(0);
	silent();
	int a = frames(2);
	DO(next, hold);
	DO(next, seal, 1);
	DO(next, release, 1);
	expect(a, 2);
	DO(next, pass);
	OPS.close(next);
	untouched();
}

static void sweeps(void)
{
	plug_kernel_boot(&kernel);
	free(open_plug(0));
	frames(4);
	CU_ASSERT_EQUAL(plug_sweep_on(&kernel.base, "vif5.0", NULL), 0);
	silent();
	untouched();
	CU_ASSERT_EQUAL(plug_sweep_on(&kernel.base, "vif5.0", NULL), 0);
	free(open_plug(0));
	CU_ASSERT_EQUAL(plug_sweep_on(&kernel.base, NULL, NULL), 0);
	CU_ASSERT(kernel.gate != 0); /* its interface is there */
	kernel.vif_gone = true;
	kernel.ingress = false;
	CU_ASSERT_EQUAL(plug_sweep_on(&kernel.base, "vif5.0", NULL), 0);
	CU_ASSERT_EQUAL(kernel.gate, 0);
}

static void gate_removed_by_hand(void)
{
	plug_kernel_boot(&kernel);
	free(open_plug(0));
	kernel.gate = 0;
	kernel.gate_up = false;
	kernel.filter[0].target = 0;
	kernel.meanwhile = one_frame;
	struct remus_netbuf *nb = open_plug(0);
	silent();
	CU_ASSERT_EQUAL(kernel.filter[0].handle, 0);
	CU_ASSERT_EQUAL(kernel.filter[1].target, kernel.gate);
	DO(nb, hold);
	OPS.close(nb);
	silent();
	kernel.meanwhile = NULL;
	CU_ASSERT_EQUAL(plug_sweep_on(&kernel.base, "vif5.0", NULL), 0);
	untouched();
}

static void foreign_filter(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_netbuf *nb;

	plug_kernel_boot(&kernel);
	kernel.ingress = kernel.foreign_filter = true;
	CU_ASSERT_EQUAL(try_open(0, &nb, &err), -EEXIST);
	UNIT_ASSERT_MESSAGE(err, "isn't of remus");
	struct redirect r = {.index = 5, .gate = kernel.gate};
	CU_ASSERT_FALSE(redirect_leads(&kernel.base, &r));
	CU_ASSERT(kernel.ingress);
	CU_ASSERT_EQUAL(kernel.gate, 0);
	kernel.foreign_filter = false;
	kernel.vif_gone = true;
	CU_ASSERT_EQUAL(try_open(0, &nb, &err), -ENODEV);
	UNIT_ASSERT_MESSAGE(err, "vif5.0");
}

static void missing_modules(void)
{
	static const char *const module[] = {"sch_prio",   "sch_plug",	   "ifb",
					     "act_mirred", "cls_matchall", "sch_ingress"};
	struct remus_netbuf *nb;

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(module); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		plug_kernel_boot(&kernel);
		kernel.lacks = module[i];
		CU_ASSERT(try_open(0, &nb, &err) < 0);
		UNIT_ASSERT_MESSAGE(err, "modprobe");
		UNIT_ASSERT_MESSAGE(err, module[i]);
		untouched();
	}
}

/* Whatever single request fails: nothing leaks, and a failed open leaves nothing. */
static void each_request_fails(void)
{
	struct remus_netbuf *nb;

	for (int at = 1; at < 60; at++) {
		plug_kernel_boot(&kernel);
		kernel.fail_at = at;
		if (try_open(0, &nb, NULL) < 0) {
			untouched();
			continue;
		}
		int a = frames(2);
		bool holding = OPS.hold(nb, NULL) == 0;
		bool sealed = holding && OPS.seal(nb, 1, NULL) == 0;
		frames(2);
		bool released = sealed && OPS.release(nb, 1, NULL) == 0;
		expect(a, released ? 2 : 0);
		OPS.discard(nb, NULL);
		silent();
		OPS.close(nb);
		frames(2);
		silent();
		if (plug_sweep_on(&kernel.base, "vif5.0", NULL) == 0)
			untouched();
	}
}

/* ---- a walk against a model: frames may leave when, and only when, the contract says so ---- */

static uint64_t seed;

static unsigned chance(unsigned of)
{
	seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
	return (unsigned)(seed >> 20) % of;
}

struct model {
	int first, sealed, end; /* held: [first, sealed) sealed, [sealed, end) not */
	bool has_sealed;
	enum { M_CLOSED, M_PASSING, M_HOLDING } state;
};

static void model_frames(struct model *m)
{
	int n = (int)chance(5), first = frames(n);

	if (m->state == M_PASSING)
		expect(first, n);
	m->end = kernel.next_frame;
	if (m->state == M_PASSING)
		m->first = m->sealed = m->end;
}

static void model_drop(struct model *m)
{
	m->first = m->sealed = m->end = kernel.next_frame;
	m->has_sealed = false;
}

static void model_step(struct model *m, struct remus_netbuf **nb, uint64_t step)
{
	switch (chance(16)) {
	case 0:
		DO(*nb, pass);
		expect(m->first, m->end - m->first);
		model_drop(m);
		m->state = M_PASSING;
		break;
	case 1:
	case 2:
		DO(*nb, hold);
		m->state = M_HOLDING;
		break;
	case 3:
		DO(*nb, discard);
		if (m->state == M_HOLDING)
			model_drop(m);
		break;
	case 4: /* killed, taken up */
		free(*nb);
		*nb = open_plug(0);
		model_drop(m);
		m->state = M_CLOSED;
		break;
	case 5:
		OPS.close(*nb);
		CU_ASSERT_EQUAL_FATAL(plug_sweep_on(&kernel.base, "vif5.0", NULL), 0);
		*nb = open_plug(0);
		model_drop(m);
		m->state = M_CLOSED;
		break;
	case 6:
	case 7:
	case 8:
	case 9: {
		int rc = OPS.seal(*nb, step, NULL);
		CU_ASSERT_EQUAL(rc, m->state != M_HOLDING ? -EINVAL : m->has_sealed ? -EBUSY : 0);
		if (rc == 0) {
			m->has_sealed = true;
			m->sealed = m->end;
		}
		break;
	}
	case 10:
	case 11:
	case 12:
	case 13:
		CU_ASSERT_EQUAL(OPS.release(*nb, step, NULL), m->state == M_CLOSED ? -EINVAL : 0);
		if (m->has_sealed) {
			expect(m->first, m->sealed - m->first);
			m->first = m->sealed;
			m->has_sealed = false;
		}
		break;
	}
	model_frames(m);
	silent();
}

static void walk(void)
{
	for (uint64_t s = 1; s <= 200; s++) {
		struct model m = {0};
		seed = s * 0x9e3779b97f4a7c15u;
		plug_kernel_boot(&kernel);
		struct remus_netbuf *nb = open_plug(0);
		for (uint64_t step = 1; step <= 150; step++) {
			model_step(&m, &nb, step);
			if (CU_get_number_of_failures()) {
				printf("\n    seed %llu, step %llu\n", (unsigned long long)s,
				       (unsigned long long)step);
				CU_ASSERT_FATAL(!"the walk stops");
			}
		}
		OPS.close(nb);
	}
}

static const struct unit_case cases[] = {
	{"epochs", epochs},
	{"one sealed epoch", one_sealed_epoch},
	{"a leak is told", a_leak_is_told},
	{"seal asks nothing", seal_asks_nothing},
	{"overflow drops", overflow_drops},
	{"no leak while the guest sends", no_leak_while_sending},
	{"killed engine", killed_engine},
	{"sweeps", sweeps},
	{"gate removed by hand", gate_removed_by_hand},
	{"foreign filter", foreign_filter},
	{"missing modules", missing_modules},
	{"each request fails", each_request_fails},
	{"walk", walk},
};

UNIT_MAIN("plug", cases)
