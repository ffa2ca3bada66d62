/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libxl's asynchronous operations with a deadline: its synchronous calls have none. */
#ifndef REMUS_XEN_LIBXL_WAIT_H
#define REMUS_XEN_LIBXL_WAIT_H

#include <libxl.h>
#include <libxl_event.h>
#include "remus/error.h"

/*
 * Let libxl do one round of work, waiting up to @timeout_ms for some, and no longer than until
 * @also (-1 = none) is readable. Returns true when @also is.
 */
bool remus_xen_libxl_turn(libxl_ctx *ctx, int also, int timeout_ms);

/* Is the operation that was begun with for_event = @tag complete? Its result in *rc. Drops other events. */
bool remus_xen_libxl_done(libxl_ctx *ctx, uint64_t tag, int *rc);

/* Destroy a domain and all that belongs to it. -ETIMEDOUT: libxl did not finish. */
int remus_xen_libxl_destroy(uint32_t domid, int timeout_ms, struct remus_error *err);

#endif
