/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making keys with GnuTLS: a random one that two hosts share, or an authority and certificates (X.509 version 3,
 * ECDSA on P-256). Nothing here touches a file; keys_store.c does.
 */
#include "keys_make.h"

#include <arpa/inet.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PSK_BYTES 32
#define SKEW_S	  3600 /* a certificate is good from an hour ago: hosts' clocks differ */

void keys_forget(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static int failed(const char *what, int rc, struct remus_error *err)
{
	return remus_fail(err, -EIO, "%s: %s", what, gnutls_strerror(rc));
}

int keys_make_psk(const char *name, char **out, struct remus_error *err)
{
	uint8_t key[PSK_BYTES];
	char hex[2 * PSK_BYTES + 1];

	int rc = gnutls_rnd(GNUTLS_RND_KEY, key, sizeof key);
	if (rc < 0)
		return failed("a random key", rc, err);
	for (int i = 0; i < PSK_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", key[i]);
	rc = asprintf(out, "%s:%s\n", name, hex);
	explicit_bzero(key, sizeof key);
	explicit_bzero(hex, sizeof hex);
	return rc < 0 ? remus_fail(err, -ENOMEM, "no memory") : 0;
}

/* ---- certificates ---- */

struct pair {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t certificate;
};

static void pair_clear(struct pair *p)
{
	if (p->key)
		gnutls_x509_privkey_deinit(p->key);
	if (p->certificate)
		gnutls_x509_crt_deinit(p->certificate);
}

static int pair_init(struct pair *p)
{
	*p = (struct pair){0};
	int rc = gnutls_x509_privkey_init(&p->key);
	return rc < 0 ? rc : gnutls_x509_crt_init(&p->certificate);
}

/* A new key and an unsigned certificate of it. */
static int pair_make(struct pair *p, const char *name, time_t until)
{
	uint8_t serial[16], id[32];
	size_t n = sizeof id;

	int rc = pair_init(p);
	if (rc >= 0)
		rc = gnutls_x509_privkey_generate(p->key, GNUTLS_PK_ECDSA,
						  GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	if (rc >= 0)
		rc = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);
	serial[0] = (serial[0] & 0x7f) | 0x40; /* positive, and of full length */
	gnutls_x509_crt_t c = p->certificate;
	if (rc >= 0)
		rc = gnutls_x509_crt_set_key(c, p->key);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_version(c, 3);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_serial(c, serial, sizeof serial);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_activation_time(c, time(NULL) - SKEW_S);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_expiration_time(c, until);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_dn_by_oid(c, GNUTLS_OID_X520_COMMON_NAME, 0, name,
						   (unsigned)strlen(name));
	if (rc >= 0)
		rc = gnutls_x509_crt_get_key_id(c, GNUTLS_KEYID_USE_SHA256, id, &n);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_subject_key_id(c, id, n);
	return rc;
}

/* @text appended to *out. */
static int append(char **out, const gnutls_datum_t *text)
{
	size_t n = *out ? strlen(*out) : 0;
	char *grown = malloc(n + text->size + 1);

	if (!grown)
		return GNUTLS_E_MEMORY_ERROR;
	if (n)
		memcpy(grown, *out, n);
	memcpy(grown + n, text->data, text->size);
	grown[n + text->size] = '\0';
	keys_forget(*out);
	*out = grown;
	return 0;
}

static int export_certificate(gnutls_x509_crt_t certificate, char **out)
{
	gnutls_datum_t text = {0};

	int rc = gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &text);
	if (rc >= 0)
		rc = append(out, &text);
	gnutls_free(text.data);
	return rc;
}

static int export_both(const struct pair *p, char **out)
{
	gnutls_datum_t text = {0};

	int rc = gnutls_x509_privkey_export2_pkcs8(p->key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
						   &text);
	if (rc >= 0)
		rc = append(out, &text);
	if (text.data)
		gnutls_memset(text.data, 0, text.size);
	gnutls_free(text.data);
	return rc >= 0 ? export_certificate(p->certificate, out) : rc;
}

int keys_make_ca(const char *name, unsigned days, char **certificate, char **key, struct remus_error *err)
{
	struct pair ca;

	*certificate = *key = NULL;
	int rc = pair_make(&ca, name, time(NULL) + (time_t)days * 86400);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_basic_constraints(ca.certificate, 1, 0);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_key_usage(ca.certificate,
						   GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
	if (rc >= 0)
		rc = gnutls_x509_crt_sign2(ca.certificate, ca.certificate, ca.key, GNUTLS_DIG_SHA256, 0);
	if (rc >= 0)
		rc = export_certificate(ca.certificate, certificate);
	if (rc >= 0)
		rc = export_both(&ca, key);
	pair_clear(&ca);
	if (rc >= 0)
		return 0;
	keys_forget(*certificate);
	keys_forget(*key);
	return failed("a certificate authority", rc, err);
}

static int pair_read(struct pair *p, const char *text)
{
	gnutls_datum_t pem = {(unsigned char *)(uintptr_t)text, (unsigned)strlen(text)};

	int rc = pair_init(p);
	if (rc >= 0)
		rc = gnutls_x509_privkey_import(p->key, &pem, GNUTLS_X509_FMT_PEM);
	if (rc >= 0)
		rc = gnutls_x509_crt_import(p->certificate, &pem, GNUTLS_X509_FMT_PEM);
	return rc;
}

static int add_name(gnutls_x509_crt_t certificate, const char *name)
{
	uint8_t address[16];
	bool v6 = inet_pton(AF_INET6, name, address) == 1, v4 = !v6 && inet_pton(AF_INET, name, address) == 1;

	if (v4 || v6)
		return gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_IPADDRESS, address,
							    v6 ? 16 : 4, GNUTLS_FSAN_APPEND);
	return gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_DNSNAME, name,
						    (unsigned)strlen(name), GNUTLS_FSAN_APPEND);
}

