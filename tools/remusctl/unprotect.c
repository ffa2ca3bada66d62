/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remusctl unprotect: end protection in order; the guest runs on where it runs. */
#include "client.h"
#include "confirm.h"
#include "verb.h"

static const struct ctl_option options[] = {
	{"force", "force", CTL_FLAG,
	 .help = "the arbiter is manual or out of reach: this host keeps the guest"},
	{"yes", NULL, CTL_FLAG, .help = "don't ask before --force"},
	{NULL},
};

static int run(const struct ctl_call *call)
{
	enum ctl_exit status = ctl_confirm(
		call,
		"You are about to decide in the arbiter's place.\n"
		"On the primary: the guest goes on on THIS host. If the backup has taken over, it then runs\n"
		"twice, with the same addresses, and its data part ways. Make sure that the backup is dead\n"
		"or does not run the guest.\n"
		"On the backup: the standby is dropped. If the primary is dead, it is all that is left.");
	if (status)
		return status;
	return ctl_ask_and_say(call, "protection has ended; the guest is UNPROTECTED");
}

const struct ctl_verb ctl_unprotect = {
	.name = "unprotect",
	.request = "unprotect",
	.summary = "End protection; the guest runs on",
	.operand = "DOMAIN",
	.options = options,
	.timeout_s = 60,
	.run = run,
};
