/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The programs of /etc/remus/resume.d: what the guest's owner wants done after an activation. They run one after the
 * other, in the order of their names, each for at most so many seconds, while the agent goes on listening.
 *
 * As with run-parts(8): executable files whose names are made of letters, digits, '_', '-' and '.'; not those that end
 * in what package managers and editors leave behind. One that somebody but root could have written is not run.
 *
 * Environment: REMUS_ACTIVATION (16 hexadecimal digits), REMUS_RESEEDED (1, 0), REMUS_CLOCK ("stepped", "slewing", "kept",
 * "unknown", "failed"), REMUS_CLOCK_STEP_NS, REMUS_CLOCK_OFFSET_NS; PATH.
 */
#ifndef REMUS_AGENT_HOOKS_H
#define REMUS_AGENT_HOOKS_H

#include <sys/types.h>
#include "remus/renewal.h"

#define HOOKS_MAX 64 /* of those that there are beyond, none is run */

struct hooks {
	const char *dir;
	unsigned limit_s; /* of each */
	uint64_t id;
	char name[HOOKS_MAX][REMUS_HOOK_NAME];
	unsigned names, next;
	pid_t pid; /* that runs; it leads a process group of its own. 0 = none */
	int pidfd;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC */
	bool late;	      /* it was killed for passing it */
	struct remus_hooks result;
};

void hooks_init(struct hooks *hooks, const char *dir, unsigned limit_s);
/* Those of an activation before are killed. True: there is something to wait for; false: all is done. */
bool hooks_begin(struct hooks *hooks, uint64_t id, const struct remus_renewed *renewed);
/* Poll this for reading, until hooks_due(). -1 = none. */
int hooks_fd(const struct hooks *hooks);
uint64_t hooks_due(const struct hooks *hooks);
/* As far as it goes without waiting. True: all are over, result is the answer. */
bool hooks_turn(struct hooks *hooks);
/* Kill what runs. */
void hooks_stop(struct hooks *hooks);

/* May a file of this name be a hook? */
bool hooks_name_ok(const char *name);

#endif
