/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See steal.h. */
#include "steal.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* The eighth of its numbers, in clock ticks: 10 ms is as exact as it gets. */
int steal_read(const char *file, struct remus_steal *out)
{
	long ticks = sysconf(_SC_CLK_TCK), vcpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned long long stolen;
	FILE *stat = fopen(file, "re");

	if (!stat)
		return -errno;
	int got = fscanf(stat, "cpu%*[ ]%*u %*u %*u %*u %*u %*u %*u %llu", &stolen);
	fclose(stat);
	if (got != 1 || ticks <= 0 || vcpus <= 0)
		return -EPROTO;
	out->stolen_us = stolen * (1000000u / (unsigned long)ticks);
	out->vcpus = (uint32_t)vcpus;
	return 0;
}
