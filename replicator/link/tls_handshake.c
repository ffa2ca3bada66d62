/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is there? A handshake ends with both sides having proved their keys, or in time with a reason. Until then the
 * other end is a stranger: what it may make us keep is bounded, and so is how long (I8, I11).
 *
 * A certificate counts only with a name that we expect: the one that was dialled, or one of `peers`. That our CA
 * has signed it says no more than that it is one of our hosts, perhaps one that has been taken over.
 */
#include <gnutls/x509.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include "tls.h"

#define MESSAGE_MAX (48u * 1024u) /* of a handshake message, bytes: a chain of certificates has some 10 KiB */

/* The key exchange gives forward secrecy in both modes. A key from a psk file goes with SHA-256 suites only. */
#define SUITES_PSK                                                              \
	"NONE:+VERS-TLS1.3:+ECDHE-PSK:+DHE-PSK:+AES-128-GCM:+CHACHA20-POLY1305" \
	":+AEAD:+GROUP-X25519:+GROUP-SECP256R1:+SIGN-ALL:+COMP-ALL"
#define SUITES_X509                                                                                   \
	"SECURE128:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:-" \
	"GROUP-ALL:"                                                                                  \
	"+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1"

/* ---- the peer's certificate ---- */

/* As text that may go to a log. */
static void common_name(gnutls_x509_crt_t certificate, char out[REMUS_TLS_NAME_MAX])
{
	size_t n = REMUS_TLS_NAME_MAX;

	if (gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, out, &n) < 0)
		snprintf(out, REMUS_TLS_NAME_MAX, "without a name");
	for (char *p = out; *p; p++)
		if (*p <= ' ' || *p > '~')
			*p = '?';
}

static bool has_name(gnutls_x509_crt_t certificate, const char *name)
{
	return gnutls_x509_crt_check_hostname2(certificate, name, GNUTLS_VERIFY_DO_NOT_ALLOW_WILDCARDS) != 0;
}

static bool expected(const struct tls_transport *t, gnutls_x509_crt_t certificate)
{
	if (!t->server)
		return has_name(certificate, t->wanted);
	for (unsigned i = 0; i < t->keys->peers; i++)
		if (has_name(certificate, t->keys->peer[i]))
			return true;
	return false;
}

static bool trusted(struct tls_transport *t, const char *name)
{
	gnutls_typed_vdata_st purpose = {
		.type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)(t->server ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER),
	};
	gnutls_datum_t text = {0};
	unsigned status = 0;

	int rc = gnutls_certificate_verify_peers(t->session, &purpose, 1, &status);
	if (rc >= 0 && status == 0)
		return true;
	if (rc >= 0 && gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) < 0)
		text.data = NULL;
	snprintf(t->why, sizeof t->why, "its certificate, \"%s\", is not trusted here: %s", name,
		 rc < 0	     ? gnutls_strerror(rc)
		 : text.data ? (const char *)text.data
			     : "no reason given");
	gnutls_free(text.data);
	return false;
}

static int verify(gnutls_session_t session)
{
	struct tls_transport *t = gnutls_session_get_ptr(session);
	gnutls_x509_crt_t certificate;
	char name[REMUS_TLS_NAME_MAX];
	unsigned count;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);

	if (!chain || !count || gnutls_x509_crt_init(&certificate) < 0) {
		snprintf(t->why, sizeof t->why, "it has no certificate");
		return GNUTLS_E_CERTIFICATE_ERROR;
	}
	bool good = gnutls_x509_crt_import(certificate, chain, GNUTLS_X509_FMT_DER) >= 0;
	if (good) {
		common_name(certificate, name);
		good = trusted(t, name);
		if (good && !expected(t, certificate)) {
			snprintf(t->why, sizeof t->why,
				 t->server ? "its certificate is that of \"%s\", which is not among those "
					     "in %.100s/peers"
					   : "its certificate is that of \"%s\", not of %.100s (protect "
					     "--tls-peer NAME says whom to expect)",
				 name, t->server ? t->keys->dir : t->wanted);
			good = false;
		}
		snprintf(t->security, sizeof t->security, "tls1.3 x509 %s", name);
	}
	gnutls_x509_crt_deinit(certificate);
	return good ? 0 : GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
}

/* ---- which keys ---- */

static int pick_key(struct tls_transport *t, const char *peer, const char *host, struct remus_error *err)
{
	const struct remus_tls *keys = t->keys;
	const struct tls_key *key = peer	      ? tls_find_key(keys, peer)
				    : keys->keys == 1 ? keys->key
						      : tls_find_key(keys, host);

	if (!key && peer)
		return remus_fail(err, -EINVAL, "%s/psk has no key called %s", keys->dir, peer);
	if (!key)
		return remus_fail(err, -EINVAL,
				  "%s/psk has %u keys, none of them called %s: say by --tls-peer NAME which "
				  "one to use",
				  keys->dir, keys->keys, host);
	gnutls_datum_t secret = {(unsigned char *)key->key, key->size};
	int rc = gnutls_psk_allocate_client_credentials(&t->psk);
	if (rc >= 0)
		rc = gnutls_psk_set_client_credentials(t->psk, key->name, &secret, GNUTLS_PSK_KEY_RAW);
	if (rc < 0)
		return remus_fail(err, -ENOMEM, "TLS: %s", gnutls_strerror(rc));
	snprintf(t->security, sizeof t->security, "tls1.3 psk %s", key->name);
	return 0;
}

