/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A HELLO that asks for a check: what PREPARE would refuse, and what would only show at a failover, all of it.
 * The same functions as PREPARE's, short of making anything: no standby, no claim, no record of the session.
 */
#include "backup.h"

#include <stdio.h>
#include <string.h>

#include "remus/host.h"
#include "remus/log.h"
#include "remus/util.h"

static void check_admission(struct backup *b, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;

	if (b->up->admit(b->up->context, &b->hello, &err) < 0)
		remus_report_error(report, "session", "see `remusctl list` there; another --name may do",
				   &err);
}

/* The primary made a key for this check and retires it afterwards. Without one it told its operator why. */
static void check_arbiter(struct backup *b, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	const char *uri = backup_arbiter_uri(b);

	if (!b->hello.arbiter[0]) {
		remus_report_warn(report, "arbiter", "check again once the primary reaches its arbiter",
				  "whether both hosts reach the same arbiter can't be told");
		return;
	}
	if (backup_open_arbiter(b, &err) < 0)
		remus_report_error(report, "arbiter", "both hosts must reach the same one", &err);
	else if (!strcmp(b->arbiter->ops->scheme, "manual"))
		remus_report_ok(report, "arbiter", "the arbiter is manual");
	else
		remus_report_ok(report, "arbiter", "arbiter %.400s is the primary's, and can be written",
				uri);
	if (b->arbiter)
		b->arbiter->ops->close(b->arbiter);
	b->arbiter = NULL;
}

static void check_guest(struct backup *b, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	const char *uri[REMUS_NICS_MAX];
	struct remus_nic nic[REMUS_NICS_MAX];
	const struct remus_standby_ops *ops;
	REMUS_AUTO_FREE char *list = strdup(b->hello.egress);
	int nics = 0;

	if (backup_find_backend(b, &ops, &err) < 0) {
		remus_report_error(report, "backend", "install the same build of remus on both hosts", &err);
		return;
	}
	if (!b->hello.description[0] || !list)
		return; /* the primary could not tell what the guest is, and said so to its operator */
	struct remus_standby_config config = {
		.run_dir = b->up->standby_dir(b->up->context),
		.name = b->hello.domain,
	};
	ops->check(b->hello.description, &config, nic, &nics, report);
	remus_guest_check_nics(nic, nics, uri, remus_egress_split(list, uri, REMUS_NICS_MAX),
			       b->config->hold_bytes, report);
}

void backup_check(struct backup *b)
{
	struct remus_report *report = &b->report;

	memset(report, 0, sizeof *report);
	remus_info("%s asks whether this host could stand by for %s", remus_link_peer(b->link),
		   b->hello.domain);
	remus_host_check(report);
	check_admission(b, report);
	check_arbiter(b, report);
	check_guest(b, report);
}
