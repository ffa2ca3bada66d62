// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The plug on a real kernel, in a network namespace of its own:
 *
 *     g0 ----veth---- vif0 [gate] --+-- br0 --+-- up0 ----veth---- far0
 *     "guest"                        bridge                        "network"
 *
 * Needs sch_plug, sch_prio, ifb, act_mirred, cls_matchall, sch_ingress, veth and bridge, and nothing else: it makes its
 * interfaces itself, so that it runs as well in a Xen dom0 as from an initramfs. Without them it says what is
 * missing and exits with 77.
 *
 * No assertion on time. That frames are held is known from the plug's own count of them; only then does it mean
 * something that nothing arrived. What must arrive is waited for.
 */
#include "config.h"
#include "remus/netbuf.h"
#include "remus/util.h"
#include "plug-rig.h"

#include <sys/mman.h>

#define RACE_EPOCHS 3000

static struct rig rig;

static struct remus_netbuf *open_plug(uint64_t max_bytes)
{
	struct remus_netbuf_config config = {.max_bytes = max_bytes};
	struct remus_netbuf *netbuf = NULL;
	struct remus_error err = REMUS_ERROR_INIT;

	config.nic.kind = REMUS_NIC_VIF;
	memcpy(config.nic.mac, rig_guest_mac, 6);
	strcpy(config.nic.interface, "vif0");
	if (remus_netbuf_plug.open(&config, &netbuf, &err) < 0)
		DIE("open: %s", err.message);
	return netbuf;
}

