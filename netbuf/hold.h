/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What hold.c (the states, called by the shell) and relay.c (the movement of frames) share.
 *
 *              guest socket                              egress
 *    guest --> [ kernel ] --take--> queue --flush--> [ kernel ] --> network      under `lock`
 *    guest <-- [ kernel ] <------- to_guest <------- [ kernel ] <-- network      relay thread alone
 *
 * Both the shell and the relay thread take from the guest's socket and flush, each a batch at a time and
 * wholly under the lock: a frame is never in flight between socket and queue when somebody else holds the
 * lock. That is what makes seal() exact.
 */
#ifndef REMUS_NETBUF_HOLD_H
#define REMUS_NETBUF_HOLD_H

#include <pthread.h>
#include <stdatomic.h>
#include "remus/netbuf.h"
#include "batch.h"
#include "dgram.h"
#include "egress.h"
#include "queue.h"

enum hold_state { HOLD_CLOSED, HOLD_PASSING, HOLD_HOLDING };

struct hold {
	struct remus_netbuf base;
	uint8_t mac[6];
	struct egress *egress;
	int guest; /* socket */
	struct dgram_place host_place;
	struct sockaddr_un guest_address;
	int wake; /* eventfd: the relay thread should look again */
	pthread_t thread;

	/*
	 * A mutex isn't fair: a relay thread with much to send could retake it for ever while the shell waits with
	 * the guest stopped. Whoever wants `lock` waits for it holding `turn`, so the other comes next.
	 */
	pthread_mutex_t turn, lock;

	/* under `lock` */
	enum hold_state state;
	bool stopping;
	bool egress_full; /* the last send said "later" */
	bool complained;  /* of the egress refusing, until it takes a frame again */
	struct frame_queue queue;
	struct frame_batch from_guest;
	struct remus_netbuf_stats stats;
	struct remus_addresses learned;

	/* the relay thread's; pass() uses it too before the thread looks at the egress */
	struct frame_batch to_guest;
	bool guest_complained; /* of the guest's socket, once */
	_Atomic uint64_t received;
};

void hold_lock(struct hold *hold);
void hold_unlock(struct hold *hold);
void hold_wake(struct hold *hold);

/* Under the lock. Take a batch from the guest's socket into the queue; returns 0 when nothing was there. */
int hold_take(struct hold *hold);
/* Under the lock. Send of what may leave up to @budget frames; returns how many left the queue. */
unsigned hold_flush(struct hold *hold, unsigned budget);
/* The thread. */
void *hold_relay(void *hold);

#endif
