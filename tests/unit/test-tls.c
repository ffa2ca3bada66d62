/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who comes in and who doesn't: keys on disk, handshakes between ends that have the same, another or no key, a
 * certificate with a name that is expected or not, silence, and what a transport does with bytes when the kernel takes
 * few of them. That a link works over it is test-link.c's business, which is run over TLS too (test-link-tls).
 */
#include <poll.h>
#include "keys_make.h"
#include "replicator/link/tls.h"
#include "tls_pair.h"

#define OTHER_KEY "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static struct remus_tls *psk(const char *text)
{
	char dir[32];

	tls_pair_folder(dir);
	tls_pair_write(dir, "psk", text, 0600);
	struct remus_tls *tls = tls_pair_load(dir);
	tls_pair_remove(dir);
	return tls;
}

static void pair_of(const struct remus_tls *client_keys, const struct remus_tls *server_keys,
		    struct tls_end *client, struct tls_end *server)
{
	int fd[2];

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	client->fd = fd[0];
	server->fd = fd[1];
	client->tls = client_keys;
	server->tls = server_keys;
	if (!client->host)
		client->host = "hostb";
	tls_pair_shake(client, server);
}

static void close_both(struct tls_end *client, struct tls_end *server)
{
	if (client->transport)
		client->transport->ops->close(client->transport);
	if (server->transport)
		server->transport->ops->close(server->transport);
}

/* A byte must come through, or the reason why not: with certificates the client learns only now. */
static int probe(struct tls_end *from, struct tls_end *to, struct remus_error *err)
{
	struct iovec part = {(void *)"x", 1};
	char got = 0;

	CU_ASSERT_EQUAL(from->transport->ops->writev(from->transport, &part, 1, false, NULL), 1);
	for (uint64_t until = remus_now_us() + 20000000u; remus_now_us() < until;) {
		ssize_t n = to->transport->ops->read(to->transport, &got, 1, err);
		if (n != -EAGAIN)
			return n == 1 && got == 'x' ? 0 : n < 0 ? (int)n : -EPIPE;
		struct pollfd p = {.fd = to->transport->ops->fd(to->transport), .events = POLLIN};
		poll(&p, 1, 1000);
	}
	return -ETIMEDOUT;
}

/* ---- files ---- */

static void keys_that_are_none(void)
{
	static const struct {
		const char *text;
		mode_t mode;
		int code;
		const char *word;
	} table[] = {
		{"a:" TLS_TEST_KEY "\n", 0640, -EPERM, "chmod 600"},
		{"a:" TLS_TEST_KEY "\n", 0604, -EPERM, "remusctl keys"},
		{"", 0600, -EINVAL, "no key"},
		{"# nothing\n\n", 0600, -EINVAL, "no key"},
		{"a\n", 0600, -EINVAL, "line 1"},
		{":" TLS_TEST_KEY "\n", 0600, -EINVAL, "line 1"},
		{"a:00ff\n", 0600, -EINVAL, "16 to 64 bytes"},
		{"a:0" TLS_TEST_KEY "\n", 0600, -EINVAL, "line 1"},
		{"a:x0" TLS_TEST_KEY "\n", 0600, -EINVAL, "line 1"},
		{"a:" TLS_TEST_KEY TLS_TEST_KEY TLS_TEST_KEY "\n", 0600, -EINVAL, "line 1"},
		{"a b:" TLS_TEST_KEY "\n", 0600, -EINVAL, "line 1"},
		{"a:" TLS_TEST_KEY "\na:" OTHER_KEY "\n", 0600, -EINVAL, "two keys called a"},
	};
	char dir[32];

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_tls *tls = NULL;
		tls_pair_folder(dir);
		tls_pair_write(dir, "psk", table[i].text, table[i].mode);
		CU_ASSERT_EQUAL(remus_tls_load(dir, &tls, &err), table[i].code);
		UNIT_ASSERT_MESSAGE(err, table[i].word);
		CU_ASSERT_PTR_NULL(tls);
		tls_pair_remove(dir);
	}
}

