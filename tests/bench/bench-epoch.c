/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one epoch costs, as ratios of two things measured in the same run. A fake guest of 256 MiB, in a process
 * of its own with real dirty tracking, changes 2 % of each of some 150, 1,000 or 10,000 pages; the engine's own
 * capture, encoder, link (TCP over loopback) and staging carry the epoch to a backup that is only memory.
 *
 *   pause    dirty scan and copy, against a bare memcpy of the same pages
 *   commit   from the beginning of the pause to the ack, against copy + LZ4 of the same pages (classic Remus:
 *            no base cache, one thread) over a second link of the same kind
 *   wire     bytes of payload, against the raw pages, and against LZ4's
 *
 * The guest's words are random: what LZ4 makes of them is its best case in time (it gives up soon) and its worst in
 * bytes. bench-pages has compressible pages.
 *
 * Both sides of a ratio are measured in each round, in turns first and second, and medians are compared. The
 * same pages are cold for both: something larger than the caches is read in between.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "epoch-path.h"
#include "remus/util.h"
#include "replicator/domain/fake/fake.h"

#define WORDS  10u /* of 512: 2 % */
#define ROUNDS 21u /* odd, for the median */
#define CACHE  (UINT64_C(512) << 20)
#define SWEEP  (64u << 20) /* bytes, more than the caches hold */

/* ---- measuring ---- */

static struct remus_fake_guest guest_memory; /* a second look at the guest, for the bare memcpy */
static uint8_t *cold, *target;
static volatile unsigned keep;

static void sweep(void)
{
	for (size_t i = 0; i < SWEEP; i += 64)
		keep += cold[i]++;
}

static void guest_writes(uint64_t writes)
{
	uint8_t body[8];
	struct remus_error err = REMUS_ERROR_INIT;

	remus_put_le64(body, writes);
	if (remus_fake_call(&guest_memory.control, REMUS_FAKE_WRITE, body, sizeof body, NULL, NULL, NULL,
			    REMUS_FAKE_CALL_MS, &err) < 0)
		bench_die("guest", &err);
}

static double bare_copy(const struct capture *c)
{
	double begin = bench_now_us();

	for (size_t i = 0; i < c->count; i++)
		memcpy(target + i * REMUS_PAGE_SIZE, guest_memory.memory + c->pfn[i] * REMUS_PAGE_SIZE,
		       REMUS_PAGE_SIZE);
	return bench_now_us() - begin;
}

struct figures {
	double pages, scan, copy, bare, commit, classic, wire, lz4, pause, send, ack;
};

static struct figures measure(struct path *ours, struct path *classic, struct remus_domain *d,
			      uint64_t writes)
{
	static double pages[ROUNDS], scan[ROUNDS], copy[ROUNDS], bare[ROUNDS], commit[ROUNDS], slow[ROUNDS],
		wire[ROUNDS], lz4[ROUNDS], pause[ROUNDS], transfer[ROUNDS], ack[ROUNDS];

	for (unsigned r = 0; r < ROUNDS + 2; r++) { /* the first two warm up: staging, base cache */
		unsigned i = r < 2 ? 0 : r - 2;
		struct path *first = r % 2 ? classic : ours, *second = r % 2 ? ours : classic;
		guest_writes(writes);
		sweep();
		double one = path_epoch(first, d);
		path_also_dirty(second, first->capture);
		if (r % 2 == 0) {
			sweep();
			bare[i] = bare_copy(ours->capture);
		}
		sweep();
		double two = path_epoch(second, d);
		if (r % 2) {
			sweep();
			bare[i] = bare_copy(ours->capture);
		}
		commit[i] = first == ours ? one : two;
		slow[i] = first == ours ? two : one;
		pages[i] = (double)ours->capture->count;
		/* When ours is second, nothing is dirty any more. */
		scan[i] = first == ours || !i ? (double)ours->capture->parts.scan : scan[i - 1];
		copy[i] = (double)ours->capture->parts.copy;
		pause[i] = ours->pause_us;
		transfer[i] = ours->send_us;
		ack[i] = ours->ack_us;
		wire[i] = (double)ours->bytes;
		lz4[i] = (double)classic->bytes;
	}
	return (struct figures){
		bench_median(ROUNDS, pages),	bench_median(ROUNDS, scan),   bench_median(ROUNDS, copy),
		bench_median(ROUNDS, bare),	bench_median(ROUNDS, commit), bench_median(ROUNDS, slow),
		bench_median(ROUNDS, wire),	bench_median(ROUNDS, lz4),    bench_median(ROUNDS, pause),
		bench_median(ROUNDS, transfer), bench_median(ROUNDS, ack)};
}

static void print(const struct figures *f)
{
	double raw = f->pages * REMUS_PAGE_SIZE;

	printf("%-46s %6.2f   (%.0f + %.0f / %.0f us)\n", "pause: scan + copy / memcpy",
	       (f->scan + f->copy) / f->bare, f->scan, f->copy, f->bare);
	printf("%-46s %6.2f\n", "pause: copy / memcpy", f->copy / f->bare);
	printf("%-46s %6.2f   (%.0f / %.0f us)\n", "commit: begin of pause to ack / copy + LZ4",
	       f->commit / f->classic, f->commit, f->classic);
	printf("%-46s          (%.0f + %.0f + %.0f us)\n",
	       "  its parts: pause, encode and send, wait for ack", f->pause, f->send, f->ack);
	printf("%-46s %6.3f   (%.0f / %.0f bytes)\n", "wire / raw pages", f->wire / raw, f->wire, raw);
	printf("%-46s %6.3f\n", "wire / copy + LZ4", f->wire / f->lz4);
}

int main(void)
{
	static const struct {
		const char *hot;
		uint64_t writes;
	} sizes[] = {{"150", 1200}, {"1000", 8000}, {"10000", 80000}};
	char dir[] = "/tmp/remus-bench-XXXXXX", control[64];

	if (!mkdtemp(dir))
		return 77;
	snprintf(control, sizeof control, "%s/guest", dir);
	cold = bench_memory(SWEEP);
	target = bench_memory((size_t)10000 * REMUS_PAGE_SIZE);
	printf("%-46s %6s\n", "256 MiB guest, 2 % of each dirty page changed", "ratio");
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(sizes); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_domain_config config = {.run_dir = dir};
		struct remus_guest guest = {0};
		const char *args[] = {"--control", control,	 "--pages", "65536", "--words", "10",
				      "--hot",	   sizes[i].hot, "--rate",  "0",     NULL};
		int lifeline;
		pid_t pid;

		if (remus_fake_spawn(args, &pid, &lifeline, &err) < 0 ||
		    remus_fake_domain_ops.open(control, &config, &guest.domain, &err) < 0 ||
		    remus_fake_guest_open(&guest_memory, control, &err) < 0 ||
		    guest.domain->ops->track_start(guest.domain, &err) < 0)
			bench_die("guest", &err);
		struct path *ours = path_open(&guest, CACHE, 1, NULL);
		struct path *classic = path_open(&guest, 0, 0, NULL);
		path_full_copy(ours);
		path_full_copy(classic);
		struct figures f = measure(ours, classic, guest.domain, sizes[i].writes);
		printf("%.0f dirty pages (%s)\n", f.pages, guest.domain->ops->track_name(guest.domain));
		print(&f);
		fflush(stdout);
		path_close(ours);
		path_close(classic);
		remus_fake_guest_close(&guest_memory);
		guest.domain->ops->destroy(guest.domain, &err);
		waitpid(pid, NULL, 0);
		remus_guest_close(&guest);
		close(lifeline);
	}
	rmdir(dir);
	return 0;
}
