/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's half of an epoch's data: what the pause takes out of the guest, and how it goes onto the link.
 *
 * The pending set holds every page that the backup doesn't have yet. A capture moves pages from it into the
 * staging buffer; abort moves them back (I9). Staging is virtual memory of the guest's size of which only what
 * one epoch needs is ever touched; what a large epoch left over is given back.
 */
#ifndef REMUS_CAPTURE_H
#define REMUS_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "remus/clock.h"
#include "remus/engine.h"
#include "remus/pages.h"

struct capture {
	struct remus_guest *guest;
	struct remus_domain *domain;
	struct remus_encoder *encoder;
	uint64_t guest_pages;
	uint64_t cap;	   /* bytes of pages that an epoch may have here; 0 = all of the guest's */
	uint64_t *pending; /* bitmap: pages that must be sent */
	uint64_t *pfn;	   /* of staged pages, ascending */
	uint8_t *pages;	   /* their content */
	size_t count;	   /* staged now */
	size_t changed;	   /* of them, those that the backup had to be sent; known once they are */
	size_t touched;	   /* bytes of `pages` that may be resident */
	uint8_t *state;	   /* the epoch's section stream */
	size_t state_bytes, state_room;
	uint64_t epoch;			/* staged; 0 = none or full copy */
	uint64_t cursor;		/* full copy: where the round stands */
	struct remus_pause_parts parts; /* of the last pause */
	uint32_t renew_wait_ms;		/* for the backup, with a guest that has an agent */
	int64_t clock_anchor_ns;	/* our link clock minus CLOCK_MONOTONIC_RAW (remus_link_clock) */
	enum remus_clock_policy clock_policy;
};

int capture_create(struct remus_guest *guest, uint64_t cache_bytes, unsigned threads, struct capture **out,
		   struct remus_error *err);
void capture_destroy(struct capture *capture);
/* Resident bytes: staging, state and bitmaps, without the base cache. */
uint64_t capture_memory(const struct capture *capture);

/* Take state, dirty set and pages of the paused guest as @epoch. Fills parts.save, scan, copy. REMUS_EPOCH_LARGE: more
 * pages than the cap. */
int capture_take(struct capture *capture, uint64_t epoch, struct remus_error *err);
/* The staged epoch won't be completed: its pages are pending again, its bases forgotten. */
void capture_abort(struct capture *capture, uint64_t epoch);
/* What sending may take. A frame that would begin later or go beyond is not sent, nor is any after it. */
struct capture_limits {
	uint64_t deadline_us; /* remus_now_us(); 0 = none */
	uint64_t bytes;	      /* on the wire, as the backup counts (REMUS_STAGING_FRAME_COST); 0 = any */
	void (*between)(void *context); /* called before each frame; may be NULL */
	void *context;
};
/* Encode and send the staged epoch, COMMIT included. *digest as the backup must answer it; *bytes adds the
 * payload that went out. REMUS_EPOCH_LATE, REMUS_EPOCH_LARGE: a limit was met, and the COMMIT was not sent. */
int capture_send(struct capture *capture, struct remus_link *link, const struct capture_limits *limits,
		 uint64_t *digest, uint64_t *bytes, struct remus_error *err);

/* Full copy: begin round @round (1: every page with content; later: those dirtied since). */
int capture_round_begin(struct capture *capture, unsigned round, struct remus_error *err);
/* Send a piece. 1 = more to do, 0 = the round is through (*dirty = pages dirtied meanwhile). *sent adds pages. */
int capture_round_step(struct capture *capture, struct remus_link *link, uint64_t *sent, uint64_t *dirty,
		       struct remus_error *err);

#endif
