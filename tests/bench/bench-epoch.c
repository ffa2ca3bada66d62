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
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "remus/bitmap.h"
#include "remus/link.h"
#include "remus/util.h"
#include "replicator/capture.h"
#include "replicator/domain/fake/fake.h"
#include "replicator/staging.h"

#define GUEST  65536u /* pages: 256 MiB */
#define WORDS  10u    /* of 512: 2 % */
#define ROUNDS 21u    /* odd, for the median */
#define CACHE  (UINT64_C(512) << 20)
#define SWEEP  (64u << 20) /* bytes, more than the caches hold */

static void die(const char *what, const struct remus_error *err)
{
	fprintf(stderr, "bench-epoch: %s: %s\n", what, err->message);
	exit(1);
}

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void *memory(size_t bytes)
{
	void *p =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED) {
		perror("bench-epoch: mmap");
		exit(77);
	}
	return p;
}

/* ---- the backup: link, staging, memory ---- */

struct image {
	struct remus_standby base;
	uint8_t *page;
};
static uint8_t *image_page(struct remus_standby *s, uint64_t pfn)
{
	return ((struct image *)s)->page + pfn * REMUS_PAGE_SIZE;
}
static int image_commit(struct remus_standby *s, uint64_t epoch, const uint8_t *state, size_t bytes,
			struct remus_error *err)
{
	return 0;
}
static const struct remus_standby_ops image_ops = {.page = image_page, .commit = image_commit};

struct path { /* one capture, its link, and what is at the other end */
	struct capture *capture;
	struct remus_link *link, *far;
	struct image image;
	pthread_t thread;
	uint64_t epoch, bytes;
	double pause_us, send_us, ack_us; /* of the last epoch, in turn */
};

static int next_frame(struct remus_link *link, struct remus_frame *frame, struct remus_error *err)
{
	int rc;

	while ((rc = remus_link_next(link, frame, err)) == 0) {
		struct pollfd p = {.fd = remus_link_event_fd(link), .events = POLLIN};
		poll(&p, 1, 1000);
	}
	return rc;
}

static void acknowledge(struct path *p, struct staging *staging, const struct remus_frame *frame)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_commit commit;
	uint8_t body[8];
	struct iovec part = {body, sizeof body};

	if (remus_commit_decode(frame->payload, frame->header.length, &commit, &err) < 0 ||
	    staging_verify(staging, frame->header.epoch, &commit, &err) < 0)
		die("verify", &err);
	remus_put_le64(body, commit.digest);
	remus_link_send(p->far, REMUS_FRAME_ACK, REMUS_FRAME_MANDATORY, frame->header.epoch, &part, 1, NULL,
			&err);
	if (staging_apply(staging, &p->image.base, &err) < 0)
		die("apply", &err);
}

static void *backup(void *context)
{
	struct path *p = context;
	struct staging staging;
	struct remus_frame frame;
	struct remus_error err = REMUS_ERROR_INIT;

	staging_init(&staging, GUEST);
	while (next_frame(p->far, &frame, &err) > 0) {
		if (frame.header.type == REMUS_FRAME_COMMIT)
			acknowledge(p, &staging, &frame);
		else if (frame.header.epoch == 0)
			remus_pages_apply(frame.payload, frame.header.length, GUEST, staging_locate,
					  &p->image.base, &err);
		else if (staging_add(&staging, frame.header.epoch, &frame, &err) < 0)
			die("stage", &err);
		free(frame.payload);
	}
	staging_clear(&staging);
	return NULL;
}

static struct path *path_open(struct remus_guest *guest, uint64_t cache, unsigned threads)
{
	struct path *p = calloc(1, sizeof *p);
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_transport *transport = NULL;
	struct remus_link_config config = {.dead_ms = 10000};
	static const uint8_t session[REMUS_SESSION_SIZE] = {1};
	struct sockaddr_in at;
	socklen_t n = sizeof at;
	char port[8];

