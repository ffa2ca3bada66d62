/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: run seeds, report the first failures shrunk, print what was covered. Without arguments it is the test of
 * `make check`: SIM_RUNS sets another number of runs.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "shrink.h"

#ifdef __SANITIZE_THREAD__ /* sixty times slower, and there is but one thread */
#define CHECK_RUNS 2000u
#elif defined REMUS_SANITIZED
#define CHECK_RUNS 20000u
#else
#define CHECK_RUNS 100000u
#endif
#define FULL_COVERAGE 100000u /* from so many runs on every pair must have been met */
#define REPORTS	      5

static struct world world;
static struct coverage coverage;
static struct totals totals;

static const char usage[] =
	"usage: sim [--runs N] [--from SEED] [--variant NAME]\n"
	"       sim --seed N [--without MASK] [--variant NAME] [--trace] [--shrink]\n"
	"Simulates sessions of the replication protocol, one per seed. --without leaves faults out (bits);\n"
	"--variant simulates a deliberately wrong one.\n";

static double cpu_seconds(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)r.ru_utime.tv_sec + (double)r.ru_utime.tv_usec / 1e6 + (double)r.ru_stime.tv_sec +
	       (double)r.ru_stime.tv_usec / 1e6;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (!*text || *end) {
		fprintf(stderr, "sim: \"%s\" is not a number\n%s", text, usage);
		exit(2);
	}
	return n;
}

static enum variant variant_by_name(const char *name)
{
	for (unsigned v = 0; v < VARIANTS; v++)
		if (!strcmp(variant_info[v].name, name))
			return (enum variant)v;
	fprintf(stderr, "sim: no variant is called \"%s\"; there are:", name);
	for (unsigned v = 0; v < VARIANTS; v++)
		fprintf(stderr, " %s", variant_info[v].name);
	fputc('\n', stderr);
	exit(2);
}

static void report(const struct run_options *failed)
{
	struct run_options less = *failed;

	printf("seed %llu FAILED %s\n", (unsigned long long)failed->seed, world.failure);
	shrink(&world, &less);
	printf("  shrunk: %s\n", world.failure);
	print_faults(&world);
	print_replay(&less);
}

static int one(struct run_options *o, bool shrinks)
{
	bool ok = world_run(&world, o);

	print_faults(&world);
	printf("seed %llu: %s%s\n", (unsigned long long)o->seed, ok ? "passed" : "FAILED ", world.failure);
	if (!ok && shrinks)
		report(o);
	return ok ? 0 : 1;
}

#define LLU(x) ((unsigned long long)(x))

static int many(struct run_options *o, uint64_t from, uint64_t runs)
{
	uint64_t failures = 0;
	double began = cpu_seconds();

	for (uint64_t i = 0; i < runs; i++) {
		o->seed = from + i;
		if (world_run(&world, o))
			continue;
		if (failures++ < REPORTS)
			report(o);
	}
	double took = cpu_seconds() - began;
	unsigned wrong = coverage_print(&coverage, runs >= FULL_COVERAGE && !o->variant);
	printf("\nseeds %llu to %llu: %llu failed. %.1f s of CPU, %.0f sessions/s\n", LLU(from),
	       LLU(from + runs - 1), LLU(failures), took, took > 0 ? (double)runs / took : 0.0);
	printf("%llu events, %llu generations, %llu epochs sent, %llu packets seen outside, %llu "
	       "activations, %llu "
	       "went on alone,\n%llu guests lost to faults, %llu decided by an operator, the gap "
	       "known to %.3f ms in the mean,\n%llu overloads, %llu epochs sent while the guest stood still, "
	       "%llu too large or too late\n",
	       LLU(totals.events), LLU(totals.generations), LLU(totals.epochs), LLU(totals.packets),
	       LLU(totals.failovers), LLU(totals.solos), LLU(totals.lost_excused), LLU(totals.forced),
	       totals.failovers ? (double)totals.clock_error_us / 1e3 / (double)totals.failovers : 0.0,
	       LLU(totals.overloads), LLU(totals.braked), LLU(totals.too_large));
	if (wrong)
		printf("%u pairs or transitions are not as expected: see above\n", wrong);
	return failures || wrong ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"runs", required_argument, NULL, 'r'},
		{"from", required_argument, NULL, 'f'},
		{"seed", required_argument, NULL, 's'},
		{"without", required_argument, NULL, 'w'},
		{"variant", required_argument, NULL, 'v'},
		{"trace", no_argument, NULL, 't'},
		{"shrink", no_argument, NULL, 'S'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	const char *wanted = getenv("SIM_RUNS");
	uint64_t runs = wanted && *wanted ? number(wanted) : CHECK_RUNS, from = 1;
	struct run_options o = {0};
	bool single = false, shrinks = false;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (c) {
		case 'r':
			runs = number(optarg);
			break;
		case 'f':
			from = number(optarg);
			break;
		case 's':
			o.seed = number(optarg);
			single = true;
			break;
		case 'w':
			o.without = (uint32_t)number(optarg);
			break;
		case 'v':
			o.variant = variant_by_name(optarg);
			break;
		case 't':
			o.tracing = true;
			break;
		case 'S':
			shrinks = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	world.coverage = &coverage;
	world.totals = &totals;
	return single ? one(&o, shrinks) : many(&o, from, runs);
}
