/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watching a QEMU for its end. One epoll descriptor over the QMP connection, the process and an eventfd that
 * stands for events which came in while a command's reply was awaited: nothing is missed by a caller that only
 * polls.
 */
#ifndef REMUS_QEMU_WATCH_H
#define REMUS_QEMU_WATCH_H

#include "qmp.h"
#include "remus/domain.h"

struct remus_qemu_watch {
	int epoll, kick, pidfd; /* pidfd is borrowed */
	struct remus_qmp *qmp;	/* borrowed */
	bool over;		/* the end was told; nothing more comes */
};

#define REMUS_QEMU_WATCH_INIT ((struct remus_qemu_watch){.epoll = -1, .kick = -1, .over = true})

/* Watch this QEMU. After _end() the same may watch another one, with the same descriptor. */
int remus_qemu_watch_open(struct remus_qemu_watch *, struct remus_qmp *qmp, int pidfd,
			  struct remus_error *err);
/* To be called after each command: makes the descriptor readable if events are queued. */
void remus_qemu_watch_kick(struct remus_qemu_watch *);
enum remus_domain_event remus_qemu_watch_next(struct remus_qemu_watch *, char why[REMUS_TEXT_MAX]);
/* Let go of QMP connection and process, before they are closed or when the end is expected. The descriptor
 * stays valid and silent. */
void remus_qemu_watch_end(struct remus_qemu_watch *);
void remus_qemu_watch_close(struct remus_qemu_watch *);

#endif
