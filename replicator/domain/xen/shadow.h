/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's own copy of the guest's memory: the base of page deltas, and what a second attempt at activation
 * starts from (libxl's domain can't serve: its ring pages are cleared, and it is gone when attaching a device
 * fails). Address space for every page frame number up to the guest's highest, of which only pages ever
 * written are resident. It keeps account of what was handed out for writing since the last commit.
 */
#ifndef REMUS_XEN_SHADOW_H
#define REMUS_XEN_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "remus/error.h"

struct remus_xen_snapshot; /* snapshot.h */

struct remus_xen_shadow {
	uint8_t *memory;
	uint64_t pages;	   /* page frame numbers are below this */
	uint64_t *present; /* bitmap: ever written */
	uint64_t *touched; /* bitmap: handed out since take() */
	uint64_t touched_count;
	struct remus_xen_snapshot
		*snapshot; /* that wants to know of pages before they are written to; NULL = none */
};

int remus_xen_shadow_create(struct remus_xen_shadow *shadow, uint64_t pages, struct remus_error *err);
void remus_xen_shadow_destroy(struct remus_xen_shadow *shadow);
/* 4096 writable bytes of a page; NULL for one that can't exist. */
uint8_t *remus_xen_shadow_page(struct remus_xen_shadow *shadow, uint64_t pfn);
/* Up to @max touched pages at or after *@cursor, ascending; they are no longer touched. 0 = none left. */
size_t remus_xen_shadow_take(struct remus_xen_shadow *shadow, uint64_t *cursor, uint64_t *pfn, size_t max);
/* Mark a page as touched, which is to be passed on though nobody has written to it; and: was it touched? No longer. */
void remus_xen_shadow_touch(struct remus_xen_shadow *shadow, uint64_t pfn);
bool remus_xen_shadow_claim(struct remus_xen_shadow *shadow, uint64_t pfn);
/* Everything ever written is to be written to the next domain. */
void remus_xen_shadow_touch_all(struct remus_xen_shadow *shadow);

#endif
