/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between primary_machine.c (epochs) and primary_ending.c (how sessions end). Private to this folder. */
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
