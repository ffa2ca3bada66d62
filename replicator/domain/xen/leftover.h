/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A standby domain whose processes were killed. While a domain stands by, a file in the standby's directory names it;
 * the supervisor gives that line to remus_xen_leftover_sweep() when the receiver is gone (remus/domain.h). A domain
 * that was activated bears the guest's name and has no mark any more: it is never ended here.
 */
#ifndef REMUS_XEN_LEFTOVER_H
#define REMUS_XEN_LEFTOVER_H

#include <stdbool.h>
#include <stdint.h>
#include "remus/error.h"

/* Is domain @domid there, by the name of @name or @other (or NULL), and does it run? */
bool remus_xen_leftover_there(uint32_t domid, const char *name, const char *other, bool *runs);

int remus_xen_leftover_mark(const char *run_dir, uint32_t domid, const char *name, struct remus_error *err);
void remus_xen_leftover_unmark(const char *run_dir);

/* remus_standby_ops.sweep */
int remus_xen_leftover_sweep(const char *mark, int patience_ms, struct remus_error *err);

#endif
