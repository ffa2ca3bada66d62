/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A Xen host with one small PV guest, in a file that processes share: what libxenctrl, libxenforeignmemory and
 * libxenstore say of it is answered by xen-fake.c, so that Xen's own libxenguest can be run against it. The guest
 * has page tables with machine frame numbers, a table of its memory, two vCPUs; it does what a test makes it do.
 */
#ifndef XEN_FAKE_H
#define XEN_FAKE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { FAKE_DOMID = 7, FAKE_PAGES = 2048, FAKE_MFNS = 4096, FAKE_SHARED_INFO = FAKE_MFNS - 1 };
/* Pages with a purpose: the table of its memory (top, middle, leaves), start_info, page tables of each level. */
enum {
	FAKE_TOP = 10,
	FAKE_MIDDLE = 11,
	FAKE_LEAF = 12,
	FAKE_START_INFO = 16,
	FAKE_L4 = 20,
	FAKE_L3 = 21,
	FAKE_L2 = 22,
	FAKE_L1 = 23,
	FAKE_L1S = 8,
	FAKE_HOLE = 40
};

enum fake_mode { FAKE_FAIL = 1, FAKE_ABORT };

struct fake_xen {
	uint8_t machine[FAKE_MFNS][4096];
	uint8_t type[FAKE_MFNS]; /* by machine frame: the four bits */
	uint64_t dirty[FAKE_PAGES / 64];
	unsigned
		slow; /* so many looks until it takes up a suspend, and one more until it stands; 0 = at once */
	unsigned waited, watches;
	uint64_t taken_us; /* when it took up the last one of these */
	bool shutdown, log_dirty, never_suspends, no_shadow;
	char mark[64], control[32];
	unsigned writes;      /* to control, by whomever */
	unsigned resumed;     /* how often */
	unsigned saver_calls; /* into libxenctrl, by the saver */
	unsigned fault_at;    /* the how manieth of them does... */
	enum fake_mode fault; /* ...this; 0 = none */
	unsigned faults;      /* that happened */
	uint64_t tsc;
	uint64_t rax, rip; /* of the first vCPU */
	uint32_t context;  /* bytes of an HVM guest's vCPU state: each of them its place's lowest 8 bits */
	unsigned sized;	   /* how often its size was asked for */
	uint64_t cpu_ns;   /* that its two vCPUs have run, all told */
	uint32_t held_us;  /* both run so long before a resume returns */
};

extern struct fake_xen *fake; /* in every process that has $REMUS_FAKE_XEN */

/* A fresh one in a file of this name, for this process and those it starts. */
void fake_xen_begin(const char *path);
static inline uint64_t fake_mfn(uint64_t pfn)
{
	return pfn == FAKE_HOLE ? ~UINT64_C(0) : FAKE_PAGES + 1000 - 1 - pfn / 2 - (pfn % 2) * 1024;
}
/* The guest writes: nothing while it stands still. */
void fake_guest_write(uint64_t pfn, unsigned word, uint64_t value);

#endif
