/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fake guest's CPU and network card. All that it does happens under the lock and only while it isn't
 * paused, so once a pause is answered nothing writes memory or sends (domain.h).
 */
#include "guest.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include "remus/util.h"

#define TICKS	  1000 /* per second */
#define FRAME_MAX 65536

static bool transmit(struct guest *guest, const uint8_t *frame, size_t bytes)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	memcpy(to.sun_path, guest->host_path, sizeof to.sun_path);
	/* Nobody there (ENOENT, ECONNREFUSED): the cable is unplugged and the frame lost, as with QEMU. Only a
	 * full socket (EAGAIN) is worth another try. */
	return sendto(guest->nic, frame, bytes, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&to,
		      sizeof to) >= 0 ||
	       errno != EAGAIN;
}

static void send_frames(struct guest *guest)
{
	uint8_t frame[REMUS_FAKE_FRAME];

	if (guest->nic < 0 || !guest->params.frame_every)
		return;
	while (guest->state.frames < guest->state.writes / guest->params.frame_every) {
		remus_fake_frame_encode(guest->mac, guest->state.frames + 1, guest->state.writes, frame);
		if (!transmit(guest, frame, sizeof frame))
			return;
		guest->state.frames++;
	}
}

void guest_write(struct guest *guest, uint64_t n)
{
	while (n--) {
		remus_fake_write(&guest->params, guest->memory, ++guest->state.writes);
		send_frames(guest);
	}
	send_frames(guest); /* what a full socket held up */
}

void guest_receive(struct guest *guest)
{
	static uint8_t frame[FRAME_MAX];
	ssize_t n = recv(guest->nic, frame, sizeof frame, MSG_DONTWAIT);

	if (n < 14)
		return;
	guest->state.received++;
	memcpy(frame, frame + 6, 6);
	memcpy(frame + 6, guest->mac, 6);
	transmit(guest, frame, (size_t)n);
}

void *guest_work(void *argument)
{
	struct guest *guest = argument;
	uint64_t due = 0; /* in 1/TICKS writes */

	for (;;) {
		pthread_mutex_lock(&guest->lock);
		while (guest->paused)
			pthread_cond_wait(&guest->resumed, &guest->lock);
		due += guest->params.rate;
		guest_write(guest, due / TICKS);
		due %= TICKS;
		pthread_mutex_unlock(&guest->lock);
		nanosleep(&(struct timespec){.tv_nsec = 1000000000 / TICKS}, NULL);
	}
}
