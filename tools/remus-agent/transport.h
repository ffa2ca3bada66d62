/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ways between the agent and the host. Both carry lines; both may lose some. A transport that isn't there (yet) is
 * tried again by the caller.
 */
#ifndef REMUS_AGENT_TRANSPORT_H
#define REMUS_AGENT_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "remus/error.h"

struct transport;
struct transport_ops {
	const char *name; /* as --transport takes it */
	/* -ENODEV, -ENOENT: there is no such device; anything else is worth a word. */
	int (*open)(struct transport **out, struct remus_error *err);
	/* Add to an epoll set with these events; edge-triggered: read() until it returns 0. */
	int (*fd)(struct transport *);
	/* Bytes that the host wrote; 0 = none now. Negative: it is of no use any more. */
	ssize_t (*read)(struct transport *, void *buffer, size_t size, struct remus_error *err);
	/* One line. 0 also when it may have been lost. Negative: of no use any more. */
	int (*write)(struct transport *, const char *line, size_t bytes, struct remus_error *err);
	void (*close)(struct transport *);
};
struct transport {
	const struct transport_ops *ops;
};

/* Xenstore over the opened device @fd, which is owned from here on. */
int transport_xenstore_attach(int fd, struct transport **out, struct remus_error *err);

extern const struct transport_ops transport_virtio, transport_xenstore;

#endif