static void no_keys_or_too_many(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_tls *tls = NULL;
	char dir[32];

	tls_pair_folder(dir);
	CU_ASSERT_EQUAL(remus_tls_load(dir, &tls, &err), -ENOENT);
	UNIT_ASSERT_MESSAGE(err, dir);
	CU_ASSERT_EQUAL(remus_tls_load("/nonexistent", &tls, &err), -ENOENT);
	tls_pair_write(dir, "psk", "a:" TLS_TEST_KEY "\n", 0600);
	tls_pair_write(dir, "host.pem", "x", 0600);
	CU_ASSERT_EQUAL(remus_tls_load(dir, &tls, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "which of the two");
	tls_pair_remove(dir);
}

static void a_description_shows_no_secret(void)
{
	struct remus_tls *one = psk("a:" TLS_TEST_KEY "\n"), *two = psk("b:" TLS_TEST_KEY "\n"),
			 *three = psk("a:" OTHER_KEY "\n");
	char *text[3] = {NULL};

	CU_ASSERT_EQUAL_FATAL(remus_tls_describe(one, &text[0], NULL), 0);
	CU_ASSERT_EQUAL_FATAL(remus_tls_describe(two, &text[1], NULL), 0);
	CU_ASSERT_EQUAL_FATAL(remus_tls_describe(three, &text[2], NULL), 0);
	CU_ASSERT_PTR_NULL(strstr(text[0], "0102"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text[0], "psk a, 256 bits"));
	CU_ASSERT_STRING_EQUAL(strrchr(text[0], ' '), strrchr(text[1], ' ')); /* the same key */
	CU_ASSERT_STRING_NOT_EQUAL(strrchr(text[0], ' '), strrchr(text[2], ' '));
	for (int i = 0; i < 3; i++)
		free(text[i]);
	remus_tls_free(one);
	remus_tls_free(two);
	remus_tls_free(three);
}

/* ---- shared keys ---- */

static void shared_keys(void)
{
	static const struct {
		const char *client, *peer, *server;
		int client_rc, server_rc; /* 0 = it came to nothing on this side; 1 = in */
		const char *client_word, *server_word;
	} table[] = {
		{"r:" TLS_TEST_KEY, NULL, "r:" TLS_TEST_KEY, 1, 1, NULL, NULL},
		{"r:" TLS_TEST_KEY, NULL, "x:" OTHER_KEY "\nr:" TLS_TEST_KEY, 1, 1, NULL, NULL},
		{"x:" OTHER_KEY "\nr:" TLS_TEST_KEY, "r", "r:" TLS_TEST_KEY, 1, 1, NULL, NULL},
		{"x:" OTHER_KEY "\nhostb:" TLS_TEST_KEY, NULL, "hostb:" TLS_TEST_KEY, 1, 1, NULL, NULL},
		{"r:" OTHER_KEY, NULL, "r:" TLS_TEST_KEY, -EACCES, -EACCES, "refuses us",
		 "not proved itself"},
		{"s:" TLS_TEST_KEY, NULL, "r:" TLS_TEST_KEY, -EACCES, -EACCES, "refuses us", "\"s\""},
		{"x:" OTHER_KEY "\ny:" TLS_TEST_KEY, NULL, "r:" TLS_TEST_KEY, -EINVAL, -EPIPE, "--tls-peer",
		 "closed"},
		{"r:" TLS_TEST_KEY, "z", "r:" TLS_TEST_KEY, -EINVAL, -EPIPE, "called z", "closed"},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_tls *a = psk(table[i].client), *b = psk(table[i].server);
		struct tls_end client = {.peer = table[i].peer, .host = "hostb"}, server = {0};
		pair_of(a, b, &client, &server);
		CU_ASSERT_EQUAL(client.rc, table[i].client_rc == 1 ? 0 : table[i].client_rc);
		CU_ASSERT_EQUAL(server.rc, table[i].server_rc == 1 ? 0 : table[i].server_rc);
		if (table[i].client_word)
			UNIT_ASSERT_MESSAGE(client.err, table[i].client_word);
		if (table[i].server_word)
			UNIT_ASSERT_MESSAGE(server.err, table[i].server_word);
		if (!client.rc && !server.rc) {
			CU_ASSERT_EQUAL(probe(&client, &server, NULL), 0);
			CU_ASSERT_EQUAL(probe(&server, &client, NULL), 0);
			CU_ASSERT_PTR_NOT_NULL(
				strstr(server.transport->ops->security(server.transport), "tls1.3 psk "));
		}
		close_both(&client, &server);
		remus_tls_free(a);
		remus_tls_free(b);
	}
}

/* ---- certificates ---- */

static struct remus_tls *host_keys(const char *ca, const char *trusted, const char *name, const char *peers)
{
	struct remus_error err = REMUS_ERROR_INIT;
	const char *names[] = {name};
	char dir[32], *host = NULL, *certificate = NULL;

	if (keys_make_host(ca, names, 1, 10, &host, &err) || keys_ca_certificate(trusted, &certificate, &err))
		CU_FAIL_FATAL(err.message);
	tls_pair_folder(dir);
	tls_pair_write(dir, "host.pem", host, 0600);
	tls_pair_write(dir, "ca.pem", certificate, 0644);
	tls_pair_write(dir, "peers", peers, 0644);
	struct remus_tls *tls = tls_pair_load(dir);
	tls_pair_remove(dir);
	free(host);
	free(certificate);
	return tls;
}

static void certificates(void)
{
	char *ours = NULL, *theirs = NULL, *ignored = NULL;
	static const struct {
		const char *what, *name, *peers, *to, *expected;
		bool foreign_client, foreign_server, in;
		const char *client_word, *server_word;
	} table[] = {
		{"pinned both ways", "hosta", "hosta\n", "hostb", NULL, false, false, true, NULL, NULL},
		{"by another name", "hosta", "hosta", "10.0.0.2", "hostb", false, false, true, NULL, NULL},
		{"not among peers", "hostc", "hosta\n", "hostb", NULL, false, false, false, NULL,
		 "\"hostc\""},
		{"nobody may", "hosta", "# none\n", "hostb", NULL, false, false, false, NULL, "\"hosta\""},
		{"not whom we dialled", "hosta", "hosta\n", "hostd", NULL, false, false, false, "\"hostb\"",
		 "refuses us"},
		{"a client of another CA", "hosta", "hosta\n", "hostb", NULL, true, false, false, NULL,
		 "has issued"},
		{"a server of another CA", "hosta", "hosta\n", "hostb", NULL, false, true, false,
		 "not trusted", "refuses us"},
	};

	CU_ASSERT_EQUAL_FATAL(keys_make_ca("ours", 10, &ignored, &ours, NULL), 0);
	free(ignored);
	CU_ASSERT_EQUAL_FATAL(keys_make_ca("theirs", 10, &ignored, &theirs, NULL), 0);
	free(ignored);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_tls *a =
			host_keys(table[i].foreign_client ? theirs : ours, ours, table[i].name, "");
		struct remus_tls *b =
			host_keys(table[i].foreign_server ? theirs : ours, ours, "hostb", table[i].peers);
		struct tls_end client = {.peer = table[i].expected, .host = table[i].to}, server = {0};
		struct remus_error err = REMUS_ERROR_INIT;
		pair_of(a, b, &client, &server);
		bool in = !client.rc && !server.rc;
		if (in != table[i].in)
			printf("\n    %s: %s / %s\n", table[i].what, client.err.message, server.err.message);
		CU_ASSERT_EQUAL(in, table[i].in);
		if (table[i].client_word)
			UNIT_ASSERT_MESSAGE(client.err, table[i].client_word);
		if (table[i].server_word)
			UNIT_ASSERT_MESSAGE(server.err, table[i].server_word);
		if (in) {
			CU_ASSERT_EQUAL(probe(&client, &server, NULL), 0);
			CU_ASSERT_STRING_EQUAL(server.transport->ops->security(server.transport),
					       "tls1.3 x509 hosta");
			CU_ASSERT_STRING_EQUAL(client.transport->ops->security(client.transport),
					       "tls1.3 x509 hostb");
		} else if (!client.rc) { /* it was done before the server had seen its certificate */
			char byte;
			CU_ASSERT_EQUAL(client.transport->ops->read(client.transport, &byte, 1, &err),
					-EACCES);
			UNIT_ASSERT_MESSAGE(err, "refuses us");
		}
		close_both(&client, &server);
		remus_tls_free(a);
		remus_tls_free(b);
	}
	free(ours);
	free(theirs);
}

