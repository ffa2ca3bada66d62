/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See epoch-path.h. */
#include "epoch-path.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "remus/bitmap.h"
#include "remus/tls.h"
#include "remus/util.h"
#include "replicator/staging.h"

void bench_die(const char *what, const struct remus_error *err)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, err->message);
	exit(1);
}

double bench_now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

void *bench_memory(size_t bytes)
{
	void *p =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		exit(77);
	}
	return p;
}

/* ---- the backup: link, staging, memory ---- */

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
		bench_die("verify", &err);
	remus_put_le64(body, commit.digest);
	remus_link_send(p->far, REMUS_FRAME_ACK, REMUS_FRAME_MANDATORY, frame->header.epoch, &part, 1, NULL,
			&err);
	if (staging_apply(staging, &p->image.base, &err) < 0)
		bench_die("apply", &err);
}

static void *backup(void *context)
{
	struct path *p = context;
	struct staging staging;
	struct remus_frame frame;
	struct remus_error err = REMUS_ERROR_INIT;

	staging_init(&staging, PATH_GUEST, 0);
	while (next_frame(p->far, &frame, &err) > 0) {
		if (frame.header.type == REMUS_FRAME_COMMIT)
			acknowledge(p, &staging, &frame);
		else if (frame.header.epoch == 0)
			remus_pages_apply(frame.payload, frame.header.length, PATH_GUEST, staging_locate,
					  &p->image.base, &err);
		else if (staging_add(&staging, frame.header.epoch, &frame, &err) < 0)
			bench_die("stage", &err);
		free(frame.payload);
	}
	staging_clear(&staging);
	return NULL;
}

struct far_end {
	int listener;
	const struct remus_link_config *config;
	const struct remus_tls *tls;
	struct path *path;
};

static void *accept_far(void *context)
{
	struct far_end *f = context;
	struct remus_transport *transport = NULL;
	struct remus_error err = REMUS_ERROR_INIT;
	struct pollfd p = {.fd = f->listener, .events = POLLIN};

	poll(&p, 1, 5000);
	if (remus_transport_tcp(accept(f->listener, NULL, NULL), &transport, &err) < 0 ||
	    (f->tls &&
	     remus_transport_tls_accept(transport, f->tls, remus_now_us() + 5000000, &transport, &err) < 0) ||
	    remus_link_start(transport, f->config, &f->path->far, &err) < 0)
		bench_die("far link", &err);
	return NULL;
}

struct path *path_open(struct remus_guest *guest, uint64_t cache, unsigned threads,
		       const struct remus_tls *tls)
{
	struct path *p = calloc(1, sizeof *p);
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_link_config config = {.dead_ms = 10000, .tls = tls};
	static const uint8_t session[REMUS_SESSION_SIZE] = {1};
	struct sockaddr_in at;
	socklen_t n = sizeof at;
	char port[8];

	int listener = remus_link_listen("127.0.0.1", "0", &err);
	if (listener < 0 || getsockname(listener, (struct sockaddr *)&at, &n))
		bench_die("listen", &err);
	snprintf(port, sizeof port, "%u", ntohs(at.sin_port));
	struct far_end far = {.listener = listener, .config = &config, .tls = tls, .path = p};
	pthread_t accepting;
	pthread_create(&accepting, NULL, accept_far, &far);
	if (remus_link_connect("127.0.0.1", port, &config, &p->link, &err) < 0)
		bench_die("link", &err);
	pthread_join(accepting, NULL);
	if (capture_create(guest, cache, threads, &p->capture, &err) < 0)
		bench_die("capture", &err);
	close(listener);
	remus_link_bind(p->link, session, 1);
	remus_link_bind(p->far, session, 1);
	p->image.base.ops = &image_ops;
	p->image.page = bench_memory((size_t)PATH_GUEST * REMUS_PAGE_SIZE);
	pthread_create(&p->thread, NULL, backup, p);
	return p;
}

void path_close(struct path *p)
{
	remus_link_close(p->link);
	pthread_join(p->thread, NULL);
	remus_link_close(p->far);
	capture_destroy(p->capture);
	munmap(p->image.page, (size_t)PATH_GUEST * REMUS_PAGE_SIZE);
	free(p);
}

void path_full_copy(struct path *p)
{
	struct remus_error err = REMUS_ERROR_INIT;
	uint64_t sent = 0, dirty = 0;
	int rc = capture_round_begin(p->capture, 1, &err);

	while (rc >= 0 && (rc = capture_round_step(p->capture, p->link, &sent, &dirty, &err)) > 0)
		;
	if (rc < 0)
		bench_die("full copy", &err);
}

/* Pause, capture, resume, send, wait for the ack; µs of all of it. */
double path_epoch(struct path *p, struct remus_domain *d)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_frame ack = {0};
	uint64_t digest = 0;
	double begin = bench_now_us();

	p->bytes = 0;
	if (d->ops->pause(d, &err) < 0 || capture_take(p->capture, ++p->epoch, &err) < 0 ||
	    d->ops->resume(d, &err) < 0)
		bench_die("pause", &err);
	double resumed = bench_now_us();
	if (capture_send(p->capture, p->link, NULL, &digest, &p->bytes, &err) < 0)
		bench_die("send", &err);
	double sent = bench_now_us();
	if (next_frame(p->link, &ack, &err) < 0)
		bench_die("ack", &err);
	double end = bench_now_us();
	p->pause_us = resumed - begin;
	p->send_us = sent - resumed;
	p->ack_us = end - sent;
	if (ack.header.type != REMUS_FRAME_ACK || remus_get_le64(ack.payload) != digest) {
		fprintf(stderr, "a wrong ack\n");
		exit(1);
	}
	free(ack.payload);
	return end - begin;
}

void path_also_dirty(struct path *to, const struct capture *from)
{
	for (size_t i = 0; i < from->count; i++)
		remus_bitmap_set(to->capture->pending, from->pfn[i]);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}
double bench_median(size_t count, double *v)
{
	qsort(v, count, sizeof *v, by_value);
	return v[count / 2];
}
