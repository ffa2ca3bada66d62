/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remusctl detach: end what attach began. */
#include "client.h"
#include "verb.h"

static int run(const struct ctl_call *call)
{
	return ctl_ask_and_say(call, "its network is not forwarded any more");
}

const struct ctl_verb ctl_detach = {
	.name = "detach",
	.request = "detach",
	.summary = "Stop forwarding an attached guest's network",
	.operand = "DOMAIN",
	.timeout_s = 20,
	.run = run,
};
