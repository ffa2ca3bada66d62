/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulator's own test: every deliberately wrong variant must be caught within the number of seeds that
 * variants.c states, by an invariant that it breaks, and the right one must pass the same seeds.
 */
#include <stdlib.h>
#include <string.h>
#include "shrink.h"

static struct world world;
static struct coverage coverage;
static struct totals totals;

/* Is the failure's first word one of @names? */
static bool one_of(const char *names, const char *failure)
{
	size_t n = strcspn(failure, " ");

	for (const char *at = names; *at; at += strcspn(at, " "), at += *at == ' ')
		if (strcspn(at, " ") == n && !strncmp(at, failure, n))
			return true;
	return false;
}

/* How many seeds it took; 0 = not caught. */
static uint64_t caught_after(struct run_options *o, unsigned within)
{
	for (o->seed = 1; o->seed <= within; o->seed++)
		if (!world_run(&world, o))
			return o->seed;
	return 0;
}

static bool is_caught(enum variant v)
{
	const struct variant_info *info = &variant_info[v];
	struct run_options o = {.variant = v}, right = {0};
	uint64_t seed = caught_after(&o, info->within);

	if (!seed) {
		printf("FAILED  %-20s not caught in %u seeds\n", info->name, info->within);
		return false;
	}
	bool expected = one_of(info->invariants, world.failure);
	printf("%s  %-20s seed %llu of %u: %s\n", expected ? "ok    " : "FAILED", info->name,
	       (unsigned long long)seed, info->within, world.failure);
	if (!expected)
		printf("        it breaks %s\n", info->invariants);
	right.seed = seed;
	bool ok = world_run(&world, &right);
	if (!ok)
		printf("FAILED  the right one fails with seed %llu too: %s\n", (unsigned long long)seed,
		       world.failure);
	return expected && ok;
}

/* A seed is a run: the same one twice makes the same events. */
static bool replays(void)
{
	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct run_options o = {.seed = seed};
		world_run(&world, &o);
		uint64_t events = world.events, chain = world.outside.last, seen = world.outside.seen;
		uint64_t now = world.now;
		world_run(&world, &(struct run_options){.seed = seed + 1000});
		world_run(&world, &o);
		if (events != world.events || chain != world.outside.last || seen != world.outside.seen ||
		    now != world.now) {
			printf("FAILED  seed %llu is not the same run twice\n", (unsigned long long)seed);
			return false;
		}
	}
	printf("ok      a seed is a run\n");
	return true;
}

int main(void)
{
	unsigned missed = 0;

	world.coverage = &coverage;
	world.totals = &totals;
	for (unsigned v = RIGHT + 1; v < VARIANTS; v++)
		missed += !is_caught((enum variant)v);
	missed += !replays();
	return missed ? EXIT_FAILURE : EXIT_SUCCESS;
}
