/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `remusctl check`, on the primary: everything that would stop protection or a failover, on both hosts, while the
 * guest runs on as if nobody had looked.
 *
 *   here      host, guest, its interfaces' way out, the arbiter: by the code that protect uses
 *   there     a HELLO that asks for a check; the backup answers with what it found
 *   between   the clocks, measured by the link's heartbeats
 *
 * That both hosts reach the same arbiter can only be shown by something made on one and seen on the other: a key of
 * a session that nobody protects by, retired as soon as the answer is here. It is never claimed (I5). Each wait has
 * a deadline, but for the arbiter's medium: whoever started this gives up on it (I8).
 */
#include "config.h"

#include "shell.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "remus/host.h"
#include "remus/link.h"
#include "remus/util.h"

#define CLOCK_SAMPLES  8u /* as many as the link's filter holds */
#define CLOCK_WAIT_US  1000000u
#define ANSWER_WAIT_US 20000000u /* the backup compares files of up to 256 MiB */
#define BEAT_MS	       50u
#define DEAD_MS	       3000u /* nothing is lost when a check takes a slow host for a living one */

static void step(const struct remus_check_config *c, const char *what)
{
	if (c->step)
		c->step(c->context, what);
}

/* ---- here ---- */

static void check_egress(const struct remus_check_config *c, const struct remus_domain_view *view,
			 struct remus_report *report)
{
	if (c->held.domain || c->held.standby)
		remus_report_ok(report, "network", "this remusd forwards the guest's network already");
	else
		remus_guest_check_nics(view->nic, view->nics, c->egress, c->egresses, c->hold_bytes, report);
}

/* Returns the arbiter when a key was opened in it. */
static struct remus_arbiter *open_key(const struct remus_check_config *c, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_arbiter *arbiter = NULL;

	if (remus_arbiter_create(c->arbiter_uri, &arbiter, &err) < 0) {
		remus_report_error(report, "arbiter", NULL, &err);
		return NULL;
	}
	if (arbiter->ops->open(arbiter, &c->key, &err) < 0) {
		remus_report_error(report, "arbiter", "name one that both hosts reach with --arbiter", &err);
		arbiter->ops->close(arbiter);
		return NULL;
	}
	if (!strcmp(arbiter->ops->scheme, "manual"))
		remus_report_warn(
			report, "arbiter",
			"name a shared directory with --arbiter file:DIRECTORY if failovers shall need "
			"nobody",
			"the arbiter is manual: after a failure nothing happens until an operator decides "
			"(remusctl failover --force)");
	else
		remus_report_ok(report, "arbiter", "arbiter %.400s can be written", c->arbiter_uri);
	return arbiter;
}

static void close_key(const struct remus_check_config *c, struct remus_arbiter *arbiter,
		      struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;

	if (!arbiter)
		return;
	if (arbiter->ops->retire(arbiter, &c->key, &err) < 0)
		remus_report_error(report, "arbiter", "see that it stays reachable", &err);
	arbiter->ops->close(arbiter);
}

/* ---- between ---- */

/* Heartbeats come by themselves: wait until there are enough of them to choose from. */
static void sample_clocks(struct remus_link *link)
{
	uint64_t end = remus_now_us() + CLOCK_WAIT_US;
	struct remus_link_stats stats;

	do {
		poll(NULL, 0, (int)BEAT_MS / 2);
		remus_link_stats(link, &stats);
	} while (stats.clock_samples < CLOCK_SAMPLES && remus_now_us() < end);
}

static void note_clocks(struct remus_link *link, struct remus_check_result *out)
{
	struct remus_link_stats stats;

	remus_link_stats(link, &stats);
	out->clock_known = stats.clock_samples > 0;
	if (!out->clock_known) {
		remus_report_warn(&out->here, "clock-skew", "check again; is the network overloaded?",
				  "the clocks could not be compared: no heartbeat came back in time");
		return;
	}
	out->clock_offset_us = stats.clock_offset_us;
	out->clock_error_us = stats.clock_error_us;
	remus_host_check_skew(stats.clock_offset_us, stats.clock_error_us, &out->here);
}

/* ---- there ---- */

static int send_hello(const struct remus_check_config *c, const struct remus_domain_view *view, bool keyed,
		      struct remus_link *link, struct remus_error *err)
{
	REMUS_AUTO_FREE uint8_t *payload = NULL;
	size_t length;
	struct remus_hello hello = {
		.generation = c->key.generation,
		.features_offered = REMUS_FEATURE_CHECK,
		.features_required = REMUS_FEATURE_CHECK,
		.guest_pages = view->pages ? view->pages : 1,
		.heartbeat_ms = BEAT_MS,
		.dead_ms = DEAD_MS,
		.backend = (char *)c->ops->backend,
		.domain = (char *)c->name,
		.arbiter = (char *)(keyed ? c->arbiter_uri : ""),
		.egress = (char *)(c->standby_egress ? c->standby_egress : ""),
		.description = view->description,
	};

