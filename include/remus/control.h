/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: what remusd and its clients share. docs/control.md is the protocol; here are the places
 * where sockets live by default and the lines, one JSON object each, that go over them. Both ends distrust the
 * other: a line is bounded before it is kept (I11) and every wait has a deadline (I8).
 */
#ifndef REMUS_CONTROL_H
#define REMUS_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "remus/error.h"

#define REMUS_CONTROL_PATH_MAX	  108u		  /* sun_path, the NUL included */
#define REMUS_CONTROL_REQUEST_MAX (64u * 1024u)	  /* bytes of a request line, the newline not counted */
#define REMUS_CONTROL_ANSWER_MAX  (1024u * 1024u) /* of an answer line: a status with hundreds of domains */

/* A deadline that never comes; for followers that a person or a signal ends. */
#define REMUS_CONTROL_FOREVER UINT64_MAX

/*
 * Where remusd keeps its sockets unless told otherwise: /run/remus for root, else $XDG_RUNTIME_DIR/remus, else
 * /tmp/remus-UID (whoever makes that one must check that it owns it). -ENAMETOOLONG.
 */
int remus_default_run_dir(char *out, size_t size, struct remus_error *err);

/*
 * The socket a client tries when none is named: $REMUS_CONTROL; else RUN_DIR/control; a user who runs no remusd
 * of his own but sees /run/remus/control gets that. *@named (may be NULL) tells whether the environment named
 * it. -ENAMETOOLONG, or -EINVAL for an empty $REMUS_CONTROL.
 */
int remus_control_default_path(char out[REMUS_CONTROL_PATH_MAX], bool *named, struct remus_error *err);

/* A bounded line reader over a connected socket (blocking or not). */
struct remus_lines {
	int fd;	      /* not owned */
	size_t max;   /* bytes of a line, the newline not counted */
	size_t size;  /* of @buffer */
	size_t used;  /* bytes in it */
	size_t taken; /* of these, handed out already */
	size_t scanned;
	bool ended;
	char *buffer;
};
void remus_lines_init(struct remus_lines *lines, int fd, size_t max);
void remus_lines_clear(struct remus_lines *lines);

/*
 * 1: *@line is the next line without its newline, NUL-terminated, in the reader's buffer until the next call;
 * *@length its bytes. 0: the peer closed after a whole line. -ETIMEDOUT: @deadline_us (CLOCK_MONOTONIC, µs)
 * passed; with deadline 0 nothing is waited for and -EAGAIN says that no whole line is here. -EMSGSIZE: longer
 * than max (the reader is of no use any more). -EBADMSG: closed in the middle of a line. Else the socket's error.
 */
int remus_lines_next(struct remus_lines *lines, uint64_t deadline_us, char **line, size_t *length,
		     struct remus_error *err);

/* As remus_lines_next(), parsed: *@out is a JSON object that the caller owns. -EBADMSG also for a line that is
 * no JSON object, with what is wrong where. */
int remus_control_receive(struct remus_lines *lines, uint64_t deadline_us, json_t **out,
			  struct remus_error *err);

/* Send @object as one line, pure ASCII, before @deadline_us (0: whatever doesn't fit the socket's buffer at once
 * fails with -EAGAIN, and the stream is then of no use). -ETIMEDOUT, -EPIPE (never a SIGPIPE). */
int remus_control_send(int fd, const json_t *object, uint64_t deadline_us, struct remus_error *err);

#endif
