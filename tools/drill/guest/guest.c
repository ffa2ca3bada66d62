/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's main loop: one thread, one epoll, one timer of 5 ms. A single thread is what makes the page check
 * exact: a page and its ledger entry are never looked at half way through a stamp, so a mismatch can only come
 * from a checkpoint that was torn or stale.
 *
 * On the host the same program answers `remus-drill-guest --tsc-khz`: microvm guests cannot measure the time
 * stamp counter reliably while the host is busy, so the drill measures it here and passes tsc_early_khz=.
 */
#include "guest.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/reboot.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define TICK_MS 5
#define PAGE	4096

void die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	printf("DRILL-FAILED ");
	vprintf(fmt, ap);
	printf(": %s\n", strerror(errno));
	va_end(ap);
	fflush(stdout);
	if (getpid() == 1) {
		sleep(1);
		reboot(RB_POWER_OFF);
	}
	exit(1);
}

uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* A reading of both clocks, taken as close to each other as the scheduler allows: the best of several tries. */
static void read_clocks(uint64_t *ns, uint64_t *tsc)
{
	uint64_t best = UINT64_MAX;
	for (int i = 0; i < 20; i++) {
		uint64_t before = now_ns();
		uint64_t counter = __rdtsc();
		uint64_t after = now_ns();
		if (after - before < best) {
			best = after - before;
			*ns = before + (after - before) / 2;
			*tsc = counter;
		}
	}
}

static int print_tsc_khz(void)
{
	uint64_t ns0 = 0, tsc0 = 0, ns1 = 0, tsc1 = 0;
	read_clocks(&ns0, &tsc0);
	nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	read_clocks(&ns1, &tsc1);
	printf("%llu\n", (unsigned long long)((double)(tsc1 - tsc0) * 1e6 / (double)(ns1 - ns0) + 0.5));
	return 0;
}

static uint64_t number_argument(const char *name, uint64_t otherwise)
{
	const char *text = setup_argument(name);
	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void serve(int epoll, int timer)
{
	for (;;) {
		struct epoll_event events[16];
		int n = epoll_wait(epoll, events, 16, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			uint64_t expirations;
			if (udp_event(events[i].data.ptr)) {
				continue;
			} else if (events[i].data.ptr) {
				echo_event(events[i].data.ptr, events[i].events);
			} else if (read(timer, &expirations, sizeof expirations) > 0) {
				stamp_tick();
				echo_tick();
				frames_tick();
				samples_tick();
			}
		}
	}
}

/* In the guest it is also the agent's one hook, /etc/remus/resume.d/drill. */
static int be_a_hook(void)
{
	printf("DRILL-HOOK activation=%s reseeded=%s clock=%s step_ns=%s\n", getenv("REMUS_ACTIVATION"),
	       getenv("REMUS_RESEEDED"), getenv("REMUS_CLOCK"), getenv("REMUS_CLOCK_STEP_NS"));
	return fflush(stdout) ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--tsc-khz"))
		return print_tsc_khz();
	if (getenv("REMUS_ACTIVATION"))
		return be_a_hook();
	if (getpid() != 1) {
		fprintf(stderr, "usage: %s --tsc-khz   (otherwise: the init of the drill's guest)\n",
			argv[0]);
		return 2;
	}
	setup_mounts();
	setup_modules();
	if (number_argument("remus.agent", 0))
		setup_agent();
	const char *ip4 = setup_argument("remus.ip"), *ip6 = setup_argument("remus.ip6");
	setup_network(ip4 ? ip4 : "10.77.0.10/24", ip6 ? ip6 : "fd77::10/64");
	const char *vlan_ip = setup_argument("remus.vlan_ip");
	if (vlan_ip)
		setup_vlan((int)number_argument("remus.vlan", 1), vlan_ip);
	stamp_start(number_argument("remus.region_mib", 16) * (1048576 / PAGE),
		    number_argument("remus.dirty", 4000));

	int epoll = epoll_create1(0);
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	if (epoll < 0 || timer < 0)
		die("epoll_create1, timerfd_create");
	/* on an emulated host a wakeup costs a millisecond or two: there fewer of them leave the guest idle in between */
	struct timespec tick = {.tv_nsec = (long)number_argument("remus.tick_ms", TICK_MS) * 1000000};
	struct itimerspec every = {.it_interval = tick, .it_value = tick};
	if (timerfd_settime(timer, 0, &every, NULL) < 0)
		die("timerfd_settime");
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &(struct epoll_event){.events = EPOLLIN}) < 0)
		die("epoll_ctl");
	echo_start(epoll);
	udp_start(epoll);
	frames_start(number_argument("remus.frames", 0));
	samples_start(number_argument("remus.sample_ms", 0));
	printf("DRILL-READY\n");
	fflush(stdout);
	serve(epoll, timer);
}
