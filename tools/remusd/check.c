/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child that checks whether a guest could be protected, and tells the daemon each finding. For a guest whose
 * network is forwarded the relay does it, since a QEMU talks to one at a time: frames pass meanwhile, by the
 * buffers' own threads.
 */
#include "remusd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "remus/util.h"

/* Texts of this host hold what file names hold: where that isn't UTF-8 it is no JSON either. */
static json_t *text(const char *from)
{
	json_t *string = json_string(from);
	char copy[REMUS_FINDING_WHAT_MAX];

	if (string)
		return string;
	snprintf(copy, sizeof copy, "%s", from);
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return json_string(copy);
}

static void tell(struct child *child, const char *host, const struct remus_report *report)
{
	for (uint32_t i = 0; i < report->count; i++) {
		const struct remus_finding *f = &report->list[i];
		json_t *finding = json_pack("{s:s, s:s, s:o, s:o, s:o}", "host", host, "severity",
					    remus_severity_name(f->severity), "subject", text(f->subject),
					    "what", text(f->what), "remedy", text(f->remedy));
		message_send(child->fd, json_pack("{s:s, s:i, s:o}", "t", "finding", "check",
						  (int)child->check.id, "finding", finding));
	}
	if (report->lost)
		message_send(child->fd, json_pack("{s:s, s:i, s:{s:s, s:s, s:s, s:s, s:s}}", "t", "finding",
						  "check", (int)child->check.id, "finding", "host", host,
						  "severity", "warning", "subject", "check", "what",
						  "there were more findings than can be shown", "remedy",
						  "mend what is shown, then check again"));
}

static void tell_step(void *context, const char *what)
{
	struct child *child = context;

	message_send(child->fd, json_pack("{s:s, s:i, s:s}", "t", "checking", "check", (int)child->check.id,
					  "step", what));
}

static int prepare(struct child *child, struct remus_check_config *c, char **host, char **port,
		   struct remus_error *err)
{
	const json_t *request = child->check.request;

	c->name = wanted_text(request, "name", child->session->name);
	c->key.generation = 1;
	memcpy(c->key.session, child->check.key, sizeof c->key.session);
	c->arbiter_uri = wanted_text(request, "arbiter", "");
	c->hold_bytes = wanted_number(request, "hold_mib", 0) << 20;
	c->domain.run_dir = child->dir;
	c->step = tell_step;
	c->context = child;
	int rc = wanted_backend(child->session->locator, &c->ops, &c->locator, err);
	if (rc == 0)
		rc = remus_track_method_parse(wanted_text(request, "tracking", "auto"), &c->domain.tracking,
					      err);
	if (rc == 0)
		rc = remus_link_parse_address(wanted_text(request, "to", ""), host, port, err);
	c->host = *host;
	c->port = *port;
	return rc;
}

void check_for_child(struct child *child, const struct remus_guest *held)
{
	REMUS_AUTO_FREE char *host = NULL, *port = NULL;
	REMUS_AUTO_FREE struct remus_check_result *result = calloc(1, sizeof *result);
	struct remus_error err = REMUS_ERROR_INIT;
	const char *egress[REMUS_NICS_MAX];
	char standby_egress[WANTED_EGRESS_MAX];
	struct remus_check_config config = {0};

	config.egress = egress;
	config.egresses = wanted_egress(child->check.request, egress);
	wanted_standby_egress(child->check.request, standby_egress);
	config.standby_egress = standby_egress;
	if (held)
		config.held = (struct remus_held){.domain = held->domain, .standby = held->standby};
	if (!result)
		return;
	if (prepare(child, &config, &host, &port, &err) < 0)
		remus_report_error(&result->here, "guest", NULL, &err);
	else
		remus_check_run(&config, result);
	tell(child, "primary", &result->here);
	if (result->answered)
		tell(child, "backup", &result->there);
	json_t *clock = result->clock_known
				? json_pack("{s:I, s:I}", "offset_us", (json_int_t)result->clock_offset_us,
					    "error_us", (json_int_t)result->clock_error_us)
				: json_null();
	message_send(child->fd, json_pack("{s:s, s:i, s:o}", "t", "checked", "check", (int)child->check.id,
					  "clock", clock));
	json_decref(child->check.request);
	child->check.request = NULL;
}

int check_main(struct child *child)
{
	check_for_child(child, NULL);
	return EXIT_SUCCESS;
}
