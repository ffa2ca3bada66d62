/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See xen-fake.h. Linked into a program, these functions are found before those of Xen's libraries. */
#include "xen-fake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xencall.h>
#include <xenctrl.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xenstore.h>
#include <xen/sched.h>
#include "remus/bitmap.h"
#include "remus/util.h"

struct fake_xen *fake;
static int fake_fd = -1;
static bool in_saver;

static void map_fake(const char *path, int flags)
{
	fake_fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);
	if (fake_fd < 0 || ((flags & O_CREAT) && ftruncate(fake_fd, sizeof *fake)))
		abort();
	fake = mmap(NULL, sizeof *fake, PROT_READ | PROT_WRITE, MAP_SHARED, fake_fd, 0);
	if (fake == MAP_FAILED)
		abort();
}

/* Of everything that the saver asks of Xen: the one that fails, or is the last. */
static bool fault(void)
{
	if (!fake) {
		map_fake(getenv("REMUS_FAKE_XEN"), 0);
		in_saver = true;
	}
	if (!in_saver || ++fake->saver_calls != fake->fault_at || !fake->fault)
		return false;
	fake->faults++;
	if (fake->fault == FAKE_ABORT)
		abort();
	errno = EIO;
	return true;
}

static uint64_t *words(uint64_t pfn)
{
	return (uint64_t *)(void *)fake->machine[fake_mfn(pfn)];
}

static void set_type(uint64_t pfn, uint8_t type)
{
	fake->type[fake_mfn(pfn)] = type;
}

static void build_guest(void)
{
	for (unsigned mfn = 0; mfn < FAKE_MFNS; mfn++)
		fake->type[mfn] = 15;
	for (uint64_t pfn = 0; pfn < FAKE_PAGES; pfn++)
		if (pfn != FAKE_HOLE) {
			set_type(pfn, 0);
			for (unsigned i = 0; i < 512; i++)
				words(pfn)[i] = pfn << 32 | i;
		}
	memset(words(FAKE_TOP), 0, 4096);
	memset(words(FAKE_MIDDLE), 0, 4096);
	words(FAKE_TOP)[0] = fake_mfn(FAKE_MIDDLE);
	for (unsigned i = 0; i < FAKE_PAGES / 512; i++) {
		words(FAKE_MIDDLE)[i] = fake_mfn(FAKE_LEAF + i);
		for (unsigned k = 0; k < 512; k++)
			words(FAKE_LEAF + i)[k] = fake_mfn(512 * i + k);
	}
	for (uint64_t pfn = FAKE_L4; pfn < FAKE_L1 + FAKE_L1S; pfn++)
		memset(words(pfn), 0, 4096);
	words(FAKE_L4)[0] = fake_mfn(FAKE_L3) << 12 | 0x67;
	words(FAKE_L4)[260] = UINT64_C(0x1063); /* Xen's own */
	words(FAKE_L3)[0] = fake_mfn(FAKE_L2) << 12 | 0x67;
	set_type(FAKE_L4, 12);
	set_type(FAKE_L3, 3);
	set_type(FAKE_L2, 2);
	for (unsigned i = 0; i < FAKE_L1S; i++) {
		words(FAKE_L2)[i] = fake_mfn(FAKE_L1 + i) << 12 | 0x67;
		set_type(FAKE_L1 + i, 1);
		for (unsigned k = 0; k < 100; k++)
			words(FAKE_L1 + i)[k] = fake_mfn(100 * (i + 1) + k) << 12 | 0x63;
	}
	shared_info_t *info = (void *)fake->machine[FAKE_SHARED_INFO];
	info->arch.max_pfn = FAKE_PAGES;
	info->arch.pfn_to_mfn_frame_list_list = fake_mfn(FAKE_TOP);
}

void fake_xen_begin(const char *path)
{
	if (fake)
		munmap(fake, sizeof *fake);
	if (fake_fd >= 0)
		close(fake_fd);
	unlink(path);
	map_fake(path, O_CREAT | O_EXCL);
	setenv("REMUS_FAKE_XEN", path, 1);
	build_guest();
}

