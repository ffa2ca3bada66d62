/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a host does for the first time when it runs a guest, done while it stands by. */
#ifndef REMUS_XEN_KEEPER_WARM_H
#define REMUS_XEN_KEEPER_WARM_H

struct xentoollog_logger;

/*
 * The first grant that a Linux dom0 maps makes it set up address space for such mappings (memremap_pages of a memory
 * section), which it keeps: 10 ms, or 200 on a slow processor, of a guest's silence if that grant is the guest's own
 * xenstore page. So one is mapped now and let go: of a page of ours. A host that can't do that loses nothing.
 */
void remus_xen_keeper_warm(struct xentoollog_logger *log);

#endif
