/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's shell: carries out what protocol/primary_machine.c decides and tells it what happened. It owns
 * the link, the capture, the timers and the claim worker, and holds no decision of its own.
 *
 * One thread runs the loop. The pause (PAUSE..RESUME) and the sending of an epoch are done in line: while the
 * guest runs on, its epoch is encoded (with the encoder's workers) and sent; heartbeats have a thread of their
 * own in the link, egress one in netbuf. Nothing but a full epoch delays the next event.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remus/util.h"
#include "agent.h"
#include "primary.h"

static void step(void *machine, const struct remus_event *event, struct remus_actions *out)
{
	remus_primary_step(machine, event, out);
}

/* ---- sources of events ---- */

static void poll_link(struct primary *p)
{
	for (int i = 0; p->link && i < 16; i++) {
		struct remus_frame frame = {0};
		struct remus_error err = REMUS_ERROR_INIT;
		int rc = remus_link_next(p->link, &frame, &err);
		if (rc == 0)
			return;
		if (rc < 0) {
			struct remus_link *gone = p->link;
			shell_feed_simple(&p->feed, REMUS_EV_LINK_LOST, err.message);
			if (p->link == gone) { /* the machine had given it up already */
				remus_link_close(p->link);
				p->link = NULL;
			}
			return;
		}
		if (frame.header.type == REMUS_FRAME_ACK)
			shell_trace_epoch(&p->trace, "ack", frame.header.epoch);
		struct remus_event ev = {
			.type = REMUS_EV_FRAME,
			.header = &frame.header,
			.payload = frame.payload,
		};
		shell_feed(&p->feed, &ev);
		free(frame.payload);
	}
}

static void poll_commands(struct primary *p)
{
	switch (p->up->next_command(p->up->context)) {
	case REMUS_COMMAND_NONE:
	case REMUS_COMMAND_CHECK: /* for relays */
	case REMUS_COMMAND_DRILL: /* for backups */
		return;
	case REMUS_COMMAND_QUIT:
		p->quit_wanted = true;
		shell_feed_simple(&p->feed, REMUS_EV_CMD_UNPROTECT, "the daemon stops");
		return;
	case REMUS_COMMAND_UNPROTECT:
		shell_feed_simple(&p->feed, REMUS_EV_CMD_UNPROTECT, NULL);
		return;
	case REMUS_COMMAND_FAILOVER:
		shell_feed_simple(&p->feed, REMUS_EV_CMD_FAILOVER, NULL);
		return;
	case REMUS_COMMAND_FORCE:
		shell_feed_simple(&p->feed, REMUS_EV_CMD_FORCE, NULL);
		return;
	}
}

static void poll_domain(struct primary *p)
{
	char why[REMUS_TEXT_MAX] = "";

	switch (p->guest->domain->ops->next_event(p->guest->domain, why)) {
	case REMUS_DOMAIN_SHUTDOWN:
		shell_feed_simple(&p->feed, REMUS_EV_DOMAIN_SHUTDOWN, why);
		return;
	case REMUS_DOMAIN_LOST:
		shell_feed_simple(&p->feed, REMUS_EV_DOMAIN_LOST, why);
		return;
	case REMUS_DOMAIN_NONE:
		return;
	}
}

static void poll_claim(struct primary *p)
{
	struct remus_error err = REMUS_ERROR_INIT;
	enum remus_claim claim;

	if (!shell_claimer_answer(p->claimer, remus_now_us(), &claim, &err))
		return;
	struct remus_event ev = {.type = REMUS_EV_CLAIM, .claim = claim, .text = err.message};
	shell_feed(&p->feed, &ev);
}

/* Between epochs: whether somebody is there is no business of a pause. */
static void poll_agent(struct primary *p)
{
	char text[REMUS_REASON_MAX];

	shell_agent_tell(p->up, shell_agent_turn(p->guest->agent, text), text);
}

static void sync_piece(struct primary *p)
{
	struct remus_error err = REMUS_ERROR_INIT;
	uint64_t dirty = 0;
	int rc = capture_round_step(p->capture, p->link, &p->status.sync_sent, &dirty, &err);

	if (rc > 0)
		return;
	p->syncing = false;
	struct remus_event ev = {
		.type = REMUS_EV_ROUND_DONE,
		.pages = dirty,
		.round = p->round,
	};
	if (rc == -EPIPE) {
		return; /* LINK_LOST is on its way, with the reason */
	} else if (rc < 0) {
		ev.type = REMUS_EV_FAILED;
		ev.action = REMUS_DO_SYNC_ROUND;
		ev.code = rc;
		ev.text = err.message;
	}
	shell_feed(&p->feed, &ev);
}

/*
 * When the next pause will be due: the epoch timer says so, which is set when the epoch before is acknowledged.
 * Until then, when it usually would be: with a short interval the ack is what the pause waits for.
 */
static uint64_t pause_due(const struct primary *p)
{
	const struct remus_primary *m = &p->machine;
	uint64_t due = p->timers.at_us[REMUS_TIMER_EPOCH], interval = m->config.interval_us;

	if (due || m->state != REMUS_P_IN_FLIGHT || !m->sent || !p->ack_usual_us)
		return due;
	return m->resumed_us + (p->ack_usual_us > interval ? p->ack_usual_us : interval);
}

/*
 * A stop that takes the hypervisor a while is asked for ahead of the pause, so that the guest's way there
 * overlaps with its running. Returns when to be here for that, 0 = not before the timers.
 */
static uint64_t ask_ahead(struct primary *p, uint64_t now)
{
	struct remus_domain *d = p->guest->domain;
	uint64_t due = d->ops->prepare_pause ? pause_due(p) : 0;

	if (!due || due == p->asked_for)
		return 0;
	uint64_t lead = d->ops->pause_lead(d);
	if (!lead)
		return 0;
	if (now + lead < due)
		return due - lead;
	if (!d->ops->prepare_pause(d))
		return now + 4000;
	p->asked_for = due;
	return 0;
}

static void loop(struct primary *p)
{
	while (!p->ended) {
		uint64_t now = remus_now_us();
		int due;

		while ((due = shell_timers_due(&p->timers, now)) >= 0) {
			struct remus_event ev = {.type = REMUS_EV_TIMER, .timer = (enum remus_timer)due};
			shell_feed(&p->feed, &ev);
		}
		poll_link(p);
		poll_claim(p);
		poll_domain(p);
		poll_commands(p);
		if (p->ended)
			break;
		if (p->syncing && p->link)
			sync_piece(p);
		poll_agent(p);
		now = remus_now_us();
		if (now >= p->next_status_us)
			primary_publish(p);

		struct pollfd fds[5] = {
			{.fd = p->link ? remus_link_event_fd(p->link) : -1, .events = POLLIN},
			{.fd = p->guest->domain->ops->event_fd(p->guest->domain), .events = POLLIN},
			{.fd = p->up->command_fd, .events = POLLIN},
			{.fd = shell_claimer_fd(p->claimer), .events = POLLIN},
			{.fd = shell_agent_fd(p->guest->agent), .events = POLLIN},
		};
		int wait = p->syncing ? 0 : shell_timers_wait(&p->timers, now, 100);
		wait = shell_agent_wait(p->guest->agent, wait);
		uint64_t ask = ask_ahead(p, now);
		if (ask && (ask - now) / 1000 < (uint64_t)wait)
			wait = (int)((ask - now) / 1000);
		poll(fds, 5, wait);
	}
}

/* False: a claim still hangs in the arbiter. */
static bool release_all(struct primary *p)
{
	if (p->link)
		remus_link_close(p->link);
	bool done = shell_claimer_destroy(p->claimer);
	capture_destroy(p->capture);
	shell_clock_end(&p->clock);
	shell_trace_close(&p->trace);
	return done;
}

int remus_primary_run(struct remus_guest *guest, const struct remus_protect_config *config,
		      const struct remus_supervisor *supervisor, struct remus_outcome *out,
		      struct remus_error *err)
{
	struct primary *p = calloc(1, sizeof *p);
	int rc;

	if (!p)
		return remus_fail(err, -ENOMEM, "primary: no memory");
	p->guest = guest;
	p->config = config;
	p->up = supervisor;
	p->trace.fd = -1;
	remus_primary_init(&p->machine, &config->machine);
	p->feed = (struct shell_feed){
		.machine = &p->machine,
		.shell = p,
		.step = step,
		.carry_out = primary_carry_out,
	};
	rc = capture_create(guest, config->cache_bytes, config->threads, &p->capture, err);
	if (rc == 0)
		p->capture->cap = config->staging_bytes;
	if (rc == 0)
		rc = shell_claimer_create(config->arbiter, &config->key, REMUS_HOLDER_PRIMARY, &p->claimer,
					  err);
	if (rc == 0)
		rc = shell_trace_open(&p->trace, config->trace_path, err);
	if (rc == 0) {
		p->capture->renew_wait_ms = config->renew_wait_ms;
		shell_agent_open(guest);
		shell_agent_probe(guest->agent);
		struct remus_event start = {
			.type = config->recover ? REMUS_EV_RECOVER : REMUS_EV_START,
			.epoch = config->recover_epoch,
			.text = "the engine died",
		};
		shell_feed(&p->feed, &start);
		loop(p);
		shell_agent_rest(guest->agent);
		primary_publish(p);
		memset(out, 0, sizeof *out);
		out->guest_here = !p->machine.guest_gone;
		out->armed = p->machine.armed;
		out->code = p->machine.code;
		snprintf(out->word, sizeof out->word, "%s", remus_primary_word(&p->machine));
		snprintf(out->reason, sizeof out->reason, "%s", p->end_text);
	}
	bool done = release_all(p);
	if (rc == 0)
		out->claim_hangs = !done;
	free(p);
	return rc;
}
