/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef REMUS_XEN_CHECK_H
#define REMUS_XEN_CHECK_H

#include "remus/domain.h"

/* domain_ops.check() of Xen. */
void remus_xen_check(const char *locator, const struct remus_domain_config *config,
		     const struct remus_held *held, struct remus_domain_view *out,
		     struct remus_report *report);

#endif
