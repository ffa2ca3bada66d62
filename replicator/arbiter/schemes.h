/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds of arbiter that this build has. A new kind is a file with one of these and a line in create.c. */
#ifndef REMUS_ARBITER_SCHEMES_H
#define REMUS_ARBITER_SCHEMES_H

#include "remus/arbiter.h"

struct arbiter_scheme {
	const struct remus_arbiter_ops *ops; /* ops->scheme is the word before the colon */
	const char *form;		     /* "file:DIR", for messages */
	/* Make one from what follows the colon ("" where there is no colon). Doesn't touch the medium. */
	int (*create)(const char *rest, struct remus_arbiter **out, struct remus_error *err);
	bool at_once; /* its calls never wait for anything */
};

extern const struct arbiter_scheme arbiter_file, arbiter_manual, arbiter_etcd, arbiter_command;

#define ETCD_FORM "etcd:https://HOST:PORT[,...][/PREFIX][?OPTIONS]"

/* Put a deadline on every call of *@arbiter, which is owned from here on and replaced. On failure it is closed. */
int arbiter_bound(struct remus_arbiter **arbiter, unsigned deadline_ms, struct remus_error *err);

#endif
