/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See logdirty.h. */
#include "logdirty.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xen/domctl.h>
#include "remus/bitmap.h"
#include "remus/log.h"
#include "remus/util.h"

#define SAVER_MS 3000

static size_t buffer_pages(uint64_t pages)
{
	return (remus_bitmap_words(pages) * 8 + 4095) / 4096;
}

static void mark_path(char out[64], uint32_t domid)
{
	snprintf(out, 64, "/local/domain/%u/remus", domid);
}

void remus_xen_logdirty_off(const struct remus_xen_handles *xen, uint32_t domid)
{
	char path[64];

	xc_shadow_control(xen->xch, domid, XEN_DOMCTL_SHADOW_OP_OFF, NULL, 0);
	mark_path(path, domid);
	xs_rm(xen->xs, XBT_NULL, path);
}

/* A number alone may be another process's by now, and the guest would wait for that one's end (I8). */
static bool is_ours(pid_t pid)
{
	char path[64], name[32] = "";

	snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	bool ours = fgets(name, sizeof name, file) && !strncmp(name, "remus-", 6);
	fclose(file);
	return ours && kill(pid, 0) == 0;
}

/* 0 = nobody tracks it, else the pid of the engine that does or did; *saver is its saver's, or 0. */
static long tracker(const struct remus_xen_handles *xen, uint32_t domid, long *saver)
{
	REMUS_AUTO_FREE char *mark = remus_xen_read(xen, domid, "remus");

	*saver = 0;
	if (!mark)
		return 0;
	char *rest;
	long pid = strtol(mark, &rest, 10);
	*saver = strtol(rest, NULL, 10);
	return pid;
}

int remus_xen_logdirty_check(const struct remus_xen_handles *xen, uint32_t domid, struct remus_error *err)
{
	long saver, pid = tracker(xen, domid, &saver);

	if (pid > 1 && pid != getpid() && is_ours((pid_t)pid))
		return remus_fail(err, -EBUSY, "domain %u is protected already, by process %ld", domid, pid);
	return 0;
}

int remus_xen_logdirty_sweep(const struct remus_xen_handles *xen, uint32_t domid, struct remus_error *err)
{
	long saver, pid = tracker(xen, domid, &saver);
	int rc = remus_xen_logdirty_check(xen, domid, err);

	if (rc < 0 || !pid)
		return rc;
	/* a saver notices that its engine is gone and turns log-dirty mode off: not after we turned it on */
	for (int i = 0; saver > 1 && is_ours((pid_t)saver); i++) {
		if (i == SAVER_MS / 10)
			return remus_fail(
				err, -EBUSY,
				"domain %u: the saver of a session that has ended (process %ld) does not "
				"come to an end: kill it",
				domid, saver);
		usleep(10000);
	}
	remus_warn("domain %u: ending the dirty tracking that process %ld left on", domid, pid);
	remus_xen_logdirty_off(xen, domid);
	return 1;
}

int remus_xen_logdirty_mark(const struct remus_xen_handles *xen, uint32_t domid, pid_t saver,
			    struct remus_error *err)
{
	char path[64], pids[32];

	if (saver)
		snprintf(pids, sizeof pids, "%d %d", (int)getpid(), (int)saver);
	else
		snprintf(pids, sizeof pids, "%d", (int)getpid());
	mark_path(path, domid);
	return xs_write(xen->xs, XBT_NULL, path, pids, (unsigned)strlen(pids))
		       ? 0
		       : remus_fail_errno(err, "xenstore: %s", path);
}

static int enable(struct remus_xen_logdirty *log, struct remus_error *err)
{
	const unsigned op = XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY;
	int rc = xc_shadow_control(log->xen->xch, log->domid, op, NULL, 0);

	if (rc &&
	    errno == EINVAL) { /* on already: whoever turned it on is gone, or this would not be a sweep */
		xc_shadow_control(log->xen->xch, log->domid, XEN_DOMCTL_SHADOW_OP_OFF, NULL, 0);
		rc = xc_shadow_control(log->xen->xch, log->domid, op, NULL, 0);
	}
	return rc ? remus_fail_errno(err, "domain %u: Xen's log-dirty mode can't be turned on", log->domid)
		  : 0;
}

int remus_xen_logdirty_start(struct remus_xen_logdirty *log, const struct remus_xen_handles *xen,
			     uint32_t domid, uint64_t pages, struct remus_error *err)
{
	DECLARE_HYPERCALL_BUFFER(void, bitmap);

	*log = (struct remus_xen_logdirty){.xen = xen, .domid = domid, .pages = pages};
	bitmap = xc_hypercall_buffer_alloc_pages(xen->xch, bitmap, buffer_pages(pages));
	if (!bitmap)
		return remus_fail(err, -ENOMEM, "domain %u: no memory for the dirty bitmap", domid);
	log->bitmap = bitmap;
	log->buffer = *HYPERCALL_BUFFER(bitmap);
	int rc = remus_xen_logdirty_mark(xen, domid, 0, err);
	if (rc == 0) {
		log->on = true; /* from here on stop() has something to undo */
		rc = enable(log, err);
	}
	if (rc < 0)
		remus_xen_logdirty_stop(log);
	return rc;
}

int remus_xen_logdirty_fetch(struct remus_xen_logdirty *log, uint64_t *dirty, uint64_t *found, bool *cleared,
			     struct remus_error *err)
{
	DECLARE_HYPERCALL_BUFFER_SHADOW(void, bitmap, &log->buffer);
	xc_shadow_op_stats_t stats;
	uint64_t n = 0;

	(void)bitmap;
	if (!log->on)
		return remus_fail(err, -EINVAL, "domain %u: dirty tracking is off", log->domid);
	memset(log->bitmap, 0, remus_bitmap_words(log->pages) * 8);
	*cleared = remus_xen_rearm_due(&log->rearm);
	long long got = xc_logdirty_control(log->xen->xch, log->domid,
					    *cleared ? XEN_DOMCTL_SHADOW_OP_CLEAN : XEN_DOMCTL_SHADOW_OP_PEEK,
					    HYPERCALL_BUFFER(bitmap), log->pages, 0, &stats);
	if (got < 0)
		return remus_fail_errno(err, "domain %u: the dirty pages can't be read", log->domid);
	const uint64_t *word = log->bitmap;
	for (size_t w = 0; w < remus_bitmap_words(log->pages); w++)
		if (word[w]) {
			dirty[w] |= word[w];
			n += (uint64_t)__builtin_popcountll(word[w]);
		}
	remus_xen_rearm_fetched(&log->rearm, n, *cleared);
	*found = n;
	return 0;
}

void remus_xen_logdirty_stop(struct remus_xen_logdirty *log)
{
	DECLARE_HYPERCALL_BUFFER_SHADOW(void, bitmap, &log->buffer);

	if (log->on)
		remus_xen_logdirty_off(log->xen, log->domid);
	log->on = false;
	if (log->bitmap)
		xc_hypercall_buffer_free_pages(log->xen->xch, bitmap, buffer_pages(log->pages));
	log->bitmap = NULL;
}
