/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of an arbiter's URI: NAME=VALUE&NAME=VALUE, percent-encoded. */
#ifndef REMUS_ARBITER_QUERY_H
#define REMUS_ARBITER_QUERY_H

#include "remus/error.h"

#define QUERY_VALUE_MAX 4096 /* bytes, the NUL included */

/* Call @set for each option of @text (what follows the "?"), decoded, in order. A failure of @set's ends it. */
int query_parse(const char *text,
		int (*set)(void *context, const char *name, const char *value, struct remus_error *err),
		void *context, struct remus_error *err);

#endif
