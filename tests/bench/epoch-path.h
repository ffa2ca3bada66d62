/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What carries an epoch in the benchmarks: the engine's own capture, encoder and link over loopback, plaintext or TLS,
 * and at the other end the backup's staging, into memory. Failures end the program.
 */
#ifndef REMUS_BENCH_EPOCH_PATH_H
#define REMUS_BENCH_EPOCH_PATH_H

#include <pthread.h>
#include "remus/link.h"
#include "replicator/capture.h"

#define PATH_GUEST 65536u /* pages: 256 MiB */

struct image {
	struct remus_standby base;
	uint8_t *page;
};

struct path { /* one capture, its link, and what is at the other end */
	struct capture *capture;
	struct remus_link *link, *far;
	struct image image;
	pthread_t thread;
	uint64_t epoch, bytes;
	double pause_us, send_us, ack_us; /* of the last epoch, in turn */
};

struct path *path_open(struct remus_guest *guest, uint64_t cache, unsigned threads,
		       const struct remus_tls *tls); /* NULL = plaintext */
void path_close(struct path *p);
void path_full_copy(struct path *p);
/* Pause, capture, resume, send, wait for the ack; µs of all of it. */
double path_epoch(struct path *p, struct remus_domain *d);
/* The other path's capture must take the same pages, though the dirty set was fetched already. */
void path_also_dirty(struct path *to, const struct capture *from);

void bench_die(const char *what, const struct remus_error *err);
double bench_now_us(void);
void *bench_memory(size_t bytes);		   /* mapped and touched */
double bench_median(size_t count, double *values); /* sorts them */

#endif
