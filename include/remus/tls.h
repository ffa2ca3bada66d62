/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS 1.3 on the replication link (docs/security.md): the keys of this host, and a transport that encrypts what
 * goes over another one. A host has a folder of keys, by default /etc/remus/tls, and in it either
 *
 *	psk		NAME:HEXKEY lines, as psktool writes them: whoever has one of the keys is a peer
 * or
 *	ca.pem		the certificates of whoever issues the hosts'
 *	host.pem	this host's private key and its certificate
 *	peers		the names, one a line, that a peer's certificate may have when it connects to us
 *
 * remusctl keys makes them. Nothing older than TLS 1.3, no session tickets, no early data: each connection proves
 * its keys anew, and a recorded one is of no use to anybody.
 */
#ifndef REMUS_TLS_H
#define REMUS_TLS_H

#include <stddef.h>
#include <stdint.h>
#include "remus/error.h"
#include "remus/link.h"

#define REMUS_TLS_NAME_MAX     64u   /* bytes of a key's or a peer's name, the NUL included */
#define REMUS_TLS_HANDSHAKE_MS 5000u /* what the accepting side gives a stranger */
#define REMUS_TLS_PSK_MIN      16u   /* bytes of a key */
#define REMUS_TLS_PSK_MAX      64u

struct remus_tls;

/* /etc/remus/tls for root, else ~/.config/remus/tls. -ENAMETOOLONG, -ENOENT (no home). */
int remus_tls_default_dir(char *out, size_t size, struct remus_error *err);

/*
 * Read the keys in @dir; free with remus_tls_free(), after every transport that uses them. -ENOENT: there are none.
 * -EPERM: somebody else could read or change a secret. -EINVAL: they are no keys, or of both kinds at once. The
 * message says what to do.
 */
int remus_tls_load(const char *dir, struct remus_tls **out, struct remus_error *err);
void remus_tls_free(struct remus_tls *tls);

/* What they are, without what is secret, for people: lines that end in a newline, malloc'ed. Two hosts have the same
 * key if the fingerprints are the same. -ENOMEM. */
int remus_tls_describe(const struct remus_tls *tls, char **out, struct remus_error *err);

/*
 * Encrypt what goes over @lower, which is owned from here on, also on failure. Returns when the handshake is done,
 * or fails before @deadline_us (CLOCK_MONOTONIC): -ETIMEDOUT, -EACCES (the peer has not proved to be one of ours, or
 * doesn't take us for one of its own), -EPIPE. Memory is bounded before the peer is known: some 200 KiB.
 *
 * The transport may be read by one thread and written by another at once.
 */
int remus_transport_tls_accept(struct remus_transport *lower, const struct remus_tls *tls,
			       uint64_t deadline_us, struct remus_transport **out, struct remus_error *err);
/* @peer: the name that the peer's certificate must have, or of the key to use. NULL: @host, the address that was
 * dialled, for the certificate; the only key in the file, or the one that is called like @host. */
int remus_transport_tls_connect(struct remus_transport *lower, const struct remus_tls *tls, const char *peer,
				const char *host, uint64_t deadline_us, struct remus_transport **out,
				struct remus_error *err);

#endif