	memcpy(hello.session, c->key.session, sizeof hello.session);
	int rc = remus_hello_encode(&hello, &payload, &length, err);
	if (rc < 0)
		return rc;
	struct iovec part = {.iov_base = payload, .iov_len = length};
	return remus_link_send(link, REMUS_FRAME_HELLO, REMUS_FRAME_MANDATORY, 0, &part, 1, NULL, err);
}

static int refused(const struct remus_frame *frame, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	uint32_t code;
	char text[1024];

	if (remus_refuse_decode(frame->payload, frame->header.length, &code, text, &err) < 0)
		return remus_report_error(report, "backup", NULL, &err);
	bool old = code == EPROTONOSUPPORT;
	return remus_report_fatal(report, -EPROTO, "backup",
				  old ? "install the same release of remus on both hosts" : "see its log",
				  "the backup refuses to be asked: %.800s", text);
}

/* 0 = out->there is the backup's. */
static int take_answer(const struct remus_frame *frame, struct remus_check_result *out)
{
	struct remus_error err = REMUS_ERROR_INIT;

	switch (frame->header.type) {
	case REMUS_FRAME_FINDINGS:
		if (remus_findings_decode(frame->payload, frame->header.length, &out->there, &err) == 0)
			return 0;
		return remus_report_error(&out->here, "backup", NULL, &err);
	case REMUS_FRAME_REFUSE:
		return refused(frame, &out->here);
	default:
		return remus_report_fatal(
			&out->here, -EPROTO, "backup", "install the same release of remus on both hosts",
			"the backup answers a check with %s", remus_frame_name(frame->header.type));
	}
}

static void await_answer(struct remus_link *link, struct remus_check_result *out)
{
	uint64_t end = remus_now_us() + ANSWER_WAIT_US, now;
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_frame frame = {0};
	int rc;

	while ((rc = remus_link_next(link, &frame, &err)) == 0 && (now = remus_now_us()) < end) {
		struct pollfd pfd = {.fd = remus_link_event_fd(link), .events = POLLIN};
		poll(&pfd, 1, (int)((end - now) / 1000) + 1);
	}
	if (rc == 0)
		remus_report_fatal(&out->here, -ETIMEDOUT, "backup", "see its log",
				   "the backup lives but did not answer within %u s",
				   ANSWER_WAIT_US / 1000000u);
	else if (rc < 0)
		remus_report_error(&out->here, "backup", "see its log", &err);
	else
		out->answered = take_answer(&frame, out) == 0;
	if (rc > 0)
		free(frame.payload);
}

static void ask_backup(const struct remus_check_config *c, const struct remus_domain_view *view, bool keyed,
		       struct remus_check_result *out)
{
	const struct remus_link_config config = {.heartbeat_ms = BEAT_MS, .dead_ms = DEAD_MS};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_link *link;

	step(c, "connecting to the backup");
	if (remus_link_connect(c->host, c->port, &config, &link, &err) < 0) {
		remus_report_error(&out->here, "backup", NULL, &err);
		return;
	}
	step(c, "measuring the clocks");
	sample_clocks(link);
	step(c, "the backup's answer");
	if (send_hello(c, view, keyed, link, &err) < 0)
		remus_report_error(&out->here, "backup", NULL, &err);
	else
		await_answer(link, out);
	if (out->answered)
		note_clocks(link, out);
	remus_link_close(link);
}

static void compare_releases(struct remus_check_result *out)
{
	if (strcmp(out->here.release, out->there.release))
		remus_report_warn(&out->here, "remus", "install the same release on both hosts",
				  "this host runs remus %s, the backup %s", out->here.release,
				  out->there.release);
}

void remus_check_here(const struct remus_check_config *c, struct remus_domain_view *view,
		      struct remus_check_result *out)
{
	step(c, "the guest");
	memset(view, 0, sizeof *view);
	remus_host_check(&out->here);
	c->ops->check(c->locator, &c->domain, &c->held, view, &out->here);
	if (view->description)
		check_egress(c, view, &out->here);
}

void remus_check_there(const struct remus_check_config *c, const struct remus_domain_view *view,
		       struct remus_check_result *out)
{
	step(c, "the arbiter");
	struct remus_arbiter *arbiter = open_key(c, &out->here);
	ask_backup(c, view, arbiter != NULL, out);
	step(c, "the arbiter");
	close_key(c, arbiter, &out->here);
	if (out->answered)
		compare_releases(out);
}