/* A key against a certificate: neither side gets in. */
static void different_kinds(void)
{
	char *ca = NULL, *ignored = NULL;

	CU_ASSERT_EQUAL_FATAL(keys_make_ca("ca", 10, &ignored, &ca, NULL), 0);
	struct remus_tls *x509 = host_keys(ca, ca, "hostb", "hosta\n"), *key = psk("r:" TLS_TEST_KEY);
	for (int swap = 0; swap < 2; swap++) {
		struct tls_end client = {.host = "hostb"}, server = {0};
		pair_of(swap ? x509 : key, swap ? key : x509, &client, &server);
		CU_ASSERT(client.rc < 0);
		CU_ASSERT(server.rc < 0);
		close_both(&client, &server);
	}
	remus_tls_free(x509);
	remus_tls_free(key);
	free(ca);
	free(ignored);
}

/* ---- strangers ---- */

static void what_is_no_handshake(void)
{
	static const struct {
		const char *bytes;
		size_t n;
		bool closes;
		int code;
	} table[] = {
		{"", 0, false, -ETIMEDOUT},
		{"", 0, true, -EPIPE},
		{"\x16\x03\x01", 3, false, -ETIMEDOUT},
		{"\x16\x03\x01\xff\xff", 5, false, -EACCES},
		{"GET / HTTP/1.1\r\n\r\n", 18, false, -EACCES},
		{"RMUS\1\0\1\0\0\0\0\0\0\0\0\0", 16, false, -EACCES},
		/* a ClientHello of TLS 1.2 without extensions */
		{"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03"
		 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		 "\x00\x00\x02\xc0\x2f\x01\x00",
		 50, false, -EACCES},
	};
	struct remus_tls *tls = psk("r:" TLS_TEST_KEY);

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct tls_end server = {.tls = tls, .ms = table[i].code == -ETIMEDOUT ? 50 : 0};
		int fd[2];
		CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
		server.fd = fd[1];
		CU_ASSERT_EQUAL(write(fd[0], table[i].bytes, table[i].n), (ssize_t)table[i].n);
		if (table[i].closes)
			shutdown(fd[0], SHUT_WR);
		tls_end_run(&server);
		if (server.rc != table[i].code)
			printf("\n    case %zu: %d, %s\n", i, server.rc, server.err.message);
		CU_ASSERT_EQUAL(server.rc, table[i].code);
		CU_ASSERT(server.err.message[0] != '\0');
		close(fd[0]);
	}
	remus_tls_free(tls);
}

