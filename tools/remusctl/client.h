/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client's end of the control socket: connect, ask once, read lines until the answer. */
#ifndef REMUSCTL_CLIENT_H
#define REMUSCTL_CLIENT_H

#include <jansson.h>
#include "exit.h"
#include "remus/error.h"
#include "verb.h"

/*
 * Connect to @path within @timeout_ms: a descriptor, or a negative code with what it means and what to do. With
 * @own only a socket that root or the caller serves will do (the path was guessed, and /tmp is anybody's).
 */
int ctl_connect(const char *path, unsigned timeout_ms, bool own, struct remus_error *err);

/* What comes before the answer: @kind "progress" or "event" and its object (borrowed). From ctl_ask() once more
 * at the end with NULL and NULL, so that an open line on the terminal can be closed before anything is said. */
typedef void ctl_on_line(void *context, const char *kind, const json_t *body);

/*
 * Send @request and read lines until the answer. 0 and *@answer (owned by the caller): the value of "ok". Else a
 * negative code: remusd's own, with its message, or that of the conversation. @timeout_ms bounds the silence
 * between two lines, 0 = for ever. Lines of a kind not known here are passed over.
 */
int ctl_talk(int fd, const json_t *request, unsigned timeout_ms, ctl_on_line *on_line, void *context,
	     json_t **answer, struct remus_error *err);

/* Both, with the socket and the time that @call's options or the defaults give; errors are printed. */
enum ctl_exit ctl_ask(const struct ctl_call *call, ctl_on_line *on_line, void *context, json_t **answer);

/* For a verb with nothing to show: ask, and on success print the domain and @outcome. */
enum ctl_exit ctl_ask_and_say(const struct ctl_call *call, const char *outcome);

/* "remusctl: message" and, if not NULL, "remusctl: hint: ..." on stderr, without control characters. */
void ctl_complain(const char *message, const char *hint);

#endif
