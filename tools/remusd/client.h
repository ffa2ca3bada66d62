/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A client of the control socket, and the verbs. Shared by control.c and verbs.c. */
#ifndef REMUSD_CLIENT_H
#define REMUSD_CLIENT_H

#include "remus/control.h"
#include "remusd.h"

enum wait {
	WAIT_NONE,
	WAIT_PROTECT,
	WAIT_UNPROTECT,
	WAIT_FAILOVER,
	WAIT_ATTACH,
	WAIT_CHECK,
	WAIT_DRILL,
	WAIT_EVENTS
};

struct client {
	struct client *next;
	int fd;
	bool asked, done, dead;
	enum wait wait;
	unsigned session_id;  /* that it waits for */
	uint64_t seen;	      /* last event told */
	uint64_t deadline_us; /* for its request, later for what it waits for */
	struct remus_lines lines;
};

/* Take @line (reference stolen) and send it. false = the client is gone. */
bool client_send(struct client *client, json_t *line);
void client_ok(struct client *client, json_t *result);
void client_error(struct client *client, int code, const char *message);

/* Is every member of a request what docs/control.md says? -EINVAL names the one that isn't. */
int request_check(const json_t *request, struct remus_error *err);
/* checks.c */
void verb_check(struct daemon *d, struct client *client, json_t *request);
/* drills.c */
void verb_drill(struct daemon *d, struct client *client, json_t *request);
/* Carry out a request: answer at once, or set client->wait. */
void verb_run(struct daemon *d, struct client *client, json_t *request);

#endif
