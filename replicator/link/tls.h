/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of TLS: the keys of this host (tls_files.c), who proves what (tls_handshake.c), bytes (transport_tls.c). */
#ifndef REMUS_LINK_TLS_H
#define REMUS_LINK_TLS_H

#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "remus/tls.h"
#include "remus/util.h"

#define TLS_NAMES_MAX 64 /* keys, or peers */

struct tls_key {
	char name[REMUS_TLS_NAME_MAX];
	uint8_t key[REMUS_TLS_PSK_MAX];
	unsigned size;
};

struct remus_tls {
	char dir[256]; /* for messages */
	bool x509;
	struct tls_key *key; /* psk */
	unsigned keys;
	gnutls_psk_server_credentials_t psk;
	gnutls_certificate_credentials_t certificate; /* x509 */
	char (*peer)[REMUS_TLS_NAME_MAX];
	unsigned peers;
	char own[REMUS_TLS_NAME_MAX]; /* our certificate's common name */
	char until[32];		      /* and when it expires, UTC */
};

/* NULL = there is none. */
const struct tls_key *tls_find_key(const struct remus_tls *tls, const char *name);

#define TLS_RECORD  16384u /* bytes of a record's content, at most (RFC 8446, 5.1) */
#define TLS_RECORDS 4u	   /* that are encrypted before the kernel is asked to take them */
#define TLS_ROOM    (TLS_RECORDS * (TLS_RECORD + 256u) + 8192u) /* the rest: alerts, key updates */

struct tls_transport {
	struct remus_transport base;
	struct remus_transport *lower;
	const struct remus_tls *keys;
	bool server;
	const char *wanted; /* client, x509: the name that the peer must have */
	gnutls_session_t session;
	gnutls_psk_client_credentials_t psk; /* client: of the one key that it uses */
	char security[160];
	char why[256]; /* why a peer is refused, where GnuTLS cannot know */

	atomic_bool down;
	pthread_mutex_t lock; /* guards all that follows, and the session */
	bool starved;	      /* the last read of @lower gave nothing */
	size_t pending;	      /* bytes of content whose records wait in @out */
	size_t in_at, in_end, out_at, out_end;
	uint8_t in[65536], out[TLS_ROOM], record[TLS_RECORD];
};

/* Hand over to the kernel what waits in @out: 0, -EAGAIN or what @lower says. */
int tls_flush(struct tls_transport *t, bool more, struct remus_error *err);
/* From an allocated transport to a session that is up. */
int tls_handshake(struct tls_transport *t, const char *peer, const char *host, uint64_t deadline_us,
		  struct remus_error *err);

#endif
