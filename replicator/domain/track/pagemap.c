/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Get and clear with PAGEMAP_SCAN. category_mask = return_mask = WRITTEN selects the kernel's fast path, and
 * not only for speed: there a page without a page table entry counts as written, so a page that was written
 * and then reclaimed, or punched out, between two fetches isn't lost (I9). A page that is punched out *unwritten*
 * (balloon, free page reporting) does not show: it reads as zeroes here and as before on the backup, and a
 * guest may count on neither.
 */
#include "pagemap.h"

#include <fcntl.h>
#include <inttypes.h>
#include "method.h"
#include "remus/util.h"

#define REGIONS 2048 /* 48 KiB; a call that fills it costs some 60 us, so more would not speed things up */

int remus_pagemap_scan_probe(struct remus_error *err)
{
	struct remus_page_region region;
	struct remus_pm_scan scan = {
		.size = sizeof scan,
		.start = (uintptr_t)&region & ~(REMUS_TRACK_PAGE - 1),
		.end = ((uintptr_t)&region & ~(REMUS_TRACK_PAGE - 1)) + REMUS_TRACK_PAGE,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = REMUS_PAGE_IS_WRITTEN,
		.return_mask = REMUS_PAGE_IS_WRITTEN,
	};
	REMUS_AUTO_CLOSE int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return remus_fail_errno(err, "open /proc/self/pagemap");
	if (ioctl(fd, REMUS_PAGEMAP_SCAN, &scan) >= 0)
		return 0;
	if (errno == ENOTTY || errno == EINVAL)
		return remus_fail(
			err, -EOPNOTSUPP,
			"this kernel has no PAGEMAP_SCAN on /proc/PID/pagemap: Linux 6.7 or later is needed");
	return remus_fail_errno(err, "PAGEMAP_SCAN of /proc/self/pagemap");
}

int remus_pagemap_fetch(int pagemap, uint64_t start, uint64_t bytes, uint64_t *dirty, uint64_t *found,
			struct remus_error *err)
{
	struct remus_page_region regions[REGIONS];
	uint64_t at = start, end = start + bytes;

	*found = 0;
	while (at < end) {
		struct remus_pm_scan scan = {
			.size = sizeof scan,
			.flags = REMUS_PM_SCAN_WP_MATCHING | REMUS_PM_SCAN_CHECK_WPASYNC,
			.start = at,
			.end = end,
			.vec = (uintptr_t)regions,
			.vec_len = REGIONS,
			.category_mask = REMUS_PAGE_IS_WRITTEN,
			.return_mask = REMUS_PAGE_IS_WRITTEN,
		};
		int n = ioctl(pagemap, REMUS_PAGEMAP_SCAN, &scan);
		if (n < 0 || (n == 0 && scan.walk_end <= at)) {
			/* How far it came is unknown: all that is left counts as cleared. */
			int code = n < 0 ? errno : EIO;
			remus_bitmap_set_range(dirty, (at - start) / REMUS_TRACK_PAGE,
					       (end - at) / REMUS_TRACK_PAGE);
			*found += (end - at) / REMUS_TRACK_PAGE;
			errno = code;
			return remus_fail_errno(err, "PAGEMAP_SCAN at 0x%" PRIx64, at);
		}
		for (int i = 0; i < n; i++) {
			uint64_t first = (regions[i].start - start) / REMUS_TRACK_PAGE;
			uint64_t count = (regions[i].end - regions[i].start) / REMUS_TRACK_PAGE;
			remus_bitmap_set_range(dirty, first, count);
			*found += count;
		}
		at = scan.walk_end;
	}
	return 0;
}
