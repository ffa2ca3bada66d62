/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting a QEMU: finding the program, asking its version, running it detached with a log. */
#ifndef REMUS_QEMU_SPAWN_H
#define REMUS_QEMU_SPAWN_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>
#include "remus/error.h"

struct remus_qemu_child {
	pid_t pid; /* 0 = none */
	int pidfd;
};

/* Find the QEMU called @name (one of a fixed list of names, never a path) in PATH and the usual folders. */
int remus_qemu_find(const char *name, char out[PATH_MAX], struct remus_error *err);
/* What `PROGRAM --version` says: "7.2.22 (Debian 1:7.2+dfsg-7)". */
int remus_qemu_ask_version(const char *program, char out[128], struct remus_error *err);

/*
 * Run @program with @args (NULL-terminated, without argv[0]) in its own session and in the directory @dir, with
 * stdin from /dev/null, stdout and stderr to @output, and no other descriptor. It outlives this process, or, @mortal,
 * is killed when the thread that called ends.
 */
int remus_qemu_spawn(const char *program, char *const *args, const char *dir, int output, bool mortal,
		     struct remus_qemu_child *out, struct remus_error *err);
/* Collect the exit of a child that has ended, without waiting; closes the pidfd. */
void remus_qemu_reap(struct remus_qemu_child *);

#endif
