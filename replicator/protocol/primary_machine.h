/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between primary_machine.c (epochs), primary_failed.c (what could not be done), primary_overload.c (too much for the
 * link) and primary_ending.c (how sessions end). Private to this folder.
 */
#ifndef REMUS_PRIMARY_MACHINE_H
#define REMUS_PRIMARY_MACHINE_H

#include "machine.h"

bool primary_over(const struct remus_primary *m);
void primary_enter(struct remus_primary *m, enum remus_primary_state state, struct remus_actions *out,
		   const char *reason);
void primary_close_link(struct remus_primary *m, struct remus_actions *out);
void primary_let_go(struct remus_primary *m, struct remus_actions *out);
void primary_give_up(struct remus_primary *m, const char *why, struct remus_actions *out);
void primary_ask_arbiter(struct remus_primary *m, struct remus_actions *out);
void primary_link_is_lost(struct remus_primary *m, const char *why, struct remus_actions *out);
void primary_protocol_error(struct remus_primary *m, struct remus_actions *out, const char *what);
/* primary_machine.c: the backup holds the last epoch, and is to activate */
void primary_say_handover(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out);
/* primary_failed.c */
void primary_on_failed(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out);
void primary_on_retry(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out);
/* primary_overload.c */
void primary_send_epoch(struct remus_primary *m, struct remus_actions *out, bool paused);
void primary_turn_done(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out);
void primary_epoch_too_large(struct remus_primary *m, const struct remus_event *ev,
			     struct remus_actions *out);
void primary_not_acknowledged(struct remus_primary *m, const struct remus_event *ev,
			      struct remus_actions *out);
bool primary_brakes(const struct remus_primary *m);
void primary_brake_sent(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out);
void primary_brake_off(struct remus_primary *m, uint64_t now, struct remus_actions *out);
/* primary_ending.c */
void primary_send_end(struct remus_primary *m, enum remus_end_reason why, uint64_t now,
		      struct remus_actions *out, const char *reason);
void primary_send_domain_lost(struct remus_primary *m, uint64_t now, struct remus_actions *out,
			      const char *why);
void primary_destroy_ours(struct remus_primary *m, struct remus_actions *out, const char *kind,
			  const char *why);
void primary_go_on_alone(struct remus_primary *m, struct remus_actions *out, const char *why);
void primary_on_claim(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out);
void primary_on_guest_end(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out);
void primary_on_unprotect(struct remus_primary *m, const struct remus_event *ev, struct remus_actions *out);

#endif
