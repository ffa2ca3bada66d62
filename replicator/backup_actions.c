/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the backup's machine wants done, one function per kind of action, and the figures that come of it. Nothing
 * here decides: a failure goes back to the machine as an event.
 */
#include "agent.h"
#include "backup.h"
#include "drill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remus/log.h"
#include "remus/pages.h"
#include "remus/util.h"

#define STATUS_PERIOD_US 200000u
#define ANNOUNCEMENTS	 5

static bool stands_by(const struct backup *b)
{
	return b->machine.state == REMUS_B_STANDBY && b->machine.linked;
}

void backup_publish(struct backup *b)
{
	struct remus_status *s = &b->status;
	uint64_t now = remus_now_us();

	s->role = "backup";
	s->state = remus_backup_word(&b->machine);
	s->protected_now = stands_by(b);
	s->guest_pages = b->hello.guest_pages;
	s->epochs_committed = b->machine.committed;
	s->lag_us = b->last_commit_us ? now - b->last_commit_us : 0;
	s->egress_state = b->guest->egress_state;
	remus_guest_egress_stats(b->guest, &s->egress);
	s->staging_bytes = staging_bytes(&b->staging);
	backup_clock_status(b);
	if (b->link) {
		remus_link_stats(b->link, &s->link);
		snprintf(s->peer, sizeof s->peer, "%s", remus_link_peer(b->link));
		snprintf(s->link_security, sizeof s->link_security, "%s", remus_link_security(b->link));
	}
	if (b->guest->standby) {
		s->guest_pid = b->guest->standby->ops->pid(b->guest->standby);
		snprintf(s->locator, sizeof s->locator, "%s",
			 b->guest->standby->ops->locator(b->guest->standby));
	}
	shell_agent_status(b->guest->agent, &s->agent);
	b->up->status(b->up->context, s);
	b->next_status_us = now + STATUS_PERIOD_US;
}

/* ---- actions ---- */

/* The standby's interfaces, closed: nothing passes before the claim is won, and what can't be opened shows at
 * protect time. Once more in activation, for a standby that was built anew has others. */
static int prepare_nics(struct backup *b, struct remus_error *err)
{
	struct remus_standby *standby = b->guest->standby;
	struct remus_nic nic[REMUS_NICS_MAX] = {0};
	const char *uri[REMUS_NICS_MAX];
	REMUS_AUTO_FREE char *list = strdup(b->hello.egress);

	if (!list)
		return remus_fail(err, -ENOMEM, "no memory");
	int nics = standby->ops->nics(standby, nic, REMUS_NICS_MAX, err);
	if (nics < 0)
		return nics;
	if (nics == b->nics && !memcmp(nic, b->nic, sizeof nic))
		return 0;
	remus_guest_close_nics(b->guest);
	memcpy(b->nic, nic, sizeof nic);
	b->nics = nics;
	return remus_guest_open_nics(b->guest, nic, nics, uri, remus_egress_split(list, uri, REMUS_NICS_MAX),
				     b->config->hold_bytes, err);
}

/* A program is run only at the word of this host's own operator. And it is no arbiter between two hosts of which one
 * asks somebody else: whoever that says yes to could be switched off afterwards. */
static int check_command(const char *own, const char *theirs, struct remus_error *err)
{
	bool ours_is = own && !strncmp(own, "command:", 8), theirs_is = !strncmp(theirs, "command:", 8);

	if (ours_is == theirs_is)
		return 0;
	return remus_fail(
		err, -EOPNOTSUPP,
		"one host's arbiter is a command and the other's isn't (here %s, there %.200s): start "
		"both remusds with --arbiter command:...",
		own ? own : "none is given", theirs);
}

int backup_find_backend(struct backup *b, const struct remus_standby_ops **out, struct remus_error *err)
{
	*out = remus_standby_backend(b->hello.backend);
	return *out ? 0
		    : remus_fail(err, -EPROTONOSUPPORT, "this remusd has no backend for %s guests",
				 b->hello.backend);
}

const char *backup_arbiter_uri(const struct backup *b)
{
	return b->config->arbiter_uri ? b->config->arbiter_uri : b->hello.arbiter;
}

int backup_open_arbiter(struct backup *b, struct remus_error *err)
{
	int rc = check_command(b->config->arbiter_uri, b->hello.arbiter, err);

	if (rc == 0)
		rc = remus_arbiter_create(backup_arbiter_uri(b), &b->arbiter, err);
	if (rc == 0)
		rc = b->arbiter->ops->check(b->arbiter, &b->key, err);
	if (rc < 0)
		remus_error_prefix(err, "arbiter %s as seen from the backup", backup_arbiter_uri(b));
	return rc;
}

