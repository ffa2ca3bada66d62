/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A batch of received frames in memory that is allocated once. Receivers fill it from the front, whoever
 * passes the frames on advances `next`.
 *
 *   slot i:  | headroom 64 | frame, up to 65,550 bytes | 1 byte that shows a longer one | padding |
 *
 * The headroom lets a receiver put a VLAN tag back in front (egress-packet.c).
 */
#ifndef REMUS_NETBUF_BATCH_H
#define REMUS_NETBUF_BATCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define BATCH_FRAMES   32u    /* one batch keeps the lock for some 0.1 ms at most: the pause waits for it */
#define BATCH_HEADROOM 64u    /* bytes */
#define FRAME_MAX      65550u /* bytes: 64 KiB of a GSO frame and its Ethernet header */
#define BATCH_SLOT     65664u /* a multiple of 64, for cache lines */

struct frame_batch {
	unsigned count, next;
	struct iovec frame[BATCH_FRAMES];
	uint8_t *memory;
};

int frame_batch_init(struct frame_batch *batch);
void frame_batch_free(struct frame_batch *batch);

static inline uint8_t *frame_batch_slot(struct frame_batch *batch, unsigned i)
{
	return batch->memory + (size_t)i * BATCH_SLOT + BATCH_HEADROOM;
}

/*
 * Receive what a non-blocking datagram socket holds now, up to a batch. Returns how many datagrams were taken
 * off the socket, 0 = none there, or -errno; batch->count of them are frames, the others were too long and
 * are gone.
 */
int frame_batch_receive(struct frame_batch *batch, int fd);

#endif