#define DO(netbuf, op, ...)                                                \
	do {                                                               \
		struct remus_error e_ = REMUS_ERROR_INIT;                  \
		if ((netbuf)->ops->op((netbuf), ##__VA_ARGS__, &e_) < 0)   \
			DIE("%s, line %d: %s", #op, __LINE__, e_.message); \
	} while (0)

static struct remus_netbuf_stats stats_of(struct remus_netbuf *netbuf)
{
	struct remus_netbuf_stats stats;

	netbuf->ops->stats(netbuf, &stats);
	return stats;
}

/* Exactly so many are in the plug; so none of them is anywhere else. */
static void held(struct remus_netbuf *netbuf, uint64_t frames)
{
	for (int ms = 0; ms < RIG_PATIENCE_MS && stats_of(netbuf).held_packets != frames; ms++)
		usleep(1000);
	CHECK_EQUAL(stats_of(netbuf).held_packets, frames);
}

static void sweep(const char *interface)
{
	struct remus_error err = REMUS_ERROR_INIT;

	if (remus_netbuf_plug_sweep(interface, &err) < 0)
		DIE("sweep: %s", err.message);
}

/* No gate, no filter: as if we had never been there. */
static void clean(void)
{
	CHECK(!rig_gate_exists(&rig));
	CHECK(!rig_has_ingress(&rig));
}

static void flows(void)
{
	uint64_t n = rig_send_kinds(&rig);
	rig_expect(&rig, n, RIG_KINDS);
	CHECK(rig_silent(&rig));
}

/* ---- the cases ---- */

static void epochs(void)
{
	struct remus_netbuf *nb = open_plug(0);
	uint64_t a, b;

	CHECK(rig_gate_exists(&rig));
	a = rig_send_kinds(&rig); /* closed */
	held(nb, RIG_KINDS);
	CHECK(rig_silent(&rig));
	DO(nb, pass);
	rig_expect(&rig, a, RIG_KINDS);
	flows();

	DO(nb, hold);
	a = rig_send_kinds(&rig);
	held(nb, RIG_KINDS);
	CHECK(rig_silent(&rig));
	DO(nb, seal, 1);
	b = rig_send_kinds(&rig);
	held(nb, 2 * RIG_KINDS);
	CHECK(rig_silent(&rig));			 /* I1 */
	CHECK_EQUAL(nb->ops->seal(nb, 2, NULL), -EBUSY); /* I10 */
	DO(nb, release, 0);
	held(nb, 2 * RIG_KINDS);
	DO(nb, release, 1);
	rig_expect(&rig, a, RIG_KINDS);
	held(nb, RIG_KINDS);
	CHECK(rig_silent(&rig));
	rig_far_sends(&rig, 7); /* inwards all goes on */
	rig_guest_gets(&rig, 7);
	DO(nb, seal, 2);
	DO(nb, release, 2);
	rig_expect(&rig, b, RIG_KINDS);
	a = rig_send_kinds(&rig);
	held(nb, RIG_KINDS);
	struct remus_netbuf_stats s = stats_of(nb);
	CHECK_EQUAL(s.accepted_packets, 5 * RIG_KINDS);
	CHECK_EQUAL(s.released_packets, 4 * RIG_KINDS);
	CHECK_EQUAL(s.dropped_packets, 0);
	DO(nb, pass);
	rig_expect(&rig, a, RIG_KINDS);
	nb->ops->close(nb);
	clean();
	flows();
}

static void many_epochs(void)
{
	struct remus_netbuf *nb = open_plug(0);
	uint64_t first = 0, took = 0, before;
	unsigned waiting = 0;

	DO(nb, pass);
	flows();
	DO(nb, hold);
	for (uint64_t epoch = 1; epoch <= 300; epoch++) {
		unsigned more = (unsigned)(epoch * 7919 % 23), early = (unsigned)(epoch * 104729 % 11);
		uint64_t n = rig_send(&rig, more);
		if (!waiting)
			first = n;
		held(nb, waiting + more);
		before = remus_now_us();
		DO(nb, seal, epoch);
		took += remus_now_us() - before;
		n = rig_send(&rig, early);
		held(nb, waiting + more + early);
		CHECK(rig_silent(&rig));
		before = remus_now_us();
		DO(nb, release, epoch);
		took += remus_now_us() - before;
		rig_expect(&rig, first, waiting + more);
		held(nb, early);
		CHECK(rig_silent(&rig));
		first = n;
		waiting = early;
	}
	printf("  300 epochs, seal and release together %llu us each\n", (unsigned long long)(took / 300));
	DO(nb, pass);
	rig_expect(&rig, first, waiting);
	nb->ops->close(nb);
	clean();
}

/* All that may drop, while the guest sends without pause: nothing of that ever arrives. */
static void drops_do_not_leak(void)
{
	struct remus_netbuf *nb = open_plug(0);
	pid_t sender;

	DO(nb, pass);
	flows();
	DO(nb, hold);
	rig_send(&rig, 10);
	held(nb, 10);
	sender = rig_flood_begin(&rig);
	for (int i = 0; i < 40; i++) {
		DO(nb, discard);
		if (i % 2)
			DO(nb, seal, 1);
	}
	nb->ops->close(nb); /* holding: the gate stays, shut */
	for (int i = 0; i < 10; i++) {
		nb = open_plug(0); /* takes it over */
		DO(nb, hold);
		nb->ops->close(nb);
	}
	CHECK(rig_gate_exists(&rig));
	rig_flood_end(sender);
	CHECK(rig_silent(&rig));
	nb = open_plug(0);
	rig_send(&rig, 5); /* queued behind all that the flood left on its way */
	held(nb, 5);
	CHECK(rig_silent(&rig));
	nb->ops->close(nb); /* closed; but was found shut */
	CHECK(rig_gate_exists(&rig));
	rig_send(&rig, 5);
	sweep("vif0");
	clean();
	flows();
}

/*
 * Frames come on another processor in the very moment of the seal: each is in one epoch or in the other. What was sent
 * after a seal must not arrive before that epoch's release.
 */
static void seals_race_with_frames(void)
{
	struct remus_netbuf *nb = open_plug(0);
	volatile uint64_t *begun =
		mmap(NULL, sizeof *begun, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t bound = 0, number, arrived = 0, early = 0, epoch;

	if (begun == MAP_FAILED)
		DIE("mmap: %s", strerror(errno));
	DO(nb, pass);
	DO(nb, hold);
	pid_t sender = rig_race_begin(&rig, begun);
	for (epoch = 1; epoch <= RACE_EPOCHS && early == 0; epoch++) {
		DO(nb, seal, epoch);
		uint64_t next = *begun;
		while ((number = rig_receive(rig.far, 0)) != UINT64_MAX) {
			arrived++;
			early += number > bound;
		}
		DO(nb, release, epoch);
		bound = next;
		usleep((unsigned)(epoch * 7919 % 211));
	}
	rig_flood_end(sender);
	printf("  %llu seals in the middle of %llu frames, %llu early\n", (unsigned long long)epoch - 1,
	       (unsigned long long)arrived, (unsigned long long)early);
	CHECK(arrived > 0);
	CHECK_EQUAL(early, 0);
	DO(nb, discard);
	DO(nb, pass);
	nb->ops->close(nb);
	clean();
	rig_drain(&rig);
}

static void discard_then_on(void)
{
	struct remus_netbuf *nb = open_plug(0);

	DO(nb, hold); /* straight from closed */
	rig_send(&rig, 4);
	held(nb, 4);
	DO(nb, seal, 1);
	rig_send(&rig, 3);
	held(nb, 7);
	DO(nb, discard);
	held(nb, 0);
	CHECK_EQUAL(stats_of(nb).discarded_packets, 7);
	uint64_t n = rig_send(&rig, 6);
	held(nb, 6);
	DO(nb, seal, 2);
	DO(nb, release, 2);
	rig_expect(&rig, n, 6);
	CHECK(rig_silent(&rig));
	CHECK_EQUAL(stats_of(nb).accepted_packets, 13);
	DO(nb, pass);
	nb->ops->close(nb);
	clean();
}

static void closed_unused(void)
{
	struct remus_netbuf *nb = open_plug(0);

	rig_send(&rig, 3);
	held(nb, 3);
	nb->ops->close(nb); /* wasn't there, never held: as before, less what came meanwhile */
	clean();
	CHECK(rig_silent(&rig));
	flows();
}

static void overflow(void)
{
	struct remus_netbuf *nb = open_plug(10000);

	DO(nb, hold);
	uint64_t n = rig_send(&rig, 200); /* 100 bytes each */
	for (int ms = 0; ms < RIG_PATIENCE_MS && stats_of(nb).dropped_packets < 100; ms++)
		usleep(1000);
	CHECK_EQUAL(stats_of(nb).held_packets, 100);
	CHECK_EQUAL(stats_of(nb).dropped_packets, 100);
	CHECK(rig_silent(&rig));
	DO(nb, seal, 1);
	DO(nb, release, 1);
	rig_expect(&rig, n, 100); /* the newest went */
	CHECK(rig_silent(&rig));
	DO(nb, pass);
	nb->ops->close(nb);
}

static void killed_engine(void)
{
	int ready[2];
	char byte;

	if (pipe(ready) < 0)
		DIE("pipe: %s", strerror(errno));
	pid_t child = fork();
	if (child == 0) {
		struct remus_netbuf *nb = open_plug(0);
		DO(nb, pass);
		DO(nb, hold);
		rig_send(&rig, 8);
		held(nb, 8);
		DO(nb, seal, 1);
		rig_send(&rig, 8);
		held(nb, 16);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	CHECK_EQUAL(read(ready[0], &byte, 1), 1);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	rig_skip(&rig, 100);
	CHECK(rig_silent(&rig));
	struct remus_netbuf *nb = open_plug(0); /* drops what the dead one held */
	uint64_t n = rig_send(&rig, 5);
	held(nb, 5);
	CHECK(rig_silent(&rig));
	DO(nb, pass);
	rig_expect(&rig, n, 5);
	CHECK(rig_silent(&rig));
	nb->ops->close(nb);
	clean();
}

/* An operator removed the ifb under a killed engine's filter. */
static void gate_removed(void)
{
	struct remus_netbuf *nb = open_plug(0);

	DO(nb, hold);
	nb->ops->close(nb);
	rig_delete_gate(&rig);
	CHECK(rig_has_ingress(&rig));
	rig_send(&rig, 5);
	nb = open_plug(0);
	uint64_t n = rig_send(&rig, 5);
	held(nb, 5);
	CHECK(rig_silent(&rig));
	DO(nb, pass);
	rig_expect(&rig, n, 5);
	nb->ops->close(nb);
	clean();
	flows();
}

static void addresses_and_announcing(void)
{
	struct remus_netbuf *nb = open_plug(0);
	struct remus_addresses table = {0};

	DO(nb, pass);
	flows(); /* ARP and neighbour discovery among them */
	for (int ms = 0; ms < RIG_PATIENCE_MS && table.count < 2; ms++, usleep(1000))
		nb->ops->addresses(nb, &table);
	CHECK_EQUAL(table.count, 2);

	rig_far_claims_guest_mac(&rig); /* the bridge believes that the guest is out there */
	CHECK_EQUAL(rig_port_of_guest(&rig), rig.up0);
	rig_drain(&rig);
	DO(nb, announce, &table);
	CHECK_EQUAL(rig_port_of_guest(&rig), rig.vif0);
	for (int i = 0; i < 2; i++) /* the least recently seen address first */
		rig_expect_announcement(&rig, table.entry[i].family == 4 ? 0x0806 : 0x86dd);
	table.count = 0;
	DO(nb, announce, &table);
	rig_expect_announcement(&rig, 0x8035);
	DO(nb, hold);
	CHECK_EQUAL(nb->ops->announce(nb, &table, NULL), -EINVAL); /* I12 */
	DO(nb, pass);
	nb->ops->close(nb);
	clean();
	rig_drain(&rig);
}

/* Last: the interface goes. */
static void interface_gone(void)
{
	struct remus_netbuf *nb = open_plug(0), *second = NULL;

	DO(nb, hold);
	rig_delete_vif(&rig);
	DO(nb, seal, 1);
	DO(nb, release, 1);
	DO(nb, discard);
	nb->ops->close(nb);
	CHECK(!rig_gate_exists(&rig));
	rig_make_vif(&rig);
	nb = open_plug(0);
	DO(nb, hold);
	nb->ops->close(nb);
	CHECK(rig_gate_exists(&rig));
	rig_delete_vif(&rig);
	CHECK(rig_gate_exists(&rig));
	sweep("vif0");
	CHECK(!rig_gate_exists(&rig));
	struct remus_netbuf_config config = {.nic = {.kind = REMUS_NIC_VIF, .interface = "vif0"}};
	CHECK_EQUAL(remus_netbuf_plug.open(&config, &second, NULL), -ENODEV);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
		{"epochs", epochs},
		{"300 epochs", many_epochs},
		{"drops do not leak", drops_do_not_leak},
		{"seals race with frames", seals_race_with_frames},
		{"discard, then on", discard_then_on},
		{"closed unused", closed_unused},
		{"overflow", overflow},
		{"killed engine", killed_engine},
		{"gate removed by hand", gate_removed},
		{"addresses and announcing", addresses_and_announcing},
		{"interface gone", interface_gone},
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!rig_enter_namespace()) {
		printf("SKIP: no network namespace to be had: %s\n", strerror(errno));
		return 77;
	}
	rig_make(&rig);
	struct remus_netbuf_config config = {.nic = {.kind = REMUS_NIC_VIF, .interface = "vif0"}};
	struct remus_netbuf *nb;
	struct remus_error err = REMUS_ERROR_INIT;
	if (remus_netbuf_plug.open(&config, &nb, &err) < 0) {
		bool missing = strstr(err.message, "modprobe") != NULL;
		clean();
		printf("%s: %s\n", missing ? "SKIP" : "FAIL", err.message);
		return missing && !rig_failures ? 77 : 1;
	}
	nb->ops->close(nb);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(cases); i++) {
		printf("%s\n", cases[i].name);
		cases[i].run();
	}
	printf("plug-check: %s\n", rig_failures ? "FAILED" : "passed");
	return rig_failures != 0;
}