/* Everything that would fail at failover shall fail now, while the guest is safe on the primary. */
static int prepare(struct backup *b, struct remus_error *err)
{
	const struct remus_standby_ops *ops;
	char path[4096];

	int rc = backup_find_backend(b, &ops, err);
	if (rc == 0)
		rc = b->up->admit(b->up->context, &b->hello, err);
	if (rc == 0)
		rc = backup_open_arbiter(b, err);
	if (rc == 0)
		rc = shell_claimer_create(b->arbiter, &b->key, REMUS_HOLDER_BACKUP, &b->claimer, err);
	if (rc < 0)
		return rc;
	struct remus_standby_config config = {
		.run_dir = b->up->standby_dir(b->up->context),
		.name = b->hello.domain,
	};
	rc = ops->create(b->hello.description, &config, &b->guest->standby, err);
	if (rc < 0)
		return rc;
	uint64_t pages = b->guest->standby->ops->pages(b->guest->standby);
	if (pages != b->hello.guest_pages)
		return remus_fail(err, -EPROTO, "the standby has %llu pages of memory, the guest %llu",
				  (unsigned long long)pages, (unsigned long long)b->hello.guest_pages);
	rc = prepare_nics(b, err);
	if (rc < 0)
		return rc;
	if (b->config->trace_dir) {
		snprintf(path, sizeof path, "%s/%s.backup.trace", b->config->trace_dir, b->hello.domain);
		rc = shell_trace_open(&b->trace, path, err);
		if (rc < 0)
			return rc;
	}
	rc = remus_entropy_open(config.run_dir, &b->entropy, err);
	if (rc < 0)
		return rc;
	shell_agent_open(b->guest);
	staging_init(&b->staging, pages, b->config->machine.staging_bytes);
	shell_raise(&b->feed, REMUS_EV_STANDBY_READY, NULL);
	return 0;
}

/* Whatever it was, to the primary's operator it is one thing: this host doesn't fit the guest. */
static int do_prepare(struct backup *b, struct remus_error *err)
{
	int rc = prepare(b, err);

	return rc == 0 || rc == -ETIMEDOUT || rc == -EPROTONOSUPPORT ? rc : -EOPNOTSUPP;
}

static void send_findings(struct backup *b)
{
	REMUS_AUTO_FREE uint8_t *payload = NULL;
	struct iovec part = {0};

	if (remus_findings_encode(&b->report, &payload, &part.iov_len, NULL) < 0)
		return; /* the link closes without an answer */
	part.iov_base = payload;
	remus_link_send(b->link, REMUS_FRAME_FINDINGS, REMUS_FRAME_MANDATORY, 0, &part, 1, NULL, NULL);
}

static void do_send(struct backup *b, const struct remus_action *a)
{
	uint8_t body[REMUS_SMALL_PAYLOAD_MAX];
	struct iovec part = {.iov_base = body, .iov_len = 0};

	if (!b->link)
		return;
	switch (a->frame) {
	case REMUS_FRAME_WELCOME: {
		struct remus_welcome welcome = {
			.features = a->value,
			.staging_bytes = b->staging.cap,
		};
		remus_welcome_encode(&welcome, body);
		part.iov_len = REMUS_WELCOME_SIZE;
		break;
	}
	case REMUS_FRAME_REFUSE:
		part.iov_len = remus_refuse_encode((uint32_t)a->value, a->text, body);
		break;
	case REMUS_FRAME_FINDINGS:
		send_findings(b);
		return;
	case REMUS_FRAME_ACK:
		remus_put_le64(body, a->value);
		part.iov_len = 8;
		shell_trace_epoch(&b->trace, "ack", a->epoch);
		break;
	default:
		break;
	}
	remus_link_send(b->link, a->frame, REMUS_FRAME_MANDATORY, a->epoch, &part, part.iov_len ? 1 : 0, NULL,
			NULL);
}

static int do_apply_sync(struct backup *b, struct remus_error *err)
{
	const struct remus_frame *f = b->frame;
	int64_t n = remus_pages_check(f->payload, f->header.length, b->hello.guest_pages, err);

	if (n >= 0)
		n = remus_pages_apply(f->payload, f->header.length, b->hello.guest_pages, staging_locate,
				      b->guest->standby, err);
	if (n < 0)
		return (int)n;
	b->status.sync_sent += (uint64_t)n;
	b->status.sync_total = b->hello.guest_pages;
	return 0;
}

static void do_verify(struct backup *b, uint64_t epoch)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_commit commit;
	int rc = remus_commit_decode(b->frame->payload, b->frame->header.length, &commit, &err);

	if (rc == 0)
		rc = staging_verify(&b->staging, epoch, &commit, &err);
	if (rc == 0)
		backup_clock_verified(b);
	struct remus_event *ev =
		shell_raise(&b->feed, rc == 0 ? REMUS_EV_EPOCH_VERIFIED : REMUS_EV_EPOCH_BAD, err.message);
	ev->epoch = epoch;
	if (rc == 0)
		ev->digest = commit.digest;
}

static int do_apply(struct backup *b, struct remus_error *err)
{
	struct remus_addresses addresses = b->staging.addresses;
	struct remus_agent_section agent = b->staging.agent;
	struct remus_clock_facts clock = b->staging.clock;
	uint64_t bytes = b->staging.page_bytes + b->staging.state_bytes, pages = b->staging.pages;
	int rc = staging_apply(&b->staging, b->guest->standby, err);

	if (rc < 0)
		return rc;
	b->guest->addresses = addresses;
	b->agent = agent;
	shell_agent_known(b->guest->agent, agent.version);
	backup_clock_applied(b, &clock);
	b->last_commit_us = remus_now_us();
	b->status.wire_bytes += bytes;
	b->status.raw_bytes += pages * REMUS_PAGE_SIZE;
	b->status.dirty_last = pages;
	return 0;
}

