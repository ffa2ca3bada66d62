/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The queue of held frames: one list in the order of arrival, cut by two marks.
 *
 *    head                                                        tail
 *     | leaving: may go, egress was full | sealed: epoch N | open: N+1 |
 *       seal     moves the second mark to the tail    (refused while an epoch is sealed: I10)
 *       release  moves the first mark to the second
 *       open_all moves both to the tail
 *
 * A frame leaves only from the head, and only out of `leaving`: order and I1 in one place.
 */
#ifndef REMUS_NETBUF_QUEUE_H
#define REMUS_NETBUF_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct held_frame;

struct frame_queue {
	uint64_t max_packets, max_bytes;
	uint64_t packets, bytes; /* in it */
	uint64_t leaving;	 /* frames at the head that may go */
	uint64_t sealed;	 /* the next ones, of sealed_epoch and older */
	bool has_sealed;	 /* an epoch may be sealed and empty */
	uint64_t sealed_epoch;
	struct held_frame *head, **tail;
};

void queue_init(struct frame_queue *queue, uint64_t max_packets, uint64_t max_bytes);
bool queue_has_room(const struct frame_queue *queue, size_t bytes);
/* Append a copy: 0, -ENOBUFS (a cap), -ENOMEM. */
int queue_push(struct frame_queue *queue, const struct iovec *frame);
void queue_seal(struct frame_queue *queue, uint64_t epoch); /* not while one is sealed */
void queue_release(struct frame_queue *queue, uint64_t epoch);
void queue_open_all(struct frame_queue *queue);
/* Up to @max frames that may leave, oldest first; they stay in the queue. */
unsigned queue_peek(const struct frame_queue *queue, struct iovec *out, unsigned max);
void queue_pop(struct frame_queue *queue); /* the head, which must be leaving */
/* Drop all, whatever side of the marks; returns how many frames. */
uint64_t queue_clear(struct frame_queue *queue);

#endif
