/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PVH or HVM guest's state as it travels in the DEVICE section of an epoch. Little-endian:
 *
 *     u32 magic "RXS1" | u32 number of parts | parts
 *     part: u32 kind | u32 length | body | zeros up to a multiple of 8
 *       1 TSC      24 bytes: u32 mode, u32 kHz, u64 nsec, u32 incarnation, u32 0
 *       2 PARAMS   16 bytes each: u64 index, u64 value; at most 64
 *       3 CONTEXT  what xc_domain_hvm_getcontext() gave, 8..16 MiB
 *
 * Each part is there once; an unknown one is refused. HVM's emulator records will be parts of their own. The
 * decoder is given bytes from the network: it allocates nothing and reads within them only.
 */
#ifndef REMUS_XEN_STATE_H
#define REMUS_XEN_STATE_H

#include "stream.h"

#define REMUS_XEN_PARAMS_MAX  64u
#define REMUS_XEN_CONTEXT_MAX (16u << 20)

void remus_xen_state_encode(struct remus_xen_buffer *out, const struct remus_xen_state *state);

/* @out points into @data (context) and @params (REMUS_XEN_PARAMS_MAX of them). */
int remus_xen_state_decode(const uint8_t *data, size_t bytes, struct remus_xen_state *out,
			   struct remus_xen_param *params, struct remus_error *err);

#endif
