/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of remus-fake-guest: guest.c sets up, guest_work.c is the guest, guest_control.c its monitor. */
#ifndef REMUS_FAKE_GUEST_H
#define REMUS_FAKE_GUEST_H

#include <pthread.h>
#include "fake.h"

struct guest {
	/* constant once set up */
	struct remus_fake_params params;
	const char *name, *control;
	bool has_nic;
	uint8_t mac[6];
	char guest_path[108], host_path[108];
	uint8_t *memory;
	int memfd, nic, lifeline; /* -1 = none */

	/* under the lock */
	pthread_mutex_t lock;
	pthread_cond_t resumed;
	bool paused;
	bool waiting; /* a standby that was not activated yet */
	bool tied;    /* the end of the lifeline is ours */
	bool mortal;  /* ... also once it is activated: a copy for a drill */
	struct remus_fake_state state;
};

/* guest_work.c: writes at the configured rate for ever; a thread. */
void *guest_work(void *guest);
/* Do @n writes, with the frames that go with them. The lock is held. */
void guest_write(struct guest *guest, uint64_t n);
/* Take a frame from the NIC, if one is there, and echo it. The lock is held. */
void guest_receive(struct guest *guest);

/* guest_control.c: listen, tell the lifeline, serve until SHUTDOWN, a SIGTERM or the end of the lifeline. The
 * exit status. */
int guest_serve(struct guest *guest);

#endif
