/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shrinking: the faults of a run are a list; every subset of it is a run too, since each part of the world draws its
 * random numbers from a stream of its own. Faults are left out one after the other until none can be spared.
 */
#include "shrink.h"

#include <string.h>

/* The invariant's name: failing in another way is another bug. */
static bool same_kind(const char *a, const char *b)
{
	size_t n = strcspn(a, " ");

	return n == strcspn(b, " ") && !strncmp(a, b, n);
}

void shrink(struct world *w, struct run_options *options)
{
	char kind[sizeof w->failure];
	unsigned count = w->faults.count;
	bool shorter = true;

	memcpy(kind, w->failure, sizeof kind);
	while (shorter) {
		shorter = false;
		for (unsigned i = 0; i < count; i++) {
			struct run_options less = *options;
			if (options->without & (1u << i))
				continue;
			less.tracing = false;
			less.without |= 1u << i;
			if (!world_run(w, &less) && same_kind(kind, w->failure)) {
				options->without = less.without;
				shorter = true;
			}
		}
	}
	world_run(w, options);
}

void print_faults(const struct world *w)
{
	char text[120];

	for (unsigned i = 0; i < w->faults.count; i++) {
		if (w->faults.without & (1u << i))
			continue;
		faults_describe(&w->faults.list[i], text, sizeof text);
		printf("    fault %u at %.3f ms: %s\n", i, (double)w->faults.list[i].at / 1000, text);
	}
}

void print_replay(const struct run_options *o)
{
	printf("    replay: tests/sim/sim --seed %llu", (unsigned long long)o->seed);
	if (o->without)
		printf(" --without 0x%x", o->without);
	if (o->variant)
		printf(" --variant %s", variant_info[o->variant].name);
	printf(" --trace\n");
}
