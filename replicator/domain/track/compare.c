/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compare: the last resort, for kernels that have neither of the others. A private copy of the memory; a page
 * that differs from it is dirty and copied. Costs as much memory as the guest has, and reads all of both at
 * every fetch (6 GB/s or so). A page that changes and changes back is, rightly, clean.
 */
#include "method.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

static int compare_start(struct remus_track *track, struct remus_error *err)
{
	if (!track->target.mapping)
		return remus_fail(err, -EINVAL, "the memory of process %d is not mapped here",
				  (int)track->target.pid);
	void *copy =
		mmap(NULL, track->target.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (copy == MAP_FAILED)
		return remus_fail(err, -ENOMEM,
				  "no memory for a private copy: this method needs another %" PRIu64
				  " MiB, as much as the guest has",
				  track->target.bytes >> 20);
	memcpy(copy, track->target.mapping, track->target.bytes);
	track->method = copy;
	return 0;
}

static int compare_fetch(struct remus_track *track, uint64_t *dirty, uint64_t *found, struct remus_error *err)
{
	const uint8_t *now = track->target.mapping;
	uint8_t *copy = track->method;

	for (uint64_t page = 0; page < track->pages; page++) {
		uint64_t at = page * REMUS_TRACK_PAGE;
		if (!memcmp(now + at, copy + at, REMUS_TRACK_PAGE))
			continue;
		remus_bitmap_set(dirty, page);
		(*found)++;
		memcpy(copy + at, now + at, REMUS_TRACK_PAGE);
	}
	return 0;
}

static void compare_stop(struct remus_track *track)
{
	if (track->method)
		munmap(track->method, track->target.bytes);
	track->method = NULL;
}

const struct remus_track_ops remus_track_compare_ops = {
	.name = "compare",
	.start = compare_start,
	.fetch = compare_fetch,
	.stop = compare_stop,
};
