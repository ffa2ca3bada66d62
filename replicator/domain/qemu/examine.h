/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A running QEMU and its guest, looked at from outside: shared by open() and check() of domain.c. */
#ifndef REMUS_QEMU_EXAMINE_H
#define REMUS_QEMU_EXAMINE_H

#include "options.h"
#include "process.h"
#include "qmp.h"

struct remus_qemu_seen {
	struct remus_qmp *qmp; /* connected by the caller, whose it is */
	struct remus_qemu_process process;
	struct remus_qemu_guest guest;
	struct remus_qemu_ram ram;
	char *description; /* files.h; NULL = not all of it could be found out */
};
#define REMUS_QEMU_SEEN_INIT         \
	{                            \
		.process = {         \
			.pidfd = -1, \
		},                   \
	}

/* Whatever could make a failover fail, all of it; the guest runs on unchanged. Fills in @seen, whole when nothing was
 * fatal. */
void remus_qemu_examine(struct remus_qemu_seen *seen, const char *socket, struct remus_report *report);
void remus_qemu_seen_free(struct remus_qemu_seen *seen);

#endif