	int listener = remus_link_listen("127.0.0.1", "0", &err);
	if (listener < 0 || getsockname(listener, (struct sockaddr *)&at, &n))
		die("listen", &err);
	snprintf(port, sizeof port, "%u", ntohs(at.sin_port));
	if (remus_link_connect("127.0.0.1", port, &config, &p->link, &err) < 0 ||
	    remus_transport_tcp(accept(listener, NULL, NULL), &transport, &err) < 0 ||
	    remus_link_start(transport, &config, &p->far, &err) < 0 ||
	    capture_create(guest, cache, threads, &p->capture, &err) < 0)
		die("link", &err);
	close(listener);
	remus_link_bind(p->link, session, 1);
	remus_link_bind(p->far, session, 1);
	p->image.base.ops = &image_ops;
	p->image.page = memory((size_t)GUEST * REMUS_PAGE_SIZE);
	pthread_create(&p->thread, NULL, backup, p);
	return p;
}

static void path_close(struct path *p)
{
	remus_link_close(p->link);
	pthread_join(p->thread, NULL);
	remus_link_close(p->far);
	capture_destroy(p->capture);
	munmap(p->image.page, (size_t)GUEST * REMUS_PAGE_SIZE);
	free(p);
}

static void full_copy(struct path *p)
{
	struct remus_error err = REMUS_ERROR_INIT;
	uint64_t sent = 0, dirty = 0;
	int rc = capture_round_begin(p->capture, 1, &err);

	while (rc >= 0 && (rc = capture_round_step(p->capture, p->link, &sent, &dirty, &err)) > 0)
		;
	if (rc < 0)
		die("full copy", &err);
}

/* Pause, capture, resume, send, wait for the ack; µs of all of it. */
static double epoch(struct path *p, struct remus_domain *d)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_frame ack = {0};
	uint64_t digest = 0;
	double begin = now_us();

	p->bytes = 0;
	if (d->ops->pause(d, &err) < 0 || capture_take(p->capture, ++p->epoch, &err) < 0 ||
	    d->ops->resume(d, &err) < 0)
		die("pause", &err);
	double resumed = now_us();
	if (capture_send(p->capture, p->link, &digest, &p->bytes, &err) < 0)
		die("send", &err);
	double sent = now_us();
	if (next_frame(p->link, &ack, &err) < 0)
		die("ack", &err);
	double end = now_us();
	p->pause_us = resumed - begin;
	p->send_us = sent - resumed;
	p->ack_us = end - sent;
	if (ack.header.type != REMUS_FRAME_ACK || remus_get_le64(ack.payload) != digest) {
		fprintf(stderr, "bench-epoch: a wrong ack\n");
		exit(1);
	}
	free(ack.payload);
	return end - begin;
}

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
		die("guest", &err);
}

static double bare_copy(const struct capture *c)
{
	double begin = now_us();

	for (size_t i = 0; i < c->count; i++)
		memcpy(target + i * REMUS_PAGE_SIZE, guest_memory.memory + c->pfn[i] * REMUS_PAGE_SIZE,
		       REMUS_PAGE_SIZE);
	return now_us() - begin;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}
static double median(double *v)
{
	qsort(v, ROUNDS, sizeof *v, by_value);
	return v[ROUNDS / 2];
}

struct figures {
	double pages, scan, copy, bare, commit, classic, wire, lz4, pause, send, ack;
};

/* The other path's capture must take the same pages, though the dirty set was fetched already. */
static void also_dirty(struct path *to, const struct capture *from)
{
	for (size_t i = 0; i < from->count; i++)
		remus_bitmap_set(to->capture->pending, from->pfn[i]);
}

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
		double one = epoch(first, d);
		also_dirty(second, first->capture);
		if (r % 2 == 0) {
			sweep();
			bare[i] = bare_copy(ours->capture);
		}
		sweep();
		double two = epoch(second, d);
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
	return (struct figures){median(pages),	median(scan),	  median(copy), median(bare),
				median(commit), median(slow),	  median(wire), median(lz4),
				median(pause),	median(transfer), median(ack)};
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
	cold = memory(SWEEP);
	target = memory((size_t)10000 * REMUS_PAGE_SIZE);
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
			die("guest", &err);
		struct path *ours = path_open(&guest, CACHE, 1);
		struct path *classic = path_open(&guest, 0, 0);
		full_copy(ours);
		full_copy(classic);
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
