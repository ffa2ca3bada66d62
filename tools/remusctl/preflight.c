/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remusctl check: what would stop protection or a failover, on both hosts, before anything is begun. The worst
 * comes first, each finding with what to do about it; the last line is the verdict, and so is the exit status.
 */
#include <string.h>
#include "client.h"
#include "human.h"
#include "protection.h"
#include "show.h"
#include "table.h"
#include "verb.h"

#define MARGIN 29 /* columns before what was found */

static const struct ctl_option options[] = {
	CTL_PROTECTION_OPTIONS,
	{"json", NULL, CTL_FLAG, .help = "print remusd's answer as it is"},
	{NULL},
};

/* @text from column MARGIN on, wrapped at the screen's width. */
static void print_wrapped(FILE *out, unsigned width, const char *text)
{
	char copy[2048];
	size_t room = width > MARGIN + 20 ? width - MARGIN : sizeof copy;

	snprintf(copy, sizeof copy, "%s", text);
	char *rest = ctl_clean(copy);
	while (ctl_text_width(rest) > room) {
		size_t end = room;
		while (end && rest[end] != ' ')
			end--;
		if (!end) /* one long word: let it stand */
			end = strcspn(rest, " ");
		if (!rest[end])
			break;
		fprintf(out, "%.*s\n%*s", (int)end, rest, MARGIN, "");
		rest += end + 1;
	}
	fprintf(out, "%s\n", rest);
}

static void show_finding(FILE *out, unsigned width, const json_t *f)
{
	char remedy[512];

	/* Words of remusd's own, but a backup's subjects come from another host. */
	char subject[32];
	snprintf(subject, sizeof subject, "%.11s", ctl_get_text(f, "subject"));
	fprintf(out, "%-7.7s  %-7.7s  %-11s", ctl_get_text(f, "severity"), ctl_get_text(f, "host"),
		ctl_clean(subject));
	print_wrapped(out, width, ctl_get_text(f, "what"));
	snprintf(remedy, sizeof remedy, "-> %s", ctl_get_text(f, "remedy"));
	if (remedy[3]) {
		fprintf(out, "%*s", MARGIN, "");
		print_wrapped(out, width, remedy);
	}
}

static void show(FILE *out, unsigned width, const json_t *answer)
{
	static const char *const order[] = {"fatal", "warning", "ok"};
	const json_t *findings = ctl_get(answer, "findings"), *f;
	uint64_t fatal = ctl_get_count(answer, "fatal"), warnings = ctl_get_count(answer, "warnings");
	size_t i;

	for (size_t k = 0; k < sizeof order / sizeof order[0]; k++)
		json_array_foreach(findings, i, f)
		{
			if (!strcmp(ctl_get_text(f, "severity"), order[k]))
				show_finding(out, width, f);
		}
	fputc('\n', out);
	ctl_print_clean(out, ctl_get_word(answer, "name"));
	if (fatal)
		fprintf(out,
			" cannot be protected as things are: %llu finding%s would stop it, or its failover",
			(unsigned long long)fatal, fatal == 1 ? "" : "s");
	else
		fprintf(out, " can be protected to %s", ctl_get_word(answer, "to"));
	if (warnings)
		fprintf(out, " (%llu warning%s)", (unsigned long long)warnings, warnings == 1 ? "" : "s");
	fputc('\n', out);
}

static int run(const struct ctl_call *call)
{
	json_t *answer = NULL;

	enum ctl_exit status = ctl_ask(call, NULL, NULL, &answer);
	if (status)
		return status;
	if (ctl_flag(call, "json"))
		ctl_show_json(stdout, answer);
	else
		show(stdout, ctl_screen_of(stdout).width, answer);
	/* Whatever isn't a clear yes is none. */
	status = json_is_true(json_object_get(answer, "would_work")) ? CTL_OK : CTL_FAILED;
	json_decref(answer);
	return status;
}

const struct ctl_verb ctl_preflight = {
	.name = "check",
	.request = "check",
	.summary = "Find what would stop protection or a failover, on both hosts",
	.operand = "DOMAIN",
	.locator = true,
	.options = options,
	.timeout_s = 60,
	.check = ctl_check_protection,
	.run = run,
	.notes = "The guest is not touched and nothing is begun. exit status: 0 it would work, perhaps with\n"
		 "warnings; 1 something would stop it. Give the options that protect will be given.\n",
};
