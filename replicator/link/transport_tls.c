/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A transport that encrypts: TLS 1.3 (GnuTLS) over another transport, with the same manners: nothing blocks, and
 * one thread reads while another writes.
 *
 * GnuTLS would let a session be shared by a reader and a writer, but not while keys are updated (its manual, "Thread
 * safety"), and both sides do that by themselves every 2^24 records. So one lock guards the session. It is held over
 * arithmetic and calls that never wait, some 100 µs at most; the bulk goes in one direction anyway.
 *
 * Records are made a few at a time into a buffer of our own, which then goes to the kernel in one call. So GnuTLS
 * never sees a full socket, and writev() is whole or nothing: content counts as moved when all its records are in the
 * kernel. Until then -EAGAIN, and the caller offers the same bytes again (send.c does nothing else).
 *
 * An end without close_notify is reported as a plain end. Nothing is lost by that: an end of the link means no more
 * than "ask the arbiter", and whoever can cut a connection can do so anyway.
 */
#include <stdio.h>
#include "internal.h"
#include "tls.h"

static struct tls_transport *tls(const struct remus_transport *t)
{
	return (struct tls_transport *)(uintptr_t)t;
}

/* ---- what GnuTLS reads from and writes to ---- */

static ssize_t pull(gnutls_transport_ptr_t context, void *to, size_t n)
{
	struct tls_transport *t = context;
	struct remus_error err = REMUS_ERROR_INIT;

	if (t->in_at == t->in_end) {
		ssize_t got = t->lower->ops->read(t->lower, t->in, sizeof t->in, &err);
		t->starved = got == -EAGAIN;
		if (got <= 0) {
			errno = (int)-got;
			return got ? -1 : 0;
		}
		t->in_at = 0;
		t->in_end = (size_t)got;
	}
	if (n > t->in_end - t->in_at)
		n = t->in_end - t->in_at;
	memcpy(to, t->in + t->in_at, n);
	t->in_at += n;
	return (ssize_t)n;
}

static ssize_t push(gnutls_transport_ptr_t context, const giovec_t *part, int parts)
{
	struct tls_transport *t = context;
	size_t all = 0;

	for (int i = 0; i < parts; i++)
		all += part[i].iov_len;
	if (all > sizeof t->out - t->out_end) { /* never: see TLS_ROOM, MESSAGE_MAX */
		errno = ENOBUFS;
		return -1;
	}
	for (int i = 0; i < parts; i++) {
		memcpy(t->out + t->out_end, part[i].iov_base, part[i].iov_len);
		t->out_end += part[i].iov_len;
	}
	return (ssize_t)all;
}

int tls_flush(struct tls_transport *t, bool more, struct remus_error *err)
{
	while (t->out_at < t->out_end) {
		struct iovec rest = {t->out + t->out_at, t->out_end - t->out_at};
		ssize_t n = t->lower->ops->writev(t->lower, &rest, 1, more, err);
		if (n <= 0)
			return n ? (int)n : -EAGAIN;
		t->out_at += (size_t)n;
	}
	t->out_at = t->out_end = 0;
	return 0;
}

/* ---- the transport ---- */

static int broken(struct tls_transport *t, ssize_t rc, struct remus_error *err)
{
	if (rc == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return remus_fail(err, -EACCES,
				  "TLS: the peer refuses us (%s): does it have the same keys, or this host "
				  "among its peers?",
				  gnutls_alert_get_name(gnutls_alert_get(t->session)));
	if (rc == GNUTLS_E_PULL_ERROR)
		return remus_fail(err, -ECONNRESET, "recv: connection reset");
	return remus_fail(err, -EBADMSG, "TLS: %s", gnutls_strerror((int)rc));
}

static ssize_t tls_read(struct remus_transport *base, void *buf, size_t n, struct remus_error *err)
{
	struct tls_transport *t = tls(base);
	ssize_t got;

	pthread_mutex_lock(&t->lock);
	do { /* a message that is not for us, such as a key update, is no reason to wait */
		t->starved = false;
		got = gnutls_record_recv(t->session, buf, n);
	} while (got < 0 && !gnutls_error_is_fatal((int)got) && !t->starved);
	if (got == GNUTLS_E_PREMATURE_TERMINATION)
		got = 0;
	else if (got < 0)
		got = gnutls_error_is_fatal((int)got) ? broken(t, got, err) : -EAGAIN;
	pthread_mutex_unlock(&t->lock);
	return got;
}

/* The next record's content: straight from a part that is large enough, else gathered. */
static const uint8_t *next_record(struct tls_transport *t, const struct iovec **part, int *parts, size_t *at,
				  size_t *size)
{
	const uint8_t *straight = NULL;

	*size = 0;
	while (*parts && *size < TLS_RECORD) {
		size_t n = (*part)->iov_len - *at;
		const uint8_t *from = (const uint8_t *)(*part)->iov_base + *at;
		if (*size == 0 && n >= TLS_RECORD)
			straight = from;
		if (n > TLS_RECORD - *size)
			n = TLS_RECORD - *size;
		if (!straight && n)
			memcpy(t->record + *size, from, n);
		*size += n;
		*at += n;
		if (*at == (*part)->iov_len) {
			++*part;
			--*parts;
			*at = 0;
		}
	}
	return straight ? straight : t->record;
}

static int encrypt(struct tls_transport *t, const struct iovec *part, int parts, struct remus_error *err)
{
	size_t at = 0;

	for (unsigned i = 0; i < TLS_RECORDS && parts; i++) {
		size_t size;
		const uint8_t *content = next_record(t, &part, &parts, &at, &size);
		if (!size)
			break;
		ssize_t n = gnutls_record_send(t->session, content, size);
		if (n != (ssize_t)size)
			return remus_fail(err, -EIO, "TLS: a record of %zu bytes: %s", size,
					  n < 0 ? gnutls_strerror((int)n) : "cut short");
		t->pending += size;
	}
	return 0;
}

static ssize_t tls_writev(struct remus_transport *base, const struct iovec *iov, int count, bool more,
			  struct remus_error *err)
{
	struct tls_transport *t = tls(base);
	ssize_t rc = 0;

	pthread_mutex_lock(&t->lock);
	if (!t->pending)
		rc = encrypt(t, iov, count, err);
	if (!rc)
		rc = tls_flush(t, more, err);
	if (!rc) {
		rc = (ssize_t)t->pending;
		t->pending = 0;
	}
	pthread_mutex_unlock(&t->lock);
	return rc;
}

static void tls_shutdown(struct remus_transport *base)
{
	atomic_store(&tls(base)->down, true);
	tls(base)->lower->ops->shutdown(tls(base)->lower);
}

static void discard(struct tls_transport *t)
{
	if (t->session)
		gnutls_deinit(t->session);
	if (t->psk)
		gnutls_psk_free_client_credentials(t->psk);
	t->lower->ops->close(t->lower);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static void tls_close(struct remus_transport *base)
{
	struct tls_transport *t = tls(base);

	if (!atomic_load(&t->down)) {
		gnutls_bye(t->session, GNUTLS_SHUT_WR);
		tls_flush(t, false, NULL);
	}
	discard(t);
}

static int tls_fd(const struct remus_transport *base)
{
	return tls(base)->lower->ops->fd(tls(base)->lower);
}

static const char *tls_security(const struct remus_transport *base)
{
	return tls(base)->security;
}

static const struct remus_transport_ops tls_ops = {
	.read = tls_read,
	.writev = tls_writev,
	.shutdown = tls_shutdown,
	.close = tls_close,
	.fd = tls_fd,
	.security = tls_security,
};

static int open_session(struct tls_transport *t, struct remus_error *err)
{
	unsigned flags = GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS | (t->server ? GNUTLS_SERVER : GNUTLS_CLIENT);
	int rc = gnutls_init(&t->session, flags);

	if (rc < 0)
		return remus_fail(err, -ENOMEM, "TLS: %s", gnutls_strerror(rc));
	gnutls_session_set_ptr(t->session, t);
	gnutls_transport_set_ptr(t->session, t);
	gnutls_transport_set_pull_function(t->session, pull);
	gnutls_transport_set_vec_push_function(t->session, push);
	return 0;
}

static int establish(struct remus_transport *lower, const struct remus_tls *keys, bool server,
		     const char *peer, const char *host, uint64_t deadline_us, struct remus_transport **out,
		     struct remus_error *err)
{
	struct tls_transport *t = calloc(1, sizeof *t);

	if (!t) {
		lower->ops->close(lower);
		return remus_fail(err, -ENOMEM, "TLS: no memory for a transport");
	}
	t->base.ops = &tls_ops;
	t->lower = lower;
	t->keys = keys;
	t->server = server;
	pthread_mutex_init(&t->lock, NULL);
	int rc = open_session(t, err);
	if (!rc)
		rc = tls_handshake(t, peer, host, deadline_us, err);
	if (rc) {
		if (server) {
			char peer_text[LINK_PEER_TEXT];
			link_peer_text(lower->ops->fd(lower), peer_text);
			remus_error_prefix(err, "%s", peer_text);
		}
		discard(t);
		return rc;
	}
	t->wanted = NULL; /* the caller's */
	*out = &t->base;
	return 0;
}

int remus_transport_tls_accept(struct remus_transport *lower, const struct remus_tls *keys,
			       uint64_t deadline_us, struct remus_transport **out, struct remus_error *err)
{
	return establish(lower, keys, true, NULL, NULL, deadline_us, out, err);
}

int remus_transport_tls_connect(struct remus_transport *lower, const struct remus_tls *keys, const char *peer,
				const char *host, uint64_t deadline_us, struct remus_transport **out,
				struct remus_error *err)
{
	return establish(lower, keys, false, peer, host, deadline_us, out, err);
}
