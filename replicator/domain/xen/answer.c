/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See answer.h. Deadline: xenstored answers in milliseconds or the host is lost anyway. */
#include "answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "remus/util.h"

#define ASKED	  "asked/" /* the tokens of our watches, with the request's number */
#define LISTEN_US 1000000u /* between two that are listened to */

struct watch {
	char path[64], token[32];
};

static struct watch watch_of(const struct remus_xen_answer *a)
{
	struct watch w;

	snprintf(w.path, sizeof w.path, "/local/domain/%u/" REMUS_XEN_SHUTDOWN, a->domid);
	snprintf(w.token, sizeof w.token, ASKED "%u", a->requests);
	return w;
}

void remus_xen_answer_asked(struct remus_xen_answer *a, uint64_t now, bool listen)
{
	a->requested_us = now;
	a->taken_us = a->open_us = 0;
	a->look_us = now + a->usual_stop_us + a->usual_stop_us / 2;
	a->requests++;
	if (!listen || now < a->listened_us + LISTEN_US)
		return;
	struct watch w = watch_of(a);
	a->listened_us = now;
	a->heard = 0;
	/* After the request: it fires once less, and who has answered by now is one of those who aren't heard. */
	a->watching = xs_watch(a->events, w.path, w.token);
}

/* The watch fires once for being set; then for the answer, whatever is in it. What an earlier request's watch has left
 * doesn't count. */
void remus_xen_answer_hear(struct remus_xen_answer *a)
{
	char **fired;

	while ((fired = xs_check_watch(a->events))) {
		struct watch w = watch_of(a);
		bool ours = !strncmp(fired[XS_WATCH_TOKEN], ASKED, strlen(ASKED));
		bool counts = a->watching && !strcmp(fired[XS_WATCH_TOKEN], w.token);
		free(fired);
		if (!ours)
			a->others = true;
		else if (counts && ++a->heard == 2 && a->requested_us)
			a->taken_us = remus_now_us();
	}
}

uint64_t remus_xen_answer_look(struct remus_xen_answer *a, uint64_t now)
{
	if (a->watching || !a->requested_us || !a->usual_stop_us)
		return UINT64_MAX;
	if (now >= a->look_us) {
		REMUS_AUTO_FREE char *is = remus_xen_read(a->xen, a->domid, REMUS_XEN_SHUTDOWN);
		bool open = is && !strcmp(is, "suspend");
		a->open_us = open ? now : a->open_us;
		a->look_us = open ? now + a->usual_stop_us / 2 : UINT64_MAX;
	}
	return a->look_us;
}

/* After as long as is usual, or, if it was all faster than that, after the usual share; not before it was last seen not
 * to have answered. */
static uint64_t reckoned(const struct remus_xen_answer *a, uint64_t now)
{
	uint64_t took = now - a->requested_us, usual = a->usual_us;

	if (!usual || !a->usual_stop_us)
		return a->open_us;
	if (took < a->usual_stop_us)
		usual = usual * took / a->usual_stop_us;
	usual = a->requested_us + (usual < took ? usual : took);
	return usual > a->open_us ? usual : a->open_us;
}

static void note(uint64_t *usual, uint64_t took)
{
	*usual = *usual ? (*usual * 7 + took) / 8 : took;
}

uint64_t remus_xen_answer_stopped(struct remus_xen_answer *a, uint64_t now, bool late)
{
	uint64_t began = a->taken_us;

	if (!a->requested_us)
		return 0; /* a killed engine left it so */
	if (began && !late)
		note(&a->usual_us, began - a->requested_us);
	else {
		began = reckoned(a, now);
		if (a->taken_us && (!began || began > a->taken_us))
			began = a->taken_us;
	}
	if (!late || !a->usual_stop_us)
		note(&a->usual_stop_us, now - a->requested_us);
	return began;
}

void remus_xen_answer_over(struct remus_xen_answer *a)
{
	a->requested_us = 0;
}

void remus_xen_answer_rest(struct remus_xen_answer *a)
{
	if (!a->watching || a->requested_us)
		return;
	struct watch w = watch_of(a);
	xs_unwatch(a->events, w.path, w.token);
	a->watching = false;
}