void fake_guest_write(uint64_t pfn, unsigned word, uint64_t value)
{
	if (fake->shutdown)
		return;
	words(pfn)[word] = value;
	if (fake->log_dirty)
		remus_bitmap_set(fake->dirty, pfn);
}

/* ---- libxenctrl ---- */

xc_interface *xc_interface_open(xentoollog_logger *logger, xentoollog_logger *dombuild, unsigned flags)
{
	return fault() ? NULL : calloc(1, 4096); /* what libxenguest reads of it may be zero */
}
int xc_interface_close(xc_interface *xch)
{
	free(xch);
	return 0;
}

/* A guest that takes up a suspend late: it answers, and then stands still. */
static void guest_goes_on(void)
{
	if (!fake->slow || strcmp(fake->control, "suspend") || fake->waited > fake->slow) {
		fake->shutdown = fake->shutdown || (fake->slow && fake->waited > fake->slow);
		fake->waited = 0;
	} else if (++fake->waited > fake->slow) {
		fake->control[0] = 0;
		fake->writes++;
		fake->taken_us = remus_now_us();
	}
}

int xc_domain_getinfo(xc_interface *xch, uint32_t first, unsigned max, xc_dominfo_t *info)
{
	if (fault())
		return -1;
	guest_goes_on();
	memset(info, 0, sizeof *info);
	info->domid = FAKE_DOMID;
	info->shutdown = fake->shutdown;
	info->shutdown_reason = SHUTDOWN_suspend;
	info->shared_info_frame = FAKE_SHARED_INFO;
	info->nr_pages = FAKE_PAGES;
	info->max_vcpu_id = 1;
	info->cpu_time = fake->cpu_ns;
	return 1;
}

int xc_version(xc_interface *xch, int cmd, void *arg)
{
	return fault() ? -1 : 4 << 16 | 17;
}
int xc_domain_get_guest_width(xc_interface *xch, uint32_t domid, unsigned *width)
{
	*width = 8;
	return fault() ? -1 : 0;
}
int xc_maximum_ram_page(xc_interface *xch, unsigned long *max)
{
	*max = FAKE_MFNS - 1;
	return fault() ? -1 : 0;
}
int xc_machphys_mfn_list(xc_interface *xch, unsigned long max, xen_pfn_t *start)
{
	memset(start, 0, max * sizeof *start);
	return fault() ? -1 : 0;
}

static void *map(size_t pages, const xen_pfn_t *mfn, int *err)
{
	uint8_t *base = mmap(NULL, pages * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (size_t i = 0; i < pages; i++) {
		if (err)
			err[i] = mfn[i] >= FAKE_MFNS ? -EINVAL : 0;
		if (mfn[i] < FAKE_MFNS)
			mmap(base + 4096 * i, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fake_fd,
			     (off_t)mfn[i] * 4096);
	}
	return base;
}

/* Not in a public header. Only the machine's table of frames is mapped by it. */
void *xc_map_foreign_ranges(xc_interface *xch, uint32_t dom, size_t size, int prot, size_t chunk,
			    void *entries, int count);
void *xc_map_foreign_ranges(xc_interface *xch, uint32_t dom, size_t size, int prot, size_t chunk,
			    void *entries, int count)
{
	if (fault())
		return NULL;
	uint64_t *m2p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t mfn = 0; mfn < size / 8; mfn++)
		m2p[mfn] = ~UINT64_C(0);
	for (uint64_t pfn = 0; pfn < FAKE_PAGES; pfn++)
		if (pfn != FAKE_HOLE)
			m2p[fake_mfn(pfn)] = pfn;
	return m2p;
}
void *xc_map_foreign_range(xc_interface *xch, uint32_t dom, int size, int prot, unsigned long mfn);
void *xc_map_foreign_range(xc_interface *xch, uint32_t dom, int size, int prot, unsigned long mfn)
{
	return fault() ? NULL : map(1, &mfn, NULL);
}
void *xc_map_foreign_pages(xc_interface *xch, uint32_t dom, int prot, const xen_pfn_t *mfn, int count);
void *xc_map_foreign_pages(xc_interface *xch, uint32_t dom, int prot, const xen_pfn_t *mfn, int count)
{
	return fault() ? NULL : map((size_t)count, mfn, NULL);
}

