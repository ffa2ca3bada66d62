/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remusctl attach: forward a guest's network without protecting it, so that it has one before and after. */
#include "check.h"
#include "client.h"
#include "verb.h"

static const struct ctl_option options[] = {
	{"egress", "egress", CTL_LIST, "URI", .check = ctl_check_egress,
	 .help = "where a NIC's frames go, in the NICs' order"},
	{NULL},
};

static int check(const struct ctl_call *call, struct remus_error *err)
{
	if (!json_object_get(call->request, "egress"))
		return remus_fail(err, -EINVAL, "attach needs --egress URI, once for each NIC of the guest");
	return 0;
}

static int run(const struct ctl_call *call)
{
	return ctl_ask_and_say(call, "its network is forwarded; the guest is UNPROTECTED");
}

const struct ctl_verb ctl_attach = {
	.name = "attach",
	.request = "attach",
	.summary = "Forward a guest's network without protecting it",
	.operand = "DOMAIN",
	.locator = true,
	.options = options,
	.timeout_s = 20,
	.check = check,
	.run = run,
	.notes = "An egress is packet:INTERFACE, tap:INTERFACE or unix:PATH[,bind=PATH].\n",
};
