/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remusctl protect: begin to protect a guest and show the first full copy until the guest is protected. What
 * the terminal shows ends with one line that says what protects the guest now, and by which means.
 */
#include <string.h>
#include <unistd.h>
#include "check.h"
#include "client.h"
#include "protection.h"
#include "show.h"
#include "verb.h"
#include "remus/link.h"
#include "remus/util.h"
#include "remus/wire.h"

static const struct ctl_option options[] = {
	CTL_PROTECTION_OPTIONS,
	{"interval", "interval_ms", CTL_NUMBER, "MS", 1, 10000, .help = "length of an epoch"},
	{"max-interval", "max_interval_ms", CTL_NUMBER, "MS", 10, 600000,
	 .help = "what the link may stretch it to before it is overload"},
	{"on-overload", "on_overload", CTL_WORD, "stretch|throttle|drop", .words = "stretch throttle drop",
	 .help = "and then: stretch on, slow the guest, or end protection"},
	{"on-backup-loss", "on_backup_loss", CTL_WORD, "solo|hold", .words = "solo hold",
	 .help = "go on alone, or hold the guest's output"},
	{"clock", "clock", CTL_WORD, "step|slew", .words = "step slew",
	 .help = "set the guest's clock right at once after a failover, or by and by"},
	{"cache-mib", "cache_mib", CTL_NUMBER, "MIB", 1, 1048576, .help = "cap of the base cache for deltas"},
	{"heartbeat", "heartbeat_ms", CTL_NUMBER, "MS", 1, 60000, .help = "period of the heartbeats"},
	{"dead", "dead_ms", CTL_NUMBER, "MS", 10, 600000,
	 .help = "silence that means the other host is dead"},
	{"renew-wait", "renew_wait_ms", CTL_NUMBER, "MS", 0, REMUS_AGENT_WAIT_MAX_MS,
	 .help = "after a failover the guest's network waits for its agent, at most so long"},
	{"no-wait", "wait", CTL_OFF, .help = "return once the engine runs, not yet protected"},
	{NULL},
};

static int check(const struct ctl_call *call, struct remus_error *err)
{
	const json_t *request = call->request;
	const json_t *beat = json_object_get(request, "heartbeat_ms"),
		     *dead = json_object_get(request, "dead_ms");
	json_int_t beat_ms = beat ? json_integer_value(beat) : (json_int_t)REMUS_DEFAULT_HEARTBEAT_MS;
	json_int_t dead_ms = dead ? json_integer_value(dead) : (json_int_t)REMUS_DEFAULT_DEAD_MS;

	int rc = ctl_check_protection(call, err);
	if (rc == 0 && dead_ms < 2 * beat_ms)
		rc = remus_fail(
			err, -EINVAL,
			"--dead %lld ms is less than two heartbeats of %lld ms: one late heartbeat would "
			"look like a dead host",
			(long long)dead_ms, (long long)beat_ms);
	const json_t *interval = json_object_get(request, "interval_ms"),
		     *most = json_object_get(request, "max_interval_ms");
	json_int_t interval_ms = interval ? json_integer_value(interval) : 25;
	if (rc == 0 && most && json_integer_value(most) < interval_ms)
		rc = remus_fail(
			err, -EINVAL,
			"--max-interval %lld ms is less than the interval of %lld ms that it is the bound of",
			(long long)json_integer_value(most), (long long)interval_ms);
	return rc;
}

/* One line, rewritten, on a terminal; elsewhere a line for each new state. */
struct progress {
	bool terminal, open;
	char state[64];
};

static void on_line(void *context, const char *kind, const json_t *body)
{
	struct progress *p = context;

	if (!kind && p->open)
		fputs("\r\033[K", stderr);
	if (!kind || strcmp(kind, "progress"))
		return;
	const char *state = json_string_value(json_object_get(body, "state"));
	bool fresh = strncmp(p->state, state ? state : "", sizeof p->state - 1) != 0;
	if (!p->terminal && !fresh)
		return;
	snprintf(p->state, sizeof p->state, "%s", state ? state : "");
	REMUS_AUTO_FREE char *text = NULL;
	size_t size;
	FILE *memory = open_memstream(&text, &size);
	if (!memory)
		return;
	ctl_show_progress(memory, body);
	fclose(memory);
	if (p->terminal) /* a line that wraps could not be rewritten */
		fprintf(stderr, "\r\033[K%.*s", (int)ctl_screen_of(stderr).width - 1, text);
	else
		fprintf(stderr, "%s\n", text);
	p->open = p->terminal;
	fflush(stderr);
}

static int run(const struct ctl_call *call)
{
	struct progress progress = {.terminal = isatty(STDERR_FILENO)};
	bool wait = !json_is_false(json_object_get(call->request, "wait"));
	json_t *answer = NULL;

	enum ctl_exit status = ctl_ask(call, on_line, &progress, &answer);
	if (status)
		return status;
	if (!wait && !ctl_is_protected(answer))
		puts("the engine runs; the guest is UNPROTECTED until the full copy is done (remusctl "
		     "status)");
	else
		ctl_show_protected(stdout, answer);
	status = !wait || ctl_is_protected(answer) ? CTL_OK : CTL_FAILED;
	json_decref(answer);
	return status;
}

const struct ctl_verb ctl_protect = {
	.name = "protect",
	.request = "protect",
	.summary = "Replicate a running guest to another host",
	.operand = "DOMAIN",
	.locator = true,
	.options = options,
	.timeout_s = 60,
	.check = check,
	.run = run,
	.notes = "An egress is packet:INTERFACE, tap:INTERFACE or unix:PATH[,bind=PATH]. Interrupting "
		 "remusctl\n"
		 "only ends the watching: remusd goes on.\n",
};
