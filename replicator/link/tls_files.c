/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keys of this host, read from its folder (remus/tls.h). A secret that somebody else can read is none: a file
 * with one must belong to root or to us and be closed to everybody else, as ssh has it. What is wrong is said when
 * the keys are read, at remusd's start, and not when the first host needs its backup.
 */
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include "tls.h"

#define FILE_MAX (256u * 1024u) /* bytes; a chain of certificates has some 10 KiB */

int remus_tls_default_dir(char *out, size_t size, struct remus_error *err)
{
	const char *home = getenv("HOME");
	int n;

	if (geteuid() == 0)
		n = snprintf(out, size, "/etc/remus/tls");
	else if (home && home[0] == '/')
		n = snprintf(out, size, "%s/.config/remus/tls", home);
	else
		return remus_fail(err, -ENOENT, "$HOME is not set: name the folder of the keys");
	if (n < 0 || (size_t)n >= size)
		return remus_fail(err, -ENAMETOOLONG, "$HOME is too long");
	return 0;
}

struct text {
	char *data; /* NUL-terminated; NULL = there is no such file */
	size_t size;
};

static void forget(struct text *t)
{
	if (t->data)
		explicit_bzero(t->data, t->size);
	free(t->data);
	*t = (struct text){0};
}

static int check_file(const char *path, const struct stat *st, bool secret, struct remus_error *err)
{
	if (!S_ISREG(st->st_mode))
		return remus_fail(err, -EINVAL, "%s is no regular file", path);
	if (st->st_size > FILE_MAX)
		return remus_fail(err, -EFBIG, "%s has more than %u bytes", path, FILE_MAX);
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return remus_fail(err, -EPERM,
				  "%s belongs to uid %u, who could change it: chown it to root or to uid %u",
				  path, (unsigned)st->st_uid, (unsigned)geteuid());
	if (st->st_mode & (secret ? 077 : 022))
		return remus_fail(
			err, -EPERM, "%s can be %s by others (mode %o): chmod %s it%s", path,
			secret ? "read" : "changed", (unsigned)(st->st_mode & 07777), secret ? "600" : "go-w",
			secret ? ", and if others have had access, make new keys (remusctl keys)" : "");
	return 0;
}

/* 0 with out->data NULL: there is none. */
static int read_file(const char *dir, const char *name, bool secret, struct text *out,
		     struct remus_error *err)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	REMUS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st))
		return remus_fail_errno(err, "%s", path);
	int rc = check_file(path, &st, secret, err);
	if (rc)
		return rc;
	out->size = (size_t)st.st_size + 1;
	out->data = calloc(1, out->size);
	if (!out->data)
		return remus_fail(err, -ENOMEM, "%s: no memory", path);
	for (size_t got = 0; got + 1 < out->size;) {
		ssize_t n = read(fd, out->data + got, out->size - 1 - got);
		if (n < 0)
			return remus_fail_errno(err, "%s", path);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return 0;
}

static bool good_name(const char *name, size_t n)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@";

	for (size_t i = 0; i < n; i++)
		if (!strchr(letters, name[i]) || !name[i])
			return false;
	return n > 0 && n < REMUS_TLS_NAME_MAX;
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static bool parse_key(const char *hex, size_t n, struct tls_key *out)
{
	if (n % 2 || n < 2 * REMUS_TLS_PSK_MIN || n > 2 * REMUS_TLS_PSK_MAX)
		return false;
	for (size_t i = 0; i < n; i += 2) {
		int high = digit(hex[i]), low = digit(hex[i + 1]);
		if (high < 0 || low < 0)
			return false;
		out->key[i / 2] = (uint8_t)(high << 4 | low);
	}
	out->size = (unsigned)(n / 2);
	return true;
}

const struct tls_key *tls_find_key(const struct remus_tls *tls, const char *name)
{
	for (unsigned i = 0; i < tls->keys; i++)
		if (!strcmp(tls->key[i].name, name))
			return &tls->key[i];
	return NULL;
}

/* The next line that isn't empty or a comment, without blanks at its end; NULL = no more. *length is the line's. */
static const char *next_line(const char **at, unsigned *number, size_t *length)
{
	while (**at) {
		const char *line = *at;
		size_t n = strcspn(line, "\n");
		*at = line + n + (line[n] == '\n');
		++*number;
		while (n && strchr(" \t\r", line[n - 1]))
			n--;
		if (n && line[0] != '#') {
			*length = n;
			return line;
		}
	}
	return NULL;
}

