/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /proc tells of a QEMU process: its command line, its directory, and its guest's memory. */
#ifndef REMUS_QEMU_PROCESS_H
#define REMUS_QEMU_PROCESS_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>
#include "remus/error.h"

struct remus_qemu_process {
	pid_t pid;
	int pidfd;	/* readable when the process has ended */
	uint64_t start; /* clock ticks since boot: with the pid, names the process for ever */
	char exe[PATH_MAX], cwd[PATH_MAX];
	int argc;
	char **argv;   /* argc strings, argv[0] included; NULL-terminated */
	char *cmdline; /* what argv points into */
};

/* Describe the running process @pid. Free with _close(), which leaves the process alone. */
int remus_qemu_process_open(pid_t pid, struct remus_qemu_process *out, struct remus_error *err);
void remus_qemu_process_close(struct remus_qemu_process *);

/* Field 22 of /proc/PID/stat; 0 = no such process. */
uint64_t remus_qemu_process_start(pid_t pid);

/* Kill by @pidfd and wait for the end. 0 also when it had ended. */
int remus_qemu_process_kill(int pidfd, int deadline_ms, struct remus_error *err);

/* Guest memory: the one memfd of a memory-backend-memfd with share=on. */
struct remus_qemu_ram {
	uint64_t bytes;
	uint64_t address; /* of its mapping in QEMU */
	uint8_t *mapping; /* of the same memory here, readable and writable */
};

/* Find and map it. -ENOTSUP: the guest's memory isn't a shared memfd; the message says what to do. */
int remus_qemu_ram_map(pid_t pid, struct remus_qemu_ram *out, struct remus_error *err);
void remus_qemu_ram_unmap(struct remus_qemu_ram *);

#endif
