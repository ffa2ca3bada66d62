/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A receiver that waits for its arbiter may hold the last copy of its guest: when its daemon is gone it must neither go
 * with it nor be killed by the next one. It asks on by itself, activates or drops, and forwards the network of a guest
 * that it has activated; and it waits at a socket of its own for the next daemon, which finds it by its record and steers
 * it from then on. Of all other children those that are orphaned end their session in order (child.c).
 *
 *   child    the daemon is gone -> SESSION_DIR/adopt, in place of the pair's end; the record says "undecided"
 *   daemon   record, process alive, undecided -> connect -> the session is as it was, but its process isn't our child:
 *            its end is seen at the socket, how it ended is its last word
 */
#include "remusd.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "remus/log.h"
#include "remus/util.h"

#define CONNECT_PATIENCE_MS 3000 /* that a child needs to notice that its daemon is gone, and then some */

bool receiver_undecided(const json_t *status)
{
	const char *state = json_string_value(json_object_get(status, "state"));

	return state && (!strcmp(state, "claiming") || !strcmp(state, "activating"));
}

static bool address_of(const char *dir, struct sockaddr_un *out)
{
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	return snprintf(out->sun_path, sizeof out->sun_path, "%s/adopt", dir) < (int)sizeof out->sun_path;
}

/* In a child whose daemon is gone: a socket for the next one. -1 = none can be had. */
int orphan_listen(const char *dir)
{
	struct sockaddr_un address;

	if (!address_of(dir, &address))
		return -1;
	unlink(address.sun_path);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && !bind(fd, (struct sockaddr *)&address, sizeof address) && !listen(fd, 1))
		return fd;
	remus_warn("%s: %m: the next remusd will not find this process", address.sun_path);
	if (fd >= 0)
		close(fd);
	return -1;
}

/* A new daemon is there: its socket, or -1. */
int orphan_adopted(int listener, const char *dir)
{
	struct sockaddr_un address;
	int room = 4 * MESSAGE_MAX;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	if (address_of(dir, &address))
		unlink(address.sun_path);
	return fd;
}

/* In a new daemon. -1 = it can't be reached. */
int orphan_connect(const char *dir)
{
	struct sockaddr_un address;

	if (!address_of(dir, &address))
		return -1;
	for (int waited = 0; waited < CONNECT_PATIENCE_MS; waited += 20) {
		int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		if (fd < 0 || !connect(fd, (struct sockaddr *)&address, sizeof address))
			return fd;
		close(fd);
		poll(NULL, 0, 20);
	}
	return -1;
}
