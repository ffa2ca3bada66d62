/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest shows that was woken up from a checkpoint: its random numbers and its clock. Now and then a line on the
 * console, where each copy of the guest has its own,
 *
 *	SAMPLE number realtime_ns monotonic_ns 32-random-bytes
 *
 * The number rises by one with each: two copies that draw the same bytes for the same number have the same generator.
 * And at each tick, whether the wall clock went backwards since the last reading.
 */
#include "guest.h"

#include <stdio.h>
#include <sys/random.h>
#include <time.h>

static struct {
	uint64_t every_ns, due_ns, number;
	int64_t last_real_ns, last_offset_ns;
	struct samples_report report;
} samples;

static int64_t real_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void samples_start(uint64_t every_ms)
{
	uint8_t first;

	/* A generator that isn't ready draws nothing: waiting for it makes the kernel see to it. */
	if (every_ms && getrandom(&first, sizeof first, 0) != sizeof first)
		die("getrandom");
	samples.every_ns = every_ms * 1000000;
	samples.last_real_ns = real_ns();
	samples.last_offset_ns = samples.last_real_ns - (int64_t)now_ns();
}

static void watch_clock(void)
{
	uint64_t before = now_ns();
	int64_t real = real_ns(), offset = real - (int64_t)before;
	struct samples_report *r = &samples.report;

	r->readings++;
	if (real < samples.last_real_ns) {
		r->backwards++;
		if (samples.last_real_ns - real > r->backwards_ns)
			r->backwards_ns = samples.last_real_ns - real;
	}
	/* A jump shows in the offset to the monotonic clock, which nobody sets, even where it is smaller than a tick. A
	 * reading that was interrupted between the two clocks looks like one forward, never like one back. */
	if (now_ns() - before < 1000000) {
		int64_t jump = offset - samples.last_offset_ns;
		if (-jump > r->jump_back_ns)
			r->jump_back_ns = -jump;
		if (jump > r->jump_ns)
			r->jump_ns = jump;
		samples.last_offset_ns = offset;
	}
	samples.last_real_ns = real;
}

void samples_tick(void)
{
	uint8_t bytes[32];
	uint64_t now = now_ns();

	watch_clock();
	if (!samples.every_ns || now < samples.due_ns)
		return;
	samples.due_ns = now + samples.every_ns;
	if (getrandom(bytes, sizeof bytes, GRND_NONBLOCK) != sizeof bytes)
		return;
	char text[2 * sizeof bytes + 1];
	for (size_t i = 0; i < sizeof bytes; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	printf("SAMPLE %llu %lld %llu %s\n", (unsigned long long)++samples.number, (long long)real_ns(),
	       (unsigned long long)now, text);
	fflush(stdout);
}

const struct samples_report *samples_report(void)
{
	return &samples.report;
}
