// SPDX-License-Identifier: GPL-2.0-or-later
/* The queue of held frames; queue.h draws it. Bounded in frames and in bytes (I11). No locks: its user's duty. */
#include "queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct held_frame {
	struct held_frame *next;
	size_t bytes;
	uint8_t data[];
};

void queue_init(struct frame_queue *queue, uint64_t max_packets, uint64_t max_bytes)
{
	*queue = (struct frame_queue){.max_packets = max_packets, .max_bytes = max_bytes};
	queue->tail = &queue->head;
}

bool queue_has_room(const struct frame_queue *queue, size_t bytes)
{
	return queue->packets < queue->max_packets && bytes <= queue->max_bytes - queue->bytes;
}

int queue_push(struct frame_queue *queue, const struct iovec *frame)
{
	if (!queue_has_room(queue, frame->iov_len))
		return -ENOBUFS;
	struct held_frame *held = malloc(sizeof *held + frame->iov_len);
	if (!held)
		return -ENOMEM;
	held->next = NULL;
	held->bytes = frame->iov_len;
	memcpy(held->data, frame->iov_base, frame->iov_len);
	*queue->tail = held;
	queue->tail = &held->next;
	queue->packets++;
	queue->bytes += held->bytes;
	return 0;
}

void queue_seal(struct frame_queue *queue, uint64_t epoch)
{
	assert(!queue->has_sealed); /* I10 */
	queue->sealed = queue->packets - queue->leaving;
	queue->has_sealed = true;
	queue->sealed_epoch = epoch;
}

void queue_release(struct frame_queue *queue, uint64_t epoch)
{
	if (!queue->has_sealed || epoch < queue->sealed_epoch)
		return;
	queue->leaving += queue->sealed;
	queue->sealed = 0;
	queue->has_sealed = false;
}

void queue_open_all(struct frame_queue *queue)
{
	queue->leaving = queue->packets;
	queue->sealed = 0;
	queue->has_sealed = false;
}

unsigned queue_peek(const struct frame_queue *queue, struct iovec *out, unsigned max)
{
	struct held_frame *held = queue->head;
	unsigned n = 0;

	for (; n < max && n < queue->leaving; n++, held = held->next)
		out[n] = (struct iovec){held->data, held->bytes};
	return n;
}

static void unlink_head(struct frame_queue *queue)
{
	struct held_frame *held = queue->head;

	queue->head = held->next;
	if (!queue->head)
		queue->tail = &queue->head;
	queue->packets--;
	queue->bytes -= held->bytes;
	free(held);
}

void queue_pop(struct frame_queue *queue)
{
	assert(queue->leaving > 0); /* I1 */
	queue->leaving--;
	unlink_head(queue);
}

uint64_t queue_clear(struct frame_queue *queue)
{
	uint64_t dropped = queue->packets;

	while (queue->head)
		unlink_head(queue);
	queue->leaving = queue->sealed = 0;
	queue->has_sealed = false;
	return dropped;
}