/* ---- bytes ---- */

enum { PIECE = 100000, ALL = 4 * 1024 * 1024 };

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 31 + (i >> 13));
}

struct receiver {
	struct remus_transport *from;
	size_t got, wrong;
};

static void *receive_all(void *context)
{
	uint8_t buffer[50000];
	struct receiver *r = context;

	while (r->got < ALL) {
		size_t want = 1 + r->got % sizeof buffer;
		ssize_t n = r->from->ops->read(r->from, buffer, want, NULL);
		if (n == -EAGAIN) {
			struct pollfd p = {.fd = r->from->ops->fd(r->from), .events = POLLIN};
			poll(&p, 1, 1000);
			continue;
		}
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			r->wrong += buffer[i] != pattern(r->got + (size_t)i);
		r->got += (size_t)n;
	}
	return NULL;
}

/* A small socket takes a fraction of what is written: whatever the pieces, every byte comes once and in order. */
static void partial_writes(void)
{
	struct tls_end client = {.host = "b"}, server = {0};
	struct remus_tls *tls = psk("r:" TLS_TEST_KEY);
	uint8_t *data = malloc(ALL);
	struct receiver r = {0};
	pthread_t thread;
	int little = 4096;
	unsigned waits = 0;

	pair_of(tls, tls, &client, &server);
	CU_ASSERT_FATAL(!client.rc && !server.rc && data);
	setsockopt(client.fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof little);
	for (size_t i = 0; i < ALL; i++)
		data[i] = pattern(i);
	r.from = server.transport;
	pthread_create(&thread, NULL, receive_all, &r);
	for (size_t sent = 0; sent < ALL;) {
		size_t left = ALL - sent < PIECE ? ALL - sent : PIECE, first = left / 7;
		struct iovec part[3] = {{data + sent, first}, {NULL, 0}, {data + sent + first, left - first}};
		ssize_t n = client.transport->ops->writev(client.transport, part, 3, false, NULL);
		if (n == -EAGAIN) {
			struct pollfd p = {.fd = client.transport->ops->fd(client.transport),
					   .events = POLLOUT};
			poll(&p, 1, 1000);
			waits++;
			continue;
		}
		CU_ASSERT_FATAL(n > 0);
		sent += (size_t)n;
	}
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL(r.got, ALL);
	CU_ASSERT_EQUAL(r.wrong, 0);
	CU_ASSERT(waits > 0);
	close_both(&client, &server);
	remus_tls_free(tls);
	free(data);
}

enum { UPDATES = 5 }; /* each way; GnuTLS takes eight a second for an attack */

struct sender {
	struct remus_transport *to;
	const uint8_t *data;
	bool failed;
};

