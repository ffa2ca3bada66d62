/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The receiver's end of remus-xen-keeper (keeper_main.c), the process in which libxl builds and keeps a
 * standby domain. They talk over a SOCK_SEQPACKET pair, one short text a message:
 *
 *   to the keeper      "activate NAME"            run it, under this name; from here on it needs nobody
 *                      "destroy"                  destroy it, though it runs
 *                      EOF before "activate"      the domain must never run: destroy it; of a copy at any time
 *   from the keeper    "domid N"                  the domain exists, its interfaces are attached
 *                      "running"                  the guest runs
 *                      "failed TEXT"              nothing runs, the domain is gone
 *                      "ended shutdown|crash TEXT" the running guest ended
 *
 * Descriptors of the keeper: 3 the pair, 4 the stream's read end, 5 its write end. It holds the latter so that
 * the death of the receiver is no end of the stream: libxl takes an end for "failover" (I5).
 */
#ifndef REMUS_XEN_KEEPER_H
#define REMUS_XEN_KEEPER_H

#include <stdatomic.h>
#include <stdint.h>
#include "helper.h"

#define REMUS_XEN_KEEPER_MESSAGE REMUS_XEN_HELPER_MESSAGE

struct remus_xen_keeper {
	struct remus_xen_helper helper;
	int stream;		     /* write end, non-blocking; -1 = none */
	const atomic_bool *given_up; /* whoever waits here is to be told -ECANCELED soon; NULL = never */
};
#define REMUS_XEN_KEEPER_INIT                   \
	{                                       \
		.helper.talk = -1, .stream = -1 \
	}

/* Start one for the domain @name with libxl's JSON in the file @config; its words go to @log_path. @copy: of a drill. It
 * keeps out of the way of whoever needs the processor, and destroys its domain with its receiver though that runs. */
int remus_xen_keeper_start(struct remus_xen_keeper *keeper, const char *name, const char *config,
			   const char *log_path, bool copy, struct remus_error *err);
/* One message, waiting up to @timeout_ms. 1 = got one, 0 = none in time, -EPIPE = the keeper is gone. */
int remus_xen_keeper_hear(struct remus_xen_keeper *keeper, int timeout_ms,
			  char out[REMUS_XEN_KEEPER_MESSAGE]);
/* The same, for who can wait for long: -ECANCELED once it is given up. */
int remus_xen_keeper_await(struct remus_xen_keeper *keeper, int timeout_ms,
			   char out[REMUS_XEN_KEEPER_MESSAGE]);
int remus_xen_keeper_tell(struct remus_xen_keeper *keeper, const char *text, struct remus_error *err);
/* Write all of @iov, within @timeout_ms of no progress; the keeper's words meanwhile are left for hear(). */
struct iovec;
int remus_xen_keeper_feed(struct remus_xen_keeper *keeper, struct iovec *iov, int parts, int timeout_ms,
			  struct remus_error *err);
/* Have its domain destroyed (unless it was activated) and wait for it to go. */
void remus_xen_keeper_stop(struct remus_xen_keeper *keeper, int timeout_ms);
/* Let go of a keeper whose guest runs. */
void remus_xen_keeper_release(struct remus_xen_keeper *keeper);

#endif