static int choose(struct tls_transport *t, const char *peer, const char *host, struct remus_error *err)
{
	gnutls_session_t s = t->session;
	int rc;

	gnutls_handshake_set_max_packet_length(s, MESSAGE_MAX);
	if (t->keys->x509) {
		t->wanted = peer ? peer : host;
		rc = gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, t->keys->certificate);
		gnutls_session_set_verify_function(s, verify);
		if (t->server)
			gnutls_certificate_server_set_request(s, GNUTLS_CERT_REQUIRE);
	} else if (t->server) {
		rc = gnutls_credentials_set(s, GNUTLS_CRD_PSK, t->keys->psk);
	} else {
		rc = pick_key(t, peer, host, err);
		if (rc < 0)
			return rc;
		rc = gnutls_credentials_set(s, GNUTLS_CRD_PSK, t->psk);
	}
	if (rc >= 0)
		rc = gnutls_priority_set_direct(s, t->keys->x509 ? SUITES_X509 : SUITES_PSK, NULL);
	return rc < 0 ? remus_fail(err, -EINVAL, "TLS: %s", gnutls_strerror(rc)) : 0;
}

/* ---- until it is up ---- */

static int no_handshake(struct tls_transport *t, int rc, struct remus_error *err)
{
	const char *ours = t->keys->x509 ? "a certificate" : "a shared key (psk)";
	const char *alert = rc == GNUTLS_E_FATAL_ALERT_RECEIVED
				    ? gnutls_alert_get_name(gnutls_alert_get(t->session))
				    : NULL;

	if (t->why[0])
		return remus_fail(err, -EACCES, "TLS: the peer is refused: %s", t->why);
	if (alert)
		return remus_fail(err, -EACCES,
				  "TLS: the peer refuses us (%s): this host proves itself by %s from %s; do "
				  "both hosts have the same, and does that one know this one?",
				  alert, ours, t->keys->dir);
	switch (rc) {
	case GNUTLS_E_PREMATURE_TERMINATION:
	case GNUTLS_E_PULL_ERROR:
	case GNUTLS_E_PUSH_ERROR:
		return remus_fail(err, -EPIPE, "TLS: the peer closed the connection in the handshake%s",
				  t->server ? "" : " (does it run with --insecure?)");
	case GNUTLS_E_UNEXPECTED_PACKET:
	case GNUTLS_E_UNEXPECTED_PACKET_LENGTH:
	case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
	case GNUTLS_E_RECORD_OVERFLOW:
		return remus_fail(err, -EACCES,
				  "TLS: the peer doesn't speak TLS 1.3 (%s); is it one that was told "
				  "--insecure?",
				  gnutls_strerror(rc));
	case GNUTLS_E_CERTIFICATE_REQUIRED:
	case GNUTLS_E_NO_CERTIFICATE_FOUND:
		return remus_fail(err, -EACCES,
				  "TLS: the peer is refused: it has no certificate that %s/ca.pem has issued",
				  t->keys->dir);
	case GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER:
	case GNUTLS_E_DECRYPTION_FAILED:
	case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
	case GNUTLS_E_NO_CIPHER_SUITES:
		return remus_fail(err, -EACCES,
				  "TLS: the peer has not proved itself (%s): this host expects %s, that of "
				  "%s",
				  gnutls_strerror(rc), ours, t->keys->dir);
	default:
		return remus_fail(err, -EACCES, "TLS handshake: %s", gnutls_strerror(rc));
	}
}

/* Wait for the peer. False: the deadline has passed. */
static bool wait_for_peer(struct tls_transport *t, bool unsent, uint64_t deadline_us)
{
	struct pollfd p = {.fd = t->lower->ops->fd(t->lower), .events = unsent ? POLLOUT : POLLIN};
	uint64_t now = remus_now_us();

	if (now >= deadline_us)
		return false;
	uint64_t ms = (deadline_us - now + 999) / 1000;
	poll(&p, 1, ms > INT_MAX ? INT_MAX : (int)ms);
	return true;
}

static int shake_hands(struct tls_transport *t, uint64_t deadline_us, struct remus_error *err)
{
	for (;;) {
		int rc = gnutls_handshake(t->session);
		if (rc < 0 && gnutls_error_is_fatal(rc)) {
			gnutls_alert_send_appropriate(t->session, rc);
			tls_flush(t, false, NULL);
			return no_handshake(t, rc, err);
		}
		int flushed = tls_flush(t, false, err);
		if (flushed < 0 && flushed != -EAGAIN)
			return flushed;
		if (rc == GNUTLS_E_SUCCESS && !flushed)
			return 0;
		if (!wait_for_peer(t, flushed < 0, deadline_us))
			return remus_fail(err, -ETIMEDOUT, "TLS: no handshake in time");
	}
}

int tls_handshake(struct tls_transport *t, const char *peer, const char *host, uint64_t deadline_us,
		  struct remus_error *err)
{
	int rc = choose(t, peer, host, err);

	if (!rc)
		rc = shake_hands(t, deadline_us, err);
	if (rc)
		return rc;
	if (gnutls_protocol_get_version(t->session) != GNUTLS_TLS1_3)
		return remus_fail(err, -EACCES, "TLS: the peer is refused: not TLS 1.3");
	if (t->server && !t->keys->x509) {
		const char *name = gnutls_psk_server_get_username(t->session);
		if (!name) /* no key was used: must never pass */
			return remus_fail(err, -EACCES, "TLS: the peer is refused: it used no key");
		snprintf(t->security, sizeof t->security, "tls1.3 psk %.*s", (int)REMUS_TLS_NAME_MAX, name);
	} else if (!t->server && !t->keys->x509 && gnutls_kx_get(t->session) != GNUTLS_KX_ECDHE_PSK &&
		   gnutls_kx_get(t->session) != GNUTLS_KX_DHE_PSK) {
		return remus_fail(err, -EACCES, "TLS: the peer is refused: it used no key");
	}
	return 0;
}
