// SPDX-License-Identifier: GPL-2.0-or-later
/* In place of etcd.c where libcurl is missing: the URI is known, and refused with the reason. */
#include "schemes.h"

static int refuse(const char *rest, struct remus_arbiter **out, struct remus_error *err)
{
	return remus_fail(err, -EPROTONOSUPPORT,
			  "this remus was built without libcurl and cannot speak to etcd (Debian: install "
			  "libcurl4-gnutls-dev, then configure and build again)");
}

static const struct remus_arbiter_ops no_ops = {.scheme = "etcd"}; /* nobody gets one */

const struct arbiter_scheme arbiter_etcd = {&no_ops, ETCD_FORM " (not in this build)", refuse, true};
