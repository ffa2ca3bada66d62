/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remusctl list: the table of `status` and nothing else, for eyes and for awk. */
#include "client.h"
#include "show.h"
#include "verb.h"

static const struct ctl_option options[] = {
	{"json", NULL, CTL_FLAG, .help = "print remusd's answer as it is"},
	{NULL},
};

static int run(const struct ctl_call *call)
{
	json_t *answer = NULL;

	enum ctl_exit status = ctl_ask(call, NULL, NULL, &answer);
	if (status)
		return status;
	if (ctl_flag(call, "json"))
		ctl_show_json(stdout, answer);
	else
		ctl_show_table(stdout, ctl_screen_of(stdout), json_object_get(answer, "domains"));
	json_decref(answer);
	return CTL_OK;
}

const struct ctl_verb ctl_list = {
	.name = "list",
	.request = "status",
	.summary = "List the domains of this host, one a line",
	.operand = "",
	.options = options,
	.timeout_s = 10,
	.run = run,
};
