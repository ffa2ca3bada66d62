/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remusctl drill: see a copy of a standby run, on the host that stands by, while protection goes on. */
#include <string.h>
#include "client.h"
#include "human.h"
#include "show.h"
#include "verb.h"

#define SILENCE_S 310u /* remusd gives up before */

static const struct ctl_option options[] = {
	{"seconds", "seconds", CTL_NUMBER, "S", 1, 3600, .help = "let the copy run for so long (default 5)"},
	{"console", NULL, CTL_FLAG, .help = "print what it wrote to its serial port, too"},
	{"json", NULL, CTL_FLAG, .help = "print remusd's answer as it is"},
	{NULL},
};

static void show(const struct ctl_call *call, const json_t *answer)
{
	const char *console = ctl_get_text(answer, "console");

	if (ctl_flag(call, "console"))
		for (const char *line = console; *line; line += strcspn(line, "\n"), line += *line == '\n') {
			char text[512];
			snprintf(text, sizeof text, "%.*s", (int)strcspn(line, "\n"), line);
			fputs("| ", stdout);
			ctl_print_clean(stdout, text);
			putchar('\n');
		}
	ctl_print_clean(stdout, ctl_get_word(answer, "name"));
	fputs(": ", stdout);
	ctl_print_clean(stdout, ctl_get_word(answer, "what"));
	putchar('\n');
	if (ctl_get_count(answer, "epoch"))
		printf("built in %.0f ms, copied in %.0f ms (acknowledgements waited), activated in %.0f ms, "
		       "seed %.16s\n",
		       ctl_get_real(answer, "build_ms"), ctl_get_real(answer, "copy_ms"),
		       ctl_get_real(answer, "activate_ms"), ctl_get_word(answer, "seed"));
}

static int run(const struct ctl_call *call)
{
	const json_t *seconds = json_object_get(call->request, "seconds");
	json_t *answer = NULL;

	/* The answer comes when the copy has run. */
	if (seconds && !json_object_get(call->local, "timeout"))
		json_object_set_new(call->local, "timeout",
				    json_integer(json_integer_value(seconds) + SILENCE_S));
	enum ctl_exit status = ctl_ask(call, NULL, NULL, &answer);
	if (status)
		return status;
	if (ctl_flag(call, "json"))
		ctl_show_json(stdout, answer);
	else
		show(call, answer);
	status = json_is_true(json_object_get(answer, "passed")) ? CTL_OK : CTL_FAILED;
	json_decref(answer);
	return status;
}

const struct ctl_verb ctl_drill = {
	.name = "drill",
	.request = "drill",
	.summary = "Run a copy of the standby for a while, cut off from everything",
	.operand = "DOMAIN",
	.options = options,
	.timeout_s = 5 + SILENCE_S,
	.run = run,
	.notes = "On the host that stands by. Protection goes on; the copy needs the guest's memory once "
		 "more,\n"
		 "its network leads nowhere, and it is destroyed in the end. exit status: 0 it ran, 1 it "
		 "didn't.\n",
};
