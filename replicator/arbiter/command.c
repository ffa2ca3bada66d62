// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The command arbiter: a program of the site's decides, either by fencing (the other host is switched off, so it
 * cannot run the guest) or by a lock that the site has. remus-arbiters(7) defines what the program is told and what its
 * exit status means; it is up to the program that I5 holds.
 *
 * Of a claim only two statuses are answers: 0 = WON, 100 = LOST. LOST has a running guest destroyed, so it is a number
 * that no shell, no fence agent and no <sysexits.h> uses for something else. Everything else, whatever the program
 * meant by it, is UNKNOWN: a signal, a missing program, the deadline.
 */
#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include "program.h"
#include "query.h"
#include "schemes.h"
#include "remus/log.h"
#include "remus/util.h"

#define STATUS_LOST	100
#define TIMEOUT_DEFAULT 30 /* s; a power switch takes 5 to 20 */
#define TIMEOUT_MAX	600
#define OPTIONS_MAX	4096 /* bytes of "name=value\n" */
#define VARIABLES	7

extern char **environ;

struct command {
	struct remus_arbiter base;
	char program[PATH_MAX];
	char options[OPTIONS_MAX];
	unsigned timeout_s;
};

/* What the program is told, once as lines and once as variables. */
struct request {
	char line[VARIABLES][128]; /* "action=claim" */
	char variable[VARIABLES][160];
	unsigned count;
};

static void tell(struct request *r, const char *name, const char *value)
{
	char *at = r->variable[r->count];

	snprintf(r->line[r->count], sizeof r->line[0], "%s=%s", name, value);
	snprintf(at, sizeof r->variable[0], "REMUS_%s=%s", name, value);
	for (; *at != '='; at++)
		*at = (char)toupper((unsigned char)*at);
	r->count++;
}

static const char *side(enum remus_holder holder)
{
	return holder == REMUS_HOLDER_PRIMARY ? "primary" : "backup";
}

static void fill_request(struct request *r, const char *action, const struct remus_key *key,
			 enum remus_holder me, unsigned timeout_s)
{
	char text[REMUS_KEY_TEXT], number[24];

	r->count = 0;
	remus_key_text(key, text);
	tell(r, "action", action);
	tell(r, "key", text);
	text[2 * REMUS_SESSION_SIZE] = 0;
	tell(r, "session", text);
	snprintf(number, sizeof number, "%" PRIu64, key->generation);
	tell(r, "generation", number);
	tell(r, "me", side(me));
	tell(r, "peer", side(me == REMUS_HOLDER_PRIMARY ? REMUS_HOLDER_BACKUP : REMUS_HOLDER_PRIMARY));
	snprintf(number, sizeof number, "%u", timeout_s);
	tell(r, "timeout", number);
}

/* This process's environment and the variables. Not setenv(): other threads run. The strings are @r's. */
static char **make_environment(struct request *r)
{
	size_t n = 0;

	while (environ[n])
		n++;
	char **all = calloc(n + VARIABLES + 1, sizeof *all);
	if (!all)
		return NULL;
	n = 0;
	for (char **at = environ; *at; at++)
		if (strncmp(*at, "REMUS_", 6) && strncmp(*at, "NOTIFY_SOCKET=", 14))
			all[n++] = *at;
	for (unsigned i = 0; i < r->count; i++)
		all[n++] = r->variable[i];
	return all;
}

/* Into the log, line by line; *@last is the last one, for the event. Bytes that a terminal might obey are masked. */
static void log_output(const char *program, const char *action, char *output, const char **last)
{
	*last = "";
	for (char *rest = output, *line; (line = strsep(&rest, "\n"));) {
		for (char *c = line; *c; c++)
			if ((unsigned char)*c < 32 || *c == 127)
				*c = ' ';
		if (!*line)
			continue;
		remus_info("arbiter %s %s: %s", program, action, line);
		*last = line;
	}
}

/* The exit status of the program, or a negative code. @last: see above; points into @output. */
static int run(struct remus_arbiter *arbiter, const char *action, const struct remus_key *key,
	       enum remus_holder me, char output[PROGRAM_OUTPUT_MAX], const char **last,
	       struct remus_error *err)
{
	struct command *c = (struct command *)arbiter;
	char input[PROGRAM_INPUT_MAX];
	struct request r;
	size_t n = 0;

	fill_request(&r, action, key, me, c->timeout_s);
	for (unsigned i = 0; i < r.count; i++)
		n += (size_t)snprintf(input + n, sizeof input - n, "%s\n", r.line[i]);
	n += (size_t)snprintf(input + n, sizeof input - n, "%s", c->options);
	REMUS_AUTO_FREE char **environment = make_environment(&r);
	if (!environment)
		return remus_fail(err, -ENOMEM, "out of memory");
	int rc = program_run(c->program, environment, input, n, c->timeout_s * 1000, output, err);
	log_output(c->program, action, output, last);
	if (rc < 0 && **last)
		remus_error_prefix(err, "\"%.200s\"", *last);
	return rc;
}

