/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's staging of one epoch: frames as they came, checked one by one as they arrive, totals and digest
 * compared at COMMIT. Only then may the epoch be acknowledged (I2), and only after that is it applied (I3).
 */
#ifndef REMUS_STAGING_H
#define REMUS_STAGING_H

#include <stddef.h>
#include <stdint.h>
#include "remus/clock.h"
#include "remus/domain.h"
#include "remus/netbuf.h"
#include "remus/wire.h"

struct staging {
	uint64_t guest_pages;
	uint64_t cap;		   /* bytes one epoch may have staged */
	uint64_t epoch;		   /* staged, 0 = none */
	struct remus_frame *frame; /* PAGES frames, payloads owned */
	size_t frames, room;
	uint64_t pages, page_bytes;
	uint8_t *state; /* STATE payloads, concatenated */
	size_t state_bytes, state_room;
	struct remus_digest digest;
	/* Found by verify: pieces of @state. */
	const uint8_t *device;
	size_t device_bytes;
	struct remus_addresses addresses;
	struct remus_agent_section agent; /* version "" = there was none */
	struct remus_clock_facts clock;	  /* all zero = the primary sent none */
};

/* The cap for a guest of @guest_pages: an epoch with every page raw, and the largest device state; @limit if that is
 * less (0 = no limit). */
uint64_t staging_cap(uint64_t guest_pages, uint64_t limit);
void staging_init(struct staging *staging, uint64_t guest_pages, uint64_t limit);
/* Forget the epoch. */
void staging_clear(struct staging *staging);
/* Check a PAGES or STATE frame and keep it; takes frame->payload on success. Errors: -EBADMSG, -E2BIG, -ENOMEM. */
int staging_add(struct staging *staging, uint64_t epoch, struct remus_frame *frame, struct remus_error *err);
/* Is what is staged exactly what @commit announces, with a usable state? */
int staging_verify(struct staging *staging, uint64_t epoch, const struct remus_commit *commit,
		   struct remus_error *err);
/* Make a verified epoch the standby's image, and forget it here. */
int staging_apply(struct staging *staging, struct remus_standby *standby, struct remus_error *err);
/* Bytes held now. */
uint64_t staging_bytes(const struct staging *staging);

/* remus_page_locate for a standby (context). */
uint8_t *staging_locate(void *context, uint64_t pfn);

#endif
