/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See snapshot.h. */
#include "snapshot.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "remus/bitmap.h"

enum loss { NOT_LOST, TOO_MANY_WRITES, SHADOW_GONE };

struct remus_xen_snapshot {
	pthread_mutex_t lock;
	int holders;	   /* the shadow and the copy */
	const uint8_t *of; /* the shadow's memory */
	uint8_t *aside;	   /* pages as they were; address space as large as the shadow's */
	uint64_t *left;	   /* bitmap: not taken yet */
	uint64_t *kept;	   /* bitmap: to be had aside */
	uint64_t pages, cursor, kept_count, most;
	enum loss lost;
};

static void destroy(struct remus_xen_snapshot *s)
{
	if (s->aside && s->aside != MAP_FAILED)
		munmap(s->aside, s->pages * 4096);
	pthread_mutex_destroy(&s->lock);
	free(s->left);
	free(s->kept);
	free(s);
}

int remus_xen_snapshot_begin(struct remus_xen_shadow *shadow, uint64_t most, struct remus_xen_snapshot **out,
			     struct remus_error *err)
{
	size_t words = remus_bitmap_words(shadow->pages);
	struct remus_xen_snapshot *s = calloc(1, sizeof *s);

	if (!s)
		return remus_fail(err, -ENOMEM, "no memory for a snapshot");
	pthread_mutex_init(&s->lock, NULL);
	s->holders = 2;
	s->of = shadow->memory;
	s->pages = shadow->pages;
	s->most = most;
	s->aside = mmap(NULL, s->pages * 4096, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	s->left = malloc(words * sizeof *s->left);
	s->kept = calloc(words, sizeof *s->kept);
	if (s->aside == MAP_FAILED || !s->left || !s->kept) {
		destroy(s);
		return remus_fail(err, -ENOMEM, "no address space for a snapshot of %llu pages",
				  (unsigned long long)shadow->pages);
	}
	memcpy(s->left, shadow->present, words * sizeof *s->left);
	if (shadow->snapshot)
		remus_xen_snapshot_drop(shadow->snapshot);
	shadow->snapshot = s;
	*out = s;
	return 0;
}

/* Its memory is given back at once, though the copy may not know yet. Under the lock. */
static void lose(struct remus_xen_snapshot *s, enum loss why)
{
	if (s->lost == NOT_LOST)
		s->lost = why;
	madvise(s->aside, s->pages * 4096, MADV_DONTNEED);
	s->of = NULL;
}

static void let_go(struct remus_xen_snapshot *s)
{
	bool last = --s->holders == 0;

	pthread_mutex_unlock(&s->lock);
	if (last)
		destroy(s);
}

/* ---- the shadow's side ---- */

bool remus_xen_snapshot_keep(struct remus_xen_snapshot *s, uint64_t pfn)
{
	pthread_mutex_lock(&s->lock);
	if (s->holders == 1 || s->lost) {
		let_go(s);
		return false;
	}
	if (remus_bitmap_test(s->left, pfn) && !remus_bitmap_test(s->kept, pfn)) {
		if (s->kept_count >= s->most) {
			lose(s, TOO_MANY_WRITES);
		} else {
			memcpy(s->aside + pfn * 4096, s->of + pfn * 4096, 4096);
			remus_bitmap_set(s->kept, pfn);
			s->kept_count++;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return true;
}

void remus_xen_snapshot_drop(struct remus_xen_snapshot *s)
{
	pthread_mutex_lock(&s->lock);
	if (s->holders > 1)
		lose(s, SHADOW_GONE);
	let_go(s);
}

/* ---- the copy's side ---- */

int remus_xen_snapshot_take(struct remus_xen_snapshot *s, uint64_t *pfn, int max, uint8_t *memory,
			    struct remus_error *err)
{
	pthread_mutex_lock(&s->lock);
	enum loss lost = s->lost;
	int n = lost ? 0 : (int)remus_bitmap_take(s->left, s->pages, &s->cursor, pfn, (size_t)max);
	for (int i = 0; i < n; i++) {
		const uint8_t *from = remus_bitmap_test(s->kept, pfn[i]) ? s->aside : s->of;
		memcpy(memory + (size_t)i * 4096, from + pfn[i] * 4096, 4096);
	}
	pthread_mutex_unlock(&s->lock);
	if (lost == TOO_MANY_WRITES)
		return remus_fail(
			err, -ENOMEM,
			"the guest wrote to more than %llu pages while the copy was built, and this "
			"host has no memory to keep more: try again when either is less busy",
			(unsigned long long)s->most);
	return lost ? remus_fail(err, -ECANCELED, "the standby that was copied is gone") : n;
}

uint64_t remus_xen_snapshot_kept(struct remus_xen_snapshot *s)
{
	pthread_mutex_lock(&s->lock);
	uint64_t kept = s->kept_count;
	pthread_mutex_unlock(&s->lock);
	return kept;
}

void remus_xen_snapshot_close(struct remus_xen_snapshot *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	if (s->holders > 1) /* the shadow notices when it comes by; what was kept isn't needed any more */
		lose(s, SHADOW_GONE);
	let_go(s);
}
