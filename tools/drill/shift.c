/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host whose wall clock is wrong: preloaded (LD_PRELOAD) into its processes, this adds REMUS_DRILL_SHIFT_NS to every
 * reading of the wall clock. Only for the continuity drill: one machine has one wall clock, and a time namespace
 * doesn't shift it. The other clocks are as they are.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long long shift_ns(void)
{
	static long long shift;
	static int known;

	if (!__atomic_load_n(&known, __ATOMIC_ACQUIRE)) {
		const char *text = getenv("REMUS_DRILL_SHIFT_NS");
		shift = text ? atoll(text) : 0;
		__atomic_store_n(&known, 1, __ATOMIC_RELEASE);
	}
	return shift;
}

int clock_gettime(clockid_t which, struct timespec *out)
{
	static int (*real)(clockid_t, struct timespec *);

	if (!real)
		real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	int rc = real(which, out);
	if (rc || (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE && which != CLOCK_TAI))
		return rc;
	long long ns = (long long)out->tv_sec * 1000000000 + out->tv_nsec + shift_ns();
	out->tv_sec = (time_t)(ns / 1000000000);
	out->tv_nsec = (long)(ns % 1000000000);
	return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	struct timespec now;
	int rc = clock_gettime(CLOCK_REALTIME, &now);

	if (rc == 0) {
		out->tv_sec = now.tv_sec;
		out->tv_usec = now.tv_nsec / 1000;
	}
	return rc;
}

time_t time(time_t *out)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now))
		return (time_t)-1;
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}
