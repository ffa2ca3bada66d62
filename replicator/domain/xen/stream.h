/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing Xen's migration stream, version 2, as libxl_domain_create_restore() reads it. Pure: bytes into a
 * buffer. Formats: Xen's docs/specs/libxl-migration-stream.pandoc and libxc-migration-stream.pandoc (v3 of the
 * latter, with a static part). What we write for one standby (of a PV guest: X86_PV_INFO first of the static part,
 * X86_PV_P2M_FRAMES after it, and as state the records that libxc wrote on the primary):
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

/* libxc's layer: the types of its records */
enum remus_xen_record {
	REMUS_XEN_REC_END = 0x00,
	REMUS_XEN_REC_PAGE_DATA = 0x01,
	REMUS_XEN_REC_PV_INFO = 0x02,
	REMUS_XEN_REC_P2M_FRAMES = 0x03,
	REMUS_XEN_REC_VCPU_BASIC = 0x04,
	REMUS_XEN_REC_VCPU_EXTENDED = 0x05,
	REMUS_XEN_REC_VCPU_XSAVE = 0x06,
	REMUS_XEN_REC_SHARED_INFO = 0x07,
	REMUS_XEN_REC_TSC_INFO = 0x08,
	REMUS_XEN_REC_HVM_CONTEXT = 0x09,
	REMUS_XEN_REC_HVM_PARAMS = 0x0a,
	REMUS_XEN_REC_VCPU_MSRS = 0x0c,
	REMUS_XEN_REC_CHECKPOINT = 0x0e,
	REMUS_XEN_REC_STATIC_DATA_END = 0x10,
	REMUS_XEN_REC_CPUID_POLICY = 0x11,
	REMUS_XEN_REC_MSR_POLICY = 0x12,
};

/* Everything before the first page. @cpuid and @msr: arrays of xen_cpuid_leaf_t (24 bytes each) and
 * xen_msr_entry_t (16 bytes), as xc_cpu_policy_serialise() gives them; an empty one is left out. */
struct remus_xen_stream_static {
	enum remus_xen_stream_guest guest;
	unsigned width; /* PV: bytes of the guest's words, 8 or 4 */
	unsigned xen_major, xen_minor;
	const void *cpuid, *msr;
	size_t cpuid_bytes, msr_bytes;
};
void remus_xen_stream_begin(struct remus_xen_buffer *out, const struct remus_xen_stream_static *facts);

/* PV, once, before the first page: which pages hold the guest's table of its memory. @body as records.h has it. */
void remus_xen_stream_frames(struct remus_xen_buffer *out, const void *body, size_t bytes);

/* Head of a PAGE_DATA record for @count pages, 1..REMUS_XEN_STREAM_BATCH: page frame numbers with the type (types.h)
 * in the top four bits, 0 = an ordinary page. The pages themselves follow, of those with content, no padding. */
void remus_xen_stream_pages(struct remus_xen_buffer *out, const uint64_t *entry, unsigned count);

struct remus_xen_tsc {
	uint32_t mode, khz, incarnation;
	uint64_t nsec;
};
struct remus_xen_param {
	uint64_t index, value;
};
/* The vCPU and device state of an epoch, the end of its memory: of a PVH or HVM guest. */
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
