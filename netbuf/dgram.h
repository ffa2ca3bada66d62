/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A datagram socket at a path, and the path's place in the file system. */
#ifndef REMUS_NETBUF_DGRAM_H
#define REMUS_NETBUF_DGRAM_H

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "remus/error.h"

struct dgram_place {
	char path[108]; /* "" = not bound */
	dev_t device;
	ino_t inode;
};

/* Fill an address; -ENAMETOOLONG, -EINVAL (empty). */
int dgram_address(const char *path, struct sockaddr_un *out, struct remus_error *err);

/*
 * Open a non-blocking datagram socket bound at @path; returns the descriptor. What a killed process left at the
 * path is replaced; a socket that a live process has bound (-EBUSY) and anything that is no socket (-EEXIST) are
 * left alone. Two engines that take over the same leftover in the same instant are not told apart here: that
 * is the duty of the supervisor's lock.
 */
int dgram_bind(const char *path, struct dgram_place *place, struct remus_error *err);

/* Could dgram_bind() do it? Nothing is made or removed. */
int dgram_check(const char *path, struct remus_error *err);

/* Remove the path if what is there is still the socket that dgram_bind() made. */
void dgram_unlink(struct dgram_place *place);

#endif
