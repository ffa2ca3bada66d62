/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two machines share: appending actions. Private to this folder. */
#ifndef REMUS_PROTOCOL_MACHINE_H
#define REMUS_PROTOCOL_MACHINE_H

#include "remus/protocol.h"

/* Append an action of @type and return it for its members. Overflow is a bug: the list is sized for the
 * longest step, which the unit tests walk. */
struct remus_action *remus_do(struct remus_actions *out, enum remus_action_type type);

void remus_do_epoch(struct remus_actions *out, enum remus_action_type type, uint64_t epoch);
void remus_do_timer(struct remus_actions *out, enum remus_timer timer, uint64_t at_us);
void remus_do_cancel(struct remus_actions *out, enum remus_timer timer);
struct remus_action *remus_do_send(struct remus_actions *out, enum remus_frame_type frame, uint64_t epoch);
void remus_do_text(struct remus_actions *out, enum remus_action_type type, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void remus_do_event(struct remus_actions *out, enum remus_level level, const char *kind, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void remus_do_refuse(struct remus_actions *out, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* An event's text, never NULL. */
static inline const char *remus_text(const struct remus_event *event)
{
	return event->text ? event->text : "";
}

#endif
