/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See keeper_warm.h. */
#include "keeper_warm.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <xengnttab.h>
#include "remus/log.h"
#include "remus/util.h"

#define DOM0 0

void remus_xen_keeper_warm(struct xentoollog_logger *log)
{
	uint64_t began = remus_now_us();
	uint32_t grant;
	xengntshr_handle *ours = xengntshr_open(log, 0);
	xengnttab_handle *theirs = ours ? xengnttab_open(log, 0) : NULL;
	void *page = theirs ? xengntshr_share_pages(ours, DOM0, 1, &grant, 1) : NULL;
	void *seen = page ? xengnttab_map_grant_ref(theirs, DOM0, grant, PROT_READ) : NULL;

	if (seen)
		remus_debug("the way of a grant was tried: %llu us",
			    (unsigned long long)(remus_now_us() - began));
	else
		remus_debug("no grant can be tried (%s): the first failover maps one itself",
			    strerror(errno));
	if (seen)
		xengnttab_unmap(theirs, seen, 1);
	if (page)
		xengntshr_unshare(ours, page, 1);
	if (theirs)
		xengnttab_close(theirs);
	if (ours)
		xengntshr_close(ours);
}