int keys_make_host(const char *ca_text, const char *const *names, size_t count, unsigned days, char **out,
		   struct remus_error *err)
{
	struct pair ca, host = {0};
	uint8_t id[32];
	size_t n = sizeof id;

	*out = NULL;
	int rc = pair_read(&ca, ca_text);
	if (rc < 0) {
		pair_clear(&ca);
		return failed("the authority's key and certificate", rc, err);
	}
	time_t until = time(NULL) + (time_t)days * 86400,
	       end = gnutls_x509_crt_get_expiration_time(ca.certificate);
	rc = pair_make(&host, names[0], end != (time_t)-1 && end < until ? end : until);
	for (size_t i = 0; i < count && rc >= 0; i++)
		rc = add_name(host.certificate, names[i]);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_basic_constraints(host.certificate, 0, -1);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_key_usage(host.certificate, GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_key_purpose_oid(host.certificate, GNUTLS_KP_TLS_WWW_SERVER, 0);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_key_purpose_oid(host.certificate, GNUTLS_KP_TLS_WWW_CLIENT, 0);
	if (rc >= 0)
		rc = gnutls_x509_crt_get_subject_key_id(ca.certificate, id, &n, NULL);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_authority_key_id(host.certificate, id, n);
	if (rc >= 0)
		rc = gnutls_x509_crt_sign2(host.certificate, ca.certificate, ca.key, GNUTLS_DIG_SHA256, 0);
	if (rc >= 0)
		rc = export_both(&host, out);
	pair_clear(&host);
	pair_clear(&ca);
	if (rc >= 0)
		return 0;
	keys_forget(*out);
	return failed("a host's certificate", rc, err);
}

int keys_ca_certificate(const char *ca_text, char **out, struct remus_error *err)
{
	struct pair ca;

	*out = NULL;
	int rc = pair_read(&ca, ca_text);
	if (rc >= 0)
		rc = export_certificate(ca.certificate, out);
	pair_clear(&ca);
	return rc < 0 ? failed("the authority's key and certificate", rc, err) : 0;
}
