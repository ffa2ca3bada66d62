/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A standby and its QEMU process: shared by standby.c (what the engine calls) and launch.c (the process). */
#ifndef REMUS_QEMU_STANDBY_H
#define REMUS_QEMU_STANDBY_H

#include "../channel.h"
#include "options.h"
#include "process.h"
#include "qmp.h"
#include "spawn.h"
#include "watch.h"

#define REMUS_QEMU_STATE_MAX   (64u << 20) /* bytes of device state; pc has 0.06 MiB */
#define REMUS_QEMU_START_MS    10000
#define REMUS_QEMU_ACTIVATE_MS 5000
#define REMUS_QEMU_COMMAND_MS  2000

struct remus_qemu_standby {
	struct remus_standby base;
	char *run_dir, *name, *firmware_patch;
	char program[PATH_MAX], firmware[PATH_MAX], version[128], locator[128];
	struct remus_qemu_guest guest;
	struct remus_qemu_child child;
	struct remus_qmp *qmp;
	struct remus_qemu_watch watch;
	struct remus_qemu_ram ram; /* the mapping outlives QEMU */
	uint8_t *state;
	size_t state_bytes, state_room; /* 0 bytes = nothing committed */
	uint64_t epoch;
	bool mortal; /* as in its config */
	struct remus_socket_channel
		agent; /* connected ahead, so that the activated guest finds its port connected */
	bool activated;
	bool fed;	 /* QEMU was told to take the state */
	bool tainted;	 /* a guest may have run on the image */
	long log_offset; /* where this QEMU's output begins in qemu.log */
};

/* Of an activated standby that this process still holds: its connection is there, for who must talk to its QEMU. */
struct remus_qemu_watch *remus_qemu_standby_watch(struct remus_standby *);
/* Start QEMU, wait until it awaits its state, map its memory (which is zero). On failure it is gone. */
int remus_qemu_standby_start(struct remus_qemu_standby *, struct remus_error *err);
/* Start another one for the image of a dead one. */
int remus_qemu_standby_restart(struct remus_qemu_standby *, struct remus_error *err);
/* Kill QEMU, if any, and collect it. The image stays. */
void remus_qemu_standby_stop(struct remus_qemu_standby *);
/* Remove the sockets and the pid file. */
void remus_qemu_standby_sweep(struct remus_qemu_standby *);
bool remus_qemu_standby_alive(const struct remus_qemu_standby *);
/* Has QEMU ended by itself with a failure and without having run the guest? Its last words go to @why. */
bool remus_qemu_standby_gave_up(struct remus_qemu_standby *, struct remus_error *why);
int remus_qemu_standby_command(struct remus_qemu_standby *, const char *name, json_t *arguments, int fd,
			       struct remus_error *err);

#endif