static int parse_psk(struct remus_tls *tls, const char *text, struct remus_error *err)
{
	const char *line;
	unsigned number = 0;
	size_t n;

	tls->key = calloc(TLS_NAMES_MAX, sizeof *tls->key);
	if (!tls->key)
		return remus_fail(err, -ENOMEM, "%s/psk: no memory", tls->dir);
	while ((line = next_line(&text, &number, &n))) {
		const char *colon = memchr(line, ':', n);
		size_t name = colon ? (size_t)(colon - line) : 0;
		struct tls_key *key = &tls->key[tls->keys];
		if (tls->keys == TLS_NAMES_MAX)
			return remus_fail(err, -EINVAL, "%s/psk has more than %d keys", tls->dir,
					  TLS_NAMES_MAX);
		if (!colon || !good_name(line, name) || !parse_key(colon + 1, n - name - 1, key))
			return remus_fail(err, -EINVAL,
					  "%s/psk, line %u, is no NAME:HEXKEY with a key of %u to %u bytes "
					  "(remusctl keys psk makes one)",
					  tls->dir, number, REMUS_TLS_PSK_MIN, REMUS_TLS_PSK_MAX);
		snprintf(key->name, sizeof key->name, "%.*s", (int)name, line);
		if (tls_find_key(tls, key->name))
			return remus_fail(err, -EINVAL, "%s/psk has two keys called %s", tls->dir, key->name);
		tls->keys++;
	}
	if (!tls->keys)
		return remus_fail(err, -EINVAL, "%s/psk holds no key", tls->dir);
	return 0;
}

/* GnuTLS asks for a key. 1: there is none of that name; it goes on with a random one, so that a stranger doesn't
 * learn which names there are. */
static int give_key(gnutls_session_t session, const gnutls_datum_t *name, gnutls_datum_t *key)
{
	struct tls_transport *t = gnutls_session_get_ptr(session);
	char text[REMUS_TLS_NAME_MAX];

	if (!good_name((const char *)name->data, name->size)) {
		snprintf(t->why, sizeof t->why, "it names a key as nobody would");
		return 1;
	}
	snprintf(text, sizeof text, "%.*s", (int)name->size, (const char *)name->data);
	const struct tls_key *found = tls_find_key(t->keys, text);
	if (!found) {
		snprintf(t->why, sizeof t->why, "it names a key \"%s\", which this host doesn't have", text);
		return 1;
	}
	key->data = gnutls_malloc(found->size);
	if (!key->data)
		return -1;
	memcpy(key->data, found->key, found->size);
	key->size = found->size;
	return 0;
}

static int load_psk(struct remus_tls *tls, const char *text, struct remus_error *err)
{
	int rc = parse_psk(tls, text, err);

	if (rc)
		return rc;
	rc = gnutls_psk_allocate_server_credentials(&tls->psk);
	if (rc < 0)
		return remus_fail(err, -ENOMEM, "%s/psk: %s", tls->dir, gnutls_strerror(rc));
	gnutls_psk_set_server_credentials_function2(tls->psk, give_key);
	return 0;
}

/* ---- certificates ---- */

static int parse_peers(struct remus_tls *tls, const char *text, struct remus_error *err)
{
	const char *line;
	unsigned number = 0;
	size_t n;

	tls->peer = calloc(TLS_NAMES_MAX, sizeof *tls->peer);
	if (!tls->peer)
		return remus_fail(err, -ENOMEM, "%s/peers: no memory", tls->dir);
	while ((line = next_line(&text, &number, &n))) {
		if (tls->peers == TLS_NAMES_MAX)
			return remus_fail(err, -EINVAL, "%s/peers has more than %d names", tls->dir,
					  TLS_NAMES_MAX);
		if (strcspn(line, " \t*/\\\"") < n || n >= REMUS_TLS_NAME_MAX)
			return remus_fail(err, -EINVAL, "%s/peers, line %u, is no host's name", tls->dir,
					  number);
		snprintf(tls->peer[tls->peers++], REMUS_TLS_NAME_MAX, "%.*s", (int)n, line);
	}
	return 0;
}

static int note_own(struct remus_tls *tls, struct remus_error *err)
{
	gnutls_x509_crt_t *chain = NULL;
	unsigned count = 0;
	size_t n = sizeof tls->own;
	struct tm tm;

	int rc = gnutls_certificate_get_x509_crt(tls->certificate, 0, &chain, &count);
	if (rc < 0 || !count)
		return remus_fail(err, -EINVAL, "%s/host.pem holds no certificate", tls->dir);
	if (gnutls_x509_crt_get_dn_by_oid(chain[0], GNUTLS_OID_X520_COMMON_NAME, 0, 0, tls->own, &n) < 0)
		snprintf(tls->own, sizeof tls->own, "?");
	time_t until = gnutls_x509_crt_get_expiration_time(chain[0]);
	if (gmtime_r(&until, &tm))
		strftime(tls->until, sizeof tls->until, "%Y-%m-%d %H:%M UTC", &tm);
	for (unsigned i = 0; i < count; i++)
		gnutls_x509_crt_deinit(chain[i]);
	gnutls_free(chain);
	if (until != (time_t)-1 && until < time(NULL))
		return remus_fail(err, -EINVAL,
				  "the certificate in %s/host.pem has expired (%s): remusctl keys host makes "
				  "another",
				  tls->dir, tls->until);
	return 0;
}

