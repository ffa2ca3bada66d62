/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a guest's frames leave to: one of these per kind of egress URI. An egress is opened closed: until
 * start() it neither sends nor takes anything off the network.
 */
#ifndef REMUS_NETBUF_EGRESS_H
#define REMUS_NETBUF_EGRESS_H

#include "batch.h"
#include "remus/error.h"

struct egress {
	const struct egress_ops *ops;
	int fd;		/* poll it for input; -1 = this egress has no input */
	char name[256]; /* its URI, for messages */
};

struct egress_ops {
	const char *scheme;
	const char *form; /* "packet:IFNAME" */
	/* Could open() and start() do their work? Makes nothing. open() begins with it. */
	int (*check)(const char *rest, struct remus_error *err);
	/* Open what follows the colon. Checks whatever can be checked now. */
	int (*open)(const char *rest, struct egress **out, struct remus_error *err);
	/* Begin to receive; what had arrived before is thrown away by the caller. Sending works from now on. */
	int (*start)(struct egress *, struct remus_error *err);
	/* As frame_batch_receive(). */
	int (*receive)(struct egress *, struct frame_batch *);
	/* Send in order, never blocking: how many of @frames went (>= 1), or -errno for the first: -EAGAIN or
	 * -ENOBUFS when it may go later. */
	int (*send)(struct egress *, const struct iovec *frames, unsigned count);
	/* Remove what open() made (I13). Frees. */
	void (*close)(struct egress *);
};

extern const struct egress_ops egress_packet, egress_tap, egress_unix;

/* Both name @uri in their errors and list the forms. */
int egress_check(const char *uri, struct remus_error *err);
int egress_open(const char *uri, struct egress **out, struct remus_error *err);

/* For the kinds that name an interface: its name from the URI (1..15 bytes), whether it exists (-ENODEV), is
 * Ethernet (-EINVAL) and up (-ENETDOWN). */
int egress_interface(const char *name, struct remus_error *err);

#endif
