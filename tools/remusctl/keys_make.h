/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making keys, in memory: text in the formats of psktool and certtool. All of it is malloc'ed; wipe secrets with
 * keys_forget(). */
#ifndef REMUSCTL_KEYS_MAKE_H
#define REMUSCTL_KEYS_MAKE_H

#include <stddef.h>
#include "remus/error.h"

void keys_forget(char *text); /* NULL is nothing */

/* "NAME:64 hex digits\n": 256 bits. */
int keys_make_psk(const char *name, char **out, struct remus_error *err);

/* A certificate authority for a handful of hosts. *certificate and *key are PEM; the key's text holds both. */
int keys_make_ca(const char *name, unsigned days, char **certificate, char **key, struct remus_error *err);

/*
 * A host's key and certificate in one PEM text, for both ends of a connection, signed by @ca (the text that
 * keys_make_ca() calls *key). @names: the first is the common name; all of them, names or IP addresses, are what it
 * may be called by a peer. It ends with the authority's own end at the latest.
 */
int keys_make_host(const char *ca, const char *const *names, size_t count, unsigned days, char **out,
		   struct remus_error *err);

/* The certificate in @ca, as PEM. */
int keys_ca_certificate(const char *ca, char **out, struct remus_error *err);

#endif