int xc_get_pfn_type_batch(xc_interface *xch, uint32_t dom, unsigned count, xen_pfn_t *mfn);
int xc_get_pfn_type_batch(xc_interface *xch, uint32_t dom, unsigned count, xen_pfn_t *mfn)
{
	for (unsigned i = 0; i < count; i++)
		mfn[i] = (xen_pfn_t)(mfn[i] < FAKE_MFNS ? fake->type[mfn[i]] : 15) << 28;
	return fault() ? -1 : 0;
}

int xc_vcpu_getinfo(xc_interface *xch, uint32_t domid, uint32_t vcpu, xc_vcpuinfo_t *info)
{
	memset(info, 0, sizeof *info);
	info->online = 1;
	return fault() ? -1 : 0;
}
int xc_vcpu_getcontext(xc_interface *xch, uint32_t domid, uint32_t vcpu, vcpu_guest_context_any_t *context)
{
	memset(context, 0, sizeof *context);
	context->c.user_regs.rdx = fake_mfn(FAKE_START_INFO);
	context->c.ctrlreg[3] = fake_mfn(FAKE_L4) << 12;
	return fault() ? -1 : 0;
}
int xc_vcpu_setcontext(xc_interface *xch, uint32_t domid, uint32_t vcpu, vcpu_guest_context_any_t *context)
{
	return fault() ? -1 : 0;
}
int xc_domain_get_tsc_info(xc_interface *xch, uint32_t domid, uint32_t *mode, uint64_t *nsec, uint32_t *khz,
			   uint32_t *incarnation)
{
	*mode = 0;
	*khz = 2400000;
	*incarnation = 1;
	*nsec = ++fake->tsc;
	return fault() ? -1 : 0;
}

static int first_vcpu(vcpu_guest_context_t *context, bool set)
{
	if (!set) {
		memset(context, 0, sizeof *context);
		context->user_regs.rax = fake->rax;
		context->user_regs.rip = fake->rip;
		return 0;
	}
	fake->rax = context->user_regs.rax;
	fake->rip = context->user_regs.rip;
	return 0;
}

static int hvm_context(struct xen_domctl_hvmcontext *h)
{
	uint8_t *to = h->buffer.p;

	if (to && h->size < fake->context) {
		errno = ENOSPC;
		return -1;
	}
	fake->sized += !to;
	for (uint32_t i = 0; to && i < fake->context; i++)
		to[i] = (uint8_t)i;
	h->size = fake->context;
	return 0;
}

int xc_domctl(xc_interface *xch, struct xen_domctl *ctl);
int xc_domctl(xc_interface *xch, struct xen_domctl *ctl)
{
	if (fault())
		return -1;
	switch (ctl->cmd) {
	case XEN_DOMCTL_resumedomain:
		fake->resumed += fake->shutdown;
		fake->shutdown = false;
		usleep(fake->held_us);
		fake->cpu_ns += 2u * UINT64_C(1000) * fake->held_us;
		return 0;
	case XEN_DOMCTL_getvcpucontext:
		return first_vcpu(ctl->u.vcpucontext.ctxt.p, false);
	case XEN_DOMCTL_setvcpucontext:
		return first_vcpu(ctl->u.vcpucontext.ctxt.p, true);
	case XEN_DOMCTL_gethvmcontext:
		return hvm_context(&ctl->u.hvmcontext);
	case XEN_DOMCTL_get_ext_vcpucontext:
		ctl->u.ext_vcpucontext.size = 64;
		return 0;
	case XEN_DOMCTL_getvcpuextstate:
		ctl->u.vcpuextstate.xfeature_mask = 7;
		ctl->u.vcpuextstate.size = 600;
		return 0;
	case XEN_DOMCTL_get_vcpu_msrs:
		ctl->u.vcpu_msrs.msr_count = 0;
		return 0;
	case XEN_DOMCTL_get_cpu_policy:
		ctl->u.cpu_policy.nr_leaves = ctl->u.cpu_policy.nr_msrs = 0;
		return 0;
	default:
		errno = ENOSYS;
		return -1;
	}
}
int xc_sysctl(xc_interface *xch, struct xen_sysctl *ctl);
int xc_sysctl(xc_interface *xch, struct xen_sysctl *ctl)
{
	ctl->u.cpu_policy.nr_leaves = 200;
	ctl->u.cpu_policy.nr_msrs = 10;
	return fault() ? -1 : 0;
}

