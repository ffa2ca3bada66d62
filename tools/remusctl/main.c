/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remusctl: the operator's tool. It only finds the verb; everything else is in that verb's file, and what a verb
 * may be told is in its table (verb.h).
 */
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include "client.h"
#include "exit.h"
#include "verb.h"

static int run(const struct ctl_verb *verb, int argc, char *const argv[])
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct ctl_call call;

	if (ctl_parse(verb, argc, argv, &call, &err)) {
		ctl_complain(err.message, NULL);
		fprintf(stderr, "remusctl: hint: remusctl help %s\n", verb->name);
		return CTL_USAGE;
	}
	int status = CTL_OK;
	if (call.help)
		ctl_help_verb(stdout, verb);
	else
		status = verb->run(&call);
	ctl_call_clear(&call);
	if (fflush(stdout) || ferror(stdout)) {
		ctl_complain("cannot write the answer to standard output", NULL);
		return status ? status : CTL_FAILED;
	}
	return status;
}

int main(int argc, char *argv[])
{
	struct remus_error err = REMUS_ERROR_INIT;

	setlocale(LC_CTYPE, "");
	if (argc < 2) {
		ctl_help_all(stderr);
		return CTL_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		argv[1] = (char *)"help";
	else if (!strcmp(argv[1], "--version"))
		argv[1] = (char *)"version";
	const struct ctl_verb *verb = NULL;
	if (!ctl_verb_to_front(argc, argv, &err)) {
		verb = ctl_verb_find(argv[1]);
		if (!verb)
			remus_fail(&err, -EINVAL, "there is no verb \"%.100s\"", argv[1]);
	}
	if (!verb) {
		ctl_complain(err.message, "`remusctl help` lists the verbs");
		return CTL_USAGE;
	}
	return run(verb, argc - 1, argv + 1);
}
