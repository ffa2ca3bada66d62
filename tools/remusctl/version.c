/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remusctl version: of this tool; `remusctl status` shows that of the daemon, which may be an older one. */
#include "config.h"
#include "exit.h"
#include "verb.h"

static int run(const struct ctl_call *call)
{
	puts("remusctl " PACKAGE_VERSION);
	return CTL_OK;
}

const struct ctl_verb ctl_version = {
	.name = "version",
	.summary = "Show remusctl's version",
	.operand = "",
	.run = run,
};