static int load_x509(struct remus_tls *tls, const struct text *host, const struct text *ca,
		     const struct text *peers, struct remus_error *err)
{
	gnutls_datum_t own = {(unsigned char *)host->data, (unsigned)(host->size - 1)};
	gnutls_datum_t issuers = {(unsigned char *)ca->data, ca->data ? (unsigned)(ca->size - 1) : 0};

	tls->x509 = true;
	if (!ca->data)
		return remus_fail(err, -EINVAL,
				  "%s has host.pem but no ca.pem: the certificate of whoever issues the "
				  "hosts' (remusctl keys host writes both)",
				  tls->dir);
	if (!peers->data)
		return remus_fail(err, -EINVAL,
				  "%s has host.pem but no peers: a file with the names, one a line, of the "
				  "hosts that may connect to this one (remusctl keys host --peer writes it)",
				  tls->dir);
	int rc = parse_peers(tls, peers->data, err);
	if (rc)
		return rc;
	rc = gnutls_certificate_allocate_credentials(&tls->certificate);
	if (rc < 0)
		return remus_fail(err, -ENOMEM, "%s: %s", tls->dir, gnutls_strerror(rc));
	rc = gnutls_certificate_set_x509_trust_mem(tls->certificate, &issuers, GNUTLS_X509_FMT_PEM);
	if (rc <= 0)
		return remus_fail(err, -EINVAL, "%s/ca.pem holds no certificate%s%s", tls->dir,
				  rc ? ": " : "", rc ? gnutls_strerror(rc) : "");
	rc = gnutls_certificate_set_x509_key_mem(tls->certificate, &own, &own, GNUTLS_X509_FMT_PEM);
	if (rc < 0)
		return remus_fail(err, -EINVAL,
				  "%s/host.pem must hold this host's private key and its certificate, both "
				  "in PEM: %s",
				  tls->dir, gnutls_strerror(rc));
	return note_own(tls, err);
}

/* ---- both ---- */

int remus_tls_load(const char *dir, struct remus_tls **out, struct remus_error *err)
{
	struct text psk = {0}, host = {0}, ca = {0}, peers = {0};
	struct remus_tls *tls = calloc(1, sizeof *tls);

	if (!tls)
		return remus_fail(err, -ENOMEM, "%s: no memory for keys", dir);
	snprintf(tls->dir, sizeof tls->dir, "%s", dir);
	int rc = read_file(dir, "psk", true, &psk, err);
	if (!rc)
		rc = read_file(dir, "host.pem", true, &host, err);
	if (!rc)
		rc = read_file(dir, "ca.pem", false, &ca, err);
	if (!rc)
		rc = read_file(dir, "peers", false, &peers, err);
	if (!rc && psk.data && host.data)
		rc = remus_fail(err, -EINVAL,
				"%s has a psk and a host.pem: which of the two shall this host prove itself "
				"by? Remove one",
				dir);
	if (!rc && !psk.data && !host.data)
		rc = remus_fail(err, -ENOENT, "there are no keys in %s", dir);
	if (!rc)
		rc = psk.data ? load_psk(tls, psk.data, err) : load_x509(tls, &host, &ca, &peers, err);
	forget(&psk);
	forget(&host);
	forget(&ca);
	forget(&peers);
	if (rc) {
		remus_tls_free(tls);
		return rc;
	}
	*out = tls;
	return 0;
}

void remus_tls_free(struct remus_tls *tls)
{
	if (!tls)
		return;
	if (tls->psk)
		gnutls_psk_free_server_credentials(tls->psk);
	if (tls->certificate)
		gnutls_certificate_free_credentials(tls->certificate);
	if (tls->key)
		explicit_bzero(tls->key, TLS_NAMES_MAX * sizeof *tls->key);
	free(tls->key);
	free(tls->peer);
	free(tls);
}

/* 64 bits of a hash: enough to see that two hosts have the same key, of no use to find it. */
static void fingerprint(const struct tls_key *key, char out[20])
{
	static const char what[] = "remus key fingerprint";
	uint8_t text[sizeof what + REMUS_TLS_PSK_MAX], hash[32] = {0};

	memcpy(text, what, sizeof what);
	memcpy(text + sizeof what, key->key, key->size);
	gnutls_hash_fast(GNUTLS_DIG_SHA256, text, sizeof what + key->size, hash);
	explicit_bzero(text, sizeof text);
	for (int i = 0; i < 4; i++)
		snprintf(out + 5 * i, 20 - 5 * (size_t)i, "%02x%02x%s", hash[2 * i], hash[2 * i + 1],
			 i < 3 ? "-" : "");
}

int remus_tls_describe(const struct remus_tls *tls, char **out, struct remus_error *err)
{
	size_t size;
	char hash[20];
	FILE *f = open_memstream(out, &size);

	if (!f)
		return remus_fail(err, -ENOMEM, "no memory");
	for (unsigned i = 0; i < tls->keys; i++) {
		fingerprint(&tls->key[i], hash);
		fprintf(f, "psk %s, %u bits, fingerprint %s\n", tls->key[i].name, 8 * tls->key[i].size, hash);
	}
	if (tls->x509) {
		fprintf(f, "x509 %s, expires %s\npeers that may connect:", tls->own, tls->until);
		for (unsigned i = 0; i < tls->peers; i++)
			fprintf(f, " %s", tls->peer[i]);
		fprintf(f, "%s\n", tls->peers ? "" : " none");
	}
	return fclose(f) ? remus_fail(err, -ENOMEM, "no memory") : 0;
}
