/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into a remusd by test-supervision.py: its wall clock is off by as many seconds as the file that CLOCK_SHIFT
 * names says, now, so that a test can make it jump. The other clocks are as they are, as with clock_settime(2).
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift;

__attribute__((constructor)) static void find(void)
{
	const char *path = getenv("CLOCK_SHIFT");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, fd, 0);

	shift = map == MAP_FAILED ? NULL : map;
	if (fd >= 0)
		close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, out);

	if (rc == 0 && clock == CLOCK_REALTIME && shift)
		out->tv_sec += *shift;
	return rc;
}
