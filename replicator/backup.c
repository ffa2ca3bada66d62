/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's shell: carries out what protocol/backup_machine.c decides and tells it what happened. It owns
 * the link, the standby, the staging, the timers and the claim worker, and holds no decision of its own.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remus/fault.h"
#include "remus/log.h"
#include "remus/util.h"
#include "agent.h"
#include "backup.h"
#include "drill.h"

static void step(void *machine, const struct remus_event *event, struct remus_actions *out)
{
	remus_backup_step(machine, event, out);
}

/* ---- sources of events ---- */

static void on_hello(struct backup *b, const struct remus_frame *frame)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_event ev = {.type = REMUS_EV_HELLO, .hello = &b->hello};

	if (b->hello.generation) { /* the machine refuses a second one */
		shell_feed(&b->feed, &ev);
		return;
	}
	int rc = REMUS_FAULT(backup_hello, &err);
	if (rc == 0)
		rc = remus_hello_decode(frame->payload, frame->header.length, &b->hello, &err);
	if (rc < 0) {
		ev = (struct remus_event){
			.type = REMUS_EV_FAILED,
			.action = REMUS_DO_PREPARE,
			.code = rc,
			.text = err.message,
		};
	} else {
		memcpy(b->key.session, b->hello.session, sizeof b->key.session);
		b->key.generation = b->hello.generation;
		remus_link_timing(b->link, b->hello.heartbeat_ms, remus_link_setup_dead_ms(b->hello.dead_ms));
		remus_log_identity(b->hello.domain);
	}
	shell_feed(&b->feed, &ev);
}

static void on_lost(struct backup *b, const struct remus_error *err)
{
	struct remus_link_stats stats;
	struct remus_link *gone = b->link;
	struct remus_event ev = {.type = REMUS_EV_LINK_LOST, .text = err->message};

	backup_clock_link(b);

	remus_link_stats(b->link, &stats);
	if (!b->lost_us) {
		b->lost_us = remus_now_us();
		b->last_heard_us = b->lost_us - stats.silent_us;
		b->status.detect_us = stats.silent_us;
	}
	shell_feed(&b->feed, &ev);
	if (b->link == gone) {
		remus_link_close(b->link);
		b->link = NULL;
	}
}

static void poll_link(struct backup *b)
{
	for (int i = 0; b->link && !b->ended && i < 64; i++) {
		struct remus_frame frame = {0};
		struct remus_error err = REMUS_ERROR_INIT;
		int rc = remus_link_next(b->link, &frame, &err);
		if (rc == 0)
			return;
		if (rc < 0) {
			on_lost(b, &err);
			return;
		}
		b->frame = &frame;
		if (frame.header.type == REMUS_FRAME_HELLO) {
			on_hello(b, &frame);
		} else {
			struct remus_event ev = {
				.type = REMUS_EV_FRAME,
				.header = &frame.header,
				.payload = frame.payload,
			};
			shell_feed(&b->feed, &ev);
		}
		b->frame = NULL;
		free(frame.payload);
	}
}

static void poll_commands(struct backup *b)
{
	static const enum remus_event_type event_of[] = {
		[REMUS_COMMAND_UNPROTECT] = REMUS_EV_CMD_UNPROTECT,
		[REMUS_COMMAND_FAILOVER] = REMUS_EV_CMD_FAILOVER,
		[REMUS_COMMAND_DRILL] = REMUS_EV_CMD_DRILL,
		[REMUS_COMMAND_FORCE] = REMUS_EV_CMD_FORCE,
		[REMUS_COMMAND_QUIT] = REMUS_EV_CMD_UNPROTECT,
	};
	enum remus_command command = b->up->next_command(b->up->context);
	struct remus_event ev = {0};

	if (command == REMUS_COMMAND_NONE || command == REMUS_COMMAND_CHECK) /* that is for relays */
		return;
	ev.type = event_of[command];
	shell_feed(&b->feed, &ev);
}

static void poll_claim(struct backup *b)
{
	struct remus_error err = REMUS_ERROR_INIT;
	enum remus_claim claim;

	if (!b->claimer || !shell_claimer_answer(b->claimer, remus_now_us(), &claim, &err))
		return;
	b->claimed_us = remus_now_us();
	b->status.claim_us = b->claimed_us - b->lost_us;
	struct remus_event ev = {.type = REMUS_EV_CLAIM, .claim = claim, .text = err.message};
	shell_feed(&b->feed, &ev);
}

