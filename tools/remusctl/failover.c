/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remusctl failover: hand a guest over to its backup, or, forced, take it over from a primary that is gone. */
#include <string.h>
#include "client.h"
#include "confirm.h"
#include "human.h"
#include "verb.h"

static const struct ctl_option options[] = {
	{"force", "force", CTL_FLAG, .help = "on the backup: the primary is dead, run the guest here"},
	{"yes", NULL, CTL_FLAG, .help = "don't ask before --force"},
	{NULL},
};

static int run(const struct ctl_call *call)
{
	json_t *answer = NULL;

	enum ctl_exit status = ctl_confirm(
		call,
		"You are about to decide, in the arbiter's place, that the guest runs on the BACKUP.\n"
		"If the primary is alive and only out of reach, the guest then runs twice, with the same\n"
		"addresses, and its data part ways. Make sure that the primary is powered off.");
	if (!status)
		status = ctl_ask(call, NULL, NULL, &answer);
	if (status)
		return status;
	bool here = !strcmp(ctl_get_text(answer, "role"), "backup");
	ctl_print_clean(stdout, ctl_get_word(answer, "name"));
	fputs(" now runs on ", stdout);
	ctl_print_clean(stdout, here ? "this host" : ctl_get_word(answer, "peer"));
	puts(". It is UNPROTECTED there until it is protected again");
	json_decref(answer);
	return CTL_OK;
}

const struct ctl_verb ctl_failover = {
	.name = "failover",
	.request = "failover",
	.summary = "Let the backup run the guest from now on",
	.operand = "DOMAIN",
	.options = options,
	.timeout_s = 60,
	.run = run,
	.notes = "While the link is up both hosts agree and nothing is lost: ask on either of them. Once it "
		 "is\n"
		 "lost the arbiter has decided already, unless it is manual: then --force, on the backup.\n",
};
