/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the stream that libxenguest's xc_domain_save() writes of a PV guest (version 3 of libxc's format, x86
 * PV, checkpointed), in pieces of any size as they come out of a pipe. Pure: bytes in, calls out.
 *
 *   image header | domain header | X86_PV_INFO [CPUID_POLICY] [MSR_POLICY] STATIC_DATA_END | X86_PV_P2M_FRAMES
 *   { PAGE_DATA ... | TSC_INFO SHARED_INFO { VCPU_BASIC [_EXTENDED] [_XSAVE] [_MSRS] } ... | CHECKPOINT } ...
 *
 * A page goes straight to where it shall be; nothing but a list of at most 1024 page frame numbers and one record
 * of bounded length is kept here. What is out of its place, too long, too short, twice or unknown ends the
 * reading for good: half an understanding of a guest's state is none (I3, I11).
 *
 * The same rules, for the records of one checkpoint without their pages, judge what a peer sends as a PV guest's
 * state: remus_xen_records_check_state().
 */
#ifndef REMUS_XEN_RECORDS_H
#define REMUS_XEN_RECORDS_H

#include <stdbool.h>
#include "stream.h"

#define REMUS_XEN_PV_STATE_MAX (32u << 20) /* bytes of one checkpoint's state: 512 vCPUs with 60 KiB each */
#define REMUS_XEN_PV_VCPUS_MAX 512u	   /* that a PV guest can have */

/* Bytes of the frame list of a guest whose last page is @last: the record's body, 8 of them its head. */
size_t remus_xen_p2m_frames_bytes(unsigned width, uint64_t last);

struct remus_xen_records_sink {
	void *context;
	/* Where the 4096 bytes of a page shall go; NULL ends the reading. Until page() says so they are in flux. */
	uint8_t *(*place)(void *context, uint64_t pfn);
	/* This page has this type (types.h), and if that has content, it is in its place now. */
	void (*page)(void *context, uint64_t pfn, unsigned type);
	/* The body of the frame list; once, before the first page. */
	int (*frames)(void *context, const uint8_t *body, size_t bytes, struct remus_error *err);
	/* A checkpoint is complete; @state are its records as they came, valid until the next call of feed(). */
	int (*checkpoint)(void *context, const uint8_t *state, size_t bytes, struct remus_error *err);
};

/* What has been seen of a checkpoint's state. */
struct remus_xen_state_order {
	bool tsc, shared_info, basic; /* basic: of vCPU 0 */
	int64_t vcpu;		      /* the last one's number, -1 = none */
	unsigned kinds;		      /* which of its records */
};

enum remus_xen_records_phase {
	REMUS_XEN_PHASE_STATIC, /* until STATIC_DATA_END */
	REMUS_XEN_PHASE_FRAMES, /* the frame list comes next */
	REMUS_XEN_PHASE_MEMORY, /* pages, or the state begins */
	REMUS_XEN_PHASE_STATE,	/* until CHECKPOINT */
};

struct remus_xen_records {
	const struct remus_xen_records_sink *sink;
	uint64_t pages; /* page frame numbers are below this */
	unsigned width; /* bytes of the guest's words, told by X86_PV_INFO */
	uint64_t last;	/* the highest page that the stream will name, told by the frame list */
	enum remus_xen_records_phase phase;
	struct remus_xen_state_order order;
	struct remus_xen_buffer state, part; /* the checkpoint's records; what is being gathered */
	size_t need;			     /* bytes of `part` that make it whole */
	uint32_t type, length;		     /* of the record that is being read */
	unsigned step, seen;		     /* what `part` will be; which static records came */
	unsigned entries, entry;	     /* PAGE_DATA: how many, and at which */
	uint8_t *to;			     /* the page that is being filled, NULL = none */
	size_t filled;
	uint64_t bytes; /* read so far: where in the stream an error is */
	bool bad;
};

/* @pages bounds page frame numbers and the frame list. */
void remus_xen_records_init(struct remus_xen_records *records, uint64_t pages,
			    const struct remus_xen_records_sink *sink);
void remus_xen_records_free(struct remus_xen_records *records);
/* -EBADMSG for a stream that breaks a rule, or what the sink returned; it stays refused. */
int remus_xen_records_feed(struct remus_xen_records *records, const uint8_t *data, size_t bytes,
			   struct remus_error *err);
/* The records of one checkpoint, PAGE_DATA and CHECKPOINT left out: whole, complete, in order? */
int remus_xen_records_check_state(const uint8_t *state, size_t bytes, unsigned width,
				  struct remus_error *err);

#endif
