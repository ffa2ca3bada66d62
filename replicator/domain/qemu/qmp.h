/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of QEMU's machine protocol (QMP, docs/interop/qmp-spec.txt of QEMU) for one thread: commands are
 * executed one at a time, each with a deadline; events that arrive meanwhile are queued.
 */
#ifndef REMUS_QMP_H
#define REMUS_QMP_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>
#include "remus/error.h"

#define REMUS_QMP_MESSAGE_MAX (1u << 20) /* bytes of one reply; QEMU's largest (its schema) has 0.2 MiB */
#define REMUS_QMP_EVENTS_MAX  64	 /* queued events, and one SHUTDOWN more; later ones are dropped */

struct remus_qmp;

/*
 * Connect to the socket at @path, read the greeting and negotiate, all within @deadline_ms.
 *   -ENOENT        no such socket
 *   -ENOTSOCK      the path isn't a socket
 *   -ECONNREFUSED  no process listens: that QEMU is dead
 *   -EBUSY         no greeting came: another QMP client is connected
 *   -EPROTO        something answered that doesn't speak QMP
 */
int remus_qmp_connect(const char *path, int deadline_ms, struct remus_qmp **out, struct remus_error *err);
/* The same over the connected @fd, which is owned from here on, even on failure. @name is for messages. */
int remus_qmp_attach(int fd, const char *name, int deadline_ms, struct remus_qmp **out,
		     struct remus_error *err);
void remus_qmp_close(struct remus_qmp *);

int remus_qmp_fd(const struct remus_qmp *);
/* The process that listens on the socket (SO_PEERCRED). */
pid_t remus_qmp_peer(const struct remus_qmp *);
/* The greeting's version as `qemu-system-x86_64 --version` prints it: "7.2.22 (Debian 1:7.2+dfsg-7)". */
const char *remus_qmp_version(const struct remus_qmp *);

/*
 * Execute @command with @arguments (reference stolen, NULL = none), passing @fd along unless it is -1.
 * @reply (may be NULL) gets what stands under "return", to be json_decref()ed.
 *   -EREMOTEIO  QEMU refused; the message quotes it
 *   -ETIMEDOUT  no reply in time. A late reply is recognised and skipped by a later call.
 *   -ECONNRESET the connection ended (sticky)
 *   -EPROTO     what came isn't QMP, or is too long (sticky)
 */
int remus_qmp_execute(struct remus_qmp *, const char *command, json_t *arguments, int fd, int deadline_ms,
		      json_t **reply, struct remus_error *err);

/* Take in what has arrived, without blocking. 0, or the sticky errors above. */
int remus_qmp_pump(struct remus_qmp *, struct remus_error *err);
/* The oldest queued event (to be json_decref()ed) or NULL. STOP and RESUME, of which every epoch makes one,
 * are not queued but counted. */
json_t *remus_qmp_next_event(struct remus_qmp *);
int remus_qmp_has_events(const struct remus_qmp *);
uint64_t remus_qmp_resumes(const struct remus_qmp *);

#endif
