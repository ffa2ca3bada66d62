/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remusctl status: one domain as a block, or all of them as a table with an alarm for each unprotected one. */
#include "client.h"
#include "show.h"
#include "verb.h"

static const struct ctl_option options[] = {
	{"json", NULL, CTL_FLAG, .help = "print remusd's answer as it is"},
	{"check", NULL, CTL_FLAG,
	 .help = "exit with 6 if a domain that should be protected isn't, 8 if one is overloaded"},
	{NULL},
};

static bool all_protected(const json_t *domains)
{
	size_t i;
	json_t *domain;

	json_array_foreach(domains, i, domain)
	{
		if (ctl_should_be_protected(domain) && !ctl_is_protected(domain))
			return false;
	}
	return true;
}

static bool any_overloaded(const json_t *domains)
{
	size_t i;
	json_t *domain;

	json_array_foreach(domains, i, domain)
	{
		if (ctl_is_overloaded(domain))
			return true;
	}
	return false;
}

/* --check */
static enum ctl_exit verdict(const json_t *domains)
{
	return !all_protected(domains) ? CTL_UNPROTECTED : any_overloaded(domains) ? CTL_OVERLOADED : CTL_OK;
}

static void show(const struct ctl_call *call, const json_t *answer)
{
	const json_t *domains = json_object_get(answer, "domains");
	struct ctl_screen screen = ctl_screen_of(stdout);

	if (ctl_flag(call, "json")) {
		ctl_show_json(stdout, answer);
	} else if (json_object_get(call->request, "domain")) {
		for (size_t i = 0; i < json_array_size(domains); i++)
			ctl_show_domain(stdout, screen, json_array_get(domains, i));
	} else {
		ctl_show_host(stdout, json_object_get(answer, "host"));
		if (json_array_size(domains))
			ctl_show_table(stdout, screen, domains);
		else
			puts("no domains: nothing is protected here, and nothing stands by");
		ctl_show_alarms(stdout, domains);
	}
}

static int run(const struct ctl_call *call)
{
	json_t *answer = NULL;

	enum ctl_exit status = ctl_ask(call, NULL, NULL, &answer);
	if (status)
		return status;
	show(call, answer);
	if (ctl_flag(call, "check"))
		status = verdict(json_object_get(answer, "domains"));
	json_decref(answer);
	return status;
}

const struct ctl_verb ctl_status = {
	.name = "status",
	.request = "status",
	.summary = "Show how well the guests are protected",
	.operand = "[DOMAIN]",
	.options = options,
	.timeout_s = 10,
	.run = run,
	.notes = "A monitor should ask for each domain by name, `remusctl status --check vm1`: a remusd that "
		 "was\n"
		 "restarted knows no domains, and without a name that is no error.\n",
};