static int do_activate(struct backup *b, struct remus_error *err)
{
	backup_clock_set(b);
	if (b->drill) /* the guest needs the host's processors now */
		shell_drill_cancel(b->drill, "the guest itself was activated meanwhile");
	int rc = b->guest->standby->ops->activate(b->guest->standby, err);

	if (rc < 0)
		return rc;
	b->status.activate_us = remus_now_us() - b->claimed_us;
	backup_clock_activated(b);
	struct remus_error why = REMUS_ERROR_INIT;
	if (prepare_nics(b, &why) < 0) /* it runs and its frames pass: only announcements are missing */
		b->up->event(b->up->context, REMUS_LEVEL_WARNING, "failed", why.message);
	/* Where nobody is, RENEW says so at once and nothing waits. */
	shell_raise(&b->feed, REMUS_EV_ACTIVATED, NULL)->wait_us =
		(b->agent.version[0] ? b->agent.wait_ms : REMUS_DEFAULT_RENEW_WAIT_MS) * UINT64_C(1000);
	return 0;
}

void backup_drop(struct backup *b)
{
	struct remus_guest *g = b->guest;

	staging_clear(&b->staging);
	remus_guest_close_nics(g);
	b->nics = 0;
	shell_agent_close(g);
	if (g->standby) {
		g->standby->ops->destroy(g->standby);
		g->standby->ops->close(g->standby);
	}
	g->standby = NULL;
}

int backup_carry_out(void *shell, const struct remus_action *a, struct remus_error *err)
{
	struct backup *b = shell;

	switch (a->type) {
	case REMUS_DO_REPORT:
		snprintf(b->status.reason, sizeof b->status.reason, "%s", a->text);
		if (b->link && stands_by(b))
			remus_link_timing(b->link, b->hello.heartbeat_ms, b->hello.dead_ms);
		backup_publish(b);
		return 0;
	case REMUS_DO_EVENT:
		b->up->event(b->up->context, a->level, a->kind, a->text);
		return 0;
	case REMUS_DO_SET_TIMER:
		b->timers.at_us[a->timer] = a->at_us ? a->at_us : 1;
		return 0;
	case REMUS_DO_CANCEL_TIMER:
		b->timers.at_us[a->timer] = 0;
		return 0;
	case REMUS_DO_SEND:
		do_send(b, a);
		return 0;
	case REMUS_DO_BIND:
		remus_link_bind(b->link, b->key.session, b->key.generation);
		return 0;
	case REMUS_DO_CLOSE_LINK:
		backup_clock_link(b);
		if (b->link)
			remus_link_close(b->link);
		b->link = NULL;
		return 0;
	case REMUS_DO_CLAIM:
		if (!b->lost_us) { /* a hand-over: no silence to measure */
			b->lost_us = remus_now_us();
			b->last_heard_us = b->lost_us;
		}
		shell_claimer_ask(b->claimer, remus_now_us());
		return 0;
	case REMUS_DO_PREPARE:
		return do_prepare(b, err);
	case REMUS_DO_CHECK:
		backup_check(b);
		return 0;
	case REMUS_DO_APPLY_SYNC:
		return do_apply_sync(b, err);
	case REMUS_DO_STAGE:
		return staging_add(&b->staging, a->epoch, b->frame, err);
	case REMUS_DO_ABORT_EPOCH:
		staging_clear(&b->staging);
		return 0;
	case REMUS_DO_VERIFY:
		do_verify(b, a->epoch);
		return 0;
	case REMUS_DO_APPLY:
		return do_apply(b, err);
	case REMUS_DO_STIR:
		remus_entropy_stir(b->entropy, b->frame->payload, b->frame->header.length);
		explicit_bzero(b->frame->payload, b->frame->header.length);
		return 0;
	case REMUS_DO_ACTIVATE:
		return do_activate(b, err);
	case REMUS_DO_RENEW:
		backup_renew(b);
		return 0;
	case REMUS_DO_PASS:
		return remus_guest_pass(b->guest, err);
	case REMUS_DO_ANNOUNCE:
		/* Some get lost, and a new interface takes a moment to come up: the relay repeats them. */
		b->guest->announcements = ANNOUNCEMENTS;
		remus_guest_announce(b->guest, NULL);
		return 0;
	case REMUS_DO_DRILL:
		backup_drill(b, a->text);
		return 0;
	case REMUS_DO_DROP:
		backup_drop(b);
		return 0;
	case REMUS_DO_END:
		b->ended = true;
		snprintf(b->end_text, sizeof b->end_text, "%s", a->text);
		return 0;
	default:
		return remus_fail(err, -ENOSYS, "%s is not an action of a backup",
				  remus_action_name(a->type));
	}
}