/* All of it, and now and then new keys, for which the peer is asked too: as after 2^24 records. */
static void *send_all(void *context)
{
	struct sender *s = context;
	struct tls_transport *t = (struct tls_transport *)s->to;
	size_t next_update = ALL / (UPDATES + 1);

	for (size_t sent = 0; sent < ALL && !s->failed;) {
		struct iovec part = {(void *)(uintptr_t)(s->data + sent),
				     ALL - sent < PIECE ? ALL - sent : PIECE};
		ssize_t n = s->to->ops->writev(s->to, &part, 1, false, NULL);
		if (n == -EAGAIN) {
			struct pollfd p = {.fd = s->to->ops->fd(s->to), .events = POLLOUT};
			poll(&p, 1, 1000);
			continue;
		}
		s->failed = n <= 0;
		sent += n > 0 ? (size_t)n : 0;
		if (sent > next_update) {
			next_update += ALL / (UPDATES + 1);
			pthread_mutex_lock(&t->lock);
			s->failed |= gnutls_session_key_update(t->session, 0) < 0;
			pthread_mutex_unlock(&t->lock);
		}
	}
	return NULL;
}

/* A reader and a writer on both sides while both change their keys. */
static void key_updates_under_traffic(void)
{
	struct tls_end client = {.host = "b"}, server = {0};
	struct remus_tls *tls = psk("r:" TLS_TEST_KEY);
	uint8_t *data = malloc(ALL);
	pthread_t thread[4];

	pair_of(tls, tls, &client, &server);
	CU_ASSERT_FATAL(!client.rc && !server.rc && data);
	for (size_t i = 0; i < ALL; i++)
		data[i] = pattern(i);
	struct sender out[2] = {{client.transport, data, false}, {server.transport, data, false}};
	struct receiver in[2] = {{client.transport, 0, 0}, {server.transport, 0, 0}};
	for (int i = 0; i < 2; i++) {
		pthread_create(&thread[i], NULL, send_all, &out[i]);
		pthread_create(&thread[2 + i], NULL, receive_all, &in[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_FALSE(out[i].failed);
		CU_ASSERT_EQUAL(in[i].got, ALL);
		CU_ASSERT_EQUAL(in[i].wrong, 0);
	}
	close_both(&client, &server);
	remus_tls_free(tls);
	free(data);
}

/* Who flips a bit on the wire is noticed. */
static void damage_is_noticed(void)
{
	struct tls_end client = {.host = "b"}, server = {0};
	struct remus_tls *tls = psk("r:" TLS_TEST_KEY);
	struct remus_error err = REMUS_ERROR_INIT;
	static const char record[] = "\x17\x03\x03\x00\x20 thirty-two bytes that are no AEAD!";
	char byte;

	pair_of(tls, tls, &client, &server);
	CU_ASSERT_FATAL(!client.rc && !server.rc);
	CU_ASSERT(write(client.fd, record, 37) == 37);
	CU_ASSERT_EQUAL(server.transport->ops->read(server.transport, &byte, 1, &err), -EBADMSG);
	UNIT_ASSERT_MESSAGE(err, "TLS");
	close_both(&client, &server);
	remus_tls_free(tls);
}

static void an_end_is_an_end(void)
{
	for (int graceful = 0; graceful < 2; graceful++) {
		struct tls_end client = {.host = "b"}, server = {0};
		struct remus_tls *tls = psk("r:" TLS_TEST_KEY);
		char byte;
		pair_of(tls, tls, &client, &server);
		CU_ASSERT_FATAL(!client.rc && !server.rc);
		if (!graceful)
			client.transport->ops->shutdown(client.transport);
		client.transport->ops->close(client.transport);
		client.transport = NULL;
		CU_ASSERT_EQUAL(server.transport->ops->read(server.transport, &byte, 1, NULL), 0);
		close_both(&client, &server);
		remus_tls_free(tls);
	}
}

static const struct unit_case cases[] = {
	{"keys that are none", keys_that_are_none},
	{"no keys, or of two kinds", no_keys_or_too_many},
	{"a description shows no secret", a_description_shows_no_secret},
	{"shared keys", shared_keys},
	{"certificates", certificates},
	{"a key against a certificate", different_kinds},
	{"what is no handshake", what_is_no_handshake},
	{"partial writes", partial_writes},
	{"key updates under traffic", key_updates_under_traffic},
	{"damage is noticed", damage_is_noticed},
	{"an end is an end", an_end_is_an_end},
};
UNIT_MAIN("tls", cases)
