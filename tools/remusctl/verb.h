/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A verb of remusctl is a table: its options, with bounds, each naming the member of the request that it fills.
 * args.c turns an argument vector and that table into the request; help.c turns the same table into the help
 * text. Nothing here talks to remusd, so that everything a user may type can be tested without one.
 */
#ifndef REMUSCTL_VERB_H
#define REMUSCTL_VERB_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include "remus/error.h"

enum ctl_kind {
	CTL_FLAG,   /* --yes: true */
	CTL_OFF,    /* --no-wait: false */
	CTL_NUMBER, /* a whole number from min to max */
	CTL_WORD,   /* one of the words in `words`, separated by spaces */
	CTL_TEXT,   /* any printable text, or what `check` accepts */
	CTL_LIST,   /* as CTL_TEXT, may be repeated: an array */
};

/* 0, or -EINVAL and a message that doesn't name the option (the caller does). */
typedef int ctl_check(const char *text, struct remus_error *err);

struct ctl_option {
	const char *name;   /* without the dashes; NULL ends a table */
	const char *member; /* of the request; NULL: for the tool itself, kept under the option's name */
	enum ctl_kind kind;
	const char *value; /* what the help shows: "MS" */
	long min, max;
	const char *words;
	ctl_check *check;
	const char *help;
};

/* What the user asked for. Both objects are owned; clear with ctl_call_clear(). */
struct ctl_call {
	const struct ctl_verb *verb;
	json_t *request; /* as docs/control.md has it */
	json_t *local;	 /* options for the tool: "json", "control", "timeout", ... */
	bool help;	 /* --help was given; nothing else was looked at */
};

struct ctl_verb {
	const char *name;
	const char *request; /* the daemon's verb; NULL = none is sent */
	const char *summary; /* one line */
	const char *operand; /* "", "DOMAIN", "[DOMAIN]", "[VERB]" or "[ACTION]" */
	bool locator;	     /* DOMAIN may be new to remusd (check.h, ctl_domain) */
	const struct ctl_option *options;
	unsigned timeout_s; /* default of --timeout: silence of remusd that is put up with */
	/* What no single option can tell: which belong together. May be NULL. */
	int (*check)(const struct ctl_call *call, struct remus_error *err);
	/* Do it; returns the exit status (exit.h), having said on stderr what went wrong. */
	int (*run)(const struct ctl_call *call);
	const char *notes; /* more help, or NULL */
};

extern const struct ctl_verb ctl_preflight, ctl_protect, ctl_unprotect, ctl_failover, ctl_drill, ctl_status,
	ctl_list, ctl_events, ctl_attach, ctl_detach, ctl_keys, ctl_version, ctl_help;
extern const struct ctl_verb *const ctl_verbs[]; /* in the order of the help, NULL-terminated */
/* Options of every verb that sends a request. */
extern const struct ctl_option ctl_common_options[];

const struct ctl_verb *ctl_verb_find(const char *name); /* NULL = there is none */

/*
 * Options that every verb has may come before it, for the sake of shell aliases: move the verb to argv[1] and
 * them behind it. -EINVAL: another option is there, or no verb.
 */
int ctl_verb_to_front(int argc, char *argv[], struct remus_error *err);

/*
 * Parse @argv (the verb's name first) by @verb's table. -EINVAL with a message that names the option and the
 * value. Looks at the file system only to tell a socket's path from a name, and at the working directory to
 * make a relative path absolute.
 */
int ctl_parse(const struct ctl_verb *verb, int argc, char *const argv[], struct ctl_call *out,
	      struct remus_error *err);
void ctl_call_clear(struct ctl_call *call);
/* An option kept for the tool. */
bool ctl_flag(const struct ctl_call *call, const char *name);
const char *ctl_text(const struct ctl_call *call, const char *name); /* NULL = not given */
long ctl_number(const struct ctl_call *call, const char *name, long otherwise);

void ctl_help_all(FILE *out);
void ctl_help_verb(FILE *out, const struct ctl_verb *verb);

#endif
