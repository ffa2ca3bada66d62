/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing Xen's migration stream, version 2, as libxl_domain_create_restore() reads it. Pure: bytes into a
 * buffer. Formats: Xen's docs/specs/libxl-migration-stream.pandoc and libxc-migration-stream.pandoc (v3 of the
 * latter, with a static part). What we write for one standby:
 *
 *   libxl header | LIBXC_CONTEXT | image header | domain header | CPUID_POLICY | MSR_POLICY | STATIC_DATA_END
 *   PAGE_DATA ... | TSC_INFO | HVM_CONTEXT | HVM_PARAMS | CHECKPOINT | (libxl) CHECKPOINT_END       epoch 1
 *   PAGE_DATA ... | ...                                                                              epoch 2 ...
 *   END                                                                                              failover
 *
 * Page data before the first CHECKPOINT is applied as it comes; from then on the reader keeps an epoch back
 * until its CHECKPOINT. END means "run the last committed epoch": nothing else may ever look like one (I5).
 */
#ifndef REMUS_XEN_STREAM_H
#define REMUS_XEN_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "remus/error.h"

#define REMUS_XEN_STREAM_BATCH 1024u /* pages of one PAGE_DATA record, what Xen's own writer uses */

/* Grows as it is written to; an allocation that fails makes it `failed`, which the caller tests once. */
struct remus_xen_buffer {
	uint8_t *data;
	size_t bytes, room;
	bool failed;
};
void remus_xen_buffer_reset(struct remus_xen_buffer *buffer);
void remus_xen_buffer_free(struct remus_xen_buffer *buffer);
void remus_xen_buffer_add(struct remus_xen_buffer *buffer, const void *data, size_t bytes);

enum remus_xen_stream_guest { REMUS_XEN_STREAM_PV = 1, REMUS_XEN_STREAM_HVM = 2 /* PVH too */ };

/* Everything before the first page. @cpuid and @msr: arrays of xen_cpuid_leaf_t (24 bytes each) and
 * xen_msr_entry_t (16 bytes), as xc_cpu_policy_serialise() gives them; an empty one is left out. */
struct remus_xen_stream_static {
	enum remus_xen_stream_guest guest;
	unsigned xen_major, xen_minor;
	const void *cpuid, *msr;
	size_t cpuid_bytes, msr_bytes;
};
void remus_xen_stream_begin(struct remus_xen_buffer *out, const struct remus_xen_stream_static *facts);

/* Head of a PAGE_DATA record for @count pages, 1..REMUS_XEN_STREAM_BATCH: the pages themselves follow, no padding. */
void remus_xen_stream_pages(struct remus_xen_buffer *out, const uint64_t *pfn, unsigned count);

struct remus_xen_tsc {
	uint32_t mode, khz, incarnation;
	uint64_t nsec;
};
struct remus_xen_param {
	uint64_t index, value;
};
/* The vCPU and device state of an epoch, the end of its memory. */
struct remus_xen_state {
	struct remus_xen_tsc tsc;
	const uint8_t *context; /* xc_domain_hvm_getcontext() */
	size_t context_bytes;
	const struct remus_xen_param *param;
	unsigned params;
};
void remus_xen_stream_state(struct remus_xen_buffer *out, const struct remus_xen_state *state);
/* "The epoch is complete": both layers' records. */
void remus_xen_stream_checkpoint(struct remus_xen_buffer *out);
/* Failover: run the last complete epoch. */
void remus_xen_stream_end(struct remus_xen_buffer *out);

#endif