/* Hypercalls without libxenctrl: some of libxenguest's, and ours. */
xencall_handle *xencall_open(xentoollog_logger *logger, unsigned flags)
{
	return fault() ? NULL : malloc(1);
}
int xencall_close(xencall_handle *xcall)
{
	free(xcall);
	return 0;
}
void *xencall_alloc_buffer_pages(xencall_handle *xcall, size_t pages)
{
	return fault() ? NULL : calloc(pages, 4096);
}
void xencall_free_buffer_pages(xencall_handle *xcall, void *buffer, size_t pages)
{
	free(buffer);
}
int xencall1(xencall_handle *xcall, unsigned op, uint64_t argument)
{
	void *at = (void *)(uintptr_t)argument;
	return op == __HYPERVISOR_sysctl ? xc_sysctl(NULL, at) : xc_domctl(NULL, at);
}

int xc_shadow_control(xc_interface *xch, uint32_t domid, unsigned op, unsigned *mb, unsigned mode)
{
	if (op == XEN_DOMCTL_SHADOW_OP_OFF) {
		fake->log_dirty = false; /* before any fault: it is how things are put in order */
		return 0;
	}
	if (fault())
		return -1;
	if (fake->no_shadow) {
		errno = EOPNOTSUPP;
		return -1;
	}
	fake->log_dirty = true;
	return 0;
}
long long xc_logdirty_control(xc_interface *xch, uint32_t domid, unsigned op, xc_hypercall_buffer_t *bitmap,
			      unsigned long pages, unsigned mode, xc_shadow_op_stats_t *stats)
{
	if (fault())
		return -1;
	memcpy(bitmap->hbuf, fake->dirty, sizeof fake->dirty);
	stats->dirty_count = (uint32_t)remus_bitmap_count(fake->dirty, FAKE_PAGES);
	memset(fake->dirty, 0, sizeof fake->dirty);
	return (long long)pages;
}

void *xc__hypercall_buffer_alloc_pages(xc_interface *xch, xc_hypercall_buffer_t *b, int pages)
{
	if (b->param_shadow)
		b = b->param_shadow;
	return b->hbuf = fault() ? NULL : calloc((size_t)pages, 4096);
}
void xc__hypercall_buffer_free_pages(xc_interface *xch, xc_hypercall_buffer_t *b, int pages)
{
	if (b->param_shadow)
		b = b->param_shadow;
	free(b->hbuf);
	b->hbuf = NULL;
}
void *xc__hypercall_buffer_alloc(xc_interface *xch, xc_hypercall_buffer_t *b, size_t size)
{
	return b->hbuf = fault() ? NULL : calloc(1, size + 1);
}
void xc__hypercall_buffer_free(xc_interface *xch, xc_hypercall_buffer_t *b)
{
	free(b->hbuf);
	b->hbuf = NULL;
}
int xc__hypercall_bounce_pre(xc_interface *xch, xc_hypercall_buffer_t *b);
int xc__hypercall_bounce_pre(xc_interface *xch, xc_hypercall_buffer_t *b)
{
	b->hbuf = b->ubuf;
	return 0;
}
void xc__hypercall_bounce_post(xc_interface *xch, xc_hypercall_buffer_t *b);
void xc__hypercall_bounce_post(xc_interface *xch, xc_hypercall_buffer_t *b)
{
}

/* What the libraries say goes nowhere. */
void xc_report(xc_interface *xch, void *lg, int level, int code, const char *fmt, ...);
void xc_report(xc_interface *xch, void *lg, int level, int code, const char *fmt, ...)
{
}
void xc_report_error(xc_interface *xch, int code, const char *fmt, ...);
void xc_report_error(xc_interface *xch, int code, const char *fmt, ...)
{
	if (!getenv("REMUS_FAKE_XEN_VERBOSE"))
		return;
	va_list ap;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}
