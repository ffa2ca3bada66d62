/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `protect` and `check` are told in the same words: where to, and by which means. */
#ifndef REMUSCTL_PROTECTION_H
#define REMUSCTL_PROTECTION_H

#include "check.h"
#include "verb.h"

/* Lines of a table of options. */
#define CTL_PROTECTION_OPTIONS                                                                             \
	{"to",                                                                                             \
	 "to",                                                                                             \
	 CTL_TEXT,                                                                                         \
	 "HOST[:PORT]",                                                                                    \
	 .check = ctl_check_address,                                                                       \
	 .help = "the backup's remusd (needed)"},                                                          \
		{"name",                                                                                   \
		 "name",                                                                                   \
		 CTL_TEXT,                                                                                 \
		 "NAME",                                                                                   \
		 .check = ctl_check_name,                                                                  \
		 .help = "what to call the guest from now on"},                                            \
		{"arbiter",                                                                                \
		 "arbiter",                                                                                \
		 CTL_TEXT,                                                                                 \
		 "URI",                                                                                    \
		 .check = ctl_check_arbiter,                                                               \
		 .help = "file:DIRECTORY that both hosts reach, or manual"},                               \
		{"egress",                                                                                 \
		 "egress",                                                                                 \
		 CTL_LIST,                                                                                 \
		 "URI",                                                                                    \
		 .check = ctl_check_egress,                                                                \
		 .help = "where a NIC's frames go, in the NICs' order"},                                   \
		{"standby-egress",                                                                         \
		 "standby_egress",                                                                         \
		 CTL_LIST,                                                                                 \
		 "URI",                                                                                    \
		 .check = ctl_check_egress,                                                                \
		 .help = "the same on the backup; default: as --egress"},                                  \
		{"hold-mib",                                                                               \
		 "hold_mib",                                                                               \
		 CTL_NUMBER,                                                                               \
		 "MIB",                                                                                    \
		 1,                                                                                        \
		 65536,                                                                                    \
		 .help = "cap of held frames, for each NIC"},                                              \
	{                                                                                                  \
		"tracking", "tracking", CTL_WORD, "METHOD", .words = "auto uffd-wp soft-dirty compare",    \
							    .help = "auto, uffd-wp, soft-dirty or compare" \
	}

/* What no single one of them can tell. */
int ctl_check_protection(const struct ctl_call *call, struct remus_error *err);

#endif
