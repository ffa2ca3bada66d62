/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remusctl help [VERB]: made from the tables that the parser reads, so that the two cannot differ. */
#include <string.h>
#include "client.h"
#include "exit.h"
#include "verb.h"

static void print_options(FILE *out, const struct ctl_option *o)
{
	char left[64];

	for (; o && o->name; o++) {
		snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "",
			 o->value ? o->value : "");
		fprintf(out, "  %-26s %s", left, o->help);
		if (o->kind == CTL_NUMBER)
			fprintf(out, " (%ld to %ld)", o->min, o->max);
		else if (o->kind == CTL_LIST)
			fputs(" (may be repeated)", out);
		fputc('\n', out);
	}
}

void ctl_help_verb(FILE *out, const struct ctl_verb *verb)
{
	bool options = verb->request || (verb->options && verb->options->name);

	fprintf(out, "usage: remusctl %s%s%s%s\n%s.\n", verb->name, verb->operand[0] ? " " : "",
		verb->operand, options ? " [OPTIONS]" : "", verb->summary);
	if (options)
		fputs("\n", out);
	print_options(out, verb->options);
	if (verb->request)
		print_options(out, ctl_common_options);
	if (verb->notes)
		fprintf(out, "\n%s", verb->notes);
}

void ctl_help_all(FILE *out)
{
	fputs("usage: remusctl VERB [DOMAIN] [OPTIONS]\n\n", out);
	for (size_t i = 0; ctl_verbs[i]; i++) {
		char left[32];
		const struct ctl_verb *verb = ctl_verbs[i];
		snprintf(left, sizeof left, "%s %s", verb->name, verb->operand);
		fprintf(out, "  %-20s %s\n", left, verb->summary);
	}
	fputs("\nA DOMAIN is qemu:PATH (the guest's QMP socket), that path alone, or the name that it was\n"
	      "protected under. `remusctl help VERB` shows a verb's options.\n\n"
	      "exit status: 0 done, 1 failed, 2 wrong usage, 3 remusd cannot be reached, 4 no such domain,\n"
	      "5 refused: the guest or the peer doesn't fit, 6 unprotected (status --check), 7 timed out\n",
	      out);
}

static int run(const struct ctl_call *call)
{
	const char *name = ctl_text(call, "operand");
	const struct ctl_verb *verb = name ? ctl_verb_find(name) : NULL;

	if (verb)
		ctl_help_verb(stdout, verb);
	else if (!name)
		ctl_help_all(stdout);
	else
		ctl_complain("there is no such verb", "`remusctl help` lists them");
	return !name || verb ? CTL_OK : CTL_USAGE;
}

const struct ctl_verb ctl_help = {
	.name = "help",
	.summary = "Show the verbs, or the options of one",
	.operand = "[VERB]",
	.run = run,
};
