/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building action lists, and the names of events and actions. Pure. */
#include "machine.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct remus_action *remus_do(struct remus_actions *out, enum remus_action_type type)
{
	assert(out->count < REMUS_ACTIONS_MAX);
	struct remus_action *action = &out->list[out->count++];

	memset(action, 0, offsetof(struct remus_action, text) + 1);
	action->type = type;
	return action;
}

void remus_do_epoch(struct remus_actions *out, enum remus_action_type type, uint64_t epoch)
{
	remus_do(out, type)->epoch = epoch;
}

void remus_do_timer(struct remus_actions *out, enum remus_timer timer, uint64_t at_us)
{
	struct remus_action *action = remus_do(out, REMUS_DO_SET_TIMER);

	action->timer = timer;
	action->at_us = at_us;
}

void remus_do_cancel(struct remus_actions *out, enum remus_timer timer)
{
	remus_do(out, REMUS_DO_CANCEL_TIMER)->timer = timer;
}

struct remus_action *remus_do_send(struct remus_actions *out, enum remus_frame_type frame, uint64_t epoch)
{
	struct remus_action *action = remus_do(out, REMUS_DO_SEND);

	action->frame = (uint16_t)frame;
	action->epoch = epoch;
	return action;
}

void remus_do_text(struct remus_actions *out, enum remus_action_type type, const char *fmt, ...)
{
	struct remus_action *action = remus_do(out, type);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(action->text, sizeof action->text, fmt, ap);
	va_end(ap);
}

void remus_do_event(struct remus_actions *out, enum remus_level level, const char *kind, const char *fmt, ...)
{
	struct remus_action *action = remus_do(out, REMUS_DO_EVENT);
	va_list ap;

	action->level = level;
	action->kind = kind;
	va_start(ap, fmt);
	vsnprintf(action->text, sizeof action->text, fmt, ap);
	va_end(ap);
}

void remus_do_refuse(struct remus_actions *out, int code, const char *fmt, ...)
{
	struct remus_action *action = remus_do_send(out, REMUS_FRAME_REFUSE, 0);
	va_list ap;

	action->value = (uint64_t)(code < 0 ? -code : code);
	va_start(ap, fmt);
	vsnprintf(action->text, sizeof action->text, fmt, ap);
	va_end(ap);
}

const char *remus_event_name(enum remus_event_type type)
{
	static const char *const names[REMUS_EVENT_TYPES] = {
		[REMUS_EV_START] = "EV_START",
		[REMUS_EV_LINK_LOST] = "EV_LINK_LOST",
		[REMUS_EV_FRAME] = "EV_FRAME",
		[REMUS_EV_TIMER] = "EV_TIMER",
		[REMUS_EV_CLAIM] = "EV_CLAIM",
		[REMUS_EV_FAILED] = "EV_FAILED",
		[REMUS_EV_CMD_UNPROTECT] = "EV_CMD_UNPROTECT",
		[REMUS_EV_CMD_FAILOVER] = "EV_CMD_FAILOVER",
		[REMUS_EV_CMD_DRILL] = "EV_CMD_DRILL",
		[REMUS_EV_CMD_FORCE] = "EV_CMD_FORCE",
		[REMUS_EV_RECOVER] = "EV_RECOVER",
		[REMUS_EV_LINK_UP] = "EV_LINK_UP",
		[REMUS_EV_ROUND_DONE] = "EV_ROUND_DONE",
		[REMUS_EV_SENT] = "EV_SENT",
		[REMUS_EV_DOMAIN_SHUTDOWN] = "EV_DOMAIN_SHUTDOWN",
		[REMUS_EV_DOMAIN_LOST] = "EV_DOMAIN_LOST",
		[REMUS_EV_HELLO] = "EV_HELLO",
		[REMUS_EV_STANDBY_READY] = "EV_STANDBY_READY",
		[REMUS_EV_EPOCH_VERIFIED] = "EV_EPOCH_VERIFIED",
		[REMUS_EV_EPOCH_BAD] = "EV_EPOCH_BAD",
		[REMUS_EV_ACTIVATED] = "EV_ACTIVATED",
		[REMUS_EV_RENEWED] = "EV_RENEWED",
		[REMUS_EV_STANDBY_ENDED] = "EV_STANDBY_ENDED",
	};
	return type < REMUS_EVENT_TYPES && names[type] ? names[type] : "EV_?";
}

const char *remus_action_name(enum remus_action_type type)
{
	static const char *const names[REMUS_ACTION_TYPES] = {
		[REMUS_DO_REPORT] = "DO_REPORT",
		[REMUS_DO_EVENT] = "DO_EVENT",
		[REMUS_DO_SET_TIMER] = "DO_SET_TIMER",
		[REMUS_DO_CANCEL_TIMER] = "DO_CANCEL_TIMER",
		[REMUS_DO_SEND] = "DO_SEND",
		[REMUS_DO_BIND] = "DO_BIND",
		[REMUS_DO_CLOSE_LINK] = "DO_CLOSE_LINK",
		[REMUS_DO_CLAIM] = "DO_CLAIM",
		[REMUS_DO_PASS] = "DO_PASS",
		[REMUS_DO_ABORT_EPOCH] = "DO_ABORT_EPOCH",
		[REMUS_DO_END] = "DO_END",
		[REMUS_DO_CONNECT] = "DO_CONNECT",
		[REMUS_DO_TRACK_START] = "DO_TRACK_START",
		[REMUS_DO_TRACK_STOP] = "DO_TRACK_STOP",
		[REMUS_DO_SYNC_ROUND] = "DO_SYNC_ROUND",
		[REMUS_DO_PAUSE] = "DO_PAUSE",
		[REMUS_DO_CAPTURE] = "DO_CAPTURE",
		[REMUS_DO_HOLD] = "DO_HOLD",
		[REMUS_DO_SEAL] = "DO_SEAL",
		[REMUS_DO_RESUME] = "DO_RESUME",
		[REMUS_DO_SEND_EPOCH] = "DO_SEND_EPOCH",
		[REMUS_DO_RELEASE] = "DO_RELEASE",
		[REMUS_DO_DISCARD] = "DO_DISCARD",
		[REMUS_DO_DESTROY] = "DO_DESTROY",
		[REMUS_DO_RETIRE] = "DO_RETIRE",
		[REMUS_DO_PREPARE] = "DO_PREPARE",
		[REMUS_DO_CHECK] = "DO_CHECK",
		[REMUS_DO_APPLY_SYNC] = "DO_APPLY_SYNC",
		[REMUS_DO_STAGE] = "DO_STAGE",
		[REMUS_DO_VERIFY] = "DO_VERIFY",
		[REMUS_DO_APPLY] = "DO_APPLY",
		[REMUS_DO_STIR] = "DO_STIR",
		[REMUS_DO_ACTIVATE] = "DO_ACTIVATE",
		[REMUS_DO_RENEW] = "DO_RENEW",
		[REMUS_DO_ANNOUNCE] = "DO_ANNOUNCE",
		[REMUS_DO_DROP] = "DO_DROP",
		[REMUS_DO_DRILL] = "DO_DRILL",
	};
	return type < REMUS_ACTION_TYPES && names[type] ? names[type] : "DO_?";
}
