/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remusctl detach: end what attach began. */
#include "client.h"
#include "human.h"
#include "verb.h"

static int run(const struct ctl_call *call)
{
	json_t *answer = NULL;

	enum ctl_exit status = ctl_ask(call, NULL, NULL, &answer);
	if (status)
		return status;
	ctl_print_clean(stdout, json_string_value(json_object_get(call->request, "domain")));
	puts(": its network is not forwarded any more");
	json_decref(answer);
	return CTL_OK;
}

const struct ctl_verb ctl_detach = {
	.name = "detach",
	.request = "detach",
	.summary = "Stop forwarding an attached guest's network",
	.operand = "DOMAIN",
	.timeout_s = 20,
	.run = run,
};
