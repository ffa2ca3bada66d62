/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * soft-dirty: bit 55 of /proc/PID/pagemap says "written since 4 was last written to /proc/PID/clear_refs".
 * For kernels older than 6.7. Three things to know:
 *
 * - Clearing is for the whole process and is a second step after reading. A page written between the two would
 *   be lost, so the guest must be stopped while this method fetches (I9); remus/track.h says so.
 * - A shared page that the kernel reclaimed has no page table entry and so no bit, whether or not it was
 *   written before. Such pages count as written. With memory that is allocated up front (prealloc=on) and not
 *   swapped there are none.
 * - One reader only: another user of clear_refs (CRIU) in the same process spoils it. Nobody can check that.
 */
#include "method.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include "remus/util.h"

#define SOFT_DIRTY (UINT64_C(1) << 55)
#define SWAPPED	   (UINT64_C(1) << 62)
#define PRESENT	   (UINT64_C(1) << 63)
#define ENTRIES	   4096 /* read at a time: 32 KiB, 16 MiB of memory */

struct soft_dirty {
	int pagemap, clear_refs;
	uint64_t entry[ENTRIES];
};

/* A page that is new in this process is soft-dirty, if the kernel knows of such a thing at all. */
static int probe(struct remus_error *err)
{
	uint64_t entry = 0;
	REMUS_AUTO_CLOSE int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return remus_fail_errno(err, "open /proc/self/pagemap");
	char *page = mmap(NULL, REMUS_TRACK_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return remus_fail_errno(err, "mmap");
	*(volatile char *)page = 1;
	ssize_t n =
		pread(fd, &entry, sizeof entry, (off_t)((uintptr_t)page / REMUS_TRACK_PAGE * sizeof entry));
	munmap(page, REMUS_TRACK_PAGE);
	if (n != sizeof entry)
		return remus_fail(err, -EIO, "/proc/self/pagemap: short read");
	if (entry & SOFT_DIRTY)
		return 0;
	return remus_fail(err, -EOPNOTSUPP,
			  "this kernel keeps no soft-dirty bits: it was built without CONFIG_MEM_SOFT_DIRTY");
}

static int clear(struct soft_dirty *soft, struct remus_error *err)
{
	if (pwrite(soft->clear_refs, "4", 1, 0) == 1)
		return 0;
	return remus_fail_errno(err, "write 4 to /proc/PID/clear_refs");
}

static void soft_stop(struct remus_track *track)
{
	struct soft_dirty *soft = track->method;

	if (!soft)
		return;
	if (soft->pagemap >= 0)
		close(soft->pagemap);
	if (soft->clear_refs >= 0)
		close(soft->clear_refs);
	free(soft);
	track->method = NULL;
}

static int soft_start(struct remus_track *track, struct remus_error *err)
{
	int code = probe(err);
	if (code)
		return code;
	struct soft_dirty *soft = malloc(sizeof *soft);
	if (!soft)
		return remus_fail(err, -ENOMEM, "out of memory");
	soft->pagemap = soft->clear_refs = -1;
	track->method = soft;
	code = soft->pagemap = remus_track_proc_open(track->target.pid, "pagemap", O_RDONLY, err);
	if (code >= 0)
		code = soft->clear_refs =
			remus_track_proc_open(track->target.pid, "clear_refs", O_WRONLY, err);
	if (code >= 0)
		code = clear(soft, err);
	if (code < 0)
		soft_stop(track);
	return code < 0 ? code : 0;
}

static int soft_fetch(struct remus_track *track, uint64_t *dirty, uint64_t *found, struct remus_error *err)
{
	struct soft_dirty *soft = track->method;
	uint64_t first = track->target.address / REMUS_TRACK_PAGE;

	/* Nothing is cleared before all is read, so a failed read loses nothing. */
	for (uint64_t done = 0; done < track->pages;) {
		uint64_t want = track->pages - done < ENTRIES ? track->pages - done : ENTRIES;
		ssize_t n = pread(soft->pagemap, soft->entry, want * 8, (off_t)((first + done) * 8));
		if (n < 0)
			return remus_fail_errno(err, "read /proc/%d/pagemap", (int)track->target.pid);
		if (n < 8)
			return remus_fail(err, -ESRCH, "/proc/%d/pagemap ends early: the process is gone",
					  (int)track->target.pid);
		for (uint64_t i = 0; i < (uint64_t)n / 8; i++) {
			uint64_t entry = soft->entry[i];
			if ((entry & SOFT_DIRTY) || !(entry & (PRESENT | SWAPPED))) {
				remus_bitmap_set(dirty, done + i);
				(*found)++;
			}
		}
		done += (uint64_t)n / 8;
	}
	return clear(soft, err);
}

const struct remus_track_ops remus_track_soft_dirty_ops = {
	.name = "soft-dirty",
	.probe = probe,
	.start = soft_start,
	.fetch = soft_fetch,
	.stop = soft_stop,
};
