/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The last 1024 values of a figure, and their quantiles when somebody asks. */
#include "shell.h"

#include <stdlib.h>
#include <string.h>

void shell_samples_add(struct shell_samples *samples, uint64_t value)
{
	samples->ring[samples->count++ % SAMPLES] = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

void shell_samples_quantiles(const struct shell_samples *samples, struct remus_quantiles *out)
{
	uint32_t sorted[SAMPLES];
	size_t n = samples->count < SAMPLES ? (size_t)samples->count : SAMPLES;

	memset(out, 0, sizeof *out);
	if (!n)
		return;
	memcpy(sorted, samples->ring, n * sizeof sorted[0]);
	qsort(sorted, n, sizeof sorted[0], ascending);
	out->p50 = sorted[n / 2];
	out->p99 = sorted[(n * 99) / 100];
	out->max = sorted[n - 1];
}
