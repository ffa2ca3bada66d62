/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a process's events come from, in the order in which the shells ask: what a step raised, timers, the link, the
 * claim, the domain, the guest's agent, commands.
 */
#include "process.h"

#include <stdlib.h>
#include <string.h>
#include "world.h"

void proc_free_frame(struct proc *p)
{
	if (!p->frame)
		return;
	free(p->frame->frame.payload);
	free(p->frame);
	p->frame = NULL;
}

void proc_forget(struct proc *p)
{
	proc_free_frame(p);
	primary_forget(p);
	backup_forget(p);
}

static bool raised_event(struct proc *p, struct raised *out, struct remus_event *ev)
{
	if (!p->raisings)
		return false;
	*out = p->raised[0];
	p->raisings--;
	memmove(&p->raised[0], &p->raised[1], p->raisings * sizeof p->raised[0]);
	*ev = out->event;
	ev->text = out->text;
	return true;
}

static bool link_event(struct proc *p, struct remus_event *ev)
{
	if (!p->link)
		return false;
	p->frame = endpoint_take(p->link);
	if (p->frame) {
		*ev = (struct remus_event){
			.type = REMUS_EV_FRAME,
			.header = &p->frame->frame.header,
			.payload = p->frame->frame.payload,
		};
		return true;
	}
	if (!p->link->lost)
		return false;
	*ev = (struct remus_event){.type = REMUS_EV_LINK_LOST, .text = p->link->why};
	/* The shell closes after the step what the machine did not; nothing more can come of it. */
	endpoint_close(p->link);
	p->link = NULL;
	p->syncing = false;
	return true;
}

static bool claim_event(struct proc *p, struct remus_event *ev)
{
	enum remus_claim claim;

	if (!arbiter_answer(p->w, p, &claim))
		return false;
	*ev = (struct remus_event){.type = REMUS_EV_CLAIM, .claim = claim, .text = "no answer"};
	return true;
}

static bool other_event(struct proc *p, struct remus_event *ev)
{
	if (p->domain_event) {
		bool shutdown = p->domain_event == REMUS_DOMAIN_SHUTDOWN;
		*ev = (struct remus_event){.text = "its process is gone", .clean = shutdown};
		ev->type = p->role == ROLE_BACKUP ? REMUS_EV_STANDBY_ENDED
			   : shutdown		  ? REMUS_EV_DOMAIN_SHUTDOWN
						  : REMUS_EV_DOMAIN_LOST;
		p->domain_event = 0;
		return true;
	}
	if (p->renewed_at && p->renewed_at <= p->w->now) {
		*ev = (struct remus_event){.type = REMUS_EV_RENEWED, .text = "renewed", .clean = true};
		p->renewed_at = p->shut_until = 0;
		return true;
	}
	if (!p->commands)
		return false;
	*ev = (struct remus_event){.type = p->command[0]};
	memmove(&p->command[0], &p->command[1], --p->commands * sizeof p->command[0]);
	return true;
}

bool proc_next_event(struct proc *p, struct raised *raised, struct remus_event *ev)
{
	int due;

	if (raised_event(p, raised, ev))
		return true;
	proc_free_frame(p);
	if (p->ended)
		return false;
	due = shell_timers_due(&p->timers, host_mono(p->w, p->host));
	if (due >= 0) {
		*ev = (struct remus_event){.type = REMUS_EV_TIMER, .timer = (enum remus_timer)due};
		return true;
	}
	return link_event(p, ev) || claim_event(p, ev) || other_event(p, ev);
}

/* What a mistaken shell makes of an event: the deliberately wrong variants that lie in between. */
void proc_distort(struct proc *p, struct remus_event *ev)
{
	enum variant v = p->w->variant;
	bool lost = ev->type == REMUS_EV_LINK_LOST;
	bool silent = lost && !strcmp(ev->text, "no sign of life");

	if (v == RIGHT)
		return;
	if (v == RENEWAL_SKIPPED && ev->type == REMUS_EV_ACTIVATED)
		ev->wait_us = 0;
	if ((v == ACTIVATE_ON_EOF && lost && !silent && p->role == ROLE_BACKUP) ||
	    (v == SILENCE_AS_DEATH && silent) ||
	    (v == SOLO_WITHOUT_CLAIM && lost && p->role == ROLE_PRIMARY) ||
	    (v == CLAIM_SKIPPED && p->role == ROLE_BACKUP && ev->type == REMUS_EV_FRAME &&
	     (ev->header->type == REMUS_FRAME_HANDOVER || ev->header->type == REMUS_FRAME_DOMAIN_LOST)))
		proc_raise(p, REMUS_EV_CLAIM, "mistaken")->claim = REMUS_CLAIM_WON;
}