static void poll_standby(struct backup *b)
{
	char why[REMUS_TEXT_MAX] = "";

	if (!b->guest->standby)
		return;
	enum remus_domain_event what = b->guest->standby->ops->next_event(b->guest->standby, why);
	if (what == REMUS_DOMAIN_NONE)
		return;
	struct remus_event ev = {
		.type = REMUS_EV_STANDBY_ENDED,
		.clean = what == REMUS_DOMAIN_SHUTDOWN,
		.text = why,
	};
	shell_feed(&b->feed, &ev);
}

/* The answer of the activated guest's agent. What else it says is for the operator. */
static void poll_agent(struct backup *b)
{
	char text[REMUS_REASON_MAX];
	enum shell_agent_news news = shell_agent_turn(b->guest->agent, text);

	if (news != SHELL_AGENT_RENEWED && news != SHELL_AGENT_PARTLY) {
		shell_agent_tell(b->up, news, text);
		return;
	}
	struct remus_event ev = {
		.type = REMUS_EV_RENEWED, .clean = news == SHELL_AGENT_RENEWED, .text = text};
	shell_feed(&b->feed, &ev);
}

static void loop(struct backup *b)
{
	while (!b->ended) {
		uint64_t now = remus_now_us();
		int due;

		while ((due = shell_timers_due(&b->timers, now)) >= 0) {
			struct remus_event ev = {.type = REMUS_EV_TIMER, .timer = (enum remus_timer)due};
			shell_feed(&b->feed, &ev);
		}
		poll_link(b);
		poll_claim(b);
		poll_standby(b);
		poll_commands(b);
		backup_poll_drill(b);
		poll_agent(b);
		if (b->ended)
			break;
		now = remus_now_us();
		if (now >= b->next_status_us)
			backup_publish(b);

		struct remus_standby *standby = b->guest->standby;
		struct pollfd fds[6] = {
			{.fd = b->link ? remus_link_event_fd(b->link) : -1, .events = POLLIN},
			{.fd = standby ? standby->ops->event_fd(standby) : -1, .events = POLLIN},
			{.fd = b->up->command_fd, .events = POLLIN},
			{.fd = b->claimer ? shell_claimer_fd(b->claimer) : -1, .events = POLLIN},
			{.fd = b->drill ? shell_drill_fd(b->drill) : -1, .events = POLLIN},
			{.fd = shell_agent_fd(b->guest->agent), .events = POLLIN},
		};
		poll(fds, 6, shell_agent_wait(b->guest->agent, shell_timers_wait(&b->timers, now, 100)));
	}
}

int remus_backup_run(struct remus_transport *transport, const struct remus_receive_config *config,
		     const struct remus_supervisor *supervisor, struct remus_guest *guest,
		     struct remus_outcome *out, struct remus_error *err)
{
	struct backup *b = calloc(1, sizeof *b);
	struct remus_clock_reading began;

	if (!b) {
		transport->ops->close(transport);
		return remus_fail(err, -ENOMEM, "backup: no memory");
	}
	b->guest = guest;
	b->config = config;
	b->up = supervisor;
	b->trace.fd = -1;
	remus_clock_read(&began);
	b->clock.began_ns = began.raw_ns;
	remus_backup_init(&b->machine, &config->machine);
	b->feed = (struct shell_feed){
		.machine = &b->machine,
		.shell = b,
		.step = step,
		.carry_out = backup_carry_out,
	};
	struct remus_link_config setup = config->link; /* until the hello says what the session's are */
	setup.dead_ms = remus_link_setup_dead_ms(setup.dead_ms);
	int rc = remus_link_start(transport, &setup, &b->link, err);
	if (rc == 0) {
		struct remus_event start = {.type = REMUS_EV_START};
		shell_feed(&b->feed, &start);
		loop(b);
		backup_publish(b);
		memset(out, 0, sizeof *out);
		out->guest_here = b->machine.state == REMUS_B_ACTIVE;
		out->armed = b->machine.committed > 0;
		snprintf(out->word, sizeof out->word, "%s", remus_backup_word(&b->machine));
		snprintf(out->reason, sizeof out->reason, "%s", b->end_text);
	}
	if (!b->ended || b->machine.state != REMUS_B_ACTIVE)
		backup_drop(b);
	staging_clear(&b->staging);
	backup_end_drill(b);
	remus_entropy_close(b->entropy);
	if (b->link)
		remus_link_close(b->link);
	if (shell_claimer_destroy(b->claimer) && b->arbiter)
		b->arbiter->ops->close(b->arbiter);
	remus_hello_clear(&b->hello);
	shell_clock_end(&b->watch);
	shell_trace_close(&b->trace);
	free(b);
	return rc;
}
