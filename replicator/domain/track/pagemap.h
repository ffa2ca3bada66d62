/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PAGEMAP_SCAN ioctl of /proc/PID/pagemap (Linux 6.7, Documentation/admin-guide/mm/pagemap.rst) and the
 * userfaultfd bits that go with it. Defined here because the kernel headers of the distributions that we build
 * on are older than the kernels that we run on.
 */
#ifndef REMUS_TRACK_PAGEMAP_H
#define REMUS_TRACK_PAGEMAP_H

#include <stdint.h>
#include <sys/ioctl.h>
#include "remus/error.h"

/* Categories of a page. */
#define REMUS_PAGE_IS_WRITTEN (UINT64_C(1) << 1)

/* Flags of the call. */
#define REMUS_PM_SCAN_WP_MATCHING   (UINT64_C(1) << 0) /* write-protect what matched, atomically */
#define REMUS_PM_SCAN_CHECK_WPASYNC (UINT64_C(1) << 1) /* fail (EPERM) where the range isn't registered */

struct remus_page_region {
	uint64_t start, end, categories;
};
struct remus_pm_scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define REMUS_PAGEMAP_SCAN _IOWR('f', 16, struct remus_pm_scan)

/* Features of UFFDIO_API. */
#define REMUS_UFFD_FEATURE_WP		      (UINT64_C(1) << 0)
#define REMUS_UFFD_FEATURE_WP_HUGETLBFS_SHMEM (UINT64_C(1) << 12)
#define REMUS_UFFD_FEATURE_WP_UNPOPULATED     (UINT64_C(1) << 13)
#define REMUS_UFFD_FEATURE_WP_ASYNC	      (UINT64_C(1) << 15)

/* Does the running kernel have the call? -EOPNOTSUPP and a message when not. */
int remus_pagemap_scan_probe(struct remus_error *err);

/*
 * Get and clear: set in @dirty the pages of [start, start+bytes) of the process behind @pagemap that were
 * written since they were last write-protected, and write-protect them again. @found gets their number. When
 * it fails all pages that may have been cleared are set (I9).
 */
int remus_pagemap_fetch(int pagemap, uint64_t start, uint64_t bytes, uint64_t *dirty, uint64_t *found,
			struct remus_error *err);

#endif
