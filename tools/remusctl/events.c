/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remusctl events: what happened, one line an event, and with --follow what happens. */
#include <limits.h>
#include <string.h>
#include "client.h"
#include "show.h"
#include "verb.h"

static const struct ctl_option options[] = {
	{"follow", "follow", CTL_FLAG, .help = "go on with new events until interrupted"},
	{"since", "since", CTL_NUMBER, "SEQ", 0, 99999999999,
	 .help = "only events after this sequence number"},
	{"json", NULL, CTL_FLAG, .help = "one JSON object a line, as remusd sends them"},
	{NULL},
};

static void on_line(void *context, const char *kind, const json_t *body)
{
	const struct ctl_call *call = context;

	if (!kind || strcmp(kind, "event"))
		return;
	if (ctl_flag(call, "json"))
		ctl_show_json(stdout, body);
	else
		ctl_show_event(stdout, body);
	fflush(stdout);
}

static int run(const struct ctl_call *call)
{
	json_t *answer = NULL;

	if (!json_object_get(call->request, "follow"))
		json_object_set_new(call->request, "follow", json_false());
	enum ctl_exit status = ctl_ask(call, on_line, (void *)call, &answer);
	json_decref(answer);
	return status;
}

const struct ctl_verb ctl_events = {
	.name = "events",
	.request = "events",
	.summary = "Show what happened to the guests of this host",
	.operand = "",
	.options = options,
	.timeout_s = 10,
	.run = run,
	.notes = "A line is: time, level, domain, kind, message. remusctl(1) lists the kinds.\n",
};
