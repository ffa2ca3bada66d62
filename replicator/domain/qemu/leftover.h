/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A standby's QEMU whose receiver was killed before it could tell anybody the pid (I13). It is known by its working
 * directory, which is the standby's own, and by its program; so that is found which was only just being started.
 */
#ifndef REMUS_QEMU_LEFTOVER_H
#define REMUS_QEMU_LEFTOVER_H

#include "remus/error.h"

/* Before a QEMU is started as @program (absolute) in @run_dir: write RUN_DIR/standby (remus/domain.h). */
int remus_qemu_leftover_mark(const char *run_dir, const char *program, struct remus_error *err);
/* It isn't to be swept any more: it runs the guest, or is gone. */
void remus_qemu_leftover_unmark(const char *run_dir);
/* struct remus_standby_ops: sweep() */
int remus_qemu_leftover_sweep(const char *mark, int patience_ms, struct remus_error *err);

#endif
