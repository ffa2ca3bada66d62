/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program of ours in a process of its own, because a library that it uses blocks, forks, takes signals or may
 * exit: remus-xen-keeper for libxl, remus-xen-saver for libxenguest. This is the end of whoever starts it. They
 * talk over a SOCK_SEQPACKET pair, one short text a message; its process group is its own, so that what the
 * library forks goes with it.
 */
#ifndef REMUS_XEN_HELPER_H
#define REMUS_XEN_HELPER_H

#include <stdbool.h>
#include <sys/types.h>
#include "remus/error.h"

#define REMUS_XEN_HELPER_MESSAGE 512

struct remus_xen_helper {
	const char *program; /* its name */
	pid_t pid;	     /* and process group; 0 = none */
	int talk;	     /* -1 = none */
};

/*
 * Start @program, found where @variable says, installed, or beside this program. Its descriptors: 3 the pair, then
 * @fds[0..count-1], at most 4, which are closed here whatever happens; its words go to @log_path.
 */
int remus_xen_helper_start(struct remus_xen_helper *helper, const char *program, const char *variable,
			   char *const argv[], int *fds, int count, const char *log_path,
			   struct remus_error *err);
/* One message, waiting up to @timeout_ms. 1 = got one, 0 = none in time, -EPIPE = it is gone. */
int remus_xen_helper_hear(struct remus_xen_helper *helper, int timeout_ms,
			  char out[REMUS_XEN_HELPER_MESSAGE]);
int remus_xen_helper_tell(struct remus_xen_helper *helper, const char *text, struct remus_error *err);
/* Hang up, wait for its end and kill what is left of its group. */
void remus_xen_helper_stop(struct remus_xen_helper *helper, int timeout_ms);
/* Close a descriptor and mark it closed; -1 is none. */
void remus_xen_close_fd(int *fd);

#endif