void xc_report_progress_single(xc_interface *xch, const char *doing);
void xc_report_progress_single(xc_interface *xch, const char *doing)
{
}
void xc_report_progress_step(xc_interface *xch, unsigned long done, unsigned long total);
void xc_report_progress_step(xc_interface *xch, unsigned long done, unsigned long total)
{
}
const char *xc_set_progress_prefix(xc_interface *xch, const char *doing);
const char *xc_set_progress_prefix(xc_interface *xch, const char *doing)
{
	return NULL;
}
const char *xc_strerror(xc_interface *xch, int code)
{
	return strerror(code);
}

/* ---- the other libraries ---- */

xenforeignmemory_handle *xenforeignmemory_open(xentoollog_logger *logger, unsigned flags)
{
	return fault() ? NULL : malloc(1);
}
int xenforeignmemory_close(xenforeignmemory_handle *fmem)
{
	free(fmem);
	return 0;
}
void *xenforeignmemory_map(xenforeignmemory_handle *fmem, uint32_t dom, int prot, size_t pages,
			   const xen_pfn_t arr[], int err[])
{
	return fault() ? NULL : map(pages, arr, err);
}
int xenforeignmemory_unmap(xenforeignmemory_handle *fmem, void *address, size_t pages)
{
	return munmap(address, pages * 4096);
}

int xc_hvm_param_get(xc_interface *xch, uint32_t domid, uint32_t param, uint64_t *value)
{
	errno = EINVAL; /* a PV guest has none */
	return -1;
}

xenevtchn_handle *xenevtchn_open(xentoollog_logger *logger, unsigned flags)
{
	errno = ENOENT; /* suspends are polled for */
	return NULL;
}

struct xs_handle *xs_open(unsigned long flags)
{
	return fault() ? NULL : malloc(1);
}
void xs_close(struct xs_handle *xs)
{
	free(xs);
}
static char *store_at(const char *path)
{
	if (strstr(path, "/remus"))
		return fake->mark;
	return strstr(path, "control/shutdown") ? fake->control : NULL;
}
void *xs_read(struct xs_handle *xs, xs_transaction_t t, const char *path, unsigned *length)
{
	const char *value = strstr(path, "feature-suspend") ? "1" : store_at(path);

	if (!value || (value == fake->mark && !*value))
		return NULL;
	*length = (unsigned)strlen(value);
	return strdup(value);
}
/* One watch, of control/shutdown: it fires for being set and for each write. */
static char watch_token[32];
static unsigned watched; /* writes that it has told of */

bool xs_watch(struct xs_handle *xs, const char *path, const char *token)
{
	snprintf(watch_token, sizeof watch_token, "%s", token);
	watched = fake->writes - 1;
	fake->watches++;
	return true;
}
bool xs_unwatch(struct xs_handle *xs, const char *path, const char *token)
{
	watch_token[0] = 0;
	return true;
}
char **xs_check_watch(struct xs_handle *xs)
{
	if (!watch_token[0] || watched == fake->writes)
		return NULL;
	watched++;
	char **fired = malloc(2 * sizeof *fired + sizeof watch_token);
	char *token = (char *)(fired + 2);
	memcpy(token, watch_token, sizeof watch_token);
	fired[XS_WATCH_PATH] = fired[XS_WATCH_TOKEN] = token;
	return fired;
}
int xs_fileno(struct xs_handle *xs)
{
	return fake_fd; /* a file: always readable */
}
bool xs_write(struct xs_handle *xs, xs_transaction_t t, const char *path, const void *data, unsigned length)
{
	char *to = store_at(path);

	if (!to)
		return false;
	memcpy(to, data, length);
	to[length] = 0;
	fake->writes += to == fake->control;
	if (to == fake->control && !strcmp(to, "suspend") && !fake->never_suspends && !fake->slow) {
		to[0] = 0;
		fake->writes++;
		fake->shutdown = true;
	}
	return true;
}
bool xs_rm(struct xs_handle *xs, xs_transaction_t t, const char *path)
{
	char *at = store_at(path);

	if (at)
		*at = 0;
	return at;
}
xs_transaction_t xs_transaction_start(struct xs_handle *xs)
{
	return 1;
}
bool xs_transaction_end(struct xs_handle *xs, xs_transaction_t t, bool abandon)
{
	return true;
}
bool xs_resume_domain(struct xs_handle *xs, unsigned domid)
{
	return true;
}
