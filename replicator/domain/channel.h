/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A way to a guest's agent (domain.h) over a unix socket on which the hypervisor listens. Shared by backends. */
#ifndef REMUS_DOMAIN_CHANNEL_H
#define REMUS_DOMAIN_CHANNEL_H

#include "remus/domain.h"

struct remus_socket_channel {
	struct remus_channel base;
	char path[108];
	int fd;		   /* -1 = not connected */
	uint64_t again_us; /* when to try again */
	bool torn;	   /* what was sent last may lack its newline */
};

/* Connects at once if it can; nobody listening is no failure. */
void remus_socket_channel_open(struct remus_socket_channel *channel, const char *path);
/* For one that is all zero too. */
void remus_socket_channel_close(struct remus_socket_channel *channel);

#endif