/* Any status but 0 is a failure, which its words explain best. */
static int done(struct remus_arbiter *arbiter, const char *action, const struct remus_key *key,
		enum remus_holder me, struct remus_error *err)
{
	char output[PROGRAM_OUTPUT_MAX];
	const char *last;
	int rc = run(arbiter, action, key, me, output, &last, err);

	if (rc <= 0)
		return rc;
	return remus_fail(err, rc == STATUS_LOST ? -EEXIST : -EIO, "%s: action %s: exit status %d%s%.300s",
			  ((struct command *)arbiter)->program, action, rc, *last ? ": " : "", last);
}

static int command_open(struct remus_arbiter *arbiter, const struct remus_key *key, struct remus_error *err)
{
	return done(arbiter, "open", key, REMUS_HOLDER_PRIMARY, err);
}

static int command_check(struct remus_arbiter *arbiter, const struct remus_key *key, struct remus_error *err)
{
	return done(arbiter, "check", key, REMUS_HOLDER_BACKUP, err);
}

static int command_retire(struct remus_arbiter *arbiter, const struct remus_key *key, struct remus_error *err)
{
	return done(arbiter, "retire", key, REMUS_HOLDER_PRIMARY, err);
}

static enum remus_claim command_claim(struct remus_arbiter *arbiter, const struct remus_key *key,
				      enum remus_holder me, struct remus_error *err)
{
	char output[PROGRAM_OUTPUT_MAX];
	const char *last;
	int rc = run(arbiter, "claim", key, me, output, &last, err);

	if (rc == 0)
		return REMUS_CLAIM_WON;
	if (rc == STATUS_LOST)
		return REMUS_CLAIM_LOST;
	if (rc > 0)
		remus_fail(err, -EIO,
			   "%s: action claim: exit status %d, neither 0 (won) nor %d (lost)%s%.300s",
			   ((struct command *)arbiter)->program, rc, STATUS_LOST, *last ? ": " : "", last);
	return REMUS_CLAIM_UNKNOWN;
}

static void command_close(struct remus_arbiter *arbiter)
{
	free(arbiter);
}

static const struct remus_arbiter_ops command_ops = {
	.scheme = "command",
	.open = command_open,
	.check = command_check,
	.claim = command_claim,
	.retire = command_retire,
	.close = command_close,
};

static int set_timeout(struct command *c, const char *value, struct remus_error *err)
{
	char *end;
	unsigned long s = strtoul(value, &end, 10);

	if (!isdigit((unsigned char)*value) || *end || s < 1 || s > TIMEOUT_MAX)
		return remus_fail(err, -EINVAL, "timeout= takes 1 to %d seconds", TIMEOUT_MAX);
	c->timeout_s = (unsigned)s;
	return 0;
}

static int set_option(void *context, const char *name, const char *value, struct remus_error *err)
{
	static const char *const ours[] = {"action", "key", "session", "generation", "me", "peer"};
	struct command *c = context;

	if (!strcmp(name, "timeout"))
		return set_timeout(c, value, err);
	if (!strcmp(name, "kind")) {
		if (strcmp(value, "fence") && strcmp(value, "lock"))
			return remus_fail(err, -EINVAL, "kind= takes fence or lock");
		c->base.fences = !strcmp(value, "fence");
		return 0;
	}
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(ours); i++)
		if (!strcmp(name, ours[i]))
			return remus_fail(err, -EINVAL, "%s= is set by remus itself", name);
	if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != strlen(name))
		return remus_fail(err, -EINVAL, "option \"%.64s\": letters, digits, _ and - are expected",
				  name);
	if (strstr(name, "passw") && !strstr(name, "script"))
		return remus_fail(
			err, -EINVAL,
			"status shows the URI: a password belongs in a file that the program reads");
	size_t n = strlen(c->options);
	if ((size_t)snprintf(c->options + n, sizeof c->options - n, "%s=%s\n", name, value) >=
	    sizeof c->options - n)
		return remus_fail(err, -E2BIG, "too many options");
	return 0;
}

static int command_create(const char *rest, struct remus_arbiter **out, struct remus_error *err)
{
	size_t n = strcspn(rest, "?");
	struct command *c = calloc(1, sizeof *c);
	int rc = 0;

	if (!c)
		return remus_fail(err, -ENOMEM, "out of memory");
	c->base = (struct remus_arbiter){.ops = &command_ops, .fences = true};
	c->timeout_s = TIMEOUT_DEFAULT;
	if (rest[0] != '/' || n < 2)
		rc = remus_fail(err, -EINVAL,
				"command: takes a program's absolute path, as in command:/etc/remus/fence");
	else if (n >= sizeof c->program)
		rc = remus_fail(err, -ENAMETOOLONG, "the program's name is too long");
	if (rc == 0) {
		memcpy(c->program, rest, n);
		if (rest[n])
			rc = query_parse(rest + n + 1, set_option, c, err);
	}
	if (rc < 0) {
		free(c);
		return rc;
	}
	*out = &c->base;
	return 0;
}

const struct arbiter_scheme arbiter_command = {&command_ops, "command:PROGRAM[?OPTIONS]", command_create,
					       false};
