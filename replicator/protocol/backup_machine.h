/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between backup_machine.c (the standby) and backup_takeover.c (what follows it). Private to this folder. */
#ifndef REMUS_BACKUP_MACHINE_H
#define REMUS_BACKUP_MACHINE_H

#include "machine.h"

/* backup_machine.c */
void backup_enter(struct remus_backup *m, enum remus_backup_state state, struct remus_actions *out,
		  const char *reason);
void backup_close_link(struct remus_backup *m, struct remus_actions *out);
void backup_forget_staged(struct remus_backup *m, struct remus_actions *out);
void backup_give_up(struct remus_backup *m, struct remus_actions *out, enum remus_level level,
		    const char *why);
void backup_refuse_and_drop(struct remus_backup *m, struct remus_actions *out, int code, const char *why);
void backup_ask_arbiter(struct remus_backup *m, struct remus_actions *out);
void backup_protocol_error(struct remus_backup *m, struct remus_actions *out, const char *what);
/* backup_takeover.c */
/* HANDOVER, or DOMAIN_LOST when @primary_gone. */
void backup_take_over(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out,
		      bool primary_gone);
void backup_activate(struct remus_backup *m, struct remus_actions *out, const char *why);
void backup_on_claim(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out);
void backup_on_activated(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out);
void backup_on_renewed(struct remus_backup *m, const struct remus_event *ev, struct remus_actions *out);
void backup_stop_waiting(struct remus_backup *m, struct remus_actions *out);
void backup_renewal_is_late(struct remus_backup *m, struct remus_actions *out);
void backup_activation_failed(struct remus_backup *m, const struct remus_event *ev,
			      struct remus_actions *out);

#endif
